// One dead letter: what happened at each attempt, what it says, and its bytes.
import { get, type Schema } from '../api';
import { bytes, count, moment, plural } from '../format';
import { useAsked } from '../query';
import { filter, go, place, to } from '../router';
import { useStore } from '../store';
import { Await, Badge, CopyButton, Empty, Failed, Page, Panel, Skeleton, Tabs } from '../ui/parts';
import { LetterActions } from './letter-actions';
import { LetterEdit } from './letter-edit';
import { LetterSkip } from './letter-skip';
import { everything } from './letters';
import { useWho } from '../who';

function HexDump({ hex, total }: { hex: string; total: number }) {
  const rows: string[] = [];
  for (let at = 0; at < hex.length; at += 32) {
    const row = hex.slice(at, at + 32).match(/../g) ?? [];
    const text = row.map((b) => { const c = parseInt(b, 16); return c >= 0x20 && c < 0x7f ? String.fromCharCode(c) : '.'; }).join('');
    rows.push(`${(at / 2).toString(16).padStart(6, '0')}  ${row.slice(0, 8).join(' ').padEnd(23)}  ${row.slice(8).join(' ').padEnd(23)}  ${text}`);
  }
  return (
    <>
      <p class="muted small">{bytes(total)} in all{hex.length / 2 < total && `, the first ${bytes(hex.length / 2)} are shown`} <CopyButton text={hex} what="the bytes as hex" /></p>
      <pre class="dump" tabIndex={0} role="region" aria-label="The frame's bytes">{rows.join('\n')}</pre>
    </>
  );
}

function Payload({ letter, tab, owner, onEdited }: { letter: Schema<'DeadLetterFull'>; tab: string; owner: string; onEdited: () => void }) {
  const { chain, subscription, id } = letter;
  const asked = useAsked(`payload ${tab === 'edit'} ${chain} ${subscription} ${id} ${letter.frame_sha256}`, (signal) => get('/admin/v1/dlq/{subscription}/{id}/payload', { path: { subscription, id }, query: { chain, ...(tab === 'edit' ? { whole: true } : {}) }, signal }));
  return (
    <Await asked={asked} rows={6}>
      {(p) => tab === 'edit' ? <LetterEdit letter={letter} payload={p} owner={owner} onDone={onEdited} key={letter.frame_sha256} /> : tab === 'raw' ? <HexDump hex={p.raw_hex} total={p.raw_bytes} /> : (
        <>
          {p.problem && <p class="form-note">{p.problem}</p>}
          {p.decoded === null ? <Empty icon="letters" title="This could not be decoded.">The raw bytes are in the next tab.</Empty> : (
            <>
              <p class="muted small"><code>{p.message}</code> <CopyButton text={JSON.stringify(p.decoded, null, 2)} what="the message as JSON" /></p>
              <pre class="dump" tabIndex={0} role="region" aria-label="The decoded message">{JSON.stringify(p.decoded, null, 2)}</pre>
            </>
          )}
        </>
      )}
    </Await>
  );
}

export function DeadLetterPage({ chain, subscription, id }: { chain: string; subscription: string; id: string }) {
  const { query } = useStore(place);
  const tab = query.get('tab') ?? 'attempts';
  const asked = useAsked(`letter ${chain} ${subscription} ${id}`, (signal) => get('/admin/v1/dlq/{subscription}/{id}', { path: { subscription, id }, query: { chain }, signal }), 4000);
  const { name, role, may } = useWho();
  const l = asked.data;
  const gone = asked.error?.status === 404;
  return (
    <Page title="Dead letter" lead={<><code>{id}</code> of {chain} · {subscription}</>}
      actions={l && !gone && <><LetterSkip letter={l} onDone={asked.reload} /><LetterActions filter={{ ...everything, chain, subscription }} letters={[l]} onDone={() => go(to(['dead-letters']))} /></>}>
      {gone ? <Empty icon="check" title="This letter is not there any more.">It was replayed or purged. <a href={to(['dead-letters'])}>All dead letters</a></Empty>
        : !l ? (asked.error ? <Failed problem={asked.error} retry={asked.reload} /> : <Skeleton rows={8} />) : (
          <>
            <Panel label="Letter">
              <p class="letter-error"><Badge tone="bad">{l.reason || 'unknown'}</Badge> {l.error}</p>
              <dl class="facts two-columns">
                <dt>Message</dt><dd>{l.type} <span class="muted">{bytes(l.bytes)}</span></dd>
                <dt>Key</dt><dd><code>{l.key || '–'}</code></dd>
                <dt>Kind</dt><dd>{l.kind === 'head' ? 'failed itself' : l.kind === 'skipped' ? 'skipped by an operator: what waited behind it went on' : 'waits behind one of the same key that failed'}</dd>
                <dt>Parked</dt><dd>{moment(l.parked_at)}</dd>
                <dt>From</dt><dd><code>{l.stream}</code> entry <code>{l.entry_id}</code></dd>
                <dt>Replayed</dt><dd>{plural(l.replays, 'time')}</dd>
                {l.edits.map((e, i) => [<dt key={`${i}a`}>Edited</dt>, <dd key={`${i}b`}>by {e.who}, {moment(e.at)}: {e.why}</dd>])}
                {l.frame && <><dt>Event id</dt><dd><code>{l.frame.event_id}</code></dd><dt>Trace id</dt><dd><code>{l.frame.trace_id}</code></dd><dt>Made</dt><dd>{moment(l.frame.created_at)} <span class="muted">schema version {l.frame.schema_version}</span></dd></>}
              </dl>
            </Panel>
            <Tabs label="Parts of the letter" value={tab} items={[['attempts', <>Attempts <span class="tab-count">{count(l.attempts.length)}</span></>], ['decoded', 'Decoded'], ['raw', 'Raw'], ...(may('admin') ? [['edit', 'Edit'] as const] : [])]} onChange={(v) => filter({ tab: v === 'attempts' ? undefined : v }, true)} />
            <Panel label={tab} flush={tab === 'attempts'}>
              {tab === 'attempts' ? (l.attempts.length === 0 ? <Empty title="No attempt was noted." /> : (
                <div class="scroll">
                  <table>
                    <caption class="sr">Attempts, oldest first</caption>
                    <thead><tr><th scope="col">#</th><th scope="col">When</th><th scope="col">Error</th><th scope="col">What happened</th><th scope="col">Worker</th></tr></thead>
                    <tbody>{l.attempts.map((a, i) => <tr key={`${a.at} ${i}`}><th scope="row">{i + 1}</th><td>{moment(a.at)}</td><td><Badge tone="bad">{a.error_code}</Badge></td><td class="words">{a.error}</td><td><code>{a.worker}</code></td></tr>)}</tbody>
                  </table>
                </div>
              )) : tab === 'edit' && !may('admin') ? (role ? <Empty icon="key" title="Only an admin edits letters.">What it says is in the tabs before.</Empty> : <Skeleton rows={6} />)
                : <Payload letter={l} tab={tab} owner={name} onEdited={asked.reload} />}
            </Panel>
          </>
        )}
    </Page>
  );
}

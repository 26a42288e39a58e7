// What could not be handled: first by cause, then one by one.
import { useEffect, useRef, useState } from 'preact/hooks';

import { get, type Schema } from '../api';
import { ago, bytes, count, plural } from '../format';
import { useAsked } from '../query';
import { filter, to } from '../router';
import { More, usePaged, type Paged } from '../ui/more';
import { Await, Badge, Button, Empty, Page, Panel, Select, useNow } from '../ui/parts';
import { useChainNames } from './choose';
import { Jobs } from './jobs';
import { LetterActions } from './letter-actions';
import { asQuery, classes, everything, inWords, kinds, type Filter, type Letter } from './letters';

type Group = Schema<'DeadLetterGroup'>;

const FURTHER_MAX = 25; // pages without a match that are asked for in a row

const subscriptions = ['normalizer', 'reconciler', 'fetcher'] as const;

const nothing = Object.fromEntries(Object.keys(everything).map((name) => [name, undefined]));

/** What a field for a date and time holds, which is UTC here, and what the API calls it. */
const asTime = (local: string): string => (local ? `${local.length === 16 ? `${local}:00` : local}Z` : '');
const asLocal = (time: string): string => time.replace(/Z$/, '').slice(0, 16);

function Narrow({ groups, f }: { groups: readonly Group[]; f: Filter }) {
  const among = (name: 'type' | 'reason'): (readonly [string, string])[] => [['', 'all'], ...[...new Set([...groups.map((g) => g[name]), f[name]])].filter(Boolean).toSorted().map((v) => [v, v] as const)];
  const [key, setKey] = useState(f.key);
  useEffect(() => setKey(f.key), [f.key]);
  return (
    <form class="narrow" role="search" aria-label="Narrow the letters" onSubmit={(event) => { event.preventDefault(); filter({ key: key.trim() || undefined }); }}>
      <Select label="Reason" value={f.reason} options={among('reason')} onChange={(v) => filter({ reason: v || undefined, pattern: undefined })} />
      <Select label="Error class" value={f.error_class} options={classes} onChange={(v) => filter({ error_class: v || undefined })} />
      <Select label="Message" value={f.type} options={among('type')} onChange={(v) => filter({ type: v || undefined })} />
      <Select label="Kind" value={f.kind} options={kinds} onChange={(v) => filter({ kind: v || undefined })} />
      <label class="field inline"><span>Key</span><input value={key} maxLength={128} spellcheck={false} onInput={(e) => setKey(e.currentTarget.value)} onBlur={() => filter({ key: key.trim() || undefined })} /></label>
      <label class="field inline"><span>Parked from (UTC)</span><input type="datetime-local" value={asLocal(f.from)} onChange={(e) => filter({ from: asTime(e.currentTarget.value) || undefined })} /></label>
      <label class="field inline"><span>until</span><input type="datetime-local" value={asLocal(f.to)} onChange={(e) => filter({ to: asTime(e.currentTarget.value) || undefined })} /></label>
    </form>
  );
}

/** Behind others: such letters have neither reason nor error, only their kind tells them from all the rest. */
const waits = (g: Group): boolean => g.heads === 0;

function Groups({ groups, current }: { groups: readonly Group[]; current: Filter }) {
  const most = groups.reduce((n, g) => Math.max(n, g.count), 1);
  const now = useNow(5000);
  const chosen = (g: Group): boolean => g.chain === current.chain && g.subscription === current.subscription && g.type === current.type && g.reason === current.reason && g.pattern === current.pattern
    && (!waits(g) || current.kind === 'follower');
  return (
    <ul class="groups">
      {groups.toSorted((a, b) => b.count - a.count).map((g) => (
        <li key={`${g.chain} ${g.subscription} ${g.type} ${g.reason} ${g.pattern} ${waits(g)}`}>
          <button type="button" class="group" aria-pressed={chosen(g)}
            onClick={() => filter(chosen(g) ? nothing : { chain: g.chain, subscription: g.subscription, type: g.type, reason: g.reason, pattern: g.pattern, kind: waits(g) ? 'follower' : undefined })}>
            <span class="group-count">{!g.complete && <span aria-hidden="true" title="There are more letters than were looked at">≥ </span>}{!g.complete && <span class="sr">at least </span>}{count(g.count)}</span>
            <span class="group-text">
              <span class="group-head"><b>{waits(g) ? 'waits behind' : g.reason || 'unknown'}</b> <span class="muted">{g.chain} · {g.subscription} · {g.type}</span></span>
              <span class="group-error">{waits(g) ? 'nothing is wrong with these: others of their keys failed before them' : g.error || 'no error was noted'}</span>
              <span class="bar" aria-hidden="true"><span style={{ width: `${(g.count / most) * 100}%` }} /></span>
            </span>
            <span class="group-side muted small">
              {g.replayed > 0 && <Badge tone="warn">{count(g.replayed)} tried again</Badge>}
              <span>{bytes(g.bytes)}</span>
              <span>last {ago(g.last_at, now)}</span>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** No letter yet, but there are more to look at: a page ends where the gateway has looked long enough. */
function Further({ list }: { list: Paged<Letter> }) {
  const left = useRef(FURTHER_MAX);
  useEffect(() => {
    if (list.moreBusy || list.moreError || left.current === 0) return;
    left.current--;
    list.more();
  });
  return <><Empty title={left.current > 0 ? 'Looking at older letters first…' : 'None among the letters looked at so far.'} /><More list={list} /></>;
}

export function DeadLetters({ query }: { query: URLSearchParams }) {
  const names = useChainNames() ?? [];
  const now = useNow(5000);
  const f = Object.fromEntries(Object.keys(everything).map((name) => [name, query.get(name) ?? ''])) as unknown as Filter;
  const narrowed = Object.values(f).some(Boolean);
  // By all but what the clusters themselves choose: the others stay in view.
  const { type: _type, reason: _reason, pattern: _pattern, kind: _kind, ...around } = asQuery(f);
  const [many, setMany] = useState(false);
  const groups = useAsked(`groups ${JSON.stringify(around)}`, (signal) => get('/admin/v1/dlq/groups', { query: around, signal }), many ? 20_000 : 4000);
  useEffect(() => setMany(groups.data?.complete === false), [groups.data?.complete]);
  const list = usePaged(`letters ${Object.values(f).join('|')}`, (cursor, signal) => get('/admin/v1/dlq', {
    query: { limit: 50, ...asQuery(f), ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 4000);
  const [turn, setTurn] = useState(0);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => setSelected(new Set()), [query.toString()]);
  const id = (l: Letter): string => `${l.chain} ${l.subscription} ${l.id}`;
  const picked = list.items.filter((l) => selected.has(id(l)));
  const one = picked[0];
  const mixed = picked.some((l) => l.subscription !== one?.subscription || l.chain !== one?.chain);
  const toggle = (l: Letter, on: boolean): void => {
    const next = new Set(selected);
    if (on) next.add(id(l));
    else next.delete(id(l));
    setSelected(next);
  };
  const reload = (): void => {
    setSelected(new Set());
    list.reload();
    groups.reload();
  };
  const acted = (): void => {
    setTurn((n) => n + 1);
    reload();
  };
  const total = groups.data?.items.reduce((n, g) => n + g.count, 0) ?? 0;
  return (
    <Page title="Dead letters" lead={groups.data && (total === 0 ? (Object.keys(around).length > 0 ? 'None of these.' : 'Nothing waits for a person.') : `${groups.data.complete ? '' : 'At least '}${plural(total, 'message')} could not be handled, for ${plural(groups.data.items.length, 'cause')}.`)}
      actions={<>
        <Select label="Chain" value={f.chain} options={[['', 'all'], ...names.map((n) => [n, n] as const)]} onChange={(v) => filter({ chain: v || undefined })} />
        <Select label="Subscription" value={f.subscription} options={[['', 'all'], ...subscriptions.map((s) => [s, s] as const)]} onChange={(v) => filter({ subscription: v || undefined })} />
      </>}>
      <Jobs chain={f.chain} turn={turn} onEnd={reload} />
      <Panel title="By cause" flush>
        <Await asked={groups} rows={3}>
          {(g) => g.items.length === 0 ? <Empty title="No dead letter.">Whatever arrived could be handled.</Empty> : <Groups groups={g.items} current={f} />}
        </Await>
      </Panel>
      {(narrowed || list.items.length > 0) && (
        <Panel title="Letters" hint={narrowed ? <>{inWords(f)} <Button kind="ghost" onClick={() => filter(nothing)}>Clear</Button></> : 'all'} flush
          actions={picked.length > 0 && one
            ? mixed ? <span class="muted small">Select letters of one chain and subscription to act on them.</span>
              : <LetterActions filter={{ ...everything, chain: one.chain, subscription: one.subscription }} letters={picked} onDone={acted} />
            : list.items.length === 0 ? undefined : f.subscription ? <LetterActions filter={f} several={names.length > 1} onDone={acted} /> : <span class="muted small">Choose a cause or tick letters to act on them.</span>}>
          <Narrow groups={groups.data?.items ?? []} f={f} />
          <Await asked={list} rows={6}>
            {() => list.items.length === 0 ? (list.next ? <Further list={list} /> : <Empty title="No letter matches." />) : (
              <>
                <div class="scroll">
                  <table>
                    <caption class="sr">Dead letters, oldest first</caption>
                    <thead><tr>
                      <th scope="col" class="tick-cell"><input type="checkbox" aria-label="Select all shown" checked={picked.length === list.items.length} ref={(el) => { if (el) el.indeterminate = picked.length > 0 && picked.length < list.items.length; }}
                        onChange={(e) => setSelected(e.currentTarget.checked ? new Set(list.items.map(id)) : new Set())} /></th>
                      <th scope="col">Letter</th><th scope="col">Error</th><th scope="col">Message</th><th scope="col">Key</th><th scope="col" class="num">Attempts</th><th scope="col">Parked</th>
                    </tr></thead>
                    <tbody>
                      {list.items.map((l) => (
                        <tr key={id(l)} class={selected.has(id(l)) ? 'chosen' : undefined}>
                          <td class="tick-cell"><input type="checkbox" aria-label={`Select letter ${l.id}`} checked={selected.has(id(l))} onChange={(e) => toggle(l, e.currentTarget.checked)} /></td>
                          <th scope="row"><a href={to(['dead-letters', l.chain, l.subscription, l.id])}>{l.id}</a><br /><small class="muted">{l.chain} · {l.subscription}</small></th>
                          <td class="words"><span class="error-line"><Badge tone={l.kind === 'head' ? 'bad' : 'quiet'}>{l.kind === 'head' ? l.reason || 'unknown' : l.kind === 'skipped' ? 'skipped' : 'waits behind'}</Badge> <span class="clip" title={l.error}>{l.error}</span></span></td>
                          <td>{l.type}<br /><small class="muted">{bytes(l.bytes)}</small></td>
                          <td class="clip-cell"><button type="button" class="link clip" title={`Only this key: ${l.key}`} onClick={() => filter({ key: l.key })}>{l.key || '–'}</button></td>
                          <td class="num">{count(l.attempt_count)}{l.replays > 0 && <><br /><small class="muted">{plural(l.replays, 'replay')}</small></>}</td>
                          <td>{ago(l.parked_at, now)}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
                <More list={list} />
              </>
            )}
          </Await>
        </Panel>
      )}
    </Page>
  );
}

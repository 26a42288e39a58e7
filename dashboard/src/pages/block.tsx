// One block: what it is, what was checked about it, and what it moved.
import { get, type Schema } from '../api';
import { ago, count, moment, plural, words } from '../format';
import { useAsked } from '../query';
import { filter, place, to } from '../router';
import { useStore } from '../store';
import { Icon } from '../ui/icon';
import { More, usePaged } from '../ui/more';
import { Await, Badge, Button, Empty, Failed, Hex, Page, Panel, Skeleton, Tabs } from '../ui/parts';
import { Amount } from './amount';
import { finalityTone } from './blocks';
import { EntriesTable } from './entries';

type Check = Schema<'Certificate'>['checks'][number];

const meaning: Partial<Record<Check['name'], string>> = {
  header_hash: 'The header hashes to the block hash.',
  transactions_root: 'The transactions hash to the root in the header.',
  receipts_root: 'The receipts hash to the root in the header.',
  withdrawals_root: 'The withdrawals hash to the root in the header.',
  logs_bloom: 'The logs give the bloom filter in the header.',
  transaction_hashes: 'Each transaction hashes to its own hash.',
  senders: 'Each sender is the one that signed.',
  receipt_coherence: 'Gas and indexes of the receipts add up.',
  log_coherence: 'Logs are numbered without a hole and name this block.',
  trace_coherence: 'Internal transfers agree with the transactions.',
  fees: 'Fees paid, burnt and received add up.',
  uncles_hash: 'The uncles hash to the value in the header.',
  conservation: 'What is taken somewhere arrives somewhere.',
  state_diff: 'Balances move as the node’s state difference says.',
  shape: 'The answers have the shape that they must have.',
};

const looks: Record<Check['result'], { icon: string; tone: string; word: string }> = {
  passed: { icon: 'check', tone: 'good', word: 'passed' },
  failed: { icon: 'cross', tone: 'bad', word: 'failed' },
  not_possible: { icon: 'minus', tone: 'quiet', word: 'not possible' },
  unknown: { icon: 'minus', tone: 'quiet', word: 'unknown' },
};

function Certificate({ chain, block }: { chain: string; block: string }) {
  const asked = useAsked(`certificate ${chain} ${block}`, (signal) => get('/v1/chains/{chain}/blocks/{block}/certificate', { path: { chain, block }, signal }));
  return (
    <Await asked={asked} rows={6}>
      {(c) => {
        const passed = c.checks.filter((check) => check.result === 'passed').length;
        return (
          <>
            <div class={c.proven ? 'seal good' : 'seal bad'}>
              <Icon name={c.proven ? 'check' : 'alert'} />
              <div>
                <p><b>{c.proven ? 'Proven' : 'Not proven'}</b>: {passed} of {plural(c.checks.length, 'check')} passed{c.checks.length > passed && c.proven && (c.checks.length - passed === 1 ? ', the other was not possible here' : ', the others were not possible here')}.</p>
                <p class="muted small">Normalizer {c.normalizer_version}{c.normalized_at && <>, {moment(c.normalized_at)}</>}</p>
              </div>
            </div>
            <ul class="checks">
              {c.checks.map((check, i) => (
                <li key={check.name + check.endpoint + i} class={looks[check.result].tone}>
                  <Icon name={looks[check.result].icon} />
                  <div>
                    <p><b>{words(check.name)}</b> <span class="result">{looks[check.result].word}</span>{check.endpoint && <small class="muted"> · endpoint {check.endpoint}</small>}</p>
                    <p class="muted small">{check.detail || meaning[check.name]}</p>
                  </div>
                </li>
              ))}
            </ul>
          </>
        );
      }}
    </Await>
  );
}

function Entries({ chain, block }: { chain: string; block: string }) {
  const list = usePaged(`block entries ${chain} ${block}`, (cursor, signal) => get('/v1/chains/{chain}/blocks/{block}/entries', { path: { chain, block }, query: { limit: 100, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }));
  return (
    <Await asked={list} rows={8}>
      {() => list.items.length === 0 ? <Empty title="This block moved no balance." /> : <><EntriesTable entries={list.items} chain={chain} caption={`Entries of block ${block}`} hide={['height']} /><More list={list} /></>}
    </Await>
  );
}

function Whole({ b, chain }: { b: Schema<'Block'>; chain: string }) {
  const { query } = useStore(place);
  const tab = query.get('tab') ?? 'certificate';
  return (
    <>
      <Panel label="Block">
        <dl class="facts two-columns">
          <dt>Hash</dt><dd><Hex value={b.hash} what="the hash" whole copy /></dd>
          <dt>Parent</dt><dd><Hex value={b.parent_hash} href={to(['chains', chain, 'blocks', b.parent_hash])} what="the parent's hash" copy /></dd>
          <dt>Time</dt><dd>{moment(b.timestamp * 1000)} <span class="muted">{ago(b.timestamp * 1000)}</span></dd>
          <dt>Applied</dt><dd>{moment(b.applied_at)}</dd>
          <dt>Transactions</dt><dd>{count(b.transaction_count)}</dd>
          <dt>Entries</dt><dd>{count(b.entry_count)}</dd>
          <dt>Gas used</dt><dd>{count(b.gas_used)}</dd>
          <dt>Base fee</dt><dd>{b.base_fee === null ? '–' : <Amount raw={b.base_fee} asset="" decimals={9} />} {b.base_fee !== null && <span class="muted">gwei</span>}</dd>
          <dt>Fee recipient</dt><dd>{b.fee_recipient ? <Hex value={b.fee_recipient} href={to(['chains', chain, 'accounts', b.fee_recipient])} what="the account" copy /> : '–'}</dd>
          <dt>Told by</dt><dd>{b.endpoints.join(', ') || '–'}</dd>
        </dl>
      </Panel>
      <Tabs label="Parts of the block" value={tab} items={[['certificate', 'Certificate'], ['entries', <>Entries <span class="tab-count">{count(b.entry_count)}</span></>]]} onChange={(v) => filter({ tab: v === 'certificate' ? undefined : v }, true)} />
      <Panel label={tab === 'entries' ? 'Entries' : 'Certificate'} flush={tab === 'entries'}>{tab === 'entries' ? <Entries chain={chain} block={b.hash} /> : <Certificate chain={chain} block={b.hash} />}</Panel>
    </>
  );
}

export function BlockPage({ chain, block }: { chain: string; block: string }) {
  const asked = useAsked(`block ${chain} ${block}`, (signal) => get('/v1/chains/{chain}/blocks/{block}', { path: { chain, block }, signal }), 5000);
  const b = asked.data;
  const name = b ? `Block ${count(b.height)}` : 'Block';
  return (
    <Page title={name} lead={<>{chain} {b && <Badge tone={finalityTone[b.finality]}>{b.finality}</Badge>}{b?.finality === 'superseded' && ' A reorg took this block back.'}</>}
      actions={b && <>{b.height > 0 && <a class="button plain" href={to(['chains', chain, 'blocks', b.height - 1])}>‹ {count(b.height - 1)}</a>}<a class="button plain" href={to(['chains', chain, 'blocks', b.height + 1])}>{count(b.height + 1)} ›</a></>}>
      {b ? <Whole b={b} chain={chain} />
        : asked.error?.status === 404 ? <Empty icon="blocks" title="The ledger does not have this block.">It may not be there yet. <Button kind="ghost" onClick={asked.reload}>Look again</Button></Empty>
          : asked.error ? <Failed problem={asked.error} retry={asked.reload} /> : <Skeleton rows={8} />}
    </Page>
  );
}

// What the ledger adds up when it is asked: an account by asset and kind, an asset's holders and movements, a chain's blocks over time.
import { get, type Schema } from '../api';
import { count, percent, plural, words } from '../format';
import { useAsked } from '../query';
import { filter, to } from '../router';
import { TimeChart, type Point } from '../ui/chart';
import { Await, Badge, Empty, Figure, Hex, Page, Panel, Select } from '../ui/parts';
import { Table, type Column } from '../ui/table';
import { Amount } from './amount';
import { AssetName } from './entries';

type Sum = Schema<'AccountStatistics'>['items'][number];
type Asset = Schema<'AssetStatistics'>;
type Step = 'minute' | 'hour' | 'day';

const EVERY_MS = 30_000; // an answer may be so old anyway
const STEPS: readonly Step[] = ['minute', 'hour', 'day'];
const BLOCKS = ['100', '1000'];

export function AssetLink({ chain, asset }: { chain: string; asset: string }) {
  return <a href={to(['chains', chain, 'assets', asset])}><AssetName asset={asset} /></a>;
}

/** from: the first block that counts; 0: all. */
export function CameAndWent({ chain, account, from, decimals }: { chain: string; account: string; from: number; decimals: (asset: string) => number | null | undefined }) {
  const asked = useAsked(`sums ${chain} ${account} ${from}`, (signal) => get('/v1/chains/{chain}/accounts/{account}/statistics', {
    path: { chain, account }, query: from > 0 ? { from } : {}, signal }), EVERY_MS);
  const columns: readonly Column<Sum>[] = [
    { head: 'Asset', as: 'row', cell: (s) => <AssetLink chain={chain} asset={s.asset} /> },
    { head: 'Kind', cell: (s) => words(s.kind) },
    { head: 'Came', as: 'num', tone: (s) => (s.in === '0' ? 'muted' : 'plus'), cell: (s) => <Amount raw={s.in} asset={s.asset} decimals={decimals(s.asset)} signed /> },
    { head: 'Went', as: 'num', tone: (s) => (s.out === '0' ? 'muted' : 'minus'), cell: (s) => <Amount raw={s.out === '0' ? '0' : `-${s.out}`} asset={s.asset} decimals={decimals(s.asset)} /> },
    { head: 'Movements', as: 'num', cell: (s) => count(s.entries) },
    { head: 'Last', as: 'num', cell: (s) => <a href={to(['chains', chain, 'blocks', s.last_height])}>{count(s.last_height)}</a> },
  ];
  return (
    <Panel title="What came and went" hint={<>{from > 0 ? `from block ${count(from)}` : 'from the beginning'}{asked.data && `, ${plural(asked.data.entries, 'movement')}`}</>} flush>
      <Await asked={asked}>
        {(sums) => sums.items.length === 0 ? <Empty title="Nothing came or went in these blocks." />
          : <Table caption="What came and went, by asset and kind" columns={columns} items={sums.items} id={(s) => `${s.asset} ${s.kind}`} />}
      </Await>
    </Panel>
  );
}

/** Of two whole numbers of any size. */
const share = (part: string, all: string): string => (BigInt(all) > 0n ? percent(Number((BigInt(part) * 1_000_000n) / BigInt(all)), 1_000_000) : '–');

function Holders({ chain, statistics: s, decimals }: { chain: string; statistics: Asset; decimals: number | null | undefined }) {
  const { supply, top } = s;
  if (top === null || supply === null) {
    return s.non_conserving ? <Empty title="Its logs do not tell who holds it.">Balances of this asset are the chain’s word, asked for one by one: they have no sum here.</Empty>
      : <Empty title="Too many accounts hold it to be added up in one answer." />;
  }
  if (top.length === 0) return <Empty title="Nobody holds it." />;
  const columns: readonly Column<(typeof top)[number]>[] = [
    { head: 'Account', as: 'row', cell: (h) => <Hex value={h.account} href={to(['chains', chain, 'accounts', h.account], { asset: s.asset })} what="the account" /> },
    { head: 'Balance', as: 'num', cell: (h) => <Amount raw={h.amount} asset={s.asset} decimals={decimals} /> },
    { head: 'Of the supply', as: 'num', cell: (h) => share(h.amount, supply) },
  ];
  return <Table caption="Largest holders" columns={columns} items={top} id={(h) => h.account} />;
}

function Moved({ statistics: s, decimals }: { statistics: Asset; decimals: number | null | undefined }) {
  if (s.moved.length === 0) return <Empty title="It did not move in these blocks." />;
  const columns: readonly Column<(typeof s.moved)[number]>[] = [
    { head: 'Kind', as: 'row', cell: (m) => words(m.kind) },
    { head: 'Received', as: 'num', cell: (m) => <Amount raw={m.received} asset={s.asset} decimals={decimals} /> },
    { head: 'Accounts', as: 'num', cell: (m) => count(m.accounts) },
    { head: 'Movements', as: 'num', cell: (m) => count(m.entries) },
  ];
  return <Table caption="What moved, by kind" columns={columns} items={s.moved} id={(m) => m.kind} />;
}

export function AssetPage({ chain, asset, query }: { chain: string; asset: string; query: URLSearchParams }) {
  const blocks = BLOCKS.find((b) => b === query.get('blocks')) ?? '100';
  const asked = useAsked(`asset sums ${chain} ${asset} ${blocks}`, (signal) => get('/v1/chains/{chain}/assets/{asset}/statistics', {
    path: { chain, asset }, query: { blocks: Number(blocks), top: 20 }, signal }), EVERY_MS);
  const facts = useAsked(asset === 'native' ? null : `asset ${chain} ${asset}`, (signal) => get('/v1/chains/{chain}/assets/{asset}', { path: { chain, asset }, signal }));
  const decimals = facts.data?.decimals;
  return (
    <Page title="Asset" lead={<>{asset === 'native' ? 'native' : <Hex value={asset} what="the asset" whole copy />}
      {facts.data?.symbol && <span title="As the contract says: not to be trusted"> “{facts.data.symbol}”</span>} on <a href={to(['chains', chain])}>{chain}</a></>}>
      <Panel title="Held" hint={asked.data && `at block ${count(asked.data.to_height)}`}>
        <Await asked={asked} rows={2}>
          {(s) => (
            <dl class="figures">
              <Figure label="Supply" value={s.supply === null ? '–' : <Amount raw={s.supply} asset={asset} decimals={decimals} />}
                note={s.openings_unknown ? <Badge tone="warn" title="No node had their state before the ledger's first block.">{plural(s.openings_unknown, 'account')} by change only</Badge> : 'what the ledger’s accounts hold together'} />
              <Figure label="Holders" value={count(s.holders)} note="with a balance above zero" />
            </dl>
          )}
        </Await>
      </Panel>
      <Panel title="Largest holders" flush><Await asked={asked}>{(s) => <Holders chain={chain} statistics={s} decimals={decimals} />}</Await></Panel>
      <Panel title="Moved" hint={asked.data && `blocks ${count(asked.data.from_height)} to ${count(asked.data.to_height)}`} flush
        actions={<Select label="Over" value={blocks} options={BLOCKS.map((b) => [b, `the last ${count(Number(b))} blocks`] as const)} onChange={(v) => filter({ blocks: v === '100' ? undefined : v }, true)} />}>
        <Await asked={asked}>{(s) => <Moved statistics={s} decimals={decimals} />}</Await>
      </Panel>
    </Page>
  );
}

/** A chain's newest blocks (as many as one answer is of) by minute, hour or day. */
export function History({ chain, query }: { chain: string; query: URLSearchParams }) {
  const step = STEPS.find((s) => s === query.get('step')) ?? 'hour';
  const asked = useAsked(`history ${chain} ${step}`, (signal) => get('/v1/chains/{chain}/statistics/history', { path: { chain }, query: { step }, signal }), EVERY_MS);
  return (
    <Panel title="History" hint="of the newest blocks; the first and the last step may not be whole"
      actions={<Select label="By" value={step} options={STEPS.map((s) => [s, s] as const)} onChange={(v) => filter({ step: v === 'hour' ? undefined : v }, true)} />}>
      <Await asked={asked}>
        {({ items }) => {
          if (items.length < 2) return <Empty title={items.length === 0 ? 'There is no block yet.' : `All blocks lie within one ${step}.`} />;
          const points = (figure: (item: (typeof items)[number]) => number): Point[] => items.map((item) => ({ at: item.timestamp * 1000, value: figure(item) }));
          const chart = { height: 150, span: Number.MAX_SAFE_INTEGER };
          return (
            <div class="grid two-up">
              <TimeChart title={`Transactions by ${step}`} {...chart} series={[{ name: 'all', tone: 'a', area: true, points: points((i) => i.transactions) }, { name: 'failed', tone: 'c', points: points((i) => i.failed_transactions) }]} />
              <TimeChart title={`Entries by ${step}`} {...chart} series={[{ name: 'entries', tone: 'a', area: true, points: points((i) => i.entries) }]} />
              <TimeChart title={`Fees by ${step}`} {...chart} whole={false} format={(n) => (n === 0 ? '0' : n >= 0.01 && n < 10_000 ? String(Number(n.toPrecision(3))) : n.toExponential(1))}
                series={[{ name: 'fees', tone: 'b', area: true, points: points((i) => Number(i.fees) / 1e18) }]} />
              <TimeChart title={`Senders by ${step}`} {...chart} series={[{ name: 'accounts', tone: 'b', points: points((i) => i.senders) }]} />
            </div>
          );
        }}
      </Await>
    </Panel>
  );
}

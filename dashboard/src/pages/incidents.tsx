// What the ledger waits for, and where it and the chain differ.
import { useState } from 'preact/hooks';

import { get, post, type Answer } from '../api';
import { ago, count, moment, plural, shorten, words } from '../format';
import { filter, to } from '../router';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { More, usePaged } from '../ui/more';
import { Await, Badge, Button, Empty, Hex, Page, Panel, Select, Tabs } from '../ui/parts';
import { ACTIONS, List, type Column } from '../ui/table';
import { toast } from '../ui/toast';
import { Amount } from './amount';
import { useChainNames } from './choose';
import { AssetName } from './entries';

type Gap = Answer<'/admin/v1/gaps'>['items'][number];
type Incident = Answer<'/admin/v1/incidents'>['items'][number];

const why: Record<string, string> = {
  missing: 'No endpoint has delivered it yet.',
  unproven: 'It arrived, but its proof failed.',
  dead_letter: 'It could not be handled: see the dead letters.',
  quarantined: 'An operator holds it back.',
};

function range(g: Gap): string {
  return g.from_height === g.to_height ? count(g.from_height) : `${count(g.from_height)} – ${count(g.to_height)}`;
}

function lasted(from: string, until: string | null): string {
  return until === null ? `opened ${ago(from)}` : `closed ${ago(until)}`;
}

function Gaps({ chain, open }: { chain: string; open: string }) {
  const { may } = useWho();
  const [again, setAgain] = useState<Gap>();
  const list = usePaged(`gaps ${chain} ${open}`, (cursor, signal) => get('/admin/v1/gaps', {
    query: { limit: 50, ...(chain ? { chain } : {}), ...(open === 'all' ? {} : { open: open === 'open' }), ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 3000);
  const columns: readonly Column<Gap>[] = [
    { head: 'State', cell: (g) => <Badge tone={g.open ? 'warn' : 'quiet'}>{g.open ? 'open' : 'closed'}</Badge> },
    { head: 'Chain', cell: (g) => <a href={to(['chains', g.chain])}>{g.chain}</a> },
    { head: 'Blocks', as: 'row', cell: range },
    { head: 'Reason', title: (g) => why[g.reason], cell: (g) => words(g.reason) },
    { head: 'Detail', as: 'words', cell: (g) => g.detail || <span class="muted">{why[g.reason]}</span> },
    { head: 'Attempts', as: 'num', cell: (g) => count(g.attempts) },
    { head: 'When', title: (g) => `${moment(g.opened_at)} to ${moment(g.closed_at)}`, cell: (g) => lasted(g.opened_at, g.closed_at) },
    { head: ACTIONS, tone: () => 'end', cell: (g) => g.open && may('operator') && <Button kind="ghost" icon="refetch" onClick={() => setAgain(g)}>Fetch again</Button> },
  ];
  return (
    <Panel label="Gaps" flush>
      <List list={list} caption="Gaps, newest first" columns={columns} id={(g) => g.id}
        empty={<Empty title={open === 'open' ? 'No open gap.' : 'No gap.'}>Every block up to the ledger's height is there.</Empty>} />
      {again && (
        <Confirm title={`Fetch ${range(again)} of ${again.chain} again?`} action="Fetch" reason="optional" onClose={() => setAgain(undefined)}
          onConfirm={async (reason) => {
            await post('/admin/v1/chains/{chain}/refetch', { path: { chain: again.chain }, body: { from_height: again.from_height, to_height: again.to_height, reason } });
            toast('Fetch again: the command was sent');
            list.reload();
          }}>
          <p>{plural(again.to_height - again.from_height + 1, 'block')} will be asked of the endpoints again. {why[again.reason]}</p>
        </Confirm>
      )}
    </Panel>
  );
}

function difference(i: Incident): string | undefined {
  return i.expected !== null && i.observed !== null ? String(BigInt(i.observed) - BigInt(i.expected)) : undefined;
}

const meaning: Record<string, string> = {
  mismatch: 'The chain told another balance than the ledger has, at the same block.',
  unproven_block: 'A block’s proof failed and no endpoint delivered a better one.',
  finality_violation: 'A block that was final is not part of the chain any more.',
  deep_reorg: 'A reorg went deeper than weir follows by itself.',
};
const steps = ['open', 'confirmed', 'bisected', 'healing', 'closed'];

function IncidentCard({ incident: i }: { incident: Incident }) {
  const { may } = useWho();
  const [compare, setCompare] = useState(false);
  const delta = difference(i);
  return (
    <details class={`incident ${i.open ? 'bad' : ''}`} open={i.open}>
      <summary>
        <Badge tone={i.open ? 'bad' : 'quiet'}>{i.open ? 'open' : words(i.resolution ?? 'closed').toLowerCase()}</Badge>
        <b>{words(i.kind)}</b> <span class="muted">{i.chain} · block {count(i.height)}{i.account && <> · {shorten(i.account)}</>}{i.asset && <> · <AssetName asset={i.asset} /></>}</span>
        <span class="grow" /><span class="muted small" title={moment(i.opened_at)}>{lasted(i.opened_at, i.closed_at)}</span>
      </summary>
      <div class="incident-body">
        <p class="muted">{meaning[i.kind] ?? ''}</p>
        <ol class="steps" aria-label="Progress">{steps.map((s) => <li key={s} class={steps.indexOf(s) <= steps.indexOf(i.state) ? 'done' : ''} aria-current={s === i.state ? 'step' : undefined}>{s}</li>)}</ol>
        <dl class="facts two-columns">
          {i.account && <><dt>Account</dt><dd><Hex value={i.account} href={to(['chains', i.chain, 'accounts', i.account], i.asset ? { asset: i.asset } : {})} what="the account" copy /></dd></>}
          {i.asset && <><dt>Asset</dt><dd><AssetName asset={i.asset} /></dd></>}
          {i.expected !== null && <><dt>Ledger says</dt><dd><Amount raw={i.expected} asset={i.asset ?? ''} /> <code class="small muted">{i.expected}</code></dd></>}
          {i.observed !== null && <><dt>Chain says</dt><dd><Amount raw={i.observed} asset={i.asset ?? ''} /> <code class="small muted">{i.observed}</code></dd></>}
          {delta !== undefined && <><dt>Difference</dt><dd class={delta.startsWith('-') ? 'minus' : 'plus'}><Amount raw={delta} asset={i.asset ?? ''} signed /></dd></>}
          <dt>First wrong block</dt><dd>{i.first_wrong_height === null ? <span class="muted">not found yet</span> : <a href={to(['chains', i.chain, 'blocks', i.first_wrong_height])}>{count(i.first_wrong_height)}</a>}</dd>
          <dt>Resolution</dt><dd>{i.resolution ? words(i.resolution) : <span class="muted">none yet</span>}</dd>
        </dl>
        <details class="evidence"><summary>Evidence</summary><pre>{JSON.stringify(i.evidence, null, 2)}</pre></details>
        {i.open && i.account && may('operator') && <Button icon="compare" onClick={() => setCompare(true)}>Compare again</Button>}
      </div>
      {compare && i.account && (
        <Confirm title="Compare this balance again?" action="Compare" onClose={() => setCompare(false)}
          onConfirm={async () => {
            await post('/admin/v1/chains/{chain}/reconcile', { path: { chain: i.chain }, body: { account: i.account ?? '', ...(i.asset ? { asset: i.asset } : {}) } });
            toast('Reconcile: the command was sent');
          }}>
          <p>The chain is asked for the balance at the ledger's newest block, on more than one endpoint where there are several.</p>
        </Confirm>
      )}
    </details>
  );
}

function IncidentList({ chain, open }: { chain: string; open: string }) {
  const list = usePaged(`incidents ${chain} ${open}`, (cursor, signal) => get('/admin/v1/incidents', {
    query: { limit: 30, ...(chain ? { chain } : {}), ...(open === 'all' ? {} : { open: open === 'open' }), ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 3000);
  return (
    <Await asked={list} rows={5}>
      {() => list.items.length === 0 ? <Panel label="Incidents"><Empty title={open === 'open' ? 'No open incident.' : 'No incident.'}>Wherever the chain was asked, it said what the ledger says.</Empty></Panel> : (
        <div class="incidents">{list.items.map((i) => <IncidentCard key={i.id} incident={i} />)}<More list={list} /></div>
      )}
    </Await>
  );
}

export function Incidents({ query }: { query: URLSearchParams }) {
  const names = useChainNames() ?? [];
  const tab = query.get('tab') ?? 'incidents';
  const chain = query.get('chain') ?? '';
  const open = query.get('show') ?? 'open';
  return (
    <Page title="Gaps & incidents" lead="What the ledger waits for, and where it and the chain differ."
      actions={<>
        <Select label="Chain" value={chain} options={[['', 'all'], ...names.map((n) => [n, n] as const)]} onChange={(v) => filter({ chain: v || undefined })} />
        <Select label="Show" value={open} options={[['open', 'open'], ['closed', 'closed'], ['all', 'all']]} onChange={(v) => filter({ show: v === 'open' ? undefined : v })} />
      </>}>
      <Tabs label="Kind" value={tab} items={[['incidents', 'Incidents'], ['gaps', 'Gaps']]} onChange={(v) => filter({ tab: v === 'incidents' ? undefined : v })} />
      {tab === 'gaps' ? <Gaps chain={chain} open={open} /> : <IncidentList chain={chain} open={open} />}
    </Page>
  );
}

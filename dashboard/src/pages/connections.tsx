// Who follows the ledger live, on which gateway, and how far behind each of them is.
import { get, type Schema } from '../api';
import { ago, bytes, count, duration, moment, plural, words } from '../format';
import { filter, to } from '../router';
import { More, usePaged } from '../ui/more';
import { Await, Badge, Button, Empty, Hex, Page, Panel, useNow, type Tone } from '../ui/parts';
import { ACTIONS, Table, type Column } from '../ui/table';
import { AssetName } from './entries';

type Connection = Schema<'Connection'>;
type Subscription = Connection['subscriptions'][number];
type Instance = Schema<'Instance'>;

export const stateTone: Record<string, Tone> = { open: 'good', slow: 'warn', closing: 'quiet', live: 'good', reading: 'info', locating: 'info', waiting: 'warn', retrying: 'bad', lagging: 'warn' };
const carriers: Record<Connection['carrier'], string> = { websocket: 'WebSocket', stream: 'event stream', poll: 'long poll' };
const whenLate: Record<Subscription['laggard'], string> = {
  close: 'closed: the client begins again from its offset', resume: 'held back, and resumed from the journal', drop: 'told of a gap', conflate: 'given the newest of each account',
};

function subject(s: Subscription) {
  if (s.watchlist) return <a href={to(['watchlists', s.watchlist])}>watch-list {s.watchlist}</a>;
  return s.account ? <Hex value={s.account} href={to(['chains', s.chain, 'accounts', s.account])} what="the account" /> : <span class="muted">all accounts</span>;
}

const columns: readonly Column<Subscription>[] = [
  { head: 'Topic', as: 'row', cell: (s) => s.topic.replace('_', ' ') },
  { head: 'Chain', cell: (s) => <a href={to(['chains', s.chain])}>{s.chain}</a> },
  { head: 'Of', cell: subject },
  { head: 'Asset', cell: (s) => s.asset ? <AssetName asset={s.asset} /> : <span class="muted">all</span> },
  { head: 'Kind', cell: (s) => s.kind ? words(s.kind) : <span class="muted">all</span> },
  { head: 'State', cell: (s) => <Badge tone={stateTone[s.state] ?? 'quiet'}>{s.state}</Badge> },
  { head: 'When too slow', title: (s) => whenLate[s.laggard], cell: (s) => s.laggard },
  { head: 'Behind', as: 'num', cell: (s) => (s.behind === 0 ? 'level' : plural(s.behind, 'event')) },
  { head: 'Pushed', as: 'num', cell: (s) => count(s.pushes) },
];

function Gateways({ instances, chosen }: { instances: readonly Instance[]; chosen: Instance | undefined }) {
  const now = useNow(1000);
  const gateways: readonly Column<Instance>[] = [
    { head: 'Gateway', as: 'row', cell: (i) => <><code>{i.instance}</code>{i === instances[0] && <span class="muted"> answers this page</span>}</> },
    { head: 'Version', cell: (i) => i.version },
    { head: 'Running', title: (i) => `since ${moment(i.started_at)}`, cell: (i) => duration(Math.max(0, now - Date.parse(i.started_at ?? ''))) },
    { head: 'Heard of', cell: (i) => ago(i.heard_at, now) },
    { head: 'Connections', as: 'num', cell: (i) => count(i.connections) },
    { head: 'Subscriptions', as: 'num', cell: (i) => count(i.subscriptions) },
    { head: ACTIONS, tone: () => 'end', cell: (i) => <Button kind="ghost" aria-pressed={i === chosen} onClick={() => filter({ gateway: i === instances[0] ? undefined : i.instance }, true)}>{i === chosen ? 'Shown' : 'Show'}</Button> },
  ];
  return <Panel title="Gateways" hint={plural(instances.length, 'gateway')} flush><Table caption="Gateways over this Redis" columns={instances.length > 1 ? gateways : gateways.slice(0, -1)} items={instances} id={(i) => i.instance} /></Panel>;
}

function One({ connection: c }: { connection: Connection }) {
  const name = c.who ?? c.remote;
  return (
    <Panel label={`Connection of ${name}`} title={<><Badge tone={stateTone[c.state] ?? 'quiet'}>{c.state}</Badge> {c.who ?? 'without a key'} <span class="muted">from {c.remote} by {carriers[c.carrier]}</span></>}
      hint={`${c.queued_frames === 0 ? 'nothing waits to be sent' : `${plural(c.queued_frames, 'frame')} (${bytes(c.queued_bytes)}) wait to be sent`} · heard ${duration(c.heard_ms_ago)} ago`} flush>
      {c.subscriptions.length === 0 ? <Empty title="It follows nothing yet." /> : (
        <Table caption={`Subscriptions of ${name}`} columns={columns} items={c.subscriptions} id={(s) => s.subscription} />
      )}
    </Panel>
  );
}

export function Connections({ query }: { query: URLSearchParams }) {
  const find = (query.get('find') ?? '').trim();
  const list = usePaged(`connections ${find}`, (cursor, signal) => get('/admin/v1/connections', { query: { limit: 100, ...(find ? { find } : {}), ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 2000);
  const d = list.data;
  return (
    <Page title="Connections" lead={d && `${plural(d.connections, 'connection')} with ${plural(d.subscriptions, 'subscription')} on this gateway`}
      actions={<label class="field inline"><span>Find</span><input value={query.get('find') ?? ''} size={28} maxLength={200} placeholder="Key, address, account, state" onInput={(e) => filter({ find: e.currentTarget.value || undefined }, true)} spellcheck={false} /></label>}>
      <Await asked={list} rows={6}>
        {(page) => {
          const other = page.instances.slice(1).find((i) => i.instance === query.get('gateway'));
          const shown = other ? other.items : list.items;
          const total = other ? other.connections : page.connections;
          return (
            <>
              {page.instances.length > 0 && <Gateways instances={page.instances} chosen={other ?? page.instances[0]} />}
              {total === 0 ? <Panel label="Connections"><Empty icon="connections" title="Nobody is connected.">Clients subscribe at <code>/v1/ws</code>, <code>/v1/stream</code> or <code>/v1/poll</code> of the client listener.</Empty></Panel>
                : shown.length === 0 && <Panel label="Connections"><Empty icon="search" title="No connection matches." /></Panel>}
              {shown.map((c) => <One key={c.connection} connection={c} />)}
              {other ? (find !== '' || total > shown.length) && <p class="muted">Of another gateway these are the newest. All of its connections are found at its own operators’ listener.</p> : <More list={list} />}
            </>
          );
        }}
      </Await>
    </Page>
  );
}

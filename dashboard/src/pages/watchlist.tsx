// One watch-list: what belongs to it, changing that, and who follows it.
import { useState } from 'preact/hooks';

import { get, post } from '../api';
import { ago, count, moment, plural } from '../format';
import { asProblem, useAsked } from '../query';
import { go, to } from '../router';
import { useWho } from '../who';
import { usePaged } from '../ui/more';
import { Await, Badge, Button, Empty, Failed, Hex, Page, Panel, Skeleton, useNow } from '../ui/parts';
import { ACTIONS, List, Table, type Column } from '../ui/table';
import { toast } from '../ui/toast';
import { Delete, MemoryBadge, Rename, useFollowed, type Follower, type Watchlist } from './watchlists';
import { WatchlistChange } from './watchlist-change';
import { stateTone } from './connections';

function Members({ list, turn, onDone }: { list: Watchlist; turn: number; onDone: () => void }) {
  const { may } = useWho();
  const [busy, setBusy] = useState('');
  const members = usePaged(`members ${list.id} ${turn}`, (cursor, signal) => get('/v1/watchlists/{watchlist}/addresses', {
    path: { watchlist: list.id }, query: { limit: 100, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }));
  const remove = async (address: string): Promise<void> => {
    setBusy(address);
    try {
      await post('/v1/watchlists/{watchlist}/addresses/remove', { path: { watchlist: list.id }, body: { addresses: [address] } });
      toast(`${address.slice(0, 10)}… taken out`);
      onDone();
    } catch (error) {
      toast(asProblem(error).detail, 'bad');
    }
    setBusy('');
  };
  const columns: readonly Column<string>[] = [
    { head: 'Address', as: 'row', cell: (a) => <Hex value={a} href={to(['chains', list.chain, 'accounts', a])} what="the address" whole copy /> },
    { head: ACTIONS, tone: () => 'end', cell: (a) => may('operator') && <Button kind="ghost" icon="cross" busy={busy === a} onClick={() => void remove(a)} aria-label={`Take out ${a}`}>Take out</Button> },
  ];
  return <List list={members} caption="Addresses of the list, in their order" columns={columns} id={(a) => a} empty={<Empty icon="eye" title="No address belongs to it.">Nobody who follows it is told anything.</Empty>} />;
}

const followerColumns: readonly Column<Follower & { key: string }>[] = [
  { head: 'Who', as: 'row', cell: (f) => f.who ?? <span class="muted">nobody in particular</span> },
  { head: 'From', cell: (f) => f.remote },
  { head: 'By', cell: (f) => f.carrier },
  { head: 'State', cell: (f) => <Badge tone={stateTone[f.state] ?? 'quiet'}>{f.state}</Badge> },
  { head: 'Behind', as: 'num', cell: (f) => (f.behind === 0 ? 'level' : plural(f.behind, 'event')) },
  { head: 'Gateway', tone: () => 'muted', cell: (f) => f.gateway.split(':')[0] },
];

function Followers({ id }: { id: string }) {
  const { connections, followers } = useFollowed();
  const hooks = useAsked('webhooks all', (signal) => get('/admin/v1/webhooks', { query: { limit: 1000 }, signal }), 10_000);
  const told = (hooks.data?.items ?? []).filter((w) => w.watchlist === id);
  return (
    <Await asked={connections} rows={2}>
      {() => {
        const all = followers(id).map((f, i) => ({ ...f, key: `${f.gateway} ${f.remote} ${i}` }));
        return (
          <>
            {all.length + told.length === 0 && <Empty icon="connections" title="Nobody follows it now.">Clients subscribe to topic <code>watchlist</code> with its id, {id}.</Empty>}
            {all.length > 0 && <Table caption="Subscriptions to the list" columns={followerColumns} items={all} id={(f) => f.key} />}
            {told.map((w) => <p class="pad" key={w.id}>Webhook <a href={to(['webhooks', w.id])}>{w.id}</a> to {w.url}</p>)}
          </>
        );
      }}
    </Await>
  );
}

export function WatchlistPage({ id }: { id: string }) {
  const { may } = useWho();
  const now = useNow(5000);
  const [turn, setTurn] = useState(0);
  const [asking, setAsking] = useState<'rename' | 'delete'>();
  const followed = useFollowed();
  const asked = useAsked(`watchlist ${id}`, (signal) => get('/v1/watchlists/{watchlist}', { path: { watchlist: id }, signal }), 4000);
  const l = asked.data;
  const gone = asked.error?.status === 404;
  const changed = (): void => {
    setTurn((n) => n + 1);
    asked.reload();
  };
  return (
    <Page title="Watch-list" lead={l && !gone && <><b>{l.name}</b> on <a href={to(['chains', l.chain])}>{l.chain}</a></>}
      actions={l && !gone && may('operator') && <><Button icon="edit" onClick={() => setAsking('rename')}>Rename</Button><Button icon="trash" kind="danger" onClick={() => setAsking('delete')}>Delete</Button></>}>
      {gone ? <Empty icon="eye" title="There is no such watch-list.">It was deleted, or it belongs to somebody else. <a href={to(['watchlists'])}>All watch-lists</a></Empty>
        : !l ? (asked.error ? <Failed problem={asked.error} retry={asked.reload} /> : <Skeleton rows={8} />) : (
          <>
            <Panel label="Watch-list">
              <dl class="facts two-columns">
                <dt>Addresses</dt><dd>{count(l.addresses)}</dd>
                <dt>Memory here</dt><dd><MemoryBadge followed={followed.of(id)} /></dd>
                <dt>Owner</dt><dd>{l.owner}</dd>
                <dt>Made</dt><dd>{moment(l.created_at)} <span class="muted">{ago(l.created_at, now)}</span></dd>
                <dt>Id</dt><dd><code>{l.id}</code></dd>
              </dl>
            </Panel>
            {may('operator') && <Panel title="Change"><WatchlistChange id={id} onDone={changed} /></Panel>}
            <Panel title="Followed by" flush><Followers id={id} /></Panel>
            <Panel title="Addresses" hint={plural(l.addresses, 'address', 'addresses')} flush><Members list={l} turn={turn} onDone={changed} /></Panel>
          </>
        )}
      {asking === 'rename' && l && <Rename list={l} onClose={() => setAsking(undefined)} onDone={changed} />}
      {asking === 'delete' && l && <Delete list={l} followers={followed.followers(id).length} onClose={() => setAsking(undefined)} onDone={() => go(to(['watchlists']))} />}
    </Page>
  );
}

// Watch-lists: sets of addresses that clients follow. How large each is, what it takes of this gateway's memory, and who follows it.
import { useState } from 'preact/hooks';

import { get, post, type Answer, type Schema } from '../api';
import { ago, bytes, count, moment, plural } from '../format';
import { useAsked } from '../query';
import { go, to } from '../router';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { usePaged } from '../ui/more';
import { Badge, Button, Empty, Page, Panel, Select, useNow, type Tone } from '../ui/parts';
import { ACTIONS, List, type Column } from '../ui/table';
import { toast } from '../ui/toast';
import { useChainNames } from './choose';

export type Watchlist = Schema<'Watchlist'>;
export type Followed = Answer<'/admin/v1/watchlists'>['items'][number];

export interface Follower { who: string | null; remote: string; gateway: string; state: string; behind: number; carrier: string }

const memoryWords: Record<Followed['state'], readonly [Tone, string, string]> = {
  waiting: ['info', 'waiting', 'It is about to be read from the database.'],
  loading: ['info', 'loading', 'It is being read; until then events are matched in the database.'],
  memory: ['good', 'in memory', 'Events are matched in memory.'],
  database: ['warn', 'in the database', 'There is no memory left for it (gateway.watchlist_memory): events are matched in the database, slower and as right.'],
};

export function MemoryBadge({ followed }: { followed: Followed | undefined }) {
  if (!followed) return <span class="muted" title="A list takes memory while somebody follows it.">none</span>;
  const [tone, word, why] = memoryWords[followed.state];
  return <>{bytes(followed.bytes)} <Badge tone={tone} title={why}>{word}</Badge></>;
}

/** What this gateway follows, and by whom on all gateways: the newest connections, as far as they are told. */
export function useFollowed() {
  const memory = useAsked('watchlists followed', (signal) => get('/admin/v1/watchlists', { query: { limit: 1000 }, signal }), 4000);
  const connections = useAsked('connections', (signal) => get('/admin/v1/connections', { query: { limit: 200 }, signal }), 4000);
  const followers = (id: string): Follower[] => {
    const all = connections.data;
    if (!all) return [];
    const [own, ...others] = all.instances;
    return [{ gateway: own?.instance ?? '', items: all.items }, ...others.map((i) => ({ gateway: i.instance, items: i.items }))].flatMap(({ gateway, items }) =>
      items.flatMap((c) => c.subscriptions.filter((s) => s.watchlist === id).map((s) => ({ who: c.who, remote: c.remote, gateway, state: s.state, behind: s.behind, carrier: c.carrier }))));
  };
  return { memory, connections, followers, of: (id: string) => memory.data?.items.find((l) => l.id === id) };
}

function Make({ onClose, onDone }: { onClose: () => void; onDone: (list: Watchlist) => void }) {
  const names = useChainNames() ?? [];
  const [name, setName] = useState('');
  const [chain, setChain] = useState('');
  const chosen = chain || names[0] || '';
  return (
    <Confirm title="Make a watch-list" action="Make" ready={name.trim() !== '' && chosen !== ''} onClose={onClose}
      onConfirm={async () => onDone(await post('/v1/watchlists', { body: { name: name.trim(), chain: chosen } }))}>
      <label class="field"><span>Name</span><input value={name} onInput={(e) => setName(e.currentTarget.value)} maxLength={100} autocomplete="off" autofocus /></label>
      {names.length > 1 && <Select label="Chain" value={chosen} options={names.map((n) => [n, n] as const)} onChange={setChain} />}
      <p class="muted">It is empty, and belongs to you: addresses are added on its page. The chain stays as it is.</p>
    </Confirm>
  );
}

export function Rename({ list, onClose, onDone }: { list: Watchlist; onClose: () => void; onDone: () => void }) {
  const [name, setName] = useState(list.name);
  return (
    <Confirm title={`Rename the watch-list “${list.name}”`} action="Rename" ready={name.trim() !== '' && name.trim() !== list.name} onClose={onClose}
      onConfirm={async () => { await post('/v1/watchlists/{watchlist}/rename', { path: { watchlist: list.id }, body: { name: name.trim() } }); onDone(); }}>
      <label class="field"><span>Name</span><input value={name} onInput={(e) => setName(e.currentTarget.value)} maxLength={100} autocomplete="off" autofocus /></label>
      <p class="muted">Who follows it goes on: subscriptions and webhooks name it by its id, {list.id}.</p>
    </Confirm>
  );
}

export function Delete({ list, followers, onClose, onDone }: { list: Watchlist; followers: number; onClose: () => void; onDone: () => void }) {
  return (
    <Confirm title={`Delete the watch-list “${list.name}”`} action="Delete" danger word={list.name} onClose={onClose}
      onConfirm={async () => { await post('/v1/watchlists/{watchlist}/delete', { path: { watchlist: list.id }, body: {} as never }); toast(`Watch-list ${list.name} deleted`); onDone(); }}>
      <p>{plural(list.addresses, 'address', 'addresses')} of {list.owner} {list.addresses === 1 ? 'is' : 'are'} forgotten, and nothing brings them back.{' '}
        {followers > 0 ? <b>{plural(followers, 'subscription')} follow{followers === 1 ? 's' : ''} it now and {followers === 1 ? 'ends' : 'end'}.</b> : 'Nobody follows it now.'}</p>
    </Confirm>
  );
}

export function Watchlists() {
  const { may } = useWho();
  const now = useNow(5000);
  const [making, setMaking] = useState(false);
  const [deleting, setDeleting] = useState<Watchlist>();
  const followed = useFollowed();
  const list = usePaged('watchlists', (cursor, signal) => get('/v1/watchlists', { query: { limit: 50, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 5000);
  const memory = followed.memory.data;
  const columns: readonly Column<Watchlist>[] = [
    { head: 'Name', as: 'row', cell: (l) => <a href={to(['watchlists', l.id])}>{l.name}</a> },
    { head: 'Chain', cell: (l) => <a href={to(['chains', l.chain])}>{l.chain}</a> },
    { head: 'Addresses', as: 'num', cell: (l) => count(l.addresses) },
    { head: 'Memory here', cell: (l) => <MemoryBadge followed={followed.of(l.id)} /> },
    { head: 'Followed by', cell: (l) => { const who = [...new Set(followed.followers(l.id).map((f) => f.who ?? f.remote))]; return who.length > 0 ? who.slice(0, 3).join(', ') + (who.length > 3 ? ` and ${count(who.length - 3)} more` : '') : <span class="muted">nobody</span>; } },
    { head: 'Owner', cell: (l) => l.owner },
    { head: 'Made', title: (l) => moment(l.created_at), cell: (l) => ago(l.created_at, now) },
    { head: ACTIONS, tone: () => 'end', cell: (l) => may('operator') && <Button icon="trash" kind="danger" onClick={() => setDeleting(l)} aria-label={`Delete ${l.name}`}>Delete</Button> },
  ];
  return (
    <Page title="Watch-lists" lead={memory ? `Sets of addresses that clients follow. ${plural(memory.followed, 'list')} in this gateway's memory: ${bytes(memory.bytes)} of ${bytes(memory.bytes_max)}` : 'Sets of addresses that clients follow'}
      actions={may('operator') && <Button icon="eye" kind="primary" onClick={() => setMaking(true)}>Make</Button>}>
      <Panel label="Watch-lists" flush>
        <List list={list} caption="Watch-lists, oldest first" columns={columns} id={(l) => l.id}
          empty={<Empty icon="eye" title={may('operator') ? 'There is no watch-list.' : 'You have no watch-list.'}>{may('operator') ? <>Clients make them at <code>/v1/watchlists</code>, or you make one here.</> : 'Operators see those of everybody.'}</Empty>} />
      </Panel>
      {making && <Make onClose={() => setMaking(false)} onDone={(made) => { toast(`Watch-list ${made.name} made`); go(to(['watchlists', made.id])); }} />}
      {deleting && <Delete list={deleting} followers={followed.followers(deleting.id).length} onClose={() => setDeleting(undefined)} onDone={list.reload} />}
    </Page>
  );
}

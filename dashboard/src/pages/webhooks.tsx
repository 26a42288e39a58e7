// Receivers of webhooks: how each fares, and registering one, whose secret is shown once.
import { useState } from 'preact/hooks';

import { get, post, type Schema } from '../api';
import { ago, count, moment, plural, words } from '../format';
import { asProblem, useAsked } from '../query';
import { go, to } from '../router';
import { useWho } from '../who';
import { Dialog } from '../ui/dialog';
import { usePaged } from '../ui/more';
import { Once } from '../ui/once';
import { Badge, Button, Empty, Page, Panel, Select, useNow, type Tone } from '../ui/parts';
import { List, type Column } from '../ui/table';
import { useChainNames } from './choose';

export type Webhook = Schema<'Webhook'>;

export const stateTone: Record<Webhook['state'], Tone> = { enabled: 'good', failing: 'bad', disabled: 'quiet' };
const topics = [['entries', 'entries'], ['blocks', 'blocks'], ['accounts', 'accounts'], ['chain_status', 'chain status'], ['watchlist', 'entries of a watch-list']] as const;

// Each that can be told of live: a reversal is told as what it takes back, and what this build does not know cannot be asked for.
type Kind = Exclude<Schema<'EntryKind'>, 'reversal' | 'unknown'>;
const KINDS = Object.keys({
  transfer: 1, internal: 1, fee: 1, tip: 1, blob_fee: 1, withdrawal: 1, selfdestruct: 1, reward: 1, token_transfer: 1, mint: 1, burn: 1, wrap: 1, unwrap: 1, opening: 1, genesis: 1,
  l1_fee: 1, operator_fee: 1, coinbase: 1, rent: 1,
} satisfies Record<Kind, 1>) as Kind[];

export function Secret({ hook, onClose }: { hook: Schema<'WebhookWithSecret'>; onClose: () => void }) {
  return <Once title="The secret, this once" secret={hook.secret} what="the secret" onClose={onClose}>Webhook {hook.id} to {hook.url} signs with it. It is not shown again: give it to the receiver now.</Once>;
}

function Register({ onClose, onDone }: { onClose: () => void; onDone: (hook: Schema<'WebhookWithSecret'>) => void }) {
  const names = useChainNames() ?? [];
  const [url, setUrl] = useState('');
  const [chain, setChain] = useState('');
  const [topic, setTopic] = useState('entries');
  const [account, setAccount] = useState('');
  const [asset, setAsset] = useState('');
  const [kind, setKind] = useState('');
  const [description, setDescription] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const [watched, setWatched] = useState('');
  const narrow = topic === 'entries' || topic === 'accounts';
  const ofEntries = topic === 'entries' || topic === 'watchlist';
  const lists = useAsked(topic === 'watchlist' ? 'watchlists to tell of' : null, (signal) => get('/v1/watchlists', { query: { limit: 1000 }, signal }));
  const choices = (lists.data?.items ?? []).filter((l) => l.chain === (chain || names[0]));
  const list = choices.find((l) => l.id === watched) ?? choices[0];
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setProblem('');
    try {
      const chosen = chain || names[0], chosenKind = KINDS.find((k) => k === kind);
      onDone(await post('/admin/v1/webhooks', { body: {
        url: url.trim(), topic, ...(chosen ? { chain: chosen } : {}), ...(narrow && account.trim() ? { account: account.trim() } : {}),
        ...(narrow && asset.trim() ? { asset: asset.trim() } : {}), ...(topic === 'watchlist' && list ? { watchlist: list.id } : {}), ...(ofEntries && chosenKind ? { kind: chosenKind } : {}), ...(description ? { description } : {}),
      } }));
    } catch (error) {
      setProblem(asProblem(error).detail);
      setBusy(false);
    }
  };
  return (
    <Dialog title="Register a webhook" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <label class="field"><span>URL</span><input value={url} onInput={(e) => setUrl(e.currentTarget.value)} required maxLength={2048} placeholder="https://hooks.example.com/weir" autofocus />
          <small>https, and every address of its name must be public.</small></label>
        {names.length > 1 && <Select label="Chain" value={chain || (names[0] ?? '')} options={names.map((n) => [n, n] as const)} onChange={setChain} />}
        <Select label="Topic" value={topic} options={topics} onChange={setTopic} />
        {topic === 'watchlist' && (list ? <Select label="Watch-list" value={list.id} options={choices.map((l) => [l.id, `${l.name} (${l.owner}, ${plural(l.addresses, 'address', 'addresses')})`] as const)} onChange={setWatched} />
          : <p class="form-note">{lists.data ? <>There is no watch-list of this chain: <a href={to(['watchlists'])}>make one</a>.</> : lists.error?.detail ?? 'Looking for watch-lists…'}</p>)}
        {narrow && <label class="field"><span>Account {topic === 'entries' && <em>(empty: all)</em>}</span><input value={account} onInput={(e) => setAccount(e.currentTarget.value)} required={topic === 'accounts'} maxLength={80} /></label>}
        {narrow && <label class="field"><span>Asset <em>(empty: all)</em></span><input value={asset} onInput={(e) => setAsset(e.currentTarget.value)} maxLength={160} /></label>}
        {ofEntries && <Select label="Kind" value={kind} options={[['', 'all'], ...KINDS.map((k) => [k, words(k)] as const)]} onChange={setKind} />}
        <label class="field"><span>Description <em>(optional)</em></span><input value={description} onInput={(e) => setDescription(e.currentTarget.value)} maxLength={200} /></label>
        {problem && <p class="form-error" role="alert">{problem}</p>}
        <div class="dialog-actions"><Button onClick={onClose}>Cancel</Button><Button type="submit" kind="primary" busy={busy} disabled={!url.trim() || (topic === 'watchlist' && !list)}>Register</Button></div>
      </form>
    </Dialog>
  );
}

export function Webhooks() {
  const { may } = useWho();
  const now = useNow(5000);
  const [open, setOpen] = useState(false);
  const [made, setMade] = useState<Schema<'WebhookWithSecret'>>();
  const list = usePaged('webhooks', (cursor, signal) => get('/admin/v1/webhooks', { query: { limit: 50, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 3000);
  const off = list.error?.code === 'webhooks_off';
  const columns: readonly Column<Webhook>[] = [
    { head: 'Id', as: 'num', tone: () => 'muted', cell: (w) => w.id },
    { head: 'Receiver', as: 'row', cell: (w) => <><a href={to(['webhooks', w.id])}>{w.url}</a>{w.description && <span class="muted"> {w.description}</span>}</> },
    { head: 'Told of', cell: (w) => <>{w.topic.replace('_', ' ')} <span class="muted">of {w.chain}{w.account && `, ${w.account.slice(0, 10)}…`}{w.asset && `, ${w.asset.slice(0, 12)}`}{w.kind && `, ${words(w.kind)}`}{w.watchlist && <>, <a href={to(['watchlists', w.watchlist])}>watch-list {w.watchlist}</a></>}</span></> },
    { head: 'State', as: 'words', cell: (w) => <><Badge tone={stateTone[w.state]}>{w.state}</Badge> <span class="muted" title={moment(w.state_since)}>{ago(w.state_since, now)}</span>{w.state !== 'enabled' && w.reason && <><br /><small>{w.reason}</small></>}</> },
    { head: 'Waiting', as: 'num', cell: (w) => count(w.pending) },
    { head: 'Given up', as: 'num', tone: (w) => (w.failed > 0 ? 'bad' : ''), cell: (w) => count(w.failed) },
    { head: 'Gateway', tone: () => 'muted', cell: (w) => w.gateway?.split(':')[0] ?? '–' },
  ];
  return (
    <Page title="Webhooks" lead="Receivers that are told of the ledger's events"
      actions={may('admin') && !off && <Button icon="hook" kind="primary" onClick={() => setOpen(true)}>Register</Button>}>
      <Panel label="Webhooks" flush>
        {off ? <Empty icon="key" title="There are no webhooks here.">{list.error?.detail}</Empty> : (
          <List list={list} caption="Webhooks, newest first" columns={columns} id={(w) => w.id} empty={<Empty icon="hook" title="No receiver is registered.">Each one is posted the events that it wants, signed and in order, and again until it takes them.</Empty>} />
        )}
      </Panel>
      {open && <Register onClose={() => setOpen(false)} onDone={(hook) => { setOpen(false); setMade(hook); list.reload(); }} />}
      {made && <Secret hook={made} onClose={() => { setMade(undefined); go(to(['webhooks', made.id])); }} />}
    </Page>
  );
}

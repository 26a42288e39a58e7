// API keys of clients and operators: making one, which is shown once, and revoking.
import { useState } from 'preact/hooks';

import { get, post, type Schema } from '../api';
import { ago, moment } from '../format';
import { filter } from '../router';
import { Confirm } from '../ui/dialog';
import { usePaged } from '../ui/more';
import { Once } from '../ui/once';
import { Badge, Button, Empty, Page, Panel, Select, useNow } from '../ui/parts';
import { ACTIONS, List, type Column } from '../ui/table';

type Key = Schema<'ApiKey'>;
type Made = Schema<'NewApiKey'>;
type Scope = Key['scopes'][number];

const DAY_S = 86_400;
const scopes: readonly (readonly [Scope, string])[] = [['read', 'the ledger by REST'], ['stream', 'live events'], ['viewer', 'operators’ pages, looking'], ['operator', 'and acting'], ['admin', 'and letting others in']];
const lives = [['', 'for good'], [String(30 * DAY_S), '30 days'], [String(90 * DAY_S), '90 days'], [String(365 * DAY_S), 'a year']] as const;

function Make({ onClose, onDone }: { onClose: () => void; onDone: (key: Made) => void }) {
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<readonly Scope[]>(['read', 'stream']);
  const [addresses, setAddresses] = useState('');
  const [life, setLife] = useState<string>(String(90 * DAY_S));
  const toggle = (scope: Scope, on: boolean): void => setChosen(scopes.map(([s]) => s).filter((s) => (s === scope ? on : chosen.includes(s))));
  return (
    <Confirm title="Make an API key" action="Make" ready={name.trim() !== '' && chosen.length > 0} onClose={onClose}
      onConfirm={async () => onDone(await post('/admin/v1/keys', { body: {
        name: name.trim(), scopes: [...chosen], ...(addresses.trim() ? { addresses: addresses.trim() } : {}), ...(life ? { expires_in: Number(life) } : {}) } }))}>
      <label class="field"><span>Name</span><input value={name} onInput={(e) => setName(e.currentTarget.value)} maxLength={64} autocomplete="off" autofocus /><small>Whose it is: it stands in the audit log and in limits.</small></label>
      <fieldset class="field"><legend>May</legend>
        {scopes.map(([scope, words]) => (
          <label class="check" key={scope}><input type="checkbox" checked={chosen.includes(scope)} onChange={(e) => toggle(scope, e.currentTarget.checked)} /> <span>{scope} <span class="muted">{words}</span></span></label>
        ))}
      </fieldset>
      <label class="field"><span>Only from <em>(optional)</em></span><input value={addresses} onInput={(e) => setAddresses(e.currentTarget.value)} maxLength={1000} placeholder="192.0.2.0/24, 2001:db8::/32" spellcheck={false} /></label>
      <Select label="Good" value={life} options={lives} onChange={setLife} />
    </Confirm>
  );
}

function stateOf(key: Key, now: number): readonly ['good' | 'bad' | 'quiet', string] {
  if (key.revoked_at) return ['bad', 'revoked'];
  if (key.expires_at && Date.parse(key.expires_at) < now) return ['quiet', 'expired'];
  return ['good', 'good'];
}

export function Keys({ query }: { query: URLSearchParams }) {
  const now = useNow(5000);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Made>();
  const [revoking, setRevoking] = useState<Key>();
  const revoked = query.get('show') === 'revoked';
  const list = usePaged(`keys ${revoked}`, (cursor, signal) => get('/admin/v1/keys', { query: { limit: 50, revoked, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 5000);
  const columns: readonly Column<Key>[] = [
    { head: 'Key', cell: (k) => <code class="muted">{k.id}</code> },
    { head: 'Name', as: 'row', cell: (k) => k.name },
    { head: 'May', cell: (k) => k.scopes.join(', ') },
    { head: 'From', cell: (k) => k.addresses ? <code>{k.addresses}</code> : <span class="muted">anywhere</span> },
    { head: 'State', cell: (k) => { const [tone, word] = stateOf(k, now); return <Badge tone={tone} title={k.revoked_by ? `by ${k.revoked_by}` : ''}>{word}</Badge>; } },
    { head: 'Until', cell: (k) => k.expires_at ? moment(k.expires_at) : <span class="muted">for good</span> },
    { head: 'Last used', cell: (k) => k.last_used_at ? <span title={moment(k.last_used_at)}>{ago(k.last_used_at, now)}</span> : <span class="muted">never</span> },
    { head: 'Made', cell: (k) => <><span title={moment(k.created_at)}>{ago(k.created_at, now)}</span> <span class="muted">by {k.created_by}</span></> },
    { head: ACTIONS, cell: (k) => !k.revoked_at && <Button kind="danger" onClick={() => setRevoking(k)} aria-label={`Revoke ${k.name}`}>Revoke</Button> },
  ];
  return (
    <Page title="API keys" lead="Keys made at run time. Those of the settings are not among them."
      actions={<>
        <label class="check"><input type="checkbox" checked={revoked} onChange={(e) => filter({ show: e.currentTarget.checked ? 'revoked' : undefined }, true)} /> Revoked too</label>
        {!list.error && <Button icon="key" kind="primary" onClick={() => setMaking(true)}>Make</Button>}
      </>}>
      <Panel label="API keys" flush>
        <List list={list} caption="API keys, newest first" columns={columns} id={(k) => k.id} empty={<Empty icon="key" title="No key was made here." />} />
      </Panel>
      {making && <Make onClose={() => setMaking(false)} onDone={(key) => { setMade(key); list.reload(); }} />}
      {made && <Once title="The key, this once" secret={made.key} what="the key" onClose={() => setMade(undefined)}>For {made.name}. It is not shown again: only its hash is kept.</Once>}
      {revoking && (
        <Confirm title={`Revoke ${revoking.name}`} action="Revoke" danger reason="required" onClose={() => setRevoking(undefined)}
          onConfirm={async (why) => { await post('/admin/v1/keys/{id}/revoke', { path: { id: revoking.id }, body: { why } }); list.reload(); }}>
          <p>Every gateway refuses it within a second, and closes the connections that it opened.</p>
        </Confirm>
      )}
    </Page>
  );
}

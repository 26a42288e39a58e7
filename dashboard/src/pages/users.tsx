// Operators who sign in by name: who they are, as what, and letting somebody in or out.
import { useState } from 'preact/hooks';

import { get, post, type Schema } from '../api';
import { ago, moment } from '../format';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { usePaged } from '../ui/more';
import { Badge, Button, Empty, Page, Panel, Select, useNow } from '../ui/parts';
import { ACTIONS, List, type Column } from '../ui/table';
import { toast } from '../ui/toast';

type User = Schema<'User'>;
export type Role = User['role'];

const PASSWORD_MIN = 12;
const roles = [['viewer', 'viewer: looks'], ['operator', 'operator: acts on the ledger and on messages'], ['admin', 'admin: also lets others in']] as const;

function Password({ value, onInput }: { value: string; onInput: (value: string) => void }) {
  return (
    <label class="field"><span>Password</span><input type="password" value={value} onInput={(e) => onInput(e.currentTarget.value)} autocomplete="new-password" minLength={PASSWORD_MIN} maxLength={256} />
      <small>{PASSWORD_MIN} characters at least. Tell it by a way of its own.</small></label>
  );
}

function Add({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<string>('viewer');
  const [password, setPassword] = useState('');
  return (
    <Confirm title="Add a user" action="Add" ready={name.trim() !== '' && password.length >= PASSWORD_MIN} onClose={onClose}
      onConfirm={async () => { await post('/admin/v1/users', { body: { name: name.trim(), role: role as Role, password } }); toast(`Added ${name.trim()}`); onDone(); }}>
      <label class="field"><span>Name</span><input value={name} onInput={(e) => setName(e.currentTarget.value)} maxLength={64} autocomplete="off" spellcheck={false} autofocus /></label>
      <Select label="Role" value={role} options={roles} onChange={setRole} />
      <Password value={password} onInput={setPassword} />
    </Confirm>
  );
}

type Change = { kind: 'role' | 'password' | 'disable'; user: User };

function Changing({ change: { kind, user }, onClose, onDone }: { change: Change; onClose: () => void; onDone: () => void }) {
  const who = useWho();
  const [role, setRole] = useState<string>(user.role);
  const [password, setPassword] = useState('');
  const path = { name: user.name };
  const self = who.name === `user:${user.name}` && <p><b>This is you.</b></p>;
  if (kind === 'role') {
    return (
      <Confirm title={`Role of ${user.name}`} action="Change" ready={role !== user.role} onClose={onClose}
        onConfirm={async () => { await post('/admin/v1/users/{name}/role', { path, body: { role: role as Role } }); onDone(); }}>
        {self}
        <p>It counts at once, in open sessions too.</p>
        <Select label="Role" value={role} options={roles} onChange={setRole} />
      </Confirm>
    );
  }
  if (kind === 'password') {
    return (
      <Confirm title={`New password for ${user.name}`} action="Set" ready={password.length >= PASSWORD_MIN} onClose={onClose}
        onConfirm={async () => { await post('/admin/v1/users/{name}/password', { path, body: { password } }); onDone(); }}>
        {self}
        <p>Sessions of {user.name} end{user.disabled_at ? ', and the account is enabled again' : ''}.</p>
        <Password value={password} onInput={setPassword} />
      </Confirm>
    );
  }
  return (
    <Confirm title={`Disable ${user.name}`} action="Disable" danger reason="required" onClose={onClose}
      onConfirm={async (why) => { await post('/admin/v1/users/{name}/disable', { path, body: { why } }); onDone(); }}>
      {self}
      <p>Nobody signs in by this name any more, and its sessions end now. A new password lets it in again.</p>
    </Confirm>
  );
}

export function Users() {
  const now = useNow(5000);
  const [adding, setAdding] = useState(false);
  const [change, setChange] = useState<Change>();
  const list = usePaged('users', (cursor, signal) => get('/admin/v1/users', { query: { limit: 50, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 5000);
  const columns: readonly Column<User>[] = [
    { head: 'Name', as: 'row', cell: (u) => u.name },
    { head: 'Role', cell: (u) => <Badge tone={u.role === 'admin' ? 'warn' : u.role === 'operator' ? 'info' : 'quiet'}>{u.role}</Badge> },
    { head: 'State', cell: (u) => u.disabled_at ? <Badge tone="bad" title={moment(u.disabled_at)}>disabled</Badge> : <Badge tone="good">enabled</Badge> },
    { head: 'Signed in', cell: (u) => u.signed_in_at ? <span title={moment(u.signed_in_at)}>{ago(u.signed_in_at, now)}</span> : <span class="muted">never</span> },
    { head: 'Added', cell: (u) => <><span title={moment(u.created_at)}>{ago(u.created_at, now)}</span> <span class="muted">by {u.created_by}</span></> },
    { head: ACTIONS, cell: (u) => (
      <span class="actions">
        <Button onClick={() => setChange({ kind: 'role', user: u })} aria-label={`Role of ${u.name}`}>Role</Button>
        <Button onClick={() => setChange({ kind: 'password', user: u })} aria-label={`Password of ${u.name}`}>Password</Button>
        {!u.disabled_at && <Button kind="danger" onClick={() => setChange({ kind: 'disable', user: u })} aria-label={`Disable ${u.name}`}>Disable</Button>}
      </span>
    ) },
  ];
  return (
    <Page title="Users" lead="Operators who sign in by name and password" actions={!list.error && <Button icon="people" kind="primary" onClick={() => setAdding(true)}>Add</Button>}>
      <Panel label="Users" flush>
        <List list={list} caption="Users, by name" columns={columns} id={(u) => u.name} empty={<Empty icon="people" title="Nobody signs in by name yet." />} />
      </Panel>
      {adding && <Add onClose={() => setAdding(false)} onDone={list.reload} />}
      {change && <Changing change={change} onClose={() => setChange(undefined)} onDone={list.reload} />}
    </Page>
  );
}

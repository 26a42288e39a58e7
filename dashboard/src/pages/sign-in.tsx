// The door: by name and password, or by an API key, which is tried before it is kept.
import { useEffect, useState } from 'preact/hooks';

import { tryKey } from '../api';
import { login } from '../login';
import { asProblem } from '../query';
import { enterWithKey, session } from '../session';
import { useStore } from '../store';
import { Icon } from '../ui/icon';
import { Button, Tabs } from '../ui/parts';

type Way = 'name' | 'key';
const WAY = 'weir.way'; // chosen last; no secret

function words(way: Way, caught: unknown): string {
  const problem = asProblem(caught);
  if (problem.status !== 401) return problem.code === 'logins_off' ? 'Nobody signs in by name here: use an API key, or set gateway.session_secret.' : problem.detail;
  return way === 'key' ? 'This key is not known to the gateway.' : 'Name and password do not belong together, or the account is disabled.';
}

export function SignIn() {
  const { notice } = useStore(session);
  const [way, setWay] = useState<Way>(localStorage.getItem(WAY) === 'name' ? 'name' : 'key');
  const [name, setName] = useState('');
  const [secret, setSecret] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  useEffect(() => {
    document.title = 'Sign in · weir';
  }, []);
  const choose = (chosen: string): void => {
    setWay(chosen as Way);
    setSecret('');
    setError('');
  };
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    if (!secret.trim() || (way === 'name' && !name.trim())) {
      setError(way === 'key' ? 'Type or paste an API key.' : 'Type your name and your password.');
      return;
    }
    setBusy(true);
    setError('');
    try {
      if (way === 'name') {
        await login(name.trim(), secret);
        localStorage.setItem(WAY, way);
      } else {
        await tryKey(secret.trim());
        localStorage.removeItem(WAY);
        enterWithKey(secret.trim());
      }
    } catch (caught) {
      setError(words(way, caught));
      setBusy(false);
    }
  };
  const described = { 'aria-invalid': error !== '', 'aria-describedby': error ? 'sign-in-error' : 'sign-in-help' };
  return (
    <main class="door">
      <form onSubmit={(event) => void submit(event)} noValidate>
        <svg class="door-mark" viewBox="0 0 32 32" width="52" height="52" aria-hidden="true"><rect width="32" height="32" rx="8" /><path d="M7 9v12M13 9v12M19 13v8M25 16v5" /><path class="water" d="M5 26h22" /></svg>
        <h1>weir</h1>
        <p class="lead">A ledger of blockchains, proven equal to them.</p>
        {notice && !error && <p class="form-note" role="status">{notice}</p>}
        <Tabs label="How to sign in" value={way} items={[['name', 'Name and password'], ['key', 'Key']]} onChange={choose} />
        {way === 'name' ? (
          <>
            <label class="field" key="name">
              <span>Name</span>
              <span class="with-icon"><Icon name="account" /><input value={name} onInput={(e) => setName(e.currentTarget.value)} name="username" autocomplete="username" spellcheck={false} autocapitalize="none" autofocus {...described} /></span>
            </label>
            <label class="field" key="password">
              <span>Password</span>
              <span class="with-icon"><Icon name="key" /><input type="password" value={secret} onInput={(e) => setSecret(e.currentTarget.value)} name="password" autocomplete="current-password" {...described} /></span>
            </label>
          </>
        ) : (
          <label class="field" key="key">
            <span>API key</span>
            <span class="with-icon"><Icon name="key" /><input type="password" value={secret} onInput={(e) => setSecret(e.currentTarget.value)} autocomplete="off" spellcheck={false} autofocus {...described} /></span>
          </label>
        )}
        {error && <p id="sign-in-error" class="form-error" role="alert">{error}</p>}
        <Button type="submit" kind="primary" busy={busy}>Sign in</Button>
        <p id="sign-in-help" class="muted small">{way === 'name' ? 'The session lasts for up to twelve hours, in all tabs of this browser, and ends in all of them when you sign out.'
          : <>One of <code>gateway.keys</code> in the settings, or made by an admin. It stays in this tab and is forgotten when the tab closes.</>}</p>
      </form>
    </main>
  );
}

// Who is signed in. An API key lives in this tab's session storage and nowhere else; a link may bring it in its fragment (#key=…), which
// browsers never send, and it is taken out of the address at once. Of who signed in by name, scripts hold the access token alone, in memory: the refresh
// token is a cookie that they cannot read (login.ts). Decision: docs/decisions/0028-tls-and-sign-in.md.
import { Store } from './store';

const SLOT = 'weir.key';
const HINT = 'weir.session'; // in local storage: a cookie may be there. No secret

export interface Session {
  /** opening: there may be a session from before, which is asked for. */
  kind: 'none' | 'opening' | 'key' | 'user';
  /** Why there is no session any more. */
  notice: string;
  /** Nobody signed out: what was typed waits for who typed it. */
  lapsed: boolean;
}

let credential = '';

function initial(): Session {
  const given = new URLSearchParams(location.hash.slice(1)).get('key');
  if (given) {
    sessionStorage.setItem(SLOT, given);
    history.replaceState(null, '', location.pathname + location.search);
  }
  credential = sessionStorage.getItem(SLOT) ?? '';
  return { kind: credential ? 'key' : localStorage.getItem(HINT) ? 'opening' : 'none', notice: '', lapsed: false };
}

export const session = new Store<Session>(initial());

/** What requests are sent with: a key or an access token. */
export function credentials(): string {
  return credential;
}

export function isSignedIn(): boolean {
  return session.get().kind === 'key' || session.get().kind === 'user';
}

export function enterWithKey(key: string): void {
  sessionStorage.setItem(SLOT, key);
  credential = key;
  session.set({ kind: 'key', notice: '', lapsed: false });
}

/** Also when the token is a newer one of the same session. */
export function enterWithToken(token: string): void {
  localStorage.setItem(HINT, '1');
  credential = token;
  if (session.get().kind !== 'user') session.set({ kind: 'user', notice: '', lapsed: false });
}

/** lapsed: it ended by itself. */
export function leave(notice = '', lapsed = false): void {
  sessionStorage.removeItem(SLOT);
  localStorage.removeItem(HINT);
  credential = '';
  session.set({ kind: 'none', notice, lapsed });
}

/** Before the server ends the session: told afterwards, the other tabs would have found out by themselves, and taken it for one that lapsed. */
export function leaveElsewhere(): void {
  localStorage.removeItem(HINT);
}

/** Calls back when another tab signed out. */
export function onLeftElsewhere(then: () => void): void {
  addEventListener('storage', (event) => {
    if (event.key === HINT && event.newValue === null && session.get().kind === 'user') then();
  });
}

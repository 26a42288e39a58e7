// What who is signed in may do: buttons that it may not use are not shown. The server decides all the same.
import { get, type Schema } from './api';
import { useAsked } from './query';
import { isSignedIn, session } from './session';
import { useStore } from './store';

type Role = Schema<'Session'>['role'];
const ROLE_MS = 15_000; // an admin may change it
const order: readonly Role[] = ['viewer', 'operator', 'admin'];

export function useWho(): { name: string; role: Role | undefined; may: (role: Role) => boolean } {
  useStore(session);
  const asked = useAsked(isSignedIn() ? 'session' : null, (signal) => get('/admin/v1/session', { signal }), ROLE_MS);
  const role = asked.data?.role;
  return { name: asked.data?.name ?? '', role, may: (needed) => role !== undefined && order.indexOf(role) >= order.indexOf(needed) };
}

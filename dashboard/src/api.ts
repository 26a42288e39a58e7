// The client (client.ts) as who is signed in: credentials go with each question, and are renewed or given up when they are refused.
import { Problem, send, type How } from './ask';
import { typed, type GetPath, type Schema } from './client';
import { refresh } from './login';
import { credentials, leave, session } from './session';

export { Problem } from './ask';
export type { Answer, GetOptions, GetPath, PostOptions, PostPath, Posted, Schema } from './client';

async function asSignedIn(method: string, url: string, body?: unknown, how?: How): Promise<unknown> {
  const used = credentials();
  try {
    return await send(method, url, used, body, how);
  } catch (error) {
    const refused = error instanceof Problem && error.status === 401;
    if (!refused || (credentials() !== used && session.get().kind !== 'user')) throw error;
    if (session.get().kind === 'user') {
      if (credentials() === used && !(await refresh())) throw error;
      return await send(method, url, credentials(), body, how);
    }
    leave('The key is not valid any more. Sign in again.', true);
    throw error;
  }
}

const client = typed(asSignedIn);
export const get = client.get;
export const post = client.post;

/** Tries a key without signing in. */
export function tryKey(key: string): Promise<Schema<'Session'>> {
  return send('GET', '/admin/v1/session' satisfies GetPath, key, undefined) as Promise<Schema<'Session'>>;
}

// The client: every path, parameter and answer is typed by the gateway's OpenAPI document, so a change there that the dashboard does not
// follow fails the build.
import type { components, paths } from '#api';

import { Problem, send } from './ask';
import { refresh } from './login';
import { credentials, leave, session } from './session';

export { Problem } from './ask';

export type Schema<Name extends keyof components['schemas']> = components['schemas'][Name];

type Json<R> = R extends { content: { 'application/json': infer T } } ? T : never;
type Has<Method extends string, Code extends number> = {
  [P in keyof paths]: paths[P] extends Record<Method, { responses: Record<Code, { content: { 'application/json': unknown } }> }> ? P : never;
}[keyof paths];

export type GetPath = Has<'get', 200>;
export type PostPath = Has<'post', 200> | Has<'post', 201> | Has<'post', 202>;
type Operation<P extends keyof paths, M extends 'get' | 'post'> = NonNullable<paths[P][M]>;
type Parameters<O, Where extends 'path' | 'query'> = O extends { parameters: infer A } ? (A extends { [K in Where]?: infer V } ? V : undefined) : undefined;
type Body<O> = O extends { requestBody?: { content: { 'application/json': infer B } } } ? B : never;
type Responses<O> = O extends { responses: infer R } ? R : never;

export type Answer<P extends GetPath> = Json<Responses<Operation<P, 'get'>>[200 & keyof Responses<Operation<P, 'get'>>]>;
export type Posted<P extends PostPath> =
  | Json<Responses<Operation<P, 'post'>>[200 & keyof Responses<Operation<P, 'post'>>]>
  | Json<Responses<Operation<P, 'post'>>[201 & keyof Responses<Operation<P, 'post'>>]>
  | Json<Responses<Operation<P, 'post'>>[202 & keyof Responses<Operation<P, 'post'>>]>;

type Places<O> = [NonNullable<Parameters<O, 'path'>>] extends [never] ? { path?: undefined } : { path: Parameters<O, 'path'> };
export type GetOptions<P extends GetPath> = Places<Operation<P, 'get'>> & { query?: Parameters<Operation<P, 'get'>, 'query'>; signal?: AbortSignal };
export type PostOptions<P extends PostPath> = Places<Operation<P, 'post'>> & { body: Body<Operation<P, 'post'>> };

function fill(template: string, places: unknown): string {
  return template.replace(/{(\w+)}/g, (_, name: string) => encodeURIComponent(String((places as Record<string, unknown>)[name])));
}

function query(parameters: unknown): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries((parameters ?? {}) as Record<string, unknown>)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value));
  }
  const text = search.toString().replace(/\+/g, '%20'); // the server reads + as it stands
  return text ? `?${text}` : '';
}

async function asSignedIn(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
  const used = credentials();
  try {
    return await send(method, url, used, body, signal);
  } catch (error) {
    const refused = error instanceof Problem && error.status === 401;
    if (!refused || (credentials() !== used && session.get().kind !== 'user')) throw error;
    if (session.get().kind === 'user') {
      if (credentials() === used && !(await refresh())) throw error;
      return await send(method, url, credentials(), body, signal);
    }
    leave('The key is not valid any more. Sign in again.');
    throw error;
  }
}

export function get<P extends GetPath>(path: P, ...[options]: object extends GetOptions<P> ? [GetOptions<P>?] : [GetOptions<P>]): Promise<Answer<P>> {
  const o = (options ?? {}) as { path?: unknown; query?: unknown; signal?: AbortSignal };
  return asSignedIn('GET', fill(path, o.path) + query(o.query), undefined, o.signal) as Promise<Answer<P>>;
}

export function post<P extends PostPath>(path: P, options: PostOptions<P>): Promise<Posted<P>> {
  return asSignedIn('POST', fill(path, options.path), options.body) as Promise<Posted<P>>;
}

/** Tries a key without signing in. */
export function tryKey(key: string): Promise<Schema<'Session'>> {
  return send('GET', '/admin/v1/session' satisfies GetPath, key, undefined) as Promise<Schema<'Session'>>;
}

// The typed client of the gateway's API: every path, parameter, body and answer is that of its OpenAPI document, so a change there that a user of this
// does not follow fails his build. The dashboard is built on it; `make dashboard` also makes a package of it, weir-client.
//
//   const weir = connect('https://weir.example', { key });
//   const { items } = await weir.get('/v1/chains/{chain}/blocks', { path: { chain: 'dev' }, query: { limit: 10 } });
//   for await (const entry of weir.items('/v1/chains/{chain}/blocks/{block}/entries', { path: { chain: 'dev', block: 'latest' } })) …
import type { components, paths } from '#api';

import { send, type How } from './ask.js'; // whole, as Node's resolution wants it in the package

export { Problem } from './ask.js';

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
/** once: the post's Idempotency-Key. Asked again under it, after an answer that got lost, the gateway does it once and says the same. */
export type PostOptions<P extends PostPath> = Places<Operation<P, 'post'>> & { body: Body<Operation<P, 'post'>>; once?: string };

function fill(template: string, places: unknown): string {
  return template.replace(/{(\w+)}/g, (_, name: string) => encodeURIComponent(String((places as Record<string, unknown>)[name])));
}

function query(parameters: unknown): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries((parameters ?? {}) as Record<string, unknown>)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `?${text}` : '';
}

/** One question: what a client asks through. */
export type Ask = (method: string, url: string, body?: unknown, how?: How) => Promise<unknown>;

type Paged<P extends GetPath> = Answer<P> extends { items: (infer Item)[]; next_cursor: string | null } ? Item : never;
/** Reads whose answers are lists in pages. */
export type ListPath = { [P in GetPath]: [Paged<P>] extends [never] ? never : P }[GetPath];

export interface Client {
  get<P extends GetPath>(path: P, ...options: object extends GetOptions<P> ? [GetOptions<P>?] : [GetOptions<P>]): Promise<Answer<P>>;
  post<P extends PostPath>(path: P, options: PostOptions<P>): Promise<Posted<P>>;
  /** All items of a list, page by page, from `query.cursor` on if there is one. A reorg in between ends it with the Problem `cursor_reorged`: forget the items above its
   * `beginAgain.height`, and go on with its `beginAgain.cursor`, or from the start where that is null. */
  items<P extends ListPath>(path: P, ...options: object extends GetOptions<P> ? [GetOptions<P>?] : [GetOptions<P>]): AsyncGenerator<Paged<P>>;
}

interface Given { path?: unknown; query?: unknown; body?: unknown; signal?: AbortSignal; once?: string }

export function typed(ask: Ask): Client {
  const read = (path: string, o: Given): Promise<unknown> => ask('GET', fill(path, o.path) + query(o.query), undefined, { signal: o.signal });
  const post = (path: string, o: Given): Promise<unknown> => ask('POST', fill(path, o.path), o.body, { once: o.once });
  async function* items(path: string, o: Given): AsyncGenerator<unknown> {
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await read(path, { ...o, query: { ...(o.query as object), ...(cursor ? { cursor } : {}) } }) as { items: unknown[]; next_cursor: string | null };
      yield* page.items;
      cursor = page.next_cursor;
    }
  }
  return {
    get: (path, ...[options]) => read(path, (options ?? {}) as Given) as never,
    post: (path, options) => post(path, options as Given) as never,
    items: (path, ...[options]) => items(path, (options ?? {}) as Given) as never,
  };
}

/** A client of the gateway at this address. key: an API key or a token; without one the client is nobody in particular. */
export function connect(address: string, { key = '' } = {}): Client {
  const base = address.replace(/\/+$/, '');
  return typed((method, url, body, how) => send(method, base + url, key, body, how));
}

// One question to the gateway: what goes over the wire, and what went wrong in the server's words.
import type { components } from '#api';

type ProblemBody = Partial<components['schemas']['Problem']>;

/** What went wrong, in the server's words (RFC 9457), or in ours when there was no answer. */
export class Problem extends Error {
  /** beginAgain: with `cursor_reorged`, where a list goes on. */
  constructor(readonly status: number, readonly code: string, readonly detail: string, readonly requestId: string, readonly retryAfter: number,
    readonly beginAgain?: ProblemBody['begin_again']) {
    super(detail);
  }
}

/** once: an Idempotency-Key; the same question under it is done once. lasting: goes on when the page is left. */
export interface How { signal?: AbortSignal | undefined; once?: string | undefined; lasting?: boolean }

/** credential: a key or an access token; empty: none. */
export async function send(method: string, url: string, credential: string, body: unknown, { signal, once, lasting = false }: How = {}): Promise<unknown> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (credential) headers['Authorization'] = `Bearer ${credential}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (once) headers['Idempotency-Key'] = once;
  let answer: Response;
  let value: unknown;
  try {
    answer = await fetch(url, { method, headers, body: body === undefined ? null : JSON.stringify(body), cache: 'no-store', keepalive: lasting, signal: signal ?? null });
    value = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, 'unreachable', 'The gateway does not answer. It may be restarting, or the network is down.', '', 0);
  }
  if (answer.ok) return value;
  const problem = value as ProblemBody;
  throw new Problem(answer.status, problem.code ?? 'unknown', problem.detail ?? answer.statusText, problem.request_id ?? '',
    Number(answer.headers.get('Retry-After') ?? 0), problem.begin_again);
}

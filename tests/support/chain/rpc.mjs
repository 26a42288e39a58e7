// JSON-RPC over HTTP with kept-alive connections: single calls, batches in chunks, and a bounded number in flight.

import http from 'node:http';

export class RpcError extends Error {
  constructor(method, error) {
    super(`${method}: ${error.message ?? JSON.stringify(error)}`);
    this.name = 'RpcError';
    this.code = error.code;
    this.data = error.data;
  }
}

/** One HTTP request; resolves to { status, headers, body: Buffer }. */
export function request(url, options = {}) {
  const { method = 'GET', headers = {}, body, agent, timeout = 60_000 } = options;
  return new Promise((resolve, reject) => {
    const req = http.request(url, { method, headers, agent, timeout }, (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks) }));
      res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(new Error(`${url}: no answer within ${timeout} ms`)));
    req.on('error', (error) => {
      // The server ended a kept connection, which nobody used for a while, at the moment of this request: nobody read it, and what only reads may be asked again.
      if (method === 'GET' && req.reusedSocket && error.code === 'ECONNRESET') resolve(request(url, options));
      else reject(error);
    });
    req.end(body);
  });
}

export class Rpc {
  #id = 0;
  #agent;

  /** parallel: connections, and so requests in flight. */
  constructor(url, { parallel = 4, timeout = 120_000 } = {}) {
    this.url = url;
    this.timeout = timeout;
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: parallel });
  }

  async #post(payload) {
    const answer = await request(this.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(payload),
      agent: this.#agent,
      timeout: this.timeout,
    });
    if (answer.status !== 200) throw new Error(`${this.url}: HTTP ${answer.status}`);
    return JSON.parse(answer.body);
  }

  async call(method, ...params) {
    const answer = await this.#post({ jsonrpc: '2.0', id: ++this.#id, method, params });
    if (answer.error) throw new RpcError(method, answer.error);
    return answer.result;
  }

  /** calls: [[method, params], ...]. Resolves to results in that order; an error answer becomes an RpcError in its place. */
  async batch(calls, chunk = 200) {
    const parts = [];
    for (let at = 0; at < calls.length; at += chunk) parts.push(calls.slice(at, at + chunk));
    const answers = await Promise.all(parts.map((part) => this.#batchOnce(part)));
    return answers.flat();
  }

  async #batchOnce(calls) {
    const base = this.#id + 1;
    this.#id += calls.length;
    const answers = await this.#post(calls.map(([method, params], i) => ({ jsonrpc: '2.0', id: base + i, method, params })));
    if (!Array.isArray(answers)) throw new RpcError('batch', answers.error ?? { message: 'not a batch answer' });
    const byId = new Map(answers.map((answer) => [answer.id, answer]));
    return calls.map(([method], i) => {
      const answer = byId.get(base + i);
      if (!answer) return new RpcError(method, { message: 'no answer in the batch' });
      return answer.error ? new RpcError(method, answer.error) : answer.result;
    });
  }

  /** As batch(), but the first error is thrown. */
  async batchOk(calls, chunk) {
    const results = await this.batch(calls, chunk);
    for (const result of results) if (result instanceof Error) throw result;
    return results;
  }

  close() {
    this.#agent.destroy();
  }
}

/** Runs work(item) for each item, at most `parallel` at a time; results in order. */
export async function mapBounded(items, parallel, work) {
  const results = new Array(items.length);
  let next = 0;
  const runner = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i], i);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, runner));
  return results;
}

export const quantity = (n) => `0x${BigInt(n).toString(16)}`;

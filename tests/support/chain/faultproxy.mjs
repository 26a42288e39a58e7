#!/usr/bin/env node
// Stands between a client and a node (HTTP and WebSocket JSON-RPC) and lies on demand. Catalogue: lies.mjs.
//
//   node faultproxy.mjs --upstream http://127.0.0.1:8545 [--port 0] [--control-port 0]
// prints {"rpc","ws","control"} on one line, runs until SIGTERM or SIGINT.
//
// Control:
//   GET    /lies                                    the catalogue: name, which answer, which check should catch it
//   POST   /lie    {"name","height","count","method"}   tell it: only at that height, that many times, only for that method (all optional)
//   DELETE /lie[?name=]                             stop telling it (all)
//   POST   /latency {"ms":N,"method"}               each answer comes N ms later, or those to this method
//   POST   /stall  {"ms":N|null}, DELETE /stall     nothing is answered for N ms, or until deleted; then what waited is answered
//   POST   /down, DELETE /down                      connections are reset at once
//   GET    /stats                                   questions by method, altered answers by lie, the newest alterations

import http from 'node:http';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WebSocket, WebSocketServer } from 'ws';

import { Fork } from './fork.mjs';
import { LIES, answersOf } from './lies.mjs';
import { Rpc, request } from './rpc.mjs';

const BODY_MAX = 64 << 20;
const HUGE_BYTES = 100 << 20;
const HUGE_CHUNK = 'a'.repeat(1 << 20);
const DRIP_BYTES = 1;
const DRIP_MS = 100;
const DEEP = 100_000;
const NEWEST = 1000;
const NOTHING = Symbol('nothing to answer');

/** What is told at the moment, and what was. */
class Story {
  #active = [];
  #heights = new Map(); // block hash -> height
  #lastNotice;

  constructor(upstream) {
    this.rpc = new Rpc(upstream, { parallel: 8 });
    this.altered = {};
    this.newest = [];
    this.methods = {};
    this.latency = 0;
    this.slowMethod = null; // null: all
    this.down = false;
    this.stalled = null; // promise that ends with the stall
  }

  tell({ name, height = null, count = null, method = null }) {
    const lie = LIES.find((l) => l.name === name);
    if (lie === undefined) return undefined;
    const told = { lie, height, left: count ?? Infinity, method };
    if (lie.whole) told.fork = new Fork(this.rpc, height);
    this.#active = this.#active.filter((a) => a.lie !== lie);
    this.#active.push(told);
    return { name, height, count, method };
  }

  stop(name) {
    this.#active = name ? this.#active.filter((a) => a.lie.name !== name) : [];
  }

  get active() {
    return this.#active.map(({ lie, height, left, method }) => ({ name: lie.name, height, left: left === Infinity ? null : left, method }));
  }

  /** The methods that a lie told now is confined to. */
  methodsOf(name) {
    return this.#active.filter((a) => a.lie.name === name && a.method !== null).map((a) => a.method);
  }

  /** The other chain, while it is told. */
  get fork() {
    return this.#active.find((a) => a.fork)?.fork ?? null;
  }

  toldOfFork() {
    this.altered['head-forked-whole'] = (this.altered['head-forked-whole'] ?? 0) + 1;
  }

  asked(call) {
    if (typeof call?.method === 'string') this.methods[call.method] = (this.methods[call.method] ?? 0) + 1;
  }

  #told(active, call, height) {
    active.left--;
    if (active.left <= 0) this.#active = this.#active.filter((a) => a !== active);
    this.altered[active.lie.name] = (this.altered[active.lie.name] ?? 0) + 1;
    this.newest.push({ name: active.lie.name, method: call?.method ?? null, height: height ?? null, at_ms: Date.now() });
    if (this.newest.length > NEWEST) this.newest.shift();
  }

  #candidates(call, answers) {
    return this.#active.filter((a) => answers.includes(a.lie.answer) && (a.method === null || a.method === call?.method));
  }

  /** Whether some content lie could concern this call: otherwise its answer need not be read. */
  concerns(call) {
    return this.#candidates(call, answersOf(call?.method, call?.params)).length > 0;
  }

  /** The transport lie for this exchange (a call or a batch), if one is told. */
  async transport(calls) {
    for (const active of this.#active.filter((a) => a.lie.transport)) {
      if (active.lie.name.startsWith('batch-') && calls.length < 2) continue;
      for (const call of calls) {
        if (active.method !== null && active.method !== call?.method) continue;
        const height = active.height === null ? null : await this.#heightOf(call);
        if (height !== active.height || active.left <= 0) continue;
        this.#told(active, call, height);
        return active.lie.transport;
      }
    }
    return null;
  }

  /** The result that is told instead of the true one; NOTHING where none is altered. */
  async content(call, result) {
    for (const active of this.#candidates(call, answersOf(call.method, call.params))) {
      if (result === null || result === undefined || active.left <= 0) continue;
      const height = await this.#heightOf(call, result);
      if (active.height !== null && active.height !== height) continue;
      const single = call.method === 'eth_getTransactionReceipt';
      const told = { height, method: call.method, params: call.params ?? [], ask: (...question) => this.rpc.call(...question) };
      const said = await active.lie.alter(single ? [result] : result, told);
      const lied = single && Array.isArray(said) ? (said[0] ?? null) : said;
      if (lied === undefined || active.left <= 0 || JSON.stringify(lied) === JSON.stringify(result)) continue;
      this.#told(active, call, height);
      return lied;
    }
    return NOTHING;
  }

  /** What is told instead of a head that the node announced; null: nothing is. */
  async notice(head) {
    const before = this.#lastNotice;
    this.#lastNotice = head;
    const call = { method: 'newHeads' };
    for (const active of this.#candidates(call, ['notice'])) {
      const height = Number(head.number);
      if (active.height !== null && active.height !== height) continue;
      const lied = await active.lie.alter(head, { height, last: before });
      if (lied === undefined) continue;
      this.#told(active, call, height);
      return lied;
    }
    return head;
  }

  async #heightOf(call, result) {
    const number = result?.number ?? result?.blockNumber ?? result?.[0]?.blockNumber;
    if (number !== undefined && number !== null) return Number(number);
    const [first, second] = call?.params ?? [];
    const at = ['eth_getBalance', 'eth_call', 'eth_getCode'].includes(call?.method) ? second?.blockHash ?? second?.blockNumber ?? second : first;
    if (typeof at !== 'string' || !/^0x[0-9a-f]+$/i.test(at)) return null;
    if (at.length < 66) return Number(at);
    if (call.method === 'eth_getTransactionReceipt') return null;
    if (!this.#heights.has(at)) {
      const block = await this.rpc.call('eth_getBlockByHash', at, false);
      if (this.#heights.size > 10_000) this.#heights.clear();
      this.#heights.set(at, block ? Number(block.number) : null);
    }
    return this.#heights.get(at);
  }

  stall(ms) {
    let end;
    this.stalled = new Promise((resolve) => { end = resolve; });
    this.resume = () => {
      this.stalled = null;
      end();
    };
    if (typeof ms === 'number') setTimeout(this.resume, ms).unref();
  }

  /** calls: what was asked; undefined: it is not known. */
  async wait(calls) {
    const concerned = !this.slowMethod || calls?.some((call) => call?.method === this.slowMethod);
    if (this.latency > 0 && concerned) await sleep(this.latency);
    if (this.stalled !== null) await this.stalled;
  }
}

const list = (payload) => (Array.isArray(payload) ? payload : [payload]);

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Alters the answer to a call or a batch; undefined: it stays as it was. */
async function rewritten(story, asked, answerText) {
  const calls = list(asked);
  if (!calls.some((call) => story.concerns(call))) return undefined;
  const answer = parse(answerText);
  if (answer === undefined) return undefined;
  const byId = new Map(calls.map((call) => [call?.id, call]));
  let altered = false;
  for (const item of list(answer)) {
    const call = byId.get(item?.id);
    if (call === undefined || item.result === undefined) continue;
    const lied = await story.content(call, item.result);
    if (lied === NOTHING) continue;
    item.result = lied;
    altered = true;
  }
  return altered ? JSON.stringify(answer) : undefined;
}

/** The answer as the other chain has it; undefined: it is the same. */
async function forkedAnswer(story, text) {
  const answer = story.fork && parse(text);
  if (!answer) return undefined;
  const lied = JSON.stringify(await story.fork.answer(answer));
  if (lied === JSON.stringify(answer)) return undefined;
  story.toldOfFork();
  return lied;
}

// ---- transport lies ---------------------------------------------------------------------------------------------------------------

/** Lies that are only another body: (asked, true body) -> body. */
const BODIES = {
  'json-truncated': (asked, body) => body.slice(0, Math.floor(body.length / 2)),
  'json-invalid': () => '{"jsonrpc":"2.0","id":1,"result":{"number":0x10,}}',
  'json-deep': (asked) => each(asked, (id) => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${'['.repeat(DEEP)}${']'.repeat(DEEP)}}`),
  'body-empty': () => '',
  'result-missing': (asked) => each(asked, (id) => JSON.stringify({ jsonrpc: '2.0', id })),
  'rpc-error': (asked) => failure(asked, -32000, 'header not found'),
  'rpc-limit': (asked, body, methods) => refused(asked, body, methods, { code: -32008, message: 'Response is too big' }),
  'rpc-unsupported': (asked, body, methods) =>
    refused(asked, body, methods, { code: -32601, message: 'the method does not exist/is not available' }),
  'id-wrong': (asked, body) => JSON.stringify(mapAnswer(body, (item) => ({ ...item, id: 987654321 }))),
  'batch-partial': (asked, body) => JSON.stringify(JSON.parse(body).slice(0, Math.floor(asked.length / 2))),
  'batch-swapped': (asked, body) => {
    const answers = JSON.parse(body);
    const last = answers.length - 1;
    [answers[0].id, answers[last].id] = [answers[last].id, answers[0].id];
    return JSON.stringify(answers);
  },
  'batch-object': () => JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32600, message: 'batches are not supported' } }),
};

function each(asked, make) {
  const parts = list(asked).map((call) => make(call?.id ?? null));
  return Array.isArray(asked) ? `[${parts.join(',')}]` : parts[0];
}
const failure = (asked, code, message) => each(asked, (id) => JSON.stringify({ jsonrpc: '2.0', id, error: { code, message } }));
/** As a node answers that refuses these methods: the other calls of the batch have their results. None named: all. */
const refused = (asked, body, methods, error) => {
  const ids = new Set(list(asked).filter((call) => methods.length === 0 || methods.includes(call?.method)).map((call) => call?.id));
  return JSON.stringify(mapAnswer(body, (item) => (ids.has(item.id) ? { jsonrpc: '2.0', id: item.id, error } : item)));
};
const mapAnswer = (body, change) => {
  const answer = JSON.parse(body);
  return Array.isArray(answer) ? answer.map(change) : change(answer);
};

/** Lies that are another way to answer: (response, asked, true body). */
const MANNERS = {
  'http-429': (res) => res.writeHead(429, { 'retry-after': '1', 'content-type': 'text/plain' }).end('slow down\n'),
  'http-500': (res) => res.writeHead(500, { 'content-type': 'text/html' }).end('<html><body>oops</body></html>\n'),
  'http-503': (res) => res.writeHead(503, { 'content-type': 'text/plain' }).end('no backend\n'),
  hang: () => {},
  reset: (res) => res.socket.resetAndDestroy(),
  'json-cut': (res, asked, body) => {
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    res.write(body.slice(0, Math.floor(body.length / 2)), () => res.socket.destroy());
  },
  huge: (res, asked) => {
    const id = JSON.stringify(list(asked)[0]?.id ?? null);
    res.writeHead(200, { 'content-type': 'application/json' });
    res.write(`{"jsonrpc":"2.0","id":${id},"result":"0x`);
    let left = HUGE_BYTES / HUGE_CHUNK.length;
    const more = () => {
      while (!res.destroyed && left > 0) if (left--, !res.write(HUGE_CHUNK)) return res.once('drain', more);
      return res.end('"}');
    };
    more();
  },
  drip: async (res, asked, body) => {
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    for (let at = 0; at < body.length && !res.destroyed; at += DRIP_BYTES) {
      res.write(body.slice(at, at + DRIP_BYTES));
      await sleep(DRIP_MS);
    }
    res.end();
  },
};

// ---- servers ----------------------------------------------------------------------------------------------------------------------

function readBody(req) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    req.on('data', (chunk) => {
      size += chunk.length;
      if (size > BODY_MAX) req.destroy(new Error('question too large'));
      chunks.push(chunk);
    });
    req.on('end', () => resolve(Buffer.concat(chunks).toString()));
    req.on('error', reject);
  });
}

function httpHandler(story, upstream, agent) {
  return async (req, res) => {
    try {
      const text = await readBody(req);
      const asked = parse(text);
      for (const call of list(asked)) story.asked(call);
      const lie = asked === undefined ? null : await story.transport(list(asked));
      await story.wait(list(asked));
      if (story.down) return res.socket?.resetAndDestroy();
      if (lie === 'hang' || lie === 'reset' || lie?.startsWith('http-') || lie === 'huge') return MANNERS[lie](res, asked);

      const question = story.fork?.question(text) ?? text;
      const answer = await request(upstream, { method: 'POST', headers: { 'content-type': 'application/json' }, body: question, agent });
      let body = (await forkedAnswer(story, answer.body)) ?? answer.body;
      if (lie !== null) {
        if (MANNERS[lie]) return MANNERS[lie](res, asked, body.toString());
        body = BODIES[lie](asked, body.toString(), story.methodsOf(lie));
      } else if (asked !== undefined) body = (await rewritten(story, asked, body)) ?? body;
      return res.writeHead(answer.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
    } catch (error) {
      if (!res.headersSent) res.writeHead(502, { 'content-type': 'text/plain' });
      return res.end(`${error.message}\n`);
    }
  };
}

/** One client's WebSocket: its messages to the node and back, in order. */
function bridge(story, upstream, client) {
  const node = new WebSocket(upstream.replace(/^http/, 'ws'), { maxPayload: BODY_MAX });
  const waiting = [];
  const calls = new Map();
  const close = () => {
    client.close();
    node.close();
  };
  let turn = Promise.resolve(); // answers leave in the order in which they came
  const inOrder = (work) => { turn = turn.then(work).catch(close); };

  client.on('message', (data) => {
    const asked = parse(data.toString());
    for (const call of list(asked)) {
      story.asked(call);
      if (call?.id !== undefined) calls.set(call.id, call);
    }
    const text = story.fork?.question(data.toString()) ?? data.toString();
    if (node.readyState === WebSocket.OPEN) node.send(text);
    else waiting.push(text);
  });
  node.on('open', () => waiting.splice(0).forEach((text) => node.send(text)));
  node.on('message', (data) => inOrder(async () => {
    await story.wait();
    if (story.down) return client.terminate();
    const text = await answerOverSocket(story, calls, data.toString(), client);
    return text === null ? undefined : client.send((await forkedAnswer(story, text)) ?? text);
  }));
  for (const socket of [client, node]) {
    socket.on('close', close);
    socket.on('error', close);
  }
}

/** The text to pass on, or null for silence. */
async function answerOverSocket(story, calls, text, client) {
  const message = parse(text);
  if (message?.method === 'eth_subscription' && message.params?.result?.parentHash) {
    const head = await story.notice(message.params.result);
    if (head === message.params.result) return text;
    return head === null ? null : JSON.stringify({ ...message, params: { ...message.params, result: head } });
  }
  const asked = Array.isArray(message) ? message.map((item) => calls.get(item?.id)) : calls.get(message?.id);
  for (const item of list(message)) calls.delete(item?.id);
  if (list(asked).some((call) => call === undefined)) return text;
  const lie = await story.transport(list(asked));
  if (lie === null) return (await rewritten(story, asked, text)) ?? text;
  if (lie === 'hang') return null;
  if (BODIES[lie]) return BODIES[lie](asked, text, story.methodsOf(lie));
  if (lie === 'huge') return JSON.stringify({ ...message, result: `0x${HUGE_CHUNK.repeat(HUGE_BYTES / HUGE_CHUNK.length)}` });
  client.terminate();
  return null;
}

function controlHandler(story) {
  const routes = {
    'GET /lies': () => LIES.map(({ name, answer, caught, what }) => ({ name, answer, caught, what })),
    'GET /stats': () => ({ methods: story.methods, altered: story.altered, total: Object.values(story.altered).reduce((a, b) => a + b, 0),
                           active: story.active, newest: story.newest }),
    'POST /lie': (body) => story.tell(body) ?? { status: 404, error: `no lie is named ${body.name}` },
    'DELETE /lie': (body, query) => { story.stop(query.get('name')); return story.active; },
    'POST /latency': ({ ms, method }) => {
      story.latency = ms ?? 0;
      story.slowMethod = method ?? null;
      return { latency: story.latency };
    },
    'POST /stall': ({ ms = null }) => { story.stall(ms); return { stalled: true }; },
    'DELETE /stall': () => { story.resume?.(); return { stalled: false }; },
    'POST /down': () => { story.down = true; return { down: true }; },
    'DELETE /down': () => { story.down = false; return { down: false }; },
  };
  return async (req, res) => {
    const url = new URL(req.url, 'http://control');
    const route = routes[`${req.method} ${url.pathname}`];
    const text = await readBody(req);
    const body = text === '' ? {} : parse(text);
    const answer = route === undefined || body === undefined ? { status: 404, error: 'see faultproxy.mjs' } : route(body, url.searchParams);
    res.writeHead(answer.status ?? 200, { 'content-type': 'application/json' }).end(`${JSON.stringify(answer)}\n`);
  };
}

const listen = (server, port) => new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(port, '127.0.0.1', () => resolve(server.address().port));
});

/** Resolves to { rpc, ws, control, stop }. */
export async function startProxy({ upstream, port = 0, controlPort = 0 }) {
  const story = new Story(upstream);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const server = http.createServer(httpHandler(story, upstream, agent));
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (client) => (story.down ? client.terminate() : bridge(story, upstream, client)));
  server.on('connection', (socket) => story.down && socket.resetAndDestroy());
  const control = http.createServer(controlHandler(story));
  const [at, controlAt] = [await listen(server, port), await listen(control, controlPort)];
  return {
    rpc: `http://127.0.0.1:${at}`, ws: `ws://127.0.0.1:${at}`, control: `http://127.0.0.1:${controlAt}`, story,
    stop: async () => {
      for (const client of sockets.clients) client.terminate();
      for (const s of [server, control]) {
        s.closeAllConnections();
        await new Promise((resolve) => s.close(resolve));
      }
      agent.destroy();
      story.rpc.close();
    },
  };
}

async function main() {
  const { values } = parseArgs({
    options: { upstream: { type: 'string' }, port: { type: 'string', default: '0' }, 'control-port': { type: 'string', default: '0' } },
  });
  if (!values.upstream) throw new Error('--upstream URL is missing');
  const proxy = await startProxy({ upstream: values.upstream, port: Number(values.port), controlPort: Number(values['control-port']) });
  process.stdout.write(`${JSON.stringify({ rpc: proxy.rpc, ws: proxy.ws, control: proxy.control })}\n`);
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => proxy.stop().then(() => process.exit(0)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    process.stderr.write(`faultproxy: ${error.message}\n`);
    process.exitCode = 1;
  });
}

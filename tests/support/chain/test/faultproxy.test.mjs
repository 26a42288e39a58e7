// Each lie of the catalogue is really told: the answer differs from the node's, as often as asked, where asked, and never otherwise.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { once } from 'node:events';
import { WebSocket } from 'ws';

import { startAnvil } from '../anvil.mjs';
import { startProxy } from '../faultproxy.mjs';
import { LIES, headerHash } from '../lies.mjs';
import { Rpc, quantity, request } from '../rpc.mjs';
import { run } from '../workload.mjs';

let node;
let proxy;
let truth;
let lied;
let blocks; // { number, hash, transactions }

before(async () => {
  node = await startAnvil();
  const { blocks: made } = (await run({ rpc: node.rpc, clock: 'seeded', seed: 11, blocks: 25, reorgs: 0 })).toJSON();
  proxy = await startProxy({ upstream: node.rpc });
  truth = new Rpc(node.rpc);
  lied = new Rpc(proxy.rpc, { timeout: 20_000 });
  blocks = await truth.batchOk(made.slice(5).map((b) => ['eth_getBlockByNumber', [quantity(b.height), true]]));
});

after(async () => {
  truth?.close();
  lied?.close();
  await proxy?.stop();
  await node?.stop();
});

beforeEach(() => control('DELETE', '/lie'));

async function control(method, path, body) {
  const answer = await request(proxy.control + path, { method, body: body && JSON.stringify(body) });
  return JSON.parse(answer.body);
}
const tell = (name, rest = {}) => control('POST', '/lie', { name, ...rest });

const CALL_TRACER = { tracer: 'callTracer' };
const DIFF = { tracer: 'prestateTracer', tracerConfig: { diffMode: true } };
const balanceOf = `0x70a08231${'00'.repeat(12)}f39fd6e51aad88f6f4ce6ab8827279cfffb92266`;
/** Questions whose answers a lie concerns, for one block. */
const QUESTIONS = {
  block: (b) => [['eth_getBlockByHash', [b.hash, true]], ['eth_getBlockByNumber', [b.number, true]]],
  receipts: (b) => [['eth_getBlockReceipts', [b.hash]], ...b.transactions.map((tx) => ['eth_getTransactionReceipt', [tx.hash]])],
  traces: (b) => [['trace_block', [b.number]], ['debug_traceBlockByHash', [b.hash, CALL_TRACER]]],
  'state-diff': (b) => [['debug_traceBlockByHash', [b.hash, DIFF]]],
  'chain-id': () => [['eth_chainId', []]],
  genesis: () => [['eth_getBlockByNumber', ['0x0', true]]],
  head: () => [['eth_blockNumber', []], ['eth_getBlockByNumber', ['latest', false]]],
  finalized: () => [['eth_getBlockByNumber', ['finalized', false]], ['eth_getBlockByNumber', ['safe', false]]],
  balance: (b) => [['eth_getBalance', ['0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266', b.number]]],
  call: (b) => [['eth_call', [{ to: '0x5fbdb2315678afecb367f032d93f642f64180aa3', data: balanceOf }, b.number]]],
};
const ONLY_LISTS = new Set(['receipts-reordered', 'receipt-duplicated', 'log-index-duplicated']); // nothing to exchange or repeat in one receipt

const altered = async () => (await control('GET', '/stats')).total;

test('the catalogue names each lie once, with the answer it alters and the check that should catch it', async () => {
  const catalogue = await control('GET', '/lies');
  assert.ok(catalogue.length >= 30);
  assert.equal(new Set(catalogue.map((l) => l.name)).size, catalogue.length);
  assert.ok(catalogue.every((l) => l.answer && l.caught));
});

test('without a lie the answers are the node\'s, byte for byte', async () => {
  for (const [method, params] of Object.values(QUESTIONS).flatMap((q) => q(blocks[0]))) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    const headers = { 'content-type': 'application/json' };
    const [a, b] = await Promise.all([node.rpc, proxy.rpc].map((url) => request(url, { method: 'POST', body, headers })));
    assert.deepEqual(b.body, a.body, method);
  }
});

test('a forked block has the hash that its header demands', () => {
  for (const block of blocks) assert.equal(headerHash(block), block.hash);
});

for (const { name, answer } of LIES.filter((l) => !l.transport && !l.whole && l.answer !== 'notice')) {
  test(`${name} alters the answer once, then no more`, async () => {
    const methods = [...new Set(QUESTIONS[answer](blocks[0]).map(([method]) => method))]
      .filter((method) => method !== 'eth_getTransactionReceipt' || !ONLY_LISTS.has(name));
    for (const method of methods) {
      assert.equal((await tell(name, { count: 1, method })).name, name);
      const before = await altered();
      let told = false;
      for (const block of blocks) {
        const questions = QUESTIONS[answer](block).filter(([m]) => m === method);
        for (const [m, params] of questions) {
          const said = await lied.call(m, ...params);
          const honest = await truth.call(m, ...params);
          if (await altered() === before) {
            assert.deepEqual(said, honest);
            continue;
          }
          assert.notDeepEqual(said, honest);
          assert.deepEqual(await lied.call(m, ...params), honest, 'told more than once');
          told = true;
          break;
        }
        if (told) break;
      }
      assert.ok(told, `${method}: no block of the workload could be falsified`);
    }
  });
}

test('a lie is told at its height only, whether asked by number, hash, or in a batch', async () => {
  const [first, second] = blocks;
  await tell('block-state-root', { height: Number(second.number) });
  await tell('receipts-empty', { height: Number(second.number) });
  const calls = [first, second].flatMap((b) => [['eth_getBlockByHash', [b.hash, true]], ['eth_getBlockByNumber', [b.number, true]],
    ['eth_getBlockReceipts', [b.hash]], ['eth_getBlockReceipts', [b.number]]]);
  const [said, honest] = [await lied.batchOk(calls), await truth.batchOk(calls)];
  assert.deepEqual(said.slice(0, 4), honest.slice(0, 4));
  said.slice(4).forEach((result, i) => assert.notDeepEqual(result, honest[4 + i]));
});

/** Every block hash that an answer names, wherever. */
const namedBlocks = (value) => (value === null || typeof value !== 'object' ? [] :
  [...(typeof value.blockHash === 'string' ? [value.blockHash] : []), ...Object.values(value).flatMap(namedBlocks)]);

test('head-forked-whole tells a chain of which nothing contradicts itself, whatever is asked of it', async () => {
  const from = Number(blocks[3].number);
  await tell('head-forked-whole', { height: from });
  let parent;
  for (const block of blocks) {
    const forks = Number(block.number) >= from;
    const said = await lied.call('eth_getBlockByNumber', block.number, true);
    assert.equal(said.hash !== block.hash, forks, block.number);
    assert.equal(headerHash(said), said.hash);
    if (parent !== undefined) assert.equal(said.parentHash, parent);
    parent = said.hash;
    assert.deepEqual(await lied.call('eth_getBlockByHash', said.hash, true), said);
    for (const [method, params] of [['eth_getBlockReceipts', [said.hash]], ['trace_block', [block.number]], ['eth_getBlockByHash', [said.hash, true]]]) {
      const named = namedBlocks(await lied.call(method, ...params));
      assert.deepEqual(named.filter((hash) => hash !== said.hash), [], method);
    }
    assert.equal(await lied.call('eth_getBalance', '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266', { blockHash: said.hash }),
      await truth.call('eth_getBalance', '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266', { blockHash: block.hash }));
  }
  assert.equal((await lied.call('eth_getBlockByNumber', 'latest', false)).hash, parent);
  await control('DELETE', '/lie');
  assert.equal((await lied.call('eth_getBlockByNumber', 'latest', false)).hash, blocks.at(-1).hash);
});

// ---- transport -------------------------------------------------------------------------------------------------------------------

const question = (n) => Array.from({ length: n }, (_, i) => ({ jsonrpc: '2.0', id: i + 1, method: 'eth_getBlockByNumber', params: [blocks[i].number, true] }));
const post = (asked, timeout = 2_000) => request(proxy.rpc, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(asked), timeout });

const TRANSPORT = {
  'http-429': async (ask) => assert.deepEqual([(await ask()).status, (await ask()).headers['retry-after']], [429, '1']),
  'http-500': async (ask) => assert.equal((await ask()).status, 500),
  'http-503': async (ask) => assert.equal((await ask()).status, 503),
  hang: (ask) => assert.rejects(ask(), /no answer within/),
  reset: (ask) => assert.rejects(ask(), /ECONNRESET|hang up/),
  'json-truncated': notJson,
  'json-cut': (ask) => assert.rejects(ask(), /aborted|ECONNRESET/),
  'json-invalid': notJson,
  'json-deep': async (ask) => assert.ok((await ask()).body.toString().includes('['.repeat(100_000))),
  'body-empty': async (ask) => assert.equal((await ask()).body.length, 0),
  'result-missing': async (ask) => assert.deepEqual(Object.keys(JSON.parse((await ask()).body)), ['jsonrpc', 'id']),
  'rpc-error': async (ask) => assert.equal(JSON.parse((await ask()).body).error.code, -32000),
  'rpc-limit': async (ask) => assert.equal(JSON.parse((await ask()).body).error.code, -32008),
  'rpc-unsupported': async (ask) => assert.equal(JSON.parse((await ask()).body).error.code, -32601),
  'id-wrong': async (ask) => assert.notEqual(JSON.parse((await ask()).body).id, 1),
  'batch-partial': async () => assert.equal(JSON.parse((await post(question(4))).body).length, 2),
  'batch-swapped': async () => assert.deepEqual(JSON.parse((await post(question(3))).body).map((a) => a.id), [3, 2, 1]),
  'batch-object': async () => assert.equal(Array.isArray(JSON.parse((await post(question(3))).body)), false),
  huge: async () => assert.ok((await post(question(1)[0], 60_000)).body.length > 100_000_000),
  drip: (ask) => assert.rejects(ask(), /no answer within|aborted/),
};

async function notJson(ask) {
  const { status, body } = await ask();
  assert.equal(status, 200);
  assert.ok(body.length > 0);
  assert.throws(() => JSON.parse(body), SyntaxError);
}

for (const { name } of LIES.filter((l) => l.transport)) {
  test(`${name} is what the client gets`, async () => {
    const before = await altered();
    await tell(name);
    const deadline = name === 'drip' ? AbortSignal.timeout(1_500) : undefined;
    const ask = () => (deadline ? withDeadline(post(question(1)[0]), deadline) : post(question(1)[0]));
    await TRANSPORT[name](ask);
    assert.ok(await altered() > before);
    await control('DELETE', `/lie?name=${name}`);
    assert.equal(JSON.parse((await post(question(1)[0])).body).result.hash, blocks[0].hash);
  });
}

const withDeadline = (promise, signal) => Promise.race([promise,
  new Promise((_, reject) => { signal.addEventListener('abort', () => reject(new Error('aborted'))); })]);

test('stall holds answers back until it ends; down resets connections', async () => {
  const asked = async () => (await control('GET', '/stats')).methods.eth_getBlockByNumber;
  const before = await asked();
  await control('POST', '/stall', { ms: null });
  let answered = false;
  const waiting = post(question(1)[0], 20_000).then(() => { answered = true; });
  while (await asked() === before) await new Promise(setImmediate);
  assert.equal(answered, false);
  await control('DELETE', '/stall');
  await waiting;
  await control('POST', '/down');
  await assert.rejects(post(question(1)[0]), /ECONNRESET|hang up/);
  await control('DELETE', '/down');
  assert.equal((await post(question(1)[0])).status, 200);
});

// ---- WebSocket -------------------------------------------------------------------------------------------------------------------

/** Subscribes to newHeads through the proxy; next() is the next message. */
async function subscribed() {
  const socket = new WebSocket(proxy.ws);
  const messages = [];
  let arrived = () => {};
  socket.on('message', (data) => {
    messages.push(JSON.parse(data.toString()));
    arrived();
  });
  await once(socket, 'open');
  const next = async () => {
    while (messages.length === 0) await new Promise((resolve) => { arrived = resolve; });
    return messages.shift();
  };
  socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_subscribe', params: ['newHeads'] }));
  assert.match((await next()).result, /^0x/);
  return { socket, next, ask: async (call) => { socket.send(JSON.stringify(call)); return next(); } };
}

test('WebSocket: announcements and answers pass, and are falsified when told', async () => {
  const { socket, next, ask } = await subscribed();
  const mined = async () => {
    await node.call('evm_mine');
    return node.call('eth_getBlockByNumber', 'latest', false);
  };
  assert.equal((await mined()).hash, (await next()).params.result.hash);

  await tell('notice-forked', { count: 1 });
  assert.notEqual((await mined()).hash, (await next()).params.result.hash);

  await tell('notice-repeated', { count: 1 });
  const repeated = await mined();
  assert.equal(Number((await next()).params.result.number), Number(repeated.number) - 1);

  await tell('notice-dropped', { count: 1 });
  await mined();
  const after = await mined();
  assert.equal((await next()).params.result.hash, after.hash);

  await tell('block-hash', { count: 1 });
  const call = { jsonrpc: '2.0', id: 7, method: 'eth_getBlockByNumber', params: [blocks[0].number, true] };
  assert.notEqual((await ask(call)).result.hash, blocks[0].hash);
  assert.equal((await ask({ ...call, id: 8 })).result.hash, blocks[0].hash);
  await tell('reset', { count: 1 });
  socket.send(JSON.stringify({ ...call, id: 9 }));
  await once(socket, 'close');
});

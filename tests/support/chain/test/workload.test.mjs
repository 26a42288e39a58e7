// The workload: the same seed gives the same chain, nonces stay right through reorgs, and every kind of transaction is made.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startAnvil } from '../anvil.mjs';
import { KINDS } from '../kinds.mjs';
import { planReorgs } from '../play.mjs';
import { Prng } from '../prng.mjs';
import { Rpc, quantity } from '../rpc.mjs';
import { run } from '../workload.mjs';

const GENESIS = 1_700_000_000;

async function played({ hardfork, ...options }, check = () => {}) {
  const node = await startAnvil({ timestamp: GENESIS, hardfork });
  try {
    const journal = await run({ rpc: node.rpc, clock: 'seeded', ...options });
    await check(node, journal.toJSON());
    return journal.toJSON();
  } finally {
    await node.stop();
  }
}

test('the same seed gives the same hashes, another seed others', async () => {
  const options = { blocks: 40, reorgs: 4 };
  const a = await played({ ...options, seed: 'a' });
  const again = await played({ ...options, seed: 'a' });
  const b = await played({ ...options, seed: 'b' });
  assert.deepEqual(again, a);
  assert.notEqual(b.tip.hash, a.tip.hash);
});

test('300 blocks: the journal is the chain, every kind succeeds or fails as meant, all sorts of reorg of depth 1 to 12', async () => {
  const journal = await played({ seed: 3, blocks: 300, reorgs: 20 }, async (node, told) => {
    const rpc = new Rpc(node.rpc);
    const blocks = await rpc.batchOk(told.blocks.map((b) => ['eth_getBlockByNumber', [quantity(b.height), false]]));
    blocks.forEach((b, i) => assert.equal(b.hash, told.blocks[i].hash, `block ${told.blocks[i].height}`));
    for (const { old } of told.reorgs) {
      for (const gone of await rpc.batchOk(old.map((b) => ['eth_getBlockByHash', [b.hash, false]]))) assert.equal(gone, null);
    }
    const types = new Set();
    for (const b of told.blocks) for (const r of await rpc.call('eth_getBlockReceipts', quantity(b.height))) types.add(r.type);
    assert.deepEqual([...types].sort(), ['0x0', '0x1', '0x2', '0x3', '0x4']);
    rpc.close();
  });
  assert.equal(journal.totals.left_out, 0);
  assert.equal(journal.reorgs.length, 20);
  assert.deepEqual([...new Set(journal.reorgs.map((r) => r.depth))].sort((a, b) => a - b), Array.from({ length: 12 }, (_, i) => i + 1));
  assert.deepEqual([...new Set(journal.reorgs.map((r) => r.variant))].sort(), ['replace', 'revert', 'rollback']);
  for (const [, name] of KINDS) {
    const counts = journal.kinds[name];
    assert.ok(counts, `${name} was never drawn`);
    const meantToFail = /^fail-|overdraft|missing/.test(name);
    assert.ok(meantToFail ? counts.failed > 0 : counts.succeeded > counts.failed, `${name}: ${JSON.stringify(counts)}`);
  }
  const lying = journal.tokens.filter((t) => t.lying).map((t) => t.kind).sort();
  assert.deepEqual(lying, ['fee-on-transfer', 'log-without-movement', 'mint-without-log', 'rebasing']);
});

test('before EIP-6780 a contract of an earlier transaction is gone when it destroys itself, afterwards it stays', async () => {
  for (const [hardfork, stays] of [['shanghai', false], ['prague', true]]) {
    const told = await played({ seed: 6, blocks: 60, reorgs: 0, hardfork }, async (node, { blocks }) => {
      const gone = [];
      for (const b of blocks) {
        const traces = await node.call('trace_block', quantity(b.height));
        gone.push(...traces.filter((t) => t.type === 'suicide' && t.traceAddress.length === 1 && t.traceAddress[0] === 0)
          .map((t) => ({ address: t.action.address, height: b.height })));
      }
      let kept = 0;
      for (const { address, height } of gone) {
        const [before, after] = await Promise.all([height - 1, height].map((h) => node.call('eth_getCode', address, quantity(h))));
        if (before !== '0x' && after !== '0x') kept++;
        if (before !== '0x' && !stays) assert.equal(after, '0x', `${hardfork}: ${address} at ${height}`);
      }
      assert.equal(kept > 0, stays, `${hardfork}: ${gone.length} destructions`);
    });
    assert.equal(told.hardfork, hardfork);
    assert.equal(told.kinds.blob === undefined, hardfork === 'shanghai');
  }
});

test('reorgs are planned apart, with every depth, within the blocks', () => {
  const plan = planReorgs({ rng: new Prng(1), first: 3, last: 303, count: 24 });
  assert.equal(new Set(plan.map((r) => r.at)).size, 24);
  assert.ok(plan.every((r) => r.at - r.depth >= 3 && r.at <= 303));
  assert.deepEqual([...new Set(plan.map((r) => r.depth))].length, 12);
  assert.throws(() => planReorgs({ rng: new Prng(1), first: 0, last: 20, count: 20 }), /do not fit/);
});

test('bulk: one transaction with many transfers per block', async () => {
  await played({ bulk: true, blocks: 20, transfers: 50 }, async (node, told) => {
    assert.equal(told.totals.blocks, 21);
    const [receipt] = await node.call('eth_getBlockReceipts', quantity(told.tip.height));
    assert.equal(receipt.logs.length, 50);
  });
});

test('rate: the wanted number of transactions in every block', async () => {
  const told = await played({ rate: true, blocks: 3, txsPerBlock: 200, blockMs: 50 });
  assert.deepEqual(told.blocks.slice(2).map((b) => b.transactions), [200, 200, 200]);
});

test('as a program: endless until SIGTERM, then a whole journal and exit status 0', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'workload-'));
  const node = await startAnvil();
  const out = path.join(directory, 'journal.json');
  try {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../workload.mjs', import.meta.url)), '--rpc', node.rpc, '--forever',
      '--block-ms', '20', '--txs-per-block', '6', '--reorg-every', '8', '--out', out], { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    let asked = false;
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      if (!asked && /[1-9]\d* reorgs/.test(text)) asked = child.kill('SIGTERM');
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /\u001b/);
    const told = JSON.parse(readFileSync(out, 'utf8'));
    const tip = await node.call('eth_getBlockByNumber', 'latest', false);
    assert.equal(told.tip.hash, tip.hash);
    assert.ok(told.reorgs.length > 0);
  } finally {
    await node.stop();
    rmSync(directory, { recursive: true });
  }
});

// The oracle against a gateway that this test plays: its answers come from the node itself, asked the plain way, and are then
// falsified one at a time. An oracle that overlooks one of them proves nothing.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { Interface } from 'ethers';

import { startAnvil } from '../anvil.mjs';
import { compare } from '../oracle.mjs';
import { Rpc, quantity } from '../rpc.mjs';
import { run } from '../workload.mjs';

const TOKEN = new Interface(['function balanceOf(address)', 'function balanceOf(address,uint256)', 'function ownerOf(uint256)']);

let node;
let rpc;
let journal;
let ledger; // "account height" -> rows
let blocks;
let watermark;
const heights = [];

before(async () => {
  node = await startAnvil();
  rpc = new Rpc(node.rpc);
  const whole = (await run({ rpc: node.rpc, clock: 'seeded', seed: 5, blocks: 40, reorgs: 3 })).toJSON();
  journal = { ...whole, accounts: whole.accounts.filter((_, i) => i % 6 === 0 || i < 3) };
  watermark = whole.tip.height - 2;
  heights.push(3, 20, watermark);
  ledger = new Map();
  for (const height of heights) for (const account of journal.accounts) ledger.set(`${account} ${height}`, await rows(account, height));
  const tags = Array.from({ length: watermark + 1 }, (_, height) => quantity(height));
  blocks = (await rpc.batchOk(tags.map((tag) => ['eth_getBlockByNumber', [tag, false]])))
    .map((b) => ({ height: Number(b.number), hash: b.hash, parent_hash: b.parentHash, finality: 'unsafe' }));
});

after(async () => {
  rpc?.close();
  await node?.stop();
});

async function rows(account, height) {
  const tag = quantity(height);
  const assets = [['native', false]];
  for (const { address, standard, ids, lying } of journal.tokens) {
    if (standard === 'erc20') assets.push([address, lying]);
    else for (const id of ids) assets.push([`${address}:${id}`, lying, standard]);
  }
  const answers = await rpc.batch(assets.map(([asset, , standard]) => {
    const [to, id] = asset.split(':');
    if (asset === 'native') return ['eth_getBalance', [account, tag]];
    const data = id === undefined ? TOKEN.encodeFunctionData('balanceOf(address)', [account])
      : standard === 'erc721' ? TOKEN.encodeFunctionData('ownerOf', [id]) : TOKEN.encodeFunctionData('balanceOf(address,uint256)', [account, id]);
    return ['eth_call', [{ to, data }, tag]];
  }));
  return assets.flatMap(([asset, lying, standard], i) => {
    const answer = answers[i] instanceof Error || answers[i] === '0x' ? 0n : BigInt(answers[i]);
    const amount = standard === 'erc721' ? BigInt(answer !== 0n && answer === BigInt(account)) : answer;
    return amount === 0n ? [] : [{ asset, amount: amount.toString(), height, finality: 'unsafe', reconciled_at_height: null, non_conserving: lying }];
  });
}

/** A gateway that answers with the ledger after `change` had its way with each answer; `change(kind, key, answer)`. */
async function asked(change = (kind, key, answer) => answer) {
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, 'http://gateway');
    const [, , , , kind, key] = url.pathname.split('/');
    let answer;
    if (kind === undefined) answer = change('chain', '', { name: 'lab', watermark: String(watermark) });
    else if (kind === 'accounts') {
      const height = Number(url.searchParams.get('height'));
      answer = change('balances', `${key} ${height}`, structuredClone(ledger.get(`${key} ${height}`)));
    } else if (kind === 'assets') {
      const contract = decodeURIComponent(key).split(':')[0];
      answer = change('asset', contract, { asset: key, non_conserving: journal.tokens.find((t) => t.address === contract)?.lying });
    } else {
      const at = Number(url.searchParams.get('cursor') ?? 0);
      const all = change('blocks', '', structuredClone(blocks));
      answer = { items: all.slice(at, at + 15), next_cursor: at + 15 < all.length ? String(at + 15) : null };
    }
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await compare({ rpc: node.rpc, gateway: `http://127.0.0.1:${server.address().port}`, chain: 'lab', journal, heights });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Changes the rows of the first account whose rows at `height` satisfy `wanted`. */
function falsify(height, wanted, change) {
  const key = [...ledger.keys()].find((k) => k.endsWith(` ${height}`) && ledger.get(k).some(wanted));
  assert.ok(key, 'no such row in the ledger');
  return (kind, at, answer) => (kind === 'balances' && at === key ? change(answer) : answer);
}

const isToken = (standard) => (row) => journal.tokens.some((t) => t.standard === standard && row.asset.startsWith(t.address));

test('equal when it is', async () => {
  const report = await asked();
  assert.deepEqual(report.mismatches, []);
  assert.equal(report.equal, true);
  assert.equal(report.blocks, watermark + 1);
  assert.deepEqual(report.heights, heights);
  assert.ok(report.checked > 1000);
});

for (const [what, standard] of [['native', null], ['an ERC-20', 'erc20'], ['an ERC-721', 'erc721'], ['an ERC-1155', 'erc1155']]) {
  const wanted = (row) => (standard === null ? row.asset === 'native' : isToken(standard)(row));

  test(`${what} balance that is one too large, in one row at an old height`, async () => {
    const report = await asked(falsify(20, wanted, (answer) => {
      const row = answer.find(wanted);
      row.amount = (BigInt(row.amount) + 1n).toString();
      return answer;
    }));
    assert.equal(report.mismatch_count, 1);
    assert.equal(BigInt(report.mismatches[0].gateway) - BigInt(report.mismatches[0].node), 1n);
    assert.equal(report.equal, false);
  });

  test(`${what} balance row that is missing at the tip`, async () => {
    const report = await asked(falsify(watermark, wanted, (answer) => answer.filter((row) => row !== answer.find(wanted))));
    assert.equal(report.mismatch_count, 1);
    assert.equal(report.mismatches[0].gateway, '0');
  });
}

test('a row for an asset that the account does not have', async () => {
  const stranger = '0x00000000000000000000000000000000000000ff';
  const report = await asked(falsify(3, () => true, (answer) =>
    [...answer, { asset: stranger, amount: '5', height: 3, finality: 'unsafe', reconciled_at_height: null, non_conserving: false }]));
  assert.equal(report.mismatch_count, 1);
  assert.equal(report.mismatches[0].asset, stranger);
});

test('two rows for one asset', async () => {
  const report = await asked(falsify(20, () => true, (answer) => [...answer, answer[0]]));
  assert.deepEqual(report.mismatches.map((m) => m.problem), ['two rows']);
});

test('a difference that is gone when asked again is none', async () => {
  let first = true;
  const report = await asked(falsify(20, (row) => row.asset === 'native', (answer) => {
    if (first) answer.find((row) => row.asset === 'native').amount = '1';
    first = false;
    return answer;
  }));
  assert.equal(first, false);
  assert.equal(report.equal, true);
});

const onBlocks = (change) => (kind, key, answer) => (kind === 'blocks' ? change(answer) : answer);

test('a missing, a doubled, and a wrong block', async () => {
  const missing = await asked(onBlocks((all) => all.filter((b) => b.height !== 17)));
  assert.deepEqual([missing.missing, missing.duplicate, missing.equal], [1, 0, false]);
  const doubled = await asked(onBlocks((all) => [...all, all[9]]));
  assert.deepEqual([doubled.missing, doubled.duplicate, doubled.equal], [0, 1, false]);
  const wrong = await asked(onBlocks((all) => all.map((b) => (b.height === 9 ? { ...b, hash: all[8].hash } : b))));
  assert.deepEqual(wrong.mismatches.map((m) => m.block), [9]);
  const parent = await asked(onBlocks((all) => all.map((b) => (b.height === 9 ? { ...b, parent_hash: all[7].hash } : b))));
  assert.deepEqual(parent.mismatches.map((m) => m.block), [9]);
});

test('a lying token without its flag, in the asset or in one row; an honest one with it', async () => {
  const liar = journal.tokens.find((t) => t.kind === 'rebasing').address;
  const honest = journal.tokens.find((t) => t.kind === 'no-metadata').address;
  const asset = (address, flag) => (kind, key, answer) => (kind === 'asset' && key === address ? { ...answer, non_conserving: flag } : answer);
  assert.deepEqual((await asked(asset(liar, false))).unflagged, [liar]);
  assert.deepEqual((await asked(asset(honest, true))).wrongly_flagged, [honest]);
  const row = falsify(watermark, (r) => r.asset === liar, (answer) => answer.map((r) => ({ ...r, non_conserving: false })));
  const report = await asked(row);
  assert.ok(report.unflagged.includes(liar));
  assert.equal(report.flagged_ok, false);
});

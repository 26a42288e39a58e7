#!/usr/bin/env node
// Asks a node what every balance is, asks the gateway the same, and compares. Shares no code with weir.
//
//   node oracle.mjs --rpc URL --gateway URL --chain NAME --journal FILE [--heights 1,5,9 | --count 25 --seed S] [--start H]
//                   [--parallel 16] [--wait-ms 10000]
//
// Checked at each chosen height (and at the watermark): native and token balances of every account of the journal, every balance row that
// the gateway gives beyond those, block hashes and parent hashes from --start (default 0) to the watermark, and the flag
// `non_conserving`: on every lying token of the journal, on no other. A difference counts only when both sides were asked again and
// still disagree. Prints one line of JSON; ends with 0 only if everything is equal, 1 if not, 2 if it could not be found out.

import http from 'node:http';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Interface } from 'ethers';

import { contracts } from './compile.mjs';
import { Prng } from './prng.mjs';
import { Rpc, mapBounded, quantity, request } from './rpc.mjs';

const READER_AT = '0x00000000000000000000000000000000facade01'; // where the reading code is put for the length of a call
const ACCOUNTS_PER_CALL = 400;
const PAGES_MAX = 100_000;
const MISMATCHES_SHOWN = 20;
const ASK_AGAIN = 3;
const ASK_AGAIN_MS = 400;

// ---- the node ----------------------------------------------------------------------------------------------------------------

/** Balances as the node says, at one height: Map "account asset" -> amount (only those that are not 0). */
class Node {
  constructor(url, parallel) {
    this.rpc = new Rpc(url, { parallel });
    const { Reader } = contracts();
    this.reader = new Interface(Reader.abi);
    this.override = { [READER_AT]: { code: Reader.runtime } };
    this.plain = new Interface(['function balanceOf(address)', 'function balanceOf(address,uint256)', 'function ownerOf(uint256)']);
  }

  async balances(accounts, tokens, height) {
    const tag = quantity(height);
    const found = new Map();
    const put = (account, asset, amount) => amount !== 0n && found.set(`${account} ${asset}`, amount);

    const native = await this.rpc.batchOk(accounts.map((account) => ['eth_getBalance', [account, tag]]));
    native.forEach((amount, i) => put(accounts[i], 'native', BigInt(amount)));

    const questions = tokens.flatMap((token) => this.#questions(token, accounts, put));
    const answers = await this.rpc.batchOk(questions.map(({ data }) =>
      ['eth_call', [{ to: READER_AT, data, gas: quantity(30_000_000) }, tag, this.override]]), 8);
    answers.forEach((answer, i) => questions[i].take(this.reader.decodeFunctionResult(questions[i].method, answer)[0]));
    return found;
  }

  #questions(token, accounts, put) {
    const ask = (method, args, take) => ({ method, data: this.reader.encodeFunctionData(method, args), take });
    const byAccounts = (make) => chunks(accounts, ACCOUNTS_PER_CALL).map(make);
    switch (token.standard) {
      case 'erc20':
        return byAccounts((some) => ask('balances', [token.address, some], (amounts) =>
          amounts.forEach((amount, i) => put(some[i], token.address, amount))));
      case 'erc1155':
        return token.ids.flatMap((id) => byAccounts((some) => ask('balancesOfId', [token.address, id, some], (amounts) =>
          amounts.forEach((amount, i) => put(some[i], `${token.address}:${id}`, amount)))));
      case 'erc721':
        return chunks(token.ids, ACCOUNTS_PER_CALL).map((ids) => ask('owners', [token.address, ids], (owners) =>
          owners.forEach((owner, i) => owner !== 0n && put(word(owner), `${token.address}:${ids[i]}`, 1n))));
      default:
        throw new Error(`journal: ${token.address} has the unknown standard ${token.standard}`);
    }
  }

  /** One balance by the plainest question there is. standard: of the token where known. */
  async one(account, asset, height, standard) {
    const tag = quantity(height);
    if (asset === 'native') return BigInt(await this.rpc.call('eth_getBalance', account, tag));
    const [contract, id] = asset.split(':');
    const method = id === undefined ? 'balanceOf(address)' : standard === 'erc721' ? 'ownerOf(uint256)' : 'balanceOf(address,uint256)';
    const args = id === undefined ? [account] : standard === 'erc721' ? [id] : [account, id];
    try {
      const answer = await this.rpc.call('eth_call', { to: contract, data: this.plain.encodeFunctionData(method, args) }, tag);
      if (answer.length !== 66) return 0n;
      return standard === 'erc721' && id !== undefined ? BigInt(word(BigInt(answer)) === account) : BigInt(answer);
    } catch (error) {
      if (error.name === 'RpcError') return 0n; // reverted: no such token
      throw error;
    }
  }

  async hashes(from, to) {
    const heights = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    const blocks = await this.rpc.batchOk(heights.map((h) => ['eth_getBlockByNumber', [quantity(h), false]]), 100);
    return new Map(blocks.map((b, i) => [heights[i], b && { hash: b.hash, parent_hash: b.parentHash }]));
  }
}

const word = (n) => `0x${n.toString(16).padStart(40, '0')}`;

function chunks(list, size) {
  const parts = [];
  for (let at = 0; at < list.length; at += size) parts.push(list.slice(at, at + size));
  return parts;
}

// ---- the gateway -------------------------------------------------------------------------------------------------------------

class Gateway {
  constructor(url, chain, { parallel, waitMs }) {
    this.base = `${url.replace(/\/$/, '')}/v1/chains/${encodeURIComponent(chain)}`;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: parallel });
    this.waitMs = waitMs;
  }

  /** undefined for 404. "Not yet" answers (429, 503) are asked again until waitMs have passed. */
  async get(path) {
    const deadline = Date.now() + this.waitMs;
    for (;;) {
      const { status, body } = await request(this.base + path, { agent: this.agent });
      if (status === 200) return JSON.parse(body);
      if (status === 404) return undefined;
      if (![429, 503].includes(status) || Date.now() > deadline) throw new Error(`GET ${path}: ${status} ${body.toString().slice(0, 300)}`);
      await sleep(200);
    }
  }

  async items(path) {
    const all = [];
    let cursor = null;
    const join = path.includes('?') ? '&' : '?';
    for (let page = 0; page < PAGES_MAX; page++) {
      const answer = await this.get(cursor === null ? path : `${path}${join}cursor=${encodeURIComponent(cursor)}`);
      if (answer === undefined) return all;
      if (Array.isArray(answer)) return answer;
      all.push(...answer.items);
      cursor = answer.next_cursor ?? null;
      if (cursor === null) return all;
    }
    throw new Error(`${path}: the pages do not end`);
  }

  async watermark() {
    const status = await this.get('');
    if (status === undefined) throw new Error('the gateway does not know this chain');
    const mark = status.watermark?.height ?? status.watermark;
    if (mark === null || mark === undefined) throw new Error('the gateway has no watermark yet');
    return Number(mark);
  }

  balances(account, height) {
    return this.items(`/accounts/${account}/balances?height=${height}`);
  }

  asset(asset) {
    return this.get(`/assets/${encodeURIComponent(asset)}`);
  }

  blocks() {
    return this.items('/blocks?limit=500');
  }
}

// ---- comparing ---------------------------------------------------------------------------------------------------------------

class Comparison {
  constructor({ node, gateway, journal, parallel, start }) {
    Object.assign(this, { node, gateway, journal, parallel, start });
    this.untouched = 0;
    this.standards = new Map(journal.tokens.map((t) => [t.address, t.standard]));
    this.accounts = journal.accounts;
    this.checked = 0;
    this.mismatches = [];
    this.flaggedRows = new Map(); // contract -> Set of flags seen in rows at the watermark
  }

  async atHeight(height, isTip) {
    const truth = await this.node.balances(this.accounts, this.journal.tokens, height);
    const byAccount = new Map(this.accounts.map((account) => [account, new Map()]));
    for (const [key, amount] of truth) {
      const [account, asset] = key.split(' ');
      byAccount.get(account)?.set(asset, amount); // an owner outside the journal's accounts is nobody's question
    }
    const perAccount = 1 + this.journal.tokens.reduce((sum, t) => sum + (t.standard === 'erc20' ? 1 : t.ids.length), 0);
    await mapBounded(this.accounts, this.parallel, async (account) => {
      const rows = await this.gateway.balances(account, height);
      if (isTip) for (const row of rows) this.#noteFlag(row);
      this.checked += perAccount;
      await this.#account(account, height, byAccount.get(account), rows);
    });
  }

  #noteFlag(row) {
    const contract = row.asset.split(':')[0];
    if (!this.flaggedRows.has(contract)) this.flaggedRows.set(contract, new Set());
    this.flaggedRows.get(contract).add(Boolean(row.non_conserving));
  }

  async #account(account, height, truth, rows) {
    const served = new Map();
    for (const row of rows) {
      if (served.has(row.asset)) this.mismatches.push({ account, asset: row.asset, height, problem: 'two rows' });
      served.set(row.asset, row.amount);
    }
    for (const asset of new Set([...truth.keys(), ...served.keys()])) {
      const amount = served.get(asset) ?? '0';
      if (amount !== (truth.get(asset) ?? 0n).toString()) await this.#confirm(account, asset, height);
    }
  }

  /** Both are asked again, plainly; what still differs is a mismatch. */
  async #confirm(account, asset, height) {
    const standard = this.standards.get(asset.split(':')[0]);
    let node;
    let gateway;
    let row;
    for (let i = 0; i < ASK_AGAIN; i++) {
      if (i > 0) await sleep(ASK_AGAIN_MS);
      node = (await this.node.one(account, asset, height, standard)).toString();
      row = (await this.gateway.balances(account, height)).find((r) => r.asset === asset);
      gateway = row?.amount ?? '0';
      if (node === gateway) return;
    }
    if (row === undefined && node === (await this.node.one(account, asset, Math.max(this.start - 1, 0), standard)).toString()) {
      this.untouched++; // the ledger holds what moved: this balance is what it was before the ledger began
      return;
    }
    this.mismatches.push({ account, asset, height, node, gateway });
  }

  async blocks(start, watermark) {
    let result;
    for (let i = 0; i < ASK_AGAIN; i++) {
      if (i > 0) await sleep(ASK_AGAIN_MS);
      result = await this.#blocksOnce(start, watermark);
      if (result.missing + result.duplicate + result.wrong.length === 0) break;
    }
    this.mismatches.push(...result.wrong);
    return result;
  }

  async #blocksOnce(start, watermark) {
    const truth = await this.node.hashes(start, watermark);
    const seen = new Map();
    let duplicate = 0;
    for (const block of await this.gateway.blocks()) {
      const height = Number(block.height);
      if (block.finality === 'superseded' || height < start || height > watermark) continue;
      if (seen.has(height)) duplicate++;
      seen.set(height, block);
    }
    const wrong = [];
    let missing = 0;
    for (const [height, node] of truth) {
      const block = seen.get(height);
      if (block === undefined) missing++;
      else if (block.hash !== node?.hash || block.parent_hash !== node.parent_hash) {
        wrong.push({ block: height, node, gateway: { hash: block.hash, parent_hash: block.parent_hash } });
      }
    }
    return { blocks: seen.size, missing, duplicate, wrong };
  }

  /** Lying tokens that are not flagged (in a row or in the asset), and honest ones that are. */
  async flags() {
    const unflagged = [];
    const wronglyFlagged = [];
    for (const { address, lying, ids, standard } of this.journal.tokens) {
      const asset = standard === 'erc20' ? address : `${address}:${ids[0]}`;
      const about = await this.gateway.asset(asset);
      const rows = this.flaggedRows.get(address) ?? new Set();
      if (lying && (!about?.non_conserving || rows.has(false))) unflagged.push(address);
      if (!lying && (about?.non_conserving || rows.has(true))) wronglyFlagged.push(address);
    }
    return { unflagged, wronglyFlagged };
  }
}

/** `count` heights from start to the watermark: the first, the last, and others at random; sorted. */
function chooseHeights({ start, watermark, count, seed }) {
  const rng = new Prng(`oracle ${seed}`);
  const chosen = new Set([watermark]);
  const wanted = Math.min(count + 1, watermark - start + 1);
  while (chosen.size < wanted) chosen.add(rng.between(start, watermark));
  return [...chosen].sort((a, b) => a - b);
}

/** Resolves to the report; `equal` tells whether everything was. */
export async function compare({ rpc, gateway: url, chain, journal, heights, count = 25, seed = 1, start = 0, parallel = 16, waitMs = 10_000 }) {
  const node = new Node(rpc, parallel);
  const gateway = new Gateway(url, chain, { parallel, waitMs });
  try {
    const watermark = await gateway.watermark();
    const comparison = new Comparison({ node, gateway, journal, parallel, start });
    const chosen = heights ? [...new Set([...heights.filter((h) => h <= watermark), watermark])] : chooseHeights({ start, watermark, count, seed });
    for (const height of chosen) await comparison.atHeight(height, height === watermark);
    const { blocks, missing, duplicate } = await comparison.blocks(start, watermark);
    const { unflagged, wronglyFlagged } = await comparison.flags();
    const { checked, mismatches, untouched } = comparison;
    return {
      checked, untouched, accounts: journal.accounts.length, assets: journal.tokens.length + 1, heights: chosen, watermark,
      mismatch_count: mismatches.length, mismatches: mismatches.slice(0, MISMATCHES_SHOWN), missing, duplicate, blocks,
      flagged_ok: unflagged.length === 0 && wronglyFlagged.length === 0, unflagged, wrongly_flagged: wronglyFlagged,
      equal: mismatches.length + missing + duplicate + unflagged.length + wronglyFlagged.length === 0,
    };
  } finally {
    node.rpc.close();
    gateway.agent.destroy();
  }
}

async function main() {
  const string = { type: 'string' };
  const { values } = parseArgs({
    options: { rpc: string, gateway: string, chain: string, journal: string, heights: string, count: string, seed: string, start: string,
               parallel: string, 'wait-ms': string },
  });
  for (const name of ['rpc', 'gateway', 'chain', 'journal']) if (!values[name]) throw new Error(`--${name} is missing`);
  const number = (name) => (values[name] === undefined ? undefined : Number(values[name]));
  const report = await compare({
    rpc: values.rpc, gateway: values.gateway, chain: values.chain, journal: JSON.parse(readFileSync(values.journal, 'utf8')),
    heights: values.heights?.split(',').map(Number), count: number('count'), seed: values.seed, start: number('start'),
    parallel: number('parallel'), waitMs: number('wait-ms'),
  });
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exitCode = report.equal ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    process.stderr.write(`oracle: ${error.message}\n`);
    process.exitCode = 2;
  });
}

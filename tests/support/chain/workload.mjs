#!/usr/bin/env node
// Drives a node under manual mining (anvil --no-mining). Progress goes to stderr, the journal to --out.
//
//   node workload.mjs --rpc URL --seed S --blocks N --reorgs R --pace-ms P --out FILE      varied, then ends
//   node workload.mjs --rpc URL --forever --block-ms 1000 --txs-per-block 20 --reorg-every 25 --out FILE
//   node workload.mjs --rpc URL --bulk --blocks 2000 --transfers 50 --out FILE             as fast as possible
//   node workload.mjs --rpc URL --rate --blocks 60 --block-ms 1000 --txs-per-block 200 --out FILE
//
// SIGTERM and SIGINT finish the block at hand, write the journal and end with 0.
// The same seed gives the same transactions. --clock seeded takes block times from the seed instead of the wall clock: with anvil started
// at a fixed --timestamp, the same seed then gives the same hashes too. --skip KIND[,KIND] leaves kinds of transactions out (kinds.mjs).

import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Driver } from './driver.mjs';
import { Journal } from './journal.mjs';
import { bulk, rate } from './plain.mjs';
import { Play, VARIANTS, planReorgs } from './play.mjs';
import { Prng } from './prng.mjs';
import { World } from './world.mjs';

const JOURNAL_EVERY_MS = 5_000;
const PROGRESS_EVERY_MS = 1_000;
/** Kinds that an older hard fork does not know. */
const TOO_NEW = { shanghai: ['blob', 'set-code', 'set-code-self'], cancun: ['set-code', 'set-code-self'] };
const FOREVER_DEPTHS = [[4, 1], [4, 2], [3, 3], [2, 5], [1, 8], [1, 12]];

/** Options as of the command line, in camelCase. Resolves to the journal. `stopped` is asked between blocks. */
export async function run(options) {
  const { rpc, seed = 1, clock = 'wall', skip = [], out, stopped = () => false, log = () => {} } = options;
  const mode = ['forever', 'bulk', 'rate'].find((m) => options[m]) ?? 'blocks';
  const rng = new Prng(seed);
  const world = new World({ seed });
  const driver = new Driver(rpc, { world, rng, clock });
  await driver.open();
  const hardfork = (await driver.rpc.call('anvil_nodeInfo')).hardFork.toLowerCase();
  const journal = new Journal({ seed, mode, hardfork, chainId: driver.chainId, startHeight: driver.head.height + 1 });
  const progress = reporter({ journal, log, out });
  try {
    const stage = { driver, world, rng, journal, stopped, progress };
    if (mode === 'bulk') await bulk(stage, { blocks: options.blocks ?? 2000, transfers: options.transfers ?? 50 });
    else if (mode === 'rate') await rate(stage, { blocks: options.blocks ?? 60, size: options.txsPerBlock ?? 200, blockMs: options.blockMs ?? 1000 });
    else {
      const play = new Play({ ...stage, skip: [...skip, ...(TOO_NEW[hardfork] ?? [])], onBlock: progress });
      await play.setup();
      if (mode === 'forever') await forever(play, stage, options);
      else await finite(play, stage, options);
    }
    return journal;
  } finally {
    if (out) journal.write(out);
    driver.close();
  }
}

async function finite(play, { driver, rng, stopped }, { blocks = 300, reorgs = 20, txsPerBlock = 12, paceMs = 0 }) {
  const last = play.floor + blocks;
  const plan = planReorgs({ rng, first: play.floor, last, count: reorgs });
  while (driver.head.height < last && !stopped()) {
    const height = driver.head.height;
    if (plan[0]?.at === height) await play.reorg(plan.shift(), txsPerBlock);
    if (plan[0]?.variant === 'revert' && plan[0].at - plan[0].depth === driver.head.height) await play.prepareRevert(driver.head.height);
    await play.block(txsPerBlock);
    if (paceMs > 0) await sleep(paceMs);
  }
}

async function forever(play, { driver, rng, stopped }, { blockMs = 1000, txsPerBlock = 20, reorgEvery = 25 }) {
  const planNext = () => {
    const depth = rng.weighted(FOREVER_DEPTHS);
    return { at: driver.head.height + Math.max(reorgEvery, depth), depth, variant: rng.pick(VARIANTS) };
  };
  let next = planNext();
  let tick = Date.now();
  while (!stopped()) {
    if (reorgEvery > 0 && driver.head.height >= next.at) {
      await play.reorg(next, txsPerBlock);
      next = planNext();
    }
    if (next.variant === 'revert' && next.at - next.depth === driver.head.height) await play.prepareRevert(driver.head.height);
    tick = Math.max(tick + blockMs, Date.now());
    await play.block(txsPerBlock);
    while (!stopped() && Date.now() < tick) await sleep(Math.min(100, tick - Date.now()));
  }
}

/** A line at most once a second, and the journal every few seconds so that others can read along. */
function reporter({ journal, log, out }) {
  const begun = Date.now();
  let lastLine = 0;
  let lastWrite = Date.now();
  return (head) => {
    const now = Date.now();
    if (now - lastLine >= PROGRESS_EVERY_MS) {
      lastLine = now;
      const { blocks, transactions, failed } = journal.totals;
      const perSecond = (blocks / Math.max((now - begun) / 1000, 0.001)).toFixed(1);
      log(`workload: height ${head.height}, ${blocks} blocks, ${transactions} transactions (${failed} failed), `
        + `${journal.reorgs.length} reorgs, ${perSecond} blocks/s`);
    }
    if (out && now - lastWrite >= JOURNAL_EVERY_MS) {
      lastWrite = now;
      journal.write(out);
    }
  };
}

const NUMBERS = ['blocks', 'reorgs', 'pace-ms', 'block-ms', 'txs-per-block', 'reorg-every', 'transfers'];

function options() {
  const string = { type: 'string' };
  const boolean = { type: 'boolean' };
  const { values } = parseArgs({
    options: { rpc: string, seed: string, out: string, clock: string, skip: string, forever: boolean, bulk: boolean, rate: boolean,
               ...Object.fromEntries(NUMBERS.map((n) => [n, string])) },
  });
  if (!values.rpc) throw new Error('--rpc URL is missing');
  for (const name of NUMBERS) {
    if (values[name] === undefined) continue;
    if (!/^\d+$/.test(values[name])) throw new Error(`--${name} ${values[name]}: not a number`);
    values[name] = Number(values[name]);
  }
  if (values.clock && !['wall', 'seeded'].includes(values.clock)) throw new Error(`--clock ${values.clock}: wall or seeded`);
  const camel = Object.entries(values).map(([k, v]) => [k.replace(/-(.)/g, (_, c) => c.toUpperCase()), v]);
  return { ...Object.fromEntries(camel), skip: values.skip?.split(',') ?? [] };
}

async function main() {
  let stop = false;
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => { stop = true; });
  const log = (line) => process.stderr.write(`${line}\n`);
  const { totals, reorgs, tokens, accounts } = await run({ ...options(), stopped: () => stop, log });
  log(`workload: done: ${totals.blocks} blocks (${totals.orphaned} orphaned by ${reorgs.length} reorgs), ${totals.transactions} transactions, `
    + `${totals.failed} failed, ${tokens.length} tokens, ${accounts.size} accounts`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    process.stderr.write(`workload: ${error.message}\n`);
    process.exitCode = 1;
  });
}

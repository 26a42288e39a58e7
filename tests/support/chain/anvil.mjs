#!/usr/bin/env node
// A real anvil node on a free port of 127.0.0.1: start, wait until it answers, stop by process id.
//
// As a program: `node anvil.mjs [--chain-id N] [--slots N] [--gas-limit N] ...` prints {"rpc","ws","port","pid"} on one line when
// the node answers, and stops the node on SIGTERM or SIGINT, or when its own parent is gone.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Rpc } from './rpc.mjs';

export const ANVIL = fileURLToPath(new URL('./node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil', import.meta.url));
export const MNEMONIC = 'test test test test test test test test test test test junk';

const READY_MS = 20_000;
const STOP_MS = 5_000;

/**
 * Options, with what they mean:
 *   port 0 (free), chainId 31337, accounts 40, balance (ether each) 1000000, gasLimit 60000000, baseFee (wei) anvil's own,
 *   mining 'manual' | 'auto' | seconds between blocks, order 'fifo',
 *   slots: finality: safe = head - slots, finalized = head - 2 * slots. 8 keeps reorgs of up to 12 blocks above the finalized block.
 *   timestamp of genesis, hardfork, extra: further arguments.
 */
export function anvilArguments(options = {}) {
  const { port = 0, chainId = 31337, accounts = 40, balance = 1_000_000, gasLimit = 60_000_000, baseFee, mining = 'manual',
          order = 'fifo', slots = 8, timestamp, hardfork, extra = [] } = options;
  const args = ['--host', '127.0.0.1', '--port', port, '--chain-id', chainId, '--accounts', accounts, '--balance', balance,
                '--mnemonic', MNEMONIC, '--gas-limit', gasLimit, '--order', order, '--slots-in-an-epoch', slots, '--no-request-size-limit'];
  if (mining === 'manual') args.push('--no-mining');
  else if (mining !== 'auto') args.push('--block-time', mining);
  if (baseFee !== undefined) args.push('--base-fee', baseFee);
  if (timestamp !== undefined) args.push('--timestamp', timestamp);
  if (hardfork !== undefined) args.push('--hardfork', hardfork);
  return [...args, ...extra].map(String);
}

/** Resolves to { rpc, ws, port, pid, call, exited, stop } when the node answers. */
export async function startAnvil(options = {}) {
  if (!existsSync(ANVIL)) throw new Error(`${ANVIL}: not installed; run npm ci --ignore-scripts in tests/support/chain`);
  const child = spawn(ANVIL, anvilArguments(options), { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  exited.then(() => process.removeListener('exit', kill));

  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const late = setTimeout(kill, STOP_MS);
      await exited;
      clearTimeout(late);
    }
  };

  try {
    const port = await listeningPort(child, exited);
    const url = `http://127.0.0.1:${port}`;
    const rpc = new Rpc(url, { parallel: 1 });
    await rpc.call('eth_blockNumber');
    await rpc.call('anvil_setLoggingEnabled', false);
    return { rpc: url, ws: `ws://127.0.0.1:${port}`, port, pid: child.pid, call: (...args) => rpc.call(...args), exited,
             stop: async () => { rpc.close(); await stop(); } };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Anvil says on which port it listens; from then on its output is read and dropped, so that it never blocks on a full pipe. */
function listeningPort(child, exited) {
  return new Promise((resolve, reject) => {
    let text = '';
    const late = setTimeout(() => reject(new Error(`anvil: not ready within ${READY_MS} ms: ${text.slice(-500)}`)), READY_MS);
    const look = (chunk) => {
      text += chunk;
      const found = /Listening on 127\.0\.0\.1:(\d+)/.exec(text);
      if (!found) return;
      clearTimeout(late);
      for (const stream of [child.stdout, child.stderr]) {
        stream.removeListener('data', look);
        stream.resume();
      }
      resolve(Number(found[1]));
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('error', reject);
    exited.then(({ code, signal }) => {
      clearTimeout(late);
      reject(new Error(`anvil: ended before it was ready (${signal ?? code}): ${text.slice(-500)}`));
    });
  });
}

async function main() {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '0' }, 'chain-id': { type: 'string' }, accounts: { type: 'string' }, balance: { type: 'string' },
      'gas-limit': { type: 'string' }, 'base-fee': { type: 'string' }, mining: { type: 'string' }, order: { type: 'string' },
      slots: { type: 'string' }, timestamp: { type: 'string' }, hardfork: { type: 'string' }, extra: { type: 'string', multiple: true },
    },
  });
  const options = Object.fromEntries(Object.entries(values).map(([k, v]) => [k.replace(/-(.)/g, (_, c) => c.toUpperCase()), v]));
  const node = await startAnvil(options);
  process.stdout.write(`${JSON.stringify({ rpc: node.rpc, ws: node.ws, port: node.port, pid: node.pid })}\n`);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.once(signal, () => node.stop());
  const parent = process.ppid;
  const watch = setInterval(() => process.ppid !== parent && node.stop(), 1000);
  const { code, signal } = await node.exited;
  clearInterval(watch);
  process.exitCode = signal === 'SIGTERM' || signal === 'SIGKILL' || code === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  });
}

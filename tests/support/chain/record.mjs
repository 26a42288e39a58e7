#!/usr/bin/env node
// Records blocks of a real anvil with the varied workload on it, one folder per height, each answer as {"response":{"result":...}}: the
// layout of the recorded chains, so that unit tests read both alike.
//
//   node record.mjs --out DIR [--blocks 40] [--seed 1] [--hardfork shanghai] [--txs-per-block 12]

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { startAnvil } from './anvil.mjs';
import { Rpc } from './rpc.mjs';
import { run } from './workload.mjs';

const string = { type: 'string' };
const { values } = parseArgs({ options: { out: string, blocks: string, seed: string, hardfork: string, 'txs-per-block': string } });
if (!values.out) throw new Error('--out DIR is missing');

const node = await startAnvil({ hardfork: values.hardfork });
try {
  await run({ rpc: node.rpc, seed: values.seed ?? 1, blocks: Number(values.blocks ?? 40), reorgs: 0, txsPerBlock: Number(values['txs-per-block'] ?? 12) });
  const rpc = new Rpc(node.rpc, { parallel: 2 });
  const head = Number(await rpc.call('eth_blockNumber'));
  for (let height = 0; height <= head; height++) {
    const folder = join(values.out, String(height));
    const number = `0x${height.toString(16)}`;
    mkdirSync(folder, { recursive: true });
    const write = (name, result) => writeFileSync(join(folder, `${name}.json`), JSON.stringify({ response: { result } }));
    write('eth_getBlockByNumber', await rpc.call('eth_getBlockByNumber', number, true));
    write('eth_getBlockReceipts', await rpc.call('eth_getBlockReceipts', number));
    if (height === 0) continue;
    write('trace_block', await rpc.call('trace_block', number));
    write('debug_traceBlockByNumber', await rpc.call('debug_traceBlockByNumber', number, { tracer: 'callTracer' }));
    write('debug_traceBlockByNumber.prestateTracer.diff',
      await rpc.call('debug_traceBlockByNumber', number, { tracer: 'prestateTracer', tracerConfig: { diffMode: true } }));
  }
  rpc.close();
} finally {
  await node.stop();
}

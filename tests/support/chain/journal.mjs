// What a workload did, for whoever checks the result: accounts, tokens, blocks, reorgs. Written as one JSON document, replaced whole.

import { renameSync, writeFileSync } from 'node:fs';

const ACCOUNTS_MAX = 20_000;
const BLOCKS_MAX = 20_000;
const TRANSFER = '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';
const SINGLE = '0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62';
const BATCH = '0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb';

export class Journal {
  constructor({ seed, mode, hardfork, chainId, startHeight }) {
    this.hardfork = hardfork;
    this.seed = String(seed);
    this.mode = mode;
    this.chainId = Number(chainId);
    this.startHeight = startHeight;
    this.accounts = new Set();
    this.tokens = [];
    this.blocks = new Map();
    this.reorgs = [];
    this.kinds = {};
    this.totals = { blocks: 0, transactions: 0, failed: 0, left_out: 0, orphaned: 0 };
  }

  addAccounts(addresses) {
    for (const address of addresses) {
      if (this.accounts.size >= ACCOUNTS_MAX) return;
      if (address) this.accounts.add(address.toLowerCase());
    }
  }

  /** status: of the receipt; undefined when it was not looked at. */
  count(kind, status) {
    const counts = (this.kinds[kind] ??= { sent: 0, succeeded: 0, failed: 0 });
    counts.sent++;
    if (status === '0x1') counts.succeeded++;
    else if (status === '0x0') counts.failed++;
  }

  /** A block that is now canonical, with what was observed in it (may be null). */
  addBlock(block, observed) {
    const failed = observed ? observed.receipts.filter((r) => r.status !== '0x1').length : null;
    this.blocks.set(block.height, { height: block.height, hash: block.hash, parent_hash: block.parent, timestamp: block.timestamp,
                                    transactions: block.transactions, failed });
    if (this.blocks.size > BLOCKS_MAX) this.blocks.delete(this.blocks.keys().next().value);
    this.totals.blocks++;
    this.totals.transactions += block.transactions;
    this.totals.failed += failed ?? 0;
    if (!observed) return;
    for (const { action, result } of observed.traces) {
      this.addAccounts([action.from, action.to, action.address, action.refundAddress, result?.address]);
    }
    for (const log of observed.receipts.flatMap((r) => r.logs)) {
      const indexed = log.topics[0] === TRANSFER ? log.topics.slice(1, 3) : [SINGLE, BATCH].includes(log.topics[0]) ? log.topics.slice(2) : [];
      this.addAccounts(indexed.map((topic) => `0x${topic.slice(26)}`));
    }
  }

  /** Blocks from `height` on are no longer canonical. Returns them, oldest first. */
  orphan(height) {
    const gone = [...this.blocks.values()].filter((b) => b.height >= height).sort((a, b) => a.height - b.height);
    for (const block of gone) this.blocks.delete(block.height);
    this.totals.orphaned += gone.length;
    return gone;
  }

  addReorg({ variant, depth, at, old }) {
    this.reorgs.push({ variant, depth, at_height: at, ancestor_height: at - depth, old: old.map(({ height, hash }) => ({ height, hash })) });
  }

  toJSON() {
    const blocks = [...this.blocks.values()].sort((a, b) => a.height - b.height);
    return {
      version: 1, seed: this.seed, mode: this.mode, hardfork: this.hardfork, chain_id: this.chainId, start_height: this.startHeight,
      tip: blocks.at(-1) ?? null, totals: this.totals, kinds: this.kinds,
      not_produced: { withdrawals: 'anvil makes none: withdrawals are proven with recorded blocks' },
      reorgs: this.reorgs, tokens: this.tokens, accounts: [...this.accounts].sort(), blocks,
    };
  }

  write(file) {
    const partial = `${file}.partial`;
    writeFileSync(partial, `${JSON.stringify(this, null, 1)}\n`);
    renameSync(partial, file);
  }
}

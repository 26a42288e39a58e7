// Another chain over the same node, from a height on: its blocks differ from the node's in their extra data and, by that, in all hashes. Blocks,
// receipts, logs, traces, announcements and questions are translated, so that nothing of it contradicts itself.

import { forked } from './lies.mjs';

const HASHES = new Set(['hash', 'parentHash', 'blockHash']);
const HASH = /0x[0-9a-f]{64}/g;
const isHeader = (value) => value.parentHash !== undefined && value.stateRoot !== undefined;

export class Fork {
  #ours = new Map(); // the node's hash -> the promise of ours
  #theirs = new Map(); // and back

  /** from: the first height that differs; null: the one after the node's head. */
  constructor(rpc, from) {
    this.rpc = rpc;
    this.from = from === null ? rpc.call('eth_blockNumber').then((head) => Number(head) + 1) : Promise.resolve(from);
  }

  /** The question as the node understands it. */
  question(text) {
    return text.replace(HASH, (hash) => this.#theirs.get(hash) ?? hash);
  }

  /** The answer as this chain has it. */
  async answer(value) {
    if (Array.isArray(value)) return Promise.all(value.map((item) => this.answer(item)));
    if (value === null || typeof value !== 'object') return value;
    if (isHeader(value)) return this.#header(value);
    const entries = await Promise.all(Object.entries(value).map(async ([name, item]) =>
      [name, HASHES.has(name) && typeof item === 'string' ? await this.#known(name, item, value) : await this.answer(item)]));
    return Object.fromEntries(entries);
  }

  async #known(name, hash, of) {
    const height = name === 'blockHash' ? of.blockNumber : undefined;
    return height === undefined || height === null || Number(height) < await this.from ? hash : this.#hash(hash);
  }

  async #header(block) {
    if (Number(block.number) < await this.from) return block;
    await this.#hash(block.hash); // known from now on, when it is asked for
    return forked(block, await this.#hash(block.parentHash));
  }

  /** Our hash of the node's block. */
  #hash(theirs) {
    if (!this.#ours.has(theirs)) this.#ours.set(theirs, this.#make(theirs));
    return this.#ours.get(theirs);
  }

  async #make(theirs) {
    const block = await this.rpc.call('eth_getBlockByHash', theirs, false);
    if (!block || Number(block.number) < await this.from) return theirs;
    const ours = forked(block, await this.#hash(block.parentHash)).hash;
    this.#theirs.set(ours, theirs);
    return ours;
  }
}

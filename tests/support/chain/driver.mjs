// Puts transactions into blocks of a node under manual mining, keeps nonces right, and takes blocks away again.

import { authorize, signEnvelope } from './envelope.mjs';
import { Rpc, quantity } from './rpc.mjs';

const GWEI = 10n ** 9n;
const RAW_TYPES = new Set([3, 4]);

/** EIP-1559: the base fee of the block after this one. */
export function nextBaseFee({ baseFee, gasUsed, gasLimit }) {
  const target = gasLimit / 2n;
  if (gasUsed === target) return baseFee;
  if (gasUsed < target) return baseFee - (baseFee * (target - gasUsed)) / target / 8n;
  const rise = (baseFee * (gasUsed - target)) / target / 8n;
  return baseFee + (rise > 0n ? rise : 1n);
}

const sending = (request) => [typeof request === 'string' ? 'eth_sendRawTransaction' : 'eth_sendTransaction', request];

export class Driver {
  #nonces = new Map();
  #closed = new Set();

  /** clock: 'wall' or 'seeded' (block times from rng, so that the same seed gives the same hashes). */
  constructor(url, { world, rng, clock = 'wall' }) {
    this.rpc = new Rpc(url, { parallel: 2 });
    this.world = world;
    this.rng = rng;
    this.clock = clock;
  }

  async open() {
    this.chainId = BigInt(await this.rpc.call('eth_chainId'));
    this.head = await this.block('latest');
    await this.readNonces();
  }

  async block(tag) {
    const b = await this.rpc.call('eth_getBlockByNumber', tag, false);
    return { height: Number(b.number), hash: b.hash, parent: b.parentHash, timestamp: Number(b.timestamp), transactions: b.transactions.length,
             baseFee: BigInt(b.baseFeePerGas), gasUsed: BigInt(b.gasUsed), gasLimit: BigInt(b.gasLimit) };
  }

  async readNonces(height = 'latest') {
    const accounts = [...this.world.senders, ...this.world.authorities];
    const tag = typeof height === 'number' ? quantity(height) : height;
    const nonces = await this.rpc.batchOk(accounts.map((account) => ['eth_getTransactionCount', [account, tag]]));
    accounts.forEach((account, i) => this.#nonces.set(account, Number(nonces[i])));
    this.#closed.clear();
  }

  nonce(account) {
    return this.#nonces.get(account);
  }

  /** A new block begins: everyone may sign again. */
  openSenders() {
    this.#closed.clear();
  }

  #take(account) {
    const nonce = this.#nonces.get(account);
    this.#nonces.set(account, nonce + 1);
    return nonce;
  }

  #sender() {
    const open = this.world.senders.filter((account) => !this.#closed.has(account));
    return this.rng.pick(open);
  }

  /**
   * Completes a transaction: sender, nonce, type and fees. Returns the request for eth_sendTransaction, or a raw transaction (string),
   * or undefined when its sender may not send now. A sender signs nothing more in a block in which its own authorization moved its nonce
   * (the pool could not order it).
   */
  complete(tx, { raw = false } = {}) {
    const from = tx.from ?? this.#sender();
    const authorities = (tx.authorizations ?? []).map((a) => a.authority);
    if (this.#closed.has(from) || authorities.some((a) => this.#closed.has(a))) return undefined;
    const nonce = this.#take(from);
    const tip = this.rng.chance(0.2) ? 0n : BigInt(this.rng.between(1, 3_000)) * (GWEI / 1000n);
    const ceiling = this.head.baseFee * (raw ? 16n : 2n) + tip; // a branch of 12 blocks can raise the base fee fourfold
    const type = tx.type ?? (raw ? 2 : this.rng.weighted([[2, 0], [1, 1], [5, 2]]));
    const common = { from, to: tx.to, data: tx.data ?? '0x', value: tx.value ?? 0n, gas: tx.gas, nonce };

    if (RAW_TYPES.has(type)) {
      for (const authority of authorities) this.#closed.add(authority);
      const authorizations = tx.authorizations?.map((a) =>
        authorize(this.world.wallet(a.authority), { to: a.to, chainId: this.chainId, nonce: this.#take(a.authority) }));
      return signEnvelope(this.world.wallet(from),
        { ...common, type, chainId: this.chainId, maxFeePerGas: ceiling, maxPriorityFeePerGas: tip, blobs: tx.blobs, authorizations });
    }
    const fees = type === 2 ? { maxFeePerGas: quantity(ceiling), maxPriorityFeePerGas: quantity(tip) }
      : { gasPrice: quantity(this.head.baseFee + this.head.baseFee / 7n + tip) };
    const list = type === 1 ? [{ address: tx.to ?? from, storageKeys: [`0x${'00'.repeat(32)}`] }] : undefined;
    const request = { ...common, ...fees, type: quantity(type), value: quantity(common.value), gas: quantity(common.gas),
                      nonce: quantity(nonce), accessList: type === 0 ? undefined : list ?? [] };
    return raw ? { ...request, chainId: quantity(this.chainId) } : request;
  }

  /** Sends completed transactions, one after the other; throws on the first refused. Resolves to their hashes. */
  async send(requests) {
    const hashes = [];
    for (const request of requests) hashes.push(await this.rpc.call(...sending(request)));
    return hashes;
  }

  /** The same in one batch, several times faster. The node works on a batch's items side by side: their order in the block is open. */
  sendAtOnce(requests) {
    return this.rpc.batchOk(requests.map((request) => [sending(request)[0], sending(request).slice(1)]), 500);
  }

  #nextTimestamp() {
    if (this.clock === 'seeded') return this.head.timestamp + this.rng.between(1, 12);
    return Math.max(this.head.timestamp + 1, Math.floor(Date.now() / 1000));
  }

  /** Mines what was sent; returns the new head. */
  async mine() {
    await this.rpc.call('evm_setNextBlockTimestamp', this.#nextTimestamp());
    await this.rpc.call('evm_mine');
    this.head = await this.block('latest');
    this.openSenders();
    return this.head;
  }

  /** What happened in a block: receipts and addresses that took part. */
  async observe(height) {
    const tag = quantity(height);
    const [receipts, traces] = await this.rpc.batchOk([['eth_getBlockReceipts', [tag]], ['trace_block', [tag]]]);
    return { receipts, traces };
  }

  setFeeRecipient(address) {
    return this.rpc.call('anvil_setCoinbase', address);
  }

  snapshot() {
    return this.rpc.call('evm_snapshot');
  }

  /** Goes back to `height`: by a snapshot taken there, or by rollback. The next blocks make another branch. */
  async goBack(height, snapshot) {
    await this.#dropPool();
    if (snapshot !== undefined) {
      if (!await this.rpc.call('evm_revert', snapshot)) throw new Error(`evm_revert: snapshot ${snapshot} is unknown`);
    } else await this.rpc.call('anvil_rollback', this.head.height - height);
    this.head = await this.block('latest');
    if (this.head.height !== height) throw new Error(`went back to ${this.head.height} instead of ${height}`);
    await this.#rightBaseFee();
    await this.readNonces();
  }

  /** Replaces the newest `depth` blocks at once by blocks with these transactions: [[request or raw, index of the new block], ...]. */
  async replace(depth, transactions) {
    await this.#dropPool();
    // Anvil gives these blocks its own clock's time, in which a slow second more makes other hashes.
    if (this.clock === 'seeded') await this.rpc.call('anvil_setBlockTimestampInterval', 1);
    await this.rpc.call('anvil_reorg', depth, transactions);
    if (this.clock === 'seeded') await this.rpc.call('anvil_removeBlockTimestampInterval');
    this.head = await this.block('latest');
    await this.#rightBaseFee();
    await this.readNonces();
  }

  /** Anvil goes on with the base fee of the branch that is gone; a chain would follow EIP-1559 from its new head. */
  async #rightBaseFee() {
    await this.rpc.call('anvil_setNextBlockBaseFeePerGas', quantity(nextBaseFee(this.head)));
  }

  async #dropPool() {
    await this.rpc.call('anvil_dropAllTransactions');
  }

  close() {
    this.rpc.close();
  }
}

// The varied workload: blocks drawn from the catalogue of kinds, and reorgs of three sorts.
//
//   replace   anvil_reorg: the newest blocks are exchanged at once, same height, other transactions
//   revert    evm_snapshot and evm_revert: the head first goes back, then a new branch grows
//   rollback  anvil_rollback: the same without a snapshot

import { getCreateAddress } from 'ethers';

import { KINDS, heavy } from './kinds.mjs';
import { lower } from './world.mjs';

const GWEI = 10n ** 9n;
const TRANSFER = '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';
const HISTORY = 20; // heights whose model can come back: more than the deepest reorg
const HEAVY_PER_BLOCK = 4;
const FEE_RECIPIENT_EVERY = 9;
const TRANSACTION_GAS_MAX = 1n << 24n; // EIP-7825
export const VARIANTS = ['replace', 'revert', 'rollback'];

export class Play {
  constructor({ driver, world, rng, journal, skip = [], onBlock = () => {} }) {
    Object.assign(this, { driver, world, rng, journal, onBlock });
    this.table = KINDS.filter(([, name]) => !skip.includes(name)).map(([weight, name, make]) => [weight, { name, make }]);
    this.model = { nfts: new Map() };
    this.history = new Map();
    this.snapshots = new Map();
    this.dynamic = [];
    this.awaited = new Map();
    this.olds = [];
    this.nextNft = 0;
    this.nextSalt = 1000;
    this.count = 0;
    this.busy = rng.chance(0.5);
  }

  token(name) {
    return this.world.tokens.find((t) => t.address === this.world.at[name].address);
  }

  async setup() {
    const { world, driver, journal } = this;
    journal.tokens = world.tokens;
    for (const block of world.setup(driver.nonce(world.senders[0]))) {
      await driver.send(block.map((tx) => driver.complete(tx)));
      const head = await driver.mine();
      const observed = await driver.observe(head.height);
      if (observed.receipts.length !== block.length || observed.receipts.some((r) => r.status !== '0x1')) {
        throw new Error(`setup: a transaction of block ${head.height} failed`);
      }
      this.#record(head, observed);
    }
    journal.addAccounts([...world.senders, ...world.authorities, ...world.strangers, ...world.precompiles, ...world.feeRecipients,
                         ...Object.values(world.at).map((c) => c.address)]);
    this.floor = driver.head.height;
  }

  /** Mines one block of about `size` transactions. */
  async block(size) {
    const { driver, rng } = this;
    if (this.count++ % FEE_RECIPIENT_EVERY === 0) await driver.setFeeRecipient(rng.pick(this.world.feeRecipients));
    this.#chooseLoad();
    const drawn = this.#draw(rng.between(Math.ceil(size / 2), Math.ceil(size * 1.5)));
    if (this.busy) {
      for (let i = 0; i < HEAVY_PER_BLOCK; i++) drawn.push({ name: 'heavy', request: driver.complete({ ...heavy(this), gas: this.heavyGas }) });
    }
    const hashes = await driver.send(drawn.map(({ request }) => request));
    const head = await driver.mine();
    const observed = await driver.observe(head.height);
    this.#record(head, observed);
    const status = new Map(observed.receipts.map((r) => [r.transactionHash, r.status]));
    drawn.forEach(({ name }, i) => this.journal.count(name, status.get(hashes[i])));
    if (head.transactions !== drawn.length) await this.#leftOut(drawn.length - head.transactions);
    this.onBlock(head);
    return head;
  }

  /** `size` completed transactions of random kinds: [{ name, request }, ...] */
  #draw(size, options) {
    const drawn = [];
    while (drawn.length < size) {
      const kind = this.rng.weighted(this.table);
      const tx = kind.make(this);
      if (tx === undefined || (options?.raw && tx.type === 3)) continue;
      const request = this.driver.complete(tx, options);
      if (request === undefined) continue;
      if (tx.creates === 'token') this.awaited.set(lower(getCreateAddress({ from: request.from, nonce: Number(request.nonce) })), request.from);
      drawn.push({ name: kind.name, request });
    }
    return drawn;
  }

  /** Blocks are kept fuller or emptier than the gas target in turn, so that the base fee moves and stays within sense. */
  #chooseLoad() {
    const { baseFee } = this.driver.head;
    if (baseFee > 20n * GWEI) this.busy = false;
    else if (baseFee < GWEI / 5n) this.busy = true;
    else if (this.rng.chance(0.08)) this.busy = !this.busy;
    const sixth = this.driver.head.gasLimit / 6n;
    this.heavyGas = sixth < TRANSACTION_GAS_MAX ? sixth : TRANSACTION_GAS_MAX;
  }

  async #leftOut(missing) {
    this.journal.totals.left_out += missing;
    await this.driver.rpc.call('anvil_dropAllTransactions');
    await this.driver.readNonces();
  }

  #record(head, observed) {
    this.journal.addBlock(head, observed);
    for (const receipt of observed.receipts) {
      const made = receipt.contractAddress && lower(receipt.contractAddress);
      if (made && receipt.status === '0x1' && this.awaited.has(made)) this.#newToken(made, this.awaited.get(made));
      for (const log of receipt.logs) this.#followNft(log);
    }
    this.history.set(head.height, { nfts: new Map(this.model.nfts) });
    this.history.delete(head.height - HISTORY);
  }

  #newToken(address, owner) {
    this.awaited.delete(address);
    this.dynamic = this.dynamic.filter((t) => t.address !== address);
    this.dynamic.push({ address, owner });
    if (this.journal.tokens.some((t) => t.address === address)) return;
    this.journal.tokens.push({ address, standard: 'erc20', kind: 'new', lying: false, ids: [] });
  }

  #followNft(log) {
    if (lower(log.address) !== this.world.at.nft.address || log.topics[0] !== TRANSFER) return;
    const token = BigInt(log.topics[3]).toString();
    if (BigInt(log.topics[2]) === 0n) this.model.nfts.delete(token);
    else this.model.nfts.set(token, `0x${log.topics[2].slice(26)}`);
  }

  /** To be called before the block after `height` when a reorg by snapshot down to that height is planned. */
  async prepareRevert(height) {
    this.snapshots.set(height, await this.driver.snapshot());
  }

  /** Takes back `depth` blocks; `replace` also puts as many new ones in their place, the others leave that to the next blocks. */
  async reorg({ depth, variant }, size) {
    const { driver, journal } = this;
    const at = driver.head.height;
    const base = at - depth;
    const snapshot = this.snapshots.get(base);
    const used = variant === 'revert' && snapshot === undefined ? 'rollback' : variant;
    const old = journal.orphan(base + 1);

    if (used === 'replace') await this.#replace(base, depth, size);
    else await driver.goBack(base, used === 'revert' ? snapshot : undefined);

    for (const height of this.snapshots.keys()) if (height >= base) this.snapshots.delete(height);
    this.#restore(base);
    if (used === 'replace') {
      for (let height = base + 1; height <= at; height++) {
        const block = await driver.block(`0x${height.toString(16)}`);
        this.#record(block, await driver.observe(height));
        this.onBlock(block);
      }
    }
    journal.addReorg({ variant: used, depth, at, old });
  }

  #restore(base) {
    this.model = { nfts: new Map(this.history.get(base)?.nfts ?? []) };
    for (const height of this.history.keys()) if (height > base) this.history.delete(height);
  }

  async #replace(base, depth, size) {
    const { driver } = this;
    await driver.readNonces(base);
    const before = this.model;
    this.model = { nfts: this.history.get(base)?.nfts ?? new Map() };
    driver.head = await driver.block(`0x${base.toString(16)}`);
    const transactions = [];
    for (let index = 0; index < depth; index++) {
      for (const { name, request } of this.#draw(this.rng.between(0, Math.ceil(size / 2)), { raw: true })) {
        transactions.push([request, index]);
        this.journal.count(name, undefined);
      }
      driver.openSenders();
    }
    this.model = before;
    await driver.replace(depth, transactions);
    const head = driver.head.height;
    if (head !== base + depth) throw new Error(`anvil_reorg: head is ${head} instead of ${base + depth}`);
  }
}

/** Heights at which the head, once there, is reorganised: [{ at, depth, variant }], spread evenly with every depth in turn. */
export function planReorgs({ rng, first, last, count, maxDepth = 12 }) {
  const depths = rng.shuffle(Array.from({ length: maxDepth }, (_, i) => i + 1));
  const turn = rng.shuffle(VARIANTS);
  const low = first + maxDepth + 1;
  const step = (last - low) / Math.max(count, 1);
  if (count > 0 && step < 1) throw new Error(`${count} reorgs do not fit between blocks ${low} and ${last}`);
  return Array.from({ length: count }, (_, i) =>
    ({ at: low + Math.floor(step * i + (step / 2)), depth: depths[i % depths.length], variant: turn[i % turn.length] }));
}

// What the workload plays with: keys, deployed contracts, token books. Setup deploys and fills it, and makes each lying token lie once,
// so that every lie is below the deepest reorg.

import { HDNodeWallet, Interface, Mnemonic, getCreateAddress, id, dataSlice, AbiCoder } from 'ethers';

import { MNEMONIC } from './anvil.mjs';
import { contracts } from './compile.mjs';

const ETHER = 10n ** 18n;
export const ZERO = '0x0000000000000000000000000000000000000000';
export const ERC1155_IDS = [0n, 1n, 2n, 3n, 77n, (1n << 255n) + 5n];
export const lower = (address) => address.toLowerCase();

/** Contracts of the world. standard: token standard; lying: logs do not tell balances. args: constructor's. */
const DEPLOYED = [
  { name: 'standard', contract: 'StandardToken', standard: 'erc20', kind: 'standard', args: ['Lab Dollar', 'LABD', 6, 10n ** 24n] },
  { name: 'second', contract: 'StandardToken', standard: 'erc20', kind: 'standard', args: ['Second', 'SEC', 18, 10n ** 27n] },
  { name: 'nft', contract: 'Nft', standard: 'erc721', kind: 'standard' },
  { name: 'multi', contract: 'Multi', standard: 'erc1155', kind: 'standard' },
  { name: 'wrapped', contract: 'Wrapped', standard: 'erc20', kind: 'wrapped-native' },
  { name: 'fee', contract: 'FeeToken', standard: 'erc20', kind: 'fee-on-transfer', lying: true },
  { name: 'rebasing', contract: 'RebasingToken', standard: 'erc20', kind: 'rebasing', lying: true },
  { name: 'phantom', contract: 'PhantomToken', standard: 'erc20', kind: 'log-without-movement', lying: true },
  { name: 'silent', contract: 'SilentToken', standard: 'erc20', kind: 'mint-without-log', lying: true },
  { name: 'bytes32', contract: 'Bytes32Token', standard: 'erc20', kind: 'wrong-decimals' },
  { name: 'bare', contract: 'BareToken', standard: 'erc20', kind: 'no-metadata' },
  { name: 'unindexed', contract: 'UnindexedToken', standard: 'erc20', kind: 'topics-none-indexed' },
  { name: 'half', contract: 'HalfIndexedToken', standard: 'erc20', kind: 'topics-from-indexed' },
  { name: 'splitter', contract: 'Splitter', value: 3n * ETHER },
  { name: 'failing', contract: 'Failing', value: ETHER },
  { name: 'delegate', contract: 'Delegate' },
  { name: 'child', contract: 'Child', value: ETHER },
];

export class World {
  constructor({ senders = 24, authorities = 4, strangers = 60, seed = 0 } = {}) {
    this.contracts = contracts();
    this.interfaces = Object.fromEntries(Object.entries(this.contracts).map(([name, { abi }]) => [name, new Interface(abi)]));
    const root = HDNodeWallet.fromMnemonic(Mnemonic.fromPhrase(MNEMONIC), "m/44'/60'/0'/0");
    this.wallets = Array.from({ length: senders + authorities }, (_, i) => root.deriveChild(i));
    this.senders = this.wallets.slice(0, senders).map((w) => lower(w.address));
    /** Accounts that only ever sign EIP-7702 authorizations. */
    this.authorities = this.wallets.slice(senders).map((w) => lower(w.address));
    /** Accounts without a key that only receive. */
    this.strangers = Array.from({ length: strangers }, (_, i) => dataSlice(id(`stranger ${seed} ${i}`), 12));
    this.precompiles = Array.from({ length: 9 }, (_, i) => `0x${(i + 1).toString(16).padStart(40, '0')}`);
    this.feeRecipients = [ZERO, dataSlice(id('fee recipient'), 12), this.senders[3]];
    this.at = {};
    this.tokens = [];
  }

  wallet(address) {
    return this.wallets.find((w) => lower(w.address) === address);
  }

  /** ABI-encoded call of a contract of the world. */
  call(name, method, ...args) {
    return { to: this.at[name].address, data: this.at[name].interface.encodeFunctionData(method, args) };
  }

  deployment(contract, args = []) {
    const { bytecode, abi } = this.contracts[contract];
    const inputs = abi.find((item) => item.type === 'constructor')?.inputs.map((input) => input.type) ?? [];
    return bytecode + AbiCoder.defaultAbiCoder().encode(inputs, args).slice(2);
  }

  /** Blocks of transactions ({ from, to?, data, value, gas }) that set the world up; `nonce` is the deployer's next. */
  setup(nonce) {
    const deployer = this.senders[0];
    const deployments = DEPLOYED.map((entry, i) => {
      const address = lower(getCreateAddress({ from: deployer, nonce: nonce + i }));
      this.at[entry.name] = { address, interface: this.interfaces[entry.contract] };
      if (entry.standard) {
        this.tokens.push({ address, standard: entry.standard, kind: entry.kind, lying: entry.lying ?? false, ids: [] });
      }
      return { from: deployer, data: this.deployment(entry.contract, entry.args), value: entry.value ?? 0n, gas: 3_000_000n };
    });
    this.feeRecipients.push(this.at.splitter.address);
    this.tokens.find((t) => t.address === this.at.multi.address).ids = ERC1155_IDS.map(String);
    return [deployments, this.#fill(), this.#lie()];
  }

  #fill() {
    const deployer = this.senders[0];
    const txs = [];
    const add = (from, name, method, args, value = 0n) =>
      txs.push({ from, ...this.call(name, method, ...args), value, gas: 400_000n });
    for (const holder of this.senders) {
      for (const name of ['standard', 'second']) add(deployer, name, 'transfer', [holder, 10n ** 18n]);
      for (const name of ['fee', 'rebasing', 'phantom', 'bytes32', 'bare', 'unindexed', 'half']) add(deployer, name, 'mint', [holder, 10n ** 21n]);
      add(deployer, 'multi', 'mintBatch', [holder, ERC1155_IDS, ERC1155_IDS.map(() => 10n ** 9n)]);
      add(holder, 'wrapped', 'deposit', [], 50n * ETHER);
    }
    return txs;
  }

  #lie() {
    const [a, b, c] = this.senders;
    return [
      ...[a, b, c].map((holder) => ({ from: a, ...this.call('silent', 'mint', holder, 10n ** 20n) })),
      { from: a, ...this.call('silent', 'transfer', b, 12_345n) },
      { from: b, ...this.call('fee', 'transfer', c, 10n ** 18n) },
      { from: a, ...this.call('rebasing', 'rebase', 11n * 10n ** 17n) },
      { from: c, ...this.call('rebasing', 'transfer', this.strangers[0], 10n ** 17n) },
      { from: b, ...this.call('phantom', 'pretend', a, [c, this.strangers[1]], 987_654n) },
    ].map((tx) => ({ value: 0n, gas: 300_000n, ...tx }));
  }
}

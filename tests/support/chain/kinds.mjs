// The catalogue of transactions that the workload draws from. Each kind: [weight, name, make(play)]; make returns one or more
// transactions { from?, to?, data?, value?, gas, type?, blobs?, authorizations? }, or nothing when it does not apply now.
// Who sends, nonces and fees are the driver's business.

import { getCreate2Address, id, keccak256, toBeHex } from 'ethers';

import { ERC1155_IDS, ZERO, lower } from './world.mjs';

const ETHER = 10n ** 18n;
const MAX = (1n << 256n) - 1n;
const NFT_LIMIT = 200;
const DYNAMIC_TOKENS_LIMIT = 6;
const OLD_CHILDREN_LIMIT = 400;
const REUSED_SALTS = 5;

const salt = (n) => toBeHex(n, 32);

/** Anyone: mostly accounts with a key, else strangers, contracts, and now and then an odd address. */
function anyone({ rng, world }) {
  return rng.weighted([
    [8, () => rng.pick(world.senders)],
    [6, () => rng.pick(world.strangers)],
    [1, () => rng.pick(world.authorities)],
    [1, () => world.at.child.address],
  ])();
}

const person = ({ rng, world }) => rng.pick(rng.chance(0.6) ? world.senders : world.strangers);
const several = (play, low, high) => Array.from({ length: play.rng.between(low, high) }, () => person(play));
const ether = ({ rng }) => rng.amount(3n * ETHER);
const call = (play, name, method, args, rest = {}) => ({ ...play.world.call(name, method, ...args), gas: 300_000n, ...rest });
const pay = (to, value, rest = {}) => ({ to, value, gas: 60_000n, ...rest });

function childAt(play, saltValue) {
  const code = play.world.contracts.Child.bytecode;
  return lower(getCreate2Address(play.world.at.splitter.address, saltValue, keccak256(code)));
}

/** Transfer of a token by one of its holders: the setup gave every sender some. */
const move = (play, name, limit = 10n ** 15n) => call(play, name, 'transfer', [anyone(play), play.rng.amount(limit)]);

const native = [
  [10, 'native', (play) => pay(anyone(play), ether(play))],
  [2, 'native-zero', (play) => pay(person(play), 0n)],
  [2, 'native-self', ({ rng, world }) => {
    const from = rng.pick(world.senders);
    return pay(from, 12_345n, { from });
  }],
  [1, 'native-precompile', (play) => pay(play.rng.pick(play.world.precompiles), ether(play), { gas: 100_000n })],
  [1, 'native-zero-address', () => pay(ZERO, 7n)],
  [2, 'native-with-data', (play) => pay(person(play), ether(play), { data: id('memo'), gas: 80_000n })],
  [2, 'native-to-contract', (play) => pay(play.world.at.splitter.address, ether(play))],
];

const erc20 = [
  [8, 'erc20-transfer', (play) => move(play, play.rng.pick(['standard', 'second']))],
  [3, 'erc20-batch', (play) => call(play, 'second', 'batch', [several(play, 2, 30), play.rng.amount(10n ** 12n)], { gas: 2_000_000n })],
  [2, 'erc20-mint', (play) => call(play, 'second', 'mint', [anyone(play), play.rng.amount(10n ** 20n)])],
  [2, 'erc20-burn', (play) => call(play, 'second', 'burn', [play.rng.amount(10n ** 12n)])],
  [1, 'erc20-zero', (play) => call(play, 'standard', 'transfer', [anyone(play), 0n])],
  [1, 'erc20-self', ({ rng, world }) => {
    const from = rng.pick(world.senders);
    return { ...world.call('standard', 'transfer', from, 55n), from, gas: 300_000n };
  }],
  [2, 'erc20-overdraft', (play) => call(play, 'standard', 'transfer', [anyone(play), 10n ** 30n])],
  [2, 'erc20-new-token', (play) => (play.dynamic.length < DYNAMIC_TOKENS_LIMIT ? newToken(play) : moveNewToken(play))],
  [3, 'erc20-new-token-transfer', (play) => moveNewToken(play)],
];

function newToken(play) {
  const supply = 10n ** 20n;
  return { data: play.world.deployment('StandardToken', [`New ${play.count}`, 'NEW', 18, supply]), gas: 3_000_000n, creates: 'token' };
}

/** The deployer of a new token holds it all. */
function moveNewToken(play) {
  if (play.dynamic.length === 0) return undefined;
  const token = play.rng.pick(play.dynamic);
  const data = play.world.interfaces.StandardToken.encodeFunctionData('transfer', [anyone(play), play.rng.amount(10n ** 16n)]);
  return { from: token.owner, to: token.address, data, gas: 300_000n };
}

const nft = [
  [5, 'erc721-mint', (play) => {
    if (play.nextNft >= NFT_LIMIT) return undefined;
    const number = play.nextNft++;
    const token = number === 1 ? MAX - 5n : BigInt(number);
    play.token('nft').ids.push(String(token));
    return call(play, 'nft', 'mint', [person(play), token]);
  }],
  [6, 'erc721-transfer', (play) => ownedNft(play, (token) => call(play, 'nft', 'move', [person(play), token]))],
  [1, 'erc721-to-contract', (play) => ownedNft(play, (token) => call(play, 'nft', 'move', [play.world.at.splitter.address, token]))],
  [1, 'erc721-burn', (play) => ownedNft(play, (token) => call(play, 'nft', 'burn', [token]))],
  [1, 'erc721-missing', (play) => call(play, 'nft', 'move', [person(play), 999_999n])],
];

function ownedNft(play, make) {
  const owned = [...play.model.nfts.keys()];
  return owned.length > 0 ? make(BigInt(play.rng.pick(owned))) : undefined;
}

const someIds = (play) => play.rng.shuffle(ERC1155_IDS).slice(0, play.rng.between(1, 4));
const amounts = (play, ids) => ids.map(() => play.rng.amount(100_000n));

const multi = [
  [5, 'erc1155-single', (play) => fromHolder(play, (from) =>
    call(play, 'multi', 'safeTransferFrom', [from, person(play), play.rng.pick(ERC1155_IDS), play.rng.amount(100_000n), '0x'], { from }))],
  [4, 'erc1155-batch', (play) => fromHolder(play, (from) => {
    const ids = someIds(play);
    return call(play, 'multi', 'safeBatchTransferFrom', [from, person(play), ids, amounts(play, ids), '0x'], { from, gas: 600_000n });
  })],
  [1, 'erc1155-batch-repeated', (play) => fromHolder(play, (from) =>
    call(play, 'multi', 'safeBatchTransferFrom', [from, person(play), [1n, 1n, 2n, 1n], [5n, 6n, 7n, 0n], '0x'], { from, gas: 600_000n }))],
  [1, 'erc1155-batch-empty', (play) => fromHolder(play, (from) =>
    call(play, 'multi', 'safeBatchTransferFrom', [from, person(play), [], [], '0x'], { from }))],
  [2, 'erc1155-mint', (play) => call(play, 'multi', 'mint', [person(play), play.rng.pick(ERC1155_IDS), play.rng.amount(10n ** 9n)])],
  [1, 'erc1155-mint-batch', (play) => {
    const ids = someIds(play);
    return call(play, 'multi', 'mintBatch', [person(play), ids, amounts(play, ids)], { gas: 600_000n });
  }],
  [1, 'erc1155-burn', (play) => call(play, 'multi', 'burn', [play.rng.pick(ERC1155_IDS), play.rng.amount(1000n)])],
  [1, 'erc1155-burn-batch', (play) => {
    const ids = someIds(play);
    return call(play, 'multi', 'burnBatch', [ids, ids.map(() => play.rng.amount(1000n))], { gas: 600_000n });
  }],
];

const fromHolder = (play, make) => make(play.rng.pick(play.world.senders));

const wrapped = [
  [3, 'wrap', (play) => call(play, 'wrapped', 'deposit', [], { value: ether(play) })],
  [2, 'wrap-by-receive', (play) => pay(play.world.at.wrapped.address, ether(play), { gas: 100_000n })],
  [3, 'unwrap', (play) => call(play, 'wrapped', 'withdraw', [play.rng.amount(ETHER)])],
  [3, 'wrapped-transfer', (play) => move(play, 'wrapped')],
  [1, 'unwrap-overdraft', (play) => call(play, 'wrapped', 'withdraw', [10n ** 30n])],
];

const lying = [
  [3, 'lying-fee', (play) => move(play, 'fee')],
  [2, 'lying-rebasing', (play) => move(play, 'rebasing')],
  [1, 'lying-rebase', (play) => call(play, 'rebasing', 'rebase', [BigInt(play.rng.between(50, 200)) * 10n ** 16n])],
  [2, 'lying-phantom-honest', (play) => move(play, 'phantom')],
  [2, 'lying-phantom', (play) => call(play, 'phantom', 'pretend', [person(play), several(play, 1, 5), play.rng.amount(10n ** 18n)])],
  [1, 'lying-phantom-huge', (play) => call(play, 'phantom', 'pretend', [person(play), [person(play)], MAX])],
  [2, 'lying-silent', (play) => ({ ...move(play, 'silent', 10n ** 12n), from: play.rng.pick(play.world.senders.slice(0, 3)) })],
  [1, 'lying-silent-mint', (play) => call(play, 'silent', 'mint', [person(play), play.rng.amount(10n ** 18n)])],
  [1, 'lying-silent-burn', (play) => call(play, 'silent', 'burn', [play.rng.amount(1000n)], { from: play.world.senders[0] })],
  [4, 'odd-token', (play) => move(play, play.rng.pick(['bytes32', 'bare', 'unindexed', 'half']))],
  [1, 'odd-token-mint', (play) =>
    call(play, play.rng.pick(['bytes32', 'bare', 'unindexed', 'half']), 'mint', [person(play), play.rng.amount(10n ** 20n)])],
];

/** Value sent to the splitter moves on inside the transaction. */
const inner = (play, method, args, value = ether(play)) => call(play, 'splitter', method, args, { value, gas: 700_000n });

const internal = [
  [4, 'internal-split', (play) => inner(play, 'split', [several(play, 1, 6)])],
  [3, 'internal-nested', (play) => inner(play, 'nested', [anyone(play)])],
  [3, 'internal-reverted', (play) => inner(play, 'tries', [person(play)])],
  [1, 'internal-out-of-gas', (play) => inner(play, 'starves', [play.rng.pick(play.world.strangers)])],
  [2, 'internal-delegatecall', (play) => inner(play, 'delegates', [person(play)])],
  [2, 'internal-callcode', (play) => inner(play, 'callcodes', [person(play)])],
  [2, 'create', (play) => inner(play, 'creates', [])],
  [2, 'create2', (play) => inner(play, 'creates2', [salt(play.nextSalt++)])],
  [2, 'create-fails', (play) => inner(play, 'createFails', [])],
];

const destruction = [
  [2, 'destroy-same-tx', (play) => inner(play, 'bornAndGone', [salt(play.rng.below(REUSED_SALTS)), person(play)])],
  [2, 'destroy-same-tx-to-self', (play) => inner(play, 'bornAndBurned', [salt(play.rng.below(REUSED_SALTS))])],
  [1, 'destroy-then-paid', (play) => inner(play, 'goneThenPaid', [salt(play.rng.below(REUSED_SALTS)), person(play)])],
  [1, 'destroy-in-constructor', (play) => inner(play, 'mayfly', [person(play)])],
  [1, 'pay-destroyed', (play) => pay(childAt(play, salt(play.rng.below(REUSED_SALTS))), play.rng.amount(1000n))],
  [2, 'make-destructible', (play) => {
    if (play.olds.length >= OLD_CHILDREN_LIMIT) return undefined;
    const number = 1_000_000 + play.nextSalt++;
    play.olds.push(childAt(play, salt(number)));
    return inner(play, 'makeOld', [salt(number)]);
  }],
  [2, 'destroy-old', (play) => destroyOld(play, person(play))],
  [1, 'destroy-old-to-self', (play) => destroyOld(play, undefined)],
  [1, 'destroy-old-to-contract', (play) => destroyOld(play, play.world.at.splitter.address)],
];

function destroyOld(play, beneficiary) {
  if (play.olds.length === 0) return undefined;
  const target = play.rng.pick(play.olds);
  const data = play.world.interfaces.Child.encodeFunctionData('destroy', [beneficiary ?? target]);
  return { to: target, data, value: play.rng.chance(0.5) ? play.rng.amount(ETHER) : 0n, gas: 150_000n };
}

const failures = [
  [3, 'fail-after-work', (play) => call(play, 'failing', 'fail', [person(play)], { value: ether(play) })],
  [1, 'fail-all-gas', (play) => call(play, 'failing', 'burnAll', [], { gas: 100_000n, value: 5n })],
  [1, 'fail-out-of-gas', (play) => ({ ...inner(play, 'split', [several(play, 6, 6)]), gas: 45_000n })],
  [1, 'fail-deploy', (play) => ({ data: play.world.contracts.Stillborn.bytecode, value: ether(play), gas: 200_000n })],
];

const deployments = [
  [2, 'deploy-with-value', (play) => ({ data: play.world.contracts.Child.bytecode, value: ether(play), gas: 400_000n })],
  [1, 'deploy-mayfly', (play) =>
    ({ data: play.world.deployment('Mayfly', [person(play)]), value: ether(play), gas: 200_000n })],
];

const envelopes = [
  [1, 'blob', (play) => ({ ...pay(person(play), ether(play)), type: 3, blobs: play.rng.between(1, 2), gas: 60_000n })],
  [1, 'set-code', (play) => ({
    ...pay(person(play), ether(play), { gas: 200_000n }), type: 4,
    authorizations: [{ authority: play.rng.pick(play.world.authorities), to: play.rng.chance(0.8) ? play.world.at.delegate.address : ZERO }],
  })],
  [1, 'set-code-self', (play) => {
    const from = play.rng.pick(play.world.senders.slice(-4));
    const to = play.rng.chance(0.6) ? play.world.at.delegate.address : ZERO;
    return { ...pay(person(play), ether(play), { gas: 200_000n }), from, type: 4, authorizations: [{ authority: from, to }] };
  }],
  [2, 'delegated-call', (play) => {
    const data = play.world.interfaces.Delegate.encodeFunctionData('sweep', [several(play, 1, 3)]);
    return { to: play.rng.pick(play.world.authorities), data, value: ether(play), gas: 400_000n };
  }],
];

export const KINDS = [...native, ...erc20, ...nft, ...multi, ...wrapped, ...lying, ...internal, ...destruction, ...failures,
                      ...deployments, ...envelopes];

/** Failed transactions that use up much gas and no time of the node's: they make the base fee move. */
export const heavy = (play) => call(play, 'failing', 'burnAll', [], { gas: 8_000_000n });

// The catalogue of lies that the fault proxy can tell.
//
// A content lie alters one JSON-RPC answer: alter(result, told) returns the false result, or undefined where this answer has nothing to
// falsify (then it passes unaltered and is not counted). `told` has height, params, method, and ask(method, ...params) of the true node.
// A transport lie concerns the whole HTTP or WebSocket answer and is carried out by the proxy: { transport: word }.
//
// `answer` says which answers it concerns; `caught` which check should find it: names of the certificate's checks (lower case), or
//   identity        chain id and genesis, at start and after each failover       request      the answer cannot be used; asked again elsewhere
//   head            a head that goes back or ahead without proof                 hash         an answer for another block than asked
//   reconciliation  a balance differs from the chain at that block               second       another endpoint says otherwise

import { encodeRlp, keccak256, stripZerosLeft } from 'ethers';

const ONE_BIT = (hex) => hex.slice(0, -1) + (parseInt(hex.at(-1), 16) ^ 1).toString(16);
const plus = (hex, n) => `0x${(BigInt(hex) + BigInt(n)).toString(16)}`;
const quantity = (n) => `0x${BigInt(n).toString(16)}`;
const ABSURD = `0x${'f'.repeat(80)}`;
const middle = (list) => Math.floor(list.length / 2);

// ---- blocks ------------------------------------------------------------------------------------------------------------------

const field = (name, change = ONE_BIT) => (block) => (block[name] === undefined ? undefined : { ...block, [name]: change(block[name]) });

const transactions = (change) => (block) => {
  const list = block.transactions;
  if (list.length === 0 || typeof list[0] === 'string') return undefined;
  const changed = change(structuredClone(list));
  return changed && { ...block, transactions: changed };
};

const transaction = (wanted, change) => transactions((list) => {
  const at = list.findIndex(wanted);
  if (at < 0) return undefined;
  list[at] = { ...list[at], ...change(list[at]) };
  return list;
});

const HEADER = ['parentHash', 'sha3Uncles', 'miner', 'stateRoot', 'transactionsRoot', 'receiptsRoot', 'logsBloom', 'difficulty', 'number',
  'gasLimit', 'gasUsed', 'timestamp', 'extraData', 'mixHash', 'nonce', 'baseFeePerGas', 'withdrawalsRoot', 'blobGasUsed', 'excessBlobGas',
  'parentBeaconBlockRoot', 'requestsHash'];
const QUANTITIES = new Set(['difficulty', 'number', 'gasLimit', 'gasUsed', 'timestamp', 'baseFeePerGas', 'blobGasUsed', 'excessBlobGas']);

/** keccak256 of the header's RLP: what the block's hash must be. */
export function headerHash(block) {
  const fields = HEADER.filter((name) => block[name] !== undefined && block[name] !== null);
  return keccak256(encodeRlp(fields.map((name) => (QUANTITIES.has(name) ? stripZerosLeft(even(block[name])) : block[name]))));
}
const even = (hex) => (hex.length % 2 ? `0x0${hex.slice(2)}` : hex);

/** The same block on a fork of its own, which may begin below it: every hash in it is right, only it is not the block asked for. */
export function forked(block, parentHash = block.parentHash) {
  const fork = { ...block, parentHash, extraData: '0x6c6965' };
  fork.hash = headerHash(fork);
  fork.transactions = block.transactions?.map((tx) => (typeof tx === 'string' ? tx : { ...tx, blockHash: fork.hash }));
  return fork;
}

const otherHeight = (height) => (height > 1 ? height - 1 : height + 1);

const blocks = [
  ['block-null', 'request', () => null],
  ['block-hash', 'header_hash', field('hash')],
  ['block-parent-hash', 'header_hash', field('parentHash')],
  ['block-state-root', 'header_hash', field('stateRoot')],
  ['block-transactions-root', 'header_hash', field('transactionsRoot')],
  ['block-receipts-root', 'header_hash', field('receiptsRoot')],
  ['block-withdrawals-root', 'header_hash', field('withdrawalsRoot')],
  ['block-logs-bloom', 'header_hash', field('logsBloom')],
  ['block-miner', 'header_hash', field('miner')],
  ['block-timestamp', 'header_hash', field('timestamp', (v) => plus(v, 1))],
  ['block-gas-used', 'header_hash', field('gasUsed', (v) => plus(v, 1))],
  ['block-base-fee', 'header_hash', field('baseFeePerGas', (v) => plus(v, 1))],
  ['block-number', 'hash', field('number', (v) => plus(v, 1))],
  ['block-other-height', 'hash', (block, told) => told.ask('eth_getBlockByNumber', quantity(otherHeight(told.height)), told.params[1])],
  ['block-other-fork', 'hash', (block) => forked(block)],
  ['withdrawal-invented', 'withdrawals_root', (block) => ({ ...block,
    withdrawals: [...(block.withdrawals ?? []), { index: '0x0', validatorIndex: '0x1', address: block.miner, amount: '0x3b9aca00' }] })],
  ['tx-missing', 'transactions_root', transactions((list) => list.filter((_, i) => i !== middle(list)))],
  ['tx-duplicated', 'transactions_root', transactions((list) => [...list, list[0]])],
  ['txs-reordered', 'transactions_root', transactions((list) => (list.length < 2 ? undefined : [list[1], list[0], ...list.slice(2)]))],
  ['tx-value', 'transaction_hashes', transaction(() => true, (tx) => ({ value: plus(tx.value, 1) }))],
  ['tx-to', 'transaction_hashes', transaction((tx) => tx.to, (tx) => ({ to: ONE_BIT(tx.to) }))],
  ['tx-input', 'transaction_hashes', transaction((tx) => tx.input.length > 2, (tx) => ({ input: ONE_BIT(tx.input) }))],
  ['tx-nonce', 'transaction_hashes', transaction(() => true, (tx) => ({ nonce: plus(tx.nonce, 1) }))],
  ['tx-hash', 'transaction_hashes', transaction(() => true, (tx) => ({ hash: ONE_BIT(tx.hash) }))],
  ['tx-from', 'senders', transaction(() => true, (tx) => ({ from: ONE_BIT(tx.from) }))],
  ['absurd-value', 'shape', transaction(() => true, () => ({ value: ABSURD }))],
  ['absurd-negative', 'shape', field('gasUsed', () => '-0x1')],
  ['absurd-gas', 'header_hash', field('gasUsed', () => '0xffffffffffffffff')],
  ['absurd-number', 'shape', field('number', () => ABSURD)],
  ['absurd-not-hex', 'shape', field('timestamp', () => '0xzz')],
  ['absurd-float', 'shape', field('gasLimit', () => 1.5e300)],
  ['absurd-type', 'shape', (block) => ({ ...block, transactions: { length: 3 } })],
  ['absurd-extra-data', 'header_hash', field('extraData', () => `0x${'ab'.repeat(1 << 20)}`)],
  ['absurd-short-hash', 'shape', field('hash', (v) => v.slice(0, 20))],
].map(([name, caught, alter]) => ({ name, answer: 'block', caught, alter }));

// ---- receipts and logs: an answer for one receipt is treated as a list of one ----------------------------------------------------

const receipt = (change, wanted = () => true) => (list) => {
  const copy = structuredClone(list);
  const at = copy.findIndex(wanted);
  if (at < 0) return undefined;
  copy[at] = { ...copy[at], ...change(copy[at]) };
  return copy;
};

const hasLogs = (n) => (r) => r.logs.length >= n;
const logs = (n, change) => receipt((r) => ({ logs: change(r.logs) }), hasLogs(n));
const oneLog = (change, wanted = () => true) => (list) => {
  const copy = structuredClone(list);
  const log = copy.flatMap((r) => r.logs).find(wanted);
  if (log === undefined) return undefined;
  Object.assign(log, change(log));
  return copy;
};

/** A log that happened in some other block. */
async function foreignLog(told) {
  for (let height = told.height - 1; height > 0 && height > told.height - 50; height--) {
    const list = await told.ask('eth_getBlockReceipts', quantity(height));
    const log = list?.flatMap((r) => r.logs)[0];
    if (log) return { log, receipt: list[0] };
  }
  return undefined;
}

const receipts = [
  ['receipts-null', 'request', () => null],
  ['receipts-empty', 'receipt_coherence', (list) => (list.length > 0 ? [] : undefined)],
  ['receipt-null-inside', 'shape', (list) => (list.length > 0 ? [...list.slice(0, -1), null] : undefined)],
  ['receipt-dropped', 'receipt_coherence', (list) => (list.length > 0 ? list.filter((_, i) => i !== middle(list)) : undefined)],
  ['receipts-reordered', 'receipt_coherence', (list) => (list.length < 2 ? undefined : [list[1], list[0], ...list.slice(2)])],
  ['receipt-duplicated', 'receipt_coherence', (list) => (list.length > 0 ? [list[0], ...list] : undefined)],
  ['receipt-foreign', 'receipt_coherence', async (list, told) => {
    const found = list.length > 0 ? await foreignLog(told) : undefined;
    return found && [found.receipt, ...list.slice(1)];
  }],
  ['receipts-other-block', 'receipt_coherence', (list, told) =>
    (list.length > 0 ? told.ask('eth_getBlockReceipts', quantity(otherHeight(told.height))) : undefined)],
  ['receipt-status', 'receipts_root', receipt((r) => ({ status: r.status === '0x1' ? '0x0' : '0x1' }))],
  ['receipt-gas-used', 'receipt_coherence', receipt((r) => ({ gasUsed: plus(r.gasUsed, 1) }))],
  ['receipt-cumulative-gas', 'receipt_coherence', receipt((r) => ({ cumulativeGasUsed: plus(r.cumulativeGasUsed, 1) }))],
  ['receipt-effective-gas-price', 'fees', receipt((r) => ({ effectiveGasPrice: plus(r.effectiveGasPrice, 1) }))],
  ['receipt-logs-bloom', 'receipts_root', receipt((r) => ({ logsBloom: ONE_BIT(r.logsBloom) }))],
  ['receipt-transaction-hash', 'receipt_coherence', receipt((r) => ({ transactionHash: ONE_BIT(r.transactionHash) }))],
  ['receipt-block-hash', 'receipt_coherence', receipt((r) => ({ blockHash: ONE_BIT(r.blockHash) }))],
  ['receipt-type', 'receipt_coherence', receipt((r) => ({ type: r.type === '0x2' ? '0x1' : '0x2' }))],
  ['log-dropped', 'receipts_root', logs(1, (list) => list.slice(1))],
  ['logs-reordered', 'receipts_root', logs(2, (list) => [{ ...list[1], logIndex: list[0].logIndex }, { ...list[0], logIndex: list[1].logIndex },
    ...list.slice(2)])],
  ['log-duplicated', 'receipts_root', logs(1, (list) => [list[0], ...list])],
  ['log-foreign', 'receipts_root', async (list, told) => {
    const found = list.some(hasLogs(1)) ? await foreignLog(told) : undefined;
    if (found === undefined) return undefined;
    const { address, topics, data } = found.log;
    return logs(1, ([first, ...rest]) => [{ ...first, address, topics, data }, { ...first, address, topics, data }, ...rest])(list);
  }],
  ['log-data', 'receipts_root', oneLog((log) => ({ data: ONE_BIT(log.data) }), (log) => log.data.length > 2)],
  ['log-topic', 'receipts_root', oneLog((log) => ({ topics: [...log.topics.slice(0, -1), ONE_BIT(log.topics.at(-1))] }), (log) => log.topics.length > 1)],
  ['log-address', 'receipts_root', oneLog((log) => ({ address: ONE_BIT(log.address) }))],
  ['log-index-duplicated', 'log_coherence', (list) => {
    const all = list.flatMap((r) => r.logs);
    return all.length < 2 ? undefined : oneLog(() => ({ logIndex: all[0].logIndex }), (log) => log.logIndex !== all[0].logIndex)(list);
  }],
  ['log-index-gap', 'log_coherence', oneLog((log) => ({ logIndex: plus(log.logIndex, 1000) }))],
  ['log-block-hash', 'log_coherence', oneLog((log) => ({ blockHash: ONE_BIT(log.blockHash) }))],
  ['log-removed', 'log_coherence', oneLog(() => ({ removed: true }))],
  ['log-absurd-topics', 'shape', oneLog((log) => ({ topics: Array(9).fill(log.topics[0] ?? `0x${'00'.repeat(32)}`) }))],
].map(([name, caught, alter]) => ({ name, answer: 'receipts', caught, alter }));

// ---- traces: flat (trace_block) and nested (callTracer) ---------------------------------------------------------------------------

const nested = (list) => list[0]?.result !== undefined && list[0].type === undefined && list[0].action === undefined;
const carries = (value) => value !== undefined && value !== null && BigInt(value) > 0n;

/** First inner call with value in a nested trace: { parent, at }. */
function innerCall(list) {
  const search = (call) => {
    for (const [at, inner] of (call.calls ?? []).entries()) {
      if (!inner.error && carries(inner.value) && inner.type !== 'DELEGATECALL') return { parent: call, at };
      const deeper = search(inner);
      if (deeper) return deeper;
    }
    return undefined;
  };
  for (const { result } of list) {
    const found = result && !result.error && search(result);
    if (found) return found;
  }
  return undefined;
}

const isInner = (t) => t.traceAddress.length > 0 && !t.error && carries(t.action.value) && t.action.callType !== 'delegatecall';

const traced = (flat, deep) => (list) => {
  if (!Array.isArray(list) || list.length === 0) return undefined;
  const copy = structuredClone(list);
  if (nested(copy)) {
    const found = innerCall(copy);
    return found && deep(found.parent, found.at) !== false ? copy : undefined;
  }
  const at = copy.findIndex(isInner);
  return at < 0 ? undefined : flat(copy, at);
};

const traces = [
  ['traces-null', 'request', () => null],
  ['traces-empty', 'trace_coherence', (list) => (list.length > 0 ? [] : undefined)],
  ['traces-other-block', 'trace_coherence', (list, told) => (list.length > 0 ? askTraces(told) : undefined)],
  ['trace-tx-missing', 'trace_coherence', (list) => {
    if (list.length === 0) return undefined;
    const hash = list[0].transactionHash ?? list[0].txHash;
    return list.filter((t) => (t.transactionHash ?? t.txHash) !== hash);
  }],
  ['trace-inner-dropped', 'state_diff or reconciliation', traced(
    (list, at) => list.filter((_, i) => i !== at),
    (parent, at) => parent.calls.splice(at, 1))],
  ['trace-inner-value', 'state_diff or reconciliation', traced(
    (list, at) => { list[at].action.value = plus(list[at].action.value, 1); return list; },
    (parent, at) => { parent.calls[at].value = plus(parent.calls[at].value, 1); })],
  ['trace-inner-recipient', 'state_diff or reconciliation', traced(
    (list, at) => { if (!list[at].action.to) return undefined; list[at].action.to = ONE_BIT(list[at].action.to); return list; },
    (parent, at) => { if (!parent.calls[at].to) return false; parent.calls[at].to = ONE_BIT(parent.calls[at].to); return true; })],
  ['trace-top-value', 'trace_coherence', (list) => {
    const copy = structuredClone(list);
    const top = copy.map((t) => t.action ?? t.result).find((call) => call && carries(call.value));
    if (top === undefined) return undefined;
    top.value = plus(top.value, 1);
    return copy;
  }],
  ['trace-tracer-error', 'trace_coherence', (list) => {
    if (list.length === 0) return undefined;
    const copy = structuredClone(list);
    if (nested(copy)) copy[0] = { txHash: copy[0].txHash, error: 'execution timeout' };
    else { delete copy[0].action; copy[0].error = 'execution timeout'; }
    return copy;
  }],
].map(([name, caught, alter]) => ({ name, answer: 'traces', caught, alter }));

function askTraces({ ask, method, params, height }) {
  const other = quantity(otherHeight(height));
  return method === 'trace_block' ? ask('trace_block', other) : ask('debug_traceBlockByNumber', other, ...params.slice(1));
}

const stateDiff = [
  ['state-diff-balance', 'state_diff', (list) => {
    const copy = structuredClone(list);
    const accounts = copy.flatMap((t) => Object.values(t.result?.post ?? {}));
    const one = accounts.find((account) => account.balance !== undefined);
    if (one === undefined) return undefined;
    one.balance = plus(one.balance, 1);
    return copy;
  }],
].map(([name, caught, alter]) => ({ name, answer: 'state-diff', caught, alter }));

// ---- head, identity, balances -----------------------------------------------------------------------------------------------------

const STALE_BY = 5n;
const AHEAD_BY = 1000n;

const others = [
  ['chain-id', 'chain-id', 'identity', (id) => (typeof id === 'string' ? plus(id, 1) : undefined)],
  ['genesis', 'genesis', 'identity', (block) => forked(block)],
  ['head-stale', 'head', 'head', async (head, told) => {
    const number = BigInt(typeof head === 'string' ? head : head.number);
    const stale = quantity(number > STALE_BY ? number - STALE_BY : 0n);
    return typeof head === 'string' ? stale : told.ask('eth_getBlockByNumber', stale, told.params[1] ?? false);
  }],
  ['head-ahead', 'head', 'head', (head) => {
    if (typeof head === 'string') return plus(head, AHEAD_BY);
    return forked({ ...head, number: plus(head.number, AHEAD_BY) });
  }],
  ['head-null', 'head', 'request', () => null],
  ['finalized-ahead', 'finalized', 'head', (block, told) => told.ask('eth_getBlockByNumber', 'latest', told.params[1] ?? false)],
  ['finalized-null', 'finalized', 'request', () => null],
  ['notice-dropped', 'notice', 'head', () => null],
  ['notice-forked', 'notice', 'hash', (head) => ({ ...head, hash: ONE_BIT(head.hash) })],
  ['notice-repeated', 'notice', 'head', (head, told) => told.last ?? undefined],
  ['balance-wrong', 'balance', 'second', (amount) => plus(amount, 1)],
  ['balance-null', 'balance', 'request', () => null],
  ['balance-absurd', 'balance', 'request', () => ABSURD],
  ['call-wrong', 'call', 'second', (word) => (word.length === 66 ? ONE_BIT(word) : undefined)],
  ['call-empty', 'call', 'second', () => '0x'],
].map(([name, answer, caught, alter]) => ({ name, answer, caught, alter }));

// ---- transport --------------------------------------------------------------------------------------------------------------------

const transport = [
  ['http-429', 'Too Many Requests with Retry-After: 1'],
  ['http-500', 'Internal Server Error with an HTML page'],
  ['http-503', 'Service Unavailable'],
  ['hang', 'the question is read and never answered'],
  ['reset', 'the connection is reset instead of an answer'],
  ['json-truncated', 'the answer ends in the middle, with a Content-Length that fits'],
  ['json-cut', 'the connection ends before Content-Length is reached'],
  ['json-invalid', 'the answer is not JSON'],
  ['json-deep', 'result is an array nested 100,000 deep'],
  ['body-empty', '200 with no body'],
  ['result-missing', 'neither result nor error'],
  ['rpc-error', 'error -32000 "header not found"'],
  ['rpc-limit', 'error -32008 "Response is too big"'],
  ['rpc-unsupported', 'error -32601 "the method does not exist"'],
  ['id-wrong', 'another id than asked'],
  ['batch-partial', 'the second half of the batch is not answered'],
  ['batch-swapped', 'ids of two answers of the batch are exchanged'],
  ['batch-object', 'one error object instead of a batch answer'],
  ['huge', '100 MB of result'],
  ['drip', 'the answer comes at ten bytes a second'],
].map(([name, what]) => ({ name, answer: 'any', caught: 'request', transport: name, what }));

/** From a height on another chain in all answers (fork.mjs), of which nothing contradicts itself: only somebody else can tell. */
const whole = [{ name: 'head-forked-whole', answer: 'all', caught: 'second opinion', whole: true }];

export const LIES = [...blocks, ...receipts, ...traces, ...stateDiff, ...others, ...transport, ...whole];

/** Which answers a call's answer belongs to. */
export function answersOf(method, params = []) {
  switch (method) {
    case 'eth_chainId':
    case 'net_version':
      return ['chain-id'];
    case 'eth_blockNumber':
      return ['head'];
    case 'eth_getBlockByHash':
      return ['block'];
    case 'eth_getBlockByNumber':
      if (params[0] === 'latest' || params[0] === 'pending') return ['head'];
      if (params[0] === 'safe' || params[0] === 'finalized') return ['finalized'];
      return params[0] === '0x0' || params[0] === 'earliest' ? ['genesis', 'block'] : ['block'];
    case 'eth_getBlockReceipts':
    case 'eth_getTransactionReceipt':
      return ['receipts'];
    case 'trace_block':
      return ['traces'];
    case 'debug_traceBlockByHash':
    case 'debug_traceBlockByNumber':
      return [params[1]?.tracer === 'prestateTracer' ? 'state-diff' : 'traces'];
    case 'eth_getBalance':
      return ['balance'];
    case 'eth_call':
      return ['call'];
    default:
      return [];
  }
}

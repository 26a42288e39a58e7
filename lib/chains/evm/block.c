/* block.c - the JSON of a block and its receipts into structs, with every range and shape checked on the way. */
#include "chains/evm/evm.h"

#include "wire/hex.h"

#include <string.h>

#define FAIL_SHAPE(c, endpoint, ...) evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_SHAPE, endpoint, __VA_ARGS__)
#define FAIL_RECEIPT(c, ...) evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_RECEIPT_COHERENCE, (c)->receipts_endpoint, __VA_ARGS__)
#define FAIL_LOG(c, ...) evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_LOG_COHERENCE, (c)->receipts_endpoint, __VA_ARGS__)

bool evm_hex_bytes(yyjson_val *value, uint8_t *ret, size_t size)
{
	struct text text = json_text(value);
	return text.s && hex_to_bytes(text.s, text.n, ret, size) == 0;
}

bool evm_hex_u64(yyjson_val *value, uint64_t *ret)
{
	struct text text = json_text(value);
	return text.s && hex_to_u64(text.s, text.n, ret) == 0;
}

bool evm_hex_u256(yyjson_val *value, struct u256 *ret)
{
	struct text text = json_text(value);
	return text.s && u256_from_hex(text.s, text.n, ret) == 0;
}

/* -- header --------------------------------------------------------------------------------------------------------------- */

enum { H_HASH, H_PARENT, H_UNCLES_HASH, H_MINER, H_STATE_ROOT, H_TX_ROOT, H_RECEIPTS_ROOT, H_BLOOM, H_DIFFICULTY, H_NUMBER, H_GAS_LIMIT,
       H_GAS_USED, H_TIMESTAMP, H_EXTRA, H_MIX, H_NONCE, H_BASE_FEE, H_WITHDRAWALS_ROOT, H_BLOB_GAS, H_EXCESS, H_BEACON, H_REQUESTS,
       H_TRANSACTIONS, H_WITHDRAWALS, H_UNCLES, H_COUNT };
static const char *const header_names[] = { "hash", "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot",
					    "logsBloom", "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash",
					    "nonce", "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas",
					    "parentBeaconBlockRoot", "requestsHash", "transactions", "withdrawals", "uncles", NULL };

static bool parse_header(struct evm_header *h, yyjson_val **v, yyjson_val *json)
{
	h->json = json;
	bool good = evm_hex_bytes(v[H_HASH], h->hash, 32) && evm_hex_bytes(v[H_PARENT], h->parent_hash, 32) &&
		    evm_hex_bytes(v[H_UNCLES_HASH], h->uncles_hash, 32) && evm_hex_bytes(v[H_MINER], h->miner, 20) &&
		    evm_hex_bytes(v[H_TX_ROOT], h->transactions_root, 32) && evm_hex_bytes(v[H_RECEIPTS_ROOT], h->receipts_root, 32) &&
		    evm_hex_bytes(v[H_BLOOM], h->bloom, 256) && evm_hex_u256(v[H_DIFFICULTY], &h->difficulty) &&
		    evm_hex_u64(v[H_NUMBER], &h->height) && evm_hex_u64(v[H_GAS_LIMIT], &h->gas_limit) &&
		    evm_hex_u64(v[H_GAS_USED], &h->gas_used) && evm_hex_u64(v[H_TIMESTAMP], &h->timestamp);
	h->state_root = json_text(v[H_STATE_ROOT]);
	h->extra_data = json_text(v[H_EXTRA]);
	h->mix_hash = json_text(v[H_MIX]);
	h->nonce = json_text(v[H_NONCE]);
	h->beacon_root = json_text(v[H_BEACON]);
	h->requests_hash = json_text(v[H_REQUESTS]);
	h->has_base_fee = v[H_BASE_FEE] != NULL;
	h->has_withdrawals = v[H_WITHDRAWALS_ROOT] != NULL;
	h->has_blob_gas = v[H_BLOB_GAS] != NULL;
	h->has_beacon_root = v[H_BEACON] != NULL;
	h->has_requests_hash = v[H_REQUESTS] != NULL;
	h->uncle_count = yyjson_arr_size(v[H_UNCLES]);
	good = good && h->state_root.s && h->extra_data.s && h->uncle_count <= 2 && h->height < INT64_MAX && h->gas_used <= INT64_MAX && h->timestamp < INT64_MAX;
	good = good && (!h->has_base_fee || evm_hex_u256(v[H_BASE_FEE], &h->base_fee));
	good = good && (!h->has_withdrawals || evm_hex_bytes(v[H_WITHDRAWALS_ROOT], h->withdrawals_root, 32));
	good = good && (!h->has_blob_gas || (evm_hex_u64(v[H_BLOB_GAS], &h->blob_gas_used) && evm_hex_u64(v[H_EXCESS], &h->excess_blob_gas)));
	good = good && (!h->has_beacon_root || h->beacon_root.s) && (!h->has_requests_hash || h->requests_hash.s);
	return good;
}

bool evm_parse_header(struct evm_header *ret, yyjson_val *block)
{
	struct json_schema schema;
	yyjson_val *v[H_COUNT];
	memset(ret, 0, sizeof *ret);
	json_schema_init(&schema, header_names);
	return json_read(&schema, block, v) && parse_header(ret, v, block);
}

bool evm_parse_uncle(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	struct json_schema schema;
	yyjson_val *v[H_COUNT];
	b->uncles_asked = true;
	if (yyjson_is_null(root))
		return true;
	if (!b->uncles)
		b->uncles = arena_zalloc(b->arena, 2, sizeof *b->uncles);
	json_schema_init(&schema, header_names);
	if (!b->uncles || b->uncle_count == 2 || !json_read(&schema, root, v) || !parse_header(&b->uncles[b->uncle_count], v, root))
		return FAIL_SHAPE(c, c->uncles_endpoint, "an uncle's header is malformed, or there are more than two");
	uint64_t height = b->uncles[b->uncle_count++].height;
	if (height >= b->header.height || b->header.height - height > 6)
		return FAIL_SHAPE(c, c->uncles_endpoint, "an uncle of height %llu cannot be of this block", (unsigned long long)height);
	return true;
}

/* -- transactions --------------------------------------------------------------------------------------------------------- */

enum { T_HASH, T_BLOCK_HASH, T_BLOCK_NUMBER, T_INDEX, T_TYPE, T_FROM, T_TO, T_NONCE, T_GAS, T_VALUE, T_INPUT, T_GAS_PRICE, T_MAX_FEE,
       T_MAX_PRIORITY, T_MAX_BLOB, T_CHAIN_ID, T_ACCESS, T_AUTH, T_BLOBS, T_SIDECAR_BLOBS, T_SIDECAR_COMMITMENTS, T_SIDECAR_PROOFS, T_SIDECAR_CELLS, T_V, T_PARITY, T_R, T_S, T_COUNT };
static const char *const tx_names[] = { "hash", "blockHash", "blockNumber", "transactionIndex", "type", "from", "to", "nonce", "gas", "value",
					"input", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "maxFeePerBlobGas", "chainId",
					"accessList", "authorizationList", "blobVersionedHashes", "blobs", "commitments", "proofs", "cellProofs", "v", "yParity", "r", "s", NULL };

/* Does a field that says where something stands agree with where it stands? Absent is fine: nothing was claimed. */
static bool agrees_hash(yyjson_val *value, const uint8_t expected[32])
{
	uint8_t hash[32];
	return !value || (evm_hex_bytes(value, hash, 32) && memcmp(hash, expected, 32) == 0);
}

static bool agrees_u64(yyjson_val *value, uint64_t expected)
{
	uint64_t number;
	return !value || (evm_hex_u64(value, &number) && number == expected);
}

static bool parse_tx(struct evm_tx *tx, yyjson_val **v, const struct evm_header *h, size_t index)
{
	uint64_t type = 0;
	bool good = evm_hex_bytes(v[T_HASH], tx->hash, 32) && evm_hex_bytes(v[T_FROM], tx->from, 20) && evm_hex_u64(v[T_NONCE], &tx->nonce) &&
		    evm_hex_u64(v[T_GAS], &tx->gas) && evm_hex_u256(v[T_VALUE], &tx->value) && agrees_hash(v[T_BLOCK_HASH], h->hash) &&
		    agrees_u64(v[T_BLOCK_NUMBER], h->height) && agrees_u64(v[T_INDEX], index);
	good = good && (!v[T_TYPE] || (evm_hex_u64(v[T_TYPE], &type) && type <= 0x7f));
	tx->type = (uint8_t)type;
	tx->creates = !v[T_TO];
	good = good && (tx->creates || evm_hex_bytes(v[T_TO], tx->to, 20));
	good = good && (!v[T_GAS_PRICE] || evm_hex_u256(v[T_GAS_PRICE], &tx->gas_price));
	good = good && (!v[T_MAX_FEE] || evm_hex_u256(v[T_MAX_FEE], &tx->max_fee));
	good = good && (!v[T_MAX_PRIORITY] || evm_hex_u256(v[T_MAX_PRIORITY], &tx->max_priority));
	good = good && evm_hex_u256(v[T_R], &tx->r) && evm_hex_u256(v[T_S], &tx->s);
	/* typed transactions carry the parity in yParity, v, or both */
	yyjson_val *parity = tx->type != 0 && v[T_PARITY] ? v[T_PARITY] : v[T_V];
	good = good && evm_hex_u64(parity, &tx->v) && (tx->type == 0 || tx->v <= 1);
	good = good && (tx->type == 0 || !v[T_V] || agrees_u64(v[T_V], tx->v));
	if (good && tx->creates)
		evm_created_address(tx->from, tx->nonce, tx->created);
	tx->input = json_text(v[T_INPUT]);
	tx->chain_id = json_text(v[T_CHAIN_ID]);
	tx->max_blob_fee = json_text(v[T_MAX_BLOB]);
	tx->access_list = v[T_ACCESS];
	tx->authorizations = v[T_AUTH];
	tx->blob_hashes = v[T_BLOBS];
	tx->blobs = v[T_SIDECAR_BLOBS];
	tx->commitments = v[T_SIDECAR_COMMITMENTS];
	tx->proofs = v[T_SIDECAR_PROOFS];
	tx->cell_proofs = v[T_SIDECAR_CELLS];
	tx->blob_count = yyjson_arr_size(v[T_BLOBS]);
	return good && tx->input.s;
}

static bool parse_withdrawals(struct evm_block *b, yyjson_val *list, struct evm_certificate *c)
{
	size_t n = yyjson_arr_size(list);
	if (!yyjson_is_arr(list) || n > 65536)
		return FAIL_SHAPE(c, c->block_endpoint, "withdrawalsRoot without a list of withdrawals");
	b->withdrawals = arena_zalloc(b->arena, n + 1, sizeof *b->withdrawals);
	if (!b->withdrawals)
		return FAIL_SHAPE(c, c->block_endpoint, "too many withdrawals");
	size_t i, max;
	yyjson_val *item;
	yyjson_arr_foreach(list, i, max, item)
	{
		struct evm_withdrawal *w = &b->withdrawals[i];
		if (!evm_hex_u64(yyjson_obj_get(item, "index"), &w->index) || !evm_hex_u64(yyjson_obj_get(item, "validatorIndex"), &w->validator) ||
		    !evm_hex_bytes(yyjson_obj_get(item, "address"), w->address, 20) || !evm_hex_u64(yyjson_obj_get(item, "amount"), &w->amount_gwei))
			return FAIL_SHAPE(c, c->block_endpoint, "withdrawal %zu is malformed", i);
	}
	b->withdrawal_count = n;
	return true;
}

bool evm_parse_block(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	struct json_schema header_schema, tx_schema;
	json_schema_init(&header_schema, header_names);
	json_schema_init(&tx_schema, tx_names);
	yyjson_val *v[H_COUNT], *t[T_COUNT];
	if (yyjson_is_null(root))
		return FAIL_SHAPE(c, c->block_endpoint, "the node answered null for this block");
	if (!json_read(&header_schema, root, v) || !parse_header(&b->header, v, root))
		return FAIL_SHAPE(c, c->block_endpoint, "a header field is missing, given twice, malformed or out of range");
	size_t n = yyjson_arr_size(v[H_TRANSACTIONS]);
	if (!yyjson_is_arr(v[H_TRANSACTIONS]) || n > EVM_TRANSACTIONS_MAX)
		return FAIL_SHAPE(c, c->block_endpoint, "no list of transactions, or more than %d", EVM_TRANSACTIONS_MAX);
	b->txs = arena_zalloc(b->arena, n + 1, sizeof *b->txs);
	if (!b->txs)
		return FAIL_SHAPE(c, c->block_endpoint, "too many transactions");
	size_t i, max;
	yyjson_val *item;
	yyjson_arr_foreach(v[H_TRANSACTIONS], i, max, item)
	{
		if (!json_read(&tx_schema, item, t) || !parse_tx(&b->txs[i], t, &b->header, i))
			return FAIL_SHAPE(c, c->block_endpoint, "transaction %zu: a field is missing, given twice, malformed, or says another place", i);
	}
	b->tx_count = n;
	return !b->header.has_withdrawals || parse_withdrawals(b, v[H_WITHDRAWALS], c);
}

/* -- receipts ------------------------------------------------------------------------------------------------------------- */

enum { R_TX_HASH, R_TX_INDEX, R_BLOCK_HASH, R_BLOCK_NUMBER, R_FROM, R_TO, R_CUMULATIVE, R_GAS_USED, R_CONTRACT, R_LOGS, R_BLOOM, R_STATUS,
       R_ROOT, R_TYPE, R_PRICE, R_BLOB_GAS, R_BLOB_PRICE, R_COUNT };
static const char *const receipt_names[] = { "transactionHash", "transactionIndex", "blockHash", "blockNumber", "from", "to",
					     "cumulativeGasUsed", "gasUsed", "contractAddress", "logs", "logsBloom", "status", "root", "type",
					     "effectiveGasPrice", "blobGasUsed", "blobGasPrice", NULL };
enum { L_ADDRESS, L_TOPICS, L_DATA, L_INDEX, L_TX_HASH, L_TX_INDEX, L_BLOCK_HASH, L_BLOCK_NUMBER, L_REMOVED, L_COUNT };
static const char *const log_names[] = { "address", "topics", "data", "logIndex", "transactionHash", "transactionIndex", "blockHash",
					 "blockNumber", "removed", NULL };

struct receipts {
	struct evm_block *b;
	struct evm_certificate *c;
	struct json_schema receipt_schema, log_schema;
	size_t log_capacity;
	uint64_t cumulative;
};

static bool parse_log(struct receipts *r, struct evm_log *log, yyjson_val *item, const struct evm_tx *tx, size_t tx_index, size_t index)
{
	struct evm_block *b = r->b;
	yyjson_val *v[L_COUNT];
	if (!json_read(&r->log_schema, item, v) || !evm_hex_bytes(v[L_ADDRESS], log->address, 20) || !yyjson_is_arr(v[L_TOPICS]) ||
	    yyjson_arr_size(v[L_TOPICS]) > 4 || !json_text(v[L_DATA]).s)
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "log %zu of the block is malformed", index);
	struct text data = json_text(v[L_DATA]);
	uint8_t *bytes = arena_alloc(b->arena, data.n / 2 + 1);
	uint8_t *topics = arena_alloc(b->arena, 32 * 4);
	size_t size, i, n;
	if (!bytes || !topics || hex_to_data(data.s, data.n, bytes, data.n / 2, &size) != 0)
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "data of log %zu is not hex, or too large", index);
	yyjson_val *topic;
	yyjson_arr_foreach(v[L_TOPICS], i, n, topic)
	{
		if (!evm_hex_bytes(topic, topics + 32 * i, 32))
			return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "topic %zu of log %zu is not a 32-byte word", i, index);
	}
	log->topics = topics;
	log->topic_count = (uint8_t)n;
	log->data = (struct bytes){ bytes, size };
	if (!evm_hex_u64(v[L_INDEX], &log->index) || log->index != index)
		return FAIL_LOG(r->c, "log %zu of the block says index %s: indexes must run from 0 without gap or repeat", index,
				json_text(v[L_INDEX]).s ? json_text(v[L_INDEX]).s : "none");
	if (!agrees_hash(v[L_TX_HASH], tx->hash) || !agrees_u64(v[L_TX_INDEX], tx_index) || !agrees_hash(v[L_BLOCK_HASH], b->header.hash) ||
	    !agrees_u64(v[L_BLOCK_NUMBER], b->header.height))
		return FAIL_LOG(r->c, "log %zu names another block or transaction than it stands in", index);
	if (yyjson_is_true(v[L_REMOVED]))
		return FAIL_LOG(r->c, "log %zu is marked removed", index);
	return true;
}

static bool parse_logs(struct receipts *r, struct evm_tx *tx, yyjson_val *list, size_t tx_index)
{
	struct evm_block *b = r->b;
	if (!yyjson_is_arr(list))
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu has no list of logs", tx_index);
	tx->first_log = b->log_count;
	tx->log_count = yyjson_arr_size(list);
	if (b->log_count + tx->log_count > r->log_capacity)
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "more than %zu logs", r->log_capacity);
	size_t i, n;
	yyjson_val *item;
	yyjson_arr_foreach(list, i, n, item)
	{
		if (!parse_log(r, &b->logs[b->log_count], item, tx, tx_index, b->log_count))
			return false;
		b->log_count++;
	}
	return true;
}

/* The parts of a receipt that its own encoding needs. */
static bool parse_outcome(struct receipts *r, struct evm_tx *tx, yyjson_val **v, size_t index)
{
	uint64_t status;
	tx->state_root = json_text(v[R_ROOT]);
	tx->has_status = v[R_STATUS] && !tx->state_root.s; /* some nodes make up a status where the receipt has a root */
	if (tx->has_status) {
		if (!evm_hex_u64(v[R_STATUS], &status) || status > 1)
			return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu: status is neither 0x0 nor 0x1", index);
		tx->succeeded = status == 1;
	} else if (!tx->state_root.s) {
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu has neither status nor root", index);
	}
	if (!evm_hex_u64(v[R_CUMULATIVE], &tx->cumulative_gas) || !evm_hex_u64(v[R_GAS_USED], &tx->gas_used) ||
	    !evm_hex_bytes(v[R_BLOOM], tx->bloom, 256))
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu: gas or bloom is missing or malformed", index);
	if (v[R_PRICE] && !evm_hex_u256(v[R_PRICE], &tx->effective_gas_price))
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu: effectiveGasPrice is malformed", index);
	if (!v[R_PRICE])
		tx->effective_gas_price = tx->gas_price;
	if (v[R_BLOB_GAS] && (!evm_hex_u64(v[R_BLOB_GAS], &tx->blob_gas_used) || (v[R_BLOB_PRICE] && !evm_hex_u256(v[R_BLOB_PRICE], &tx->blob_gas_price))))
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu: blob gas is malformed", index);
	/* Before Byzantium a receipt does not say; traces will. A failure took all gas then, so that gas left over means success. Where all was
	 * used a failure is the likelier, but for a plain transfer, which needs all of 21000. */
	if (!tx->has_status) {
		tx->succeeded = tx->gas_used < tx->gas || tx->gas == 21000;
		r->b->guessed_count += tx->gas_used == tx->gas;
	}
	return true;
}

static bool parse_receipt(struct receipts *r, yyjson_val *item, size_t index)
{
	struct evm_block *b = r->b;
	struct evm_tx *tx = &b->txs[index];
	yyjson_val *v[R_COUNT];
	uint8_t address[20];
	if (!item || yyjson_is_null(item))
		return FAIL_RECEIPT(r->c, "receipt %zu is null: a partial answer", index);
	if (!json_read(&r->receipt_schema, item, v))
		return FAIL_SHAPE(r->c, r->c->receipts_endpoint, "receipt %zu is not an object, or a field stands twice", index);
	if (!parse_outcome(r, tx, v, index))
		return false;
	if (!v[R_TX_HASH] || !agrees_hash(v[R_TX_HASH], tx->hash) || !agrees_u64(v[R_TX_INDEX], index))
		return FAIL_RECEIPT(r->c, "receipt %zu belongs to another transaction: dropped, repeated, foreign or out of order", index);
	if (!agrees_hash(v[R_BLOCK_HASH], b->header.hash) || !agrees_u64(v[R_BLOCK_NUMBER], b->header.height))
		return FAIL_RECEIPT(r->c, "receipt %zu belongs to another block", index);
	if (v[R_FROM] && (!evm_hex_bytes(v[R_FROM], address, 20) || memcmp(address, tx->from, 20) != 0))
		return FAIL_RECEIPT(r->c, "receipt %zu names another sender than its transaction", index);
	if (!tx->creates && v[R_TO] && (!evm_hex_bytes(v[R_TO], address, 20) || memcmp(address, tx->to, 20) != 0))
		return FAIL_RECEIPT(r->c, "receipt %zu names another recipient than its transaction", index);
	if (tx->creates && tx->succeeded && v[R_CONTRACT] && (!evm_hex_bytes(v[R_CONTRACT], address, 20) || memcmp(address, tx->created, 20) != 0))
		return FAIL_RECEIPT(r->c, "receipt %zu names another contract than its transaction created", index);
	if (!agrees_u64(v[R_TYPE], tx->type))
		return FAIL_RECEIPT(r->c, "receipt %zu has another type than its transaction", index);
	if (tx->cumulative_gas < r->cumulative || tx->cumulative_gas - r->cumulative != tx->gas_used || tx->gas_used > tx->gas)
		return FAIL_RECEIPT(r->c, "receipt %zu: gas used %llu does not lead from cumulative %llu to %llu within the limit %llu", index,
				    (unsigned long long)tx->gas_used, (unsigned long long)r->cumulative, (unsigned long long)tx->cumulative_gas,
				    (unsigned long long)tx->gas);
	r->cumulative = tx->cumulative_gas;
	tx->has_receipt = true;
	return parse_logs(r, tx, v[R_LOGS], index);
}

/* Logs can't be more than their list items; counted first so that one array holds them. */
static size_t count_logs(yyjson_val *receipts)
{
	size_t total = 0, i, n;
	yyjson_val *item;
	yyjson_arr_foreach(receipts, i, n, item) total += yyjson_arr_size(yyjson_obj_get(item, "logs"));
	return total;
}

bool evm_parse_receipts(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	if (!yyjson_is_arr(root))
		return FAIL_RECEIPT(c, "the node answered %s instead of a list of receipts", yyjson_is_null(root) ? "null" : "something else");
	if (yyjson_arr_size(root) != b->tx_count)
		return FAIL_RECEIPT(c, "%zu receipts for %zu transactions", yyjson_arr_size(root), b->tx_count);
	struct receipts r = { .b = b, .c = c, .log_capacity = count_logs(root) };
	if (r.log_capacity > EVM_LOGS_MAX)
		return FAIL_SHAPE(c, c->receipts_endpoint, "more than %d logs", EVM_LOGS_MAX);
	b->logs = arena_zalloc(b->arena, r.log_capacity + 1, sizeof *b->logs);
	if (!b->logs)
		return FAIL_SHAPE(c, c->receipts_endpoint, "too many logs");
	json_schema_init(&r.receipt_schema, receipt_names);
	json_schema_init(&r.log_schema, log_names);
	size_t i, n;
	yyjson_val *item;
	yyjson_arr_foreach(root, i, n, item)
	{
		if (!parse_receipt(&r, item, i))
			return false;
	}
	if (r.cumulative != b->header.gas_used)
		return FAIL_RECEIPT(c, "receipts sum to %llu gas, the header says %llu", (unsigned long long)r.cumulative,
				    (unsigned long long)b->header.gas_used);
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_RECEIPT_COHERENCE, c->receipts_endpoint);
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_LOG_COHERENCE, c->receipts_endpoint);
	b->has_receipts = true;
	return true;
}

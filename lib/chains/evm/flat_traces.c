/* flat_traces.c - flat traces: trace_block (OpenEthereum's form, as Erigon, Nethermind, Reth and anvil answer it), one array of actions for
 * the block, each with its place in its transaction's tree. The places must run without a gap, or an action is missing. */
#include "chains/evm/traces.h"

#include <string.h>

#define REWARDS_MAX 16

enum { I_TYPE, I_ACTION, I_RESULT, I_ERROR, I_ADDRESS, I_SUBTRACES, I_TX_HASH, I_TX_POSITION, I_BLOCK_HASH, I_COUNT };
static const char *const item_names[] = { "type", "action", "result", "error", "traceAddress", "subtraces", "transactionHash", "transactionPosition",
					  "blockHash", NULL };
enum { A_CALL_TYPE, A_FROM, A_TO, A_VALUE, A_ADDRESS, A_REFUND, A_BALANCE, A_AUTHOR, A_REWARD_TYPE, A_COUNT };
static const char *const action_names[] = { "callType", "from", "to", "value", "address", "refundAddress", "balance", "author", "rewardType", NULL };

struct list {
	struct trace_walk w;
	struct json_schema item_schema, action_schema;
	bool begun;        /* the current transaction's root was seen */
	size_t next_tx;    /* the transaction expected next */
	bool undone;       /* inside a subtree that failed … */
	size_t undone_depth; /* … whose root is this deep */
	uint32_t children[TRACE_DEPTH_MAX + 1], expected[TRACE_DEPTH_MAX + 1]; /* per depth: seen, and announced as subtraces */
};

static bool missing(struct list *l)
{
	return TRACE_FAIL(&l->w, "transaction %zu: inner calls are missing from its trace or out of order", l->w.tx_index);
}

/* traceAddress becomes the walk's path; children come in order, and what we leave must be complete. */
static bool take_path(struct list *l, yyjson_val *address, yyjson_val *subtraces)
{
	struct trace_walk *w = &l->w;
	size_t depth = yyjson_arr_size(address), i, n;
	uint64_t announced = yyjson_get_uint(subtraces);
	yyjson_val *step;
	if (!yyjson_is_arr(address) || depth >= TRACE_DEPTH_MAX || depth > w->depth + 1 || announced > UINT32_MAX)
		return TRACE_FAIL(w, "transaction %zu: traceAddress is malformed or jumps", w->tx_index);
	for (size_t level = depth ? depth : 1; level <= w->depth; level++)
		if (l->children[level] != l->expected[level])
			return missing(l);
	yyjson_arr_foreach(address, i, n, step)
	{
		uint64_t number = yyjson_get_uint(step);
		bool last = i + 1 == n;
		if (!yyjson_is_uint(step) || (!last && number != w->path[i]) || (last && number != l->children[i]))
			return missing(l);
		if (last) {
			l->children[i]++;
			w->path[i] = (uint32_t)number;
		}
	}
	w->depth = depth;
	l->children[depth] = 0;
	l->expected[depth] = (uint32_t)announced;
	return true;
}

/* The current transaction is whole. */
static bool leave_tx(struct list *l)
{
	if (!l->begun)
		return true;
	for (size_t level = 0; level <= l->w.depth; level++)
		if (l->children[level] != l->expected[level])
			return missing(l);
	l->begun = false;
	return trace_end_tx(&l->w);
}

/* Which transaction does it belong to? On to the next one when a root comes. */
static bool take_place(struct list *l, yyjson_val **v, bool root)
{
	struct trace_walk *w = &l->w;
	uint8_t hash[32];
	if (root) {
		if (!leave_tx(l))
			return false;
		if (l->next_tx >= w->b->tx_count)
			return TRACE_FAIL(w, "more traced transactions than the block has");
		trace_begin_tx(w, l->next_tx++);
		l->begun = true;
		l->undone = false;
		l->children[0] = l->expected[0] = 0;
	}
	if (!l->begun || !evm_hex_bytes(v[I_TX_HASH], hash, 32) || memcmp(hash, w->b->txs[w->tx_index].hash, 32) != 0 ||
	    (v[I_TX_POSITION] && yyjson_get_uint(v[I_TX_POSITION]) != w->tx_index))
		return TRACE_FAIL(w, "a trace belongs to another transaction than its place says");
	return true;
}

static bool read_reward(struct list *l, yyjson_val **action)
{
	struct evm_block *b = l->w.b;
	struct text type = json_text(action[A_REWARD_TYPE]);
	if (!b->rewards)
		b->rewards = arena_zalloc(b->arena, REWARDS_MAX, sizeof *b->rewards);
	if (!b->rewards || b->reward_count == REWARDS_MAX)
		return TRACE_FAIL(&l->w, "too many block rewards");
	struct evm_reward *reward = &b->rewards[b->reward_count];
	if (!type.s || !evm_hex_bytes(action[A_AUTHOR], reward->account, 20) || !evm_hex_u256(action[A_VALUE], &reward->value))
		return TRACE_FAIL(&l->w, "a block reward is malformed");
	reward->uncle = strcmp(type.s, "uncle") == 0;
	b->reward_count += !u256_is_zero(reward->value);
	return true;
}

/* OpenEthereum's words for kinds of calls; "callcode" moves value from the caller to itself. */
static enum trace_kind kind_of(struct text type)
{
	if (type.s && (strcmp(type.s, "delegatecall") == 0 || strcmp(type.s, "callcode") == 0))
		return TRACE_DELEGATED;
	return type.s && strcmp(type.s, "call") != 0 ? TRACE_STATIC : TRACE_CALL;
}

static bool read_action(struct list *l, const char *type, yyjson_val **action, yyjson_val *result, struct trace_call *ret)
{
	bool good = false;
	memset(ret, 0, sizeof *ret);
	if (strcmp(type, "call") == 0) {
		good = evm_hex_bytes(action[A_FROM], ret->from, 20) && evm_hex_bytes(action[A_TO], ret->to, 20) && evm_hex_u256(action[A_VALUE], &ret->value);
		ret->kind = kind_of(json_text(action[A_CALL_TYPE]));
	} else if (strcmp(type, "create") == 0) {
		yyjson_val *address = yyjson_obj_get(result, "address");
		good = evm_hex_bytes(action[A_FROM], ret->from, 20) && evm_hex_u256(action[A_VALUE], &ret->value) &&
		       (ret->failed || !address || evm_hex_bytes(address, ret->to, 20));
		ret->kind = TRACE_CREATE;
	} else if (strcmp(type, "suicide") == 0 || strcmp(type, "selfdestruct") == 0) {
		good = evm_hex_bytes(action[A_ADDRESS], ret->from, 20) && evm_hex_bytes(action[A_REFUND], ret->to, 20) &&
		       evm_hex_u256(action[A_BALANCE], &ret->value);
		ret->kind = TRACE_DESTROY;
	}
	return good || TRACE_FAIL(&l->w, "a trace of transaction %zu is malformed or of an unknown kind", l->w.tx_index);
}

static bool read_item(struct list *l, yyjson_val *item)
{
	struct trace_walk *w = &l->w;
	yyjson_val *v[I_COUNT], *action[A_COUNT];
	uint8_t hash[32];
	struct trace_call call;
	if (!json_read(&l->item_schema, item, v) || !json_text(v[I_TYPE]).s || !json_read(&l->action_schema, v[I_ACTION], action))
		return TRACE_FAIL(w, "a trace has no type or action, or a field twice");
	const char *type = json_text(v[I_TYPE]).s;
	if (v[I_BLOCK_HASH] && (!evm_hex_bytes(v[I_BLOCK_HASH], hash, 32) || memcmp(hash, w->b->header.hash, 32) != 0))
		return TRACE_FAIL(w, "the traces are those of another block");
	if (strcmp(type, "reward") == 0)
		return read_reward(l, action);
	bool root = yyjson_is_arr(v[I_ADDRESS]) && yyjson_arr_size(v[I_ADDRESS]) == 0;
	if (!take_place(l, v, root) || !take_path(l, v[I_ADDRESS], v[I_SUBTRACES]) || !read_action(l, type, action, v[I_RESULT], &call))
		return false;
	call.failed = v[I_ERROR] != NULL;
	if (root && !trace_check_root(w, &call))
		return false;
	if (l->undone && w->depth <= l->undone_depth)
		l->undone = false;
	if (l->undone)
		return true;
	if (call.failed) { /* undone with everything below it */
		l->undone = true;
		l->undone_depth = w->depth;
		return true;
	}
	return trace_execute(w, &call, root);
}

/* Proof-of-work rewards follow from height and uncles: one for the miner, one per uncle. */
static bool check_rewards(struct list *l)
{
	const struct evm_block *b = l->w.b;
	struct u256 base, miner, step, uncle;
	uint64_t rest;
	size_t uncles = 0;
	if (!evm_block_reward(b, &base, &miner))
		return b->reward_count == 0 || TRACE_FAIL(&l->w, "a block that pays no reward has one in its traces");
	u256_div_u64(base, 8, &step, &rest);
	for (size_t i = 0; i < b->reward_count; i++) {
		const struct evm_reward *r = &b->rewards[i];
		bool good = !r->uncle && memcmp(r->account, b->header.miner, 20) == 0 && u256_cmp(r->value, miner) == 0;
		for (uint64_t age = 2; age < 8 && r->uncle && !good; age++)
			good = u256_mul_u64(step, age, &uncle) && u256_cmp(r->value, uncle) == 0;
		if (!good)
			return TRACE_FAIL(&l->w, "reward %zu in the traces is not what the block pays", i);
		uncles += r->uncle;
	}
	return b->reward_count == 0 || (uncles == b->header.uncle_count && b->reward_count == uncles + 1) ||
	       TRACE_FAIL(&l->w, "the traces reward %zu uncles, the block has %zu", uncles, b->header.uncle_count);
}

bool evm_parse_flat_traces(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	struct list *l = arena_zalloc(b->arena, 1, sizeof *l);
	if (!l)
		return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, c->traces_endpoint, "the traces need more memory than one message may have");
	l->w.b = b;
	l->w.c = c;
	if (!yyjson_is_arr(root))
		return TRACE_FAIL(&l->w, "the node answered something else than a list of traces");
	json_schema_init(&l->item_schema, item_names);
	json_schema_init(&l->action_schema, action_names);
	size_t i, n;
	yyjson_val *item;
	yyjson_arr_foreach(root, i, n, item)
	{
		if (!read_item(l, item))
			return false;
	}
	if (!leave_tx(l) || !check_rewards(l))
		return false;
	if (l->next_tx != b->tx_count)
		return TRACE_FAIL(&l->w, "traces of %zu transactions for %zu", l->next_tx, b->tx_count);
	b->has_traces = true;
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, c->traces_endpoint);
	return true;
}

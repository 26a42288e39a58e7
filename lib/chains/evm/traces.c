/* traces.c - native value moved inside transactions, from either kind of trace: nested (callTracer) or flat (trace_block).
 *
 * No root commits to traces. What can be checked is that they fit the transactions: one root each, same from, to, value and outcome.
 * A reverted call takes its whole subtree with it; DELEGATECALL and STATICCALL move nothing; CALLCODE moves to itself; a
 * self-destruct moves the whole balance (to itself: destroys it before Cancun, and after it only in the transaction that created
 * the contract, EIP-6780).
 */
#include "chains/evm/evm.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 1024
#define CREATED_MAX 4096
#define FAIL(c, ...) evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, (c)->traces_endpoint, __VA_ARGS__)

struct walk {
	struct evm_block *b;
	struct evm_certificate *c;
	size_t capacity;
	size_t tx_index;
	uint8_t created[CREATED_MAX][20]; /* in this transaction */
	size_t created_count;
	uint32_t path[DEPTH_MAX];
	size_t depth;
};

static bool is_zero_address(const uint8_t address[20])
{
	static const uint8_t zero[20];
	return memcmp(address, zero, 20) == 0;
}

static const char *path_text(struct walk *w)
{
	struct buf text = BUF_INIT(DEPTH_MAX * 11 + 16);
	buf_add_str(&text, "trace:");
	for (size_t i = 0; i < w->depth; i++)
		buf_printf(&text, i ? ".%u" : "%u", w->path[i]);
	const char *copy = arena_printf(w->b->arena, "%s", buf_str(&text));
	buf_free(&text);
	return copy;
}

static bool note_called(struct walk *w, const uint8_t address[20])
{
	struct evm_block *b = w->b;
	if (b->called_count > 0 && memcmp(b->called[b->called_count - 1].address, address, 20) == 0)
		return true;
	if (b->called_count == b->called_capacity) {
		size_t capacity = b->called_capacity ? b->called_capacity * 2 : 64;
		struct evm_touch *bigger = arena_alloc(b->arena, capacity * sizeof *bigger);
		if (!bigger)
			return FAIL(w->c, "too many inner calls");
		if (b->called_count)
			memcpy(bigger, b->called, b->called_count * sizeof *bigger);
		b->called = bigger;
		b->called_capacity = capacity;
	}
	memcpy(b->called[b->called_count++].address, address, 20);
	return true;
}

static bool add_move(struct walk *w, enum evm_move_kind kind, const uint8_t from[20], const uint8_t to[20], struct u256 value, bool burns)
{
	struct evm_block *b = w->b;
	if (u256_is_zero(value))
		return true;
	if (b->move_count == w->capacity) {
		size_t capacity = w->capacity ? w->capacity * 2 : 256;
		struct evm_move *bigger = capacity > EVM_MOVES_MAX ? NULL : arena_alloc(b->arena, capacity * sizeof *bigger);
		if (!bigger)
			return FAIL(w->c, "more inner transfers than one block may have");
		if (b->move_count)
			memcpy(bigger, b->moves, b->move_count * sizeof *bigger);
		b->moves = bigger;
		w->capacity = capacity;
	}
	struct evm_move *move = &b->moves[b->move_count++];
	*move = (struct evm_move){ .kind = kind, .value = value, .path = path_text(w), .burns = burns };
	memcpy(move->from, from, 20);
	memcpy(move->to, to, 20);
	b->txs[w->tx_index].move_count++;
	return move->path != NULL;
}

static void note_created(struct walk *w, const uint8_t address[20])
{
	if (w->created_count < CREATED_MAX)
		memcpy(w->created[w->created_count++], address, 20);
}

static bool was_created(const struct walk *w, const uint8_t address[20])
{
	for (size_t i = 0; i < w->created_count; i++)
		if (memcmp(w->created[i], address, 20) == 0)
			return true;
	return false;
}

static bool self_destruct(struct walk *w, const uint8_t from[20], const uint8_t to[20], struct u256 balance)
{
	bool to_itself = memcmp(from, to, 20) == 0;
	bool cancun = w->b->header.has_blob_gas;
	if (to_itself && cancun && !was_created(w, from))
		return true; /* EIP-6780: nothing moves */
	return add_move(w, EVM_MOVE_SELFDESTRUCT, from, to, balance, to_itself);
}

static void begin_tx(struct walk *w, size_t index)
{
	w->tx_index = index;
	w->created_count = 0;
	w->depth = 0;
	w->b->txs[index].first_move = w->b->move_count;
	w->b->txs[index].move_count = 0;
}

/* The root of a transaction's trace against the transaction itself. */
static bool check_root(struct walk *w, bool creates, const uint8_t from[20], const uint8_t to[20], struct u256 value, bool failed)
{
	const struct evm_tx *tx = &w->b->txs[w->tx_index];
	bool fits = creates == tx->creates && memcmp(from, tx->from, 20) == 0 && u256_cmp(value, tx->value) == 0 &&
		    (creates || memcmp(to, tx->to, 20) == 0);
	if (creates && fits && tx->has_created && !failed && !is_zero_address(to))
		fits = memcmp(to, tx->created, 20) == 0;
	if (!fits)
		return FAIL(w->c, "the trace of transaction %zu has another sender, recipient or value than the transaction", w->tx_index);
	if (tx->has_receipt && tx->has_status && tx->succeeded == failed)
		return FAIL(w->c, "the trace of transaction %zu says %s, its receipt the opposite", w->tx_index, failed ? "failed" : "succeeded");
	return true;
}

/* -- nested: callTracer ---------------------------------------------------------------------------------------------------- */

enum { C_TYPE, C_FROM, C_TO, C_VALUE, C_ERROR, C_CALLS, C_COUNT };
static const char *const call_names[] = { "type", "from", "to", "value", "error", "calls", NULL };

struct nested {
	struct walk w;
	struct json_schema schema;
};

static bool nested_call(struct nested *n, yyjson_val *call, bool root);

static bool nested_children(struct nested *n, yyjson_val *calls)
{
	if (!calls)
		return true;
	if (!yyjson_is_arr(calls) || n->w.depth >= DEPTH_MAX)
		return FAIL(n->w.c, "transaction %zu: calls are malformed or deeper than %d", n->w.tx_index, DEPTH_MAX);
	size_t i, max;
	yyjson_val *call;
	yyjson_arr_foreach(calls, i, max, call)
	{
		n->w.path[n->w.depth++] = (uint32_t)i;
		bool good = nested_call(n, call, false);
		n->w.depth--;
		if (!good)
			return false;
	}
	return true;
}

static bool nested_move(struct walk *w, const char *type, const uint8_t from[20], const uint8_t to[20], struct u256 value)
{
	if (strcmp(type, "CALL") == 0)
		return add_move(w, EVM_MOVE_CALL, from, to, value, false);
	if (strcmp(type, "CREATE") == 0 || strcmp(type, "CREATE2") == 0)
		return add_move(w, EVM_MOVE_CREATE, from, to, value, false);
	if (strcmp(type, "SELFDESTRUCT") == 0)
		return self_destruct(w, from, to, value);
	if (strcmp(type, "DELEGATECALL") == 0 || strcmp(type, "STATICCALL") == 0 || strcmp(type, "CALLCODE") == 0)
		return true;
	return FAIL(w->c, "transaction %zu: unknown kind of call %.20s", w->tx_index, type);
}

static bool nested_call(struct nested *n, yyjson_val *call, bool root)
{
	struct walk *w = &n->w;
	yyjson_val *v[C_COUNT];
	uint8_t from[20], to[20] = { 0 };
	struct u256 value = { { 0 } };
	if (!json_read(&n->schema, call, v) || !json_text(v[C_TYPE]).s || !evm_hex_bytes(v[C_FROM], from, 20) ||
	    (v[C_TO] && !evm_hex_bytes(v[C_TO], to, 20)) || (v[C_VALUE] && !evm_hex_u256(v[C_VALUE], &value)))
		return FAIL(w->c, "a call in the trace of transaction %zu is malformed", w->tx_index);
	const char *type = json_text(v[C_TYPE]).s;
	bool failed = v[C_ERROR] != NULL;
	if (failed && json_text(v[C_ERROR]).s && strstr(json_text(v[C_ERROR]).s, "timeout"))
		return FAIL(w->c, "transaction %zu: the tracer ran out of time: the trace is partial", w->tx_index);
	bool creates = strncmp(type, "CREATE", 6) == 0;
	if (root && !check_root(w, creates, from, to, value, failed))
		return false;
	if (failed)
		return true; /* it and everything below was undone */
	if (creates)
		note_created(w, to);
	if (!note_called(w, to) || (!root && !nested_move(w, type, from, to, value)))
		return false;
	return nested_children(n, v[C_CALLS]);
}

bool evm_parse_call_traces(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	if (!yyjson_is_arr(root) || yyjson_arr_size(root) != b->tx_count)
		return FAIL(c, "%zu traces for %zu transactions", yyjson_arr_size(root), b->tx_count);
	struct nested *n = arena_zalloc(b->arena, 1, sizeof *n);
	if (!n)
		return FAIL(c, "too large");
	n->w.b = b;
	n->w.c = c;
	json_schema_init(&n->schema, call_names);
	size_t i, max;
	yyjson_val *item;
	yyjson_arr_foreach(root, i, max, item)
	{
		uint8_t hash[32];
		yyjson_val *named = yyjson_obj_get(item, "txHash"), *result = yyjson_obj_get(item, "result");
		begin_tx(&n->w, i);
		if (named && (!evm_hex_bytes(named, hash, 32) || memcmp(hash, b->txs[i].hash, 32) != 0))
			return FAIL(c, "trace %zu belongs to another transaction", i);
		if (!result)
			return FAIL(c, "trace %zu has no result: %.100s", i,
				    json_text(yyjson_obj_get(item, "error")).s ? json_text(yyjson_obj_get(item, "error")).s : "none");
		if (!nested_call(n, result, true))
			return false;
	}
	b->has_traces = true;
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, c->traces_endpoint);
	return true;
}

/* -- flat: trace_block ------------------------------------------------------------------------------------------------------ */

struct flat {
	struct walk w;
	bool begun;           /* the current transaction's root was seen */
	size_t next_tx;       /* the transaction expected next */
	bool dead;            /* inside a subtree that was undone … */
	size_t dead_depth;    /* … whose root is this deep */
	uint32_t children[DEPTH_MAX + 1], expected[DEPTH_MAX + 1]; /* per depth: seen and announced (subtraces) */
};

/* traceAddress into the walk's path; the children must come in order, none left out. */
static bool flat_path(struct flat *f, yyjson_val *address, uint64_t subtraces)
{
	struct walk *w = &f->w;
	size_t depth = yyjson_arr_size(address), i, n;
	yyjson_val *step;
	if (!yyjson_is_arr(address) || depth >= DEPTH_MAX || depth > w->depth + 1 || subtraces > UINT32_MAX)
		return FAIL(w->c, "transaction %zu: traceAddress is malformed or jumps", w->tx_index);
	for (size_t level = depth ? depth : 1; level <= w->depth; level++) /* what we leave must be complete */
		if (f->children[level] != f->expected[level])
			return FAIL(w->c, "transaction %zu: an inner call is missing from its trace", w->tx_index);
	yyjson_arr_foreach(address, i, n, step)
	{
		uint64_t number = yyjson_get_uint(step);
		bool last = i + 1 == n;
		if (!yyjson_is_uint(step) || (!last && number != w->path[i]) || (last && number != f->children[i]))
			return FAIL(w->c, "transaction %zu: inner calls are missing or out of order", w->tx_index);
		if (last) {
			f->children[i]++;
			w->path[i] = (uint32_t)number;
		}
	}
	w->depth = depth;
	f->children[depth] = 0;
	f->expected[depth] = (uint32_t)subtraces;
	return true;
}

static bool flat_complete(struct flat *f)
{
	for (size_t level = 0; f->begun && level <= f->w.depth; level++)
		if (f->children[level] != f->expected[level])
			return FAIL(f->w.c, "transaction %zu: an inner call is missing from its trace", f->w.tx_index);
	return true;
}

static bool flat_reward(struct flat *f, yyjson_val *action)
{
	struct evm_block *b = f->w.b;
	struct evm_reward *rewards = arena_alloc(b->arena, (b->reward_count + 1) * sizeof *rewards);
	if (!rewards || b->reward_count >= 16)
		return FAIL(f->w.c, "too many block rewards");
	if (b->reward_count)
		memcpy(rewards, b->rewards, b->reward_count * sizeof *rewards);
	b->rewards = rewards;
	if (!evm_hex_bytes(yyjson_obj_get(action, "author"), rewards[b->reward_count].account, 20) ||
	    !evm_hex_u256(yyjson_obj_get(action, "value"), &rewards[b->reward_count].value))
		return FAIL(f->w.c, "a block reward is malformed");
	b->reward_count++;
	return true;
}

struct flat_action {
	uint8_t from[20], to[20];
	struct u256 value;
	bool creates, destroys, moves;
};

static bool flat_action(struct flat *f, const char *type, yyjson_val *action, yyjson_val *result, struct flat_action *ret)
{
	memset(ret, 0, sizeof *ret);
	bool good = false;
	yyjson_val *value = yyjson_obj_get(action, "value");
	if (strcmp(type, "call") == 0) {
		const char *kind = json_text(yyjson_obj_get(action, "callType")).s;
		good = evm_hex_bytes(yyjson_obj_get(action, "from"), ret->from, 20) && evm_hex_bytes(yyjson_obj_get(action, "to"), ret->to, 20) &&
		       evm_hex_u256(value, &ret->value);
		ret->moves = !kind || strcmp(kind, "call") == 0;
	} else if (strcmp(type, "create") == 0) {
		yyjson_val *address = yyjson_obj_get(result, "address");
		good = evm_hex_bytes(yyjson_obj_get(action, "from"), ret->from, 20) && evm_hex_u256(value, &ret->value) &&
		       (!address || evm_hex_bytes(address, ret->to, 20));
		ret->creates = ret->moves = true;
	} else if (strcmp(type, "suicide") == 0 || strcmp(type, "selfdestruct") == 0) {
		good = evm_hex_bytes(yyjson_obj_get(action, "address"), ret->from, 20) &&
		       evm_hex_bytes(yyjson_obj_get(action, "refundAddress"), ret->to, 20) &&
		       evm_hex_u256(yyjson_obj_get(action, "balance"), &ret->value);
		ret->destroys = ret->moves = true;
	}
	return good ? true : FAIL(f->w.c, "a trace of transaction %zu is malformed or of an unknown kind", f->w.tx_index);
}

/* Which transaction does it belong to? Moves on to the next one when the trace's root comes. */
static bool flat_place(struct flat *f, yyjson_val *item, bool is_root)
{
	struct walk *w = &f->w;
	uint8_t hash[32];
	if (is_root) {
		if (!flat_complete(f) || f->next_tx >= w->b->tx_count)
			return evm_failed(w->c) ? false : FAIL(w->c, "more traced transactions than the block has");
		begin_tx(w, f->next_tx++);
		f->begun = true;
		f->dead = false;
		f->children[0] = f->expected[0] = 0;
	}
	yyjson_val *position = yyjson_obj_get(item, "transactionPosition");
	if (!f->begun || !evm_hex_bytes(yyjson_obj_get(item, "transactionHash"), hash, 32) ||
	    memcmp(hash, w->b->txs[w->tx_index].hash, 32) != 0 || (position && yyjson_get_uint(position) != w->tx_index))
		return FAIL(w->c, "a trace belongs to another transaction than its place says");
	return true;
}

static bool flat_item(struct flat *f, yyjson_val *item)
{
	struct walk *w = &f->w;
	uint8_t hash[32];
	const char *type = json_text(yyjson_obj_get(item, "type")).s;
	yyjson_val *action = yyjson_obj_get(item, "action"), *address = yyjson_obj_get(item, "traceAddress");
	yyjson_val *block_hash = yyjson_obj_get(item, "blockHash");
	if (!type || !yyjson_is_obj(action))
		return FAIL(w->c, "a trace has no type or action");
	if (block_hash && (!evm_hex_bytes(block_hash, hash, 32) || memcmp(hash, w->b->header.hash, 32) != 0))
		return FAIL(w->c, "the traces are those of another block");
	if (strcmp(type, "reward") == 0)
		return flat_reward(f, action);
	bool is_root = yyjson_is_arr(address) && yyjson_arr_size(address) == 0;
	if (!flat_place(f, item, is_root) || !flat_path(f, address, yyjson_get_uint(yyjson_obj_get(item, "subtraces"))))
		return false;
	struct flat_action a;
	if (!flat_action(f, type, action, yyjson_obj_get(item, "result"), &a))
		return false;
	yyjson_val *error = yyjson_obj_get(item, "error");
	bool failed = error && !yyjson_is_null(error);
	if (is_root && !check_root(w, a.creates, a.from, a.to, a.value, failed))
		return false;
	if (f->dead && w->depth <= f->dead_depth)
		f->dead = false;
	if (f->dead)
		return true;
	if (failed) {
		f->dead = true;
		f->dead_depth = w->depth;
		return true;
	}
	if (a.creates)
		note_created(w, a.to);
	if (!note_called(w, a.to))
		return false;
	if (is_root || !a.moves)
		return true;
	if (a.destroys)
		return self_destruct(w, a.from, a.to, a.value);
	return add_move(w, a.creates ? EVM_MOVE_CREATE : EVM_MOVE_CALL, a.from, a.to, a.value, false);
}

bool evm_parse_flat_traces(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	if (!yyjson_is_arr(root))
		return FAIL(c, "the node answered something else than a list of traces");
	struct flat *f = arena_zalloc(b->arena, 1, sizeof *f);
	if (!f)
		return FAIL(c, "too large");
	f->w.b = b;
	f->w.c = c;
	size_t i, n;
	yyjson_val *item;
	yyjson_arr_foreach(root, i, n, item)
	{
		if (!flat_item(f, item))
			return false;
	}
	if (!flat_complete(f))
		return false;
	if (f->next_tx != b->tx_count)
		return FAIL(c, "traces of %zu transactions for %zu", f->next_tx, b->tx_count);
	b->has_traces = true;
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, c->traces_endpoint);
	return true;
}

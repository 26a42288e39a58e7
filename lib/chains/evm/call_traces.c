/* call_traces.c - nested traces: debug_traceBlockBy… with callTracer, a tree of calls per transaction. */
#include "chains/evm/traces.h"

#include <string.h>

enum { C_TYPE, C_FROM, C_TO, C_VALUE, C_ERROR, C_CALLS, C_COUNT };
static const char *const call_names[] = { "type", "from", "to", "value", "error", "calls", NULL };

static const struct {
	const char *type;
	enum trace_kind kind;
} call_kinds[] = {
	{ "CALL", TRACE_CALL },     { "STATICCALL", TRACE_STATIC }, { "DELEGATECALL", TRACE_DELEGATED }, { "CALLCODE", TRACE_DELEGATED },
	{ "CREATE", TRACE_CREATE }, { "CREATE2", TRACE_CREATE },    { "SELFDESTRUCT", TRACE_DESTROY },   { "SUICIDE", TRACE_DESTROY },
};

struct tree {
	struct trace_walk w;
	struct json_schema schema;
};

static bool read_call(struct tree *t, yyjson_val **v, struct trace_call *ret)
{
	struct trace_walk *w = &t->w;
	struct text type = json_text(v[C_TYPE]), error = json_text(v[C_ERROR]);
	memset(ret, 0, sizeof *ret);
	if (!type.s || !evm_hex_bytes(v[C_FROM], ret->from, 20) || (v[C_TO] && !evm_hex_bytes(v[C_TO], ret->to, 20)) ||
	    (v[C_VALUE] && !evm_hex_u256(v[C_VALUE], &ret->value)))
		return TRACE_FAIL(w, "a call in the trace of transaction %zu is malformed", w->tx_index);
	ret->failed = v[C_ERROR] != NULL;
	if (error.s && strstr(error.s, "timeout"))
		return TRACE_FAIL(w, "transaction %zu: the tracer ran out of time: the trace is partial", w->tx_index);
	for (size_t i = 0; i < sizeof call_kinds / sizeof call_kinds[0]; i++)
		if (strcmp(call_kinds[i].type, type.s) == 0) {
			ret->kind = call_kinds[i].kind;
			/* revm's tracer shows a self-destruct that does nothing as one of nobody */
			if (!v[C_TO] && !ret->failed && !(ret->kind == TRACE_DESTROY && u256_is_zero(ret->value)))
				return TRACE_FAIL(w, "transaction %zu: a %s in its trace names no recipient", w->tx_index, type.s);
			return true;
		}
	return TRACE_FAIL(w, "transaction %zu: unknown kind of call %.20s", w->tx_index, type.s);
}

static bool read_tree(struct tree *t, yyjson_val *call, bool root);

static bool read_children(struct tree *t, yyjson_val *calls)
{
	struct trace_walk *w = &t->w;
	if (!calls)
		return true;
	if (!yyjson_is_arr(calls) || w->depth + 1 >= TRACE_DEPTH_MAX)
		return TRACE_FAIL(w, "transaction %zu: calls are malformed or deeper than the EVM goes", w->tx_index);
	size_t i, n;
	yyjson_val *call;
	yyjson_arr_foreach(calls, i, n, call)
	{
		w->path[w->depth++] = (uint32_t)i;
		bool good = read_tree(t, call, false);
		w->depth--;
		if (!good)
			return false;
	}
	return true;
}

/* A call that failed was undone with everything below it. */
static bool read_tree(struct tree *t, yyjson_val *call, bool root)
{
	yyjson_val *v[C_COUNT];
	struct trace_call read;
	if (!json_read(&t->schema, call, v))
		return TRACE_FAIL(&t->w, "a call in the trace of transaction %zu is no object, or has a field twice", t->w.tx_index);
	if (!read_call(t, v, &read) || (root && !trace_check_root(&t->w, &read)))
		return false;
	return read.failed || (trace_execute(&t->w, &read, root) && read_children(t, v[C_CALLS]));
}

bool evm_parse_call_traces(struct evm_block *b, yyjson_val *root, struct evm_certificate *c)
{
	struct tree *t = arena_zalloc(b->arena, 1, sizeof *t);
	if (!t)
		return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, c->traces_endpoint, "the traces need more memory than one message may have");
	t->w.b = b;
	t->w.c = c;
	if (!yyjson_is_arr(root) || yyjson_arr_size(root) != b->tx_count)
		return TRACE_FAIL(&t->w, "%zu traces for %zu transactions", yyjson_arr_size(root), b->tx_count);
	json_schema_init(&t->schema, call_names);
	size_t i, n;
	yyjson_val *item;
	yyjson_arr_foreach(root, i, n, item)
	{
		uint8_t hash[32];
		yyjson_val *named = yyjson_obj_get(item, "txHash"), *result = yyjson_obj_get(item, "result");
		struct text error = json_text(yyjson_obj_get(item, "error"));
		trace_begin_tx(&t->w, i);
		if (named && (!evm_hex_bytes(named, hash, 32) || memcmp(hash, b->txs[i].hash, 32) != 0))
			return TRACE_FAIL(&t->w, "trace %zu belongs to another transaction", i);
		if (!result)
			return TRACE_FAIL(&t->w, "trace %zu has no result: %.100s", i, error.s ? error.s : "no error either");
		if (!read_tree(t, result, true) || !trace_end_tx(&t->w))
			return false;
	}
	b->has_traces = true;
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE, c->traces_endpoint);
	return true;
}

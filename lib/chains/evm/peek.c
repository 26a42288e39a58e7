/* peek.c - a cheap look at receipts, traces and state diffs before they are published: right block, right number. */
#include "chains/evm/evm.h"

#include <string.h>

static int wrong(struct error *err, const char *what, size_t index, const char *how)
{
	return error_set(err, WEIR_PROTOCOL, "%s %zu %s", what, index, how);
}

/* Every element has this 32-byte field, equal to the expected value. */
static bool field_is(yyjson_val *element, const char *name, const uint8_t expected[32])
{
	uint8_t value[32];
	return evm_hex_bytes(yyjson_obj_get(element, name), value, 32) && memcmp(value, expected, 32) == 0;
}

static int peek_receipts(yyjson_val *root, const struct chain_block_ref *block, const uint8_t *transactions, size_t count, struct error *err)
{
	size_t index, n;
	yyjson_val *receipt;
	if (yyjson_arr_size(root) != count)
		return error_set(err, WEIR_PROTOCOL, "%zu receipts for a block with %zu transactions", yyjson_arr_size(root), count);
	yyjson_arr_foreach(root, index, n, receipt)
	{
		if (!field_is(receipt, "blockHash", block->hash))
			return wrong(err, "receipt", index, "is not of this block");
		if (!field_is(receipt, "transactionHash", transactions + 32 * index))
			return wrong(err, "receipt", index, "is not of its transaction");
	}
	return 0;
}

static int peek_flat_traces(yyjson_val *root, const struct chain_block_ref *block, size_t count, struct error *err)
{
	size_t index, n;
	yyjson_val *trace;
	if (count > 0 && yyjson_arr_size(root) < count)
		return error_set(err, WEIR_PROTOCOL, "%zu traces for a block with %zu transactions", yyjson_arr_size(root), count);
	yyjson_arr_foreach(root, index, n, trace)
		if (!field_is(trace, "blockHash", block->hash))
			return wrong(err, "trace", index, "is not of this block");
	return 0;
}

/* debug_trace*: one element per transaction; older nodes leave txHash out. */
static int peek_debug_traces(yyjson_val *root, const uint8_t *transactions, size_t count, struct error *err)
{
	size_t index, n;
	yyjson_val *trace;
	if (yyjson_arr_size(root) != count)
		return error_set(err, WEIR_PROTOCOL, "%zu traces for a block with %zu transactions", yyjson_arr_size(root), count);
	yyjson_arr_foreach(root, index, n, trace)
	{
		if (yyjson_obj_get(trace, "txHash") && !field_is(trace, "txHash", transactions + 32 * index))
			return wrong(err, "trace", index, "is not of its transaction");
		if (!yyjson_obj_get(trace, "result"))
			return wrong(err, "trace", index, "has no result");
	}
	return 0;
}

int evm_peek_part(const struct chain *chain, Weir__V1__PartKind kind, struct bytes result, const struct chain_block_ref *block,
		  const uint8_t *transactions, size_t count, struct arena *arena, struct error *err)
{
	(void)chain;
	yyjson_alc alc = json_arena_allocator(arena);
	yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)result.data, result.size, YYJSON_READ_NOFLAG, &alc, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	if (kind == WEIR__V1__PART_KIND__PART_KIND_UNCLE)
		return yyjson_is_null(root) || yyjson_is_obj(root) ? 0 : error_set(err, WEIR_PROTOCOL, "not an uncle's header");
	if (yyjson_is_null(root))
		return error_set(err, WEIR_NOT_FOUND, "null for a block that exists");
	if (!yyjson_is_arr(root))
		return error_set(err, WEIR_PROTOCOL, doc ? "not a list" : "not JSON");
	if (kind == WEIR__V1__PART_KIND__PART_KIND_RECEIPTS)
		return peek_receipts(root, block, transactions, count, err);
	if (kind == WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES)
		return peek_flat_traces(root, block, count, err);
	return peek_debug_traces(root, transactions, count, err);
}

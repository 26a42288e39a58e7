/* made_test.c - lies about blocks made to order: every field of every answer changed, dropped or given twice, whole answers exchanged. A lie
 * is refused and named by the check that finds it, or it changes nothing that weir reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "support/blocks.h"
#include "support/made_block.h"
#include "wire/compress.h"
#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/rlp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX ((size_t)256 << 20)
#define CHECK(name) WEIR__V1__CHECK_NAME__CHECK_NAME_##name
#define PART(name) WEIR__V1__PART_KIND__PART_KIND_##name

static struct chain dev, mainnet;
static const struct made_block small = { .height = 7, .chain_id = 31337, .transactions = 9, .logs = 2, .withdrawals = 3, .trace = MADE_CALL_TRACE,
					 .state_diff = true, .seed = 1 };
static const struct made_block small_flat = { .height = 7, .chain_id = 31337, .transactions = 9, .logs = 2, .withdrawals = 3, .trace = MADE_FLAT_TRACE,
					      .state_diff = true, .seed = 1 };

struct scene {
	struct arena *keep, *arena;
	Weir__V1__RawBlock *raw;
	Weir__V1__NormalizedBlock *honest;
};

static void open_scene(struct scene *s, const struct made_block *order)
{
	s->keep = arena_new(ARENA_MAX);
	s->arena = arena_new(ARENA_MAX);
	s->raw = made_block(order, s->keep);
	s->honest = blocks_normalize(&dev, s->raw, s->keep);
	if (!s->honest->certificate->proven)
		fail_msg("the honest block is refused: %s", blocks_failures(s->honest, s->keep));
}

static void close_scene(struct scene *s)
{
	arena_free(&s->keep);
	arena_free(&s->arena);
}

static Weir__V1__Part *part_of(const Weir__V1__RawBlock *raw, Weir__V1__PartKind kind)
{
	for (size_t i = 0; i < raw->n_parts; i++)
		if (raw->parts[i]->kind == kind)
			return raw->parts[i];
	fail_msg("no part of kind %d", kind);
	return NULL;
}

/* Normalizes with this text instead of the part's. */
static Weir__V1__NormalizedBlock *with_body(struct scene *s, Weir__V1__PartKind kind, const char *json, size_t size)
{
	Weir__V1__Part *part = part_of(s->raw, kind);
	ProtobufCBinaryData body = part->body;
	arena_reset(s->arena);
	part->body.data = arena_alloc(s->arena, size + 16);
	memcpy(part->body.data, json, size);
	part->body.len = part->size = size;
	Weir__V1__NormalizedBlock *block = blocks_normalize(&dev, s->raw, s->arena);
	part->body = body;
	part->size = body.len;
	return block;
}

/* -- the honest block ------------------------------------------------------------------------------------------------------------- */

static void test_honest(void **state)
{
	(void)state;
	struct scene nested, flat;
	open_scene(&nested, &small);
	open_scene(&flat, &small_flat);
	for (size_t i = 0; i < nested.honest->certificate->n_checks; i++) {
		const Weir__V1__Check *check = nested.honest->certificate->checks[i];
		if (check->result != WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED)
			fail_msg("check %d did not pass: %s", (int)check->name, check->detail);
	}
	assert_true(blocks_equal(nested.honest, flat.honest));
	assert_int_equal(nested.honest->n_transactions, 9);
	close_scene(&nested);
	close_scene(&flat);
}

/* As the fetcher sends it. Text that is read in place must be read once only: the raw block stays as it was. */
static void test_packed(void **state)
{
	(void)state;
	struct scene s;
	struct compressor *zstd = compressor_new();
	open_scene(&s, &small);
	for (size_t i = 0; i < s.raw->n_parts; i++) {
		Weir__V1__Part *part = s.raw->parts[i];
		struct buf packed = BUF_INIT((size_t)16 << 20);
		assert_int_equal(compress_zstd(zstd, (struct bytes){ part->body.data, part->body.len }, &packed, NULL), 0);
		memcpy(part->body.data, packed.data, packed.size);
		part->body.len = packed.size;
		part->encoding = WEIR__V1__ENCODING__ENCODING_ZSTD;
		buf_free(&packed);
	}
	assert_true(blocks_equal(blocks_normalize(&dev, s.raw, s.arena), s.honest));
	assert_true(blocks_equal(blocks_normalize(&dev, s.raw, s.arena), s.honest));
	compressor_free(&zstd);
	close_scene(&s);
}

static unsigned count_kind(const Weir__V1__NormalizedBlock *block, Weir__V1__EntryKind kind)
{
	unsigned n = 0;
	for (size_t i = 0; i < block->n_entries; i++)
		n += block->entries[i]->kind == kind;
	return n;
}

static void test_entries_of_the_honest_block(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, &small);
	/* 9 transactions, one of them failing: value 2 × 8, inner 2 × (call + creation) × 8, fees and tips 9 each, one blob fee */
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TRANSFER), 16);
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_INTERNAL), 32);
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_FEE), 9);
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TIP), 9);
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_BLOB_FEE), 1);
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_WITHDRAWAL), 3);
	assert_int_equal(count_kind(s.honest, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TOKEN_TRANSFER), 2 * 2 * 8);
	uint8_t first[20];
	struct i256 gwei;
	assert_int_equal(hex_to_bytes("0x3333333333333333333333333333333333333300", 42, first, 20), 0);
	gwei = blocks_native_delta(s.honest, first);
	assert_int_equal(gwei.limb[0], 12345678000000000u);
	close_scene(&s);
}

/* -- every field of every answer ---------------------------------------------------------------------------------------------------- */

enum change { CHANGE_VALUE, CHANGE_DROP, CHANGE_TWICE, CHANGE_NULL, CHANGES };

struct mutation {
	size_t target, seen; /* the how-manieth field is meant, and how many came by */
	enum change change;
	char name[64];
};

static void add_changed(struct buf *out, yyjson_val *value)
{
	const char *s = yyjson_get_str(value);
	size_t n = yyjson_get_len(value);
	if (yyjson_is_str(value) && n > 2) {
		buf_printf(out, "\"%.*s%c\"", (int)n - 1, s, s[n - 1] == '7' ? '6' : '7');
	} else if (yyjson_is_str(value)) {
		buf_add_str(out, "\"0x01\"");
	} else if (yyjson_is_uint(value)) {
		buf_printf(out, "%llu", (unsigned long long)yyjson_get_uint(value) + 1);
	} else if (yyjson_is_arr(value)) {
		buf_add_str(out, yyjson_arr_size(value) ? "[]" : "[\"0x01\"]");
	} else if (yyjson_is_bool(value)) {
		buf_add_str(out, yyjson_get_bool(value) ? "false" : "true");
	} else if (yyjson_is_null(value)) {
		buf_add_str(out, "\"0x0000000000000000000000000000000000000bad\"");
	} else {
		buf_add_str(out, "{}");
	}
}

/* Writes the value with one field changed. */
static void write_changed(struct buf *out, yyjson_val *value, struct mutation *m)
{
	size_t i, n;
	yyjson_val *key, *item;
	if (yyjson_is_arr(value)) {
		buf_add_byte(out, '[');
		yyjson_arr_foreach(value, i, n, item)
		{
			if (i)
				buf_add_byte(out, ',');
			write_changed(out, item, m);
		}
		buf_add_byte(out, ']');
	} else if (yyjson_is_obj(value)) {
		bool first = true;
		buf_add_byte(out, '{');
		yyjson_obj_foreach(value, i, n, key, item)
		{
			bool meant = m->seen++ == m->target;
			if (meant)
				snprintf(m->name, sizeof m->name, "%s", yyjson_get_str(key));
			if (meant && m->change == CHANGE_DROP)
				continue;
			buf_printf(out, "%s\"%s\":", first ? "" : ",", yyjson_get_str(key));
			first = false;
			if (meant && m->change == CHANGE_NULL) {
				buf_add_str(out, "null");
			} else if (meant) {
				add_changed(out, item);
				if (m->change == CHANGE_TWICE) {
					buf_printf(out, ",\"%s\":", yyjson_get_str(key));
					write_changed(out, item, &(struct mutation){ .target = SIZE_MAX });
				}
			} else {
				write_changed(out, item, m);
			}
		}
		buf_add_byte(out, '}');
	} else if (yyjson_is_str(value)) {
		buf_printf(out, "\"%s\"", yyjson_get_str(value));
	} else if (yyjson_is_uint(value)) {
		buf_printf(out, "%llu", (unsigned long long)yyjson_get_uint(value));
	} else {
		buf_add_str(out, yyjson_is_null(value) ? "null" : yyjson_get_bool(value) ? "true" : "false");
	}
}

struct outcome {
	unsigned tried, refused;
};

static struct outcome change_every_field(struct scene *s, Weir__V1__PartKind kind)
{
	struct outcome result = { 0, 0 };
	const Weir__V1__Part *part = part_of(s->raw, kind);
	yyjson_doc *doc = yyjson_read((const char *)part->body.data, part->body.len, 0);
	struct buf text = BUF_INIT(64 << 20);
	for (int change = 0; change < CHANGES; change++) {
		for (size_t target = 0;; target++) {
			struct mutation m = { .target = target, .change = (enum change)change };
			buf_reset(&text);
			write_changed(&text, yyjson_doc_get_root(doc), &m);
			if (m.seen <= target)
				break;
			Weir__V1__NormalizedBlock *block = with_body(s, kind, (const char *)text.data, text.size);
			result.tried++;
			result.refused += block->certificate->proven ? 0u : 1u;
			if (!block->certificate->proven && !*blocks_failures(block, s->arena))
				fail_msg("field %s refused, but no check says why", m.name);
			if (block->certificate->proven && !blocks_equal(s->honest, block))
				fail_msg("part %d, field %s (change %d): a lie passed", (int)kind, m.name, change);
		}
	}
	buf_free(&text);
	yyjson_doc_free(doc);
	return result;
}

static void test_every_field(void **state)
{
	(void)state;
	struct scene nested, flat;
	open_scene(&nested, &small);
	open_scene(&flat, &small_flat);
	struct outcome block = change_every_field(&nested, PART(BLOCK)), receipts = change_every_field(&nested, PART(RECEIPTS)),
		       calls = change_every_field(&nested, PART(CALL_TRACES)), flats = change_every_field(&flat, PART(FLAT_TRACES)),
		       diff = change_every_field(&nested, PART(STATE_DIFF));
	print_message("block %u of %u refused, receipts %u of %u, call traces %u of %u, flat traces %u of %u, state diff %u of %u\n", block.refused, block.tried,
		      receipts.refused, receipts.tried, calls.refused, calls.tried, flats.refused, flats.tried, diff.refused, diff.tried);
	assert_true(block.refused > 500 && receipts.refused > 500 && calls.refused > 200 && flats.refused > 200 && diff.refused > 100);
	close_scene(&nested);
	close_scene(&flat);
}

/* -- each lie is named by the check that finds it ----------------------------------------------------------------------------------- */

/* The part's text with the first `from` replaced by `to`. */
static Weir__V1__NormalizedBlock *replaced(struct scene *s, Weir__V1__PartKind kind, const char *from, const char *to)
{
	const Weir__V1__Part *part = part_of(s->raw, kind);
	struct buf text = BUF_INIT(64 << 20);
	const char *body = (const char *)part->body.data, *at = memmem(body, part->body.len, from, strlen(from));
	if (!at)
		fail_msg("%s is not in the answer", from);
	buf_add(&text, body, (size_t)(at - body));
	buf_add_str(&text, to);
	buf_add(&text, at + strlen(from), part->body.len - (size_t)(at - body) - strlen(from));
	Weir__V1__NormalizedBlock *block = with_body(s, kind, (const char *)text.data, text.size);
	buf_free(&text);
	return block;
}

static void test_lies_are_named(void **state)
{
	(void)state;
	static const struct {
		Weir__V1__PartKind part;
		const char *from, *to;
		Weir__V1__CheckName check;
	} lies[] = {
		{ PART(BLOCK), "\"gasLimit\":\"0x1c9c380\"", "\"gasLimit\":\"0x1c9c381\"", CHECK(HEADER_HASH) },
		{ PART(BLOCK), "\"extraData\":\"0x77656972\"", "\"extraData\":\"0x7765697\"", CHECK(HEADER_HASH) },
		{ PART(BLOCK), "\"amount\":\"0xbc614e\"", "\"amount\":\"0xbc614f\"", CHECK(WITHDRAWALS_ROOT) },
		{ PART(BLOCK), "\"value\":\"0xf4240\"", "\"value\":\"0xf4241\"", CHECK(TRANSACTIONS_ROOT) },
		{ PART(BLOCK), "\"value\":\"0xf4240\"", "\"value\":\"0xf4241\"", CHECK(TRANSACTION_HASHES) },
		{ PART(BLOCK), "\"uncles\":[]", "\"uncles\":[\"0x00\",\"0x00\",\"0x00\"]", CHECK(SHAPE) },
		{ PART(BLOCK), "\"transactions\":[", "\"transactions\":[null,", CHECK(SHAPE) },
		{ PART(BLOCK), "\"number\":\"0x7\"", "\"number\":\"0xffffffffffffffffff\"", CHECK(SHAPE) },
		{ PART(RECEIPTS), "\"status\":\"0x1\"", "\"status\":\"0x0\"", CHECK(RECEIPTS_ROOT) },
		{ PART(RECEIPTS), "\"status\":\"0x1\"", "\"status\":\"0x2\"", CHECK(SHAPE) },
		{ PART(RECEIPTS), "\"effectiveGasPrice\":\"0x3b9aca0a\"", "\"effectiveGasPrice\":\"0x3b9aca0b\"", CHECK(FEES) },
		{ PART(RECEIPTS), "\"blobGasPrice\":\"0x1\"", "\"blobGasPrice\":\"0x2\"", CHECK(FEES) },
		{ PART(RECEIPTS), "\"blobGasUsed\":\"0x20000\"", "\"blobGasUsed\":\"0x40000\"", CHECK(FEES) },
		{ PART(RECEIPTS), "\"logIndex\":\"0x1\"", "\"logIndex\":\"0x0\"", CHECK(LOG_COHERENCE) },
		{ PART(RECEIPTS), "\"removed\":false", "\"removed\":true", CHECK(LOG_COHERENCE) },
		{ PART(RECEIPTS), "00000003e8\"", "00000003e9\"", CHECK(RECEIPTS_ROOT) },
		{ PART(RECEIPTS), "\"topics\":[\"0xdd", "\"topics\":[\"0xde", CHECK(LOGS_BLOOM) },
		{ PART(RECEIPTS), "[{", "[null,{", CHECK(RECEIPT_COHERENCE) },
		{ PART(RECEIPTS), "\"transactionIndex\":\"0x0\"", "\"transactionIndex\":\"0x1\"", CHECK(RECEIPT_COHERENCE) },
		{ PART(CALL_TRACES), "\"value\":\"0xf4240\"", "\"value\":\"0xf4241\"", CHECK(TRACE_COHERENCE) },
		{ PART(CALL_TRACES), "\"value\":\"0xa\"", "\"value\":\"0xb\"", CHECK(STATE_DIFF) },
		{ PART(CALL_TRACES), "\"input\":\"0x\"", "\"error\":\"execution timeout\"", CHECK(TRACE_COHERENCE) },
		{ PART(CALL_TRACES), "\"DELEGATECALL\"", "\"HEARSAYCALL\"", CHECK(TRACE_COHERENCE) },
		{ PART(CALL_TRACES), "\"DELEGATECALL\"", "\"CALL\"", CHECK(STATE_DIFF) },
		{ PART(STATE_DIFF), "{\"balance\":\"0x", "{\"balance\":\"0x1", CHECK(STATE_DIFF) },
	};
	struct scene s;
	open_scene(&s, &small);
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		Weir__V1__NormalizedBlock *block = replaced(&s, lies[i].part, lies[i].from, lies[i].to);
		assert_false(block->certificate->proven);
		if (!blocks_failed(block, lies[i].check))
			fail_msg("%s -> %s is refused for another reason: %s", lies[i].from, lies[i].to, blocks_failures(block, s.arena));
		assert_int_equal(block->n_entries, 0);
		assert_int_equal(block->n_transactions, 0);
	}
	close_scene(&s);
}

static void expect_text(struct scene *s, Weir__V1__PartKind kind, const char *json, Weir__V1__CheckName check)
{
	Weir__V1__NormalizedBlock *block = with_body(s, kind, json, strlen(json));
	assert_false(block->certificate->proven);
	if (!blocks_failed(block, check))
		fail_msg("%.40s is refused for another reason: %s", json, blocks_failures(block, s->arena));
}

static void test_whole_answers(void **state)
{
	(void)state;
	struct scene s, other;
	open_scene(&s, &small);
	open_scene(&other, &(struct made_block){ .height = 7, .chain_id = 31337, .transactions = 9, .logs = 3, .trace = MADE_CALL_TRACE, .seed = 2 });
	static const char *const nothings[] = { "null", "", "{}", "[", "\"0x\"", "[]" };
	for (size_t i = 0; i < 4; i++)
		expect_text(&s, PART(BLOCK), nothings[i], CHECK(SHAPE));
	expect_text(&s, PART(RECEIPTS), "null", CHECK(RECEIPT_COHERENCE));
	expect_text(&s, PART(RECEIPTS), "[]", CHECK(RECEIPT_COHERENCE));
	expect_text(&s, PART(RECEIPTS), "[1,2", CHECK(SHAPE));
	expect_text(&s, PART(CALL_TRACES), "[]", CHECK(TRACE_COHERENCE));
	expect_text(&s, PART(STATE_DIFF), "[]", CHECK(STATE_DIFF));
	/* another block of the same height: a fork */
	const Weir__V1__Part *foreign = part_of(other.raw, PART(BLOCK));
	Weir__V1__NormalizedBlock *block = with_body(&s, PART(BLOCK), (const char *)foreign->body.data, foreign->body.len);
	assert_true(blocks_failed(block, CHECK(RECEIPT_COHERENCE)) && !block->certificate->proven);
	foreign = part_of(other.raw, PART(RECEIPTS));
	block = with_body(&s, PART(RECEIPTS), (const char *)foreign->body.data, foreign->body.len);
	assert_true(blocks_failed(block, CHECK(RECEIPT_COHERENCE)));
	other.raw->hash = s.raw->hash; /* a whole block of another fork */
	block = blocks_normalize(&dev, other.raw, s.arena);
	assert_true(blocks_failed(block, CHECK(HEADER_HASH)));
	other.raw->hash.len = 0;
	other.raw->height = 8; /* … or of another height */
	block = blocks_normalize(&dev, other.raw, s.arena);
	assert_true(blocks_failed(block, CHECK(HEADER_HASH)));
	close_scene(&s);
	close_scene(&other);
}

/* `from` is covered by no root: the same false sender in transaction, receipt, trace and state diff. */
static void test_consistent_false_sender(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, &small);
	char from[43];
	hex_from_bytes(s.honest->transactions[0]->from.data, 20, from);
	for (size_t p = 0; p < s.raw->n_parts; p++) {
		char *at = (char *)s.raw->parts[p]->body.data, *end = at + s.raw->parts[p]->body.len;
		while ((at = memmem(at, (size_t)(end - at), from, 42)))
			at[41] = at[41] == '1' ? '2' : '1';
	}
	Weir__V1__NormalizedBlock *block = blocks_normalize(&dev, s.raw, s.arena);
	assert_false(block->certificate->proven);
	assert_true(blocks_failed(block, CHECK(SENDERS)));
	close_scene(&s);
}

/* In block and receipts, which name each transaction's sender once and in order. */
static void falsify_sender(const struct scene *s, size_t transaction)
{
	static const char name[] = "\"from\":\"0x";
	for (size_t p = 0; p < s->raw->n_parts; p++) {
		char *at = (char *)s->raw->parts[p]->body.data, *end = at + s->raw->parts[p]->body.len;
		for (size_t i = 0; at && i <= transaction; i++) {
			at = memmem(at, (size_t)(end - at), name, sizeof name - 1);
			at = at ? at + sizeof name - 1 : NULL;
		}
		if (at)
			*at = *at == '1' ? '2' : '1';
	}
}

/* Threads share the transactions of a large block: none is left out, and the first wrong one is named. */
static void test_false_sender_in_a_large_block(void **state)
{
	(void)state;
	static const struct made_block large = { .height = 7, .chain_id = 31337, .transactions = 241, .seed = 3 };
	static const size_t places[] = { 0, 59, 60, 61, 119, 120, 121, 180, 181, 239, 240 };
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct scene s;
		char detail[48];
		open_scene(&s, &large);
		falsify_sender(&s, places[i]);
		if (i % 2)
			falsify_sender(&s, 240);
		snprintf(detail, sizeof detail, "transaction %zu was not signed by its `from`", places[i]);
		Weir__V1__NormalizedBlock *block = blocks_normalize(&dev, s.raw, s.arena);
		assert_true(blocks_failed(block, CHECK(SENDERS)));
		assert_non_null(strstr(blocks_failures(block, s.arena), detail));
		close_scene(&s);
	}
}

/* -- limits and missing parts -------------------------------------------------------------------------------------------------------- */

static void test_without_parts(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, &small);
	struct error err = { 0 };
	Weir__V1__NormalizedBlock *block;
	Weir__V1__Part *diff = part_of(s.raw, PART(STATE_DIFF)), *calls = part_of(s.raw, PART(CALL_TRACES)), *receipts = part_of(s.raw, PART(RECEIPTS));
	diff->unavailable = (char *)(uintptr_t)"the node is pruned";
	block = blocks_normalize(&dev, s.raw, s.arena);
	assert_true(block->certificate->proven);
	assert_string_equal(blocks_check(block, CHECK(STATE_DIFF))->detail, "the node is pruned");
	calls->unavailable = (char *)(uintptr_t)"method not found";
	block = blocks_normalize(&dev, s.raw, s.arena);
	assert_true(block->certificate->proven); /* traces are not demanded … */
	assert_string_equal(blocks_check(block, CHECK(TRACE_COHERENCE))->detail, "method not found");
	assert_int_equal(count_kind(block, WEIR__V1__ENTRY_KIND__ENTRY_KIND_INTERNAL), 0);
	receipts->unavailable = (char *)(uintptr_t)"method not found"; /* … receipts are */
	block = blocks_normalize(&dev, s.raw, s.arena);
	assert_false(block->certificate->proven);
	s.raw->n_parts = 0;
	assert_int_equal(dev.family->normalize(&dev, s.raw, 1 << 20, s.arena, &block, &err), WEIR_INVALID);
	close_scene(&s);
}

static void test_limits(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, &small);
	struct error err = { 0 };
	Weir__V1__NormalizedBlock *block;
	assert_int_equal(dev.family->normalize(&dev, s.raw, 1000, s.arena, &block, &err), 0);
	assert_true(blocks_failed(block, CHECK(SHAPE)));
	/* an arena too small for the work is refused, not overrun */
	for (size_t size = 1000; size < 400000; size += 1777) {
		struct arena *tiny = arena_new(size);
		block = NULL;
		int r = dev.family->normalize(&dev, s.raw, 1 << 30, tiny, &block, &err);
		assert_true(r == WEIR_LIMIT || (r == 0 && (!block->certificate->proven || blocks_equal(block, s.honest))));
		arena_free(&tiny);
	}
	/* calls nested deeper than the EVM goes */
	struct buf deep = BUF_INIT(64 << 20);
	for (int i = 0; i < 2000; i++)
		buf_add_str(&deep, "{\"type\":\"CALL\",\"from\":\"0x4444444444444444444444444444444444444444\",\"to\":\"0x4444444444444444444444444444444444444444\",\"calls\":[");
	for (int i = 0; i < 2000; i++)
		buf_add_str(&deep, "]}");
	buf_add_byte(&deep, ']');
	struct buf with = BUF_INIT(64 << 20);
	buf_printf(&with, "\"calls\":[%s,\"more\":[", buf_str(&deep));
	block = replaced(&s, PART(CALL_TRACES), "\"calls\":[", buf_str(&with));
	assert_true(blocks_failed(block, CHECK(TRACE_COHERENCE)));
	buf_free(&deep);
	buf_free(&with);
	close_scene(&s);
}

/* A later fork appends fields to the header: taken as shown when the hash says so, named when it does not. */
static void test_unknown_fork(void **state)
{
	(void)state;
	static const char word[] = "1111111111111111111111111111111111111111111111111111111111111111";
	struct scene s;
	open_scene(&s, &(struct made_block){ .height = 9, .chain_id = 31337 });
	char fields[240], lie[280], old_hash[67], new_hash[67];
	snprintf(fields, sizeof fields, "\"blockAccessListHash\":\"0x%s\",\"slotNumber\":\"0x9\"", word);
	Weir__V1__NormalizedBlock *block = replaced(&s, PART(BLOCK), "\"size\":\"0x1\"", fields);
	assert_true(block->certificate->proven); /* shown, but not part of the hash */
	snprintf(lie, sizeof lie, "%s,\"gasLimit\":\"0x5\",\"was\":\"0x1\"", fields);
	block = replaced(&s, PART(BLOCK), "\"gasLimit\":\"0x1c9c380\"", lie);
	assert_true(blocks_failed(block, CHECK(HEADER_HASH)));
	assert_non_null(strstr(blocks_check(block, CHECK(HEADER_HASH))->detail, "blockAccessListHash, slotNumber"));
	/* the same fields behind the others in the header's RLP: what the hash would be */
	Weir__V1__Part *part = part_of(s.raw, PART(BLOCK));
	struct evm_certificate certificate = { 0 };
	struct evm_block b = { .chain = &dev, .arena = s.arena };
	arena_reset(s.arena);
	yyjson_alc alc = json_arena_allocator(s.arena);
	assert_true(evm_parse_block(&b, yyjson_doc_get_root(yyjson_read_opts((char *)part->body.data, part->body.len, 0, &alc, NULL)), &certificate));
	struct buf header = BUF_INIT(1 << 20), longer = BUF_INIT(1 << 20);
	uint8_t bytes[32], hash[32];
	evm_encode_header(&b.header, &header);
	memset(bytes, 0x11, 32);
	size_t list = rlp_list_begin(&longer);
	buf_add(&longer, header.data + 3, header.size - 3);
	rlp_add_bytes(&longer, bytes, 32);
	rlp_add_u64(&longer, 9);
	rlp_list_end(&longer, list);
	keccak256(longer.data, longer.size, hash);
	hex_from_bytes(b.header.hash, 32, old_hash);
	hex_from_bytes(hash, 32, new_hash);
	char *at = memmem(part->body.data, part->body.len, old_hash, 66);
	memcpy(at, new_hash, 66);
	memcpy(s.raw->hash.data, hash, 32);
	block = replaced(&s, PART(BLOCK), "\"size\":\"0x1\"", fields);
	if (!block->certificate->proven)
		fail_msg("%s", blocks_failures(block, s.arena));
	buf_free(&header);
	buf_free(&longer);
	close_scene(&s);
}

/* 50,000,000 gas in excess cost 72 by BPO2's schedule, and 8 by one with twice the update fraction, which is none so far. */
static void test_unknown_blob_schedule(void **state)
{
	(void)state;
	enum { THEN = 7, AFTERWARDS = 16000000 }; /* heights: of Prague's time, and of a time that no release knows all forks of */
	static const struct {
		uint64_t height, excess;
		unsigned price;
		bool proven, remarked;
	} rows[] = { { AFTERWARDS, 50000000, 72, true, false }, { AFTERWARDS, 50000000, 8, true, true }, { AFTERWARDS, 0, 2, false, false },
		     { THEN, 0, 1, true, false },		{ THEN, 50000000, 8, false, false } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scene s = { .keep = arena_new(ARENA_MAX), .arena = arena_new(ARENA_MAX) };
		s.raw = made_block(&(struct made_block){ .height = rows[i].height, .chain_id = 1, .transactions = 20, .trace = MADE_CALL_TRACE, .seed = 1,
							 .excess_blob_gas = rows[i].excess, .blob_price = rows[i].price }, s.keep);
		Weir__V1__NormalizedBlock *block = blocks_normalize(&mainnet, s.raw, s.arena);
		if (block->certificate->proven != rows[i].proven)
			fail_msg("row %zu: %s", i, blocks_failures(block, s.arena));
		assert_int_equal(blocks_failed(block, CHECK(FEES)), !rows[i].proven);
		assert_int_equal(strstr(blocks_check(block, CHECK(FEES))->detail, "schedule is not known") != NULL, rows[i].remarked);
		if (rows[i].remarked) { /* two transactions carry blobs: one price for both */
			Weir__V1__Part *receipts = part_of(s.raw, PART(RECEIPTS));
			char *price = memmem(receipts->body.data, receipts->body.len, "\"blobGasPrice\":\"0x8\"", 20);
			assert_non_null(price);
			price[18] = '9';
			block = blocks_normalize(&mainnet, s.raw, s.arena);
			assert_true(blocks_failed(block, CHECK(FEES)));
		}
		close_scene(&s);
	}
}

static int open_chain(void **state)
{
	(void)state;
	struct error err;
	return chain_init(&dev, "made", "evm", "dev", 31337, &err) || chain_init(&mainnet, "made", "evm", "ethereum", 1, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest),
		cmocka_unit_test(test_packed),
		cmocka_unit_test(test_entries_of_the_honest_block),
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_lies_are_named),
		cmocka_unit_test(test_whole_answers),
		cmocka_unit_test(test_consistent_false_sender),
		cmocka_unit_test(test_false_sender_in_a_large_block),
		cmocka_unit_test(test_without_parts),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_unknown_fork),
		cmocka_unit_test(test_unknown_blob_schedule),
	};
	return cmocka_run_group_tests(tests, open_chain, NULL);
}

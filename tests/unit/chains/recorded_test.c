/* recorded_test.c - recorded real Ethereum blocks: every check that their answers allow passes, native value is conserved to the wei,
 * token entries equal the independent lists, and a changed field of any block never stays unnoticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "support/recorded.h"
#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define ARENA_MAX (2000u << 20)

static struct chain ethereum;

static const Weir__V1__Check *check_of(const Weir__V1__NormalizedBlock *block, Weir__V1__CheckName name)
{
	for (size_t i = 0; i < block->certificate->n_checks; i++)
		if (block->certificate->checks[i]->name == name)
			return block->certificate->checks[i];
	return NULL;
}

static bool passed(const Weir__V1__NormalizedBlock *block, Weir__V1__CheckName name)
{
	return check_of(block, name)->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED;
}

static const Weir__V1__Check *first_failure(const Weir__V1__NormalizedBlock *block)
{
	for (size_t i = 0; i < block->certificate->n_checks; i++)
		if (block->certificate->checks[i]->result == WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED)
			return block->certificate->checks[i];
	return NULL;
}

static const char *name_of(const Weir__V1__Check *check)
{
	return protobuf_c_enum_descriptor_get_value(&weir__v1__check_name__descriptor, (int)check->name)->name;
}

static Weir__V1__NormalizedBlock *normalize(const Weir__V1__RawBlock *raw, struct arena *arena)
{
	Weir__V1__NormalizedBlock *block = NULL;
	struct error err = { 0 };
	if (ethereum.family->normalize(&ethereum, raw, 1u << 30, arena, &block, &err) != 0)
		fail_msg("block %llu: %s", (unsigned long long)raw->height, err.text);
	return block;
}

struct tally {
	unsigned blocks, proven, traced, conserved;
	char first[400];
};

static bool has_part(const Weir__V1__RawBlock *raw, Weir__V1__PartKind kind)
{
	for (size_t i = 0; i < raw->n_parts; i++)
		if (raw->parts[i]->kind == kind)
			return true;
	return false;
}

static void one_block(const char *folder, const char *height, void *arg)
{
	struct tally *t = arg;
	struct arena *arena = arena_new(ARENA_MAX);
	Weir__V1__RawBlock *raw = recorded_block(folder, height, arena);
	if (raw) {
		Weir__V1__NormalizedBlock *block = normalize(raw, arena);
		const Weir__V1__Check *failure = first_failure(block);
		bool receipts = has_part(raw, WEIR__V1__PART_KIND__PART_KIND_RECEIPTS);
		t->blocks++;
		if (failure && !(failure->name == WEIR__V1__CHECK_NAME__CHECK_NAME_RECEIPT_COHERENCE && !receipts)) {
			printf("block %s: %s: %s\n", height, name_of(failure), failure->detail);
			if (!t->first[0])
				snprintf(t->first, sizeof t->first, "block %s: %s: %s", height, name_of(failure), failure->detail);
		}
		if (block->certificate->proven) {
			t->proven++;
			bool traced = passed(block, WEIR__V1__CHECK_NAME__CHECK_NAME_TRACE_COHERENCE);
			t->traced += traced;
			if (traced && passed(block, WEIR__V1__CHECK_NAME__CHECK_NAME_CONSERVATION))
				t->conserved++;
			else if (traced)
				printf("block %s is not conserved\n", height);
		}
	}
	arena_free(&arena);
}

static void test_every_recorded_block(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	struct tally t = { 0 };
	recorded_each(folder, one_block, &t);
	printf("%u blocks, %u proven, %u with traces, %u conserved to the wei\n", t.blocks, t.proven, t.traced, t.conserved);
	assert_string_equal(t.first, "");
	assert_true(t.proven >= 20);
	assert_int_equal(t.traced, t.conserved);
}

/* -- tokens against the independent list ------------------------------------------------------------------------------------- */

static void test_token_transfers(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	struct arena *arena = arena_new(ARENA_MAX);
	size_t size;
	char *text = recorded_file(folder, "17300000", "expected_token_transfers.json", &size, arena);
	assert_non_null(text);
	yyjson_doc *doc = yyjson_read(text, size, 0);
	yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "transfers");
	Weir__V1__NormalizedBlock *block = normalize(recorded_block(folder, "17300000", arena), arena);
	assert_true(block->certificate->proven);
	size_t i, n, expected = yyjson_arr_size(list), debits = 0, credits = 0;
	assert_true(expected > 0);
	/* each expected transfer's value appears as debit and credit on its log */
	for (size_t e = 0; e < block->n_entries; e++) {
		const Weir__V1__Entry *entry = block->entries[e];
		if (strncmp(entry->path, "log:", 4) != 0 || entry->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_WRAP ||
		    entry->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_UNWRAP)
			continue;
		if (entry->delta.data[0] & 0x80)
			debits++;
		else
			credits++;
	}
	yyjson_val *item;
	size_t mints = 0, burns = 0, zeros = 0;
	yyjson_arr_foreach(list, i, n, item)
	{
		const char *from = yyjson_get_str(yyjson_obj_get(item, "from")), *to = yyjson_get_str(yyjson_obj_get(item, "to"));
		const char *value = yyjson_get_str(yyjson_obj_get(item, "value"));
		bool zero = value && strcmp(value, "0") == 0;
		bool mint = from && strcmp(from, "0x0000000000000000000000000000000000000000") == 0;
		bool burn = to && strcmp(to, "0x0000000000000000000000000000000000000000") == 0;
		zeros += zero;
		mints += mint && !zero;
		burns += burn && !zero;
	}
	printf("%zu transfers expected (%zu of value 0, %zu mints, %zu burns); %zu debits, %zu credits\n", expected, zeros, mints, burns, debits, credits);
	assert_int_equal(debits, expected - zeros - mints);
	assert_int_equal(credits, expected - zeros - burns);
	yyjson_doc_free(doc);
	arena_free(&arena);
}

/* -- no lie passes: each single character of the answers' hex values changed in turn (a sample), the block must not be proven
 *    with other entries than the honest one ------------------------------------------------------------------------------------ */

static bool same_ledger(const Weir__V1__NormalizedBlock *a, const Weir__V1__NormalizedBlock *b)
{
	if (a->n_entries != b->n_entries || a->n_accounts != b->n_accounts || a->n_transactions != b->n_transactions || a->timestamp != b->timestamp)
		return false;
	for (size_t i = 0; i < a->n_entries; i++) {
		const Weir__V1__Entry *x = a->entries[i], *y = b->entries[i];
		if (x->kind != y->kind || x->tx_index != y->tx_index || x->account != y->account || x->asset != y->asset || x->delta.len != y->delta.len ||
		    memcmp(x->delta.data, y->delta.data, x->delta.len) != 0 || strcmp(x->path, y->path) != 0)
			return false;
	}
	for (size_t i = 0; i < a->n_accounts; i++)
		if (memcmp(a->accounts[i].data, b->accounts[i].data, 20) != 0)
			return false;
	for (size_t i = 0; i < a->n_transactions; i++) {
		const Weir__V1__Transaction *x = a->transactions[i], *y = b->transactions[i];
		if (memcmp(x->hash.data, y->hash.data, 32) != 0 || memcmp(x->from.data, y->from.data, 20) != 0 || x->succeeded != y->succeeded ||
		    x->gas_used != y->gas_used || x->nonce != y->nonce || x->type != y->type || x->created.len != y->created.len ||
		    (x->created.len && memcmp(x->created.data, y->created.data, 20) != 0))
			return false;
	}
	return true;
}

static char other_digit(char c, unsigned salt)
{
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0;; i++) {
		char d = digits[(salt + i) % 16];
		if (d != c)
			return d;
	}
}

static void test_no_changed_field_passes(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	static const char *const heights[] = { "17053184", "4404763" };
	unsigned tried = 0, unnoticed = 0;
	for (size_t h = 0; h < 2; h++) {
		struct arena *keep = arena_new(ARENA_MAX), *arena = arena_new(ARENA_MAX);
		Weir__V1__RawBlock *raw = recorded_block(folder, heights[h], keep);
		if (!raw || !has_part(raw, WEIR__V1__PART_KIND__PART_KIND_RECEIPTS)) {
			arena_free(&keep);
			arena_free(&arena);
			continue;
		}
		Weir__V1__NormalizedBlock *honest = normalize(raw, keep);
		assert_true(honest->certificate->proven);
		for (size_t p = 0; p < raw->n_parts && p < 2; p++) { /* traces are committed by nothing: not promised here */
			ProtobufCBinaryData body = raw->parts[p]->body;
			for (unsigned k = 0; k < 150; k++) {
				size_t at = (size_t)(k * 2654435761u + p * 40503u) % body.len;
				while (at < body.len && !(body.data[at] >= '0' && body.data[at] <= '9'))
					at++;
				if (at >= body.len)
					continue;
				uint8_t old = body.data[at];
				body.data[at] = (uint8_t)other_digit((char)old, k);
				Weir__V1__NormalizedBlock *block = normalize(raw, arena);
				tried++;
				if (block->certificate->proven && !same_ledger(honest, block)) {
					unnoticed++;
					printf("unnoticed: block %s part %zu byte %zu: ...%.60s...\n", heights[h], p, at, (const char *)body.data + (at > 30 ? at - 30 : 0));
				}
				body.data[at] = old;
				arena_reset(arena);
			}
		}
		arena_free(&keep);
		arena_free(&arena);
	}
	printf("%u changed fields\n", tried);
	assert_int_equal(unnoticed, 0);
	assert_true(tried > 100);
}

static int open_data(void **state)
{
	struct error err;
	*state = recorded_open("ethereum");
	return chain_init(&ethereum, "recorded", "evm", "ethereum", 1, &err);
}

static int close_data(void **state)
{
	char *folder = *state;
	recorded_close(&folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_recorded_block),
		cmocka_unit_test(test_token_transfers),
		cmocka_unit_test(test_no_changed_field_passes),
	};
	return cmocka_run_group_tests(tests, open_data, close_data);
}

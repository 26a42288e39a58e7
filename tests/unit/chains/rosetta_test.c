/* rosetta_test.c - proof-of-work blocks of a testnet with an uncle, inner transfers, failures and contracts that die in a crossfire: each
 * account's native delta equals the balance-changing operations that coinbase/rosetta-ethereum found in the same answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "support/blocks.h"
#include "support/recorded.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define ARENA_MAX ((size_t)1 << 30)
#define CHECK(name) WEIR__V1__CHECK_NAME__CHECK_NAME_##name
#define PART(name) WEIR__V1__PART_KIND__PART_KIND_##name

static struct chain ropsten;

static yyjson_val *open_json(const char *folder, const char *name, struct arena *arena)
{
	size_t size;
	char *text = recorded_file(folder, ".", name, &size, arena);
	yyjson_alc alc = json_arena_allocator(arena);
	return text ? yyjson_doc_get_root(yyjson_read_opts(text, size, 0, &alc, NULL)) : NULL;
}

static void add_value(Weir__V1__RawBlock *raw, Weir__V1__PartKind kind, const char *json, size_t size, struct arena *arena)
{
	recorded_replace(raw, kind, json, size, arena);
}

static void add_file(Weir__V1__RawBlock *raw, Weir__V1__PartKind kind, const char *folder, const char *name, struct arena *arena)
{
	size_t size;
	char *text = recorded_file(folder, ".", name, &size, arena);
	if (text)
		add_value(raw, kind, text, size, arena);
}

static Weir__V1__RawBlock *rosetta_block(const char *folder, const char *height, struct arena *arena)
{
	Weir__V1__RawBlock *raw = arena_alloc(arena, sizeof *raw);
	char name[160];
	weir__v1__raw_block__init(raw);
	raw->parts = arena_zalloc(arena, CHAIN_PARTS_MAX, sizeof *raw->parts);
	raw->chain = (char *)(uintptr_t)"ropsten";
	raw->height = strtoull(height, NULL, 10);
	snprintf(name, sizeof name, "block_%s.json", height);
	add_file(raw, PART(BLOCK), folder, name, arena);
	yyjson_val *block = open_json(folder, name, arena), *item;
	struct buf receipts = BUF_INIT(64 << 20);
	size_t i, n;
	buf_add_byte(&receipts, '[');
	yyjson_arr_foreach(yyjson_obj_get(block, "transactions"), i, n, item)
	{
		size_t size;
		snprintf(name, sizeof name, "tx_receipt_%s.json", yyjson_get_str(yyjson_obj_get(item, "hash")));
		char *text = recorded_file(folder, ".", name, &size, arena);
		assert_non_null(text);
		buf_printf(&receipts, "%s%s", i ? "," : "", text);
	}
	buf_add_byte(&receipts, ']');
	add_value(raw, PART(RECEIPTS), (const char *)receipts.data, receipts.size, arena);
	buf_free(&receipts);
	snprintf(name, sizeof name, "block_trace_%s.json", yyjson_get_str(yyjson_obj_get(block, "hash")));
	add_file(raw, PART(CALL_TRACES), folder, name, arena);
	yyjson_arr_foreach(yyjson_obj_get(block, "uncles"), i, n, item)
	{
		snprintf(name, sizeof name, "uncle_%s.json", yyjson_get_str(item));
		add_file(raw, PART(UNCLE), folder, name, arena);
	}
	return raw;
}

struct sum {
	uint8_t account[20];
	struct i256 total;
};

static void add_operation(struct sum *sums, size_t *n, yyjson_val *operation)
{
	const char *value = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(operation, "amount"), "value"));
	const char *status = yyjson_get_str(yyjson_obj_get(operation, "status"));
	uint8_t account[20];
	struct i256 amount;
	if (!value || strcmp(status, "SUCCESS") != 0)
		return;
	assert_true(evm_hex_bytes(yyjson_obj_get(yyjson_obj_get(operation, "account"), "address"), account, 20));
	assert_int_equal(i256_from_dec(value, strlen(value), &amount), 0);
	size_t i = 0;
	while (i < *n && memcmp(sums[i].account, account, 20) != 0)
		i++;
	if (i == *n) {
		assert_true(*n < 500);
		memcpy(sums[(*n)++].account, account, 20);
	}
	assert_true(i256_add(sums[i].total, amount, &sums[i].total));
}

static size_t golden_sums(const char *folder, const char *height, struct sum *sums, struct arena *arena)
{
	char name[64];
	size_t n = 0, i, in, o, on;
	yyjson_val *transaction, *operation;
	snprintf(name, sizeof name, "block_response_%s.json", height);
	yyjson_val *block = yyjson_obj_get(open_json(folder, name, arena), "block");
	yyjson_arr_foreach(yyjson_obj_get(block, "transactions"), i, in, transaction)
		yyjson_arr_foreach(yyjson_obj_get(transaction, "operations"), o, on, operation) add_operation(sums, &n, operation);
	return n;
}

static void test_operations(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	static const char *const heights[] = { "10991", "10992", "10994", "239782", "363366", "363415", "363753", "468179", "468194" };
	size_t compared = 0;
	for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++) {
		struct arena *arena = arena_new(ARENA_MAX);
		static struct sum sums[512];
		memset(sums, 0, sizeof sums);
		Weir__V1__NormalizedBlock *block = blocks_normalize(&ropsten, rosetta_block(folder, heights[h], arena), arena);
		if (!block->certificate->proven)
			fail_msg("block %s: %s", heights[h], blocks_failures(block, arena));
		assert_true(blocks_passed(block, CHECK(UNCLES_HASH)));
		size_t n = golden_sums(folder, heights[h], sums, arena);
		for (size_t i = 0; i < n; i++)
			if (i256_cmp(blocks_native_delta(block, sums[i].account), sums[i].total) != 0)
				fail_msg("block %s: account %02x%02x… differs from the golden operations", heights[h], sums[i].account[0], sums[i].account[1]);
		for (size_t a = 0; a < block->n_accounts; a++) { /* nobody else changed */
			bool known = false;
			for (size_t i = 0; i < n; i++)
				known |= memcmp(sums[i].account, block->accounts[a].data, 20) == 0;
			assert_true(known || i256_is_zero(blocks_native_delta(block, block->accounts[a].data)));
		}
		compared += n;
		arena_free(&arena);
	}
	print_message("%zu accounts in 9 blocks as in the golden operations\n", compared);
	assert_true(compared > 30);
}

static void test_lies_about_uncles(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	struct arena *arena = arena_new(ARENA_MAX);
	Weir__V1__RawBlock *raw = rosetta_block(folder, "10991", arena);
	Weir__V1__Part *uncle = raw->parts[raw->n_parts - 1];
	assert_int_equal(uncle->kind, PART(UNCLE));
	char *miner = memmem(uncle->body.data, uncle->body.len, "0xa24d", 6);
	assert_non_null(miner);
	miner[5] = 'e'; /* another miner */
	Weir__V1__NormalizedBlock *block = blocks_normalize(&ropsten, raw, arena);
	assert_true(blocks_failed(block, CHECK(UNCLES_HASH)) && !block->certificate->proven);
	miner[5] = 'd';
	raw->n_parts--; /* not fetched: without its reward the block is not whole, but nobody lied */
	block = blocks_normalize(&ropsten, raw, arena);
	assert_false(block->certificate->proven);
	assert_int_equal(blocks_check(block, CHECK(UNCLES_HASH))->result, WEIR__V1__CHECK_RESULT__CHECK_RESULT_NOT_POSSIBLE);
	raw->n_parts++;
	uncle->unavailable = (char *)(uintptr_t)"unsupported: method not found"; /* … and why it was not is told */
	block = blocks_normalize(&ropsten, raw, arena);
	assert_false(block->certificate->proven);
	assert_non_null(strstr(blocks_check(block, CHECK(UNCLES_HASH))->detail, "method not found"));
	recorded_replace(raw, PART(UNCLE), "null", 4, arena);
	raw->parts[raw->n_parts - 1]->endpoint = (char *)(uintptr_t)"other";
	block = blocks_normalize(&ropsten, raw, arena);
	assert_true(blocks_failed(block, CHECK(UNCLES_HASH)));
	assert_string_equal(blocks_check(block, CHECK(UNCLES_HASH))->endpoint, "other");
	arena_free(&arena);
}

/* Flat traces tell the uncle's reward: its header is not needed. */
static void test_rewards_of_traces(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	struct arena *arena = arena_new(ARENA_MAX);
	Weir__V1__RawBlock *raw = rosetta_block(folder, "10991", arena);
	Weir__V1__NormalizedBlock *whole = blocks_normalize(&ropsten, raw, arena);
	assert_true(whole->certificate->proven);
	assert_int_equal(whole->n_transactions, 0);
	yyjson_val *block = open_json(folder, "block_10991.json", arena), *uncle;
	char name[96], traces[600];
	snprintf(name, sizeof name, "uncle_%s.json", yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(block, "uncles"))));
	uncle = open_json(folder, name, arena);
	snprintf(traces, sizeof traces,
		 "[{\"type\":\"reward\",\"action\":{\"author\":\"%s\",\"rewardType\":\"block\",\"value\":\"0x478eae0e571ba000\"}},"
		 "{\"type\":\"reward\",\"action\":{\"author\":\"%s\",\"rewardType\":\"uncle\",\"value\":\"0x340aad21b3b70000\"}}]",
		 yyjson_get_str(yyjson_obj_get(block, "miner")), yyjson_get_str(yyjson_obj_get(uncle, "miner")));
	raw->n_parts -= 2; /* call traces and the uncle */
	recorded_replace(raw, PART(FLAT_TRACES), traces, strlen(traces), arena);
	Weir__V1__NormalizedBlock *told = blocks_normalize(&ropsten, raw, arena);
	if (!told->certificate->proven)
		fail_msg("%s", blocks_failures(told, arena));
	for (size_t a = 0; a < whole->n_accounts; a++)
		assert_int_equal(i256_cmp(blocks_native_delta(told, whole->accounts[a].data), blocks_native_delta(whole, whole->accounts[a].data)), 0);
	arena_free(&arena);
}

static int open_data(void **state)
{
	struct error err;
	*state = recorded_open("rosetta-ethereum");
	int r = chain_init(&ropsten, "ropsten", "evm", "ethereum", 1, &err);
	ropsten.chain_id = 3; /* a test network of mainnet's early rules, which no profile is for any more */
	return r;
}

static int close_data(void **state)
{
	char *folder = *state;
	recorded_close(&folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_operations), cmocka_unit_test(test_lies_about_uncles),
					   cmocka_unit_test(test_rewards_of_traces) };
	return cmocka_run_group_tests(tests, open_data, close_data);
}

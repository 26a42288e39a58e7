/* tokens_test.c - logs to token entries: the three standards, old forms, mints and burns, wrapped native, and logs that only look like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "wire/hex.h"
#include "wire/keccak.h"

#include <stdio.h>
#include <string.h>

#define KIND(name) WEIR__V1__ENTRY_KIND__ENTRY_KIND_##name
#define STANDARD(name) WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_##name

static struct chain dev;

#define TRANSFER "Transfer(address,address,uint256)"
#define SINGLE "TransferSingle(address,address,address,uint256,uint256)"
#define BATCH "TransferBatch(address,address,address,uint256[],uint256[])"
#define DEPOSIT "Deposit(address,uint256)"
#define WITHDRAWAL "Withdrawal(address,uint256)"

struct expected {
	int kind, standard;
	const char *path;
	unsigned account; /* last byte of the address 0x00…00xx */
	int64_t delta;    /* INT64_MAX: not compared */
	int64_t id;       /* -1: none */
};

struct row {
	const char *what, *event;
	const char *topics; /* words of 64 digits, or short numbers, separated by blanks */
	const char *data;
	struct expected entries[5]; /* ended by path NULL */
};

static void words(const char *text, uint8_t *ret, size_t *ret_count)
{
	char copy[2048], *save, *word;
	snprintf(copy, sizeof copy, "%s", text);
	*ret_count = 0;
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		struct u256 value;
		char hex[80];
		snprintf(hex, sizeof hex, "0x%s", word);
		assert_int_equal(u256_from_hex(hex, strlen(hex), &value), 0);
		u256_to_be32(value, ret + 32 * (*ret_count)++);
	}
}

#define MAX "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define JUNK "100000000000000000000000000000000000000aa" /* an "address" of 161 bits */

static const struct row rows[] = {
	{ "ERC-20", TRANSFER, "a1 b2", "64", { { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xa1, -100, -1 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xb2, 100, -1 } } },
	{ "ERC-20 to itself: two entries", TRANSFER, "a1 a1", "64", { { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xa1, -100, -1 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xa1, 100, -1 } } },
	{ "ERC-20 mint: the zero address is nobody", TRANSFER, "0 b2", "64", { { KIND(MINT), STANDARD(ERC20), "log:5", 0xb2, 100, -1 } } },
	{ "ERC-20 burn", TRANSFER, "a1 0", "64", { { KIND(BURN), STANDARD(ERC20), "log:5", 0xa1, -100, -1 } } },
	{ "ERC-20 from nobody to nobody", TRANSFER, "0 0", "64", { { 0 } } },
	{ "ERC-20 of nothing", TRANSFER, "a1 b2", "0", { { 0 } } },
	{ "ERC-20 of everything", TRANSFER, "a1 b2", MAX, { { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xa1, INT64_MAX, -1 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xb2, INT64_MAX, -1 } } },
	{ "ERC-721", TRANSFER, "a1 b2 7", "", { { KIND(TOKEN_TRANSFER), STANDARD(ERC721), "log:5", 0xa1, -1, 7 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC721), "log:5", 0xb2, 1, 7 } } },
	{ "ERC-721 id 0, mint", TRANSFER, "0 b2 0", "", { { KIND(MINT), STANDARD(ERC721), "log:5", 0xb2, 1, 0 } } },
	{ "old token: nothing indexed", TRANSFER, "", "a1 b2 64", { { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xa1, -100, -1 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xb2, 100, -1 } } },
	{ "old token: one indexed", TRANSFER, "a1", "b2 64", { { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xa1, -100, -1 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC20), "log:5", 0xb2, 100, -1 } } },
	{ "not an address", TRANSFER, JUNK " b2", "64", { { 0 } } },
	{ "data too long", TRANSFER, "a1 b2", "64 64", { { 0 } } },
	{ "data too short", TRANSFER, "a1 b2", "", { { 0 } } },
	{ "ERC-721 with data", TRANSFER, "a1 b2 7", "64", { { 0 } } },
	{ "ERC-1155 single", SINGLE, "9 a1 b2", "7 64", { { KIND(TOKEN_TRANSFER), STANDARD(ERC1155), "log:5", 0xa1, -100, 7 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC1155), "log:5", 0xb2, 100, 7 } } },
	{ "ERC-1155 single, short", SINGLE, "9 a1 b2", "7", { { 0 } } },
	{ "ERC-1155 batch", BATCH, "9 a1 b2", "40 a0 2 7 8 2 64 65",
	  { { KIND(TOKEN_TRANSFER), STANDARD(ERC1155), "log:5:0", 0xa1, -100, 7 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC1155), "log:5:0", 0xb2, 100, 7 },
	    { KIND(TOKEN_TRANSFER), STANDARD(ERC1155), "log:5:1", 0xa1, -101, 8 }, { KIND(TOKEN_TRANSFER), STANDARD(ERC1155), "log:5:1", 0xb2, 101, 8 } } },
	{ "ERC-1155 batch mint", BATCH, "9 0 b2", "40 80 1 7 1 64", { { KIND(MINT), STANDARD(ERC1155), "log:5:0", 0xb2, 100, 7 } } },
	{ "batch whose lists differ", BATCH, "9 a1 b2", "40 a0 2 7 8 1 64", { { 0 } } },
	{ "batch that claims more than it has", BATCH, "9 a1 b2", "40 80 " MAX " 7 1 64", { { 0 } } },
	{ "batch whose offset points outside", BATCH, "9 a1 b2", MAX " 80 1 7 1 64", { { 0 } } },
	{ "batch whose offset is just outside", BATCH, "9 a1 b2", "c0 80 1 7 1 64", { { 0 } } },
	{ "empty batch", BATCH, "9 a1 b2", "40 60 0 0", { { 0 } } },
	{ "wrapped native, in", DEPOSIT, "a1", "64", { { KIND(WRAP), STANDARD(ERC20), "log:5", 0xa1, 100, -1 } } },
	{ "wrapped native, out", WITHDRAWAL, "a1", "64", { { KIND(UNWRAP), STANDARD(ERC20), "log:5", 0xa1, -100, -1 } } },
	{ "a deposit of another shape", DEPOSIT, "a1 b2", "64", { { 0 } } },
	{ "another event", "Approval(address,address,uint256)", "a1 b2", "64", { { 0 } } },
};

static void check_row(const struct row *row)
{
	struct arena *arena = arena_new(16 << 20);
	uint8_t topics[32 * 4], data[32 * 16];
	size_t topic_count, word_count;
	keccak256(row->event, strlen(row->event), topics);
	words(row->topics, topics + 32, &topic_count);
	words(row->data, data, &word_count);
	struct evm_log log = { .topics = topics, .topic_count = (uint8_t)(1 + topic_count), .data = { data, 32 * word_count }, .index = 5 };
	memset(log.address, 0xcc, 20);
	struct evm_tx tx = { .succeeded = true, .log_count = 1 };
	struct evm_block b = { .chain = &dev, .arena = arena, .txs = &tx, .tx_count = 1, .logs = &log, .log_count = 1 };
	struct evm_writer w = { .block = &b, .accounts = evm_intern_new(arena, 4), .assets = evm_intern_new(arena, 4) };
	evm_read_tokens(&w, 0);
	assert_false(w.failed);
	size_t n = 0;
	while (n < 5 && row->entries[n].path)
		n++;
	if (w.entry_count != n)
		fail_msg("%s: %zu entries, not %zu", row->what, w.entry_count, n);
	for (size_t i = 0; i < n; i++) {
		const struct expected *x = &row->entries[i];
		const Weir__V1__Entry *e = &w.entries[i];
		const struct bytes *account = &w.accounts->keys[e->account], *asset = &w.assets->keys[e->asset];
		struct i256 delta, wanted = i256_from_u256(u256_from_u64((uint64_t)(x->delta < 0 ? -x->delta : x->delta)), x->delta < 0);
		assert_int_equal(e->kind, x->kind);
		assert_string_equal(e->path, x->path);
		assert_int_equal(account->data[19], x->account);
		assert_int_equal(i256_from_be(e->delta.data, e->delta.len, &delta), 0);
		if (x->delta != INT64_MAX)
			assert_int_equal(i256_cmp(delta, wanted), 0);
		assert_int_equal(asset->data[0], x->standard);
		assert_int_equal(asset->data[1], x->id >= 0);
		assert_int_equal(asset->data[2], 0xcc);
		if (x->id > 0)
			assert_int_equal(asset->data[22], x->id);
	}
	arena_free(&arena);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_row(&rows[i]);
}

/* A deposit event counts only where native value really moved, and not beside a Transfer that says the same. */
static void test_wrap_needs_native(void **state)
{
	(void)state;
	struct arena *arena = arena_new(16 << 20);
	uint8_t topics[2][32 * 3], data[32];
	struct evm_log logs[2] = { { .topics = topics[0], .topic_count = 2, .data = { data, 32 } }, { .topics = topics[1], .topic_count = 3, .data = { data, 32 }, .index = 1 } };
	size_t n;
	keccak256(DEPOSIT, strlen(DEPOSIT), topics[0]);
	words("a1", topics[0] + 32, &n);
	keccak256(TRANSFER, strlen(TRANSFER), topics[1]);
	words("0 a1", topics[1] + 32, &n);
	words("64", data, &n);
	memset(logs[0].address, 0xcc, 20);
	memset(logs[1].address, 0xcc, 20);
	struct evm_move move = { .value = u256_from_u64(100) };
	memset(move.to, 0xcc, 20);
	struct evm_tx tx = { .succeeded = true, .log_count = 1 };
	struct evm_block b = { .chain = &dev, .arena = arena, .txs = &tx, .tx_count = 1, .logs = logs, .log_count = 1, .has_traces = true, .moves = &move };
	struct evm_writer w = { .block = &b, .accounts = evm_intern_new(arena, 4), .assets = evm_intern_new(arena, 4) };
	evm_read_tokens(&w, 0);
	assert_int_equal(w.entry_count, 0); /* the traces show that nothing came in */
	tx.move_count = b.move_count = 1;
	evm_read_tokens(&w, 0);
	assert_int_equal(w.entry_count, 1);
	assert_int_equal(w.entries[0].kind, KIND(WRAP));
	tx.log_count = b.log_count = 2;
	w.entry_count = 0;
	evm_read_tokens(&w, 0);
	assert_int_equal(w.entry_count, 1); /* the mint that the contract logs as well */
	assert_int_equal(w.entries[0].kind, KIND(MINT));
	arena_free(&arena);
}

static int open_chain(void **state)
{
	(void)state;
	struct error err;
	return chain_init(&dev, "dev", "evm", "dev", 31337, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_wrap_needs_native) };
	return cmocka_run_group_tests(tests, open_chain, NULL);
}

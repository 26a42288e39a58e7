/* recorded_test.c - recorded real Ethereum blocks: every check that their answers allow passes; token entries equal golden lists made by
 * others, native entries the accounts and amounts that other nodes and tools found; a changed field never goes unnoticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "support/blocks.h"
#include "support/recorded.h"
#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define ARENA_MAX ((size_t)2 << 30)
#define CHECK(name) WEIR__V1__CHECK_NAME__CHECK_NAME_##name

static struct chain ethereum;

static bool has_part(const Weir__V1__RawBlock *raw, Weir__V1__PartKind kind)
{
	for (size_t i = 0; i < raw->n_parts; i++)
		if (raw->parts[i]->kind == kind)
			return true;
	return false;
}

/* `response.result` of a recorded file; the document lives in the arena. */
static yyjson_val *recorded_result(const char *folder, const char *height, const char *name, struct arena *arena)
{
	size_t size;
	char *text = recorded_file(folder, height, name, &size, arena);
	yyjson_alc alc = json_arena_allocator(arena);
	yyjson_val *root = text ? yyjson_doc_get_root(yyjson_read_opts(text, size, 0, &alc, NULL)) : NULL;
	yyjson_val *response = yyjson_obj_get(root, "response");
	return response ? yyjson_obj_get(response, "result") : root;
}

/* -- every block ---------------------------------------------------------------------------------------------------------------- */

struct tally {
	unsigned blocks, proven, traced, bad;
};

static void one_block(const char *folder, const char *height, void *arg)
{
	struct tally *t = arg;
	struct arena *arena = arena_new(ARENA_MAX);
	Weir__V1__RawBlock *raw = recorded_block(folder, height, arena);
	if (raw) {
		Weir__V1__NormalizedBlock *block = blocks_normalize(&ethereum, raw, arena);
		bool receipts = has_part(raw, WEIR__V1__PART_KIND__PART_KIND_RECEIPTS);
		bool traces = has_part(raw, WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES) || has_part(raw, WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES);
		bool uncles = memmem(raw->parts[0]->body.data, raw->parts[0]->body.len, "\"uncles\":[\"", 11) != NULL; /* their headers were not recorded */
		bool good = receipts && uncles ? !block->certificate->proven && !*blocks_failures(block, arena) && block->n_entries == 0 :
			    receipts ? block->certificate->proven && blocks_passed(block, CHECK(CONSERVATION)) :
				       blocks_failed(block, CHECK(RECEIPT_COHERENCE)) && block->n_entries == 0;
		if (traces && receipts && block->n_transactions > 0)
			good = good && blocks_passed(block, CHECK(TRACE_COHERENCE));
		t->blocks++;
		t->proven += block->certificate->proven ? 1 : 0;
		t->traced += blocks_passed(block, CHECK(TRACE_COHERENCE));
		t->bad += !good;
		if (!good)
			print_message("block %s: %s\n", height, blocks_failures(block, arena));
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
	print_message("%u blocks, %u proven, %u with traces\n", t.blocks, t.proven, t.traced);
	assert_int_equal(t.bad, 0);
	assert_true(t.proven >= 19 && t.traced >= 11);
}

/* Before Byzantium only traces, or gas that was left over, tell whether a transaction succeeded: without them the certificate says "guessed". */
static void test_outcomes_before_byzantium(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	static const struct {
		const char *height, *guessed;
	} rows[] = { { "4369999", "guessed of 3 that used all their gas" }, { "1000000", NULL }, { "4000000", NULL /* traces tell of 13 */ } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct arena *arena = arena_new(ARENA_MAX);
		Weir__V1__NormalizedBlock *block = blocks_normalize(&ethereum, recorded_block(folder, rows[i].height, arena), arena);
		const char *detail = blocks_check(block, CHECK(TRACE_COHERENCE))->detail;
		assert_true(block->certificate->proven);
		if (rows[i].guessed ? !strstr(detail, rows[i].guessed) : strstr(detail, "guessed") != NULL)
			fail_msg("block %s: %s", rows[i].height, detail);
		arena_free(&arena);
	}
}

/* -- tokens against lists made by coinbase/chainstorage ------------------------------------------------------------------------- */

static bool is_zero_address(const uint8_t *address)
{
	static const uint8_t zero[20];
	return memcmp(address, zero, 20) == 0;
}

/* The entry of that account on that log, or NULL. */
static const Weir__V1__Entry *find_entry(const Weir__V1__NormalizedBlock *block, const char *path, const uint8_t account[20], bool debit)
{
	for (size_t i = 0; i < block->n_entries; i++) {
		const Weir__V1__Entry *e = block->entries[i];
		if (strcmp(e->path, path) == 0 && memcmp(block->accounts[e->account].data, account, 20) == 0 && !(e->delta.data[0] & 0x80) == !debit)
			return e;
	}
	return NULL;
}

/* One side of an expected transfer is there with this amount (or token id); returns how many entries it accounts for. */
static unsigned match_side(const Weir__V1__NormalizedBlock *block, const char *path, const uint8_t *account, bool debit, yyjson_val *item)
{
	bool nft = yyjson_get_bool(yyjson_obj_get(item, "erc721"));
	const char *number = yyjson_get_str(yyjson_obj_get(item, nft ? "tokenId" : "value"));
	struct u256 expected, amount = u256_from_u64(1);
	uint8_t token[20];
	assert_int_equal(u256_from_dec(number, strlen(number), &expected), 0);
	assert_true(evm_hex_bytes(yyjson_obj_get(item, "token"), token, 20));
	if (is_zero_address(account) || (!nft && u256_is_zero(expected)))
		return 0;
	const Weir__V1__Entry *e = find_entry(block, path, account, debit);
	if (!e)
		fail_msg("block %llu: no %s of %s", (unsigned long long)block->height, debit ? "debit" : "credit", path);
	const Weir__V1__Asset *asset = block->assets[e->asset];
	assert_memory_equal(asset->contract.data, token, 20);
	assert_int_equal(asset->standard, nft ? WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721 : WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC20);
	if (nft)
		assert_int_equal(u256_cmp(u256_from_be(asset->token_id.data, asset->token_id.len), expected), 0);
	else
		amount = expected;
	struct i256 delta;
	assert_int_equal(i256_from_be(e->delta.data, e->delta.len, &delta), 0);
	assert_int_equal(u256_cmp(i256_abs(delta), amount), 0);
	return 1;
}

static unsigned one_golden_list(const char *folder, const char *height)
{
	struct arena *arena = arena_new(ARENA_MAX);
	yyjson_val *list = yyjson_obj_get(recorded_result(folder, height, "expected_token_transfers.json", arena), "transfers"), *item;
	Weir__V1__NormalizedBlock *block = blocks_normalize(&ethereum, recorded_block(folder, height, arena), arena);
	assert_true(block->certificate->proven);
	unsigned matched = 0, have = 0;
	size_t i, n;
	yyjson_arr_foreach(list, i, n, item)
	{
		uint8_t from[20], to[20];
		char path[32];
		assert_true(evm_hex_bytes(yyjson_obj_get(item, "from"), from, 20) && evm_hex_bytes(yyjson_obj_get(item, "to"), to, 20));
		snprintf(path, sizeof path, "log:%llu", (unsigned long long)yyjson_get_uint(yyjson_obj_get(item, "logIndex")));
		matched += match_side(block, path, from, true, item) + match_side(block, path, to, false, item);
	}
	for (size_t e = 0; e < block->n_entries; e++)
		have += strncmp(block->entries[e]->path, "log:", 4) == 0 && block->entries[e]->kind != WEIR__V1__ENTRY_KIND__ENTRY_KIND_WRAP &&
			block->entries[e]->kind != WEIR__V1__ENTRY_KIND__ENTRY_KIND_UNWRAP &&
			block->assets[block->entries[e]->asset]->standard != WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC1155;
	assert_int_equal(have, matched); /* and not one more */
	arena_free(&arena);
	return matched;
}

static void test_token_transfers(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	static const char *const heights[] = { "70951", "4000000", "8000000", "14000000", "17300000" };
	unsigned total = 0;
	for (size_t i = 0; i < 5; i++)
		total += one_golden_list(folder, heights[i]);
	print_message("%u token entries equal the golden lists\n", total);
	assert_true(total > 300);
}

/* -- native: who changed, according to Erigon's state ----------------------------------------------------------------------------- */

static void test_accounts_changed(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	struct arena *arena = arena_new(ARENA_MAX);
	yyjson_val *changes = recorded_result(folder, "14000000", "erigon_getBalanceChangesInBlock.json", arena), *key, *value;
	Weir__V1__NormalizedBlock *block = blocks_normalize(&ethereum, recorded_block(folder, "14000000", arena), arena);
	assert_true(block->certificate->proven && yyjson_obj_size(changes) > 100);
	size_t i, n;
	unsigned changed = 0;
	yyjson_obj_foreach(changes, i, n, key, value)
	{
		uint8_t account[20];
		assert_true(evm_hex_bytes(key, account, 20));
		if (i256_is_zero(blocks_native_delta(block, account)))
			fail_msg("%s changed in the state, not in the entries", yyjson_get_str(key));
	}
	for (size_t a = 0; a < block->n_accounts; a++)
		changed += !i256_is_zero(blocks_native_delta(block, block->accounts[a].data));
	print_message("%u accounts changed, as in the state\n", changed);
	assert_int_equal(changed, n);
	arena_free(&arena);
}

/* -- inner transfers against the state diff of two blocks of which only traces were recorded: all that differs is the fee ----------- */

static struct evm_block *block_of_traces(yyjson_val *traces, struct arena *arena)
{
	struct evm_block *b = arena_zalloc(arena, 1, sizeof *b);
	size_t i, n;
	yyjson_val *item;
	b->chain = &ethereum;
	b->arena = arena;
	b->txs = arena_zalloc(arena, yyjson_arr_size(traces), sizeof *b->txs);
	yyjson_arr_foreach(traces, i, n, item)
	{
		yyjson_val *action = yyjson_obj_get(item, "action");
		if (yyjson_arr_size(yyjson_obj_get(item, "traceAddress")) > 0 || !yyjson_obj_get(item, "transactionHash"))
			continue;
		struct evm_tx *tx = &b->txs[b->tx_count++];
		tx->creates = !yyjson_obj_get(action, "to");
		tx->has_status = true;
		tx->succeeded = !yyjson_obj_get(item, "error");
		assert_true(evm_hex_bytes(yyjson_obj_get(item, "blockHash"), b->header.hash, 32) &&
			    evm_hex_bytes(yyjson_obj_get(item, "transactionHash"), tx->hash, 32) && evm_hex_bytes(yyjson_obj_get(action, "from"), tx->from, 20) &&
			    evm_hex_u256(yyjson_obj_get(action, "value"), &tx->value));
		if (tx->creates)
			evm_hex_bytes(yyjson_obj_get(yyjson_obj_get(item, "result"), "address"), tx->created, 20);
		else
			assert_true(evm_hex_bytes(yyjson_obj_get(action, "to"), tx->to, 20));
	}
	return b;
}

static void add(struct i256 *sum, struct u256 amount, bool negative)
{
	assert_true(i256_add(*sum, i256_from_u256(amount, negative), sum));
}

/* What transaction and traces moved to or from the account. */
static struct i256 flow(const struct evm_block *b, const struct evm_tx *tx, const uint8_t account[20])
{
	struct i256 sum = { { 0 } };
	if (tx->succeeded && memcmp(tx->from, account, 20) == 0)
		add(&sum, tx->value, true);
	if (tx->succeeded && memcmp(tx->creates ? tx->created : tx->to, account, 20) == 0)
		add(&sum, tx->value, false);
	for (size_t i = 0; i < tx->move_count; i++) {
		const struct evm_move *move = &b->moves[tx->first_move + i];
		if (memcmp(move->from, account, 20) == 0)
			add(&sum, move->value, true);
		if (!move->burns && memcmp(move->to, account, 20) == 0)
			add(&sum, move->value, false);
	}
	return sum;
}

static struct i256 state_change(yyjson_val *diff, const char *account)
{
	yyjson_val *pre = yyjson_obj_get(yyjson_obj_get(diff, "pre"), account), *post = yyjson_obj_get(yyjson_obj_get(diff, "post"), account);
	struct u256 before = { { 0 } }, after = { { 0 } };
	struct i256 sum = { { 0 } };
	if (pre && yyjson_obj_get(pre, "balance"))
		assert_true(evm_hex_u256(yyjson_obj_get(pre, "balance"), &before));
	if (post && yyjson_obj_get(post, "balance"))
		assert_true(evm_hex_u256(yyjson_obj_get(post, "balance"), &after));
	else if (post)
		after = before;
	add(&sum, after, false);
	add(&sum, before, true);
	return sum;
}

/* All accounts of the diff but the sender, who also paid, and the fee recipient. */
static unsigned compare_flows(const struct evm_block *b, const struct evm_tx *tx, yyjson_val *diff, const uint8_t miner[20])
{
	static const char *const sides[] = { "pre", "post" };
	unsigned compared = 0;
	for (size_t s = 0; s < 2; s++) {
		size_t i, n;
		yyjson_val *key, *value;
		yyjson_obj_foreach(yyjson_obj_get(diff, sides[s]), i, n, key, value)
		{
			uint8_t account[20];
			assert_true(evm_hex_bytes(key, account, 20));
			if (memcmp(account, tx->from, 20) == 0 || memcmp(account, miner, 20) == 0)
				continue;
			assert_int_equal(i256_cmp(flow(b, tx, account), state_change(diff, yyjson_get_str(key))), 0);
			compared++;
		}
	}
	for (size_t i = 0; i < tx->move_count; i++) { /* and nobody moved who is not in the diff */
		char text[43];
		hex_from_bytes(b->moves[tx->first_move + i].to, 20, text);
		if (!yyjson_obj_get(yyjson_obj_get(diff, "post"), text) && !yyjson_obj_get(yyjson_obj_get(diff, "pre"), text))
			assert_true(i256_is_zero(flow(b, tx, b->moves[tx->first_move + i].to)));
	}
	return compared;
}

static void test_flows_against_state(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	static const struct {
		const char *height, *miner;
	} rows[] = { { "17073191", "0xd4e96ef8eee8678dbff4d535e033ed1a4f7605b7" }, { "17073192", "0xdafea492d9c6733ae3d56b7ed1adb60692c98bc5" } };
	for (size_t r = 0; r < 2; r++) {
		struct arena *arena = arena_new(ARENA_MAX);
		struct evm_certificate certificate = { 0 };
		yyjson_val *traces = recorded_result(folder, rows[r].height, "trace_block.json", arena);
		yyjson_val *diffs = recorded_result(folder, rows[r].height, "debug_traceBlockByNumber.prestateTracer.diff.json", arena), *item;
		struct evm_block *b = block_of_traces(traces, arena);
		assert_int_equal(b->tx_count, yyjson_arr_size(diffs));
		if (!evm_parse_flat_traces(b, traces, &certificate))
			fail_msg("%s", certificate.checks[CHECK(TRACE_COHERENCE)].detail);
		uint8_t miner[20];
		size_t i, n;
		assert_int_equal(hex_to_bytes(rows[r].miner, strlen(rows[r].miner), miner, 20), 0);
		unsigned compared = 0;
		yyjson_arr_foreach(diffs, i, n, item) compared += compare_flows(b, &b->txs[i], yyjson_obj_get(item, "result"), miner);
		print_message("block %s: %zu transactions, %zu inner transfers, %u changes of accounts explained\n", rows[r].height, b->tx_count, b->move_count,
			      compared);
		assert_true(compared > 300 && b->move_count > 30);
		arena_free(&arena);
	}
}

/* -- no lie passes ------------------------------------------------------------------------------------------------------------------ */

static char other_digit(char c, unsigned salt)
{
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0;; i++) {
		char d = digits[(salt + i) % 16];
		if (d != c)
			return d;
	}
}

/* Digits of the block's and the receipts' answers changed in turn, a sample: the block is no longer proven, or says the same as before
 * (a field that nothing is read from). Traces are committed by nothing: see made_test.c for what is caught there. */
static void test_no_changed_field_passes(void **state)
{
	char *folder = *state;
	if (!folder)
		skip();
	static const char *const heights[] = { "17053184", "4404763" };
	unsigned tried = 0, refused = 0;
	for (size_t h = 0; h < 2; h++) {
		struct arena *keep = arena_new(ARENA_MAX), *arena = arena_new(ARENA_MAX);
		Weir__V1__RawBlock *raw = recorded_bare_block(folder, heights[h], keep);
		Weir__V1__NormalizedBlock *honest = blocks_normalize(&ethereum, raw, keep);
		assert_true(honest->certificate->proven);
		for (size_t p = 0; p < raw->n_parts; p++) {
			ProtobufCBinaryData body = raw->parts[p]->body;
			for (unsigned k = 0; k < 150; k++) {
				size_t at = (size_t)(k * 2654435761u + p * 40503u) % body.len;
				while (at < body.len && !(body.data[at] >= '0' && body.data[at] <= '9'))
					at++;
				if (at >= body.len)
					continue;
				uint8_t old = body.data[at];
				body.data[at] = (uint8_t)other_digit((char)old, k);
				Weir__V1__NormalizedBlock *block = blocks_normalize(&ethereum, raw, arena);
				tried++;
				refused += !block->certificate->proven;
				if (block->certificate->proven && !blocks_equal(honest, block))
					fail_msg("block %s part %zu byte %zu: a changed digit passed: …%.60s…", heights[h], p, at,
						 (const char *)body.data + (at > 30 ? at - 30 : 0));
				body.data[at] = old;
				arena_reset(arena);
			}
		}
		arena_free(&keep);
		arena_free(&arena);
	}
	print_message("%u changed digits, %u refused, the others stood where nothing is read from\n", tried, refused);
	assert_true(tried > 500 && refused > tried * 9 / 10);
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
		cmocka_unit_test(test_every_recorded_block), cmocka_unit_test(test_outcomes_before_byzantium), cmocka_unit_test(test_token_transfers),	   cmocka_unit_test(test_accounts_changed),
		cmocka_unit_test(test_flows_against_state),  cmocka_unit_test(test_no_changed_field_passes),
	};
	return cmocka_run_group_tests(tests, open_data, close_data);
}

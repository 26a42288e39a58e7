/* anvil_test.c - blocks of a real node with every kind of transaction on it: each is proven, and what transactions and traces say moved
 * equals, for each transaction and account, what the node's state says. Before and after Cancun; flat and nested traces alike.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chains/evm/evm.h"
#include "support/blocks.h"
#include "support/recorded.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARENA_MAX ((size_t)1 << 30)
#define RECORDER "tests/support/chain/record.mjs"
#define ANVIL "tests/support/chain/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"

static struct chain dev;

struct tally {
	unsigned blocks, transactions, entries, internal, destroyed;
	const char *form;
	Weir__V1__PartKind kind;
};

static void one_block(const char *folder, const char *height, void *arg)
{
	struct tally *t = arg;
	struct arena *arena = arena_new(ARENA_MAX);
	Weir__V1__RawBlock *raw = recorded_bare_block(folder, height, arena);
	assert_non_null(raw);
	recorded_add(raw, t->kind, folder, height, t->form, arena);
	bool has_diff = recorded_add(raw, WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF, folder, height, "debug_traceBlockByNumber.prestateTracer.diff.json", arena);
	Weir__V1__NormalizedBlock *block = blocks_normalize(&dev, raw, arena);
	if (!block->certificate->proven)
		print_message("block %s with %s: %s\n", height, t->form, blocks_failures(block, arena));
	assert_true(block->certificate->proven);
	assert_true(blocks_passed(block, WEIR__V1__CHECK_NAME__CHECK_NAME_CONSERVATION));
	if (has_diff)
		assert_true(blocks_passed(block, WEIR__V1__CHECK_NAME__CHECK_NAME_STATE_DIFF));
	t->blocks++;
	t->transactions += (unsigned)block->n_transactions;
	t->entries += (unsigned)block->n_entries;
	for (size_t i = 0; i < block->n_entries; i++) {
		t->internal += block->entries[i]->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_INTERNAL;
		t->destroyed += block->entries[i]->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_SELFDESTRUCT;
	}
	arena_free(&arena);
}

static void all_blocks(const char *folder)
{
	struct tally flat = { .form = "trace_block.json", .kind = WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES };
	struct tally nested = { .form = "debug_traceBlockByNumber.json", .kind = WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES };
	recorded_each(folder, one_block, &flat);
	recorded_each(folder, one_block, &nested);
	print_message("%u blocks, %u transactions, %u entries, %u of inner calls, %u of self-destructs\n", flat.blocks, flat.transactions, flat.entries,
		      flat.internal, flat.destroyed);
	assert_int_equal(flat.entries, nested.entries);
	assert_true(flat.blocks > 10 && flat.internal > 0 && flat.destroyed > 0);
}

static void with_node(const char *hardfork)
{
	if (access(ANVIL, X_OK) != 0) {
		print_message("SKIPPED: %s is not installed (npm ci in tests/support/chain)\n", ANVIL);
		skip();
	}
	char folder[] = "/tmp/weir-anvil-XXXXXX", command[512];
	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof command, "node %s --out %s --blocks 24 --seed 5 %s%s", RECORDER, folder, *hardfork ? "--hardfork " : "", hardfork);
	assert_int_equal(system(command), 0);
	all_blocks(folder);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

static void test_newest_fork(void **state)
{
	(void)state;
	with_node("");
}

static void test_before_cancun(void **state)
{
	(void)state;
	with_node("shanghai");
}

/* For a closer look: WEIR_ANVIL_BLOCKS=DIR of record.mjs. */
static void test_given_folder(void **state)
{
	(void)state;
	const char *folder = getenv("WEIR_ANVIL_BLOCKS");
	if (!folder)
		skip();
	all_blocks(folder);
}

static int open_chain(void **state)
{
	(void)state;
	struct error err;
	return chain_init(&dev, "dev", "evm", "dev", 31337, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newest_fork),
		cmocka_unit_test(test_before_cancun),
		cmocka_unit_test(test_given_folder),
	};
	return cmocka_run_group_tests(tests, open_chain, NULL);
}

/* window_test.c - the reorder window, facts read from packed blocks, the bounded cache and table, and the mailbox. */
#include "services/reconciler/cache.h"
#include "services/reconciler/mailbox.h"
#include "services/reconciler/window.h"

#include "base/error.h"
#include "support/ledger_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct ledger_blocks set = { .seed = 3, .accounts = 20, .hot = 10, .tokens = 2, .transactions = 3 };

static struct bytes packed(struct arena *arena, Weir__V1__NormalizedBlock *block)
{
	struct bytes b = { NULL, weir__v1__normalized_block__get_packed_size(block) };
	uint8_t *data = arena_alloc(arena, b.size);
	weir__v1__normalized_block__pack(block, data);
	b.data = data;
	return b;
}

static void facts_are_those_of_the_message(void **state)
{
	(void)state;
	struct arena *arena = arena_new(1 << 20);
	struct block_facts facts;
	for (uint64_t height = 0; height < 300; height += 299) {
		Weir__V1__NormalizedBlock *block = ledger_blocks_make(&set, arena, height, 2, 1);
		block->reason = WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH;
		assert_int_equal(block_facts(packed(arena, block), &facts), 0);
		assert_int_equal(facts.height, height);
		assert_memory_equal(facts.hash, block->hash.data, 32);
		assert_memory_equal(facts.parent_hash, block->parent_hash.data, 32);
		assert_true(facts.proven);
		assert_int_equal(facts.reason, WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH);
		block->certificate->proven = false;
		assert_int_equal(block_facts(packed(arena, block), &facts), 0);
		assert_false(facts.proven);
	}
	/* Every cut of a message is refused or read as what it is, never beyond its end. */
	struct bytes whole = packed(arena, ledger_blocks_make(&set, arena, 5, 0, 0));
	for (size_t n = 0; n < whole.size; n++) {
		uint8_t *cut = xmemdup(whole.data, n ? n : 1);
		block_facts((struct bytes){ cut, n }, &facts);
		free(cut);
	}
	static const uint8_t absurd[] = { 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 };
	assert_int_equal(block_facts((struct bytes){ absurd, sizeof absurd }, &facts), WEIR_INVALID);
	arena_free(&arena);
}

static bool add(struct window *window, int64_t height, uint8_t id, uint8_t parent, size_t size, uint64_t sequence)
{
	struct block_facts facts = { .height = height, .proven = true };
	memset(facts.hash, id, 32);
	memset(facts.parent_hash, parent, 32);
	uint8_t *body = xmalloc(size);
	bool kept = window_add(window, &facts, (struct bytes){ body, size }, 2, 1, sequence);
	free(body);
	return kept;
}

static void blocks_wait_in_bounds(void **state)
{
	(void)state;
	struct window w;
	uint8_t parent[32];
	uint64_t generation, sequence;
	window_init(&w, 4, 1000);
	assert_int_equal(window_highest(&w), -1);
	assert_true(add(&w, 12, 3, 2, 100, 7));
	assert_true(add(&w, 11, 2, 1, 100, 8));
	assert_true(add(&w, 11, 9, 8, 100, 9));
	memset(parent, 1, 32);
	assert_int_equal(window_find(&w, 11, parent)->facts.hash[0], 2);
	assert_int_equal(window_find(&w, 11, NULL)->facts.hash[0], 9); /* the latest */
	assert_null(window_find(&w, 13, NULL));
	assert_int_equal(window_lowest_above(&w, 11), 12);
	assert_true(window_pin(&w, 2, 11, &generation, &sequence));
	assert_int_equal(sequence, 7);
	assert_true(window_pin(&w, 2, 10, &generation, &sequence));
	assert_int_equal(sequence, 7);
	assert_false(window_pin(&w, 2, 12, &generation, &sequence));
	assert_false(window_pin(&w, 1, 0, &generation, &sequence));
	/* The same block again takes no second place. */
	assert_true(add(&w, 12, 3, 2, 100, 10));
	assert_int_equal(w.count, 3);
	/* Full by number, then by bytes: the farthest goes, or the new one when it is the farthest. */
	assert_true(add(&w, 13, 4, 3, 100, 11));
	assert_true(add(&w, 10, 1, 0, 100, 12));
	assert_null(window_find(&w, 13, NULL));
	assert_false(add(&w, 14, 5, 4, 100, 13));
	assert_true(add(&w, 9, 1, 0, 800, 14));
	assert_int_equal(w.count, 3);
	assert_int_equal(window_highest(&w), 11);
	window_drop_to(&w, 10);
	assert_int_equal(w.count, 1);
	window_clear(&w);
	assert_int_equal(w.bytes, 0);
}

static void the_cache_is_bounded_and_keeps_what_is_used(void **state)
{
	(void)state;
	struct cache *cache = cache_new(1024, sizeof(uint64_t), sizeof(uint32_t));
	uint64_t hot = UINT64_MAX;
	uint32_t value = 7;
	cache_put(cache, &hot, &value);
	size_t found = 0;
	for (uint64_t key = 0; key < 100000; key++) {
		value = (uint32_t)key;
		cache_put(cache, &key, &value);
		assert_int_equal(*(uint32_t *)cache_get(cache, &key), value);
		if (key % 2 == 0)
			assert_int_equal(*(uint32_t *)cache_get(cache, &hot), 7);
	}
	for (uint64_t key = 0; key < 100000; key++)
		found += cache_get(cache, &key) != NULL;
	assert_true(found > 500 && found <= 1024);
	value = 8;
	cache_put(cache, &hot, &value);
	assert_int_equal(*(uint32_t *)cache_get(cache, &hot), 8);
	cache_clear(cache);
	assert_null(cache_get(cache, &hot));
	cache_free(&cache);
	cache_free(&cache);
}

static int number_equal(const void *things, uint32_t i, const void *key)
{
	return ((const uint64_t *)things)[i] == *(const uint64_t *)key;
}

static void the_table_finds_all_it_was_given(void **state)
{
	(void)state;
	struct table table;
	uint64_t hash, *keys = xcalloc(5000, sizeof *keys);
	table_init(&table);
	for (uint32_t i = 0; i < 5000; i++) {
		keys[i] = (uint64_t)i * 1000003;
		assert_int_equal(table_find(&table, &keys[i], sizeof keys[i], number_equal, keys, &hash), UINT32_MAX);
		table_add(&table, hash, i);
	}
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(table_find(&table, &keys[i], sizeof keys[i], number_equal, keys, &hash), i);
	table_reset(&table);
	assert_int_equal(table_find(&table, &keys[1], sizeof keys[1], number_equal, keys, &hash), UINT32_MAX);
	table_free(&table);
	free(keys);
}

static void the_mailbox_is_bounded_and_keeps_order(void **state)
{
	(void)state;
	struct mailbox *box = mailbox_new(3);
	struct ledger_touch touches[5] = { { .height = 1 }, { .height = 2 }, { .height = 3 }, { .height = 4 }, { .height = 5 } }, got;
	assert_int_equal(mailbox_put_touches(box, touches, 5), 3);
	assert_true(mailbox_take_touch(box, &got));
	assert_int_equal(got.height, 1);
	assert_int_equal(mailbox_put_touches(box, touches + 3, 2), 1);
	for (int64_t height = 2; height <= 4; height++) {
		assert_true(mailbox_take_touch(box, &got));
		assert_int_equal(got.height, height);
	}
	assert_false(mailbox_take_touch(box, &got));
	struct mail_question question = { .height = 0 };
	size_t put = 0;
	while (mailbox_put_question(box, &question) && put < 10000)
		put++;
	assert_int_equal(put, 1024);
	struct mail_heal heal;
	uint8_t hash[32] = { 1 };
	mailbox_heal(box, &heal);
	assert_int_equal(heal.height, -1);
	mailbox_want_heal(box, 9, hash);
	mailbox_heal_is(box, 8, HEAL_SAME); /* about another block */
	mailbox_heal(box, &heal);
	assert_int_equal(heal.state, HEAL_WANTED);
	mailbox_heal_is(box, 9, HEAL_SAME);
	mailbox_heal(box, &heal);
	assert_int_equal(heal.state, HEAL_SAME);
	mailbox_note_journal(box, 7);
	mailbox_note_journal(box, 5);
	assert_int_equal(mailbox_journal(box), 7);
	mailbox_free(&box);
	mailbox_free(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts_are_those_of_the_message),	  cmocka_unit_test(blocks_wait_in_bounds),
		cmocka_unit_test(the_cache_is_bounded_and_keeps_what_is_used), cmocka_unit_test(the_table_finds_all_it_was_given),
		cmocka_unit_test(the_mailbox_is_bounded_and_keeps_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

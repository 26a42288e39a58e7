/* give_way_test.c - when the checker leaves the way to a block: at once, not long, and half of the time at most. */
#include "services/reconciler/give_way.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void while_a_block_is_awaited_and_no_longer(void **state)
{
	(void)state;
	struct give_way way = { 0 };
	assert_false(give_way(&way, false, 1000));
	assert_true(give_way(&way, true, 1010));
	assert_true(give_way(&way, true, 1100));
	assert_false(give_way(&way, false, 1110));
}

static void a_block_that_does_not_come_is_given_up(void **state)
{
	(void)state;
	struct give_way way = { 0 };
	assert_true(give_way(&way, true, 1000));
	assert_true(give_way(&way, true, 1000 + GIVE_WAY_MS - 1));
	assert_false(give_way(&way, true, 1000 + GIVE_WAY_MS));
	assert_false(give_way(&way, true, 1000 + 2 * GIVE_WAY_MS - 1));
	assert_true(give_way(&way, true, 1000 + 2 * GIVE_WAY_MS));
}

/* A chain with a block every 50 ms, each of which takes 40: half of the time is the comparisons' all the same. */
static void blocks_in_close_succession_do_not_stop_it(void **state)
{
	(void)state;
	struct give_way way = { 0 };
	int64_t gave = 0;
	for (int64_t now = 1000; now < 11000; now++)
		gave += give_way(&way, now % 50 < 40, now);
	assert_in_range(gave, 2000, 5100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_a_block_is_awaited_and_no_longer),
		cmocka_unit_test(a_block_that_does_not_come_is_given_up),
		cmocka_unit_test(blocks_in_close_succession_do_not_stop_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* gcra_test.c - the debt: what is let through, what remains, how long to wait; against a model that counts units. */
#include "services/gateway/call/gcra.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct gcra_policy hundred = { 100, 60000000 };

static void a_whole_count_at_once_then_evenly(void **state)
{
	(void)state;
	int64_t until = 0, now = 1000000000;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(gcra_remaining(until, &hundred, now), 100 - i);
		assert_true(gcra_take(&until, &hundred, 1, now));
	}
	assert_int_equal(gcra_remaining(until, &hundred, now), 0);
	assert_false(gcra_take(&until, &hundred, 1, now));
	assert_int_equal(gcra_wait_us(until, &hundred, 1, now), 600000);
	assert_int_equal(gcra_wait_us(until, &hundred, 5, now), 3000000);
	assert_false(gcra_take(&until, &hundred, 1, now + 599999));
	assert_true(gcra_take(&until, &hundred, 1, now + 600000));
	assert_false(gcra_take(&until, &hundred, 1, now + 600000));
	assert_int_equal(gcra_remaining(until, &hundred, now + 60600000), 100);
}

static void costs_weigh(void **state)
{
	(void)state;
	int64_t until = 0, now = 7;
	for (int i = 0; i < 20; i++)
		assert_true(gcra_take(&until, &hundred, 5, now));
	assert_false(gcra_take(&until, &hundred, 5, now));
	assert_false(gcra_take(&until, &hundred, 5, now + 4 * 600000));
	assert_true(gcra_take(&until, &hundred, 4, now + 4 * 600000));
}

static void what_is_refused_costs_nothing(void **state)
{
	(void)state;
	int64_t until = 0;
	assert_true(gcra_take(&until, &hundred, 98, 0));
	int64_t before = until;
	for (int i = 0; i < 1000; i++)
		assert_false(gcra_take(&until, &hundred, 3, 0));
	assert_int_equal(until, before);
	assert_true(gcra_take(&until, &hundred, 2, 0));
}

static void what_costs_more_than_all_waits_for_all(void **state)
{
	(void)state;
	static const struct gcra_policy three = { 3, 60000000 };
	int64_t until = 0;
	assert_true(gcra_take(&until, &three, 5, 100));
	assert_int_equal(gcra_remaining(until, &three, 100), 0);
	assert_int_equal(gcra_wait_us(until, &three, 5, 100), 100000000);
	assert_int_equal(gcra_wait_us(until, &three, 1, 100), 60000000);
	assert_false(gcra_take(&until, &three, 5, 100 + 99999999));
	assert_true(gcra_take(&until, &three, 5, 100 + 100000000));
}

static void never_more_than_count_beyond_the_rate(void **state)
{
	(void)state;
	uint64_t dice = 88172645463325252u;
	static const struct gcra_policy policies[] = { { 100, 60000000 }, { 1000, 60000000 }, { 7, 60000000 }, { 1, 60000000 }, { 10000000, 60000000 } };
	for (size_t k = 0; k < sizeof policies / sizeof policies[0]; k++) {
		const struct gcra_policy *p = &policies[k];
		int64_t until = 0, now = 1000000, begin = now, taken = 0;
		for (int i = 0; i < 20000; i++) {
			dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
			now += (int64_t)(dice % (uint64_t)(2 * p->window_us / p->count + 1));
			int64_t cost = 1 + (int64_t)(dice >> 40) % (p->count < 5 ? 1 : 5), wait = gcra_wait_us(until, p, cost, now);
			bool took = gcra_take(&until, p, cost, now);
			assert_int_equal(took, wait == 0);
			taken += took ? cost : 0;
			assert_true(taken <= p->count + (now - begin) / (p->window_us / p->count) + 1);
			assert_in_range(gcra_remaining(until, p, now), 0, p->count);
		}
		assert_true(taken > 10000 / 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_count_at_once_then_evenly),	  cmocka_unit_test(costs_weigh),
		cmocka_unit_test(what_is_refused_costs_nothing),	  cmocka_unit_test(what_costs_more_than_all_waits_for_all),
		cmocka_unit_test(never_more_than_count_beyond_the_rate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

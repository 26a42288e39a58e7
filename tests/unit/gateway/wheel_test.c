/* wheel_test.c - what is put comes when it is due and not before, against a list of what is due; moved, removed, further away than the wheel is large. */
#include "services/gateway/live/wheel.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void due_and_not_before(void **state)
{
	(void)state;
	struct wheel w = { .tick = 1000 };
	struct wheel_entry a = { 0 }, b = { 0 }, c = { 0 };
	wheel_put(&w, &a, 1003);
	wheel_put(&w, &b, 1003);
	wheel_put(&w, &c, 900); /* over: the next one */
	assert_ptr_equal(wheel_take(&w, 1001), &c);
	assert_null(wheel_take(&w, 1001));
	assert_null(wheel_take(&w, 1002));
	wheel_remove(&w, &a);
	wheel_remove(&w, &a);
	assert_ptr_equal(wheel_take(&w, 1003), &b);
	assert_null(wheel_take(&w, 1003));
	wheel_remove(&w, &b); /* in no wheel */
	assert_null(wheel_take(&w, 5000));
}

static void put_while_taking_is_not_taken_again(void **state)
{
	(void)state;
	struct wheel w = { .tick = 7 };
	struct wheel_entry a = { 0 };
	wheel_put(&w, &a, 8);
	for (uint64_t now = 8; now < 2000; now++) {
		assert_ptr_equal(wheel_take(&w, now), &a);
		wheel_put(&w, &a, 0);
		assert_null(wheel_take(&w, now));
	}
}

static void far_away_comes_earlier(void **state)
{
	(void)state;
	struct wheel w = { .tick = 1 };
	struct wheel_entry a = { 0 };
	wheel_put(&w, &a, 1000000);
	for (uint64_t now = 2; now < 1 + WHEEL_SLOTS - 1; now++)
		assert_null(wheel_take(&w, now));
	assert_ptr_equal(wheel_take(&w, WHEEL_SLOTS), &a);
}

static void after_a_long_time_everything_is_due_once(void **state)
{
	(void)state;
	struct wheel w = { .tick = 5 };
	struct wheel_entry all[WHEEL_SLOTS];
	memset(all, 0, sizeof all);
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		wheel_put(&w, &all[i], 6 + i);
	size_t n = 0;
	for (; wheel_take(&w, 1000000000) != NULL; n++)
		;
	assert_int_equal(n, WHEEL_SLOTS);
}

#define COUNT 300

static void any_order(void **state)
{
	(void)state;
	static struct wheel w;
	static struct wheel_entry all[COUNT];
	uint64_t due[COUNT] = { 0 }, now = 4711; /* 0: not put */
	w.tick = now;
	for (int round = 0; round < 20000; round++) {
		for (int i = 0; i < 4; i++) {
			size_t k = (size_t)(random_u64() % COUNT);
			uint64_t at = now + random_u64() % (WHEEL_SLOTS + 40);
			if (random_u64() % 8 == 0) {
				wheel_remove(&w, &all[k]);
				due[k] = 0;
			} else {
				wheel_put(&w, &all[k], at);
				due[k] = at <= now ? now + 1 : at - now < WHEEL_SLOTS ? at : now + WHEEL_SLOTS - 1;
			}
			assert_int_equal(all[k].due, due[k]);
		}
		now += random_u64() % 10 == 0 ? random_u64() % 600 : 1;
		for (struct wheel_entry *e; (e = wheel_take(&w, now)) != NULL;) {
			size_t k = (size_t)(e - all);
			assert_true(due[k] > 0 && due[k] <= now);
			due[k] = 0;
		}
		for (size_t k = 0; k < COUNT; k++)
			assert_true(due[k] == 0 || due[k] > now);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(due_and_not_before),	    cmocka_unit_test(put_while_taking_is_not_taken_again),
		cmocka_unit_test(far_away_comes_earlier), cmocka_unit_test(after_a_long_time_everything_is_due_once),
		cmocka_unit_test(any_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

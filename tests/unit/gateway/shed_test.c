/* shed_test.c - who is refused under overload, for all classes and signals; and what counts as a loop's lag. */
#include "services/gateway/call/shed.h"
#include "services/gateway/http/lag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t times[] = { 0, 1, 9, 10, 99, 100, 101, 999, 1000, 1001, 1999, 2000, 2001, 3999, 4000, 4001, 10000, 60000, 600000, INT64_MAX };
#define TIMES (sizeof times / sizeof times[0])

static void the_order_is_kept_whatever_the_signals(void **state)
{
	(void)state;
	for (size_t after = 0; after < TIMES - 1; after++)
		for (size_t waited = 0; waited < TIMES; waited++)
			for (size_t lag = 0; lag < TIMES; lag++) {
				bool before = false;
				for (int class = SHED_ANONYMOUS; class < SHED_CLASSES; class++) {
					bool allowed = shed_allows((enum shed_class)class, times[waited], times[lag], times[after]);
					assert_true(allowed || !before); /* nobody is refused while somebody who comes before is not */
					before = before || allowed;
					if (times[after] == 0)
						assert_true(allowed);
					/* More of a signal never lets somebody in. */
					if (!allowed && waited + 1 < TIMES)
						assert_false(shed_allows((enum shed_class)class, times[waited + 1], times[lag], times[after]));
					if (!allowed && lag + 1 < TIMES)
						assert_false(shed_allows((enum shed_class)class, times[waited], times[lag + 1], times[after]));
				}
				assert_true(before); /* health */
			}
}

static void each_class_has_its_own_patience(void **state)
{
	static const int64_t patience[] = { [SHED_ANONYMOUS] = 100, [SHED_READ] = 1000, [SHED_WRITE] = 2000, [SHED_ADMIN] = 4000 };
	(void)state;
	for (int class = SHED_ANONYMOUS; class < SHED_HEALTH; class++) {
		assert_true(shed_allows((enum shed_class)class, patience[class] - 1, 0, 100));
		assert_false(shed_allows((enum shed_class)class, patience[class], 0, 100));
		assert_true(shed_allows((enum shed_class)class, 0, patience[class] / SHED_LAG_WEIGHT - 1, 100));
		assert_false(shed_allows((enum shed_class)class, 0, patience[class] / SHED_LAG_WEIGHT, 100));
	}
	assert_true(shed_allows(SHED_HEALTH, INT64_MAX, INT64_MAX, 1));
}

static void who_asks_for_what_is_in_which_class(void **state)
{
	static const struct route reads = { .method = "GET" }, lists = { .method = "GET", .watches = true }, batch = { .method = "POST" },
				  writes = { .method = "POST", .watches = true };
	static const struct principal somebody = { .name = "a" };
	static const struct {
		const struct route *route;
		enum shed_class keyed;
	} cases[] = { { &reads, SHED_READ }, { &lists, SHED_READ }, { &batch, SHED_READ }, { &writes, SHED_WRITE }, { NULL, SHED_READ } };
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct http_request request = { .method = cases[i].route ? cases[i].route->method : "GET" };
		struct call call = { .request = &request, .route = cases[i].route };
		assert_int_equal(shed_class_of(&call), SHED_ANONYMOUS);
		call.who = &somebody;
		assert_int_equal(shed_class_of(&call), cases[i].keyed);
		call.operators = true;
		assert_int_equal(shed_class_of(&call), SHED_ADMIN);
		call.who = NULL; /* who signs in */
		assert_int_equal(shed_class_of(&call), SHED_ADMIN);
	}
	for (int class = 0; class < SHED_CLASSES; class++)
		for (int other = 0; other < class; other++)
			assert_string_not_equal(shed_class_name((enum shed_class)class), shed_class_name((enum shed_class)other));
}

static void one_long_turn_is_no_lag_and_many_are(void **state)
{
	struct lag lag = { 0 };
	int64_t now = 5000;
	(void)state;
	assert_int_equal(lag_now(&lag, now), 0);
	for (int i = 0; i < LAG_TURNS - 1; i++, now += 300) {
		lag_note(&lag, now - 300, now);
		assert_int_equal(lag_now(&lag, now), 0); /* too few to say */
	}
	lag_note(&lag, now - 250, now);
	assert_int_equal(lag_now(&lag, now), 250);
	assert_int_equal(lag_now(&lag, now + LAG_KEPT_MS - 1), 250);
	assert_int_equal(lag_now(&lag, now + LAG_KEPT_MS), 0); /* long ago */
	lag_note(&lag, now, now + 2);
	assert_int_equal(lag_now(&lag, now + 2), 2);
	for (int i = 0; i < LAG_TURNS - 1; i++)
		lag_note(&lag, now, now + 70);
	assert_int_equal(lag_now(&lag, now + 70), 2); /* the short one is still among the last */
	lag_note(&lag, now, now + 70);
	assert_int_equal(lag_now(&lag, now + 70), 70);
	lag_note(&lag, now + 70, now + 60); /* a clock that is read in another order */
	assert_int_equal(lag_now(&lag, now + 70), 0);
	for (int i = 0; i < LAG_TURNS; i++)
		lag_note(&lag, now, now + (i == 3 ? 5000 : 1)); /* once not scheduled for five seconds */
	assert_int_equal(lag_now(&lag, now + 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_order_is_kept_whatever_the_signals), cmocka_unit_test(each_class_has_its_own_patience),
					    cmocka_unit_test(who_asks_for_what_is_in_which_class), cmocka_unit_test(one_long_turn_is_no_lag_and_many_are) };
	return cmocka_run_group_tests_name("shed", tests, NULL, NULL);
}

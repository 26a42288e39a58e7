/* shed_test.c - who is refused under overload, for all classes and waits; what a request would wait; and what counts as a loop's lag. */
#include "services/gateway/call/shed.h"
#include "services/gateway/http/backlog.h"
#include "services/gateway/http/lag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t times[] = { 0, 1, 9, 10, 99, 100, 101, 199, 200, 201, 399, 400, 401, 799, 800, 801, 1000, 10000, 60000, 600000, INT64_MAX };
#define TIMES (sizeof times / sizeof times[0])

static void the_order_is_kept_however_long_the_wait(void **state)
{
	(void)state;
	for (size_t after = 0; after < TIMES - 1; after++)
		for (size_t waited = 0; waited < TIMES; waited++)
			for (int burst = 0; burst < 2; burst++) {
				bool before = false;
				for (int class = SHED_ANONYMOUS; class < SHED_CLASSES; class++) {
					const struct http_load load = { times[waited], burst }, in_burst = { times[waited], true };
					bool allowed = shed_allows((enum shed_class)class, &load, times[after]);
					assert_true(allowed || !before); /* nobody is refused while somebody who comes before is not */
					before = before || allowed;
					if (times[after] == 0)
						assert_true(allowed);
					if (allowed)
						assert_true(shed_allows((enum shed_class)class, &in_burst, times[after])); /* a burst is let in if anything is */
					/* A longer wait never lets somebody in. */
					const struct http_load longer = { times[waited + 1 < TIMES ? waited + 1 : waited], burst };
					if (!allowed)
						assert_false(shed_allows((enum shed_class)class, &longer, times[after]));
				}
				assert_true(before); /* health */
			}
}

static void each_class_has_its_own_patience(void **state)
{
	static const int64_t patience[] = { [SHED_ANONYMOUS] = 100, [SHED_READ] = 200, [SHED_WRITE] = 400, [SHED_ADMIN] = 800 };
	(void)state;
	for (int class = SHED_ANONYMOUS; class < SHED_HEALTH; class++)
		for (int burst = 0; burst < 2; burst++) {
			const int64_t most = patience[class] * (burst ? SHED_BURST : 1);
			assert_true(shed_allows((enum shed_class)class, &(struct http_load){ most - 1, burst }, 100));
			assert_false(shed_allows((enum shed_class)class, &(struct http_load){ most, burst }, 100));
		}
	assert_true(shed_allows(SHED_HEALTH, &(struct http_load){ INT64_MAX, false }, 1));
}

static struct http_response answer_of(const struct gateway *gateway, bool left, int64_t waited_ms)
{
	const struct http_request request = { .method = "GET", .load = { waited_ms, true }, .left = left };
	struct http_response response = { .body = BUF_INIT(4096) };
	struct call call = { .gateway = (struct gateway *)(uintptr_t)gateway, .request = &request, .response = &response, .out = &response.body };
	bool admitted = shed_admits(&call);
	assert_int_equal(admitted ? 0 : 503, response.status);
	buf_free(&response.body);
	return response;
}

static void whoever_left_is_not_answered_in_vain(void **state)
{
	struct metrics *metrics = metrics_new();
	struct config config = { .gateway.shed_after_ms = 100 };
	(void)state;
	metrics_register(metrics, gateway_metrics, gateway_metric_count);
	struct gateway gateway = { .config = &config, .metrics = metrics, .shed = shed_counts_new(metrics) };
	assert_int_equal(answer_of(&gateway, false, 999).status, 0);
	assert_int_equal(answer_of(&gateway, true, 99).status, 0); /* who ends the own side at once may still wait for the answer */
	assert_int_equal(answer_of(&gateway, true, 100).status, 503);
	const struct http_response refused = answer_of(&gateway, false, 1000);
	assert_int_equal(refused.status, 503);
	assert_in_range(refused.retry_after, 1, 5);
	assert_int_equal(metric_count(metrics_get(metrics, "weir_gateway_shed_total", "anonymous", NULL, NULL)), 2);
	config.gateway.shed_after_ms = 0;
	assert_int_equal(answer_of(&gateway, true, 1000000).status, 0);
	xfree(&gateway.shed);
	metrics_free(&metrics);
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

#define MS INT64_C(1000000)

static void a_request_waits_for_those_before_it(void **state)
{
	struct backlog backlog = { 0 };
	int64_t now = 1000 * MS;
	(void)state;
	assert_int_equal(backlog_wait_ns(&backlog, now), 0);
	assert_true(backlog_is_burst(&backlog, now));
	backlog_enter(&backlog, now);
	assert_int_equal(backlog_wait_ns(&backlog, now + 3 * MS), 3 * MS); /* nothing has left yet: so long at least */
	for (int i = 0; i < 9; i++)
		backlog_enter(&backlog, now);
	for (int i = 0; i < 500; i++) { /* one comes and one leaves every 2 ms */
		now += 2 * MS;
		backlog_leave(&backlog, now);
		backlog_enter(&backlog, now);
	}
	assert_in_range(backlog_wait_ns(&backlog, now), 19 * MS, 20 * MS);
	assert_in_range(backlog_wait_ns(&backlog, now + 7 * MS), 19 * MS, 20 * MS);
	assert_int_equal(backlog_wait_ns(&backlog, now + 35 * MS), 35 * MS); /* it stands still */
	for (int i = 0; i < 10; i++)
		backlog_leave(&backlog, now);
	assert_int_equal(backlog_wait_ns(&backlog, now + 100 * MS), 0);
	now += 5000 * MS;
	backlog_enter(&backlog, now);
	assert_in_range(backlog_wait_ns(&backlog, now), 0, 2 * MS);
}

static void a_queue_that_stands_is_no_burst(void **state)
{
	struct backlog backlog = { 0 };
	int64_t now = 1000 * MS;
	(void)state;
	for (int i = 0; i < 3; i++, now += 60000 * MS) {
		const int64_t since = now;
		backlog_enter(&backlog, now);
		for (; now < since + 999 * MS; now += 3 * MS) { /* it is another one that waits, again and again */
			assert_true(backlog_is_burst(&backlog, now));
			backlog_enter(&backlog, now);
			backlog_leave(&backlog, now);
		}
		assert_false(backlog_is_burst(&backlog, since + 1000 * MS));
		backlog_leave(&backlog, now + 10 * MS);
		assert_true(backlog_is_burst(&backlog, now + 11 * MS)); /* nobody was turned away */
	}
	backlog_turned_away(&backlog, now);
	assert_false(backlog_is_burst(&backlog, now + 4999 * MS));
	assert_true(backlog_is_burst(&backlog, now + 5000 * MS));
}

static void one_slow_request_says_little(void **state)
{
	struct backlog backlog = { 0 };
	int64_t now = 1000 * MS;
	(void)state;
	backlog_enter(&backlog, now);
	for (int i = 0; i < 500; i++) {
		now += i == 499 ? 100 * MS : MS;
		backlog_enter(&backlog, now);
		backlog_leave(&backlog, now);
	}
	assert_in_range(backlog_wait_ns(&backlog, now), 2 * MS, 3 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_order_is_kept_however_long_the_wait), cmocka_unit_test(each_class_has_its_own_patience),
					    cmocka_unit_test(who_asks_for_what_is_in_which_class), cmocka_unit_test(whoever_left_is_not_answered_in_vain), cmocka_unit_test(one_long_turn_is_no_lag_and_many_are),
					    cmocka_unit_test(a_request_waits_for_those_before_it), cmocka_unit_test(a_queue_that_stands_is_no_burst),
					    cmocka_unit_test(one_slow_request_says_little) };
	return cmocka_run_group_tests_name("shed", tests, NULL, NULL);
}

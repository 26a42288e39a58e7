/* subscription_outage_test.c - what a subscription does while its dependency is away, or everything fails: breaker, storm guard, and what the metrics say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- breaker and storm --------------------------------------------------------------------------------------------------------------- */

static const struct breaker_policy touchy = { .least = 4, .accept = 2, .window_ms = 60000, .pause_ms = 20, .pause_max_ms = 40, .probes = 2 };

static void a_breaker_pauses_instead_of_parking(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	o.breaker = &touchy;
	struct bus_subscription *s = story_open(bus, o);
	static char keys[20][8];
	story.all = WEIR_UNAVAILABLE;
	for (int i = 0; i < 20; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		story_publish(bus, PAID, keys[i], keys[i]);
	}
	rounds_until(s, story_status(s).handlers[0].breaker_opened >= 5); /* open, probed, open again … */
	assert_int_equal(story_letters(bus), 0);
	assert_in_range(story.calls, 4, 30);
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	rounds_until(s, story.calls == 20);
	assert_null(strchr(story.seen, '!'));
	assert_false(story_status(s).handlers[0].breaker_open);
	assert_int_equal(story_letters(bus), 0);
	assert_int_equal(story_status(s).held, 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_was_parked_for_a_dependency_is_tried_again_when_it_is_back(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	static const struct retry_rule once[] = { { NULL, 0, RETRY_ANY, { .attempts = 1 } } };
	o.retries = once;
	o.breaker = &touchy;
	struct bus_subscription *s = story_open(bus, o);
	story.all = WEIR_TIMEOUT;
	story_publish(bus, PAID, "k", "a");
	story_publish(bus, PAID, "l", "b");
	rounds_until(s, story_letters(bus) == 2); /* too few failures for the breaker */
	story_publish(bus, PAID, "m", "c");
	story_publish(bus, PAID, "n", "d");
	rounds_until(s, story_status(s).handlers[0].breaker_opened >= 1);
	story.all = 0;
	rounds_until(s, story_letters(bus) == 0);
	assert_true(story_seen("a") && story_seen("b"));
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void handlers_of_one_dependency_share_its_breaker(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	static struct story first, second;
	memset(&first, 0, sizeof first);
	memset(&second, 0, sizeof second);
	static const struct bus_handler both[] = { { "first", &story_types[0], 1, story_tell, &first, "database" },
						   { "second", &story_types[1], 1, story_tell, &second, "database" } };
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	o.handlers = both;
	o.handler_count = 2;
	o.breaker = &touchy;
	static const char *const keys[] = { "1", "2", "3", "4" };
	struct bus_subscription *s = story_open(bus, o);
	first.all = WEIR_UNAVAILABLE;
	for (int i = 0; i < 4; i++)
		story_publish(bus, PAID, keys[i], "x");
	rounds_until(s, story_status(s).handlers[0].breaker_open);
	assert_true(story_status(s).handlers[1].breaker_open);
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* "k0" to "k299", of themselves. */
static void publish_to_300_keys(struct bus *bus)
{
	char key[8];
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof key, "k%d", i);
		story_publish(bus, PAID, key, key);
	}
}

static void a_storm_pauses_and_an_operator_ends_it(enum bus_order order)
{
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(order);
	o.hold_max = 10000;
	struct bus_subscription *s = story_open(bus, o);
	story.all = WEIR_INVALID;
	publish_to_300_keys(bus);
	rounds_until(s, story_status(s).state == BUS_STORM);
	uint64_t before = story_letters(bus);
	assert_in_range(before, 40, 60);
	story_turn(s);
	story_turn(s);
	assert_int_equal(story_letters(bus), before);
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	bus_subscription_resume(s);
	rounds_until(s, story.calls == 300 - before && story_status(s).held == 0);
	assert_null(strchr(story.seen, '!'));
	assert_int_equal(story_status(s).state, BUS_RUNNING);
	assert_int_equal(story_letters(bus), before);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_storm_pauses_and_an_operator_ends_it_in_order(void **state)
{
	(void)state;
	a_storm_pauses_and_an_operator_ends_it(BUS_ORDERED);
}

static void a_storm_pauses_and_an_operator_ends_it_shared(void **state)
{
	(void)state;
	a_storm_pauses_and_an_operator_ends_it(BUS_SHARED);
}

static void breakers_and_storms_are_in_the_metrics(void **state)
{
	(void)state;
	static const struct breaker_policy patient = { .least = 4, .accept = 2, .window_ms = 60000, .pause_ms = 600000, .pause_max_ms = 600000, .probes = 2 };
	static const struct bus_handler both[] = { { "first", &story_types[0], 1, story_tell, &story, "database" },
						   { "second", &story_types[1], 1, story_tell, &story, "database" } };
	static const char *const names[] = { "first", "second" };
	struct metrics *m = metrics_new();
	bus_register_metrics(m);
	struct bus *bus;
	const struct bus_options with = { .url = fixture_server.url, .worker = "w", .command_timeout_ms = 3000, .metrics = m };
	assert_int_equal(bus_open(&with, &bus, NULL), 0);
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	o.handlers = both;
	o.handler_count = 2;
	o.breaker = &patient;
	struct bus_subscription *s = story_open(bus, o);
	story.all = WEIR_UNAVAILABLE;
	publish_to_300_keys(bus);
	rounds_until(s, story_status(s).state == BUS_BROKEN);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(metric_count(metrics_get(m, "weir_bus_breaker_opened_total", "test", "books", names[i])), 1);
		assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", names[i])), 2);
	}
	assert_int_equal(metric_count(metrics_get(m, "weir_bus_storms_total", "test", "orders", "books")), 0);
	story.all = WEIR_INVALID;
	bus_subscription_resume(s);
	rounds_until(s, story_status(s).state == BUS_STORM);
	assert_int_equal(metric_count(metrics_get(m, "weir_bus_storms_total", "test", "orders", "books")), 1);
	assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", "first")), 0);
	assert_int_equal(metric_count(metrics_get(m, "weir_bus_breaker_opened_total", "test", "books", "first")), 1);
	story.all = WEIR_UNAVAILABLE;
	bus_subscription_resume(s);
	rounds_until(s, story_status(s).state == BUS_BROKEN);
	assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", "first")), 2);
	bus_subscription_close(&s);
	for (size_t i = 0; i < 2; i++) /* with nobody left to close it, it would stand there open */
		assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", names[i])), 0);
	bus_close(&bus);
	metrics_free(&m);
}

static void a_shared_subscription_waits_for_its_dependency(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(BUS_SHARED);
	o.breaker = &touchy;
	o.batch = 2;
	static char keys[10][8];
	struct bus_subscription *s = story_open(bus, o);
	story.all = WEIR_UNAVAILABLE;
	for (int i = 0; i < 10; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		story_publish(bus, PAID, keys[i], keys[i]);
	}
	rounds_until(s, story_status(s).handlers[0].breaker_opened >= 3);
	assert_int_equal(story_letters(bus), 0);
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	rounds_until(s, story.calls == 10);
	assert_int_equal(story_letters(bus), 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, story_setup)
	const struct CMUnitTest tests[] = {
		fixture_threads(a_breaker_pauses_instead_of_parking, story_setup, NULL, "asynq, Sidekiq"),
		TEST(what_was_parked_for_a_dependency_is_tried_again_when_it_is_back),
		TEST(handlers_of_one_dependency_share_its_breaker),
		fixture_threads(a_storm_pauses_and_an_operator_ends_it_in_order, story_setup, NULL, "asynq, Sidekiq"),
		TEST(a_storm_pauses_and_an_operator_ends_it_shared),
		TEST(breakers_and_storms_are_in_the_metrics),
		TEST(a_shared_subscription_waits_for_its_dependency),
	};
	return story_run(tests);
}

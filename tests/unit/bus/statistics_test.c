/* statistics_test.c - attempts, retries and dead letters by message type and error class, in both lanes against a real Redis: what an instance counted,
 * what all of them did, and the metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/dead_letter.h"
#include "bus/statistics.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAID = 210, SHIPPED, UNKNOWN_TO_ALL = 900 };

static const struct bus_type types[] = {
	{ .id = PAID, .name = "a/paid", .version = 1, .klass = BUS_NORMAL, .key_space = "order" },
	{ .id = SHIPPED, .name = "shipped", .version = 1, .klass = BUS_NORMAL, .key_space = "order" },
};
static const uint16_t handled[] = { PAID, SHIPPED };

/* "invalid" never works; "twice" and "down" fail as long as there are failures left. */
static unsigned calls, failures_left;
static int handle(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	calls++;
	if (d->body.size == 7 && memcmp(d->body.data, "invalid", 7) == 0)
		return error_set(err, WEIR_INVALID, "told to");
	if (d->body.size == 5 && memcmp(d->body.data, "twice", 5) == 0 && failures_left > 0)
		return failures_left--, error_set(err, WEIR_CONFLICT, "told to");
	if (d->body.size == 4 && memcmp(d->body.data, "down", 4) == 0 && failures_left > 0)
		return failures_left--, error_set(err, WEIR_UNAVAILABLE, "told to");
	return 0;
}
static const struct bus_handler handlers[] = { { "h", handled, 2, handle, NULL, NULL } };
static const struct retry_rule quick[] = {
	{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 5, .base_ms = 1, .max_ms = 1 } },
};

static struct bus_subscription *open_subscription(struct bus *bus, enum bus_order order)
{
	const struct bus_subscription_options o = { .chain = "test",
						    .topic = "orders",
						    .subscription = "books",
						    .order = order,
						    .handlers = handlers,
						    .handler_count = 1,
						    .retries = quick,
						    .retry_count = 1,
						    .lease_ms = 60000,
						    .no_storm_guard = true };
	struct bus_subscription *s;
	struct error err = { 0 };
	if (bus_subscription_open(bus, &o, &s, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static void publish(struct bus *bus, uint16_t type, const char *key, const char *body)
{
	fixture_publish(bus, "orders", fixture_message(type, key, body));
}

/* -- rows as text: "type class attempts retried recovered parked", sorted, one a line ------------------------------------------- */

struct rows {
	char lines[16][128];
	size_t n;
};

static void on_row(const struct bus_statistics *row, void *arg)
{
	struct rows *r = arg;
	assert_true(r->n < 16);
	snprintf(r->lines[r->n++], sizeof r->lines[0], "%s %s %u %u %u %u\n", row->type, row->error_class, (unsigned)row->attempts,
		 (unsigned)row->retried, (unsigned)row->recovered, (unsigned)row->parked);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static const char *text_of(struct rows *r)
{
	static char text[2048];
	qsort(r->lines, r->n, sizeof r->lines[0], by_text);
	text[0] = 0;
	for (size_t i = 0; i < r->n; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s", r->lines[i]);
	return text;
}

static const char *own(struct bus_subscription *s)
{
	struct rows r = { 0 };
	bus_subscription_statistics(s, on_row, &r);
	return text_of(&r);
}

static const char *sum(struct bus *bus)
{
	struct rows r = { 0 };
	struct error err = { 0 };
	if (bus_statistics_read(bus, "test", "orders", "books", on_row, &r, &err) != 0)
		fail_msg("%s", err.text);
	return text_of(&r);
}

static void turn(struct bus_subscription *s)
{
	struct error err = { 0 };
	if (bus_subscription_turn(s, 20, &err) != 0)
		fail_msg("%s", err.text);
}

static void rounds_until_own(struct bus_subscription *s, const char *want)
{
	int64_t deadline = clock_mono_ms() + 30000;
	while (strcmp(own(s), want) != 0) {
		if (clock_mono_ms() > deadline)
			fail_msg("not within 30 s:\n%sbut:\n%s", want, own(s));
		turn(s);
	}
}

static uint64_t metric(struct metrics *m, const char *name, const char *type, const char *klass)
{
	const char *labels[METRICS_LABELS_MAX] = { "test", "orders", "books", type, klass };
	return metric_count(metrics_series(m, name, labels));
}

static int setup(void **state)
{
	calls = failures_left = 0;
	return fixture_flush(state);
}

/* -- tests --------------------------------------------------------------------------------------------------------------------- */

static void ordered_attempts_are_told_apart(void **state)
{
	(void)state;
	struct metrics *m = metrics_new();
	bus_register_metrics(m);
	struct bus *bus;
	const struct bus_options options = { .url = fixture_server.url, .worker = "w", .command_timeout_ms = 3000, .metrics = m };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	struct bus_subscription *s = open_subscription(bus, BUS_ORDERED);
	failures_left = 2;
	publish(bus, PAID, "k", "twice");
	publish(bus, PAID, "l", "invalid");
	publish(bus, SHIPPED, "l", "waits behind it");
	publish(bus, SHIPPED, "m", "fine");
	static const char *const want = "a/paid none 1 0 1 0\n"
					"a/paid permanent 1 0 0 1\n"
					"a/paid transient 2 2 0 0\n"
					"shipped none 1 0 0 1\n";
	rounds_until_own(s, want);
	assert_int_equal(metric(m, "weir_bus_attempts_total", "a/paid", "none"), 1);
	assert_int_equal(metric(m, "weir_bus_attempts_total", "a/paid", "transient"), 2);
	assert_int_equal(metric(m, "weir_bus_retried_total", "a/paid", "transient"), 2);
	assert_int_equal(metric(m, "weir_bus_recovered_total", "a/paid", NULL), 1);
	assert_int_equal(metric(m, "weir_bus_dead_letters_total", "a/paid", "permanent"), 1);
	assert_int_equal(metric(m, "weir_bus_dead_letters_total", "shipped", "none"), 1);
	bus_subscription_close(&s);
	assert_string_equal(sum(bus), want); /* in Redis, also when the instance is gone */
	bus_close(&bus);
	metrics_free(&m);
}

static void shared_attempts_are_told_apart(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_subscription(bus, BUS_SHARED);
	turn(s); /* the groups */
	failures_left = 2;
	publish(bus, PAID, "k", "twice");
	publish(bus, PAID, "l", "invalid");
	publish(bus, SHIPPED, "l", "fine");
	static const char *const want = "a/paid none 1 0 1 0\n"
					"a/paid permanent 1 0 0 1\n"
					"a/paid transient 2 2 0 0\n"
					"shipped none 1 0 0 0\n";
	rounds_until_own(s, want);
	bus_subscription_close(&s);
	assert_string_equal(sum(bus), want);
	bus_close(&bus);
}

static void a_replay_is_an_attempt_and_no_new_letter(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		setup(state);
		struct bus *bus = fixture_bus("w");
		struct bus_subscription *s = open_subscription(bus, order ? BUS_SHARED : BUS_ORDERED);
		uint64_t n;
		turn(s);
		publish(bus, PAID, "l", "invalid");
		rounds_until_own(s, "a/paid permanent 1 0 0 1\n");
		assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
		assert_int_equal(n, 1);
		rounds_until_own(s, "a/paid permanent 2 0 0 1\n");
		bus_subscription_close(&s);
		bus_close(&bus);
	}
}

static void instances_add_up_while_they_run(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_subscription *s = open_subscription(a, BUS_SHARED), *t = open_subscription(b, BUS_SHARED);
	turn(s);
	for (int i = 0; i < 10; i++)
		publish(a, PAID, "k", "fine");
	rounds_until_own(s, "a/paid none 10 0 0 0\n");
	publish(a, PAID, "k", "fine");
	rounds_until_own(t, "a/paid none 1 0 0 0\n");
	int64_t deadline = clock_mono_ms() + 30000;
	while (strcmp(sum(a), "a/paid none 11 0 0 0\n") != 0) { /* neither has ended */
		if (clock_mono_ms() > deadline)
			fail_msg("not within 30 s: %s", sum(a));
		turn(s);
		turn(t);
	}
	bus_subscription_close(&s);
	bus_subscription_close(&t);
	assert_string_equal(sum(a), "a/paid none 11 0 0 0\n"); /* nothing twice */
	assert_int_equal(bus_subscription_detach(a, "test", "orders", "books", "me", NULL), 0);
	assert_string_equal(sum(a), "");
	bus_close(&a);
	bus_close(&b);
}

/* Whatever ids come from outside. */
static void unknown_types_are_one_row(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_subscription(bus, BUS_ORDERED);
	for (uint16_t i = 0; i < 20; i++)
		publish(bus, (uint16_t)(UNKNOWN_TO_ALL + i), "", "strange");
	rounds_until_own(s, "unknown permanent 0 0 0 20\n");
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* While a breaker is open nobody is called; the call that opened it was an attempt, and used none up. */
static void a_dependency_that_is_down_uses_up_nothing(void **state)
{
	(void)state;
	static const struct breaker_policy touchy = { .least = 1, .accept = 1, .window_ms = 60000, .pause_ms = 1, .pause_max_ms = 1, .probes = 1 };
	for (int order = 0; order < 2; order++) {
		setup(state);
		struct bus *bus = fixture_bus("w");
		const struct bus_subscription_options o = { .chain = "test",
							    .topic = "orders",
							    .subscription = "books",
							    .order = order ? BUS_SHARED : BUS_ORDERED,
							    .handlers = handlers,
							    .handler_count = 1,
							    .breaker = &touchy,
							    .lease_ms = 60000 };
		struct bus_subscription *s;
		assert_int_equal(bus_subscription_open(bus, &o, &s, NULL), 0);
		turn(s);
		failures_left = 1;
		publish(bus, PAID, "k", "down");
		rounds_until_own(s, "a/paid dependency 1 0 0 0\na/paid none 1 0 0 0\n");
		bus_subscription_close(&s);
		bus_close(&bus);
	}
}

/* A program that reads the shared lane itself: what it settles are its attempts. */
static void workers_without_handlers_count_what_they_settle(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w;
	struct bus_message *m;
	struct error why = { 0 };
	size_t n;
	assert_int_equal(bus_worker_open(bus, "test", "orders", "books", NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 10, 0, &m, &n, NULL), 0);
	publish(bus, PAID, "k", "a");
	publish(bus, PAID, "k", "b");
	assert_int_equal(bus_worker_read(w, 10, 20000, &m, &n, NULL), 0);
	assert_int_equal(n, 2);
	struct bus_step *step = bus_step_begin(w);
	bus_step_settle(step, &m[0], BUS_DONE, NULL);
	error_set(&why, WEIR_INVALID, "no");
	bus_step_settle(step, &m[1], BUS_REJECT, &why);
	assert_int_equal(bus_step_commit(&step, NULL), 0);
	bus_worker_close(&w);
	assert_string_equal(sum(bus), "a/paid none 1 0 0 0\na/paid permanent 1 0 0 1\n");
	bus_close(&bus);
}

int main(void)
{
	if (bus_types_add(types, sizeof types / sizeof types[0], NULL) != 0)
		return 1;
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(ordered_attempts_are_told_apart),
		TEST(shared_attempts_are_told_apart),
		TEST(a_replay_is_an_attempt_and_no_new_letter),
		TEST(instances_add_up_while_they_run),
		TEST(unknown_types_are_one_row),
		TEST(a_dependency_that_is_down_uses_up_nothing),
		TEST(workers_without_handlers_count_what_they_settle),
	};
	return fixture_run(tests);
}

/* subscription_test.c - handlers against a real Redis: delivery, order through retries and dead letters, breaker, storm guard, pause,
 * unknown types, upcasters, crash poison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "wire/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAID = 200, SHIPPED, GROWN, OTHER, LATER_KNOWN };

static int append_dash(struct bytes body, struct buf *ret, struct error *err)
{
	(void)err;
	buf_add(ret, body.data, body.size);
	buf_add_str(ret, "-");
	return 0;
}
static bus_upcast_fn *const one_step[] = { append_dash };
static const struct bus_type types[] = {
	{ .id = PAID, .name = "paid", .version = 1, .klass = BUS_NORMAL, .key_space = "order" },
	{ .id = SHIPPED, .name = "shipped", .version = 1, .klass = BUS_NORMAL, .key_space = "order" },
	{ .id = GROWN, .name = "grown", .version = 2, .oldest = 1, .upcasters = one_step, .klass = BUS_NORMAL },
	{ .id = OTHER, .name = "other", .version = 1, .klass = BUS_CRITICAL },
};
static const uint16_t handled[] = { PAID, SHIPPED, GROWN };

/* -- a handler that does as it is told, and writes down what it got ------------------------------------------------------------ */

static struct story {
	char seen[16384]; /* "body body …", failures as "body!" */
	struct {
		const char *body;
		int code, times; /* times < 0: always */
	} fails[16];
	int all; /* every message fails with this, unless 0 */
	unsigned calls;
} story;

static int tell(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct story *s = arg;
	int code = s->all;
	s->calls++;
	for (size_t i = 0; i < 16 && s->fails[i].body; i++)
		if (strlen(s->fails[i].body) == d->body.size && memcmp(s->fails[i].body, d->body.data, d->body.size) == 0 && s->fails[i].times != 0) {
			s->fails[i].times -= s->fails[i].times > 0;
			code = s->fails[i].code;
		}
	size_t used = strlen(s->seen);
	snprintf(s->seen + used, sizeof s->seen - used, "%s%.*s%s", used ? " " : "", (int)d->body.size, (const char *)d->body.data, code ? "!" : "");
	return code ? error_set(err, code, "told to fail with %s", error_name(code)) : 0;
}

static const struct bus_handler teller[] = { { "teller", handled, 3, tell, &story, NULL } };
static const struct retry_rule quick[] = {
	{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 3, .base_ms = 1, .max_ms = 1 } },
};

static struct bus_subscription_options options(enum bus_order order)
{
	return (struct bus_subscription_options){ .chain = "test",
						  .topic = "orders",
						  .subscription = "books",
						  .order = order,
						  .handlers = teller,
						  .handler_count = 1,
						  .retries = quick,
						  .retry_count = 1,
						  .lease_ms = 60000 };
}

static struct bus_subscription *open_with(struct bus *bus, struct bus_subscription_options o)
{
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

static void turn(struct bus_subscription *s)
{
	struct error err = { 0 };
	if (bus_subscription_turn(s, 20, &err) != 0)
		fail_msg("%s", err.text);
}

static struct bus_subscription_status status(struct bus_subscription *s)
{
	static struct bus_subscription_status st;
	bus_subscription_status(s, &st);
	return st;
}

static uint64_t generation_of_orders(void)
{
	char *text = fixture_text("HGET weir:{test}:orders:meta gen");
	uint64_t generation = text ? strtoull(text, NULL, 10) : 0;
	free(text);
	return generation;
}

/* Rounds until it holds; a deadline instead of a count. */
#define rounds_until(s, condition)                                                                                                                   \
	do {                                                                                                                                         \
		int64_t deadline = clock_mono_ms() + 20000;                                                                                          \
		while (!(condition)) {                                                                                                               \
			if (clock_mono_ms() > deadline)                                                                                              \
				fail_msg("not within 20 s: %s; seen: %s", #condition, story.seen);                                                   \
			turn(s);                                                                                                                     \
		}                                                                                                                                    \
	} while (0)

static uint64_t letters(struct bus *bus)
{
	uint64_t n;
	assert_int_equal(dead_letter_count(bus, "test", "books", &n, NULL), 0);
	return n;
}

static bool seen(const char *word)
{
	return strstr(story.seen, word) != NULL;
}

static int setup(void **state)
{
	memset(&story, 0, sizeof story);
	return fixture_flush(state);
}

/* -- delivery ---------------------------------------------------------------------------------------------------------------------- */

static void what_contradicts_itself_is_refused(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	static const struct bus_handler twice[] = { { "a", handled, 1, tell, &story, NULL }, { "b", handled, 1, tell, &story, NULL } };
	static const uint16_t unknown[] = { 999 };
	static const struct bus_handler strange[] = { { "a", unknown, 1, tell, &story, NULL } };
	static const struct retry_rule wrong[] = { { "nobody", 0, RETRY_ANY, { .attempts = 1 } } };
	static const struct retry_rule wrong_type[] = { { NULL, 999, RETRY_ANY, { .attempts = 1 } } };
	struct bus_subscription_options rows[8];
	static const char *const words[] = { "chain \"a:b\"",
					     "has 0 handlers",
					     "message type paid has two handlers, a and b",
					     "message type 999",
					     "names handler nobody",
					     "a batch of 100000",
					     "a lease of 5 ms",
					     "rule 0 names message type 999" };
	for (size_t i = 0; i < 8; i++)
		rows[i] = options(BUS_ORDERED);
	rows[0].chain = "a:b";
	rows[1].handler_count = 0;
	rows[2].handlers = twice;
	rows[2].handler_count = 2;
	rows[3].handlers = strange;
	rows[4].retries = wrong;
	rows[5].batch = 100000;
	rows[6].lease_ms = 5;
	rows[7].retries = wrong_type;
	for (size_t i = 0; i < 8; i++) {
		struct bus_subscription *s = NULL;
		struct error err = { 0 };
		assert_int_equal(bus_subscription_open(bus, &rows[i], &s, &err), WEIR_CONFIG);
		assert_null(s);
		if (!strstr(err.text, words[i]))
			fail_msg("\"%s\" does not say \"%s\"", err.text, words[i]);
	}
	bus_close(&bus);
}

static void each_message_reaches_its_handler_in_order(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	publish(bus, PAID, "k", "a");
	publish(bus, OTHER, "k", "nobody's");
	publish(bus, SHIPPED, "k", "b");
	publish(bus, PAID, "l", "c");
	rounds_until(s, story.calls == 3);
	assert_string_equal(story.seen, "a b c");
	assert_int_equal(status(s).delivered, 3);
	assert_int_equal(status(s).skipped, 1);
	assert_int_equal(status(s).handlers[0].done, 3);
	assert_int_equal(status(s).state, BUS_RUNNING);
	assert_true(status(s).progress_ms > 0);
	bus_subscription_close(&s);
	s = open_with(bus, options(BUS_ORDERED)); /* what was committed does not come again */
	publish(bus, PAID, "l", "d");
	rounds_until(s, story.calls == 4);
	assert_string_equal(story.seen, "a b c d");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void while_one_key_waits_the_others_go_on(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 2;
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	publish(bus, PAID, "k", "a");
	publish(bus, SHIPPED, "k", "b");
	publish(bus, PAID, "l", "c");
	publish(bus, SHIPPED, "k", "d");
	rounds_until(s, story.calls == 6);
	assert_true(strncmp(story.seen, "a! c", 4) == 0);
	assert_non_null(strstr(story.seen, "a! a b d"));
	assert_int_equal(status(s).handlers[0].recovered, 1);
	assert_int_equal(status(s).handlers[0].failed, 2);
	assert_int_equal(status(s).held, 0);
	assert_int_equal(letters(bus), 0);
	bus_subscription_close(&s);
	s = open_with(bus, options(BUS_ORDERED));
	for (int i = 0; i < 3; i++)
		turn(s);
	assert_int_equal(story.calls, 6); /* all of it was committed */
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_waits_is_read_again_by_the_next_owner(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	static const struct retry_rule slow[] = {
		{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 3, .base_ms = 60000, .max_ms = 60000 } }
	};
	struct bus_subscription_options o = options(BUS_ORDERED);
	o.retries = slow;
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 1;
	publish(a, PAID, "k", "a");
	publish(a, PAID, "k", "b");
	publish(a, PAID, "l", "c");
	struct bus_subscription *s = open_with(a, o), *t = open_with(b, o);
	rounds_until(s, story.calls == 2);
	assert_int_equal(status(s).held, 2);
	turn(t);
	assert_int_equal(status(t).state, BUS_WAITING);
	bus_subscription_close(&s);
	rounds_until(t, seen("a b"));
	assert_string_equal(story.seen, "a! c a b c"); /* c again: its place was above what waited */
	bus_subscription_close(&t);
	bus_close(&a);
	bus_close(&b);
}

static void room_for_what_waits_is_bounded(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(BUS_ORDERED);
	static const struct retry_rule patient[] = {
		{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 1000000, .base_ms = 1, .max_ms = 1 } }
	};
	static char bodies[40][8];
	o.retries = patient;
	o.hold_max = 4;
	o.batch = 4;
	story.all = WEIR_CONFLICT;
	for (int i = 0; i < 40; i++) {
		snprintf(bodies[i], sizeof bodies[i], "m%d", i);
		publish(bus, PAID, i % 2 ? "odd" : "even", bodies[i]);
	}
	struct bus_subscription *s = open_with(bus, o);
	rounds_until(s, story.calls > 30);
	assert_in_range(status(s).held, 1, 8); /* one batch beyond hold_max at most */
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	rounds_until(s, story.calls == 40);
	int next[2] = { 0, 1 }; /* each once, in order within its key */
	for (char *save, *word = strtok_r(story.seen, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		int i = (int)strtol(word + 1, NULL, 10);
		assert_string_equal(word, bodies[next[i % 2]]);
		next[i % 2] += 2;
	}
	assert_int_equal(next[0], 40);
	assert_int_equal(next[1], 41);
	rounds_until(s, status(s).held == 0);
	assert_int_equal(letters(bus), 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* The publisher's limit of attempts counts before the rule's, and what waits for its next try keeps its envelope. */
static void an_event_may_say_how_often_it_is_tried(enum bus_order order)
{
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(order));
	struct buf packed = BUF_INIT(FRAME_MORE_MAX);
	struct envelope e = { .issuer = { (const uint8_t *)"shop", 4 }, .attempts_max = 5 };
	struct frame f = fixture_message(PAID, "k", "a");
	envelope_write(&e, &packed);
	f.more = (struct bytes){ packed.data, packed.size };
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = -1;
	fixture_publish(bus, "orders", f);
	rounds_until(s, letters(bus) == 1);
	assert_int_equal(story.calls, 5);
	e.attempts_max = 1;
	packed.size = 0;
	envelope_write(&e, &packed);
	f = fixture_message(PAID, "l", "a");
	f.more = (struct bytes){ packed.data, packed.size };
	fixture_publish(bus, "orders", f);
	rounds_until(s, letters(bus) == 2);
	assert_int_equal(story.calls, 6);
	buf_free(&packed);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void an_event_may_say_how_often_it_is_tried_in_order(void **state)
{
	(void)state;
	an_event_may_say_how_often_it_is_tried(BUS_ORDERED);
}

static void an_event_may_say_how_often_it_is_tried_shared(void **state)
{
	(void)state;
	an_event_may_say_how_often_it_is_tried(BUS_SHARED);
}

/* -- dead letters -------------------------------------------------------------------------------------------------------------------- */

static bool count_attempts(const char *id, struct bytes body, void *arg)
{
	(void)id;
	int *n = arg;
	for (size_t i = 0; i + 4 < body.size; i++)
		*n += memcmp(body.data + i, "told ", 5) == 0;
	return false;
}

static void after_the_last_attempt_it_is_parked_with_all_errors(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 3;
	publish(bus, PAID, "k", "a");
	publish(bus, PAID, "k", "b");
	publish(bus, PAID, "l", "c");
	rounds_until(s, letters(bus) == 2);
	publish(bus, PAID, "k", "d");
	rounds_until(s, letters(bus) == 3);
	assert_string_equal(story.seen[3] == 'c' ? "a! c a! a!" : story.seen, story.seen);
	assert_false(seen("b") || seen("d"));
	int errors = 0;
	assert_int_equal(dead_letter_list(bus, "test", "books", NULL, NULL, 1, count_attempts, &errors, NULL), 0);
	assert_int_equal(errors, 3);
	assert_int_equal(status(s).handlers[0].parked, 1);
	assert_non_null(strstr(status(s).last_error, "told to fail"));
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, letters(bus) == 0);
	assert_non_null(strstr(story.seen, "a b d"));
	publish(bus, PAID, "k", "e");
	rounds_until(s, seen("a b d e"));
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_cannot_succeed_is_parked_at_once(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_INVALID;
	story.fails[0].times = 1;
	publish(bus, PAID, "k", "a");
	publish(bus, PAID, "k", "b");
	rounds_until(s, letters(bus) == 2);
	assert_string_equal(story.seen, "a!");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_replay_that_fails_stays_a_letter(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_INVALID;
	story.fails[0].times = 2;
	publish(bus, PAID, "k", "a");
	rounds_until(s, letters(bus) == 1);
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, story.calls == 2);
	turn(s);
	assert_int_equal(letters(bus), 1);
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, letters(bus) == 0);
	assert_string_equal(story.seen, "a! a! a");
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* -- breaker and storm --------------------------------------------------------------------------------------------------------------- */

static const struct breaker_policy touchy = { .least = 4, .accept = 2, .window_ms = 60000, .pause_ms = 20, .pause_max_ms = 40, .probes = 2 };

static void a_breaker_pauses_instead_of_parking(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(BUS_ORDERED);
	o.breaker = &touchy;
	struct bus_subscription *s = open_with(bus, o);
	static char keys[20][8];
	story.all = WEIR_UNAVAILABLE;
	for (int i = 0; i < 20; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		publish(bus, PAID, keys[i], keys[i]);
	}
	rounds_until(s, status(s).handlers[0].breaker_opened >= 5); /* open, probed, open again … */
	assert_int_equal(letters(bus), 0);
	assert_in_range(story.calls, 4, 30);
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	rounds_until(s, story.calls == 20);
	assert_null(strchr(story.seen, '!'));
	assert_false(status(s).handlers[0].breaker_open);
	assert_int_equal(letters(bus), 0);
	assert_int_equal(status(s).held, 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_was_parked_for_a_dependency_is_tried_again_when_it_is_back(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(BUS_ORDERED);
	static const struct retry_rule once[] = { { NULL, 0, RETRY_ANY, { .attempts = 1 } } };
	o.retries = once;
	o.breaker = &touchy;
	struct bus_subscription *s = open_with(bus, o);
	story.all = WEIR_TIMEOUT;
	publish(bus, PAID, "k", "a");
	publish(bus, PAID, "l", "b");
	rounds_until(s, letters(bus) == 2); /* too few failures for the breaker */
	publish(bus, PAID, "m", "c");
	publish(bus, PAID, "n", "d");
	rounds_until(s, status(s).handlers[0].breaker_opened >= 1);
	story.all = 0;
	rounds_until(s, letters(bus) == 0);
	assert_true(seen("a") && seen("b"));
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
	static const struct bus_handler both[] = { { "first", &handled[0], 1, tell, &first, "database" },
						   { "second", &handled[1], 1, tell, &second, "database" } };
	struct bus_subscription_options o = options(BUS_ORDERED);
	o.handlers = both;
	o.handler_count = 2;
	o.breaker = &touchy;
	static const char *const keys[] = { "1", "2", "3", "4" };
	struct bus_subscription *s = open_with(bus, o);
	first.all = WEIR_UNAVAILABLE;
	for (int i = 0; i < 4; i++)
		publish(bus, PAID, keys[i], "x");
	rounds_until(s, status(s).handlers[0].breaker_open);
	assert_true(status(s).handlers[1].breaker_open);
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* "k0" to "k299", of themselves. */
static void publish_to_300_keys(struct bus *bus)
{
	char key[8];
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof key, "k%d", i);
		publish(bus, PAID, key, key);
	}
}

static void a_storm_pauses_and_an_operator_ends_it(enum bus_order order)
{
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(order);
	o.hold_max = 10000;
	struct bus_subscription *s = open_with(bus, o);
	story.all = WEIR_INVALID;
	publish_to_300_keys(bus);
	rounds_until(s, status(s).state == BUS_STORM);
	uint64_t before = letters(bus);
	assert_in_range(before, 40, 60);
	turn(s);
	turn(s);
	assert_int_equal(letters(bus), before);
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	bus_subscription_resume(s);
	rounds_until(s, story.calls == 300 - before && status(s).held == 0);
	assert_null(strchr(story.seen, '!'));
	assert_int_equal(status(s).state, BUS_RUNNING);
	assert_int_equal(letters(bus), before);
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
	static const struct bus_handler both[] = { { "first", &handled[0], 1, tell, &story, "database" },
						   { "second", &handled[1], 1, tell, &story, "database" } };
	static const char *const names[] = { "first", "second" };
	struct metrics *m = metrics_new();
	bus_register_metrics(m);
	struct bus *bus;
	const struct bus_options with = { .url = fixture_server.url, .worker = "w", .command_timeout_ms = 3000, .metrics = m };
	assert_int_equal(bus_open(&with, &bus, NULL), 0);
	struct bus_subscription_options o = options(BUS_ORDERED);
	o.handlers = both;
	o.handler_count = 2;
	o.breaker = &patient;
	struct bus_subscription *s = open_with(bus, o);
	story.all = WEIR_UNAVAILABLE;
	publish_to_300_keys(bus);
	rounds_until(s, status(s).state == BUS_BROKEN);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(metric_count(metrics_get(m, "weir_bus_breaker_opened_total", "test", "books", names[i])), 1);
		assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", names[i])), 2);
	}
	assert_int_equal(metric_count(metrics_get(m, "weir_bus_storms_total", "test", "orders", "books")), 0);
	story.all = WEIR_INVALID;
	bus_subscription_resume(s);
	rounds_until(s, status(s).state == BUS_STORM);
	assert_int_equal(metric_count(metrics_get(m, "weir_bus_storms_total", "test", "orders", "books")), 1);
	assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", "first")), 0);
	assert_int_equal(metric_count(metrics_get(m, "weir_bus_breaker_opened_total", "test", "books", "first")), 1);
	story.all = WEIR_UNAVAILABLE;
	bus_subscription_resume(s);
	rounds_until(s, status(s).state == BUS_BROKEN);
	assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", "first")), 2);
	bus_subscription_close(&s);
	for (size_t i = 0; i < 2; i++) /* with nobody left to close it, it would stand there open */
		assert_int_equal((int)metric_value(metrics_get(m, "weir_bus_breaker_state", "test", "books", names[i])), 0);
	bus_close(&bus);
	metrics_free(&m);
}

/* -- schema -------------------------------------------------------------------------------------------------------------------------- */

static void old_bodies_grow_on_the_way_also_in_replay(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	story.fails[0].body = "a-";
	story.fails[0].code = WEIR_INVALID;
	story.fails[0].times = 1;
	struct frame old = fixture_message(GROWN, "k", "a"), new = fixture_message(GROWN, "l", "b");
	new.schema_version = 2;
	fixture_publish(bus, "orders", old);
	fixture_publish(bus, "orders", new);
	rounds_until(s, letters(bus) == 1 && story.calls == 2);
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, letters(bus) == 0);
	assert_string_equal(story.seen, "a-! b a-");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_a_build_does_not_know_waits_for_one_that_does(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	struct frame newer = fixture_message(GROWN, "g", "v3");
	newer.schema_version = 3;
	publish(bus, LATER_KNOWN, "k", "a");
	publish(bus, PAID, "k", "b"); /* its key waits, too */
	fixture_publish(bus, "orders", newer);
	rounds_until(s, letters(bus) == 3);
	assert_int_equal(story.calls, 0);
	bus_subscription_close(&s);

	static const struct bus_type learnt = { .id = LATER_KNOWN, .name = "later_known", .version = 1, .klass = BUS_NORMAL };
	static const uint16_t more[] = { PAID, SHIPPED, GROWN, LATER_KNOWN };
	static const struct bus_handler knows[] = { { "teller", more, 4, tell, &story, NULL } };
	assert_int_equal(bus_types_add(&learnt, 1, NULL), 0);
	struct bus_subscription_options o = options(BUS_ORDERED);
	o.handlers = knows;
	s = open_with(bus, o);
	rounds_until(s, seen("a"));
	for (int i = 0; i < 3; i++)
		turn(s);
	rounds_until(s, letters(bus) == 1); /* version 3 still is not known; b came behind its head */
	assert_string_equal(story.seen, "a b");
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* -- pause, other instances ------------------------------------------------------------------------------------------------------------ */

static void a_pause_holds_everything_until_resumed(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	turn(s);
	bus_subscription_pause(s, "migration", "ann");
	publish(bus, PAID, "k", "a");
	turn(s);
	turn(s);
	assert_int_equal(story.calls, 0);
	assert_int_equal(status(s).state, BUS_PAUSED);
	assert_string_equal(status(s).reason, "migration");
	assert_string_equal(status(s).by, "ann");
	bus_subscription_resume(s);
	rounds_until(s, story.calls == 1);
	assert_int_equal(status(s).state, BUS_RUNNING);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_word_from_another_process_is_obeyed_also_by_the_next_instance(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *operator= fixture_bus("op");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	turn(s);
	assert_int_equal(bus_subscription_tell(operator, "test", "orders", "books", BUS_TELL_PAUSE, "maintenance", "bob", NULL), 0);
	rounds_until(s, status(s).state == BUS_PAUSED);
	assert_string_equal(status(s).reason, "maintenance");
	publish(bus, PAID, "k", "a");
	bus_subscription_close(&s);
	s = open_with(bus, options(BUS_ORDERED));
	turn(s);
	turn(s);
	assert_int_equal(story.calls, 0);
	assert_int_equal(bus_subscription_tell(operator, "test", "orders", "books", BUS_TELL_RESUME, NULL, "bob", NULL), 0);
	rounds_until(s, story.calls == 1);
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_close(&operator);
}

/* The word and its line of the audit are one step: without the one there is no other. */
static void a_word_is_told_with_its_audit_or_not_at_all(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("op");
	struct error err = { 0 };
	fixture_ask("SET weir:{test}:audit text"); /* no stream: there can be no line */
	assert_int_not_equal(bus_subscription_tell(bus, "test", "orders", "books", BUS_TELL_PAUSE, "r", "bob", &err), 0);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:orders:tell:books"), 0);
	fixture_ask("DEL weir:{test}:audit");
	assert_int_equal(bus_subscription_tell(bus, "test", "orders", "books", BUS_TELL_PAUSE, "r", "bob", &err), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 1);
	char *word = fixture_text("HGET weir:{test}:orders:tell:books word");
	assert_string_equal(word, "pause");
	free(word);
	bus_close(&bus);
}

/* Another subscription, so that what this one has done stays in the topic. */
static void keep_the_topic(struct bus *bus)
{
	struct bus_owner *o;
	assert_int_equal(bus_owner_open(bus, "test", "orders", "archive", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	bus_owner_close(&o);
}

static void seeking_repeats_and_skips(enum bus_order order)
{
	struct bus *bus = fixture_bus("w");
	keep_the_topic(bus);
	struct bus_subscription *s = open_with(bus, options(order));
	struct error err = { 0 };
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "nobody", BUS_NORMAL, 1, 0, "ann", &err), WEIR_NOT_FOUND);
	static const char *const bodies[] = { "a", "b", "c", "d" };
	for (int i = 0; i < 3; i++)
		publish(bus, PAID, "k", bodies[i]);
	rounds_until(s, story.calls == 3);
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "books", BUS_NORMAL, generation_of_orders(), 1, "ann", &err), 0);
	int64_t deadline = clock_mono_ms() + 20000;
	while (story.calls < 5 && clock_mono_ms() < deadline)
		(void)bus_subscription_turn(s, 20, NULL); /* once it says that it was fenced */
	assert_string_equal(story.seen, "a b c b c");
	bus_subscription_close(&s);
	publish(bus, PAID, "k", bodies[3]);
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "books", BUS_NORMAL, generation_of_orders(), 4, "ann", &err), 0);
	s = open_with(bus, options(order));
	for (int i = 0; i < 3; i++)
		turn(s);
	assert_false(seen("d"));
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void seeking_repeats_and_skips_in_order(void **state)
{
	(void)state;
	seeking_repeats_and_skips(BUS_ORDERED);
}

static void seeking_repeats_and_skips_shared(void **state)
{
	(void)state;
	seeking_repeats_and_skips(BUS_SHARED);
}

/* Nobody else reads the topic: what is done is gone, and there is nothing to repeat but what was not done. */
static void a_shared_topic_of_one_repeats_nothing(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = open_with(bus, options(BUS_SHARED));
	publish(bus, PAID, "k", "a");
	rounds_until(s, story.calls == 1);
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "books", BUS_NORMAL, 0, 0, "ann", NULL), 0);
	publish(bus, PAID, "k", "b");
	rounds_until(s, seen("b"));
	assert_string_equal(story.seen, "a b");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void detaching_ends_it_unless_it_runs(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *operator= fixture_bus("op");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	struct error err = { 0 };
	publish(bus, PAID, "k", "a");
	rounds_until(s, story.calls == 1);
	if (bus_subscription_detach(operator, "test", "orders", "books", "ann", &err) != WEIR_CONFLICT)
		fail_msg("%s", err.text);
	assert_non_null(strstr(err.text, "stop it first"));
	bus_subscription_close(&s);
	assert_int_equal(bus_subscription_detach(operator, "test", "orders", "books", "ann", &err), 0);
	assert_int_equal(bus_subscription_detach(operator, "test", "orders", "books", "ann", &err), WEIR_NOT_FOUND);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:orders:own:books weir:{test}:orders:probe:books"), 0);
	struct audit_report report;
	assert_int_equal(bus_audit_verify(operator, "test", 0, NULL, &report, NULL), 0);
	assert_true(report.sound);
	assert_int_equal(report.lines, 1);
	bus_close(&bus);
	bus_close(&operator);
}

/* What somebody has in hand keeps it; what was given back is in nobody's. */
static void detaching_a_shared_one_waits_for_its_workers(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *operator= fixture_bus("op");
	static const struct retry_rule patient[] = {
		{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 1000000, .base_ms = 60000, .max_ms = 60000 } }
	};
	struct bus_subscription_options o = options(BUS_SHARED);
	struct error err = { 0 };
	o.retries = patient;
	struct bus_subscription *s = open_with(bus, o);
	story.all = WEIR_CONFLICT;
	publish(bus, PAID, "k", "a");
	rounds_until(s, story.calls == 1);
	assert_int_equal(bus_subscription_detach(operator, "test", "orders", "books", "ann", &err), WEIR_CONFLICT);
	assert_non_null(strstr(err.text, "has messages in hand: stop its workers first"));
	assert_int_equal(fixture_ask("EXISTS weir:{test}:att:books"), 1);
	bus_subscription_close(&s);
	if (bus_subscription_detach(operator, "test", "orders", "books", "ann", &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(bus_subscription_detach(operator, "test", "orders", "books", "ann", &err), WEIR_NOT_FOUND);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:att:books"), 0);
	story.all = 0;
	s = open_with(bus, options(BUS_SHARED)); /* anew: all that is there */
	rounds_until(s, seen("a a") || seen("a! a"));
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_close(&operator);
}

static int die(const struct bus_delivery *d, void *arg, struct error *err)
{
	if (d->body.size == 6 && memcmp(d->body.data, "poison", 6) == 0)
		_exit(9);
	return tell(d, arg, err);
}
static const struct bus_handler dying[] = { { "dying", handled, 3, die, &story, NULL } };

/* A process of its own, which ends over "poison". Returns its exit status. */
static int live_and_die(struct bus_subscription_options o)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct bus *bus = fixture_bus("child");
		struct bus_subscription *s;
		int64_t deadline = clock_mono_ms() + 20000;
		if (bus_subscription_open(bus, &o, &s, NULL) != 0)
			_exit(1);
		while (letters(bus) == 0 && clock_mono_ms() < deadline)
			(void)bus_subscription_turn(s, 20, NULL);
		_exit(letters(bus) == 0);
	}
	int wstatus = 0;
	assert_true(pid > 0 && waitpid(pid, &wstatus, 0) == pid && WIFEXITED(wstatus));
	return WEXITSTATUS(wstatus);
}

static void a_message_that_ends_its_readers_is_parked(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(BUS_ORDERED);
	o.handlers = dying;
	o.lease_ms = 100;
	publish(bus, PAID, "k", "before");
	publish(bus, PAID, "k", "poison");
	int deaths = 0;
	while (live_and_die(o) == 9)
		assert_true(++deaths < 10);
	assert_int_equal(deaths, 1 + BUS_CRASHES); /* the first one had not noted anything */
	o.handlers = teller;
	o.lease_ms = 60000;
	struct bus_subscription *s = open_with(bus, o);
	publish(bus, PAID, "m", "next");
	rounds_until(s, seen("next"));
	assert_false(seen("poison"));
	assert_int_equal(letters(bus), 1);
	struct dead_letter_filter crashed = { .reason = "crash" };
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", &crashed, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(n, 1);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_thread_of_its_own_stops_when_asked(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *other = fixture_bus("p");
	struct bus_subscription *s = open_with(bus, options(BUS_ORDERED));
	assert_int_equal(bus_subscription_start(s, 1000, NULL), 0);
	assert_int_equal(bus_subscription_start(s, 1000, NULL), WEIR_USAGE);
	publish(other, PAID, "k", "a");
	int64_t deadline = clock_mono_ms() + 20000;
	while (status(s).delivered < 1 && clock_mono_ms() < deadline)
		clock_sleep_ms(1);
	assert_int_equal(bus_subscription_join(s, NULL), 0);
	assert_string_equal(story.seen, "a");
	assert_int_equal(status(s).state, BUS_STOPPED);
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_close(&other);
}

/* -- shared ---------------------------------------------------------------------------------------------------------------------------- */

static int forward(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct frame f = d->message->frame;
	int r = bus_delivery_emit(d, "results", &f, err);
	return r ? r : tell(d, arg, err);
}
static const struct bus_handler forwarder[] = { { "forward", handled, 3, forward, &story, NULL } };

static void shared_results_go_out_with_the_acknowledgement(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(BUS_SHARED);
	o.handlers = forwarder;
	story.fails[0].body = "b";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 1;
	story.fails[1].body = "c";
	story.fails[1].code = WEIR_INVALID;
	story.fails[1].times = 1;
	struct bus_subscription *s = open_with(bus, o);
	publish(bus, PAID, "k", "a");
	publish(bus, PAID, "k", "b");
	publish(bus, PAID, "k", "c");
	rounds_until(s, story.calls == 4);
	assert_string_equal(story.seen, "a b! c! b");
	assert_int_equal(fixture_ask("XLEN weir:{test}:results:normal"), 2);
	assert_int_equal(letters(bus), 1);
	assert_int_equal(status(s).handlers[0].recovered, 1);
	assert_int_equal(status(s).handlers[0].parked, 1);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_shared_subscription_waits_for_its_dependency(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = options(BUS_SHARED);
	o.breaker = &touchy;
	o.batch = 2;
	static char keys[10][8];
	struct bus_subscription *s = open_with(bus, o);
	story.all = WEIR_UNAVAILABLE;
	for (int i = 0; i < 10; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		publish(bus, PAID, keys[i], keys[i]);
	}
	rounds_until(s, status(s).handlers[0].breaker_opened >= 3);
	assert_int_equal(letters(bus), 0);
	story.all = 0;
	story.seen[0] = 0;
	story.calls = 0;
	rounds_until(s, story.calls == 10);
	assert_int_equal(letters(bus), 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

int main(void)
{
	if (bus_types_add(types, sizeof types / sizeof types[0], NULL) != 0)
		return 1;
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(what_contradicts_itself_is_refused),
		TEST(each_message_reaches_its_handler_in_order),
		fixture_threads(while_one_key_waits_the_others_go_on, setup, NULL, "redis#5117, MassTransit#634, pulsar#15317, pulsar#8115, pulsar#21199, Watermill's Requeuer"),
		TEST(what_waits_is_read_again_by_the_next_owner),
		fixture_threads(room_for_what_waits_is_bounded, setup, NULL, "nats-server#4112"),
		TEST(an_event_may_say_how_often_it_is_tried_in_order),
		TEST(an_event_may_say_how_often_it_is_tried_shared),
		TEST(after_the_last_attempt_it_is_parked_with_all_errors),
		TEST(what_cannot_succeed_is_parked_at_once),
		TEST(a_replay_that_fails_stays_a_letter),
		fixture_threads(a_breaker_pauses_instead_of_parking, setup, NULL, "asynq, Sidekiq"),
		TEST(what_was_parked_for_a_dependency_is_tried_again_when_it_is_back),
		TEST(handlers_of_one_dependency_share_its_breaker),
		fixture_threads(a_storm_pauses_and_an_operator_ends_it_in_order, setup, NULL, "asynq, Sidekiq"),
		TEST(a_storm_pauses_and_an_operator_ends_it_shared),
		TEST(breakers_and_storms_are_in_the_metrics),
		TEST(old_bodies_grow_on_the_way_also_in_replay),
		TEST(what_a_build_does_not_know_waits_for_one_that_does),
		TEST(a_pause_holds_everything_until_resumed),
		TEST(a_word_from_another_process_is_obeyed_also_by_the_next_instance),
		TEST(a_word_is_told_with_its_audit_or_not_at_all),
		TEST(seeking_repeats_and_skips_in_order),
		TEST(seeking_repeats_and_skips_shared),
		TEST(a_shared_topic_of_one_repeats_nothing),
		TEST(detaching_ends_it_unless_it_runs),
		TEST(detaching_a_shared_one_waits_for_its_workers),
		fixture_threads(a_message_that_ends_its_readers_is_parked, setup, NULL, "asynq#1015, Sidekiq#4633"),
		TEST(a_thread_of_its_own_stops_when_asked),
		TEST(shared_results_go_out_with_the_acknowledgement),
		TEST(a_shared_subscription_waits_for_its_dependency),
	};
	return fixture_run(tests);
}

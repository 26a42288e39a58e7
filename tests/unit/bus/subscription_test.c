/* subscription_test.c - handlers against a real Redis: delivery, order through retries, dead letters, unknown types, upcasters, what the shared lane
 * emits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/story.h"
#include "wire/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- delivery ---------------------------------------------------------------------------------------------------------------------- */

static void what_contradicts_itself_is_refused(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	static const struct bus_handler twice[] = { { "a", story_types, 1, story_tell, &story, NULL }, { "b", story_types, 1, story_tell, &story, NULL } };
	static const uint16_t unknown[] = { 999 };
	static const struct bus_handler strange[] = { { "a", unknown, 1, story_tell, &story, NULL } };
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
		rows[i] = story_options(BUS_ORDERED);
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
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story_publish(bus, PAID, "k", "a");
	story_publish(bus, OTHER, "k", "nobody's");
	story_publish(bus, SHIPPED, "k", "b");
	story_publish(bus, PAID, "l", "c");
	rounds_until(s, story.calls == 3);
	assert_string_equal(story.seen, "a b c");
	assert_int_equal(story_status(s).delivered, 3);
	assert_int_equal(story_status(s).skipped, 1);
	assert_int_equal(story_status(s).handlers[0].done, 3);
	assert_int_equal(story_status(s).state, BUS_RUNNING);
	assert_true(story_status(s).progress_ms > 0);
	bus_subscription_close(&s);
	s = story_open(bus, story_options(BUS_ORDERED)); /* what was committed does not come again */
	story_publish(bus, PAID, "l", "d");
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
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story_publish(bus, PAID, "k", "a");
	story_publish(bus, SHIPPED, "k", "b");
	story_publish(bus, PAID, "l", "c");
	story_publish(bus, SHIPPED, "k", "d");
	rounds_until(s, story.calls == 6);
	assert_true(strncmp(story.seen, "a! c", 4) == 0);
	assert_non_null(strstr(story.seen, "a! a b d"));
	assert_int_equal(story_status(s).handlers[0].recovered, 1);
	assert_int_equal(story_status(s).handlers[0].failed, 2);
	assert_int_equal(story_status(s).held, 0);
	assert_int_equal(story_letters(bus), 0);
	bus_subscription_close(&s);
	s = story_open(bus, story_options(BUS_ORDERED));
	for (int i = 0; i < 3; i++)
		story_turn(s);
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
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	o.retries = slow;
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 1;
	story_publish(a, PAID, "k", "a");
	story_publish(a, PAID, "k", "b");
	story_publish(a, PAID, "l", "c");
	struct bus_subscription *s = story_open(a, o), *t = story_open(b, o);
	rounds_until(s, story.calls == 2);
	assert_int_equal(story_status(s).held, 2);
	story_turn(t);
	assert_int_equal(story_status(t).state, BUS_WAITING);
	bus_subscription_close(&s);
	rounds_until(t, story_seen("a b"));
	assert_string_equal(story.seen, "a! c a b c"); /* c again: its place was above what waited */
	bus_subscription_close(&t);
	bus_close(&a);
	bus_close(&b);
}

static void room_for_what_waits_is_bounded(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(BUS_ORDERED);
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
		story_publish(bus, PAID, i % 2 ? "odd" : "even", bodies[i]);
	}
	struct bus_subscription *s = story_open(bus, o);
	rounds_until(s, story.calls > 30);
	assert_in_range(story_status(s).held, 1, 8); /* one batch beyond hold_max at most */
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
	rounds_until(s, story_status(s).held == 0);
	assert_int_equal(story_letters(bus), 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* The publisher's limit of attempts counts before the rule's, and what waits for its next try keeps its envelope. */
static void an_event_may_say_how_often_it_is_tried(enum bus_order order)
{
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = story_open(bus, story_options(order));
	struct buf packed = BUF_INIT(FRAME_MORE_MAX);
	struct envelope e = { .issuer = { (const uint8_t *)"shop", 4 }, .attempts_max = 5 };
	struct frame f = fixture_message(PAID, "k", "a");
	envelope_write(&e, &packed);
	f.more = (struct bytes){ packed.data, packed.size };
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = -1;
	fixture_publish(bus, "orders", f);
	rounds_until(s, story_letters(bus) == 1);
	assert_int_equal(story.calls, 5);
	e.attempts_max = 1;
	packed.size = 0;
	envelope_write(&e, &packed);
	f = fixture_message(PAID, "l", "a");
	f.more = (struct bytes){ packed.data, packed.size };
	fixture_publish(bus, "orders", f);
	rounds_until(s, story_letters(bus) == 2);
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
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 3;
	story_publish(bus, PAID, "k", "a");
	story_publish(bus, PAID, "k", "b");
	story_publish(bus, PAID, "l", "c");
	rounds_until(s, story_letters(bus) == 2);
	story_publish(bus, PAID, "k", "d");
	rounds_until(s, story_letters(bus) == 3);
	assert_string_equal(story.seen[3] == 'c' ? "a! c a! a!" : story.seen, story.seen);
	assert_false(story_seen("b") || story_seen("d"));
	int errors = 0;
	assert_int_equal(dead_letter_list(bus, "test", "books", NULL, NULL, 1, count_attempts, &errors, NULL), 0);
	assert_int_equal(errors, 3);
	assert_int_equal(story_status(s).handlers[0].parked, 1);
	assert_non_null(strstr(story_status(s).last_error, "told to fail"));
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, story_letters(bus) == 0);
	assert_non_null(strstr(story.seen, "a b d"));
	story_publish(bus, PAID, "k", "e");
	rounds_until(s, story_seen("a b d e"));
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_cannot_succeed_is_parked_at_once(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_INVALID;
	story.fails[0].times = 1;
	story_publish(bus, PAID, "k", "a");
	story_publish(bus, PAID, "k", "b");
	rounds_until(s, story_letters(bus) == 2);
	assert_string_equal(story.seen, "a!");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_replay_that_fails_stays_a_letter(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story.fails[0].body = "a";
	story.fails[0].code = WEIR_INVALID;
	story.fails[0].times = 2;
	story_publish(bus, PAID, "k", "a");
	rounds_until(s, story_letters(bus) == 1);
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, story.calls == 2);
	story_turn(s);
	assert_int_equal(story_letters(bus), 1);
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, story_letters(bus) == 0);
	assert_string_equal(story.seen, "a! a! a");
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* -- schema -------------------------------------------------------------------------------------------------------------------------- */

static void old_bodies_grow_on_the_way_also_in_replay(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story.fails[0].body = "a-";
	story.fails[0].code = WEIR_INVALID;
	story.fails[0].times = 1;
	struct frame old = fixture_message(GROWN, "k", "a"), new = fixture_message(GROWN, "l", "b");
	new.schema_version = 2;
	fixture_publish(bus, "orders", old);
	fixture_publish(bus, "orders", new);
	rounds_until(s, story_letters(bus) == 1 && story.calls == 2);
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, story_letters(bus) == 0);
	assert_string_equal(story.seen, "a-! b a-");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_a_build_does_not_know_waits_for_one_that_does(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	struct frame newer = fixture_message(GROWN, "g", "v3");
	newer.schema_version = 3;
	story_publish(bus, LATER_KNOWN, "k", "a");
	story_publish(bus, PAID, "k", "b"); /* its key waits, too */
	fixture_publish(bus, "orders", newer);
	rounds_until(s, story_letters(bus) == 3);
	assert_int_equal(story.calls, 0);
	bus_subscription_close(&s);

	static const struct bus_type learnt = { .id = LATER_KNOWN, .name = "later_known", .version = 1, .klass = BUS_NORMAL };
	static const uint16_t more[] = { PAID, SHIPPED, GROWN, LATER_KNOWN };
	static const struct bus_handler knows[] = { { "teller", more, 4, story_tell, &story, NULL } };
	assert_int_equal(bus_types_add(&learnt, 1, NULL), 0);
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	o.handlers = knows;
	s = story_open(bus, o);
	rounds_until(s, story_seen("a"));
	for (int i = 0; i < 3; i++)
		story_turn(s);
	rounds_until(s, story_letters(bus) == 1); /* version 3 still is not known; b came behind its head */
	assert_string_equal(story.seen, "a b");
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* -- shared ---------------------------------------------------------------------------------------------------------------------------- */

static int forward(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct frame f = d->message->frame;
	int r = bus_delivery_emit(d, "results", &f, err);
	return r ? r : story_tell(d, arg, err);
}
static const struct bus_handler forwarder[] = { { "forward", story_types, 3, forward, &story, NULL } };

static void shared_results_go_out_with_the_acknowledgement(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(BUS_SHARED);
	o.handlers = forwarder;
	story.fails[0].body = "b";
	story.fails[0].code = WEIR_CONFLICT;
	story.fails[0].times = 1;
	story.fails[1].body = "c";
	story.fails[1].code = WEIR_INVALID;
	story.fails[1].times = 1;
	struct bus_subscription *s = story_open(bus, o);
	story_publish(bus, PAID, "k", "a");
	story_publish(bus, PAID, "k", "b");
	story_publish(bus, PAID, "k", "c");
	rounds_until(s, story.calls == 4);
	assert_string_equal(story.seen, "a b! c! b");
	assert_int_equal(fixture_ask("XLEN weir:{test}:results:normal"), 2);
	assert_int_equal(story_letters(bus), 1);
	assert_int_equal(story_status(s).handlers[0].recovered, 1);
	assert_int_equal(story_status(s).handlers[0].parked, 1);
	bus_subscription_close(&s);
	bus_close(&bus);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, story_setup)
	const struct CMUnitTest tests[] = {
		TEST(what_contradicts_itself_is_refused),
		TEST(each_message_reaches_its_handler_in_order),
		fixture_threads(while_one_key_waits_the_others_go_on, story_setup, NULL, "redis#5117, MassTransit#634, pulsar#15317, pulsar#8115, pulsar#21199, Watermill's Requeuer"),
		TEST(what_waits_is_read_again_by_the_next_owner),
		fixture_threads(room_for_what_waits_is_bounded, story_setup, NULL, "nats-server#4112"),
		TEST(an_event_may_say_how_often_it_is_tried_in_order),
		TEST(an_event_may_say_how_often_it_is_tried_shared),
		TEST(after_the_last_attempt_it_is_parked_with_all_errors),
		TEST(what_cannot_succeed_is_parked_at_once),
		TEST(a_replay_that_fails_stays_a_letter),
		TEST(old_bodies_grow_on_the_way_also_in_replay),
		TEST(what_a_build_does_not_know_waits_for_one_that_does),
		TEST(shared_results_go_out_with_the_acknowledgement),
	};
	return story_run(tests);
}

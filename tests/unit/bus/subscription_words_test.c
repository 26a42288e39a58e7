/* subscription_words_test.c - words to a subscription and its end: pause and resume, from here and from other processes, seek, detach, a message that ends
 * its readers, a thread of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/story.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- pause, other instances ------------------------------------------------------------------------------------------------------------ */

static void a_pause_holds_everything_until_resumed(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story_turn(s);
	bus_subscription_pause(s, "migration", "ann");
	story_publish(bus, PAID, "k", "a");
	story_turn(s);
	story_turn(s);
	assert_int_equal(story.calls, 0);
	assert_int_equal(story_status(s).state, BUS_PAUSED);
	assert_string_equal(story_status(s).reason, "migration");
	assert_string_equal(story_status(s).by, "ann");
	bus_subscription_resume(s);
	rounds_until(s, story.calls == 1);
	assert_int_equal(story_status(s).state, BUS_RUNNING);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_word_from_another_process_is_obeyed_also_by_the_next_instance(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *operator= fixture_bus("op");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	story_turn(s);
	assert_int_equal(bus_subscription_tell(operator, "test", "orders", "books", BUS_TELL_PAUSE, "maintenance", "bob", NULL), 0);
	rounds_until(s, story_status(s).state == BUS_PAUSED);
	assert_string_equal(story_status(s).reason, "maintenance");
	story_publish(bus, PAID, "k", "a");
	bus_subscription_close(&s);
	s = story_open(bus, story_options(BUS_ORDERED));
	story_turn(s);
	story_turn(s);
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
	struct bus_subscription *s = story_open(bus, story_options(order));
	struct error err = { 0 };
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "nobody", BUS_NORMAL, 1, 0, "ann", &err), WEIR_NOT_FOUND);
	static const char *const bodies[] = { "a", "b", "c", "d" };
	for (int i = 0; i < 3; i++)
		story_publish(bus, PAID, "k", bodies[i]);
	rounds_until(s, story.calls == 3);
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "books", BUS_NORMAL, story_generation(), 1, "ann", &err), 0);
	int64_t deadline = clock_mono_ms() + 20000;
	while (story.calls < 5 && clock_mono_ms() < deadline)
		(void)bus_subscription_turn(s, 20, NULL); /* once it says that it was fenced */
	assert_string_equal(story.seen, "a b c b c");
	bus_subscription_close(&s);
	story_publish(bus, PAID, "k", bodies[3]);
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "books", BUS_NORMAL, story_generation(), 4, "ann", &err), 0);
	s = story_open(bus, story_options(order));
	for (int i = 0; i < 3; i++)
		story_turn(s);
	assert_false(story_seen("d"));
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
	struct bus_subscription *s = story_open(bus, story_options(BUS_SHARED));
	story_publish(bus, PAID, "k", "a");
	rounds_until(s, story.calls == 1);
	assert_int_equal(bus_subscription_seek(bus, "test", "orders", "books", BUS_NORMAL, 0, 0, "ann", NULL), 0);
	story_publish(bus, PAID, "k", "b");
	rounds_until(s, story_seen("b"));
	assert_string_equal(story.seen, "a b");
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void detaching_ends_it_unless_it_runs(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *operator= fixture_bus("op");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	struct error err = { 0 };
	story_publish(bus, PAID, "k", "a");
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
	struct bus_subscription_options o = story_options(BUS_SHARED);
	struct error err = { 0 };
	o.retries = patient;
	struct bus_subscription *s = story_open(bus, o);
	story.all = WEIR_CONFLICT;
	story_publish(bus, PAID, "k", "a");
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
	s = story_open(bus, story_options(BUS_SHARED)); /* anew: all that is there */
	rounds_until(s, story_seen("a a") || story_seen("a! a"));
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_close(&operator);
}

static int die(const struct bus_delivery *d, void *arg, struct error *err)
{
	if (d->body.size == 6 && memcmp(d->body.data, "poison", 6) == 0)
		_exit(9);
	return story_tell(d, arg, err);
}
static const struct bus_handler dying[] = { { "dying", story_types, 3, die, &story, NULL } };

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
		while (story_letters(bus) == 0 && clock_mono_ms() < deadline)
			(void)bus_subscription_turn(s, 20, NULL);
		_exit(story_letters(bus) == 0);
	}
	int wstatus = 0;
	assert_true(pid > 0 && waitpid(pid, &wstatus, 0) == pid && WIFEXITED(wstatus));
	return WEXITSTATUS(wstatus);
}

static void a_message_that_ends_its_readers_is_parked(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_subscription_options o = story_options(BUS_ORDERED);
	o.handlers = dying;
	o.lease_ms = 100;
	story_publish(bus, PAID, "k", "before");
	story_publish(bus, PAID, "k", "poison");
	int deaths = 0;
	while (live_and_die(o) == 9)
		assert_true(++deaths < 10);
	assert_int_equal(deaths, 1 + BUS_CRASHES); /* the first one had not noted anything */
	o.handlers = story_teller;
	o.lease_ms = 60000;
	struct bus_subscription *s = story_open(bus, o);
	story_publish(bus, PAID, "m", "next");
	rounds_until(s, story_seen("next"));
	assert_false(story_seen("poison"));
	assert_int_equal(story_letters(bus), 1);
	struct dead_letter_filter crashed = { .reason = "crash" };
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", "books", &crashed, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(n, 1);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static int refuse_x(const struct bus_delivery *d, void *arg, struct error *err)
{
	++*(unsigned *)arg;
	return d->body.size == 1 && d->body.data[0] == 'x' ? error_set(err, WEIR_CONFLICT, "not yet") : 0;
}

/* Two subscriptions of one process: the one handles an innocent, which stays to be handled again because another message waits for its next try, and then
 * the other ends the process. Returns its exit status. */
static int live_beside_poison(void)
{
	static const struct retry_rule patient[] = {
		{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 1000000, .base_ms = 60000, .max_ms = 60000 } }
	};
	pid_t pid = fork();
	if (pid == 0) {
		unsigned calls = 0;
		const struct bus_handler refusing[] = { { "refusing", story_types, STORY_TYPES, refuse_x, &calls, NULL } };
		struct bus *bus = fixture_bus("child");
		struct bus_subscription_options beside = story_options(BUS_ORDERED), o = story_options(BUS_ORDERED);
		struct bus_subscription *innocent, *guilty;
		int64_t deadline = clock_mono_ms() + 60000;
		beside.topic = "others";
		beside.subscription = "beside";
		beside.handlers = refusing;
		beside.retries = patient;
		beside.lease_ms = o.lease_ms = 100;
		o.handlers = dying;
		if (bus_subscription_open(bus, &beside, &innocent, NULL) != 0 || bus_subscription_open(bus, &o, &guilty, NULL) != 0)
			_exit(1);
		while (calls < 2 && clock_mono_ms() < deadline) {
			uint64_t n;
			(void)bus_subscription_turn(innocent, 20, NULL);
			if (dead_letter_count(bus, "test", "beside", &n, NULL) != 0 || n > 0)
				_exit(2);
		}
		while (story_letters(bus) == 0 && clock_mono_ms() < deadline)
			(void)bus_subscription_turn(guilty, 20, NULL);
		_exit(story_letters(bus) == 0);
	}
	int wstatus = 0;
	assert_true(pid > 0 && waitpid(pid, &wstatus, 0) == pid && WIFEXITED(wstatus));
	return WEXITSTATUS(wstatus);
}

static void who_was_through_when_another_ended_the_process_is_not_blamed(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	int deaths = 0, status;
	fixture_publish(bus, "others", fixture_message(PAID, "a", "x"));
	fixture_publish(bus, "others", fixture_message(PAID, "b", "innocent"));
	story_publish(bus, PAID, "k", "poison");
	while ((status = live_beside_poison()) == 9)
		assert_true(++deaths < 10);
	assert_int_equal(status, 0); /* 2: the innocent became a letter */
	assert_int_equal(deaths, 1 + BUS_CRASHES);
	bus_close(&bus);
}

static void a_thread_of_its_own_stops_when_asked(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *other = fixture_bus("p");
	struct bus_subscription *s = story_open(bus, story_options(BUS_ORDERED));
	assert_int_equal(bus_subscription_start(s, 1000, NULL), 0);
	assert_int_equal(bus_subscription_start(s, 1000, NULL), WEIR_USAGE);
	story_publish(other, PAID, "k", "a");
	int64_t deadline = clock_mono_ms() + 20000;
	while (story_status(s).delivered < 1 && clock_mono_ms() < deadline)
		clock_sleep_ms(1);
	assert_int_equal(bus_subscription_join(s, NULL), 0);
	assert_string_equal(story.seen, "a");
	assert_int_equal(story_status(s).state, BUS_STOPPED);
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_close(&other);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, story_setup)
	const struct CMUnitTest tests[] = {
		TEST(a_pause_holds_everything_until_resumed),
		TEST(a_word_from_another_process_is_obeyed_also_by_the_next_instance),
		TEST(a_word_is_told_with_its_audit_or_not_at_all),
		TEST(seeking_repeats_and_skips_in_order),
		TEST(seeking_repeats_and_skips_shared),
		TEST(a_shared_topic_of_one_repeats_nothing),
		TEST(detaching_ends_it_unless_it_runs),
		TEST(detaching_a_shared_one_waits_for_its_workers),
		fixture_threads(a_message_that_ends_its_readers_is_parked, story_setup, NULL, "asynq#1015, Sidekiq#4633"),
		TEST(who_was_through_when_another_ended_the_process_is_not_blamed),
		TEST(a_thread_of_its_own_stops_when_asked),
	};
	return story_run(tests);
}

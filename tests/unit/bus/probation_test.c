/* probation_test.c - crash poison on the ordered lane against a real Redis: readers that really end, what is parked and what is left out, who is a suspect and
 * who is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/bus_fixture.h"
#include "support/sim_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUB "reconciler"
#define PROBE "weir:{test}:blocks:probe:" SUB
#define ENDED 9

static struct bus_owner *watching(struct bus *bus, const char *build, int64_t lease_ms)
{
	struct bus_owner *o;
	struct error err = { 0 };
	const int64_t deadline = clock_mono_ms() + 60000;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, SUB, lease_ms, &o, &err), 0);
	bus_owner_watch(o, build, 100);
	while (bus_owner_acquire(o, &err) == WEIR_CONFLICT && clock_mono_ms() < deadline)
		clock_sleep_ms(10); /* the lease of one that ended */
	if (bus_owner_renew(o, &err) != 0)
		fail_msg("%s", err.text);
	return o;
}

static void publish(struct bus *bus, const char *key, const char *body)
{
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, key, body));
}

static struct bus_message *next(struct bus_owner *o)
{
	const int64_t deadline = clock_mono_ms() + 60000;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n = 0;
	while (n == 0 && clock_mono_ms() < deadline)
		if (bus_owner_read(o, 1, 300, &m, &n, &err) != 0)
			fail_msg("%s", err.text);
	assert_int_equal(n, 1);
	return m;
}

static bool poison(struct bus_owner *o, const struct bus_message *m, const char *what)
{
	bool yes;
	struct error err = { 0 };
	if (bus_owner_begin(o, m, what, &yes, &err) != 0)
		fail_msg("%s", err.text);
	return yes;
}

static uint64_t letters(struct bus *bus)
{
	const struct dead_letter_filter crashed = { .reason = "crash" };
	uint64_t n;
	assert_int_equal(dead_letter_count_matching(bus, "test", SUB, &crashed, &n, NULL), 0);
	return n;
}

/* -- processes that end ------------------------------------------------------------------------------------------------------------- */

/* Runs it in a process of its own. Returns the exit status. */
static int in_a_process(int (*life)(struct bus *, const char *), const char *arg)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(life(fixture_bus("child"), arg));
	int status = 0;
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Reads and handles; "poison" ends it. 0: the poison became a letter. */
static int handle_until_parked(struct bus *bus, const char *arg)
{
	(void)arg;
	const int64_t deadline = clock_mono_ms() + 60000;
	struct bus_owner *o = watching(bus, "", 100);
	struct bus_message *m;
	size_t n;
	while (letters(bus) == 0 && clock_mono_ms() < deadline) {
		if (bus_owner_read(o, bus_owner_careful(o) ? 1 : 64, 20, &m, &n, NULL) != 0)
			return 1;
		for (size_t i = 0; i < n; i++) {
			if (!poison(o, &m[i], NULL) && fixture_body_is(&m[i], "poison"))
				return ENDED;
			if (bus_owner_note(o, NULL, NULL) != 0 || bus_owner_commit(o, m[i].klass, m[i].generation, m[i].sequence, NULL) != 0)
				return 1;
		}
	}
	return letters(bus) == 0;
}

/* Ends with this under way; NULL: with nothing. */
static int end_over(struct bus *bus, const char *what)
{
	struct bus_owner *o = watching(bus, "1.0", 100);
	return what && bus_owner_note(o, what, NULL) != 0 ? 1 : ENDED;
}

static int end_after(struct bus *bus, const char *what)
{
	struct bus_owner *o = watching(bus, "1.0", 100);
	return bus_owner_note(o, what, NULL) != 0 || bus_owner_note(o, NULL, NULL) != 0 ? 1 : ENDED;
}

/* Endings over "thing", and one before them of which nothing is known. */
static void end_times(int times)
{
	assert_int_equal(in_a_process(end_over, NULL), ENDED);
	for (int i = 0; i < times; i++)
		assert_int_equal(in_a_process(end_over, "thing"), ENDED);
}

/* -- cases ------------------------------------------------------------------------------------------------------------------------------ */

static void a_message_that_ends_its_readers_is_parked_and_its_key_goes_on(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	int deaths = 0, status;
	publish(bus, "k", "before");
	publish(bus, "k", "poison");
	publish(bus, "k", "after");
	while ((status = in_a_process(handle_until_parked, NULL)) == ENDED)
		assert_true(++deaths < 10);
	assert_int_equal(status, 0);
	assert_int_equal(deaths, 1 + BUS_CRASHES); /* the first one had not noted anything */
	assert_int_equal(letters(bus), 1);
	struct bus_owner *o = watching(bus, "", 60000);
	struct bus_message *m = next(o);
	assert_true(fixture_body_is(m, "after"));
	assert_false(poison(o, m, NULL));
	bus_owner_close(&o);
	bus_close(&bus);
}

static void the_same_under_another_id_is_left_out_while_its_letter_is_there(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	uint64_t n;
	end_times(BUS_CRASHES);
	struct bus_owner *o = watching(bus, "1.0", 60000);
	for (int i = 0; i < 3; i++) {
		publish(bus, "k", "thing");
		assert_true(poison(o, next(o), "thing"));
		assert_int_equal(letters(bus), 1);
	}
	publish(bus, "k", "other");
	assert_false(poison(o, next(o), "other thing"));
	bus_owner_close(&o); /* in order: who comes next knows it all the same */
	o = watching(bus, "1.0", 60000);
	assert_false(bus_owner_careful(o));
	assert_true(poison(o, next(o), "thing")); /* the first of them, which nobody committed */
	assert_int_equal(letters(bus), 1);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, NULL, 0, "me", "to see it again", &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(letters(bus), 0);
	assert_true(poison(o, next(o), "thing"));
	assert_int_equal(letters(bus), 1);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void a_replay_another_build_and_what_went_well_are_tried(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	uint64_t n;
	end_times(BUS_CRASHES);
	struct bus_owner *o = watching(bus, "1.0", 60000);
	publish(bus, "k", "thing");
	assert_true(poison(o, next(o), "thing"));
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	struct bus_message *m = next(o);
	assert_true(m->replay);
	assert_false(poison(o, m, NULL));
	assert_int_equal(bus_owner_resolve(o, m, NULL), 0);
	assert_int_equal(bus_owner_absolve(o, "thing", NULL), 0);
	publish(bus, "k", "thing");
	assert_false(poison(o, next(o), "thing"));
	bus_owner_close(&o);
	end_times(BUS_CRASHES);
	o = watching(bus, "1.1", 60000);
	assert_false(poison(o, next(o), "thing"));
	bus_owner_close(&o);
	o = watching(bus, "1.0", 60000);
	assert_true(poison(o, next(o), "thing"));
	bus_owner_close(&o);
	bus_close(&bus);
}

static void what_was_finished_and_who_was_only_fenced_are_not_blamed(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *other = fixture_bus("v");
	struct bus_message *m;
	size_t n;
	assert_int_equal(in_a_process(end_over, NULL), ENDED);
	assert_int_equal(in_a_process(end_after, "finished"), ENDED);
	struct bus_owner *o = watching(bus, "", 60000), *second;
	assert_int_equal(fixture_ask("HEXISTS " PROBE " s:finished@1.0"), 0);
	assert_true(bus_owner_careful(o));
	assert_int_equal(bus_owner_note(o, "slow", NULL), 0);
	fixture_ask("HSET weir:{test}:blocks:own:" SUB " until 0"); /* the lease runs out over it */
	second = watching(other, "", 60000);
	char *times = fixture_text("HGET " PROBE " s:slow");
	assert_string_equal(times, "1");
	free(times);
	assert_int_equal(bus_owner_read(o, 1, 0, &m, &n, NULL), WEIR_FENCED);
	times = fixture_text("HGET " PROBE " s:slow");
	assert_string_equal(times, "0");
	free(times);
	bus_owner_close(&second);
	bus_owner_close(&o);
	bus_close(&bus);
	bus_close(&other);
}

static long writes(void)
{
	char *text = fixture_text("INFO commandstats");
	const char *hset = text ? strstr(text, "cmdstat_hset:calls=") : NULL;
	long n = hset ? strtol(hset + strlen("cmdstat_hset:calls="), NULL, 10) : 0;
	free(text);
	return n;
}

static void in_normal_running_nothing_is_written(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	assert_int_equal(in_a_process(end_over, NULL), ENDED);
	struct bus_owner *o = watching(bus, "1.0", 60000);
	assert_true(bus_owner_careful(o));
	long before = writes();
	assert_int_equal(bus_owner_note(o, "thing", NULL), 0);
	assert_int_equal(writes(), before + 1);
	bus_owner_close(&o);
	o = watching(bus, "1.0", 60000);
	assert_false(bus_owner_careful(o));
	publish(bus, "k", "a");
	struct bus_message *m = next(o);
	before = writes();
	assert_false(poison(o, m, "thing"));
	assert_int_equal(bus_owner_note(o, "thing", NULL), 0);
	assert_int_equal(bus_owner_note(o, NULL, NULL), 0);
	assert_int_equal(bus_owner_absolve(o, "thing", NULL), 0);
	assert_int_equal(writes(), before);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void a_probation_ends(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	assert_int_equal(in_a_process(end_over, NULL), ENDED);
	struct bus_owner *o = watching(bus, "", 60000);
	char what[24];
	for (int i = 0; i < 100; i++) {
		assert_true(bus_owner_careful(o));
		snprintf(what, sizeof what, "%d", i);
		assert_int_equal(bus_owner_note(o, what, NULL), 0);
	}
	assert_false(bus_owner_careful(o));
	char *at = fixture_text("HGET " PROBE " at");
	assert_string_equal(at, "");
	free(at);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* On a simulated Redis whose answers get lost: the question is repeated, the ending is one. */
static void an_ending_is_counted_once_however_often_it_is_told(void **state)
{
	(void)state;
	static const struct sim_faults lossy = { .reply_lost = 4000 };
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct bus *lives[3];
		struct bus_owner *o[3];
		struct error err = { 0 };
		sim_begin(seed);
		for (int i = 0; i < 3; i++) {
			lives[i] = sim_bus("w");
			assert_int_equal(bus_owner_open(lives[i], "test", TOPIC_BLOCKS, SUB, 1000, &o[i], NULL), 0);
			bus_owner_watch(o[i], "", 100);
			sim_set_faults(i == 2 ? &lossy : NULL);
			int r = bus_owner_acquire(o[i], &err);
			for (int again = 0; r != 0 && again < 100; again++, r = bus_owner_acquire(o[i], &err))
				sim_advance(1000);
			if (r != 0)
				fail_msg("%s", err.text);
			sim_set_faults(NULL);
			if (i == 1)
				assert_int_equal(bus_owner_note(o[i], "thing", NULL), 0);
			if (i < 2)
				sim_kill(lives[i]);
		}
		assert_string_equal(sim_ask((const char *const[]){ "HGET", PROBE, "s:thing", NULL }), "$1\r\n1\r\n");
		for (int i = 0; i < 3; i++) {
			bus_owner_close(&o[i]);
			bus_close(&lives[i]);
		}
		sim_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_message_that_ends_its_readers_is_parked_and_its_key_goes_on, fixture_flush),
		cmocka_unit_test_setup(the_same_under_another_id_is_left_out_while_its_letter_is_there, fixture_flush),
		cmocka_unit_test_setup(a_replay_another_build_and_what_went_well_are_tried, fixture_flush),
		cmocka_unit_test_setup(what_was_finished_and_who_was_only_fenced_are_not_blamed, fixture_flush),
		cmocka_unit_test_setup(in_normal_running_nothing_is_written, fixture_flush),
		cmocka_unit_test_setup(a_probation_ends, fixture_flush),
		cmocka_unit_test(an_ending_is_counted_once_however_often_it_is_told),
	};
	return fixture_run(tests);
}

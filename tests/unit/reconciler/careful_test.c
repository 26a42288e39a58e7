/* careful_test.c - the lock of those who are careful (decision 0040): of all chains of a process one at a time is at work, nobody else waits for it, and who
 * leaves has nothing under way. */
#include "services/reconciler/follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An owner of the chain; careful: behind one that ended without a good-bye. */
static struct bus_owner *owner_of(struct bus *bus, const char *chain, bool careful)
{
	struct bus_owner *o;
	struct error err = { 0 };
	if (careful)
		assert_true(fixture_ask("HSET weir:{%s}:blocks:probe:reconciler holder somebody clean 0 at x", chain) > 0);
	assert_int_equal(bus_owner_open(bus, chain, TOPIC_BLOCKS, "reconciler", 60000, &o, &err), 0);
	bus_owner_watch(o, "1.0", 1000);
	if (bus_owner_acquire(o, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(bus_owner_careful(o), careful);
	return o;
}

static void noted_is(const char *chain, const char *what)
{
	char *at = fixture_text("HGET weir:{%s}:blocks:probe:reconciler at", chain);
	assert_string_equal(at, what);
	free(at);
}

static void one_careful_chain_is_at_work_and_the_others_are_told_so(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *one = owner_of(bus, "one", true), *two = owner_of(bus, "two", true), *calm = owner_of(bus, "calm", false);
	bool careful, other, third;
	assert_true(careful_enter(one, &careful));
	assert_true(careful);
	assert_false(careful_enter(two, &other));
	assert_true(other);
	assert_true(careful_enter(calm, &third)); /* in normal running nobody is asked */
	assert_false(third);
	assert_int_equal(careful_leave(calm, third, 0, NULL), 0);
	assert_false(careful_enter(two, &other)); /* and its leaving lets nobody in */
	assert_int_equal(careful_leave(one, careful, 0, NULL), 0);
	assert_true(careful_enter(two, &other));
	assert_false(careful_enter(one, &careful));
	assert_int_equal(careful_leave(two, other, 0, NULL), 0);
	bus_owner_close(&one);
	bus_owner_close(&two);
	bus_owner_close(&calm);
	bus_close(&bus);
}

static void who_leaves_has_nothing_under_way_also_after_a_failure(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *one = owner_of(bus, "one", true);
	struct error err = { 0 };
	static const int codes[] = { 0, WEIR_UNAVAILABLE };
	for (size_t i = 0; i < 2; i++) {
		bool careful;
		assert_true(careful_enter(one, &careful));
		assert_int_equal(bus_owner_note(one, "block/7/0xab", &err), 0);
		noted_is("one", "block/7/0xab@1.0");
		assert_int_equal(careful_leave(one, careful, codes[i], &err), codes[i]);
		noted_is("one", "");
	}
	bus_owner_close(&one);
	bus_close(&bus);
}

/* -- two chains, each in its thread ------------------------------------------------------------------------------------------------ */

enum { ROUNDS = 200 };
static atomic_int at_work, together;

static void *work(void *arg)
{
	char *chain = arg;
	struct bus *bus = fixture_bus(chain);
	struct bus_owner *o = owner_of(bus, chain, true);
	int64_t deadline = clock_mono_ms() + 60000;
	for (int done = 0; done < ROUNDS && clock_mono_ms() < deadline;) {
		bool careful;
		if (!careful_enter(o, &careful))
			continue;
		if (atomic_fetch_add(&at_work, 1) > 0)
			atomic_fetch_add(&together, 1);
		assert_int_equal(bus_owner_note(o, "thing", NULL), 0);
		atomic_fetch_sub(&at_work, 1);
		assert_int_equal(careful_leave(o, careful, 0, NULL), 0);
		done++;
	}
	bus_owner_close(&o);
	bus_close(&bus);
	return NULL;
}

static void two_threads_are_never_careful_together(void **state)
{
	(void)state;
	pthread_t threads[2];
	static char chains[2][8] = { "one", "two" };
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, chains[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(together, 0);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_careful_chain_is_at_work_and_the_others_are_told_so, fixture_flush),
		cmocka_unit_test_setup(who_leaves_has_nothing_under_way_also_after_a_failure, fixture_flush),
		cmocka_unit_test_setup(two_threads_are_never_careful_together, fixture_flush),
	};
	return fixture_run(tests);
}

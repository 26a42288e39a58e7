/* threads_test.c - what went wrong elsewhere, staged here: each test is named after the issue thread that tells of it. docs/bus-threads.md says
 * what happened there, and which other tests stand for the threads that are not here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/dead_letter.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/sim_redis.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NORMAL "weir:{test}:blocks:normal"
#define SUB "s"

static struct bus_worker *worker(struct bus *bus, const struct retry_policy *policy)
{
	struct bus_worker *w;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_BLOCKS, SUB, policy, &w, NULL), 0);
	return w;
}

static size_t take(struct bus_worker *w, size_t max, int64_t ms, struct bus_message **m)
{
	size_t n;
	struct error err = { 0 };
	if (bus_worker_read(w, max, ms, m, &n, &err) != 0)
		fail_msg("%s", err.text);
	return n;
}

static void publish_many(struct bus *bus, unsigned n)
{
	struct bus_publisher *p;
	struct frame *f = xcalloc(n, sizeof *f);
	for (unsigned i = 0; i < n; i++)
		f[i] = fixture_message(MESSAGE_CHAIN_HEAD, "", "x");
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	assert_int_equal(bus_publish(p, f, n, NULL), 0);
	bus_publisher_close(&p);
	free(f);
}

static void settle_all(struct bus_worker *w, const struct bus_message *m, size_t n)
{
	struct bus_step *s = bus_step_begin(w);
	for (size_t i = 0; i < n; i++)
		bus_step_settle(s, &m[i], BUS_DONE, NULL);
	assert_int_equal(bus_step_commit(&s, NULL), 0);
}

/* Entries of the stream, by their place in it. */
static void delete_entries(unsigned from, unsigned to)
{
	fixture_ask("EVAL %s 1 " NORMAL " %u %u",
		    "local e = redis.call('XRANGE', KEYS[1], '-', '+') for i = ARGV[1], ARGV[2] do redis.call('XDEL', KEYS[1], e[tonumber(i)][1]) end", from,
		    to);
}

static long long pending(void)
{
	return fixture_ask("EVAL %s 1 " NORMAL, "return redis.call('XPENDING', KEYS[1], '" SUB "')[1]");
}

static void settle_until(struct bus_worker *w, size_t n)
{
	struct bus_message *m;
	for (int64_t end = clock_mono_ms() + 60000; n > 0;) {
		assert_true(clock_mono_ms() < end);
		size_t got = take(w, 10, 100, &m);
		assert_true(got <= n);
		n -= got;
		if (got > 0)
			settle_all(w, m, got);
	}
}

/* What is pending is deleted by somebody: Redis then lists ids that are no more, and readers got nil for ever. Of the one who had it in hand: */
static void redis_7021_what_was_deleted_while_pending_blocks_nobody(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("heir");
	struct bus_worker *heir = worker(bus, NULL);
	struct bus_message *m;
	assert_int_equal(take(heir, 10, 0, &m), 0);
	for (int dies = 0; dies < 2; dies++) { /* … who gave it back, and who ended without a word */
		publish_many(bus, 3);
		pid_t pid = fork();
		if (pid == 0) {
			struct bus *gone = fixture_bus("gone");
			struct bus_worker *reader = worker(gone, NULL);
			size_t got = 0, n;
			while (got < 3 && bus_worker_read(reader, 3, 10000, &m, &n, NULL) == 0 && n > 0)
				got += n;
			delete_entries(2, 3);
			if (!dies)
				bus_worker_close(&reader);
			_exit(got == 3 ? 0 : 1);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		settle_until(heir, 1);
		publish_many(bus, 1);
		settle_until(heir, 1); /* it goes on */
		for (int64_t end = clock_mono_ms() + 60000; pending() > 0;) { /* and their ids are listed no more */
			assert_true(clock_mono_ms() < end);
			assert_int_equal(take(heir, 10, 100, &m), 0);
		}
		fixture_ask("DEL " NORMAL);
	}
	bus_worker_close(&heir);
	bus_close(&bus);
}

/* The same, of the reader itself, who looks again at what it has after its connection broke: a page of nothing but such ids is not the end. */
static void redis_7021_what_was_deleted_hides_nothing_behind_it(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	assert_int_equal(take(w, 10, 0, &m), 0);
	publish_many(bus, 6);
	for (size_t n = 0; n < 6;)
		n += take(w, 6, 10000, &m);
	delete_entries(1, 4);
	fixture_ask("CLIENT KILL TYPE normal SKIPME yes");
	size_t n = 0;
	for (int i = 0; i < 5 && n < 2; i++) { /* at once: the sweep has them only after half a minute */
		size_t got = take(w, 2, 0, &m);
		n += got;
		if (got > 0)
			settle_all(w, m, got);
	}
	assert_int_equal(n, 2);
	assert_int_equal(pending(), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Consumers were never removed: 38 million of them in one group. */
static void redis_10777_consumers_do_not_pile_up(void **state)
{
	(void)state;
	struct bus_message *m;
	for (int i = 0; i < 50; i++) {
		char name[16];
		snprintf(name, sizeof name, "w%d", i);
		struct bus *bus = fixture_bus(name);
		struct bus_worker *w = worker(bus, NULL);
		publish_many(bus, 1);
		assert_int_equal(take(w, 1, 2000, &m), 1);
		settle_all(w, m, 1);
		bus_worker_close(&w);
		bus_close(&bus);
	}
	assert_true(fixture_ask("EVAL %s 1 " NORMAL, "return #redis.call('XINFO', 'CONSUMERS', KEYS[1], '" SUB "')") <= 2);
}

/* An entry deleted in front of the reader makes Redis' own lag null. */
static void redis_13337_the_lag_is_known_after_a_deletion(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct bus_stream_info info[4];
	size_t n;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	publish_many(bus, 20);
	assert_int_equal(bus_owner_read(o, 20, 2000, &m, &n, NULL), 0);
	assert_int_equal(n, 20);
	fixture_ask("XDEL " NORMAL " %s", m[10].id);
	assert_int_equal(bus_owner_commit(o, m[4].klass, m[4].generation, m[4].sequence, NULL), 0);
	assert_int_equal(bus_info(bus, "test", TOPIC_BLOCKS, SUB, info, &n, NULL), 0);
	assert_int_equal(info[2].lag, 15);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* A subscription that nobody runs any more keeps everything, until Redis has no memory. */
static void prefect_18606_what_nobody_reads_is_told_and_can_be_ended(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *dead, *alive;
	struct bus_message *m;
	struct bus_stream_info info[4];
	size_t n;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "dead", 60000, &dead, NULL), 0);
	assert_int_equal(bus_owner_acquire(dead, NULL), 0);
	bus_owner_close(&dead);
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, SUB, 60000, &alive, NULL), 0);
	assert_int_equal(bus_owner_acquire(alive, NULL), 0);
	publish_many(bus, 100);
	assert_int_equal(bus_owner_read(alive, 100, 2000, &m, &n, NULL), 0);
	assert_int_equal(n, 100);
	assert_int_equal(bus_owner_commit(alive, m[99].klass, m[99].generation, m[99].sequence, NULL), 0);
	assert_int_equal(bus_trim(bus, "test", TOPIC_BLOCKS, 0, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 100); /* never what somebody has not read */
	assert_int_equal(bus_info(bus, "test", TOPIC_BLOCKS, "dead", info, &n, NULL), 0);
	assert_int_equal(info[2].lag, 100);
	assert_int_equal(bus_subscription_detach(bus, "test", TOPIC_BLOCKS, "dead", "ann", NULL), 0);
	assert_int_equal(bus_trim(bus, "test", TOPIC_BLOCKS, 0, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 0);
	bus_owner_close(&alive);
	bus_close(&bus);
}

/* A reader of its own process takes so many in hand, and is gone without a word. */
static void read_and_die(size_t wanted)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct bus *gone = fixture_bus("gone");
		struct bus_worker *reader = worker(gone, NULL);
		struct bus_message *m;
		size_t got = 0, n;
		while (got < wanted && bus_worker_read(reader, wanted, 2000, &m, &n, NULL) == 0)
			got += n;
		_exit(got == wanted ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A scan that stops early and throws its cursor away never comes to the end of what a dead consumer left. */
static void opik_8137_everything_that_was_abandoned_is_reached(void **state)
{
	(void)state;
	enum { ALL = 1500 };
	struct bus *bus = fixture_bus("heir");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	assert_int_equal(take(w, 10, 0, &m), 0);
	publish_many(bus, ALL);
	read_and_die(ALL);
	size_t n = 0;
	for (int64_t end = clock_mono_ms() + 60000; n < ALL;) {
		assert_true(clock_mono_ms() < end);
		size_t got = take(w, 200, 200, &m);
		n += got;
		if (got > 0)
			settle_all(w, m, got);
	}
	assert_int_equal(n, ALL);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A look at the first pending ids only: while a live reader has those in hand, what a dead one left behind them was never found. */
static void what_lies_behind_what_is_in_hand_is_reached(void **state)
{
	(void)state;
	enum { IN_HAND = 100, ABANDONED = 20 };
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_worker *slow = worker(a, NULL), *heir = worker(b, NULL);
	struct bus_message *m;
	size_t n = 0;
	assert_int_equal(take(slow, 1, 0, &m), 0);
	publish_many(a, IN_HAND);
	while (n < IN_HAND)
		n += take(slow, IN_HAND - n, 2000, &m);
	publish_many(a, ABANDONED);
	read_and_die(ABANDONED);
	n = 0;
	for (int64_t end = clock_mono_ms() + 60000; n < ABANDONED;) {
		assert_true(clock_mono_ms() < end);
		size_t got = take(heir, 10, 200, &m);
		for (size_t i = 0; i < got; i++)
			assert_true(m[i].sequence > IN_HAND);
		n += got;
		if (got > 0)
			settle_all(heir, m, got);
	}
	assert_int_equal(pending(), IN_HAND);
	bus_worker_close(&slow);
	bus_worker_close(&heir);
	bus_close(&a);
	bus_close(&b);
}

/* The clock of a message runs from when it was read: a slow handler's messages were given to others meanwhile. */
static void dapr_4599_what_is_in_hand_is_nobody_elses(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_worker *slow = worker(a, NULL), *other = worker(b, NULL);
	struct bus_message *m;
	assert_int_equal(take(slow, 1, 0, &m), 0);
	publish_many(a, 10);
	for (size_t n = 0; n < 10;) /* a class gives no more than its share at once */
		n += take(slow, 10, 2000, &m);
	for (int64_t end = clock_mono_ms() + 4500; clock_mono_ms() < end;) /* two of its sweeps */
		assert_int_equal(take(other, 10, 200, &m), 0);
	bus_worker_close(&slow);
	bus_worker_close(&other);
	bus_close(&a);
	bus_close(&b);
}

static int simulate(void **state)
{
	(void)state;
	sim_begin(1);
	return 0;
}

static int simulate_no_more(void **state)
{
	(void)state;
	sim_end();
	return 0;
}

/* What waits for its next try for longer than anybody may be silent was given to others, and ran many times. An hour, by the simulated clock. */
static void celery_5935_what_waits_long_for_its_time_runs_once(void **state)
{
	(void)state;
	enum { HOUR_MS = 3600000 };
	const struct retry_policy patient = { .growth = RETRY_FIXED, .attempts = 9, .base_ms = HOUR_MS, .max_ms = HOUR_MS };
	struct bus *a = sim_bus("a"), *b = sim_bus("b");
	struct bus_worker *slow = worker(a, &patient), *other = worker(b, &patient);
	struct bus_message *m;
	struct error why = { .code = WEIR_TIMEOUT, .text = "later" };
	assert_int_equal(take(slow, 1, 0, &m), 0);
	assert_int_equal(take(other, 1, 0, &m), 0);
	publish_many(a, 1);
	assert_int_equal(take(slow, 1, 1000, &m), 1);
	struct bus_step *s = bus_step_begin(slow);
	bus_step_settle(s, &m[0], BUS_RETRY, &why);
	assert_int_equal(bus_step_commit(&s, NULL), 0);
	const int64_t due = sim_now_ms() + HOUR_MS;
	size_t mine = 0;
	while (mine == 0 && sim_now_ms() < due + 60000) {
		assert_int_equal(take(other, 1, 1000, &m), 0);
		mine = take(slow, 1, 1000, &m);
	}
	assert_int_equal(mine, 1);
	assert_true(sim_now_ms() >= due - 1000);
	assert_int_equal(m[0].attempts, 1);
	settle_all(slow, m, 1);
	bus_worker_close(&slow);
	bus_worker_close(&other);
	bus_close(&a);
	bus_close(&b);
}

static atomic_uint handled;
static int count(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)d;
	(void)arg;
	(void)err;
	atomic_fetch_add(&handled, 1);
	return 0;
}

/* The stream is deleted under a reader that blocks: it was unblocked with an error, or never. */
static void redis_6887_a_blocked_reader_survives_the_end_of_its_stream(void **state)
{
	(void)state;
	static const uint16_t types[] = { MESSAGE_CHAIN_HEAD };
	static const struct bus_handler handlers[] = { { "count", types, 1, count, NULL, NULL } };
	for (int order = BUS_ORDERED; order <= BUS_SHARED; order++) {
		struct bus *bus = fixture_bus("r"), *writer = fixture_bus("w");
		struct bus_subscription_options o = { .chain = "test", .topic = TOPIC_BLOCKS, .subscription = SUB, .order = (enum bus_order)order,
						      .handlers = handlers, .handler_count = 1 };
		struct bus_subscription *s;
		struct error err = { 0 };
		fixture_flush(NULL);
		atomic_store(&handled, 0);
		assert_int_equal(bus_subscription_open(bus, &o, &s, &err), 0);
		assert_int_equal(bus_subscription_start(s, 1000, &err), 0);
		publish_many(writer, 1);
		for (int64_t end = clock_mono_ms() + 30000; atomic_load(&handled) < 1; clock_sleep_ms(5))
			assert_true(clock_mono_ms() < end);
		fixture_ask("DEL " NORMAL);
		publish_many(writer, 1);
		for (int64_t end = clock_mono_ms() + 30000; atomic_load(&handled) < 2; clock_sleep_ms(5))
			assert_true(clock_mono_ms() < end);
		if (bus_subscription_join(s, &err) != 0)
			fail_msg("%s", err.text);
		bus_subscription_close(&s);
		bus_close(&bus);
		bus_close(&writer);
	}
}

/* The server keeps a blocking read longer than it was asked to: the call ends by its own clock, and the next one works. */
static void redis_12998_a_read_that_the_server_holds_ends_by_itself(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 300, 0);
	struct bus_owner *o;
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_owner_read(o, 1, 50, &m, &n, NULL), 0);
	fixture_signal(SIGSTOP);
	int r = bus_owner_read(o, 1, 50, &m, &n, NULL);
	fixture_signal(SIGCONT);
	assert_true(r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE);
	for (int64_t end = clock_mono_ms() + 30000; bus_owner_read(o, 1, 50, &m, &n, NULL) != 0;)
		assert_true(clock_mono_ms() < end);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void wait_for_blocked(long long n)
{
	char *info;
	long long blocked;
	int64_t end = clock_mono_ms() + 30000;
	do {
		info = fixture_text("INFO clients");
		blocked = info ? strtoll(strstr(info, "blocked_clients:") + strlen("blocked_clients:"), NULL, 10) : 0;
		free(info);
		assert_true(clock_mono_ms() < end);
	} while (blocked < n);
}

/* Several readers that block on one stream, served by one write: the server held all of them for ever. */
static void redis_12290_one_message_wakes_all_who_wait_for_it(void **state)
{
	(void)state;
	enum { READERS = 3 };
	static const uint16_t types[] = { MESSAGE_CHAIN_HEAD };
	static const struct bus_handler handlers[] = { { "count", types, 1, count, NULL, NULL } };
	static const char *const names[READERS] = { "a", "b", "c" };
	struct bus *buses[READERS], *writer = fixture_bus("w");
	struct bus_subscription *s[READERS];
	struct error err = { 0 };
	atomic_store(&handled, 0);
	for (int i = 0; i < READERS; i++) {
		const struct bus_subscription_options o = { .chain = "test", .topic = TOPIC_BLOCKS, .subscription = names[i], .order = BUS_ORDERED,
							    .handlers = handlers, .handler_count = 1 };
		buses[i] = fixture_bus(names[i]);
		assert_int_equal(bus_subscription_open(buses[i], &o, &s[i], &err), 0);
		assert_int_equal(bus_subscription_start(s[i], 1000, &err), 0);
	}
	for (unsigned n = 1; n <= 20; n++) {
		wait_for_blocked(READERS);
		publish_many(writer, 1);
		for (int64_t end = clock_mono_ms() + 30000; atomic_load(&handled) < n * READERS; clock_sleep_ms(1))
			assert_true(clock_mono_ms() < end);
	}
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(bus_subscription_join(s[i], &err), 0);
		bus_subscription_close(&s[i]);
		bus_close(&buses[i]);
	}
	bus_close(&writer);
}

/* What is said behind a blocking read waits for its end, where one connection is everybody's: here each thread has a bus of its own. */
static void ioredis_984_node_redis_2021_who_waits_holds_nobody_up(void **state)
{
	(void)state;
	static const uint16_t types[] = { MESSAGE_CHAIN_HEAD };
	static const struct bus_handler handlers[] = { { "count", types, 1, count, NULL, NULL } };
	struct bus *reader = fixture_bus("r"), *writer = fixture_bus("w");
	const struct bus_subscription_options o = { .chain = "test", .topic = TOPIC_BLOCKS, .subscription = SUB, .order = BUS_ORDERED,
						    .handlers = handlers, .handler_count = 1 };
	struct bus_subscription *s;
	struct error err = { 0 };
	atomic_store(&handled, 0);
	assert_int_equal(bus_subscription_open(reader, &o, &s, &err), 0);
	assert_int_equal(bus_ping(writer, &err), 0);
	assert_int_equal(bus_subscription_start(s, 1000, &err), 0);
	for (int i = 0; i < 20; i++) {
		wait_for_blocked(1);
		assert_int_equal(bus_ping(writer, &err), 0); /* beside the reader that waits, not behind it */
		assert_int_equal(atomic_load(&handled), 0);
	}
	wait_for_blocked(1);
	publish_many(writer, 1);
	for (int64_t end = clock_mono_ms() + 30000; atomic_load(&handled) < 1; clock_sleep_ms(1))
		assert_true(clock_mono_ms() < end);
	assert_int_equal(bus_subscription_join(s, &err), 0);
	bus_subscription_close(&s);
	bus_close(&reader);
	bus_close(&writer);
}

static void park_many(struct bus *bus, unsigned n)
{
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	const struct error why = { .code = WEIR_INVALID, .text = "no" };
	(void)take(w, 1, 0, &m);
	publish_many(bus, n);
	for (size_t done = 0; done < n;) {
		size_t got = take(w, 1000, 20000, &m);
		struct bus_step *s = bus_step_begin(w);
		for (size_t i = 0; i < got; i++)
			bus_step_settle(s, &m[i], BUS_REJECT, &why);
		assert_int_equal(bus_step_commit(&s, NULL), 0);
		done += got;
	}
	bus_worker_close(&w);
}

static void on_count(const char *kind, const char *type, const char *reason, uint64_t n, void *arg)
{
	(void)kind;
	(void)type;
	(void)reason;
	*(uint64_t *)arg += n;
}

/* Commands that Redis executed, also inside of scripts, while all letters are counted. */
static unsigned long long commands_of_counting(struct bus *bus, uint64_t letters)
{
	uint64_t all = 0, matching = 0;
	const struct dead_letter_filter filter = { .type = "chain_head", .error_class = "permanent" };
	unsigned long long calls = 0;
	fixture_ask("CONFIG RESETSTAT");
	assert_int_equal(dead_letter_counts(bus, "test", SUB, on_count, &all, NULL), 0);
	assert_int_equal(dead_letter_count_matching(bus, "test", SUB, &filter, &matching, NULL), 0);
	assert_int_equal(all, letters);
	assert_int_equal(matching, letters);
	char *stats = fixture_text("INFO commandstats");
	for (const char *at = stats; (at = strstr(at, ":calls=")); at++)
		calls += strtoull(at + strlen(":calls="), NULL, 10);
	free(stats);
	return calls;
}

/* Counting what is in which state took longer the more there was. */
static void river_746_counting_costs_the_same_however_many_there_are(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	assert_int_equal(bus_ping(bus, NULL), 0);
	park_many(bus, 10);
	(void)commands_of_counting(bus, 10);
	unsigned long long few = commands_of_counting(bus, 10);
	park_many(bus, 2990);
	assert_int_equal(commands_of_counting(bus, 3000), few);
	bus_close(&bus);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
#define TEST(f) cmocka_unit_test_setup(f, fixture_flush)
	const struct CMUnitTest tests[] = {
		TEST(redis_7021_what_was_deleted_while_pending_blocks_nobody),
		TEST(redis_7021_what_was_deleted_hides_nothing_behind_it),
		TEST(redis_10777_consumers_do_not_pile_up),
		TEST(redis_13337_the_lag_is_known_after_a_deletion),
		TEST(prefect_18606_what_nobody_reads_is_told_and_can_be_ended),
		TEST(opik_8137_everything_that_was_abandoned_is_reached),
		fixture_threads(what_lies_behind_what_is_in_hand_is_reached, fixture_flush, NULL, "Dapr pubsub.redis"),
		TEST(dapr_4599_what_is_in_hand_is_nobody_elses),
		cmocka_unit_test_setup_teardown(celery_5935_what_waits_long_for_its_time_runs_once, simulate, simulate_no_more),
		TEST(redis_6887_a_blocked_reader_survives_the_end_of_its_stream),
		TEST(redis_12998_a_read_that_the_server_holds_ends_by_itself),
		TEST(redis_12290_one_message_wakes_all_who_wait_for_it),
		TEST(ioredis_984_node_redis_2021_who_waits_holds_nobody_up),
		TEST(river_746_counting_costs_the_same_however_many_there_are),
	};
	return fixture_run(tests);
}

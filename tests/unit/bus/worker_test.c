/* worker_test.c - the shared lane against a real Redis: steps, zombies, retries, dead readers, crashes, priorities, lost replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP "normalizer"

static struct bus_worker *worker(struct bus *bus, const struct retry_policy *policy)
{
	struct bus_worker *w;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, GROUP, policy, &w, NULL), 0);
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

static void tip(struct bus *bus, const char *body)
{
	fixture_publish(bus, TOPIC_RAW, fixture_message(MESSAGE_RAW_BLOCK_TIP, "7", body));
}

static struct bus_step *done_with_emit(struct bus_worker *w, const struct bus_message *m)
{
	struct bus_step *step = bus_step_begin(w);
	struct frame out = fixture_message(MESSAGE_NORMALIZED_BLOCK, "k", "out");
	bus_step_emit(step, m, TOPIC_BLOCKS, &out);
	bus_step_settle(step, m, BUS_DONE, NULL);
	return step;
}

static uint64_t letters(struct bus *bus)
{
	uint64_t n;
	assert_int_equal(dead_letter_count(bus, "test", GROUP, &n, NULL), 0);
	return n;
}

static void test_step(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	struct error err = { 0 };
	tip(bus, "tip");
	fixture_publish(bus, TOPIC_RAW, fixture_message(MESSAGE_RAW_BLOCK_BACKFILL, "1", "old"));
	assert_int_equal(take(w, 10, 1000, &m), 2);
	assert_true(fixture_body_is(&m[0], "tip")); /* the tip goes first */
	struct bus_step *step = bus_step_begin(w);
	for (size_t i = 0; i < 2; i++) {
		struct frame out = fixture_message(MESSAGE_NORMALIZED_BLOCK, "k", "out");
		bus_step_emit(step, &m[i], TOPIC_BLOCKS, &out);
		bus_step_settle(step, &m[i], BUS_DONE, NULL);
	}
	if (bus_step_commit(&step, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 2);
	assert_int_equal(fixture_ask("XLEN weir:{test}:raw:high"), 0); /* the only group's acknowledged entries go at once */
	assert_int_equal(take(w, 10, 0, &m), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A zombie whose message somebody else settled: its emits must not happen a second time. */
static void test_zombie(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("zombie");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	tip(bus, "tip");
	assert_int_equal(take(w, 10, 1000, &m), 1);
	fixture_ask("XACK weir:{test}:raw:high " GROUP " %s", m[0].id);
	struct bus_step *step = done_with_emit(w, &m[0]);
	assert_int_equal(bus_step_commit(&step, NULL), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_lost_reply_of_a_step(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 300, 0);
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	tip(bus, "tip");
	assert_int_equal(take(w, 10, 1000, &m), 1);
	struct bus_step *step = done_with_emit(w, &m[0]);
	fixture_signal(SIGSTOP);
	assert_int_not_equal(bus_step_commit(&step, NULL), 0);
	fixture_signal(SIGCONT);
	assert_int_equal(bus_step_commit(&step, NULL), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Redis handed the message out in a reply that never came: it is found again at once, not after an idle time. */
static void test_lost_reply_of_a_read(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 300, 0), *other = fixture_bus("other");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	size_t n;
	assert_int_equal(take(w, 10, 0, &m), 0);
	tip(other, "tip");
	fixture_signal(SIGSTOP);
	assert_int_not_equal(bus_worker_read(w, 10, 100, &m, &n, NULL), 0);
	fixture_signal(SIGCONT);
	assert_int_equal(take(w, 10, 3000, &m), 1);
	assert_true(fixture_body_is(&m[0], "tip"));
	bus_worker_close(&w);
	bus_close(&bus);
	bus_close(&other);
}

static void test_downstream_full(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 20000, 2);
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	tip(bus, "tip");
	for (int i = 0; i < 2; i++)
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_NORMALIZED_BLOCK, "k", "x"));
	assert_int_equal(take(w, 10, 1000, &m), 1);
	struct bus_step *step = done_with_emit(w, &m[0]);
	assert_int_equal(bus_step_commit(&step, NULL), WEIR_FULL);
	assert_int_equal(fixture_ask("XLEN weir:{test}:raw:high"), 1); /* nothing happened */
	fixture_ask("XTRIM weir:{test}:blocks:normal MAXLEN 0");
	assert_int_equal(bus_step_commit(&step, NULL), 0);
	assert_null(step);
	assert_int_equal(fixture_ask("XLEN weir:{test}:raw:high"), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- failures --------------------------------------------------------------------------------------------------------------------- */

static void test_retry_then_park_then_replay(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct retry_policy policy = { .growth = RETRY_EXPONENTIAL, .jitter = 1, .attempts = 3, .base_ms = 1, .max_ms = 2 };
	struct bus_worker *w = worker(bus, &policy);
	struct bus_message *m;
	uint64_t count;
	tip(bus, "bad");
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		assert_int_equal(take(w, 10, 5000, &m), 1);
		assert_int_equal(m[0].attempts, attempt);
		fixture_settle(w, &m[0], BUS_RETRY, WEIR_TIMEOUT);
	}
	assert_int_equal(letters(bus), 1);
	assert_int_equal(fixture_ask("HLEN weir:{test}:att:" GROUP), 0);
	assert_int_equal(dead_letter_replay(bus, "test", GROUP, &(struct dead_letter_filter){ .reason = "timeout" }, NULL, 0, "me", &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(take(w, 10, 5000, &m), 1);
	assert_true(m[0].replay);
	assert_true(fixture_body_is(&m[0], "bad"));
	struct bus_step *step = done_with_emit(w, &m[0]);
	assert_int_equal(bus_step_commit(&step, NULL), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 1);
	assert_int_equal(letters(bus), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_dependency_down_uses_no_attempt(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct retry_policy policy = { .growth = RETRY_EXPONENTIAL, .jitter = 1, .attempts = 2, .base_ms = 1, .max_ms = 20 };
	struct bus_worker *w = worker(bus, &policy);
	struct bus_message *m;
	tip(bus, "x");
	for (int i = 0; i < 10; i++) {
		assert_int_equal(take(w, 10, 5000, &m), 1);
		assert_int_equal(m[0].attempts, 0);
		fixture_settle(w, &m[0], BUS_DEPENDENCY_DOWN, WEIR_UNAVAILABLE);
	}
	assert_int_equal(letters(bus), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A held message whose process goes on elsewhere: failures are counted in Redis. */
static void test_failures_survive_the_worker(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct retry_policy policy = { .growth = RETRY_EXPONENTIAL, .jitter = 1, .attempts = 3, .base_ms = 100000, .max_ms = 100000 };
	struct bus_worker *w = worker(bus, &policy);
	struct bus_message *m;
	tip(bus, "x");
	assert_int_equal(take(w, 10, 5000, &m), 1);
	fixture_settle(w, &m[0], BUS_RETRY, WEIR_TIMEOUT);
	bus_worker_close(&w);
	w = worker(bus, &policy);
	assert_int_equal(take(w, 10, 5000, &m), 1);
	assert_int_equal(m[0].attempts, 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_undecodable_is_parked(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	fixture_ask("XADD weir:{test}:raw:high 1-1 d nonsense");
	fixture_ask("XADD weir:{test}:raw:high 1-2 other field");
	tip(bus, "good");
	assert_int_equal(take(w, 10, 1000, &m), 1);
	assert_true(fixture_body_is(&m[0], "good"));
	assert_int_equal(letters(bus), 2);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- readers that go away ------------------------------------------------------------------------------------------------------------ */

static void test_closed_worker_gives_back(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_worker *w = worker(a, NULL), *other = worker(b, NULL);
	struct bus_message *m;
	assert_int_equal(take(other, 10, 0, &m), 0);
	tip(a, "x");
	assert_int_equal(take(w, 10, 1000, &m), 1);
	bus_worker_close(&w);
	assert_int_equal(take(other, 10, 5000, &m), 1);
	assert_int_equal(m[0].attempts, 0);
	bus_worker_close(&other);
	bus_close(&a);
	bus_close(&b);
}

/* Another process that reads all there is and dies. Returns what it had got. */
static int read_and_die(const char *name, const char *poison)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct bus *bus = fixture_bus(name);
		struct bus_worker *w;
		struct bus_message *m;
		size_t n = 0;
		if (bus_worker_open(bus, "test", TOPIC_RAW, GROUP, NULL, &w, NULL) != 0)
			_exit(99);
		for (int64_t end = clock_mono_ms() + 10000; clock_mono_ms() < end;) {
			if (bus_worker_read(w, 10, 500, &m, &n, NULL) != 0)
				_exit(98);
			for (size_t i = 0; i < n; i++)
				if (!poison || fixture_body_is(&m[i], poison))
					_exit((int)n);
			for (size_t i = 0; i < n; i++)
				fixture_settle(w, &m[i], BUS_DONE, 0);
		}
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_dead_reader_is_replaced(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	assert_int_equal(take(w, 10, 0, &m), 0);
	for (int i = 0; i < 3; i++)
		tip(bus, "x");
	assert_int_equal(read_and_die("dies", NULL), 3);
	size_t n = 0;
	for (int64_t end = clock_mono_ms() + 20000; n < 3 && clock_mono_ms() < end;)
		n += take(w, 10, 500, &m);
	assert_int_equal(n, 3); /* long before anything was idle for half a minute */
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A message that kills its readers is parked after three; those that were read with it are not. */
static void test_crashing_message_is_parked(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_message *m;
	tip(bus, "good");
	tip(bus, "poison");
	tip(bus, "fine");
	assert_int_equal(read_and_die("a", "poison"), 3);
	assert_int_equal(read_and_die("b", "poison"), 3);
	assert_int_equal(read_and_die("c", "poison"), 1); /* by now alone */
	struct bus_worker *w = worker(bus, NULL);
	size_t others = 0;
	for (int64_t end = clock_mono_ms() + 20000; letters(bus) == 0 && clock_mono_ms() < end;) {
		size_t n = take(w, 10, 500, &m);
		for (size_t i = 0; i < n; i++) {
			assert_false(fixture_body_is(&m[i], "poison"));
			fixture_settle(w, &m[i], BUS_DONE, 0);
			others++;
		}
	}
	assert_int_equal(letters(bus), 1);
	assert_true(others <= 2);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_flush_and_kill(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	size_t n;
	tip(bus, "a");
	assert_int_equal(take(w, 10, 1000, &m), 1);
	fixture_ask("FLUSHALL");
	fixture_ask("CONFIG SET appendfsync always"); /* else the kill may take the acknowledgement */
	tip(bus, "b");
	for (n = 0; n == 0;) /* the group is made again by itself */
		n = take(w, 10, 500, &m);
	assert_true(fixture_body_is(&m[0], "b"));
	fixture_settle(w, &m[0], BUS_DONE, 0);
	redis_server_kill(&fixture_server);
	assert_int_equal(bus_worker_read(w, 10, 100, &m, &n, NULL), WEIR_UNAVAILABLE);
	redis_server_restart(&fixture_server);
	tip(bus, "c");
	for (n = 0; n == 0;)
		n = take(w, 10, 500, &m);
	assert_true(fixture_body_is(&m[0], "c"));
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- priorities ------------------------------------------------------------------------------------------------------------------------ */

static void test_never_more_than_asked_and_none_starves(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	for (int i = 0; i < 200; i++) {
		tip(bus, "tip");
		fixture_publish(bus, TOPIC_RAW, fixture_message(MESSAGE_RAW_BLOCK_BACKFILL, "1", "old"));
	}
	for (size_t max = 1; max <= 12; max++) {
		size_t low = 0, reads = 0;
		for (; low == 0 && reads < 30; reads++) {
			size_t n = take(w, max, 1000, &m);
			assert_in_range(n, 1, max);
			for (size_t i = 0; i < n; i++) {
				low += m[i].klass == 3;
				fixture_settle(w, &m[i], BUS_DONE, 0);
			}
		}
		assert_true(low > 0);
	}
	bus_worker_close(&w);
	bus_close(&bus);
}

/* What is new has its turn while letters are tried again, however many there are. */
static void test_replays_do_not_keep_what_is_new_waiting(void **state)
{
	(void)state;
	enum { LETTERS = 20 };
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	struct error why = { .code = WEIR_INVALID };
	uint64_t n;
	int before = 0;
	for (int i = 0; i < LETTERS; i++) {
		tip(bus, "old");
		assert_int_equal(take(w, 1, 10000, &m), 1);
		struct bus_step *step = bus_step_begin(w);
		bus_step_settle(step, &m[0], BUS_REJECT, &why);
		assert_int_equal(bus_step_commit(&step, NULL), 0);
	}
	assert_int_equal(dead_letter_replay(bus, "test", GROUP, NULL, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(n, LETTERS);
	assert_int_equal(take(w, 1, 10000, &m), 1); /* the lane is at the letters now */
	struct bus_step *first = bus_step_begin(w);
	bus_step_settle(first, &m[0], BUS_DONE, NULL);
	assert_int_equal(bus_step_commit(&first, NULL), 0);
	tip(bus, "new");
	for (bool seen = false; !seen; before++) {
		assert_int_equal(take(w, 1, 10000, &m), 1);
		seen = fixture_body_is(&m[0], "new");
		struct bus_step *step = bus_step_begin(w);
		bus_step_settle(step, &m[0], BUS_DONE, NULL);
		assert_int_equal(bus_step_commit(&step, NULL), 0);
	}
	assert_in_range(before, 1, 5); /* with one at a time, each class has its turn */
	assert_int_equal(letters(bus), LETTERS - before);
	bus_worker_close(&w);
	bus_close(&bus);
}

static bool yes(void *arg)
{
	(void)arg;
	return true;
}

static void test_stop(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus, NULL);
	struct bus_message *m;
	size_t n;
	bus_set_stop(bus, yes, NULL);
	assert_int_equal(bus_worker_read(w, 10, 100000, &m, &n, NULL), WEIR_CANCELED);
	bus_worker_close(&w);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_step, fixture_flush),
		fixture_threads(test_zombie, fixture_flush, NULL, "BullMQ#439, bull#1685"),
		fixture_threads(test_lost_reply_of_a_step, fixture_flush, NULL, "Sidekiq#4495"),
		fixture_threads(test_lost_reply_of_a_read, fixture_flush, NULL, "nats-server#4736"),
		cmocka_unit_test_setup(test_downstream_full, fixture_flush),
		fixture_threads(test_retry_then_park_then_replay, fixture_flush, NULL, "MassTransit#3998"),
		cmocka_unit_test_setup(test_dependency_down_uses_no_attempt, fixture_flush),
		fixture_threads(test_failures_survive_the_worker, fixture_flush, NULL, "dapr/components-contrib#4208, #4174"),
		fixture_threads(test_undecodable_is_parked, fixture_flush, NULL, "watermill-redisstream, spring-kafka#2415, spring-kafka#4040"),
		fixture_threads(test_closed_worker_gives_back, fixture_flush, NULL, "watermill-redisstream#24"),
		cmocka_unit_test_setup(test_dead_reader_is_replaced, fixture_flush),
		fixture_threads(test_crashing_message_is_parked, fixture_flush, NULL, "asynq#1015, Sidekiq#4633"),
		fixture_threads(test_flush_and_kill, fixture_flush, NULL, "jac#7452, opik#5525, flightctl#2227, faststream#2611"),
		fixture_threads(test_never_more_than_asked_and_none_starves, fixture_flush, NULL, "redis#11116"),
		cmocka_unit_test_setup(test_stop, fixture_flush),
		cmocka_unit_test_setup(test_replays_do_not_keep_what_is_new_waiting, fixture_flush),
	};
	return fixture_run(tests);
}

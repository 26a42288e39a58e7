/* kafka_job_test.c - replay jobs over Kafka: how fast, when they stop, in what order, and that they go on wherever they are moved on. Against librdkafka's mock
 * cluster. What they take is in conformance_test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/kafka_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 60000
#define LETTERS 12
#define KEYS 3

static const uint16_t commands[] = { MESSAGE_COMMAND };

/* Bodies are numbers; what was handled is noted by key, in order. */
static struct {
	atomic_bool failing, held;
	atomic_uint calls, done;
	atomic_int fails_number; /* fails also when others do not; -1: none */
	atomic_uint last[KEYS], disorders;
} h;

static int handle(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	const unsigned number = kafka_fixture_number(d->body), key = number % KEYS;
	h.calls++;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; h.held && clock_mono_ms() < deadline;)
		clock_sleep_ms(1);
	if (h.failing || h.fails_number == (int)number)
		return error_set(err, WEIR_INVALID, "told to fail");
	h.disorders += number < h.last[key];
	h.last[key] = number;
	h.done++;
	return 0;
}

static struct bus_subscription *open_reader(struct bus *bus, enum bus_order order)
{
	static const struct bus_handler handler = { "h", commands, 1, handle, NULL, NULL };
	static const struct retry_rule once[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 1, .base_ms = 1, .max_ms = 1 } } };
	struct bus_subscription_options o = { .chain = "c", .topic = "work", .subscription = "s", .order = order, .handlers = &handler, .handler_count = 1,
					      .retries = once, .retry_count = 1, .no_storm_guard = true };
	struct bus_subscription *s;
	struct error err = { 0 };
	if (bus_subscription_open(bus, &o, &s, &err) != 0 || bus_subscription_start(s, 1000, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static void close_reader(struct bus_subscription **s)
{
	struct error err = { 0 };
	if (bus_subscription_join(*s, &err) != 0)
		fail_msg("%s", err.text);
	bus_subscription_close(s);
}

#define wait_until(condition)                                                                                                              \
	do {                                                                                                                               \
		for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; !(condition); clock_sleep_ms(10))                                   \
			if (clock_mono_ms() > deadline)                                                                                    \
				fail_msg("not in time: %s; %u calls, %u done", #condition, h.calls, h.done);                               \
	} while (0)

static struct bus *operator_bus;

static uint64_t letters(void)
{
	struct error err = { 0 };
	uint64_t n;
	if (dead_letter_count(operator_bus, "c", "s", &n, &err) != 0)
		fail_msg("%s", err.text);
	return n;
}

static struct dead_letter_job start(struct dead_letter_order o)
{
	struct dead_letter_job job;
	struct error err = { 0 };
	o.who = "me";
	o.why = "test";
	if (dead_letter_job_start(operator_bus, "c", "s", &o, &job, &err) != 0)
		fail_msg("%s", err.text);
	return job;
}

static struct dead_letter_job show(const char *id)
{
	struct dead_letter_job job;
	struct error err = { 0 };
	if (dead_letter_job_show(operator_bus, "c", id, &job, &err) != 0)
		fail_msg("%s", err.text);
	return job;
}

static bool is(const char *id, const char *state)
{
	return strcmp(show(id).state, state) == 0;
}

static struct dead_letter_job control(const char *id, enum dead_letter_job_action action)
{
	struct dead_letter_job job;
	struct error err = { 0 };
	if (dead_letter_job_control(operator_bus, "c", id, action, "me", "test", &job, &err) != 0)
		fail_msg("%s", err.text);
	return job;
}

/* LETTERS dead letters; on an ordered lane each key has a head and those behind it. */
static struct bus *make_letters(enum bus_order order, struct bus_subscription **ret)
{
	struct frame f[LETTERS];
	struct kafka_fixture_text texts[LETTERS];
	struct error err = { 0 };
	h.failing = true;
	h.fails_number = -1;
	kafka_fixture_topics("work", "s");
	operator_bus = kafka_fixture_bus("o", 20000);
	struct bus *bus = kafka_fixture_bus("w", 20000);
	struct bus_publisher *p = kafka_fixture_publisher(operator_bus, "work");
	kafka_fixture_messages(f, texts, 0, LETTERS, KEYS);
	for (size_t i = 0; i < LETTERS; i++)
		f[i].type = MESSAGE_COMMAND;
	if (bus_publish(p, f, LETTERS, &err) != 0)
		fail_msg("%s", err.text);
	bus_publisher_close(&p);
	*ret = open_reader(bus, order);
	wait_until(letters() == LETTERS);
	h.failing = false;
	h.calls = 0;
	return bus;
}

static void end(struct bus_subscription **s, struct bus **bus)
{
	close_reader(s);
	bus_close(bus);
	bus_close(&operator_bus);
}

/* -- cases -------------------------------------------------------------------------------------------------------------------------------- */

/* While it is paused nothing is tried, and all of it is there; then it goes on, or never. */
static void pausing_resuming_and_canceling_lose_nothing(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct bus *bus = make_letters(BUS_SHARED, &s);
	h.held = true;
	struct dead_letter_job job = start((struct dead_letter_order){ .concurrency = 1 });
	wait_until(h.calls == 1);
	wait_until(show(job.id).out == 1); /* not more than one at a time */
	h.held = false;
	wait_until(show(job.id).succeeded >= 1);
	job = control(job.id, DEAD_LETTER_JOB_PAUSE);
	assert_string_equal(job.state, "paused");
	assert_string_equal(job.note, "test");
	job = control(job.id, DEAD_LETTER_JOB_RESUME);
	assert_string_equal(job.state, "running");
	wait_until(is(job.id, "done"));
	job = show(job.id);
	assert_int_equal(job.succeeded + job.failed + job.gone, LETTERS);
	assert_int_equal(h.done, LETTERS);
	assert_int_equal(letters(), 0);
	job = control(job.id, DEAD_LETTER_JOB_CANCEL); /* does not fit: changes nothing */
	assert_string_equal(job.state, "done");
	end(&s, &bus);
}

/* What was offered and not begun with stays a letter like others. */
static void what_a_canceled_job_did_not_try_stays(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct bus *bus = make_letters(BUS_SHARED, &s);
	struct dead_letter_job job = start((struct dead_letter_order){ .rate = 1, .burst = 2 });
	wait_until(h.done >= 2);
	job = control(job.id, DEAD_LETTER_JOB_CANCEL);
	assert_string_equal(job.state, "canceled");
	assert_in_range(letters(), 1, LETTERS - 2); /* one a second: nothing of this takes ten */
	assert_int_equal(job.ready + job.out, 0);
	job = start((struct dead_letter_order){ .rate = 0 }); /* and another job takes them */
	wait_until(is(job.id, "done"));
	assert_int_equal(letters(), 0);
	assert_int_equal(h.done, LETTERS);
	end(&s, &bus);
}

static void it_pauses_itself_when_most_of_it_fails_again(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct bus *bus = make_letters(BUS_SHARED, &s);
	h.failing = true;
	struct dead_letter_job job = start((struct dead_letter_order){ .rate = 0 });
	wait_until(is(job.id, "paused"));
	job = show(job.id);
	assert_int_equal(job.failed, LETTERS);
	assert_non_null(strstr(job.note, "12 of 12 replays failed again"));
	assert_int_equal(letters(), LETTERS);
	h.failing = false;
	job = control(job.id, DEAD_LETTER_JOB_RESUME); /* each was tried: it has nothing left */
	wait_until(is(job.id, "done"));
	assert_int_equal(letters(), LETTERS);
	end(&s, &bus);
}

/* As fast as the order says, each key is tried from its first letter on, one at a time, and stops at the first that fails again. */
static void keys_are_walked_in_their_order(struct dead_letter_order order)
{
	struct bus_subscription *s;
	struct bus *bus = make_letters(BUS_ORDERED, &s);
	h.fails_number = 4; /* the second of key 1 */
	struct dead_letter_job job = start(order);
	assert_int_equal(job.total, LETTERS);
	wait_until(is(job.id, "done"));
	job = show(job.id);
	assert_int_equal(job.succeeded, LETTERS - 3);
	assert_int_equal(job.failed, 1);
	assert_int_equal(letters(), 3); /* 4, and 7 and 10 behind it */
	assert_int_equal(h.disorders, 0);
	h.fails_number = -1;
	job = start(order);
	assert_int_equal(job.total, 3);
	wait_until(is(job.id, "done"));
	assert_int_equal(letters(), 0);
	assert_int_equal(h.disorders, 0);
	assert_int_equal(h.done, LETTERS);
	end(&s, &bus);
}

static void keys_are_walked_in_their_order_as_fast_as_it_goes(void **state)
{
	(void)state;
	keys_are_walked_in_their_order((struct dead_letter_order){ .stop_percent = 101 });
}

static void keys_are_walked_in_their_order_at_a_rate(void **state)
{
	(void)state;
	keys_are_walked_in_their_order((struct dead_letter_order){ .rate = 100, .burst = 2, .stop_percent = 101 });
}

/* The instance that moves it ends, and so does the operator: it goes on with who comes next, and tries nothing twice. */
static void it_goes_on_with_the_next_instance(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct bus *bus = make_letters(BUS_SHARED, &s);
	struct dead_letter_job job = start((struct dead_letter_order){ .rate = 2, .burst = 3 });
	wait_until(show(job.id).succeeded >= 3);
	close_reader(&s);
	bus_close(&bus);
	const unsigned before = h.done;
	assert_in_range(before, 3, LETTERS - 1);
	struct dead_letter_job same;
	struct error err = { 0 };
	struct bus *hasty = kafka_fixture_bus("h", 1000);
	assert_int_equal(dead_letter_job_control(hasty, "c", job.id, DEAD_LETTER_JOB_PAUSE, "me", "why", &same, &err), WEIR_TIMEOUT); /* nobody is there */
	assert_non_null(strstr(err.text, "the question was withdrawn"));
	bus_close(&hasty);
	bus = kafka_fixture_bus("v", 20000);
	s = open_reader(bus, BUS_SHARED);
	wait_until(is(job.id, "done"));
	assert_int_equal(show(job.id).succeeded, LETTERS);
	assert_int_equal(h.done, LETTERS);
	assert_int_equal(letters(), 0);
	end(&s, &bus);
}

struct heads {
	char ids[LETTERS][48];
	size_t n;
};

/* Ids begin with what letters of one key share. */
static bool gather_head(const char *id, struct bytes body, void *arg)
{
	struct heads *f = arg;
	(void)body;
	if (f->n == 0 || strncmp(f->ids[f->n - 1], id, 16) != 0)
		snprintf(f->ids[f->n++], sizeof f->ids[0], "%s", id);
	return true;
}

/* What is purged while it waits for its turn is counted as gone, and those behind it have theirs. */
static void what_is_purged_on_the_way_is_gone_and_its_key_goes_on(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct error err = { 0 };
	struct heads heads = { .n = 0 };
	const char *ids[LETTERS];
	uint64_t n;
	struct bus *bus = make_letters(BUS_ORDERED, &s);
	struct dead_letter_job job = start((struct dead_letter_order){ .rate = 4, .burst = 1 });
	wait_until(show(job.id).succeeded >= 1);
	job = control(job.id, DEAD_LETTER_JOB_PAUSE);
	assert_in_range(job.ready, 1, KEYS); /* the next ones of the keys that were begun with */
	const uint64_t ready = job.ready, left = letters();
	assert_int_equal(dead_letter_list(operator_bus, "c", "s", NULL, NULL, 0, gather_head, &heads, &err), 0);
	for (size_t i = 0; i < heads.n; i++)
		ids[i] = heads.ids[i];
	assert_int_equal(dead_letter_purge(operator_bus, "c", "s", NULL, ids, heads.n, "me", "why", &n, &err), 0);
	assert_int_equal(n, heads.n);
	(void)control(job.id, DEAD_LETTER_JOB_RESUME);
	wait_until(is(job.id, "done"));
	job = show(job.id);
	assert_int_equal(job.gone, ready);
	assert_int_equal(h.done, LETTERS - n);
	assert_int_equal(job.succeeded, LETTERS - n);
	assert_in_range(left, n, LETTERS);
	assert_int_equal(letters(), 0);
	assert_int_equal(h.disorders, 0);
	end(&s, &bus);
}

/* Reads one, waiting no longer than a lane needs to look at letters a few times. NULL: nothing came. */
static struct bus_message *read_one(struct bus_owner *o, bool wanted)
{
	struct error err = { 0 };
	struct bus_message *m;
	size_t n = 0;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; n == 0 && clock_mono_ms() < deadline;) {
		if (bus_owner_read(o, 1, 500, &m, &n, &err) != 0)
			fail_msg("%s", err.text);
		if (!wanted)
			break;
	}
	assert_int_equal(n, wanted);
	return n ? m : NULL;
}

static struct dead_letter_job steer(struct bus *bus, const char *id, enum dead_letter_job_action action)
{
	struct dead_letter_job job;
	struct error err = { 0 };
	if (dead_letter_job_control(bus, "c", id, action, "me", "test", &job, &err) != 0)
		fail_msg("%s", err.text);
	return job;
}

/* What was offered is taken back, and what is in a handler's hands ends as it ends; its key goes on only when the job does, or with another job. */
static void what_was_offered_is_taken_back(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct error err = { 0 };
	struct bus_owner *o;
	struct bus *bus = make_letters(BUS_ORDERED, &s);
	close_reader(&s);
	assert_int_equal(bus_owner_open(bus, "c", "work", "s", 0, &o, NULL), 0);
	kafka_fixture_acquire(o);
	struct dead_letter_job job = start((struct dead_letter_order){ .rate = 0 });
	struct bus_message *m = read_one(o, true);
	job = steer(bus, job.id, DEAD_LETTER_JOB_PAUSE); /* by its owner himself */
	assert_int_equal(job.out, 0);
	assert_int_equal(job.ready, KEYS);
	assert_int_equal(bus_owner_resolve(o, m, &err), 0);
	(void)read_one(o, false);
	job = steer(bus, job.id, DEAD_LETTER_JOB_RESUME);
	assert_int_equal(bus_owner_resolve(o, read_one(o, true), &err), 0);
	m = read_one(o, true);
	job = steer(bus, job.id, DEAD_LETTER_JOB_CANCEL);
	assert_string_equal(job.state, "canceled");
	assert_int_equal(job.succeeded, 2); /* also the one that was in hand when it was paused */
	assert_int_equal(job.out + job.ready, 0);
	assert_int_equal(bus_owner_resolve(o, m, &err), 0);
	(void)read_one(o, false); /* nor is what stands behind it */
	assert_int_equal(letters(), LETTERS - 3);
	job = start((struct dead_letter_order){ .rate = 0 });
	for (int i = 3; i < LETTERS; i++)
		assert_int_equal(bus_owner_resolve(o, read_one(o, true), &err), 0);
	assert_int_equal(letters(), 0);
	bus_owner_close(&o);
	bus_close(&bus);
	bus_close(&operator_bus);
}

/* What is new has its turn while letters are tried again, however many there are. */
static void replays_do_not_keep_what_is_new_waiting(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct error err = { 0 };
	struct bus_owner *o;
	struct bus_message *m;
	const struct error why = { .code = WEIR_INVALID };
	uint64_t marked;
	size_t n;
	bool seen = false;
	struct bus *bus = make_letters(BUS_ORDERED, &s);
	close_reader(&s);
	assert_int_equal(bus_owner_open(bus, "c", "work", "s", 0, &o, NULL), 0);
	kafka_fixture_acquire(o);
	struct bus_publisher *p = kafka_fixture_publisher(operator_bus, "work");
	struct frame f = fixture_message(MESSAGE_COMMAND, "another", "new");
	assert_int_equal(bus_publish(p, &f, 1, &err), 0);
	for (int i = 0; i < 60 && !seen; i++) { /* there is always a letter to be tried */
		assert_int_equal(dead_letter_replay(bus, "c", "s", NULL, NULL, 0, "me", &marked, &err), 0);
		assert_int_equal(bus_owner_read(o, 1, 10000, &m, &n, &err), 0);
		assert_int_equal(n, 1);
		seen = !m->replay;
		if (m->replay)
			assert_int_equal(bus_owner_park(o, m, &why, &err), 0);
	}
	assert_true(seen);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&operator_bus);
}

static void replays_do_not_keep_what_is_new_waiting_on_a_shared_lane(void **state)
{
	(void)state;
	struct bus_subscription *s;
	struct error err = { 0 };
	struct bus_worker *w;
	struct bus_message *m;
	const struct error why = { .code = WEIR_INVALID };
	uint64_t marked;
	size_t n;
	bool seen = false;
	struct bus *bus = make_letters(BUS_SHARED, &s);
	close_reader(&s);
	assert_int_equal(bus_worker_open(bus, "c", "work", "s", NULL, &w, NULL), 0);
	struct bus_publisher *p = kafka_fixture_publisher(operator_bus, "work");
	struct frame f = fixture_message(MESSAGE_COMMAND, "another", "new");
	assert_int_equal(bus_publish(p, &f, 1, &err), 0);
	for (int i = 0; i < 60 && !seen; i++) { /* there is always a letter to be tried */
		assert_int_equal(dead_letter_replay(bus, "c", "s", NULL, NULL, 0, "me", &marked, &err), 0);
		assert_int_equal(bus_worker_read(w, 1, PATIENCE_MS, &m, &n, &err), 0);
		assert_int_equal(n, 1);
		seen = !m->replay;
		struct bus_step *step = bus_step_begin(w);
		bus_step_settle(step, m, BUS_REJECT, &why);
		assert_int_equal(bus_step_commit(&step, &err), 0);
	}
	assert_true(seen);
	bus_worker_close(&w);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&operator_bus);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[] = {
		cmocka_unit_test(pausing_resuming_and_canceling_lose_nothing),
		cmocka_unit_test(what_a_canceled_job_did_not_try_stays),
		cmocka_unit_test(it_pauses_itself_when_most_of_it_fails_again),
		cmocka_unit_test(keys_are_walked_in_their_order_as_fast_as_it_goes),
		cmocka_unit_test(keys_are_walked_in_their_order_at_a_rate),
		cmocka_unit_test(it_goes_on_with_the_next_instance),
		cmocka_unit_test(what_is_purged_on_the_way_is_gone_and_its_key_goes_on),
		cmocka_unit_test(what_was_offered_is_taken_back),
		cmocka_unit_test(replays_do_not_keep_what_is_new_waiting),
		cmocka_unit_test(replays_do_not_keep_what_is_new_waiting_on_a_shared_lane),
	};
	return kafka_fixture_main(argc, argv, "kafka_job_test", tests, sizeof tests / sizeof tests[0]);
}

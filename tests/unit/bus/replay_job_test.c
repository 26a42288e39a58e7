/* replay_job_test.c - replays as jobs, on both lanes: what they take, how fast, when they stop, and that no letter is ever lost by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define SUB "normalizer"
#define OWNER_SUB "reconciler"

static struct bus_worker *worker(struct bus *bus)
{
	struct bus_worker *w;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, SUB, NULL, &w, NULL), 0);
	return w;
}

/* n letters on the shared lane; odd ones are INVALID, even ones TIMEOUT. */
static void make_letters(struct bus *bus, struct bus_worker *w, int n)
{
	struct bus_publisher *p;
	struct frame f = fixture_message(MESSAGE_RAW_BLOCK_TIP, "k", "b");
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_RAW, "p", &p, NULL), 0);
	for (int i = 0; i < n; i++)
		assert_int_equal(bus_publish(p, &f, 1, NULL), 0);
	bus_publisher_close(&p);
	for (int done = 0; done < n;) {
		struct bus_message *m;
		size_t got;
		assert_int_equal(bus_worker_read(w, 100, 3000, &m, &got, NULL), 0);
		struct bus_step *step = bus_step_begin(w);
		for (size_t i = 0; i < got; i++, done++) {
			struct error why = { .code = done % 2 ? WEIR_INVALID : WEIR_TIMEOUT };
			bus_step_settle(step, &m[i], BUS_REJECT, &why);
		}
		assert_int_equal(bus_step_commit(&step, NULL), 0);
	}
}

static struct dead_letter_job start(struct bus *bus, const char *subscription, struct dead_letter_order order)
{
	struct dead_letter_job job;
	struct error err = { 0 };
	order.who = "me";
	order.why = "test";
	if (dead_letter_job_start(bus, "test", subscription, &order, &job, &err) != 0)
		fail_msg("%s", err.text);
	return job;
}

static struct dead_letter_job show(struct bus *bus, const char *id)
{
	struct dead_letter_job job;
	assert_int_equal(dead_letter_job_show(bus, "test", id, &job, NULL), 0);
	return job;
}

static struct dead_letter_job control(struct bus *bus, const char *id, enum dead_letter_job_action action)
{
	struct dead_letter_job job;
	assert_int_equal(dead_letter_job_control(bus, "test", id, action, "me", "test", &job, NULL), 0);
	return job;
}

static uint64_t letters(struct bus *bus, const char *subscription)
{
	uint64_t n;
	assert_int_equal(dead_letter_count(bus, "test", subscription, &n, NULL), 0);
	return n;
}

/* One read; everything is settled as outcome says. Returns how many there were. */
static size_t handle(struct bus_worker *w, size_t max, enum bus_outcome outcome)
{
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_worker_read(w, max, 500, &m, &n, NULL), 0); /* several looks at the letters */
	struct bus_step *step = bus_step_begin(w);
	struct error why = { .code = WEIR_MISMATCH };
	for (size_t i = 0; i < n; i++)
		bus_step_settle(step, &m[i], outcome, &why);
	assert_int_equal(bus_step_commit(&step, NULL), 0);
	return n;
}

/* Until the job is in that state, or ten seconds are over. */
static struct dead_letter_job handle_until(struct bus *bus, struct bus_worker *w, const char *id, const char *state, enum bus_outcome outcome)
{
	int64_t end = clock_mono_ms() + 10000;
	struct dead_letter_job job = show(bus, id);
	while (strcmp(job.state, state) != 0) {
		if (clock_mono_ms() > end)
			fail_msg("the job is %s, not %s", job.state, state);
		(void)handle(w, 50, outcome);
		job = show(bus, id);
	}
	return job;
}

static void test_takes_what_matches(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct dead_letter_order order = { .filter = { .reason = "invalid" }, .who = "me" };
	uint64_t n;
	make_letters(bus, w, 40);
	assert_int_equal(dead_letter_job_dry_run(bus, "test", SUB, &order, &n, NULL), 0);
	assert_int_equal(n, 20);
	assert_int_equal(fixture_ask("ZCARD weir:{test}:jobs:" SUB), 0); /* a dry run leaves nothing */
	assert_int_equal(handle(w, 50, BUS_DONE), 0);
	struct dead_letter_job job = start(bus, SUB, order);
	assert_string_equal(job.state, "running");
	assert_int_equal(job.total, 20);
	assert_string_equal(job.reason, "invalid");
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.succeeded, 20);
	assert_int_equal(job.failed, 0);
	assert_true(job.finished_ms >= job.created_ms && job.created_ms > 0);
	assert_int_equal(letters(bus, SUB), 20);
	assert_int_equal(handle(w, 50, BUS_DONE), 0);
	/* nothing to do is done at once */
	job = start(bus, SUB, order);
	assert_string_equal(handle_until(bus, w, job.id, "done", BUS_DONE).state, "done");
	bus_worker_close(&w);
	bus_close(&bus);
}

static bool first_two(const char *id, struct bytes body, void *arg)
{
	(void)body;
	char(*ids)[48] = arg;
	snprintf(ids[*ids[0] ? 1 : 0], 48, "%s", id);
	return true;
}

static void test_takes_what_is_named(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	char ids[2][48] = { "", "" };
	make_letters(bus, w, 10);
	assert_int_equal(dead_letter_list(bus, "test", SUB, NULL, NULL, 2, first_two, ids, NULL), 0);
	const char *named[] = { ids[1], ids[0], "1-1" }; /* one that is not there */
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .ids = named, .n = 3 });
	assert_true(job.named);
	assert_int_equal(job.total, 2);
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.succeeded, 2);
	assert_int_equal(letters(bus, SUB), 8);
	const char *bad[] = { "x" };
	struct dead_letter_order order = { .ids = bad, .n = 1 };
	assert_int_equal(dead_letter_job_start(bus, "test", SUB, &order, &job, NULL), WEIR_INVALID);
	assert_int_equal(dead_letter_job_start(bus, "test", SUB, &(struct dead_letter_order){ .rate = -1 }, &job, NULL), WEIR_INVALID);
	assert_int_equal(dead_letter_job_show(bus, "test", "1", &job, NULL), WEIR_NOT_FOUND);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_concurrency_and_rate(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	size_t n;
	make_letters(bus, w, 30);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .concurrency = 3 });
	assert_int_equal(bus_worker_read(w, 50, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 3);
	job = show(bus, job.id);
	assert_int_equal(job.out, 3);
	for (size_t i = 0; i < n; i++) {
		struct bus_message copy = m[i];
		fixture_settle(w, &copy, BUS_DONE, 0);
	}
	job = control(bus, job.id, DEAD_LETTER_JOB_CANCEL);
	assert_int_equal(job.succeeded, 3);
	/* a rate so low that the burst is all that comes while the test looks */
	job = start(bus, SUB, (struct dead_letter_order){ .rate = 1, .burst = 5, .concurrency = 100 });
	int64_t before = clock_wall_ms();
	for (int i = 0; i < 20; i++)
		(void)handle(w, 50, BUS_DONE);
	job = show(bus, job.id);
	assert_true(job.succeeded >= 5 && (int64_t)job.succeeded <= 5 + (clock_wall_ms() - before) / 1000 + 1);
	assert_string_equal(job.state, "running");
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_pause_resume_cancel_lose_nothing(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	size_t n;
	make_letters(bus, w, 30);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .concurrency = 10 });
	assert_int_equal(bus_worker_read(w, 4, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 4); /* six more were offered, and are taken back */
	struct bus_message one = m[0], two = m[1];
	job = control(bus, job.id, DEAD_LETTER_JOB_PAUSE);
	assert_string_equal(job.state, "paused");
	assert_string_equal(job.note, "test");
	assert_int_equal(job.out, 4);
	fixture_settle(w, &one, BUS_DONE, 0); /* what is in hand goes on */
	fixture_settle(w, &two, BUS_REJECT, WEIR_MISMATCH);
	bus_worker_close(&w); /* gives back the other two */
	w = worker(bus);
	assert_int_equal(handle(w, 50, BUS_DONE), 2);
	assert_int_equal(handle(w, 50, BUS_DONE), 0);
	job = show(bus, job.id);
	assert_int_equal(job.succeeded, 3);
	assert_int_equal(job.failed, 1);
	assert_int_equal(job.out, 0);
	assert_int_equal(letters(bus, SUB), 27);
	job = control(bus, job.id, DEAD_LETTER_JOB_RESUME);
	assert_string_equal(job.state, "running");
	assert_in_range(handle(w, 5, BUS_DONE), 1, 5);
	job = control(bus, job.id, DEAD_LETTER_JOB_CANCEL);
	assert_string_equal(job.state, "canceled");
	uint64_t left = letters(bus, SUB);
	assert_int_equal(left + job.succeeded, 30);
	assert_int_equal(handle(w, 50, BUS_DONE), 0);
	assert_int_equal(control(bus, job.id, DEAD_LETTER_JOB_RESUME).state[0], 'c'); /* it has ended */
	job = start(bus, SUB, (struct dead_letter_order){ 0 });                       /* what it left, another takes */
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.succeeded, left);
	assert_int_equal(letters(bus, SUB), 0);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:rpw:" SUB " weir:{test}:rpl:" SUB " weir:{test}:rpi:" SUB " weir:{test}:jobsr:" SUB), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* What pausing took back is the job's again when it goes on. */
static void test_a_resumed_job_ends_with_all(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	make_letters(bus, w, 40);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .concurrency = 20 });
	for (int i = 0; i < 3; i++) {
		assert_in_range(handle(w, 3, BUS_DONE), 1, 3);
		(void)control(bus, job.id, DEAD_LETTER_JOB_PAUSE);
		(void)control(bus, job.id, DEAD_LETTER_JOB_RESUME);
	}
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.succeeded, 40);
	assert_int_equal(letters(bus, SUB), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Who asks for a replay at once gets it, though a job that had the letters is canceled. */
static void test_cancel_leaves_what_others_asked_for(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	uint64_t n;
	make_letters(bus, w, 10);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ 0 });
	assert_int_equal(handle(w, 1, BUS_DONE), 1);
	assert_int_equal(dead_letter_replay(bus, "test", SUB, &(struct dead_letter_filter){ .reason = "invalid" }, NULL, 0, "you", &n, NULL), 0);
	(void)control(bus, job.id, DEAD_LETTER_JOB_CANCEL);
	for (int64_t end = clock_mono_ms() + 10000; letters(bus, SUB) > 9 - n;) {
		assert_true(clock_mono_ms() < end);
		(void)handle(w, 50, BUS_DONE);
	}
	assert_int_equal(handle(w, 50, BUS_DONE), 0);
	assert_int_equal(letters(bus, SUB), 9 - n);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A cause that is still there must not cost every letter another attempt. */
static void test_pauses_itself(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	make_letters(bus, w, 100);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .stop_percent = 30, .concurrency = 5 });
	job = handle_until(bus, w, job.id, "paused", BUS_REJECT);
	assert_in_range(job.failed, 20, 30);
	assert_non_null(strstr(job.note, "failed again"));
	assert_int_equal(letters(bus, SUB), 100);
	job = control(bus, job.id, DEAD_LETTER_JOB_RESUME); /* the cause is gone */
	assert_string_equal(job.note, "");
	uint64_t failed = job.failed;
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.failed, failed);
	assert_int_equal(job.succeeded, 100 - failed);
	assert_int_equal(letters(bus, SUB), failed);                              /* each was tried once */
	job = start(bus, SUB, (struct dead_letter_order){ .stop_percent = 101 }); /* never */
	job = handle_until(bus, w, job.id, "done", BUS_REJECT);
	assert_int_equal(job.failed, failed);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_idempotency_key(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct dead_letter_job other;
	make_letters(bus, w, 4);
	struct dead_letter_order order = { .filter = { .reason = "invalid" }, .idempotency_key = "once" };
	struct dead_letter_job job = start(bus, SUB, order), again = start(bus, SUB, order);
	assert_string_equal(job.id, again.id);
	(void)handle_until(bus, w, job.id, "done", BUS_DONE);
	again = start(bus, SUB, order); /* also when it has ended */
	assert_string_equal(job.id, again.id);
	assert_string_equal(again.state, "done");
	order.rate = 7;
	assert_int_equal(dead_letter_job_start(bus, "test", SUB, &order, &other, NULL), WEIR_CONFLICT);
	order.idempotency_key = NULL;
	assert_string_not_equal(start(bus, SUB, order).id, start(bus, SUB, order).id);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void count_job(const struct dead_letter_job *job, void *arg)
{
	(void)job;
	++*(size_t *)arg;
}

/* Jobs live in Redis: every process ends and Redis is killed, and the job goes on. */
static void test_survives_everything(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	size_t jobs = 0;
	make_letters(bus, w, 60);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .concurrency = 7 });
	while (show(bus, job.id).succeeded < 20)
		(void)handle(w, 5, BUS_DONE);
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_worker_read(w, 3, 1000, &m, &n, NULL), 0); /* these are in hand when all ends */
	fixture_ask("CONFIG SET appendfsync always");
	bus_worker_close(&w);
	bus_close(&bus);
	redis_server_kill(&fixture_server);
	redis_server_restart(&fixture_server);
	bus = fixture_bus("w2");
	w = worker(bus);
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.succeeded, 60);
	assert_int_equal(letters(bus, SUB), 0);
	assert_int_equal(dead_letter_job_list(bus, "test", SUB, 10, count_job, &jobs, NULL), 0);
	assert_int_equal(jobs, 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Letters that are purged while a job has them do not keep it from ending. */
static void test_purged_on_the_way(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	uint64_t n;
	make_letters(bus, w, 20);
	struct dead_letter_job job = start(bus, SUB, (struct dead_letter_order){ .concurrency = 10 });
	assert_int_equal(handle(w, 4, BUS_DONE), 4);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, NULL, 0, "me", "no use", &n, NULL), 0);
	assert_int_equal(n, 16);
	job = handle_until(bus, w, job.id, "done", BUS_DONE);
	assert_int_equal(job.succeeded, 4);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- ordered lane ---------------------------------------------------------------------------------------------------------- */

#define KEYS 3
#define PER_KEY 4

struct world {
	struct bus *bus;
	struct bus_owner *o;
	char seen[KEYS][PER_KEY + 1]; /* bodies of each key as they were handled */
	int bad;                      /* key whose messages fail; -1: none */
};

static void owner_open(struct world *w)
{
	w->bus = fixture_bus("w");
	assert_int_equal(bus_owner_open(w->bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &w->o, NULL), 0);
	assert_int_equal(bus_owner_acquire(w->o, NULL), 0);
}

/* KEYS heads with followers behind them, interleaved. */
static void make_keys(struct world *w)
{
	static const char bodies[] = "1\0"
				     "2\0"
				     "3\0"
				     "4\0",
			  keys[] = "a\0"
				   "b\0"
				   "c\0";
	struct bus_message *m;
	size_t n;
	for (int i = 0; i < KEYS * PER_KEY; i++)
		fixture_publish(w->bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, keys + i % KEYS * 2, bodies + i / KEYS * 2));
	for (int parked = 0; parked < KEYS;) {
		struct error why = { .code = WEIR_TIMEOUT };
		assert_int_equal(bus_owner_read(w->o, 1, 1000, &m, &n, NULL), 0);
		if (n > 0 && !bus_owner_parked(w->o, m[0].frame.key)) {
			assert_int_equal(bus_owner_park(w->o, &m[0], &why, NULL), 0);
			parked++;
		}
	}
	while (letters(w->bus, OWNER_SUB) < KEYS * PER_KEY) /* the others follow */
		assert_int_equal(bus_owner_read(w->o, 10, 100, &m, &n, NULL), 0);
}

static void own(struct world *w)
{
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_owner_read(w->o, 10, 0, &m, &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		struct bus_message copy = m[i];
		struct error why = { .code = WEIR_MISMATCH };
		int key = copy.frame.key.data[0] - 'a';
		assert_true(copy.replay);
		if (key == w->bad) {
			assert_int_equal(bus_owner_park(w->o, &copy, &why, NULL), 0);
			continue;
		}
		strncat(w->seen[key], (const char *)copy.frame.body.data, 1);
		assert_int_equal(bus_owner_resolve(w->o, &copy, NULL), 0);
	}
}

static struct dead_letter_job own_until(struct world *w, const char *id, const char *state)
{
	int64_t end = clock_mono_ms() + 10000;
	struct dead_letter_job job = show(w->bus, id);
	for (; strcmp(job.state, state) != 0; job = show(w->bus, id)) {
		if (clock_mono_ms() > end)
			fail_msg("the job is %s, not %s", job.state, state);
		own(w);
	}
	return job;
}

/* Whatever the order asks for, keys go from their first letter on, one letter at a time, and stop at the first that fails. */
static void test_order_of_keys(void **state)
{
	(void)state;
	struct world w = { .bad = 1 };
	owner_open(&w);
	make_keys(&w);
	struct dead_letter_job job = start(w.bus, OWNER_SUB, (struct dead_letter_order){ .filter = { .kind = "follower" }, .stop_percent = 101 });
	assert_int_equal(job.total, KEYS * (PER_KEY - 1));
	job = own_until(&w, job.id, "done");
	assert_string_equal(w.seen[0], "1234");
	assert_string_equal(w.seen[1], "");
	assert_string_equal(w.seen[2], "1234");
	assert_int_equal(job.succeeded, 2 * PER_KEY);
	assert_int_equal(job.failed, 1);
	assert_int_equal(letters(w.bus, OWNER_SUB), PER_KEY);
	w.bad = -1;
	job = start(w.bus, OWNER_SUB, (struct dead_letter_order){ .filter = { .key = "b" } });
	job = own_until(&w, job.id, "done");
	assert_string_equal(w.seen[1], "1234");
	assert_int_equal(fixture_ask("EXISTS weir:{test}:park:" OWNER_SUB " weir:{test}:rpk:" OWNER_SUB " weir:{test}:rpo:" OWNER_SUB
				     " weir:{test}:rpw:" OWNER_SUB),
			 0);
	bus_owner_close(&w.o);
	bus_close(&w.bus);
}

/* Concurrency 1 over several keys, canceled and begun again in the middle: each key goes on where it stood. */
static void test_order_through_cancel(void **state)
{
	(void)state;
	struct world w = { .bad = -1 };
	owner_open(&w);
	make_keys(&w);
	uint64_t handled = 0;
	struct dead_letter_job job;
	for (int round = 0; round < 4; round++) {
		job = start(w.bus, OWNER_SUB, (struct dead_letter_order){ .concurrency = 1 });
		for (uint64_t want = handled + 2; handled < want;) {
			own(&w);
			handled = KEYS * PER_KEY - letters(w.bus, OWNER_SUB);
		}
		job = control(w.bus, job.id, round % 2 ? DEAD_LETTER_JOB_CANCEL : DEAD_LETTER_JOB_PAUSE);
		if (round % 2 == 0) {
			own(&w);
			assert_int_equal(KEYS * PER_KEY - letters(w.bus, OWNER_SUB), handled);
			job = control(w.bus, job.id, DEAD_LETTER_JOB_RESUME);
			job = control(w.bus, job.id, DEAD_LETTER_JOB_CANCEL);
		}
		own(&w);
		assert_int_equal(KEYS * PER_KEY - letters(w.bus, OWNER_SUB), handled);
	}
	job = start(w.bus, OWNER_SUB, (struct dead_letter_order){ 0 });
	job = own_until(&w, job.id, "done");
	for (int k = 0; k < KEYS; k++)
		assert_string_equal(w.seen[k], "1234");
	bus_owner_close(&w.o);
	bus_close(&w.bus);
}

/* What ended is forgotten beyond a thousand, what is not over never is, wherever it stands; and there is a most of it. */
static void test_ended_jobs_are_forgotten_and_others_are_not(void **state)
{
	(void)state;
	enum { KEPT = 1000, PAUSED = 12 };
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct dead_letter_job job, oldest;
	struct error err = { 0 };
	const struct dead_letter_order order = { .who = "me" };
	size_t n = 0;
	int r = 0;
	make_letters(bus, w, 1);
	oldest = start(bus, SUB, order);
	(void)control(bus, oldest.id, DEAD_LETTER_JOB_PAUSE);
	for (int i = 1; i < PAUSED; i++)
		(void)control(bus, start(bus, SUB, order).id, DEAD_LETTER_JOB_PAUSE);
	for (int i = 0; i < KEPT; i++)
		(void)control(bus, start(bus, SUB, order).id, DEAD_LETTER_JOB_CANCEL);
	assert_int_equal(dead_letter_job_list(bus, "test", SUB, 2 * KEPT, count_job, &n, NULL), 0);
	assert_int_equal(n, KEPT);
	assert_string_equal(show(bus, oldest.id).state, "paused");
	for (n = PAUSED; r == 0 && n <= KEPT; n += r == 0)
		r = dead_letter_job_start(bus, "test", SUB, &order, &job, &err);
	assert_int_equal(r, WEIR_FULL);
	assert_int_equal(n, KEPT);
	assert_non_null(strstr(err.text, "resume or cancel some"));
	bus_worker_close(&w);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_takes_what_matches, fixture_flush),
		cmocka_unit_test_setup(test_takes_what_is_named, fixture_flush),
		cmocka_unit_test_setup(test_concurrency_and_rate, fixture_flush),
		fixture_threads(test_pause_resume_cancel_lose_nothing, fixture_flush, NULL, "CrossBusExplorer#64"),
		cmocka_unit_test_setup(test_a_resumed_job_ends_with_all, fixture_flush),
		cmocka_unit_test_setup(test_cancel_leaves_what_others_asked_for, fixture_flush),
		cmocka_unit_test_setup(test_pauses_itself, fixture_flush),
		fixture_threads(test_idempotency_key, fixture_flush, NULL, "newchat#506"),
		fixture_threads(test_survives_everything, fixture_flush, NULL, "Faktory, manager/retry.go"),
		cmocka_unit_test_setup(test_purged_on_the_way, fixture_flush),
		fixture_threads(test_order_of_keys, fixture_flush, NULL, "pulsar#23557, pulsar#23182, JasperFx/wolverine#3476"),
		cmocka_unit_test_setup(test_order_through_cancel, fixture_flush),
		cmocka_unit_test_setup(test_ended_jobs_are_forgotten_and_others_are_not, fixture_flush),
	};
	return fixture_run(tests);
}

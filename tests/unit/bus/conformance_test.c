/* conformance_test.c - what the bus promises, once, for each of {Redis, memory, Kafka} x {ordered, shared}: the same tests over the same interface.
 *
 * Redis and memory run the same functions; what differs is everything below them: sockets, blocking, time, connections that break. Kafka is
 * another transport, here librdkafka's mock cluster: what it cannot promise is in a table with the reason, and must be refused in words.
 * Joining a group of that mock takes seconds of waiting: each of its cases is a process of its own, some at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/redis/connection.h"
#include "bus/subscription.h"
#include "support/apart.h"
#include "support/bus_fixture.h"
#include "support/kafka_broker.h"
#include "weir/v1/dead_letter.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOTE = 310, OLD_NOTE, LEARNT, ROWS = 6 };
#define PATIENCE_MS 60000

static int append_dash(struct bytes body, struct buf *ret, struct error *err)
{
	(void)err;
	buf_add(ret, body.data, body.size);
	buf_add_str(ret, "-");
	return 0;
}
static bus_upcast_fn *const one_step[] = { append_dash };
static const struct bus_type types[] = {
	{ .id = NOTE, .name = "note", .version = 1, .klass = BUS_NORMAL, .key_space = "k" },
	{ .id = OLD_NOTE, .name = "old_note", .version = 2, .oldest = 1, .upcasters = one_step, .klass = BUS_NORMAL },
};
/* Learnt while the program runs, one by each row. */
static const struct bus_type later[ROWS] = {
	{ .id = LEARNT, .name = "learnt0", .version = 1, .klass = BUS_NORMAL },
	{ .id = LEARNT + 1, .name = "learnt1", .version = 1, .klass = BUS_NORMAL },
	{ .id = LEARNT + 2, .name = "learnt2", .version = 1, .klass = BUS_NORMAL },
	{ .id = LEARNT + 3, .name = "learnt3", .version = 1, .klass = BUS_NORMAL },
	{ .id = LEARNT + 4, .name = "learnt4", .version = 1, .klass = BUS_NORMAL },
	{ .id = LEARNT + 5, .name = "learnt5", .version = 1, .klass = BUS_NORMAL },
};

struct row { /* a transport and a lane */
	const char *name;
	enum { REDIS, MEMORY, KAFKA } transport;
	enum bus_order order;
	int number;
};

/* -- a handler that does as it is told, and counts ------------------------------------------------------------------------------ */

#define KEYS 16
#define MESSAGES 4096

static struct {
	atomic_uint calls, done;
	unsigned times[MESSAGES]; /* each message's effects */
	unsigned next[KEYS];      /* of each key, by order */
	unsigned misplaced;
	int fail_number, fail_times, fail_code; /* this message fails so often; < 0: always */
	char last[64];
	struct bus *cut; /* its connection breaks within the handler */
} h;

/* Bodies are "<number>", keys are "k<number % keys>". */
static int handle(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	snprintf(h.last, sizeof h.last, "%.*s", (int)d->body.size, (const char *)d->body.data);
	unsigned number = (unsigned)strtoul(h.last, NULL, 10);
	atomic_fetch_add(&h.calls, 1);
	if (h.cut)
		bus_drop(h.cut);
	if ((int)number == h.fail_number && h.fail_times != 0) {
		h.fail_times -= h.fail_times > 0;
		return error_set(err, h.fail_code, "told to fail");
	}
	assert_true(number < MESSAGES);
	h.times[number]++;
	if (d->message->frame.key.size > 1) {
		char text[16];
		snprintf(text, sizeof text, "%.*s", (int)d->message->frame.key.size - 1, (const char *)d->message->frame.key.data + 1);
		unsigned key = (unsigned)strtoul(text, NULL, 10) % KEYS;
		h.misplaced += number < h.next[key];
		h.next[key] = number;
	}
	atomic_fetch_add(&h.done, 1);
	return 0;
}

static int emit(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct frame f = d->message->frame;
	int r = bus_delivery_emit(d, "results", &f, err);
	return r ? r : handle(d, arg, err);
}

static const uint16_t handled[] = { NOTE, OLD_NOTE };
static const struct bus_handler handlers[] = { { "h", handled, 2, handle, NULL, NULL } };
static const struct bus_handler emitters[] = { { "e", handled, 2, emit, NULL, NULL } };
static const struct retry_rule quick[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 3, .base_ms = 1, .max_ms = 1 } } };

/* -- fixture ----------------------------------------------------------------------------------------------------------------------- */

static struct bus *first; /* a memory store lives as long as one of its buses */
static struct kafka_broker broker;
static unsigned opened;   /* stores: a test that failed leaves its own behind */

static struct bus *open_bus(const struct row *row, const char *worker, int64_t backlog)
{
	if (row->transport == REDIS)
		return fixture_bus_with(worker, 20000, backlog);
	struct bus *bus;
	struct error err = { 0 };
	char url[320];
	if (row->transport == KAFKA) /* a session must be longer than the first joining, which takes 3 s here */
		snprintf(url, sizeof url, "kafka://%s/?session_ms=4000", broker.hosts);
	else
		snprintf(url, sizeof url, "memory://conformance-%u", opened);
	struct bus_options o = { .url = url, .worker = worker, .command_timeout_ms = 20000, .max_backlog = backlog };
	if (bus_open(&o, &bus, &err) != 0)
		fail_msg("%s", err.text);
	return bus;
}

static int setup(void **state)
{
	const struct row *row = *state;
	memset(&h, 0, sizeof h);
	h.fail_number = -1;
	opened++;
	if (row->transport == REDIS)
		fixture_flush(state);
	first = open_bus(row, "first", 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bus_close(&first);
	return 0;
}

static struct bus_subscription_options options_of(const struct row *row)
{
	return (struct bus_subscription_options){ .chain = "c", .topic = "notes", .subscription = "s", .order = row->order, .handlers = handlers,
						  .handler_count = 1, .retries = quick, .retry_count = 1, .lease_ms = 2000 };
}

static struct bus_subscription *open_with(struct bus *bus, struct bus_subscription_options o)
{
	struct bus_subscription *s;
	struct error err = { 0 };
	if (bus_subscription_open(bus, &o, &s, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static struct bus_publisher *publisher(struct bus *bus)
{
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "c", "notes", "p", &p, NULL), 0);
	return p;
}

/* Messages from .. from + n, in one call. keys 0: without. */
static int publish(struct bus_publisher *p, uint16_t type, unsigned from, unsigned n, unsigned keys)
{
	struct frame *frames = xcalloc(n, sizeof *frames);
	char(*text)[2][16] = xcalloc(n, sizeof *text);
	struct error err = { 0 };
	for (unsigned i = 0; i < n; i++) {
		snprintf(text[i][0], 16, "k%u", keys ? (from + i) % keys : 0);
		snprintf(text[i][1], 16, "%u", from + i);
		frames[i] = fixture_message(type, keys ? text[i][0] : "", text[i][1]);
	}
	int r = bus_publish(p, frames, n, &err);
	free(frames);
	free(text);
	return r;
}

static void turn(struct bus_subscription *s)
{
	struct error err = { 0 };
	int r = bus_subscription_turn(s, 20, &err);
	if (r != 0 && !error_retriable(r) && r != WEIR_FENCED)
		fail_msg("%s", err.text);
}

#define rounds_until(s, condition)                                                                                                         \
	do {                                                                                                                               \
		int64_t deadline = clock_mono_ms() + PATIENCE_MS;                                                                          \
		while (!(condition)) {                                                                                                     \
			if (clock_mono_ms() > deadline)                                                                                    \
				fail_msg("not in time: %s; %u calls, %u done", #condition, atomic_load(&h.calls), atomic_load(&h.done));   \
			turn(s);                                                                                                           \
		}                                                                                                                          \
	} while (0)

static uint64_t letters(void)
{
	uint64_t n;
	assert_int_equal(dead_letter_count(first, "c", "s", &n, NULL), 0);
	return n;
}

static void each_once(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (h.times[i] != 1)
			fail_msg("message %u was handled %u times", i, h.times[i]);
}

static struct bus_subscription_status status(struct bus_subscription *s)
{
	static struct bus_subscription_status st;
	bus_subscription_status(s, &st);
	return st;
}

/* -- the promises --------------------------------------------------------------------------------------------------------------------- */

static void order(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	for (unsigned i = 0; i < 300; i += 30)
		assert_int_equal(publish(p, NOTE, i, 30, 7), 0);
	rounds_until(s, h.done == 300);
	each_once(300);
	assert_int_equal(h.misplaced, 0); /* one reader and nothing that fails: the shared lane has it in order as well */
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void batches(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	assert_int_equal(publish(p, NOTE, 0, 3000, 9), 0); /* long calls go another way (publish_direct.c) */
	assert_int_equal(publish(p, NOTE, 3000, 1, 9), 0);
	rounds_until(s, h.done == 3001);
	each_once(3001);
	assert_int_equal(h.misplaced, 0);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void groups(void **state)
{
	const struct row *row = *state;
	struct bus *a = open_bus(row, "a", 0), *b = open_bus(row, "b", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription_options o = options_of(row);
	struct bus_subscription *s = open_with(a, o);
	o.subscription = "t";
	struct bus_subscription *t = open_with(b, o);
	turn(s);
	turn(t);
	assert_int_equal(publish(p, NOTE, 0, 50, 5), 0);
	rounds_until(s, h.done == 50);
	memset(h.next, 0, sizeof h.next);
	rounds_until(t, h.done == 100); /* each has all of it */
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(h.times[i], 2);
	bus_subscription_close(&s);
	bus_subscription_close(&t);
	bus_publisher_close(&p);
	bus_close(&a);
	bus_close(&b);
}

/* An instance ends in the middle, without a word: another one has what it had not settled. */
static void redelivery(void **state)
{
	const struct row *row = *state;
	static const struct retry_rule slow[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 9, .base_ms = 600000, .max_ms = 600000 } } };
	struct bus *a = open_bus(row, "a", 0), *b = open_bus(row, "b", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription_options o = options_of(row);
	o.retries = slow;
	o.lease_ms = 500;
	struct bus_subscription *s = open_with(a, o);
	h.fail_number = 3;
	h.fail_times = 1;
	h.fail_code = WEIR_CONFLICT;
	assert_int_equal(publish(p, NOTE, 0, 10, 0), 0);
	rounds_until(s, h.calls == 10);
	bus_drop(a); /* it is gone; the object goes only when the test is over */
	struct bus_subscription *t = open_with(b, o);
	rounds_until(t, h.times[3] == 1);
	for (unsigned i = 0; i < 10; i++)
		assert_true(h.times[i] >= 1); /* an ordered lane repeats what came behind the one that waited */
	bus_subscription_close(&t);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&a);
	bus_close(&b);
}

static void reconnects(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	for (unsigned i = 0; i < 200; i += 10) {
		assert_int_equal(publish(p, NOTE, i, 10, 5), 0);
		if (i % 20 == 0)
			bus_drop(first);
		h.cut = i % 30 == 0 ? bus : NULL; /* between the effect and its acknowledgement */
		turn(s);
	}
	h.cut = NULL;
	rounds_until(s, h.done >= 200);
	for (unsigned i = 0; i < 200; i++)
		assert_true(h.times[i] >= 1);
	if (row->transport == REDIS)
		fixture_ask("CLIENT KILL TYPE normal");
	if (row->transport == KAFKA) {
		kafka_broker_up(&broker, 0);
		kafka_broker_up(&broker, 1);
	}
	assert_int_equal(publish(p, NOTE, 200, 1, 5), 0);
	rounds_until(s, h.times[200] == 1);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void retry(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	h.fail_number = 2;
	h.fail_times = 2;
	h.fail_code = WEIR_CONFLICT;
	assert_int_equal(publish(p, NOTE, 0, 20, 2), 0);
	rounds_until(s, h.done == 20);
	each_once(20);
	assert_int_equal(h.calls, 22);
	assert_int_equal(status(s).handlers[0].recovered, 1);
	assert_int_equal(letters(), 0);
	if (row->order == BUS_ORDERED)
		assert_int_equal(h.misplaced, 0); /* those of its key waited behind it */
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void park_and_replay(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	unsigned others = row->order == BUS_ORDERED ? 5 : 0; /* of its key, behind it */
	h.fail_number = 0;
	h.fail_times = -1;
	h.fail_code = WEIR_INVALID;
	assert_int_equal(publish(p, NOTE, 0, 12, 2), 0);
	rounds_until(s, letters() == 1 + others && h.done == 11 - others);
	assert_int_equal(publish(p, NOTE, 12, 1, 2), 0); /* newer, of the same key */
	rounds_until(s, others ? letters() == 2 + others : h.done == 12);
	h.fail_number = -1;
	memset(h.next, 0, sizeof h.next);
	uint64_t n;
	assert_int_equal(dead_letter_replay(first, "c", "s", NULL, NULL, 0, "me", &n, NULL), 0);
	assert_true(n >= 1);
	assert_int_equal(publish(p, NOTE, 14, 1, 2), 0);
	rounds_until(s, h.done == 14 && letters() == 0);
	each_once(13);
	if (row->order == BUS_ORDERED)
		assert_int_equal(h.misplaced, 0);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* Keys are any bytes: those that are alike up to a zero byte are not one key. In the words of letters what is no text is '?'. */
static bool keys_of_letters(const char *id, struct bytes body, void *arg)
{
	(void)id;
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	assert_non_null(letter);
	*(unsigned *)arg += strcmp(letter->key, "k?a") == 0;
	weir__v1__dead_letter__free_unpacked(letter, NULL);
	return true;
}

static void binary_keys(void **state)
{
	const struct row *row = *state;
	static const struct bytes keys[] = { { (const uint8_t *)"k\0a", 3 }, { (const uint8_t *)"k\0b", 3 }, { (const uint8_t *)"k", 1 }, { (const uint8_t *)"\0", 1 } };
	enum { N = 4 };
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	unsigned others = row->order == BUS_ORDERED ? 1 : 0, named = 0; /* of its key, behind it */
	h.fail_number = 0;
	h.fail_times = -1;
	h.fail_code = WEIR_INVALID;
	for (unsigned i = 0; i < 2 * N; i++) {
		char text[16];
		snprintf(text, sizeof text, "%u", i);
		struct frame f = fixture_message(NOTE, "", text);
		f.key = keys[i % N];
		assert_int_equal(bus_publish(p, &f, 1, NULL), 0);
	}
	rounds_until(s, letters() == 1 + others && h.done == 2 * N - 1 - others);
	assert_int_equal(dead_letter_list(first, "c", "s", NULL, NULL, 0, keys_of_letters, &named, NULL), 0);
	assert_int_equal(named, 1 + others);
	h.fail_number = -1;
	uint64_t n;
	assert_int_equal(dead_letter_replay(first, "c", "s", NULL, NULL, 0, "me", &n, NULL), 0);
	rounds_until(s, letters() == 0 && h.done == 2 * N);
	each_once(2 * N);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

struct seeking {
	unsigned left;
	char id[64];
};

static bool seek(const char *id, struct bytes body, void *arg)
{
	struct seeking *s = arg;
	(void)body;
	snprintf(s->id, sizeof s->id, "%s", id);
	return s->left-- > 0;
}

/* The id of one in the list; to be freed. */
static char *letter_at(unsigned at)
{
	struct seeking s = { .left = at };
	assert_int_equal(dead_letter_list(first, "c", "s", NULL, NULL, 0, seek, &s, NULL), 0);
	return xstrdup(s.id);
}

static void count_job(const struct dead_letter_job *job, void *arg)
{
	assert_string_equal(job->state, "done");
	++*(uint64_t *)arg;
}

static void replay_jobs(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription_options o = options_of(row);
	o.no_storm_guard = true;
	struct bus_subscription *s = open_with(bus, o);
	struct dead_letter_job job;
	const struct dead_letter_order all = { .who = "me", .why = "test" };
	h.fail_times = -1;
	h.fail_code = WEIR_INVALID;
	for (unsigned i = 0; i < 20; i++) {
		h.fail_number = (int)i;
		assert_int_equal(publish(p, NOTE, i, 1, 0), 0);
		rounds_until(s, letters() == i + 1);
	}
	h.fail_number = -1;
	const char *some[] = { letter_at(3), letter_at(11), "7-7" };
	const struct dead_letter_order named = { .ids = some, .n = 3, .rate = 1000, .idempotency_key = "once", .who = "me", .why = "test" };
	struct error err = { 0 };
	uint64_t n;
	assert_int_equal(dead_letter_job_dry_run(first, "c", "s", &all, &n, NULL), 0);
	assert_int_equal(n, 20);
	if (dead_letter_job_start(first, "c", "s", &named, &job, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(job.total, 2);
	assert_true(job.named);
	rounds_until(s, dead_letter_job_show(first, "c", job.id, &job, NULL) == 0 && strcmp(job.state, "done") == 0);
	assert_int_equal(job.succeeded, 2);
	assert_int_equal(letters(), 18);
	struct dead_letter_job again;
	assert_int_equal(dead_letter_job_start(first, "c", "s", &named, &again, NULL), 0); /* a repeated call finds the job that it made */
	assert_string_equal(again.id, job.id);
	assert_int_equal(dead_letter_job_start(first, "c", "s", &all, &job, NULL), 0);
	assert_int_equal(job.total, 18);
	rounds_until(s, dead_letter_job_show(first, "c", job.id, &job, NULL) == 0 && strcmp(job.state, "done") == 0);
	assert_int_equal(job.succeeded, 18);
	assert_int_equal(job.failed + job.gone + job.out + job.ready, 0);
	assert_int_equal(letters(), 0);
	each_once(20);
	n = 0;
	assert_int_equal(dead_letter_job_list(first, "c", "s", 10, count_job, &n, NULL), 0);
	assert_int_equal(n, 2);
	for (unsigned i = 0; i < 2; i++)
		free((void *)(uintptr_t)some[i]);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void *publish_later(void *arg)
{
	struct bus_publisher *p = arg;
	for (unsigned i = 0; i < 40; i++)
		(void)publish(p, NOTE, i, 1, 3);
	return NULL;
}

/* On threads of their own: a reader that blocks is woken, and stopping finishes what is in hand. */
static void drain(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	struct error err = { 0 };
	pthread_t thread;
	h.fail_number = 39;
	h.fail_times = 1;
	h.fail_code = WEIR_CONFLICT;
	assert_int_equal(bus_subscription_start(s, 10000, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, publish_later, p), 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; atomic_load(&h.calls) < 40;) {
		assert_true(clock_mono_ms() < deadline);
		clock_sleep_ms(1);
	}
	pthread_join(thread, NULL);
	if (bus_subscription_join(s, &err) != 0)
		fail_msg("%s", err.text);
	bus_subscription_close(&s);
	struct bus *other = open_bus(row, "v", 0);
	s = open_with(other, options_of(row)); /* what was not finished comes to the next; what was does not */
	rounds_until(s, h.done == 40);
	each_once(40);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&other);
}

static void pause_and_resume(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	turn(s);
	assert_int_equal(bus_subscription_tell(first, "c", "notes", "s", BUS_TELL_PAUSE, "migration", "ann", NULL), 0);
	rounds_until(s, status(s).state == BUS_PAUSED);
	assert_int_equal(publish(p, NOTE, 0, 5, 2), 0);
	for (int i = 0; i < 5; i++)
		turn(s);
	assert_int_equal(h.calls, 0);
	bus_subscription_resume(s); /* the word would take another second */
	rounds_until(s, h.done == 5);
	each_once(5);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void evolution(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	const struct bus_type *new = &later[row->number];
	assert_int_equal(publish(p, OLD_NOTE, 7, 1, 0), 0); /* version 1, which is read as version 2 */
	rounds_until(s, h.done == 1);
	assert_string_equal(h.last, "7-");
	assert_int_equal(publish(p, new->id, 8, 1, 0), 0); /* unknown to this build */
	rounds_until(s, letters() == 1);
	assert_int_equal(h.calls, 1);
	bus_subscription_close(&s);
	const uint16_t more[] = { NOTE, OLD_NOTE, new->id };
	const struct bus_handler knows[] = { { "h", more, 3, handle, NULL, NULL } };
	assert_int_equal(bus_types_add(new, 1, NULL), 0);
	struct bus_subscription_options o = options_of(row);
	o.handlers = knows;
	s = open_with(bus, o); /* a build that knows it tries by itself */
	rounds_until(s, h.times[8] == 1 && letters() == 0);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void emitting(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0), *reader = open_bus(row, "r", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription_options o = options_of(row), results = o;
	o.handlers = emitters;
	results.topic = "results";
	results.subscription = "r";
	struct bus_subscription *s = open_with(bus, o), *r = open_with(reader, results);
	turn(r);
	assert_int_equal(publish(p, NOTE, 0, 10, 3), 0);
	if (row->order == BUS_SHARED) {
		rounds_until(s, h.done == 10);
		memset(h.next, 0, sizeof h.next);
		rounds_until(r, h.done == 20);
	} else {
		rounds_until(s, letters() > 0);
		assert_non_null(strstr(status(s).last_error, "is ordered"));
		assert_int_equal(h.done, 0);
	}
	bus_subscription_close(&s);
	bus_subscription_close(&r);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&reader);
}

static void backpressure(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0), *narrow = open_bus(row, "n", 50);
	struct bus_publisher *p = publisher(narrow);
	struct bus_subscription *s = open_with(bus, options_of(row));
	turn(s);
	unsigned n = 0;
	while (n < 1000 && publish(p, NOTE, n, 10, 0) == 0)
		n += 10;
	assert_in_range(n, 10, 100);
	assert_int_equal(publish(p, NOTE, n, 10, 0), WEIR_FULL);
	rounds_until(s, h.done == n);
	assert_int_equal(bus_trim(first, "c", "notes", 0, NULL), 0);
	assert_int_equal(publish(p, NOTE, n, 10, 0), 0);
	rounds_until(s, h.done == n + 10);
	each_once(n + 10);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&narrow);
	bus_close(&bus);
}

static void detaching(void **state)
{
	const struct row *row = *state;
	struct bus *bus = open_bus(row, "w", 0);
	struct bus_publisher *p = publisher(first);
	struct bus_subscription *s = open_with(bus, options_of(row));
	assert_int_equal(publish(p, NOTE, 0, 10, 0), 0);
	rounds_until(s, h.done == 10);
	if (row->order == BUS_ORDERED)
		assert_int_equal(bus_subscription_detach(first, "c", "notes", "s", "ann", NULL), WEIR_CONFLICT);
	bus_subscription_close(&s);
	assert_int_equal(bus_subscription_detach(first, "c", "notes", "s", "ann", NULL), 0);
	struct dead_letter_job none;
	assert_int_equal(dead_letter_job_show(first, "c", "nothing", &none, NULL), WEIR_NOT_FOUND);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* -- memory alone ------------------------------------------------------------------------------------------------------------------------ */

static void a_store_lives_as_long_as_it_is_open(void **state)
{
	(void)state;
	const struct row row = { .transport = MEMORY, .order = BUS_ORDERED };
	memset(&h, 0, sizeof h);
	h.fail_number = -1;
	first = open_bus(&row, "first", 0);
	struct bus_publisher *p = publisher(first);
	assert_int_equal(publish(p, NOTE, 0, 3, 0), 0);
	bus_publisher_close(&p);
	bus_close(&first);
	struct bus *bus = open_bus(&row, "w", 0);
	struct bus_subscription *s = open_with(bus, options_of(&row));
	for (int i = 0; i < 3; i++)
		turn(s);
	assert_int_equal(h.calls, 0);
	assert_int_equal(bus_check(bus, NULL), 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void stores_are_apart_and_have_no_replicas(void **state)
{
	(void)state;
	struct bus *a, *b;
	struct error err = { 0 };
	struct bus_options o = { .url = "memory://a" };
	assert_int_equal(bus_open(&o, &a, &err), 0);
	o.url = "memory://b";
	assert_int_equal(bus_open(&o, &b, &err), 0);
	const struct bus_field field = { "name", "value" };
	assert_int_equal(bus_hash_write(a, "weir:{c}:state", &field, 1, &err), 0);
	assert_int_equal(bus_hash_delete(b, "weir:{c}:state", (const char *const[]){ "name" }, 1, &err), 0);
	assert_int_not_equal(strcmp(a->run, b->run), 0);
	bus_close(&a);
	bus_close(&b);
	o.wait_replicas = 1;
	assert_int_equal(bus_open(&o, &a, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "no replicas"));
	o.url = "memory://";
	assert_int_equal(bus_open(&o, &a, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "names no store"));
}

/* -- Kafka alone ------------------------------------------------------------------------------------------------------------------------- */

static void is_refused(int code, const struct error *err, const char *operation)
{
	assert_int_equal(code, WEIR_UNSUPPORTED);
	assert_non_null(strstr(err->text, "over Kafka"));
	assert_non_null(strstr(err->text, operation));
}

/* What conformance cannot be had of, and what is said instead. */
static void trimming_is_refused(void **state)
{
	(void)state;
	struct error err = { 0 };
	is_refused(bus_trim(first, "c", "notes", 0, &err), &err, "trim");
}

static void detaching_and_seeking_are_refused(void **state)
{
	(void)state;
	struct error err = { 0 };
	is_refused(bus_subscription_detach(first, "c", "notes", "s", "ann", &err), &err, "detach");
	is_refused(bus_subscription_seek(first, "c", "notes", "s", BUS_NORMAL, 1, 1, "ann", &err), &err, "seek");
}

/* -- all of them --------------------------------------------------------------------------------------------------------------------------- */

static const struct row rows[ROWS] = { { "redis, ordered", REDIS, BUS_ORDERED, 0 },   { "redis, shared", REDIS, BUS_SHARED, 1 },
				       { "memory, ordered", MEMORY, BUS_ORDERED, 2 }, { "memory, shared", MEMORY, BUS_SHARED, 3 },
				       { "kafka, ordered", KAFKA, BUS_ORDERED, 4 },   { "kafka, shared", KAFKA, BUS_SHARED, 5 } };

#define PROMISES(X)                                                                                                                        \
	X(order) X(batches) X(groups) X(redelivery) X(reconnects) X(retry) X(park_and_replay) X(binary_keys) X(replay_jobs) X(drain) X(pause_and_resume) \
		X(evolution) X(emitting) X(backpressure) X(detaching)

/* What Kafka does not promise: why, and what is tested instead. */
static const struct {
	CMUnitTestFunction promise, instead;
	const char *name;
} exceptions[] = {
	/* Kafka keeps what it has by its own retention, on disk: readers that are behind do not hold publishers. */
	{ backpressure, trimming_is_refused, "trimming_is_refused" },
	/* Groups are ended and moved by Kafka's own tools, which the mock knows nothing of. */
	{ detaching, detaching_and_seeking_are_refused, "detaching_and_seeking_are_refused" },
};

#define CASES_MAX APART_MAX
static struct CMUnitTest tests[CASES_MAX];
static char names[CASES_MAX][96];
static bool apart[CASES_MAX]; /* in a process of its own */
static size_t test_count;

static void add_case(const struct row *row, CMUnitTestFunction promise, const char *name)
{
	for (size_t i = 0; row->transport == KAFKA && i < sizeof exceptions / sizeof exceptions[0]; i++)
		if (exceptions[i].promise == promise) {
			promise = exceptions[i].instead;
			name = exceptions[i].name;
		}
	snprintf(names[test_count], sizeof names[0], "%s: %s", row->name, name);
	tests[test_count] = (struct CMUnitTest){ names[test_count], promise, setup, teardown, (void *)(uintptr_t)row };
	apart[test_count++] = row->transport == KAFKA;
}

/* -- cases that are processes ---------------------------------------------------------------------------------------------------------------- */

static int run_case(size_t at)
{
	static const char *const topics[] = { "notes", "results" }, *const subscriptions[] = { "s", "t", "r" };
	char name[64];
	kafka_broker_start(&broker);
	kafka_broker_topic(&broker, "weir.c.state", 1);
	for (size_t t = 0; t < 2; t++) {
		for (int c = 0; c < CLASSES; c++) {
			snprintf(name, sizeof name, "weir.c.%s.%s", topics[t], bus_classes[c]);
			kafka_broker_topic(&broker, name, 3);
		}
		for (size_t i = 0; i < 3; i++) {
			snprintf(name, sizeof name, "weir.c.%s.letters.%s", topics[t], subscriptions[i]);
			kafka_broker_topic(&broker, name, 3);
		}
	}
	int failed = _cmocka_run_group_tests("conformance", &tests[at], 1, NULL, NULL);
	kafka_broker_stop(&broker);
	return failed;
}

int main(int argc, char **argv)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	if (bus_types_add(types, sizeof types / sizeof types[0], NULL) != 0)
		return 1;
	for (size_t i = 0; i < ROWS; i++) {
#define X(promise) add_case(&rows[i], promise, #promise);
		PROMISES(X)
#undef X
	}
	tests[test_count++] = (struct CMUnitTest)cmocka_unit_test(a_store_lives_as_long_as_it_is_open);
	tests[test_count++] = (struct CMUnitTest)cmocka_unit_test(stores_are_apart_and_have_no_replicas);
	if (argc > 1) {
		size_t at = strtoul(argv[1], NULL, 10);
		return at < test_count && apart[at] ? run_case(at) : 2;
	}
	apart_start(apart, test_count, "conformance_test");
	for (size_t i = 0; i < test_count; i++)
		if (apart[i])
			tests[i] = (struct CMUnitTest){ tests[i].name, apart_case, NULL, NULL, (void *)(uintptr_t)i };
	redis_server_start(&fixture_server);
	return fixture_end(_cmocka_run_group_tests("conformance", tests, test_count, NULL, NULL));
}

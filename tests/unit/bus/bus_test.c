/* bus_test.c - the bus against a real Redis: exactly-once publishing, both lanes, fencing, parking, replay, loss, trimming. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/bus.h"
#include "support/redis_server.h"
#include "weir/streams.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

static struct redis_server server;

static struct bus *open_bus(const char *worker)
{
	struct bus *bus;
	struct bus_options options = { .url = server.url, .worker = worker, .command_timeout_ms = 20000 };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	return bus;
}

static long long ask(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	redisContext *c = redisConnectUnix(server.url + 7);
	redisReply *r = redisvCommand(c, format, args);
	va_end(args);
	long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : r->type == REDIS_REPLY_ERROR ? -1 : 0;
	freeReplyObject(r);
	redisFree(c);
	return n;
}

static int setup(void **state)
{
	(void)state;
	ask("FLUSHALL");
	return 0;
}

static struct frame message(uint16_t type, const char *key, const char *body)
{
	struct frame f = { .type = type, .schema_version = 1, .created_unix_ms = 1 };
	static uint64_t number;
	number++;
	memcpy(f.event_id, &number, sizeof number);
	f.key = (struct bytes){ (const uint8_t *)key, strlen(key) };
	f.body = (struct bytes){ (const uint8_t *)body, strlen(body) };
	return f;
}

static void publish(struct bus *bus, const char *topic, struct frame f)
{
	struct bus_publisher *p;
	struct error err = { 0 };
	assert_int_equal(bus_publisher_open(bus, "test", topic, "p", &p, &err), 0);
	if (bus_publish(p, &f, 1, &err) != 0)
		fail_msg("%s", err.text);
	bus_publisher_close(&p);
}

static bool body_is(const struct bus_message *m, const char *text)
{
	return m->frame.body.size == strlen(text) && memcmp(m->frame.body.data, text, m->frame.body.size) == 0;
}

static void test_publish_once(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_publisher *p;
	struct error err = { 0 };
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &p, &err), 0);
	struct frame f[3] = { message(MESSAGE_CHAIN_HEAD, "a", "1"), message(MESSAGE_CHAIN_HEAD, "a", "2"), message(MESSAGE_CHAIN_FORK, "a", "3") };
	assert_int_equal(bus_publish(p, f, 3, &err), 0);
	assert_int_equal(ask("XLEN weir:{test}:blocks:normal"), 2);
	assert_int_equal(ask("XLEN weir:{test}:blocks:critical"), 1);
	/* the same numbers again, as after a lost reply: nothing is added (the second producer's first message is number 1 anew) */
	struct bus_publisher *newer;
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &newer, &err), 0);
	struct frame g = message(MESSAGE_CHAIN_HEAD, "a", "4");
	assert_int_equal(bus_publish(newer, &g, 1, &err), 0);
	assert_int_equal(bus_publish(p, &g, 1, &err), WEIR_FENCED);
	assert_int_equal(ask("XLEN weir:{test}:blocks:normal"), 3);
	bus_publisher_close(&p);
	bus_publisher_close(&newer);
	bus_close(&bus);
}

static void test_sequence(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_publisher *p;
	struct error err = { 0 };
	uint64_t tail;
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_LEDGER, "p", &p, &err), 0);
	struct frame f[2] = { message(MESSAGE_LEDGER_EVENT, "", "1"), message(MESSAGE_LEDGER_EVENT, "", "2") };
	assert_int_equal(bus_publish_sequence(p, 1, f, 2, &tail, &err), 0);
	assert_int_equal(tail, 2);
	assert_int_equal(bus_publish_sequence(p, 1, f, 2, &tail, &err), 0); /* a resend is nothing */
	assert_int_equal(ask("XLEN weir:{test}:ledger:normal"), 2);
	assert_int_equal(bus_publish_sequence(p, 4, f, 1, &tail, &err), WEIR_GAP);
	assert_int_equal(tail, 2);
	ask("FLUSHALL");
	assert_int_equal(bus_publish_sequence(p, 3, f, 1, &tail, &err), WEIR_GAP);
	assert_int_equal(tail, 0);
	bus_publisher_restart_at(p, 3);
	assert_int_equal(bus_publish_sequence(p, 3, f, 1, &tail, &err), 0);
	assert_int_equal(tail, 3);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_worker_step(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "normalizer", NULL, &w, &err), 0);
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "tip"));
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_BACKFILL, "1", "old"));
	assert_int_equal(bus_worker_read(w, 10, 1000, &m, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_true(body_is(&m[0], "tip")); /* the tip goes first */
	struct bus_step *step = bus_step_begin(w);
	for (size_t i = 0; i < n; i++) {
		struct frame out = message(MESSAGE_NORMALIZED_BLOCK, "k", "out");
		bus_step_emit(step, &m[i], TOPIC_BLOCKS, &out);
		bus_step_settle(step, &m[i], BUS_DONE, NULL);
	}
	if (bus_step_commit(&step, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(ask("XLEN weir:{test}:blocks:normal"), 2);
	assert_int_equal(ask("XLEN weir:{test}:raw:high"), 0); /* the only group's acknowledged entries go at once */
	assert_int_equal(bus_worker_read(w, 10, 0, &m, &n, &err), 0);
	assert_int_equal(n, 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A zombie whose message was taken over settles it again: its emits must not happen a second time. */
static void test_zombie_step(void **state)
{
	(void)state;
	struct bus *bus = open_bus("zombie");
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "normalizer", NULL, &w, &err), 0);
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "tip"));
	assert_int_equal(bus_worker_read(w, 10, 1000, &m, &n, &err), 0);
	assert_int_equal(n, 1);
	ask("XACK weir:{test}:raw:high normalizer %s", m[0].id); /* somebody else settled it */
	struct bus_step *step = bus_step_begin(w);
	struct frame out = message(MESSAGE_NORMALIZED_BLOCK, "k", "out");
	bus_step_emit(step, &m[0], TOPIC_BLOCKS, &out);
	bus_step_settle(step, &m[0], BUS_DONE, NULL);
	assert_int_equal(bus_step_commit(&step, &err), 0);
	assert_int_equal(ask("XLEN weir:{test}:blocks:normal"), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void settle(struct bus_worker *w, struct bus_message *m, enum bus_outcome outcome, const struct error *why)
{
	struct bus_step *step = bus_step_begin(w);
	struct error err = { 0 };
	bus_step_settle(step, m, outcome, why);
	if (bus_step_commit(&step, &err) != 0)
		fail_msg("%s", err.text);
}

static void test_retry_then_park_then_replay(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 }, why = { .code = WEIR_TIMEOUT, .text = "slow" };
	size_t n;
	uint64_t count;
	struct retry_policy policy = { .growth = RETRY_EXPONENTIAL, .jitter = 1, .attempts = 3, .base_ms = 1, .max_ms = 2 };
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "normalizer", &policy, &w, &err), 0);
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "bad"));
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		assert_int_equal(bus_worker_read(w, 10, 5000, &m, &n, &err), 0);
		assert_int_equal(n, 1);
		assert_int_equal(m[0].attempts, attempt);
		settle(w, &m[0], BUS_RETRY, &why);
	}
	assert_int_equal(dead_letter_count(bus, "test", "normalizer", &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(
		dead_letter_replay(bus, "test", "normalizer", &(struct dead_letter_filter){ .reason = "timeout" }, NULL, 0, "me", &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(bus_worker_read(w, 10, 5000, &m, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_true(m[0].replay);
	assert_true(body_is(&m[0], "bad"));
	settle(w, &m[0], BUS_DONE, NULL);
	assert_int_equal(dead_letter_count(bus, "test", "normalizer", &count, &err), 0);
	assert_int_equal(count, 0);
	assert_int_equal(ask("HLEN weir:{test}:park:normalizer"), 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_undecodable_is_parked(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	uint64_t count;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "normalizer", NULL, &w, &err), 0);
	ask("XADD weir:{test}:raw:high 1-1 d nonsense");
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "good"));
	assert_int_equal(bus_worker_read(w, 10, 1000, &m, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_true(body_is(&m[0], "good"));
	assert_int_equal(dead_letter_count(bus, "test", "normalizer", &count, &err), 0);
	assert_int_equal(count, 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_owner_fence(void **state)
{
	(void)state;
	struct bus *a = open_bus("a"), *b = open_bus("b");
	struct bus_owner *first, *second;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	assert_int_equal(bus_owner_open(a, "test", TOPIC_BLOCKS, "reconciler", 60000, &first, &err), 0);
	assert_int_equal(bus_owner_open(b, "test", TOPIC_BLOCKS, "reconciler", 60000, &second, &err), 0);
	assert_int_equal(bus_owner_acquire(first, &err), 0);
	assert_int_equal(bus_owner_acquire(second, &err), WEIR_CONFLICT);
	publish(a, TOPIC_BLOCKS, message(MESSAGE_CHAIN_HEAD, "1", "x"));
	publish(a, TOPIC_BLOCKS, message(MESSAGE_CHAIN_HEAD, "1", "y"));
	assert_int_equal(bus_owner_read(first, 10, 1000, &m, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_int_equal(bus_owner_commit(first, m[0].klass, m[0].generation, m[0].sequence, &err), 0);
	struct bus_message last = m[1];
	ask("HSET weir:{test}:blocks:own:reconciler until 0"); /* the lease runs out while the first one sleeps */
	assert_int_equal(bus_owner_acquire(second, &err), 0);
	assert_int_equal(bus_owner_read(second, 10, 1000, &m, &n, &err), 0);
	assert_int_equal(n, 1); /* what was not committed is read again */
	assert_true(body_is(&m[0], "y"));
	assert_int_equal(bus_owner_commit(first, last.klass, last.generation, last.sequence, &err), WEIR_FENCED);
	bus_owner_close(&first);
	bus_owner_close(&second);
	bus_close(&a);
	bus_close(&b);
}

static void test_owner_parks_followers(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct error err = { 0 }, why = { .code = WEIR_INVALID, .text = "bad" };
	size_t n;
	uint64_t count;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "reconciler", 60000, &o, &err), 0);
	assert_int_equal(bus_owner_acquire(o, &err), 0);
	publish(bus, TOPIC_BLOCKS, message(MESSAGE_CHAIN_HEAD, "k", "1"));
	assert_int_equal(bus_owner_read(o, 1, 1000, &m, &n, &err), 0);
	assert_int_equal(bus_owner_park(o, &m[0], &why, &err), 0);
	publish(bus, TOPIC_BLOCKS, message(MESSAGE_CHAIN_HEAD, "k", "2"));
	publish(bus, TOPIC_BLOCKS, message(MESSAGE_CHAIN_HEAD, "other", "3"));
	bus_owner_close(&o); /* a new owner must know the parked keys, too */
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "reconciler", 60000, &o, &err), 0);
	assert_int_equal(bus_owner_acquire(o, &err), 0);
	bool other = false;
	for (int i = 0; i < 10 && !other; i++) {
		assert_int_equal(bus_owner_read(o, 10, 200, &m, &n, &err), 0);
		for (size_t k = 0; k < n; k++) {
			assert_false(body_is(&m[k], "2"));
			other = other || body_is(&m[k], "3");
		}
	}
	assert_true(other);
	assert_int_equal(dead_letter_count(bus, "test", "reconciler", &count, &err), 0);
	assert_in_range(count, 2, 3); /* the head was read again by the new owner: same entry, same letter */
	assert_int_equal(dead_letter_replay(bus, "test", "reconciler", NULL, NULL, 0, "me", &count, &err), 0);
	char seen[8] = "";
	for (int i = 0; i < 20 && strlen(seen) < 2; i++) {
		assert_int_equal(bus_owner_read(o, 1, 1000, &m, &n, &err), 0);
		for (size_t k = 0; k < n; k++) {
			struct bus_message copy = m[k];
			if (copy.replay)
				strncat(seen, (const char *)copy.frame.body.data, 1);
			if (copy.replay)
				assert_int_equal(bus_owner_resolve(o, &copy, &err), 0);
		}
	}
	assert_string_equal(seen, "12"); /* in the key's order */
	assert_false(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"k", 1 }));
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_flushall_and_kill(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "normalizer", NULL, &w, &err), 0);
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "a"));
	assert_int_equal(bus_worker_read(w, 10, 1000, &m, &n, &err), 0);
	ask("FLUSHALL");
	ask("CONFIG SET appendfsync always"); /* else the kill may take the acknowledgement */
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "b"));
	bool got = false;
	for (int i = 0; i < 20 && !got; i++) { /* the group is made again by itself */
		assert_int_equal(bus_worker_read(w, 10, 500, &m, &n, &err), 0);
		got = n == 1 && body_is(&m[0], "b");
	}
	assert_true(got);
	settle(w, &m[0], BUS_DONE, NULL);
	redis_server_kill(&server);
	assert_int_equal(bus_worker_read(w, 10, 100, &m, &n, &err), WEIR_UNAVAILABLE);
	redis_server_restart(&server);
	publish(bus, TOPIC_RAW, message(MESSAGE_RAW_BLOCK_TIP, "7", "c"));
	got = false;
	for (int i = 0; i < 20 && !got; i++) {
		assert_int_equal(bus_worker_read(w, 10, 500, &m, &n, &err), 0);
		got = n == 1 && body_is(&m[0], "c");
	}
	assert_true(got);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_tail_and_trim(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w");
	struct bus_publisher *p;
	struct bus_tail *t;
	struct bus_message *m;
	struct error err = { 0 };
	uint64_t tail, first;
	size_t n;
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_LEDGER, "p", &p, &err), 0);
	for (uint64_t i = 1; i <= 20; i++) {
		struct frame f = message(MESSAGE_LEDGER_EVENT, "", "e");
		assert_int_equal(bus_publish_sequence(p, i, &f, 1, &tail, &err), 0);
	}
	assert_int_equal(bus_tail_open(bus, "test", TOPIC_LEDGER, CLASS_NORMAL, &t, &err), 0);
	bus_tail_seek(t, 15);
	assert_int_equal(bus_tail_read(t, 100, 100, &m, &n, &first, &err), 0);
	assert_int_equal(n, 5);
	assert_int_equal(m[0].sequence, 16);
	assert_int_equal(bus_trim(bus, "test", TOPIC_LEDGER, 4, &err), 0);
	assert_int_equal(ask("XLEN weir:{test}:ledger:normal"), 4);
	bus_tail_seek(t, 3);
	assert_int_equal(bus_tail_read(t, 100, 100, &m, &n, &first, &err), WEIR_GAP);
	assert_int_equal(first, 17);
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_backpressure(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_publisher *p;
	struct error err = { 0 };
	struct bus_options options = { .url = server.url, .worker = "w", .max_backlog = 3 };
	assert_int_equal(bus_open(&options, &bus, &err), 0);
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_RAW, "p", &p, &err), 0);
	for (int i = 0; i < 3; i++) {
		struct frame f = message(MESSAGE_RAW_BLOCK_TIP, "", "e");
		assert_int_equal(bus_publish(p, &f, 1, &err), 0);
	}
	struct frame f = message(MESSAGE_RAW_BLOCK_TIP, "", "e");
	assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_FULL);
	bus_publisher_close(&p);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_publish_once, setup),
		cmocka_unit_test_setup(test_sequence, setup),
		cmocka_unit_test_setup(test_worker_step, setup),
		cmocka_unit_test_setup(test_zombie_step, setup),
		cmocka_unit_test_setup(test_retry_then_park_then_replay, setup),
		cmocka_unit_test_setup(test_undecodable_is_parked, setup),
		cmocka_unit_test_setup(test_owner_fence, setup),
		cmocka_unit_test_setup(test_owner_parks_followers, setup),
		cmocka_unit_test_setup(test_flushall_and_kill, setup),
		cmocka_unit_test_setup(test_tail_and_trim, setup),
		cmocka_unit_test_setup(test_backpressure, setup),
	};
	redis_server_start(&server);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	redis_server_stop(&server);
	return r;
}

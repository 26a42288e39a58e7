/* publish_test.c - exactly-once publishing against a real Redis: resends, lost replies, take-over, loss, backpressure, kill -9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "base/clock.h"

#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NORMAL "weir:{test}:blocks:normal"

static struct bus_publisher *publisher(struct bus *bus, const char *topic, const char *name)
{
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "test", topic, name, &p, NULL), 0);
	return p;
}

static int publish_one(struct bus_publisher *p, const char *body)
{
	struct frame f = fixture_message(MESSAGE_CHAIN_HEAD, "k", body);
	return bus_publish(p, &f, 1, NULL);
}

static void test_classes_have_their_streams(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	struct frame f[3] = { fixture_message(MESSAGE_CHAIN_HEAD, "a", "1"), fixture_message(MESSAGE_CHAIN_HEAD, "a", "2"),
			      fixture_message(MESSAGE_CHAIN_FORK, "a", "3") };
	assert_int_equal(bus_publish(p, f, 3, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 2);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:critical"), 1);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_newer_producer_fences_older(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *old = publisher(bus, TOPIC_BLOCKS, "p"), *new = publisher(bus, TOPIC_BLOCKS, "p");
	assert_int_equal(publish_one(old, "1"), 0);
	assert_int_equal(publish_one(new, "2"), 0);
	assert_int_equal(publish_one(old, "3"), WEIR_FENCED);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 2);
	bus_publisher_close(&old);
	bus_publisher_close(&new);
	bus_close(&bus);
}

/* The server stands still while the command lies in its socket: the client gives up, the server then applies it and answers nobody. */
static int publish_without_reply(struct bus_publisher *p, const struct frame *f, size_t n)
{
	fixture_signal(SIGSTOP);
	int r = bus_publish(p, f, n, NULL);
	fixture_signal(SIGCONT);
	return r;
}

static void test_lost_reply_is_not_a_duplicate(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 300, 0);
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	struct frame f[2] = { fixture_message(MESSAGE_CHAIN_HEAD, "k", "a"), fixture_message(MESSAGE_CHAIN_HEAD, "k", "b") };
	assert_int_equal(publish_one(p, "first"), 0);
	assert_int_not_equal(publish_without_reply(p, f, 2), 0);
	assert_int_equal(bus_publish(p, f, 2, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 3);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* The caller does not repeat, it has something else to say: that must not be taken for the repetition. */
static void test_other_message_after_lost_reply(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 300, 0);
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	struct frame a = fixture_message(MESSAGE_CHAIN_HEAD, "k", "a"), b = fixture_message(MESSAGE_CHAIN_HEAD, "k", "b");
	memcpy(b.event_id, a.event_id, sizeof a.event_id); /* nor when somebody forgets the ids */
	assert_int_equal(publish_one(p, "first"), 0);
	assert_int_not_equal(publish_without_reply(p, &a, 1), 0);
	assert_int_equal(bus_publish(p, &b, 1, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 3);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* A killed connection: nothing was applied or all was, and the library repeats by itself. */
static void test_killed_connection(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	for (int i = 0; i < 20; i++) {
		assert_int_equal(publish_one(p, "x"), 0);
		assert_true(fixture_ask("CLIENT KILL TYPE normal") >= 1);
	}
	assert_int_equal(fixture_ask("XLEN " NORMAL), 20);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_many_frames_and_a_full_stream(void **state)
{
	(void)state;
	enum { N = 2000 };
	struct bus *bus = fixture_bus_with("w", 20000, 600);
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	static struct frame f[N];
	for (int i = 0; i < N; i++)
		f[i] = fixture_message(MESSAGE_CHAIN_HEAD, "k", "x");
	assert_int_equal(bus_publish(p, f, N, NULL), WEIR_FULL); /* half of it is in */
	assert_int_equal(bus_publish(p, f, N, NULL), WEIR_FULL);
	fixture_ask("XTRIM " NORMAL " MAXLEN 0");
	assert_int_equal(bus_publish(p, f, N, NULL), 0);
	uint64_t tail;
	assert_int_equal(bus_tail_sequence(p, CLASS_NORMAL, &tail, NULL), 0);
	assert_int_equal(tail, N); /* each once */
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* Read but not yet trimmed is not backlog; what nobody has read is. */
static void test_backlog_counts_the_unread(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 20000, 3);
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	struct bus_owner *o;
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "reconciler", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(publish_one(p, "x"), 0);
	assert_int_equal(publish_one(p, "x"), WEIR_FULL);
	assert_int_equal(bus_owner_read(o, 10, 1000, &m, &n, NULL), 0);
	assert_int_equal(bus_owner_commit(o, m[n - 1].klass, m[n - 1].generation, m[n - 1].sequence, NULL), 0);
	assert_int_equal(publish_one(p, "x"), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 4);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_memory_nearly_full(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *later = fixture_bus("later");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	fixture_ask("CONFIG SET maxmemory 1mb"); /* an empty server uses about as much */
	assert_int_equal(publish_one(p, "x"), WEIR_FULL);
	fixture_ask("CONFIG SET maxmemory 0");
	bus_publisher_close(&p);
	p = publisher(later, TOPIC_BLOCKS, "p");
	assert_int_equal(publish_one(p, "x"), 0);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&later);
}

static void test_flushed_producer_hears_of_the_gap(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	assert_int_equal(publish_one(p, "1"), 0);
	char *before = fixture_text("HGET weir:{test}:blocks:meta gen");
	fixture_ask("FLUSHALL");
	assert_int_equal(publish_one(p, "2"), WEIR_GAP);
	assert_int_equal(publish_one(p, "2"), 0);
	char *after = fixture_text("HGET weir:{test}:blocks:meta gen");
	assert_true(strtoull(after, NULL, 10) > strtoull(before, NULL, 10)); /* ids lie above everything that a reader may remember */
	free(before);
	free(after);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_lost_meta_keeps_ids_rising(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	assert_int_equal(publish_one(p, "1"), 0);
	fixture_ask("DEL weir:{test}:blocks:meta");
	assert_int_equal(publish_one(p, "2"), WEIR_GAP);
	assert_int_equal(publish_one(p, "2"), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 2);
	uint64_t tail;
	assert_int_equal(bus_tail_sequence(p, CLASS_NORMAL, &tail, NULL), 0);
	assert_int_equal(tail, 2);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_sequence(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_LEDGER, "p");
	uint64_t tail;
	struct frame f[2] = { fixture_message(MESSAGE_LEDGER_EVENT, "", "1"), fixture_message(MESSAGE_LEDGER_EVENT, "", "2") };
	assert_int_equal(bus_publish_sequence(p, 1, f, 2, &tail, NULL), 0);
	assert_int_equal(tail, 2);
	assert_int_equal(bus_publish_sequence(p, 1, f, 2, &tail, NULL), 0); /* a resend is nothing */
	assert_int_equal(bus_publish_sequence(p, 2, f, 2, &tail, NULL), 0); /* half a resend is half */
	assert_int_equal(fixture_ask("XLEN weir:{test}:ledger:normal"), 3);
	assert_int_equal(bus_publish_sequence(p, 5, f, 1, &tail, NULL), WEIR_GAP);
	assert_int_equal(tail, 3);
	fixture_ask("FLUSHALL");
	assert_int_equal(bus_publish_sequence(p, 4, f, 1, &tail, NULL), WEIR_GAP);
	assert_int_equal(tail, 0);
	bus_publisher_restart_at(p, 4);
	assert_int_equal(bus_publish_sequence(p, 4, f, 1, &tail, NULL), 0);
	assert_int_equal(tail, 4);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* Redis was emptied, so the sequence begins in its middle. The answer to that is lost, and the call repeated: a second beginning would give
 * consumers the same messages under other ids. */
static void test_lost_reply_of_a_restart(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 300, 0);
	struct bus_publisher *p = publisher(bus, TOPIC_LEDGER, "p");
	uint64_t tail;
	struct frame f[3] = { fixture_message(MESSAGE_LEDGER_EVENT, "", "4"), fixture_message(MESSAGE_LEDGER_EVENT, "", "5"),
			      fixture_message(MESSAGE_LEDGER_EVENT, "", "6") };
	assert_int_equal(bus_publish_sequence(p, 4, f, 1, &tail, NULL), WEIR_GAP);
	bus_publisher_restart_at(p, 4);
	fixture_signal(SIGSTOP);
	assert_int_not_equal(bus_publish_sequence(p, 4, f, 2, &tail, NULL), 0);
	fixture_signal(SIGCONT);
	assert_int_equal(bus_publish_sequence(p, 4, f, 3, &tail, NULL), 0);
	assert_int_equal(tail, 6);
	assert_int_equal(fixture_ask("XLEN weir:{test}:ledger:normal"), 3);
	assert_int_equal(bus_publish_sequence(p, 9, f, 1, &tail, NULL), WEIR_GAP);
	bus_publisher_restart_at(p, 9); /* another one is one */
	assert_int_equal(bus_publish_sequence(p, 9, f, 1, &tail, NULL), 0);
	assert_int_equal(tail, 9);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_large_body(void **state)
{
	(void)state;
	enum { SIZE = 12 << 20 };
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w;
	struct bus_message *m;
	size_t n;
	char *body = xmalloc(SIZE + 1);
	memset(body, 'x', SIZE);
	body[SIZE / 2] = 'y';
	fixture_publish(bus, TOPIC_RAW, fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", body));
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "normalizer", NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 10, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_true(fixture_body_is(&m[0], body));
	free(body);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- kill -9 of Redis while publishing: each message once, in order ------------------------------------------------------------ */

enum { CALL_MAX = 3000 };
static atomic_int kills, alive;

/* Only kills: what a thread starts ends with it. */
static void *killer(void *arg)
{
	(void)arg;
	while (kills > 0) {
		clock_sleep_ms((int64_t)(random_u64() % 100));
		if (alive) {
			alive = 0;
			fixture_signal(SIGKILL);
		}
	}
	return NULL;
}

static void kill_redis_while_publishing(unsigned call)
{
	struct bus *bus = fixture_bus_with("w", 200, 1000000), *reader = fixture_bus("r");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	struct bus_tail *t;
	pthread_t thread;
	unsigned long published = 0;
	kills = 5;
	alive = 1;
	assert_int_equal(pthread_create(&thread, NULL, killer, NULL), 0);
	while (kills > 0) {
		static char bodies[CALL_MAX][24];
		static struct frame f[CALL_MAX];
		for (unsigned i = 0; i < call; i++) {
			snprintf(bodies[i], sizeof bodies[i], "%lu", published + i);
			f[i] = fixture_message(MESSAGE_CHAIN_HEAD, "k", bodies[i]);
		}
		struct error err = { 0 };
		/* A kill may take what was answered while an fsync ran: the producer hears of it once, asks what is left, and sends the rest again. */
		bool gap = false;
		uint64_t tail = 0;
		while ((gap ? bus_tail_sequence(p, CLASS_NORMAL, &tail, &err) : bus_publish(p, f, call, &err)) != 0) {
			gap = gap || err.code == WEIR_GAP;
			if (err.code == WEIR_GAP)
				continue;
			if (err.code != WEIR_UNAVAILABLE && err.code != WEIR_TIMEOUT)
				fail_msg("%s", err.text);
			if (alive)
				continue;
			redis_server_kill(&fixture_server); /* is dead, wants waiting for */
			redis_server_restart(&fixture_server);
			if (--kills > 0)
				alive = 1;
		}
		if (gap) {
			assert_true(tail < published + call);
			print_message("Redis has %lu of %lu\n", (unsigned long)tail, published);
		}
		published = gap ? (unsigned long)tail : published + call;
	}
	pthread_join(thread, NULL);
	assert_int_equal(fixture_ask("XLEN " NORMAL), published);
	assert_int_equal(bus_tail_open(reader, "test", TOPIC_BLOCKS, CLASS_NORMAL, &t, NULL), 0);
	for (unsigned long seen = 0; seen < published;) {
		struct bus_message *m;
		size_t n;
		uint64_t first;
		struct error err = { 0 };
		if (bus_tail_read(t, 1000, 1000, &m, &n, &first, &err) != 0)
			fail_msg("after %lu: %s", seen, err.text);
		for (size_t i = 0; i < n; i++) {
			char body[24];
			snprintf(body, sizeof body, "%lu", seen++);
			assert_true(fixture_body_is(&m[i], body));
		}
	}
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&reader);
}

static void test_kill_redis_while_publishing(void **state)
{
	(void)state;
	kill_redis_while_publishing(8);
}

/* Long calls go as transactions, the next chunk behind the one that is being executed. */
static void test_kill_redis_while_publishing_long_calls(void **state)
{
	(void)state;
	kill_redis_while_publishing(CALL_MAX);
}

/* Without MULTI the XADDs of a transaction would be done at once, checked or not. */
static void test_long_calls_without_the_permission(void **state)
{
	(void)state;
	static const char *const missing[] = { "multi", "exec", "watch", "unwatch", "client|reply" };
	static struct frame f[CALL_MAX];
	for (size_t i = 0; i < CALL_MAX; i++)
		f[i] = fixture_message(MESSAGE_CHAIN_HEAD, "k", "x");
	for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
		struct bus *bus;
		struct bus_options options = {
			.url = fixture_server.url, .worker = "w", .username = "some", .password = "pw", .max_backlog = 1000000
		};
		fixture_ask("ACL SETUSER some reset on >pw ~* &* +@all -%s", missing[i]);
		assert_int_equal(bus_open(&options, &bus, NULL), 0);
		struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
		assert_int_equal(bus_publish(p, f, CALL_MAX, NULL), 0);
		assert_int_equal(fixture_ask("XLEN " NORMAL), (i + 1) * CALL_MAX);
		bus_publisher_close(&p);
		bus_close(&bus);
	}
	fixture_ask("ACL DELUSER some");
}

static void kill_and_restart(const char *torn)
{
	redis_server_kill(&fixture_server);
	char pattern[128];
	glob_t found;
	snprintf(pattern, sizeof pattern, "%s/appendonlydir/*.incr.aof", fixture_server.dir);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	FILE *f = fopen(found.gl_pathv[found.gl_pathc - 1], "a");
	assert_non_null(f);
	fputs(torn, f);
	fclose(f);
	globfree(&found);
	redis_server_restart(&fixture_server);
	fixture_ask("CONFIG SET appendfsync always");
}

/* Redis 7.0 does the beginning of a transaction that it was killed over when it starts for the second time. */
static void test_torn_transaction_does_not_come_back(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *reader = fixture_bus("r");
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, "p");
	char torn[512];
	fixture_ask("CONFIG SET appendfsync always");
	for (int i = 0; i < 3; i++)
		assert_int_equal(publish_one(p, "before"), 0);
	char *generation = fixture_text("HGET weir:{test}:blocks:meta gen"), id[64];
	snprintf(id, sizeof id, "%s-4", generation);
	free(generation);
	snprintf(torn, sizeof torn,
		 "*1\r\n$5\r\nMULTI\r\n*5\r\n$4\r\nXADD\r\n$%zu\r\n" NORMAL "\r\n$%zu\r\n%s\r\n$1\r\nd\r\n$1\r\nx\r\n*5\r\n$4\r\nXA", strlen(NORMAL),
		 strlen(id), id);
	kill_and_restart(torn);
	for (int i = 0; i < 3; i++)
		assert_int_equal(publish_one(p, "behind"), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), 6);
	kill_and_restart("");
	assert_int_equal(fixture_ask("XLEN " NORMAL), 7); /* there it is */
	struct bus_owner *o;
	struct bus_message *m;
	size_t n;
	uint64_t dead;
	assert_int_equal(bus_owner_open(reader, "test", TOPIC_BLOCKS, "reconciler", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_owner_read(o, 10, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 6);
	assert_int_equal(dead_letter_count(reader, "test", "reconciler", &dead, NULL), 0);
	assert_int_equal(dead, 0);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&reader);
}

static atomic_bool breaking;

static void *connection_breaker(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; breaking; i++) {
		fixture_ask("CLIENT KILL TYPE normal");
		clock_sleep_ms((int64_t)(i * 7 % 11));
	}
	return NULL;
}

static void *publish_numbers(void *arg)
{
	enum { CALLS = 60 };
	const char *name = arg;
	struct bus *bus = fixture_bus_with(name, 20000, 1000000);
	struct bus_publisher *p = publisher(bus, TOPIC_BLOCKS, name);
	char(*bodies)[24] = xcalloc(CALL_MAX, sizeof *bodies);
	struct frame *f = xcalloc(CALL_MAX, sizeof *f);
	for (unsigned call = 0; call < CALLS; call++) {
		struct error err = { 0 };
		for (unsigned i = 0; i < CALL_MAX; i++) {
			snprintf(bodies[i], sizeof bodies[i], "%u", call * CALL_MAX + i);
			f[i] = (struct frame){ .type = MESSAGE_CHAIN_HEAD,
					       .schema_version = 1,
					       .key = { (const uint8_t *)name, 1 },
					       .body = { (const uint8_t *)bodies[i], strlen(bodies[i]) } };
		}
		while (bus_publish(p, f, CALL_MAX, &err) != 0)
			if (err.code != WEIR_UNAVAILABLE && err.code != WEIR_TIMEOUT)
				fail_msg("%s", err.text);
	}
	free(f);
	free(bodies);
	bus_publisher_close(&p);
	bus_close(&bus);
	return (void *)(uintptr_t)(CALLS * CALL_MAX);
}

/* Each other's transactions fail, connections end at any moment: each message is there once, each producer's in its order. */
static void test_two_producers_of_long_calls(void **state)
{
	(void)state;
	pthread_t threads[2], breaker;
	void *wanted;
	unsigned next[2] = { 0 };
	uint64_t first;
	breaking = true;
	assert_int_equal(pthread_create(&breaker, NULL, connection_breaker, NULL), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, publish_numbers, (void *)(uintptr_t)(i ? "b" : "a")), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], &wanted), 0);
	breaking = false;
	assert_int_equal(pthread_join(breaker, NULL), 0);
	struct bus *reader = fixture_bus("r");
	struct bus_tail *t;
	assert_int_equal(bus_tail_open(reader, "test", TOPIC_BLOCKS, CLASS_NORMAL, &t, NULL), 0);
	while (next[0] + next[1] < 2 * (uintptr_t)wanted) {
		struct bus_message *m;
		size_t n;
		struct error err = { 0 };
		if (bus_tail_read(t, 1000, 1000, &m, &n, &first, &err) != 0 || n == 0)
			fail_msg("after %u and %u: %s", next[0], next[1], err.text);
		for (size_t i = 0; i < n; i++) {
			char body[24];
			snprintf(body, sizeof body, "%u", next[m[i].frame.key.data[0] - 'a']++);
			assert_true(fixture_body_is(&m[i], body));
		}
	}
	assert_int_equal(fixture_ask("XLEN " NORMAL), next[0] + next[1]);
	bus_tail_close(&t);
	bus_close(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_classes_have_their_streams, fixture_flush),
		cmocka_unit_test_setup(test_newer_producer_fences_older, fixture_flush),
		fixture_threads(test_lost_reply_is_not_a_duplicate, fixture_flush, NULL, "DBZ-5752"),
		cmocka_unit_test_setup(test_other_message_after_lost_reply, fixture_flush),
		cmocka_unit_test_setup(test_killed_connection, fixture_flush),
		cmocka_unit_test_setup(test_many_frames_and_a_full_stream, fixture_flush),
		cmocka_unit_test_setup(test_backlog_counts_the_unread, fixture_flush),
		cmocka_unit_test_setup(test_memory_nearly_full, fixture_flush),
		fixture_threads(test_flushed_producer_hears_of_the_gap, fixture_flush, NULL, "librdkafka#4134"),
		cmocka_unit_test_setup(test_lost_meta_keeps_ids_rising, fixture_flush),
		fixture_threads(test_sequence, fixture_flush, NULL, "librdkafka#4134"),
		cmocka_unit_test_setup(test_lost_reply_of_a_restart, fixture_flush),
		cmocka_unit_test_setup(test_large_body, fixture_flush),
		cmocka_unit_test_setup(test_kill_redis_while_publishing, fixture_flush),
		cmocka_unit_test_setup(test_kill_redis_while_publishing_long_calls, fixture_flush),
		cmocka_unit_test_setup(test_two_producers_of_long_calls, fixture_flush),
		cmocka_unit_test_setup(test_long_calls_without_the_permission, fixture_flush),
		cmocka_unit_test_setup(test_torn_transaction_does_not_come_back, fixture_flush),
	};
	return fixture_run(tests);
}

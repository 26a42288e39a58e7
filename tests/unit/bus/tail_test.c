/* tail_test.c - reading everything from a sequence on, over gaps, generations and losses; trimming; what a topic looks like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <stdio.h>
#include <string.h>

#define LEDGER "weir:{test}:ledger:normal"

static struct bus_publisher *publisher(struct bus *bus, const char *topic)
{
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "test", topic, "p", &p, NULL), 0);
	return p;
}

/* A server that is killed while its disk is busy may lose what it had acknowledged (appendfsync everysec); as every publisher of a
 * ledger does, this one then goes on behind what is left. */
static void events(struct bus_publisher *p, uint64_t from, uint64_t to)
{
	uint64_t tail;
	for (uint64_t i = from; i <= to; i++) {
		struct frame f = fixture_message(MESSAGE_LEDGER_EVENT, "", "e");
		int r = bus_publish_sequence(p, i, &f, 1, &tail, NULL);
		if (r == WEIR_GAP)
			i = tail;
		else
			assert_int_equal(r, 0);
	}
}

static struct bus_tail *tail_after(struct bus *bus, uint64_t after)
{
	struct bus_tail *t;
	assert_int_equal(bus_tail_open(bus, "test", TOPIC_LEDGER, CLASS_NORMAL, &t, NULL), 0);
	bus_tail_seek(t, after);
	return t;
}

/* Reads once and checks what came. count 0: a gap, going on at first. */
static void expect(struct bus_tail *t, uint64_t first, size_t count)
{
	struct bus_message *m;
	size_t n;
	uint64_t on;
	struct error err = { 0 };
	int r = bus_tail_read(t, 100, 300, &m, &n, &on, &err);
	if (count == 0) {
		assert_int_equal(r, WEIR_GAP);
		assert_int_equal(on, first);
		return;
	}
	if (r != 0)
		fail_msg("%s", err.text);
	assert_int_equal(n, count);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(m[i].sequence, first + i);
}

static void test_seek_and_gap(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_LEDGER);
	struct bus_tail *t = tail_after(bus, 0);
	events(p, 1, 20);
	expect(t, 1, 20);
	bus_tail_seek(t, 15);
	expect(t, 16, 5);
	assert_int_equal(bus_trim(bus, "test", TOPIC_LEDGER, 4, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " LEDGER), 4);
	bus_tail_seek(t, 3);
	expect(t, 17, 0);
	bus_tail_seek(t, 16);
	expect(t, 17, 4);
	bus_tail_seek(t, 22); /* healed from elsewhere, ahead of the stream */
	events(p, 21, 24);
	expect(t, 23, 2);
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* Each restart of Redis begins a generation; the sequence goes on, and so does the reader, wherever it begins. */
static void test_generations(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_LEDGER);
	struct bus_tail *t = tail_after(bus, 0);
	events(p, 1, 3);
	for (uint64_t i = 1; i < 4; i++) {
		redis_server_kill(&fixture_server);
		redis_server_restart(&fixture_server);
		events(p, i * 3 + 1, i * 3 + 3);
	}
	for (uint64_t seen = 0; seen < 12;) {
		struct bus_message *m;
		size_t n;
		uint64_t on;
		int r = bus_tail_read(t, 100, 1000, &m, &n, &on, NULL);
		assert_true(r == 0 || r == WEIR_UNAVAILABLE);
		for (size_t i = 0; r == 0 && i < n; i++)
			assert_int_equal(m[i].sequence, ++seen);
	}
	for (uint64_t after = 0; after < 12; after++) {
		bus_tail_seek(t, after);
		expect(t, after + 1, 12 - after);
	}
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_flushed_stream_is_a_gap(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_LEDGER);
	struct bus_tail *t = tail_after(bus, 0);
	events(p, 1, 10);
	expect(t, 1, 10);
	fixture_ask("FLUSHALL");
	bus_publisher_restart_at(p, 8);
	events(p, 8, 12);
	expect(t, 8, 0); /* begun again before our place: the caller decides whether it is the same */
	bus_tail_seek(t, 10);
	expect(t, 11, 2);
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void test_undecodable_is_a_gap(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_publisher *p = publisher(bus, TOPIC_LEDGER);
	struct bus_tail *t = tail_after(bus, 0);
	events(p, 1, 1);
	expect(t, 1, 1);
	char *gen = fixture_text("HGET weir:{test}:ledger:meta gen");
	fixture_ask("XADD " LEDGER " %s-2 d nonsense", gen);
	free(gen);
	expect(t, 3, 0);
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* -- trimming ------------------------------------------------------------------------------------------------------------------- */

static void test_trim_never_passes_the_unread(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_worker *w;
	struct bus_message *m, *mine;
	size_t n;
	for (int i = 0; i < 10; i++)
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "x"));
	assert_int_equal(bus_trim(bus, "test", TOPIC_BLOCKS, 0, NULL), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 10); /* nobody reads yet */
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "a", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_BLOCKS, "b", NULL, &w, NULL), 0);
	assert_int_equal(bus_owner_read(o, 10, 1000, &m, &n, NULL), 0);
	assert_int_equal(bus_owner_commit(o, m[7].klass, m[7].generation, m[7].sequence, NULL), 0);
	assert_int_equal(bus_worker_read(w, 20, 1000, &mine, &n, NULL), 0);
	assert_int_equal(n, 10);
	for (size_t i = 0; i < 10; i++)
		if (i != 5)
			fixture_settle(w, &mine[i], BUS_DONE, 0); /* the sixth is still being handled */
	assert_int_equal(bus_trim(bus, "test", TOPIC_BLOCKS, 0, NULL), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 5);
	fixture_settle(w, &mine[5], BUS_DONE, 0);
	assert_int_equal(bus_trim(bus, "test", TOPIC_BLOCKS, 0, NULL), 0);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 2); /* the owner's two */
	bus_worker_close(&w);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_info(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct bus_stream_info info[4];
	size_t n;
	for (int i = 0; i < 10; i++)
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "x"));
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "a", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_owner_read(o, 10, 1000, &m, &n, NULL), 0);
	assert_int_equal(bus_owner_commit(o, m[2].klass, m[2].generation, m[2].sequence, NULL), 0);
	assert_int_equal(bus_info(bus, "test", TOPIC_BLOCKS, "a", info, &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_string_equal(info[2].klass, CLASS_NORMAL);
	assert_int_equal(info[2].length, 10);
	assert_int_equal(info[2].first_sequence, 1);
	assert_int_equal(info[2].last_sequence, 10);
	assert_int_equal(info[2].lag, 7);
	assert_true(info[2].memory_bytes > 0);
	assert_true(info[2].head_age_ms > 0);
	assert_int_equal(info[0].length, 0);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_password_and_permissions(void **state)
{
	(void)state;
	struct error err = { 0 };
	char url[160];
	struct bus *bus;
	fixture_ask("ACL SETUSER weir on >secret ~weir:* +@all -client|list -client|setname -info");
	fixture_ask("ACL SETUSER reader on >secret ~weir:* +@read");
	struct bus_options options = { .url = fixture_server.url, .username = "weir", .password = "secret", .worker = "w", .command_timeout_ms = 1000 };
	assert_int_equal(bus_open(&options, &bus, &err), 0);
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "x"));
	bus_close(&bus);
	options.username = "reader";
	assert_int_equal(bus_open(&options, &bus, &err), 0);
	assert_int_equal(bus_check(bus, &err), WEIR_PERMISSION);
	bus_close(&bus);
	options.password = "wrong";
	assert_int_equal(bus_open(&options, &bus, &err), 0);
	assert_int_equal(bus_ping(bus, &err), WEIR_PERMISSION);
	assert_null(strstr(err.text, "wrong "));
	bus_close(&bus);
	static const char *const bad[] = { "", "http://x", "redis://", "redis://h:0", "redis://h:99999", "unix://", "redis://h:1/-1" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		options.url = bad[i];
		assert_int_equal(bus_open(&options, &bus, &err), WEIR_CONFIG);
	}
	snprintf(url, sizeof url, "unix:///nowhere/at/all");
	options = (struct bus_options){ .url = url, .command_timeout_ms = 50 };
	assert_int_equal(bus_open(&options, &bus, &err), 0);
	assert_int_equal(bus_ping(bus, &err), WEIR_UNAVAILABLE);
	bus_close(&bus);
}

static bool stopping(void *arg)
{
	(void)arg;
	return true;
}

static void test_wrong_class_and_stop(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_tail *t;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	uint64_t first;
	assert_int_equal(bus_tail_open(bus, "test", TOPIC_LEDGER, "urgent", &t, &err), WEIR_INVALID);
	assert_non_null(strstr(err.text, "urgent"));
	t = tail_after(bus, 0);
	bus_set_stop(bus, stopping, NULL);
	assert_int_equal(bus_tail_read(t, 10, 60000, &m, &n, &first, &err), WEIR_CANCELED);
	bus_tail_close(&t);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_seek_and_gap, fixture_flush),
		cmocka_unit_test_setup(test_wrong_class_and_stop, fixture_flush),
		cmocka_unit_test_setup(test_generations, fixture_flush),
		cmocka_unit_test_setup(test_flushed_stream_is_a_gap, fixture_flush),
		cmocka_unit_test_setup(test_undecodable_is_a_gap, fixture_flush),
		fixture_threads(test_trim_never_passes_the_unread, fixture_flush, NULL, "redis#6941, redis#7059, dapr/components-contrib#1436, #3100, redis#9211, redis#5774, nats-server#5638"),
		cmocka_unit_test_setup(test_info, fixture_flush),
		cmocka_unit_test_setup(test_password_and_permissions, fixture_flush),
	};
	return fixture_run(tests);
}

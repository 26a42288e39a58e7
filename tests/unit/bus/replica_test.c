/* replica_test.c - publishing that waits for replicas: a real master and a real replica, one that lags, and a failover to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/bus.h"
#include "support/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct redis_server master, replica;
static char address[160]; /* a link to the socket of whoever is the master */

static void point_to(const struct redis_server *s)
{
	(void)unlink(address);
	assert_int_equal(symlink(s->url + 7, address), 0);
}

static void follow(int port)
{
	(void)redis_server_ask(&replica, NULL, "REPLICAOF 127.0.0.1 %d", port);
	int64_t deadline = clock_mono_ms() + 20000;
	while (!redis_server_ask(&replica, "master_link_status:up", "INFO replication")) {
		assert_true(clock_mono_ms() < deadline);
		clock_sleep_ms(10);
	}
}

static int setup(void **state)
{
	(void)state;
	redis_server_start(&master);
	redis_server_start(&replica);
	snprintf(address, sizeof address, "%s/current", replica.dir);
	point_to(&master);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	redis_server_stop(&master);
	redis_server_stop(&replica);
	return 0;
}

static struct bus_publisher *publisher(struct bus **bus)
{
	char url[192];
	struct bus_publisher *p;
	snprintf(url, sizeof url, "unix://%s", address);
	struct bus_options options = { .url = url, .worker = "w", .command_timeout_ms = 20000, .wait_replicas = 1, .wait_ms = 100 };
	assert_int_equal(bus_open(&options, bus, NULL), 0);
	assert_int_equal(bus_publisher_open(*bus, "test", TOPIC_RAW, "p", &p, NULL), 0);
	return p;
}

static void without_replicas_nothing_is_called_published(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_publisher *p = publisher(&bus);
	struct frame f = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "a");
	struct error err = { 0 };
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_UNAVAILABLE);
		assert_non_null(strstr(err.text, "0 of 1 replicas have it"));
	}
	int port = redis_server_free_port();
	redis_server_listen(&master, port);
	follow(port);
	int r = WEIR_UNAVAILABLE;
	for (int64_t deadline = clock_mono_ms() + 20000; r == WEIR_UNAVAILABLE && clock_mono_ms() < deadline;)
		r = bus_publish(p, &f, 1, &err);
	assert_int_equal(r, 0);
	assert_int_equal(redis_server_ask(&master, NULL, "XLEN weir:{test}:raw:high"), 1); /* however often it was called */
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN weir:{test}:raw:high"), 1);
	uint64_t tail;
	assert_int_equal(bus_publish_sequence(p, 1, &f, 1, &tail, &err), 0);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void a_failover_to_a_replica_that_lags_is_noticed(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_publisher *p = publisher(&bus);
	struct error err = { 0 };
	int port = redis_server_free_port();
	redis_server_listen(&master, port);
	follow(port);
	struct frame kept = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "kept"), lost = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "lost");
	int r = WEIR_UNAVAILABLE;
	for (int64_t deadline = clock_mono_ms() + 20000; r == WEIR_UNAVAILABLE && clock_mono_ms() < deadline;)
		r = bus_publish(p, &kept, 1, &err);
	assert_int_equal(r, 0);
	redis_server_kill(&replica);                                        /* stopped only, it would still find in its socket what the master sent */
	assert_int_equal(bus_publish(p, &lost, 1, &err), WEIR_UNAVAILABLE); /* not called published */
	redis_server_kill(&master);
	redis_server_restart(&replica);
	point_to(&replica);
	r = WEIR_UNAVAILABLE;
	for (int64_t deadline = clock_mono_ms() + 20000; r == WEIR_UNAVAILABLE && clock_mono_ms() < deadline;)
		r = bus_publish(p, &lost, 1, &err);
	if (r != WEIR_GAP)
		fail_msg("%d: %s", r, err.text);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* A worker that waits for replicas, with one message whose handling emits another. Published by a bus that does not wait. */
static struct bus_worker *worker(struct bus **bus, struct bus_step **ret_step)
{
	char url[192];
	struct bus *feeder;
	struct bus_publisher *p;
	struct bus_worker *w;
	struct bus_message *m;
	size_t n;
	struct frame in = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "in"), out = fixture_message(MESSAGE_CHAIN_HEAD, "1", "out");
	snprintf(url, sizeof url, "unix://%s", address);
	struct bus_options options = { .url = url, .worker = "feeder", .command_timeout_ms = 20000 };
	assert_int_equal(bus_open(&options, &feeder, NULL), 0);
	assert_int_equal(bus_publisher_open(feeder, "test", TOPIC_RAW, "p", &p, NULL), 0);
	assert_int_equal(bus_publish(p, &in, 1, NULL), 0);
	bus_publisher_close(&p);
	bus_close(&feeder);
	options.worker = "waits";
	options.wait_replicas = 1;
	options.wait_ms = 100;
	assert_int_equal(bus_open(&options, bus, NULL), 0);
	assert_int_equal(bus_worker_open(*bus, "test", TOPIC_RAW, SUBSCRIPTION_NORMALIZER, NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 10, 10000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	*ret_step = bus_step_begin(w);
	bus_step_emit(*ret_step, &m[0], TOPIC_BLOCKS, &out);
	bus_step_settle(*ret_step, &m[0], BUS_DONE, NULL);
	return w;
}

/* Until it went through. */
static void commit(struct bus_step **step)
{
	struct error err = { 0 };
	int r = WEIR_UNAVAILABLE;
	for (int64_t deadline = clock_mono_ms() + 20000; r != 0 && error_retriable(r) && clock_mono_ms() < deadline;)
		r = bus_step_commit(step, &err);
	if (r != 0)
		fail_msg("%d: %s", r, err.text);
	assert_null(*step);
}

static void a_step_waits_for_what_it_emits(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_step *step;
	struct bus_worker *w = worker(&bus, &step);
	struct error err = { 0 };
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bus_step_commit(&step, &err), WEIR_UNAVAILABLE);
		assert_non_null(strstr(err.text, "0 of 1 replicas have what a step emitted"));
	}
	int port = redis_server_free_port();
	redis_server_listen(&master, port);
	follow(port);
	commit(&step);
	assert_int_equal(redis_server_ask(&master, NULL, "XLEN weir:{test}:blocks:normal"), 1); /* however often it was called */
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN weir:{test}:blocks:normal"), 1);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void a_step_that_a_failover_lost_is_sent_again(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_step *step;
	int port = redis_server_free_port();
	redis_server_listen(&master, port);
	follow(port);
	struct bus_worker *w = worker(&bus, &step);
	int64_t deadline = clock_mono_ms() + 20000;
	/* The group may not have arrived there either. */
	static const char *script = "local p = redis.pcall('XPENDING', KEYS[1], '" SUBSCRIPTION_NORMALIZER "') return p.err and 0 or p[1]";
	while (redis_server_ask(&replica, NULL, "EVAL %s 1 weir:{test}:raw:high", script) != 1) {
		assert_true(clock_mono_ms() < deadline);
		clock_sleep_ms(10);
	}
	(void)redis_server_ask(&replica, NULL, "REPLICAOF NO ONE"); /* it knows who reads the message, and not what comes of it */
	assert_int_equal(bus_step_commit(&step, NULL), WEIR_UNAVAILABLE);
	redis_server_kill(&master);
	point_to(&replica);
	deadline = clock_mono_ms() + 20000;
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN weir:{test}:blocks:normal"), 0);
	struct error err = { 0 };
	while (bus_step_commit(&step, &err) != 0 && clock_mono_ms() < deadline && !strstr(err.text, "0 of 1 replicas"))
		assert_true(error_retriable(err.code));
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN weir:{test}:blocks:normal"), 1); /* emitted there, and waiting for a replica of its own */
	bus_step_abort(&step);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- durability of a topic ------------------------------------------------------------------------------------------------------- */

#define VIEWS "views"
static const struct bus_durability views_need_none[] = { { .topic = VIEWS } };
static const struct bus_durability blocks_need_one[] = { { .topic = TOPIC_BLOCKS, .replicas = 1, .wait_ms = 100 } };

static struct bus *bus_with(int64_t wait_replicas, const struct bus_durability rows[1])
{
	char url[192];
	struct bus *bus;
	snprintf(url, sizeof url, "unix://%s", address);
	const struct bus_options o = { .url = url, .worker = "w", .command_timeout_ms = 20000, .wait_replicas = wait_replicas, .wait_ms = 100,
				       .durability = rows, .durability_count = 1 };
	assert_int_equal(bus_open(&o, &bus, NULL), 0);
	return bus;
}

static int publish_to(struct bus *bus, const char *topic, struct error *err)
{
	struct bus_publisher *p;
	struct frame f = fixture_message(MESSAGE_NORMALIZED_BLOCK, "1", "a");
	assert_int_equal(bus_publisher_open(bus, "test", topic, "p", &p, NULL), 0);
	int r = bus_publish(p, &f, 1, err);
	bus_publisher_close(&p);
	return r;
}

/* Without any replica. */
static void a_topic_has_a_durability_of_its_own(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = bus_with(1, views_need_none);
	assert_int_equal(publish_to(bus, VIEWS, &err), 0);
	assert_int_equal(publish_to(bus, TOPIC_BLOCKS, &err), WEIR_UNAVAILABLE);
	bus_close(&bus);
	bus = bus_with(0, blocks_need_one);
	assert_int_equal(publish_to(bus, VIEWS, &err), 0);
	assert_int_equal(publish_to(bus, TOPIC_BLOCKS, &err), WEIR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "0 of 1 replicas have it"));

	struct bus_publisher *p;
	struct frame f = fixture_message(MESSAGE_NORMALIZED_BLOCK, "1", "a");
	uint64_t tail;
	assert_int_equal(bus_publisher_open(bus, "test", VIEWS, "outbox", &p, NULL), 0);
	assert_int_equal(bus_publish_sequence(p, 2, &f, 1, &tail, &err), 0);
	bus_publisher_close(&p);
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "outbox", &p, NULL), 0);
	assert_int_equal(bus_publish_sequence(p, 2, &f, 1, &tail, &err), WEIR_UNAVAILABLE);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* One message's handling emits to the topics. */
static struct bus_step *step_to(struct bus_worker *w, const char *first, const char *second)
{
	struct bus_message *m;
	size_t n = 0;
	struct frame out = fixture_message(MESSAGE_NORMALIZED_BLOCK, "1", "out");
	assert_int_equal(bus_worker_read(w, 1, 10000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	struct bus_step *s = bus_step_begin(w);
	bus_step_emit(s, &m[0], first, &out);
	if (second)
		bus_step_emit(s, &m[0], second, &out);
	bus_step_settle(s, &m[0], BUS_DONE, NULL);
	return s;
}

static void a_step_waits_for_the_strictest_of_its_topics(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = bus_with(0, blocks_need_one);
	struct bus_worker *w;
	for (int i = 0; i < 3; i++)
		assert_int_equal(publish_to(bus, VIEWS, NULL), 0);
	assert_int_equal(bus_worker_open(bus, "test", VIEWS, "s", NULL, &w, NULL), 0);
	struct bus_step *step = step_to(w, "pages", NULL);
	assert_int_equal(bus_step_commit(&step, &err), 0);
	step = step_to(w, "pages", TOPIC_BLOCKS);
	assert_int_equal(bus_step_commit(&step, &err), WEIR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "0 of 1 replicas have what a step emitted"));
	int port = redis_server_free_port();
	redis_server_listen(&master, port);
	follow(port);
	commit(&step);
	assert_int_equal(redis_server_ask(&replica, NULL, "XLEN weir:{test}:blocks:normal"), 1);
	step = step_to(w, TOPIC_BLOCKS, "pages"); /* whichever comes first */
	redis_server_kill(&replica);
	assert_int_equal(bus_step_commit(&step, &err), WEIR_UNAVAILABLE);
	redis_server_restart(&replica);
	follow(port);
	commit(&step);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void rows_that_contradict_each_other_are_refused(void **state)
{
	(void)state;
	static const struct bus_durability rows[][2] = { { { .topic = "a" }, { .topic = "a", .replicas = 1 } },
							 { { .topic = "a" }, { .topic = "" } },
							 { { .topic = "a" }, { .replicas = 1 } },
							 { { .topic = "a" }, { .topic = "b", .replicas = -1 } } };
	struct error err = { 0 };
	struct bus *bus;
	struct bus_options o = { .url = "redis://127.0.0.1:1", .durability_count = 2 };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		o.durability = rows[i];
		assert_int_equal(bus_open(&o, &bus, &err), WEIR_CONFIG);
		assert_non_null(strstr(err.text, "durability, row 1"));
	}
	/* Who keeps nothing on a disk, or has no replicas, must not seem to. */
	static const struct {
		const char *url;
		struct bus_durability row;
		const char *words;
	} cannot[] = { { "memory://m", { .topic = "a", .fsync = true }, "no disk" },
		       { "memory://m", { .topic = "a", .replicas = 1 }, "no replicas" },
		       { "kafka://127.0.0.1:1", { .topic = "a", .fsync = true }, "flush.messages" },
		       { "kafka://127.0.0.1:1", { .topic = "a", .replicas = 1 }, "min.insync.replicas" } };
	for (size_t i = 0; i < sizeof cannot / sizeof cannot[0]; i++) {
		o = (struct bus_options){ .url = cannot[i].url, .durability = &cannot[i].row, .durability_count = 1 };
		assert_int_equal(bus_open(&o, &bus, &err), WEIR_CONFIG);
		assert_non_null(strstr(err.text, cannot[i].words));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_threads(without_replicas_nothing_is_called_published, setup, teardown, "redis#6062, redis#4819"),
		fixture_threads(a_failover_to_a_replica_that_lags_is_noticed, setup, teardown, "redis#6062, redis#4819"),
		cmocka_unit_test_setup_teardown(a_step_waits_for_what_it_emits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_step_that_a_failover_lost_is_sent_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_topic_has_a_durability_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(a_step_waits_for_the_strictest_of_its_topics, setup, teardown),
		cmocka_unit_test(rows_that_contradict_each_other_are_refused),
	};
	return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}

/* cluster_test.c - a Redis Cluster of three masters and a replica, all real: chains go to their nodes, and go on when a slot moves and when a master
 * dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/bus.h"
#include "bus/redis/cluster.h"
#include "support/bus_fixture.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MASTERS 3
#define NODES 4 /* the last one is the first one's replica */
#define DEADLINE_MS 60000
#define MANY 300 /* in one call: they go as a transaction */

static struct redis_server nodes[NODES];
static char names[MASTERS][16]; /* a chain of each master */
static char url[128];

/* The reply, or NULL where it is an error. */
static redisReply *ask(int node, const char *format, ...)
{
	va_list args;
	redisContext *c = redisConnectUnix(nodes[node].url + strlen("unix://"));
	va_start(args, format);
	redisReply *r = c && !c->err ? redisvCommand(c, format, args) : NULL;
	va_end(args);
	redisFree(c);
	if (r && r->type == REDIS_REPLY_ERROR) {
		freeReplyObject(r);
		r = NULL;
	}
	return r;
}

static void demand(int node, const char *format, int number)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	redisReply *r;
	while (!(r = ask(node, format, number)) && clock_mono_ms() < deadline)
		clock_sleep_ms(20);
	if (!r)
		fail_msg("node %d refuses: %s", node, format);
	freeReplyObject(r);
}

static void identity(int node, char ret[64])
{
	redisReply *r = ask(node, "CLUSTER MYID");
	assert_non_null(r);
	snprintf(ret, 64, "%s", r->str);
	freeReplyObject(r);
}

static bool says(int node, const char *word, const char *format)
{
	redisReply *r = ask(node, format);
	bool found = r && r->str && strstr(r->str, word);
	freeReplyObject(r);
	return found;
}

static void wait_until_says(int node, const char *word, const char *format)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (!says(node, word, format) && clock_mono_ms() < deadline)
		clock_sleep_ms(20);
	assert_true(says(node, word, format));
}

static int master_of(unsigned slot)
{
	return (int)(slot * MASTERS / 16384);
}

static int start(void **state)
{
	(void)state;
	char id[64], command[128];
	for (int i = 0; i < NODES; i++)
		redis_server_start_node(&nodes[i], redis_server_free_port());
	for (int i = 0; i < MASTERS; i++) {
		for (unsigned slot = 0; slot < 16384; slot++)
			if (master_of(slot) == i) {
				unsigned last = slot;
				while (last + 1 < 16384 && master_of(last + 1) == i)
					last++;
				snprintf(command, sizeof command, "CLUSTER ADDSLOTSRANGE %u %u", slot, last);
				demand(i, command, 0);
				break;
			}
	}
	for (int i = 1; i < NODES; i++) {
		snprintf(command, sizeof command, "CLUSTER MEET 127.0.0.1 %d %d", nodes[i].port, nodes[i].cluster_port);
		demand(0, command, 0);
	}
	for (int i = 0; i < NODES; i++)
		wait_until_says(i, "cluster_state:ok", "CLUSTER INFO");
	identity(0, id);
	snprintf(command, sizeof command, "CLUSTER REPLICATE %s", id);
	demand(NODES - 1, command, 0);
	wait_until_says(NODES - 1, "master_link_status:up", "INFO replication");
	for (int i = 0, found = 0; found < MASTERS; i++) {
		char name[16];
		size_t size = (size_t)snprintf(name, sizeof name, "chain%d", i);
		int master = master_of(bus_cluster_slot((struct bytes){ (const uint8_t *)name, size }));
		if (!*names[master]) {
			memcpy(names[master], name, sizeof name);
			found++;
		}
	}
	/* The first node of the list does not exist, the second one is a replica. */
	snprintf(url, sizeof url, "redis+cluster://127.0.0.1:1,127.0.0.1:%d", nodes[NODES - 1].port);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (int i = 0; i < NODES; i++)
		redis_server_stop(&nodes[i]);
	return 0;
}

static long long entries(int node, const char *chain)
{
	redisReply *r = ask(node, "XLEN weir:{%s}:raw:high", chain);
	long long n = r ? r->integer : -1;
	freeReplyObject(r);
	return n;
}

static struct bus *open_bus(const char *worker, int64_t timeout_ms)
{
	struct bus *bus;
	const struct bus_options options = { .url = url, .worker = worker, .command_timeout_ms = timeout_ms };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	return bus;
}

/* n messages "first", "first+1", …, in one call, until it works. */
static void publish(struct bus_publisher *p, int first, int n)
{
	static struct frame frames[MANY];
	static char bodies[MANY][16];
	struct error err = { 0 };
	int r;
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	for (int i = 0; i < n; i++) {
		snprintf(bodies[i], sizeof bodies[i], "%d", first + i);
		frames[i] = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", bodies[i]);
	}
	while ((r = bus_publish(p, frames, (size_t)n, &err)) != 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(20);
	if (r != 0)
		fail_msg("%s", err.text);
}

/* The owner reads first, first+1, … up to last, each once and in order. */
static void read_all(struct bus_owner *o, int first, int last)
{
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while (first <= last && clock_mono_ms() < deadline) {
		if (bus_owner_read(o, 100, 100, &m, &n, &err) != 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			char text[16] = "";
			memcpy(text, m[i].frame.body.data, m[i].frame.body.size < 15 ? m[i].frame.body.size : 15);
			assert_int_equal(strtol(text, NULL, 10), first);
			first++;
			(void)bus_owner_commit(o, m[i].klass, m[i].generation, m[i].sequence, &err);
		}
	}
	if (first <= last)
		fail_msg("%d and those behind it did not come: %s", first, err.text);
}

static void own(struct bus_owner *o)
{
	struct error err = { 0 };
	int r;
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	while ((r = bus_owner_acquire(o, &err)) != 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(20);
	if (r != 0)
		fail_msg("%s", err.text);
}

static void slots_are_those_of_the_server(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		char tag[64];
		size_t size = (size_t)snprintf(tag, sizeof tag, "%x-%.*s", (unsigned)random_u64(), i % 40, "abcdefghijklmnopqrstuvwxyz0123456789_+-");
		redisReply *r = ask(0, "CLUSTER KEYSLOT weir:{%s}:raw:high", tag);
		assert_non_null(r);
		assert_int_equal(r->integer, bus_cluster_slot((struct bytes){ (const uint8_t *)tag, size }));
		freeReplyObject(r);
	}
}

static void one_bus_reaches_the_node_of_each_chain(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = open_bus("w", 5000);
	struct bus_publisher *p[MASTERS];
	struct bus_owner *o[MASTERS];
	if (bus_check(bus, &err) != 0)
		fail_msg("%s", err.text);
	for (int i = 0; i < MASTERS; i++) {
		assert_int_equal(bus_publisher_open(bus, names[i], TOPIC_RAW, "p", &p[i], NULL), 0);
		assert_int_equal(bus_owner_open(bus, names[i], TOPIC_RAW, "o", 5000, &o[i], NULL), 0);
		own(o[i]);
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < MASTERS; i++)
			publish(p[i], round * (MANY + 1), MANY);
	for (int i = 0; i < MASTERS; i++)
		for (int round = 0; round < 3; round++)
			publish(p[i], round * (MANY + 1) + MANY, 1); /* one alone goes by the script */
	for (int i = 0; i < MASTERS; i++)
		assert_int_equal(entries(i, names[i]), 3 * (MANY + 1));
	for (int i = 0; i < MASTERS; i++) {
		assert_false(bus_owner_rolled_back(o[i]));
		bus_publisher_close(&p[i]);
		bus_owner_close(&o[i]);
		redisReply *r = ask(i, "DEL weir:{%s}:raw:high weir:{%s}:raw:meta weir:{%s}:raw:own:o", names[i], names[i], names[i]);
		freeReplyObject(r);
	}
	bus_close(&bus);
}

static void a_shared_lane_works_there_too(void **state)
{
	(void)state;
	struct bus *bus = open_bus("w", 5000);
	struct bus_publisher *p;
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	int got = 0;
	assert_int_equal(bus_publisher_open(bus, names[1], TOPIC_RAW, "shared", &p, NULL), 0);
	assert_int_equal(bus_worker_open(bus, names[1], TOPIC_RAW, "shared", NULL, &w, NULL), 0);
	publish(p, 0, MANY);
	for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; got < MANY && clock_mono_ms() < deadline;) {
		assert_int_equal(bus_worker_read(w, 100, 100, &m, &n, &err), 0);
		struct bus_step *step = bus_step_begin(w);
		for (size_t i = 0; i < n; i++)
			bus_step_settle(step, &m[i], BUS_DONE, NULL);
		if (bus_step_commit(&step, &err) != 0)
			fail_msg("%s", err.text);
		got += (int)n;
	}
	assert_int_equal(got, MANY);
	bus_worker_close(&w);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* What `redis-cli --cluster reshard` does. */
static void move_keys(int from, int to, unsigned slot)
{
	for (;;) {
		redisReply *keys = ask(from, "CLUSTER GETKEYSINSLOT %u 100", slot);
		assert_non_null(keys);
		size_t left = keys->elements;
		for (size_t i = 0; i < left; i++) {
			redisReply *r = ask(from, "MIGRATE 127.0.0.1 %d %s 0 5000", nodes[to].port, keys->element[i]->str);
			assert_non_null(r);
			freeReplyObject(r);
		}
		freeReplyObject(keys);
		if (left == 0)
			return;
	}
}

static void a_chain_waits_while_its_slot_moves(void **state)
{
	(void)state;
	const char *chain = names[1];
	unsigned slot = bus_cluster_slot((struct bytes){ (const uint8_t *)chain, strlen(chain) });
	char from[64], to[64], command[160];
	struct error err = { 0 };
	struct bus *bus = open_bus("w", 300), *other = open_bus("o", 5000);
	struct bus_publisher *p;
	struct bus_owner *o;
	struct frame f = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "3");
	identity(1, from);
	identity(2, to);
	assert_int_equal(bus_publisher_open(bus, chain, TOPIC_CONTROL, "moves", &p, NULL), 0);
	assert_int_equal(bus_owner_open(other, chain, TOPIC_CONTROL, "moves", 60000, &o, NULL), 0);
	own(o);
	publish(p, 0, 3);
	read_all(o, 0, 2);
	snprintf(command, sizeof command, "CLUSTER SETSLOT %u IMPORTING %s", slot, from);
	demand(2, command, 0);
	snprintf(command, sizeof command, "CLUSTER SETSLOT %u MIGRATING %s", slot, to);
	demand(1, command, 0);
	assert_true(error_retriable(bus_publish(p, &f, 1, &err)));
	move_keys(1, 2, slot);
	assert_true(error_retriable(bus_publish(p, &f, 1, &err)));
	snprintf(command, sizeof command, "CLUSTER SETSLOT %u NODE %s", slot, to);
	demand(2, command, 0);
	demand(1, command, 0);
	demand(0, command, 0);
	publish(p, 3, 1);
	publish(p, 4, MANY);
	read_all(o, 3, MANY + 3);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&other);
}

static void a_replica_that_took_over_is_found(void **state)
{
	(void)state;
	const char *chain = names[0];
	struct bus *bus = open_bus("w", 2000);
	struct bus_publisher *p;
	struct bus_owner *o;
	assert_int_equal(bus_publisher_open(bus, chain, TOPIC_RAW, "dies", &p, NULL), 0);
	assert_int_equal(bus_owner_open(bus, chain, TOPIC_RAW, "dies", 60000, &o, NULL), 0);
	own(o);
	publish(p, 0, 10);
	read_all(o, 0, 9);
	char number[16] = "";
	for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; !*number && clock_mono_ms() < deadline;) {
		redisReply *r = ask(0, "WAIT 1 1000"); /* on a connection of its own: of all that was written */
		snprintf(number, sizeof number, "%s", r && r->integer == 1 ? "1" : "");
		freeReplyObject(r);
	}
	redis_server_kill(&nodes[0]);
	publish(p, 10, MANY);
	read_all(o, 10, MANY + 9);
	assert_true(bus_owner_rolled_back(o)); /* another server: it may have lost something, and its owner is told */
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void a_node_addressed_as_a_single_server_is_named_as_what_it_is(void **state)
{
	(void)state;
	char single[64];
	struct bus *bus;
	struct error err = { 0 };
	struct bus_publisher *p;
	struct frame f = fixture_message(MESSAGE_RAW_BLOCK_TIP, "1", "x");
	snprintf(single, sizeof single, "redis://127.0.0.1:%d", nodes[2].port);
	const struct bus_options options = { .url = single, .worker = "w", .command_timeout_ms = 1000 };
	assert_int_equal(bus_open(&options, &bus, NULL), 0);
	assert_int_equal(bus_publisher_open(bus, names[0], TOPIC_RAW, "p", &p, NULL), 0);
	assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "redis+cluster://"));
	bus_publisher_close(&p);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_those_of_the_server),
		fixture_threads(one_bus_reaches_the_node_of_each_chain, NULL, NULL, "redis#6794"),
		cmocka_unit_test(a_shared_lane_works_there_too),
		cmocka_unit_test(a_chain_waits_while_its_slot_moves),
		cmocka_unit_test(a_node_addressed_as_a_single_server_is_named_as_what_it_is),
		cmocka_unit_test(a_replica_that_took_over_is_found),
	};
	return cmocka_run_group_tests_name("cluster", tests, start, stop);
}

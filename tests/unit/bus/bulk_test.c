/* bulk_test.c - bulk topics: entries of several messages are read, committed, parked and counted as the single messages they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <stdio.h>
#include <string.h>

#define NORMAL "weir:{test}:blocks:normal"
enum { N = 1000, PACK = 64 };

static char bodies[N][8], keys[N][8];
static struct frame frames[N];

static int publish_all(struct bus *bus, size_t n)
{
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	bus_publisher_pack(p, PACK);
	for (unsigned i = 0; i < N; i++) {
		snprintf(bodies[i], sizeof bodies[i], "%u", i);
		snprintf(keys[i], sizeof keys[i], "k%u", i % 10);
		frames[i] = fixture_message(MESSAGE_CHAIN_HEAD, keys[i], bodies[i]);
	}
	int r = bus_publish(p, frames, n, NULL);
	bus_publisher_close(&p);
	return r;
}

static struct bus_owner *owner(struct bus *bus)
{
	struct bus_owner *o;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "reconciler", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	return o;
}

static void test_read_in_any_size(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	assert_int_equal(publish_all(bus, N), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), (N + PACK - 1) / PACK);
	for (unsigned next = 0, max = 1; next < N; max = max * 3 % 257) {
		struct bus_message *m;
		size_t n;
		assert_int_equal(bus_owner_read(o, max, 1000, &m, &n, NULL), 0);
		assert_true(n > 0 && n <= max);
		for (size_t i = 0; i < n; i++, next++) {
			assert_true(fixture_body_is(&m[i], bodies[next]));
			assert_int_equal(m[i].sequence, next + 1);
		}
	}
	bus_owner_close(&o);
	bus_close(&bus);
}

/* The floor lies inside of an entry: the next owner goes on behind it, and the entry stays until all of it is done. */
static void test_commit_inside_an_entry(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	size_t n;
	assert_int_equal(publish_all(bus, N), 0);
	assert_int_equal(bus_owner_read(o, 100, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 100);
	assert_int_equal(bus_owner_commit(o, m[99].klass, m[99].generation, m[99].sequence, NULL), 0);
	bus_owner_close(&o);
	assert_int_equal(bus_trim(bus, "test", TOPIC_BLOCKS, 0, NULL), 0);
	assert_int_equal(fixture_ask("XLEN " NORMAL), (N + PACK - 1) / PACK - 1);
	o = owner(bus);
	assert_int_equal(bus_owner_read(o, 100, 1000, &m, &n, NULL), 0);
	assert_int_equal(m[0].sequence, 101);
	assert_true(fixture_body_is(&m[0], "100"));
	bus_owner_close(&o);
	bus_close(&bus);
}

/* One message is parked, its key's followers in the same and in later entries with it; all others pass. */
static void test_park_one_of_an_entry(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct error why = { .code = WEIR_INVALID, .text = "bad" };
	uint64_t dead;
	assert_int_equal(publish_all(bus, 200), 0);
	for (unsigned passed = 0; passed < 180;) {
		struct bus_message *m;
		size_t n;
		assert_int_equal(bus_owner_read(o, 5, 1000, &m, &n, NULL), 0);
		for (size_t i = 0; i < n; i++) {
			bool bad = m[i].frame.key.data[1] == '3';
			passed += !bad;
			if (bad) {
				assert_int_equal(m[i].sequence, 4); /* reads put the others aside */
				assert_int_equal(bus_owner_park(o, &m[i], &why, NULL), 0);
			}
		}
		assert_int_equal(bus_owner_commit(o, m[n - 1].klass, m[n - 1].generation, m[n - 1].sequence, NULL), 0);
	}
	assert_int_equal(dead_letter_count(bus, "test", "reconciler", &dead, NULL), 0);
	assert_int_equal(dead, 20);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_tail_seeks_into_an_entry(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_tail *t;
	struct bus_message *m;
	size_t n;
	uint64_t first;
	assert_int_equal(publish_all(bus, N), 0);
	assert_int_equal(bus_tail_open(bus, "test", TOPIC_BLOCKS, CLASS_NORMAL, &t, NULL), 0);
	for (unsigned next = 0; next < N;) {
		assert_int_equal(bus_tail_read(t, 37, 1000, &m, &n, &first, NULL), 0);
		for (size_t i = 0; i < n; i++, next++)
			assert_true(fixture_body_is(&m[i], bodies[next]));
	}
	bus_tail_seek(t, 500);
	assert_int_equal(bus_tail_read(t, 37, 1000, &m, &n, &first, NULL), 0);
	assert_int_equal(m[0].sequence, 501);
	fixture_ask("XTRIM " NORMAL " MAXLEN 2");
	bus_tail_seek(t, 0);
	assert_int_equal(bus_tail_read(t, 37, 1000, &m, &n, &first, NULL), WEIR_GAP);
	assert_int_equal(first, 14 * PACK + 1);
	bus_tail_close(&t);
	bus_close(&bus);
}

static void test_backlog_counts_messages(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus_with("w", 20000, 500);
	struct bus_stream_info info[4];
	size_t n;
	struct bus_owner *o = owner(bus);
	assert_int_equal(publish_all(bus, N), 0);
	assert_int_equal(publish_all(bus, N), WEIR_FULL);
	assert_int_equal(bus_info(bus, "test", TOPIC_BLOCKS, "reconciler", info, &n, NULL), 0);
	assert_int_equal(info[2].lag, N);
	assert_int_equal(info[2].first_sequence, 1);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* It says it holds three and holds none: one letter, and what comes behind it is read. */
static void test_damaged_entry_is_parked_whole(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	size_t n;
	uint64_t dead;
	assert_int_equal(publish_all(bus, 128), 0);
	char *generation = fixture_text("HGET weir:{test}:blocks:meta gen");
	fixture_ask("XADD " NORMAL " %s-131 d xyz n 3", generation);
	free(generation);
	assert_int_equal(bus_owner_read(o, 1000, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 128);
	assert_int_equal(bus_owner_read(o, 1000, 10, &m, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(dead_letter_count(bus, "test", "reconciler", &dead, NULL), 0);
	assert_int_equal(dead, 1);
	bus_owner_close(&o);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_read_in_any_size, fixture_flush),
		cmocka_unit_test_setup(test_commit_inside_an_entry, fixture_flush),
		cmocka_unit_test_setup(test_park_one_of_an_entry, fixture_flush),
		cmocka_unit_test_setup(test_tail_seeks_into_an_entry, fixture_flush),
		cmocka_unit_test_setup(test_backlog_counts_messages, fixture_flush),
		cmocka_unit_test_setup(test_damaged_entry_is_parked_whole, fixture_flush),
	};
	return fixture_run(tests);
}

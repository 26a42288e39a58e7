/* share_test.c - the classes' shares: proportion, deficit, age, nobody starves; and weights changed while both lanes read from a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/lane/share.h"
#include "support/bus_fixture.h"

#include <string.h>

#define MANY 100000

static const int64_t no_age[CLASSES];

static struct bus_share with(uint32_t critical, uint32_t high, uint32_t normal, uint32_t low, int64_t age_ms)
{
	return (struct bus_share){ .weights = { { critical, high, normal, low }, age_ms } };
}

static size_t sum(const size_t n[CLASSES])
{
	return n[0] + n[1] + n[2] + n[3];
}

static void proportions_hold_for_any_room(void **state)
{
	(void)state;
	static const size_t rooms[] = { 1, 2, 3, 4, 5, 7, 29, 100, 512 };
	for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
		struct bus_share s = with(16, 8, 4, 1, 0);
		size_t got[CLASSES] = { 0 }, n[CLASSES];
		const size_t wanted[CLASSES] = { MANY, MANY, MANY, MANY };
		for (int turn = 0; turn < 29 * 20; turn++) {
			bus_share_out(&s, rooms[i], wanted, no_age, n);
			assert_int_equal(sum(n), rooms[i]);
			for (int c = 0; c < CLASSES; c++)
				got[c] += n[c];
		}
		for (int c = 0; c < CLASSES; c++) { /* to the message, but for what is promised at the end */
			size_t due = rooms[i] * 20 * s.weights.of[c];
			assert_in_range(got[c], due - 3, due + 3);
			assert_true(s.deficit[c] <= 3000 && s.deficit[c] >= -3000);
		}
	}
}

static void what_a_class_does_not_need_is_the_others(void **state)
{
	(void)state;
	struct bus_share s = with(16, 8, 4, 1, 0);
	size_t n[CLASSES];
	bus_share_out(&s, 100, (const size_t[CLASSES]){ 3, 0, 0, MANY }, no_age, n);
	assert_int_equal(n[0], 3);
	assert_int_equal(n[3], 97);
	bus_share_out(&s, 100, (const size_t[CLASSES]){ 3, 5, 0, 7 }, no_age, n);
	assert_int_equal(sum(n), 15);
	bus_share_out(&s, 0, (const size_t[CLASSES]){ 3, 5, 0, 7 }, no_age, n);
	assert_int_equal(sum(n), 0);
	for (int i = 0; i < 1000; i++) /* an empty class saves nothing up */
		bus_share_out(&s, 10, (const size_t[CLASSES]){ MANY, 0, 0, 0 }, no_age, n);
	bus_share_out(&s, 170, (const size_t[CLASSES]){ MANY, 0, 0, MANY }, no_age, n);
	assert_in_range(n[3], 9, 11);
}

static void the_late_go_first_with_half_of_the_room(void **state)
{
	(void)state;
	struct bus_share s = with(16, 8, 4, 1, 60000);
	size_t n[CLASSES];
	const size_t wanted[CLASSES] = { MANY, MANY, MANY, MANY };
	bus_share_out(&s, 100, wanted, (const int64_t[CLASSES]){ 10, 10, 10, 60000 }, n);
	assert_in_range(n[3], 50, 53);
	bus_share_out(&s, 100, wanted, (const int64_t[CLASSES]){ 10, 10, 61000, 60000 }, n); /* the latest */
	assert_true(n[2] >= 50 && n[3] < 10);
	size_t low = 0;
	for (int i = 0; i < 10; i++) { /* half of the room, also where it is one */
		bus_share_out(&s, 1, wanted, (const int64_t[CLASSES]){ 10, 10, 10, 60000 }, n);
		low += n[3];
	}
	assert_in_range(low, 5, 6);
	s = with(16, 8, 4, 1, 60000);
	bus_share_out(&s, 290, wanted, (const int64_t[CLASSES]){ 60001, 60002, 60003, 60004 }, n); /* all are: by weight */
	assert_in_range(n[0], 158, 162);
	s = with(16, 8, 4, 1, 0);
	bus_share_out(&s, 290, wanted, (const int64_t[CLASSES]){ 0, 0, 0, 1000000 }, n); /* no such rule */
	assert_in_range(n[3], 9, 11);
}

static void weights_that_are_none_are_refused(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_weights w;
	struct error err = { 0 };
	assert_int_equal(bus_weights_get(bus, "test", TOPIC_RAW, "s", &w, NULL), 0);
	assert_memory_equal(&w, &BUS_WEIGHTS_DEFAULT, sizeof w);
	w.of[2] = 0;
	assert_int_equal(bus_weights_set(bus, "test", TOPIC_RAW, "s", &w, "op", &err), WEIR_INVALID);
	w.of[2] = BUS_WEIGHT_MAX + 1;
	assert_int_equal(bus_weights_set(bus, "test", TOPIC_RAW, "s", &w, "op", &err), WEIR_INVALID);
	w = (struct bus_weights){ { 1, 1, 1, 1 }, -1 };
	assert_int_equal(bus_weights_set(bus, "test", TOPIC_RAW, "s", &w, "op", &err), WEIR_INVALID);
	w = (struct bus_weights){ { 5, 6, 7, 8 }, 9 };
	assert_int_equal(bus_weights_set(bus, "test", TOPIC_RAW, "s", &w, "op", &err), 0);
	struct bus_weights read;
	assert_int_equal(bus_weights_get(bus, "test", TOPIC_RAW, "s", &read, NULL), 0);
	assert_memory_equal(&w, &read, sizeof w);
	assert_int_equal(fixture_ask("HSET weir:{test}:raw:weights:s low many high 0 normal 70000000000000000000"), 0); /* somebody's hand */
	assert_int_equal(bus_weights_get(bus, "test", TOPIC_RAW, "s", &read, NULL), 0);
	assert_int_equal(read.of[BUS_LOW], 1);
	assert_int_equal(read.of[BUS_HIGH], 8);
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 1);
	bus_close(&bus);
}

static void set_weights(struct bus *bus, const char *topic, uint32_t high, uint32_t other)
{
	const struct bus_weights w = { { high, high, other, other }, 0 };
	assert_int_equal(bus_weights_set(bus, "test", topic, "live", &w, "op", NULL), 0);
}

static void publish_many(struct bus *bus, const char *topic, uint16_t type, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fixture_publish(bus, topic, fixture_message(type, "", "m"));
}

/* Another process changes the weights while the lane reads: reads follow. */
static void a_worker_obeys_new_weights(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *other = fixture_bus("op");
	struct bus_worker *w;
	struct bus_message *m;
	size_t n, low = 0;
	set_weights(other, TOPIC_RAW, BUS_WEIGHT_MAX, 1);
	publish_many(bus, TOPIC_RAW, MESSAGE_RAW_BLOCK_TIP, 300);
	publish_many(bus, TOPIC_RAW, MESSAGE_RAW_BLOCK_BACKFILL, 300);
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, "live", NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 12, 5000, &m, &n, NULL), 0);
	set_weights(other, TOPIC_RAW, 1, BUS_WEIGHT_MAX);
	int64_t deadline = clock_mono_ms() + 20000;
	while (low < 10 && clock_mono_ms() < deadline) { /* what is handed out again does not count */
		low = 0;
		for (size_t i = 0; i < n; i++)
			fixture_settle(w, &m[i], BUS_DONE, 0);
		publish_many(bus, TOPIC_RAW, MESSAGE_RAW_BLOCK_TIP, 12);
		assert_int_equal(bus_worker_read(w, 12, 5000, &m, &n, NULL), 0);
		for (size_t i = 0; i < n; i++)
			low += m[i].klass == BUS_LOW;
	}
	assert_true(low >= 10);
	bus_worker_close(&w);
	bus_close(&other);
	bus_close(&bus);
}

static void an_owner_gives_each_class_its_share(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *other = fixture_bus("op");
	struct bus_owner *o;
	struct bus_message *m;
	size_t n, normal = 0;
	publish_many(bus, TOPIC_BLOCKS, MESSAGE_CHAIN_FORK, 400);
	publish_many(bus, TOPIC_BLOCKS, MESSAGE_CHAIN_HEAD, 400);
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "live", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_owner_read(o, 20, 5000, &m, &n, NULL), 0);
	assert_int_equal(n, 20);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(m[i].klass, i < 16 ? BUS_CRITICAL : BUS_NORMAL); /* 16:4, the critical ones first */
	set_weights(other, TOPIC_BLOCKS, 1, 9);
	int64_t deadline = clock_mono_ms() + 20000;
	size_t reads = 0;
	for (; normal != 18 && clock_mono_ms() < deadline; reads++) {
		normal = 0;
		publish_many(bus, TOPIC_BLOCKS, MESSAGE_CHAIN_HEAD, 20);
		publish_many(bus, TOPIC_BLOCKS, MESSAGE_CHAIN_FORK, 20);
		assert_int_equal(bus_owner_read(o, 20, 5000, &m, &n, NULL), 0);
		for (size_t i = 0; i < n; i++)
			normal += m[i].klass == BUS_NORMAL;
	}
	assert_int_equal(normal, 18);
	bus_owner_close(&o);
	bus_close(&other);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proportions_hold_for_any_room),
		cmocka_unit_test(what_a_class_does_not_need_is_the_others),
		cmocka_unit_test(the_late_go_first_with_half_of_the_room),
		cmocka_unit_test_setup(weights_that_are_none_are_refused, fixture_flush),
		cmocka_unit_test_setup(a_worker_obeys_new_weights, fixture_flush),
		cmocka_unit_test_setup(an_owner_gives_each_class_its_share, fixture_flush),
	};
	return fixture_run(tests);
}

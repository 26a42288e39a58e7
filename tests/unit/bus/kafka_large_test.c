/* kafka_large_test.c - dead letters over Kafka that are larger than what brokers take in one record: they go in pieces. Against librdkafka's mock cluster, which
 * takes records of any size: so the records themselves are looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/dead_letter.h"
#include "bus/kafka/kafka_table.h"
#include "support/bus_fixture.h"
#include "support/kafka_fixture.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 60000
#define SIZE 1000000
#define MOST (KAFKA_PIECE_SIZE + 1024)

/* How many records the letters have, and how large the largest is. */
static void look_at_records(struct bus *bus, size_t *ret_n, size_t *ret_largest)
{
	struct kafka *k = kafka_of(bus);
	struct kafka_topic *topic;
	struct error err = { 0 };
	*ret_n = *ret_largest = 0;
	if (kafka_topic(k, "weir.c.large.letters.s", KAFKA_TABLE, &topic, &err) != 0)
		fail_msg("%s", err.text);
	for (int32_t p = 0; p < topic->partitions; p++) {
		rd_kafka_queue_t *queue = rdk.queue_new(k->reader);
		assert_int_equal(rdk.consume_start_queue(topic->read, p, RD_KAFKA_OFFSET_BEGINNING, queue), 0);
		bool end = false;
		for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; !end;) {
			rd_kafka_message_t *m;
			assert_true(clock_mono_ms() < deadline);
			if (rdk.consume_batch_queue(queue, 100, &m, 1) != 1)
				continue;
			end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
			*ret_n += m->err == 0;
			*ret_largest = m->err == 0 && m->len > *ret_largest ? m->len : *ret_largest;
			rdk.message_destroy(m);
		}
		(void)rdk.consume_stop(topic->read, p);
		rdk.queue_destroy(queue);
	}
}

static struct bus_message *next(struct bus_owner *o)
{
	struct error err = { 0 };
	struct bus_message *m;
	size_t n = 0;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; n == 0 && clock_mono_ms() < deadline;)
		if (bus_owner_read(o, 1, 300, &m, &n, &err) != 0)
			fail_msg("%s", err.text);
	assert_int_equal(n, 1);
	return m;
}

static void is_whole(struct bytes body, const char *sent)
{
	assert_int_equal(body.size, SIZE);
	assert_memory_equal(body.data, sent, SIZE);
}

struct found {
	char id[48];
	size_t size;
};

static bool find(const char *id, struct bytes body, void *arg)
{
	struct found *f = arg;
	snprintf(f->id, sizeof f->id, "%s", id);
	f->size = body.size;
	return false;
}

/* Whoever comes later reads it whole, it can be edited, and tried again; and of the pieces of what went nothing is left. */
static void a_letter_that_is_larger_than_a_record_is_kept_whole(void **state)
{
	(void)state;
	static char body[SIZE + 1], changed[SIZE + 1];
	struct error err = { 0 };
	const struct error why = { .code = WEIR_INVALID };
	struct found found = { 0 };
	struct bus_owner *o;
	uint64_t n;
	size_t records, largest;
	for (size_t i = 0; i < SIZE; i++) {
		body[i] = (char)('a' + i % 23);
		changed[i] = (char)('A' + i % 23);
	}
	kafka_fixture_topics("large", "s");
	struct bus *bus = kafka_fixture_bus("w", 20000), *other = kafka_fixture_bus("o", 20000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "large");
	struct frame f = fixture_message(MESSAGE_COMMAND, "k", body);
	assert_int_equal(bus_publish(p, &f, 1, &err), 0);
	assert_int_equal(bus_owner_open(bus, "c", "large", "s", 0, &o, NULL), 0);
	kafka_fixture_acquire(o);
	struct bus_message *m = next(o);
	is_whole(m->frame.body, body);
	assert_int_equal(bus_owner_park(o, m, &why, &err), 0);
	if (bus_owner_commit(o, m->klass, m->generation, m->sequence, &err) != 0)
		fail_msg("%s", err.text);
	look_at_records(other, &records, &largest);
	assert_in_range(largest, 1, MOST);
	assert_int_equal(dead_letter_list(other, "c", "s", NULL, NULL, 0, find, &found, &err), 0);
	assert_int_equal(dead_letter_show(other, "c", "s", found.id, find, &found, &err), 0);
	assert_in_range(found.size, SIZE, SIZE + 2000);
	const struct dead_letter_edit e = { .body = kafka_fixture_bytes(changed), .who = "me", .why = "why" };
	if (dead_letter_edit(bus, "c", "s", found.id, &e, NULL, &err) != 0) /* by its owner himself */
		fail_msg("%s", err.text);
	assert_int_equal(dead_letter_replay(other, "c", "s", NULL, NULL, 0, "me", &n, &err), 0);
	assert_int_equal(n, 1);
	bus_owner_close(&o);
	assert_int_equal(bus_owner_open(other, "c", "large", "s", 0, &o, NULL), 0);
	kafka_fixture_acquire(o); /* somebody else, who has to read it */
	m = next(o);
	assert_true(m->replay);
	is_whole(m->frame.body, changed);
	assert_int_equal(bus_owner_resolve(o, m, &err), 0);
	look_at_records(other, &records, &largest);
	assert_in_range(largest, 1, MOST);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&other);
}

/* A writer ends in the middle of one: what he left is nobody's letter, and the next owner removes it. */
static void pieces_without_their_row_are_removed_by_the_next_owner(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct kafka_table *t, *u;
	kafka_fixture_topics("large", "s");
	struct bus *bus = kafka_fixture_bus("w", 20000), *other = kafka_fixture_bus("o", 20000);
	assert_int_equal(kafka_table(kafka_of(bus), "weir.c.large.letters.s", 0, &t, &err), 0);
	assert_int_equal(kafka_table_load(t, &err), 0);
	assert_int_equal(kafka_table_put(t, "p/0000000000000001/000000", kafka_fixture_bytes("left behind"), false, &err), 0);
	assert_int_equal(kafka_table_flush(t, &err), 0);
	assert_int_equal(kafka_table(kafka_of(other), "weir.c.large.letters.s", 0, &u, &err), 0);
	assert_int_equal(kafka_table_load(u, &err), 0);
	assert_int_equal(u->count, 1);
	if (kafka_table_take_over(u, &err) != 0 || kafka_table_flush(u, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(u->count, 0);
	assert_int_equal(kafka_table_load(t, &err), 0);
	assert_null(kafka_table_find(t, "p/0000000000000001/000000"));
	bus_close(&bus);
	bus_close(&other);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_that_is_larger_than_a_record_is_kept_whole),
		cmocka_unit_test(pieces_without_their_row_are_removed_by_the_next_owner),
	};
	return kafka_fixture_main(argc, argv, "kafka_large_test", tests, sizeof tests / sizeof tests[0]);
}

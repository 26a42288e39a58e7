/* records_test.c - plain records (bus/records.h) against librdkafka's mock cluster: what arrives, what a repeated call means, what is left after a failure, and
 * that no call outlasts its time whatever the brokers do.
 *
 * Each case is a process of its own with its own broker: they mostly wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/kafka/kafka.h"
#include "bus/records.h"
#include "support/apart.h"
#include "support/kafka_broker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 60000
#define SHORT_MS 200 /* a call's time where it is to run out */
#define LONG_MS 20000
#define TOPIC "weir.c.records"
#define PARTITIONS 3
#define ARRIVED_MAX 150000

static struct kafka_broker broker;
static char url[300];
static atomic_bool stop;

static bool stopping(void *arg)
{
	(void)arg;
	return atomic_load(&stop);
}

static struct bus *open_bus(int64_t timeout_ms)
{
	struct bus *bus;
	struct error err = { 0 };
	struct bus_options o = { .url = url, .worker = "records", .command_timeout_ms = timeout_ms };
	if (bus_open(&o, &bus, &err) != 0)
		fail_msg("%s", err.text);
	bus_set_stop(bus, stopping, NULL);
	return bus;
}

static struct bus_records *open_records(struct bus *bus, const char *topic)
{
	struct bus_records *w;
	assert_int_equal(bus_records_open(bus, topic, &w, NULL), 0);
	return w;
}

static struct bytes text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static bool not_yet(int code)
{
	return code == WEIR_TIMEOUT || code == WEIR_UNAVAILABLE;
}

/* Repeated until the brokers have them, as a caller does. */
static void write_all(struct bus_records *w, const struct bus_record *records, size_t n)
{
	struct error err = { 0 };
	int r;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; (r = bus_records_write(w, records, n, &err)) != 0;)
		if (!not_yet(r) || clock_mono_ms() > deadline)
			fail_msg("%s", err.text);
}

/* ---- numbered records: key k<number % keys>, value <number> ---------------------------------------------------------------------------- */

static struct numbered {
	struct bus_record records[ARRIVED_MAX];
	char text[ARRIVED_MAX][2][8];
} numbered;

static const struct bus_record *number(unsigned from, unsigned n, unsigned keys)
{
	assert_true(n <= ARRIVED_MAX);
	for (unsigned i = 0; i < n; i++) {
		snprintf(numbered.text[i][0], 8, "k%u", (from + i) % keys);
		snprintf(numbered.text[i][1], 8, "%u", from + i);
		numbered.records[i] = (struct bus_record){ text(numbered.text[i][0]), text(numbered.text[i][1]) };
	}
	return numbered.records;
}

/* ---- what is in the topic, behind the writer's back -------------------------------------------------------------------------------------- */

struct arrived {
	int32_t partition;
	char key[8];
	int64_t number;
	size_t size; /* of the value */
	bool empty_key, no_value;
};

static struct {
	struct arrived all[ARRIVED_MAX];
	size_t n;
} arrived;

static void keep(const rd_kafka_message_t *m)
{
	assert_true(arrived.n < ARRIVED_MAX);
	struct arrived *a = &arrived.all[arrived.n++];
	char digits[24] = "";
	*a = (struct arrived){ .partition = m->partition, .size = m->len, .empty_key = m->key_len == 0, .no_value = m->payload == NULL };
	memcpy(a->key, m->key ? m->key : "", m->key_len < 7 ? m->key_len : 7);
	if (m->payload)
		memcpy(digits, m->payload, m->len < 20 ? m->len : 20);
	a->number = strtoll(digits, NULL, 10);
}

/* All partitions from their beginning to their end. */
static void read_topic(void)
{
	struct bus *bus = open_bus(LONG_MS);
	struct kafka *k = kafka_of(bus);
	struct kafka_topic *topic;
	struct error err = { 0 };
	int left = PARTITIONS;
	arrived.n = 0;
	if (kafka_topic(k, TOPIC, KAFKA_RECORDS, &topic, &err) != 0)
		fail_msg("%s", err.text);
	rd_kafka_queue_t *queue = rdk.queue_new(k->reader);
	for (int p = 0; p < PARTITIONS; p++)
		assert_int_equal(rdk.consume_start_queue(topic->read, p, RD_KAFKA_OFFSET_BEGINNING, queue), 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; left > 0;) {
		rd_kafka_message_t *m = NULL;
		assert_true(clock_mono_ms() < deadline);
		if (rdk.consume_batch_queue(queue, 50, &m, 1) != 1)
			continue;
		assert_true(m->err == 0 || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF);
		if (m->err == 0)
			keep(m);
		else
			left--;
		rdk.message_destroy(m);
	}
	for (int p = 0; p < PARTITIONS; p++)
		(void)rdk.consume_stop(topic->read, p);
	rdk.queue_destroy(queue);
	bus_close(&bus);
}

/* Each of the numbers below n is there, once, unless they may be repeated; and what is new in a partition comes behind all that is before it there: no hole. */
static void check_numbers(unsigned n, unsigned keys, bool repeated)
{
	static unsigned times[ARRIVED_MAX];
	static int32_t partition_of[ARRIVED_MAX]; /* a key's */
	int64_t highest[PARTITIONS];
	char name[8];
	read_topic();
	memset(times, 0, sizeof times);
	memset(highest, -1, sizeof highest);
	for (size_t i = 0; i < arrived.n; i++)
		partition_of[arrived.all[i].number % keys] = arrived.all[i].partition;
	for (size_t i = 0; i < arrived.n; i++) {
		const struct arrived *a = &arrived.all[i];
		assert_true(a->number < n && a->partition == partition_of[a->number % keys]);
		snprintf(name, sizeof name, "k%u", (unsigned)a->number % keys);
		assert_string_equal(a->key, name);
		times[a->number]++;
		for (int64_t between = highest[a->partition] + 1; between < a->number; between++)
			assert_true(partition_of[between % keys] != a->partition);
		assert_true(repeated || a->number > highest[a->partition]);
		if (a->number > highest[a->partition])
			highest[a->partition] = a->number;
	}
	for (unsigned i = 0; i < n; i++)
		assert_true(repeated ? times[i] >= 1 : times[i] == 1);
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------------ */

static void only_kafka_has_plain_records(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_records *w = NULL;
	struct error err = { 0 };
	const struct bus_options o = { .url = "redis://127.0.0.1:1/0", .worker = "records", .command_timeout_ms = SHORT_MS };
	assert_int_equal(bus_open(&o, &bus, &err), 0);
	assert_int_equal(bus_records_open(bus, TOPIC, &w, &err), WEIR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "kafka://"));
	assert_null(w);
	bus_close(&bus);
}

static void plain_records_are_in_no_transaction(void **state)
{
	(void)state;
	struct bus *bus;
	struct bus_records *w = NULL;
	struct error err = { 0 };
	const struct bus_options o = { .url = "kafka://127.0.0.1:1/?transactions=yes", .worker = "records", .command_timeout_ms = SHORT_MS };
	assert_int_equal(bus_open(&o, &bus, &err), 0);
	assert_int_equal(bus_records_open(bus, TOPIC, &w, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "transactions=yes"));
	assert_null(w);
	bus_close(&bus);
}

static void opening_asks_nobody_and_closing_takes_nothing_too(void **state)
{
	(void)state;
	struct bus_records *w = NULL;
	kafka_broker_up(&broker, 0);
	bus_records_close(&w);
	struct bus *bus = open_bus(SHORT_MS);
	w = open_records(bus, TOPIC);
	bus_records_drop(w);
	bus_records_close(&w);
	assert_null(w);
	bus_close(&bus);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------------------ */

static void what_was_written_is_there_once_in_order_for_each_key(void **state)
{
	(void)state;
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	write_all(w, NULL, 0);
	write_all(w, number(0, 1, 7), 1);
	for (unsigned from = 1; from < 2001; from += 500)
		write_all(w, number(from, 500, 7), 500);
	check_numbers(2001, 7, false);
	bool used[PARTITIONS] = { false };
	for (size_t i = 0; i < arrived.n; i++)
		used[arrived.all[i].partition] = true;
	assert_true(used[0] + used[1] + used[2] > 1);
	bus_records_close(&w);
	bus_close(&bus);
}

/* The hash of the Java client's default partitioner, written anew. */
static uint32_t murmur2(const char *key)
{
	const uint32_t m = 0x5bd1e995;
	size_t n = strlen(key);
	uint32_t h = 0x9747b28c ^ (uint32_t)n;
	const uint8_t *p = (const uint8_t *)key;
	for (; n >= 4; n -= 4, p += 4) {
		uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		k *= m;
		k ^= k >> 24;
		h = (h * m) ^ (k * m);
	}
	if (n == 3)
		h ^= (uint32_t)p[2] << 16;
	if (n >= 2)
		h ^= (uint32_t)p[1] << 8;
	if (n >= 1)
		h = (h ^ p[0]) * m;
	h = (h ^ (h >> 13)) * m;
	return h ^ (h >> 15);
}

static void keys_lie_where_kafkas_own_clients_would_put_them(void **state)
{
	(void)state;
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	write_all(w, number(0, 40, 40), 40);
	read_topic();
	assert_int_equal(arrived.n, 40);
	for (size_t i = 0; i < arrived.n; i++)
		assert_int_equal(arrived.all[i].partition, (murmur2(arrived.all[i].key) & 0x7fffffff) % PARTITIONS);
	bus_records_close(&w);
	bus_close(&bus);
}

static void empty_and_large_ones_are_as_they_were(void **state)
{
	(void)state;
	const size_t large = 900 << 10;
	uint8_t *value = xmalloc(large);
	memset(value, '7', large);
	const struct bus_record records[] = { { text(""), text("1") }, { text("k"), text("") }, { text("k"), { NULL, 0 } }, { text("k"), { value, large } } };
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	write_all(w, records, 4);
	read_topic();
	assert_int_equal(arrived.n, 4);
	size_t seen[4] = { 0 };
	for (size_t i = 0; i < arrived.n; i++) {
		const struct arrived *a = &arrived.all[i];
		seen[a->empty_key ? 0 : a->no_value ? 2 : a->size == 0 ? 1 : 3]++;
		assert_true(a->size <= 1 || a->size == large);
	}
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 1);
	assert_int_equal(seen[3], 1);
	bus_records_close(&w);
	bus_close(&bus);
	free(value);
}

/* librdkafka keeps 100,000 records on this side: what is more waits until there is room. */
static void more_than_fit_on_this_side_wait_for_room(void **state)
{
	(void)state;
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	write_all(w, number(0, 120000, 5), 120000);
	check_numbers(120000, 5, false);
	bus_records_close(&w);
	bus_close(&bus);
}

static void a_call_that_ran_out_of_time_is_repeated_and_sends_none_twice(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = open_bus(SHORT_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	write_all(w, number(0, 10, 3), 10);
	const struct bus_record *records = number(10, 300, 3);
	kafka_broker_up(&broker, 0);
	for (int i = 0; i < 3; i++)
		assert_true(not_yet(bus_records_write(w, records, 300, &err)));
	kafka_broker_up(&broker, 1);
	write_all(w, records, 300);
	kafka_broker_hold(&broker, 1);
	records = number(310, 300, 3);
	for (int i = 0; i < 3; i++)
		assert_true(not_yet(bus_records_write(w, records, 300, &err)));
	kafka_broker_hold(&broker, 0);
	write_all(w, records, 300);
	check_numbers(610, 3, false);
	bus_records_close(&w);
	bus_close(&bus);
}

/* ---- topics that are missing --------------------------------------------------------------------------------------------------------------- */

static void a_missing_topic_is_named_with_the_command_that_makes_it(void **state)
{
	(void)state;
	struct error err = { 0 };
	char command[400];
	kafka_broker_forbid(&broker, TOPIC);
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	snprintf(command, sizeof command, "has no topic " TOPIC "; make it: kafka-topics.sh --bootstrap-server %s --create --topic " TOPIC " --partitions <n>", broker.hosts);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bus_records_write(w, number(0, 5, 5), 5, &err), WEIR_CONFIG);
		assert_non_null(strstr(err.text, command));
	}
	kafka_broker_allow(&broker, TOPIC);
	write_all(w, number(0, 5, 5), 5);
	check_numbers(5, 5, false);
	bus_records_close(&w);
	bus_close(&bus);
}

/* ---- what fails for good --------------------------------------------------------------------------------------------------------------------- */

static void after_a_refusal_nothing_is_under_way_and_no_partition_has_a_hole(void **state)
{
	(void)state;
	static const struct {
		int answer, code;
	} refusals[] = { { RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, WEIR_LIMIT },
			 { RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, WEIR_PERMISSION },
			 { RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, WEIR_GAP } };
	struct error err = { 0 };
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	unsigned n = 0;
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++, n += 200) {
		int r;
		write_all(w, number(n, 1, 1), 1); /* the producer is known to the brokers */
		kafka_broker_refuse(&broker, KAFKA_PRODUCE, refusals[i].answer);
		while (not_yet(r = bus_records_write(w, number(n, 200, 1), 200, &err)))
			;
		assert_true(r == refusals[i].code || r == WEIR_GAP || (r == 0 && refusals[i].code == WEIR_GAP)); /* after a lost sequence librdkafka may know how to go on */
		write_all(w, number(n, 200, 1), 200); /* from the last place on */
	}
	check_numbers(n, 1, true);
	bus_records_close(&w);
	bus_close(&bus);
}

static void what_was_dropped_comes_before_what_is_written_then_or_not_at_all(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = open_bus(SHORT_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	write_all(w, number(0, 1, 1), 1);
	kafka_broker_hold(&broker, 1);
	assert_true(not_yet(bus_records_write(w, number(1, 50, 1), 50, &err)));
	bus_records_drop(w);
	bus_records_drop(w);
	kafka_broker_hold(&broker, 0);
	write_all(w, number(1, 80, 1), 80);
	check_numbers(81, 1, true);
	kafka_broker_hold(&broker, 1);
	assert_true(not_yet(bus_records_write(w, number(81, 50, 1), 50, &err)));
	bus_records_close(&w); /* with some under way */
	bus_close(&bus);
	kafka_broker_hold(&broker, 0);
}

/* ---- the newest -------------------------------------------------------------------------------------------------------------------------------- */

struct newest {
	size_t calls;
	int64_t highest;
};

static void take_newest(const struct bus_record *record, void *arg)
{
	struct newest *newest = arg;
	char digits[24] = "";
	memcpy(digits, record->value.data, record->value.size < 20 ? record->value.size : 20);
	assert_true(record->key.size > 0 && record->key.data[0] == 'k');
	newest->calls++;
	if (strtoll(digits, NULL, 10) > newest->highest)
		newest->highest = strtoll(digits, NULL, 10);
}

static struct newest newest_of(struct bus_records *w)
{
	struct error err = { 0 };
	struct newest newest;
	int r;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; newest = (struct newest){ 0, -1 }, (r = bus_records_newest(w, take_newest, &newest, &err)) != 0;)
		if (!not_yet(r) || clock_mono_ms() > deadline)
			fail_msg("%s", err.text);
	return newest;
}

static void the_newest_record_of_each_partition_is_told_whoever_wrote_it(void **state)
{
	(void)state;
	struct bus *bus = open_bus(LONG_MS), *other = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC), *theirs = open_records(other, TOPIC);
	assert_int_equal(newest_of(w).calls, 0);
	write_all(theirs, number(0, 1, 1), 1);
	assert_int_equal(newest_of(w).calls, 1);
	assert_int_equal(newest_of(w).highest, 0);
	write_all(w, number(1, 100, 20), 100);
	assert_int_equal(newest_of(w).calls, PARTITIONS);
	assert_int_equal(newest_of(w).highest, 100);
	write_all(theirs, number(101, 1, 1), 1);
	assert_int_equal(newest_of(w).highest, 101);
	assert_int_equal(newest_of(theirs).highest, 101);
	bus_records_close(&w);
	bus_records_close(&theirs);
	bus_close(&bus);
	bus_close(&other);
}

static void the_newest_of_a_missing_topic_is_an_error_that_says_how_to_make_it(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct newest newest = { 0 };
	kafka_broker_forbid(&broker, TOPIC);
	struct bus *bus = open_bus(LONG_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	assert_int_equal(bus_records_newest(w, take_newest, &newest, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "kafka-topics.sh"));
	kafka_broker_allow(&broker, TOPIC);
	assert_int_equal(newest_of(w).calls, 0);
	bus_records_close(&w);
	bus_close(&bus);
}

/* ---- no call outlasts its time ------------------------------------------------------------------------------------------------------------------- */

struct call {
	struct bus_records *w;
	bool newest, forever;
	int code;
	struct error err;
	atomic_bool over;
};

static void *make_call(void *arg)
{
	struct call *c = arg;
	struct newest newest = { 0 };
	do
		c->code = c->newest ? bus_records_newest(c->w, take_newest, &newest, &c->err) : bus_records_write(c->w, number(1000, 50, 5), 50, &c->err);
	while (c->forever && not_yet(c->code)); /* as a caller that waits for its brokers, and only hears of the stop from the call */
	atomic_store(&c->over, true);
	return NULL;
}

static int call_ends(struct call *c, bool told_to_stop)
{
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, make_call, c), 0);
	if (told_to_stop) {
		clock_sleep_ms(SHORT_MS / 4); /* in the middle, if the machine is quick; at the beginning does as well */
		atomic_store(&stop, true);
	}
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS / 2; !atomic_load(&c->over); clock_sleep_ms(10))
		assert_true(clock_mono_ms() < deadline);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return c->code;
}

enum fault { AWAY, SILENT };

static void fault(enum fault fault, int on)
{
	if (fault == AWAY)
		kafka_broker_up(&broker, !on);
	else
		kafka_broker_hold(&broker, on);
}

/* known: the writer was at the topic before, and asks for it no more. */
static void try_call(enum fault with, bool newest, bool known, bool told_to_stop)
{
	struct bus *bus = open_bus(told_to_stop ? LONG_MS : SHORT_MS);
	struct bus_records *w = open_records(bus, TOPIC);
	if (known) {
		write_all(w, number(0, 10, 10), 10);
		(void)newest_of(w);
	}
	fault(with, 1);
	struct call call = { .w = w, .newest = newest, .forever = told_to_stop };
	const int code = call_ends(&call, told_to_stop);
	if (told_to_stop ? code != WEIR_CANCELED : !not_yet(code))
		fail_msg("%s, %s, %s: %d %s", with == AWAY ? "away" : "silent", newest ? "newest" : "write", known ? "known" : "unknown", code, call.err.text);
	atomic_store(&stop, false);
	fault(with, 0);
	if (newest)
		(void)newest_of(w); /* it is as good as before */
	else
		write_all(w, number(1000, 50, 5), 50);
	bus_records_close(&w);
	bus_close(&bus);
}

static void calls_end_in_time_while_brokers_are_away(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		try_call(AWAY, i & 1, i & 2, false);
}

static void calls_end_in_time_while_brokers_say_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		try_call(SILENT, i & 1, i & 2, false);
}

static void calls_end_soon_when_told_to_while_brokers_are_away(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		try_call(AWAY, i & 1, i & 2, true);
}

static void calls_end_soon_when_told_to_while_brokers_say_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		try_call(SILENT, i & 1, i & 2, true);
}

/* ------------------------------------------------------------------------------------------------------------------------------------------------- */

static struct CMUnitTest tests[] = {
	cmocka_unit_test(only_kafka_has_plain_records),
	cmocka_unit_test(plain_records_are_in_no_transaction),
	cmocka_unit_test(opening_asks_nobody_and_closing_takes_nothing_too),
	cmocka_unit_test(what_was_written_is_there_once_in_order_for_each_key),
	cmocka_unit_test(keys_lie_where_kafkas_own_clients_would_put_them),
	cmocka_unit_test(empty_and_large_ones_are_as_they_were),
	cmocka_unit_test(more_than_fit_on_this_side_wait_for_room),
	cmocka_unit_test(a_call_that_ran_out_of_time_is_repeated_and_sends_none_twice),
	cmocka_unit_test(a_missing_topic_is_named_with_the_command_that_makes_it),
	cmocka_unit_test(after_a_refusal_nothing_is_under_way_and_no_partition_has_a_hole),
	cmocka_unit_test(what_was_dropped_comes_before_what_is_written_then_or_not_at_all),
	cmocka_unit_test(the_newest_record_of_each_partition_is_told_whoever_wrote_it),
	cmocka_unit_test(the_newest_of_a_missing_topic_is_an_error_that_says_how_to_make_it),
	cmocka_unit_test(calls_end_in_time_while_brokers_are_away),
	cmocka_unit_test(calls_end_in_time_while_brokers_say_nothing),
	cmocka_unit_test(calls_end_soon_when_told_to_while_brokers_are_away),
	cmocka_unit_test(calls_end_soon_when_told_to_while_brokers_say_nothing),
};
#define TESTS (sizeof tests / sizeof tests[0])

static int run_case(size_t at)
{
	kafka_broker_start(&broker);
	snprintf(url, sizeof url, "kafka://%s", broker.hosts);
	kafka_broker_topic(&broker, TOPIC, PARTITIONS);
	int failed = _cmocka_run_group_tests("records", &tests[at], 1, NULL, NULL);
	kafka_broker_stop(&broker);
	return failed;
}

int main(int argc, char **argv)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	return apart_main(argc, argv, "records_test", tests, TESTS, run_case);
}

/* kafka_test.c - the bus over Kafka, against librdkafka's mock cluster in a process of its own: what conformance_test.c does not ask of all.
 *
 * Joining a group of this mock takes three seconds, in which nobody computes anything, and a session must be longer than that: each case is a
 * process of its own, with its own kafka_fixture_broker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/kafka/kafka_publish.h"
#include "bus/kafka/kafka_table.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/kafka_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 60000

static struct bus_owner *owner(struct bus *bus, const char *topic)
{
	struct bus_owner *o;
	assert_int_equal(bus_owner_open(bus, "c", topic, "s", 1000, &o, NULL), 0);
	return o;
}

static int publish(struct bus_publisher *p, unsigned from, unsigned n, unsigned keys, struct error *err)
{
	struct frame frames[500];
	struct kafka_fixture_text texts[500];
	assert_true(n <= 500);
	kafka_fixture_messages(frames, texts, from, n, keys);
	return bus_publish(p, frames, n, err);
}

/* Reads n messages, whose bodies are numbers, and says how often each came. */
static void read_all(struct bus_owner *o, unsigned n, unsigned *times, bool commit)
{
	struct error err = { 0 };
	unsigned next[64] = { 0 };
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; n > 0;) {
		struct bus_message *m;
		size_t count;
		int r = bus_owner_read(o, 100, 50, &m, &count, &err);
		if (r == WEIR_FENCED) {
			kafka_fixture_acquire(o);
			continue;
		}
		if (r != 0 || clock_mono_ms() > deadline)
			fail_msg("%s; %u are missing", err.text, n);
		for (size_t i = 0; i < count; i++, n--) {
			unsigned number = kafka_fixture_number(m[i].frame.body), key = kafka_fixture_number(m[i].frame.key);
			times[number]++;
			assert_true(number >= next[key]);
			next[key] = number;
			if (commit && bus_owner_commit(o, m[i].klass, m[i].generation, m[i].sequence, &err) != 0)
				fail_msg("%s", err.text);
		}
	}
}

static void what_was_published_is_read_in_order_and_what_was_committed_is_not_read_again(void **state)
{
	(void)state;
	unsigned times[600] = { 0 };
	struct error err = { 0 };
	kafka_fixture_topics("basic", "s");
	struct bus *a = kafka_fixture_bus("a", 5000), *b = kafka_fixture_bus("b", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(a, "basic");
	if (publish(p, 0, 400, 7, &err) != 0)
		fail_msg("%s", err.text);
	struct bus_owner *o = owner(a, "basic");
	kafka_fixture_acquire(o);
	read_all(o, 400, times, true);
	bus_owner_close(&o);
	assert_int_equal(publish(p, 400, 100, 7, &err), 0);
	o = owner(b, "basic");
	kafka_fixture_acquire(o);
	read_all(o, 100, times, false);
	kafka_fixture_acquire(o); /* what was not committed is read again */
	read_all(o, 100, times, true);
	struct bus_stream_info info[4];
	size_t n;
	assert_int_equal(bus_info(a, "c", "basic", "s", info, &n, &err), 0);
	assert_int_equal(n, 4);
	assert_int_equal(info[BUS_HIGH].length, 500);
	assert_int_equal(info[BUS_HIGH].lag, 0);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(times[i], i < 400 ? 1 : 2);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&a);
	bus_close(&b);
}

/* -- publishing ------------------------------------------------------------------------------------------------------------------------- */

/* All that the topic's only partition has, by a table of its own kind: records, not messages. */
static int64_t records(struct bus *bus, const char *topic)
{
	struct kafka *k = kafka_of(bus);
	struct error err = { 0 };
	rd_kafka_topic_partition_list_t *list = rdk.topic_partition_list_new(1);
	const rd_kafka_topic_partition_t *end = rdk.topic_partition_list_add(list, topic, 0);
	assert_int_equal(kafka_reader(k, &err), 0);
	if (kafka_offsets(k, k->reader, list, RD_KAFKA_OFFSET_END, clock_mono_ms() + PATIENCE_MS, &err) != 0)
		fail_msg("%s", err.text);
	const int64_t high = end->offset;
	rdk.topic_partition_list_destroy(list);
	return high;
}

static void a_call_that_ran_out_of_time_is_repeated_and_is_once(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct frame frames[20];
	kafka_broker_topic(&kafka_fixture_broker, "weir.c.outage.high", 1);
	struct bus *bus = kafka_fixture_bus("a", 300);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "outage");
	for (unsigned i = 0; i < 20; i++)
		frames[i] = fixture_message(MESSAGE_COMMAND, "k", "body");
	int r;
	while ((r = bus_publish(p, frames, 10, &err)) != 0) /* it is there; a loaded machine may need longer than the time-out */
		assert_true(r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE);
	kafka_broker_delay(&kafka_fixture_broker, 1000); /* longer than the time-out: the answer of the first call comes to its repetition */
	for (int i = 0; i < 2; i++) {
		r = bus_publish(p, frames, 5, &err);
		assert_true(r == 0 || r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE);
		assert_true(r != 0 || i > 0);
	}
	kafka_broker_delay(&kafka_fixture_broker, 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; r != 0; r = bus_publish(p, frames, 5, &err))
		assert_true(clock_mono_ms() < deadline);
	kafka_broker_up(&kafka_fixture_broker, 0);
	for (int i = 0; i < 3; i++) {
		r = bus_publish(p, frames, 20, &err);
		assert_true(r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE);
	}
	kafka_broker_up(&kafka_fixture_broker, 1);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; (r = bus_publish(p, frames, 20, &err)) != 0;) {
		assert_true(r == WEIR_TIMEOUT || r == WEIR_UNAVAILABLE);
		assert_true(clock_mono_ms() < deadline);
	}
	bus_publisher_close(&p);
	bus_close(&bus);
	bus = kafka_fixture_bus("b", 5000);
	assert_int_equal(records(bus, "weir.c.outage.high"), 35);
	bus_close(&bus);
}

static void a_topic_that_is_missing_is_named_with_the_command_that_makes_it(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = kafka_fixture_bus("a", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "nowhere");
	kafka_broker_forbid(&kafka_fixture_broker, "weir.c.nowhere.high");
	assert_int_equal(publish(p, 0, 1, 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "kafka-topics.sh"));
	assert_non_null(strstr(err.text, "--topic weir.c.nowhere.high"));
	bus_publisher_close(&p);
	p = kafka_fixture_publisher(bus, "a.b");
	assert_int_equal(publish(p, 0, 1, 1, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "\"a.b\""));
	bus_publisher_close(&p);
	kafka_fixture_topics("uneven", "t");
	kafka_broker_topic(&kafka_fixture_broker, "weir.c.uneven.letters.s", KAFKA_FIXTURE_PARTITIONS + 1);
	struct bus_owner *o = owner(bus, "uneven");
	assert_int_equal(bus_owner_acquire(o, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "must have the same number"));
	bus_owner_close(&o);
	bus_close(&bus);
}

static void brokers_that_are_not_there_are_an_error_in_time(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus;
	struct bus_options o = { .url = "kafka://127.0.0.1:1", .command_timeout_ms = 300 };
	assert_int_equal(bus_open(&o, &bus, &err), 0);
	assert_true(error_retriable(bus_ping(bus, &err)));
	assert_non_null(strstr(err.text, "127.0.0.1:1"));
	assert_true(error_retriable(bus_check(bus, &err)));
	bus_close(&bus);
	o.wait_replicas = 1;
	assert_int_equal(bus_open(&o, &bus, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "min.insync.replicas"));
	bus = kafka_fixture_bus("a", 5000);
	assert_int_equal(bus_ping(bus, &err), 0);
	assert_int_equal(bus_check(bus, &err), 0);
	bus_close(&bus);
}

static void what_only_redis_does_is_refused_by_name(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = kafka_fixture_bus("a", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "basic");
	struct frame f = fixture_message(MESSAGE_COMMAND, "k", "b");
	struct bus_tail *t;
	struct bus_message *m;
	uint64_t n;
	size_t count;
	assert_int_equal(bus_publish_sequence(p, 1, &f, 1, &n, &err), WEIR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "sequence"));
	assert_non_null(strstr(err.text, "over Kafka"));
	assert_int_equal(bus_tail_open(bus, "c", "basic", "high", &t, &err), 0);
	assert_int_equal(bus_tail_read(t, 1, 10, &m, &count, &n, &err), WEIR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "over Kafka"));
	assert_int_equal(bus_weights_set(bus, "c", "basic", "s", &BUS_WEIGHTS_DEFAULT, "me", &err), WEIR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "weights"));
	assert_int_equal(bus_audit_list(bus, "c", NULL, 1, NULL, NULL, &err), WEIR_UNSUPPORTED);
	bus_tail_close(&t);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void note_system(void *arg, const struct span *s)
{
	for (size_t i = 0; i < s->attribute_count; i++)
		if (strcmp(s->attributes[i].name, "messaging.system") == 0)
			snprintf(arg, 16, "%s", s->attributes[i].text);
}

static void spans_say_kafka(void **state)
{
	(void)state;
	char system[16] = "";
	const struct span_sink sink = { note_system, system };
	const struct bus_options o = { .url = kafka_fixture_url, .worker = "a", .command_timeout_ms = 5000, .spans = &sink };
	struct error err = { 0 };
	struct span_context root = span_root(1000000);
	struct frame f = fixture_message(MESSAGE_COMMAND, "k", "b");
	struct bus *bus;
	kafka_fixture_topics("basic", "s");
	frame_set_trace(&f, &root);
	assert_int_equal(bus_open(&o, &bus, &err), 0);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "basic");
	if (bus_publish(p, &f, 1, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(system, "kafka");
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* -- tables -------------------------------------------------------------------------------------------------------------------------------- */

static void note_field(const char *name, const char *value, void *arg)
{
	char *text = arg;
	size_t size = strlen(text);
	snprintf(text + size, 200 - size, "%s=%s;", name, value);
}

static void hashes_are_seen_by_all(void **state)
{
	(void)state;
	struct error err = { 0 };
	char text[200] = "";
	struct bus *a = kafka_fixture_bus("a", 5000), *b = kafka_fixture_bus("b", 5000);
	const struct bus_field fields[] = { { "one", "1" }, { "none", "" }, { "two", "2" } };
	assert_int_equal(bus_hash_read(a, "weir:{c}:x", note_field, text, &err), WEIR_NOT_FOUND);
	assert_int_equal(bus_hash_write(a, "weir:{c}:x", fields, 3, &err), 0);
	assert_int_equal(bus_hash_read(b, "weir:{c}:x", note_field, text, &err), 0);
	assert_string_equal(text, "none=;one=1;two=2;");
	assert_int_equal(bus_hash_delete(b, "weir:{c}:x", (const char *const[]){ "one", "none" }, 2, &err), 0);
	text[0] = 0;
	assert_int_equal(bus_hash_read(a, "weir:{c}:x", note_field, text, &err), 0);
	assert_string_equal(text, "two=2;");
	assert_int_equal(bus_hash_read(a, "no key of ours", note_field, text, &err), WEIR_INVALID);
	bus_close(&a);
	bus_close(&b);
}

/* An owner that does not know yet that it was followed writes into the log: nobody takes it for true, now or later. */
static void late_writes_of_a_former_owner_are_left_out(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct kafka_table *a, *b, *c;
	kafka_broker_topic(&kafka_fixture_broker, "weir.c.fence", 1);
	struct bus *first = kafka_fixture_bus("a", 5000), *second = kafka_fixture_bus("b", 5000), *third = kafka_fixture_bus("c", 5000);
	assert_int_equal(kafka_table(kafka_of(first), "weir.c.fence", 0, &a, &err), 0);
	assert_int_equal(kafka_table(kafka_of(second), "weir.c.fence", 0, &b, &err), 0);
	assert_int_equal(kafka_table_put(a, "x", kafka_fixture_bytes("1"), true, &err), WEIR_FENCED); /* nobody's yet */
	assert_int_equal(kafka_table_take_over(a, &err), 0);
	assert_int_equal(kafka_table_put(a, "kept", kafka_fixture_bytes("1"), true, &err), 0);
	assert_int_equal(kafka_table_flush(a, &err), 0);
	assert_int_equal(kafka_table_take_over(b, &err), 0);
	assert_true(b->epoch > a->epoch);
	assert_non_null(kafka_table_find(b, "kept"));
	assert_int_equal(kafka_table_put(a, "late", kafka_fixture_bytes("1"), true, &err), 0); /* it does not know */
	assert_int_equal(kafka_table_put(a, "kept", (struct bytes){ NULL, 0 }, true, &err), 0);
	assert_int_equal(kafka_table_flush(a, &err), 0);
	assert_int_equal(kafka_table_load(b, &err), 0);
	assert_int_equal(kafka_table(kafka_of(third), "weir.c.fence", 0, &c, &err), 0);
	assert_int_equal(kafka_table_load(c, &err), 0);
	for (int i = 0; i < 2; i++) {
		const struct kafka_table *t = i == 0 ? b : c;
		assert_null(kafka_table_find(t, "late"));
		assert_non_null(kafka_table_find(t, "kept"));
	}
	assert_int_equal(kafka_table_load(a, &err), 0);
	assert_int_equal(kafka_table_put(a, "x", kafka_fixture_bytes("1"), true, &err), WEIR_FENCED);
	assert_int_equal(kafka_table_put(a, "word", kafka_fixture_bytes("1"), false, &err), 0); /* anybody's */
	assert_int_equal(kafka_table_flush(a, &err), 0);
	assert_int_equal(kafka_table_load(b, &err), 0);
	assert_non_null(kafka_table_find(b, "word"));
	bus_close(&first);
	bus_close(&second);
	bus_close(&third);
}

/* -- lanes ------------------------------------------------------------------------------------------------------------------------------------ */

/* The mock keeps 5 MB of a partition: what was not read in time is gone, and the owner is told. */
static void a_reader_that_fell_out_of_retention_is_told(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus_message *m;
	size_t n = 0;
	char *large = xmalloc(200001);
	memset(large, 'x', 200000);
	kafka_fixture_topics("short", "s");
	struct bus *bus = kafka_fixture_bus("a", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "short");
	struct frame f = fixture_message(MESSAGE_COMMAND, "k", "0");
	assert_int_equal(bus_publish(p, &f, 1, &err), 0);
	struct bus_owner *o = owner(bus, "short");
	kafka_fixture_acquire(o);
	unsigned times[8] = { 0 };
	read_all(o, 1, times, true);
	assert_false(bus_owner_rolled_back(o));
	bus_owner_close(&o);
	for (int i = 0; i < 60; i++) {
		f = fixture_message(MESSAGE_COMMAND, "k", large);
		if (bus_publish(p, &f, 1, &err) != 0)
			fail_msg("%s", err.text);
	}
	o = owner(bus, "short");
	kafka_fixture_acquire(o);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; n == 0;) {
		int r = bus_owner_read(o, 1, 50, &m, &n, &err);
		if (r == WEIR_FENCED)
			kafka_fixture_acquire(o);
		assert_true(clock_mono_ms() < deadline);
	}
	assert_true(m[0].sequence > 20); /* the oldest that there is */
	assert_true(bus_owner_rolled_back(o));
	assert_false(bus_owner_rolled_back(o));
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
	free(large);
}

struct instance {
	_Atomic unsigned done, misplaced;
	unsigned next[64];
};

static _Atomic unsigned times_of[20000];

static int handle(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)err;
	struct instance *i = arg;
	unsigned number = kafka_fixture_number(d->body), key = kafka_fixture_number(d->message->frame.key);
	if (strcmp(d->token, "0:0000000000000000") == 0)
		return error_set(err, WEIR_INTERNAL, "no token");
	i->misplaced += number < i->next[key] && times_of[number] == 0; /* a repetition after a change of owner is none */
	i->next[key] = number;
	times_of[number]++;
	i->done++;
	return 0;
}

static const uint16_t commands[] = { MESSAGE_COMMAND };

static struct bus_subscription *start(struct bus *bus, const struct bus_handler *h)
{
	struct bus_subscription *s;
	struct error err = { 0 };
	struct bus_subscription_options o = { .chain = "c", .topic = "two", .subscription = "s", .order = BUS_ORDERED, .handlers = h, .handler_count = 1,
					      .no_storm_guard = true };
	if (bus_subscription_open(bus, &o, &s, &err) != 0 || bus_subscription_start(s, 1000, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static void two_instances_share_the_partitions_and_one_takes_all_when_the_other_goes(void **state)
{
	(void)state;
	static struct instance a, b;
	const struct bus_handler ha = { "h", commands, 1, handle, &a, NULL }, hb = { "h", commands, 1, handle, &b, NULL };
	struct error err = { 0 };
	kafka_fixture_topics("two", "s");
	struct bus *bus = kafka_fixture_bus("p", 5000), *one = kafka_fixture_bus("one", 5000), *other = kafka_fixture_bus("other", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "two");
	struct bus_subscription *s = start(one, &ha), *t = start(other, &hb);
	unsigned n = 0;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; (a.done == 0 || b.done == 0) && n < 15000; n += 30) {
		assert_int_equal(publish(p, n, 30, 30, &err), 0);
		assert_true(clock_mono_ms() < deadline);
		clock_sleep_ms(20);
	}
	if (bus_subscription_join(t, &err) != 0)
		fail_msg("%s", err.text);
	bus_subscription_close(&t);
	assert_int_equal(publish(p, n, 300, 30, &err), 0);
	n += 300;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS;;) {
		unsigned missing = 0;
		for (unsigned i = 0; i < n; i++)
			missing += times_of[i] == 0;
		if (missing == 0)
			break;
		if (clock_mono_ms() > deadline)
			fail_msg("%u of %u are missing", missing, n);
		clock_sleep_ms(20);
	}
	assert_true(a.done > 0 && b.done > 0);
	assert_int_equal(a.misplaced, 0);
	assert_int_equal(b.misplaced, 0);
	if (bus_subscription_join(s, &err) != 0)
		fail_msg("%s", err.text);
	bus_subscription_close(&s);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&one);
	bus_close(&other);
}

static bool note_letter(const char *id, struct bytes body, void *arg)
{
	(void)body;
	snprintf(arg, 48, "%s", id);
	return true;
}

static void count_row(const char *kind, const char *type, const char *reason, uint64_t n, void *arg)
{
	(void)type;
	if (strcmp(kind, "head") == 0 && strcmp(reason, "invalid") == 0)
		*(uint64_t *)arg += n;
}

/* Whatever stands in the topic: the key's next messages are handled, and operators see it. */
static void what_is_no_frame_becomes_a_letter_that_can_be_purged(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct kafka_sends *sends = xmalloc(sizeof *sends);
	unsigned times[8] = { 0 };
	char id[48] = "", again[48] = "";
	uint64_t n = 0, heads = 0;
	kafka_fixture_topics("mixed", "mixed");
	struct bus *bus = kafka_fixture_bus("a", 5000), *operator= kafka_fixture_bus("o", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "mixed");
	assert_int_equal(kafka_publish_one(kafka_of(bus), "c", "mixed", BUS_HIGH, kafka_fixture_bytes("k1"), kafka_fixture_bytes("no frame"), sends, &err), 0);
	assert_int_equal(kafka_publish_one(kafka_of(bus), "c", "mixed", BUS_HIGH, kafka_fixture_bytes("k1"), kafka_fixture_bytes(""), sends, &err), 0);
	assert_int_equal(kafka_sent(kafka_of(bus), sends, kafka_deadline(kafka_of(bus)), &err), 0);
	assert_int_equal(publish(p, 1, 1, 2, &err), 0);
	struct bus_owner *o;
	assert_int_equal(bus_owner_open(bus, "c", "mixed", "mixed", 1000, &o, NULL), 0);
	kafka_fixture_acquire(o);
	read_all(o, 1, times, true);
	assert_int_equal(times[1], 1);
	assert_int_equal(dead_letter_count(operator, "c", "mixed", &n, &err), 0);
	assert_int_equal(n, 2);
	assert_int_equal(dead_letter_counts(operator, "c", "mixed", count_row, &heads, &err), 0);
	assert_int_equal(heads, 2);
	const struct dead_letter_filter invalid = { .reason = "invalid" }, other = { .reason = "timeout" };
	assert_int_equal(dead_letter_count_matching(operator, "c", "mixed", &other, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(dead_letter_list(operator, "c", "mixed", &invalid, NULL, 1, note_letter, id, &err), 0);
	assert_int_equal(dead_letter_list(operator, "c", "mixed", &invalid, id, 0, note_letter, again, &err), 0);
	assert_string_not_equal(id, again);
	assert_int_equal(dead_letter_show(operator, "c", "mixed", id, note_letter, again, &err), 0);
	assert_string_equal(id, again);
	const char *const ids[] = { id };
	assert_int_equal(dead_letter_purge(operator, "c", "mixed", NULL, ids, 1, "me", "no use", &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(dead_letter_show(operator, "c", "mixed", id, note_letter, again, &err), WEIR_NOT_FOUND);
	/* A replay of the other fails again without a handler: it stays, and is marked no more. */
	assert_int_equal(dead_letter_replay(operator, "c", "mixed", NULL, NULL, 0, "me", &n, &err), 0);
	assert_int_equal(n, 1);
	struct bus_message *m;
	size_t count;
	struct kafka_table *t;
	unsigned marks = 1;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; marks > 0;) {
		int r = bus_owner_read(o, 10, 50, &m, &count, &err);
		if (r == WEIR_FENCED)
			kafka_fixture_acquire(o);
		marks = 0;
		for (int32_t i = 0; i < KAFKA_FIXTURE_PARTITIONS; i++) {
			assert_int_equal(kafka_table(kafka_of(operator), "weir.c.mixed.letters.mixed", i, &t, &err), 0);
			assert_int_equal(kafka_table_load(t, &err), 0);
			size_t at = kafka_table_at(t, "r/");
			marks += at < t->count && strncmp(t->rows[at].key, "r/", 2) == 0;
		}
		assert_true(clock_mono_ms() < deadline);
	}
	assert_int_equal(dead_letter_count(operator, "c", "mixed", &n, &err), 0);
	assert_int_equal(n, 1);
	bus_owner_close(&o);
	kafka_sends_leave(&sends);
	bus_publisher_close(&p);
	bus_close(&bus);
	bus_close(&operator);
}

/* The brokers say that the idempotent producer's numbers do not follow each other: such a producer can do nothing more, for ever. The call says so,
 * and the next one goes by another producer: nothing is lost in silence, nothing comes twice or out of order. */
static void a_producer_that_cannot_go_on_is_told_and_followed_by_another(void **state)
{
	(void)state;
	static const int fatal[] = { RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH };
	struct error err = { 0 };
	unsigned times[64] = { 0 }, next = 0;
	kafka_fixture_topics("fatal", "s");
	struct bus *bus = kafka_fixture_bus("a", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "fatal");
	for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
		assert_int_equal(publish(p, next, 5, 1, &err), 0);
		next += 5;
		kafka_broker_refuse(&kafka_fixture_broker, KAFKA_PRODUCE, fatal[i]);
		int r = publish(p, next, 1, 1, &err); /* one: the mock would take what comes behind it, as no broker does */
		if (r == WEIR_GAP)                    /* refused, and said so */
			assert_int_equal(publish(p, next, 1, 1, &err), 0);
		else
			assert_int_equal(r, 0); /* librdkafka knew how to go on */
		next++;
	}
	struct bus_owner *o = owner(bus, "fatal");
	kafka_fixture_acquire(o);
	read_all(o, next, times, true);
	for (unsigned i = 0; i < next; i++)
		assert_int_equal(times[i], 1);
	bus_owner_close(&o);
	bus_publisher_close(&p);
	bus_close(&bus);
}

/* -- no call outlasts its time ------------------------------------------------------------------------------------------------------------ */

#define SHORT_MS 500 /* a call's time, which is to run out */

struct call {
	struct bus *bus;
	struct kafka_table *table; /* or */
	struct bus_owner *owner;   /* or neither: figures of a topic */
	int code;
	atomic_bool over;
};

static void *make_call(void *arg)
{
	struct call *c = arg;
	struct bus_stream_info info[4];
	size_t n;
	struct error err = { 0 };
	if (c->table)
		c->code = kafka_table_load(c->table, &err);
	else if (c->owner)
		c->code = bus_owner_acquire(c->owner, &err);
	else
		c->code = bus_info(c->bus, "c", "basic", NULL, info, &n, &err);
	atomic_store(&c->over, true);
	return NULL;
}

/* Its result; it comes long before the brokers say anything. */
static int call_ends(struct call *c)
{
	pthread_t thread;
	atomic_store(&c->over, false);
	assert_int_equal(pthread_create(&thread, NULL, make_call, c), 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS / 2; !atomic_load(&c->over); clock_sleep_ms(5))
		assert_true(clock_mono_ms() < deadline);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return c->code;
}

static void tables_are_read_in_time_while_brokers_say_nothing(void **state)
{
	(void)state;
	struct call call = { 0 };
	struct error err = { 0 };
	int r;
	kafka_broker_topic(&kafka_fixture_broker, "weir.c.silent", 1);
	call.bus = kafka_fixture_bus("a", SHORT_MS);
	while ((r = kafka_table(kafka_of(call.bus), "weir.c.silent", 0, &call.table, &err)) != 0 || (r = kafka_table_load(call.table, &err)) != 0)
		assert_true(error_retriable(r));
	kafka_broker_hold(&kafka_fixture_broker, 1);
	assert_int_equal(call_ends(&call), WEIR_TIMEOUT);
	kafka_broker_hold(&kafka_fixture_broker, 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; kafka_table_load(call.table, &err) != 0;)
		assert_true(clock_mono_ms() < deadline);
	bus_close(&call.bus);
}

static void figures_are_told_in_time_while_brokers_say_nothing(void **state)
{
	(void)state;
	struct call call = { 0 };
	struct error err = { 0 };
	struct bus_stream_info info[4];
	size_t n;
	kafka_fixture_topics("basic", "s");
	call.bus = kafka_fixture_bus("a", SHORT_MS);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; bus_info(call.bus, "c", "basic", NULL, info, &n, &err) != 0;)
		assert_true(clock_mono_ms() < deadline);
	kafka_broker_hold(&kafka_fixture_broker, 1);
	assert_int_equal(call_ends(&call), WEIR_TIMEOUT);
	kafka_broker_hold(&kafka_fixture_broker, 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; bus_info(call.bus, "c", "basic", NULL, info, &n, &err) != 0;)
		assert_true(clock_mono_ms() < deadline);
	bus_close(&call.bus);
}

/* It then reads from the place that was committed. */
static void an_owner_acquires_in_time_while_brokers_do_not_say_what_they_have(void **state)
{
	(void)state;
	struct call call = { 0 };
	struct error err = { 0 };
	unsigned times[30] = { 0 }, seen = 0;
	int r;
	kafka_fixture_topics("basic", "s");
	struct bus *bus = kafka_fixture_bus("a", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "basic");
	assert_int_equal(publish(p, 0, 20, 7, &err), 0);
	struct bus_owner *o = owner(bus, "basic");
	kafka_fixture_acquire(o);
	read_all(o, 20, times, true);
	bus_owner_close(&o);
	assert_int_equal(publish(p, 20, 10, 7, &err), 0);
	call.bus = kafka_fixture_bus("b", SHORT_MS);
	call.owner = owner(call.bus, "basic");
	kafka_broker_silence_offsets(&kafka_fixture_broker);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; (r = call_ends(&call)) != 0; clock_sleep_ms(20))
		assert_true((r == WEIR_CONFLICT || error_retriable(r)) && clock_mono_ms() < deadline);
	kafka_broker_up(&kafka_fixture_broker, 0);
	kafka_broker_up(&kafka_fixture_broker, 1);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; seen < 10;) {
		struct bus_message *m;
		size_t count = 0;
		if (bus_owner_read(call.owner, 100, 50, &m, &count, &err) != 0)
			(void)bus_owner_acquire(call.owner, &err);
		for (size_t i = 0; i < count; i++)
			seen += times[kafka_fixture_number(m[i].frame.body)]++ == 0;
		assert_true(clock_mono_ms() < deadline);
	}
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(times[i], 1);
	bus_owner_close(&call.owner);
	bus_publisher_close(&p);
	bus_close(&call.bus);
	bus_close(&bus);
}

static struct CMUnitTest tests[] = {
	cmocka_unit_test(what_was_published_is_read_in_order_and_what_was_committed_is_not_read_again),
	fixture_threads(a_call_that_ran_out_of_time_is_repeated_and_is_once, NULL, NULL, "librdkafka INTRODUCTION.md"),
	cmocka_unit_test(a_topic_that_is_missing_is_named_with_the_command_that_makes_it),
	cmocka_unit_test(brokers_that_are_not_there_are_an_error_in_time),
	cmocka_unit_test(what_only_redis_does_is_refused_by_name),
	cmocka_unit_test(spans_say_kafka),
	cmocka_unit_test(hashes_are_seen_by_all),
	fixture_threads(a_producer_that_cannot_go_on_is_told_and_followed_by_another, NULL, NULL, "librdkafka#3584, librdkafka#2163"),
	cmocka_unit_test(late_writes_of_a_former_owner_are_left_out),
	cmocka_unit_test(a_reader_that_fell_out_of_retention_is_told),
	cmocka_unit_test(two_instances_share_the_partitions_and_one_takes_all_when_the_other_goes),
	cmocka_unit_test(what_is_no_frame_becomes_a_letter_that_can_be_purged),
	cmocka_unit_test(tables_are_read_in_time_while_brokers_say_nothing),
	cmocka_unit_test(figures_are_told_in_time_while_brokers_say_nothing),
	cmocka_unit_test(an_owner_acquires_in_time_while_brokers_do_not_say_what_they_have),
};
#define TESTS (sizeof tests / sizeof tests[0])

int main(int argc, char **argv)
{
	return kafka_fixture_main(argc, argv, "kafka_test", tests, TESTS);
}

/* dead_letter_file_test.c - dead letters out to a file and in again: nothing is lost on the way, order holds, and a file counts once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "base/clock.h"
#include "weir/v1/dead_letter.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUB "normalizer"
#define OWNER_SUB "reconciler"

static bool add_line(const char *id, struct bytes line, void *arg)
{
	(void)id;
	buf_add(arg, line.data, line.size);
	buf_add_byte(arg, '\n');
	return true;
}

static void export(struct bus *bus, const char *subscription, struct buf *ret)
{
	struct error err = { 0 };
	buf_reset(ret);
	if (dead_letter_export(bus, "test", subscription, NULL, NULL, 0, add_line, ret, &err) != 0)
		fail_msg("%s", err.text);
}

static int import(struct bus *bus, const char *subscription, const struct buf *file, uint64_t *new, uint64_t *known, struct error *err)
{
	return dead_letter_import(bus, "test", subscription, (struct bytes){ file->data, file->size }, "me", new, known, err);
}

static void import_ok(struct bus *bus, const char *subscription, const struct buf *file, uint64_t new, uint64_t known)
{
	uint64_t n, k;
	struct error err = { 0 };
	if (import(bus, subscription, file, &n, &k, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(n, new);
	assert_int_equal(k, known);
}

static bool pack_again(const char *id, struct bytes body, void *arg)
{
	(void)id;
	buf_add(arg, body.data, body.size);
	return true;
}

/* All letters as show tells them, unpacked and packed again: pieces in any order come out the same. */
struct shown {
	struct bus *bus;
	struct buf all;
};

static bool show_one(const char *id, struct bytes summary, void *arg)
{
	(void)summary;
	struct shown *s = arg;
	struct buf body = BUF_INIT(1 << 20);
	assert_int_equal(dead_letter_show(s->bus, "test", SUB, id, pack_again, &body, NULL), 0);
	Weir__V1__DeadLetter *l = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	assert_non_null(l);
	size_t size = weir__v1__dead_letter__get_packed_size(l);
	buf_reserve(&s->all, size);
	s->all.size += weir__v1__dead_letter__pack(l, s->all.data + s->all.size);
	weir__v1__dead_letter__free_unpacked(l, NULL);
	buf_free(&body);
	return true;
}

static struct buf show_all(struct bus *bus)
{
	struct shown s = { bus, BUF_INIT(1 << 20) };
	assert_int_equal(dead_letter_list(bus, "test", SUB, NULL, NULL, 0, show_one, &s, NULL), 0);
	return s.all;
}

static struct bus_worker *worker(struct bus *bus)
{
	struct bus_worker *w;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, SUB, NULL, &w, NULL), 0);
	return w;
}

static struct bus_message *take(struct bus_worker *w)
{
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_worker_read(w, 1, 3000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	return m;
}

static bool keep_id(const char *id, struct bytes body, void *arg)
{
	(void)body;
	snprintf(arg, 48, "%s", id);
	return false;
}

/* Three letters: with bytes that are no text, one that failed again, one edited. */
static void make_letters(struct bus *bus, struct bus_worker *w)
{
	static const char *const bodies[] = { "plain", "\x01\xff\"\\\n", "to be edited" };
	char id[48];
	uint64_t n;
	for (int i = 0; i < 3; i++) {
		fixture_publish(bus, TOPIC_RAW, fixture_message(i % 2 ? MESSAGE_RAW_BLOCK_BACKFILL : MESSAGE_RAW_BLOCK_TIP, "k\xc3\xa9y", bodies[i]));
		fixture_settle(w, take(w), BUS_REJECT, i % 2 ? WEIR_INVALID : WEIR_MISMATCH);
	}
	assert_int_equal(dead_letter_list(bus, "test", SUB, &(struct dead_letter_filter){ .type = "raw_block_backfill" }, NULL, 1, keep_id, id, NULL),
			 0);
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, (const char *[]){ id }, 1, "me", &n, NULL), 0);
	fixture_settle(w, take(w), BUS_REJECT, WEIR_TIMEOUT);
	assert_int_equal(dead_letter_list(bus, "test", SUB, &(struct dead_letter_filter){ .reason = "mismatch" }, NULL, 1, keep_id, id, NULL), 0);
	struct dead_letter_edit e = { .body = { (const uint8_t *)"edited", 6 }, .who = "me", .why = "\"quoted\"" };
	assert_int_equal(dead_letter_edit(bus, "test", SUB, id, &e, NULL, NULL), 0);
}

static void test_there_and_back(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct buf file = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20);
	make_letters(bus, w);
	struct buf before = show_all(bus);
	export(bus, SUB, &file);
	import_ok(bus, SUB, &file, 0, 3); /* they are all here */
	bus_worker_close(&w);
	assert_int_equal(fixture_flush(NULL), 0); /* a disaster */
	w = worker(bus);
	import_ok(bus, SUB, &file, 3, 0);
	import_ok(bus, SUB, &file, 0, 3);
	struct buf after = show_all(bus);
	assert_int_equal(after.size, before.size);
	assert_memory_equal(after.data, before.data, before.size);
	uint64_t n;
	assert_int_equal(
		dead_letter_count_matching(bus, "test", SUB, &(struct dead_letter_filter){ .reason = "timeout", .key = "k\xc3\xa9y" }, &n, NULL), 0);
	assert_int_equal(n, 1);
	/* replayed with the bytes they had; then the file brings nothing back */
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(n, 3);
	bool odd = false;
	for (int i = 0; i < 3; i++) {
		struct bus_message *m = take(w);
		odd = odd || fixture_body_is(m, "\x01\xff\"\\\n");
		fixture_settle(w, m, BUS_DONE, 0);
	}
	assert_true(odd);
	import_ok(bus, SUB, &file, 0, 3);
	assert_int_equal(dead_letter_count(bus, "test", SUB, &n, NULL), 0);
	assert_int_equal(n, 0);
	buf_free(&file);
	buf_free(&second);
	buf_free(&before);
	buf_free(&after);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* One bad line, and nothing of the file is taken. */
static void test_refusals(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct buf file = BUF_INIT(1 << 20);
	struct error err = { 0 };
	uint64_t n, k;
	make_letters(bus, w);
	export(bus, SUB, &file);
	bus_worker_close(&w);
	static const struct {
		const char *from, *to, *words;
	} rows[] = {
		{ "\"weir_dead_letter\":1", "\"weir_dead_letter\":2", "not an exported dead letter" },
		{ "\"chain\":\"test\"", "\"chain\":\"tost\"", "chain" },
		{ "\"subscription\":\"normalizer\"", "\"subscription\":\"mormalizer\"", "subscription" },
		{ "\"topic\":\"raw\"", "\"topic\":\"r w\"", "topic" },
		{ "\"class\":\"low\"", "\"class\":\"lew\"", "class" },
		{ "\"lane\":\"shared\"", "\"lane\":\"shored\"", "lane" },
		{ "\"kind\":\"head\"", "\"kind\":\"hand\"", "kind" },
		{ "\"frame\":\"", "\"frame\":\"?", "base64" },
		{ "{\"weir", "[\"weir", "JSON" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *text = (const char *)file.data, *second = strchr(text, '\n') + 1, *place = strstr(second, rows[i].from);
		struct buf bad = BUF_INIT(1 << 20);
		assert_non_null(place);
		buf_add(&bad, text, (size_t)(place - text));
		buf_add_str(&bad, rows[i].to);
		buf_add_str(&bad, place + strlen(rows[i].from));
		assert_int_equal(fixture_flush(NULL), 0);
		assert_int_equal(import(bus, SUB, &bad, &n, &k, &err), WEIR_INVALID);
		assert_non_null(strstr(err.text, "line 2"));
		assert_non_null(strstr(err.text, rows[i].words));
		assert_int_equal(dead_letter_count(bus, "test", SUB, &n, NULL), 0);
		assert_int_equal(n, 0);
		buf_free(&bad);
	}
	buf_free(&file);
	bus_close(&bus);
}

/* On an ordered lane an imported key is parked as it was, and its letters go in their order, whatever the order of the lines. */
static void test_order(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct buf file = BUF_INIT(1 << 20), turned = BUF_INIT(1 << 20);
	struct error why = { .code = WEIR_TIMEOUT };
	size_t n;
	uint64_t count = 0;
	static const char *const bodies[] = { "1", "2", "3" };
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	for (int i = 0; i < 3; i++)
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", bodies[i]));
	assert_int_equal(bus_owner_read(o, 1, 1000, &m, &n, NULL), 0);
	assert_int_equal(bus_owner_park(o, &m[0], &why, NULL), 0);
	for (int64_t end = clock_mono_ms() + 10000; count < 3; assert_int_equal(dead_letter_count(bus, "test", OWNER_SUB, &count, NULL), 0)) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(bus_owner_read(o, 10, 100, &m, &n, NULL), 0);
	}
	export(bus, OWNER_SUB, &file);
	bus_owner_close(&o);
	assert_int_equal(fixture_flush(NULL), 0);
	/* last line first */
	const char *one = (const char *)file.data, *two = strchr(one, '\n') + 1, *three = strchr(two, '\n') + 1;
	buf_add_str(&turned, three);
	buf_add(&turned, two, (size_t)(three - two));
	buf_add(&turned, one, (size_t)(two - one));
	import_ok(bus, OWNER_SUB, &turned, 3, 0);
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_true(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"k", 1 }));
	char *head = fixture_text("HGET weir:{test}:pkh:" OWNER_SUB " blocks/k");
	assert_non_null(strstr(head, "-1")); /* where the key's order begins, whatever line came first */
	free(head);
	assert_int_equal(dead_letter_replay(bus, "test", OWNER_SUB, NULL, NULL, 0, "me", &count, NULL), 0);
	char seen[8] = "";
	for (int64_t end = clock_mono_ms() + 10000; strlen(seen) < 3;) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(bus_owner_read(o, 10, 100, &m, &n, NULL), 0);
		for (size_t i = 0; i < n; i++) {
			struct bus_message copy = m[i];
			strncat(seen, (const char *)copy.frame.body.data, 1);
			assert_int_equal(bus_owner_resolve(o, &copy, NULL), 0);
		}
	}
	assert_string_equal(seen, "123");
	assert_int_equal(fixture_ask("EXISTS weir:{test}:park:" OWNER_SUB " weir:{test}:pkh:" OWNER_SUB), 0);
	assert_false(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"k", 1 }));
	buf_free(&file);
	buf_free(&turned);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* The owner is at work when the letters come: what is published behind them waits, too, and order holds. */
static void test_import_reaches_the_owner_at_work(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct buf file = BUF_INIT(1 << 20);
	struct error why = { .code = WEIR_TIMEOUT };
	size_t n;
	uint64_t count = 0;
	int r = 0;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "1"));
	assert_int_equal(bus_owner_read(o, 1, 1000, &m, &n, NULL), 0);
	assert_int_equal(bus_owner_park(o, &m[0], &why, NULL), 0);
	assert_int_equal(bus_owner_commit(o, m[0].klass, m[0].generation, m[0].sequence, NULL), 0);
	export(bus, OWNER_SUB, &file);
	assert_int_equal(dead_letter_purge(bus, "test", OWNER_SUB, NULL, NULL, 0, "me", "test", &count, NULL), 0);
	bus_owner_close(&o);
	fixture_ask("DEL weir:{test}:dlqm:" OWNER_SUB); /* as if it came from elsewhere */
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_false(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"k", 1 }));
	import_ok(bus, OWNER_SUB, &file, 1, 0);
	for (int64_t end = clock_mono_ms() + 10000; r != WEIR_FENCED; r = bus_owner_read(o, 10, 50, &m, &n, NULL))
		assert_true(clock_mono_ms() < end);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_true(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"k", 1 }));
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "2"));
	for (int64_t end = clock_mono_ms() + 10000; count != 2; assert_int_equal(dead_letter_count(bus, "test", OWNER_SUB, &count, NULL), 0)) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(bus_owner_read(o, 10, 50, &m, &n, NULL), 0);
		assert_int_equal(n, 0);
	}
	buf_free(&file);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* Keys are any bytes: two that begin alike are not one. */
static void test_keys_are_whole(void **state)
{
	(void)state;
	static const struct bytes keys[] = { { (const uint8_t *)"k\0one", 5 }, { (const uint8_t *)"\0two", 4 } };
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct buf file = BUF_INIT(1 << 20);
	struct error why = { .code = WEIR_TIMEOUT };
	size_t n;
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	for (int i = 0; i < 2; i++) {
		struct frame f = fixture_message(MESSAGE_CHAIN_HEAD, "", "b");
		f.key = keys[i];
		fixture_publish(bus, TOPIC_BLOCKS, f);
		assert_int_equal(bus_owner_read(o, 1, 10000, &m, &n, NULL), 0);
		assert_int_equal(n, 1);
		assert_int_equal(bus_owner_park(o, &m[0], &why, NULL), 0);
	}
	assert_true(bus_owner_parked(o, keys[0]));
	export(bus, OWNER_SUB, &file);
	bus_owner_close(&o);
	assert_int_equal(fixture_flush(NULL), 0);
	import_ok(bus, OWNER_SUB, &file, 2, 0);
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_true(bus_owner_parked(o, keys[0]));
	assert_true(bus_owner_parked(o, keys[1]));
	assert_false(bus_owner_parked(o, (struct bytes){ keys[0].data, 1 }));
	buf_free(&file);
	bus_owner_close(&o);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_there_and_back, fixture_flush),
		cmocka_unit_test_setup(test_refusals, fixture_flush),
		cmocka_unit_test_setup(test_order, fixture_flush),
		cmocka_unit_test_setup(test_import_reaches_the_owner_at_work, fixture_flush),
		cmocka_unit_test_setup(test_keys_are_whole, fixture_flush),
	};
	return fixture_run(tests);
}

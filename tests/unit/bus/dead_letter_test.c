/* dead_letter_test.c - the dead-letter queue as an operator uses it: list, filter, show, replay, purge, and what a letter tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "bus/letter_tail.h"

#include "weir/v1/dead_letter.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUB "normalizer"

static const struct retry_policy policy = { .growth = RETRY_EXPONENTIAL, .jitter = 1, .attempts = 3, .base_ms = 1, .max_ms = 2 };

static struct bus_worker *worker(struct bus *bus)
{
	struct bus_worker *w;
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_RAW, SUB, &policy, &w, NULL), 0);
	return w;
}

static size_t take(struct bus_worker *w, struct bus_message **m)
{
	size_t n;
	assert_int_equal(bus_worker_read(w, 10, 3000, m, &n, NULL), 0);
	return n;
}

/* n letters: keys k0, k1, …; the odd ones are backfill, every third is INVALID, the others MISMATCH. */
static void make_letters(struct bus *bus, struct bus_worker *w, int n)
{
	for (int i = 0; i < n; i++) {
		char key[16];
		struct bus_message *m;
		snprintf(key, sizeof key, "k%d", i);
		fixture_publish(bus, TOPIC_RAW, fixture_message(i % 2 ? MESSAGE_RAW_BLOCK_BACKFILL : MESSAGE_RAW_BLOCK_TIP, key, key));
		assert_int_equal(take(w, &m), 1);
		fixture_settle(w, &m[0], BUS_REJECT, i % 3 ? WEIR_MISMATCH : WEIR_INVALID);
	}
}

struct seen {
	char ids[200][48];
	size_t count, stop_after;
	Weir__V1__DeadLetter *last;
};

static bool see(const char *id, struct bytes body, void *arg)
{
	struct seen *s = arg;
	assert_true(s->count < 200);
	snprintf(s->ids[s->count++], sizeof s->ids[0], "%s", id);
	if (s->last)
		weir__v1__dead_letter__free_unpacked(s->last, NULL);
	s->last = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	assert_non_null(s->last);
	return s->stop_after == 0 || s->count < s->stop_after;
}

static void forget(struct seen *s)
{
	if (s->last)
		weir__v1__dead_letter__free_unpacked(s->last, NULL);
	memset(s, 0, sizeof *s);
}

static size_t count_of(struct bus *bus, const struct dead_letter_filter *f, const char *cursor, size_t limit, struct seen *s)
{
	forget(s);
	assert_int_equal(dead_letter_list(bus, "test", SUB, f, cursor, limit, see, s, NULL), 0);
	return s->count;
}

static void test_list(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	static struct seen s, all;
	make_letters(bus, w, 150);
	assert_int_equal(count_of(bus, NULL, NULL, 0, &all), 150);
	assert_int_equal(count_of(bus, NULL, NULL, 10, &s), 10);
	assert_int_equal(count_of(bus, NULL, all.ids[9], 0, &s), 140);
	assert_string_equal(s.ids[0], all.ids[10]);
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .type = "raw_block_tip" }, NULL, 0, &s), 75);
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .reason = "invalid" }, NULL, 0, &s), 50);
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .type = "raw_block_tip", .reason = "invalid" }, NULL, 0, &s), 25);
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .key = "k7" }, NULL, 0, &s), 1);
	assert_string_equal(s.last->key, "k7");
	forget(&s);
	s.stop_after = 3;
	assert_int_equal(dead_letter_list(bus, "test", SUB, NULL, NULL, 0, see, &s, NULL), 0);
	assert_int_equal(s.count, 3);
	assert_int_equal(dead_letter_list(bus, "test", SUB, NULL, "not an id", 0, see, &s, NULL), WEIR_INVALID);
	assert_int_equal(dead_letter_show(bus, "test", SUB, "1-1", see, &s, NULL), WEIR_NOT_FOUND);
	assert_int_equal(dead_letter_show(bus, "test", SUB, "; drop", see, &s, NULL), WEIR_INVALID);
	forget(&s);
	forget(&all);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* By the class of the newest error; what only waits has none, and a code of a build to come is permanent. */
static void test_error_classes(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_owner *o;
	struct bus_message *m;
	struct error why = { 0 };
	uint64_t n;
	size_t got;
	static const int codes[] = { WEIR_INVALID, WEIR_CONFLICT, WEIR_TIMEOUT, WEIR_FULL, WEIR_CRASH, WEIR_CONFLICT };
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, SUB, 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, i == 5 ? "k0" : (const char *[]){ "k0", "k1", "k2", "k3", "k4" }[i], "x"));
	assert_int_equal(bus_owner_read(o, 10, 20000, &m, &got, NULL), 0);
	assert_int_equal(got, 6);
	for (size_t i = 0; i < got; i++) {
		error_set(&why, codes[i], "told to");
		assert_int_equal(bus_owner_park(o, &m[i], &why, NULL), 0); /* the last one follows the first */
	}
	const struct {
		struct dead_letter_filter filter;
		size_t expected;
	} rows[] = {
		{ { .error_class = "permanent" }, 1 },
		{ { .error_class = "transient" }, 1 },
		{ { .error_class = "dependency" }, 2 },
		{ { .error_class = "crash" }, 1 },
		{ { .error_class = "dependency", .reason = "timeout" }, 1 },
		{ { .error_class = "permanent", .reason = "timeout" }, 0 },
		{ { .error_class = "dependency", .key = "k3", .type = "chain_head", .kind = "head" }, 1 },
		{ { .error_class = "dependency", .key = "k4" }, 0 },
		{ { .error_class = "none of these" }, 0 },
		{ { .error_class = "" }, 0 },
		{ { .reason = "time" }, 0 },
	};
	static struct seen s;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (count_of(bus, &rows[i].filter, NULL, 0, &s) != rows[i].expected)
			fail_msg("row %zu: %zu", i, s.count);
		assert_int_equal(dead_letter_count_matching(bus, "test", SUB, &rows[i].filter, &n, NULL), 0);
		assert_int_equal(n, rows[i].expected);
	}
	const struct dead_letter_order order = { .filter = { .error_class = "dependency" }, .rate = 1, .who = "ann" };
	struct dead_letter_job job;
	assert_int_equal(dead_letter_job_dry_run(bus, "test", SUB, &order, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(dead_letter_job_start(bus, "test", SUB, &order, &job, NULL), 0);
	assert_int_equal(job.total, 2);
	assert_string_equal(job.error_class, "dependency");
	assert_string_equal(job.reason, "");
	assert_int_equal(dead_letter_job_control(bus, "test", job.id, DEAD_LETTER_JOB_CANCEL, "ann", "", &job, NULL), 0);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, &rows[3].filter, NULL, 0, "ann", "no", &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(count_of(bus, NULL, NULL, 0, &s), 5);
	/* A letter of a newer build's code, as an import may bring it. */
	static const char combination[] = "head\0chain_head\0not_yet_known", member[] = "head\0chain_head\0not_yet_known\0" "00000000000001-000001";
	fixture_ask("HSET weir:{test}:dlqn:" SUB " %b 1", combination, sizeof combination - 1);
	fixture_ask("ZADD weir:{test}:dlqt:" SUB " 0 %b", member, sizeof member - 1);
	assert_int_equal(dead_letter_count_matching(bus, "test", SUB, &rows[0].filter, &n, NULL), 0);
	assert_int_equal(n, 2);
	forget(&s);
	bus_owner_close(&o);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Filters, alone and together, find what a look at every letter finds; pages of any size tell all of it once and in order. */
static void test_filters_and_pages(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	static struct seen s, all;
	make_letters(bus, w, 60);
	assert_int_equal(count_of(bus, NULL, NULL, 0, &all), 60);
	int64_t middle = strtoll(all.ids[30], NULL, 10);
	const struct {
		struct dead_letter_filter filter;
		size_t expected;
	} rows[] = {
		{ { .kind = "head" }, 60 },
		{ { .kind = "follower" }, 0 },
		{ { .type = "raw_block_tip", .reason = "mismatch", .kind = "head" }, 20 },
		{ { .key = "k6", .type = "raw_block_tip" }, 1 },
		{ { .key = "k6", .type = "raw_block_backfill" }, 0 },
		{ { .key = "k" }, 0 }, /* a key's beginning is another key */
		{ { .to_ms = 1 }, 0 },
		{ { .from_ms = middle, .to_ms = middle - 1 }, 0 },
		{ { .type = "none" }, 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t n;
		assert_int_equal(count_of(bus, &rows[i].filter, NULL, 0, &s), rows[i].expected);
		assert_int_equal(dead_letter_count_matching(bus, "test", SUB, &rows[i].filter, &n, NULL), 0);
		assert_int_equal(n, rows[i].expected);
	}
	size_t later = count_of(bus, &(struct dead_letter_filter){ .from_ms = middle }, NULL, 0, &s);
	assert_in_range(later, 30, 60);
	size_t earlier = count_of(bus, &(struct dead_letter_filter){ .to_ms = middle - 1 }, NULL, 0, &s);
	assert_int_equal(earlier + later, 60);
	for (size_t size = 1; size < 20; size += 6) {
		char cursor[48] = "";
		for (size_t at = 0; at < 60; at += s.count) {
			assert_in_range(count_of(bus, NULL, cursor, size, &s), 1, size);
			for (size_t i = 0; i < s.count; i++)
				assert_string_equal(s.ids[i], all.ids[at + i]);
			snprintf(cursor, sizeof cursor, "%s", s.ids[s.count - 1]);
		}
		assert_int_equal(count_of(bus, NULL, cursor, size, &s), 0);
	}
	forget(&s);
	forget(&all);
	bus_worker_close(&w);
	bus_close(&bus);
}

struct tally {
	char text[400];
	uint64_t sum;
};

static void add_count(const char *kind, const char *type, const char *reason, uint64_t count, void *arg)
{
	struct tally *t = arg;
	size_t used = strlen(t->text);
	t->sum += count;
	snprintf(t->text + used, sizeof t->text - used, "%s %s %s %llu\n", kind, type, reason, (unsigned long long)count);
}

static void test_counts_follow_what_happens(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	struct tally t = { 0 };
	static struct seen s;
	uint64_t n;
	make_letters(bus, w, 9);
	assert_int_equal(dead_letter_counts(bus, "test", SUB, add_count, &t, NULL), 0);
	assert_int_equal(t.sum, 9);
	assert_non_null(strstr(t.text, "head raw_block_tip invalid 2\n"));
	assert_non_null(strstr(t.text, "head raw_block_tip mismatch 3\n"));
	assert_non_null(strstr(t.text, "head raw_block_backfill invalid 1\n"));
	assert_non_null(strstr(t.text, "head raw_block_backfill mismatch 3\n"));
	/* one that fails again for another reason is found under that one */
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .reason = "invalid", .type = "raw_block_backfill" }, NULL, 0, &s), 1);
	const char *one[] = { s.ids[0] };
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, one, 1, "me", &n, NULL), 0);
	assert_int_equal(take(w, &m), 1);
	fixture_settle(w, &m[0], BUS_REJECT, WEIR_TIMEOUT);
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .reason = "timeout" }, NULL, 0, &s), 1);
	assert_int_equal(count_of(bus, &(struct dead_letter_filter){ .reason = "invalid" }, NULL, 0, &s), 2);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, NULL, 0, "me", "all", &n, NULL), 0);
	assert_int_equal(n, 9);
	t = (struct tally){ 0 };
	assert_int_equal(dead_letter_counts(bus, "test", SUB, add_count, &t, NULL), 0);
	assert_string_equal(t.text, "");
	/* nothing of them is left behind */
	assert_int_equal(fixture_ask("EXISTS weir:{test}:dlqt:" SUB " weir:{test}:dlqk:" SUB ":k1 weir:{test}:dlqn:" SUB " weir:{test}:dlqf:" SUB
				     " weir:{test}:dlqr:" SUB " weir:{test}:dlqi:" SUB),
			 0);
	forget(&s);
	bus_worker_close(&w);
	bus_close(&bus);
}

struct told {
	char lines[12][120];
	uint64_t places[12];
	size_t count;
};

static void on_told(const struct letter_news *n, void *arg)
{
	struct told *t = arg;
	assert_true(t->count < 12);
	assert_true(n->at_ms > 0);
	t->places[t->count] = n->place;
	snprintf(t->lines[t->count++], sizeof t->lines[0], "%s %s %s %s %s %s", n->what, n->subscription, n->kind, n->type, n->reason, n->key);
}

/* Everything that becomes of letters can be read from any place on, also of those that are gone; and it is said when it cannot. */
static void test_what_became_of_letters(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	static struct told all, some;
	struct error err;
	static struct seen s;
	uint64_t n, end;
	all = (struct told){ 0 };
	assert_int_equal(letter_tail_end(bus, "test", &end, NULL), 0);
	assert_int_equal(end, 0);
	assert_int_equal(letter_tail_list(bus, "test", 0, 10, on_told, &all, NULL), 0);
	make_letters(bus, w, 3);
	assert_int_equal(count_of(bus, NULL, NULL, 0, &s), 3);
	const char *one[] = { s.ids[0] }, *other[] = { s.ids[1] };
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, one, 1, "me", &n, NULL), 0);
	assert_int_equal(take(w, &m), 1);
	fixture_settle(w, &m[0], BUS_REJECT, WEIR_TIMEOUT);
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, one, 1, "me", &n, NULL), 0);
	assert_int_equal(take(w, &m), 1);
	fixture_settle(w, &m[0], BUS_DONE, 0);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, other, 1, "me", "no use", &n, NULL), 0);
	static const char *const expected[] = { "parked " SUB " head raw_block_tip invalid k0", "parked " SUB " head raw_block_backfill mismatch k1",
						"parked " SUB " head raw_block_tip mismatch k2", "failed " SUB " head raw_block_tip timeout k0",
						"ok " SUB " head raw_block_tip timeout k0", "gone " SUB " head raw_block_backfill mismatch k1" };
	assert_int_equal(letter_tail_list(bus, "test", 0, 10, on_told, &all, NULL), 0);
	assert_int_equal(all.count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(all.lines[i], expected[i]);
	assert_int_equal(letter_tail_end(bus, "test", &end, NULL), 0);
	assert_int_equal(end, all.places[5]);
	some = (struct told){ 0 };
	assert_int_equal(letter_tail_list(bus, "test", all.places[1], 2, on_told, &some, NULL), 0);
	assert_int_equal(some.count, 2);
	assert_string_equal(some.lines[1], expected[3]);
	fixture_ask("XADD weir:{test}:dlqe * somebody's words"); /* are passed over */
	assert_int_equal(letter_tail_list(bus, "test", end, 10, on_told, &some, NULL), 0);
	assert_int_equal(some.count, 2);
	/* without the first three: who stood at the third cannot go on, nor who begins at the first */
	fixture_ask("XTRIM weir:{test}:dlqe MAXLEN 4");
	assert_int_equal(letter_tail_list(bus, "test", all.places[3], 10, on_told, &some, NULL), 0);
	assert_int_equal(some.count, 4);
	assert_int_equal(letter_tail_list(bus, "test", all.places[2], 10, on_told, &some, &err), WEIR_NOT_FOUND);
	assert_int_equal(letter_tail_list(bus, "test", 0, 10, on_told, &some, &err), WEIR_NOT_FOUND);
	assert_int_equal(letter_tail_list(bus, "test", end + 2, 10, on_told, &some, &err), WEIR_NOT_FOUND);
	assert_int_equal(some.count, 4);
	forget(&s);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A letter tells each failure, by whom and why, also those of replays, and holds the frame as it was. */
static void test_letter_tells_all_attempts(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	static struct seen s;
	uint64_t n;
	static const int why[] = { WEIR_TIMEOUT, WEIR_UNAVAILABLE, WEIR_RATE_LIMITED, WEIR_INVALID };
	fixture_publish(bus, TOPIC_RAW, fixture_message(MESSAGE_RAW_BLOCK_TIP, "7", "body"));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(take(w, &m), 1);
		fixture_settle(w, &m[0], BUS_RETRY, why[i]);
	}
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(take(w, &m), 1);
	fixture_settle(w, &m[0], BUS_REJECT, why[3]);
	assert_int_equal(count_of(bus, NULL, NULL, 0, &s), 1);
	assert_int_equal(s.last->n_attempts, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(s.last->attempts[i]->error_code, error_name(why[i]));
		assert_string_equal(s.last->attempts[i]->worker, "w");
		assert_non_null(strstr(s.last->attempts[i]->error, "because of"));
	}
	assert_int_equal(s.last->replays, 1);
	assert_string_equal(s.last->key, "7");
	assert_string_equal(s.last->type, "raw_block_tip");
	assert_string_equal(s.last->stream, "weir:{test}:raw:high");
	assert_int_equal(s.last->frame.len, 0); /* lists leave it out */
	size_t size = s.last->frame_bytes;
	char id[48];
	snprintf(id, sizeof id, "%s", s.ids[0]);
	forget(&s);
	assert_int_equal(dead_letter_show(bus, "test", SUB, id, see, &s, NULL), 0);
	assert_int_equal(s.last->frame.len, size);
	struct frame f;
	assert_int_equal(frame_read((struct bytes){ s.last->frame.data, s.last->frame.len }, &f, NULL), 0);
	assert_memory_equal(f.body.data, "body", 4);
	assert_int_equal(take(w, &m), 0); /* it stays a dead letter until somebody asks again */
	forget(&s);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_replay_and_purge_some(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	static struct seen s;
	uint64_t n;
	make_letters(bus, w, 10);
	assert_int_equal(count_of(bus, NULL, NULL, 0, &s), 10);
	const char *two[] = { s.ids[3], s.ids[4] };
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, two, 2, "me", &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, two, 2, "me", &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(take(w, &m), 2);
	assert_true(m[0].replay && m[1].replay);
	struct bus_message second = m[1];
	fixture_settle(w, &m[0], BUS_DONE, 0);
	struct error err;
	static const char *const no_reasons[] = { NULL, "" };
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, two, 2, "me", no_reasons[i], &n, &err), WEIR_INVALID);
		assert_non_null(strstr(err.text, "to purge dead letters takes a reason"));
		assert_int_equal(n, 0);
	}
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, two, 2, "me", "wrong", &n, NULL), 0);
	assert_int_equal(n, 1); /* the other one, while it is being replayed */
	fixture_settle(w, &second, BUS_DONE, 0);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, &(struct dead_letter_filter){ .reason = "invalid" }, NULL, 0, "me", "known", &n, NULL),
			 0);
	assert_int_equal(n, 3);
	assert_int_equal(dead_letter_count(bus, "test", SUB, &n, NULL), 0);
	assert_int_equal(n, 5);
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 4);
	assert_int_equal(fixture_ask("HLEN weir:{test}:dlqi:" SUB), 5);
	const char *bad[] = { "x" };
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, bad, 1, "me", "x", &n, NULL), WEIR_INVALID);
	forget(&s);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* Taken for replay by a worker that is closed: the next one gets it. */
static void test_replay_survives_the_worker(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct bus_message *m;
	uint64_t n;
	make_letters(bus, w, 1);
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(take(w, &m), 1);
	fixture_settle(w, &m[0], BUS_RETRY, WEIR_TIMEOUT);
	bus_worker_close(&w);
	w = worker(bus);
	assert_int_equal(take(w, &m), 1);
	assert_true(m[0].replay);
	fixture_settle(w, &m[0], BUS_DONE, 0);
	assert_int_equal(dead_letter_count(bus, "test", SUB, &n, NULL), 0);
	assert_int_equal(n, 0);
	bus_worker_close(&w);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_list, fixture_flush),
		cmocka_unit_test_setup(test_error_classes, fixture_flush),
		cmocka_unit_test_setup(test_filters_and_pages, fixture_flush),
		cmocka_unit_test_setup(test_counts_follow_what_happens, fixture_flush),
		cmocka_unit_test_setup(test_what_became_of_letters, fixture_flush),
		fixture_threads(test_letter_tells_all_attempts, fixture_flush, NULL, "MassTransit#4458"),
		cmocka_unit_test_setup(test_replay_and_purge_some, fixture_flush),
		cmocka_unit_test_setup(test_replay_survives_the_worker, fixture_flush),
	};
	return fixture_run(tests);
}

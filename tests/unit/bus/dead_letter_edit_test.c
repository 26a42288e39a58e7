/* dead_letter_edit_test.c - changing a dead letter's body and skipping a key's head: what is kept, what is refused, and the order after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "base/clock.h"
#include "weir/v1/dead_letter.pb-c.h"
#include "wire/digest.h"

#include <stdio.h>
#include <string.h>

#define SUB "normalizer"
#define OWNER_SUB "reconciler"

struct letter {
	char id[48];
	Weir__V1__DeadLetter *body;
};

static bool keep(const char *id, struct bytes body, void *arg)
{
	struct letter *l = arg;
	if (id != l->id)
		snprintf(l->id, sizeof l->id, "%s", id);
	if (l->body)
		weir__v1__dead_letter__free_unpacked(l->body, NULL);
	l->body = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	assert_non_null(l->body);
	return true;
}

static void forget(struct letter *l)
{
	if (l->body)
		weir__v1__dead_letter__free_unpacked(l->body, NULL);
	l->body = NULL;
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

static void make_letter(struct bus *bus, struct bus_worker *w, struct letter *ret)
{
	fixture_publish(bus, TOPIC_RAW, fixture_message(MESSAGE_RAW_BLOCK_TIP, "7", "bad body"));
	fixture_settle(w, take(w), BUS_REJECT, WEIR_INVALID);
	assert_int_equal(dead_letter_list(bus, "test", SUB, NULL, NULL, 0, keep, ret, NULL), 0);
	assert_int_equal(dead_letter_show(bus, "test", SUB, ret->id, keep, ret, NULL), 0);
}

static int only_good(uint16_t type, uint16_t version, struct bytes body, void *arg, struct error *err)
{
	++*(int *)arg;
	assert_int_equal(type, MESSAGE_RAW_BLOCK_TIP);
	assert_int_equal(version, 1);
	return body.size >= 4 && memcmp(body.data, "good", 4) == 0 ? 0 : error_set(err, WEIR_INVALID, "not good");
}

static int edit(struct bus *bus, const char *id, const char *body, const char *expect, int *checks, char *sha)
{
	struct dead_letter_edit e = { .body = { (const uint8_t *)body, strlen(body) },
				      .expect_sha256 = expect,
				      .who = "me",
				      .why = "known bug",
				      .check = only_good,
				      .arg = checks };
	return dead_letter_edit(bus, "test", SUB, id, &e, sha, NULL);
}

static void test_edit(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct letter l = { 0 }, edited = { 0 };
	char before[SHA256_TEXT], sha[SHA256_TEXT], again[SHA256_TEXT] = "another";
	int checks = 0;
	uint64_t n;
	make_letter(bus, w, &l);
	sha256_text(l.body->frame.data, l.body->frame.len, before);
	assert_int_equal(edit(bus, l.id, "evil", NULL, &checks, sha), WEIR_INVALID);
	assert_int_equal(edit(bus, l.id, "good one", again, &checks, sha), WEIR_CONFLICT);
	assert_int_equal(edit(bus, "1-1", "good one", NULL, &checks, sha), WEIR_NOT_FOUND);
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 0); /* what was refused did nothing */
	assert_int_equal(edit(bus, l.id, "good one", before, &checks, sha), 0);
	assert_int_equal(edit(bus, l.id, "good two, longer", sha, &checks, again), 0);
	assert_int_equal(edit(bus, l.id, "good three", before, &checks, sha), WEIR_CONFLICT); /* it looked at an older one */
	assert_int_equal(checks, 3);
	assert_int_equal(dead_letter_show(bus, "test", SUB, l.id, keep, &edited, NULL), 0);
	assert_int_equal(edited.body->n_edits, 2);
	assert_string_equal(edited.body->edits[0]->who, "me");
	assert_string_equal(edited.body->edits[0]->why, "known bug");
	assert_string_equal(edited.body->edits[0]->before_sha256, before);
	assert_string_equal(edited.body->edits[1]->after_sha256, again);
	assert_true(edited.body->edits[0]->at_unix_ms > 0);
	assert_int_equal(edited.body->original_frame.len, l.body->frame.len); /* the first, not the one between */
	assert_memory_equal(edited.body->original_frame.data, l.body->frame.data, l.body->frame.len);
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 2);
	/* the replay gets the new body under the old event id and key */
	struct frame old;
	assert_int_equal(frame_read((struct bytes){ l.body->frame.data, l.body->frame.len }, &old, NULL), 0);
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	struct bus_message *m = take(w);
	assert_true(fixture_body_is(m, "good two, longer"));
	assert_memory_equal(m->frame.event_id, old.event_id, sizeof old.event_id);
	assert_memory_equal(m->frame.key.data, "7", 1);
	assert_int_equal(edit(bus, l.id, "good four", NULL, &checks, sha), WEIR_CONFLICT); /* it is in a handler's hands */
	fixture_settle(w, m, BUS_DONE, 0);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:dlqf:" SUB), 0);
	forget(&l);
	forget(&edited);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* While one operator's edit is being checked another's goes through: the first is told, and does not undo it. */
static int edit_first(uint16_t type, uint16_t version, struct bytes body, void *arg, struct error *err)
{
	(void)type;
	(void)version;
	(void)body;
	(void)err;
	struct bus *bus = fixture_bus("other");
	int checks = 0;
	assert_int_equal(edit(bus, arg, "good, and first", NULL, &checks, NULL), 0);
	bus_close(&bus);
	return 0;
}

static void test_edit_too_large(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct letter l = { 0 };
	struct error err = { 0 };
	make_letter(bus, w, &l);
	const struct dead_letter_edit e = { .body = { xcalloc(1, FRAME_BODY_MAX + 1), FRAME_BODY_MAX + 1 }, .who = "me", .why = "large" };
	assert_int_equal(dead_letter_edit(bus, "test", SUB, l.id, &e, NULL, &err), WEIR_LIMIT);
	free((void *)(uintptr_t)e.body.data);
	struct letter now = { 0 };
	assert_int_equal(dead_letter_show(bus, "test", SUB, l.id, keep, &now, NULL), 0);
	assert_int_equal(now.body->n_edits, 0);
	assert_int_equal(now.body->frame.len, l.body->frame.len);
	forget(&now);
	forget(&l);
	bus_worker_close(&w);
	bus_close(&bus);
}

static void test_two_edits_at_once(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct letter l = { 0 };
	make_letter(bus, w, &l);
	struct dead_letter_edit e = { .body = { (const uint8_t *)"second", 6 }, .who = "me", .why = "why", .check = edit_first, .arg = l.id };
	assert_int_equal(dead_letter_edit(bus, "test", SUB, l.id, &e, NULL, NULL), WEIR_CONFLICT);
	assert_int_equal(dead_letter_show(bus, "test", SUB, l.id, keep, &l, NULL), 0);
	assert_int_equal(l.body->n_edits, 1);
	forget(&l);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- skipping ---------------------------------------------------------------------------------------------------------------- */

struct lane {
	struct bus *bus;
	struct bus_owner *o;
	char seen[16];
};

static void own(struct lane *l, const char *fails)
{
	struct bus_message *m;
	size_t n;
	assert_int_equal(bus_owner_read(l->o, 1, 300, &m, &n, NULL), 0);
	if (n == 0)
		return;
	struct bus_message copy = m[0];
	struct error why = { .code = WEIR_TIMEOUT };
	if (fails && strchr(fails, copy.frame.body.data[0])) {
		assert_int_equal(bus_owner_park(l->o, &copy, &why, NULL), 0);
		return;
	}
	strncat(l->seen, (const char *)copy.frame.body.data, 1);
	if (copy.replay)
		assert_int_equal(bus_owner_resolve(l->o, &copy, NULL), 0);
}

static void own_until(struct lane *l, const char *fails, const char *seen)
{
	int64_t end = clock_mono_ms() + 10000;
	while (strcmp(l->seen, seen) != 0) {
		if (clock_mono_ms() > end)
			fail_msg("handled %s, not %s", l->seen, seen);
		own(l, fails);
	}
}

static uint64_t letters(struct bus *bus, const struct dead_letter_filter *f)
{
	uint64_t n;
	assert_int_equal(dead_letter_count_matching(bus, "test", OWNER_SUB, f, &n, NULL), 0);
	return n;
}

struct ids {
	char ids[8][48];
	size_t n;
};

static bool add_id(const char *id, struct bytes body, void *arg)
{
	(void)body;
	struct ids *list = arg;
	snprintf(list->ids[list->n++], 48, "%s", id);
	return true;
}

static void lane_open(struct lane *l)
{
	*l = (struct lane){ .bus = fixture_bus("w") };
	assert_int_equal(bus_owner_open(l->bus, "test", TOPIC_BLOCKS, OWNER_SUB, 60000, &l->o, NULL), 0);
	assert_int_equal(bus_owner_acquire(l->o, NULL), 0);
}

/* A head with two behind it is skipped: these are handled, and what comes later, too; the letter stays, and goes when it is replayed. */
static void test_skip(void **state)
{
	(void)state;
	struct lane l;
	struct ids ids = { 0 };
	lane_open(&l);
	static const char *const bodies[] = { "1", "2", "3" };
	for (int i = 0; i < 3; i++)
		fixture_publish(l.bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", bodies[i]));
	while (letters(l.bus, NULL) < 3)
		own(&l, "1");
	assert_int_equal(dead_letter_list(l.bus, "test", OWNER_SUB, NULL, NULL, 0, add_id, &ids, NULL), 0);
	assert_int_equal(dead_letter_skip(l.bus, "test", OWNER_SUB, ids.ids[1], "me", "why", NULL), WEIR_CONFLICT);
	assert_int_equal(dead_letter_skip(l.bus, "test", OWNER_SUB, "1-1", "me", "why", NULL), WEIR_NOT_FOUND);
	assert_int_equal(dead_letter_skip(l.bus, "test", OWNER_SUB, "1", "me", "why", NULL), WEIR_INVALID);
	struct error err;
	static const char *const no_reasons[] = { NULL, "" };
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(dead_letter_skip(l.bus, "test", OWNER_SUB, ids.ids[0], "me", no_reasons[i], &err), WEIR_INVALID);
		assert_non_null(strstr(err.text, "to skip dead letters takes a reason"));
	}
	assert_int_equal(letters(l.bus, &(struct dead_letter_filter){ .kind = "follower" }), 2);
	assert_int_equal(dead_letter_skip(l.bus, "test", OWNER_SUB, ids.ids[0], "me", "it will never be", NULL), 0);
	assert_int_equal(dead_letter_skip(l.bus, "test", OWNER_SUB, ids.ids[0], "me", "it will never be", NULL), 0); /* a repeated call */
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 1);
	own_until(&l, "1", "23");
	fixture_publish(l.bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "4"));
	own_until(&l, "1", "234");
	assert_int_equal(letters(l.bus, NULL), 1);
	assert_int_equal(letters(l.bus, &(struct dead_letter_filter){ .kind = "skipped", .key = "k", .reason = "timeout" }), 1);
	/* a new owner does not handle it as if it had come now */
	bus_owner_close(&l.o);
	bus_close(&l.bus);
	char seen[16];
	snprintf(seen, sizeof seen, "%s", l.seen);
	lane_open(&l);
	for (int i = 0; i < 3; i++)
		own(&l, "x");
	assert_null(strchr(l.seen, '1'));
	/* tried in vain it stays as it is, and the key is not parked */
	uint64_t n;
	assert_int_equal(dead_letter_replay(l.bus, "test", OWNER_SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	assert_int_equal(n, 1);
	int64_t end = clock_mono_ms() + 10000;
	while (letters(l.bus, &(struct dead_letter_filter){ .kind = "skipped", .reason = "timeout" }) &&
	       fixture_ask("HEXISTS weir:{test}:dlqr:" OWNER_SUB " %s/n", ids.ids[0]) == 0) {
		assert_true(clock_mono_ms() < end);
		own(&l, "1");
	}
	l.seen[0] = 0;
	fixture_publish(l.bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "5"));
	own_until(&l, "1", "5");
	assert_int_equal(dead_letter_replay(l.bus, "test", OWNER_SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	own_until(&l, NULL, "51");
	assert_int_equal(letters(l.bus, NULL), 0);
	bus_owner_close(&l.o);
	bus_close(&l.bus);
}

static void test_skip_needs_followers_lane(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_worker *w = worker(bus);
	struct letter l = { 0 };
	make_letter(bus, w, &l);
	assert_int_equal(dead_letter_skip(bus, "test", SUB, l.id, "me", "why", NULL), WEIR_UNSUPPORTED);
	forget(&l);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* A frame that nobody can read fails its replay at once, instead of coming back for ever. */
static void test_unreadable_is_put_back(void **state)
{
	(void)state;
	struct lane l;
	struct ids ids = { 0 };
	lane_open(&l);
	fixture_publish(l.bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "1"));
	fixture_ask("XTRIM weir:{test}:blocks:normal MAXLEN 0");
	char *gen = fixture_text("HGET weir:{test}:blocks:meta gen");
	fixture_ask("XADD weir:{test}:blocks:normal %s-9 d rubbish", gen);
	free(gen);
	while (letters(l.bus, NULL) < 1)
		own(&l, NULL);
	struct dead_letter_order order = { .who = "me" };
	struct dead_letter_job job;
	assert_int_equal(dead_letter_job_start(l.bus, "test", OWNER_SUB, &order, &job, NULL), 0);
	int64_t end = clock_mono_ms() + 10000;
	for (; job.failed == 0; assert_int_equal(dead_letter_job_show(l.bus, "test", job.id, &job, NULL), 0)) {
		assert_true(clock_mono_ms() < end);
		own(&l, NULL);
	}
	assert_int_equal(job.out, 0);
	assert_int_equal(dead_letter_list(l.bus, "test", OWNER_SUB, NULL, NULL, 0, add_id, &ids, NULL), 0);
	assert_int_equal(ids.n, 1);
	bus_owner_close(&l.o);
	bus_close(&l.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_edit, fixture_flush),
		cmocka_unit_test_setup(test_edit_too_large, fixture_flush),
		cmocka_unit_test_setup(test_two_edits_at_once, fixture_flush),
		cmocka_unit_test_setup(test_skip, fixture_flush),
		cmocka_unit_test_setup(test_skip_needs_followers_lane, fixture_flush),
		cmocka_unit_test_setup(test_unreadable_is_put_back, fixture_flush),
	};
	return fixture_run(tests);
}

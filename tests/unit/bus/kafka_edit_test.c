/* kafka_edit_test.c - dead letters over Kafka that are edited or skipped: the operator asks, the partition's owner decides. Against librdkafka's mock cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/kafka_fixture.h"
#include "weir/v1/dead_letter.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 60000

static const uint16_t commands[] = { MESSAGE_COMMAND };

/* Fails what begins with '!', on a thread of its own: operators wait for its owner. */
struct changing {
	char seen[32];
	atomic_uint calls;
	atomic_bool held; /* the handler waits */
};

static int handle_changing(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct changing *c = arg;
	c->calls++;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; c->held && clock_mono_ms() < deadline;)
		clock_sleep_ms(1);
	if (d->body.data[0] == '!')
		return error_set(err, WEIR_INVALID, "told to fail");
	if (strlen(c->seen) + 1 < sizeof c->seen)
		strncat(c->seen, (const char *)d->body.data, 1);
	return 0;
}

static void start_changing(struct bus *bus, const struct bus_handler *h, enum bus_order order, struct bus_subscription **ret)
{
	static const struct retry_rule once[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 1, .base_ms = 1, .max_ms = 1 } } };
	struct error err = { 0 };
	struct bus_subscription_options o = { .chain = "c", .topic = "change", .subscription = "s", .order = order, .handlers = h, .handler_count = 1,
					      .retries = once, .retry_count = 1, .no_storm_guard = true };
	if (bus_subscription_open(bus, &o, ret, &err) != 0 || bus_subscription_start(*ret, 1000, &err) != 0)
		fail_msg("%s", err.text);
}

static uint64_t letters_of(struct bus *bus, const char *kind)
{
	struct dead_letter_filter f = { .kind = kind };
	struct error err = { 0 };
	uint64_t n;
	if (dead_letter_count_matching(bus, "c", "s", &f, &n, &err) != 0)
		fail_msg("%s", err.text);
	return n;
}

#define wait_until(condition)                                                                                                              \
	do {                                                                                                                               \
		for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; !(condition); clock_sleep_ms(10))                                   \
			if (clock_mono_ms() > deadline)                                                                                    \
				fail_msg("not in time: %s", #condition);                                                                   \
	} while (0)

static void publish_bodies(struct bus_publisher *p, const char *const *bodies, size_t n)
{
	struct error err = { 0 };
	for (size_t i = 0; i < n; i++) {
		struct frame f = fixture_message(MESSAGE_COMMAND, "k", bodies[i]);
		if (bus_publish(p, &f, 1, &err) != 0)
			fail_msg("%s", err.text);
	}
}

static int only_good(uint16_t type, uint16_t version, struct bytes body, void *arg, struct error *err)
{
	(void)arg;
	(void)version;
	assert_int_equal(type, MESSAGE_COMMAND);
	return body.data[0] == 'g' ? 0 : error_set(err, WEIR_INVALID, "not good");
}

static int edit(struct bus *bus, const char *id, const char *body, const char *expect, char *sha, struct error *err)
{
	const struct dead_letter_edit e = { .body = kafka_fixture_bytes(body), .expect_sha256 = expect, .who = "me", .why = "known bug", .check = only_good };
	return dead_letter_edit(bus, "c", "s", id, &e, sha, err);
}

struct shown {
	char id[48];
	Weir__V1__DeadLetter *letter;
};

static bool show(const char *id, struct bytes body, void *arg)
{
	struct shown *s = arg;
	if (id != s->id)
		snprintf(s->id, sizeof s->id, "%s", id);
	if (s->letter)
		weir__v1__dead_letter__free_unpacked(s->letter, NULL);
	s->letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	assert_non_null(s->letter);
	return false;
}

/* What is tried is the new body; what was first there is kept, and who changed it, and why. */
static void a_letter_is_edited_by_its_owner(void **state)
{
	(void)state;
	static struct changing c;
	const struct bus_handler h = { "h", commands, 1, handle_changing, &c, NULL };
	struct error err = { 0 };
	struct shown l = { 0 }, now = { 0 };
	char sha[65], again[65];
	uint64_t n;
	struct bus_subscription *s;
	kafka_fixture_topics("change", "s");
	struct bus *operator= kafka_fixture_bus("o", 20000), *hasty = kafka_fixture_bus("h", 500), *bus = kafka_fixture_bus("w", 20000);
	struct bus_publisher *p = kafka_fixture_publisher(operator, "change");
	publish_bodies(p, (const char *const[]){ "!bad" }, 1);
	start_changing(bus, &h, BUS_SHARED, &s);
	wait_until(letters_of(operator, NULL) == 1);
	assert_int_equal(dead_letter_list(operator, "c", "s", NULL, NULL, 1, show, &l, &err), 0);
	assert_int_equal(dead_letter_show(operator, "c", "s", l.id, show, &l, &err), 0);
	assert_int_equal(edit(operator, l.id, "evil", NULL, sha, &err), WEIR_INVALID);
	assert_int_equal(edit(operator, "1-1", "good", NULL, sha, &err), WEIR_NOT_FOUND);
	assert_int_equal(edit(operator, l.id, "good", "another", sha, &err), WEIR_CONFLICT);
	if (edit(operator, l.id, "good", NULL, sha, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(edit(operator, l.id, "g2", sha, again, &err), 0);
	assert_int_equal(edit(operator, l.id, "g3", sha, again, &err), WEIR_CONFLICT); /* it looked at an older one */
	assert_int_equal(dead_letter_show(operator, "c", "s", l.id, show, &now, &err), 0);
	assert_int_equal(now.letter->n_edits, 2);
	assert_string_equal(now.letter->edits[0]->who, "me");
	assert_string_equal(now.letter->edits[0]->why, "known bug");
	assert_string_equal(now.letter->edits[1]->after_sha256, again);
	assert_int_equal(now.letter->n_attempts, 1);
	assert_int_equal(now.letter->original_frame.len, l.letter->frame.len);
	assert_memory_equal(now.letter->original_frame.data, l.letter->frame.data, l.letter->frame.len);
	assert_int_equal(dead_letter_skip(operator, "c", "s", l.id, "me", "why", &err), WEIR_UNSUPPORTED); /* nobody waits for it */
	assert_non_null(strstr(err.text, "nothing to skip"));
	c.held = true;
	publish_bodies(p, (const char *const[]){ "x" }, 1);
	wait_until(c.calls == 2);
	assert_int_equal(edit(hasty, l.id, "g4", NULL, sha, &err), WEIR_TIMEOUT); /* the owner is busy, and does not do it later either */
	assert_non_null(strstr(err.text, "the question was withdrawn"));
	c.held = false;
	if (edit(operator, l.id, "g5", NULL, sha, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(dead_letter_show(operator, "c", "s", l.id, show, &now, &err), 0);
	assert_int_equal(now.letter->n_edits, 3);
	assert_int_equal(dead_letter_replay(operator, "c", "s", NULL, NULL, 0, "me", &n, &err), 0);
	wait_until(letters_of(operator, NULL) == 0);
	assert_string_equal(c.seen, "xg");
	if (bus_subscription_join(s, &err) != 0)
		fail_msg("%s", err.text);
	bus_subscription_close(&s);
	weir__v1__dead_letter__free_unpacked(l.letter, NULL);
	weir__v1__dead_letter__free_unpacked(now.letter, NULL);
	bus_publisher_close(&p);
	bus_close(&operator);
	bus_close(&hasty);
	bus_close(&bus);
}

struct editing {
	struct bus *bus;
	const char *id;
	int code;
	atomic_bool over;
	struct error err;
};

static void *edit_elsewhere(void *arg)
{
	struct editing *e = arg;
	char sha[65];
	e->code = edit(e->bus, e->id, "good", NULL, sha, &e->err);
	atomic_store(&e->over, true);
	return NULL;
}

static int edit_first(uint16_t type, uint16_t version, struct bytes body, void *arg, struct error *err)
{
	struct editing *e = arg;
	char sha[65];
	(void)type;
	(void)version;
	(void)body;
	(void)err;
	assert_int_equal(edit(e->bus, e->id, "g first", NULL, sha, &e->err), 0);
	return 0;
}

static void owner_reads(struct bus_owner *o, struct bus_message **ret)
{
	struct error err = { 0 };
	size_t n = 0;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; n == 0;) {
		int r = bus_owner_read(o, 1, 50, ret, &n, &err);
		if (r == WEIR_FENCED)
			kafka_fixture_acquire(o);
		else if (r != 0 || clock_mono_ms() > deadline)
			fail_msg("nothing to read: %s", err.text);
	}
}

/* By whoever asks, also on the owner's own bus: what a handler has in hand stays what it is, and of two who edit at once one is told. */
static void a_letter_that_is_being_tried_or_edited_is_left_alone(void **state)
{
	(void)state;
	struct error err = { 0 }, why = { .code = WEIR_INVALID };
	struct shown l = { 0 };
	struct bus_message *m;
	pthread_t thread;
	uint64_t n;
	char sha[65];
	kafka_fixture_topics("change", "s");
	struct bus *bus = kafka_fixture_bus("w", 20000);
	struct editing e = { .bus = kafka_fixture_bus("o", 20000), .id = l.id }, here = { .bus = bus, .id = l.id };
	struct bus_publisher *p = kafka_fixture_publisher(bus, "change");
	struct bus_owner *o;
	publish_bodies(p, (const char *const[]){ "!1" }, 1);
	assert_int_equal(bus_owner_open(bus, "c", "change", "s", 60000, &o, NULL), 0); /* a slow machine does not take the partition away meanwhile */
	kafka_fixture_acquire(o);
	owner_reads(o, &m);
	assert_int_equal(bus_owner_park(o, m, &why, &err), 0);
	assert_int_equal(bus_owner_commit(o, m->klass, m->generation, m->sequence, &err), 0);
	assert_int_equal(dead_letter_list(bus, "c", "s", NULL, NULL, 1, show, &l, &err), 0);
	const struct dead_letter_edit second = { .body = kafka_fixture_bytes("g second"), .who = "me", .why = "why", .check = edit_first, .arg = &here };
	assert_int_equal(dead_letter_edit(bus, "c", "s", l.id, &second, NULL, &err), WEIR_CONFLICT);
	assert_non_null(strstr(err.text, "edited meanwhile"));
	assert_int_equal(dead_letter_replay(bus, "c", "s", NULL, NULL, 0, "me", &n, &err), 0);
	owner_reads(o, &m);
	assert_true(m->replay);
	assert_int_equal(m->frame.body.size, 7);
	assert_memory_equal(m->frame.body.data, "g first", 7);
	assert_int_equal(edit(bus, l.id, "good", NULL, sha, &err), WEIR_CONFLICT);
	assert_non_null(strstr(err.text, "being tried now"));
	assert_int_equal(dead_letter_skip(bus, "c", "s", l.id, "me", "why", &err), WEIR_CONFLICT);
	assert_int_equal(pthread_create(&thread, NULL, edit_elsewhere, &e), 0);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; !e.over; clock_sleep_ms(5)) {
		int r = bus_owner_renew(o, &err); /* the handler takes its time */
		assert_true(r == 0 && clock_mono_ms() < deadline);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(e.code, WEIR_CONFLICT);
	assert_non_null(strstr(e.err.text, "being tried now"));
	assert_int_equal(bus_owner_resolve(o, m, &err), 0);
	assert_int_equal(edit(bus, l.id, "good", NULL, sha, &err), WEIR_NOT_FOUND);
	bus_owner_close(&o);
	weir__v1__dead_letter__free_unpacked(l.letter, NULL);
	bus_publisher_close(&p);
	bus_close(&e.bus);
	bus_close(&bus);
}

/* Those behind it are handled, then and later, also by the next owner; the letter stays until it is replayed. */
static void a_head_is_skipped_and_those_behind_it_go_on(void **state)
{
	(void)state;
	static struct changing c;
	const struct bus_handler h = { "h", commands, 1, handle_changing, &c, NULL };
	struct error err = { 0 };
	struct shown head = { 0 }, follower = { 0 };
	char sha[65];
	uint64_t n;
	struct bus_subscription *s;
	kafka_fixture_topics("change", "s");
	struct bus *operator= kafka_fixture_bus("o", 20000), *bus = kafka_fixture_bus("w", 20000);
	struct bus_publisher *p = kafka_fixture_publisher(operator, "change");
	publish_bodies(p, (const char *const[]){ "!1", "2", "3" }, 3);
	start_changing(bus, &h, BUS_ORDERED, &s);
	wait_until(letters_of(operator, NULL) == 3);
	const struct dead_letter_filter heads = { .kind = "head" }, followers = { .kind = "follower" };
	assert_int_equal(dead_letter_list(operator, "c", "s", &heads, NULL, 1, show, &head, &err), 0);
	assert_int_equal(dead_letter_list(operator, "c", "s", &followers, NULL, 1, show, &follower, &err), 0);
	assert_int_equal(dead_letter_skip(operator, "c", "s", follower.id, "me", "why", &err), WEIR_CONFLICT);
	assert_non_null(strstr(err.text, "not the first of its key"));
	assert_int_equal(dead_letter_skip(operator, "c", "s", "1-1", "me", "why", &err), WEIR_NOT_FOUND);
	assert_int_equal(dead_letter_skip(operator, "c", "s", head.id, "me", "", &err), WEIR_INVALID);
	for (int i = 0; i < 2; i++) /* a repeated call changes nothing */
		if (dead_letter_skip(operator, "c", "s", head.id, "me", "it will never be", &err) != 0)
			fail_msg("%s", err.text);
	wait_until(letters_of(operator, NULL) == 1);
	assert_int_equal(letters_of(operator, "skipped"), 1);
	publish_bodies(p, (const char *const[]){ "4" }, 1);
	wait_until(c.calls == 4);
	/* tried in vain it stays as it is, and its key is not parked */
	assert_int_equal(dead_letter_replay(operator, "c", "s", NULL, NULL, 0, "me", &n, &err), 0);
	assert_int_equal(n, 1);
	wait_until(c.calls == 5);
	publish_bodies(p, (const char *const[]){ "5" }, 1);
	wait_until(c.calls == 6);
	assert_int_equal(letters_of(operator, "skipped"), 1);
	if (edit(operator, head.id, "good", NULL, sha, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(dead_letter_replay(operator, "c", "s", NULL, NULL, 0, "me", &n, &err), 0);
	wait_until(letters_of(operator, NULL) == 0);
	if (bus_subscription_join(s, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(c.seen, "2345g");
	bus_subscription_close(&s);
	weir__v1__dead_letter__free_unpacked(head.letter, NULL);
	weir__v1__dead_letter__free_unpacked(follower.letter, NULL);
	bus_publisher_close(&p);
	bus_close(&operator);
	bus_close(&bus);
}

static struct CMUnitTest tests[] = {
	cmocka_unit_test(a_letter_is_edited_by_its_owner),
	cmocka_unit_test(a_letter_that_is_being_tried_or_edited_is_left_alone),
	cmocka_unit_test(a_head_is_skipped_and_those_behind_it_go_on),
};
#define TESTS (sizeof tests / sizeof tests[0])

int main(int argc, char **argv)
{
	return kafka_fixture_main(argc, argv, "kafka_edit_test", tests, TESTS);
}

/* owner_test.c - the ordered lane against a real Redis: fence, floors, parking and replay in order, and Redis losing its memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUB "reconciler"

static struct bus_owner *owner(struct bus *bus)
{
	struct bus_owner *o;
	struct error err = { 0 };
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, SUB, 60000, &o, &err), 0);
	if (bus_owner_acquire(o, &err) != 0)
		fail_msg("%s", err.text);
	return o;
}

static void head(struct bus *bus, const char *key, const char *body)
{
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, key, body));
}

static size_t glance(struct bus_owner *o, size_t max, struct bus_message **m)
{
	size_t n;
	struct error err = { 0 };
	if (bus_owner_read(o, max, 300, m, &n, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(n <= max);
	return n;
}

/* Something comes. A glance alone may end before letters are looked for: Redis ends a blocked read up to 100 ms late. */
static size_t take(struct bus_owner *o, size_t max, struct bus_message **m)
{
	const int64_t deadline = clock_mono_ms() + 20000;
	size_t n;
	while ((n = glance(o, max, m)) == 0 && clock_mono_ms() < deadline)
		;
	return n;
}

static void commit(struct bus_owner *o, const struct bus_message *m)
{
	assert_int_equal(bus_owner_commit(o, m->klass, m->generation, m->sequence, NULL), 0);
}

static void park(struct bus_owner *o, const struct bus_message *m)
{
	struct error why = { .code = WEIR_INVALID, .text = "bad" };
	assert_int_equal(bus_owner_park(o, m, &why, NULL), 0);
}

static uint64_t letters(struct bus *bus)
{
	uint64_t n;
	assert_int_equal(dead_letter_count(bus, "test", SUB, &n, NULL), 0);
	return n;
}

static uint64_t replay(struct bus *bus)
{
	uint64_t n;
	assert_int_equal(dead_letter_replay(bus, "test", SUB, NULL, NULL, 0, "me", &n, NULL), 0);
	return n;
}

static bool parked(const struct bus_owner *o, const char *key)
{
	return bus_owner_parked(o, (struct bytes){ (const uint8_t *)key, strlen(key) });
}

static void test_fence(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_owner *first = owner(a), *second;
	struct bus_message *m;
	assert_int_equal(bus_owner_open(b, "test", TOPIC_BLOCKS, SUB, 60000, &second, NULL), 0);
	assert_int_equal(bus_owner_acquire(second, NULL), WEIR_CONFLICT);
	head(a, "1", "x");
	head(a, "1", "y");
	assert_int_equal(take(first, 10, &m), 2);
	commit(first, &m[0]);
	struct bus_message last = m[1];
	fixture_ask("HSET weir:{test}:blocks:own:" SUB " until 0"); /* the lease runs out while the first one sleeps */
	assert_int_equal(bus_owner_acquire(second, NULL), 0);
	assert_int_equal(take(second, 10, &m), 1); /* what was not committed is read again */
	assert_true(fixture_body_is(&m[0], "y"));
	size_t n;
	struct error why = { .code = WEIR_INVALID, .text = "bad" };
	assert_int_equal(bus_owner_park(first, &last, &why, NULL), WEIR_FENCED);
	assert_int_equal(bus_owner_commit(first, last.klass, last.generation, last.sequence, NULL), WEIR_FENCED);
	assert_int_equal(bus_owner_renew(first, NULL), WEIR_FENCED);
	assert_int_equal(bus_owner_read(first, 10, 0, &m, &n, NULL), WEIR_FENCED);
	bus_owner_close(&first);
	bus_owner_close(&second);
	bus_close(&a);
	bus_close(&b);
}

/* The server's clock went ahead, so that the lease ran out while its owner, by its own clock, still has it: what it reads is not its to handle. */
static void test_who_lost_the_lease_is_given_nothing(void **state)
{
	(void)state;
	struct bus *one = fixture_bus("one"), *two = fixture_bus("two");
	struct bus_owner *o = owner(one);
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	head(one, "k", "a");
	assert_int_equal(take(o, 10, &m), 1);
	commit(o, &m[0]);
	fixture_ask("HSET weir:{test}:blocks:own:reconciler until 1");
	struct bus_owner *next = owner(two);
	head(one, "k", "b");
	assert_int_equal(bus_owner_read(o, 10, 300, &m, &n, &err), WEIR_FENCED);
	assert_int_equal(n, 0);
	assert_int_equal(take(next, 10, &m), 1);
	fixture_ask("FLUSHALL"); /* nor is it anybody's when Redis has forgotten it */
	assert_int_equal(bus_owner_read(next, 10, 300, &m, &n, &err), WEIR_FENCED);
	bus_owner_close(&o);
	bus_owner_close(&next);
	bus_close(&one);
	bus_close(&two);
}

/* A failover forgets the newest take-over, or all of them: the count in the token is given out twice, the nonce is not. */
static void test_a_token_is_never_given_out_twice(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_owner *first = owner(a), *second;
	struct bus_message *m;
	struct error err = { 0 };
	head(a, "1", "x");
	assert_int_equal(take(first, 10, &m), 1);
	char *token = xstrdup(bus_owner_token(first));
	fixture_ask("DEL weir:{test}:blocks:own:" SUB); /* as the new master has it: the first one's take-over never came there */
	assert_int_equal(bus_owner_open(b, "test", TOPIC_BLOCKS, SUB, 60000, &second, &err), 0);
	assert_int_equal(bus_owner_acquire(second, &err), 0);
	assert_int_equal(strtoul(token, NULL, 10), strtoul(bus_owner_token(second), NULL, 10));
	assert_string_not_equal(token, bus_owner_token(second));
	assert_int_equal(bus_owner_commit(first, m[0].klass, m[0].generation, m[0].sequence, NULL), WEIR_FENCED);
	free(token);
	bus_owner_close(&first); /* must not give away the lease of the second */
	assert_int_equal(bus_owner_renew(second, &err), 0);
	bus_owner_close(&second);
	bus_close(&a);
	bus_close(&b);
}

static void test_what_was_handled_before_its_key_was_parked_is_not_put_behind_it(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_owner *o = owner(a);
	struct bus_message *m;
	head(a, "1", "handled");
	head(a, "1", "bad");
	head(a, "1", "behind");
	assert_int_equal(take(o, 10, &m), 3);
	park(o, &m[1]); /* and then it ends, without a commit */
	bus_owner_close(&o);
	o = owner(b);
	assert_int_equal(glance(o, 10, &m), 0);
	assert_int_equal(letters(b), 2);
	assert_int_equal(replay(b), 2);
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "bad"));
	assert_int_equal(bus_owner_resolve(o, &m[0], NULL), 0);
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "behind"));
	assert_int_equal(bus_owner_resolve(o, &m[0], NULL), 0);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:pkh:" SUB), 0);
	bus_owner_close(&o);
	bus_close(&a);
	bus_close(&b);
}

static void test_release_hands_over_at_once(void **state)
{
	(void)state;
	struct bus *a = fixture_bus("a"), *b = fixture_bus("b");
	struct bus_owner *o = owner(a);
	char *token = xstrdup(bus_owner_token(o));
	bus_owner_close(&o);
	o = owner(b);
	assert_string_not_equal(token, bus_owner_token(o));
	free(token);
	bus_owner_close(&o);
	bus_close(&a);
	bus_close(&b);
}

static void test_critical_goes_first(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	for (int i = 0; i < 5; i++)
		head(bus, "k", "head");
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_FORK, "k", "fork"));
	assert_int_equal(take(o, 3, &m), 3);
	assert_true(fixture_body_is(&m[0], "fork"));
	assert_int_equal(take(o, 10, &m), 3); /* what did not fit is not lost */
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_followers_wait_and_replay_keeps_order(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	head(bus, "k", "1");
	assert_int_equal(take(o, 1, &m), 1);
	park(o, &m[0]);
	commit(o, &m[0]);
	head(bus, "k", "2");
	head(bus, "other", "x");
	head(bus, "k", "3");
	bus_owner_close(&o); /* a new owner must know the parked keys, too */
	o = owner(bus);
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "x"));
	commit(o, &m[0]);
	assert_int_equal(letters(bus), 3);
	assert_int_equal(replay(bus), 3);
	assert_int_equal(replay(bus), 0); /* marked already */
	head(bus, "k", "4");              /* comes while the key is being replayed */
	char seen[8] = "";
	for (int i = 0; i < 40 && strlen(seen) < 4; i++) {
		size_t n = take(o, 10, &m);
		for (size_t k = 0; k < n; k++) {
			strncat(seen, (const char *)m[k].frame.body.data, 1);
			if (m[k].replay)
				assert_int_equal(bus_owner_resolve(o, &m[k], NULL), 0);
			else
				commit(o, &m[k]);
		}
	}
	assert_string_equal(seen, "1234");
	assert_false(parked(o, "k"));
	assert_int_equal(letters(bus), 0);
	assert_int_equal(
		fixture_ask("EXISTS weir:{test}:park:" SUB " weir:{test}:rpk:" SUB " weir:{test}:rpm:" SUB " weir:{test}:pkl:" SUB ":blocks/k"), 0);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_replay_stops_at_a_failure(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	head(bus, "k", "1");
	head(bus, "k", "2");
	assert_int_equal(take(o, 1, &m), 1);
	park(o, &m[0]);
	assert_int_equal(glance(o, 10, &m), 0);
	assert_int_equal(replay(bus), 2);
	size_t n = take(o, 10, &m);
	assert_int_equal(n, 1); /* the follower is not offered beside its head */
	assert_true(fixture_body_is(&m[0], "1"));
	park(o, &m[0]);
	for (int i = 0; i < 4; i++)
		assert_int_equal(glance(o, 10, &m), 0);
	assert_int_equal(letters(bus), 2);
	assert_true(parked(o, "k"));
	assert_int_equal(replay(bus), 2); /* may be tried again */
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_purge_frees_the_key(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	uint64_t count;
	head(bus, "k", "1");
	assert_int_equal(take(o, 1, &m), 1);
	park(o, &m[0]);
	assert_int_equal(dead_letter_purge(bus, "test", SUB, NULL, NULL, 0, "me", "test", &count, NULL), 0);
	assert_int_equal(count, 1);
	head(bus, "k", "2"); /* the owner still thinks that the key is parked */
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "2"));
	assert_int_equal(fixture_ask("XLEN weir:{test}:audit"), 1);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* Settled as a letter while the floor was still below it: a new owner reads the entry again and must not handle it again. */
static void test_settled_letter_is_not_read_again(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	head(bus, "a", "1");
	head(bus, "k", "2");
	assert_int_equal(take(o, 10, &m), 2);
	park(o, &m[1]); /* and the first one is not committed */
	assert_int_equal(replay(bus), 1);
	assert_int_equal(take(o, 10, &m), 1);
	assert_int_equal(bus_owner_resolve(o, &m[0], NULL), 0);
	bus_owner_close(&o);
	o = owner(bus);
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "1"));
	commit(o, &m[0]);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:rsl:" SUB), 0);
	bus_owner_close(&o);
	o = owner(bus);
	assert_int_equal(glance(o, 10, &m), 0);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void test_undecodable_is_parked_with_its_key(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	struct frame f = fixture_message(MESSAGE_CHAIN_HEAD, "k", "body");
	struct buf raw = BUF_INIT(1024);
	frame_write(&f, &raw);
	raw.data[raw.size - 1] ^= 1; /* its checksum does not fit */
	fixture_ask("XADD weir:{test}:blocks:normal 1-1 d %b", raw.data, raw.size);
	buf_free(&raw);
	head(bus, "k", "2");
	head(bus, "other", "3");
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "3"));
	assert_int_equal(letters(bus), 2);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* Leaving the key out of a copy lets its followers pass; the letter still holds the whole frame. */
static void test_keyless_park(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	head(bus, "k", "1");
	head(bus, "k", "2");
	assert_int_equal(take(o, 1, &m), 1);
	struct bus_message keyless = m[0];
	keyless.frame.key.size = 0;
	park(o, &keyless);
	assert_int_equal(take(o, 1, &m), 1);
	assert_true(fixture_body_is(&m[0], "2"));
	assert_int_equal(replay(bus), 1);
	assert_int_equal(take(o, 10, &m), 1);
	assert_int_equal(m[0].frame.key.size, 1);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* -- Redis losing what it had --------------------------------------------------------------------------------------------------------- */

static void test_flush(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	head(bus, "a", "1");
	assert_int_equal(take(o, 10, &m), 1);
	commit(o, &m[0]);
	assert_false(bus_owner_rolled_back(o));
	fixture_ask("FLUSHALL");
	assert_int_equal(bus_owner_renew(o, NULL), WEIR_FENCED);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_true(bus_owner_rolled_back(o));
	assert_false(bus_owner_rolled_back(o));
	head(bus, "a", "2");
	assert_int_equal(take(o, 10, &m), 1);
	assert_true(fixture_body_is(&m[0], "2"));
	bus_owner_close(&o);
	bus_close(&bus);
}

static void copy_data(const char *from, const char *to)
{
	char command[256];
	snprintf(command, sizeof command, "rm -rf '%s/%s' && cp -r '%s/%s' '%s/%s'", fixture_server.dir, to, fixture_server.dir, from,
		 fixture_server.dir, to);
	assert_int_equal(system(command), 0);
}

/* A power failure takes the last second: the same sequence numbers are given out again, and a reader behind them must not miss them. */
static void test_rolled_back_server(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w"), *publisher = fixture_bus("p");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	head(publisher, "a", "1");
	fixture_ask("CONFIG SET appendfsync always");
	head(publisher, "a", "2");
	copy_data("appendonlydir", "saved");
	head(publisher, "a", "3");
	head(publisher, "a", "4");
	assert_int_equal(take(o, 10, &m), 4);
	commit(o, &m[3]);
	redis_server_kill(&fixture_server);
	copy_data("saved", "appendonlydir");
	redis_server_restart(&fixture_server);
	head(publisher, "a", "5"); /* third in the stream */
	head(publisher, "a", "6"); /* fourth: the reader's own place */
	head(publisher, "a", "7");
	size_t n = take(o, 10, &m);
	/* From the committed place on, which went back, too: the first two once more, then what took the place of the lost ones. */
	assert_int_equal(n, 5);
	assert_true(fixture_body_is(&m[0], "1"));
	assert_true(fixture_body_is(&m[2], "5"));
	assert_true(bus_owner_rolled_back(o));
	bus_owner_close(&o);
	bus_close(&bus);
	bus_close(&publisher);
}

static void test_replays_are_resolved_together(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("a");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	const char *const keys[] = { "1", "2", "3", "1", "" };
	for (size_t i = 0; i < 5; i++)
		head(bus, keys[i], "bad");
	assert_int_equal(take(o, 10, &m), 5);
	for (size_t i = 0; i < 5; i++)
		park(o, &m[i]);
	assert_int_equal(replay(bus), 5);
	assert_int_equal(take(o, 10, &m), 4); /* the second of key 1 waits for the first */
	const struct bus_message *handled[4] = { &m[0], &m[1], &m[2], &m[3] };
	assert_int_equal(bus_owner_resolve_many(o, handled, 4, NULL), 0);
	assert_int_equal(bus_owner_resolve_many(o, handled, 4, NULL), 0); /* the answer was lost: nothing changes */
	assert_int_equal(letters(bus), 1);
	assert_true(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"1", 1 }));
	assert_false(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"2", 1 }));
	assert_int_equal(take(o, 10, &m), 1);
	assert_int_equal(bus_owner_resolve_many(o, (const struct bus_message *const[]){ &m[0] }, 1, NULL), 0);
	assert_int_equal(letters(bus), 0);
	assert_false(bus_owner_parked(o, (struct bytes){ (const uint8_t *)"1", 1 }));
	bus_owner_close(&o);
	bus_close(&bus);
}

/* What is new has its turn while letters are tried again, however many there are. */
static void test_replays_do_not_keep_what_is_new_waiting(void **state)
{
	(void)state;
	enum { LETTERS = 6 };
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o = owner(bus);
	struct bus_message *m;
	char key[8];
	int before = 0;
	for (int i = 0; i < LETTERS; i++) {
		snprintf(key, sizeof key, "%d", i);
		head(bus, key, "old");
		assert_int_equal(take(o, 1, &m), 1);
		park(o, &m[0]);
	}
	assert_int_equal(replay(bus), LETTERS);
	assert_int_equal(take(o, 1, &m), 1); /* the lane is at the letters now */
	assert_int_equal(bus_owner_resolve(o, &m[0], NULL), 0);
	head(bus, "other", "new");
	for (bool seen = false; !seen; before++) {
		assert_int_equal(take(o, 1, &m), 1);
		seen = fixture_body_is(&m[0], "new");
		if (!seen)
			assert_int_equal(bus_owner_resolve(o, &m[0], NULL), 0);
	}
	assert_in_range(before, 1, 2);
	for (int left = LETTERS - before; left > 0; left--) { /* and the letters theirs */
		assert_int_equal(take(o, 1, &m), 1);
		assert_int_equal(bus_owner_resolve(o, &m[0], NULL), 0);
	}
	bus_owner_close(&o);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_threads(test_fence, fixture_flush, NULL, "BullMQ#439, bull#1685"),
		cmocka_unit_test_setup(test_who_lost_the_lease_is_given_nothing, fixture_flush),
		cmocka_unit_test_setup(test_a_token_is_never_given_out_twice, fixture_flush),
		cmocka_unit_test_setup(test_what_was_handled_before_its_key_was_parked_is_not_put_behind_it, fixture_flush),
		cmocka_unit_test_setup(test_release_hands_over_at_once, fixture_flush),
		cmocka_unit_test_setup(test_critical_goes_first, fixture_flush),
		fixture_threads(test_followers_wait_and_replay_keeps_order, fixture_flush, NULL, "pulsar#23557, pulsar#23182, JasperFx/wolverine#3476"),
		cmocka_unit_test_setup(test_replay_stops_at_a_failure, fixture_flush),
		cmocka_unit_test_setup(test_purge_frees_the_key, fixture_flush),
		fixture_threads(test_settled_letter_is_not_read_again, fixture_flush, NULL, "Truxify#11218"),
		fixture_threads(test_undecodable_is_parked_with_its_key, fixture_flush, NULL, "watermill-redisstream, spring-kafka#2415, spring-kafka#4040"),
		cmocka_unit_test_setup(test_keyless_park, fixture_flush),
		fixture_threads(test_flush, fixture_flush, NULL, "jac#7452, opik#5525, flightctl#2227, faststream#2611"),
		fixture_threads(test_rolled_back_server, fixture_flush, NULL, "redis#7105, redis#5433"),
		cmocka_unit_test_setup(test_replays_are_resolved_together, fixture_flush),
		cmocka_unit_test_setup(test_replays_do_not_keep_what_is_new_waiting, fixture_flush),
	};
	return fixture_run(tests);
}

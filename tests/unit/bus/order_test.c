/* order_test.c - the ordered lane under random failures against a slow, obvious model: whatever fails, is parked, replayed, read again or
 * replayed by jobs that are paused and canceled, lost with an owner or a killed Redis, in the end each message has had its effect once, and those of a key in the order of publishing.
 *
 * The publisher here has no journal, so what it published must stay published: Redis writes before it answers (appendfsync always). What
 * a Redis loses that answers first (everysec, on a busy disk up to two seconds) is published again by a service's source: owner_test.c tests it.
 *
 * WEIR_ORDER_SEEDS (default 60) says how many seeds; WEIR_ORDER_SEED repeats one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUB "reconciler"
#define KEYS 6
#define MESSAGES 120

static uint64_t seed;

static unsigned dice(unsigned sides) /* xorshift64* */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (unsigned)((seed * 2685821657736338717u) >> 33) % sides;
}

/* The sink, as a database would be: knows which entries had their effect, outside of Redis. */
struct world {
	struct bus *bus;
	struct bus_owner *owner;
	unsigned published[KEYS]; /* messages of the key so far */
	unsigned effect[KEYS];    /* number of the key's last message that had its effect */
	bool had[KEYS][MESSAGES + 1];
	unsigned total, effects, repeats, parks;
	bool healthy; /* handlers no longer fail */
	char job[24]; /* the newest replay job */
};

static void publish_some(struct world *w)
{
	char keys[8][8], bodies[8][16];
	struct frame f[8];
	size_t n = 1 + dice(8);
	for (size_t i = 0; i < n; i++) {
		unsigned k = dice(KEYS);
		if (w->total == MESSAGES) {
			n = i;
			break;
		}
		w->total++;
		snprintf(keys[i], sizeof keys[i], "k%u", k);
		snprintf(bodies[i], sizeof bodies[i], "%u %u", k, ++w->published[k]);
		f[i] = fixture_message(MESSAGE_CHAIN_HEAD, keys[i], bodies[i]);
	}
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(w->bus, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	while (bus_publish(p, f, n, NULL) != 0)
		;
	bus_publisher_close(&p);
}

static void handle(struct world *w, const struct bus_message *m)
{
	char text[32] = "";
	unsigned key, number;
	memcpy(text, m->frame.body.data, m->frame.body.size < 31 ? m->frame.body.size : 31);
	assert_int_equal(sscanf(text, "%u %u", &key, &number), 2);
	if (w->had[key][number]) {
		w->repeats++; /* read again after a crash: no second effect */
		return;
	}
	if (number != w->effect[key] + 1)
		fail_msg("key %u: message %u had its effect after %u", key, number, w->effect[key]);
	w->had[key][number] = true;
	w->effect[key] = number;
	w->effects++;
}

static void own(struct world *w)
{
	if (!w->owner)
		assert_int_equal(bus_owner_open(w->bus, "test", TOPIC_BLOCKS, SUB, 60000, &w->owner, NULL), 0);
	while (bus_owner_acquire(w->owner, NULL) != 0)
		;
}

/* One read and what a careless world makes of it. */
static void turn(struct world *w)
{
	struct bus_message *m;
	size_t n;
	int r = bus_owner_read(w->owner, 1 + dice(10), 0, &m, &n, NULL);
	bool parked[KEYS] = { false }; /* within this batch; what came before the library knows */
	if (r == WEIR_FENCED)
		own(w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct error why = { .code = WEIR_TIMEOUT, .text = "dice" };
		unsigned key = (unsigned)(m[i].frame.key.data[1] - '0');
		bool follows = parked[key];
		bool fails = follows || (!w->healthy && dice(8) == 0);
		if (dice(40) == 0) { /* dies before handling */
			own(w);
			return;
		}
		if (!fails)
			handle(w, &m[i]);
		if (dice(40) == 0) { /* dies between effect and commit */
			own(w);
			return;
		}
		if (fails) {
			w->parks++;
			parked[key] = true;
			r = bus_owner_park(w->owner, &m[i], &why, NULL);
		} else if (m[i].replay) {
			r = bus_owner_resolve(w->owner, &m[i], NULL);
		}
		if (r == 0 && !m[i].replay && dice(3) == 0)
			r = bus_owner_commit(w->owner, m[i].klass, m[i].generation, m[i].sequence, NULL);
		if (r != 0)
			own(w); /* what of this batch is not done must be read again */
	}
}

static uint64_t replay_all(struct world *w)
{
	uint64_t n = 0, left = 0;
	(void)dead_letter_replay(w->bus, "test", SUB, NULL, NULL, 0, "dice", &n, NULL);
	assert_int_equal(dead_letter_count(w->bus, "test", SUB, &left, NULL), 0);
	return left;
}

/* What an operator may do to dead letters at any time, none of which may break the order: replays at once, and jobs of every kind. */
static void operate(struct world *w)
{
	static const char *const kinds[] = { NULL, "head", "follower" };
	struct dead_letter_job job = { .id = "" };
	struct dead_letter_order order = { .filter = { .kind = kinds[dice(3)], .key = dice(3) ? NULL : "k1" },
					   .concurrency = 1 + dice(4),
					   .rate = dice(2) ? 0 : 20,
					   .stop_percent = dice(2) ? 101 : 40,
					   .who = "dice" };
	switch (dice(3)) {
	case 0:
		(void)replay_all(w);
		break;
	case 1:
		if (dead_letter_job_start(w->bus, "test", SUB, &order, &job, NULL) == 0)
			snprintf(w->job, sizeof w->job, "%s", job.id);
		break;
	default:
		if (*w->job)
			(void)dead_letter_job_control(w->bus, "test", w->job, (enum dead_letter_job_action)dice(3), "dice", "", &job, NULL);
	}
}

static void run(uint64_t start, bool kills)
{
	struct world w = { .bus = fixture_bus("w") };
	seed = start;
	fixture_ask("FLUSHALL");
	if (kills)
		fixture_ask("CONFIG SET appendfsync always");
	own(&w);
	while (w.total < MESSAGES) {
		if (dice(3) == 0)
			publish_some(&w);
		turn(&w);
		if (dice(12) == 0)
			operate(&w);
		if (dice(50) == 0) { /* an orderly hand-over */
			bus_owner_close(&w.owner);
			own(&w);
		}
		if (kills && dice(100) == 0) {
			redis_server_kill(&fixture_server);
			redis_server_restart(&fixture_server);
			fixture_ask("CONFIG SET appendfsync always");
		}
	}
	w.healthy = true;
	for (int i = 0; i < 5000 && (w.effects < MESSAGES || replay_all(&w) > 0); i++) {
		if (i % 20 == 0)
			(void)replay_all(&w);
		turn(&w);
	}
	for (unsigned k = 0; k < KEYS; k++)
		if (w.effect[k] != w.published[k])
			fail_msg("seed %llu: key %u ended at %u of %u", (unsigned long long)start, k, w.effect[k], w.published[k]);
	assert_int_equal(w.effects, MESSAGES);
	assert_true(w.parks > 0);
	assert_int_equal(replay_all(&w), 0);
	assert_int_equal(fixture_ask("EXISTS weir:{test}:park:" SUB), 0);
	bus_owner_close(&w.owner);
	bus_close(&w.bus);
}

static void test_order_through_everything(void **state)
{
	(void)state;
	const char *one = getenv("WEIR_ORDER_SEED"), *many = getenv("WEIR_ORDER_SEEDS");
	unsigned long n = many ? strtoul(many, NULL, 10) : 60, first = one ? strtoul(one, NULL, 10) : 1;
	for (unsigned long s = first; s < first + (one ? 1 : n); s++) {
		print_message("seed %lu\n", s);
		run(s * 0x9e3779b97f4a7c15u, s % 3 == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { fixture_threads(test_order_through_everything, NULL, NULL, "redis#5117, MassTransit#634, pulsar#15317, pulsar#8115, pulsar#21199") };
	return fixture_run(tests);
}

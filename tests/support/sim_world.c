/* sim_world.c - see sim_world.h. */
#include "support/sim_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/handler/deliver.h"
#include "support/sim_redis.h"

#include <stdio.h>
#include <string.h>

struct world world;

static const struct bus_type types[] = {
	{ .id = FACT, .name = "fact", .version = 1, .klass = BUS_NORMAL, .key_space = "fact" },
	{ .id = NEWS, .name = "news", .version = 1, .klass = BUS_HIGH, .key_space = "news" },
	{ .id = JOB, .name = "job", .version = 1, .klass = BUS_NORMAL },
	{ .id = RESULT, .name = "result", .version = 1, .klass = BUS_NORMAL },
	{ .id = TICK, .name = "tick", .version = 1, .klass = BUS_LOW },
	{ .id = DUST, .name = "dust", .version = 1, .klass = BUS_NORMAL }, /* in calls so long that they go as transactions */
};

int world_types(void)
{
	return bus_types_add(types, sizeof types / sizeof types[0], NULL);
}

void say(const char *format, ...)
{
	if (!world.telling)
		return;
	va_list args;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%9.3f ", (double)(sim_now_ms() % 10000000) / 1000);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* -- events ------------------------------------------------------------------------------------------------------------------------ */

struct event {
	char key[8], body[8];
	struct frame frame;
};

static void make_event(struct event *e, uint16_t type, uint64_t n)
{
	memset(e, 0, sizeof *e);
	e->frame = (struct frame){ .type = type, .schema_version = 1, .created_unix_ms = 1 };
	memcpy(e->frame.event_id, &n, sizeof n);
	e->frame.event_id[15] = (uint8_t)type;
	e->frame.body = (struct bytes){ (const uint8_t *)e->body, (size_t)snprintf(e->body, sizeof e->body, "%u", (unsigned)n) };
	if (type == FACT || type == NEWS)
		e->frame.key = (struct bytes){ (const uint8_t *)e->key, (size_t)snprintf(e->key, sizeof e->key, "%u", (unsigned)(n % KEYS)) };
}

static unsigned number_of(const struct bus_delivery *d)
{
	unsigned n = 0;
	for (size_t i = 0; i < d->body.size; i++)
		n = n * 10 + (unsigned)(d->body.data[i] - '0');
	return n;
}

/* -- handlers ---------------------------------------------------------------------------------------------------------------------- */

static struct reader *reader_of(const struct bus_delivery *d)
{
	for (int i = 0; i < READERS; i++)
		if (world.readers[i].s == d->subscription)
			return &world.readers[i];
	return &world.readers[0];
}

/* The effect is done: what happens between that and the commit. */
static void kill_within(const struct bus_delivery *d)
{
	struct reader *r = reader_of(d);
	r->worked = true;
	if (world.ending || !(world.may & KILLS) || sim_random(150) != 0)
		return;
	say("reader %d is killed within its handler", (int)(r - world.readers));
	r->dying = true;
	sim_kill(r->bus);
}

static bool was_edited(const struct bus_delivery *d)
{
	return d->body.size > 1 && d->body.data[0] == '0';
}

static int trouble(const struct bus_delivery *d, unsigned n, struct error *err)
{
	if (world.outage)
		return error_set(err, WEIR_UNAVAILABLE, "its dependency is down");
	if (n % 17 == 3 && !world.mended && !was_edited(d))
		return error_set(err, WEIR_INVALID, "%u is bad", n);
	if (!world.ending && sim_random(12) == 0)
		return error_set(err, WEIR_IO, "now and then");
	return 0;
}

static int apply(const struct bus_delivery *d, bool *done, const bool *skipped, const char *what, struct error *err)
{
	unsigned n = number_of(d);
	int r = trouble(d, n, err);
	say("reader %d: %s %u from %s%s: %s", (int)(reader_of(d) - world.readers), what, n, d->message->id, d->message->replay ? " (replay)" : "",
	    r         ? err->text
	    : done[n] ? "was done"
		      : "done");
	if (r != 0)
		return r;
	for (unsigned earlier = n % KEYS; earlier < n && !done[n]; earlier += KEYS)
		if (!done[earlier] && !skipped[earlier] && world.disorders++ == 0)
			snprintf(world.first_disorder, sizeof world.first_disorder, "%s %u was applied before %u", what, n, earlier);
	done[n] = true;
	kill_within(d);
	return 0;
}

static int on_fact(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	return apply(d, world.fact_done, world.fact_skipped, "fact", err);
}

static int on_news(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	return apply(d, world.news_done, world.news_skipped, "news", err);
}

static int on_job(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	struct event e;
	unsigned n = number_of(d);
	int r = trouble(d, n, err);
	say("reader %d: job %u from %s: %s", (int)(reader_of(d) - world.readers), n, d->message->id, r ? err->text : "done");
	make_event(&e, RESULT, n);
	assert_int_equal(bus_delivery_emit(d, "results", &e.frame, NULL), 0);
	if (r == 0)
		kill_within(d);
	return r;
}

static int on_result(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	(void)err;
	say("reader %d: result %u", (int)(reader_of(d) - world.readers), number_of(d));
	world.job_done[number_of(d)] = true;
	kill_within(d);
	return 0;
}

static const uint16_t fact[] = { FACT }, news[] = { NEWS }, job[] = { JOB }, result[] = { RESULT };
static const struct bus_handler books[] = { { "fact", fact, 1, on_fact, NULL, "db" }, { "news", news, 1, on_news, NULL, "db" } };
static const struct bus_handler crew[] = { { "job", job, 1, on_job, NULL, NULL } };
static const struct bus_handler ledger[] = { { "result", result, 1, on_result, NULL, NULL } };
static const struct retry_rule rules[] = {
	{ NULL, 0, RETRY_ANY, { .growth = RETRY_EXPONENTIAL, .attempts = 3, .base_ms = 20, .max_ms = 500, .jitter = 1 } }
};
static const struct breaker_policy touchy = { .least = 6, .accept = 2, .window_ms = 5000, .pause_ms = 200, .pause_max_ms = 2000, .probes = 2 };

/* -- actors ------------------------------------------------------------------------------------------------------------------------- */

void open_reader(int i)
{
	struct reader *r = &world.readers[i];
	struct bus_subscription_options o = { .chain = "sim", .retries = rules, .retry_count = 1, .breaker = &touchy, .lease_ms = 2000, .batch = BATCH,
					      .hold_max = HOLD };
	char name[24];
	o.topic = i < 2 ? "facts" : i < 4 ? "jobs" : "results";
	o.subscription = i < 2 ? "books" : i < 4 ? "crew" : "ledger";
	o.order = i == 2 || i == 3 ? BUS_SHARED : BUS_ORDERED;
	o.handlers = i < 2 ? books : i < 4 ? crew : ledger;
	o.handler_count = i < 2 ? 2 : 1;
	snprintf(name, sizeof name, "reader%d.%u", i, r->lives++);
	r->bus = sim_bus(name);
	r->dying = false;
	struct error err;
	if (bus_subscription_open(r->bus, &o, &r->s, &err) != 0)
		fail_msg("%s", err.text);
}

void close_reader(int i)
{
	bus_subscription_close(&world.readers[i].s);
	bus_close(&world.readers[i].bus);
}

/* A round that ended well, with nothing left to wait for, ended with a commit: only who holds the lease may have made it. */
static void holds_the_lease(const struct reader *r, const char *topic, const char *subscription)
{
	char key[80];
	snprintf(key, sizeof key, "weir:{sim}:%s:own:%s", topic, subscription);
	if (!strstr(sim_ask((const char *const[]){ "HGET", key, "token", NULL }), r->s->token))
		fail_msg("seed %llu: a reader of %s committed under token %s, which was not the lease's", (unsigned long long)world.seed, topic,
			 r->s->token);
}

void turn_reader(int i)
{
	struct reader *r = &world.readers[i];
	struct error err = { 0 };
	r->worked = false;
	int code = bus_subscription_turn(r->s, (int64_t)sim_random(30), &err);
	static struct bus_subscription_status st;
	bus_subscription_status(r->s, &st);
	if (st.held > HOLD + BATCH)
		fail_msg("seed %llu: reader %d holds %zu messages", (unsigned long long)world.seed, i, st.held);
	if (code == 0 && r->worked && !r->dying && st.held == 0)
		holds_the_lease(r, i < 2 ? "facts" : "results", i < 2 ? "books" : "ledger");
	if (code != 0)
		say("reader %d: %s", i, err.text);
	if (code != 0 && code != WEIR_FENCED && !error_retriable(code) && !r->dying)
		fail_msg("seed %llu: reader %d: %s", (unsigned long long)world.seed, i, err.text);
	if (r->dying) {
		close_reader(i);
		open_reader(i);
	}
}

void open_publisher(struct publisher *p, const char *topic, const char *name)
{
	p->bus = sim_bus(name);
	assert_int_equal(bus_publisher_open(p->bus, "sim", topic, name, &p->p, NULL), 0);
}

/* An outbox: its own dense sequence, resumed where the stream ends. */
void publish_facts(void)
{
	struct event e[8];
	struct frame frames[8];
	size_t n = 1 + sim_random(7);
	uint64_t tail = 0, first = world.facts.next + 1;
	struct error err = { 0 };
	if (first + n - 1 > FACTS)
		n = FACTS - world.facts.next;
	for (size_t i = 0; i < n; i++) {
		make_event(&e[i], FACT, world.facts.next + i);
		frames[i] = e[i].frame;
	}
	int r = bus_publish_sequence(world.facts.p, first, frames, n, &tail, &err);
	if (r != 0 && !error_retriable(r))
		fail_msg("seed %llu: %s", (unsigned long long)world.seed, err.text);
	say("facts from %u, %zu: %s, tail %u", (unsigned)first, n, r ? err.text : "published", (unsigned)tail);
	if (r == 0 || r == WEIR_GAP)
		world.facts.next = tail < FACTS ? tail : FACTS;
}

/* A producer that numbers by itself; told of a loss it begins its journal anew. */
void publish_counted(struct publisher *p, uint16_t type, uint64_t all)
{
	struct event e[6];
	struct frame frames[6];
	size_t n = 0;
	struct error err = { 0 };
	for (size_t want = 1 + sim_random(5); n < want && p->next + n < all; n++)
		make_event(&e[n], type, p->next + n);
	if (n == 0) /* it goes on publishing something, else it never hears of a loss */
		make_event(&e[n++], TICK, 0);
	for (size_t i = 0; i < n; i++)
		frames[i] = e[i].frame;
	int r;
	do /* the same call until it is known what became of it */
		r = bus_publish(p->p, frames, n, &err);
	while (r != 0 && r != WEIR_GAP && r != WEIR_FULL && error_retriable(r));
	if (r != 0 && !error_retriable(r))
		fail_msg("seed %llu: %s", (unsigned long long)world.seed, err.text);
	say("%s from %u, %zu: %s", bus_type_of(type)->name, (unsigned)p->next, n, r ? err.text : "published");
	if (r == WEIR_GAP)
		p->next = 0;
	else if (r == 0 && e[0].frame.type != TICK)
		p->next += n;
}

void publish_dust(void)
{
	static struct event e[200];
	static struct frame frames[200];
	size_t n = 128 + sim_random(72);
	struct error err = { 0 };
	if (world.dust.next + n > DUSTS)
		n = DUSTS - world.dust.next;
	for (size_t i = 0; i < n; i++) {
		make_event(&e[i], DUST, world.dust.next + i);
		frames[i] = e[i].frame;
	}
	int r;
	do
		r = bus_publish(world.dust.p, frames, n, &err);
	while (r != 0 && r != WEIR_GAP && r != WEIR_FULL && error_retriable(r));
	say("dust from %u, %zu: %s", (unsigned)world.dust.next, n, r ? err.text : "published");
	world.dust.next = r == WEIR_GAP ? 0 : r == 0 ? world.dust.next + n : world.dust.next;
}

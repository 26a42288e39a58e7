/* simulation_test.c - thousands of schedules of publishers, subscriptions and an operator on a simulated Redis that loses requests, replies,
 * its newest operations, its functions, its memory, or everything, whose clock is set forth and back, while readers are killed, stalled and fenced.
 * The operator replays letters, at once and by jobs that he pauses, resumes and cancels, skips heads, edits bodies and moves subscriptions back.
 *
 * At the end of each schedule the faults stop, and then: every event had its effect once, in the order of its key (but for what was skipped, which
 * may come later), nothing is left as a dead letter, no job goes on, nothing is in hand or remembered of what is done. Where nothing was taken back, each event stands in its stream once. A schedule follows from
 * its seed:
 *
 *	SIM_SEED=1234 simulation_test        runs that one, telling what happens
 *	SIM_SCHEDULES=10000                  how many (default 200; make check runs 10 000)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/dead_letter.h"
#include "bus/handler/deliver.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/sim_redis.h"
#include "weir/v1/dead_letter.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACT = 300, NEWS, JOB, RESULT, TICK, DUST };
enum { FACTS = 48, NEWSES = 24, JOBS = 24, DUSTS = 400, KEYS = 5, READERS = 5, STEPS = 160, ENDING = 6000, BATCH = 8, HOLD = 16 };
static const struct bus_type types[] = {
	{ .id = FACT, .name = "fact", .version = 1, .klass = BUS_NORMAL, .key_space = "fact" },
	{ .id = NEWS, .name = "news", .version = 1, .klass = BUS_HIGH, .key_space = "news" },
	{ .id = JOB, .name = "job", .version = 1, .klass = BUS_NORMAL },
	{ .id = RESULT, .name = "result", .version = 1, .klass = BUS_NORMAL },
	{ .id = TICK, .name = "tick", .version = 1, .klass = BUS_LOW },
	{ .id = DUST, .name = "dust", .version = 1, .klass = BUS_NORMAL }, /* in calls so long that they go as transactions */
};

/* What a schedule may contain. */
enum { LOSSES = 1, KILLS = 2, FLUSHES = 4 };

static struct world {
	uint64_t seed;
	unsigned may;
	bool telling, ending, lost, mended, outage;
	/* effects: the handlers' database, which outlives everything */
	bool fact_done[FACTS], news_done[NEWSES], job_done[JOBS];
	bool fact_skipped[FACTS], news_skipped[NEWSES]; /* somebody asked for it: it may or may not have come through */
	unsigned disorders;
	char first_disorder[160];
	struct publisher {
		struct bus *bus;
		struct bus_publisher *p;
		uint64_t next; /* of its own events */
	} facts, news, jobs, dust;
	struct reader {
		struct bus *bus;
		struct bus_subscription *s;
		bool dying;
		unsigned lives;
		bool worked; /* its handler succeeded in this round */
	} readers[READERS];
	struct bus *operator;
} w;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	if (!w.telling)
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
		if (w.readers[i].s == d->subscription)
			return &w.readers[i];
	return &w.readers[0];
}

/* The effect is done: what happens between that and the commit. */
static void kill_within(const struct bus_delivery *d)
{
	struct reader *r = reader_of(d);
	r->worked = true;
	if (w.ending || !(w.may & KILLS) || sim_random(150) != 0)
		return;
	say("reader %d is killed within its handler", (int)(r - w.readers));
	r->dying = true;
	sim_kill(r->bus);
}

static bool was_edited(const struct bus_delivery *d)
{
	return d->body.size > 1 && d->body.data[0] == '0';
}

static int trouble(const struct bus_delivery *d, unsigned n, struct error *err)
{
	if (w.outage)
		return error_set(err, WEIR_UNAVAILABLE, "its dependency is down");
	if (n % 17 == 3 && !w.mended && !was_edited(d))
		return error_set(err, WEIR_INVALID, "%u is bad", n);
	if (!w.ending && sim_random(12) == 0)
		return error_set(err, WEIR_IO, "now and then");
	return 0;
}

static int apply(const struct bus_delivery *d, bool *done, const bool *skipped, const char *what, struct error *err)
{
	unsigned n = number_of(d);
	int r = trouble(d, n, err);
	say("reader %d: %s %u from %s%s: %s", (int)(reader_of(d) - w.readers), what, n, d->message->id, d->message->replay ? " (replay)" : "",
	    r         ? err->text
	    : done[n] ? "was done"
		      : "done");
	if (r != 0)
		return r;
	for (unsigned earlier = n % KEYS; earlier < n && !done[n]; earlier += KEYS)
		if (!done[earlier] && !skipped[earlier] && w.disorders++ == 0)
			snprintf(w.first_disorder, sizeof w.first_disorder, "%s %u was applied before %u", what, n, earlier);
	done[n] = true;
	kill_within(d);
	return 0;
}

static int on_fact(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	return apply(d, w.fact_done, w.fact_skipped, "fact", err);
}

static int on_news(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	return apply(d, w.news_done, w.news_skipped, "news", err);
}

static int on_job(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	struct event e;
	unsigned n = number_of(d);
	int r = trouble(d, n, err);
	say("reader %d: job %u from %s: %s", (int)(reader_of(d) - w.readers), n, d->message->id, r ? err->text : "done");
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
	say("reader %d: result %u", (int)(reader_of(d) - w.readers), number_of(d));
	w.job_done[number_of(d)] = true;
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

static void open_reader(int i)
{
	struct reader *r = &w.readers[i];
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

static void close_reader(int i)
{
	bus_subscription_close(&w.readers[i].s);
	bus_close(&w.readers[i].bus);
}

/* A round that ended well, with nothing left to wait for, ended with a commit: only who holds the lease may have made it. */
static void holds_the_lease(const struct reader *r, const char *topic, const char *subscription)
{
	char key[80];
	snprintf(key, sizeof key, "weir:{sim}:%s:own:%s", topic, subscription);
	if (!strstr(sim_ask((const char *const[]){ "HGET", key, "token", NULL }), r->s->token))
		fail_msg("seed %llu: a reader of %s committed under token %s, which was not the lease's", (unsigned long long)w.seed, topic,
			 r->s->token);
}

static void turn_reader(int i)
{
	struct reader *r = &w.readers[i];
	struct error err = { 0 };
	r->worked = false;
	int code = bus_subscription_turn(r->s, (int64_t)sim_random(30), &err);
	static struct bus_subscription_status st;
	bus_subscription_status(r->s, &st);
	if (st.held > HOLD + BATCH)
		fail_msg("seed %llu: reader %d holds %zu messages", (unsigned long long)w.seed, i, st.held);
	if (code == 0 && r->worked && !r->dying && st.held == 0)
		holds_the_lease(r, i < 2 ? "facts" : "results", i < 2 ? "books" : "ledger");
	if (code != 0)
		say("reader %d: %s", i, err.text);
	if (code != 0 && code != WEIR_FENCED && !error_retriable(code) && !r->dying)
		fail_msg("seed %llu: reader %d: %s", (unsigned long long)w.seed, i, err.text);
	if (r->dying) {
		close_reader(i);
		open_reader(i);
	}
}

static void open_publisher(struct publisher *p, const char *topic, const char *name)
{
	p->bus = sim_bus(name);
	assert_int_equal(bus_publisher_open(p->bus, "sim", topic, name, &p->p, NULL), 0);
}

/* An outbox: its own dense sequence, resumed where the stream ends. */
static void publish_facts(void)
{
	struct event e[8];
	struct frame frames[8];
	size_t n = 1 + sim_random(7);
	uint64_t tail = 0, first = w.facts.next + 1;
	struct error err = { 0 };
	if (first + n - 1 > FACTS)
		n = FACTS - w.facts.next;
	for (size_t i = 0; i < n; i++) {
		make_event(&e[i], FACT, w.facts.next + i);
		frames[i] = e[i].frame;
	}
	int r = bus_publish_sequence(w.facts.p, first, frames, n, &tail, &err);
	if (r != 0 && !error_retriable(r))
		fail_msg("seed %llu: %s", (unsigned long long)w.seed, err.text);
	say("facts from %u, %zu: %s, tail %u", (unsigned)first, n, r ? err.text : "published", (unsigned)tail);
	if (r == 0 || r == WEIR_GAP)
		w.facts.next = tail < FACTS ? tail : FACTS;
}

/* A producer that numbers by itself; told of a loss it begins its journal anew. */
static void publish_counted(struct publisher *p, uint16_t type, uint64_t all)
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
		fail_msg("seed %llu: %s", (unsigned long long)w.seed, err.text);
	say("%s from %u, %zu: %s", bus_type_of(type)->name, (unsigned)p->next, n, r ? err.text : "published");
	if (r == WEIR_GAP)
		p->next = 0;
	else if (r == 0 && e[0].frame.type != TICK)
		p->next += n;
}

static void publish_dust(void)
{
	static struct event e[200];
	static struct frame frames[200];
	size_t n = 128 + sim_random(72);
	struct error err = { 0 };
	if (w.dust.next + n > DUSTS)
		n = DUSTS - w.dust.next;
	for (size_t i = 0; i < n; i++) {
		make_event(&e[i], DUST, w.dust.next + i);
		frames[i] = e[i].frame;
	}
	int r;
	do
		r = bus_publish(w.dust.p, frames, n, &err);
	while (r != 0 && r != WEIR_GAP && r != WEIR_FULL && error_retriable(r));
	say("dust from %u, %zu: %s", (unsigned)w.dust.next, n, r ? err.text : "published");
	w.dust.next = r == WEIR_GAP ? 0 : r == 0 ? w.dust.next + n : w.dust.next;
}

/* -- the operator ------------------------------------------------------------------------------------------------------------------------ */

static const char *const subscriptions[] = { "books", "crew", "ledger" };
static const char *const topics[] = { "facts", "jobs", "results" };

/* What he may be told; anything else is a mistake of the bus. */
static void answered(int code, const struct error *err, const char *what)
{
	static const int known[] = { 0, WEIR_NOT_FOUND, WEIR_CONFLICT };
	bool good = code != 0 && error_retriable(code);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		good = good || code == known[i];
	if (!good)
		fail_msg("seed %llu: operator: %s: %s", (unsigned long long)w.seed, what, err->text);
	say("operator: %s: %s", what, code ? err->text : "done");
}

static void start_job(const char *subscription)
{
	struct error err = { 0 };
	struct dead_letter_job made;
	char key[8];
	const struct dead_letter_order o = { .filter.key = sim_random(2) ? NULL : (snprintf(key, sizeof key, "%u", (unsigned)sim_random(KEYS)), key),
					     .rate = (int64_t)sim_random(3) * 5,
					     .concurrency = 1 + (int64_t)sim_random(4),
					     .stop_percent = sim_random(2) ? 50 : 101,
					     .who = "operator", .why = "try" };
	answered(dead_letter_job_start(w.operator, "sim", subscription, &o, &made, &err), &err, "a job");
}

struct jobs {
	struct dead_letter_job list[8];
	size_t n, active;
};

static void add_job(const struct dead_letter_job *one, void *arg)
{
	struct jobs *jobs = arg;
	jobs->active += strcmp(one->state, "running") == 0 || strcmp(one->state, "paused") == 0;
	if (jobs->n < sizeof jobs->list / sizeof jobs->list[0])
		jobs->list[jobs->n++] = *one;
}

static void control_job(const char *subscription, enum dead_letter_job_action action)
{
	struct jobs jobs = { .n = 0 };
	struct error err = { 0 };
	struct dead_letter_job now;
	if (dead_letter_job_list(w.operator, "sim", subscription, 0, add_job, &jobs, NULL) == 0 && jobs.n > 0)
		answered(dead_letter_job_control(w.operator, "sim", jobs.list[sim_random(jobs.n)].id, action, "operator", "so", &now, &err), &err,
			 action == DEAD_LETTER_JOB_PAUSE    ? "pause of a job"
			 : action == DEAD_LETTER_JOB_RESUME ? "resuming a job"
							    : "cancel of a job");
}

/* A letter of the subscription, by its id and event. */
struct letter {
	char id[48];
	uint16_t type;
	unsigned number;
	size_t skip; /* so many before it */
};

static bool take_letter(const char *id, struct bytes body, void *arg)
{
	struct letter *l = arg;
	(void)body;
	snprintf(l->id, sizeof l->id, "%s", id);
	return l->skip-- > 0;
}

static bool read_letter(const char *id, struct bytes body, void *arg)
{
	struct letter *l = arg;
	struct frame f;
	(void)id;
	Weir__V1__DeadLetter *unpacked = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	assert_non_null(unpacked);
	assert_int_equal(frame_read((struct bytes){ unpacked->frame.data, unpacked->frame.len }, &f, NULL), 0);
	l->type = f.type;
	for (size_t i = 0; i < f.body.size; i++)
		l->number = l->number * 10 + (unsigned)(f.body.data[i] - '0');
	weir__v1__dead_letter__free_unpacked(unpacked, NULL);
	return true;
}

static bool some_letter(const char *subscription, struct letter *ret)
{
	*ret = (struct letter){ .skip = sim_random(6) };
	return dead_letter_list(w.operator, "sim", subscription, NULL, NULL, 6, take_letter, ret, NULL) == 0 && *ret->id &&
	       dead_letter_show(w.operator, "sim", subscription, ret->id, read_letter, ret, NULL) == 0;
}

static void skip_letter(void)
{
	struct letter l;
	struct error err = { 0 };
	if (!some_letter("books", &l))
		return;
	if (l.type == FACT)
		w.fact_skipped[l.number] = true;
	else
		w.news_skipped[l.number] = true;
	answered(dead_letter_skip(w.operator, "sim", "books", l.id, "operator", "the others wait", &err), &err, "skip");
}

/* A body with which it works. */
static void edit_letter(const char *subscription)
{
	struct letter l;
	struct error err = { 0 };
	char body[16];
	if (!some_letter(subscription, &l))
		return;
	const struct dead_letter_edit e = { .body = { (const uint8_t *)body, (size_t)snprintf(body, sizeof body, "0%u", l.number) },
					    .who = "operator",
					    .why = "it is bad" };
	answered(dead_letter_edit(w.operator, "sim", subscription, l.id, &e, NULL, &err), &err, "edit");
}

/* Back, never forth: what is skipped is not handled, as the manual says. */
static void seek_back(int i)
{
	char key[80];
	struct error err = { 0 };
	enum bus_class klass = i == 0 && sim_random(2) ? BUS_HIGH : BUS_NORMAL;
	unsigned long long generation = 0, sequence = 0;
	snprintf(key, sizeof key, "weir:{sim}:%s:own:%s", topics[i], subscriptions[i]);
	const char *floor = strstr(sim_ask((const char *const[]){ "HGET", key, klass == BUS_HIGH ? "floor:high" : "floor:normal", NULL }), "\r\n");
	if (!floor || sscanf(floor, " %llu-%llu", &generation, &sequence) != 2)
		return;
	sequence -= sim_random(sequence + 1);
	answered(bus_subscription_seek(w.operator, "sim", topics[i], subscriptions[i], klass, generation, sequence, "operator", &err), &err, "seek");
}

static void operate(void)
{
	uint64_t n = 0;
	int i = (int)sim_random(3);
	const char *subscription = subscriptions[i];
	int r = dead_letter_replay(w.operator, "sim", subscription, NULL, NULL, 0, "operator", &n, NULL);
	say("operator: replay of %s: %d, %u letters", subscription, r, (unsigned)n);
	if (w.may & LOSSES)
		(void)bus_trim(w.operator, "sim", sim_random(2) ? "facts" : "jobs", 0, NULL);
}

static void operate_otherwise(void)
{
	int i = (int)sim_random(3);
	switch (w.ending ? 1 : sim_random(6)) {
	case 0:
		start_job(subscriptions[i]);
		break;
	case 1:
		control_job(subscriptions[i], w.ending ? DEAD_LETTER_JOB_RESUME : (enum dead_letter_job_action)sim_random(3));
		break;
	case 2:
		skip_letter();
		break;
	case 3:
		edit_letter(subscriptions[i]);
		break;
	case 4:
		seek_back(sim_random(2) ? 0 : 2); /* a shared lane's place is no floor: what is behind it may be in hand */
		break;
	default: /* by a job alone, now and then */
		start_job(subscriptions[i]);
		control_job(subscriptions[i], DEAD_LETTER_JOB_RESUME);
	}
}

/* -- faults ----------------------------------------------------------------------------------------------------------------------------- */

static void fault(void)
{
	int i = (int)sim_random(READERS);
	switch (sim_random(10)) {
	case 0:
		say("connection of reader %d breaks", i);
		sim_cut(w.readers[i].bus);
		break;
	case 1:
		say("connection of the publishers breaks");
		sim_cut(w.news.bus);
		sim_cut(w.facts.bus);
		break;
	case 2:
		say("time passes");
		sim_advance(1 + (int64_t)sim_random(8000));
		break;
	case 3:
		sim_lose_functions();
		break;
	case 4:
		w.outage = !w.outage;
		say("outage: %d", w.outage);
		break;
	case 5:
		if (w.may & KILLS) {
			say("reader %d is killed", i);
			sim_kill(w.readers[i].bus);
			close_reader(i);
			open_reader(i);
		}
		break;
	case 6:
		if (w.may & LOSSES) {
			int lost = sim_random(3) ? (int)sim_random(24) : 0;
			say("Redis restarts without its last %d operations", lost);
			w.lost = w.lost || lost > 0;
			sim_restart(lost);
		}
		break;
	case 7:
		if (w.may & FLUSHES && sim_random(4) == 0) {
			say("Redis is empty");
			w.lost = true;
			sim_restart(-1);
		}
		break;
	case 8:
		if (w.may & FLUSHES)
			sim_set_oom(sim_random(2));
		break;
	case 9: {
		int64_t beside_ms = (int64_t)sim_random(7200000) - 3600000; /* up to an hour */
		say("the server's clock is set to %.3f s beside", (double)beside_ms / 1000);
		sim_jump(beside_ms);
		break;
	}
	}
}

/* -- one schedule ------------------------------------------------------------------------------------------------------------------------- */

static void step(void)
{
	switch (sim_random(14)) {
	case 0:
	case 1:
		publish_facts();
		break;
	case 2:
		publish_counted(&w.news, NEWS, NEWSES);
		break;
	case 3:
		publish_counted(&w.jobs, JOB, JOBS);
		break;
	case 4:
		if (w.dust.next < DUSTS)
			publish_dust();
		break;
	case 5:
		operate();
		break;
	case 6:
		operate_otherwise();
		break;
	default:
		turn_reader((int)sim_random(READERS));
	}
}

static bool all_done(void)
{
	bool done = w.dust.next == DUSTS;
	for (int i = 0; i < FACTS; i++)
		done = done && w.fact_done[i];
	for (int i = 0; i < NEWSES; i++)
		done = done && w.news_done[i];
	for (int i = 0; i < JOBS; i++)
		done = done && w.job_done[i];
	return done;
}

static bool settled(void)
{
	bool quiet = all_done();
	for (int i = 0; i < 3 && quiet; i++) {
		uint64_t n = 1;
		struct jobs jobs = { .n = 0 };
		quiet = dead_letter_count(w.operator, "sim", subscriptions[i], &n, NULL) == 0 && n == 0 &&
			dead_letter_job_list(w.operator, "sim", subscriptions[i], 0, add_job, &jobs, NULL) == 0 && jobs.active == 0;
	}
	for (int i = 0; i < READERS && quiet; i++) {
		static struct bus_subscription_status st;
		bus_subscription_status(w.readers[i].s, &st);
		quiet = st.held == 0;
	}
	/* What was published twice because of a loss may be in a dead reader's hands still. */
	return quiet && strncmp(sim_ask((const char *const[]){ "XPENDING", "weir:{sim}:jobs:normal", "crew", NULL }), "*4\r\n:0\r\n", 8) == 0;
}

/* How many entries the class ever had: acknowledged ones of a shared lane are gone. */
static void was_published(const char *meta, const char *klass, unsigned n)
{
	char expected[48], number[16];
	int digits = snprintf(number, sizeof number, "%u", n);
	snprintf(expected, sizeof expected, "$%d\r\n%s\r\n", digits, number);
	const char *got = sim_ask((const char *const[]){ "HGET", meta, klass, NULL });
	if (strcmp(got, expected) != 0)
		fail_msg("seed %llu: %s of %s is %s, not %u", (unsigned long long)w.seed, klass, meta, got, n);
}

/* Of what is done Redis remembers nothing that would grow with the number of messages. */
static void nothing_is_left(const char *subscription)
{
	static const char *const kept[] = { "att", "rpi", "rpl", "rpm", "rpk", "rpw", "rpo", "park", "pkh", "dlqi", "dlqf", "dlqr", "dlqt", "dlqn" };
	char key[80];
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		snprintf(key, sizeof key, "weir:{sim}:%s:%s", kept[i], subscription);
		if (strcmp(sim_ask((const char *const[]){ "EXISTS", key, NULL }), ":0\r\n") != 0)
			fail_msg("seed %llu: all is settled, and something is left in %s", (unsigned long long)w.seed, key);
	}
}

static void verify(void)
{
	if (w.disorders)
		fail_msg("seed %llu: %u times out of order: %s", (unsigned long long)w.seed, w.disorders, w.first_disorder);
	if (!settled()) {
		int facts = 0, newses = 0, jobs = 0;
		uint64_t letters[3] = { 0 };
		for (int i = 0; i < FACTS; i++)
			facts += w.fact_done[i];
		for (int i = 0; i < NEWSES; i++)
			newses += w.news_done[i];
		for (int i = 0; i < JOBS; i++)
			jobs += w.job_done[i];
		(void)dead_letter_count(w.operator, "sim", "books", &letters[0], NULL);
		(void)dead_letter_count(w.operator, "sim", "crew", &letters[1], NULL);
		(void)dead_letter_count(w.operator, "sim", "ledger", &letters[2], NULL);
		fail_msg("seed %llu: at the end %d of %d facts, %d of %d news, %d of %d jobs; letters %u %u %u", (unsigned long long)w.seed, facts,
			 FACTS, newses, NEWSES, jobs, JOBS, (unsigned)letters[0], (unsigned)letters[1], (unsigned)letters[2]);
	}
	nothing_is_left("books");
	nothing_is_left("crew");
	nothing_is_left("ledger");
	if (w.lost || w.may & LOSSES)
		return; /* some were published twice, or trimmed */
	was_published("weir:{sim}:facts:meta", "hw:normal", FACTS);
	was_published("weir:{sim}:facts:meta", "hw:high", NEWSES);
	was_published("weir:{sim}:jobs:meta", "hw:normal", JOBS);
	was_published("weir:{sim}:results:meta", "hw:normal", JOBS);
	was_published("weir:{sim}:dust:meta", "hw:normal", DUSTS);
	assert_string_equal(sim_ask((const char *const[]){ "XLEN", "weir:{sim}:dust:normal", NULL }), ":400\r\n");
}

static void run_schedule(uint64_t seed, bool telling)
{
	static const unsigned kinds[] = { 0, KILLS, LOSSES, LOSSES | KILLS, LOSSES | KILLS | FLUSHES };
	static const struct sim_faults faults = { .request_lost = 60, .reply_lost = 60, .delayed = 30, .refused = 500 };
	memset(&w, 0, sizeof w);
	w.seed = seed;
	w.telling = telling;
	w.may = kinds[seed % 5];
	sim_begin(seed);
	open_publisher(&w.facts, "facts", "outbox");
	open_publisher(&w.news, "facts", "newsroom");
	open_publisher(&w.jobs, "jobs", "office");
	open_publisher(&w.dust, "dust", "broom");
	w.operator= sim_bus("operator");
	for (int i = 0; i < READERS; i++)
		open_reader(i);
	sim_set_faults(&faults);
	for (int i = 0; i < STEPS; i++) {
		step();
		if (sim_random(8) == 0)
			fault();
		if (sim_random(STEPS) == 0)
			w.mended = true;
	}
	say("the faults stop");
	sim_set_faults(NULL);
	sim_set_oom(false);
	w.ending = w.mended = true;
	w.outage = false;
	for (int i = 0; i < ENDING && !(i % 20 == 0 && settled()); i++) {
		step();
		if (i % 50 == 0)
			sim_advance(1000);
	}
	for (int i = 0; i < READERS; i++) { /* what is done now and then */
		sim_advance(3000);
		turn_reader(i);
	}
	verify();
	for (int i = 0; i < READERS; i++)
		close_reader(i);
	struct publisher *publishers[] = { &w.facts, &w.news, &w.jobs, &w.dust };
	for (int i = 0; i < 4; i++) {
		bus_publisher_close(&publishers[i]->p);
		bus_close(&publishers[i]->bus);
	}
	bus_close(&w.operator);
	sim_end();
}

static void schedules_end_well(void **state)
{
	(void)state;
	const char *one = getenv("SIM_SEED"), *many = getenv("SIM_SCHEDULES"), *from = getenv("SIM_FROM");
	if (one) {
		run_schedule(strtoull(one, NULL, 10), true);
		return;
	}
	uint64_t n = many ? strtoull(many, NULL, 10) : 200, commands = 0, first = from ? strtoull(from, NULL, 10) : 0;
	for (uint64_t seed = first; seed < first + n; seed++) {
		run_schedule(seed, false);
		commands += sim_commands();
		if (getenv("SIM_PROGRESS"))
			fprintf(stderr, "seed %llu: %llu commands\n", (unsigned long long)seed, (unsigned long long)sim_commands());
	}
	printf("%llu schedules, %llu commands\n", (unsigned long long)n, (unsigned long long)commands);
}

static void the_same_seed_is_the_same_run(void **state)
{
	(void)state;
	uint64_t commands[2];
	for (int i = 0; i < 2; i++) {
		run_schedule(4, false);
		commands[i] = sim_commands();
	}
	assert_int_equal(commands[0], commands[1]);
}

/* -- the model against the real one ------------------------------------------------------------------------------------------------------- */

/* K: a key of the command's kind, F: a field or member, N: a small number, I: a stream id, C: a consumer */
static const char *const commands[] = {
	"HSET hK F N",
	"HSETNX hK F N",
	"HGET hK F",
	"HMGET hK F F",
	"HDEL hK F",
	"HINCRBY hK n N",
	"HEXISTS hK F",
	"HSTRLEN hK F",
	"SADD sK F F",
	"SREM sK F",
	"SISMEMBER sK F",
	"SMISMEMBER sK F F",
	"SCARD sK",
	"RPUSH lK F",
	"LPUSH lK F",
	"LPOP lK",
	"ZMSCORE zK F F",
	"SET yK F",
	"SET yK F NX",
	"SET yK F XX",
	"GET yK",
	"LPOP lK 2",
	"LLEN lK",
	"LINDEX lK N",
	"LRANGE lK 0 N",
	"LREM lK 1 F",
	"LREM lK 0 F",
	"LINSERT lK BEFORE F F",
	"ZADD zK N F",
	"ZADD zK XX CH N F",
	"ZREM zK F",
	"ZSCORE zK F",
	"ZCARD zK",
	"ZRANGE zK 0 N",
	"ZRANGE zK 0 -1",
	"ZREVRANGE zK 0 N",
	"ZRANGEBYSCORE zK -inf N LIMIT 0 3",
	"ZADD yK 0 F",
	"ZRANGEBYLEX yK - +",
	"ZRANGEBYLEX yK (F + LIMIT 0 2",
	"ZLEXCOUNT yK [F +",
	"ZREMRANGEBYRANK zK 0 -4",
	"XADD xK I d F",
	"XADD xK 9-* d F",
	"XADD xK MAXLEN 5 I d F",
	"XLEN xK",
	"XRANGE xK - + COUNT 3",
	"XRANGE xK (I +",
	"XREVRANGE xK + - COUNT 2",
	"XDEL xK I",
	"XTRIM xK MINID I",
	"XTRIM xK MAXLEN 3",
	"XGROUP CREATE xK g 0 MKSTREAM",
	"XGROUP SETID xK g I ENTRIESREAD 1",
	"XGROUP DELCONSUMER xK g C",
	"XREADGROUP GROUP g C COUNT 2 STREAMS xK >",
	"XREAD COUNT 2 STREAMS xK I",
	"XACK xK g I",
	"XCLAIM xK g C 0 I",
	"XCLAIM xK g C 0 I JUSTID",
	"XPENDING xK g",
	"XGROUP DESTROY xK g",
	"DEL xK",
	"EXISTS hK sK",
	"DEL zK lK",
	"XADD xK I d F",
	"XADD xK I d F",
	"XREADGROUP GROUP g C STREAMS xK >",
	"XGROUP CREATE xK g $ MKSTREAM",
};
enum { COMMANDS = sizeof commands / sizeof commands[0], WORDS = 12 };

static size_t make_command(char words[WORDS][24], const char *list[WORDS + 1])
{
	char text[128];
	size_t n = 0;
	snprintf(text, sizeof text, "%s", commands[sim_random(COMMANDS)]);
	for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *to = words[n];
		size_t length = strlen(word);
		char last = word[length - 1];
		bool marked = length < 3 && n > 0 && strchr("KFNIC", last) && (length == 1 || strchr("hslzyx([", word[0]));
		int lead = (int)(length - 1);
		if (!marked)
			snprintf(to, 24, "%s", word);
		else if (last == 'I')
			snprintf(to, 24, "%.*s%u-%u", lead, word, (unsigned)sim_random(12), 1 + (unsigned)sim_random(3));
		else
			snprintf(to, 24, "%.*s%s%u", lead, word,
				 last == 'F'   ? "f"
				 : last == 'C' ? "c"
					       : "",
				 (unsigned)sim_random(last == 'K' ? 2 : 6));
		list[n] = words[n];
		n++;
	}
	list[n] = NULL;
	return n;
}

static void print_reply(const redisReply *r, struct buf *out)
{
	switch (r->type) {
	case REDIS_REPLY_STRING:
		buf_printf(out, "$%zu\r\n", r->len);
		buf_add(out, r->str, r->len);
		buf_add_str(out, "\r\n");
		break;
	case REDIS_REPLY_INTEGER:
		buf_printf(out, ":%lld\r\n", r->integer);
		break;
	case REDIS_REPLY_STATUS:
		buf_printf(out, "+%s\r\n", r->str);
		break;
	case REDIS_REPLY_ERROR: /* its first word is what anybody may look at */
		buf_printf(out, "-%.*s", (int)strcspn(r->str, " "), r->str);
		break;
	case REDIS_REPLY_ARRAY:
		buf_printf(out, "*%zu\r\n", r->elements);
		for (size_t i = 0; i < r->elements; i++)
			print_reply(r->element[i], out);
		break;
	default:
		buf_add_str(out, "nil");
	}
}

static void the_model_answers_as_redis_does(void **state)
{
	(void)state;
	redisContext *real = redisConnectUnix(fixture_server.url + 7);
	assert_true(real && !real->err);
	sim_begin(7);
	for (int i = 0; i < 20000; i++) {
		char words[WORDS][24];
		const char *list[WORDS + 1];
		size_t n = make_command(words, list);
		redisReader *reader = redisReaderCreate();
		redisReply *a = redisCommandArgv(real, (int)n, list, NULL), *b = NULL;
		const char *wire = sim_ask(list);
		assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
		assert_int_equal(redisReaderGetReply(reader, (void **)&b), REDIS_OK);
		struct buf x = BUF_INIT(1u << 20), y = BUF_INIT(1u << 20);
		assert_true(a && b);
		print_reply(a, &x);
		print_reply(b, &y);
		if (strcmp(buf_str(&x), buf_str(&y)) != 0) {
			for (size_t k = 0; k < n; k++)
				printf("%s ", list[k]);
			fail_msg("(command %d): Redis says %s, the model %s", i, buf_str(&x), buf_str(&y));
		}
		buf_free(&x);
		buf_free(&y);
		freeReplyObject(a);
		freeReplyObject(b);
		redisReaderFree(reader);
	}
	sim_end();
	redisFree(real);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	if (bus_types_add(types, sizeof types / sizeof types[0], NULL) != 0)
		return 1;
	const struct CMUnitTest tests[] = { cmocka_unit_test(schedules_end_well), cmocka_unit_test(the_same_seed_is_the_same_run),
					    cmocka_unit_test(the_model_answers_as_redis_does) };
	return fixture_run(tests);
}

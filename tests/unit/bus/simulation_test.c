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
#include "support/sim_redis.h"
#include "support/sim_world.h"
#include "weir/v1/dead_letter.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
		fail_msg("seed %llu: operator: %s: %s", (unsigned long long)world.seed, what, err->text);
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
	answered(dead_letter_job_start(world.operator, "sim", subscription, &o, &made, &err), &err, "a job");
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
	if (dead_letter_job_list(world.operator, "sim", subscription, 0, add_job, &jobs, NULL) == 0 && jobs.n > 0)
		answered(dead_letter_job_control(world.operator, "sim", jobs.list[sim_random(jobs.n)].id, action, "operator", "so", &now, &err), &err,
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
	return dead_letter_list(world.operator, "sim", subscription, NULL, NULL, 6, take_letter, ret, NULL) == 0 && *ret->id &&
	       dead_letter_show(world.operator, "sim", subscription, ret->id, read_letter, ret, NULL) == 0;
}

static void skip_letter(void)
{
	struct letter l;
	struct error err = { 0 };
	if (!some_letter("books", &l))
		return;
	if (l.type == FACT)
		world.fact_skipped[l.number] = true;
	else
		world.news_skipped[l.number] = true;
	answered(dead_letter_skip(world.operator, "sim", "books", l.id, "operator", "the others wait", &err), &err, "skip");
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
	answered(dead_letter_edit(world.operator, "sim", subscription, l.id, &e, NULL, &err), &err, "edit");
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
	answered(bus_subscription_seek(world.operator, "sim", topics[i], subscriptions[i], klass, generation, sequence, "operator", &err), &err, "seek");
}

static void operate(void)
{
	uint64_t n = 0;
	int i = (int)sim_random(3);
	const char *subscription = subscriptions[i];
	int r = dead_letter_replay(world.operator, "sim", subscription, NULL, NULL, 0, "operator", &n, NULL);
	say("operator: replay of %s: %d, %u letters", subscription, r, (unsigned)n);
	if (world.may & LOSSES)
		(void)bus_trim(world.operator, "sim", sim_random(2) ? "facts" : "jobs", 0, NULL);
}

static void operate_otherwise(void)
{
	int i = (int)sim_random(3);
	switch (world.ending ? 1 : sim_random(6)) {
	case 0:
		start_job(subscriptions[i]);
		break;
	case 1:
		control_job(subscriptions[i], world.ending ? DEAD_LETTER_JOB_RESUME : (enum dead_letter_job_action)sim_random(3));
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
		sim_cut(world.readers[i].bus);
		break;
	case 1:
		say("connection of the publishers breaks");
		sim_cut(world.news.bus);
		sim_cut(world.facts.bus);
		break;
	case 2:
		say("time passes");
		sim_advance(1 + (int64_t)sim_random(8000));
		break;
	case 3:
		sim_lose_functions();
		break;
	case 4:
		world.outage = !world.outage;
		say("outage: %d", world.outage);
		break;
	case 5:
		if (world.may & KILLS) {
			say("reader %d is killed", i);
			sim_kill(world.readers[i].bus);
			close_reader(i);
			open_reader(i);
		}
		break;
	case 6:
		if (world.may & LOSSES) {
			int lost = sim_random(3) ? (int)sim_random(24) : 0;
			say("Redis restarts without its last %d operations", lost);
			world.lost = world.lost || lost > 0;
			sim_restart(lost);
		}
		break;
	case 7:
		if (world.may & FLUSHES && sim_random(4) == 0) {
			say("Redis is empty");
			world.lost = true;
			sim_restart(-1);
		}
		break;
	case 8:
		if (world.may & FLUSHES)
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
		publish_counted(&world.news, NEWS, NEWSES);
		break;
	case 3:
		publish_counted(&world.jobs, JOB, JOBS);
		break;
	case 4:
		if (world.dust.next < DUSTS)
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
	bool done = world.dust.next == DUSTS;
	for (int i = 0; i < FACTS; i++)
		done = done && world.fact_done[i];
	for (int i = 0; i < NEWSES; i++)
		done = done && world.news_done[i];
	for (int i = 0; i < JOBS; i++)
		done = done && world.job_done[i];
	return done;
}

static bool settled(void)
{
	bool quiet = all_done();
	for (int i = 0; i < 3 && quiet; i++) {
		uint64_t n = 1;
		struct jobs jobs = { .n = 0 };
		quiet = dead_letter_count(world.operator, "sim", subscriptions[i], &n, NULL) == 0 && n == 0 &&
			dead_letter_job_list(world.operator, "sim", subscriptions[i], 0, add_job, &jobs, NULL) == 0 && jobs.active == 0;
	}
	for (int i = 0; i < READERS && quiet; i++) {
		static struct bus_subscription_status st;
		bus_subscription_status(world.readers[i].s, &st);
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
		fail_msg("seed %llu: %s of %s is %s, not %u", (unsigned long long)world.seed, klass, meta, got, n);
}

/* Of what is done Redis remembers nothing that would grow with the number of messages. */
static void nothing_is_left(const char *subscription)
{
	static const char *const kept[] = { "att", "rpi", "rpl", "rpm", "rpk", "rpw", "rpo", "park", "pkh", "dlqi", "dlqf", "dlqr", "dlqt", "dlqn" };
	char key[80];
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		snprintf(key, sizeof key, "weir:{sim}:%s:%s", kept[i], subscription);
		if (strcmp(sim_ask((const char *const[]){ "EXISTS", key, NULL }), ":0\r\n") != 0)
			fail_msg("seed %llu: all is settled, and something is left in %s", (unsigned long long)world.seed, key);
	}
}

static void verify(void)
{
	if (world.disorders)
		fail_msg("seed %llu: %u times out of order: %s", (unsigned long long)world.seed, world.disorders, world.first_disorder);
	if (!settled()) {
		int facts = 0, newses = 0, jobs = 0;
		uint64_t letters[3] = { 0 };
		for (int i = 0; i < FACTS; i++)
			facts += world.fact_done[i];
		for (int i = 0; i < NEWSES; i++)
			newses += world.news_done[i];
		for (int i = 0; i < JOBS; i++)
			jobs += world.job_done[i];
		(void)dead_letter_count(world.operator, "sim", "books", &letters[0], NULL);
		(void)dead_letter_count(world.operator, "sim", "crew", &letters[1], NULL);
		(void)dead_letter_count(world.operator, "sim", "ledger", &letters[2], NULL);
		fail_msg("seed %llu: at the end %d of %d facts, %d of %d news, %d of %d jobs; letters %u %u %u", (unsigned long long)world.seed, facts,
			 FACTS, newses, NEWSES, jobs, JOBS, (unsigned)letters[0], (unsigned)letters[1], (unsigned)letters[2]);
	}
	nothing_is_left("books");
	nothing_is_left("crew");
	nothing_is_left("ledger");
	if (world.lost || world.may & LOSSES)
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
	static const struct sim_faults faults = { .request_lost = 60, .reply_lost = 60, .delayed = 30, .answered = 60, .refused = 500 };
	memset(&world, 0, sizeof world);
	world.seed = seed;
	world.telling = telling;
	world.may = kinds[seed % 5];
	sim_begin(seed);
	open_publisher(&world.facts, "facts", "outbox");
	open_publisher(&world.news, "facts", "newsroom");
	open_publisher(&world.jobs, "jobs", "office");
	open_publisher(&world.dust, "dust", "broom");
	world.operator= sim_bus("operator");
	for (int i = 0; i < READERS; i++)
		open_reader(i);
	sim_set_faults(&faults);
	for (int i = 0; i < STEPS; i++) {
		step();
		if (sim_random(8) == 0)
			fault();
		if (sim_random(STEPS) == 0)
			world.mended = true;
	}
	say("the faults stop");
	sim_set_faults(NULL);
	sim_set_oom(false);
	world.ending = world.mended = true;
	world.outage = false;
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
	struct publisher *publishers[] = { &world.facts, &world.news, &world.jobs, &world.dust };
	for (int i = 0; i < 4; i++) {
		bus_publisher_close(&publishers[i]->p);
		bus_close(&publishers[i]->bus);
	}
	bus_close(&world.operator);
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

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	if (world_types() != 0)
		return 1;
	const struct CMUnitTest tests[] = { cmocka_unit_test(schedules_end_well), cmocka_unit_test(the_same_seed_is_the_same_run) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* admission_test.c - who may publish when Redis' memory is nearly used up, or readers are late or have much to read: what is low waits first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/bus_fixture.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE_MS 60000

static const uint16_t of_class[] = { MESSAGE_CHAIN_FORK, MESSAGE_RAW_BLOCK_TIP, MESSAGE_NORMALIZED_BLOCK, MESSAGE_RAW_BLOCK_BACKFILL };
enum { CRITICAL, HIGH, NORMAL, LOW, CLASSES };

static int64_t max_backlog; /* 0: the bus' own */

static int fresh(void **state)
{
	max_backlog = 0;
	return fixture_flush(state);
}

static struct bus *open_bus(int64_t max_age_ms)
{
	struct bus *bus;
	const struct bus_options o = {
		.url = fixture_server.url, .worker = "w", .command_timeout_ms = 20000, .max_age_ms = max_age_ms, .max_backlog = max_backlog
	};
	assert_int_equal(bus_open(&o, &bus, NULL), 0);
	return bus;
}

static struct frame message(int klass, int64_t age_ms)
{
	struct frame f = fixture_message(of_class[klass], "", "x");
	f.created_unix_ms = (uint64_t)(clock_wall_ms() - age_ms);
	return f;
}

/* By a bus of its own: what an older one has looked up holds for a second. */
static int publish(int klass, int64_t age_ms, int64_t limit_ms, struct error *err)
{
	struct bus *bus = open_bus(limit_ms);
	struct bus_publisher *p;
	struct frame f = message(klass, age_ms);
	assert_int_equal(bus_publisher_open(bus, "test", "t", "p", &p, NULL), 0);
	int r = bus_publish(p, &f, 1, err);
	bus_publisher_close(&p);
	bus_close(&bus);
	return r;
}

/* The least important class that may publish now; what is more important than it may, too. */
static int least_allowed(int64_t limit_ms)
{
	struct error err = { 0 };
	int least = -1;
	for (int c = CRITICAL; c < CLASSES; c++) {
		int r = publish(c, 0, limit_ms, &err);
		assert_true(r == 0 || r == WEIR_FULL);
		if (r == 0)
			assert_int_equal(least++, c - 1);
	}
	return least;
}

static long long used_memory(void)
{
	char *info = fixture_text("INFO memory");
	long long used = strtoll(strstr(info, "used_memory:") + strlen("used_memory:"), NULL, 10);
	free(info);
	return used;
}

static void what_is_low_waits_first_when_memory_runs_out(void **state)
{
	(void)state;
	static const struct {
		int percent, least;
	} steps[] = { { 70, LOW }, { 83, NORMAL }, { 88, HIGH }, { 93, CRITICAL }, { 98, CRITICAL } };
	fixture_ask("SETRANGE ballast 50000000 x"); /* so large that what connections take makes no difference */
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		fixture_ask("CONFIG SET maxmemory %lld", used_memory() * 100 / steps[i].percent);
		assert_int_equal(least_allowed(0), steps[i].least);
	}
	fixture_ask("CONFIG SET maxmemory 0");
	assert_int_equal(least_allowed(0), LOW);
}

static void what_waited_for_memory_goes_on_when_there_is_some(void **state)
{
	(void)state;
	struct bus *bus = open_bus(0);
	struct bus_publisher *p;
	const struct frame f = message(LOW, 0);
	struct error err = { 0 };
	int r;
	fixture_ask("SETRANGE ballast 50000000 x");
	fixture_ask("CONFIG SET maxmemory %lld", used_memory() * 100 / 90);
	assert_int_equal(bus_publisher_open(bus, "test", "t", "waits", &p, NULL), 0);
	assert_int_equal(bus_publish(p, &f, 1, &err), WEIR_FULL);
	fixture_ask("CONFIG SET maxmemory 0");
	for (int64_t end = clock_mono_ms() + 30000; (r = bus_publish(p, &f, 1, &err)) == WEIR_FULL && clock_mono_ms() < end;)
		clock_sleep_ms(10); /* what was looked up holds for a second */
	assert_int_equal(r, 0);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static struct bus_owner *reader(struct bus *bus)
{
	struct bus_owner *o;
	assert_int_equal(bus_owner_open(bus, "test", "t", "s", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	return o;
}

static void read_all(struct bus_owner *o)
{
	struct bus_message *m;
	size_t n;
	do {
		assert_int_equal(bus_owner_read(o, 100, 0, &m, &n, NULL), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(bus_owner_commit(o, m[i].klass, m[i].generation, m[i].sequence, NULL), 0);
	} while (n > 0);
}

static void what_is_less_important_than_the_late_waits_until_they_are_read(void **state)
{
	(void)state;
	static const int least[] = { CRITICAL, CRITICAL, HIGH, NORMAL }; /* when a message of that class is late */
	struct error err = { 0 };
	struct bus *bus = open_bus(0);
	struct bus_owner *o = reader(bus);
	for (int late = CRITICAL; late < CLASSES; late++) {
		assert_int_equal(publish(late, 2 * MINUTE_MS, 0, &err), 0);
		assert_int_equal(least_allowed(MINUTE_MS), least[late]);
		assert_int_equal(publish(LOW, 0, MINUTE_MS, &err), WEIR_FULL);
		assert_non_null(strstr(err.text, "is unread for"));
		assert_int_equal(least_allowed(0), LOW); /* without a limit nobody waits */
		read_all(o);
		assert_int_equal(least_allowed(MINUTE_MS), LOW);
		read_all(o);
	}
	bus_owner_close(&o);
	bus_close(&bus);
}

/* n messages of the class, whatever there is room for. */
static void fill(int klass, int n)
{
	struct error err = { 0 };
	int64_t limit = max_backlog;
	max_backlog = 1000;
	for (int i = 0; i < n; i++)
		assert_int_equal(publish(klass, 0, 0, &err), 0);
	max_backlog = limit;
}

/* least_allowed publishes one of each class that may: critical first, so a class sees one more of each that is more important. */
static void what_is_low_waits_first_when_much_is_unread(void **state)
{
	(void)state;
	static const struct {
		int klass, n, least;
	} steps[] = {
		{ LOW, 16, LOW },       { LOW, 17, NORMAL },   { LOW, 99, NORMAL },       { NORMAL, 16, LOW },     { NORMAL, 17, NORMAL },
		{ NORMAL, 37, NORMAL }, { NORMAL, 38, HIGH },  { HIGH, 38, HIGH },        { HIGH, 39, CRITICAL },  { CRITICAL, 39, CRITICAL },
		{ CRITICAL, 40, -1 },
	};
	struct bus *bus = open_bus(0);
	struct bus_owner *o = reader(bus);
	max_backlog = 40;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		fill(steps[i].klass, steps[i].n);
		int least = least_allowed(0);
		if (least != steps[i].least)
			fail_msg("%d of class %d: the least that may publish is %d, not %d", steps[i].n, steps[i].klass, least, steps[i].least);
		read_all(o);
	}
	assert_int_equal(least_allowed(0), LOW);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* Two calls of 128 and more go as transactions, with a check of their own. */
static void a_long_call_waits_as_well(void **state)
{
	(void)state;
	struct frame frames[200];
	struct error err = { 0 };
	struct bus_publisher *p;
	max_backlog = 300;
	struct bus *bus = open_bus(0);
	struct bus_owner *o = reader(bus);
	for (size_t i = 0; i < 200; i++)
		frames[i] = message(LOW, 0);
	assert_int_equal(bus_publisher_open(bus, "test", "t", "long", &p, NULL), 0);
	assert_int_equal(bus_publish(p, frames, 200, &err), 0); /* 150 may be there before the last call, not after it */
	assert_int_equal(bus_publish(p, frames, 200, &err), WEIR_FULL);
	read_all(o);
	assert_int_equal(bus_publish(p, frames, 200, &err), 0);
	bus_publisher_close(&p);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void what_a_step_emits_waits_as_well(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = open_bus(MINUTE_MS), *other = open_bus(0);
	struct bus_owner *o = reader(other);
	struct bus_worker *w;
	struct bus_message *m;
	size_t n;
	struct frame late = message(NORMAL, 2 * MINUTE_MS), result = message(NORMAL, 0);
	assert_int_equal(bus_worker_open(bus, "test", "work", "s", NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 10, 0, &m, &n, NULL), 0);
	assert_int_equal(publish(NORMAL, 2 * MINUTE_MS, 0, &err), 0);
	fixture_publish(other, "work", late);
	assert_int_equal(bus_worker_read(w, 10, 2000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	struct bus_step *s = bus_step_begin(w);
	bus_step_emit(s, &m[0], "t", &result);
	bus_step_settle(s, &m[0], BUS_DONE, NULL);
	assert_int_equal(bus_step_commit(&s, &err), WEIR_FULL);
	read_all(o);
	int r;
	for (int64_t end = clock_mono_ms() + 30000; (r = bus_step_commit(&s, &err)) == WEIR_FULL && clock_mono_ms() < end;)
		clock_sleep_ms(10); /* what was looked up holds for a second */
	assert_int_equal(r, 0);
	read_all(o);
	char *last = fixture_text("HGET weir:{test}:t:meta hw:normal");
	assert_string_equal(last, "2");
	free(last);
	bus_worker_close(&w);
	bus_owner_close(&o);
	bus_close(&other);
	bus_close(&bus);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	const struct CMUnitTest tests[] = {
		fixture_threads(what_is_low_waits_first_when_memory_runs_out, fresh, NULL, "debezium-server#314"),
		cmocka_unit_test_setup(what_waited_for_memory_goes_on_when_there_is_some, fresh),
		cmocka_unit_test_setup(what_is_less_important_than_the_late_waits_until_they_are_read, fresh),
		cmocka_unit_test_setup(what_is_low_waits_first_when_much_is_unread, fresh),
		cmocka_unit_test_setup(a_long_call_waits_as_well, fresh),
		cmocka_unit_test_setup(what_a_step_emits_waits_as_well, fresh),
	};
	return fixture_run(tests);
}

/* health_test.c - checks, their history and their JSON, against a real Redis that is killed, and on a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/health.h"
#include "support/bus_fixture.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

static int64_t offset_ns;
static int64_t (*real_clock)(void);

static int64_t moved_clock(void)
{
	return real_clock() + offset_ns;
}

static void pass(int64_t ms)
{
	offset_ns += ms * 1000000;
}

static int setup(void **state)
{
	if (!real_clock)
		real_clock = clock_mono_ns;
	clock_mono_ns = moved_clock;
	return fixture_flush(state);
}

static int teardown(void **state)
{
	(void)state;
	clock_mono_ns = real_clock;
	offset_ns = 0;
	return 0;
}

static int as_told(void *arg, struct error *err)
{
	int code = *(int *)arg;
	return code ? error_set(err, code, "told \"so\"") : 0;
}

static void vital_ones_make_it_ill_others_degrade_it(void **state)
{
	(void)state;
	struct bus_health *h = bus_health_new(NULL);
	int vital = 0, other = 0;
	assert_int_equal(bus_health_add(h, "vital", 100, true, as_told, &vital, NULL), 0);
	assert_int_equal(bus_health_add(h, "other", 100, false, as_told, &other, NULL), 0);
	assert_int_equal(bus_health_add(h, "other", 100, false, as_told, &other, NULL), WEIR_CONFIG);
	assert_int_equal(bus_health_state(h), BUS_WELL); /* nothing ran yet */
	static const struct {
		int vital, other;
		enum bus_health_state state;
	} rows[] = { { 0, 0, BUS_WELL }, { 0, WEIR_IO, BUS_DEGRADED }, { WEIR_IO, WEIR_IO, BUS_ILL }, { WEIR_IO, 0, BUS_ILL }, { 0, 0, BUS_WELL } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		vital = rows[i].vital;
		other = rows[i].other;
		pass(100);
		bus_health_turn(h);
		assert_int_equal(bus_health_state(h), rows[i].state);
	}
	bus_health_free(&h);
}

static void there_are_so_many_checks_and_no_more(void **state)
{
	(void)state;
	struct bus_health *h = bus_health_new(NULL);
	struct error err = { 0 };
	int code = 0;
	char name[16];
	for (int i = 0; i < BUS_HEALTH_CHECKS; i++) {
		snprintf(name, sizeof name, "c%d", i);
		assert_int_equal(bus_health_add(h, name, 100, true, as_told, &code, &err), 0);
	}
	assert_int_equal(bus_health_add(h, "one more", 100, true, as_told, &code, &err), WEIR_LIMIT);
	struct buf out = BUF_INIT(1u << 20);
	bus_health_turn(h);
	bus_health_print(h, &out);
	yyjson_doc *doc = yyjson_read(buf_str(&out), out.size, 0);
	assert_non_null(doc);
	assert_int_equal(yyjson_arr_size(yyjson_obj_get(yyjson_doc_get_root(doc), "checks")), BUS_HEALTH_CHECKS);
	yyjson_doc_free(doc);
	buf_free(&out);
	bus_health_free(&h);
}

static void checks_run_when_they_are_due_and_keep_their_changes(void **state)
{
	(void)state;
	struct bus_health *h = bus_health_new(NULL);
	int code = 0;
	assert_int_equal(bus_health_add(h, "c", 1000, true, as_told, &code, NULL), 0);
	for (int i = 0; i < 200; i++) {
		code = i / 2 % 2 ? WEIR_IO : 0; /* changes every other time */
		bus_health_turn(h);
		bus_health_turn(h); /* not due */
		pass(1001);
	}
	struct buf out = BUF_INIT(1u << 20);
	bus_health_print(h, &out);
	yyjson_doc *doc = yyjson_read(buf_str(&out), out.size, 0);
	assert_non_null(doc);
	yyjson_val *c = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "checks"));
	assert_int_equal(yyjson_get_uint(yyjson_obj_get(c, "runs")), 200);
	assert_int_equal(yyjson_get_uint(yyjson_obj_get(c, "failures")), 100);
	yyjson_val *history = yyjson_obj_get(c, "history");
	assert_int_equal(yyjson_arr_size(history), BUS_HEALTH_HISTORY);
	assert_false(yyjson_get_bool(yyjson_obj_get(yyjson_arr_get_last(history), "ok")));
	assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_arr_get_last(history), "error")), "told \"so\"");
	assert_true(yyjson_get_bool(yyjson_obj_get(yyjson_arr_get(history, BUS_HEALTH_HISTORY - 2), "ok")));
	yyjson_doc_free(doc);
	buf_free(&out);
	bus_health_free(&h);
}

static void a_redis_that_is_gone_is_noticed_and_its_return(void **state)
{
	(void)state;
	struct bus_health *h = bus_health_new(NULL);
	struct bus *bus = fixture_bus_with("w", 200, 0);
	assert_int_equal(bus_health_add_bus(h, "redis", bus, NULL), 0);
	bus_health_turn(h);
	assert_int_equal(bus_health_state(h), BUS_WELL);
	redis_server_kill(&fixture_server);
	pass(1001);
	bus_health_turn(h);
	assert_int_equal(bus_health_state(h), BUS_ILL);
	redis_server_restart(&fixture_server);
	for (int64_t deadline = real_clock() + INT64_C(20000000000); bus_health_state(h) != BUS_WELL && real_clock() < deadline; pass(1001))
		bus_health_turn(h);
	assert_int_equal(bus_health_state(h), BUS_WELL);
	bus_close(&bus);
	bus_health_free(&h);
}

static int fails(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)d;
	return *(int *)arg ? error_set(err, *(int *)arg, "it does not want to") : 0;
}

static void a_subscription_that_stalls_is_noticed(void **state)
{
	(void)state;
	static const uint16_t wanted[] = { MESSAGE_CHAIN_HEAD };
	static const struct retry_rule patient[] = {
		{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 1000000, .base_ms = 1, .max_ms = 1 } }
	};
	int code = WEIR_CONFLICT;
	const struct bus_handler handlers[] = { { "fails", wanted, 1, fails, &code, NULL } };
	const struct bus_subscription_options o = { .chain = "test",
						    .topic = TOPIC_BLOCKS,
						    .subscription = "s",
						    .order = BUS_ORDERED,
						    .handlers = handlers,
						    .handler_count = 1,
						    .retries = patient,
						    .retry_count = 1,
						    .lease_ms = 600000 };
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s;
	struct bus_health *h = bus_health_new(NULL);
	assert_int_equal(bus_subscription_open(bus, &o, &s, NULL), 0);
	assert_int_equal(bus_health_add_subscription(h, "s", s, 5000, NULL), 0);
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "x"));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(bus_subscription_turn(s, 10, NULL), 0);
		bus_health_turn(h);
		assert_int_equal(bus_health_state(h), i < 5 ? BUS_WELL : bus_health_state(h));
		pass(1001);
	}
	assert_int_equal(bus_health_state(h), BUS_DEGRADED);
	code = 0;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(bus_subscription_turn(s, 10, NULL), 0);
		pass(1001);
		bus_health_turn(h);
	}
	struct buf out = BUF_INIT(1u << 20);
	bus_health_print(h, &out);
	if (bus_health_state(h) != BUS_WELL)
		fail_msg("%s", buf_str(&out));
	buf_free(&out);
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_health_free(&h);
}

/* As long as a breaker or a storm holds it, and no longer. */
static void a_subscription_that_is_held_is_noticed(int code, enum bus_subscription_state state, const char *words)
{
	static const uint16_t wanted[] = { MESSAGE_CHAIN_HEAD };
	static char keys[100][8];
	const struct bus_handler handlers[] = { { "fails", wanted, 1, fails, &code, NULL } };
	const struct bus_subscription_options o = { .chain = "test", .topic = TOPIC_BLOCKS, .subscription = "s", .order = BUS_ORDERED,
						    .handlers = handlers, .handler_count = 1, .lease_ms = 600000 };
	struct bus *bus = fixture_bus("w");
	struct bus_subscription *s;
	struct bus_subscription_status st;
	struct bus_health *h = bus_health_new(NULL);
	assert_int_equal(bus_subscription_open(bus, &o, &s, NULL), 0);
	assert_int_equal(bus_health_add_subscription(h, "s", s, 5000, NULL), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(keys[i], sizeof keys[i], "k%d", i);
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, keys[i], "x"));
	}
	int64_t deadline = real_clock() + INT64_C(60000000000);
	do {
		assert_int_equal(bus_subscription_turn(s, 10, NULL), 0);
		bus_subscription_status(s, &st);
	} while (st.state != state && real_clock() < deadline);
	assert_int_equal(st.state, state);
	pass(1001);
	bus_health_turn(h);
	assert_int_equal(bus_health_state(h), BUS_DEGRADED);
	struct buf out = BUF_INIT(1u << 20);
	bus_health_print(h, &out);
	if (!strstr(buf_str(&out), words) || !strstr(buf_str(&out), "it does not want to"))
		fail_msg("%s", buf_str(&out));
	buf_free(&out);
	code = 0;
	bus_subscription_resume(s);
	do {
		assert_int_equal(bus_subscription_turn(s, 10, NULL), 0);
		bus_subscription_status(s, &st);
		pass(1001);
		bus_health_turn(h);
	} while (bus_health_state(h) != BUS_WELL && real_clock() < deadline);
	assert_int_equal(bus_health_state(h), BUS_WELL);
	bus_subscription_close(&s);
	bus_close(&bus);
	bus_health_free(&h);
}

static void a_subscription_that_a_breaker_holds_is_noticed(void **state)
{
	(void)state;
	a_subscription_that_is_held_is_noticed(WEIR_UNAVAILABLE, BUS_BROKEN, "it is held by a breaker");
}

static void a_subscription_that_a_storm_holds_is_noticed(void **state)
{
	(void)state;
	a_subscription_that_is_held_is_noticed(WEIR_INVALID, BUS_STORM, "it is held by a storm");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(vital_ones_make_it_ill_others_degrade_it),
		TEST(there_are_so_many_checks_and_no_more),
		TEST(checks_run_when_they_are_due_and_keep_their_changes),
		TEST(a_redis_that_is_gone_is_noticed_and_its_return),
		TEST(a_subscription_that_stalls_is_noticed),
		TEST(a_subscription_that_a_breaker_holds_is_noticed),
		TEST(a_subscription_that_a_storm_holds_is_noticed),
	};
	return fixture_run(tests);
}

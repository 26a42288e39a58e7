/* rate_test.c - debts shared by Redis: adding, taking back, the cap, and being forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bus/rate.h"
#include "support/bus_fixture.h"

#define CAP 120000000

static int64_t spend(struct bus *bus, const char *name, int64_t us)
{
	struct bus_rate rate = { .name = name, .spent_us = us };
	assert_int_equal(bus_rate(bus, CAP, &rate, 1, NULL), 0);
	return rate.debt_us;
}

/* Time passes between two calls: less than what was put in, and not by more than a slow machine takes. */
static void about(int64_t debt, int64_t expected)
{
	assert_in_range(debt, expected > 60000000 ? expected - 60000000 : 0, expected);
}

static void debts_add_up(void **state)
{
	(void)state;
	struct bus *one = fixture_bus("one"), *other = fixture_bus("other");
	assert_int_equal(spend(one, "a:192.0.2.1", 60000000), 60000000);
	about(spend(other, "a:192.0.2.1", 6000000), 66000000);
	assert_int_equal(spend(other, "k:192.0.2.1", 500000), 500000);
	about(spend(one, "a:192.0.2.1", 0), 66000000);
	assert_int_equal(fixture_ask("EXISTS weir:{gateway}:rate:a:192.0.2.1"), 1);
	assert_in_range(fixture_ask("PTTL weir:{gateway}:rate:a:192.0.2.1"), 1, 66000);
	bus_close(&one);
	bus_close(&other);
}

static void taking_back_ends_at_nothing(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("one");
	spend(bus, "a:x", 60000000);
	about(spend(bus, "a:x", -600000), 59400000);
	assert_int_equal(spend(bus, "a:x", -CAP), 0);
	assert_int_equal(fixture_ask("EXISTS weir:{gateway}:rate:a:x"), 0);
	assert_int_equal(spend(bus, "a:x", -1), 0);
	assert_int_equal(spend(bus, "a:x", 600000), 600000); /* nothing was saved up */
	bus_close(&bus);
}

static void nobody_owes_more_than_the_cap(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("one");
	assert_int_equal(spend(bus, "a:x", 50 * (int64_t)CAP), CAP);
	assert_int_equal(spend(bus, "a:x", CAP), CAP);
	bus_close(&bus);
}

static void many_in_one_call(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("one");
	struct bus_rate rates[512];
	char names[512][24];
	for (size_t i = 0; i < 512; i++) {
		snprintf(names[i], sizeof names[i], "a:10.0.%zu.%zu", i / 256, i % 256);
		rates[i] = (struct bus_rate){ .name = names[i], .spent_us = 1000000 + (int64_t)i * 1000 };
	}
	assert_int_equal(bus_rate(bus, CAP, rates, 512, NULL), 0);
	for (size_t i = 0; i < 512; i++)
		assert_int_equal(rates[i].debt_us, 1000000 + (int64_t)i * 1000);
	assert_int_equal(bus_rate(bus, CAP, NULL, 0, NULL), 0);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(debts_add_up, fixture_flush),
		cmocka_unit_test_setup(taking_back_ends_at_nothing, fixture_flush),
		cmocka_unit_test_setup(nobody_owes_more_than_the_cap, fixture_flush),
		cmocka_unit_test_setup(many_in_one_call, fixture_flush),
	};
	return fixture_run(tests);
}

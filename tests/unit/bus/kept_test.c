/* kept_test.c - small values with expiry: the first stays, expiry is set, binary values survive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include "bus/kept.h"

#include <string.h>

static struct bytes text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void the_first_stays(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("kept");
	struct buf got = BUF_INIT(100);
	assert_int_equal(bus_kept(bus, "weir:{gateway}:k", &got, NULL), WEIR_NOT_FOUND);
	assert_int_equal(bus_keep_first(bus, "weir:{gateway}:k", text("one"), 60000, &got, NULL), 0);
	assert_string_equal(buf_str(&got), "one");
	buf_reset(&got);
	assert_int_equal(bus_keep_first(bus, "weir:{gateway}:k", text("two"), 60000, &got, NULL), 0);
	assert_string_equal(buf_str(&got), "one");
	long long left = fixture_ask("PTTL weir:{gateway}:k");
	assert_true(left > 0 && left <= 60000);
	buf_free(&got);
	bus_close(&bus);
}

static void others_are_replaced_and_forgotten(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("kept");
	struct buf got = BUF_INIT(100);
	static const uint8_t binary[] = { 0, '\r', '\n', 0xff, 0 };
	assert_int_equal(bus_keep(bus, "weir:{gateway}:k", text("one"), 60000, NULL), 0);
	assert_int_equal(bus_keep(bus, "weir:{gateway}:k", (struct bytes){ binary, sizeof binary }, 60000, NULL), 0);
	assert_int_equal(bus_kept(bus, "weir:{gateway}:k", &got, NULL), 0);
	assert_int_equal(got.size, sizeof binary);
	assert_memory_equal(got.data, binary, sizeof binary);
	assert_int_equal(bus_forget(bus, "weir:{gateway}:k", NULL), 0);
	assert_int_equal(bus_forget(bus, "weir:{gateway}:k", NULL), 0);
	assert_int_equal(bus_kept(bus, "weir:{gateway}:k", &got, NULL), WEIR_NOT_FOUND);
	buf_free(&got);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_first_stays, fixture_flush),
		cmocka_unit_test_setup(others_are_replaced_and_forgotten, fixture_flush),
	};
	return fixture_run(tests);
}

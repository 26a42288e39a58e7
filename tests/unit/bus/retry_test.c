/* retry_test.c - classes of failures, the most specific rule, and the waits of each growth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/retry.h"

#include <string.h>

static void codes_have_classes(void **state)
{
	(void)state;
	static const struct {
		int code;
		enum retry_class klass;
	} rows[] = {
		{ WEIR_UNAVAILABLE, RETRY_DEPENDENCY }, { WEIR_TIMEOUT, RETRY_DEPENDENCY }, { WEIR_RATE_LIMITED, RETRY_DEPENDENCY },
		{ WEIR_FULL, RETRY_DEPENDENCY },        { WEIR_CONFLICT, RETRY_TRANSIENT }, { WEIR_IO, RETRY_TRANSIENT },
		{ WEIR_PROTOCOL, RETRY_TRANSIENT },     { WEIR_INVALID, RETRY_PERMANENT },  { WEIR_UNSUPPORTED, RETRY_PERMANENT },
		{ WEIR_LIMIT, RETRY_PERMANENT },        { WEIR_INTERNAL, RETRY_PERMANENT }, { WEIR_CRASH, RETRY_CRASH },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(retry_class_of(rows[i].code), rows[i].klass);
}

static const struct retry_rule rules[] = {
	{ NULL, 0, RETRY_ANY, { .attempts = 10 } },         { NULL, 0, RETRY_TRANSIENT, { .attempts = 11 } },
	{ NULL, 7, RETRY_ANY, { .attempts = 12 } },         { NULL, 7, RETRY_TRANSIENT, { .attempts = 13 } },
	{ "mail", 0, RETRY_ANY, { .attempts = 14 } },       { "mail", 7, RETRY_TRANSIENT, { .attempts = 15 } },
	{ "mail", 7, RETRY_TRANSIENT, { .attempts = 16 } }, { "odd", 0, RETRY_PERMANENT, { .attempts = 17 } },
};

static uint32_t chosen(const char *handler, uint16_t type, enum retry_class klass)
{
	size_t rule;
	return retry_choose(rules, sizeof rules / sizeof rules[0], handler, type, klass, &rule)->attempts;
}

static void the_most_specific_rule_counts(void **state)
{
	(void)state;
	assert_int_equal(chosen("x", 1, RETRY_DEPENDENCY), 10);
	assert_int_equal(chosen("x", 1, RETRY_TRANSIENT), 11);
	assert_int_equal(chosen("x", 7, RETRY_DEPENDENCY), 12);
	assert_int_equal(chosen("x", 7, RETRY_TRANSIENT), 13);
	assert_int_equal(chosen("mail", 1, RETRY_TRANSIENT), 14); /* its handler outweighs the class */
	assert_int_equal(chosen("mail", 7, RETRY_TRANSIENT), 15); /* the first of two alike */
	size_t rule;
	assert_ptr_equal(retry_choose(NULL, 0, "x", 1, RETRY_TRANSIENT, &rule), &RETRY_DEFAULT);
	assert_int_equal(rule, 0);
}

static void permanent_failures_need_a_rule_of_their_own(void **state)
{
	(void)state;
	assert_int_equal(chosen("x", 7, RETRY_PERMANENT), 1);
	assert_int_equal(chosen("mail", 7, RETRY_PERMANENT), 1);
	assert_int_equal(chosen("odd", 7, RETRY_PERMANENT), 17);
}

static int64_t wait_after(enum retry_growth growth, uint32_t failures)
{
	struct retry_policy p = { .growth = growth, .attempts = UINT32_MAX, .base_ms = 100, .max_ms = 1000 };
	int64_t due;
	assert_true(retry_next(&p, failures, 0, 5000, 12345, &due));
	return due - 5000;
}

static void waits_grow_as_told(void **state)
{
	(void)state;
	static const int64_t expected[3][6] = { { 100, 100, 100, 100, 100, 100 },
						{ 100, 200, 300, 400, 500, 600 },
						{ 100, 200, 400, 800, 1000, 1000 } };
	for (int growth = 0; growth < 3; growth++)
		for (uint32_t i = 0; i < 6; i++)
			assert_int_equal(wait_after((enum retry_growth)growth, i + 1), expected[growth][i]);
	assert_int_equal(wait_after(RETRY_LINEAR, 4000000000u), 1000);
	assert_int_equal(wait_after(RETRY_EXPONENTIAL, 4000000000u), 1000);
}

static void jitter_takes_its_share(void **state)
{
	(void)state;
	struct retry_policy p = { .growth = RETRY_FIXED, .attempts = 5, .base_ms = 100, .max_ms = 100, .jitter = 1 };
	int64_t due, least = 1000, most = -1;
	for (uint64_t i = 0; i < 1000; i++) {
		assert_true(retry_next(&p, 1, 0, 0, i, &due));
		least = due < least ? due : least;
		most = due > most ? due : most;
	}
	assert_int_equal(least, 0);
	assert_int_equal(most, 100);
	p.jitter = 0.25;
	for (uint64_t i = 0; i < 1000; i++) {
		assert_true(retry_next(&p, 1, 0, 0, i, &due));
		assert_true(due >= 75 && due <= 100);
	}
}

static void ends_by_attempts_and_by_time(void **state)
{
	(void)state;
	struct retry_policy p = { .growth = RETRY_FIXED, .attempts = 3, .base_ms = 100, .max_ms = 100, .hold_ms = 1000 };
	int64_t due;
	assert_true(retry_next(&p, 2, 0, 0, 0, &due));
	assert_false(retry_next(&p, 3, 0, 0, 0, &due));
	assert_true(retry_next(&p, 1, 0, 900, 0, &due));
	assert_false(retry_next(&p, 1, 0, 901, 0, &due));
	p.hold_ms = 0;
	assert_true(retry_next(&p, 1, 0, INT64_C(1) << 40, 0, &due));
}

static void wrong_rules_are_named(void **state)
{
	(void)state;
	static const struct {
		struct retry_rule rule;
		const char *words;
	} rows[] = {
		{ { "mail", 7, RETRY_TRANSIENT, { .attempts = 0 } }, "rule 0 (handler mail, type 7, transient): attempts" },
		{ { NULL, 0, RETRY_ANY, { .attempts = 1, .growth = (enum retry_growth)3 } }, "growth" },
		{ { NULL, 0, (enum retry_class)9, { .attempts = 1 } }, "class" },
		{ { NULL, 0, RETRY_ANY, { .attempts = 1, .base_ms = 2, .max_ms = 1 } }, "base_ms" },
		{ { NULL, 0, RETRY_ANY, { .attempts = 1, .max_ms = INT64_MAX } }, "a day" },
		{ { NULL, 0, RETRY_ANY, { .attempts = 1, .hold_ms = -1 } }, "hold_ms" },
		{ { NULL, 0, RETRY_ANY, { .attempts = 1, .jitter = 1.5 } }, "jitter" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct error err = { 0 };
		assert_int_equal(retry_check(&rows[i].rule, 1, &err), WEIR_CONFIG);
		if (!strstr(err.text, rows[i].words))
			fail_msg("%s", err.text);
	}
	assert_int_equal(retry_check(rules, sizeof rules / sizeof rules[0], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_have_classes),
		cmocka_unit_test(the_most_specific_rule_counts),
		cmocka_unit_test(permanent_failures_need_a_rule_of_their_own),
		cmocka_unit_test(waits_grow_as_told),
		cmocka_unit_test(jitter_takes_its_share),
		cmocka_unit_test(ends_by_attempts_and_by_time),
		cmocka_unit_test(wrong_rules_are_named),
	};
	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}

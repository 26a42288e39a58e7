/* Offsets as text: what is printed is read again the same, and nothing else is read. */
#include "services/gateway/live/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void same(const struct offset *o)
{
	char text[OFFSET_TEXT_MAX], again[OFFSET_TEXT_MAX];
	struct offset got;
	size_t n = offset_print(o, text);
	assert_int_equal(n, strlen(text));
	assert_int_equal(offset_parse(text, &got, NULL), 0);
	assert_true(got.sequence == o->sequence && got.print == o->print && got.index == o->index && got.given_after == o->given_after &&
		    got.min_height == o->min_height);
	offset_print(&got, again);
	assert_string_equal(text, again);
}

static void every_part_with_every_other(void **state)
{
	static const uint64_t sequences[] = { 0, 1, 9, 10, 4294967296u, 999999999999999999u };
	static const uint32_t prints[] = { 0, 1, 0xa, 0x10000000, 0xdeadbeef, UINT32_MAX };
	static const int64_t indexes[] = { -1, 0, 7, INT32_MAX }, heights[] = { 0, 1, 999999999999999999 };
	(void)state;
	for (size_t s = 0; s < 6; s++)
		for (size_t p = 0; p < 6; p++)
			for (size_t i = 0; i < 4; i++)
				for (size_t h = 0; h < 3; h++)
					for (uint64_t given = 0; given <= 1; given++)
						same(&(struct offset){ .sequence = sequences[s], .index = indexes[i], .given_after = given * sequences[s], .min_height = heights[h], .print = prints[p] });
}

static void what_it_looks_like(void **state)
{
	char text[OFFSET_TEXT_MAX];
	(void)state;
	offset_print(&(struct offset){ .sequence = 12, .index = -1, .print = 0xbeef }, text);
	assert_string_equal(text, "12-0000beef");
	offset_print(&(struct offset){ .sequence = 12, .index = 3, .given_after = 7, .min_height = 5, .print = 0x12345678 }, text);
	assert_string_equal(text, "12-12345678.3~7~5");
	offset_print(&(struct offset){ .index = -1 }, text);
	assert_string_equal(text, "0");
}

static void places_of_letters(void **state)
{
	static const uint64_t ids[] = { 0, 1, 1048576, UINT64_C(1795314907618000005), INT64_MAX };
	static const char *const bad[] = { "L", "L1", "L1_2_3", "L1_", "L_1", "1_2", "L1_9223372036854775808", "L1_x", "l1_2", "L1-2_2", "L1_2~5" };
	struct offset got;
	(void)state;
	for (size_t i = 0; i < 5 * 5; i++) {
		const struct offset o = { .places = { ids[i % 5], ids[i / 5] }, .of_letters = true };
		char text[OFFSET_TEXT_MAX];
		size_t n = offset_print(&o, text);
		assert_int_equal(n, strlen(text));
		assert_int_equal(offset_parse(text, &got, NULL), 0);
		assert_true(got.of_letters && memcmp(got.places, o.places, sizeof o.places) == 0);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(offset_parse(bad[i], &got, NULL), WEIR_INVALID);
}

/* One character more, less or other: it is refused, or is another offset that prints as it was written. */
static void one_character_is_wrong(void **state)
{
	static const char good[] = "12-12345678.3~7~5", others[] = "0a-.~ g\n";
	(void)state;
	for (size_t at = 0; at < sizeof good - 1; at++)
		for (size_t how = 0; how < 2 + 2 * strlen(others); how++) {
			char text[OFFSET_TEXT_MAX], again[OFFSET_TEXT_MAX];
			struct offset got;
			size_t cut = how % 2, with = how / 2;
			if (with == strlen(others))
				snprintf(text, sizeof text, "%.*s%s", (int)at, good, good + at + cut);
			else
				snprintf(text, sizeof text, "%.*s%c%s", (int)at, good, others[with], good + at + cut);
			if (offset_parse(text, &got, NULL) != 0)
				continue;
			offset_print(&got, again);
			struct offset second;
			assert_int_equal(offset_parse(again, &second, NULL), 0);
			assert_true(second.sequence == got.sequence && second.print == got.print && second.index == got.index &&
				    second.given_after == got.given_after && second.min_height == got.min_height);
		}
	static const char *const bad[] = { "", "-", "x", "1-", "1-0", "1-00000000", "1-1234567", "1-123456789", "1-ABCDEF01", "1-1234567g", "1.", "1.2147483648", "1~2", "1~",
					   "1.1-12345678", " 1", "1 ", "-12345678", "1234567890123456789", "1~1~", "1~1~1~1" };
	struct offset got;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(offset_parse(bad[i], &got, NULL), WEIR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_part_with_every_other), cmocka_unit_test(what_it_looks_like), cmocka_unit_test(one_character_is_wrong),
					    cmocka_unit_test(places_of_letters) };
	return cmocka_run_group_tests_name("offset", tests, NULL, NULL);
}

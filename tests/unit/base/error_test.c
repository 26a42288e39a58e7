/* error_test.c - the closed set of error codes and their words. */
#include "base/error.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const int codes[] = {
#define X(name, ...) WEIR_##name,
	ERROR_CODES(X)
#undef X
};
#define CODES (sizeof codes / sizeof codes[0])

static void every_code_is_complete_and_unique(void **state)
{
	(void)state;
	for (size_t i = 0; i < CODES; i++) {
		assert_true(codes[i] <= 0);
		assert_true(strspn(error_name(codes[i]), "abcdefghijklmnopqrstuvwxyz_") == strlen(error_name(codes[i])));
		assert_true(*error_name(codes[i]) && *error_title(codes[i]) && *error_suggestion(codes[i]));
		assert_in_range(error_exit_status(codes[i]), 0, 127); /* above are signals */
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(codes[i], codes[j]);
			assert_string_not_equal(error_name(codes[i]), error_name(codes[j]));
		}
	}
	assert_string_equal(error_name(WEIR_RATE_LIMITED), "rate_limited");
	assert_true(error_retriable(WEIR_TIMEOUT));
	assert_false(error_retriable(WEIR_CONFIG));
}

static void only_success_and_being_stopped_end_with_zero(void **state)
{
	(void)state;
	for (size_t i = 0; i < CODES; i++)
		assert_int_equal(error_exit_status(codes[i]) == 0, codes[i] == WEIR_OK || codes[i] == WEIR_CANCELED);
	assert_int_equal(error_exit_status(WEIR_STUCK), 79);
	for (size_t i = 0; i < CODES; i++) /* a supervisor must be able to tell a stuck drain from everything else */
		assert_true(codes[i] == WEIR_STUCK || error_exit_status(codes[i]) != error_exit_status(WEIR_STUCK));
}

static void an_unknown_code_is_internal(void **state)
{
	(void)state;
	assert_string_equal(error_name(-12345), "internal");
	assert_int_equal(error_exit_status(77), error_exit_status(WEIR_INTERNAL));
}

static void words_are_kept_and_prefixed(void **state)
{
	(void)state;
	struct error err = { 0 };
	assert_int_equal(error_set(&err, WEIR_TIMEOUT, "no answer in %d ms", 50), WEIR_TIMEOUT);
	assert_int_equal(err.code, WEIR_TIMEOUT);
	assert_int_equal(error_prefix(&err, "endpoint %s", "e0"), WEIR_TIMEOUT);
	assert_string_equal(err.text, "endpoint e0: no answer in 50 ms");
	assert_int_equal(error_set(&err, WEIR_IO, "again (%s)", err.text), WEIR_IO); /* its own text as argument */
	assert_string_equal(err.text, "again (endpoint e0: no answer in 50 ms)");
	assert_int_equal(error_set(NULL, WEIR_GAP, "nobody listens"), WEIR_GAP);
	assert_int_equal(error_prefix(NULL, "nobody listens"), WEIR_INTERNAL);
}

static void long_words_are_cut_and_ended(void **state)
{
	(void)state;
	char words[5000];
	memset(words, 'w', sizeof words - 1);
	words[sizeof words - 1] = 0;
	struct error err;
	memset(&err, 'x', sizeof err);
	error_set(&err, WEIR_LIMIT, "%s", words);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	error_prefix(&err, "%s", words);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	error_set(&err, WEIR_LIMIT, "short");
	error_prefix(&err, "%.990s", words);
	assert_int_equal(strlen(err.text), 990 + strlen(": short"));
}

static void the_manual_has_a_row_for_each(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1 << 20);
	error_print_markdown(&out);
	size_t lines = 0, bars = 0;
	for (const char *p = buf_str(&out); *p; p++) {
		bars += *p == '|';
		if (*p == '\n') {
			assert_int_equal(bars, 7);
			bars = 0;
			lines++;
		}
	}
	assert_int_equal(lines, CODES + 2);
	for (size_t i = 0; i < CODES; i++)
		assert_non_null(strstr(buf_str(&out), error_suggestion(codes[i])));
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_is_complete_and_unique),
		cmocka_unit_test(only_success_and_being_stopped_end_with_zero),
		cmocka_unit_test(an_unknown_code_is_internal),
		cmocka_unit_test(words_are_kept_and_prefixed),
		cmocka_unit_test(long_words_are_cut_and_ended),
		cmocka_unit_test(the_manual_has_a_row_for_each),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* digest_test.c - base64url: the vectors of RFC 4648, and that there is one way to write each text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/digest.h"

#include <string.h>

static void vectors_of_the_rfc(void **state)
{
	(void)state;
	static const char *const rows[][2] = { { "", "" },       { "f", "Zg" },        { "fo", "Zm8" },          { "foo", "Zm9v" },
					       { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbf", "-_-_" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf text = BUF_INIT(64);
		uint8_t back[16];
		size_t size, n = strlen(rows[i][0]);
		base64url_write((struct bytes){ (const uint8_t *)rows[i][0], n }, &text);
		assert_string_equal(buf_str(&text), rows[i][1]);
		assert_true(base64url_read(buf_str(&text), text.size, back, sizeof back, &size));
		assert_int_equal(size, n);
		assert_memory_equal(back, rows[i][0], n);
		assert_true(n == 0 || !base64url_read(buf_str(&text), text.size, back, n - 1, &size));
		buf_free(&text);
	}
}

static void nothing_else_is_read(void **state)
{
	(void)state;
	static const char *const bad[] = { "Z", "Zm9vY", "Zh", "Zm9", "Zg==", "Zm9v ", " Zm9v", "Zm9v\n", "Zm+v", "Zm/v", "Zm9v.", "Zm\xc3\xa4v" };
	uint8_t back[16];
	size_t size;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(base64url_read(bad[i], strlen(bad[i]), back, sizeof back, &size));
	assert_false(base64url_read("Zm\0v", 4, back, sizeof back, &size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_of_the_rfc),
		cmocka_unit_test(nothing_else_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

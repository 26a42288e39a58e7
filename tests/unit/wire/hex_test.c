/* hex_test.c - hexadecimal text: exact forms in, everything else refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "wire/hex.h"

#include <string.h>

static void test_bytes(void **state)
{
	(void)state;
	uint8_t out[4];
	static const char *const bad[] = { "", "0", "0x", "0x0011223", "0x001122334", "0x00112g33", "0X00112233", "00112233", "0x0011 233", "1x00112233" };
	assert_int_equal(hex_to_bytes("0x00a1Bcff", 10, out, 4), 0);
	assert_memory_equal(out, "\x00\xa1\xbc\xff", 4);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hex_to_bytes(bad[i], strlen(bad[i]), out, 4), WEIR_INVALID);
	assert_int_equal(hex_to_bytes("0x", 2, out, 0), 0);
}

static void test_every_character(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[4] = { '0', 'x', (char)c, '0' };
		uint8_t out;
		bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
		assert_int_equal(hex_to_bytes(text, 4, &out, 1) == 0, digit);
		char other[4] = { '0', 'x', '0', (char)c };
		assert_int_equal(hex_to_bytes(other, 4, &out, 1) == 0, digit);
	}
}

/* Each character at each place of texts of every length up to 40 bytes, against digit by digit. */
static void test_every_place(void **state)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	(void)state;
	for (size_t size = 1; size <= 40; size++) {
		char text[82] = "0x";
		uint8_t wanted[40], out[41];
		for (size_t i = 0; i < 2 * size; i++) {
			const size_t digit = (i * 7 + size) % 22;
			const uint8_t value = (uint8_t)(digit < 16 ? digit : digit - 6);
			text[2 + i] = digits[digit];
			wanted[i / 2] = (uint8_t)(i % 2 ? wanted[i / 2] | value : value << 4);
		}
		out[size] = 0x5a;
		assert_int_equal(hex_to_bytes(text, 2 + 2 * size, out, size), 0);
		assert_memory_equal(out, wanted, size);
		assert_int_equal(out[size], 0x5a);
		for (size_t i = 0; i < 2 * size; i++) {
			const char right = text[2 + i];
			for (int c = 0; c < 256; c++) {
				text[2 + i] = (char)c;
				assert_int_equal(hex_to_bytes(text, 2 + 2 * size, out, size) == 0, c && strchr(digits, c));
			}
			text[2 + i] = right;
		}
	}
}

static void test_data(void **state)
{
	(void)state;
	uint8_t out[2];
	size_t size = 9;
	assert_int_equal(hex_to_data("0x", 2, out, 2, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(hex_to_data("0xfffe", 6, out, 2, &size), 0);
	assert_int_equal(size, 2);
	assert_int_equal(hex_to_data("0xfffefd", 8, out, 2, &size), WEIR_LIMIT);
	assert_int_equal(hex_to_data("0xfff", 5, out, 2, &size), WEIR_INVALID);
	assert_int_equal(hex_to_data("fffe", 4, out, 2, &size), WEIR_INVALID);
}

static void test_quantities(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int code;
		uint64_t value;
	} rows[] = {
		{ "0x0", 0, 0 },	{ "0x1", 0, 1 },	     { "0x00ff", 0, 255 }, /* leading zeros: some nodes */
		{ "0xFF", 0, 255 },	{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "0x10000000000000000", WEIR_LIMIT, 0 },   { "0x00000000000000000001", 0, 1 },
		{ "0x", WEIR_INVALID, 0 }, { "", WEIR_INVALID, 0 }, { "12", WEIR_INVALID, 0 }, { "0x-1", WEIR_INVALID, 0 }, { "0x1 ", WEIR_INVALID, 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t value = 0;
		assert_int_equal(hex_to_u64(rows[i].text, strlen(rows[i].text), &value), rows[i].code);
		if (rows[i].code == 0)
			assert_true(value == rows[i].value);
	}
}

static void test_out_and_back(void **state)
{
	(void)state;
	char text[19];
	static const uint64_t values[] = { 0, 1, 15, 16, 255, 256, 0x0123456789abcdef, UINT64_MAX };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		uint64_t back;
		size_t n = hex_from_u64(values[i], text);
		assert_int_equal(strlen(text), n);
		assert_int_equal(hex_to_u64(text, n, &back), 0);
		assert_true(back == values[i] && (n == 3 || text[2] != '0'));
	}
	uint8_t bytes[256], back[256];
	char long_text[515];
	for (size_t i = 0; i < 256; i++)
		bytes[i] = (uint8_t)(i * 7);
	assert_int_equal(hex_from_bytes(bytes, 256, long_text), 514);
	assert_int_equal(hex_to_bytes(long_text, 514, back, 256), 0);
	assert_memory_equal(bytes, back, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),	   cmocka_unit_test(test_every_character), cmocka_unit_test(test_every_place),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_quantities), cmocka_unit_test(test_out_and_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

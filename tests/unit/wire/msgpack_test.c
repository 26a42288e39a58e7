/* msgpack_test.c - JSON as MessagePack: the forms of the specification, there and back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/msgpack.h"

#include <stdio.h>
#include <string.h>

static void check(const char *json, const char *packed, size_t size)
{
	struct arena *arena = arena_new(1 << 24);
	struct buf out = BUF_INIT(1 << 20), back = BUF_INIT(1 << 20);
	struct error err = { 0 };
	assert_int_equal(msgpack_from_json((struct bytes){ (const uint8_t *)json, strlen(json) }, arena, &out, &err), 0);
	if (out.size != size || memcmp(out.data, packed, size) != 0)
		fail_msg("%.60s: %zu bytes, not %zu", json, out.size, size);
	assert_int_equal(msgpack_to_json((struct bytes){ out.data, out.size }, &back, &err), 0);
	assert_string_equal(buf_str(&back), json);
	/* Cut anywhere, or with more behind it, it is no message. */
	for (size_t n = 0; n < out.size && n < 200; n++) {
		buf_reset(&back);
		assert_int_not_equal(msgpack_to_json((struct bytes){ out.data, n }, &back, &err), 0);
	}
	buf_add_byte(&out, 0xc0);
	buf_reset(&back);
	assert_int_not_equal(msgpack_to_json((struct bytes){ out.data, out.size }, &back, &err), 0);
	buf_free(&out);
	buf_free(&back);
	arena_free(&arena);
}

#define CHECK(json, packed) check(json, packed, sizeof(packed) - 1)

static void test_forms(void **state)
{
	(void)state;
	CHECK("null", "\xc0");
	CHECK("false", "\xc2");
	CHECK("true", "\xc3");
	CHECK("0", "\x00");
	CHECK("127", "\x7f");
	CHECK("128", "\xcc\x80");
	CHECK("255", "\xcc\xff");
	CHECK("256", "\xcd\x01\x00");
	CHECK("65536", "\xce\x00\x01\x00\x00");
	CHECK("4294967296", "\xcf\x00\x00\x00\x01\x00\x00\x00\x00");
	CHECK("18446744073709551615", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
	CHECK("-1", "\xff");
	CHECK("-32", "\xe0");
	CHECK("-33", "\xd0\xdf");
	CHECK("-128", "\xd0\x80");
	CHECK("-129", "\xd1\xff\x7f");
	CHECK("-32769", "\xd2\xff\xff\x7f\xff");
	CHECK("-2147483649", "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff");
	CHECK("-9223372036854775808", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
	CHECK("1.5", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00");
	CHECK("\"\"", "\xa0");
	CHECK("\"abc\"", "\xa3" "abc");
	CHECK("[]", "\x90");
	CHECK("[1,[2]]", "\x92\x01\x91\x02");
	CHECK("{}", "\x80");
	CHECK("{\"compact\":true,\"schema\":0}", "\x82\xa7" "compact\xc3\xa6" "schema\x00");
}

static void test_lengths(void **state)
{
	(void)state;
	static const size_t sizes[] = { 31, 32, 255, 256, 65535, 65536 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf json = BUF_INIT(1 << 20), packed = BUF_INIT(1 << 20);
		buf_add_byte(&json, '"');
		msgpack_text(&packed, "", 0);
		buf_reset(&packed);
		for (size_t k = 0; k < sizes[i]; k++)
			buf_add_byte(&json, 'x');
		buf_add_byte(&json, '"');
		msgpack_text(&packed, (const char *)json.data + 1, sizes[i]);
		check(buf_str(&json), (const char *)packed.data, packed.size);
		buf_free(&json);
		buf_free(&packed);
	}
	for (size_t n = 15; n <= 17; n++) {
		struct buf json = BUF_INIT(1 << 20), packed = BUF_INIT(1 << 20);
		buf_add_byte(&json, '[');
		if (n < 16)
			buf_add_byte(&packed, (uint8_t)(0x90 | n));
		else
			buf_add(&packed, (const uint8_t[]){ 0xdc, 0, (uint8_t)n }, 3);
		for (size_t k = 0; k < n; k++) {
			buf_add_str(&json, k ? ",1" : "1");
			buf_add_byte(&packed, 1);
		}
		buf_add_byte(&json, ']');
		check(buf_str(&json), (const char *)packed.data, packed.size);
		buf_free(&json);
		buf_free(&packed);
	}
}

static void test_refused(void **state)
{
	(void)state;
	static const struct bytes bad[] = {
		{ (const uint8_t *)"", 0 },                                    { (const uint8_t *)"\xc1", 1 },         { (const uint8_t *)"\xc4\x01x", 3 },
		{ (const uint8_t *)"\xd4\x01\x01", 3 },                        { (const uint8_t *)"\x81\x01\x02", 3 }, { (const uint8_t *)"\xcb\x7f\xf8\0\0\0\0\0\0", 9 },
		{ (const uint8_t *)"\xdd\xff\xff\xff\xff", 5 },                { (const uint8_t *)"\xdf\xff\xff\xff\xff", 5 }, { (const uint8_t *)"\xdb\xff\xff\xff\xff", 5 },
	};
	struct buf out = BUF_INIT(1 << 10);
	struct error err = { 0 };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_reset(&out);
		if (msgpack_to_json(bad[i], &out, &err) != WEIR_INVALID)
			fail_msg("%zu was taken", i);
	}
	uint8_t deep[64];
	memset(deep, 0x91, sizeof deep);
	deep[63] = 0;
	buf_reset(&out);
	assert_int_equal(msgpack_to_json((struct bytes){ deep, sizeof deep }, &out, &err), WEIR_INVALID);
	deep[31] = 0;
	buf_reset(&out);
	assert_int_equal(msgpack_to_json((struct bytes){ deep, 32 }, &out, &err), 0);
	uint8_t wide[900];
	memset(wide, 0x7f, sizeof wide);
	wide[0] = 0xdc, wide[1] = 897 >> 8, wide[2] = 897 & 0xff;
	buf_reset(&out);
	assert_int_equal(msgpack_to_json((struct bytes){ wide, sizeof wide }, &out, &err), WEIR_LIMIT);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms), cmocka_unit_test(test_lengths), cmocka_unit_test(test_refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

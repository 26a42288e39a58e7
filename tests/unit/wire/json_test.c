/* json_test.c - fields of an object in one pass, strings escaped, documents in arenas; and zstd within limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/compress.h"
#include "wire/json.h"

#include <string.h>

static const char *const names[] = { "hash", "from", "to", "blockHash", "blockNumber", NULL };
enum { HASH, FROM, TO, BLOCK_HASH, BLOCK_NUMBER };

static bool read_object(const char *text, yyjson_val *ret[5], struct arena *arena)
{
	struct json_schema schema;
	yyjson_alc alc = json_arena_allocator(arena);
	json_schema_init(&schema, names);
	yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text, strlen(text), 0, &alc, NULL);
	assert_non_null(doc);
	return json_read(&schema, yyjson_doc_get_root(doc), ret);
}

static void test_fields(void **state)
{
	(void)state;
	struct arena *arena = arena_new(1 << 20);
	yyjson_val *v[5];
	assert_true(read_object("{\"other\":1,\"to\":null,\"hash\":\"0x1\",\"blockHash\":\"0x2\",\"\":0,\"fro\":0,\"fromm\":0}", v, arena));
	assert_string_equal(json_text(v[HASH]).s, "0x1");
	assert_string_equal(json_text(v[BLOCK_HASH]).s, "0x2");
	assert_null(v[TO]);
	assert_null(v[FROM]);
	assert_false(read_object("{\"hash\":\"0x1\",\"from\":1,\"hash\":\"0x1\"}", v, arena)); /* two readers could see two values */
	assert_false(read_object("{\"hash\":null,\"hash\":\"0x1\"}", v, arena));
	assert_true(read_object("{\"other\":1,\"other\":2}", v, arena));
	assert_false(read_object("[]", v, arena));
	assert_false(read_object("\"hash\"", v, arena));
	assert_true(read_object("{}", v, arena));
	assert_null(json_text(NULL).s);
	arena_free(&arena);
}

static void test_arena_bounds(void **state)
{
	(void)state;
	struct arena *arena = arena_new(1000);
	yyjson_alc alc = json_arena_allocator(arena);
	char text[3000];
	memset(text, '[', sizeof text);
	assert_null(yyjson_read_opts(text, sizeof text, 0, &alc, NULL));
	arena_free(&arena);
}

static void test_strings(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} rows[] = {
		{ "plain", 5, "\"plain\"" },
		{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "\n\x01", 2, "\"\\u000a\\u0001\"" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\xff", 1, "\"\xef\xbf\xbd\"" },
		{ "\xc3", 1, "\"\xef\xbf\xbd\"" },		     /* cut off */
		{ "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },   /* overlong */
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* a surrogate */
		{ "a\0b", 3, "\"a\\u0000b\"" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = BUF_INIT(1000);
		json_add_string(&b, rows[i].in, rows[i].n);
		assert_string_equal(buf_str(&b), rows[i].out);
		buf_free(&b);
	}
}

static void test_zstd(void **state)
{
	(void)state;
	struct compressor *zstd = compressor_new();
	struct arena *arena = arena_new(1 << 22);
	struct buf packed = BUF_INIT(1 << 22), text = BUF_INIT(1 << 22);
	struct bytes back;
	struct error err;
	memset(arena_alloc(arena, 1 << 20), 0xff, 1 << 20);
	arena_reset(arena);
	for (int i = 0; i < 20000; i++)
		buf_printf(&text, "{\"blockNumber\":%d}", i);
	buf_add_str(&packed, "x"); /* it appends */
	assert_int_equal(compress_zstd(zstd, (struct bytes){ text.data, text.size }, &packed, &err), 0);
	assert_true(packed.data[0] == 'x' && packed.size < text.size / 4);
	struct bytes body = { packed.data + 1, packed.size - 1 };
	assert_int_equal(decompress_zstd(zstd, body, text.size, 1 << 22, arena, &back, &err), 0);
	assert_true(back.size == text.size && memcmp(back.data, text.data, text.size) == 0);
	assert_memory_equal(back.data + back.size, "\0\0\0\0", YYJSON_PADDING_SIZE);
	assert_int_equal(decompress_zstd(zstd, body, text.size + 1, 1 << 22, arena, &back, &err), WEIR_INVALID);
	assert_int_equal(decompress_zstd(zstd, body, text.size - 1, 1 << 22, arena, &back, &err), WEIR_INVALID);
	assert_int_equal(decompress_zstd(zstd, body, text.size, text.size - 1, arena, &back, &err), WEIR_LIMIT);
	assert_int_equal(decompress_zstd(zstd, body, UINT64_MAX, SIZE_MAX, arena, &back, &err), WEIR_LIMIT);
	packed.size = 1; /* a small one, by a context that was used before */
	compressor_free(&zstd);
	assert_null(zstd);
	zstd = compressor_new();
	assert_int_equal(compress_zstd(zstd, (struct bytes){ text.data, 5000 }, &packed, &err), 0);
	assert_true(packed.size < 5000 / 2);
	struct bytes small_body = { packed.data + 1, packed.size - 1 };
	assert_int_equal(decompress_zstd(zstd, small_body, 5000, 1 << 22, arena, &back, &err), 0);
	assert_true(back.size == 5000 && memcmp(back.data, text.data, 5000) == 0);
	assert_int_equal(decompress_zstd(zstd, small_body, 5001, 1 << 22, arena, &back, &err), WEIR_INVALID);
	assert_int_equal(compress_zstd(zstd, (struct bytes){ text.data, text.size }, (buf_reset(&packed), &packed), &err), 0);
	body = (struct bytes){ packed.data, packed.size };
	body.size -= 3;
	assert_int_equal(decompress_zstd(zstd, body, text.size, 1 << 22, arena, &back, &err), WEIR_INVALID);
	struct buf small = BUF_INIT(10);
	assert_int_equal(compress_zstd(zstd, (struct bytes){ text.data, text.size }, &small, &err), WEIR_LIMIT);
	buf_free(&small);
	buf_free(&packed);
	buf_free(&text);
	arena_free(&arena);
	compressor_free(&zstd);
	compressor_free(&zstd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_arena_bounds),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_zstd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

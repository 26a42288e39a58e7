/* rlp_test.c - RLP: the yellow paper's examples written and read back, and every form that is not the shortest refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/rlp.h"

#include <string.h>

static void expect(const struct buf *b, const char *bytes, size_t n)
{
	assert_false(b->overflow);
	assert_int_equal(b->size, n);
	assert_memory_equal(b->data, bytes, n);
}

static void test_writer(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1 << 20);
	rlp_add_bytes(&b, (const uint8_t *)"dog", 3);
	expect(&b, "\x83" "dog", 4);
	buf_reset(&b);
	size_t list = rlp_list_begin(&b);
	rlp_add_bytes(&b, (const uint8_t *)"cat", 3);
	rlp_add_bytes(&b, (const uint8_t *)"dog", 3);
	rlp_list_end(&b, list);
	expect(&b, "\xc8\x83" "cat\x83" "dog", 9);
	buf_reset(&b);
	rlp_add_bytes(&b, NULL, 0);
	rlp_list_end(&b, rlp_list_begin(&b));
	rlp_add_u64(&b, 0);
	rlp_add_u64(&b, 15);
	rlp_add_u64(&b, 127);
	rlp_add_u64(&b, 128);
	rlp_add_u64(&b, 1024);
	expect(&b, "\x80\xc0\x80\x0f\x7f\x81\x80\x82\x04\x00", 10);
	buf_reset(&b);
	uint8_t text[56];
	memset(text, 'a', sizeof text);
	rlp_add_bytes(&b, text, 55);
	assert_int_equal(b.data[0], 0x80 + 55);
	rlp_add_bytes(&b, text, 56);
	assert_int_equal(b.data[56], 0xb8);
	assert_int_equal(b.data[57], 56);
	buf_reset(&b);
	list = rlp_list_begin(&b);
	for (int i = 0; i < 70000; i++)
		rlp_add_u64(&b, 1);
	rlp_list_end(&b, list);
	assert_memory_equal(b.data, "\xfa\x01\x11\x70\x01", 5);
	buf_free(&b);
}

static void test_writer_from_hex(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1 << 10);
	assert_true(rlp_add_hex_quantity(&b, "0x0", 3));
	assert_true(rlp_add_hex_quantity(&b, "0x0400", 6));
	assert_true(rlp_add_hex_quantity(&b, "0x0100000000000000000000", 24));
	assert_true(rlp_add_hex_data(&b, "0x", 2));
	assert_true(rlp_add_hex_data(&b, "0x00", 4));
	assert_true(rlp_add_hex_data(&b, "0x80", 4));
	assert_true(rlp_add_hex_data(&b, "0x0001", 6));
	expect(&b, "\x80\x82\x04\x00\x8b\x01\0\0\0\0\0\0\0\0\0\0\x80\x00\x81\x80\x82\x00\x01", 23);
	assert_false(rlp_add_hex_quantity(&b, "0x", 2));
	assert_false(rlp_add_hex_quantity(&b, "0xg", 3));
	assert_false(rlp_add_hex_data(&b, "0x0", 3));
	assert_false(rlp_add_hex_data(&b, "0xgg", 4));
	assert_false(rlp_add_hex_data(&b, "", 0));
	buf_free(&b);
	struct buf small = BUF_INIT(4);
	assert_false(rlp_add_hex_data(&small, "0x0011223344", 12));
	assert_true(small.overflow);
	buf_free(&small);
}

static void test_reader(void **state)
{
	(void)state;
	struct bytes rest = { (const uint8_t *)"\xc8\x83" "cat\x83" "dog", 9 };
	struct rlp_item list, item;
	assert_int_equal(rlp_next(&rest, &list), 0);
	assert_true(list.list && rest.size == 0);
	assert_int_equal(rlp_next(&list.payload, &item), 0);
	assert_memory_equal(item.payload.data, "cat", 3);
	assert_int_equal(rlp_next(&list.payload, &item), 0);
	assert_memory_equal(item.payload.data, "dog", 3);
	assert_int_equal(rlp_next(&list.payload, &item), WEIR_INVALID);
	uint64_t number;
	rest = (struct bytes){ (const uint8_t *)"\x82\x04\x00", 3 };
	assert_true(rlp_next(&rest, &item) == 0 && rlp_to_u64(&item, &number) == 0 && number == 1024);
	rest = (struct bytes){ (const uint8_t *)"\x80", 1 };
	assert_true(rlp_next(&rest, &item) == 0 && rlp_to_u64(&item, &number) == 0 && number == 0);
}

static void test_reader_refuses(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t n;
	} rows[] = {
		{ "\x83" "do", 3 },	     /* truncated string */
		{ "\xc8\x83", 2 },	     /* truncated list */
		{ "\x81\x7f", 2 },	     /* a small byte with a header */
		{ "\xb8\x37" "aaaa", 6 },    /* 55 bytes in the long form, truncated */
		{ "\xb8\x01\x80", 3 },	     /* long form for a short string */
		{ "\xb9\x00\x80", 3 },	     /* leading zero in the length */
		{ "\xf8\x01\x80", 3 },	     /* long form for a short list */
		{ "\xbf\xff\xff\xff\xff\xff\xff\xff\xff", 9 }, /* longer than memory */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9 },
		{ "\xb9", 1 },		     /* length cut off */
		{ "", 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bytes rest = { (const uint8_t *)rows[i].bytes, rows[i].n };
		struct rlp_item item;
		assert_int_equal(rlp_next(&rest, &item), WEIR_INVALID);
	}
	uint64_t number;
	struct u256 wide;
	struct rlp_item leading = { false, { (const uint8_t *)"\x00\x01", 2 } }, list = { true, { (const uint8_t *)"", 0 } };
	uint8_t many[33] = { 1 };
	struct rlp_item long_one = { false, { many, 33 } }, nine = { false, { many, 9 } };
	assert_int_equal(rlp_to_u64(&leading, &number), WEIR_INVALID);
	assert_int_equal(rlp_to_u64(&list, &number), WEIR_INVALID);
	assert_int_equal(rlp_to_u256(&long_one, &wide), WEIR_INVALID);
	assert_int_equal(rlp_to_u64(&nine, &number), WEIR_INVALID);
	assert_int_equal(rlp_to_u256(&nine, &wide), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_writer_from_hex),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

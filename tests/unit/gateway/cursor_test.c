/* cursor_test.c - signed cursors: what was given comes back, anything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/call/cursor.h"

#include <stdlib.h>
#include <string.h>

#define NOW (489916 * CURSOR_STEP_S)

static struct cursor_key key(const char *secret)
{
	return cursor_key_from((struct bytes){ (const uint8_t *)secret, strlen(secret) });
}

static struct cursor_ring ring_of(const char *first, const char *second)
{
	struct cursor_ring ring = { .keys = { key(first) }, .count = 1 };
	if (second)
		ring.keys[ring.count++] = key(second);
	return ring;
}

static const struct cursor sample = { .kind = CURSOR_ACCOUNT_ENTRIES,
				      .branch = -3,
				      .ordinal = INT32_MAX,
				      .height = 0x123456789abcLL,
				      .pinned = -1,
				      .hash = { 1, 2, 3, 4, 5, 6, 7, 0xff },
				      .as_of = INT64_MAX };

static void what_was_given_comes_back(void **state)
{
	(void)state;
	struct cursor_ring ring = ring_of("a secret of the operators", NULL);
	struct cursor_scope scope = { .ring = &ring, .list = 0xfedcba98, .now_s = NOW };
	for (int kind = CURSOR_BLOCKS; kind < CURSOR_TEXT; kind++) {
		struct cursor given = sample, got;
		char text[CURSOR_TEXT_MAX];
		given.kind = (enum cursor_kind)kind;
		cursor_print(&given, &scope, text);
		assert_true(strlen(text) < CURSOR_TEXT_MAX - 1);
		assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), strlen(text));
		assert_int_equal(cursor_parse(text, given.kind, &scope, &got, NULL), 0);
		assert_int_equal(got.kind, given.kind);
		assert_int_equal(got.branch, given.branch);
		assert_int_equal(got.ordinal, given.ordinal);
		assert_true(got.height == given.height && got.pinned == given.pinned && got.as_of == given.as_of);
		assert_memory_equal(got.hash, given.hash, 8);
		for (int other = CURSOR_BLOCKS; other < CURSOR_KINDS; other++)
			if (other != kind)
				assert_int_equal(cursor_parse(text, (enum cursor_kind)other, &scope, &got, NULL), WEIR_INVALID);
	}
}

static void every_change_is_seen(void **state)
{
	(void)state;
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \x01\xff";
	struct cursor_ring ring = ring_of("a secret of the operators", NULL);
	struct cursor_scope scope = { .ring = &ring, .list = 7, .now_s = NOW };
	struct cursor got;
	char text[CURSOR_TEXT_MAX], changed[CURSOR_TEXT_MAX + 1];
	cursor_print(&sample, &scope, text);
	size_t size = strlen(text);
	for (size_t i = 0; i < size; i++)
		for (const char *c = alphabet; *c; c++) {
			memcpy(changed, text, size + 1);
			changed[i] = *c;
			if (*c != text[i])
				assert_int_equal(cursor_parse(changed, sample.kind, &scope, &got, NULL), WEIR_INVALID);
		}
	for (size_t i = 0; i < size; i++) {
		memcpy(changed, text, size + 1);
		changed[i] = '\0';
		assert_int_equal(cursor_parse(changed, sample.kind, &scope, &got, NULL), WEIR_INVALID);
	}
	memcpy(changed, text, size);
	memcpy(changed + size, "A", 2);
	assert_int_equal(cursor_parse(changed, sample.kind, &scope, &got, NULL), WEIR_INVALID);
}

static void keys_are_rotated(void **state)
{
	(void)state;
	struct cursor_ring old = ring_of("the key of yesterday", NULL), both = ring_of("the key of today", "the key of yesterday"),
			   new = ring_of("the key of today", NULL);
	struct cursor_scope scope = { .ring = &old, .list = 7, .now_s = NOW };
	struct cursor got;
	char of_old[CURSOR_TEXT_MAX], of_both[CURSOR_TEXT_MAX];
	cursor_print(&sample, &scope, of_old);
	scope.ring = &both;
	assert_int_equal(cursor_parse(of_old, sample.kind, &scope, &got, NULL), 0);
	cursor_print(&sample, &scope, of_both);
	assert_int_equal(cursor_parse(of_both, sample.kind, &scope, &got, NULL), 0);
	scope.ring = &new;
	assert_int_equal(cursor_parse(of_both, sample.kind, &scope, &got, NULL), 0);
	assert_int_equal(cursor_parse(of_old, sample.kind, &scope, &got, NULL), WEIR_INVALID);
}

static void another_lists_and_old_ones_are_refused(void **state)
{
	(void)state;
	struct cursor_ring ring = ring_of("a secret of the operators", NULL);
	struct cursor_scope scope = { .ring = &ring, .list = 7, .now_s = NOW };
	struct cursor got;
	char text[CURSOR_TEXT_MAX];
	cursor_print(&sample, &scope, text);
	scope.list = 8;
	assert_int_equal(cursor_parse(text, sample.kind, &scope, &got, NULL), WEIR_INVALID);
	scope.list = 7;
	scope.now_s = NOW + 1; /* the same step, the same page */
	char later[CURSOR_TEXT_MAX];
	cursor_print(&sample, &scope, later);
	assert_string_equal(later, text);
	scope.now_s = NOW + CURSOR_LIFE_S;
	assert_int_equal(cursor_parse(text, sample.kind, &scope, &got, NULL), 0);
	scope.now_s++;
	assert_int_equal(cursor_parse(text, sample.kind, &scope, &got, NULL), WEIR_TIMEOUT);
}

static void texts_come_back(void **state)
{
	(void)state;
	struct cursor_ring ring = ring_of("a secret of the operators", NULL);
	struct cursor_scope scope = { .ring = &ring, .list = 7, .now_s = NOW };
	char given[300], got[300];
	for (size_t n = 1; n <= 257; n++) {
		struct buf text = BUF_INIT(1000);
		memset(given, 'x', n);
		given[n] = '\0';
		cursor_print_text(given, &scope, &text);
		if (n == 257) { /* nothing so long is ever a place */
			assert_int_equal(text.size, 0);
			buf_free(&text);
			break;
		}
		assert_true(text.size <= 400); /* routes.c's limit */
		assert_int_equal(cursor_parse_text(buf_str(&text), &scope, got, sizeof got, NULL), 0);
		assert_string_equal(got, given);
		assert_int_equal(cursor_parse_text(buf_str(&text), &scope, got, n, NULL), WEIR_INVALID); /* no room for its end */
		text.data[n % text.size] = text.data[n % text.size] == 'A' ? 'B' : 'A';
		assert_int_equal(cursor_parse_text(buf_str(&text), &scope, got, sizeof got, NULL), WEIR_INVALID);
		buf_free(&text);
	}
	assert_int_equal(cursor_parse_text("", &scope, got, sizeof got, NULL), WEIR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_given_comes_back),
		cmocka_unit_test(every_change_is_seen),
		cmocka_unit_test(keys_are_rotated),
		cmocka_unit_test(another_lists_and_old_ones_are_refused),
		cmocka_unit_test(texts_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

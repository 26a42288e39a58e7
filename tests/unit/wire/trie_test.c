/* trie_test.c - list roots: the empty trie, and lists compared with a slow, obvious trie over maps of nibbles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/keccak.h"
#include "wire/hex.h"
#include "wire/rlp.h"
#include "wire/trie.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_keccak_vectors(void **state)
{
	(void)state;
	static const struct {
		const char *text, *hash;
	} rows[] = {
		{ "", "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470" },
		{ "abc", "0x4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45" },
		{ "Transfer(address,address,uint256)", "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t hash[32];
		char text[67];
		keccak256(rows[i].text, strlen(rows[i].text), hash);
		hex_from_bytes(hash, 32, text);
		assert_string_equal(text, rows[i].hash);
	}
}

static void test_empty_root(void **state)
{
	(void)state;
	struct buf scratch = BUF_INIT(1 << 20);
	uint8_t root[32];
	char text[67];
	trie_list_root(NULL, 0, &scratch, root);
	hex_from_bytes(root, 32, text);
	assert_string_equal(text, "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
	buf_free(&scratch);
}

/* The obvious way: a full 16-way tree of pointers, inserted one by one, then encoded by the definition. */
struct slow {
	struct slow *children[16];
	const struct bytes *value;
};

static void slow_insert(struct slow *at, const uint8_t *nibbles, size_t n, const struct bytes *value)
{
	if (n == 0) {
		at->value = value;
		return;
	}
	if (!at->children[nibbles[0]])
		at->children[nibbles[0]] = xmalloc(sizeof *at);
	slow_insert(at->children[nibbles[0]], nibbles + 1, n - 1, value);
}

static void slow_free(struct slow *at)
{
	for (size_t i = 0; i < 16; i++)
		if (at->children[i])
			slow_free(at->children[i]);
	free(at);
}

static size_t slow_count(const struct slow *at, int *ret_only)
{
	size_t n = 0;
	for (int i = 0; i < 16; i++)
		if (at->children[i]) {
			n++;
			*ret_only = i;
		}
	return n;
}

static void slow_path(struct buf *out, const uint8_t *nibbles, size_t n, int flag)
{
	uint8_t bytes[64], k = 0;
	if (n % 2)
		bytes[k++] = (uint8_t)((flag + 1) * 16 + nibbles[0]);
	else
		bytes[k++] = (uint8_t)(flag * 16);
	for (size_t i = n % 2; i < n; i += 2)
		bytes[k++] = (uint8_t)(nibbles[i] * 16 + nibbles[i + 1]);
	rlp_add_bytes(out, bytes, k);
}

static void slow_encode(const struct slow *at, struct buf *out)
{
	uint8_t path[64];
	size_t n = 0;
	int only = 0;
	while (!at->value && slow_count(at, &only) == 1) {
		path[n++] = (uint8_t)only;
		at = at->children[only];
	}
	struct buf body = BUF_INIT(1 << 22);
	if (at->value) {
		slow_path(&body, path, n, 2);
		rlp_add_bytes(&body, at->value->data, at->value->size);
	} else {
		struct buf branch = BUF_INIT(1 << 22);
		for (size_t i = 0; i < 16; i++) {
			struct buf below = BUF_INIT(1 << 22);
			if (at->children[i])
				slow_encode(at->children[i], &below);
			if (!at->children[i])
				buf_add_byte(&branch, 0x80);
			else if (below.size < 32)
				buf_add(&branch, below.data, below.size);
			else {
				uint8_t hash[32];
				keccak256(below.data, below.size, hash);
				rlp_add_bytes(&branch, hash, 32);
			}
			buf_free(&below);
		}
		buf_add_byte(&branch, 0x80);
		uint8_t head[9];
		struct buf whole = BUF_INIT(1 << 22);
		buf_add(&whole, head, rlp_list_header(branch.size, head));
		buf_add(&whole, branch.data, branch.size);
		if (n == 0) {
			buf_add(out, whole.data, whole.size);
			buf_free(&branch);
			buf_free(&whole);
			buf_free(&body);
			return;
		}
		slow_path(&body, path, n, 0);
		if (whole.size < 32) {
			buf_add(&body, whole.data, whole.size);
		} else {
			uint8_t hash[32];
			keccak256(whole.data, whole.size, hash);
			rlp_add_bytes(&body, hash, 32);
		}
		buf_free(&branch);
		buf_free(&whole);
	}
	uint8_t head[9];
	buf_add(out, head, rlp_list_header(body.size, head));
	buf_add(out, body.data, body.size);
	buf_free(&body);
}

static void test_against_slow_trie(void **state)
{
	(void)state;
	static const size_t counts[] = { 1, 2, 3, 15, 16, 17, 127, 128, 129, 130, 200, 255, 256, 257, 300, 1000 };
	struct buf scratch = BUF_INIT(1 << 22);
	for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
		size_t n = counts[c];
		struct bytes *values = xcalloc(n, sizeof *values);
		struct slow *root = xmalloc(sizeof *root);
		for (size_t i = 0; i < n; i++) {
			size_t size = (i * 7 + c) % 90 + 1;
			uint8_t *data = xmalloc(size);
			memset(data, (int)(i + 1), size);
			values[i] = (struct bytes){ data, size };
			struct buf key = BUF_INIT(64);
			rlp_add_u64(&key, i);
			uint8_t nibbles[20];
			for (size_t k = 0; k < key.size; k++) {
				nibbles[2 * k] = key.data[k] >> 4;
				nibbles[2 * k + 1] = key.data[k] & 15;
			}
			slow_insert(root, nibbles, 2 * key.size, &values[i]);
			buf_free(&key);
		}
		struct buf whole = BUF_INIT(1 << 22);
		slow_encode(root, &whole);
		uint8_t expected[32], actual[32];
		keccak256(whole.data, whole.size, expected);
		trie_list_root(values, n, &scratch, actual);
		assert_memory_equal(actual, expected, 32);
		buf_free(&whole);
		slow_free(root);
		for (size_t i = 0; i < n; i++)
			free((void *)(uintptr_t)values[i].data);
		free(values);
	}
	buf_free(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keccak_vectors),
		cmocka_unit_test(test_empty_root),
		cmocka_unit_test(test_against_slow_trie),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

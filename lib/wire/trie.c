/* trie.c - the list trie, built by recursion over the sorted keys; nodes live in one scratch buffer used as a stack.
 *
 * Keys are rlp(index), so in the order of their bytes: 1..127, then 0 (0x80), then 128 and up. At most 5 bytes, 10 nibbles deep.
 */
#include "wire/trie.h"

#include "wire/keccak.h"
#include "wire/rlp.h"

#include <string.h>

struct walk {
	const struct bytes *values;
	size_t n;
	struct buf *scratch;
};

static size_t index_at(size_t position, size_t n)
{
	size_t ones = n > 127 ? 127 : n ? n - 1 : 0; /* how many of 1..127 there are */
	if (position < ones)
		return position + 1;
	return position == ones ? 0 : position;
}

/* Nibbles of rlp(index); returns how many. */
static size_t key_of(size_t index, uint8_t ret[12])
{
	uint8_t bytes[6];
	size_t n = 0;
	if (index == 0) {
		bytes[n++] = 0x80;
	} else if (index < 0x80) {
		bytes[n++] = (uint8_t)index;
	} else {
		size_t length = index < 0x100 ? 1 : index < 0x10000 ? 2 : index < 0x1000000 ? 3 : 4;
		bytes[n++] = (uint8_t)(0x80 + length);
		for (size_t i = length; i > 0; i--)
			bytes[n++] = (uint8_t)(index >> (8 * (i - 1)));
	}
	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = bytes[i] >> 4;
		ret[2 * i + 1] = bytes[i] & 15;
	}
	return 2 * n;
}

/* Compact ("hex prefix") encoding of a path. */
static void add_path(struct buf *out, const uint8_t *nibbles, size_t n, bool leaf)
{
	uint8_t bytes[8];
	size_t size = 0;
	uint8_t flag = leaf ? 2 : 0;
	if (n % 2)
		bytes[size++] = (uint8_t)((flag + 1) << 4 | nibbles[0]);
	else
		bytes[size++] = (uint8_t)(flag << 4);
	for (size_t i = n % 2; i < n; i += 2)
		bytes[size++] = (uint8_t)(nibbles[i] << 4 | nibbles[i + 1]);
	rlp_add_bytes(out, bytes, size);
}

/* A node as its parent refers to it: itself when shorter than 32 bytes, else its hash. */
struct reference {
	uint8_t data[33];
	size_t size;
};

static void refer(struct buf *scratch, size_t begin, struct reference *ret)
{
	size_t size = scratch->size - begin;
	if (size < 32) {
		memcpy(ret->data, scratch->data + begin, size);
		ret->size = size;
	} else {
		ret->data[0] = 0xa0;
		keccak256(scratch->data + begin, size, ret->data + 1);
		ret->size = 33;
	}
	scratch->size = begin;
}

/* Node over positions [from, to), all sharing the first depth nibbles. The node's bytes end on top of scratch. */
static void node(const struct walk *w, size_t from, size_t to, size_t depth);

static void child(const struct walk *w, size_t from, size_t to, size_t depth, struct reference *ret)
{
	size_t begin = w->scratch->size;
	node(w, from, to, depth);
	refer(w->scratch, begin, ret);
}

static void branch(const struct walk *w, size_t from, size_t to, size_t depth)
{
	struct reference children[16];
	memset(children, 0, sizeof children);
	uint8_t key[12];
	for (size_t at = from; at < to;) {
		key_of(index_at(at, w->n), key);
		uint8_t nibble = key[depth];
		size_t end = at + 1;
		for (; end < to; end++) {
			key_of(index_at(end, w->n), key);
			if (key[depth] != nibble)
				break;
		}
		child(w, at, end, depth + 1, &children[nibble]);
		at = end;
	}
	size_t list = rlp_list_begin(w->scratch);
	for (size_t i = 0; i < 16; i++) {
		if (children[i].size)
			buf_add(w->scratch, children[i].data, children[i].size);
		else
			buf_add_byte(w->scratch, 0x80);
	}
	buf_add_byte(w->scratch, 0x80); /* no key is another's prefix */
	rlp_list_end(w->scratch, list);
}

static void node(const struct walk *w, size_t from, size_t to, size_t depth)
{
	uint8_t first[12] = { 0 }, last[12] = { 0 };
	size_t first_size = key_of(index_at(from, w->n), first);
	if (to - from == 1) {
		const struct bytes *value = &w->values[index_at(from, w->n)];
		size_t list = rlp_list_begin(w->scratch);
		add_path(w->scratch, first + depth, first_size - depth, true);
		rlp_add_bytes(w->scratch, value->data, value->size);
		rlp_list_end(w->scratch, list);
		return;
	}
	key_of(index_at(to - 1, w->n), last); /* sorted: what first and last share, all share */
	size_t shared = depth;
	while (first[shared] == last[shared])
		shared++;
	if (shared == depth) {
		branch(w, from, to, depth);
		return;
	}
	struct reference below;
	child(w, from, to, shared, &below);
	size_t list = rlp_list_begin(w->scratch);
	add_path(w->scratch, first + depth, shared - depth, false);
	buf_add(w->scratch, below.data, below.size);
	rlp_list_end(w->scratch, list);
}

void trie_list_root(const struct bytes *values, size_t n, struct buf *scratch, uint8_t ret[32])
{
	buf_reset(scratch);
	if (n == 0)
		buf_add_byte(scratch, 0x80); /* the empty trie */
	else
		node(&(struct walk){ values, n, scratch }, 0, n, 0);
	keccak256(scratch->data, scratch->size, ret);
	buf_reset(scratch);
}

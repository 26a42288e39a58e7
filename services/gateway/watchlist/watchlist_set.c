/* watchlist_set.c - an open hash table with linear probing. */
#include "watchlist/watchlist_set.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define LEAST 64
#define REMOVED (UINT64_C(1) << 63)

__extension__ typedef unsigned __int128 u128;

struct watchlist_slot {
	uint64_t digest[2]; /* both 0: free */
	uint64_t sequence;  /* belongs to it behind this; with REMOVED: not any more behind this */
};

/* ---- the digest ------------------------------------------------------------------------------------------------------------------------- */

static uint64_t rotate(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v);
	mix(v);
	v[0] ^= word;
}

static uint64_t finish(uint64_t v[4], unsigned with)
{
	v[with == 0xee ? 2 : 1] ^= with;
	for (int i = 0; i < 4; i++)
		mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* SipHash-2-4 with 128 bits of result. */
static void digest_of(const struct watchlist_set *set, struct bytes address, uint64_t ret[2])
{
	const uint64_t *k = set->key;
	uint64_t v[4] = { k[0] ^ 0x736f6d6570736575u, k[1] ^ 0x646f72616e646f6du ^ 0xee, k[0] ^ 0x6c7967656e657261u, k[1] ^ 0x7465646279746573u };
	uint64_t last = (uint64_t)address.size << 56;
	size_t whole = address.size & ~(size_t)7;
	for (size_t i = 0; i < whole; i += 8) {
		uint64_t word = 0;
		for (int b = 7; b >= 0; b--)
			word = word << 8 | address.data[i + (size_t)b];
		absorb(v, word);
	}
	for (size_t i = whole; i < address.size; i++)
		last |= (uint64_t)address.data[i] << 8 * (i - whole);
	absorb(v, last);
	ret[0] = finish(v, 0xee);
	ret[1] = finish(v, 0xdd);
	ret[1] |= ret[0] == 0 && ret[1] == 0; /* both 0 is a free slot */
}

/* ---- the table -------------------------------------------------------------------------------------------------------------------------- */

static bool is_free(const struct watchlist_slot *slot)
{
	return slot->digest[0] == 0 && slot->digest[1] == 0;
}

static struct watchlist_slot *place_of(const struct watchlist_set *set, const uint64_t digest[2])
{
	size_t at = (size_t)(((u128)digest[0] * set->capacity) >> 64);
	while (!is_free(&set->slots[at]) && memcmp(set->slots[at].digest, digest, sizeof set->slots[at].digest) != 0)
		at = at + 1 == set->capacity ? 0 : at + 1;
	return &set->slots[at];
}

/* The slots worth keeping, in a table of another size. */
static void move_to(struct watchlist_set *set, size_t capacity, uint64_t forgotten)
{
	struct watchlist_set to = { .slots = xcalloc(capacity, sizeof *to.slots), .capacity = capacity, .key = { set->key[0], set->key[1] } };
	for (size_t i = 0; i < set->capacity; i++) {
		const struct watchlist_slot *slot = &set->slots[i];
		if (is_free(slot) || (slot->sequence & REMOVED && (slot->sequence & ~REMOVED) <= forgotten))
			continue;
		*place_of(&to, slot->digest) = *slot;
		to.used++;
	}
	free(set->slots);
	*set = to;
}

static struct watchlist_slot *place_for(struct watchlist_set *set, struct bytes address)
{
	uint64_t digest[2];
	if ((set->used + 1) * 5 > set->capacity * 4)
		move_to(set, set->capacity ? set->capacity + set->capacity / 2 : LEAST, 0);
	digest_of(set, address, digest);
	struct watchlist_slot *slot = place_of(set, digest);
	set->used += is_free(slot);
	memcpy(slot->digest, digest, sizeof slot->digest);
	return slot;
}

void watchlist_set_init(struct watchlist_set *set)
{
	*set = (struct watchlist_set){ .key = { random_u64(), random_u64() } };
}

void watchlist_set_free(struct watchlist_set *set)
{
	free(set->slots);
	*set = (struct watchlist_set){ .slots = NULL };
}

size_t watchlist_set_bytes(const struct watchlist_set *set)
{
	return set->capacity * sizeof *set->slots;
}

size_t watchlist_set_bytes_for(size_t addresses)
{
	size_t capacity = LEAST;
	while (addresses * 5 > capacity * 4)
		capacity += capacity / 2;
	return capacity * sizeof(struct watchlist_slot);
}

void watchlist_set_add(struct watchlist_set *set, struct bytes address, uint64_t sequence)
{
	place_for(set, address)->sequence = sequence & ~REMOVED;
}

void watchlist_set_remove(struct watchlist_set *set, struct bytes address, uint64_t sequence)
{
	place_for(set, address)->sequence = sequence | REMOVED;
}

void watchlist_set_forget(struct watchlist_set *set, uint64_t sequence)
{
	if (set->capacity > 0)
		move_to(set, set->capacity, sequence);
}

enum watchlist_verdict watchlist_set_has(const struct watchlist_set *set, struct bytes address, uint64_t sequence)
{
	uint64_t digest[2];
	if (set->used == 0)
		return WATCHLIST_NO;
	digest_of(set, address, digest);
	const struct watchlist_slot *slot = place_of(set, digest);
	if (is_free(slot))
		return WATCHLIST_NO;
	/* Before the newest change it may have belonged to the list or not, even more than once. */
	if (sequence <= (slot->sequence & ~REMOVED))
		return WATCHLIST_ASK;
	return slot->sequence & REMOVED ? WATCHLIST_NO : WATCHLIST_YES;
}

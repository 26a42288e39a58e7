/* intern.c - each account, asset or contract once per block, named by its index: a hash table in the arena. */
#include "chains/evm/evm.h"

#include "base/clock.h"

#include <string.h>

struct evm_intern *evm_intern_new(struct arena *arena, size_t capacity)
{
	size_t size = 64;
	while (size < capacity * 2)
		size *= 2;
	struct evm_intern *in = arena_zalloc(arena, 1, sizeof *in);
	if (!in)
		return NULL;
	in->slots = arena_zalloc(arena, size, sizeof *in->slots);
	in->keys = arena_zalloc(arena, size / 2, sizeof *in->keys);
	in->seed = random_u64();
	in->mask = size - 1;
	in->capacity = size / 2;
	return in->slots && in->keys ? in : NULL;
}

/* Seeded, because a log may name addresses of its author's choice. */
static uint64_t hash_bytes(uint64_t seed, const uint8_t *data, size_t size)
{
	uint64_t h = seed ^ size, word;
	for (; size >= 8; data += 8, size -= 8) {
		memcpy(&word, data, 8);
		h = (h ^ word) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	for (; size > 0; data++, size--)
		h = (h ^ *data) * 0x100000001b3u;
	return h ^ h >> 29;
}

static bool grow(struct evm_intern **handle, struct arena *arena)
{
	struct evm_intern *old = *handle, *bigger = evm_intern_new(arena, old->capacity * 2);
	if (!bigger)
		return false;
	for (size_t i = 0; i < old->count; i++)
		if (evm_intern(&bigger, arena, old->keys[i].data, old->keys[i].size) == UINT32_MAX)
			return false;
	*handle = bigger;
	return true;
}

uint32_t evm_intern(struct evm_intern **handle, struct arena *arena, const uint8_t *key, size_t size)
{
	struct evm_intern *in = *handle;
	size_t slot = hash_bytes(in->seed, key, size) & in->mask;
	for (; in->slots[slot]; slot = (slot + 1) & in->mask) {
		const struct bytes *k = &in->keys[in->slots[slot] - 1];
		if (k->size == size && memcmp(k->data, key, size) == 0)
			return in->slots[slot] - 1;
	}
	if (in->count == in->capacity)
		return grow(handle, arena) ? evm_intern(handle, arena, key, size) : UINT32_MAX;
	uint8_t *copy = arena_alloc(arena, size);
	if (!copy)
		return UINT32_MAX;
	memcpy(copy, key, size);
	in->keys[in->count] = (struct bytes){ copy, size };
	in->slots[slot] = (uint32_t)++in->count;
	return (uint32_t)in->count - 1;
}

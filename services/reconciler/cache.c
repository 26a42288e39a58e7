/* cache.c - set-associative cache and open-addressing table. */
#include "cache.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define WAYS 8

struct cache {
	size_t sets, key_size, value_size, slot_size;
	uint64_t seed;
	uint32_t tick;
	uint32_t *used; /* last use per slot; 0 is free */
	uint8_t *slots;
};

uint64_t cache_hash(uint64_t seed, const void *key, size_t size)
{
	const uint8_t *p = key;
	uint64_t h = seed ^ size;
	while (size > 0) {
		uint64_t word = 0;
		size_t n = size < 8 ? size : 8;
		memcpy(&word, p, n);
		h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
		h ^= h >> 32;
		p += n;
		size -= n;
	}
	h *= UINT64_C(0xd6e8feb86659fd93);
	return h ^ h >> 32;
}

struct cache *cache_new(size_t capacity, size_t key_size, size_t value_size)
{
	struct cache *cache = xmalloc(sizeof *cache);
	cache->sets = 1;
	while (cache->sets * WAYS < capacity)
		cache->sets *= 2;
	cache->key_size = key_size;
	cache->value_size = value_size;
	cache->slot_size = (key_size + 7) / 8 * 8 + (value_size + 7) / 8 * 8;
	cache->seed = random_u64();
	cache->used = xcalloc(cache->sets * WAYS, sizeof *cache->used);
	cache->slots = xcalloc(cache->sets * WAYS, cache->slot_size);
	return cache;
}

void cache_free(struct cache **cachep)
{
	if (!*cachep)
		return;
	xfree(&(*cachep)->used);
	xfree(&(*cachep)->slots);
	xfree(cachep);
}

static uint8_t *value_of(const struct cache *cache, uint8_t *slot)
{
	return slot + (cache->key_size + 7) / 8 * 8;
}

/* The slot with the key, or NULL and the one to overwrite. */
static uint8_t *find(struct cache *cache, const void *key, size_t *ret_victim)
{
	size_t first = (cache_hash(cache->seed, key, cache->key_size) & (cache->sets - 1)) * WAYS, victim = first;
	for (size_t i = first; i < first + WAYS; i++) {
		uint8_t *slot = cache->slots + i * cache->slot_size;
		if (cache->used[i] && memcmp(slot, key, cache->key_size) == 0) {
			*ret_victim = i;
			return slot;
		}
		/* Age as a distance, so that the tick may wrap. A free slot is the oldest of all. */
		if (cache->used[victim] && (!cache->used[i] || cache->tick - cache->used[i] > cache->tick - cache->used[victim]))
			victim = i;
	}
	*ret_victim = victim;
	return NULL;
}

static void touch(struct cache *cache, size_t i)
{
	if (++cache->tick == 0)
		cache->tick = 1;
	cache->used[i] = cache->tick;
}

void *cache_get(struct cache *cache, const void *key)
{
	size_t i;
	uint8_t *slot = find(cache, key, &i);
	if (!slot)
		return NULL;
	touch(cache, i);
	return value_of(cache, slot);
}

void cache_put(struct cache *cache, const void *key, const void *value)
{
	size_t i;
	uint8_t *slot = find(cache, key, &i);
	if (!slot) {
		slot = cache->slots + i * cache->slot_size;
		memcpy(slot, key, cache->key_size);
	}
	memcpy(value_of(cache, slot), value, cache->value_size);
	touch(cache, i);
}

void cache_clear(struct cache *cache)
{
	memset(cache->used, 0, cache->sets * WAYS * sizeof *cache->used);
}

/* ---- table -------------------------------------------------------------------------------------------------------------- */

void table_init(struct table *table)
{
	*table = (struct table){ .mask = 1023, .seed = random_u64() };
	table->cells = xcalloc(table->mask + 1, sizeof *table->cells);
}

void table_free(struct table *table)
{
	xfree(&table->cells);
}

void table_reset(struct table *table)
{
	if (table->mask > 1 << 17) { /* one huge block must not make every later reset slow */
		table_free(table);
		table_init(table);
		return;
	}
	memset(table->cells, 0, (table->mask + 1) * sizeof *table->cells);
	table->used = 0;
}

#define UPPER UINT64_C(0xffffffff00000000)

uint32_t table_find(const struct table *table, const void *key, size_t size, table_equal_fn *equal, const void *things, uint64_t *ret_hash)
{
	uint64_t hash = cache_hash(table->seed, key, size);
	*ret_hash = hash;
	for (size_t i = hash >> 32 & table->mask;; i = (i + 1) & table->mask) {
		uint64_t cell = table->cells[i];
		if (!cell)
			return UINT32_MAX;
		if ((cell & UPPER) == (hash & UPPER) && equal(things, (uint32_t)cell - 1, key))
			return (uint32_t)cell - 1;
	}
}

static void insert(struct table *table, uint64_t cell)
{
	size_t i = cell >> 32 & table->mask;
	while (table->cells[i])
		i = (i + 1) & table->mask;
	table->cells[i] = cell;
}

void table_add(struct table *table, uint64_t hash, uint32_t index)
{
	if ((table->used + 1) * 2 > table->mask) {
		uint64_t *old = table->cells;
		size_t old_mask = table->mask;
		table->mask = old_mask * 2 + 1;
		table->cells = xcalloc(table->mask + 1, sizeof *table->cells);
		for (size_t i = 0; i <= old_mask; i++)
			if (old[i])
				insert(table, old[i]);
		xfree(&old);
	}
	insert(table, (hash & UPPER) | (index + 1));
	table->used++;
}

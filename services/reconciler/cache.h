/* cache.h - a bounded map of fixed-size keys and values that forgets the least recently used of a few neighbours.
 *
 * Born with its capacity; a put never fails and never grows. Keys are hashed with a seed of the process, since chains let
 * anyone choose addresses. Not thread-safe.
 */
#ifndef WEIR_RECONCILER_CACHE_H
#define WEIR_RECONCILER_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct cache;
struct cache *cache_new(size_t capacity, size_t key_size, size_t value_size);
void cache_free(struct cache **);
void *cache_get(struct cache *, const void *key); /* NULL: unknown. Valid until the next put. */
void cache_put(struct cache *, const void *key, const void *value);
void cache_clear(struct cache *);

uint64_t cache_hash(uint64_t seed, const void *key, size_t size);

/* table: key -> small number, for the things of one batch. Grows; the keys stay with the caller, who compares them. */
struct table {
	uint64_t *cells; /* hash's upper half | index + 1; 0 is free */
	size_t mask, used;
	uint64_t seed;
};
typedef int table_equal_fn(const void *things, uint32_t index, const void *key);
void table_init(struct table *);
void table_free(struct table *);
void table_reset(struct table *);
/* The index stored under key, or UINT32_MAX. *ret_hash is for table_add. */
uint32_t table_find(const struct table *, const void *key, size_t size, table_equal_fn *, const void *things, uint64_t *ret_hash);
void table_add(struct table *, uint64_t hash, uint32_t index);

#endif

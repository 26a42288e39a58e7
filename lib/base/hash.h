/* hash.h - FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): for tables whose worst case is bounded, never against somebody who chooses
 * keys to collide. */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BASIS UINT64_C(14695981039346656037)

/* from: HASH_BASIS, or the hash of what stands before. */
static inline uint64_t hash_bytes(uint64_t from, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	for (size_t i = 0; i < size; i++)
		from = (from ^ bytes[i]) * UINT64_C(1099511628211);
	return from;
}

#endif

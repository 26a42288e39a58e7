/* window.h - blocks that arrived and wait for their turn: out of order, on several branches, bounded in number and bytes.
 *
 * A held block keeps the packed message: it is unpacked when it is applied. Blocks beyond the watermark pin the committed floor of
 * the stream they came from, so that a restart reads them again; blocks of other branches at or below it do not.
 */
#ifndef WEIR_RECONCILER_WINDOW_H
#define WEIR_RECONCILER_WINDOW_H

#include "base/mem.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The facts of a packed NormalizedBlock that ordering needs, read without unpacking it. */
struct block_facts {
	int64_t height;
	uint8_t hash[32], parent_hash[32];
	bool proven;
	int reason; /* Weir__V1__FetchReason */
};
/* WEIR_INVALID when the bytes are not such a message. */
int block_facts(struct bytes packed, struct block_facts *ret);

struct held {
	struct block_facts facts;
	uint8_t *body; /* owned */
	size_t size;
	uint8_t klass;
	uint64_t generation, sequence, arrival;
	struct span_context trace; /* of the message; none unless set */
	char letter[48];           /* of the replay that brought it; empty: none */
	struct held *next;
};

#define WINDOW_BUCKETS 4096
#define WINDOW_CLASSES 4

struct window {
	struct held *buckets[WINDOW_BUCKETS]; /* by height */
	size_t count, bytes, max_count, max_bytes;
	uint64_t arrivals;
};

void window_init(struct window *, size_t max_count, size_t max_bytes);
void window_clear(struct window *);
/* Copies the body. The same (height, hash) again replaces the older one. When full, the block farthest ahead is dropped (it is
 * missed later and fetched again); returns false when that is the new one. */
bool window_add(struct window *, const struct block_facts *, struct bytes body, uint8_t klass, uint64_t generation, uint64_t sequence);
/* The block at height that follows parent (NULL: any); the latest to arrive when there are several. */
struct held *window_find(const struct window *, int64_t height, const uint8_t *parent);
struct held *window_find_hash(const struct window *, int64_t height, const uint8_t hash[32]);
void window_remove(struct window *, struct held *);
void window_drop_to(struct window *, int64_t height); /* everything at or below */
int64_t window_lowest_above(const struct window *, int64_t height); /* lowest held height above, or -1 */
int64_t window_highest(const struct window *);                      /* or -1 */
/* The first entry of the class that is still needed, for heights above the watermark. False: none is. */
bool window_pin(const struct window *, uint8_t klass, int64_t watermark, uint64_t *ret_generation, uint64_t *ret_sequence);

#endif

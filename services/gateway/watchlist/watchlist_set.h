/* watchlist_set.h - the addresses of one watch-list in memory: for each, from which event of the journal on it belongs, or since when not any more.
 *
 * An address takes one slot of 24 bytes: a keyed digest of 128 bits (SipHash-2-4, https://www.aumasson.jp/siphash/siphash.pdf, with a key that nobody
 * outside knows, so nobody can make two addresses meet) and a sequence. At most 4 of 5 slots are used and the table grows by half:
 * 30 to 45 bytes per address, so 1 M addresses take at most 45 MB (one table; while it grows, that and the next).
 *
 * Not thread-safe.
 */
#ifndef WEIR_GATEWAY_WATCHLIST_SET_H
#define WEIR_GATEWAY_WATCHLIST_SET_H

#include "base/mem.h"

#include <stdint.h>

struct watchlist_set {
	struct watchlist_slot *slots;
	size_t capacity, used; /* used: removed ones, too */
	uint64_t key[2];
};

enum watchlist_verdict {
	WATCHLIST_NO,
	WATCHLIST_YES,
	WATCHLIST_ASK, /* what is in memory does not say: ask the database */
};

void watchlist_set_init(struct watchlist_set *); /* empty, with a key of its own */
void watchlist_set_free(struct watchlist_set *);
size_t watchlist_set_bytes(const struct watchlist_set *);
/* What it takes to hold so many addresses. */
size_t watchlist_set_bytes_for(size_t addresses);

/* Belongs to it for events behind `sequence`; no longer for events behind `sequence`. The same change may come again. */
void watchlist_set_add(struct watchlist_set *, struct bytes address, uint64_t sequence);
void watchlist_set_remove(struct watchlist_set *, struct bytes address, uint64_t sequence);
/* Forgets what was removed at or before `sequence`: nobody asks for events that old any more. */
void watchlist_set_forget(struct watchlist_set *, uint64_t sequence);

/* Does the address belong to it for event `sequence`? */
enum watchlist_verdict watchlist_set_has(const struct watchlist_set *, struct bytes address, uint64_t sequence);

#endif

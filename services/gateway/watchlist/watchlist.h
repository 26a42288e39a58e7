/* watchlist.h - watch-lists: sets of addresses that clients made at run time, in PostgreSQL (schema weir_watch, 0005_watchlists.sql), and those that
 * subscriptions of this gateway follow in memory.
 *
 * A thread asks for changes every WATCHLIST_POLL_MS and whenever an event wants it. What was looked for after an event arrived is complete for
 * that event (the fence of 0005): so an event is matched against what belongs to a list at that very place of the journal, in memory as in
 * replays. While PostgreSQL is away nothing is known and subscriptions to lists wait; others do not.
 *
 * A list is read into memory in pages once it is followed. Until then, and for good when gateway.watchlist_memory is used up, every
 * question about it is answered with "ask the database": right, and slower.
 */
#ifndef WEIR_GATEWAY_WATCHLIST_H
#define WEIR_GATEWAY_WATCHLIST_H

#include "gateway.h"
#include "watchlist/watchlist_set.h"

#include "store/pg.h"

#define WATCHLIST_POLL_MS 250
#define WATCHLIST_ADDRESSES_PER_CALL 10000

struct watchlists;
struct watchlist; /* one that is followed */

/* On the thread: everything about lists up to event `sequence` of the chain is known, and which lists were deleted. */
typedef void watchlists_known(void *arg, const struct gateway_chain *, uint64_t sequence);

int watchlists_open(struct gateway *, watchlists_known *, void *arg, struct watchlists **ret, struct error *);
void watchlists_stop(struct watchlists *); /* no more calls of watchlists_known */
void watchlists_close(struct watchlists **);

/* For one thread, the hub's. */
struct watchlist *watchlist_follow(struct watchlists *, int64_t id);
void watchlist_leave(struct watchlists *, struct watchlist **); /* freed later */
void watchlists_want(struct watchlists *, const struct gateway_chain *, uint64_t sequence); /* watchlists_known comes for it, or for more */
/* Did each address belong to the list for event `sequence`? */
void watchlist_has(struct watchlist *, const struct bytes *addresses, size_t stride, size_t n, uint64_t sequence, uint8_t *ret_verdicts);
bool watchlist_deleted(struct watchlist *);

/* Any thread: writes "items":[…], at most limit of the lists that are followed, and the memory that all of them take and may take. */
void watchlists_put(struct watchlists *, struct buf *out, size_t limit);

/* A connection that may change lists, for one caller at a time: read committed, no transaction. NULL: err says why. */
struct pg *watchlists_take_pg(struct watchlists *, struct error *);
void watchlists_give_pg(struct watchlists *); /* rolls back */

/* Before the first query of a transaction that reads lists for events of the journal. */
int watchlists_fence(struct pg *, struct error *);

#endif

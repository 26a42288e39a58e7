/* recent.h - answers that are given again for a while, and equal reads in flight that are made once.
 *
 *   what                                             at most   and no longer than
 *   blocks, entries, transactions, balances, chains    3 s     until the chain's next event
 *   statistics                                        30 s     until a block is taken back
 *   assets                                            60 s     until a block is taken back
 *
 * (What is final is kept by final.h.) Events reach this table before they reach any subscription, so a client that was told of an event never reads
 * from this gateway what was before it. While its feed is behind, after a reorg too, an answer is as old as the table says at most. An
 * answer belongs to what the ledger was when its reading began: read before an event, it is not given after it, to those who wait neither.
 *
 * By path and query, the same for all clients. Any thread.
 */
#ifndef WEIR_GATEWAY_RECENT_H
#define WEIR_GATEWAY_RECENT_H

#include "call/call.h"

#define RECENT_ANSWER_MAX ((size_t)256 << 10) /* larger ones are not kept */
#define RECENT_KEY_MAX 1024                   /* nor those whose path and query are longer */

struct recent_answers;
/* max_bytes 0: nothing is kept or joined. The metrics may be NULL. */
struct recent_answers *recent_new(size_t max_bytes, size_t chains, struct metrics *);
void recent_free(struct recent_answers **);

struct recent_kept;
struct recent_ticket { /* of a read that is to be made, for recent_end */
	struct recent_kept *kept; /* NULL: nobody is interested */
	size_t fields;            /* headers that the answer had before */
};
/* True: the answer is given, with 304 where the client has it. False: make it, then call recent_end in any case. */
bool recent_begin(struct call *, struct recent_ticket *ret);
void recent_end(struct call *, struct recent_ticket *);

/* The chain's ledger moved. taken_back: a block was, or everything. */
void recent_moved(struct recent_answers *, size_t chain, bool taken_back);

#endif

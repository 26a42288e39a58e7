/* reader.h - reads of one row, many in one round trip: what single reads cost is mostly waking threads and processes for each of them.
 *
 * One thread with one connection takes all reads that wait (at most READER_TOGETHER), asks for them together (store/pg.h), answers them, and takes those that
 * came meanwhile: the busier it is, the more go together. It never has more than READER_WAITING; what comes then goes to the workers. So does everything
 * that waits while the ledger lets it wait for READER_PATIENCE_MS: the workers are many, and shed (shed.h).
 */
#ifndef WEIR_GATEWAY_READER_H
#define WEIR_GATEWAY_READER_H

#include "call/call.h"

#define READER_TOGETHER 64
#define READER_WAITING 256
#define READER_PATIENCE_MS 50

struct reader;
int reader_open(struct gateway *, struct reader **ret, struct error *);
void reader_stop(struct reader *); /* answers everything in hand; nothing is taken any more */
void reader_close(struct reader **);

struct row_read { /* a read in hand */
	struct call *call; /* owned; its request is left for later (http.h) */
	struct row_ask ask; /* filled */
	void (*finish)(struct call *, void *); /* the answer is made or refused: the rest of it, and everything freed */
	bool (*hand_on)(struct call *, void *); /* to a worker instead; everything is freed. False: no worker takes it, nothing was done */
	void *arg;
	struct row_read *next;
};
bool reader_has_room(struct reader *);
/* False: it is closing. Else the read is its own and freed after `finish`; the request is finished then, on its thread. */
bool reader_take(struct reader *, struct row_read *);

#endif

/* worker.h - private to lib/bus: a worker of the shared lane, and what it holds. */
#ifndef WEIR_BUS_WORKER_H
#define WEIR_BUS_WORKER_H

#include "bus/lane/tally.h"
#include "bus/message/message.h"

#define HOLD_MAX 1024

struct bus_share;

struct held { /* a message of ours that waits for its next try; its bytes stay in Redis */
	int64_t due_ms;
	uint32_t attempts;
	bool suspect; /* is handed out alone */
	bool in_hand;
	char id[48], letter[48];
	uint8_t klass;
};

struct bus_worker {
	struct bus *bus;
	char *chain, *topic, *subscription;
	char anchor[KEY_MAX], consumer[128];
	struct retry_policy policy;
	struct bus_tally tally;
	bool has_handlers; /* a subscription's: attempts are counted where handlers are called */
	struct bus_batch batch;
	struct held held[HOLD_MAX];
	size_t held_count;
	bool grouped;
	bool replayed;      /* among the last that were read were letters */
	bool ids_needed;    /* the last time, acknowledging was not enough to settle what was done */
	bool busy[CLASSES]; /* gave all that it was asked for last time */
	int64_t created_ms[CLASSES]; /* of the last message read, by its publisher; 0: none */
	struct bus_share *share;
	int64_t sweep_ms, replay_ms, keep_ms, pause_ms;
	void *own;                 /* a transport's (transport.h); owned by it */
	unsigned pauses;           /* in a row: dependency down */
	uint64_t connects;         /* of the bus when the pending list was looked through last */
	char recover[CLASSES][64]; /* where looking through it goes on; empty: done */
	bool recover_evidence;     /* what is found was left by a life before this one */
};

/* -- what waits (held.c) ------------------------------------------------------------------------------------------------------- */

struct held *bus_worker_hold(struct bus_worker *, const char *id, const char *letter, uint8_t klass); /* NULL: no room */
struct held *bus_worker_held(struct bus_worker *, const char *id, const char *letter, uint8_t klass);
void bus_worker_unhold(struct bus_worker *, struct held *);

#endif

/* deliver.h - private to the subscription's files: its state, and the verdict on one message. */
#ifndef WEIR_BUS_DELIVER_H
#define WEIR_BUS_DELIVER_H

#include "bus/core/core.h"
#include "bus/lane/tally.h"
#include "bus/subscription.h"

#include <pthread.h>
#include <stdatomic.h>

struct handler_state {
	const struct bus_handler *def;
	struct breaker *breaker; /* in struct bus_subscription; handlers of one dependency share it */
	struct bus_handler_status status;
	struct metric *seconds, *breaker_opened, *breaker_state; /* NULL without metrics */
};

/* A message that waits for its next try, or behind one that does. */
struct waiting {
	struct bus_message message; /* points into bytes */
	uint8_t *bytes;
	size_t size;
	uint32_t failures;
	int64_t first_ms, due_ms;
	bool follows;       /* its key's turn has not come */
	struct buf history; /* its failures, packed (bus_attempt_pack) */
};

struct bus_subscription {
	struct bus *bus;
	struct bus_subscription_options options; /* strings owned */
	char *chain, *topic, *name;
	uint8_t handler_of[UINT16_MAX + 1]; /* by message type: index + 1; 0: none */
	struct handler_state handlers[BUS_HANDLERS_MAX];
	struct breaker breakers[BUS_HANDLERS_MAX];
	size_t breaker_count;
	struct breaker storm;
	struct buf upcast;
	struct bus_step *step; /* BUS_SHARED: of the round */

	struct bus_owner *owner;
	struct bus_worker *worker;
	bool owning;
	char token[96]; /* under which all that waits was read */
	int64_t acquire_ms;       /* not before */
	struct waiting **waiting; /* in the order of reading */
	size_t waiting_count, waiting_capacity, waiting_bytes;
	struct floor {
		uint64_t generation, sequence; /* everything read up to here was settled, or waits */
		bool moved;
	} floors[CLASSES][PLACES_MAX]; /* over Kafka each partition has a place of its own; else there is one */
	size_t places;
	int64_t tell_ms;    /* when others' words are read again */
	char told_ns[24];   /* the last one obeyed */

	int64_t now_ns;                     /* read once per call of a handler */
	struct bus_subscription_status own; /* the thread's own; shown at the end of each round */
	bool progressed;                    /* something was settled in this round */

	struct bus_tally *tally; /* the lane's */

	pthread_mutex_t lock; /* guards what other threads see or say */
	struct bus_subscription_status shown;
	struct tally_row *shown_rows; /* owned */
	size_t shown_count, shown_capacity;
	_Atomic bool paused; /* here, or by a word of another process */
	char reason[160], by[64];
	bool resume_asked;
	_Atomic bool stopping;
	bool draining;
	pthread_t thread;
	bool has_thread;
	int64_t drain_ms;
	int result;
	struct error result_error;
};

/* -- deliver.c ----------------------------------------------------------------------------------------------------------- */

enum verdict {
	VERDICT_DONE,
	VERDICT_RETRY, /* an attempt was used up: again at due_ms */
	VERDICT_LATER, /* nobody was called, or it does not count: again at due_ms */
	VERDICT_PARK,
};

struct attempt {
	const struct bus_message *message;
	uint32_t failures; /* before this one */
	int64_t first_ms;  /* of the first failure; 0: none yet */
	int64_t due_ms;    /* set for RETRY and LATER */
	struct error why;  /* set for RETRY and PARK */
};
/* Calls the handler if it may be called, classifies and counts. */
enum verdict deliver(struct bus_subscription *, struct attempt *);
/* No handler may be called before this time; 0: at least one may. */
int64_t deliver_blocked_until(const struct bus_subscription *, int64_t now_ms);
void deliver_note(struct bus_subscription *, const struct bus_message *, enum verdict, const struct error *); /* counters and the log */

/* -- deliver_ordered.c, deliver_shared.c ------------------------------------------------------------------------------------ */

int ordered_turn(struct bus_subscription *, int64_t timeout_ms, struct error *);
void ordered_forget(struct bus_subscription *); /* what waits: it will be read again */
int shared_turn(struct bus_subscription *, int64_t timeout_ms, struct error *);

#endif

/* subscription.h - handlers on a topic: delivery, retries, breaker, storm guard, pause and drain. What most programs use of the bus.
 *
 * A subscription gives each message of a topic to the handler of its type and settles it by the code that the handler returns:
 *
 *	0                                   done
 *	a code whose class is transient     tried again by the retry rules (retry.h), then parked as a dead letter
 *	                      dependency    the same, and counted at the handler's breaker. While that is open nobody is called and no attempt is
 *	                                    used up; what was parked for it before is tried again once it has closed
 *	                      permanent     parked at once
 *
 * Order. BUS_ORDERED: one instance at a time owns the subscription (a lease with a fencing token), messages of one key reach the
 * handler in the order in which they were published, also through retries, dead letters and replays: while one waits, those behind it
 * with the same key wait, and other keys go on. BUS_SHARED: a work queue, any number of instances, no order.
 *
 * Once, in effect. A message is handed over again after a crash, a lost connection or a change of owner, so a handler's effect must
 * be idempotent: write the message's place (bus_delivery: generation and sequence, or the frame's event id) in the same transaction, or in
 * BUS_SHARED hand results on by bus_delivery_emit, which are published if and only if the message is acknowledged.
 *
 * Storm guard: when more than half of what was handled within a minute would be parked, the subscription pauses and says so instead of
 * emptying the topic into the dead letters. It tries one message now and then, and goes on when that succeeds or when an operator
 * says so (bus_subscription_resume).
 *
 * Crash poison: after an instance ended without a good-bye, the next ones note each message before they hand it over; the one over which
 * they ended BUS_CRASHES times is parked as WEIR_CRASH (bus.h). Where several subscriptions of a process handle messages in threads of their own, each
 * message that was under way is noted: give a handler that may end its process a process of its own.
 *
 * Threads: a subscription and its bus belong to one thread, the one that calls bus_subscription_turn or _run, or the one that _start makes.
 * _pause, _resume, _stop and _status may be called from any thread, and bus_subscription_tell from any process.
 * Handlers run on the subscription's thread, one at a time, and must come back within the lease (5 s by default).
 */
#ifndef WEIR_BUS_SUBSCRIPTION_H
#define WEIR_BUS_SUBSCRIPTION_H

#include "base/breaker.h"
#include "bus/bus.h"
#include "bus/retry.h"

#define BUS_HANDLERS_MAX 32

struct bus_subscription;

struct bus_delivery {
	const struct bus_message *message; /* its place, key, ids, trace */
	struct bytes body;                 /* of the type's newest version (registry.h); valid during the call, as everything here */
	uint32_t failures;                 /* so far: 0 the first time */
	const char *token;                 /* BUS_ORDERED: the lease's fencing token; else "" */
	struct bus_subscription *subscription;
	struct span_context trace;         /* of the handler's span (trace.h): for what it causes, see frame_set_trace */
};

/* Returns 0 or a code of error.h, with words. */
typedef int bus_handler_fn(const struct bus_delivery *, void *arg, struct error *);
/* BUS_SHARED only (else WEIR_CONFIG, and nothing happens), within a handler: published with the acknowledgement, or not at all (over Kafka with ?transactions=yes;
 * else before it). The frame is copied; without a trace of its own it gets the delivery's. */
int bus_delivery_emit(const struct bus_delivery *, const char *topic, const struct frame *, struct error *);

struct bus_handler {
	const char *name;
	const uint16_t *types; /* whose messages it gets; a type has one handler in a subscription */
	size_t type_count;
	bus_handler_fn *handle;
	void *arg;
	const char *dependency; /* handlers that name the same one share a breaker; NULL: one of its own */
};

enum bus_order { BUS_ORDERED, BUS_SHARED };

struct bus_subscription_options {
	const char *chain, *topic, *subscription; /* chain: or any other domain whose streams belong together */
	enum bus_order order;
	const struct bus_handler *handlers; /* with all they point to: must live as long as the subscription */
	size_t handler_count;
	const struct retry_rule *retries; /* likewise */
	size_t retry_count;
	const struct breaker_policy *breaker; /* NULL: BREAKER_HANDLER */
	size_t batch;                         /* messages read at once; default 512 */
	int64_t lease_ms;                     /* default 5000 */
	size_t hold_max;                      /* messages waiting in memory (BUS_ORDERED); default 1024. Full: nothing more is read */
	size_t hold_bytes;                    /* and their size; default 64 MiB */
	bool no_storm_guard;
};

enum bus_subscription_state {
	BUS_WAITING, /* another instance owns it */
	BUS_RUNNING,
	BUS_PAUSED, /* by someone: see reason */
	BUS_BROKEN, /* what every handler depends on is down */
	BUS_STORM,  /* the storm guard holds it */
	BUS_STOPPED,
};
const char *bus_subscription_state_name(enum bus_subscription_state);

struct bus_handler_status {
	const char *name;
	uint64_t done, failed, recovered, parked; /* failed: attempts; recovered: done after failures */
	bool breaker_open;
	uint64_t breaker_opened;
	int64_t busy_us; /* time in the handler */
};

struct bus_subscription_status {
	enum bus_subscription_state state;
	char reason[160], by[64];              /* of a pause */
	uint64_t delivered, skipped, replayed; /* skipped: types without a handler here */
	size_t held, held_bytes;
	int64_t progress_ms; /* wall clock of the last message settled; 0: none yet */
	char last_error[200];
	struct bus_handler_status handlers[BUS_HANDLERS_MAX];
	size_t handler_count;
};

/* WEIR_CONFIG names what contradicts what. Also has tried again what was parked because the build did not know it, and now does. */
int bus_subscription_open(struct bus *, const struct bus_subscription_options *, struct bus_subscription **ret, struct error *);
/* Hands over at once (BUS_ORDERED: the lease; BUS_SHARED: what was read and not settled). */
void bus_subscription_close(struct bus_subscription **);

/* One round: what is due, then what is new, then the commit. Waits at most timeout_ms when there is nothing. Errors are of the bus, never of
 * a handler; call again after any that is retriable (it has waited already where that helps). */
int bus_subscription_turn(struct bus_subscription *, int64_t timeout_ms, struct error *);
/* Rounds until bus_subscription_stop, then drains: reads no more, finishes what waits for its next try within drain_ms. What is
 * left then is not lost: it is read again by the next owner. 0, or the first error that no repetition mends. */
int bus_subscription_run(struct bus_subscription *, int64_t drain_ms, struct error *);
void bus_subscription_stop(struct bus_subscription *);
/* The same on a thread of its own. _join stops, drains and waits. */
int bus_subscription_start(struct bus_subscription *, int64_t drain_ms, struct error *);
int bus_subscription_join(struct bus_subscription *, struct error *);

void bus_subscription_pause(struct bus_subscription *, const char *reason, const char *by);
void bus_subscription_resume(struct bus_subscription *); /* also ends a storm and closes breakers */
void bus_subscription_status(struct bus_subscription *, struct bus_subscription_status *ret);

/* -- from any process -------------------------------------------------------------------------------------------------------- */

enum bus_subscription_word { BUS_TELL_PAUSE, BUS_TELL_RESUME };
/* Every instance obeys within about a second, also those that start later. Audited, in the same step. */
int bus_subscription_tell(struct bus *, const char *chain, const char *topic, const char *subscription, enum bus_subscription_word,
			  const char *reason, const char *by, struct error *);
/* Moves the committed place of a class, back or forth (audited: what is skipped is not handled, what is repeated is handled again). The
 * owner reads on from there. BUS_SHARED: what this subscription alone reads is gone once it is done, and not repeated. WEIR_NOT_FOUND: no such subscription. */
int bus_subscription_seek(struct bus *, const char *chain, const char *topic, const char *subscription, enum bus_class, uint64_t generation,
			  uint64_t sequence, const char *by, struct error *);
/* Ends a subscription for good: its groups, so that the topic is no longer kept for it. Refused (WEIR_CONFLICT) while an instance
 * owns it or has messages in hand. Its dead letters stay. Audited. */
int bus_subscription_detach(struct bus *, const char *chain, const char *topic, const char *subscription, const char *by, struct error *);

#endif

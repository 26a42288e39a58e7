/* statistics.h - how messages fared in a subscription: attempts, retries, dead letters, by message type and error class.
 *
 * A row is one type in one error class (retry.h: transient, dependency, permanent, crash); what worked is in class "none". An attempt is one call of
 * a handler, or one message settled by a step of a program that reads the shared lane itself; whoever owns an ordered lane without a subscription
 * has dead letters here and no attempts. The same figures are the metrics weir_bus_attempts_total, weir_bus_retried_total,
 * weir_bus_recovered_total and weir_bus_dead_letters_total, each process its own.
 *
 * Instances add what they counted to Redis about once a second and when they end, so that any process can read the sum of all. It counts from when Redis
 * was empty or the subscription was detached, and is meant for people: an instance that is killed takes its last second with it, and an
 * answer that is lost with its connection may count a second twice. Over Kafka there is no sum.
 */
#ifndef WEIR_BUS_STATISTICS_H
#define WEIR_BUS_STATISTICS_H

#include "bus/bus.h"
#include "bus/subscription.h"

struct bus_statistics {
	const char *type;        /* its name; "unknown": types that no build which counted knew */
	const char *error_class; /* "none": attempts that worked, and dead letters that only wait behind another */
	uint64_t attempts;
	uint64_t retried;   /* failed, an attempt was used up, and tried again */
	uint64_t recovered; /* worked after failures before; class "none" */
	uint64_t parked;    /* became dead letters; a replay that fails again is no new one */
};
typedef void bus_statistics_fn(const struct bus_statistics *, void *arg);

/* The sum of all instances, in no order. No row: nothing was counted yet. WEIR_UNSUPPORTED: over this transport there is no sum. */
int bus_statistics_read(struct bus *, const char *chain, const char *topic, const char *subscription, bus_statistics_fn *, void *arg, struct error *);
/* This instance's own, as of the end of its last round; from any thread. */
void bus_subscription_statistics(struct bus_subscription *, bus_statistics_fn *, void *arg);

#endif

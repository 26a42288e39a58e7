/* health.h - named checks that run now and then: how a program's bus is, now and lately.
 *
 * A check returns 0 or a code of error.h with words. A vital one that fails makes the whole ill, another one makes it degraded. Each keeps its
 * newest BUS_HEALTH_HISTORY changes, so that "it was away for four seconds at 3:12" can be read afterwards.
 *
 * bus_health_turn belongs to one thread, and so do the buses that its checks ask; the others may be called from any.
 */
#ifndef WEIR_BUS_HEALTH_H
#define WEIR_BUS_HEALTH_H

#include "bus/bus.h"
#include "bus/subscription.h"

#define BUS_HEALTH_CHECKS 32
#define BUS_HEALTH_HISTORY 32

enum bus_health_state { BUS_WELL, BUS_DEGRADED, BUS_ILL };
const char *bus_health_state_name(enum bus_health_state);

struct bus_health;
typedef int bus_health_fn(void *arg, struct error *);

struct bus_health *bus_health_new(const struct log *); /* changes are logged; the log may be NULL */
void bus_health_free(struct bus_health **);
/* WEIR_LIMIT: more than BUS_HEALTH_CHECKS; WEIR_CONFIG: the name is taken. arg must outlive the checks. */
int bus_health_add(struct bus_health *, const char *name, int64_t every_ms, bool vital, bus_health_fn *, void *arg, struct error *);
/* Redis answers a PING: vital. */
int bus_health_add_bus(struct bus_health *, const char *name, struct bus *, struct error *);
/* The subscription handles what there is: it fails while a breaker or a storm holds it, and when something waits and nothing was settled for
 * stall_ms. A pause by an operator and waiting for another owner are no failures. */
int bus_health_add_subscription(struct bus_health *, const char *name, struct bus_subscription *, int64_t stall_ms, struct error *);

void bus_health_turn(struct bus_health *); /* runs what is due */
enum bus_health_state bus_health_state(struct bus_health *);
/* {"state":"well","checks":[{"name":…,"ok":…,"vital":…,"error":…,"since_ms":…,"took_us":…,"runs":…,"failures":…,"history":[{"at_ms":…,"ok":…,"error":…}]}]} */
void bus_health_print(struct bus_health *, struct buf *);

#endif

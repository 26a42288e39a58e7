/* owner.h - private to lib/bus: what subscriptions ask of the ordered lane beyond bus.h. */
#ifndef WEIR_BUS_OWNER_H
#define WEIR_BUS_OWNER_H

#include "bus/core/core.h"
#include "bus/lane/probation.h"
#include "bus/lane/tally.h"

/* The token under which the message's place is owned: with several places, its own one's. */
void bus_owner_token_of(const struct bus_owner *, const struct bus_message *, char ret[96]);
/* bus_owner_park, with the failures before this one: what bus_attempt_pack wrote, one behind the other. */
int bus_owner_park_after(struct bus_owner *, const struct bus_message *, struct bytes history, const struct error *why, struct error *);

struct bus_tally *bus_owner_tally(struct bus_owner *);
struct bus_probation *bus_owner_probation(struct bus_owner *);
const char *bus_owner_parked_last(const struct bus_owner *); /* the letter's id */

#endif

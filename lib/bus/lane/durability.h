/* durability.h - private to lib/bus: what must hold of a topic's messages before they count as published (bus.h), by its row or, without one, by
 * what the bus says of all. */
#ifndef WEIR_BUS_DURABILITY_H
#define WEIR_BUS_DURABILITY_H

#include "bus/core/core.h"

struct bus_durability bus_durability_of(const struct bus *, const char *topic);
/* Both hold of what goes to several topics at once. */
void bus_durability_join(struct bus_durability *, const struct bus_durability *other);
/* WEIR_CONFIG: an fsync is asked for, and the chain's server writes without. Looks once a second and at each server that is met: said before
 * and after something is published it holds of the server that took it. */
int bus_durability_check(struct bus *, const char *chain, const struct bus_durability *, struct error *);

#endif

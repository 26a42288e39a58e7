/* sentinel.h - private to lib/bus: the master's address, as sentinels know it. */
#ifndef WEIR_BUS_SENTINEL_H
#define WEIR_BUS_SENTINEL_H

#include "bus/core/address.h"

/* Asks one sentinel after the other. WEIR_UNAVAILABLE: none answers, or none knows the name. */
int bus_sentinel_find(struct bus_address *, int64_t timeout_ms, struct error *);

#endif

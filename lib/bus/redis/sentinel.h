/* sentinel.h - private to lib/bus: the master's address, as sentinels know it. */
#ifndef WEIR_BUS_SENTINEL_H
#define WEIR_BUS_SENTINEL_H

#include "bus/core/core.h"

/* Asks one sentinel after the other, about timeout_ms in all. WEIR_UNAVAILABLE: none of those answers, or none knows the name. WEIR_CANCELED. */
int bus_sentinel_find(struct bus *, int64_t timeout_ms, struct error *);

#endif

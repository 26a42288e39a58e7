/* memory.h - private to lib/bus: "memory://name", a store inside the process instead of a Redis. All buses of one name share it; it lives as long as
 * one of them is open. */
#ifndef WEIR_BUS_MEMORY_H
#define WEIR_BUS_MEMORY_H

#include "bus/core/core.h"

struct memory_client; /* of one bus */
/* WEIR_UNSUPPORTED: LuaJIT is not there. The io is the bus' until bus_memory_leave. */
int bus_memory_join(const char *name, struct memory_client **ret, const struct bus_io **ret_io, struct error *);
void bus_memory_leave(struct memory_client **);

#endif

/* kept.h - small values that Redis keeps for a while, for all instances of a service: secrets that they share, answers already given.
 *
 * Nothing durable: with Redis flushed they are gone. Functions return 0 or a code of error.h; a `struct bus` belongs to one thread.
 */
#ifndef WEIR_BUS_KEPT_H
#define WEIR_BUS_KEPT_H

#include "bus/bus.h"

/* Stores value unless there is one, and *ret is what is there now, whoever stored it. keep_ms >= 1. A value that was expiring just then is
 * stored again; WEIR_CONFLICT when that goes on. */
int bus_keep_first(struct bus *, const char *key, struct bytes value, int64_t keep_ms, struct buf *ret, struct error *);
int bus_keep(struct bus *, const char *key, struct bytes value, int64_t keep_ms, struct error *); /* whatever was there */
int bus_kept(struct bus *, const char *key, struct buf *ret, struct error *);                     /* WEIR_NOT_FOUND */
int bus_forget(struct bus *, const char *key, struct error *);                                    /* also when there is none */

#endif

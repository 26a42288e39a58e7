/* connection.h - private to lib/bus: the connection to a Redis, the functions that it must have, and how much room it has. */
#ifndef WEIR_BUS_CONNECTION_H
#define WEIR_BUS_CONNECTION_H

#include "bus/core/core.h"

/* Connects unless that was tried a moment ago; waits and tries until the deadline. */
int bus_ensure(struct bus *, int64_t deadline_ms, struct error *);
void bus_drop(struct bus *); /* closes the connection: the next command makes a new one */
void bus_answered(struct bus *); /* a command worked: should the connection break, a new one is made at once */

/* -- functions (script.c) ---------------------------------------------------------------------------------------------------- */

int bus_load_functions(struct bus *, int64_t deadline_ms, struct error *);
const char *bus_function_prefix(void); /* depends on the text of weir.lua */

/* -- the server (server.c) --------------------------------------------------------------------------------------------------- */

bool bus_info_field(const char *info, const char *name, char ret[64]); /* of what INFO answers; name with its colon */
/* True while the server uses more of its memory than the settings allow; looks at most once a second. */
double bus_memory_percent(struct bus *); /* used, of maxmemory; 0: there is none */
/* WEIR_CONFIG: the chain's server answers before an fsync, and the topic wants one. Looks at most once a second, and at each server that is met. */
int bus_fsync_check(struct bus *, const char *chain, const char *topic, struct error *);
int64_t bus_backlog(const struct bus *); /* the most entries that may wait */

#endif

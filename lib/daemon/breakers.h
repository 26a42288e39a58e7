/* breakers.h - the breakers of a process's endpoints, told to all through Redis (BREAKERS_KEY_FORMAT), so that operators see which is open and why.
 *
 * Of a chain one fetcher and one reconciler are active: each writes its own field again and again, and a word older than BREAKERS_HEARD_MS
 * is nobody's any more. For people only: nothing is decided by it.
 */
#ifndef WEIR_DAEMON_BREAKERS_H
#define WEIR_DAEMON_BREAKERS_H

#include "bus/bus.h"
#include "net/rpc.h"

#define BREAKERS_EVERY_MS 1000
#define BREAKERS_HEARD_MS 15000

struct breaker_word {
	const char *process, *endpoint;
	const char *state;  /* "closed", "half_open", "open" */
	const char *reason; /* not closed: what it heard last */
	int64_t heard_ms;   /* wall clock, as the next two */
	int64_t opened_ms;  /* 0: closed */
	int64_t probe_ms;   /* when it is asked again; 0: closed, or being asked now */
	uint64_t errors;    /* in a row */
};
typedef void breaker_word_fn(const struct breaker_word *, void *arg);

int breakers_tell(struct bus *, const char *chain, const char *process, struct endpoints *, struct error *);
int breakers_read(struct bus *, const char *chain, breaker_word_fn *, void *arg, struct error *); /* nobody told: 0, and no call */

#endif

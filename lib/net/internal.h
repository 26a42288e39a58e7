/* internal.h - private to lib/net: what rpc.c asks of the shared set of endpoints. Everything here is thread-safe. */
#ifndef WEIR_NET_INTERNAL_H
#define WEIR_NET_INTERNAL_H

#include "net/rpc.h"

#define BATCH_MAX 64          /* calls in one HTTP request, before an endpoint teaches us less */
#define ENDPOINT_METHODS_MAX 24 /* series kept per endpoint; further methods share one */

struct pick { /* who may be asked */
	unsigned role;     /* enum endpoint_role bits, 0: any */
	uint64_t exclude;  /* avoided while another is left */
	uint64_t tried;    /* avoided while another is left that is not excluded */
	int only;          /* -1: any */
	uint64_t needs_height;
};

/* An endpoint index that may be asked right now, or PICK_WAIT (all are busy, paused or not yet identified), or WEIR_WRONG_CHAIN,
 * WEIR_UNSUPPORTED (none has the role), WEIR_UNAVAILABLE (`only` names one that is down). */
#define PICK_WAIT (-1000)
int endpoints_pick(struct endpoints *, const struct pick *);
void endpoints_assign(struct endpoints *, size_t index, int calls); /* load that waits for it or is under way; negative: ended */

/* One HTTP request. Begin answers how many of `want` calls may go in it (0: none now); end tells how it went. */
int64_t endpoints_begin(struct endpoints *, size_t index, int64_t want, bool probe);
void endpoints_end(struct endpoints *, size_t index, int code, const char *words, double seconds, size_t calls, int64_t retry_after_ms, size_t bytes);
int64_t endpoints_slots(struct endpoints *, size_t index); /* HTTP requests that may still start */
size_t rpc_group(size_t queued, int64_t slots, double call_ms); /* rpc.c: how many of the queued calls the next request takes along */
void endpoints_learn_batch(struct endpoints *, size_t index, int64_t calls); /* it refused more than so many */

/* An endpoint whose identity must be checked now: the caller probes it and reports the end. -1: none. */
int endpoints_take_probe(struct endpoints *);
void endpoints_probe_done(struct endpoints *, size_t index, int code, const char *words);
/* Milliseconds until something changes by itself (a pause ends, a probe is due), at most limit. */
int64_t endpoints_wait_ms(struct endpoints *, int64_t limit);

const char *endpoints_url(const struct endpoints *, size_t index);
const char *endpoints_auth(const struct endpoints *, size_t index);
const char *endpoints_chain(const struct endpoints *);
void endpoints_observe(struct endpoints *, size_t index, const char *method, double seconds);
void endpoints_count_error(struct endpoints *, size_t index, int code);
/* "e0: connection refused; e1: wrong chain": for the words of a call that nobody could answer. */
void endpoints_explain(struct endpoints *, struct buf *out);

#endif

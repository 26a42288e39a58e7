/* hub_trace.h - a ledger event's way to its subscribers as a span of the block's trace: the last one, up to the clients' queues. */
#ifndef WEIR_GATEWAY_HUB_TRACE_H
#define WEIR_GATEWAY_HUB_TRACE_H

#include "live/hub_internal.h"

struct hub_trace {
	struct span span;
	uint64_t pushes; /* before */
};
void hub_trace_begin(struct hub_trace *, const struct hub *, const struct event *);
void hub_trace_end(struct hub_trace *, const struct hub *, const struct hub_chain *);

#endif

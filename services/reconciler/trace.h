/* trace.h - blocks of one transaction in their traces: each block has a span below the message that brought it, and the transaction of
 * several has a trace of its own that links to them all (a batch has no single parent; bus/trace.h). */
#ifndef WEIR_RECONCILER_TRACE_H
#define WEIR_RECONCILER_TRACE_H

#include "window.h"

#include "base/error.h"
#include "base/span.h"

#include "weir/v1/block.pb-c.h"

struct apply_trace {
	const struct span_sink *sink; /* NULL: nothing of the batch is recorded */
	const char *chain;
	struct span *spans; /* of the blocks, in the arena */
	size_t count;
	struct span batch;
};

/* Gives each block the traceparent of its span, for its ledger event to go on from. */
void apply_trace_begin(struct apply_trace *, const struct span_sink *, const char *chain, struct arena *, Weir__V1__NormalizedBlock *const *blocks,
		       struct held *const *held, size_t n);
void apply_trace_end(struct apply_trace *, int code, const struct error *why);

#endif

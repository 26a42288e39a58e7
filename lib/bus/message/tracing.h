/* tracing.h - private to lib/bus: messages that are published get the context of their span, and it is told once they stand. */
#ifndef WEIR_BUS_TRACING_H
#define WEIR_BUS_TRACING_H

#include "bus/core/core.h"
#include "bus/trace.h"

/* One call of bus_publish or bus_publish_sequence. */
struct bus_publishing {
	const struct frame *frames; /* the caller's */
	struct frame *sent;         /* owned: the same in the context of their spans; NULL: none is recorded */
	size_t count, recorded;
	int64_t begin_ns;
};
/* What is to be sent. first: of the frames' places, which tell messages without an event id apart. */
const struct frame *bus_publishing_begin(struct bus_publishing *, const struct bus *, const struct frame *, size_t n, uint64_t first);
void bus_publishing_end(struct bus_publishing *, const struct bus *, const char *chain, const char *topic, bool done);

/* One message of a step. */
void bus_trace_message(const struct bus *, struct frame *, uint64_t place);
void bus_tell_message(const struct bus *, const char *chain, const char *topic, bool alone, const struct frame *before, const struct frame *sent,
		      int64_t begin_ns);

#endif

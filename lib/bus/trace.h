/* trace.h - messages in traces, by OpenTelemetry's semantic conventions for messaging.
 *
 *	publish <topic>   PRODUCER   below what the frame names as its context; the message carries the context of this span
 *	process <topic>   CONSUMER   below the publish span of the message that is handled, also where it was parked and comes as a replay
 *
 * The context lies in the frame's header (wire/frame.h), so it lives as long as the frame: in the stream, in a dead letter, in an exported
 * file. A call that publishes several recorded messages has a `create` span for each and one `publish` span that links to them
 * (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): a batch has no single parent. Only messages whose trace is
 * recorded (span.h) cost anything, and only with a sink in bus_options. messaging.system is the transport: redis, kafka or memory.
 *
 * The id of a publish span is made of what it publishes: a call that is repeated tells the same span, and only once it succeeded.
 */
#ifndef WEIR_BUS_TRACE_H
#define WEIR_BUS_TRACE_H

#include "base/span.h"
#include "bus/bus.h"

/* The span of handling one message. A subscription makes it itself (bus_delivery.trace); for lanes and tails. Do not copy: it points into
 * itself. */
struct bus_handling {
	struct span span;
	char name[64], destination[64], event_id[33];
};
void bus_handling_begin(struct bus_handling *ret, const struct bus *, const char *chain, const char *topic, const char *subscription,
			const struct bus_message *);
void bus_handling_end(struct bus_handling *, const struct bus *, int code, const struct error *why); /* code 0: it worked */

#endif

/* envelope.h - what an event says of itself beside the frame's fixed header: issuer, category, cause, story, limit of attempts.
 *
 * Packed weir.v1.Envelope (proto/weir/v1/envelope.proto) in frame.more. Fields that are not known are passed over. The other parts of an envelope are
 * in the frame: event id, type, version, key (the aggregate's id; its kind is the type's key space), time, trace, checksum; class by the type;
 * failures so far with the message (bus.h).
 */
#ifndef WEIR_WIRE_ENVELOPE_H
#define WEIR_WIRE_ENVELOPE_H

#include "wire/frame.h"

#include <stdbool.h>

#define ENVELOPE_TEXT_MAX 255

struct envelope {
	struct bytes issuer, category; /* UTF-8, at most ENVELOPE_TEXT_MAX bytes; empty: not said */
	uint8_t causation_id[16];      /* all zero: not said */
	uint8_t correlation_id[16];
	uint32_t attempts_max;
};

/* Appends it packed: what frame.more points to when the frame is written. Texts that are too long are cut. Nothing for an empty one. */
void envelope_write(const struct envelope *, struct buf *out);
/* Of a frame's more; texts point into it. An empty one is an empty envelope. WEIR_INVALID: that is no envelope. */
int envelope_read(struct bytes more, struct envelope *ret, struct error *err);
/* For what is published because of an event: it is the cause, and its story goes on (its own event id begins one). */
void envelope_caused_by(struct envelope *, const struct frame *cause);

#endif

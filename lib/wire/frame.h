/* frame.h - the envelope around every message on the bus: a fixed header so that routing, dedup and parking decode nothing.
 *
 * Layout, little-endian, 64 bytes, then key, then what envelope.h packs (most messages: nothing), then body (protobuf):
 *   0  magic "WF" | 2 header version (1) | 3 flags | 4 type u16 | 6 schema version u16 | 8 key length u16 | 10 trace flags u8 (W3C: bit 0 recorded), 0
 *   12 body length u32 | 16 event id (16 bytes) | 32 trace id (16) | 48 span id (8) | 56 created, unix ms (6 bytes) | 62 envelope's length u16
 *   and at the very end, behind the body, crc32c u32 of everything before it.
 * The rule for changing it: a new header version, read by both sides one release before anyone writes it. An envelope is no new version, because it
 * is there only where a publisher asks for it; a build that does not know it refuses the frame by its length and parks it, it is never misread.
 */
#ifndef WEIR_WIRE_FRAME_H
#define WEIR_WIRE_FRAME_H

#include "base/error.h"
#include "base/mem.h"
#include "base/span.h"

#include <stdint.h>

#define FRAME_HEADER_SIZE 64
#define FRAME_KEY_MAX 128
#define FRAME_MORE_MAX 1024
#define FRAME_BODY_MAX (64u << 20)

struct frame {
	uint16_t type; /* enum message_type */
	uint16_t schema_version;
	uint8_t flags;
	uint8_t trace_flags;
	uint8_t event_id[16];
	uint8_t trace_id[16]; /* all zero: no trace */
	uint8_t span_id[8];
	uint64_t created_unix_ms;
	struct bytes key; /* what order is kept by; may be empty */
	struct bytes more; /* packed by envelope.h; may be empty */
	struct bytes body;
};

void frame_write(const struct frame *, struct buf *out);
/* *ret points into data. WEIR_INVALID: not a frame, wrong length, version or crc; WEIR_LIMIT: too large. */
int frame_read(struct bytes data, struct frame *ret, struct error *err);
/* How long the frame at the beginning of data is by its header; 0: there is no header. */
size_t frame_size(struct bytes data);
/* As far as the header is whole: for parking what frame_read refuses. False when not even that. */
bool frame_peek(struct bytes data, uint16_t *ret_type, struct bytes *ret_key);
/* When the message was created, unix ms; 0: there is no header. */
uint64_t frame_created(struct bytes data);
/* The trace context that the message carries. */
struct span_context frame_trace(const struct frame *);
void frame_set_trace(struct frame *, const struct span_context *);
uint32_t crc32c(uint32_t seed, const void *data, size_t size);

#endif

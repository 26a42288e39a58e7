/* step.h - private to the shared lane: a step as its caller fills it. */
#ifndef WEIR_BUS_STEP_H
#define WEIR_BUS_STEP_H

#include "bus/lane/worker.h"

struct emit {
	size_t next; /* of the same message, index + 1; 0: none */
	char topic[32];
	uint8_t klass;
	size_t offset, size; /* in bytes */
	struct frame *traced; /* owned: as the caller gave it and as it is sent, without key and body; NULL: not recorded */
	int64_t begin_ns;
};

struct settled {
	char id[48], letter[48], key[FRAME_KEY_MAX + 1];
	uint8_t klass;
	uint16_t type;
	uint32_t attempts;
	enum bus_outcome outcome;
	bool settled, done; /* by the caller; in Redis */
	bool sent;          /* by a transport: what comes of it is on its way */
	bool emitted;       /* in Redis, perhaps not yet in its replicas */
	int64_t due_ms;     /* of the next try */
	int code;
	size_t base_offset, base_size;         /* the letter without its failures */
	size_t fragment_offset, fragment_size; /* this failure */
	size_t first_emit, last_emit, emits;   /* indexes + 1 */
};

struct bus_step {
	struct bus_worker *w;
	struct settled *messages;
	size_t count, capacity;
	size_t *places; /* of the batch's messages in messages, + 1; 0: not there */
	size_t place_count;
	bool copies; /* some of messages are not in places */
	char run[64];     /* the server that emitted */
	struct emit *emits;
	size_t emit_count, emit_capacity;
	struct buf bytes;
};

/* What was settled is gone, or it stays ours until its next try. */
void bus_step_remember(struct bus_worker *, const struct settled *, bool ours);
void bus_step_tell_emits(const struct bus_step *, const struct settled *);

/* Parks one message outside of a caller's step. frame: its bytes as read. */
int bus_worker_park(struct bus_worker *, const struct bus_message *, struct bytes frame, const struct error *why, struct error *);

#endif

/* message.h - private to lib/bus: messages that were read, with the replies that they point into. */
#ifndef WEIR_BUS_MESSAGE_H
#define WEIR_BUS_MESSAGE_H

#include "bus/core/core.h"

struct bus_batch {
	struct bus_message *messages;
	size_t count, capacity;
	redisReply **replies;
	size_t reply_count, reply_capacity;
	struct arena *arena; /* of replies to bus_run_into; NULL until there was one */
};
void bus_batch_reset(struct bus_batch *);
void bus_batch_free(struct bus_batch *);
struct arena *bus_batch_arena(struct bus_batch *); /* replies made there live until the batch is reset */
void bus_batch_keep(struct bus_batch *, redisReply *);
struct bus_message *bus_batch_add(struct bus_batch *);

/* An entry and its messages, one after the other: most have one. */
struct bus_entry {
	const char *generation; /* text, as the id begins */
	size_t generation_size;
	uint64_t generation_number, last; /* sequence of the last message */
	size_t count, given;
	int klass;
	struct bytes rest;
};
/* False when the entry is none. What is said to hold several messages and does not is one that does not decode. */
bool bus_entry_open(struct bus_entry *, const redisReply *entry, int klass);
bool bus_entry_next(struct bus_entry *, struct bus_message *, struct bytes *ret_frame); /* false: that was all */
/* id and fields of one entry into a message; when the frame does not decode, as much of type and key as can be seen. False when the
 * entry is none. */
bool bus_batch_entry(struct bus_message *, const redisReply *entry, int klass, struct bytes *ret_frame);

bool bus_parse_id(const char *text, uint64_t *ret_generation, uint64_t *ret_sequence);
bool bus_is_entry(const redisReply *);
const redisReply *bus_reply_field(const redisReply *fields, const char *name); /* of an entry's field list */
struct bytes bus_reply_bytes(const redisReply *);                              /* of a string; empty: it is none */

#endif

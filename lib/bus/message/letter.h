/* letter.h - private to lib/bus: dead letters as they are stored. A letter is its base with one fragment per failure behind it (weir.lua). */
#ifndef WEIR_BUS_LETTER_H
#define WEIR_BUS_LETTER_H

#include "bus/message/message.h"

#include "weir/v1/dead_letter.pb-c.h"

/* Appended to ret: the base, and a failure. */
void bus_letter_pack(const char *chain, const char *topic, const char *subscription, const struct bus_message *, struct bytes frame,
		     const char *kind, struct buf *ret);
void bus_letter_add_skipped(struct buf *ret); /* another kind, behind what was packed */
void bus_attempt_pack(const struct bus *, const struct error *why, struct buf *ret);
/* A letter taken for replay, or read again: reply is its stream entry. False when it cannot be read. */
bool bus_batch_letter(struct bus_message *, const redisReply *entry);

const char *bus_letter_kind(const Weir__V1__DeadLetter *);   /* "head", "follower", "skipped" */
const char *bus_letter_reason(const Weir__V1__DeadLetter *); /* of its newest failure; "": it only waits */
char *bus_letter_text(const char *);                         /* for a member of a protobuf message that is only packed, which changes nothing; NULL: "" */

void bus_printable(struct bytes key, char *ret, size_t size); /* protobuf strings are UTF-8, and keys may be any bytes */

#endif

/* letter.c - dead letters as they are stored: a protobuf of pieces, one behind the other. */
#include "bus/message/letter.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define FRAME_FIELD (10 << 3 | 2) /* of DeadLetter, on the wire */

/* The frame inside its piece of the packed letter: field 10, length, bytes. */
static bool frame_of_piece(struct bytes piece, struct bytes *ret)
{
	size_t at = 1, size = 0;
	if (piece.size < 2 || piece.data[0] != FRAME_FIELD)
		return false;
	for (unsigned shift = 0; at < piece.size && shift < 35; shift += 7) {
		size |= (size_t)(piece.data[at] & 127) << shift;
		if (piece.data[at++] < 128)
			break;
	}
	*ret = (struct bytes){ piece.data + at, size };
	return size == piece.size - at;
}

bool bus_batch_letter(struct bus_message *m, const redisReply *entry)
{
	if (!bus_is_entry(entry))
		return false;
	const redisReply *klass = bus_reply_field(entry->element[1], "class"), *place = bus_reply_field(entry->element[1], "entry");
	struct bytes piece = bus_reply_bytes(bus_reply_field(entry->element[1], "d")), frame;
	int c = klass && klass->str ? bus_class_of(klass->str) : -1;
	if (c < 0 || !place || !place->str || !frame_of_piece(piece, &frame))
		return false;
	m->replay = true;
	m->klass = (uint8_t)c;
	snprintf(m->letter, sizeof m->letter, "%s", entry->element[0]->str);
	snprintf(m->id, sizeof m->id, "%s", place->str);
	m->frame_ok = bus_parse_id(m->id, &m->generation, &m->sequence) && frame_read(frame, &m->frame, NULL) == 0;
	return m->frame_ok;
}

static void pack(const Weir__V1__DeadLetter *letter, struct buf *ret)
{
	size_t size = weir__v1__dead_letter__get_packed_size(letter);
	buf_reserve(ret, size);
	if (!ret->overflow && ret->size + size <= ret->capacity)
		ret->size += weir__v1__dead_letter__pack(letter, ret->data + ret->size);
	else
		ret->overflow = true;
}

char *bus_letter_text(const char *text)
{
	union {
		const char *in;
		char *out;
	} u = { .in = text ? text : "" };
	return u.out;
}

const char *bus_letter_kind(const Weir__V1__DeadLetter *letter)
{
	return letter->kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER  ? "follower"
	       : letter->kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_SKIPPED ? "skipped"
										      : "head";
}

const char *bus_letter_reason(const Weir__V1__DeadLetter *letter)
{
	return letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1]->error_code : "";
}

void bus_printable(struct bytes key, char *ret, size_t size)
{
	size_t i = 0;
	for (; i < key.size && i + 1 < size; i++)
		ret[i] = key.data[i] >= ' ' && key.data[i] <= '~' ? (char)key.data[i] : '?';
	ret[i] = 0;
}

void bus_letter_pack(const char *chain, const char *topic, const char *subscription, const struct bus_message *m, struct bytes frame,
		     const char *kind, struct buf *ret)
{
	Weir__V1__DeadLetter letter;
	char stream[KEY_MAX], key[FRAME_KEY_MAX + 1];
	weir__v1__dead_letter__init(&letter);
	bus_stream(chain, topic, m->klass, stream);
	bus_printable(m->frame.key, key, sizeof key);
	letter.subscription = bus_letter_text(subscription);
	letter.kind = strcmp(kind, "head") == 0 ? WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_HEAD : WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER;
	letter.stream = stream;
	letter.entry_id = bus_letter_text(m->id);
	letter.key = key;
	letter.type = bus_letter_text(message_type_name(m->frame.type));
	letter.parked_at_unix_ms = (uint64_t)clock_wall_ms();
	letter.frame = (ProtobufCBinaryData){ .len = frame.size, .data = (uint8_t *)(uintptr_t)frame.data };
	pack(&letter, ret);
}

void bus_letter_add_skipped(struct buf *ret)
{
	Weir__V1__DeadLetter kind;
	weir__v1__dead_letter__init(&kind);
	kind.kind = WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_SKIPPED;
	pack(&kind, ret);
}

void bus_attempt_pack(const struct bus *bus, const struct error *why, struct buf *ret)
{
	Weir__V1__DeadLetter fragment;
	Weir__V1__Attempt attempt, *attempts[1] = { &attempt };
	weir__v1__dead_letter__init(&fragment);
	weir__v1__attempt__init(&attempt);
	attempt.at_unix_ms = (uint64_t)clock_wall_ms();
	attempt.error_code = bus_letter_text(error_name(why ? why->code : WEIR_INTERNAL));
	attempt.error = bus_letter_text(why ? why->text : "");
	attempt.worker = bus->worker;
	fragment.n_attempts = 1;
	fragment.attempts = attempts;
	pack(&fragment, ret);
}

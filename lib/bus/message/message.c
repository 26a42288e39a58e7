/* message.c - stream entries into messages, and the batches that hold them. */
#include "bus/message/message.h"

#include <ctype.h>
#include <string.h>

#define ARENA_MAX ((size_t)2 << 30)

/* -- batches --------------------------------------------------------------------------------------------------------------- */

void bus_batch_reset(struct bus_batch *b)
{
	for (size_t i = 0; i < b->reply_count; i++)
		freeReplyObject(b->replies[i]);
	b->reply_count = b->count = 0;
	if (b->arena)
		arena_reset(b->arena);
}

void bus_batch_free(struct bus_batch *b)
{
	bus_batch_reset(b);
	free(b->replies);
	free(b->messages);
	if (b->arena)
		arena_free(&b->arena);
	memset(b, 0, sizeof *b);
}

struct arena *bus_batch_arena(struct bus_batch *b)
{
	if (!b->arena)
		b->arena = arena_new(ARENA_MAX);
	return b->arena;
}

void bus_batch_keep(struct bus_batch *b, redisReply *reply)
{
	if (b->reply_count == b->reply_capacity) {
		b->reply_capacity = b->reply_capacity ? b->reply_capacity * 2 : 8;
		b->replies = xrealloc(b->replies, b->reply_capacity, sizeof *b->replies);
	}
	b->replies[b->reply_count++] = reply;
}

struct bus_message *bus_batch_add(struct bus_batch *b)
{
	if (b->count == b->capacity) {
		b->capacity = b->capacity ? b->capacity * 2 : 64;
		b->messages = xrealloc(b->messages, b->capacity, sizeof *b->messages);
	}
	struct bus_message *m = &b->messages[b->count++];
	memset(m, 0, sizeof *m);
	return m;
}

bool bus_parse_id(const char *text, uint64_t *ret_generation, uint64_t *ret_sequence)
{
	char *end;
	if (!text || !isdigit((unsigned char)*text))
		return false;
	*ret_generation = strtoull(text, &end, 10);
	if (*end != '-' || !isdigit((unsigned char)end[1]))
		return false;
	*ret_sequence = strtoull(end + 1, &end, 10);
	return *end == 0;
}

const redisReply *bus_reply_field(const redisReply *fields, const char *name)
{
	for (size_t i = 0; fields && i + 1 < fields->elements; i += 2)
		if (fields->element[i]->str && strcmp(fields->element[i]->str, name) == 0)
			return fields->element[i + 1];
	return NULL;
}

bool bus_is_entry(const redisReply *entry)
{
	return entry->type == REDIS_REPLY_ARRAY && entry->elements >= 2 && entry->element[0]->type == REDIS_REPLY_STRING &&
	       entry->element[1]->type == REDIS_REPLY_ARRAY;
}

struct bytes bus_reply_bytes(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_STRING ? (struct bytes){ (const uint8_t *)reply->str, reply->len } : (struct bytes){ NULL, 0 };
}

/* Do exactly n frames stand there? */
static bool holds(struct bytes bytes, size_t n)
{
	size_t size;
	while (n > 0 && (size = frame_size(bytes)) > 0 && size <= bytes.size) {
		bytes = (struct bytes){ bytes.data + size, bytes.size - size };
		n--;
	}
	return n == 0 && bytes.size == 0;
}

bool bus_entry_open(struct bus_entry *e, const redisReply *entry, int klass)
{
	if (!bus_is_entry(entry) || !bus_parse_id(entry->element[0]->str, &e->generation_number, &e->last))
		return false;
	e->generation = entry->element[0]->str;
	e->generation_size = strcspn(e->generation, "-");
	e->klass = klass;
	e->given = 0;
	e->rest = bus_reply_bytes(bus_reply_field(entry->element[1], FIELD_FRAME));
	const redisReply *count = entry->element[1]->elements > 2 ? bus_reply_field(entry->element[1], FIELD_COUNT) : NULL;
	e->count = count && count->str ? strtoul(count->str, NULL, 10) : 1;
	if (e->count > 1 && (e->count > e->last || !holds(e->rest, e->count)))
		e->count = 1;
	return e->generation_size < 24;
}

static void write_id(const struct bus_entry *e, uint64_t sequence, char ret[48])
{
	char text[24], *at = text + sizeof text;
	*--at = 0;
	do
		*--at = (char)('0' + sequence % 10);
	while ((sequence /= 10) > 0);
	*--at = '-';
	memcpy(ret, e->generation, e->generation_size);
	memcpy(ret + e->generation_size, at, (size_t)(text + sizeof text - at));
}

bool bus_entry_next(struct bus_entry *e, struct bus_message *m, struct bytes *ret_frame)
{
	if (e->given == e->count)
		return false;
	size_t size = e->count > 1 ? frame_size(e->rest) : e->rest.size;
	*ret_frame = (struct bytes){ e->rest.data, size };
	e->rest = (struct bytes){ e->rest.data + size, e->rest.size - size };
	m->generation = e->generation_number;
	m->sequence = e->last - (e->count - 1) + e->given++;
	m->klass = (uint8_t)e->klass;
	write_id(e, m->sequence, m->id);
	m->frame_ok = frame_read(*ret_frame, &m->frame, NULL) == 0;
	if (!m->frame_ok)
		(void)frame_peek(*ret_frame, &m->frame.type, &m->frame.key);
	return true;
}

bool bus_batch_entry(struct bus_message *m, const redisReply *entry, int klass, struct bytes *ret_frame)
{
	struct bus_entry e;
	bool is = bus_entry_open(&e, entry, klass);
	e.count = 1; /* a shared lane settles entries: several messages in one are none that it can read */
	return is && bus_entry_next(&e, m, ret_frame);
}

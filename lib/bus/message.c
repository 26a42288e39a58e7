/* message.c - message types, stream entries into messages, and the counters of the bus. */
#include "bus/internal.h"

#include "weir/v1/dead_letter.pb-c.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct type_row {
	uint16_t id;
	const char *name;
	const char *klass;
} types[] = {
#define X(name, id, version, klass) { id, #name, CLASS_##klass },
	MESSAGE_TYPES(X)
#undef X
};
#define TYPES (sizeof types / sizeof types[0])

const char *message_type_name(uint16_t type)
{
	static char names[TYPES][24];
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].id == type) {
			for (size_t j = 0; types[i].name[j] && j + 1 < sizeof names[0]; j++)
				names[i][j] = (char)tolower((unsigned char)types[i].name[j]); /* the same bytes, whoever writes first */
			return names[i];
		}
	return "unknown";
}

int message_type_class(uint16_t type)
{
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].id == type)
			for (int c = 0; c < CLASSES; c++)
				if (strcmp(bus_classes[c], types[i].klass) == 0)
					return c;
	return -1;
}

/* -- batches --------------------------------------------------------------------------------------------------------------- */

void bus_batch_reset(struct bus_batch *b)
{
	for (size_t i = 0; i < b->reply_count; i++)
		freeReplyObject(b->replies[i]);
	b->reply_count = b->count = 0;
}

void bus_batch_free(struct bus_batch *b)
{
	bus_batch_reset(b);
	free(b->replies);
	free(b->messages);
	memset(b, 0, sizeof *b);
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
	*ret_generation = strtoull(text, &end, 10);
	if (*end != '-')
		return false;
	*ret_sequence = strtoull(end + 1, &end, 10);
	return *end == 0;
}

const redisReply *bus_reply_field(const redisReply *fields, const char *name)
{
	for (size_t i = 0; fields && i + 1 < fields->elements; i += 2)
		if (strcmp(fields->element[i]->str, name) == 0)
			return fields->element[i + 1];
	return NULL;
}

bool bus_batch_entry(struct bus_message *m, const redisReply *entry, int klass, struct bytes *ret_frame)
{
	if (entry->elements < 2 || !entry->element[0]->str || entry->element[1]->type != REDIS_REPLY_ARRAY)
		return false;
	snprintf(m->id, sizeof m->id, "%s", entry->element[0]->str);
	if (!bus_parse_id(m->id, &m->generation, &m->sequence))
		return false;
	m->klass = (uint8_t)klass;
	const redisReply *body = bus_reply_field(entry->element[1], FIELD_FRAME);
	*ret_frame = body ? (struct bytes){ (const uint8_t *)body->str, body->len } : (struct bytes){ NULL, 0 };
	m->frame_ok = body && frame_read(*ret_frame, &m->frame, NULL) == 0;
	return true;
}

void bus_frame_bytes(const struct bus_message *m, struct buf *ret)
{
	frame_write(&m->frame, ret);
}

void dead_letter_pack(const struct bus *bus, const char *chain, const char *topic, const char *subscription, const struct bus_message *m,
		      struct bytes frame, const struct error *why, const char *kind, struct buf *ret)
{
	Weir__V1__DeadLetter letter = WEIR__V1__DEAD_LETTER__INIT;
	Weir__V1__Attempt attempt = WEIR__V1__ATTEMPT__INIT, *attempts[1] = { &attempt };
	char stream[KEY_MAX], key[FRAME_KEY_MAX + 1];
	bus_stream(chain, topic, m->klass, stream);
	snprintf(key, sizeof key, "%.*s", (int)m->frame.key.size, m->frame.key.size ? (const char *)m->frame.key.data : "");
	letter.subscription = (char *)(uintptr_t)subscription;
	letter.kind = strcmp(kind, "head") == 0 ? WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_HEAD : WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER;
	letter.stream = stream;
	letter.entry_id = (char *)(uintptr_t)m->id;
	letter.key = key;
	letter.type = (char *)(uintptr_t)message_type_name(m->frame.type);
	letter.parked_at_unix_ms = (uint64_t)clock_wall_ms();
	attempt.at_unix_ms = letter.parked_at_unix_ms;
	attempt.error_code = (char *)(uintptr_t)error_name(why ? why->code : WEIR_INTERNAL);
	attempt.error = (char *)(uintptr_t)(why ? why->text : "");
	attempt.worker = bus->worker;
	letter.n_attempts = 1;
	letter.attempts = attempts;
	letter.frame = (ProtobufCBinaryData){ .len = frame.size, .data = (uint8_t *)(uintptr_t)frame.data };
	size_t size = weir__v1__dead_letter__get_packed_size(&letter);
	buf_reserve(ret, size);
	if (!ret->overflow)
		ret->size += weir__v1__dead_letter__pack(&letter, ret->data + ret->size);
}

/* -- counters --------------------------------------------------------------------------------------------------------------- */

#define BUS_COUNTER(metric, text) { .name = metric, .kind = METRIC_COUNTER, .help = text, .labels = { "chain", "topic", "subscription" } }
static const struct metric_def defs[] = {
	BUS_COUNTER("weir_bus_published_total", "Messages published."),
	BUS_COUNTER("weir_bus_duplicates_skipped_total", "Messages that were sent again and stood already."),
	BUS_COUNTER("weir_bus_read_total", "Messages read."),
	BUS_COUNTER("weir_bus_done_total", "Messages handled and acknowledged."),
	BUS_COUNTER("weir_bus_retried_total", "Attempts that failed and will be repeated."),
	BUS_COUNTER("weir_bus_dead_letters_total", "Messages parked as dead letters."),
	BUS_COUNTER("weir_bus_replayed_total", "Dead letters tried again."),
	BUS_COUNTER("weir_bus_fenced_total", "Writes refused because another instance had taken over."),
	BUS_COUNTER("weir_bus_gaps_total", "Times a stream was shorter than what had been published."),
	BUS_COUNTER("weir_bus_reconnects_total", "Connections to Redis made again."),
	BUS_COUNTER("weir_bus_full_total", "Times publishing had to wait for its readers."),
	BUS_COUNTER("weir_bus_taken_over_total", "Messages of dead consumers taken over."),
};

void bus_register_metrics(struct metrics *metrics)
{
	metrics_register(metrics, defs, sizeof defs / sizeof defs[0]);
}

void bus_count(struct bus *bus, const char *name, const char *chain, const char *topic, const char *subscription, uint64_t n)
{
	if (bus->options.metrics && n > 0)
		metric_add(metrics_get(bus->options.metrics, name, chain, topic, subscription), n);
}

/* message.c - message types, stream entries and dead letters into messages, and the counters of the bus. */
#include "bus/internal.h"

#include "weir/v1/dead_letter.pb-c.h"

#include "base/clock.h"

#include <ctype.h>
#include <pthread.h>
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

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char names[TYPES][32];
static int classes[TYPES];

static void make_tables(void)
{
	for (size_t i = 0; i < TYPES; i++) {
		for (size_t j = 0; types[i].name[j] && j + 1 < sizeof names[0]; j++)
			names[i][j] = (char)tolower((unsigned char)types[i].name[j]);
		classes[i] = bus_class_of(types[i].klass);
	}
}

static size_t row_of(uint16_t type)
{
	size_t i = 0;
	pthread_once(&once, make_tables);
	while (i < TYPES && types[i].id != type)
		i++;
	return i;
}

const char *message_type_name(uint16_t type)
{
	size_t i = row_of(type);
	return i < TYPES ? names[i] : "unknown";
}

int message_type_class(uint16_t type)
{
	size_t i = row_of(type);
	return i < TYPES ? classes[i] : -1;
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

static bool is_entry(const redisReply *entry)
{
	return entry->type == REDIS_REPLY_ARRAY && entry->elements >= 2 && entry->element[0]->type == REDIS_REPLY_STRING &&
	       entry->element[1]->type == REDIS_REPLY_ARRAY;
}

static struct bytes bytes_of(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_STRING ? (struct bytes){ (const uint8_t *)reply->str, reply->len } : (struct bytes){ NULL, 0 };
}

bool bus_batch_entry(struct bus_message *m, const redisReply *entry, int klass, struct bytes *ret_frame)
{
	if (!is_entry(entry) || !bus_parse_id(entry->element[0]->str, &m->generation, &m->sequence))
		return false;
	snprintf(m->id, sizeof m->id, "%s", entry->element[0]->str);
	m->klass = (uint8_t)klass;
	*ret_frame = bytes_of(bus_reply_field(entry->element[1], FIELD_FRAME));
	m->frame_ok = frame_read(*ret_frame, &m->frame, NULL) == 0;
	if (!m->frame_ok)
		(void)frame_peek(*ret_frame, &m->frame.type, &m->frame.key);
	return true;
}

/* -- dead letters ------------------------------------------------------------------------------------------------------------- */

bool bus_batch_letter(struct bus_message *m, const redisReply *entry)
{
	if (!is_entry(entry))
		return false;
	const redisReply *klass = bus_reply_field(entry->element[1], "class");
	struct bytes body = bytes_of(bus_reply_field(entry->element[1], "d"));
	int c = klass && klass->str ? bus_class_of(klass->str) : -1;
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	if (!letter || c < 0 || !body.data) {
		if (letter)
			weir__v1__dead_letter__free_unpacked(letter, NULL);
		return false;
	}
	m->replay = true;
	m->klass = (uint8_t)c;
	snprintf(m->letter, sizeof m->letter, "%s", entry->element[0]->str);
	snprintf(m->id, sizeof m->id, "%s", letter->entry_id);
	/* The frame stands inside the packed letter, which lives as long as the batch: point there instead of copying. */
	const uint8_t *frame = letter->frame.len ? memmem(body.data, body.size, letter->frame.data, letter->frame.len) : NULL;
	m->frame_ok = frame && bus_parse_id(m->id, &m->generation, &m->sequence) &&
		      frame_read((struct bytes){ frame, letter->frame.len }, &m->frame, NULL) == 0;
	weir__v1__dead_letter__free_unpacked(letter, NULL);
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

static char *text_of(const char *s)
{
	return (char *)(uintptr_t)s; /* protobuf-c's packing only reads it */
}

/* Protobuf strings are UTF-8, and keys may be any bytes. */
static void printable(struct bytes key, char *ret, size_t size)
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
	printable(m->frame.key, key, sizeof key);
	letter.subscription = text_of(subscription);
	letter.kind = strcmp(kind, "head") == 0 ? WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_HEAD : WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER;
	letter.stream = stream;
	letter.entry_id = text_of(m->id);
	letter.key = key;
	letter.type = text_of(message_type_name(m->frame.type));
	letter.parked_at_unix_ms = (uint64_t)clock_wall_ms();
	letter.frame = (ProtobufCBinaryData){ .len = frame.size, .data = (uint8_t *)(uintptr_t)frame.data };
	pack(&letter, ret);
}

void bus_attempt_pack(const struct bus *bus, const struct error *why, struct buf *ret)
{
	Weir__V1__DeadLetter fragment;
	Weir__V1__Attempt attempt, *attempts[1] = { &attempt };
	weir__v1__dead_letter__init(&fragment);
	weir__v1__attempt__init(&attempt);
	attempt.at_unix_ms = (uint64_t)clock_wall_ms();
	attempt.error_code = text_of(error_name(why ? why->code : WEIR_INTERNAL));
	attempt.error = text_of(why ? why->text : "");
	attempt.worker = bus->worker;
	fragment.n_attempts = 1;
	fragment.attempts = attempts;
	pack(&fragment, ret);
}

/* -- counters --------------------------------------------------------------------------------------------------------------- */

#define BUS_COUNTER(metric, text) { .name = metric, .kind = METRIC_COUNTER, .help = text, .labels = { "chain", "topic", "subscription" } }
static const struct metric_def defs[] = {
	BUS_COUNTER("weir_bus_published_total", "Messages published."),
	BUS_COUNTER("weir_bus_duplicates_skipped_total", "Messages that were sent again and stood already."),
	BUS_COUNTER("weir_bus_read_total", "Messages read."),
	BUS_COUNTER("weir_bus_done_total", "Messages handled and acknowledged."),
	BUS_COUNTER("weir_bus_retried_total", "Attempts that failed and will be repeated."),
	BUS_COUNTER("weir_bus_not_ours_total", "Messages settled in vain: somebody else had taken them over."),
	BUS_COUNTER("weir_bus_dead_letters_total", "Messages parked as dead letters."),
	BUS_COUNTER("weir_bus_replayed_total", "Dead letters tried again."),
	BUS_COUNTER("weir_bus_fenced_total", "Writes refused because another instance had taken over."),
	BUS_COUNTER("weir_bus_gaps_total", "Times a stream was shorter than what had been published."),
	BUS_COUNTER("weir_bus_loss_suspected_total", "Times Redis no longer had what had been read or committed there."),
	BUS_COUNTER("weir_bus_reconnects_total", "Connections to Redis made again."),
	BUS_COUNTER("weir_bus_full_total", "Times publishing had to wait for its readers or for memory."),
	BUS_COUNTER("weir_bus_paused_total", "Times a lane paused because what its handler depends on was down."),
	BUS_COUNTER("weir_bus_taken_over_total", "Messages taken over that somebody had read and not settled."),
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

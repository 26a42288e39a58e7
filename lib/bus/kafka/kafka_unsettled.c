/* kafka_unsettled.c - rising arrays of offsets, one for each partition and class; bytes of messages, looked up one by one: few wait. */
#include "bus/kafka/kafka_unsettled.h"

#include <stdlib.h>
#include <string.h>

struct kafka_unsettled_offsets {
	int64_t *offsets;
	size_t count, capacity;
};

void kafka_unsettled_free(struct kafka_unsettled *u)
{
	while (u->kept_count > 0)
		kafka_unsettled_let_go(u, &u->kept[0]);
	for (size_t i = 0; i < u->place_count; i++)
		free(u->places[i].offsets);
	free(u->places);
	u->places = NULL;
	u->place_count = 0;
}

void kafka_unsettled_reset(struct kafka_unsettled *u, int32_t partitions)
{
	kafka_unsettled_free(u);
	u->place_count = (size_t)partitions * CLASSES;
	u->places = xcalloc(u->place_count + 1, sizeof *u->places);
}

/* -- offsets ------------------------------------------------------------------------------------------------------------------------- */

static struct kafka_unsettled_offsets *place_of(const struct kafka_unsettled *u, const struct bus_message *m)
{
	const size_t at = (m->generation - 1) * CLASSES + m->klass;
	return at < u->place_count ? &u->places[at] : NULL;
}

static int64_t offset_of(const struct bus_message *m)
{
	return (int64_t)m->sequence - 1;
}

/* Where it is, or would be. */
static size_t find(const struct kafka_unsettled_offsets *p, int64_t offset)
{
	size_t low = 0, high = p->count;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (p->offsets[middle] < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool kafka_unsettled_has(const struct kafka_unsettled *u, const struct bus_message *m)
{
	const struct kafka_unsettled_offsets *p = place_of(u, m);
	const size_t at = p ? find(p, offset_of(m)) : 0;
	return p && at < p->count && p->offsets[at] == offset_of(m);
}

void kafka_unsettled_add(struct kafka_unsettled *u, const struct bus_message *m)
{
	struct kafka_unsettled_offsets *p = place_of(u, m);
	if (!p)
		return;
	if (p->count == p->capacity) {
		p->capacity = p->capacity ? p->capacity * 2 : 64;
		p->offsets = xrealloc(p->offsets, p->capacity, sizeof *p->offsets);
	}
	p->offsets[p->count++] = offset_of(m);
}

void kafka_unsettled_remove(struct kafka_unsettled *u, const struct bus_message *m)
{
	struct kafka_unsettled_offsets *p = place_of(u, m);
	if (!kafka_unsettled_has(u, m))
		return;
	const size_t at = find(p, offset_of(m));
	memmove(p->offsets + at, p->offsets + at + 1, (--p->count - at) * sizeof *p->offsets);
}

int64_t kafka_unsettled_first(const struct kafka_unsettled *u, int32_t partition, int klass, int64_t otherwise)
{
	const size_t at = (size_t)partition * CLASSES + (size_t)klass;
	if (at >= u->place_count)
		return -1;
	return u->places[at].count > 0 ? u->places[at].offsets[0] : otherwise;
}

/* -- bytes of what waits ------------------------------------------------------------------------------------------------------------- */

struct kafka_kept *kafka_unsettled_kept(struct kafka_unsettled *u, uint8_t klass, const char *id, const char *letter)
{
	for (size_t i = 0; i < u->kept_count; i++) {
		const struct bus_message *m = &u->kept[i].message;
		if (m->klass == klass && strcmp(m->id, id) == 0 && strcmp(m->letter, letter) == 0)
			return &u->kept[i];
	}
	return NULL;
}

static uint8_t *put(uint8_t *at, struct bytes *b)
{
	if (b->size > 0)
		memcpy(at, b->data, b->size);
	b->data = at;
	return at + b->size;
}

struct kafka_kept *kafka_unsettled_keep(struct kafka_unsettled *u, const struct bus_message *m)
{
	if (u->kept_count == HOLD_MAX)
		return NULL;
	struct kafka_kept *kept = &u->kept[u->kept_count++];
	kept->message = *m;
	kept->bytes = xmalloc(m->frame.key.size + m->frame.body.size + 1);
	(void)put(put(kept->bytes, &kept->message.frame.key), &kept->message.frame.body);
	kept->history = (struct buf)BUF_INIT(KAFKA_HISTORY_MAX);
	return kept;
}

void kafka_unsettled_let_go(struct kafka_unsettled *u, struct kafka_kept *kept)
{
	free(kept->bytes);
	buf_free(&kept->history);
	*kept = u->kept[--u->kept_count];
}

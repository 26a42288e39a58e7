/* tail.c - reading everything of a topic's class from a sequence on, outside any group: what each gateway does. */
#include "bus/internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_SLICE_MS 200

struct bus_tail {
	struct bus *bus;
	char *chain, *topic;
	int klass;
	char key[KEY_MAX];
	uint64_t after;    /* last sequence handed out */
	char cursor[48];   /* entry id; empty: find it */
	struct bus_batch batch;
};

int bus_tail_open(struct bus *bus, const char *chain, const char *topic, const char *klass, struct bus_tail **ret, struct error *err)
{
	int index = -1;
	for (int c = 0; c < CLASSES; c++)
		if (strcmp(bus_classes[c], klass) == 0)
			index = c;
	if (index < 0)
		return error_set(err, WEIR_INVALID, "no such class: %s", klass);
	struct bus_tail *t = xmalloc(sizeof *t);
	t->bus = bus;
	t->chain = xstrdup(chain);
	t->topic = xstrdup(topic);
	t->klass = index;
	bus_stream(chain, topic, index, t->key);
	*ret = t;
	return 0;
}

void bus_tail_close(struct bus_tail **t)
{
	if (!*t)
		return;
	bus_batch_free(&(*t)->batch);
	free((*t)->chain);
	free((*t)->topic);
	xfree(t);
}

void bus_tail_seek(struct bus_tail *t, uint64_t after_sequence)
{
	t->after = after_sequence;
	t->cursor[0] = 0;
}

/* First and last entry's ids: where in the stream is our sequence, if it is there at all? */
static int edge(struct bus_tail *t, const char *command, const char *from, const char *to, uint64_t *ret_generation, uint64_t *ret_sequence,
		bool *ret_found, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, command);
	bus_args_add(&a, t->key);
	bus_args_add(&a, from);
	bus_args_add(&a, to);
	bus_args_add(&a, "COUNT");
	bus_args_add(&a, "1");
	int r = bus_run(t->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	*ret_found = reply->elements == 1 && bus_parse_id(reply->element[0]->element[0]->str, ret_generation, ret_sequence);
	freeReplyObject(reply);
	return 0;
}

/* Puts the cursor behind `after`. Sequences go on over generations, so the newest generation that begins at or below it is the one. */
static int find_cursor(struct bus_tail *t, uint64_t *ret_first, struct error *err)
{
	uint64_t first_generation = 0, first = 0, last_generation = 0, last = 0;
	bool any = false;
	int r = edge(t, "XRANGE", "-", "+", &first_generation, &first, &any, err);
	if (r == 0 && any)
		r = edge(t, "XREVRANGE", "+", "-", &last_generation, &last, &any, err);
	if (r != 0)
		return r;
	*ret_first = any ? first : 0;
	if (!any) { /* whatever comes next has a higher id than nothing */
		snprintf(t->cursor, sizeof t->cursor, "0-0");
		return 0;
	}
	if (first > t->after + 1)
		return error_set(err, WEIR_GAP, "topic %s of chain %s begins at %" PRIu64 ", %" PRIu64 " was to be next", t->topic, t->chain, first, t->after + 1);
	uint64_t generation = first_generation;
	if (last_generation != first_generation) {
		uint64_t g = 0, s = 0;
		char from[48];
		snprintf(from, sizeof from, "%" PRIu64 "-0", last_generation);
		r = edge(t, "XRANGE", from, "+", &g, &s, &any, err);
		if (r != 0)
			return r;
		if (any && s <= t->after + 1)
			generation = last_generation;
	}
	snprintf(t->cursor, sizeof t->cursor, "%" PRIu64 "-%" PRIu64, generation, t->after);
	return 0;
}

int bus_tail_read(struct bus_tail *t, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, uint64_t *ret_first, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bus_batch_reset(&t->batch);
	*ret_n = 0;
	*ret_first = 0;
	if (!t->cursor[0]) {
		int r = find_cursor(t, ret_first, err);
		if (r != 0)
			return r;
	}
	for (;;) {
		if (bus_canceled(t->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		int64_t left = deadline - clock_mono_ms();
		int64_t block = left <= 0 ? 1 : left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS;
		struct bus_args a = { 0 };
		redisReply *reply = NULL;
		bus_args_add(&a, "XREAD");
		bus_args_add(&a, "COUNT");
		bus_args_add_u64(&a, max);
		bus_args_add(&a, "BLOCK");
		bus_args_add_u64(&a, (uint64_t)block);
		bus_args_add(&a, "STREAMS");
		bus_args_add(&a, t->key);
		bus_args_add(&a, t->cursor);
		int r = bus_run(t->bus, &a, block, &reply, err);
		bus_args_free(&a);
		if (r != 0)
			return r;
		if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
			const redisReply *entries = reply->element[0]->element[1];
			for (size_t i = 0; i < entries->elements; i++) {
				struct bytes frame;
				struct bus_message *m = bus_batch_add(&t->batch);
				if (!bus_batch_entry(m, entries->element[i], t->klass, &frame) || !m->frame_ok)
					t->batch.count--; /* the hole shows as a gap and is healed from the source */
			}
		}
		bus_batch_keep(&t->batch, reply);
		if (t->batch.count > 0 || clock_mono_ms() >= deadline)
			break;
	}
	size_t good = 0;
	for (; good < t->batch.count && t->batch.messages[good].sequence == t->after + 1; good++) {
		t->after++;
		snprintf(t->cursor, sizeof t->cursor, "%s", t->batch.messages[good].id);
	}
	if (good == 0 && t->batch.count > 0) {
		*ret_first = t->batch.messages[0].sequence;
		t->cursor[0] = 0;
		return error_set(err, WEIR_GAP, "topic %s of chain %s goes on at %" PRIu64 ", %" PRIu64 " was to be next", t->topic, t->chain, *ret_first,
				 t->after + 1);
	}
	*ret = t->batch.messages;
	*ret_n = good;
	return 0;
}

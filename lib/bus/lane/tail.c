/* tail.c - reading everything of a topic's class from a sequence on, outside any group: what each gateway does. */
#include "bus/message/message.h"
#include "bus/redis/command.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct bus_tail {
	struct bus *bus;
	char *chain, *topic;
	int klass;
	char key[KEY_MAX];
	uint64_t after;    /* last sequence handed out */
	char cursor[48];   /* entry id; empty: find it */
	uint64_t connects; /* of the bus when the cursor was found: another server may not have what it points at */
	struct bus_batch batch;
	size_t per_entry; /* messages in the entry read last */
};

int bus_tail_open(struct bus *bus, const char *chain, const char *topic, const char *klass, struct bus_tail **ret, struct error *err)
{
	int index = bus_class_of(klass);
	*ret = NULL;
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
	if (!t || !*t)
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

struct edge { /* the entry's first message */
	uint64_t generation, sequence;
	bool found;
};

/* First entry of a range (XRANGE), or its last (XREVRANGE). */
static int find_edge(struct bus_tail *t, const char *command, const char *from, const char *to, struct edge *ret, struct error *err)
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
	struct bus_entry e = { .count = 0 };
	ret->found = reply->elements == 1 && bus_entry_open(&e, reply->element[0], t->klass);
	ret->generation = e.generation_number;
	ret->sequence = e.last - e.count + 1;
	freeReplyObject(reply);
	return 0;
}

static int gap(const struct bus_tail *t, uint64_t first, struct error *err)
{
	return error_set(err, WEIR_GAP, "topic %s of chain %s goes on at %" PRIu64 ", %" PRIu64 " was to be next", t->topic, t->chain, first,
			 t->after + 1);
}

/* Puts the cursor behind `after`: in the newest generation that begins no later than that. */
static int find_cursor(struct bus_tail *t, uint64_t *ret_first, struct error *err)
{
	char to[48] = "+", from[48];
	struct edge last, begin = { 0 };
	t->connects = t->bus->connects;
	for (;;) {
		int r = find_edge(t, "XREVRANGE", to, "-", &last, err);
		if (r != 0)
			return r;
		if (!last.found)
			break;
		snprintf(from, sizeof from, "%" PRIu64 "-0", last.generation);
		r = find_edge(t, "XRANGE", from, "+", &begin, err);
		if (r != 0)
			return r;
		if (begin.found && begin.sequence <= t->after + 1) {
			snprintf(t->cursor, sizeof t->cursor, "%" PRIu64 "-%" PRIu64, last.generation, t->after);
			return 0;
		}
		snprintf(to, sizeof to, "(%s", from);
	}
	if (begin.found) {
		*ret_first = begin.sequence;
		return gap(t, begin.sequence, err);
	}
	snprintf(t->cursor, sizeof t->cursor, "0-0"); /* nothing there: whatever comes has a higher id */
	return 0;
}

/* Of an entry with several messages those behind the cursor, as many as there is room for. */
static void take_entry(struct bus_tail *t, const redisReply *entry, size_t max)
{
	struct bus_entry e;
	struct bytes frame;
	if (!bus_entry_open(&e, entry, t->klass))
		return;
	t->per_entry = e.count;
	while (t->batch.count < max && e.given < e.count) {
		struct bus_message *m = bus_batch_add(&t->batch);
		(void)bus_entry_next(&e, m, &frame);
		if (e.count > 1 && m->sequence <= t->after)
			t->batch.count--;
	}
}

static int read_stream(struct bus_tail *t, size_t max, int64_t block_ms, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	bus_args_add(&a, "XREAD");
	bus_args_add(&a, "COUNT");
	bus_args_add_u64(&a, t->per_entry > 1 ? (max - 1) / t->per_entry + 1 : max);
	if (block_ms > 0) {
		bus_args_add(&a, "BLOCK");
		bus_args_add_u64(&a, (uint64_t)block_ms);
	}
	bus_args_add(&a, "STREAMS");
	bus_args_add(&a, t->key);
	bus_args_add(&a, t->cursor);
	int r = bus_run_into(t->bus, &a, 1, block_ms, bus_batch_arena(&t->batch), &reply, err);
	bus_args_free(&a);
	if (r == 0)
		r = bus_reply_error(t->bus, reply, "XREAD", err);
	if (r != 0)
		return r;
	const redisReply *entries = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0]->element[1] : NULL;
	for (size_t i = 0; entries && i < entries->elements; i++)
		take_entry(t, entries->element[i], max);
	return 0;
}

int bus_tail_read(struct bus_tail *t, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, uint64_t *ret_first, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bus_batch_reset(&t->batch);
	*ret = NULL;
	*ret_n = 0;
	*ret_first = 0;
	if (max == 0)
		return bus_refuse_nothing(err);
	for (;;) {
		if (bus_canceled(t->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		int r = t->cursor[0] && t->connects == t->bus->connects ? 0 : find_cursor(t, ret_first, err);
		int64_t left = deadline - clock_mono_ms();
		if (r == 0)
			r = read_stream(t, max, left <= 0 ? 0 : left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS, err);
		if (r != 0)
			return r;
		if (t->batch.count > 0 || clock_mono_ms() >= deadline)
			break;
	}
	struct bus_message *m = t->batch.messages;
	size_t good = 0;
	for (; good < t->batch.count && m[good].frame_ok && m[good].sequence == t->after + 1; good++) {
		t->after++;
		snprintf(t->cursor, sizeof t->cursor, "%s", m[good].id);
	}
	if (good == 0 && t->batch.count > 0) {
		/* What does not decode is a hole as well. */
		*ret_first = m[0].frame_ok ? m[0].sequence : m[0].sequence + 1;
		t->cursor[0] = 0;
		return gap(t, *ret_first, err);
	}
	*ret = m;
	*ret_n = good;
	return 0;
}

/* publish.c - exactly-once publishing: by the producer's own counter, or by the caller's dense sequence (outboxes). */
#include "bus/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define BATCH_BYTES (8u << 20)
#define BATCH_FRAMES 512

struct bus_publisher {
	struct bus *bus;
	char *chain, *topic, *producer;
	char anchor[KEY_MAX];
	char epoch[32]; /* empty: must be opened */
	uint64_t next;  /* the producer's sequence of the next message */
	uint64_t restart_at;
	/* what the last call may or may not have got through, to tell a repetition from something new */
	uint8_t pending_event[16];
	size_t pending;
};

int bus_publisher_open(struct bus *bus, const char *chain, const char *topic, const char *producer, struct bus_publisher **ret, struct error *err)
{
	(void)err;
	struct bus_publisher *p = xmalloc(sizeof *p);
	p->bus = bus;
	p->chain = xstrdup(chain);
	p->topic = xstrdup(topic);
	p->producer = xstrdup(producer);
	bus_anchor(chain, p->anchor);
	*ret = p;
	return 0;
}

void bus_publisher_close(struct bus_publisher **p)
{
	if (!*p)
		return;
	free((*p)->chain);
	free((*p)->topic);
	free((*p)->producer);
	xfree(p);
}

static int open_epoch(struct bus_publisher *p, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_call(&a, "weir1_producer_open", p->anchor);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, p->producer);
	int r = bus_run(p->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	snprintf(p->epoch, sizeof p->epoch, "%s", reply->str ? reply->str : "");
	freeReplyObject(reply);
	p->next = 1;
	p->pending = 0;
	return 0;
}

static void encode(const struct frame *frames, size_t n, struct buf *whole, size_t *offsets)
{
	for (size_t i = 0; i < n; i++) {
		offsets[i] = whole->size;
		frame_write(&frames[i], whole);
	}
	offsets[n] = whole->size;
}

static int publish_batch(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	struct buf whole = BUF_INIT(FRAME_BODY_MAX * 4ul);
	size_t *offsets = xcalloc(n + 1, sizeof *offsets);
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	encode(frames, n, &whole, offsets);
	bus_call(&a, "weir1_publish", p->anchor);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, p->producer);
	bus_args_add(&a, p->epoch);
	bus_args_add_u64(&a, p->next);
	bus_args_add_u64(&a, (uint64_t)p->bus->options.max_backlog);
	for (size_t i = 0; i < n; i++) {
		int klass = message_type_class(frames[i].type);
		bus_args_add(&a, bus_classes[klass < 0 ? 2 : klass]);
		bus_args_add_bytes(&a, (struct bytes){ whole.data + offsets[i], offsets[i + 1] - offsets[i] });
	}
	int r = whole.overflow ? error_set(err, WEIR_LIMIT, "topic %s of chain %s: message too large to publish", p->topic, p->chain) :
				 bus_run(p->bus, &a, 0, &reply, err);
	if (r == 0 && reply) {
		uint64_t added = reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : n;
		bus_count(p->bus, "weir_bus_published_total", p->chain, p->topic, NULL, added);
		bus_count(p->bus, "weir_bus_duplicates_skipped_total", p->chain, p->topic, NULL, n - added);
		freeReplyObject(reply);
		p->next += n;
	}
	bus_args_free(&a);
	buf_free(&whole);
	free(offsets);
	return r;
}

int bus_publish(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	/* An unclear earlier call that is not repeated now: its numbers must not swallow other messages. */
	bool repeats = p->pending == n && n > 0 && memcmp(p->pending_event, frames[0].event_id, 16) == 0;
	if (p->pending > 0 && !repeats)
		p->epoch[0] = 0;
	for (size_t done = 0; done < n;) {
		if (!p->epoch[0]) {
			int r = open_epoch(p, err);
			if (r != 0)
				return r;
		}
		size_t count = 0, bytes = 0;
		while (done + count < n && count < BATCH_FRAMES && (count == 0 || bytes + frames[done + count].body.size < BATCH_BYTES))
			bytes += frames[done + count++].body.size;
		int r = publish_batch(p, frames + done, count, err);
		if (r == WEIR_GAP) { /* Redis lost what it knew of us: tell the caller once, then begin anew */
			p->epoch[0] = 0;
			bus_count(p->bus, "weir_bus_gaps_total", p->chain, p->topic, NULL, 1);
			return r;
		}
		if (r == WEIR_FULL)
			bus_count(p->bus, "weir_bus_full_total", p->chain, p->topic, NULL, 1);
		if (r == WEIR_FENCED)
			bus_count(p->bus, "weir_bus_fenced_total", p->chain, p->topic, NULL, 1);
		if (r == WEIR_UNAVAILABLE || r == WEIR_TIMEOUT || r == WEIR_CANCELED) {
			p->pending = n - done;
			memcpy(p->pending_event, frames[done].event_id, 16);
		}
		if (r != 0)
			return r;
		p->pending = 0;
		done += count;
	}
	return 0;
}

/* -- the caller's sequence ------------------------------------------------------------------------------------------------ */

void bus_publisher_restart_at(struct bus_publisher *p, uint64_t first)
{
	p->restart_at = first;
}

int bus_publish_sequence(struct bus_publisher *p, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *err)
{
	struct buf whole = BUF_INIT(FRAME_BODY_MAX * 4ul);
	size_t *offsets = xcalloc(n + 1, sizeof *offsets);
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	int klass = n ? message_type_class(frames[0].type) : 2;
	*ret_tail = 0;
	encode(frames, n, &whole, offsets);
	bus_call(&a, "weir1_publish_sequence", p->anchor);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, bus_classes[klass < 0 ? 2 : klass]);
	bus_args_add_u64(&a, first);
	bus_args_add(&a, p->restart_at == first ? "1" : "0");
	for (size_t i = 0; i < n; i++)
		bus_args_add_bytes(&a, (struct bytes){ whole.data + offsets[i], offsets[i + 1] - offsets[i] });
	int r = whole.overflow ? error_set(err, WEIR_LIMIT, "topic %s of chain %s: message too large to publish", p->topic, p->chain) :
				 bus_run(p->bus, &a, 0, &reply, err);
	if (r == 0 && reply) {
		bool gap = reply->elements == 2 && reply->element[0]->integer == 0;
		*ret_tail = reply->elements == 2 && reply->element[1]->str ? strtoull(reply->element[1]->str, NULL, 10) : 0;
		freeReplyObject(reply);
		p->restart_at = 0;
		bus_count(p->bus, gap ? "weir_bus_gaps_total" : "weir_bus_published_total", p->chain, p->topic, NULL, gap ? 1 : n);
		if (gap)
			r = error_set(err, WEIR_GAP, "topic %s of chain %s ends at %llu, %llu was to be next", p->topic, p->chain,
				      (unsigned long long)*ret_tail, (unsigned long long)first);
	}
	bus_args_free(&a);
	buf_free(&whole);
	free(offsets);
	return r;
}

int bus_tail_sequence(struct bus_publisher *p, const char *klass, uint64_t *ret_tail, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	char key[KEY_MAX], field[32];
	snprintf(key, sizeof key, META_KEY_FORMAT, p->chain, p->topic);
	snprintf(field, sizeof field, "hw:%s", klass);
	bus_args_add(&a, "HGET");
	bus_args_add(&a, key);
	bus_args_add(&a, field);
	int r = bus_run(p->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r == 0) {
		*ret_tail = reply->str ? strtoull(reply->str, NULL, 10) : 0;
		freeReplyObject(reply);
	}
	return r;
}

/* publish.c - exactly-once publishing: by the producer's own counter, or by the caller's dense sequence (outboxes). */
#include "bus/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define BATCH_BYTES (8u << 20)
#define BATCH_FRAMES 512
#define DEFAULT_CLASS 2 /* normal: of types that this build does not know */

struct bus_publisher {
	struct bus *bus;
	char *chain, *topic, *producer;
	char anchor[KEY_MAX];
	char epoch[32]; /* empty: must be opened */
	uint64_t next;  /* the producer's number of the next message */
	uint64_t restart_at;
	/* A call that failed half way: what it was, to know its repetition, and how far it had certainly come. */
	uint64_t unfinished;
	size_t unfinished_count, unfinished_done;
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
	if (!p || !*p)
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
	bus_call(&a, "producer_open", p->anchor);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, p->producer);
	int r = bus_run(p->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	snprintf(p->epoch, sizeof p->epoch, "%s", reply->str ? reply->str : "");
	freeReplyObject(reply);
	p->next = 1;
	p->unfinished_count = p->unfinished_done = 0;
	return 0;
}

static const char *class_name(const struct frame *frame)
{
	int klass = message_type_class(frame->type);
	return bus_classes[klass < 0 ? DEFAULT_CLASS : klass];
}

/* Frames packed one behind the other. The caller frees whole and offsets. */
static int encode(const struct bus_publisher *p, const struct frame *frames, size_t n, struct buf *whole, size_t **ret_offsets, struct error *err)
{
	size_t *offsets = *ret_offsets = xcalloc(n + 1, sizeof *offsets), size = 0;
	for (size_t i = 0; i < n; i++)
		size += FRAME_HEADER_SIZE + FRAME_KEY_MAX + frames[i].body.size + 4;
	*whole = (struct buf)BUF_INIT(size + 1);
	buf_reserve(whole, size);
	for (size_t i = 0; i < n; i++) {
		offsets[i] = whole->size;
		frame_write(&frames[i], whole);
	}
	offsets[n] = whole->size;
	return whole->overflow ? error_set(err, WEIR_LIMIT, "topic %s of chain %s: a message is larger than %u bytes", p->topic, p->chain, FRAME_BODY_MAX) : 0;
}

static int publish_batch(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	struct buf whole;
	size_t *offsets;
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	int r = encode(p, frames, n, &whole, &offsets, err);
	bus_call(&a, "publish", p->anchor);
	bus_args_add(&a, p->bus->run); /* points there: a repetition on a new connection says the new server's */
	bus_args_add(&a, p->topic);
	bus_args_add(&a, p->producer);
	bus_args_add(&a, p->epoch);
	bus_args_add_u64(&a, p->next);
#ifdef WEIR_MUTANT_NO_BACKLOG_LIMIT
	bus_args_add_u64(&a, 1u << 30);
#else
	bus_args_add_u64(&a, (uint64_t)p->bus->options.max_backlog);
#endif
	for (size_t i = 0; i < n && r == 0; i++) {
		bus_args_add(&a, class_name(&frames[i]));
		bus_args_add_bytes(&a, (struct bytes){ whole.data + offsets[i], offsets[i + 1] - offsets[i] });
	}
	if (r == 0)
		r = bus_run(p->bus, &a, 0, &reply, err);
	if (r == 0) {
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

/* The server's memory is nearly used up: only what is critical goes in. */
static int check_memory(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	bool critical = true;
	for (size_t i = 0; i < n; i++)
		critical = critical && message_type_class(frames[i].type) == 0;
	if (critical || !bus_memory_full(p->bus))
		return 0;
	return error_set(err, WEIR_FULL, "Redis uses more than %d %% of its maxmemory; topic %s of chain %s waits", (int)p->bus->options.max_memory_percent,
			 p->topic, p->chain);
}

/* What makes a call the same call, whatever time stamp its frames carry. */
static uint64_t identity(const struct frame *frames, size_t n)
{
	uint32_t low = 0, high = 1;
	for (size_t i = 0; i < n; i++) {
		low = crc32c(low, frames[i].event_id, sizeof frames[i].event_id);
		high = crc32c(high ^ frames[i].type, frames[i].key.data, frames[i].key.size);
		high = crc32c(high, frames[i].body.data, frames[i].body.size);
	}
	return (uint64_t)high << 32 | low;
}

static void count_failure(struct bus_publisher *p, int code)
{
	const char *name = code == WEIR_GAP    ? "weir_bus_gaps_total" :
			   code == WEIR_FULL   ? "weir_bus_full_total" :
			   code == WEIR_FENCED ? "weir_bus_fenced_total" :
						 NULL;
	if (name)
		bus_count(p->bus, name, p->chain, p->topic, NULL, 1);
}

static int publish_from(struct bus_publisher *p, const struct frame *frames, size_t n, size_t *done, struct error *err)
{
	while (*done < n) {
		int r = p->epoch[0] ? 0 : open_epoch(p, err);
		size_t count = 0, bytes = 0;
		while (*done + count < n && count < BATCH_FRAMES && (count == 0 || bytes + frames[*done + count].body.size < BATCH_BYTES))
			bytes += frames[*done + count++].body.size;
		if (r == 0)
			r = check_memory(p, frames + *done, count, err);
		if (r == 0)
			r = publish_batch(p, frames + *done, count, err);
		if (r == WEIR_GAP)
			p->epoch[0] = 0; /* Redis lost what it knew of us: the caller is told once, then we begin anew */
		if (r != 0)
			return r;
		*done += count;
	}
	return 0;
}

int bus_publish(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	size_t done = 0;
	if (p->unfinished_count > 0) {
		/* Not repeated now: the numbers that may or may not be used must not swallow other messages. */
		if (p->unfinished_count == n && p->unfinished == identity(frames, n))
			done = p->unfinished_done;
		else
			p->epoch[0] = 0;
	}
	int r = publish_from(p, frames, n, &done, err);
	p->unfinished_count = 0;
	if (r == 0)
		return 0;
	count_failure(p, r);
	if (p->epoch[0]) {
		p->unfinished = identity(frames, n);
		p->unfinished_count = n;
		p->unfinished_done = done;
	}
	return r;
}

/* -- the caller's sequence ------------------------------------------------------------------------------------------------ */

void bus_publisher_restart_at(struct bus_publisher *p, uint64_t first)
{
	p->restart_at = first;
}

static int sequence_batch(struct bus_publisher *p, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *err)
{
	struct buf whole;
	size_t *offsets;
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	int r = encode(p, frames, n, &whole, &offsets, err);
	bus_call(&a, "publish_sequence", p->anchor);
	bus_args_add(&a, p->bus->run);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, class_name(&frames[0]));
	bus_args_add_u64(&a, first);
	bus_args_add(&a, p->restart_at == first && first > 0 ? "1" : "0");
	for (size_t i = 0; i < n && r == 0; i++)
		bus_args_add_bytes(&a, (struct bytes){ whole.data + offsets[i], offsets[i + 1] - offsets[i] });
	if (r == 0)
		r = bus_run(p->bus, &a, 0, &reply, err);
	if (r == 0) {
		bool gap = reply->elements < 3;
		uint64_t added = gap ? 0 : (uint64_t)reply->element[2]->integer;
		*ret_tail = reply->elements > 1 && reply->element[1]->str ? strtoull(reply->element[1]->str, NULL, 10) : 0;
		freeReplyObject(reply);
		p->restart_at = 0;
		bus_count(p->bus, "weir_bus_published_total", p->chain, p->topic, NULL, added);
		bus_count(p->bus, "weir_bus_duplicates_skipped_total", p->chain, p->topic, NULL, gap ? 0 : n - added);
		if (gap)
			r = error_set(err, WEIR_GAP, "topic %s of chain %s ends at %llu, %llu was to be next", p->topic, p->chain,
				      (unsigned long long)*ret_tail, (unsigned long long)first);
	}
	bus_args_free(&a);
	buf_free(&whole);
	free(offsets);
	return r;
}

int bus_publish_sequence(struct bus_publisher *p, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *err)
{
	*ret_tail = 0;
	if (n == 0)
		return bus_tail_sequence(p, bus_classes[DEFAULT_CLASS], ret_tail, err);
	int r = check_memory(p, frames, n, err);
	for (size_t done = 0; done < n && r == 0;) {
		size_t count = 0, bytes = 0;
		while (done + count < n && count < BATCH_FRAMES && (count == 0 || bytes + frames[done + count].body.size < BATCH_BYTES))
			bytes += frames[done + count++].body.size;
		r = sequence_batch(p, first + done, frames + done, count, ret_tail, err);
		done += count;
	}
	if (r != 0)
		count_failure(p, r);
	return r;
}

int bus_tail_sequence(struct bus_publisher *p, const char *klass, uint64_t *ret_tail, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	*ret_tail = 0;
	bus_args_add(&a, "HGET");
	bus_args_add_format(&a, META_KEY_FORMAT, p->chain, p->topic);
	bus_args_add_format(&a, "hw:%s", klass);
	int r = bus_run(p->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r == 0) {
		*ret_tail = reply->str ? strtoull(reply->str, NULL, 10) : 0;
		freeReplyObject(reply);
	}
	return r;
}

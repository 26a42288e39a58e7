/* publish.c - exactly-once publishing: by the producer's own counter, or by the caller's dense sequence (outboxes).
 *
 * A call goes out in chunks, by the script here or, where it is long, by publish_direct.c. Each chunk says its messages' numbers, and a number
 * is taken only behind the one before it: sending a chunk again is a no-op for what is there.
 */
#include "bus/lane/publish.h"
#include "bus/lane/admission.h"
#include "bus/lane/durability.h"
#include "bus/message/tracing.h"
#include "bus/redis/command.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES (4u << 20)
#define KEPT_BYTES (1u << 20) /* of a chunk's memory, from call to call */
#define DEFAULT_CLASS 2       /* normal: of types that this build does not know */

int bus_publisher_open(struct bus *bus, const char *chain, const char *topic, const char *producer, struct bus_publisher **ret, struct error *err)
{
	(void)err;
	struct bus_publisher *p = xmalloc(sizeof *p);
	p->bus = bus;
	p->chain = xstrdup(chain);
	p->topic = xstrdup(topic);
	p->producer = xstrdup(producer);
	bus_anchor(chain, p->anchor);
	bus_count_from_zero(bus, "weir_bus_gaps_total", p->chain, p->topic, NULL);
	p->durability = bus_durability_of(bus, p->topic);
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
	if ((*p)->bus->transport)
		(*p)->bus->transport->publisher_close(*p);
	buf_free(&(*p)->wire);
	xfree(p);
}

static int open_epoch(struct bus_publisher *p, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_call(&a, "producer_open", p->anchor);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, p->producer);
	bus_args_add(&a, p->known);
	bus_args_add_u64(&a, p->acknowledged);
	int r = bus_run(p->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	snprintf(p->epoch, sizeof p->epoch, "%s", reply->str ? reply->str : "");
	snprintf(p->known, sizeof p->known, "%s", p->epoch);
	p->acknowledged = 0;
	freeReplyObject(reply);
	p->next = 1;
	p->unfinished_count = p->unfinished_done = 0;
	return 0;
}

int bus_publish_class(const struct frame *frame)
{
	int klass = message_type_class(frame->type);
	return klass < 0 ? DEFAULT_CLASS : klass;
}

size_t bus_chunk_size(const struct frame *frames, size_t n, size_t most)
{
	size_t count = 0, bytes = 0;
	while (count < n && count < most && (count == 0 || bytes + frames[count].body.size < CHUNK_BYTES))
		bytes += frames[count++].body.size;
	return count;
}

static void begin_chunk(struct buf *wire, const struct frame *frames, size_t n)
{
	size_t size = 4096;
	for (size_t i = 0; i < n; i++)
		size += FRAME_HEADER_SIZE + FRAME_KEY_MAX + frames[i].more.size + frames[i].body.size + 64;
	buf_reset(wire);
	wire->max = size;
	buf_reserve(wire, size - 1);
}

static int end_chunk(const struct bus_publisher *p, struct error *err)
{
	return p->wire.overflow
		       ? error_set(err, WEIR_LIMIT, "topic %s of chain %s: a message is larger than %u bytes", p->topic, p->chain, FRAME_BODY_MAX)
		       : 0;
}

/* Runs of one class: its name, how many, the frames. Returns how many arguments that is. */
static size_t write_runs(struct buf *wire, const struct frame *frames, size_t n)
{
	size_t args = 0;
	for (size_t i = 0; i < n;) {
		int klass = bus_publish_class(&frames[i]);
		size_t end = i + 1;
		while (end < n && bus_publish_class(&frames[end]) == klass)
			end++;
		bus_wire_text(wire, bus_classes[klass]);
		bus_wire_number(wire, end - i);
		args += 2 + end - i;
		for (; i < end; i++)
			bus_wire_frames(wire, &frames[i], 1);
	}
	return args;
}

void bus_published(struct bus_publisher *p, uint64_t added, size_t n)
{
	bus_count(p->bus, "weir_bus_published_total", p->chain, p->topic, NULL, added);
	bus_count(p->bus, "weir_bus_duplicates_skipped_total", p->chain, p->topic, NULL, n - added);
	p->next += n;
}

/* One chunk, repeated until it is known what became of it. */
static int publish_chunk(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	begin_chunk(&p->wire, frames, n);
	bus_call(&a, "publish", p->anchor);
	bus_args_add(&a, p->bus->run); /* points there: a repetition on a new connection says the new server's */
	bus_args_add(&a, p->topic);
	bus_args_add(&a, p->producer);
	bus_args_add(&a, p->epoch);
	bus_args_add_u64(&a, p->next);
	bus_args_add_u64(&a, (uint64_t)bus_backlog(p->bus));
	a.more_count = write_runs(&p->wire, frames, n);
	a.more = (struct bytes){ p->wire.data, p->wire.size };
	p->direct.known = false; /* the stream goes on, with or without an answer */
	int r = end_chunk(p, err);
	if (r == 0)
		r = bus_run(p->bus, &a, 0, &reply, err);
	if (r == 0)
		bus_published(p, reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : n, n);
	freeReplyObject(reply);
	bus_args_free(&a);
	return r;
}

/* The least important class of a call: what it may do, all of it may. */
static int least_important(const struct frame *frames, size_t n)
{
	int klass = 0;
	for (size_t i = 0; i < n; i++)
		klass = bus_publish_class(&frames[i]) > klass ? bus_publish_class(&frames[i]) : klass;
	return klass;
}

static int admit(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	int klass = least_important(frames, n);
	int r = bus_admit_memory(p->bus, p->chain, p->topic, klass, err);
	if (r == 0)
		r = bus_admit_age(p->bus, p->chain, p->topic, klass, err);
	return r ? r : bus_durability_check(p->bus, p->chain, &p->durability, err);
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
	const char *name = code == WEIR_GAP      ? "weir_bus_gaps_total"
			   : code == WEIR_FULL   ? "weir_bus_full_total"
			   : code == WEIR_FENCED ? "weir_bus_fenced_total"
						 : NULL;
	if (name)
		bus_count(p->bus, name, p->chain, p->topic, NULL, 1);
}

/* The replicas have it: then it outlives this server. In one round trip, because what another server (a replica made master) says of WAIT
 * means nothing for what was written here: field of the topic's meta hash must be what we made it, or more. */
static int wait_for_replicas(struct bus_publisher *p, const char *field, const char *epoch, uint64_t least, struct error *err)
{
#ifdef WEIR_MUTANT_NO_WAIT
	return 0;
#endif
	const struct bus_durability *d = &p->durability;
	if (d->replicas <= 0)
		return 0;
	struct bus_args a[3] = { 0 };
	redisReply *replies[3] = { NULL };
	char meta[KEY_MAX];
	snprintf(meta, sizeof meta, META_KEY_FORMAT, p->chain, p->topic);
	bus_args_add(&a[0], "HGET");
	bus_args_add(&a[0], meta);
	bus_args_add(&a[0], field);
	bus_args_add(&a[1], "HSET"); /* WAIT is for the connection's own writes: this one is behind all that came before */
	bus_args_add(&a[1], meta);
	bus_args_add(&a[1], "waited");
	bus_args_add_u64(&a[1], least);
	bus_args_add(&a[2], "WAIT");
	bus_args_add_u64(&a[2], (uint64_t)d->replicas);
	bus_args_add_u64(&a[2], (uint64_t)d->wait_ms);
	int r = bus_run_many(p->bus, a, 3, replies, err);
	for (size_t i = 0; i < 3 && r == 0; i++)
		r = bus_reply_error(p->bus, replies[i], "WAIT", err);
	const char *at = r == 0 && replies[0]->str ? replies[0]->str : "";
	size_t prefix = strlen(epoch);
	bool there = strncmp(at, epoch, prefix) == 0 && strtoull(at + prefix, NULL, 10) >= least;
	if (r == 0 && !there)
		r = error_set(err, WEIR_GAP, "topic %s of chain %s: Redis no longer has what was published (%s of %s is \"%s\")", p->topic, p->chain,
			      field, meta, at);
	else if (r == 0 && replies[2]->integer < d->replicas)
		r = error_set(err, WEIR_UNAVAILABLE, "topic %s of chain %s: %lld of %lld replicas have it after %lld ms", p->topic, p->chain,
			      replies[2]->integer, (long long)d->replicas, (long long)d->wait_ms);
	for (size_t i = 0; i < 3; i++) {
		bus_args_free(&a[i]);
		freeReplyObject(replies[i]);
	}
	return r;
}

static int wait_for_own(struct bus_publisher *p, struct error *err)
{
	char field[160], epoch[40];
	snprintf(field, sizeof field, "p:%s", p->producer);
	snprintf(epoch, sizeof epoch, "%s:", p->epoch);
	int r = bus_durability_check(p->bus, p->chain, &p->durability, err);
	if (r == 0)
		r = wait_for_replicas(p, field, epoch, p->next - 1, err);
	if (r == WEIR_GAP)
		p->epoch[0] = p->known[0] = 0;
	return r;
}

static int publish_from(struct bus_publisher *p, const struct frame *frames, size_t n, size_t *done, struct error *err)
{
	while (*done < n) {
		int r = p->epoch[0] ? 0 : open_epoch(p, err);
		if (r == 0)
			r = admit(p, frames + *done, n - *done, err);
		if (r == 0)
			bus_publish_direct(p, frames, n, done);
		size_t count = bus_chunk_size(frames + *done, n - *done, CHUNK_ENTRIES);
		if (r == 0 && count > 0)
			r = publish_chunk(p, frames + *done, count, err);
		if (r == WEIR_GAP)
			p->epoch[0] = p->known[0] = 0; /* Redis lost what it knew of us: the caller is told once, then we begin anew */
		if (r != 0)
			return r;
		*done += count;
		p->acknowledged = p->next - 1;
	}
	return 0;
}

static int publish(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	size_t done = 0;
	if (p->bus->transport)
		return p->bus->transport->publish(p, frames, n, identity(frames, n), err);
	if (p->unfinished_count > 0) {
		/* Not repeated now: the numbers that may or may not be used must not swallow other messages. */
		if (p->unfinished_count == n && p->unfinished == identity(frames, n))
			done = p->unfinished_done;
		else
			p->epoch[0] = 0;
	}
	int r = publish_from(p, frames, n, &done, err);
	if (r == 0 && n > 0)
		r = wait_for_own(p, err);
	p->unfinished_count = 0;
	if (p->wire.capacity > KEPT_BYTES)
		buf_free(&p->wire);
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

int bus_publish(struct bus_publisher *p, const struct frame *frames, size_t n, struct error *err)
{
	struct bus_publishing spans;
	const struct frame *sent = bus_publishing_begin(&spans, p->bus, frames, n, 0);
	int r = publish(p, sent, n, err);
	bus_publishing_end(&spans, p->bus, p->chain, p->topic, r == 0);
	return r;
}

void bus_publisher_pack(struct bus_publisher *p, size_t n)
{
	p->pack = n;
}

/* -- the caller's sequence ------------------------------------------------------------------------------------------------ */

void bus_publisher_restart_at(struct bus_publisher *p, uint64_t first)
{
	p->restart_at = first;
	snprintf(p->restart, sizeof p->restart, "%016" PRIx64, random_u64());
}

static int sequence_chunk(struct bus_publisher *p, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	begin_chunk(&p->wire, frames, n);
	for (size_t i = 0; i < n; i++)
		bus_wire_frames(&p->wire, &frames[i], 1);
	int r = end_chunk(p, err);
	bus_call(&a, "publish_sequence", p->anchor);
	bus_args_add(&a, p->bus->run);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, bus_classes[bus_publish_class(&frames[0])]);
	bus_args_add_u64(&a, first);
	bus_args_add(&a, p->restart_at == first && first > 0 ? p->restart : "");
	a.more = (struct bytes){ p->wire.data, p->wire.size };
	a.more_count = n;
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
	return r;
}

static int publish_sequence(struct bus_publisher *p, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *err)
{
	*ret_tail = 0;
	if (p->bus->transport)
		return bus_refuse(p->bus, "publishing by the caller's own sequence", err);
	if (n == 0)
		return bus_tail_sequence(p, bus_classes[DEFAULT_CLASS], ret_tail, err);
	int r = bus_admit_memory(p->bus, p->chain, p->topic, least_important(frames, n), err);
	if (r == 0)
		r = bus_durability_check(p->bus, p->chain, &p->durability, err);
	for (size_t done = 0; done < n && r == 0;) {
		size_t count = bus_chunk_size(frames + done, n - done, CHUNK_ENTRIES);
		r = sequence_chunk(p, first + done, frames + done, count, ret_tail, err);
		done += count;
	}
	if (r == 0)
		r = bus_durability_check(p->bus, p->chain, &p->durability, err);
	if (r == 0) {
		char field[32];
		snprintf(field, sizeof field, "hw:%s", bus_classes[bus_publish_class(&frames[0])]);
		r = wait_for_replicas(p, field, "", first + n - 1, err);
	}
	if (r != 0)
		count_failure(p, r);
	return r;
}

int bus_publish_sequence(struct bus_publisher *p, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *err)
{
	struct bus_publishing spans;
	const struct frame *sent = bus_publishing_begin(&spans, p->bus, frames, n, first);
	int r = publish_sequence(p, first, sent, n, ret_tail, err);
	bus_publishing_end(&spans, p->bus, p->chain, p->topic, r == 0);
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

/* publish_direct.c - long calls: each chunk is one transaction of plain XADDs, which costs Redis as much as XADD by hand. The script would
 * have every byte in Lua's hands, too.
 *
 *   WATCH meta; publish_check (are our number, generation and sequence the next ones?); MULTI; XADD ...; HSET of number and sequence
 *   heard "yes": EXEC, else DISCARD; HGET of the number: it says whether the transaction happened
 *
 * While one chunk is executed the next one is on its way; its check fails if the one before did not happen. Whatever was not seen to happen
 * goes through the script (publish.c), which knows by the number what stands already: so each message is there once, whatever got lost.
 *
 * Of a bulk topic an entry has several messages and the id of the last one: reading behind any of them finds the entry.
 */
#include "bus/lane/publish.h"
#include "bus/redis/cluster.h"
#include "bus/redis/command.h"
#include "bus/redis/connection.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DIRECT_MIN 128    /* fewer are as quick in the script, which needs one answer only */
#define DIRECT_MOST 65536 /* then memory is looked at again */
#define AVOID 4
#define CHUNK_MIN 512
#define CHUNK_MAX 2048
#define SLOW_NS 3000000
#define QUICK_NS 1000000
#define ENTRY_BYTES (256u << 10) /* of an entry with several messages */

static bool say(struct bus_publisher *p)
{
	struct error ignored;
	return p->bus->redis && !p->wire.overflow && bus_say(p->bus, (struct bytes){ p->wire.data, p->wire.size }, "publish", &ignored) == 0;
}

/* The next answer; NULL: none came, or it was an error. */
static redisReply *hear(struct bus_publisher *p)
{
	redisReply *reply = NULL;
	struct error ignored;
	if (!p->bus->redis)
		return NULL;
	if (bus_hear(p->bus, "publish", clock_mono_ms() + p->bus->options.command_timeout_ms, &reply, &ignored) == 0)
		return reply;
	freeReplyObject(reply);
	return NULL;
}

static bool hear_something(struct bus_publisher *p)
{
	redisReply *reply = hear(p);
	freeReplyObject(reply);
	return reply != NULL;
}

/* Without MULTI, XADDs would not wait for EXEC: an account that may not use all of it never comes so far. */
static bool permitted(struct bus_publisher *p)
{
	struct direct *d = &p->direct;
	if (d->connects == p->bus->connects && p->bus->redis)
		return d->permitted;
	enum { WORDS = 5 };
	char meta[KEY_MAX];
	snprintf(meta, sizeof meta, META_KEY_FORMAT, p->chain, p->topic);
	const char *const words[WORDS][3] = { { "MULTI" }, { "EXEC" }, { "WATCH", meta }, { "UNWATCH" }, { "CLIENT", "REPLY", "ON" } };
	struct bus_args a[WORDS] = { 0 };
	redisReply *replies[WORDS] = { NULL };
	for (size_t i = 0; i < WORDS; i++)
		for (size_t j = 0; j < 3 && words[i][j]; j++)
			bus_args_add(&a[i], words[i][j]);
	d->known = false;
	d->permitted = bus_run_many(p->bus, a, WORDS, replies, NULL) == 0;
	for (size_t i = 0; i < WORDS; i++) {
		d->permitted = d->permitted && replies[i]->type != REDIS_REPLY_ERROR;
		freeReplyObject(replies[i]);
		bus_args_free(&a[i]);
	}
	d->connects = p->bus->connects;
	return d->permitted;
}

/* Where the stream stands. */
static bool look(struct bus_publisher *p, int klass)
{
	struct direct *d = &p->direct;
	if (d->known && d->klass == klass)
		return true;
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	bus_call(&a, "publish_look", p->anchor);
	bus_args_add(&a, p->bus->run);
	bus_args_add(&a, p->topic);
	bus_args_add(&a, bus_classes[klass]);
	int r = bus_run(p->bus, &a, 0, &reply, NULL);
	bus_args_free(&a);
	d->known = r == 0 && reply->elements == 2 && reply->element[0]->str && reply->element[1]->str && d->connects == p->bus->connects;
	if (d->known) {
		snprintf(d->generation, sizeof d->generation, "%s", reply->element[0]->str);
		d->sequence = strtoull(reply->element[1]->str, NULL, 10);
		d->klass = klass;
	}
	freeReplyObject(reply);
	return d->known;
}

static void command(struct buf *b, size_t n, const char *const *words)
{
	bus_wire_command(b, n);
	for (size_t i = 0; i < n; i++)
		bus_wire_text(b, words[i]);
}
#define COMMAND(buf, ...) command(buf, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *), (const char *const[]){ __VA_ARGS__ })

static size_t entry_size(const struct bus_publisher *p, const struct frame *frames, size_t n)
{
	size_t count = 0, bytes = 0;
	while (count < n && (count == 0 || (count < p->pack && bytes + frames[count].body.size < ENTRY_BYTES)))
		bytes += frames[count++].body.size;
	return count;
}

static size_t next_chunk(const struct bus_publisher *p, const struct frame *frames, size_t n)
{
	return bus_chunk_size(frames, n, p->pack > 1 ? CHUNK_ENTRIES * 4 : p->direct.chunk);
}

/* Small ones stay in Redis' caches. But where each waits long for its answer, for an fsync above all, fewer should wait. */
static void fit_chunk(struct direct *d, int64_t waited_ns)
{
	if (waited_ns > SLOW_NS && d->chunk < CHUNK_MAX)
		d->chunk *= 2;
	else if (waited_ns < QUICK_NS && d->chunk > CHUNK_MIN)
		d->chunk /= 2;
}

/* One chunk up to where it waits for EXEC. sequence: of the stream's last entry by then. */
static void write_chunk(struct bus_publisher *p, const struct frame *frames, size_t n, uint64_t first, uint64_t sequence)
{
	const struct direct *d = &p->direct;
	struct buf *b = &p->wire;
	char meta[KEY_MAX], stream[KEY_MAX], function[64], number[24], last[24], backlog[24], field[160], value[64], hw[32], packed[32];
	size_t size = 4096;
	snprintf(meta, sizeof meta, META_KEY_FORMAT, p->chain, p->topic);
	bus_stream(p->chain, p->topic, d->klass, stream);
	for (size_t i = 0; i < n; i++)
		size += FRAME_HEADER_SIZE + FRAME_KEY_MAX + frames[i].more.size + frames[i].body.size + strlen(stream) + 128;
	buf_reset(b);
	b->max = size;
	buf_reserve(b, size - 1);
	snprintf(function, sizeof function, "%spublish_check", bus_function_prefix());
	snprintf(number, sizeof number, "%" PRIu64, first);
	snprintf(last, sizeof last, "%" PRIu64, sequence);
	snprintf(backlog, sizeof backlog, "%" PRId64, bus_backlog(p->bus));
	COMMAND(b, "WATCH", meta);
	COMMAND(b, "FCALL", function, "1", p->anchor, p->bus->run, p->topic, p->producer, p->epoch, number, backlog, bus_classes[d->klass],
		d->generation, last);
	COMMAND(b, "CLIENT", "REPLY", "OFF");
	COMMAND(b, "MULTI");
	for (size_t i = 0, count; i < n; i += count) {
		count = entry_size(p, frames + i, n - i);
		bus_wire_command(b, count > 1 ? 7 : 5);
		bus_wire_text(b, "XADD");
		bus_wire_text(b, stream);
		snprintf(value, sizeof value, "%s-%" PRIu64, d->generation, sequence + i + count);
		bus_wire_text(b, value);
		bus_wire_text(b, FIELD_FRAME);
		bus_wire_frames(b, frames + i, count);
		if (count > 1) {
			bus_wire_text(b, FIELD_COUNT);
			bus_wire_number(b, count);
		}
	}
	snprintf(field, sizeof field, "p:%s", p->producer);
	snprintf(value, sizeof value, "%s:%" PRIu64, p->epoch, first + n - 1);
	snprintf(hw, sizeof hw, "hw:%s", bus_classes[d->klass]);
	snprintf(last, sizeof last, "%" PRIu64, sequence + n);
	snprintf(packed, sizeof packed, "pack:%s", bus_classes[d->klass]);
	snprintf(number, sizeof number, "%zu", p->pack);
	if (p->pack > 1)
		COMMAND(b, "HSET", meta, field, value, hw, last, packed, number);
	else
		COMMAND(b, "HSET", meta, field, value, hw, last);
}

/* What the check of the chunk said. */
static bool hear_check(struct bus_publisher *p)
{
	bool watched = hear_something(p);
	redisReply *reply = hear(p);
	bool good = watched && reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
	freeReplyObject(reply);
	return good;
}

static void say_end(struct bus_publisher *p, bool execute)
{
	char meta[KEY_MAX], field[160];
	snprintf(meta, sizeof meta, META_KEY_FORMAT, p->chain, p->topic);
	snprintf(field, sizeof field, "p:%s", p->producer);
	buf_reset(&p->wire);
	p->wire.max = 4096;
	COMMAND(&p->wire, execute ? "EXEC" : "DISCARD");
	COMMAND(&p->wire, "CLIENT", "REPLY", "ON");
	COMMAND(&p->wire, "HGET", meta, field);
	(void)say(p);
}

/* Did the transaction happen that ends with the number last? */
static bool hear_end(struct bus_publisher *p, uint64_t last)
{
	char value[64];
	snprintf(value, sizeof value, "%s:%" PRIu64, p->epoch, last);
	bool answered = hear_something(p);
	redisReply *reply = hear(p);
	bool good = answered && reply && reply->type == REDIS_REPLY_STRING && strcmp(reply->str, value) == 0;
	freeReplyObject(reply);
	return good;
}

static size_t same_class(const struct frame *frames, size_t n)
{
	size_t i = 1;
	while (i < n && i < DIRECT_MOST && bus_publish_class(&frames[i]) == bus_publish_class(&frames[0]))
		i++;
	return i;
}

void bus_publish_direct(struct bus_publisher *p, const struct frame *frames, size_t n, size_t *done)
{
	struct direct *d = &p->direct;
	size_t left = same_class(frames + *done, n - *done);
	if (left < DIRECT_MIN)
		return;
	if (d->avoid > 0) {
		d->avoid--;
		return;
	}
	bus_cluster_route(p->bus, (struct bytes){ (const uint8_t *)p->anchor, strlen(p->anchor) });
	if (!permitted(p) || !look(p, bus_publish_class(&frames[*done])))
		return;
	if (d->chunk == 0)
		d->chunk = CHUNK_MIN;
	size_t count = next_chunk(p, frames + *done, left);
	write_chunk(p, frames + *done, count, p->next, d->sequence);
	bool good = say(p);
	while (good) {
		good = hear_check(p);
		int64_t asked = clock_mono_ns();
		say_end(p, good);
		left -= count;
		size_t following = good && left > 0 ? next_chunk(p, frames + *done + count, left) : 0;
		if (following > 0) {
			write_chunk(p, frames + *done + count, following, p->next + count, d->sequence + count);
			following = say(p) ? following : 0;
		}
		good = hear_end(p, p->next + count - 1) && good;
		if (good) {
			*done += count;
			d->sequence += count;
			fit_chunk(d, clock_mono_ns() - asked);
			bus_published(p, count, count);
		} else if (following > 0) {
			(void)hear_check(p);
			say_end(p, false);
			(void)hear_end(p, 0);
		}
		count = following;
		if (good && count == 0)
			return;
	}
	d->known = false;
	d->avoid = AVOID;
}

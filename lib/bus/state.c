/* state.c - small shared hashes, trimming, and what a topic's streams look like. */
#include "bus/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

int bus_hash_write(struct bus *bus, const char *key, const struct bus_field *fields, size_t n, struct error *err)
{
	if (n == 0)
		return 0;
	struct bus_args a = { 0 };
	bus_args_add(&a, "HSET");
	bus_args_add(&a, key);
	for (size_t i = 0; i < n; i++) {
		bus_args_add(&a, fields[i].name);
		bus_args_add(&a, fields[i].value);
	}
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

int bus_hash_read(struct bus *bus, const char *key, void (*on_field)(const char *, const char *, void *), void *arg, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "HGETALL");
	bus_args_add(&a, key);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	size_t n = reply->elements;
	for (size_t i = 0; i + 1 < n; i += 2)
		on_field(reply->element[i]->str, reply->element[i + 1]->str, arg);
	freeReplyObject(reply);
	return n ? 0 : error_set(err, WEIR_NOT_FOUND, "Redis has no key %s", key);
}

int bus_hash_delete(struct bus *bus, const char *key, const char *const *names, size_t n, struct error *err)
{
	if (n == 0)
		return 0;
	struct bus_args a = { 0 };
	bus_args_add(&a, "HDEL");
	bus_args_add(&a, key);
	for (size_t i = 0; i < n; i++)
		bus_args_add(&a, names[i]);
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

int bus_trim(struct bus *bus, const char *chain, const char *topic, uint64_t keep, struct error *err)
{
	char anchor[KEY_MAX];
	bus_anchor(chain, anchor);
	struct bus_args a = { 0 };
	bus_call(&a, "weir1_trim", anchor);
	bus_args_add(&a, topic);
	bus_args_add_u64(&a, keep);
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* -- info ------------------------------------------------------------------------------------------------------------------ */

static int command(struct bus *bus, const char *const *words, size_t n, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	for (size_t i = 0; i < n; i++)
		bus_args_add(&a, words[i]);
	int r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

static void read_groups(const redisReply *groups, uint64_t last, struct bus_stream_info *info)
{
	for (size_t i = 0; i < groups->elements; i++) {
		const redisReply *delivered = bus_reply_field(groups->element[i], "last-delivered-id"), *pending = bus_reply_field(groups->element[i], "pending");
		uint64_t generation = 0, sequence = 0;
		if (!delivered || !bus_parse_id(delivered->str, &generation, &sequence))
			continue;
		uint64_t waiting = last > sequence ? last - sequence : 0; /* ids are dense: no need of Redis' own, sometimes null, lag */
		if (waiting > info->length)
			waiting = info->length;
		if (waiting > info->lag)
			info->lag = waiting;
		if (pending && (uint64_t)pending->integer > info->pending)
			info->pending = (uint64_t)pending->integer;
	}
}

static int info_of(struct bus *bus, const char *key, struct bus_stream_info *info, struct error *err)
{
	redisReply *first = NULL, *last = NULL, *groups = NULL, *length = NULL;
	uint64_t generation;
	int r = command(bus, (const char *[]){ "XLEN", key }, 2, &length, err);
	if (r == 0)
		r = command(bus, (const char *[]){ "XRANGE", key, "-", "+", "COUNT", "1" }, 6, &first, err);
	if (r == 0)
		r = command(bus, (const char *[]){ "XREVRANGE", key, "+", "-", "COUNT", "1" }, 6, &last, err);
	if (r == 0) {
		info->length = (uint64_t)length->integer;
		if (first->elements == 1) {
			struct bus_message m = { 0 };
			struct bytes frame;
			(void)bus_parse_id(first->element[0]->element[0]->str, &generation, &info->first_sequence);
			if (bus_batch_entry(&m, first->element[0], 0, &frame) && m.frame_ok && m.frame.created_unix_ms > 0)
				info->head_age_ms = clock_wall_ms() - (int64_t)m.frame.created_unix_ms;
		}
		if (last->elements == 1)
			(void)bus_parse_id(last->element[0]->element[0]->str, &generation, &info->last_sequence);
		struct error none;
		/* a stream that does not exist has no groups: not a failure */
		if (info->length > 0 && command(bus, (const char *[]){ "XINFO", "GROUPS", key }, 3, &groups, &none) == 0)
			read_groups(groups, info->last_sequence, info);
	}
	redisReply *all[] = { first, last, groups, length };
	for (size_t i = 0; i < 4; i++)
		if (all[i])
			freeReplyObject(all[i]);
	return r;
}

int bus_info(struct bus *bus, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], size_t *ret_n,
	     struct error *err)
{
	memset(ret, 0, 4 * sizeof ret[0]);
	*ret_n = 0;
	for (int c = 0; c < CLASSES; c++) {
		char key[KEY_MAX];
		bus_stream(chain, topic, c, key);
		ret[c].topic = topic;
		ret[c].klass = bus_classes[c];
		int r = info_of(bus, key, &ret[c], err);
		if (r != 0)
			return r;
		if (subscription && c == 0)
			(void)dead_letter_count(bus, chain, subscription, &ret[c].dead, err);
	}
	*ret_n = CLASSES;
	return 0;
}

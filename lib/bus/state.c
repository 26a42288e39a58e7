/* state.c - small shared hashes, trimming, and what a topic's streams look like. */
#include "bus/internal.h"

#include "base/clock.h"

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
	bus_call(&a, "trim", anchor);
	bus_args_add(&a, topic);
	bus_args_add_u64(&a, keep);
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* -- info ------------------------------------------------------------------------------------------------------------------ */

static uint64_t number_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : reply->str ? strtoull(reply->str, NULL, 10) : 0;
}

static void take_row(const redisReply *row, struct bus_stream_info *info)
{
	if (row->elements < 7)
		return;
	info->length = number_of(row->element[0]);
	info->first_sequence = number_of(row->element[1]);
	info->last_sequence = number_of(row->element[2]);
	info->lag = number_of(row->element[3]);
	info->pending = number_of(row->element[4]);
	info->memory_bytes = number_of(row->element[5]);
	if (row->element[6]->len < FRAME_HEADER_SIZE)
		return;
	const uint8_t *created = (const uint8_t *)row->element[6]->str + 56; /* see frame.h */
	int64_t ms = 0;
	for (int i = 5; i >= 0; i--)
		ms = ms << 8 | created[i];
	info->head_age_ms = clock_wall_ms() > ms ? clock_wall_ms() - ms : 0;
}

int bus_info(struct bus *bus, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], size_t *ret_n,
	     struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	char anchor[KEY_MAX];
	uint64_t dead = 0;
	memset(ret, 0, 4 * sizeof ret[0]);
	*ret_n = 0;
	bus_anchor(chain, anchor);
	bus_call(&a, "info", anchor);
	bus_args_add(&a, topic);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t c = 0; c < CLASSES && c < reply->elements; c++) {
		ret[c].topic = topic;
		ret[c].klass = bus_classes[c];
		take_row(reply->element[c], &ret[c]);
	}
	freeReplyObject(reply);
	if (subscription && (r = dead_letter_count(bus, chain, subscription, &dead, err)) != 0)
		return r;
	ret[0].dead = dead;
	*ret_n = CLASSES;
	return 0;
}

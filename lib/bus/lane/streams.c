/* streams.c - trimming, and what a topic's streams look like. */
#include "bus/core/transport.h"
#include "bus/redis/command.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

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
	int64_t ms = (int64_t)frame_created((struct bytes){ (const uint8_t *)row->element[6]->str, row->element[6]->len });
	if (ms > 0)
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
	if (bus->transport) {
		int e = bus->transport->info(bus, chain, topic, subscription, ret, err);
		*ret_n = e ? 0 : CLASSES;
		return e;
	}
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

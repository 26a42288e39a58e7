/* letter_tail.c - ends of the streams that tell of dead letters. */
#include "bus/letter_tail.h"

#include "bus/core/core.h"
#include "bus/message/message.h"
#include "bus/redis/command.h"

#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS 1000000 /* of entries in one millisecond; Redis adds no million of them in one, and indexes of letters have six digits for it */

uint64_t letter_id_pack(const char *id)
{
	uint64_t ms, number;
	if (!bus_parse_id(id, &ms, &number) || ms > INT64_MAX / NUMBERS - 1)
		return 0;
	return ms * NUMBERS + (number < NUMBERS ? number : NUMBERS - 1);
}

const char *letter_id_text(uint64_t packed, char ret[LETTER_ID_TEXT])
{
	snprintf(ret, LETTER_ID_TEXT, "%" PRIu64 "-%" PRIu64, packed / NUMBERS, packed % NUMBERS);
	return ret;
}

static int stream_end(struct bus *bus, const char *key, uint64_t *ret, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	*ret = 0;
	if (bus->transport)
		return error_set(err, WEIR_UNSUPPORTED, "over this transport nobody can watch dead letters");
	bus_args_add(&a, "XINFO");
	bus_args_add(&a, "STREAM");
	bus_args_add(&a, key);
	int code = bus_run_many(bus, &a, 1, &reply, err);
	bus_args_free(&a);
	if (code)
		return code;
	bool absent = reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "no such key");
	if (!absent)
		code = bus_reply_error(bus, reply, "looking at a stream's end", err);
	if (!absent && !code) {
		const redisReply *last = bus_reply_field(reply, "last-generated-id");
		*ret = last && last->str ? letter_id_pack(last->str) : 0;
	}
	freeReplyObject(reply);
	return code;
}

int letter_tail_end(struct bus *bus, const char *chain, const char *subscription, uint64_t *ret, struct error *err)
{
	char key[KEY_MAX];
	snprintf(key, sizeof key, DEAD_KEY_FORMAT, chain, subscription);
	return stream_end(bus, key, ret, err);
}

int audit_tail_end(struct bus *bus, const char *chain, uint64_t *ret, struct error *err)
{
	char key[KEY_MAX];
	snprintf(key, sizeof key, AUDIT_KEY_FORMAT, chain);
	return stream_end(bus, key, ret, err);
}

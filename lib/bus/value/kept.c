/* kept.c - SET with expiry, GET, DEL of single keys. */
#include "bus/kept.h"

#include "bus/redis/command.h"

#define TRIES 3

static int set(struct bus *bus, const char *key, struct bytes value, int64_t keep_ms, bool only_new, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "SET");
	bus_args_add(&a, key);
	bus_args_add_bytes(&a, value);
	bus_args_add(&a, "PX");
	bus_args_add_u64(&a, (uint64_t)(keep_ms > 0 ? keep_ms : 1));
	if (only_new)
		bus_args_add(&a, "NX");
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

int bus_keep(struct bus *bus, const char *key, struct bytes value, int64_t keep_ms, struct error *err)
{
	return set(bus, key, value, keep_ms, false, err);
}

int bus_kept(struct bus *bus, const char *key, struct buf *ret, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "GET");
	bus_args_add(&a, key);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	bool found = reply->type == REDIS_REPLY_STRING;
	if (found)
		buf_add(ret, reply->str, reply->len);
	freeReplyObject(reply);
	return found ? 0 : error_set(err, WEIR_NOT_FOUND, "Redis has no key %s", key);
}

/* Two commands and not the answer of the first: it may have been sent twice, over two connections. */
int bus_keep_first(struct bus *bus, const char *key, struct bytes value, int64_t keep_ms, struct buf *ret, struct error *err)
{
	for (int i = 0; i < TRIES; i++) {
		int r = set(bus, key, value, keep_ms, true, err);
		if (r == 0)
			r = bus_kept(bus, key, ret, err);
		if (r != WEIR_NOT_FOUND)
			return r;
	}
	return error_set(err, WEIR_CONFLICT, "Redis does not keep the key %s", key);
}

int bus_forget(struct bus *bus, const char *key, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "DEL");
	bus_args_add(&a, key);
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

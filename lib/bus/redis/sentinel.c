/* sentinel.c - asking Redis Sentinels where the master is (redis.io, "Sentinel clients": ask each in turn, then check the role; connection.c
 * does the latter). */
#include "bus/redis/sentinel.h"
#include "bus/redis/tls.h"

#include "base/clock.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EACH_PART 4 /* of the time for all */
#define EACH_LEAST_MS 100

/* True: it told. why: what it said instead. */
static bool ask(const struct bus_host *sentinel, bool tls, const char *master, int64_t timeout_ms, struct bus_host *ret, char why[200])
{
	struct timeval timeout = { .tv_sec = (time_t)(timeout_ms / 1000), .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000 };
	redisContext *c = redisConnectWithTimeout(sentinel->name, sentinel->port, timeout);
	redisReply *r = NULL;
	char refused[TLS_WHY] = "";
	bool told = false;
	if (c && !c->err && redisSetTimeout(c, timeout) == REDIS_OK && (!tls || bus_tls_start(c, sentinel->name, refused)))
		r = redisCommand(c, "SENTINEL get-master-addr-by-name %s", master);
	if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->str && r->element[1]->str) {
		snprintf(ret->name, sizeof ret->name, "%s", r->element[0]->str);
		ret->port = (int)strtol(r->element[1]->str, NULL, 10);
		told = ret->port >= 1 && ret->port <= 65535;
	}
	snprintf(why, 200, "%s:%d: %s", sentinel->name, sentinel->port,
		 !c                                  ? "no memory"
		 : *refused                          ? refused
		 : c->err                            ? c->errstr
		 : r && r->type == REDIS_REPLY_ERROR ? r->str
						     : "does not know the master");
	if (r)
		freeReplyObject(r);
	if (c)
		redisFree(c);
	return told;
}

/* It said nothing: the others are asked first from now on. */
static void put_last(struct bus_address *a)
{
	const struct bus_host silent = a->sentinels[0];
	memmove(a->sentinels, a->sentinels + 1, (a->sentinel_count - 1) * sizeof a->sentinels[0]);
	a->sentinels[a->sentinel_count - 1] = silent;
}

/* Each is given a part of the time, and all together no more than it: those that were not asked come first the next time. */
int bus_sentinel_find(struct bus *bus, int64_t timeout_ms, struct error *err)
{
	struct bus_address *a = &bus->address;
	const int64_t deadline = clock_mono_ms() + timeout_ms, each = timeout_ms / EACH_PART > EACH_LEAST_MS ? timeout_ms / EACH_PART : EACH_LEAST_MS;
	char why[200] = "";
	for (size_t i = 0; i < a->sentinel_count && (i == 0 || clock_mono_ms() < deadline); i++) {
		if (bus_canceled(bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (ask(&a->sentinels[0], a->tls, a->master, each, &a->host, why))
			return 0; /* who answered is asked first next time */
		put_last(a);
	}
	return error_set(err, WEIR_UNAVAILABLE, "no sentinel of %zu tells where master %s is; the last one, %s", a->sentinel_count, a->master, why);
}

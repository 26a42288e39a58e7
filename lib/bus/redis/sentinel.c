/* sentinel.c - asking Redis Sentinels where the master is (redis.io, "Sentinel clients": ask each in turn, then check the role; connection.c
 * does the latter). */
#include "bus/redis/sentinel.h"
#include "bus/redis/tls.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int bus_sentinel_find(struct bus_address *a, int64_t timeout_ms, struct error *err)
{
	char why[200] = "";
	for (size_t i = 0; i < a->sentinel_count; i++) {
		if (!ask(&a->sentinels[i], a->tls, a->master, timeout_ms, &a->host, why))
			continue;
		struct bus_host first = a->sentinels[i]; /* who answered is asked first next time */
		memmove(a->sentinels + 1, a->sentinels, i * sizeof a->sentinels[0]);
		a->sentinels[0] = first;
		return 0;
	}
	return error_set(err, WEIR_UNAVAILABLE, "no sentinel of %zu tells where master %s is; the last one, %s", a->sentinel_count, a->master, why);
}

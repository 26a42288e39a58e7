/* connection.c - one Redis connection per struct bus: connecting, and saying who we are. */
#include "bus/redis/cluster.h"
#include "bus/redis/command.h"
#include "bus/redis/connection.h"
#include "bus/redis/sentinel.h"
#include "bus/redis/tls.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 2000
#define RETRY_BASE_MS 20
#define RETRY_MAX_MS 1000

void bus_drop(struct bus *bus)
{
	if (bus->transport)
		bus->transport->drop(bus);
	if (bus->redis)
		redisFree(bus->redis);
	bus->redis = NULL;
}

static int failed(struct bus *bus, const char *doing, const char *why, struct error *err)
{
	char shown[256], node[300] = "";
	if (bus->cluster)
		snprintf(node, sizeof node, " (node %s:%d)", bus->address.host.name, bus->address.host.port);
	int code = error_set(err, WEIR_UNAVAILABLE, "Redis %s%s: %s: %s", log_url(bus->url, shown), node, doing, why);
	bus_drop(bus);
	return code;
}

/* One word of the handshake. */
static int say(struct bus *bus, int64_t deadline, const char *const *words, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	for (size_t i = 0; words[i]; i++)
		bus_args_add(&a, words[i]);
	int r = bus_attempt(bus, &a, 1, deadline, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	r = bus_reply_error(bus, reply, words[0], err);
	if (r == 0 && ret)
		*ret = reply;
	else
		freeReplyObject(reply);
	return r;
}

static int permitted(int r, const struct error *err)
{
	return r == WEIR_PERMISSION && strstr(err->text, "NOPERM") ? 0 : r;
}

/* Sentinels may tell of a master that is none any more, or not yet. */
static int check_master(struct bus *bus, int64_t deadline, struct error *err)
{
	redisReply *role = NULL;
	int r = permitted(say(bus, deadline, (const char *[]){ "ROLE", NULL }, &role, err), err);
	bool other = role && role->type == REDIS_REPLY_ARRAY && role->elements > 0 && role->element[0]->str &&
		     strcmp(role->element[0]->str, "master") != 0;
	freeReplyObject(role);
	if (r == 0 && other)
		r = error_set(err, WEIR_UNAVAILABLE, "Redis %s:%d, of which the sentinels say that it is master %s, is a replica",
			      bus->address.host.name, bus->address.host.port, bus->address.master);
	return r;
}

static int handshake(struct bus *bus, int64_t deadline, struct error *err)
{
	const struct bus_address *a = &bus->address;
	const char *user = bus->username && *bus->username ? bus->username : a->user;
	const char *password = bus->password && *bus->password ? bus->password : a->password;
	char database[16];
	int r = 0;
	snprintf(database, sizeof database, "%d", a->database);
	if (*password && *user)
		r = say(bus, deadline, (const char *[]){ "AUTH", user, password, NULL }, NULL, err);
	else if (*password)
		r = say(bus, deadline, (const char *[]){ "AUTH", password, NULL }, NULL, err);
	if (r == 0 && a->database)
		r = say(bus, deadline, (const char *[]){ "SELECT", database, NULL }, NULL, err);
	if (r != 0)
		return r;
	/* Both may be forbidden to the account; then failures are found more slowly. */
	redisReply *info = NULL;
	r = permitted(say(bus, deadline, (const char *[]){ "CLIENT", "SETNAME", bus->worker, NULL }, NULL, err), err);
	if (r == 0)
		r = permitted(say(bus, deadline, (const char *[]){ "INFO", "server", NULL }, &info, err), err);
	if (!info || !bus_info_field(info->str, "run_id:", bus->run))
		bus->run[0] = 0;
	freeReplyObject(info);
	return r;
}

static int prepare_socket(struct bus *bus, struct timeval timeout, struct error *err)
{
	redisContext *redis = bus->redis;
	const struct bus_address *a = &bus->address;
	redisSetTimeout(redis, timeout);
	if (!a->local)
		redisEnableKeepAlive(redis);
	char why[TLS_WHY];
	if (a->tls && !bus_tls_start(redis, a->host.name, why))
		return failed(bus, "TLS", why, err);
	(void)fcntl(redis->fd, F_SETFL, fcntl(redis->fd, F_GETFL) | O_NONBLOCK);
	redis->flags &= ~REDIS_BLOCK;
	return 0;
}

static int connect_now(struct bus *bus, struct error *err)
{
	struct bus_address *a = &bus->address;
	int64_t wait = bus->options.command_timeout_ms < CONNECT_TIMEOUT_MS ? bus->options.command_timeout_ms : CONNECT_TIMEOUT_MS;
	struct timeval timeout = { .tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000) * 1000 };
	int r = a->sentinel_count > 0 ? bus_sentinel_find(bus, wait, err) : 0;
	if (r != 0)
		return r;
	bus->redis = bus->io    ? bus->io->connect(bus->io->arg)
		     : a->local ? redisConnectUnixWithTimeout(a->host.name, timeout)
				: redisConnectWithTimeout(a->host.name, a->host.port, timeout);
	if (!bus->redis || bus->redis->err)
		return failed(bus, "connecting", bus->redis ? bus->redis->errstr : "no connection", err);
	if (!bus->io)
		r = prepare_socket(bus, timeout, err);
	if (r != 0)
		return r;
	r = handshake(bus, clock_mono_ms() + wait, err);
	if (r == 0 && a->sentinel_count > 0)
		r = check_master(bus, clock_mono_ms() + wait, err);
	if (r != 0) {
		bus_drop(bus);
		return r;
	}
	if (bus->connects++ > 0)
		bus_count(bus, "weir_bus_reconnects_total", NULL, NULL, NULL, 1);
	bus_cluster_reached(bus);
	return 0;
}

/* Each try makes the next one wait, also one that connects: a server may greet everybody, and hang up over the command. */
static void wait_longer(struct bus *bus)
{
	struct backoff b = { RETRY_BASE_MS, RETRY_MAX_MS, bus->retry.attempts };
	bus->retry.next_ms = clock_mono_ms() + backoff_next_ms(&b);
	bus->retry.attempts = b.attempts;
}

void bus_answered(struct bus *bus)
{
	bus->retry.attempts = 0;
	bus->retry.next_ms = 0;
}

int bus_ensure(struct bus *bus, int64_t deadline, struct error *err)
{
	struct error last = { .code = WEIR_UNAVAILABLE };
	char shown[256];
	if (!bus->redis && !bus_cluster_refused(bus, &last))
		error_set(&last, WEIR_UNAVAILABLE, "Redis %s cannot be reached", log_url(bus->url, shown));
	while (!bus->redis) {
		if (clock_mono_ms() >= bus->retry.next_ms) {
			int r = connect_now(bus, &last);
			wait_longer(bus);
			if (r == 0)
				return 0;
			bus_cluster_lost(bus, &last);
		}
		if (!error_retriable(last.code))
			return error_set(err, last.code, "%s", last.text);
		if (bus_canceled(bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (clock_mono_ms() >= deadline)
			return error_set(err, WEIR_UNAVAILABLE, "%s", last.text);
		clock_sleep_ms(10);
	}
	return 0;
}

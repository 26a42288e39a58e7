/* server.c - what the server is: does it answer, may it be used, has it room. */
#include "bus/redis/command.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_EVERY_MS 1000
#define FSYNC_EVERY_MS 1000

bool bus_info_field(const char *info, const char *name, char ret[64])
{
	const char *at = info ? strstr(info, name) : NULL;
	if (!at)
		return false;
	at += strlen(name);
	snprintf(ret, 64, "%.*s", (int)strcspn(at, "\r\n"), at);
	return true;
}

int bus_ping(struct bus *bus, struct error *err)
{
	if (bus->transport)
		return bus->transport->ping(bus, err);
	struct bus_args a = { 0 };
	bus_args_add(&a, "PING");
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

static int read_info(struct bus *bus, const char *section, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "INFO");
	bus_args_add(&a, section);
	int r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

int64_t bus_backlog(const struct bus *bus)
{
#ifdef WEIR_MUTANT_NO_BACKLOG_LIMIT
	return 1 << 30;
#else
	return bus->options.max_backlog;
#endif
}

double bus_memory_percent(struct bus *bus)
{
	if (clock_mono_ms() < bus->memory_ms)
		return bus->memory_percent;
	redisReply *info;
	char used[64], most[64];
	bus->memory_ms = clock_mono_ms() + MEMORY_EVERY_MS;
	bus->memory_percent = 0;
	if (read_info(bus, "memory", &info, NULL) != 0)
		return 0; /* the command to come will say why */
	if (bus_info_field(info->str, "used_memory:", used) && bus_info_field(info->str, "maxmemory:", most) && strtod(most, NULL) > 0)
		bus->memory_percent = 100 * strtod(used, NULL) / strtod(most, NULL);
	freeReplyObject(info);
	return bus->memory_percent;
}

/* The first command of the two leads to the chain's node, where there are several. */
static int read_persistence(struct bus *bus, const char *chain, redisReply *replies[2], struct error *err)
{
	static const char *const names[] = { "CONFIG", "GET", "appendonly", "appendfsync", "no-appendfsync-on-rewrite" };
	struct bus_args a[2] = { 0 };
	bus_args_add(&a[0], "EXISTS");
	bus_args_add_format(&a[0], STATE_KEY_FORMAT, chain);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		bus_args_add(&a[1], names[i]);
	int r = bus_run_many(bus, a, 2, replies, err);
	for (int i = 0; i < 2; i++)
		bus_args_free(&a[i]);
	return r;
}

static int look_at_fsync(struct bus *bus, const char *chain, struct error *err)
{
	struct bus_fsync *f = &bus->fsync;
	redisReply *replies[2] = { NULL };
	unsigned good = 0;
	int r = read_persistence(bus, chain, replies, err);
	if (r != 0)
		return r;
	memset(f, 0, sizeof *f);
	for (size_t i = 0; i + 1 < replies[1]->elements; i += 2) {
		const char *name = replies[1]->element[i]->str, *value = replies[1]->element[i + 1]->str;
		size_t length = strlen(f->has);
		const char *needed = strcmp(name, "appendonly") == 0 ? "yes" : strcmp(name, "appendfsync") == 0 ? "always" : "no";
		good += strcmp(value, needed) == 0;
		snprintf(f->has + length, sizeof f->has - length, "%s%s \"%s\"", length ? ", " : "", name, value);
	}
	f->always = good == 3;
	f->next_ms = clock_mono_ms() + FSYNC_EVERY_MS;
	snprintf(f->run, sizeof f->run, "%s", bus->run);
	for (int i = 0; i < 2; i++)
		freeReplyObject(replies[i]);
	return 0;
}

int bus_fsync_check(struct bus *bus, const char *chain, const char *topic, struct error *err)
{
	const struct bus_fsync *f = &bus->fsync;
	char shown[256];
	int r = clock_mono_ms() < f->next_ms && strcmp(f->run, bus->run) == 0 ? 0 : look_at_fsync(bus, chain, err);
	if (r != 0 || f->always)
		return r;
	return error_set(err, WEIR_CONFIG,
			 "topic %s wants an fsync behind each answer, and Redis %s has %s: set appendonly to yes, appendfsync to always and "
			 "no-appendfsync-on-rewrite to no, or ask for less (bus_durability)",
			 topic, log_url(bus->url, shown), *f->has ? f->has : "settings that this account may not read (CONFIG GET)");
}

/* What the topics want of it. */
static int check_durability(struct bus *bus, struct error *err)
{
	int r = 0;
	for (size_t i = 0; i < bus->options.durability_count && r == 0; i++)
		if (bus->options.durability[i].fsync)
			r = bus_fsync_check(bus, "check", bus->options.durability[i].topic, err);
	return r;
}

/* The node that was asked first may be a replica; one that has the slot of a key is none. */
static int reach_a_master(struct bus *bus, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, "EXISTS");
	bus_args_add_format(&a, STATE_KEY_FORMAT, "check");
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* "name value, …" as CONFIG GET answers; empty: the account may not ask, or the server has no such command. */
static void read_config(struct bus *bus, const char *name, char ret[64])
{
	struct bus_args a = { 0 };
	redisReply *reply;
	ret[0] = 0;
	bus_args_add(&a, "CONFIG");
	bus_args_add(&a, "GET");
	bus_args_add(&a, name);
	if (bus_run(bus, &a, 0, &reply, NULL) == 0) {
		if (reply->elements == 2 && reply->element[1]->str)
			snprintf(ret, 64, "%s \"%.48s\"", name, reply->element[1]->str);
		freeReplyObject(reply);
	}
	bus_args_free(&a);
}

/* What of its data survives, where that is less than one would think. docs/bus.md has the table. */
static void warn_of_losses(struct bus *bus, bool append_only, const char *url)
{
	char said[64];
	read_config(bus, append_only ? "appendfsync" : "save", said);
	const char *words = !append_only && strcmp(said, "save \"\"") == 0
				    ? "Redis keeps nothing on disk: when it ends, all that is under way is gone; publishers are told, and publish again"
			    : !append_only ? "Redis has no append-only file: when it ends, what came since its last snapshot is gone; publishers are told, and "
					     "publish again"
			    : strcmp(said, "appendfsync \"no\"") == 0
				    ? "Redis leaves writing to the system: a killed Redis loses nothing, a lost power what the system held back (about 30 s)"
				    : NULL;
	if (words)
		log_warn(&bus->log, append_only ? "redis_rarely_written" : "redis_not_persistent", words, LOG_S("redis", url),
			 LOG_S("appendonly", append_only ? "yes" : "no"), LOG_S("setting", said), LOG_I("wait_replicas", bus->options.wait_replicas),
			 LOG_S("action", append_only ? "set appendfsync to everysec or always" : "set appendonly to yes"));
}

int bus_check(struct bus *bus, struct error *err)
{
	redisReply *info;
	char value[64], shown[256];
	if (bus->transport)
		return bus->transport->ping(bus, err);
	int r = bus->cluster ? reach_a_master(bus, err) : 0;
	if (r == 0)
		r = read_info(bus, "everything", &info, err);
	if (r != 0)
		return r;
	log_url(bus->url, shown);
	if (bus_info_field(info->str, "redis_version:", value) && strtol(value, NULL, 10) < 7)
		r = error_set(err, WEIR_VERSION, "Redis %s has version %s; 7.0 or newer is needed", shown, value);
	else if (bus_info_field(info->str, "maxmemory_policy:", value) && strcmp(value, "noeviction") != 0)
		r = error_set(
			err, WEIR_CONFIG,
			"Redis %s has maxmemory-policy %s: it would throw unread blocks away. Set it to noeviction (CONFIG SET maxmemory-policy "
			"noeviction, and in redis.conf)",
			shown, value);
	else if (bus_info_field(info->str, "aof_enabled:", value))
		warn_of_losses(bus, strcmp(value, "1") == 0, shown);
	freeReplyObject(info);
	if (r == 0)
		r = check_durability(bus, err);
	if (r == 0) /* shows now whether the account may */
		r = bus_load_functions(bus, clock_mono_ms() + bus->options.command_timeout_ms, err);
	return r;
}

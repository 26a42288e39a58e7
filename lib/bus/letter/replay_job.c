/* replay_job.c - replay jobs as operators see them: start, look, pause, resume, cancel. What moves them on is in replay_job.lua. */
#include "bus/letter/letters.h"

#include "bus/core/transport.h"

#include "base/clock.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>


/* -- rows ---------------------------------------------------------------------------------------------------------------- */

#define TEXT(name, member)                                                                                                                           \
	{                                                                                                                                            \
		name, offsetof(struct dead_letter_job, member), sizeof(((struct dead_letter_job *)0)->member)                                        \
	}
#define NUMBER(name, member)                                                                                                                         \
	{                                                                                                                                            \
		name, offsetof(struct dead_letter_job, member), 0                                                                                    \
	}
static const struct {
	const char *name;
	size_t offset, size; /* size 0: a number of 8 bytes */
} fields[] = {
	TEXT("id", id),
	TEXT("sub", subscription),
	TEXT("state", state),
	TEXT("who", who),
	TEXT("why", why),
	TEXT("note", note),
	TEXT("type", type),
	TEXT("reason", reason),
	TEXT("key", key),
	TEXT("kind", kind),
	NUMBER("from", from_ms),
	NUMBER("to", to_ms),
	NUMBER("rate", rate),
	NUMBER("burst", burst),
	NUMBER("concurrency", concurrency),
	NUMBER("stop", stop_percent),
	NUMBER("total", total),
	NUMBER("ok", succeeded),
	NUMBER("failed", failed),
	NUMBER("gone", gone),
	NUMBER("out", out),
	NUMBER("ready", ready),
	NUMBER("created", created_ms),
	NUMBER("finished", finished_ms),
};

static void read_row(const char *chain, const redisReply *row, struct dead_letter_job *ret)
{
	memset(ret, 0, sizeof *ret);
	snprintf(ret->chain, sizeof ret->chain, "%s", chain);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		const redisReply *value = bus_reply_field(row, fields[i].name);
		char *place = (char *)ret + fields[i].offset;
		if (!value || !value->str)
			continue;
		if (fields[i].size > 0) {
			snprintf(place, fields[i].size, "%s", value->str);
		} else {
			uint64_t n = strtoull(value->str, NULL, 10);
			memcpy(place, &n, sizeof n);
		}
	}
	if (ret->reason[0] == '\1') { /* an error class: dead_letter_add_filter */
		snprintf(ret->error_class, sizeof ret->error_class, "%.*s", (int)strcspn(ret->reason + 1, "\1"), ret->reason + 1);
		ret->reason[0] = 0;
	}
	const redisReply *named = bus_reply_field(row, "named");
	ret->named = named && named->str && strcmp(named->str, "1") == 0;
}

static int ask_row(struct bus *bus, const char *chain, const char *id, struct bus_args *a, struct dead_letter_job *ret, struct error *err)
{
	redisReply *reply;
	int r = bus_run(bus, a, 0, &reply, err);
	bus_args_free(a);
	if (r != 0)
		return r;
	if (reply->elements == 0)
		r = error_set(err, WEIR_NOT_FOUND, "chain %s has no replay job %s", chain, id);
	else
		read_row(chain, reply, ret);
	freeReplyObject(reply);
	return r;
}

/* -- starting ------------------------------------------------------------------------------------------------------------- */

static int64_t or_else(int64_t value, int64_t otherwise)
{
	return value > 0 ? value : otherwise;
}

int dead_letter_order_limits(const struct dead_letter_order *o, struct dead_letter_job *ret, struct error *err)
{
	if (o->rate < 0 || o->burst < 0 || o->concurrency < 0 || o->stop_percent < 0)
		return error_set(err, WEIR_INVALID, "a replay job's rate, burst, concurrency and stop_percent are 0 or more");
	ret->rate = o->rate;
	ret->burst = or_else(o->burst, or_else(o->rate / 10, 1));
	ret->concurrency = or_else(o->concurrency, 1000);
	ret->stop_percent = o->stop_percent > 100 ? 0 : or_else(o->stop_percent, 50);
	return 0;
}

/* A repeated call after a lost answer must find the job that the first one made. */
static void make_key(char ret[40])
{
	snprintf(ret, 40, "weir:%016llx", (unsigned long long)random_u64());
}

static int add_order(struct bus_args *a, const struct dead_letter_order *o, bool dry, const char *key, struct error *err)
{
	struct dead_letter_job limits = { 0 };
	int r = dead_letter_order_limits(o, &limits, err);
	if (r != 0)
		return r;
	bus_args_add(a, o->who ? o->who : "");
	bus_args_add(a, o->why ? o->why : "");
	bus_args_add(a, key);
	bus_args_add(a, dry ? "1" : "0");
	dead_letter_add_filter(a, &o->filter);
	bus_args_add_u64(a, (uint64_t)limits.rate);
	bus_args_add_u64(a, (uint64_t)limits.burst);
	bus_args_add_u64(a, (uint64_t)limits.concurrency);
	bus_args_add_u64(a, (uint64_t)limits.stop_percent);
	bus_args_add(a, o->n > 0 ? "1" : "0");
	for (size_t i = 0; i < o->n; i++) {
		if (!dead_letter_is_id(o->ids[i]))
			return error_set(err, WEIR_INVALID, "\"%.64s\" is not a dead letter's id", o->ids[i]);
		bus_args_add(a, o->ids[i]);
	}
	return 0;
}

static int create(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_order *o, bool dry, redisReply **ret,
		  struct error *err)
{
	struct bus_args a = { 0 };
	char key[40];
	make_key(key);
	dead_letter_call(&a, "job_create", chain, subscription);
	int r = add_order(&a, o, dry, o->idempotency_key && *o->idempotency_key ? o->idempotency_key : key, err);
	if (r == 0)
		r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

int dead_letter_job_dry_run(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_order *o, uint64_t *ret,
			    struct error *err)
{
	if (bus->transport)
		return bus->transport->job_start(bus, chain, subscription, o, ret, NULL, err);
	redisReply *reply;
	int r = create(bus, chain, subscription, o, true, &reply, err);
	if (r != 0)
		return r;
	*ret = strtoull(reply->element[0]->str, NULL, 10);
	freeReplyObject(reply);
	return 0;
}

int dead_letter_job_start(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_order *o,
			  struct dead_letter_job *ret, struct error *err)
{
	uint64_t total;
	if (bus->transport)
		return bus->transport->job_start(bus, chain, subscription, o, &total, ret, err);
	redisReply *reply;
	int r = create(bus, chain, subscription, o, false, &reply, err);
	if (r != 0)
		return r;
	if (reply->elements == 0)
		r = error_set(err, WEIR_CONFLICT, "the idempotency key was used for another replay job: take a new one");
	else
		read_row(chain, reply, ret);
	freeReplyObject(reply);
	return r;
}

/* -- looking and steering --------------------------------------------------------------------------------------------------- */

int dead_letter_job_show(struct bus *bus, const char *chain, const char *id, struct dead_letter_job *ret, struct error *err)
{
	if (bus->transport)
		return bus->transport->job_show(bus, chain, id, ret, err);
	struct bus_args a = { 0 };
	dead_letter_call(&a, "job_show", chain, id);
	return ask_row(bus, chain, id, &a, ret, err);
}

int dead_letter_job_list(struct bus *bus, const char *chain, const char *subscription, size_t limit, dead_letter_job_fn *fn, void *arg,
			 struct error *err)
{
	if (bus->transport)
		return bus->transport->job_list(bus, chain, subscription, limit, fn, arg, err);
	struct bus_args a = { 0 };
	redisReply *reply;
	dead_letter_call(&a, "job_list", chain, subscription);
	bus_args_add_u64(&a, limit > 0 ? limit : 1000);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; i < reply->elements; i++) {
		struct dead_letter_job job;
		read_row(chain, reply->element[i], &job);
		fn(&job, arg);
	}
	freeReplyObject(reply);
	return 0;
}

int dead_letter_job_control(struct bus *bus, const char *chain, const char *id, enum dead_letter_job_action action, const char *who, const char *why,
			    struct dead_letter_job *ret, struct error *err)
{
	if (bus->transport)
		return bus->transport->job_control(bus, chain, id, action, who, why, ret, err);
	static const char *const words[] = { "pause", "resume", "cancel" };
	struct bus_args a = { 0 };
	dead_letter_call(&a, "job_control", chain, id);
	bus_args_add(&a, words[action]);
	bus_args_add(&a, who ? who : "");
	bus_args_add(&a, why ? why : "");
	return ask_row(bus, chain, id, &a, ret, err);
}

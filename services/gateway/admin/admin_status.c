/* admin_status.c - GET /admin/v1/status: chains, streams, dead letters, this gateway, in one look. What does not answer is named, the rest is shown. */
#include "admin/admin.h"

#include "control.h"
#include "live/hub.h"

#include "base/clock.h"
#include "base/version.h"
#include "daemon/breakers.h"

#include "weir/streams.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *topic, *subscription;
} streams[] = {
	{ TOPIC_RAW, SUBSCRIPTION_NORMALIZER },
	{ TOPIC_BLOCKS, SUBSCRIPTION_RECONCILER },
	{ TOPIC_LEDGER, NULL },
	{ TOPIC_CONTROL, SUBSCRIPTION_RECONCILER },
};

/* What the stages before the ledger have done since the bus began. */
struct done {
	uint64_t fetched, normalized, published;
};

/* Normalizing a block and being done with the raw one are one step: what is not done waits or is in work. */
static void add_done(struct done *done, const char *topic, const struct bus_stream_info *info)
{
	uint64_t waits = info->lag + info->pending;
	if (strcmp(topic, TOPIC_RAW) == 0) {
		done->fetched += info->last_sequence;
		done->normalized += info->last_sequence > waits ? info->last_sequence - waits : 0;
	} else if (strcmp(topic, TOPIC_LEDGER) == 0) {
		done->published += info->last_sequence;
	}
}

static int put_streams(struct call *call, struct bus *bus, const char *chain, struct done *done, struct error *err)
{
	struct buf *out = call->out;
	int code = 0;
	put_array(out, "streams");
	for (size_t i = 0; !code && i < sizeof streams / sizeof streams[0]; i++) {
		struct bus_stream_info info[4];
		size_t n = 0;
		code = bus_info(bus, chain, streams[i].topic, streams[i].subscription, info, &n, err);
		for (size_t k = 0; !code && k < n; k++) {
			add_done(done, streams[i].topic, &info[k]);
			put_object(out, NULL);
			put_text(out, "topic", streams[i].topic);
			put_text(out, "class", info[k].klass);
			put_u64(out, "length", info[k].length);
			put_u64(out, "first_sequence", info[k].first_sequence);
			put_u64(out, "last_sequence", info[k].last_sequence);
			put_u64(out, "memory_bytes", info[k].memory_bytes);
			put_u64(out, "lag", info[k].lag);
			put_u64(out, "pending", info[k].pending);
			put_i64(out, "head_age_ms", info[k].head_age_ms);
			put_end(out, '}');
		}
	}
	put_end(out, ']');
	return code;
}

static void put_stages(struct call *call, const struct done *done)
{
	put_object(call->out, "stages");
	put_u64(call->out, "fetched", done->fetched);
	put_u64(call->out, "normalized", done->normalized);
	put_u64(call->out, "published", done->published);
	put_end(call->out, '}');
}

static int put_dead_letters(struct call *call, struct bus *bus, const char *chain, struct error *err)
{
	static const char *const subscriptions[] = { SUBSCRIPTION_NORMALIZER, SUBSCRIPTION_RECONCILER, SUBSCRIPTION_FETCHER };
	int code = 0;
	put_object(call->out, "dead_letters");
	for (size_t i = 0; !code && i < sizeof subscriptions / sizeof subscriptions[0]; i++) {
		uint64_t n = 0;
		code = dead_letter_count(bus, chain, subscriptions[i], &n, err);
		put_u64(call->out, subscriptions[i], n);
	}
	put_end(call->out, '}');
	return code;
}

static void put_breaker(const struct breaker_word *word, void *arg)
{
	struct buf *out = arg;
	put_object(out, NULL);
	put_text(out, "process", word->process);
	put_text(out, "endpoint", word->endpoint);
	put_text(out, "state", word->state);
	put_text(out, "reason", word->reason);
	put_milliseconds(out, "opened_at", word->opened_ms);
	put_milliseconds(out, "probe_at", word->probe_ms);
	put_u64(out, "errors", word->errors);
	put_milliseconds(out, "heard_at", word->heard_ms);
	put_end(out, '}');
}

static int put_breakers(struct call *call, struct bus *bus, const char *chain, struct error *err)
{
	put_array(call->out, "breakers");
	int code = breakers_read(bus, chain, put_breaker, call->out, err);
	put_end(call->out, ']');
	return code;
}

static void put_dependency(struct buf *out, const char *name, int code, const struct error *err)
{
	put_object(out, name);
	put_bool(out, "ok", code == 0);
	put_text(out, "reason", code ? err->text : "");
	put_end(out, '}');
}

static int put_chain(struct call *call, const struct gateway_chain *chain, bool with_ledger, bool with_bus, struct error *bus_error)
{
	char sql[2000], offset[24];
	struct pg_param p;
	struct pg_result *r = NULL;
	struct error err = { 0 };
	struct buf *out = call->out;
	int code = 0;
	snprintf(sql, sizeof sql, "%s where c.id = $1", chain_columns_sql);
	put_object(out, NULL);
	if (with_ledger && pg_prepared(call->pg, "chain", sql, pg_i32(&p, atomic_load(&chain->id)), 1, &r, &err) == 0 && pg_rows(r) == 1) {
		put_chain_members(call, r, 0);
	} else {
		put_text(out, "name", chain->chain.name);
		put_text(out, "family", chain->chain.family->name);
	}
	pg_result_free(&r);
	snprintf(offset, sizeof offset, "%llu", (unsigned long long)atomic_load(&chain->sequence));
	put_text(out, "live_offset", offset);
	admin_put_export(out, call->gateway, chain);
	if (with_bus) {
		struct done done = { 0 };
		struct bus *bus = control_take(call->gateway->control);
		code = put_streams(call, bus, chain->chain.name, &done, bus_error);
		if (!code)
			put_stages(call, &done);
		if (!code)
			code = put_dead_letters(call, bus, chain->chain.name, bus_error);
		if (!code)
			code = put_breakers(call, bus, chain->chain.name, bus_error);
		control_give(call->gateway->control);
	}
	put_end(out, '}');
	return code;
}

void admin_status(struct call *call)
{
	struct error pg_error = { 0 }, bus_error = { 0 };
	struct gateway *gateway = call->gateway;
	struct buf *out = call->out;
	call->pg = pg_pool_take(gateway->pool, 1000, &pg_error);
	int pg_code = call->pg ? pg_begin(call->pg, &pg_error) : pg_error.code;
	call->transaction = call->pg && pg_code == 0;
	struct bus *bus = control_take(gateway->control);
	int bus_code = bus_ping(bus, &bus_error);
	control_give(gateway->control);
	put_object(out, NULL);
	put_text(out, "version", weir_version);
	put_i64(out, "uptime_seconds", (clock_mono_ms() - gateway->started_ms) / 1000);
	put_array(out, "chains");
	for (size_t i = 0; i < gateway->chain_count; i++) {
		int code = put_chain(call, &gateway->chains[i], pg_code == 0 && atomic_load(&gateway->chains[i].id) != 0, bus_code == 0, &bus_error);
		bus_code = bus_code ? bus_code : code;
	}
	put_end(out, ']');
	struct hub_counts counts = hub_counts(gateway->hub);
	put_object(out, "websockets");
	put_u64(out, "connections", counts.connections);
	put_u64(out, "subscriptions", counts.subscriptions);
	put_end(out, '}');
	put_dependency(out, "postgres", pg_code, &pg_error);
	put_dependency(out, "redis", bus_code, &bus_error);
	put_end(out, '}');
}

/* watch.c - asks Redis every few seconds about each chain's streams and dead letters, and sets the gauges. */
#include "watch.h"

#include "base/clock.h"
#include "bus/bus.h"

#include "weir/streams.h"

#define INTERVAL_MS 5000
#define TIMEOUT_MS 2000

struct watch {
	const struct gateway *gateway;
	struct bus *bus;
	int64_t next_ms;
};

static const struct {
	const char *topic, *subscription; /* who reads it and may leave dead letters */
} streams[] = {
	{ TOPIC_RAW, SUBSCRIPTION_NORMALIZER },
	{ TOPIC_BLOCKS, SUBSCRIPTION_RECONCILER },
	{ TOPIC_LEDGER, NULL },
	{ TOPIC_CONTROL, SUBSCRIPTION_FETCHER },
};

static bool stopping(void *ctx)
{
	return daemon_stopping(ctx);
}

int watch_open(const struct gateway *gateway, struct watch **ret, struct error *err)
{
	struct watch *w = xmalloc(sizeof *w);
	w->gateway = gateway;
	const struct bus_options options = { .url = gateway->config->bus.redis_url,
					     .username = gateway->config->bus.username,
					     .password = gateway->config->bus.password,
					     .command_timeout_ms = TIMEOUT_MS,
					     .worker = "gateway-watch",
					     .log = &gateway->log };
	int code = bus_open(&options, &w->bus, err);
	if (code) {
		watch_close(&w);
		return code;
	}
	bus_set_stop(w->bus, stopping, gateway->ctx);
	*ret = w;
	return 0;
}

void watch_close(struct watch **w)
{
	if (!*w)
		return;
	bus_close(&(*w)->bus);
	xfree(w);
}

static void set(const struct watch *w, const char *name, const char *chain, const char *label, const char *klass, double value)
{
	metric_set(metrics_get(w->gateway->metrics, name, chain, label, klass), value);
}

static int look(struct watch *w, const char *chain, const char *topic, const char *subscription, struct error *err)
{
	struct bus_stream_info info[4];
	size_t n = 0;
	int code = bus_info(w->bus, chain, topic, subscription, info, &n, err);
	for (size_t i = 0; !code && i < n; i++) {
		set(w, "weir_gateway_stream_entries", chain, topic, info[i].klass, (double)info[i].length);
		set(w, "weir_gateway_stream_bytes", chain, topic, info[i].klass, (double)info[i].memory_bytes);
		set(w, "weir_gateway_stream_lag", chain, topic, info[i].klass, (double)info[i].lag);
		set(w, "weir_gateway_stream_pending", chain, topic, info[i].klass, (double)info[i].pending);
		set(w, "weir_gateway_stream_oldest_unread_seconds", chain, topic, info[i].klass, (double)info[i].head_age_ms / 1000);
	}
	if (!code && subscription)
		set(w, "weir_gateway_dead_letters", chain, subscription, NULL, (double)info[0].dead);
	return code;
}

void watch_turn(struct watch *w)
{
	struct error err = { 0 };
	int code = 0;
	if (clock_mono_ms() < w->next_ms)
		return;
	for (size_t c = 0; !code && c < w->gateway->chain_count; c++)
		for (size_t i = 0; !code && i < sizeof streams / sizeof streams[0]; i++)
			code = look(w, w->gateway->chains[c].chain.name, streams[i].topic, streams[i].subscription, &err);
	metric_set(metrics_get(w->gateway->metrics, "weir_gateway_bus_up", NULL, NULL, NULL), code == 0);
	w->next_ms = clock_mono_ms() + INTERVAL_MS;
}

/* fetcher.c - start, stop and metrics of the fetcher. */
#include "fetcher.h"

#include "wire/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PER_CHAIN .labels = { "chain" }
const struct metric_def fetcher_metrics[] = {
	{ .name = "weir_fetcher_head_height", .kind = METRIC_GAUGE, .help = "Height of the newest block that a node told.", PER_CHAIN },
	{ .name = "weir_fetcher_published_height", .kind = METRIC_GAUGE, .help = "Highest block published.", PER_CHAIN },
	{ .name = "weir_fetcher_blocks_total", .kind = METRIC_COUNTER, .help = "Blocks published, by reason.", .labels = { "chain", "reason" } },
	{ .name = "weir_fetcher_bytes_total", .kind = METRIC_COUNTER, .help = "Bytes of answers before compression.", PER_CHAIN },
	{ .name = "weir_fetcher_jobs", .kind = METRIC_GAUGE, .help = "Blocks being fetched.", PER_CHAIN },
	{ .name = "weir_fetcher_job_limit", .kind = METRIC_GAUGE, .help = "Blocks that may be fetched at a time, adapted to the endpoints.", PER_CHAIN },
	{ .name = "weir_fetcher_job_failures_total", .kind = METRIC_COUNTER, .help = "Blocks that had to be asked again, by error code.",
	  .labels = { "chain", "code" } },
	{ .name = "weir_fetcher_forks_total", .kind = METRIC_COUNTER, .help = "Forks found.", PER_CHAIN },
	{ .name = "weir_fetcher_fork_depth", .kind = METRIC_GAUGE, .help = "Depth of the newest fork.", PER_CHAIN },
	{ .name = "weir_fetcher_restarts_total", .kind = METRIC_COUNTER, .help = "Times publishing began anew from the ledger's next height, by reason.",
	  .labels = { "chain", "reason" } },
	{ .name = "weir_fetcher_endpoint_differs", .kind = METRIC_GAUGE,
	  .help = "1 while the endpoint builds another chain than the one in the ledger, told by the hash of a block that is deep in both. Not who is right.",
	  .labels = { "chain", "endpoint" } },
	{ .name = "weir_fetcher_active", .kind = METRIC_GAUGE, .help = "1 while this instance owns the chain, 0 while it stands by.", PER_CHAIN },
};
const size_t fetcher_metric_count = sizeof fetcher_metrics / sizeof fetcher_metrics[0];

void fetcher_count(struct follower *f, const char *name, const char *label, uint64_t n)
{
	metric_add(metrics_get(daemon_metrics(f->fetcher->ctx), name, f->chain.name, label, NULL), n);
}

void fetcher_gauge(struct follower *f, const char *name, double value)
{
	metric_set(metrics_get(daemon_metrics(f->fetcher->ctx), name, f->chain.name, NULL, NULL), value);
}

static void make_endpoints(struct follower *f)
{
	const struct chain_config *c = f->config;
	struct endpoint_options options[CONFIG_ENDPOINTS_MAX];
	for (size_t i = 0; i < c->endpoint_count; i++) {
		const struct endpoint_config *e = &c->endpoints[i];
		options[i] = (struct endpoint_options){ .name = e->name,
							.url = e->url,
							.ws_url = e->ws_url,
							.auth_header = e->auth_header,
							.roles = (e->head ? ENDPOINT_HEAD : 0u) | (e->backfill ? ENDPOINT_BACKFILL : 0u) |
								 (e->verify ? ENDPOINT_VERIFY : 0u),
							.weight = e->weight,
							.requests_per_second = e->requests_per_second,
							.max_concurrency = e->max_concurrency };
	}
	f->endpoints = endpoints_new(c->name, options, c->endpoint_count, &f->log, daemon_metrics(f->fetcher->ctx));
	opinion_open(f);
}

int fetcher_init(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct fetcher *fetcher = state;
	const struct config *config = daemon_config(ctx);
	fetcher->ctx = ctx;
	bus_register_metrics(daemon_metrics(ctx));
	rpc_register_metrics(daemon_metrics(ctx));
	if (config->chain_count == 0)
		return error_set(err, WEIR_CONFIG, "no chain is configured: add one to `chains` (--print-sample-config shows how)");
	fetcher->followers = xcalloc(config->chain_count, sizeof *fetcher->followers);
	for (size_t i = 0; i < config->chain_count; i++) {
		struct follower *f = &fetcher->followers[fetcher->count++];
		f->fetcher = fetcher;
		f->config = &config->chains[i];
		f->log = log_for_chain(daemon_log(ctx), f->config->name);
		int r = chain_init(&f->chain, f->config->name, f->config->family, f->config->profile, f->config->chain_id, err);
		if (r != 0)
			return r;
		f->chain.start_height = f->config->start_height;
		fetcher_count(f, "weir_fetcher_forks_total", NULL, 0); /* there before the first: a rule watches for it */
		if (*f->config->genesis_hash)
			f->has_genesis = hex_to_bytes(f->config->genesis_hash, 66, f->genesis, 32) == 0;
		make_endpoints(f);
		follower_not_asked_yet(f);
	}
	struct bus *bus;
	struct bus_options options = { .url = config->bus.redis_url, .username = config->bus.username, .password = config->bus.password,
				       .worker = "preflight", .log = daemon_log(ctx) };
	int r = bus_open(&options, &bus, err);
	if (r == 0) {
		r = bus_check(bus, err);
		bus_close(&bus);
	}
	return r;
}

int fetcher_run(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct fetcher *fetcher = state;
	int r = 0;
	for (size_t i = 0; i < fetcher->count; i++) {
		struct follower *f = &fetcher->followers[i];
		f->running = pthread_create(&f->thread, NULL, follower_main, f) == 0;
		if (!f->running) {
			r = error_set(err, WEIR_INTERNAL, "chain %s: its thread could not be started", f->chain.name);
			daemon_request_stop(ctx);
		}
	}
	for (size_t i = 0; i < fetcher->count; i++) {
		struct follower *f = &fetcher->followers[i];
		if (!f->running)
			continue;
		pthread_join(f->thread, NULL);
		f->running = false;
		if (f->result != 0 && r == 0) {
			r = f->result;
			*err = f->error;
		}
	}
	return r;
}

void fetcher_deinit(struct daemon_ctx *ctx, void *state)
{
	(void)ctx;
	struct fetcher *fetcher = state;
	for (size_t i = 0; i < fetcher->count; i++)
		endpoints_free(&fetcher->followers[i].endpoints);
	xfree(&fetcher->followers);
}

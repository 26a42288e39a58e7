/* normalizer.c - start, stop and metrics of the normalizer. */
#include "normalizer.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct metric_def normalizer_metrics[] = {
	{ .name = "weir_normalizer_blocks_total",
	  .kind = METRIC_COUNTER,
	  .help = "Blocks normalized, by result: proven or unproven.",
	  .labels = { "chain", "result" } },
	{ .name = "weir_normalizer_checks_failed_total",
	  .kind = METRIC_COUNTER,
	  .help = "Checks that failed, by check and endpoint.",
	  .labels = { "chain", "check", "endpoint" } },
	{ .name = "weir_normalizer_entries_total", .kind = METRIC_COUNTER, .help = "Entries read from proven blocks.", .labels = { "chain" } },
	{ .name = "weir_normalizer_block_seconds", .kind = METRIC_HISTOGRAM, .help = "Time to normalize one block.", .labels = { "chain" } },
	{ .name = "weir_normalizer_height", .kind = METRIC_GAUGE, .help = "Height of the block normalized last.", .labels = { "chain" } },
};
const size_t normalizer_metric_count = sizeof normalizer_metrics / sizeof normalizer_metrics[0];

int normalizer_init(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct normalizer *n = state;
	const struct config *config = daemon_config(ctx);
	n->ctx = ctx;
	bus_register_metrics(daemon_metrics(ctx));
	if (config->chain_count == 0)
		return error_set(err, WEIR_CONFIG, "no chain is configured: add one to `chains` (--print-sample-config shows how)");
	for (size_t i = 0; i < config->chain_count; i++) {
		const struct chain_config *c = &config->chains[i];
		int r = chain_init(&n->chains[i], c->name, c->family, c->profile, c->chain_id, err);
		if (r != 0)
			return r;
		n->chain_count++;
	}
	struct bus *bus;
	struct bus_options options = { .url = config->bus.redis_url, .username = config->bus.username, .password = config->bus.password,
				       .worker = "preflight", .log = daemon_log(ctx) };
	int r = bus_open(&options, &bus, err);
	if (r == 0) {
		r = bus_check(bus, err);
		bus_close(&bus);
	}
	daemon_check_set(ctx, "redis", false, NOT_ASKED_YET); /* a worker's own connection says more: ready once one has looked */
	return r;
}

int normalizer_run(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct normalizer *n = state;
	n->worker_count = (size_t)daemon_config(ctx)->normalizer.workers;
	n->workers = xcalloc(n->worker_count, sizeof *n->workers);
	for (size_t i = 0; i < n->worker_count; i++) {
		struct worker *w = &n->workers[i];
		w->normalizer = n;
		w->index = (unsigned)i;
		w->running = pthread_create(&w->thread, NULL, worker_main, w) == 0;
		if (!w->running) {
			daemon_request_stop(ctx);
			error_set(err, WEIR_INTERNAL, "thread %zu of normalizer.workers could not be started", i);
		}
	}
	bool started = n->workers[n->worker_count - 1].running;
	for (size_t i = 0; i < n->worker_count; i++)
		if (n->workers[i].running)
			pthread_join(n->workers[i].thread, NULL);
	return started ? 0 : WEIR_INTERNAL;
}

void normalizer_deinit(struct daemon_ctx *ctx, void *state)
{
	(void)ctx;
	struct normalizer *n = state;
	xfree(&n->workers);
}

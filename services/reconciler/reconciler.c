/* reconciler.c - start: schema, endpoints, threads; and the way down again. */
#include "reconciler.h"

#include "check.h"
#include "follow.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

struct lane_of_chain {
	struct chain chain;
	struct node_identity identity;
	struct endpoints *endpoints;
	struct mailbox *mailbox;
	struct follow follow;
	struct check check;
	pthread_t follow_thread, check_thread;
	bool follow_runs, check_runs;
};

struct state {
	struct lane_of_chain *lanes;
	size_t count;
};

static int make_endpoints(struct daemon_ctx *ctx, struct lane_of_chain *lane, const struct chain_config *settings)
{
	struct endpoint_options options[CONFIG_ENDPOINTS_MAX];
	bool verify = false, head = false;
	for (size_t i = 0; i < settings->endpoint_count; i++) {
		verify = verify || settings->endpoints[i].verify;
		head = head || settings->endpoints[i].head;
	}
	for (size_t i = 0; i < settings->endpoint_count; i++) {
		const struct endpoint_config *e = &settings->endpoints[i];
		options[i] = (struct endpoint_options){ .name = e->name,
							.url = e->url,
							.auth_header = e->auth_header,
							.weight = e->weight,
							.requests_per_second = e->requests_per_second,
							.max_concurrency = e->max_concurrency };
		/* Where no endpoint is meant for a role, all serve it. */
		options[i].roles = (e->head || !head ? ENDPOINT_HEAD : 0u) | (e->verify || !verify ? ENDPOINT_VERIFY : 0u) |
				   (e->backfill ? ENDPOINT_BACKFILL : 0u);
	}
	lane->endpoints = endpoints_new(settings->name, options, settings->endpoint_count, daemon_log(ctx), daemon_metrics(ctx));
	return 0;
}

static int open_lane(struct daemon_ctx *ctx, struct lane_of_chain *lane, const struct chain_config *settings, struct error *err)
{
	const struct config *config = daemon_config(ctx);
	int code = chain_init(&lane->chain, settings->name, settings->family, settings->profile, settings->chain_id, err);
	if (code)
		return code;
	lane->chain.start_height = settings->start_height;
	lane->identity.chain = &lane->chain;
	if (settings->genesis_hash && settings->genesis_hash[0]) {
		if (hex_to_bytes(settings->genesis_hash, strlen(settings->genesis_hash), lane->identity.genesis_hash, 32))
			return error_set(err, WEIR_CONFIG, "chain %s: genesis_hash is not 0x and 64 digits", settings->name);
		lane->identity.genesis_known = true;
	}
	make_endpoints(ctx, lane, settings);
	lane->mailbox = mailbox_new((size_t)config->reconciler.reconcile_queue);
	struct follow *f = &lane->follow;
	struct check *c = &lane->check;
	f->ctx = c->ctx = ctx;
	f->config = c->config = config;
	f->settings = c->settings = settings;
	f->chain = c->chain = &lane->chain;
	f->endpoints = c->endpoints = lane->endpoints;
	f->identity = c->identity = &lane->identity;
	f->mailbox = c->mailbox = lane->mailbox;
	code = follow_open(f, err);
	if (!code)
		code = check_open(c, err);
	/* The ledger knows its genesis block from an earlier life. */
	if (!code && f->ledger->genesis_known && !lane->identity.genesis_known) {
		memcpy(lane->identity.genesis_hash, f->ledger->genesis_hash, 32);
		lane->identity.genesis_known = true;
	}
	if (!code && f->ledger->genesis_known && memcmp(lane->identity.genesis_hash, f->ledger->genesis_hash, 32) != 0)
		code = error_set(err, WEIR_WRONG_CHAIN, "chain %s: genesis_hash in the settings is not the genesis block of the ledger", settings->name);
	return code;
}

static int check_redis(const struct config *config, struct daemon_ctx *ctx, struct error *err)
{
	struct bus *bus = NULL;
	struct bus_options o = { .url = config->bus.redis_url,
				 .username = config->bus.username,
				 .password = config->bus.password,
				 .command_timeout_ms = PREFLIGHT_MS,
				 .max_backlog = config->bus.max_backlog,
				 .max_memory_percent = config->bus.max_memory_percent,
				 .max_age_ms = config->bus.max_age_ms,
				 .worker = "reconciler-preflight",
				 .log = daemon_log(ctx) };
	int code = bus_open(&o, &bus, err);
	if (!code)
		code = bus_check(bus, err);
	bus_close(&bus);
	return code;
}

static int init(struct daemon_ctx *ctx, void *arg, struct error *err)
{
	struct state *state = arg;
	const struct config *config = daemon_config(ctx);
	const struct pg_options pg = { .url = config->postgres.url,
				       .application_name = "weir-reconciler-migrate",
				       .connect_timeout_ms = config->postgres.connect_timeout_ms < PREFLIGHT_MS ? config->postgres.connect_timeout_ms : PREFLIGHT_MS,
				       .statement_timeout_ms = config->postgres.statement_timeout_ms,
				       .log = daemon_log(ctx) };
	rpc_register_metrics(daemon_metrics(ctx));
	bus_register_metrics(daemon_metrics(ctx));
	int code = check_redis(config, ctx, err);
	daemon_check_set(ctx, "redis", code == 0, code ? err->text : "reached");
	if (!code) {
		code = ledger_migrate(&pg, err);
		daemon_check_set(ctx, "postgres", code == 0, code ? err->text : "reached");
	}
	if (!code && config->chain_count == 0)
		code = error_set(err, WEIR_CONFIG, "no chain is configured: add one to `chains` (--print-sample-config shows how)");
	if (code)
		return code;
	state->lanes = xcalloc(config->chain_count, sizeof *state->lanes);
	for (; !code && state->count < config->chain_count; state->count++)
		code = open_lane(ctx, &state->lanes[state->count], &config->chains[state->count], err);
	return code;
}

static bool stopping(void *ctx)
{
	return daemon_stopping(ctx);
}

static void *run_follow(void *arg)
{
	struct lane_of_chain *lane = arg;
	bus_set_stop(lane->follow.bus, stopping, lane->follow.ctx);
	while (!daemon_stopping(lane->follow.ctx)) {
		daemon_tick(lane->follow.ctx);
		follow_turn(&lane->follow);
	}
	return NULL;
}

static void *run_check(void *arg)
{
	struct lane_of_chain *lane = arg;
	while (!daemon_stopping(lane->check.ctx))
		check_turn(&lane->check);
	return NULL;
}

static int run(struct daemon_ctx *ctx, void *arg, struct error *err)
{
	struct state *state = arg;
	int code = 0;
	for (size_t i = 0; !code && i < state->count; i++) {
		struct lane_of_chain *lane = &state->lanes[i];
		lane->follow_runs = pthread_create(&lane->follow_thread, NULL, run_follow, lane) == 0;
		lane->check_runs = lane->follow_runs && pthread_create(&lane->check_thread, NULL, run_check, lane) == 0;
		if (!lane->check_runs) {
			code = error_set(err, WEIR_INTERNAL, "no thread could be started for chain %s", lane->chain.name);
			daemon_request_stop(ctx);
		}
	}
	for (size_t i = 0; i < state->count; i++) {
		struct lane_of_chain *lane = &state->lanes[i];
		if (lane->follow_runs)
			pthread_join(lane->follow_thread, NULL);
		if (lane->check_runs)
			pthread_join(lane->check_thread, NULL);
		follow_release(&lane->follow);
	}
	return code;
}

static void deinit(struct daemon_ctx *ctx, void *arg)
{
	struct state *state = arg;
	(void)ctx;
	for (size_t i = 0; i < state->count; i++) {
		struct lane_of_chain *lane = &state->lanes[i];
		if (lane->follow.ctx) {
			follow_close(&lane->follow);
			check_close(&lane->check);
		}
		endpoints_free(&lane->endpoints);
		mailbox_free(&lane->mailbox);
	}
	xfree(&state->lanes);
	state->count = 0;
}

const struct daemon reconciler_daemon = {
	.name = "reconciler",
	.summary = "owns the ledger: puts blocks in order, applies them, follows forks, compares balances with the chain",
	.metrics = reconciler_metrics,
	.asks_nodes = true,
	.state_size = sizeof(struct state),
	.init = init,
	.run = run,
	.deinit = deinit,
};

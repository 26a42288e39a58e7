/* reconciler.c - start: schema, endpoints, threads; and the way down again. */
#include "reconciler.h"

#include "check.h"
#include "follow.h"
#include "nodes.h"
#include "preflight.h"

struct lane_of_chain {
	struct nodes nodes;
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

static int open_lane(struct daemon_ctx *ctx, struct lane_of_chain *lane, const struct chain_config *settings, struct error *err)
{
	const struct config *config = daemon_config(ctx);
	int code = nodes_open(ctx, settings, &lane->nodes, err);
	if (code)
		return code;
	lane->mailbox = mailbox_new((size_t)config->reconciler.reconcile_queue);
	struct follow *f = &lane->follow;
	struct check *c = &lane->check;
	f->ctx = c->ctx = ctx;
	f->config = c->config = config;
	f->settings = c->settings = settings;
	f->chain = c->chain = &lane->nodes.chain;
	f->endpoints = c->endpoints = lane->nodes.endpoints;
	f->identity = c->identity = &lane->nodes.identity;
	f->mailbox = c->mailbox = lane->mailbox;
	code = follow_open(f, err);
	if (!code)
		code = check_open(c, err);
	return !code && f->ledger->genesis_known ? nodes_learn_genesis(&lane->nodes, f->ledger->genesis_hash, err) : code;
}

static int init(struct daemon_ctx *ctx, void *arg, struct error *err)
{
	struct state *state = arg;
	const struct config *config = daemon_config(ctx);
	rpc_register_metrics(daemon_metrics(ctx));
	bus_register_metrics(daemon_metrics(ctx));
	int code = preflight_redis(ctx, err);
	daemon_check_set(ctx, "redis", code == 0, code ? err->text : "reached");
	if (!code && config->chain_count == 0)
		code = error_set(err, WEIR_CONFIG, "no chain is configured: add one to `chains` (--print-sample-config shows how)");
	if (code || daemon_only_checks(ctx))
		return code;
	code = preflight_migrate(ctx, err);
	daemon_check_set(ctx, "postgres", code == 0, code ? err->text : "reached");
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
			code = error_set(err, WEIR_INTERNAL, "no thread could be started for chain %s", lane->nodes.chain.name);
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
		nodes_close(&lane->nodes);
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
	.check = preflight_check,
	.migrate = preflight_migrate,
	.run = run,
	.deinit = deinit,
};

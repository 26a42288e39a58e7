/* main.c - weir-gateway: the ledger over REST and WebSocket, and the operators' door. */
#include "gateway.h"

static int init(struct daemon_ctx *ctx, void *state, struct error *err)
{
	return gateway_open(state, ctx, err);
}

static int check(struct daemon_ctx *ctx, void *state, struct error *err)
{
	(void)ctx;
	return gateway_check(state, err);
}

static int run(struct daemon_ctx *ctx, void *state, struct error *err)
{
	(void)ctx;
	return gateway_run(state, err);
}

static void deinit(struct daemon_ctx *ctx, void *state)
{
	(void)ctx;
	gateway_close(state);
}

int main(int argc, char **argv)
{
	const struct daemon self = { .name = "gateway",
				     .summary = "serves the ledger over REST and WebSocket, and operators on a listener of their own",
				     .metrics = gateway_metrics,
				     .metric_count = gateway_metric_count,
				     .state_size = sizeof(struct gateway),
				     .init = init,
				     .check = check,
				     .run = run,
				     .deinit = deinit };
	return daemon_main(&self, argc, argv);
}

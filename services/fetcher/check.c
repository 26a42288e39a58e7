/* check.c - weir-fetcher --check: asks every endpoint who it is. */
#include "fetcher.h"

int fetcher_check(struct daemon_ctx *ctx, void *state, struct error *err)
{
	struct fetcher *fetcher = state;
	struct rpc_preflight *chains = xcalloc(fetcher->count, sizeof *chains);
	int code = 0;
	for (size_t i = 0; i < fetcher->count && code == 0; i++) {
		struct follower *f = &fetcher->followers[i];
		code = follower_open_rpc(f, err);
		chains[i] = (struct rpc_preflight){ .chain = f->chain.name, .log = &f->log, .endpoints = f->endpoints, .rpc = f->rpc };
	}
	if (code == 0)
		code = rpc_preflight(chains, fetcher->count, PREFLIGHT_MS, daemon_stop_fd(ctx), err);
	for (size_t i = 0; i < fetcher->count; i++) {
		rpc_close(&fetcher->followers[i].rpc);
		arena_free(&fetcher->followers[i].identity);
	}
	xfree(&chains);
	return code;
}

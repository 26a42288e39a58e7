/* gateway.h - the process: what main.c owns, and what handlers, feeds and hub share. */
#ifndef WEIR_GATEWAY_GATEWAY_H
#define WEIR_GATEWAY_GATEWAY_H

#include "chains/chain.h"
#include "daemon/daemon.h"
#include "store/pg.h"

#include <stdatomic.h>

struct control;
struct feed;
struct hub;
struct http;
struct replay;
struct gateway_metrics;

struct gateway_chain {
	struct chain chain;
	const struct chain_config *config;
	size_t index;
	_Atomic int32_t id; /* weir_api.chains.id; 0: the ledger has no such row yet */
	struct feed *feed;
};

struct gateway {
	struct daemon_ctx *ctx;
	const struct config *config;
	struct log log;
	struct metrics *metrics;
	struct gateway_chain *chains;
	size_t chain_count;
	struct pg_pool *pool;
	struct control *control;
	struct replay *replay;
	struct hub *hub;
	struct http *clients, *admins;
	int64_t started_ms;
};

/* The gateway without a process around it: tests run it like this. Everything in *gateway is made by open and freed by close. */
int gateway_open(struct gateway *, struct daemon_ctx *, struct error *);
int gateway_check(struct gateway *, struct error *); /* does Redis answer, and is it one that weir can use? */
int gateway_run(struct gateway *, struct error *); /* until the daemon stops */
void gateway_close(struct gateway *);

struct gateway_chain *gateway_find_chain(const struct gateway *, const char *name); /* NULL: not configured here */

extern const struct metric_def gateway_metrics[];
extern const size_t gateway_metric_count;

#endif

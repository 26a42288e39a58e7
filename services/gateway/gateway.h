/* gateway.h - the process: what main.c owns, and what handlers, feeds and hub share. */
#ifndef WEIR_GATEWAY_GATEWAY_H
#define WEIR_GATEWAY_GATEWAY_H

#include "http/client_address.h"

#include "chains/chain.h"
#include "daemon/daemon.h"
#include "store/pg.h"

#include <stdatomic.h>

struct control;
struct cors_origins;
struct cursor_keys;
struct exports;
struct feed;
struct files;
struct final_answers;
struct recent_answers;
struct hub;
struct issuer;
struct keyring;
struct openapi;
struct limits;
struct http;
struct registry;
struct reader;
struct shed_counts;
struct replay;
struct tls;
struct gateway_metrics;
struct watch;
struct watchlists;
struct webhooks;

struct gateway_chain {
	struct chain chain;
	const struct chain_config *config;
	size_t index;
	_Atomic int32_t id; /* weir_api.chains.id; 0: the ledger has no such row yet */
	struct feed *feed;
	_Atomic uint64_t sequence; /* of the journal: newest that the feed handed over; 0: none yet */
};

struct gateway {
	struct daemon_ctx *ctx;
	const struct config *config;
	struct log log;
	struct metrics *metrics;
	struct gateway_chain *chains;
	size_t chain_count;
	struct pg_pool *pool;
	struct final_answers *final; /* answers that stay as they are */
	struct recent_answers *recent; /* … and others, for a while */
	struct control *control;
	struct control *letter_control; /* of dead letters: a look at many takes a while, and holds up nobody else */
	struct cursor_keys *cursor_keys;
	struct reader *reader; /* NULL: workers read rows, too */
	struct shed_counts *shed;
	struct replay *replay, *letters; /* who reads the journal, and the dead letters, for subscriptions */
	struct hub *hub;
	struct limits *limits;
	struct keyring *keyring;
	struct issuer *issuer; /* NULL: tokens are not accepted */
	struct client_ranges trusted_proxies, limit_exempt;
	struct watch *watch;
	struct registry *registry;
	struct watchlists *watchlists;
	struct cors_origins *cors; /* pages of these may ask clients' routes */
	struct webhooks *webhooks;
	struct exports *exports; /* the ledger to Kafka */
	struct openapi *openapi;
	struct files *files; /* the dashboard; NULL: none */
	struct http *clients, *admins;
	struct tls *clients_tls, *admins_tls; /* NULL: that listener is plain */
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

/* gateway.c - opening, running and closing the parts, in the order that they need each other. */
#include "gateway.h"

#include "call/admit.h"
#include "call/call.h"
#include "control.h"
#include "call/cursor_keys.h"
#include "call/final.h"
#include "call/reader.h"
#include "call/recent.h"
#include "call/shed.h"
#include "call/negotiate.h"
#include "live/feed.h"
#include "call/files.h"
#include "http/http.h"
#include "http/tls.h"
#include "live/hub.h"
#include "identity/issuer.h"
#include "identity/keyring.h"
#include "call/limit.h"
#include "kafka/export.h"
#include "live/replay.h"
#include "registry.h"
#include "rest/openapi.h"
#include "watch.h"
#include "watchlist/watchlist.h"
#include "webhook/webhook.h"

#include "base/clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_THREADS 2
#define REPLAY_THREADS 2
#define REDIS_TRY_MS 2000

struct gateway_chain *gateway_find_chain(const struct gateway *gateway, const char *name)
{
	for (size_t i = 0; name && i < gateway->chain_count; i++)
		if (strcmp(gateway->chains[i].chain.name, name) == 0)
			return &gateway->chains[i];
	return NULL;
}

static int open_chains(struct gateway *gateway, struct error *err)
{
	gateway->chains = xcalloc(gateway->config->chain_count ? gateway->config->chain_count : 1, sizeof *gateway->chains);
	for (size_t i = 0; i < gateway->config->chain_count; i++) {
		const struct chain_config *config = &gateway->config->chains[i];
		struct gateway_chain *chain = &gateway->chains[i];
		int code = chain_init(&chain->chain, config->name, config->family, config->profile, config->chain_id, err);
		if (code)
			return code;
		chain->chain.start_height = config->start_height;
		chain->config = config;
		chain->index = i;
		gateway->chain_count++;
	}
	return 0;
}

/* PostgreSQL may be just starting: it is tried again for a while, which is as long as one that says nothing is waited for, too. */
static int reach_postgres(struct gateway *gateway, const struct pg_options *options, size_t size, struct error *err)
{
	const int64_t deadline = clock_mono_ms() + PREFLIGHT_MS;
	for (int64_t left_ms = PREFLIGHT_MS;;) {
		int code = pg_pool_open(options, size, left_ms, &gateway->pool, err);
		if (code != WEIR_UNAVAILABLE || daemon_stopping(gateway->ctx))
			return code;
		clock_sleep_ms(200);
		left_ms = deadline - clock_mono_ms();
		if (left_ms <= 0)
			return code;
	}
}

static int open_pool(struct gateway *gateway, struct error *err)
{
	const struct config *c = gateway->config;
	const struct pg_options options = { .url = c->postgres.reader_url && c->postgres.reader_url[0] ? c->postgres.reader_url : c->postgres.url,
					    .application_name = "weir-gateway",
					    .connect_timeout_ms = c->postgres.connect_timeout_ms,
					    .statement_timeout_ms = c->gateway.request_timeout_ms,
					    .session_sql = "set default_transaction_isolation = 'repeatable read'; set jit = off",
					    .log = &gateway->log };
	return reach_postgres(gateway, &options, (size_t)c->postgres.pool_size + REPLAY_THREADS + 2 + (*c->kafka.url ? gateway->chain_count : 0), err);
}

/* A ledger that is not there yet is waited for; one that this role may not read would be waited for in vain. */
static int check_ledger(struct gateway *gateway, struct error *err)
{
	struct pg_result *r = NULL;
	struct pg *pg = pg_pool_take(gateway->pool, PREFLIGHT_MS, err);
	int code = pg ? pg_query(pg, "select to_regclass('weir_api.chains') is not null", NULL, 0, &r, err) : err->code;
	bool exists = !code && pg_get_bool(r, 0, 0);
	pg_result_free(&r);
	if (exists)
		code = pg_query(pg, "select 1 from weir_api.chains limit 1", NULL, 0, NULL, err);
	pg_pool_give(gateway->pool, &pg);
	if (code == WEIR_PERMISSION)
		error_prefix(err, "the gateway's role may not read the ledger (grant weir_reader to it, or correct postgres.reader_url)");
	return code == WEIR_PERMISSION ? code : 0;
}

int gateway_check(struct gateway *gateway, struct error *err)
{
	const struct config *c = gateway->config;
	const struct bus_options options = { .url = c->bus.redis_url,
					     .username = c->bus.username,
					     .password = c->bus.password,
					     .command_timeout_ms = REDIS_TRY_MS,
					     .worker = "gateway-preflight",
					     .log = &gateway->log };
	struct bus *bus = NULL;
	int code = bus_open(&options, &bus, err);
	if (!code)
		code = bus_check(bus, err);
	bus_close(&bus);
	return code;
}

/* Without Redis the ledger is served all the same. What would not pass by waiting ends the start. */
static int check_redis(struct gateway *gateway, struct error *err)
{
	int code = gateway_check(gateway, err);
	if (!code || !error_retriable(code))
		return code;
	log_warn(&gateway->log, "redis_away", "the ledger is served without it; live events are read from PostgreSQL until it is back", LOG_ERR(err));
	return 0;
}

static void observe(const struct http_request *request, const struct http_response *response, double seconds, const struct gateway *gateway,
		    const struct match *match)
{
	char status[8];
	const char *path = match->route ? match->route->path : "none";
	snprintf(status, sizeof status, "%u", response->status);
	metric_inc(metrics_get(gateway->metrics, "weir_gateway_requests_total", path, request->method ? request->method : "?", status));
	metric_observe(metrics_get(gateway->metrics, "weir_gateway_request_seconds", path, NULL, NULL), seconds);
	log_debug(&gateway->log, "request", NULL, LOG_S("method", request->method ? request->method : "?"), LOG_S("path", request->target.path),
		  LOG_U("status", response->status), LOG_F("seconds", seconds), LOG_S("request_id", request->id), LOG_S("client", request->remote));
}

static void observe_client(const struct http_request *request, const struct http_response *response, double seconds, void *gateway)
{
	struct match match;
	route_find(client_routes, client_route_count, request->method ? request->method : "", &request->target, &match);
	observe(request, response, seconds, gateway, &match);
}

static void observe_admin(const struct http_request *request, const struct http_response *response, double seconds, void *gateway)
{
	struct match match = { 0 };
	if (request->method)
		call_admin_match(request, &match);
	observe(request, response, seconds, gateway, &match);
}

static int read_ranges(struct gateway *gateway, struct error *err)
{
	const struct config *c = gateway->config;
	int code = client_ranges_parse(c->gateway.trusted_proxies, &gateway->trusted_proxies, err);
	if (code)
		return error_prefix(err, "gateway.trusted_proxies");
	code = client_ranges_parse(c->gateway.limit_exempt, &gateway->limit_exempt, err);
	return code ? error_prefix(err, "gateway.limit_exempt") : 0;
}

/* Without a certificate the listener is plain. */
static int open_tls(struct gateway *gateway, struct tls_options options, struct tls **ret, struct error *err)
{
	options.metrics = gateway->metrics;
	options.log = &gateway->log;
	return *options.certificate ? tls_open(&options, ret, err) : 0;
}

static int open_both_tls(struct gateway *gateway, struct error *err)
{
	const struct config *c = gateway->config;
	const struct tls_options clients = { .setting = "gateway.tls", .certificate = c->gateway.tls.certificate, .key = c->gateway.tls.key, .client_ca = "" };
	const struct tls_options admins = { .setting = "gateway.admin_tls",
					    .certificate = c->gateway.admin_tls.certificate,
					    .key = c->gateway.admin_tls.key,
					    .client_ca = c->gateway.admin_tls.client_ca,
					    .client_required = strcmp(c->gateway.admin_tls.client_certificate, "required") == 0 };
	int code = open_tls(gateway, clients, &gateway->clients_tls, err);
	return code ? code : open_tls(gateway, admins, &gateway->admins_tls, err);
}

static int open_listeners(struct gateway *gateway, struct error *err)
{
	const struct config *c = gateway->config;
	struct http_options options = { .setting = "gateway.listen",
					.address = c->gateway.listen,
					.tls = gateway->clients_tls,
					.max_connections = c->gateway.max_connections + c->gateway.max_websockets,
					.connections_per_peer = c->gateway.http_per_address,
					.refused_peers = metrics_get(gateway->metrics, "weir_gateway_connections_refused_total", NULL, NULL, NULL),
					.max_body_bytes = c->gateway.max_body_bytes,
					.request_timeout_ms = c->gateway.request_timeout_ms,
					.threads = CLIENT_THREADS,
					.workers = (unsigned)c->postgres.pool_size + 8, /* some wait for the chain and hold no connection */
					.handler = call_client,
					.at_once = call_at_once,
					.refuse = call_refuse,
					.turns_away = shed_turns_away,
					.turned_away = shed_turned_away,
					.observe = observe_client,
					.trusted = &gateway->trusted_proxies,
					.exempt = &gateway->limit_exempt,
					.websocket_path = "/v1/ws",
					.websocket_admit = admit_websocket,
					.websocket_room = hub_has_room,
					.upgraded = hub_adopt,
					.arg = gateway,
					.log = &gateway->log };
	int code = http_open(&options, &gateway->clients, err);
	if (code)
		return code;
	options.setting = "gateway.admin_listen";
	options.address = c->gateway.admin_listen;
	options.tls = gateway->admins_tls;
	options.max_connections = 64;
	options.connections_per_peer = 0;
	options.threads = 1;
	options.workers = 4;
	options.handler = call_admin;
	options.at_once = NULL;
	options.turns_away = NULL;
	options.turned_away = NULL;
	options.observe = observe_admin;
	options.websocket_admit = admit_operator_websocket;
	options.upgraded = hub_adopt_operator;
	return http_open(&options, &gateway->admins, err);
}

int gateway_open(struct gateway *gateway, struct daemon_ctx *ctx, struct error *err)
{
	*gateway = (struct gateway){ .ctx = ctx, .config = daemon_config(ctx), .log = *daemon_log(ctx), .metrics = daemon_metrics(ctx) };
	gateway->started_ms = clock_mono_ms();
	if (gateway->metrics)
		bus_register_metrics(gateway->metrics);
	gateway->recent = recent_new((size_t)gateway->config->gateway.recent_answers_bytes, gateway->config->chain_count, gateway->metrics);
	gateway->final = final_new((size_t)gateway->config->gateway.final_answers_bytes, metrics_get(gateway->metrics, "weir_gateway_final_bytes", NULL, NULL, NULL),
				   metrics_get(gateway->metrics, "weir_gateway_final_total", NULL, NULL, NULL));
	gateway->shed = shed_counts_new(gateway->metrics);
	int code = read_ranges(gateway, err);
	if (!code)
		code = open_chains(gateway, err);
	if (!code)
		code = open_pool(gateway, err);
	if (!code)
		code = check_ledger(gateway, err);
	if (!code)
		code = check_redis(gateway, err);
	if (!code)
		code = control_open(gateway, &gateway->control, err);
	if (!code)
		code = control_open(gateway, &gateway->letter_control, err);
	if (!code)
		cursor_keys_open(gateway, &gateway->cursor_keys);
	if (!code)
		registry_open(gateway, &gateway->registry);
	if (!code)
		code = watch_open(gateway, &gateway->watch, err);
	if (!code)
		code = keyring_open(gateway, &gateway->keyring, err);
	if (!code)
		code = issuer_open(gateway, &gateway->issuer, err);
	if (!code)
		code = replay_open(gateway, REPLAY_THREADS, hub_replayed, gateway, &gateway->replay, err);
	if (!code)
		code = replay_open(gateway, 1, hub_replayed, gateway, &gateway->letters, err);
	if (!code)
		code = hub_open(gateway, &gateway->hub, err);
	if (!code)
		code = watchlists_open(gateway, hub_watched, gateway, &gateway->watchlists, err);
	for (size_t i = 0; !code && i < gateway->chain_count; i++)
		code = feed_open(gateway, &gateway->chains[i], &gateway->chains[i].feed, err);
	if (!code)
		code = limit_open(gateway, &gateway->limits, err);
	gateway->cors = xcalloc(1, sizeof *gateway->cors);
	if (!code)
		code = cors_parse(gateway->config->gateway.cors_origins, gateway->cors, err);
	if (!code)
		code = webhooks_open(gateway, &gateway->webhooks, err);
	if (!code)
		code = exports_open(gateway, &gateway->exports, err);
	if (!code)
		code = files_open(gateway->config->gateway.dashboard_dir, &gateway->files, err);
	gateway->openapi = openapi_new();
	if (!code)
		code = reader_open(gateway, &gateway->reader, err);
	if (!code)
		code = open_both_tls(gateway, err);
	if (!code)
		code = open_listeners(gateway, err);
	if (code)
		return code;
	log_info(&gateway->log, "listening", "clients and operators are served", LOG_S("clients", http_address(gateway->clients)),
		 LOG_S("operators", http_address(gateway->admins)), LOG_B("clients_tls", gateway->clients_tls != NULL),
		 LOG_B("operators_tls", gateway->admins_tls != NULL), LOG_U("dashboard_files", files_count(gateway->files)));
	return 0;
}

int gateway_run(struct gateway *gateway, struct error *err)
{
	(void)err;
	while (!daemon_stopping(gateway->ctx)) {
		struct pollfd fd = { .fd = daemon_stop_fd(gateway->ctx), .events = POLLIN };
		daemon_tick(gateway->ctx);
		metric_set(metrics_get(gateway->metrics, "weir_gateway_loop_lag_seconds", "clients", NULL, NULL), (double)http_lag(gateway->clients) / 1e3);
		metric_set(metrics_get(gateway->metrics, "weir_gateway_loop_lag_seconds", "operators", NULL, NULL), (double)http_lag(gateway->admins) / 1e3);
		watch_turn(gateway->watch);
		cursor_keys_turn(gateway->cursor_keys);
		registry_turn(gateway->registry);
		tls_turn(gateway->clients_tls);
		tls_turn(gateway->admins_tls);
		poll(&fd, 1, 1000);
	}
	return 0;
}

/* Requests in hand are answered, WebSockets told to go elsewhere; then what they used. */
void gateway_close(struct gateway *gateway)
{
	http_drain(gateway->clients);
	http_drain(gateway->admins);
	reader_stop(gateway->reader);
	registry_leave(gateway->registry);
	webhooks_stop(gateway->webhooks);
	exports_stop(gateway->exports);
	hub_stop(gateway->hub);
	watchlists_stop(gateway->watchlists);
	for (size_t i = 0; i < gateway->chain_count; i++)
		feed_close(&gateway->chains[i].feed);
	replay_close(&gateway->replay);
	replay_close(&gateway->letters);
	http_close(&gateway->clients);
	http_close(&gateway->admins);
	reader_close(&gateway->reader);
	tls_close(&gateway->clients_tls);
	tls_close(&gateway->admins_tls);
	hub_close(&gateway->hub);
	watchlists_close(&gateway->watchlists);
	webhooks_close(&gateway->webhooks);
	exports_close(&gateway->exports);
	watch_close(&gateway->watch);
	files_close(&gateway->files);
	openapi_free(&gateway->openapi);
	if (gateway->cors)
		cors_free(gateway->cors);
	xfree(&gateway->cors);
	cursor_keys_close(&gateway->cursor_keys);
	registry_close(&gateway->registry);
	limit_close(&gateway->limits);
	keyring_close(&gateway->keyring);
	issuer_close(&gateway->issuer);
	control_close(&gateway->letter_control);
	control_close(&gateway->control);
	pg_pool_close(&gateway->pool);
	final_free(&gateway->final);
	recent_free(&gateway->recent);
	xfree(&gateway->shed);
	xfree(&gateway->chains);
	gateway->chain_count = 0;
}

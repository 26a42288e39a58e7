/* config.h - the suite's settings: one YAML file for all four processes, environment over file, one table that makes the manual.
 *
 * docs/configuration.md is printed from the same table that parses (settings.c). Every setting has a type, default, range and
 * paragraph. An unknown key, a wrong type or a value out of range is an error naming file, line, column, key and the range.
 * Environment: WEIR_<PATH> with dots as '_' ("bus.redis_url" = WEIR_BUS_REDIS_URL); a value "file:/path" of a secret is read from
 * that file (a regular file, trailing white space cut, not empty). Lists (chains, endpoints, api keys) come from the file only; the
 * environment may override what an element of the file's list holds (WEIR_CHAINS_0_ENDPOINTS_0_URL, WEIR_GATEWAY_KEYS_0_KEY). Other
 * WEIR_ variables that name no setting are let be.
 * Loaded once into a const struct; two configurations can live in one process (tests do that). No globals.
 */
#ifndef WEIR_DAEMON_CONFIG_H
#define WEIR_DAEMON_CONFIG_H

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_CHAINS_MAX 32
#define CONFIG_ENDPOINTS_MAX 32
#define CONFIG_API_KEYS_MAX 64
#define CONFIG_DESTINATIONS_MAX 16

struct endpoint_config { /* chains[].endpoints[] */
	char *name;       /* short name for logs, metrics and certificates; default "e<index>" */
	char *url;        /* http(s)://… JSON-RPC */
	char *ws_url;     /* ws(s)://… for newHeads; empty: poll */
	bool head;        /* role: may tell the head (default true) */
	bool backfill;    /* role: may serve history (default true) */
	bool verify;      /* role: asked to confirm mismatches and balances (default true) */
	int64_t weight;   /* share of requests among equals, 1..1000, default 100 */
	int64_t requests_per_second; /* 0 = no limit */
	int64_t max_concurrency;     /* requests in flight, 1..256, default 8 */
	char *auth_header;           /* secret; whole header value for Authorization, or empty */
};

struct chain_config { /* chains[] */
	char *name;   /* "ethereum": the word used in streams, API and metrics; [a-z0-9-]{1,32} */
	char *family; /* "evm" */
	char *profile; /* row in the family's table of profiles: "ethereum", "dev", … */
	uint64_t chain_id;
	char *genesis_hash;     /* 0x… or empty: learnt at first start and kept in the ledger */
	uint64_t start_height;  /* first block of the ledger, default 0 */
	int64_t finality_depth; /* blocks below head that a `finalized` tag must at least have, default 0 */
	int64_t poll_interval_ms; /* head polling, 20..60000, default 1000 */
	int64_t request_timeout_ms; /* of one attempt to ask an endpoint, 100..600000, default 10000 */
	int64_t backfill_workers; /* parallel block downloads, 1..100, default 24 */
	int64_t window;           /* blocks that may be in flight beyond the watermark, 16..65536, default 512 */
	char *traces;             /* auto | trace_block | call_tracer | none */
	bool state_diff;          /* also fetch prestateTracer diff, default false */
	struct endpoint_config *endpoints;
	size_t endpoint_count;
};

struct api_key_config { /* gateway.keys[] */
	char *name;
	char *key; /* secret, >= 16 characters */
	char *role; /* viewer | operator | admin */
};

struct alert_destination_config { /* alerts.destinations[] */
	char *name;
	char *kind;     /* slack | webhook | email */
	char *url;      /* secret; of slack and webhook */
	char *to;       /* of email: addresses, apart by commas */
	char *severity; /* the least that is sent there: ticket | page */
};

struct config {
	struct {
		enum log_level level;
		enum log_format format;
	} log;
	struct { /* each process has its own: ops.listen.<process>; "127.0.0.1:0" picks a free port and logs it */
		char *fetcher, *normalizer, *reconciler, *gateway;
	} ops_listen;
	int64_t shutdown_timeout_ms; /* default 30000 */
	struct {
		char *redis_url; /* redis://host:port/db, rediss://…, unix:///path */
		char *username;
		char *password; /* secret */
		int64_t max_memory_percent; /* low messages are refused above this share of Redis' maxmemory, default 80 */
		int64_t max_age_ms;         /* publish is refused while a message has been unread for longer; 0: no such limit */
		int64_t max_backlog;        /* unread of a class and those above it before producers wait, default 20000 */
		int64_t retry_attempts, retry_base_ms, retry_max_ms; /* 3, 100, 30000 */
		int64_t lease_ms;                                    /* owner lease, default 5000 */
		int64_t wait_replicas, wait_ms;                      /* publishing waits for so many replicas; 0, 1000 */
	} bus;
	struct {
		char *url;        /* libpq conninfo or URI of the ledger's owner (reconciler) */
		char *reader_url; /* role that reads the views only (gateway); empty: url */
		int64_t pool_size; /* gateway readers, 1..200, default 8 */
		int64_t connect_timeout_ms, statement_timeout_ms;
	} postgres;
	struct {
		int64_t workers; /* threads, 1..100, default 1 */
		int64_t batch;   /* messages a turn */
		int64_t max_block_bytes; /* decoded size of one block's answers, default 256 MiB */
	} normalizer;
	struct {
		int64_t batch_blocks, batch_entries; /* one transaction holds at most so many; 256 and 40000 */
		int64_t reorder_window;              /* blocks held out of order, default 2048 */
		int64_t balance_cache;               /* hot balances kept in memory, default 65536 */
		int64_t missing_after_ms;            /* a block missing so long becomes a gap and is fetched again, default 3000 */
		int64_t reconcile_concurrency;       /* balance questions in flight, default 8 */
		int64_t sweep_per_second;            /* untouched balances asked per second, default 50 */
		int64_t reconcile_queue;             /* accounts waiting; beyond it they are skipped and counted, default 65536 */
	} reconciler;
	struct {
		char *listen;       /* clients, default 127.0.0.1:8080 */
		char *admin_listen; /* operators, default 127.0.0.1:8081 */
		struct tls_config {
			char *certificate, *key; /* paths; empty: plain HTTP */
			char *client_ca;         /* path; empty: clients show no certificates. Of admin_tls */
			char *client_certificate; /* required | optional */
		} tls, admin_tls;
		int64_t max_connections, max_body_bytes, request_timeout_ms;
		int64_t max_websockets, max_replays, websocket_queue_bytes, final_answers_bytes;
		int64_t address_limit, key_limit; /* units of cost per minute; 0: no limit */
		int64_t http_per_address; /* connections at a time; 0: no limit */
		int64_t connections_per_address, connections_per_key; /* held at a time; 0: no limit */
		int64_t drain_ms, recent_answers_bytes;
		int64_t watchlists_per_owner, watchlist_addresses, watchlist_memory_bytes;
		bool connections_oldest; /* one too many ends the oldest, else it is refused */
		char *limit_exempt;    /* address ranges that no limit counts for */
		char *trusted_proxies; /* address ranges whose X-Forwarded-For counts */
		int64_t shed_after_ms; /* requests without a key that would wait so long are refused; 0: never */
		bool anonymous;    /* clients without a key may read */
		int64_t authenticate_within_ms; /* else: how long a WebSocket has to show credentials */
		char *key_pepper;  /* secret; with it keys of the database are hashed */
		char *session_secret; /* secret; empty: nobody signs in by name */
		char *jwt_issuer, *jwt_audience; /* issuer empty: no tokens are accepted */
		char *jwt_keys;                  /* path or URL of a JWK Set */
		char *jwt_secret, *jwt_secret_previous; /* secrets */
		char *jwt_scope_prefix;
		int64_t jwt_skew_ms, jwt_refresh_ms;
		char *dashboard_dir; /* static files served on the admin listener; empty: beside the program, "none": none */
		char *cors_origins; /* origins whose pages may ask the clients' listener */
		char *cursor_key, *cursor_key_previous; /* secrets that sign cursors; empty: made by gateways and shared through Redis */
		struct api_key_config *keys;
		size_t key_count;
	} gateway;
	struct { /* what receivers elsewhere are told of the ledger: see services/gateway/webhook/webhook.h */
		char *encryption_key; /* secret; empty: there are no webhooks */
		char *ports, *retry_schedule, *ca_file;
		bool allow_loopback;
		int64_t timeout_ms, breaker_failures, probe_interval_ms, max_in_flight, retention_ms;
	} webhooks;
	struct { /* the ledger to Kafka: see services/gateway/kafka/export.h */
		char *url; /* empty: nothing is sent */
		char *username;
		char *password; /* secret */
		char *start;    /* beginning | now */
	} kafka;
	struct {
		char *webhook_url; /* secret; a Slack-compatible destination for everything; empty: none */
		int64_t cooldown_ms, group_wait_ms;
		char *runbook_url; /* the pages of docs/runbook, as people reach them; empty: by file name */
		char *smtp_url, *smtp_username, *smtp_password, *smtp_from, *smtp_tls;
		struct alert_destination_config *destinations;
		size_t destination_count;
	} alerts;
	struct { /* tracing, docs/tracing.md */
		char *endpoint;      /* OTLP/HTTP collector; empty: off */
		int64_t per_million; /* of the blocks whose trace is recorded, default all */
		char *service_name;  /* processes are told as <name>-fetcher, …, default "weir" */
	} otel;
	struct chain_config *chains;
	size_t chain_count;
};

/* Reads path (NULL: environment only), applies the environment, checks everything. On failure *err names file, line, column, key
 * and what is allowed, *ret stays NULL. The caller owns *ret: config_free. */
int config_load(const char *path, struct config **ret, struct error *err);
int config_parse(const char *yaml, size_t size, const char *name, struct config **ret, struct error *err); /* no environment: tests, fuzzing. At most 1 MiB: WEIR_LIMIT */
void config_free(struct config **);
void config_print_markdown(struct buf *out); /* docs/configuration.md */
void config_print_sample(struct buf *out);   /* a commented weir.yaml with every default */

/* Every setting as it is in force, in the order of the manual; lists by index ("chains[0].name"). A secret is "(set)" or empty; of a URL
 * only scheme and host are told. */
struct config_shown {
	const char *path, *value, *initial, *text;
	bool secret;
};
typedef void config_show_fn(const struct config_shown *, void *arg);
void config_show(const struct config *, config_show_fn *, void *arg);

#endif

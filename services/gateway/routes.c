/* routes.c - the two tables of routes. A test compares them with openapi.json. */
#include "admin/admin.h"

#include "bus/weights.h"
#include "weir/streams.h"

#define HEIGHT_MAX (INT64_MAX / 2)
#define TIME_MAX 253402300799 /* the year 9999 */
#define KIND { "kind", PARAMETER_TEXT, 1, 32, false }
#define RANGE                                                           \
	{ "from", PARAMETER_INT, 0, HEIGHT_MAX, false },                \
	{ "to", PARAMETER_INT, 0, HEIGHT_MAX, false },                  \
	{ "since", PARAMETER_INT, 0, TIME_MAX, false },                 \
	{ "until", PARAMETER_INT, 0, TIME_MAX, false }
#define PAGE                                                            \
	{ "cursor", PARAMETER_TEXT, 1, 400, false },                    \
	{ "limit", PARAMETER_INT, 1, LIMIT_MAX, false }

/* A row that says no cost costs 1. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define SUBSCRIPTION_OF_ONE                                             \
	{ "topic", PARAMETER_TEXT, 1, 32, true },                       \
	{ "chain", PARAMETER_TEXT, 1, 32, true },                       \
	{ "account", PARAMETER_TEXT, 1, 80, false },                    \
	{ "asset", PARAMETER_TEXT, 1, 160, false },                     \
	KIND,                                                           \
	{ "watchlist", PARAMETER_TEXT, 1, 18, false },                  \
	{ "offset", PARAMETER_TEXT, 1, 99, false },                     \
	{ "height", PARAMETER_INT, 0, HEIGHT_MAX, false },              \
	{ "hash", PARAMETER_TEXT, 66, 66, false },                     \
	{ "snapshot", PARAMETER_BOOL, 0, 0, false },                    \
	{ "finality", PARAMETER_BOOL, 0, 0, false }

const struct route client_routes[] = {
	{ "GET", "/openapi.json", ROLE_NONE, rest_openapi, { { 0 } } },
	{ "GET", "/asyncapi.json", ROLE_NONE, rest_asyncapi, { { 0 } } },
	{ "GET", "/v1/chains", ROLE_NONE, rest_chains, { { 0 } } },
	{ "GET", "/v1/chains/{chain}", ROLE_NONE, rest_chain, { { 0 } } },
	{ "GET", "/v1/chains/{chain}/blocks", ROLE_NONE, rest_blocks, { RANGE, PAGE } },
	{ "GET", "/v1/chains/{chain}/blocks/{block}", ROLE_NONE, rest_block, { { 0 } }, .row = &rest_block_row },
	{ "GET", "/v1/chains/{chain}/blocks/{block}/certificate", ROLE_NONE, rest_certificate, { { 0 } } },
	{ "GET", "/v1/chains/{chain}/blocks/{block}/entries", ROLE_NONE, rest_block_entries,
	  { KIND, { "asset", PARAMETER_TEXT, 1, 160, false }, { "account", PARAMETER_TEXT, 1, 80, false }, PAGE }, .cost = 2 },
	{ "GET", "/v1/chains/{chain}/entries", ROLE_NONE, rest_entries, { { "asset", PARAMETER_TEXT, 1, 160, false }, KIND, RANGE, PAGE }, .cost = 10 },
	{ "GET", "/v1/chains/{chain}/transactions/{hash}", ROLE_NONE, rest_transaction, { { 0 } }, .row = &rest_transaction_row },
	{ "GET", "/v1/chains/{chain}/accounts/{account}/balances", ROLE_NONE, rest_balances, { { "height", PARAMETER_INT, 0, HEIGHT_MAX, false } }, .cost = 5 },
	{ "GET", "/v1/chains/{chain}/accounts/{account}/entries", ROLE_NONE, rest_account_entries,
	  { { "asset", PARAMETER_TEXT, 1, 160, false }, KIND, RANGE, PAGE }, .cost = 2 },
	{ "GET", "/v1/chains/{chain}/statistics", ROLE_NONE, rest_statistics, { { "blocks", PARAMETER_INT, 1, 10000, false } }, .cost = 5 },
	{ "GET", "/v1/chains/{chain}/statistics/history", ROLE_NONE, rest_statistics_history, { { "step", PARAMETER_TEXT, 1, 8, false }, RANGE }, .cost = 20 },
	{ "GET", "/v1/chains/{chain}/accounts/{account}/statistics", ROLE_NONE, rest_account_statistics, { { "asset", PARAMETER_TEXT, 1, 160, false }, RANGE }, .cost = 20 },
	{ "GET", "/v1/chains/{chain}/assets/{asset}/statistics", ROLE_NONE, rest_asset_statistics,
	  { { "blocks", PARAMETER_INT, 1, 1000, false }, { "top", PARAMETER_INT, 0, 100, false } }, .cost = 20 },
	{ "POST", "/v1/batch", ROLE_NONE, rest_batch, { { "paths", PARAMETER_TEXTS, 0, 20, true } } },
	{ "GET", "/v1/chains/{chain}/assets/{asset}", ROLE_NONE, rest_asset, { { 0 } }, .row = &rest_asset_row },
	{ "GET", "/v1/stream", ROLE_NONE, rest_stream, { SUBSCRIPTION_OF_ONE, { "laggard", PARAMETER_TEXT, 1, 16, false } }, .streams = true },
	{ "GET", "/v1/poll", ROLE_NONE, rest_poll,
	  { SUBSCRIPTION_OF_ONE, { "wait", PARAMETER_INT, 0, 60, false }, { "limit", PARAMETER_INT, 1, LIMIT_MAX, false } }, .streams = true },
	{ "GET", "/v1/watchlists", ROLE_NONE, rest_watchlists, { PAGE }, .watches = true },
	{ "POST", "/v1/watchlists", ROLE_NONE, rest_watchlist_make,
	  { { "chain", PARAMETER_TEXT, 1, 32, true }, { "name", PARAMETER_TEXT, 1, 100, true } }, .watches = true },
	{ "GET", "/v1/watchlists/{watchlist}", ROLE_NONE, rest_watchlist, { { 0 } }, .watches = true },
	{ "POST", "/v1/watchlists/{watchlist}/rename", ROLE_NONE, rest_watchlist_rename, { { "name", PARAMETER_TEXT, 1, 100, true } }, .watches = true },
	{ "POST", "/v1/watchlists/{watchlist}/delete", ROLE_NONE, rest_watchlist_delete, { { 0 } }, .watches = true },
	{ "GET", "/v1/watchlists/{watchlist}/addresses", ROLE_NONE, rest_watchlist_addresses, { PAGE }, .watches = true },
	{ "POST", "/v1/watchlists/{watchlist}/addresses", ROLE_NONE, rest_watchlist_add,
	  { { "addresses", PARAMETER_TEXTS, 1, 10000, true }, { "always", PARAMETER_BOOL, 0, 0, false } }, .cost = 10, .watches = true, .lines = true },
	{ "POST", "/v1/watchlists/{watchlist}/addresses/remove", ROLE_NONE, rest_watchlist_remove,
	  { { "addresses", PARAMETER_TEXTS, 1, 10000, true } }, .cost = 10, .watches = true, .lines = true },
};
const size_t client_route_count = sizeof client_routes / sizeof client_routes[0];

#define CHAIN { "chain", PARAMETER_TEXT, 1, 32, false }
#define SUBSCRIPTION(required) { "subscription", PARAMETER_TEXT, 1, 32, required }
#define WHY(required) { "why", PARAMETER_TEXT, 1, 200, required }
#define IDS { "ids", PARAMETER_TEXTS, 0, 10000, false }
#define TEXT_MAX (64 << 20) /* gateway.max_body comes first */
#define LETTERS                                                         \
	{ "type", PARAMETER_TEXT, 1, 64, false },                       \
	{ "reason", PARAMETER_TEXT, 1, 64, false },                     \
	{ "error_class", PARAMETER_TEXT, 1, 16, false },                \
	{ "key", PARAMETER_TEXT, 1, 128, false },                       \
	{ "kind", PARAMETER_TEXT, 1, 16, false },                       \
	{ "from", PARAMETER_TEXT, 1, 40, false },                       \
	{ "to", PARAMETER_TEXT, 1, 40, false }
#define PATTERN { "pattern", PARAMETER_TEXT, 1, 200, false }
#define REASON(least, required) { "reason", PARAMETER_TEXT, least, 200, required }
#define WEBHOOK_SECRET                                                  \
	{ "secret", PARAMETER_TEXT, 1, 100, false },                    \
	{ "algorithm", PARAMETER_TEXT, 1, 8, false }

const struct route admin_routes[] = {
	{ "GET", "/admin/v1/session", ROLE_VIEWER, admin_session, { { 0 } } },
	{ "GET", "/admin/v1/status", ROLE_VIEWER, admin_status, { { 0 } } },
	{ "GET", "/admin/v1/dlq", ROLE_VIEWER, admin_dlq_list,
	  { CHAIN, SUBSCRIPTION(false), LETTERS, PATTERN, PAGE } },
	{ "GET", "/admin/v1/dlq/counts", ROLE_VIEWER, admin_dlq_counts, { CHAIN, SUBSCRIPTION(false) } },
	{ "GET", "/admin/v1/dlq/groups", ROLE_VIEWER, admin_dlq_groups, { CHAIN, SUBSCRIPTION(false), LETTERS } },
	{ "GET", "/admin/v1/dlq/export", ROLE_OPERATOR, admin_dlq_export, { CHAIN, SUBSCRIPTION(true), LETTERS, PAGE } },
	{ "POST", "/admin/v1/dlq/import", ROLE_ADMIN, admin_dlq_import, { CHAIN, SUBSCRIPTION(true), { "lines", PARAMETER_TEXT, 1, TEXT_MAX, true } } },
	{ "GET", "/admin/v1/dlq/jobs", ROLE_VIEWER, admin_dlq_jobs, { CHAIN, SUBSCRIPTION(false) } },
	{ "POST", "/admin/v1/dlq/jobs", ROLE_OPERATOR, admin_dlq_job_start,
	  { CHAIN, SUBSCRIPTION(true), IDS, LETTERS, PATTERN, { "dry_run", PARAMETER_BOOL, 0, 0, false }, { "rate", PARAMETER_INT, 0, 1000000, false },
	    { "burst", PARAMETER_INT, 0, 1000000, false }, { "concurrency", PARAMETER_INT, 0, 100000, false },
	    { "stop_percent", PARAMETER_INT, 0, 101, false }, WHY(false) } },
	{ "GET", "/admin/v1/dlq/jobs/{id}", ROLE_VIEWER, admin_dlq_job, { CHAIN } },
	{ "POST", "/admin/v1/dlq/jobs/{id}/pause", ROLE_OPERATOR, admin_dlq_job_pause, { CHAIN, WHY(false) } },
	{ "POST", "/admin/v1/dlq/jobs/{id}/resume", ROLE_OPERATOR, admin_dlq_job_resume, { CHAIN, WHY(false) } },
	{ "POST", "/admin/v1/dlq/jobs/{id}/cancel", ROLE_OPERATOR, admin_dlq_job_cancel, { CHAIN, WHY(false) } },
	{ "GET", "/admin/v1/dlq/{subscription}/{id}", ROLE_VIEWER, admin_dlq_show, { CHAIN } },
	{ "GET", "/admin/v1/dlq/{subscription}/{id}/payload", ROLE_VIEWER, admin_dlq_payload, { CHAIN, { "whole", PARAMETER_BOOL, 0, 0, false } } },
	{ "POST", "/admin/v1/dlq/{subscription}/{id}/edit", ROLE_ADMIN, admin_dlq_edit,
	  { CHAIN, { "body", PARAMETER_TEXT, 0, TEXT_MAX, true }, { "frame_sha256", PARAMETER_TEXT, 64, 64, false }, WHY(true) } },
	{ "POST", "/admin/v1/dlq/{subscription}/{id}/skip", ROLE_ADMIN, admin_dlq_skip, { CHAIN, WHY(true) } },
	{ "POST", "/admin/v1/dlq/replay", ROLE_OPERATOR, admin_dlq_replay, { CHAIN, SUBSCRIPTION(true), IDS, LETTERS, PATTERN } },
	{ "POST", "/admin/v1/dlq/purge", ROLE_ADMIN, admin_dlq_purge,
	  { CHAIN, SUBSCRIPTION(true), IDS, LETTERS, PATTERN, { "all", PARAMETER_BOOL, 0, 0, false }, WHY(true) } },
	{ "GET", "/admin/v1/audit", ROLE_VIEWER, admin_audit_list, { CHAIN, PAGE } },
	{ "GET", "/admin/v1/audit/verify", ROLE_VIEWER, admin_audit_verify,
	  { CHAIN, { "number", PARAMETER_INT, 1, INT64_MAX, false }, { "hash", PARAMETER_TEXT, 64, 64, false } } },
	{ "GET", "/admin/v1/statistics", ROLE_VIEWER, admin_statistics, { CHAIN, SUBSCRIPTION(false) } },
	{ "GET", "/admin/v1/weights", ROLE_VIEWER, admin_weights, { CHAIN, SUBSCRIPTION(false) } },
	{ "POST", "/admin/v1/weights", ROLE_ADMIN, admin_weights_set,
	  { CHAIN, { "topic", PARAMETER_TEXT, 1, 32, true }, SUBSCRIPTION(true), { CLASS_CRITICAL, PARAMETER_INT, 1, BUS_WEIGHT_MAX, false },
	    { CLASS_HIGH, PARAMETER_INT, 1, BUS_WEIGHT_MAX, false }, { CLASS_NORMAL, PARAMETER_INT, 1, BUS_WEIGHT_MAX, false },
	    { CLASS_LOW, PARAMETER_INT, 1, BUS_WEIGHT_MAX, false }, { "age_ms", PARAMETER_INT, 0, 86400000, false } } },
	{ "POST", "/admin/v1/chains/{chain}/refetch", ROLE_OPERATOR, admin_refetch,
	  { { "from_height", PARAMETER_INT, 0, HEIGHT_MAX, true }, { "to_height", PARAMETER_INT, 0, HEIGHT_MAX, false }, { "hash", PARAMETER_TEXT, 66, 66, false },
	    REASON(0, false) } },
	{ "POST", "/admin/v1/chains/{chain}/pause", ROLE_OPERATOR, admin_pause, { REASON(0, false) } },
	{ "POST", "/admin/v1/chains/{chain}/resume", ROLE_OPERATOR, admin_resume, { { 0 } } },
	{ "POST", "/admin/v1/chains/{chain}/reconcile", ROLE_OPERATOR, admin_reconcile,
	  { { "account", PARAMETER_TEXT, 1, 80, false }, { "asset", PARAMETER_TEXT, 1, 160, false } } },
	{ "POST", "/admin/v1/chains/{chain}/rewind", ROLE_ADMIN, admin_rewind, { { "to_height", PARAMETER_INT, 0, HEIGHT_MAX, true }, REASON(1, true) } },
	{ "POST", "/admin/v1/chains/{chain}/kafka/restart", ROLE_ADMIN, admin_kafka_restart, { { "from_height", PARAMETER_INT, 0, HEIGHT_MAX, false }, WHY(true) } },
	{ "GET", "/admin/v1/chains/{chain}/proof", ROLE_VIEWER, admin_proof, { { 0 } } },
	{ "GET", "/admin/v1/alerts", ROLE_VIEWER, admin_alerts, { { 0 } } },
	{ "POST", "/admin/v1/alerts/test", ROLE_OPERATOR, admin_alert_test, { { "destination", PARAMETER_TEXT, 1, 64, false } } },
	{ "POST", "/admin/v1/alerts/silences", ROLE_OPERATOR, admin_alert_silence,
	  { { "pattern", PARAMETER_TEXT, 1, 159, true }, { "seconds", PARAMETER_INT, 1, 2592000, true }, WHY(true) } },
	{ "POST", "/admin/v1/alerts/silences/{id}/end", ROLE_OPERATOR, admin_alert_unsilence, { WHY(false) } },
	{ "GET", "/admin/v1/webhooks", ROLE_VIEWER, admin_webhooks_list, { PAGE } },
	{ "POST", "/admin/v1/webhooks", ROLE_ADMIN, admin_webhook_add,
	  { { "url", PARAMETER_TEXT, 1, 2048, true }, CHAIN, { "topic", PARAMETER_TEXT, 1, 32, true }, { "account", PARAMETER_TEXT, 1, 80, false },
	    { "asset", PARAMETER_TEXT, 1, 160, false }, KIND, { "watchlist", PARAMETER_TEXT, 1, 18, false }, { "description", PARAMETER_TEXT, 0, 200, false }, WEBHOOK_SECRET,
	    { "from_height", PARAMETER_INT, 0, HEIGHT_MAX, false } }, .secret = true },
	{ "GET", "/admin/v1/webhooks/{id}", ROLE_VIEWER, admin_webhook_show, { { 0 } } },
	{ "POST", "/admin/v1/webhooks/{id}/enable", ROLE_OPERATOR, admin_webhook_enable, { { "from_height", PARAMETER_INT, 0, HEIGHT_MAX, false }, WHY(false) } },
	{ "POST", "/admin/v1/webhooks/{id}/disable", ROLE_OPERATOR, admin_webhook_disable, { WHY(true) } },
	{ "POST", "/admin/v1/webhooks/{id}/remove", ROLE_ADMIN, admin_webhook_remove, { WHY(true) } },
	{ "POST", "/admin/v1/webhooks/{id}/rotate", ROLE_ADMIN, admin_webhook_rotate,
	  { WEBHOOK_SECRET, { "overlap_seconds", PARAMETER_INT, 0, 604800, false }, WHY(false) }, .secret = true },
	{ "POST", "/admin/v1/webhooks/{id}/test", ROLE_OPERATOR, admin_webhook_test, { { 0 } } },
	{ "POST", "/admin/v1/webhooks/{id}/replay", ROLE_OPERATOR, admin_webhook_replay,
	  { IDS, { "state", PARAMETER_TEXT, 1, 16, false }, { "type", PARAMETER_TEXT, 1, 32, false }, { "account", PARAMETER_TEXT, 1, 80, false },
	    { "from_sequence", PARAMETER_INT, 0, INT64_MAX, false }, { "to_sequence", PARAMETER_INT, 0, INT64_MAX, false },
	    { "since", PARAMETER_TEXT, 1, 40, false }, { "until", PARAMETER_TEXT, 1, 40, false },
	    { "all", PARAMETER_BOOL, 0, 0, false }, { "dry_run", PARAMETER_BOOL, 0, 0, false }, WHY(false) } },
	{ "GET", "/admin/v1/webhooks/{id}/deliveries", ROLE_VIEWER, admin_webhook_deliveries,
	  { { "state", PARAMETER_TEXT, 1, 16, false }, { "type", PARAMETER_TEXT, 1, 32, false }, PAGE } },
	{ "GET", "/admin/v1/webhooks/{id}/deliveries/{delivery}", ROLE_VIEWER, admin_webhook_delivery, { { 0 } } },
	{ "GET", "/admin/v1/connections", ROLE_VIEWER, admin_connections, { { "find", PARAMETER_TEXT, 1, 200, false }, PAGE } },
	{ "GET", "/admin/v1/watchlists", ROLE_VIEWER, admin_watchlists, { { "limit", PARAMETER_INT, 1, LIMIT_MAX, false } } },
	{ "POST", "/admin/v1/login", ROLE_NONE, admin_login,
	  { { "user", PARAMETER_TEXT, 1, 64, true }, { "password", PARAMETER_TEXT, 1, 256, true }, { "cookie", PARAMETER_BOOL, 0, 0, false } }, .open = true, .secret = true },
	{ "POST", "/admin/v1/refresh", ROLE_NONE, admin_refresh, { { "refresh_token", PARAMETER_TEXT, 1, 160, false } }, .open = true, .secret = true },
	{ "POST", "/admin/v1/logout", ROLE_NONE, admin_logout, { { "refresh_token", PARAMETER_TEXT, 1, 160, false } }, .open = true, .secret = true },
	{ "GET", "/admin/v1/users", ROLE_ADMIN, admin_users, { PAGE } },
	{ "POST", "/admin/v1/users", ROLE_ADMIN, admin_user_make,
	  { { "name", PARAMETER_TEXT, 1, 64, true }, { "role", PARAMETER_TEXT, 1, 16, true }, { "password", PARAMETER_TEXT, 12, 256, true } }, .secret = true },
	{ "POST", "/admin/v1/users/{name}/password", ROLE_ADMIN, admin_user_password, { { "password", PARAMETER_TEXT, 12, 256, true } }, .secret = true },
	{ "POST", "/admin/v1/users/{name}/role", ROLE_ADMIN, admin_user_role, { { "role", PARAMETER_TEXT, 1, 16, true } } },
	{ "POST", "/admin/v1/users/{name}/disable", ROLE_ADMIN, admin_user_disable, { WHY(true) } },
	{ "GET", "/admin/v1/keys", ROLE_ADMIN, admin_keys, { { "revoked", PARAMETER_BOOL, 0, 0, false }, PAGE } },
	{ "POST", "/admin/v1/keys", ROLE_ADMIN, admin_key_make,
	  { { "name", PARAMETER_TEXT, 1, 64, true }, { "scopes", PARAMETER_TEXTS, 0, 5, true }, { "addresses", PARAMETER_TEXT, 0, 1000, false },
	    { "expires_in", PARAMETER_INT, 1, 315360000, false } }, .secret = true },
	{ "POST", "/admin/v1/keys/{id}/revoke", ROLE_ADMIN, admin_key_revoke, { WHY(true) } },
	{ "GET", "/admin/v1/tokens/revoked", ROLE_ADMIN, admin_tokens_revoked, { PAGE } },
	{ "POST", "/admin/v1/tokens/revoked", ROLE_ADMIN, admin_token_revoke,
	  { { "jti", PARAMETER_TEXT, 1, 512, false }, { "subject", PARAMETER_TEXT, 1, 96, false }, { "expires_in", PARAMETER_INT, 1, 31622400, true }, WHY(true) } },
	{ "GET", "/admin/v1/settings", ROLE_VIEWER, admin_settings, { { 0 } } },
	{ "GET", "/admin/v1/gaps", ROLE_VIEWER, admin_gaps, { CHAIN, { "open", PARAMETER_BOOL, 0, 0, false }, PAGE } },
	{ "GET", "/admin/v1/incidents", ROLE_VIEWER, admin_incidents, { CHAIN, { "open", PARAMETER_BOOL, 0, 0, false }, PAGE } },
};
const size_t admin_route_count = sizeof admin_routes / sizeof admin_routes[0];

/* routes.c - the two tables of routes. A test compares them with openapi.json. */
#include "admin.h"

#define HEIGHT_MAX (INT64_MAX / 2)
#define PAGE                                                            \
	{ "cursor", PARAMETER_TEXT, 1, 400, false },                    \
	{ "limit", PARAMETER_INT, 1, LIMIT_MAX, false }

const struct route client_routes[] = {
	{ "GET", "/openapi.json", ROLE_NONE, rest_openapi, { { 0 } } },
	{ "GET", "/v1/chains", ROLE_NONE, rest_chains, { { 0 } } },
	{ "GET", "/v1/chains/{chain}", ROLE_NONE, rest_chain, { { 0 } } },
	{ "GET", "/v1/chains/{chain}/blocks", ROLE_NONE, rest_blocks, { PAGE } },
	{ "GET", "/v1/chains/{chain}/blocks/{block}", ROLE_NONE, rest_block, { { 0 } } },
	{ "GET", "/v1/chains/{chain}/blocks/{block}/certificate", ROLE_NONE, rest_certificate, { { 0 } } },
	{ "GET", "/v1/chains/{chain}/blocks/{block}/entries", ROLE_NONE, rest_block_entries, { PAGE } },
	{ "GET", "/v1/chains/{chain}/transactions/{hash}", ROLE_NONE, rest_transaction, { { 0 } } },
	{ "GET", "/v1/chains/{chain}/accounts/{account}/balances", ROLE_NONE, rest_balances, { { "height", PARAMETER_INT, 0, HEIGHT_MAX, false } } },
	{ "GET", "/v1/chains/{chain}/accounts/{account}/entries", ROLE_NONE, rest_account_entries,
	  { { "asset", PARAMETER_TEXT, 1, 160, false }, { "from", PARAMETER_INT, 0, HEIGHT_MAX, false }, { "to", PARAMETER_INT, 0, HEIGHT_MAX, false }, PAGE } },
	{ "GET", "/v1/chains/{chain}/assets/{asset}", ROLE_NONE, rest_asset, { { 0 } } },
};
const size_t client_route_count = sizeof client_routes / sizeof client_routes[0];

#define CHAIN { "chain", PARAMETER_TEXT, 1, 32, false }
#define REASON(least, required) { "reason", PARAMETER_TEXT, least, 200, required }

const struct route admin_routes[] = {
	{ "GET", "/admin/v1/status", ROLE_VIEWER, admin_status, { { 0 } } },
	{ "GET", "/admin/v1/dlq", ROLE_VIEWER, admin_dlq_list,
	  { CHAIN, { "subscription", PARAMETER_TEXT, 1, 32, false }, { "type", PARAMETER_TEXT, 1, 64, false }, { "reason", PARAMETER_TEXT, 1, 64, false },
	    { "key", PARAMETER_TEXT, 1, 128, false }, PAGE } },
	{ "GET", "/admin/v1/dlq/{subscription}/{id}", ROLE_VIEWER, admin_dlq_show, { CHAIN } },
	{ "POST", "/admin/v1/dlq/replay", ROLE_OPERATOR, admin_dlq_replay,
	  { CHAIN, { "subscription", PARAMETER_TEXT, 1, 32, true }, { "ids", PARAMETER_TEXTS, 0, 10000, false }, { "type", PARAMETER_TEXT, 1, 64, false },
	    { "reason", PARAMETER_TEXT, 1, 64, false } } },
	{ "POST", "/admin/v1/dlq/purge", ROLE_ADMIN, admin_dlq_purge,
	  { CHAIN, { "subscription", PARAMETER_TEXT, 1, 32, true }, { "ids", PARAMETER_TEXTS, 0, 10000, false }, { "type", PARAMETER_TEXT, 1, 64, false },
	    { "reason", PARAMETER_TEXT, 1, 64, false }, { "all", PARAMETER_BOOL, 0, 0, false }, { "why", PARAMETER_TEXT, 1, 200, true } } },
	{ "POST", "/admin/v1/chains/{chain}/refetch", ROLE_OPERATOR, admin_refetch,
	  { { "from_height", PARAMETER_INT, 0, HEIGHT_MAX, true }, { "to_height", PARAMETER_INT, 0, HEIGHT_MAX, false }, { "hash", PARAMETER_TEXT, 66, 66, false },
	    REASON(0, false) } },
	{ "POST", "/admin/v1/chains/{chain}/pause", ROLE_OPERATOR, admin_pause, { REASON(0, false) } },
	{ "POST", "/admin/v1/chains/{chain}/resume", ROLE_OPERATOR, admin_resume, { { 0 } } },
	{ "POST", "/admin/v1/chains/{chain}/reconcile", ROLE_OPERATOR, admin_reconcile,
	  { { "account", PARAMETER_TEXT, 1, 80, false }, { "asset", PARAMETER_TEXT, 1, 160, false } } },
	{ "POST", "/admin/v1/chains/{chain}/rewind", ROLE_ADMIN, admin_rewind, { { "to_height", PARAMETER_INT, 0, HEIGHT_MAX, true }, REASON(1, true) } },
	{ "GET", "/admin/v1/gaps", ROLE_VIEWER, admin_gaps, { CHAIN, { "open", PARAMETER_BOOL, 0, 0, false }, PAGE } },
	{ "GET", "/admin/v1/incidents", ROLE_VIEWER, admin_incidents, { CHAIN, { "open", PARAMETER_BOOL, 0, 0, false }, PAGE } },
};
const size_t admin_route_count = sizeof admin_routes / sizeof admin_routes[0];

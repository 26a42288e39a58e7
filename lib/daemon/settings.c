/* settings.c - every setting of the suite: path, type, default, range, and the paragraph that a user reads. */
#include "daemon/settings.h"

#include <string.h>

#define C(field) offsetof(struct config, field)
#define CH(field) offsetof(struct chain_config, field)
#define EP(field) offsetof(struct endpoint_config, field)
#define KEY(field) offsetof(struct api_key_config, field)

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const formats[] = { "logfmt", "json", NULL };
static const char *const families[] = { "evm", NULL };
static const char *const trace_kinds[] = { "auto", "trace_block", "call_tracer", "none", NULL };
static const char *const roles[] = { "viewer", "operator", "admin", NULL };

#define MIB (1 << 20)

const struct setting settings[] = {
	{ OWNER_CONFIG, "log.level", SETTING_CHOICE, C(log.level), "info", 0, 0, levels, "Lines below this level are not written." },
	{ OWNER_CONFIG, "log.format", SETTING_CHOICE, C(log.format), "logfmt", 0, 0, formats, "logfmt for people, json for machines." },
	{ OWNER_CONFIG, "ops.listen.fetcher", SETTING_STRING, C(ops_listen.fetcher), "127.0.0.1:9101", 0, 0, NULL,
	  "Address of the fetcher's operations listener (/healthz, /readyz, /metrics). Port 0 takes a free one and logs it." },
	{ OWNER_CONFIG, "ops.listen.normalizer", SETTING_STRING, C(ops_listen.normalizer), "127.0.0.1:9102", 0, 0, NULL,
	  "The same for the normalizer." },
	{ OWNER_CONFIG, "ops.listen.reconciler", SETTING_STRING, C(ops_listen.reconciler), "127.0.0.1:9103", 0, 0, NULL,
	  "The same for the reconciler." },
	{ OWNER_CONFIG, "ops.listen.gateway", SETTING_STRING, C(ops_listen.gateway), "127.0.0.1:9104", 0, 0, NULL, "The same for the gateway." },
	{ OWNER_CONFIG, "shutdown_timeout", SETTING_DURATION_MS, C(shutdown_timeout_ms), "30s", 100, 600000, NULL,
	  "How long a process may drain after SIGTERM before it ends itself with the exit status of `stuck`." },

	{ OWNER_CONFIG, "bus.redis_url", SETTING_STRING, C(bus.redis_url), "redis://127.0.0.1:6379/0", 0, 0, NULL,
	  "redis://host:port/db, rediss://host:port/db (TLS) or unix:///path. Redis 7.0 or newer." },
	{ OWNER_CONFIG, "bus.username", SETTING_STRING, C(bus.username), "", 0, 0, NULL, "Redis ACL user; empty: the default user." },
	{ OWNER_CONFIG, "bus.password", SETTING_SECRET, C(bus.password), "", 0, 0, NULL, "Redis password; empty: none." },
	{ OWNER_CONFIG, "bus.max_memory_percent", SETTING_INT, C(bus.max_memory_percent), "80", 10, 100, NULL,
	  "Publishing waits while Redis uses more than this share of its maxmemory." },
	{ OWNER_CONFIG, "bus.max_backlog", SETTING_INT, C(bus.max_backlog), "20000", 100, 10000000, NULL,
	  "Entries that a stream may hold unread before its producers wait." },
	{ OWNER_CONFIG, "bus.retry_attempts", SETTING_INT, C(bus.retry_attempts), "3", 1, 100, NULL,
	  "How often a message is tried before it becomes a dead letter." },
	{ OWNER_CONFIG, "bus.retry_base", SETTING_DURATION_MS, C(bus.retry_base_ms), "100ms", 1, 600000, NULL,
	  "First wait between tries; doubles, with jitter." },
	{ OWNER_CONFIG, "bus.retry_max", SETTING_DURATION_MS, C(bus.retry_max_ms), "30s", 1, 3600000, NULL, "Longest wait between tries." },
	{ OWNER_CONFIG, "bus.lease", SETTING_DURATION_MS, C(bus.lease_ms), "5s", 500, 120000, NULL,
	  "How long an owner that died keeps its partition." },

	{ OWNER_CONFIG, "postgres.url", SETTING_SECRET, C(postgres.url), "host=127.0.0.1 dbname=weir user=weir", 0, 0, NULL,
	  "libpq connection string of the ledger's owner. PostgreSQL 15 or newer." },
	{ OWNER_CONFIG, "postgres.reader_url", SETTING_SECRET, C(postgres.reader_url), "", 0, 0, NULL,
	  "Connection string of a role that may only read the views in schema weir_api (grant it weir_reader); empty: postgres.url." },
	{ OWNER_CONFIG, "postgres.pool_size", SETTING_INT, C(postgres.pool_size), "8", 1, 200, NULL, "Connections of one gateway." },
	{ OWNER_CONFIG, "postgres.connect_timeout", SETTING_DURATION_MS, C(postgres.connect_timeout_ms), "5s", 100, 120000, NULL,
	  "How long one attempt to connect may take." },
	{ OWNER_CONFIG, "postgres.statement_timeout", SETTING_DURATION_MS, C(postgres.statement_timeout_ms), "60s", 100, 3600000, NULL,
	  "How long one statement may take." },

	{ OWNER_CONFIG, "normalizer.workers", SETTING_INT, C(normalizer.workers), "1", 1, 100, NULL, "Threads that normalize blocks." },
	{ OWNER_CONFIG, "normalizer.batch", SETTING_INT, C(normalizer.batch), "16", 1, 10000, NULL, "Blocks taken from the bus at a time." },
	{ OWNER_CONFIG, "normalizer.max_block_bytes", SETTING_BYTES, C(normalizer.max_block_bytes), "256MiB", MIB, 1024LL * MIB, NULL,
	  "Largest block, decompressed; a larger one fails its proof." },

	{ OWNER_CONFIG, "reconciler.batch_blocks", SETTING_INT, C(reconciler.batch_blocks), "256", 1, 10000, NULL,
	  "Blocks in one transaction at most." },
	{ OWNER_CONFIG, "reconciler.batch_entries", SETTING_INT, C(reconciler.batch_entries), "40000", 1, 1000000, NULL,
	  "Entries in one transaction at most (one block may hold more)." },
	{ OWNER_CONFIG, "reconciler.reorder_window", SETTING_INT, C(reconciler.reorder_window), "2048", 16, 65536, NULL,
	  "Blocks that are held in memory until the ones before them arrive." },
	{ OWNER_CONFIG, "reconciler.balance_cache", SETTING_INT, C(reconciler.balance_cache), "65536", 1024, 10000000, NULL,
	  "Hot balances kept in memory (about 100 bytes each)." },
	{ OWNER_CONFIG, "reconciler.missing_after", SETTING_DURATION_MS, C(reconciler.missing_after_ms), "3s", 50, 600000, NULL,
	  "A block that is missing so long becomes a gap and is fetched again." },
	{ OWNER_CONFIG, "reconciler.reconcile_concurrency", SETTING_INT, C(reconciler.reconcile_concurrency), "8", 1, 256, NULL,
	  "Balance questions in flight." },
	{ OWNER_CONFIG, "reconciler.sweep_per_second", SETTING_INT, C(reconciler.sweep_per_second), "50", 0, 10000, NULL,
	  "Untouched balances compared with the chain per second; 0: none." },
	{ OWNER_CONFIG, "reconciler.reconcile_queue", SETTING_INT, C(reconciler.reconcile_queue), "65536", 16, 1000000, NULL,
	  "Balances waiting to be compared; further ones are skipped and counted." },

	{ OWNER_CONFIG, "gateway.listen", SETTING_STRING, C(gateway.listen), "127.0.0.1:8080", 0, 0, NULL, "Address for clients: REST and WebSocket." },
	{ OWNER_CONFIG, "gateway.admin_listen", SETTING_STRING, C(gateway.admin_listen), "127.0.0.1:8081", 0, 0, NULL, "Address for operators." },
	{ OWNER_CONFIG, "gateway.max_connections", SETTING_INT, C(gateway.max_connections), "4096", 8, 100000, NULL,
	  "Client connections at a time." },
	{ OWNER_CONFIG, "gateway.max_body", SETTING_BYTES, C(gateway.max_body_bytes), "1MiB", 1024, 64LL * MIB, NULL, "Largest request body." },
	{ OWNER_CONFIG, "gateway.request_timeout", SETTING_DURATION_MS, C(gateway.request_timeout_ms), "10s", 100, 600000, NULL,
	  "How long one request may take." },
	{ OWNER_CONFIG, "gateway.max_websockets", SETTING_INT, C(gateway.max_websockets), "4096", 1, 100000, NULL, "WebSocket connections at a time." },
	{ OWNER_CONFIG, "gateway.websocket_queue", SETTING_BYTES, C(gateway.websocket_queue_bytes), "4MiB", 65536, 256LL * MIB, NULL,
	  "Bytes that may wait for one slow WebSocket client before it is closed with the offset to resume from." },
	{ OWNER_CONFIG, "gateway.dashboard_dir", SETTING_STRING, C(gateway.dashboard_dir), "", 0, 0, NULL,
	  "Folder of static files that the admin listener serves; empty: none." },
	{ OWNER_KEY, "name", SETTING_STRING, KEY(name), "", 0, 0, NULL, "Who the key belongs to, for the audit log." },
	{ OWNER_KEY, "key", SETTING_SECRET, KEY(key), "", 0, 0, NULL, "The key, at least 16 characters; `file:/path` reads it from a file." },
	{ OWNER_KEY, "role", SETTING_STRING, KEY(role), "viewer", 0, 0, roles, "What the key may do: viewer reads, operator acts, admin everything." },

	{ OWNER_CONFIG, "alerts.webhook_url", SETTING_SECRET, C(alerts.webhook_url), "", 0, 0, NULL,
	  "Slack-compatible webhook that alerts are posted to; empty: they are only logged." },
	{ OWNER_CONFIG, "alerts.cooldown", SETTING_DURATION_MS, C(alerts.cooldown_ms), "5m", 0, 86400000, NULL,
	  "The same alert is not repeated sooner, unless its state changes." },

	{ OWNER_CHAIN, "name", SETTING_STRING, CH(name), "", 0, 0, NULL,
	  "The chain's name in streams, API and metrics: lower-case letters, digits and '-', at most 32." },
	{ OWNER_CHAIN, "family", SETTING_STRING, CH(family), "evm", 0, 0, families, "Kind of chain." },
	{ OWNER_CHAIN, "profile", SETTING_STRING, CH(profile), "ethereum", 0, 0, NULL, "The family's rules for this chain: ethereum, dev." },
	{ OWNER_CHAIN, "chain_id", SETTING_UNSIGNED, CH(chain_id), "1", 1, INT64_MAX, NULL, "EIP-155 chain id; endpoints that answer another one are refused." },
	{ OWNER_CHAIN, "genesis_hash", SETTING_STRING, CH(genesis_hash), "", 0, 0, NULL,
	  "Hash of block 0, 0x…; empty: learnt at the first start and kept." },
	{ OWNER_CHAIN, "start_height", SETTING_UNSIGNED, CH(start_height), "0", 0, INT64_MAX, NULL, "First block of the ledger." },
	{ OWNER_CHAIN, "finality_depth", SETTING_INT, CH(finality_depth), "0", 0, 100000, NULL,
	  "A block is finalized no sooner than this many blocks below the head, whatever the node's tag says." },
	{ OWNER_CHAIN, "poll_interval", SETTING_DURATION_MS, CH(poll_interval_ms), "1s", 20, 60000, NULL, "How often the head is asked for." },
	{ OWNER_CHAIN, "backfill_workers", SETTING_INT, CH(backfill_workers), "8", 1, 100, NULL, "Blocks downloaded at a time." },
	{ OWNER_CHAIN, "window", SETTING_INT, CH(window), "512", 16, 65536, NULL, "Blocks that may be under way beyond the ledger's watermark." },
	{ OWNER_CHAIN, "traces", SETTING_STRING, CH(traces), "auto", 0, 0, trace_kinds,
	  "Where internal transfers come from: trace_block, debug_traceBlockByHash with callTracer, whichever the node has, or none." },
	{ OWNER_CHAIN, "state_diff", SETTING_BOOL, CH(state_diff), "false", 0, 0, NULL, "Also fetch prestateTracer diffs and check native balances by them." },
	{ OWNER_ENDPOINT, "name", SETTING_STRING, EP(name), "", 0, 0, NULL, "Short name for logs, metrics and certificates; by default e0, e1, and so on." },
	{ OWNER_ENDPOINT, "url", SETTING_STRING, EP(url), "", 0, 0, NULL, "http:// or https:// JSON-RPC address." },
	{ OWNER_ENDPOINT, "ws_url", SETTING_STRING, EP(ws_url), "", 0, 0, NULL, "ws:// or wss:// address for new heads; empty: poll." },
	{ OWNER_ENDPOINT, "head", SETTING_BOOL, EP(head), "true", 0, 0, NULL, "May tell the head." },
	{ OWNER_ENDPOINT, "backfill", SETTING_BOOL, EP(backfill), "true", 0, 0, NULL, "May serve history." },
	{ OWNER_ENDPOINT, "verify", SETTING_BOOL, EP(verify), "true", 0, 0, NULL, "May be asked for balances and to confirm differences." },
	{ OWNER_ENDPOINT, "weight", SETTING_INT, EP(weight), "100", 1, 1000, NULL, "Share of requests among equals." },
	{ OWNER_ENDPOINT, "requests_per_second", SETTING_INT, EP(requests_per_second), "0", 0, 1000000, NULL, "Rate limit; 0: none." },
	{ OWNER_ENDPOINT, "max_concurrency", SETTING_INT, EP(max_concurrency), "8", 1, 256, NULL, "HTTP requests in flight." },
	{ OWNER_ENDPOINT, "auth_header", SETTING_SECRET, EP(auth_header), "", 0, 0, NULL, "Value of the Authorization header; empty: none." },
};
const size_t settings_count = sizeof settings / sizeof settings[0];

const struct setting_list setting_lists[] = {
	{ OWNER_CONFIG, "chains", OWNER_CHAIN, sizeof(struct chain_config), C(chains), C(chain_count), CONFIG_CHAINS_MAX },
	{ OWNER_CHAIN, "endpoints", OWNER_ENDPOINT, sizeof(struct endpoint_config), CH(endpoints), CH(endpoint_count), CONFIG_ENDPOINTS_MAX },
	{ OWNER_CONFIG, "gateway.keys", OWNER_KEY, sizeof(struct api_key_config), C(gateway.keys), C(gateway.key_count), CONFIG_API_KEYS_MAX },
};
const size_t setting_lists_count = sizeof setting_lists / sizeof setting_lists[0];

size_t setting_list_count(const struct setting_list *list, const void *owner)
{
	size_t count;
	memcpy(&count, (const char *)owner + list->count_offset, sizeof count);
	return count;
}

void *setting_list_element(const struct setting_list *list, void *owner, size_t index)
{
	char *array;
	memcpy(&array, (char *)owner + list->array_offset, sizeof array);
	return array + index * list->element_size;
}

void *setting_list_append(const struct setting_list *list, void *owner)
{
	size_t count = setting_list_count(list, owner);
	if (count >= list->max)
		return NULL;
	char *array;
	memcpy(&array, (char *)owner + list->array_offset, sizeof array);
	array = xrealloc(array, count + 1, list->element_size);
	memset(array + count * list->element_size, 0, list->element_size);
	memcpy((char *)owner + list->array_offset, &array, sizeof array);
	count++;
	memcpy((char *)owner + list->count_offset, &count, sizeof count);
	return setting_list_element(list, owner, count - 1);
}

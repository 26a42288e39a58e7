/* settings.c - every setting of the suite: path, type, default, range, and the paragraph that a user reads. */
#include "daemon/settings.h"

#include <string.h>

#define C(field) offsetof(struct config, field)
#define CH(field) offsetof(struct chain_config, field)
#define EP(field) offsetof(struct endpoint_config, field)
#define KEY(field) offsetof(struct api_key_config, field)
#define TO(field) offsetof(struct alert_destination_config, field)

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const formats[] = { "logfmt", "json", NULL };
static const char *const families[] = { "evm", NULL };
static const char *const trace_kinds[] = { "auto", "trace_block", "call_tracer", "none", NULL };
static const char *const destination_kinds[] = { "slack", "webhook", "email", NULL };
static const char *const severities[] = { "ticket", "page", NULL };
static const char *const smtp_tls[] = { "required", "none", NULL };
static const char *const client_certificates[] = { "required", "optional", NULL };
static const char *const kafka_starts[] = { "beginning", "now", NULL };
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
	{ OWNER_CONFIG, "shutdown_timeout", SETTING_DURATION_MS, C(shutdown_timeout_ms), "30s", 100, 30000, NULL,
	  "How long a process may drain after SIGTERM before it ends itself with the exit status of `stuck`. Supervisors must wait longer before they kill it." },

	{ OWNER_CONFIG, "bus.redis_url", SETTING_STRING, C(bus.redis_url), "redis://127.0.0.1:6379/0", 0, 0, NULL,
	  "redis://host:port/db, rediss://… (TLS), unix:///path, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port. Redis 7.0 or newer." },
	{ OWNER_CONFIG, "bus.username", SETTING_STRING, C(bus.username), "", 0, 0, NULL, "Redis ACL user; empty: the default user." },
	{ OWNER_CONFIG, "bus.password", SETTING_SECRET, C(bus.password), "", 0, 0, NULL, "Redis password; empty: none." },
	{ OWNER_CONFIG, "bus.max_memory_percent", SETTING_INT, C(bus.max_memory_percent), "80", 10, 100, NULL,
	  "While Redis uses more than this share of its maxmemory, publishing waits: what is low from here on, what is normal or high a quarter and a half of the rest later, "
	  "what is critical never." },
	{ OWNER_CONFIG, "bus.max_age", SETTING_DURATION_MS, C(bus.max_age_ms), "0ms", 0, 604800000, NULL,
	  "Publishing of a class waits while the oldest unread message of it or of a more important one is older; what is critical never waits. 0: no such limit." },
	{ OWNER_CONFIG, "bus.max_backlog", SETTING_INT, C(bus.max_backlog), "20000", 100, 10000000, NULL,
	  "Messages of a class and of more important ones that may be unread before their producers wait; what is low waits from half as many on." },
	{ OWNER_CONFIG, "bus.retry_attempts", SETTING_INT, C(bus.retry_attempts), "3", 1, 100, NULL,
	  "How often a message is tried before it becomes a dead letter." },
	{ OWNER_CONFIG, "bus.retry_base", SETTING_DURATION_MS, C(bus.retry_base_ms), "100ms", 1, 600000, NULL,
	  "First wait between tries; doubles, with jitter." },
	{ OWNER_CONFIG, "bus.retry_max", SETTING_DURATION_MS, C(bus.retry_max_ms), "30s", 1, 3600000, NULL, "Longest wait between tries." },
	{ OWNER_CONFIG, "bus.lease", SETTING_DURATION_MS, C(bus.lease_ms), "5s", 500, 120000, NULL,
	  "How long an owner that died keeps its partition." },
	{ OWNER_CONFIG, "bus.wait_replicas", SETTING_INT, C(bus.wait_replicas), "0", 0, 16, NULL,
	  "What is published counts as published when so many replicas of Redis have it, too: then it survives a failover." },
	{ OWNER_CONFIG, "bus.wait", SETTING_DURATION_MS, C(bus.wait_ms), "1s", 1, 60000, NULL,
	  "How long publishing waits for them before it is tried again." },

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
	{ OWNER_CONFIG, "gateway.tls.certificate", SETTING_STRING, C(gateway.tls.certificate), "", 0, 0, NULL,
	  "PEM file with the client listener's certificate and its chain: it then speaks TLS (1.2, 1.3) only. Changed files are used within a second or two, without a restart." },
	{ OWNER_CONFIG, "gateway.tls.key", SETTING_STRING, C(gateway.tls.key), "", 0, 0, NULL, "PEM file with its private key, without a passphrase." },
	{ OWNER_CONFIG, "gateway.admin_tls.certificate", SETTING_STRING, C(gateway.admin_tls.certificate), "", 0, 0, NULL, "The same for the admin listener." },
	{ OWNER_CONFIG, "gateway.admin_tls.key", SETTING_STRING, C(gateway.admin_tls.key), "", 0, 0, NULL, "The same for the admin listener." },
	{ OWNER_CONFIG, "gateway.admin_tls.client_ca", SETTING_STRING, C(gateway.admin_tls.client_ca), "", 0, 0, NULL,
	  "PEM file with authorities: operators then need a certificate of one of them to connect at all, and a key or a session as before. Empty: no certificates are asked for." },
	{ OWNER_CONFIG, "gateway.admin_tls.client_certificate", SETTING_STRING, C(gateway.admin_tls.client_certificate), "required", 0, 0, client_certificates,
	  "optional: who shows no certificate comes in, too; a wrong one is refused. For the time in which certificates are handed out." },
	{ OWNER_CONFIG, "gateway.max_connections", SETTING_INT, C(gateway.max_connections), "4096", 8, 100000, NULL,
	  "Client connections at a time." },
	{ OWNER_CONFIG, "gateway.max_body", SETTING_BYTES, C(gateway.max_body_bytes), "1MiB", 1024, 64LL * MIB, NULL, "Largest request body." },
	{ OWNER_CONFIG, "gateway.request_timeout", SETTING_DURATION_MS, C(gateway.request_timeout_ms), "10s", 100, 600000, NULL,
	  "How long one request may take." },
	{ OWNER_CONFIG, "gateway.max_websockets", SETTING_INT, C(gateway.max_websockets), "4096", 1, 100000, NULL, "Clients at the live end at a time: WebSockets, event streams, long polls." },
	{ OWNER_CONFIG, "gateway.max_replays", SETTING_INT, C(gateway.max_replays), "16384", 1, 1000000, NULL,
	  "Pieces of the ledger that may be waited for at a time by subscriptions that are not at its live end; new ones beyond it are refused (`busy`), others wait." },
	{ OWNER_CONFIG, "gateway.websocket_queue", SETTING_BYTES, C(gateway.websocket_queue_bytes), "4MiB", 65536, 256LL * MIB, NULL,
	  "Bytes that may wait for one slow WebSocket client before it is closed with the offset to resume from." },
	{ OWNER_CONFIG, "gateway.final_answers", SETTING_BYTES, C(gateway.final_answers_bytes), "16MiB", 0, 64LL * 1024 * MIB, NULL,
	  "Memory for answers about finalised blocks, which are given again without asking the database. 0: none are kept." },
	{ OWNER_CONFIG, "gateway.address_limit", SETTING_INT, C(gateway.address_limit), "100", 0, 10000000, NULL,
	  "Cost per minute that one address may ask for without a key (IPv6: one /64), over all gateways; most requests cost 1. 0: no limit." },
	{ OWNER_CONFIG, "gateway.key_limit", SETTING_INT, C(gateway.key_limit), "1000", 0, 10000000, NULL,
	  "The same for each key, wherever it is used from." },
	{ OWNER_CONFIG, "gateway.http_per_address", SETTING_INT, C(gateway.http_per_address), "1024", 0, 100000, NULL,
	  "Connections to the clients' listener that one address may hold on each gateway (IPv6: one /64), open WebSockets not counted; one more is closed when it comes. Addresses of limit_exempt and trusted_proxies are not counted. 0: no limit." },
	{ OWNER_CONFIG, "gateway.connections_per_address", SETTING_INT, C(gateway.connections_per_address), "128", 0, 100000, NULL,
	  "WebSockets and event streams that one address may hold without a key on each gateway (IPv6: one /64). 0: no limit." },
	{ OWNER_CONFIG, "gateway.connections_per_key", SETTING_INT, C(gateway.connections_per_key), "1024", 0, 100000, NULL, "The same for each key." },
	{ OWNER_CONFIG, "gateway.connections_oldest", SETTING_BOOL, C(gateway.connections_oldest), "false", 0, 0, NULL,
	  "A client's connection beyond these limits ends its oldest one instead of being refused." },
	{ OWNER_CONFIG, "gateway.drain", SETTING_DURATION_MS, C(gateway.drain_ms), "5s", 0, 30000, NULL,
	  "Time over which a gateway that stops sends its live clients away, evenly, each with the offsets to resume from; well below `shutdown_timeout`." },
	{ OWNER_CONFIG, "gateway.recent_answers", SETTING_BYTES, C(gateway.recent_answers_bytes), "16MiB", 0, 16LL * 1024 * MIB, NULL,
	  "Memory for answers that are given again for 3 to 60 s, or until the ledger moves. 0: none are kept, and equal reads in flight are not joined." },
	{ OWNER_CONFIG, "gateway.watchlists_per_owner", SETTING_INT, C(gateway.watchlists_per_owner), "100", 0, 10000, NULL,
	  "Watch-lists that one key or user may have." },
	{ OWNER_CONFIG, "gateway.watchlist_addresses", SETTING_INT, C(gateway.watchlist_addresses), "2000000", 1, 100000000, NULL,
	  "Addresses that one watch-list may have." },
	{ OWNER_CONFIG, "gateway.watchlist_memory", SETTING_BYTES, C(gateway.watchlist_memory_bytes), "256MiB", 0, 64LL * 1024 * MIB, NULL,
	  "Memory for watch-lists that subscriptions follow, at most 45 bytes per address; lists beyond it are read from the database for each event." },
	{ OWNER_CONFIG, "gateway.limit_exempt", SETTING_STRING, C(gateway.limit_exempt), "127.0.0.0/8, ::1", 0, 0, NULL,
	  "Address ranges that no limit counts for. A proxy on the same machine belongs into trusted_proxies, else all its clients are exempt, too." },
	{ OWNER_CONFIG, "gateway.trusted_proxies", SETTING_STRING, C(gateway.trusted_proxies), "", 0, 0, NULL,
	  "Address ranges of proxies whose X-Forwarded-For tells the client's address; from others that header counts for nothing." },
	{ OWNER_CONFIG, "gateway.shed_after", SETTING_DURATION_MS, C(gateway.shed_after_ms), "20ms", 0, 600000, NULL,
	  "Under overload, requests without a key that would wait so long are refused with 503; reads with a key twice as long, writes 4 times, operators 8; in a burst of at most a second all ten times as long. 0: never." },
	{ OWNER_CONFIG, "gateway.anonymous", SETTING_BOOL, C(gateway.anonymous), "true", 0, 0, NULL,
	  "Clients without a key may read and follow the ledger." },
	{ OWNER_CONFIG, "gateway.authenticate_within", SETTING_DURATION_MS, C(gateway.authenticate_within_ms), "10s", 1000, 600000, NULL,
	  "Where they may not: how long a WebSocket that was opened without credentials has to show some (method authenticate) before it is closed with 3000." },
	{ OWNER_CONFIG, "gateway.key_pepper", SETTING_SECRET, C(gateway.key_pepper), "", 0, 0, NULL,
	  "API keys in the database are hashed with it, the same for all gateways: who can write to the database alone cannot make a key. Changing it ends all keys made before." },
	{ OWNER_CONFIG, "gateway.session_secret", SETTING_SECRET, C(gateway.session_secret), "", 0, 0, NULL,
	  "Operators may sign in by name and password (`weirctl user make`) when this is set: at least 32 bytes, the same for all gateways. Changing it ends all sessions." },
	{ OWNER_CONFIG, "gateway.jwt.issuer", SETTING_STRING, C(gateway.jwt_issuer), "", 0, 0, NULL,
	  "Whose JSON Web Tokens (RS256, ES256, HS256) are accepted beside API keys: what they say in `iss`. Empty: nobody's. Scopes come from `scope`, `scp` and `roles`." },
	{ OWNER_CONFIG, "gateway.jwt.audience", SETTING_STRING, C(gateway.jwt_audience), "weir", 0, 0, NULL, "What tokens for weir have in `aud`." },
	{ OWNER_CONFIG, "gateway.jwt.keys", SETTING_STRING, C(gateway.jwt_keys), "", 0, 0, NULL,
	  "The issuer's public keys: path of a file with a JWK Set, or its https:// address." },
	{ OWNER_CONFIG, "gateway.jwt.secret", SETTING_SECRET, C(gateway.jwt_secret), "", 0, 0, NULL, "Secret shared with the issuer for HS256, at least 32 bytes." },
	{ OWNER_CONFIG, "gateway.jwt.secret_previous", SETTING_SECRET, C(gateway.jwt_secret_previous), "", 0, 0, NULL,
	  "The one before, still good while tokens signed with it are around." },
	{ OWNER_CONFIG, "gateway.jwt.scope_prefix", SETTING_STRING, C(gateway.jwt_scope_prefix), "", 0, 0, NULL,
	  "Scopes in tokens count only with this in front, which is cut off: `weir:` makes `weir:read` the scope read." },
	{ OWNER_CONFIG, "gateway.jwt.skew", SETTING_DURATION_MS, C(gateway.jwt_skew_ms), "30s", 0, 60000, NULL,
	  "How far the issuer's clock may be from ours." },
	{ OWNER_CONFIG, "gateway.jwt.refresh", SETTING_DURATION_MS, C(gateway.jwt_refresh_ms), "5m", 1000, 86400000, NULL,
	  "How often the issuer's keys are read again; an unknown one is looked for at once." },
	{ OWNER_CONFIG, "gateway.dashboard_dir", SETTING_STRING, C(gateway.dashboard_dir), "", 0, 0, NULL,
	  "Folder of the dashboard's files, served on the admin listener; empty: ../share/weir/dashboard beside the program, if it is there; `none`: none." },
	{ OWNER_CONFIG, "gateway.cors_origins", SETTING_STRING, C(gateway.cors_origins), "", 0, 0, NULL,
	  "Origins whose pages may read the clients' listener (CORS) and open WebSockets there, as `https://host` or `https://host:port`, separated by commas; empty: none." },
	{ OWNER_CONFIG, "gateway.cursor_key", SETTING_SECRET, C(gateway.cursor_key), "", 0, 0, NULL,
	  "Signs the cursors of lists, at least 32 characters, the same for all gateways; `file:/path` reads it from a file. Empty: gateways make one a day and share it through Redis." },
	{ OWNER_CONFIG, "gateway.cursor_key_previous", SETTING_SECRET, C(gateway.cursor_key_previous), "", 0, 0, NULL,
	  "The key before: its cursors are still taken. To rotate, move the key here for a day and set a new one." },
	{ OWNER_KEY, "name", SETTING_STRING, KEY(name), "", 0, 0, NULL, "Who the key belongs to, for the audit log." },
	{ OWNER_KEY, "key", SETTING_SECRET, KEY(key), "", 0, 0, NULL, "The key, at least 16 characters; `file:/path` reads it from a file." },
	{ OWNER_KEY, "role", SETTING_STRING, KEY(role), "viewer", 0, 0, roles, "What the key may do: viewer reads, operator acts, admin everything." },

	{ OWNER_CONFIG, "webhooks.encryption_key", SETTING_SECRET, C(webhooks.encryption_key), "", 0, 0, NULL,
	  "Encrypts the secrets of webhooks in the database: base64 of 32 bytes (`openssl rand -base64 32`), the same for all gateways. Empty: no webhooks." },
	{ OWNER_CONFIG, "webhooks.ports", SETTING_STRING, C(webhooks.ports), "443, 8443", 0, 0, NULL, "Ports that webhooks may go to." },
	{ OWNER_CONFIG, "webhooks.allow_loopback", SETTING_BOOL, C(webhooks.allow_loopback), "false", 0, 0, NULL,
	  "For development: receivers on this machine, by http and on any port, too. Never where others may register webhooks." },
	{ OWNER_CONFIG, "webhooks.ca_file", SETTING_STRING, C(webhooks.ca_file), "", 0, 0, NULL,
	  "PEM file of the certificate authorities that receivers' certificates are checked with; empty: the system's." },
	{ OWNER_CONFIG, "webhooks.timeout", SETTING_DURATION_MS, C(webhooks.timeout_ms), "15s", 100, 30000, NULL,
	  "How long one try may take, from the lookup of the name to the end of the answer." },
	{ OWNER_CONFIG, "webhooks.retry_schedule", SETTING_STRING, C(webhooks.retry_schedule), "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h", 0, 0, NULL,
	  "Waits before the second, third, … try of a message, up to a fifth longer each. By default the Standard Webhooks specification's." },
	{ OWNER_CONFIG, "webhooks.breaker_failures", SETTING_INT, C(webhooks.breaker_failures), "10", 1, 10000, NULL,
	  "Tries in a row that fail before an endpoint counts as failing: then its oldest message alone is tried, now and then." },
	{ OWNER_CONFIG, "webhooks.probe_interval", SETTING_DURATION_MS, C(webhooks.probe_interval_ms), "1m", 100, 86400000, NULL,
	  "How often a failing endpoint is tried." },
	{ OWNER_CONFIG, "webhooks.max_in_flight", SETTING_INT, C(webhooks.max_in_flight), "64", 1, 1024, NULL,
	  "Messages that one gateway sends at a time, to all receivers." },
	{ OWNER_CONFIG, "webhooks.retention", SETTING_DURATION_MS, C(webhooks.retention_ms), "168h", 60000, 31536000000LL, NULL,
	  "How long messages that were delivered, or given up, stay in the database to be looked at and sent again." },

	{ OWNER_CONFIG, "kafka.url", SETTING_STRING, C(kafka.url), "", 0, 0, NULL,
	  "Brokers that every event of the ledger is sent to (topics `weir.<chain>.ledger`, docs/kafka.md): kafka://host:port,host:port, kafkas://… for TLS; `/?ca=,cert=,key=,sasl=` as docs/bus.md has them. Empty: none." },
	{ OWNER_CONFIG, "kafka.username", SETTING_STRING, C(kafka.username), "", 0, 0, NULL, "Account at the brokers (SCRAM-SHA-512, unless the URL's `sasl` says otherwise); empty: none." },
	{ OWNER_CONFIG, "kafka.password", SETTING_SECRET, C(kafka.password), "", 0, 0, NULL, "Its password; `file:/path` reads it from a file." },
	{ OWNER_CONFIG, "kafka.start", SETTING_STRING, C(kafka.start), "beginning", 0, 0, kafka_starts,
	  "Where a chain that was never sent begins: with the ledger's first event, or with the next one." },

	{ OWNER_CONFIG, "alerts.webhook_url", SETTING_SECRET, C(alerts.webhook_url), "", 0, 0, NULL,
	  "Slack-compatible webhook that all alerts are posted to, as one destination more. Without any they are only logged." },
	{ OWNER_CONFIG, "alerts.cooldown", SETTING_DURATION_MS, C(alerts.cooldown_ms), "5m", 0, 86400000, NULL,
	  "The same alert is not repeated sooner, unless its state changes." },
	{ OWNER_CONFIG, "alerts.group_wait", SETTING_DURATION_MS, C(alerts.group_wait_ms), "5s", 0, 300000, NULL,
	  "Alerts wait so long for others that follow, and are sent in one message." },
	{ OWNER_CONFIG, "alerts.runbook_url", SETTING_STRING, C(alerts.runbook_url), "", 0, 0, NULL,
	  "Where people find the pages of docs/runbook; a page's name and .md are put behind it. Empty: alerts name the file." },
	{ OWNER_CONFIG, "alerts.smtp_url", SETTING_STRING, C(alerts.smtp_url), "", 0, 0, NULL,
	  "Mail server for destinations of kind email: smtp://host:587, or smtps://host:465." },
	{ OWNER_CONFIG, "alerts.smtp_tls", SETTING_STRING, C(alerts.smtp_tls), "required", 0, 0, smtp_tls,
	  "With smtp:// ask for STARTTLS and send nothing without it, or send in the clear (to a relay on the same machine)." },
	{ OWNER_CONFIG, "alerts.smtp_username", SETTING_STRING, C(alerts.smtp_username), "", 0, 0, NULL, "Name at the mail server; empty: no login." },
	{ OWNER_CONFIG, "alerts.smtp_password", SETTING_SECRET, C(alerts.smtp_password), "", 0, 0, NULL, "Password at the mail server." },
	{ OWNER_CONFIG, "alerts.smtp_from", SETTING_STRING, C(alerts.smtp_from), "", 0, 0, NULL, "Address that mails come from." },
	{ OWNER_DESTINATION, "name", SETTING_STRING, TO(name), "", 0, 0, NULL, "Short name for logs and tests." },
	{ OWNER_DESTINATION, "kind", SETTING_STRING, TO(kind), "slack", 0, 0, destination_kinds,
	  "slack posts {\"text\"}, webhook {\"version\", \"process\", \"count\", \"alerts\"}, email sends a mail." },
	{ OWNER_DESTINATION, "url", SETTING_SECRET, TO(url), "", 0, 0, NULL, "http:// or https:// address that is posted to (slack, webhook)." },
	{ OWNER_DESTINATION, "to", SETTING_STRING, TO(to), "", 0, 0, NULL, "Addresses that mails go to, apart by commas (email)." },
	{ OWNER_DESTINATION, "severity", SETTING_STRING, TO(severity), "ticket", 0, 0, severities, "The least that is sent there: ticket is everything, page what cannot wait." },

	{ OWNER_CONFIG, "otel.endpoint", SETTING_STRING, C(otel.endpoint), "", 0, 0, NULL,
	  "OpenTelemetry collector that spans are sent to by OTLP/HTTP (`http://host:4318`, /v1/traces is appended); empty: tracing is off." },
	{ OWNER_CONFIG, "otel.sampling_ratio", SETTING_RATIO, C(otel.per_million), "1", 0, 1000000, NULL,
	  "Share of the blocks whose trace is recorded, decided by the fetcher for all processes: 0.01 is every hundredth." },
	{ OWNER_CONFIG, "otel.service_name", SETTING_STRING, C(otel.service_name), "weir", 0, 0, NULL,
	  "What traces call this installation: its processes are `<name>-fetcher`, `<name>-gateway` and so on." },

	{ OWNER_CHAIN, "name", SETTING_STRING, CH(name), "", 0, 0, NULL,
	  "The chain's name in streams, API and metrics: lower-case letters, digits and '-', at most 32." },
	{ OWNER_CHAIN, "family", SETTING_STRING, CH(family), "evm", 0, 0, families, "Kind of chain." },
	{ OWNER_CHAIN, "profile", SETTING_STRING, CH(profile), "ethereum", 0, 0, NULL, "The family's rules for this chain: ethereum (chain id 1 only), testnet (Hoodi, Holesky, Sepolia since its merge), dev." },
	{ OWNER_CHAIN, "chain_id", SETTING_UNSIGNED, CH(chain_id), "1", 1, INT64_MAX, NULL, "EIP-155 chain id; endpoints that answer another one are refused." },
	{ OWNER_CHAIN, "genesis_hash", SETTING_STRING, CH(genesis_hash), "", 0, 0, NULL,
	  "Hash of block 0, 0x…; empty: learnt at the first start and kept." },
	{ OWNER_CHAIN, "start_height", SETTING_UNSIGNED, CH(start_height), "0", 0, INT64_MAX, NULL, "First block of the ledger." },
	{ OWNER_CHAIN, "finality_depth", SETTING_INT, CH(finality_depth), "0", 0, 100000, NULL,
	  "A block is finalized no sooner than this many blocks below the head, whatever the node's tag says." },
	{ OWNER_CHAIN, "poll_interval", SETTING_DURATION_MS, CH(poll_interval_ms), "1s", 20, 60000, NULL, "How often the head is asked for." },
	{ OWNER_CHAIN, "request_timeout", SETTING_DURATION_MS, CH(request_timeout_ms), "10s", 100, 600000, NULL,
	  "How long an endpoint may take to answer; for a block that it could not answer in time twice as long with each try, up to sixteen times." },
	{ OWNER_CHAIN, "backfill_workers", SETTING_INT, CH(backfill_workers), "24", 1, 100, NULL, "Blocks downloaded at a time, at most: fewer while endpoints refuse, and 8 while blocks are large." },
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
	{ OWNER_CONFIG, "alerts.destinations", OWNER_DESTINATION, sizeof(struct alert_destination_config), C(alerts.destinations), C(alerts.destination_count),
	  CONFIG_DESTINATIONS_MAX },
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

/* preflight.c - Redis, the schema, the ledger's rows and the nodes, each looked at once. */
#include "preflight.h"

#include "ledger.h"
#include "migrations.h"
#include "nodes.h"

#include "bus/bus.h"

int preflight_redis(struct daemon_ctx *ctx, struct error *err)
{
	const struct config *config = daemon_config(ctx);
	struct bus *bus = NULL;
	struct bus_options o = { .url = config->bus.redis_url,
				 .username = config->bus.username,
				 .password = config->bus.password,
				 .command_timeout_ms = PREFLIGHT_MS,
				 .max_backlog = config->bus.max_backlog,
				 .max_memory_percent = config->bus.max_memory_percent,
				 .max_age_ms = config->bus.max_age_ms,
				 .worker = "reconciler-preflight",
				 .log = daemon_log(ctx) };
	int code = bus_open(&o, &bus, err);
	if (!code)
		code = bus_check(bus, err);
	bus_close(&bus);
	return code;
}

static struct pg_options database(struct daemon_ctx *ctx)
{
	const struct config *config = daemon_config(ctx);
	return (struct pg_options){ .url = config->postgres.url,
				    .application_name = "weir-reconciler-migrate",
				    .connect_timeout_ms = config->postgres.connect_timeout_ms < PREFLIGHT_MS ? config->postgres.connect_timeout_ms : PREFLIGHT_MS,
				    .statement_timeout_ms = config->postgres.statement_timeout_ms,
				    .log = daemon_log(ctx) };
}

int preflight_migrate(struct daemon_ctx *ctx, struct error *err)
{
	const struct pg_options options = database(ctx);
	int code = ledger_migrate(&options, err);
	if (!code)
		log_info(daemon_log(ctx), "schema_current", NULL, LOG_I("migration", ledger_migrations[ledger_migration_count - 1].number));
	return code;
}

/* ---- --check -------------------------------------------------------------------------------------------------------------------- */

/* A ledger of an earlier life has to be that of these chains, and knows their genesis blocks. */
static int check_rows(struct daemon_ctx *ctx, struct pg *pg, struct nodes *all, struct error *err)
{
	const struct config *config = daemon_config(ctx);
	uint8_t genesis[32];
	bool known = false;
	int code = 0;
	for (size_t i = 0; !code && i < config->chain_count; i++) {
		code = ledger_check_chain(pg, &all[i].chain, config->chains[i].family, &known, genesis, err);
		if (!code && known)
			code = nodes_learn_genesis(&all[i], genesis, err);
	}
	return code;
}

static int check_database(struct daemon_ctx *ctx, struct nodes *all, struct error *err)
{
	const struct pg_options options = database(ctx);
	struct pg *pg = NULL;
	size_t pending = 0;
	int code = pg_open(&options, &pg, err);
	if (!code)
		code = pg_migrations_pending(pg, ledger_migrations, ledger_migration_count, &pending, err);
	if (!code && pending > 0)
		log_info(daemon_log(ctx), "schema_pending", "the next start, or --migrate, brings the schema up to date", LOG_U("migrations", pending));
	if (!code && pending < ledger_migration_count)
		code = check_rows(ctx, pg, all, err);
	pg_close(&pg);
	return code;
}

static int check_nodes(struct daemon_ctx *ctx, struct nodes *all, struct error *err)
{
	const struct config *config = daemon_config(ctx);
	size_t n = config->chain_count;
	struct rpc_preflight *chains = xcalloc(n, sizeof *chains);
	struct log *logs = xcalloc(n, sizeof *logs);
	struct node **nodes = xcalloc(n, sizeof(struct node *));
	int code = 0;
	for (size_t i = 0; !code && i < n; i++) {
		logs[i] = log_for_chain(daemon_log(ctx), all[i].chain.name);
		const struct node_options options = { .identity = &all[i].identity,
						      .endpoints = all[i].endpoints,
						      .log = &logs[i],
						      .metrics = daemon_metrics(ctx),
						      .concurrency = 1,
						      .request_timeout_ms = config->chains[i].request_timeout_ms };
		code = node_open(&options, &nodes[i], err);
		if (!code)
			chains[i] = (struct rpc_preflight){ .chain = all[i].chain.name, .log = &logs[i], .endpoints = all[i].endpoints, .rpc = node_rpc(nodes[i]) };
	}
	if (!code)
		code = rpc_preflight(chains, n, PREFLIGHT_MS, daemon_stop_fd(ctx), err);
	for (size_t i = 0; i < n; i++)
		node_close(&nodes[i]);
	xfree(&nodes);
	xfree(&logs);
	xfree(&chains);
	return code;
}

int preflight_check(struct daemon_ctx *ctx, void *state, struct error *err)
{
	const struct config *config = daemon_config(ctx);
	struct nodes *all = xcalloc(config->chain_count, sizeof *all);
	int code = 0;
	(void)state;
	for (size_t i = 0; !code && i < config->chain_count; i++)
		code = nodes_open(ctx, &config->chains[i], &all[i], err);
	if (!code)
		code = check_database(ctx, all, err);
	if (!code)
		code = check_nodes(ctx, all, err);
	for (size_t i = 0; i < config->chain_count; i++)
		nodes_close(&all[i]);
	xfree(&all);
	return code;
}

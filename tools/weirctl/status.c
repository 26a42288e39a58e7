/* status.c - the whole suite at a glance: stores, chains, streams, dead letters. */
#include "weirctl.h"

#include <stdio.h>
#include <string.h>

static const struct column chain_columns[] = {
	{ "CHAIN", "name" }, { "HEAD", "head.height" }, { "WATERMARK", "watermark.height" }, { "FINALIZED", "finalized" }, { "LAG", "lag_blocks" },
	{ "LAG S", "lag_seconds" }, { "GAPS", "gaps" }, { "INCIDENTS", "incidents" }, { "PAUSED", "paused" },
};
static const struct column stream_columns[] = {
	{ "TOPIC", "topic" }, { "CLASS", "class" }, { "LENGTH", "length" }, { "LAST", "last_sequence" }, { "WAITING", "lag" }, { "IN HAND", "pending" },
	{ "AGE MS", "head_age_ms" }, { "BYTES", "memory_bytes" },
};

/* The export to Kafka, where there is one. */
static void show_export(yyjson_val *chain)
{
	char state[96], lag[96], records[96], reason[400];
	yyjson_val *export = yyjson_obj_get(chain, "kafka");
	if (!export)
		return;
	const char *why = yyjson_get_str(yyjson_obj_get(export, "reason"));
	snprintf(reason, sizeof reason, "%s%s", why && *why ? ": " : "", why ? why : "");
	printf("%s: Kafka  %s%s; %s events to go, ", yyjson_get_str(yyjson_obj_get(chain, "name")), value_text(yyjson_obj_get(export, "state"), state), reason,
	       value_text(yyjson_obj_get(export, "lag"), lag));
	printf("%s records in %s\n", value_text(yyjson_obj_get(export, "records"), records), yyjson_get_str(yyjson_obj_get(export, "topic")));
}

static void show_store(yyjson_val *store, const char *name)
{
	char reason[96];
	bool ok = yyjson_get_bool(yyjson_obj_get(store, "ok"));
	printf("%-12s  %s\n", name, ok ? "ok" : value_text(yyjson_obj_get(store, "reason"), reason));
}

static void show_chain(yyjson_val *chain)
{
	char cell[96];
	size_t i, max;
	yyjson_val *key, *value;
	yyjson_val *streams = yyjson_obj_get(chain, "streams");
	show_export(chain);
	if (!streams) /* Redis is away */
		return;
	printf("\n%s: streams\n", value_text(yyjson_obj_get(chain, "name"), cell));
	show_items(streams, stream_columns, sizeof stream_columns / sizeof stream_columns[0]);
	printf("%s: dead letters", value_text(yyjson_obj_get(chain, "name"), cell));
	yyjson_obj_foreach(yyjson_obj_get(chain, "dead_letters"), i, max, key, value)
		printf("  %s %s", yyjson_get_str(key), value_text(value, cell));
	printf("\n");
}

int status(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	char cell[96];
	size_t i, max;
	yyjson_doc *doc = ask(s, true, "/admin/v1/status", NULL, err);
	if (!doc)
		return err->code;
	yyjson_val *root = yyjson_doc_get_root(doc), *chain;
	if (s->json) {
		show_json(doc);
	} else {
		printf("%-12s  %s\n", "weir", value_text(yyjson_obj_get(root, "version"), cell));
		printf("%-12s  %s s\n", "gateway up", value_text(yyjson_obj_get(root, "uptime_seconds"), cell));
		show_store(yyjson_obj_get(root, "postgres"), "PostgreSQL");
		show_store(yyjson_obj_get(root, "redis"), "Redis");
		printf("%-12s  %s connections, ", "WebSocket", value_text(value_at(root, "websockets.connections"), cell));
		printf("%s subscriptions\n\n", value_text(value_at(root, "websockets.subscriptions"), cell));
		show_items(yyjson_obj_get(root, "chains"), chain_columns, sizeof chain_columns / sizeof chain_columns[0]);
		yyjson_arr_foreach(yyjson_obj_get(root, "chains"), i, max, chain) show_chain(chain);
	}
	yyjson_doc_free(doc);
	return 0;
}

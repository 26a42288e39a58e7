/* list.c - commands that list: one question, one table. */
#include "weirctl.h"

#include <stdio.h>

static const struct column chain_columns[] = {
	{ "CHAIN", "name" }, { "HEAD", "head.height" }, { "WATERMARK", "watermark.height" }, { "SAFE", "safe" }, { "FINALIZED", "finalized" },
	{ "LAG S", "lag_seconds" }, { "GAPS", "gaps" }, { "INCIDENTS", "incidents" }, { "PAUSED", "paused" },
};
static const struct column gap_columns[] = {
	{ "ID", "id" }, { "CHAIN", "chain" }, { "FROM", "from_height" }, { "TO", "to_height" }, { "OPEN", "open" }, { "SINCE", "opened_at" },
	{ "TRIES", "attempts" }, { "REASON", "reason" }, { "DETAIL", "detail" },
};
static const struct column incident_columns[] = {
	{ "ID", "id" }, { "CHAIN", "chain" }, { "KIND", "kind" }, { "STATE", "state" }, { "ACCOUNT", "account" }, { "ASSET", "asset" }, { "HEIGHT", "height" },
	{ "FIRST WRONG", "first_wrong_height" }, { "EXPECTED", "expected" }, { "OBSERVED", "observed" }, { "RESOLUTION", "resolution" },
};

int list_items(const struct settings *s, bool admin, const struct buf *path, const struct column *columns, size_t n, struct error *err)
{
	yyjson_doc *doc = ask(s, admin, buf_str(path), NULL, err);
	if (!doc)
		return err->code;
	yyjson_val *root = yyjson_doc_get_root(doc), *next = yyjson_obj_get(root, "next_cursor");
	if (s->json) {
		show_json(doc);
	} else {
		show_items(yyjson_obj_get(root, "items"), columns, n);
		if (yyjson_is_str(next))
			printf("more: --cursor %s\n", yyjson_get_str(next));
	}
	yyjson_doc_free(doc);
	return 0;
}

int chains(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/v1/chains");
	int r = LIST(s, false, &path, chain_columns, err);
	buf_free(&path);
	return r;
}

/* Gaps and incidents: those that are open, or with --all also what was closed. */
static int list_open(struct settings *s, const char *where, const struct column *columns, size_t n, struct error *err)
{
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, where);
	add_query(&path, "chain", s->chain);
	add_query(&path, "open", s->all ? NULL : "true");
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = list_items(s, true, &path, columns, n, err);
	buf_free(&path);
	return r;
}

int gaps(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	return list_open(s, "/admin/v1/gaps", gap_columns, sizeof gap_columns / sizeof gap_columns[0], err);
}

int incidents(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	return list_open(s, "/admin/v1/incidents", incident_columns, sizeof incident_columns / sizeof incident_columns[0], err);
}

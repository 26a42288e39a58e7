/* webhook.c - receivers of events: look, register, try, stop, rotate, send again. */
#include "weirctl.h"

#include <string.h>

static void begin(struct buf *path, const char *id, const char *verb)
{
	*path = (struct buf)BUF_INIT(8192);
	buf_add_str(path, "/admin/v1/webhooks");
	if (id) {
		buf_add_byte(path, '/');
		add_encoded(path, id);
	}
	if (verb)
		buf_printf(path, "/%s", verb);
}

/* Takes the body. */
static int post(struct settings *s, const char *id, const char *verb, yyjson_mut_doc *body, struct error *err)
{
	struct buf path;
	begin(&path, id, verb);
	int r = answer_facts(s, ask(s, true, buf_str(&path), body, err), err);
	yyjson_mut_doc_free(body);
	buf_free(&path);
	return r;
}

int webhook_list(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = {
		{ "ID", "id" },           { "URL", "url" },         { "CHAIN", "chain" },   { "TOPIC", "topic" },     { "ACCOUNT", "account" }, { "STATE", "state" },
		{ "SINCE", "state_since" }, { "PENDING", "pending" }, { "FAILED", "failed" }, { "GATEWAY", "gateway" }, { "REASON", "reason" },
	};
	struct buf path;
	(void)argc;
	(void)argv;
	begin(&path, NULL, NULL);
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

int webhook_show(struct settings *s, int argc, char **argv, struct error *err)
{
	struct buf path;
	(void)argc;
	begin(&path, argv[0], NULL);
	int r = answer_facts(s, ask(s, true, buf_str(&path), NULL, err), err);
	buf_free(&path);
	return r;
}

int webhook_add(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (find_chain(s, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	add_text(body, "url", argv[0]);
	add_text(body, "topic", argv[1]);
	add_text(body, "chain", s->chain);
	add_text(body, "account", s->account);
	add_text(body, "asset", s->asset);
	add_text(body, "kind", s->kind);
	add_text(body, "algorithm", s->algorithm);
	if (add_number(body, "from_height", s->from_height, err)) {
		yyjson_mut_doc_free(body);
		return err->code;
	}
	return post(s, NULL, NULL, body, err);
}

static int change(struct settings *s, const char *id, const char *verb, struct error *err)
{
	yyjson_mut_doc *body = new_body();
	add_text(body, "why", s->why);
	add_text(body, "algorithm", s->algorithm);
	if (add_number(body, "from_height", s->from_height, err) || add_number(body, "overlap_seconds", s->overlap, err)) {
		yyjson_mut_doc_free(body);
		return err->code;
	}
	return post(s, id, verb, body, err);
}

int webhook_test(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return change(s, argv[0], "test", err);
}

int webhook_enable(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return change(s, argv[0], "enable", err);
}

static int with_reason(struct settings *s, const char *id, const char *verb, struct error *err)
{
	if (!s->why)
		return error_set(err, WEIR_USAGE, "webhook %s needs --why: the audit asks", verb);
	return change(s, id, verb, err);
}

int webhook_disable(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return with_reason(s, argv[0], "disable", err);
}

int webhook_remove(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return with_reason(s, argv[0], "remove", err);
}

int webhook_rotate(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	return change(s, argv[0], "rotate", err);
}

int webhook_deliveries(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = {
		{ "ID", "id" },         { "TYPE", "type" },         { "ACCOUNT", "account" },    { "STATE", "state" },           { "TRIES", "attempts" },
		{ "SINCE", "created_at" }, { "DONE", "done_at" }, { "NEXT", "due_at" }, { "STATUS", "last_status" }, { "ERROR", "last_error" },
	};
	struct buf path;
	(void)argc;
	begin(&path, argv[0], "deliveries");
	add_query(&path, "state", s->state);
	add_query(&path, "type", s->type);
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

int webhook_delivery(struct settings *s, int argc, char **argv, struct error *err)
{
	struct buf path;
	(void)argc;
	begin(&path, argv[0], "deliveries/");
	add_encoded(&path, argv[1]);
	int r = answer_facts(s, ask(s, true, buf_str(&path), NULL, err), err);
	buf_free(&path);
	return r;
}

int webhook_replay(struct settings *s, int argc, char **argv, struct error *err)
{
	yyjson_mut_doc *body = new_body();
	yyjson_mut_val *root = yyjson_mut_doc_get_root(body);
	add_ids(body, argc - 1, argv + 1);
	add_text(body, "state", s->state);
	add_text(body, "type", s->type);
	add_text(body, "account", s->account);
	add_text(body, "why", s->why);
	if (s->all)
		yyjson_mut_obj_add_bool(body, root, "all", true);
	if (s->dry_run)
		yyjson_mut_obj_add_bool(body, root, "dry_run", true);
	return post(s, argv[0], "replay", body, err);
}

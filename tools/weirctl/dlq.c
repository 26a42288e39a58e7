/* dlq.c - dead letters: list, show one, count, try again, edit, skip, drop. */
#include "weirctl.h"

#include "wire/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX (64u << 20)

int need_subscription(const struct settings *s, struct error *err)
{
	return s->subscription ? 0
			       : error_set(err, WEIR_USAGE,
					   "say whose dead letters with --subscription: normalizer, reconciler or fetcher (\"dlq list\" shows it)");
}

int answer_facts(const struct settings *s, yyjson_doc *doc, struct error *err)
{
	if (!doc)
		return err->code;
	if (s->json)
		show_json(doc);
	else
		show_facts(yyjson_doc_get_root(doc), "");
	yyjson_doc_free(doc);
	return 0;
}

int dlq_show(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (need_subscription(s, err))
		return err->code;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/dlq/");
	add_encoded(&path, s->subscription);
	buf_add_byte(&path, '/');
	add_encoded(&path, argv[0]);
	add_query(&path, "chain", s->chain);
	int r = answer_facts(s, ask(s, true, buf_str(&path), NULL, err), err);
	buf_free(&path);
	return r;
}

void add_letter_query(struct buf *path, const struct settings *s)
{
	add_query(path, "chain", s->chain);
	add_query(path, "subscription", s->subscription);
	add_query(path, "type", s->type);
	add_query(path, "reason", s->reason);
	add_query(path, "error_class", s->error_class);
	add_query(path, "key", s->message_key);
	add_query(path, "kind", s->kind);
	add_query(path, "from", s->from);
	add_query(path, "to", s->to);
}

int dlq_list(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = {
		{ "ID", "id" }, { "CHAIN", "chain" }, { "SUBSCRIPTION", "subscription" }, { "TYPE", "type" }, { "KEY", "key" }, { "KIND", "kind" }, { "REPLAYS", "replays" },
		{ "REASON", "reason" }, { "ERROR", "error" },
	};
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/dlq");
	add_letter_query(&path, s);
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

void add_letter_filters(yyjson_mut_doc *body, const struct settings *s)
{
	add_text(body, "chain", s->chain);
	add_text(body, "subscription", s->subscription);
	add_text(body, "type", s->type);
	add_text(body, "reason", s->reason);
	add_text(body, "error_class", s->error_class);
	add_text(body, "key", s->message_key);
	add_text(body, "kind", s->kind);
	add_text(body, "from", s->from);
	add_text(body, "to", s->to);
}

void add_ids(yyjson_mut_doc *body, int argc, char **argv)
{
	if (argc == 0)
		return;
	yyjson_mut_val *ids = yyjson_mut_obj_add_arr(body, yyjson_mut_doc_get_root(body), "ids");
	for (int i = 0; i < argc; i++)
		yyjson_mut_arr_add_str(body, ids, argv[i]);
}

int read_file(const char *path, size_t max, struct buf *ret, struct error *err)
{
	bool input = strcmp(path, "-") == 0;
	FILE *f = input ? stdin : fopen(path, "re");
	char part[65536];
	*ret = (struct buf)BUF_INIT(max);
	if (!f)
		return error_set(err, errno == ENOENT ? WEIR_NOT_FOUND : WEIR_IO, "%s cannot be read: %s", path, strerror(errno));
	for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
		buf_add(ret, part, n);
	bool failed = ferror(f);
	if (!input)
		fclose(f);
	if (failed)
		return error_set(err, WEIR_IO, "%s cannot be read to its end", path);
	return ret->overflow ? error_set(err, WEIR_LIMIT, "%s is larger than %zu MiB", path, max >> 20) : 0;
}

/* Ids are a chain's own, so the chain is always said. */
static int act(struct settings *s, const char *path, int argc, char **argv, bool purge, struct error *err)
{
	if (need_subscription(s, err) || find_chain(s, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	add_letter_filters(body, s);
	add_text(body, "why", s->why);
	add_ids(body, argc, argv);
	if (purge && s->all)
		yyjson_mut_obj_add_bool(body, yyjson_mut_doc_get_root(body), "all", true);
	int r = answer_facts(s, ask(s, true, path, body, err), err);
	yyjson_mut_doc_free(body);
	return r;
}

int dlq_replay(struct settings *s, int argc, char **argv, struct error *err)
{
	return act(s, "/admin/v1/dlq/replay", argc, argv, false, err);
}

int dlq_purge(struct settings *s, int argc, char **argv, struct error *err)
{
	if (!s->why)
		return error_set(err, WEIR_USAGE, "dlq purge drops messages for good: say why with --why (it is written into the audit log)");
	bool narrow = s->type || s->reason || s->error_class || s->message_key || s->kind || s->from || s->to;
	if (argc == 0 && !narrow && !s->all)
		return error_set(err, WEIR_USAGE,
				 "dlq purge: name ids or a filter (--type, --reason, …), or say --all to drop every dead letter of the subscription");
	return act(s, "/admin/v1/dlq/purge", argc, argv, true, err);
}

int dlq_counts(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "CHAIN", "chain" },   { "SUBSCRIPTION", "subscription" },
						 { "KIND", "kind" },     { "TYPE", "type" },
						 { "REASON", "reason" }, { "COUNT", "count" } };
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/dlq/counts");
	add_query(&path, "chain", s->chain);
	add_query(&path, "subscription", s->subscription);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

/* POST …/{subscription}/{id}/{verb} */
static int change(struct settings *s, const char *id, const char *verb, yyjson_mut_doc *body, struct error *err)
{
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/dlq/");
	add_encoded(&path, s->subscription);
	buf_add_byte(&path, '/');
	add_encoded(&path, id);
	buf_printf(&path, "/%s", verb);
	add_text(body, "chain", s->chain);
	add_text(body, "why", s->why);
	int r = answer_facts(s, ask(s, true, buf_str(&path), body, err), err);
	buf_free(&path);
	return r;
}

int dlq_edit(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	struct buf file, text = BUF_INIT(2ul * BODY_MAX);
	if (!s->why)
		return error_set(err, WEIR_USAGE, "dlq edit changes a message: say why with --why (it is written into the audit log)");
	if (need_subscription(s, err) || find_chain(s, err))
		return err->code;
	int r = read_file(argv[1], BODY_MAX, &file, err);
	if (r == 0) {
		yyjson_mut_doc *body = new_body();
		base64_write((struct bytes){ file.data, file.size }, &text);
		add_text(body, "body", buf_str(&text));
		add_text(body, "frame_sha256", s->sha256);
		r = change(s, argv[0], "edit", body, err);
		yyjson_mut_doc_free(body);
	}
	buf_free(&file);
	buf_free(&text);
	return r;
}

int dlq_skip(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (!s->why)
		return error_set(err, WEIR_USAGE, "dlq skip breaks the order of a key: say why with --why (it is written into the audit log)");
	if (need_subscription(s, err) || find_chain(s, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	int r = change(s, argv[0], "skip", body, err);
	yyjson_mut_doc_free(body);
	return r;
}

/* chain.c - commands to a chain: refetch, reconcile, pause, resume, rewind, and its export to Kafka. The gateway accepts them; the services carry them out. */
#include "weirctl.h"

#include <stdio.h>
#include <string.h>

/* Sends the body and frees it. */
static int command(struct settings *s, const char *action, yyjson_mut_doc *body, struct error *err)
{
	struct buf path = BUF_INIT(8192);
	yyjson_doc *doc = NULL;
	if (find_chain(s, err) == 0) {
		buf_add_str(&path, "/admin/v1/chains/");
		add_encoded(&path, s->chain);
		buf_printf(&path, "/%s", action);
		doc = ask(s, true, buf_str(&path), body, err);
	}
	if (doc && s->json)
		show_json(doc);
	else if (doc)
		show_facts(yyjson_doc_get_root(doc), "");
	int r = doc ? 0 : err->code;
	yyjson_doc_free(doc);
	yyjson_mut_doc_free(body);
	buf_free(&path);
	return r;
}

int refetch(struct settings *s, int argc, char **argv, struct error *err)
{
	uint64_t from, to;
	if (read_height(argv[0], &from, err) || read_height(argv[argc - 1], &to, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	yyjson_mut_obj_add_uint(body, yyjson_mut_doc_get_root(body), "from_height", from);
	yyjson_mut_obj_add_uint(body, yyjson_mut_doc_get_root(body), "to_height", to);
	add_text(body, "reason", s->why);
	return command(s, "refetch", body, err);
}

int reconcile(struct settings *s, int argc, char **argv, struct error *err)
{
	yyjson_mut_doc *body = new_body();
	add_text(body, "account", argc > 0 ? argv[0] : NULL);
	add_text(body, "asset", argc > 1 ? argv[1] : NULL);
	return command(s, "reconcile", body, err);
}

int pause_chain(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	yyjson_mut_doc *body = new_body();
	add_text(body, "reason", s->why);
	return command(s, "pause", body, err);
}

int resume_chain(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	return command(s, "resume", new_body(), err);
}

int rewind_chain(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	uint64_t to;
	if (!s->why)
		return error_set(err, WEIR_USAGE, "rewind takes blocks back: say why with --why (it is written into the audit log)");
	if (read_height(argv[0], &to, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	yyjson_mut_obj_add_uint(body, yyjson_mut_doc_get_root(body), "to_height", to);
	add_text(body, "reason", s->why);
	return command(s, "rewind", body, err);
}

int kafka_restart(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	uint64_t from = 0;
	if (!s->why)
		return error_set(err, WEIR_USAGE, "restart sends events again, or leaves some out: say why with --why (it is written into the audit log)");
	if (s->from_height && read_height(s->from_height, &from, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	if (s->from_height)
		yyjson_mut_obj_add_uint(body, yyjson_mut_doc_get_root(body), "from_height", from);
	add_text(body, "why", s->why);
	return command(s, "kafka/restart", body, err);
}

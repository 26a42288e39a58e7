/* dlq.c - dead letters: show one, try again, drop. */
#include "weirctl.h"

#include <stdio.h>

static int need_subscription(const struct settings *s, struct error *err)
{
	return s->subscription ? 0 :
				 error_set(err, WEIR_USAGE, "say whose dead letters with --subscription: normalizer, reconciler or fetcher (\"dlq list\" shows it)");
}

static int show_answer(const struct settings *s, yyjson_doc *doc, struct error *err)
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
	int r = show_answer(s, ask(s, true, buf_str(&path), NULL, err), err);
	buf_free(&path);
	return r;
}

/* Ids are a chain's own, so the chain is always said. */
static int act(struct settings *s, const char *path, int argc, char **argv, bool purge, struct error *err)
{
	if (need_subscription(s, err) || find_chain(s, err))
		return err->code;
	yyjson_mut_doc *body = new_body();
	yyjson_mut_val *root = yyjson_mut_doc_get_root(body);
	add_text(body, "chain", s->chain);
	add_text(body, "subscription", s->subscription);
	add_text(body, "type", s->type);
	add_text(body, "reason", s->reason);
	add_text(body, "why", s->why);
	if (argc > 0) {
		yyjson_mut_val *ids = yyjson_mut_obj_add_arr(body, root, "ids");
		for (int i = 0; i < argc; i++)
			yyjson_mut_arr_add_str(body, ids, argv[i]);
	}
	if (purge && s->all)
		yyjson_mut_obj_add_bool(body, root, "all", true);
	int r = show_answer(s, ask(s, true, path, body, err), err);
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
	if (argc == 0 && !s->type && !s->reason && !s->all)
		return error_set(err, WEIR_USAGE, "dlq purge: name ids, --type or --reason, or say --all to drop every dead letter of the subscription");
	return act(s, "/admin/v1/dlq/purge", argc, argv, true, err);
}

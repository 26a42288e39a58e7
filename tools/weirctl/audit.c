/* audit.c - what operators did, and whether that record is as it was written. */
#include "weirctl.h"

#include <stdio.h>

int audit_list(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "NUMBER", "number" },       { "AT", "at" },
						 { "ACTION", "words.action" }, { "WHO", "words.who" },
						 { "WHY", "words.why" },       { "SUBSCRIPTION", "words.subscription" },
						 { "COUNT", "words.count" },   { "DETAIL", "words.detail" } };
	(void)argc;
	(void)argv;
	if (find_chain(s, err))
		return err->code;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/audit");
	add_query(&path, "chain", s->chain);
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

int audit_verify(struct settings *s, int argc, char **argv, struct error *err)
{
	if (argc == 1)
		return error_set(err, WEIR_USAGE, "audit verify: a line that was noted is its number and its hash");
	if (find_chain(s, err))
		return err->code;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/audit/verify");
	add_query(&path, "chain", s->chain);
	add_query(&path, "number", argc == 2 ? argv[0] : NULL);
	add_query(&path, "hash", argc == 2 ? argv[1] : NULL);
	yyjson_doc *doc = ask(s, true, buf_str(&path), NULL, err);
	buf_free(&path);
	bool sound = yyjson_is_true(yyjson_obj_get(yyjson_doc_get_root(doc), "sound"));
	int r = answer_facts(s, doc, err);
	return r || sound ? r : error_set(err, WEIR_MISMATCH, "the audit stream of chain %s is not as it was written: see above", s->chain);
}

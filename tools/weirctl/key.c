/* key.c - API keys of the database: list, make, revoke. */
#include "weirctl.h"

#include <stdio.h>

int key_list(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "ID", "id" },		 { "NAME", "name" },	       { "SCOPES", "scopes" },	   { "ADDRESSES", "addresses" },
						 { "CREATED", "created_at" },	 { "BY", "created_by" },       { "EXPIRES", "expires_at" },
						 { "LAST USED", "last_used_at" }, { "REVOKED", "revoked_at" } };
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/keys");
	add_query(&path, "revoked", s->all ? "true" : NULL);
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

int key_make(struct settings *s, int argc, char **argv, struct error *err)
{
	yyjson_mut_doc *body = new_body();
	yyjson_mut_val *scopes = yyjson_mut_obj_add_arr(body, yyjson_mut_doc_get_root(body), "scopes");
	add_text(body, "name", argv[0]);
	for (int i = 1; i < argc; i++)
		yyjson_mut_arr_add_str(body, scopes, argv[i]);
	add_text(body, "addresses", s->addresses);
	int r = add_number(body, "expires_in", s->expires_in, err);
	r = r ? r : answer_facts(s, ask(s, true, "/admin/v1/keys", body, err), err);
	yyjson_mut_doc_free(body);
	return r;
}

int key_revoke(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (!s->why)
		return error_set(err, WEIR_USAGE, "say --why: it goes into the audit record");
	struct buf path = BUF_INIT(8192);
	yyjson_mut_doc *body = new_body();
	buf_add_str(&path, "/admin/v1/keys/");
	add_encoded(&path, argv[0]);
	buf_add_str(&path, "/revoke");
	add_text(body, "why", s->why);
	int r = answer_facts(s, ask(s, true, buf_str(&path), body, err), err);
	yyjson_mut_doc_free(body);
	buf_free(&path);
	return r;
}

/* token.c - tokens of issuers that are refused before their end: list, revoke. */
#include "weirctl.h"

#include <string.h>

int token_list(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "ID", "id" },	   { "JTI", "jti" },	     { "SUBJECT", "subject" }, { "ISSUED UP TO", "issued_before" },
						 { "UNTIL", "until" }, { "REVOKED", "created_at" }, { "BY", "created_by" },    { "WHY", "why" } };
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/tokens/revoked");
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

int token_revoke(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (strcmp(argv[0], "jti") != 0 && strcmp(argv[0], "subject") != 0)
		return error_set(err, WEIR_USAGE, "say what the text is: jti (one token), or subject (all of it that were issued up to now)");
	if (!s->why || !s->expires_in)
		return error_set(err, WEIR_USAGE, "say --why, which goes into the audit record, and --expires-in, the seconds that such tokens may still last");
	yyjson_mut_doc *body = new_body();
	add_text(body, argv[0], argv[1]);
	add_text(body, "why", s->why);
	int r = add_number(body, "expires_in", s->expires_in, err);
	r = r ? r : answer_facts(s, ask(s, true, "/admin/v1/tokens/revoked", body, err), err);
	yyjson_mut_doc_free(body);
	return r;
}

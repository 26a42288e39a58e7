/* alert.c - alerts: where they go, trying that, and silences. */
#include "weirctl.h"

int alert_list(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	return answer_facts(s, ask(s, true, "/admin/v1/alerts", NULL, err), err);
}

/* A destination that did not take it is a failure of the command. */
int alert_try(struct settings *s, int argc, char **argv, struct error *err)
{
	yyjson_mut_doc *body = new_body();
	add_text(body, "destination", argc > 0 ? argv[0] : NULL);
	yyjson_doc *doc = ask(s, true, "/admin/v1/alerts/test", body, err);
	yyjson_mut_doc_free(body);
	size_t i, n, failed = 0;
	yyjson_val *item;
	yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "items"), i, n, item)
		failed += !yyjson_is_true(yyjson_obj_get(item, "taken"));
	int r = answer_facts(s, doc, err);
	return r || failed == 0 ? r : error_set(err, WEIR_UNAVAILABLE, "%zu of the destinations did not take the alert: see above", failed);
}

int alert_silence(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (!s->why)
		return error_set(err, WEIR_USAGE, "alert silence needs --why: the audit asks, and whoever misses the alert");
	yyjson_mut_doc *body = new_body();
	add_text(body, "pattern", argv[0]);
	add_text(body, "why", s->why);
	int r = add_number(body, "seconds", argv[1], err);
	r = r ? r : answer_facts(s, ask(s, true, "/admin/v1/alerts/silences", body, err), err);
	yyjson_mut_doc_free(body);
	return r;
}

int alert_unsilence(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	struct buf path = BUF_INIT(8192);
	yyjson_mut_doc *body = new_body();
	buf_add_str(&path, "/admin/v1/alerts/silences/");
	add_encoded(&path, argv[0]);
	buf_add_str(&path, "/end");
	add_text(body, "why", s->why);
	int r = answer_facts(s, ask(s, true, buf_str(&path), body, err), err);
	yyjson_mut_doc_free(body);
	buf_free(&path);
	return r;
}

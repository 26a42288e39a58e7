/* explain.c - where a balance comes from: each entry with its origin, the proof of its block, and the running balance. */
#include "weirctl.h"

#include <stdio.h>
#include <string.h>

#define PAGES_MAX 100000

/* "11 of 15 checks passed" of a block's certificate, remembered for the block last asked. */
static void proof_of(const struct settings *s, const char *height, char ret[64])
{
	static char last[24], text[64];
	if (strcmp(last, height) == 0) {
		snprintf(ret, 64, "%s", text);
		return;
	}
	struct error err = { 0 };
	struct buf path = BUF_INIT(4096);
	buf_add_str(&path, "/v1/chains/");
	add_encoded(&path, s->chain);
	buf_printf(&path, "/blocks/%s/certificate", height);
	yyjson_doc *doc = ask(s, false, buf_str(&path), NULL, &err);
	buf_free(&path);
	yyjson_val *root = yyjson_doc_get_root(doc), *check;
	size_t passed = 0, i, n = 0;
	yyjson_arr_foreach(yyjson_obj_get(root, "checks"), i, n, check)
	{
		const char *result = yyjson_get_str(yyjson_obj_get(check, "result"));
		passed += result && strcmp(result, "passed") == 0;
	}
	if (!doc)
		snprintf(text, sizeof text, "no certificate");
	else
		snprintf(text, sizeof text, "%s (%zu of %zu)", yyjson_get_bool(yyjson_obj_get(root, "proven")) ? "proven" : "unproven", passed, n);
	yyjson_doc_free(doc);
	snprintf(last, sizeof last, "%s", height);
	snprintf(ret, 64, "%s", text);
}

static void show_entry(const struct settings *s, yyjson_val *entry)
{
	char cells[6][96], proof[64];
	value_text(value_at(entry, "height"), cells[0]);
	proof_of(s, cells[0], proof);
	printf("%10s  %-15s %-16s %32s  %32s  %-18s %s\n", cells[0], value_text(value_at(entry, "kind"), cells[1]),
	       value_text(value_at(entry, "path"), cells[2]), value_text(value_at(entry, "delta"), cells[3]),
	       value_text(value_at(entry, "balance"), cells[4]), proof, value_text(value_at(entry, "transaction_hash"), cells[5]));
}

int explain(const struct settings *s, int argc, char **argv, struct error *err)
{
	if (argc < 2)
		return error_set(err, WEIR_USAGE, "explain needs ACCOUNT and ASSET (\"native\", a contract, or contract:id), and perhaps a HEIGHT");
	char *cursor = NULL;
	bool first = true;
	for (int page = 0; page < PAGES_MAX; page++) {
		struct buf path = BUF_INIT(8192);
		buf_add_str(&path, "/v1/chains/");
		add_encoded(&path, s->chain);
		buf_add_str(&path, "/accounts/");
		add_encoded(&path, argv[0]);
		buf_add_str(&path, "/entries?limit=100&asset=");
		add_encoded(&path, argv[1]);
		if (argc > 2) {
			buf_add_str(&path, "&to=");
			add_encoded(&path, argv[2]);
		}
		if (cursor) {
			buf_add_str(&path, "&cursor=");
			add_encoded(&path, cursor);
		}
		yyjson_doc *doc = ask(s, false, buf_str(&path), NULL, err);
		buf_free(&path);
		xfree(&cursor);
		if (!doc)
			return err->code;
		yyjson_val *root = yyjson_doc_get_root(doc), *entry;
		size_t i, n;
		if (s->json) {
			show_document(s, doc);
		} else {
			if (first)
				printf("%10s  %-15s %-16s %32s  %32s  %-18s %s\n", "height", "kind", "origin", "delta", "balance", "proof", "transaction");
			yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, n, entry) show_entry(s, entry);
		}
		first = false;
		cursor = xstrdup(yyjson_get_str(yyjson_obj_get(root, "next_cursor")));
		yyjson_doc_free(doc);
		if (!cursor)
			return 0;
	}
	xfree(&cursor);
	return 0;
}

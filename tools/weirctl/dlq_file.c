/* dlq_file.c - dead letters as files: lines of JSON out, and in again. */
#include "weirctl.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX_BYTES (1ul << 30)
#define REQUEST_BYTES (400u << 10) /* of lines: the gateway takes bodies of 1 MiB unless its gateway.max_body says otherwise */

static void print_line(yyjson_val *item)
{
	char *text = yyjson_val_write(item, 0, NULL);
	printf("%s\n", text ? text : "");
	free(text);
}

int dlq_export(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	struct buf cursor = BUF_INIT(1024);
	int r = need_subscription(s, err);
	for (bool more = r == 0; more;) {
		struct buf path = BUF_INIT(8192);
		buf_add_str(&path, "/admin/v1/dlq/export");
		add_letter_query(&path, s);
		add_query(&path, "cursor", cursor.size ? buf_str(&cursor) : NULL);
		yyjson_doc *doc = ask(s, true, buf_str(&path), NULL, err);
		yyjson_val *root = yyjson_doc_get_root(doc), *item, *next = yyjson_obj_get(root, "next_cursor");
		size_t i, n;
		yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, n, item) print_line(item);
		buf_reset(&cursor);
		more = doc && yyjson_is_str(next);
		if (more)
			buf_add_str(&cursor, yyjson_get_str(next));
		r = doc ? 0 : err->code;
		buf_free(&path);
		yyjson_doc_free(doc);
	}
	buf_free(&cursor);
	return r;
}

struct tally {
	uint64_t imported, known;
};

static int send_lines(const struct settings *s, const char *lines, size_t size, struct tally *t, struct error *err)
{
	char *text = xstrndup(lines, size);
	yyjson_mut_doc *body = new_body();
	add_text(body, "chain", s->chain);
	add_text(body, "subscription", s->subscription);
	add_text(body, "lines", text);
	yyjson_doc *doc = ask(s, true, "/admin/v1/dlq/import", body, err);
	t->imported += yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "imported"));
	t->known += yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "known"));
	yyjson_mut_doc_free(body);
	yyjson_doc_free(doc);
	free(text);
	return doc ? 0 : err->code;
}

/* How many bytes of whole lines go into the next request: at least one line. */
static size_t next_part(const char *at, size_t left)
{
	size_t size = 0;
	while (size < left) {
		const char *end = memchr(at + size, '\n', left - size);
		size_t line = end ? (size_t)(end - at) + 1 - size : left - size;
		if (size > 0 && size + line > REQUEST_BYTES)
			break;
		size += line;
	}
	return size;
}

int dlq_import(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	struct buf file;
	struct tally t = { 0, 0 };
	if (need_subscription(s, err) || find_chain(s, err))
		return err->code;
	int r = read_file(argv[0], FILE_MAX_BYTES, &file, err);
	for (size_t at = 0; r == 0 && at < file.size;) {
		size_t n = next_part((const char *)file.data + at, file.size - at);
		r = send_lines(s, (const char *)file.data + at, n, &t, err);
		at += n;
	}
	if (r != 0 && t.imported > 0)
		error_prefix(err, "%llu letters were imported, then (import the whole file again when that is mended)",
			     (unsigned long long)t.imported);
	if (r == 0 && s->json)
		printf("{\"imported\":%llu,\"known\":%llu}\n", (unsigned long long)t.imported, (unsigned long long)t.known);
	else if (r == 0)
		printf("%-20s  %llu\n%-20s  %llu\n", "imported", (unsigned long long)t.imported, "known", (unsigned long long)t.known);
	buf_free(&file);
	return r;
}

/* show.c - tables for people, JSON for programs. */
#include "weirctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 12
#define CELL_MAX 80

yyjson_val *value_at(yyjson_val *item, const char *path)
{
	while (item && *path) {
		size_t n = strcspn(path, ".");
		item = yyjson_obj_getn(item, path, n);
		path += n + (path[n] == '.');
	}
	return item;
}

const char *value_text(yyjson_val *value, char ret[96])
{
	if (!value || yyjson_is_null(value))
		snprintf(ret, 96, "-");
	else if (yyjson_is_str(value))
		snprintf(ret, 96, "%.*s", CELL_MAX, yyjson_get_str(value));
	else if (yyjson_is_bool(value))
		snprintf(ret, 96, "%s", yyjson_get_bool(value) ? "yes" : "no");
	else if (yyjson_is_sint(value))
		snprintf(ret, 96, "%" PRId64, yyjson_get_sint(value));
	else if (yyjson_is_uint(value))
		snprintf(ret, 96, "%" PRIu64, yyjson_get_uint(value));
	else if (yyjson_is_real(value))
		snprintf(ret, 96, "%.3f", yyjson_get_real(value));
	else
		snprintf(ret, 96, "(%zu)", yyjson_is_arr(value) ? yyjson_arr_size(value) : yyjson_obj_size(value));
	return ret;
}

static void print_json(yyjson_doc *doc, yyjson_write_flag flag)
{
	size_t size;
	char *text = yyjson_write(doc, flag, &size);
	if (text)
		printf("%s\n", text);
	free(text);
}

void show_document(const struct settings *s, yyjson_doc *doc)
{
	print_json(doc, s->json ? 0 : YYJSON_WRITE_PRETTY_TWO_SPACES);
}

void show_list(const struct settings *s, yyjson_doc *doc, const struct column *columns, size_t n)
{
	if (s->json) {
		print_json(doc, 0);
		return;
	}
	yyjson_val *root = yyjson_doc_get_root(doc), *items = yyjson_is_arr(root) ? root : yyjson_obj_get(root, "items"), *item;
	size_t widths[COLUMNS_MAX], i, max;
	char cell[96];
	for (size_t c = 0; c < n; c++)
		widths[c] = strlen(columns[c].head);
	yyjson_arr_foreach(items, i, max, item)
		for (size_t c = 0; c < n; c++) {
			size_t width = strlen(value_text(value_at(item, columns[c].path), cell));
			if (width > widths[c])
				widths[c] = width;
		}
	for (size_t c = 0; c < n; c++)
		printf("%-*s%s", (int)widths[c], columns[c].head, c + 1 < n ? "  " : "\n");
	yyjson_arr_foreach(items, i, max, item)
		for (size_t c = 0; c < n; c++)
			printf("%-*s%s", (int)widths[c], value_text(value_at(item, columns[c].path), cell), c + 1 < n ? "  " : "\n");
	if (yyjson_arr_size(items) == 0)
		printf("(none)\n");
	yyjson_val *next = yyjson_obj_get(root, "next_cursor");
	if (yyjson_is_str(next))
		printf("more: --cursor %s\n", yyjson_get_str(next));
}

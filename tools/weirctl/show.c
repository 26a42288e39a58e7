/* show.c - tables for people, JSON for programs. */
#include "weirctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 12
#define CELL_MAX 80
#define PREFIX_MAX 80

yyjson_val *value_at(yyjson_val *item, const char *path)
{
	while (item && *path) {
		size_t n = strcspn(path, ".");
		item = yyjson_obj_getn(item, path, n);
		path += n + (path[n] == '.');
	}
	return item;
}

/* Texts come from nodes and messages too: a control character in one would write over the table, or over the terminal's settings. */
static void copy_plain(const char *text, char ret[96])
{
	size_t n = 0;
	for (; n < CELL_MAX && text[n]; n++)
		ret[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? ' ' : text[n];
	while (text[n] && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) /* not into the middle of a character */
		n--;
	snprintf(ret + n, 96 - n, "%s", text[n] ? "…" : "");
}

static bool is_list_of_texts(yyjson_val *value)
{
	return yyjson_is_arr(value) && yyjson_is_str(yyjson_arr_get_first(value));
}

static void join_texts(yyjson_val *list, char ret[96])
{
	size_t i, max;
	yyjson_val *element;
	struct buf text = BUF_INIT(4096);
	yyjson_arr_foreach(list, i, max, element) buf_printf(&text, "%s%s", i ? "," : "", yyjson_is_str(element) ? yyjson_get_str(element) : "?");
	copy_plain(buf_str(&text), ret);
	buf_free(&text);
}

const char *value_text(yyjson_val *value, char ret[96])
{
	if (!value || yyjson_is_null(value))
		snprintf(ret, 96, "-");
	else if (yyjson_is_str(value))
		copy_plain(yyjson_get_str(value), ret);
	else if (yyjson_is_bool(value))
		snprintf(ret, 96, "%s", yyjson_get_bool(value) ? "yes" : "no");
	else if (yyjson_is_sint(value))
		snprintf(ret, 96, "%" PRId64, yyjson_get_sint(value));
	else if (yyjson_is_uint(value))
		snprintf(ret, 96, "%" PRIu64, yyjson_get_uint(value));
	else if (yyjson_is_real(value))
		snprintf(ret, 96, "%.3f", yyjson_get_real(value));
	else if (is_list_of_texts(value))
		join_texts(value, ret);
	else
		snprintf(ret, 96, "(%zu)", yyjson_is_arr(value) ? yyjson_arr_size(value) : yyjson_obj_size(value));
	return ret;
}

void show_json(yyjson_doc *doc)
{
	char *text = yyjson_write(doc, 0, NULL);
	printf("%s\n", text ? text : "");
	free(text);
}

/* Characters, not bytes of UTF-8. */
static size_t width_of(const char *text)
{
	size_t n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void show_row(char cells[COLUMNS_MAX][96], const size_t *widths, size_t n)
{
	for (size_t c = 0; c + 1 < n; c++)
		printf("%s%*s  ", cells[c], (int)(widths[c] - width_of(cells[c])), "");
	printf("%s\n", cells[n - 1]);
}

void show_items(yyjson_val *items, const struct column *columns, size_t n)
{
	size_t widths[COLUMNS_MAX], i, max;
	char cells[COLUMNS_MAX][96];
	yyjson_val *item;
	for (size_t c = 0; c < n; c++) {
		widths[c] = strlen(columns[c].head);
		yyjson_arr_foreach(items, i, max, item)
		{
			size_t width = width_of(value_text(value_at(item, columns[c].path), cells[c]));
			widths[c] = width > widths[c] ? width : widths[c];
		}
		snprintf(cells[c], sizeof cells[c], "%s", columns[c].head);
	}
	show_row(cells, widths, n);
	yyjson_arr_foreach(items, i, max, item)
	{
		for (size_t c = 0; c < n; c++)
			value_text(value_at(item, columns[c].path), cells[c]);
		show_row(cells, widths, n);
	}
	if (yyjson_arr_size(items) == 0)
		printf("(none)\n");
}

/* A list of objects, its columns named as its first one's members. */
static void show_objects(const char *name, yyjson_val *items)
{
	struct column columns[COLUMNS_MAX];
	size_t n = 0, i, max;
	yyjson_val *key, *value, *first = yyjson_arr_get_first(items);
	printf("%s:\n", name);
	if (!yyjson_is_obj(first) || yyjson_obj_size(first) == 0) {
		printf("(none)\n");
		return;
	}
	yyjson_obj_foreach(first, i, max, key, value)
	{
		if (n < COLUMNS_MAX) {
			columns[n].head = columns[n].path = yyjson_get_str(key);
			n++;
		}
	}
	show_items(items, columns, n);
}

void show_facts(yyjson_val *object, const char *prefix)
{
	size_t i, max;
	yyjson_val *key, *value;
	char name[PREFIX_MAX], cell[96];
	yyjson_obj_foreach(object, i, max, key, value)
	{
		snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", yyjson_get_str(key));
		if (yyjson_is_obj(value) && strlen(name) + 1 < sizeof name)
			show_facts(value, name);
		else if (yyjson_is_arr(value) && !is_list_of_texts(value))
			show_objects(name, value);
		else
			printf("%-20s  %s\n", name, value_text(value, cell));
	}
}

/* answer.c - the skipper and the reader of the little that surrounds a result. */
#include "net/answer.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

static void skip_blanks(struct bytes text, size_t *at)
{
	while (*at < text.size && (text.data[*at] == ' ' || text.data[*at] == '\n' || text.data[*at] == '\t' || text.data[*at] == '\r'))
		(*at)++;
}

/* text[at] is the opening quote; returns the position behind the closing one, 0 when there is none. */
static size_t string_end(struct bytes text, size_t at)
{
	for (size_t i = at + 1; i < text.size;) {
		const uint8_t *quote = memchr(text.data + i, '"', text.size - i);
		if (!quote)
			return 0;
		size_t end = (size_t)(quote - text.data), slashes = 0;
		while (end - slashes > i && text.data[end - slashes - 1] == '\\')
			slashes++;
		if (slashes % 2 == 0)
			return end + 1;
		i = end + 1;
	}
	return 0;
}

/* text[at] is '{' or '['. A bit per level remembers which. */
static size_t container_end(struct bytes text, size_t at)
{
	uint64_t object[ANSWER_DEPTH_MAX / 64] = { 0 };
	size_t depth = 0;
	for (size_t i = at; i < text.size;) {
		switch (text.data[i]) {
		case '"':
			i = string_end(text, i);
			if (i == 0)
				return 0;
			continue;
		case '{':
		case '[':
			if (depth == ANSWER_DEPTH_MAX)
				return 0;
			if (text.data[i] == '{')
				object[depth / 64] |= UINT64_C(1) << (depth % 64);
			else
				object[depth / 64] &= ~(UINT64_C(1) << (depth % 64));
			depth++;
			break;
		case '}':
		case ']':
			depth--;
			if (((object[depth / 64] >> (depth % 64)) & 1) != (text.data[i] == '}'))
				return 0;
			if (depth == 0)
				return i + 1;
			break;
		default:
			break;
		}
		i++;
	}
	return 0;
}

static size_t scalar_end(struct bytes text, size_t at)
{
	size_t i = at;
	while (i < text.size && (text.data[i] == '-' || text.data[i] == '+' || text.data[i] == '.' ||
				 (text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'z') ||
				 (text.data[i] >= 'A' && text.data[i] <= 'Z')))
		i++;
	return i > at ? i : 0;
}

int answer_skip(struct bytes text, size_t *at, struct bytes *ret)
{
	skip_blanks(text, at);
	if (*at >= text.size)
		return WEIR_PROTOCOL;
	uint8_t first = text.data[*at];
	size_t end = first == '"' ? string_end(text, *at) : first == '{' || first == '[' ? container_end(text, *at) : scalar_end(text, *at);
	if (end == 0)
		return WEIR_PROTOCOL;
	*ret = (struct bytes){ text.data + *at, end - *at };
	*at = end;
	return 0;
}

static bool is_text(struct bytes value, const char *text)
{
	return value.size == strlen(text) && memcmp(value.data, text, value.size) == 0;
}

static void read_id(struct bytes value, struct answer_item *item)
{
	if (value.size == 0 || value.size > 19)
		return;
	uint64_t id = 0;
	for (size_t i = 0; i < value.size; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return;
		id = id * 10 + (uint64_t)(value.data[i] - '0');
	}
	item->id = id;
	item->has_id = true;
}

/* The error object is small: parsed whole. A node's words go into logs, so only printable ones are taken. */
static bool read_error(struct bytes value, struct answer_item *item)
{
	if (value.size > 65536) {
		snprintf(item->error_message, sizeof item->error_message, "(an error of %zu bytes)", value.size);
		return true;
	}
	yyjson_doc *doc = yyjson_read((const char *)value.data, value.size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	bool good = yyjson_is_obj(root) || yyjson_is_str(root);
	yyjson_val *code = yyjson_obj_get(root, "code");
	item->error_code = yyjson_is_int(code) ? yyjson_get_sint(code) : 0;
	const char *message = yyjson_is_str(root) ? yyjson_get_str(root) : yyjson_get_str(yyjson_obj_get(root, "message"));
	for (size_t i = 0; message && message[i] && i < sizeof item->error_message - 1; i++)
		item->error_message[i] = message[i] >= ' ' && message[i] <= '~' ? message[i] : '?';
	yyjson_doc_free(doc);
	return good;
}

enum key { KEY_ID = 1, KEY_RESULT = 2, KEY_ERROR = 4 };

static int read_member(struct bytes key, struct bytes value, struct answer_item *item, unsigned *seen)
{
	unsigned which = is_text(key, "\"id\"") ? KEY_ID : is_text(key, "\"result\"") ? KEY_RESULT : is_text(key, "\"error\"") ? KEY_ERROR : 0;
	if (*seen & which)
		return WEIR_PROTOCOL;
	*seen |= which;
	if (which == KEY_ID)
		read_id(value, item);
	if (which == KEY_RESULT) {
		item->has_result = true;
		item->result = value;
	}
	if (which == KEY_ERROR && !is_text(value, "null")) {
		item->has_error = true;
		return read_error(value, item) ? 0 : WEIR_PROTOCOL;
	}
	return 0;
}

/* text[*at] is '{'. */
static int read_item(struct bytes text, size_t *at, struct answer_item *item, struct error *err)
{
	unsigned seen = 0;
	memset(item, 0, sizeof *item);
	(*at)++;
	skip_blanks(text, at);
	for (bool first = true; *at < text.size && text.data[*at] != '}'; first = false) {
		struct bytes key, value;
		if (!first && text.data[(*at)++] != ',')
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer: ',' expected at byte %zu", *at - 1);
		skip_blanks(text, at);
		if (*at >= text.size || text.data[*at] != '"' || answer_skip(text, at, &key) != 0)
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer: a key is expected at byte %zu", *at);
		skip_blanks(text, at);
		if (*at >= text.size || text.data[*at] != ':')
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer: ':' expected at byte %zu", *at);
		(*at)++;
		if (answer_skip(text, at, &value) != 0)
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer: value at byte %zu of %zu is truncated or malformed", *at, text.size);
		if (read_member(key, value, item, &seen) != 0)
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer: key %.*s given twice or malformed", (int)key.size, (const char *)key.data);
		skip_blanks(text, at);
	}
	if (*at >= text.size)
		return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer is truncated at byte %zu", text.size);
	(*at)++;
	if (item->has_error == item->has_result && !(item->has_error && is_text(item->result, "null")))
		return error_set(err, WEIR_PROTOCOL, "JSON-RPC answer: exactly one of result and error is expected");
	if (item->has_error)
		item->has_result = false;
	return 0;
}

static int read_batch(struct bytes text, size_t *at, answer_item_fn *on_item, void *arg, struct error *err)
{
	(*at)++;
	skip_blanks(text, at);
	for (bool first = true; *at < text.size && text.data[*at] != ']'; first = false) {
		if (!first && text.data[(*at)++] != ',')
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC batch answer: ',' expected at byte %zu", *at - 1);
		skip_blanks(text, at);
		if (*at >= text.size || text.data[*at] != '{')
			return error_set(err, WEIR_PROTOCOL, "JSON-RPC batch answer: an object is expected at byte %zu", *at);
		struct answer_item item;
		int r = read_item(text, at, &item, err);
		if (r != 0)
			return r;
		on_item(&item, arg);
		skip_blanks(text, at);
	}
	if (*at >= text.size)
		return error_set(err, WEIR_PROTOCOL, "JSON-RPC batch answer is truncated at byte %zu", text.size);
	(*at)++;
	return 0;
}

/* Most often it is a page for people: its first words tell whose. */
static int not_json(struct bytes text, size_t at, struct error *err)
{
	char begin[41];
	size_t n = 0;
	for (; n < sizeof begin - 1 && at + n < text.size; n++)
		begin[n] = text.data[at + n] < 0x20 || text.data[at + n] > 0x7e ? '?' : (char)text.data[at + n];
	begin[n] = 0;
	return error_set(err, WEIR_PROTOCOL, "the answer is not JSON, it begins with \"%s\": is the url that of a JSON-RPC endpoint?", begin);
}

int answer_split(struct bytes text, answer_item_fn *on_item, void *arg, bool *ret_batch, struct error *err)
{
	size_t at = 0;
	*ret_batch = false;
	skip_blanks(text, &at);
	if (at >= text.size)
		return error_set(err, WEIR_PROTOCOL, "the answer is empty");
	int r;
	struct answer_item item;
	if (text.data[at] == '[') {
		*ret_batch = true;
		r = read_batch(text, &at, on_item, arg, err);
	} else if (text.data[at] == '{') {
		r = read_item(text, &at, &item, err);
	} else {
		return not_json(text, at, err);
	}
	if (r != 0)
		return r;
	skip_blanks(text, &at);
	if (at < text.size)
		return error_set(err, WEIR_PROTOCOL, "text behind the end of the answer, at byte %zu", at);
	if (!*ret_batch)
		on_item(&item, arg);
	return 0;
}

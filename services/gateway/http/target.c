/* target.c - taking a request target apart. */
#include "http/target.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates. */
static bool is_utf8(const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	while (*p) {
		uint32_t c = *p++;
		int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
		if (more < 0)
			return false;
		c &= more == 0 ? 0x7f : 0x3fu >> more;
		uint32_t least = more == 2 ? 0x800 : more == 3 ? 0x10000 : 0;
		while (more-- > 0) {
			if ((*p & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*p++ & 0x3fu);
		}
		if (c < least || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
			return false;
	}
	return true;
}

enum part { PART_PATH, PART_QUERY };

/* In place. In a query '+' is a blank: URLSearchParams and forms write one so (application/x-www-form-urlencoded), and whoever means the sign, OpenAPI's clients
 * among them, writes %2B. In a path it is itself. */
static int decode(char *text, enum part part, struct error *err)
{
	char *out = text;
	for (const char *in = text; *in; in++) {
		if (*in != '%') {
			*out++ = part == PART_QUERY && *in == '+' ? ' ' : *in;
			continue;
		}
		int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);
		if (low < 0)
			return error_set(err, WEIR_INVALID, "the request target has a bad percent escape");
		int c = high << 4 | low;
		if (c < 0x20 || c == 0x7f)
			return error_set(err, WEIR_INVALID, "the request target has an escaped control character");
		*out++ = (char)c;
		in += 2;
	}
	*out = '\0';
	return is_utf8(text) ? 0 : error_set(err, WEIR_INVALID, "the request target is not UTF-8");
}

static int split_path(char *path, struct target *t, struct error *err)
{
	for (char *p = path; p;) {
		char *next = strchr(p, '/');
		if (next)
			*next++ = '\0';
		if (t->segment_count == TARGET_SEGMENTS_MAX)
			return error_set(err, WEIR_LIMIT, "the path has more than %d segments", TARGET_SEGMENTS_MAX);
		int code = decode(p, PART_PATH, err);
		if (code)
			return code;
		bool only = !next && t->segment_count == 0;
		if ((!*p && !only) || strcmp(p, ".") == 0 || strcmp(p, "..") == 0)
			return error_set(err, WEIR_INVALID, "the path has an empty or dot segment");
		if (*p)
			t->segments[t->segment_count++] = p;
		p = next;
	}
	return 0;
}

static int split_query(char *query, struct target *t, struct error *err)
{
	for (char *p = query; p && *p;) {
		char *next = strchr(p, '&');
		if (next)
			*next++ = '\0';
		char *value = strchr(p, '=');
		if (!value || value == p)
			return error_set(err, WEIR_INVALID, "the query has a part that is not name=value");
		*value++ = '\0';
		int code = decode(p, PART_QUERY, err);
		if (!code)
			code = decode(value, PART_QUERY, err);
		if (code)
			return code;
		if (target_parameter(t, p))
			return error_set(err, WEIR_INVALID, "a query parameter is given twice");
		if (t->parameter_count == TARGET_PARAMETERS_MAX)
			return error_set(err, WEIR_LIMIT, "the query has more than %d parameters", TARGET_PARAMETERS_MAX);
		t->parameters[t->parameter_count].name = p;
		t->parameters[t->parameter_count++].value = value;
		p = next;
	}
	return 0;
}

/* RFC 3986: neither reserved nor unreserved, or not text. '#' begins what is not sent. */
static bool must_be_escaped(uint8_t c)
{
	switch (c) {
	case '"': case '<': case '>': case '\\': case '^': case '`': case '{': case '|': case '}': case '#':
		return true;
	default:
		return c <= 0x20 || c >= 0x7f;
	}
}

int target_parse(const char *text, struct target *ret, struct error *err)
{
	ret->segment_count = ret->parameter_count = 0;
	ret->path[0] = '\0';
	size_t size = strnlen(text, TARGET_MAX + 1);
	if (size > TARGET_MAX)
		return error_set(err, WEIR_LIMIT, "the request target is longer than %d bytes", TARGET_MAX);
	if (text[0] != '/')
		return error_set(err, WEIR_INVALID, "the request target does not begin with '/'");
	for (size_t i = 0; i < size; i++)
		if (must_be_escaped((uint8_t)text[i]))
			return error_set(err, WEIR_INVALID, "the request target has a character that must be escaped");
	memcpy(ret->text, text, size + 1);
	char *query = strchr(ret->text, '?');
	if (query)
		*query++ = '\0';
	memcpy(ret->path, ret->text, strlen(ret->text) + 1);
	int code = split_path(ret->text + 1, ret, err);
	return code ? code : split_query(query, ret, err);
}

const char *target_parameter(const struct target *t, const char *name)
{
	for (size_t i = 0; i < t->parameter_count; i++)
		if (strcmp(t->parameters[i].name, name) == 0)
			return t->parameters[i].value;
	return NULL;
}

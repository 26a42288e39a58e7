/* route.c - finding a route and reading its parameters. The tables are in routes.c. */
#include "call/route.h"

#include "wire/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fits(const char *template, const struct target *target, const char *places[PLACES_MAX])
{
	size_t segment = 0, place = 0;
	const char *p = template;
	while (*p == '/') {
		p++;
		size_t n = strcspn(p, "/");
		if (segment == target->segment_count)
			return false;
		const char *given = target->segments[segment++];
		if (p[0] == '{' && place < PLACES_MAX)
			places[place++] = given;
		else if (strlen(given) != n || memcmp(given, p, n) != 0)
			return false;
		p += n;
	}
	return segment == target->segment_count;
}

void route_find(const struct route *routes, size_t n, const char *method, const struct target *target, struct match *ret)
{
	*ret = (struct match){ 0 };
	for (size_t i = 0; i < n; i++) {
		const char *places[PLACES_MAX] = { 0 };
		if (!fits(routes[i].path, target, places))
			continue;
		if (strcmp(routes[i].method, method) == 0) {
			ret->route = &routes[i];
			memcpy(ret->places, places, sizeof places);
			ret->allow[0] = '\0';
			return;
		}
		size_t used = strlen(ret->allow);
		snprintf(ret->allow + used, sizeof ret->allow - used, "%s%s", used ? ", " : "", strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
	}
}

/* ---- values ------------------------------------------------------------------------------------------------------------------------ */

static int check_number(const struct parameter *p, int64_t number, struct error *err)
{
	if (number < p->min || number > p->max)
		return error_set(err, WEIR_INVALID, "%s must be between %lld and %lld", p->name, (long long)p->min, (long long)p->max);
	return 0;
}

static int check_text(const struct parameter *p, const char *text, struct error *err)
{
	size_t n = strlen(text);
	if ((int64_t)n < p->min || (int64_t)n > p->max)
		return error_set(err, WEIR_INVALID, "%s must have %lld to %lld bytes", p->name, (long long)p->min, (long long)p->max);
	return 0;
}

static int read_text(const struct parameter *p, const char *text, struct value *ret, struct error *err)
{
	char *end;
	ret->given = true;
	ret->text = text;
	switch (p->type) {
	case PARAMETER_INT:
		errno = 0;
		ret->number = strtoll(text, &end, 10);
		if (errno || *end || end == text || strspn(text, "0123456789") != strlen(text))
			return error_set(err, WEIR_INVALID, "%s is not a whole number", p->name);
		return check_number(p, ret->number, err);
	case PARAMETER_BOOL:
		ret->number = strcmp(text, "true") == 0;
		return ret->number || strcmp(text, "false") == 0 ? 0 : error_set(err, WEIR_INVALID, "%s is neither true nor false", p->name);
	case PARAMETER_TEXT:
		return check_text(p, text, err);
	case PARAMETER_TEXTS:
		break;
	}
	return error_set(err, WEIR_INVALID, "%s cannot be given here", p->name);
}

static const struct parameter *find(const struct route *route, const char *name, size_t *ret_index)
{
	for (size_t i = 0; i < PARAMETERS_MAX && route->parameters[i].name; i++)
		if (strcmp(route->parameters[i].name, name) == 0) {
			*ret_index = i;
			return &route->parameters[i];
		}
	return NULL;
}

static int check_required(const struct route *route, const struct value *values, struct error *err)
{
	for (size_t i = 0; i < PARAMETERS_MAX && route->parameters[i].name; i++)
		if (route->parameters[i].required && !values[i].given)
			return error_set(err, WEIR_INVALID, "%s is missing", route->parameters[i].name);
	return 0;
}

int route_read_query(const struct route *route, const struct target *target, struct value ret[PARAMETERS_MAX], struct error *err)
{
	bool body = strcmp(route->method, "POST") == 0;
	memset(ret, 0, PARAMETERS_MAX * sizeof *ret);
	for (size_t i = 0; i < target->parameter_count; i++) {
		size_t at = 0;
		const struct parameter *p = body ? NULL : find(route, target->parameters[i].name, &at);
		if (!p)
			return error_set(err, WEIR_INVALID, "there is no query parameter \"%.64s\" here", target->parameters[i].name);
		int code = read_text(p, target->parameters[i].value, &ret[at], err);
		if (code)
			return code;
	}
	return body ? 0 : check_required(route, ret, err);
}

static int read_texts(const struct parameter *p, yyjson_val *json, struct arena *arena, struct value *ret, struct error *err)
{
	size_t i, n;
	yyjson_val *element;
	if (!yyjson_is_arr(json) || (int64_t)yyjson_arr_size(json) > p->max)
		return error_set(err, WEIR_INVALID, "%s is not a list of at most %lld texts", p->name, (long long)p->max);
	ret->texts = arena_zalloc(arena, yyjson_arr_size(json) + 1, sizeof *ret->texts);
	if (!ret->texts)
		return error_set(err, WEIR_LIMIT, "%s is too long", p->name);
	yyjson_arr_foreach(json, i, n, element)
	{
		size_t size = yyjson_get_len(element);
		if (!yyjson_is_str(element) || size == 0 || size > 256 || strlen(yyjson_get_str(element)) != size)
			return error_set(err, WEIR_INVALID, "%s has an element that is not a text of 1 to 256 bytes", p->name);
		ret->texts[ret->count++] = yyjson_get_str(element);
	}
	return 0;
}

static int read_json(const struct parameter *p, yyjson_val *json, struct arena *arena, struct value *ret, struct error *err)
{
	ret->given = true;
	switch (p->type) {
	case PARAMETER_INT:
		if (!yyjson_is_int(json) || (yyjson_is_uint(json) && yyjson_get_uint(json) > INT64_MAX))
			return error_set(err, WEIR_INVALID, "%s is not a whole number", p->name);
		ret->number = yyjson_get_sint(json);
		return check_number(p, ret->number, err);
	case PARAMETER_BOOL:
		ret->number = yyjson_is_true(json);
		return yyjson_is_bool(json) ? 0 : error_set(err, WEIR_INVALID, "%s is neither true nor false", p->name);
	case PARAMETER_TEXT:
		ret->text = yyjson_get_str(json);
		if (!ret->text || strlen(ret->text) != yyjson_get_len(json))
			return error_set(err, WEIR_INVALID, "%s is not a text", p->name);
		return check_text(p, ret->text, err);
	case PARAMETER_TEXTS:
		return read_texts(p, json, arena, ret, err);
	}
	return WEIR_INVALID;
}

int route_read_body(const struct route *route, struct bytes body, struct arena *arena, struct value ret[PARAMETERS_MAX], struct error *err)
{
	memset(ret, 0, PARAMETERS_MAX * sizeof *ret);
	if (body.size == 0)
		return check_required(route, ret, err);
	/* yyjson changes nothing in the text without the in-situ flag; it is not const-correct. */
	union {
		const uint8_t *in;
		char *out;
	} text = { .in = body.data };
	yyjson_alc allocator = json_arena_allocator(arena);
	yyjson_read_err why;
	yyjson_doc *doc = yyjson_read_opts(text.out, body.size, 0, &allocator, &why);
	yyjson_val *root = yyjson_doc_get_root(doc), *key, *value;
	if (!yyjson_is_obj(root))
		return error_set(err, WEIR_INVALID, doc ? "the body is not a JSON object" : "the body is not JSON: %s at byte %zu", doc ? "" : why.msg,
				 doc ? 0 : why.pos);
	size_t i, n;
	yyjson_obj_foreach(root, i, n, key, value)
	{
		size_t at = 0;
		const struct parameter *p = find(route, yyjson_get_str(key), &at);
		if (!p)
			return error_set(err, WEIR_INVALID, "there is no field \"%.64s\" here", yyjson_get_str(key));
		if (ret[at].given)
			return error_set(err, WEIR_INVALID, "%s is given twice", p->name);
		int code = yyjson_is_null(value) ? 0 : read_json(p, value, arena, &ret[at], err);
		if (code)
			return code;
	}
	return check_required(route, ret, err);
}

static int read_line(const struct parameter *p, struct text line, size_t number, struct arena *arena, struct value *ret, struct error *err)
{
	union {
		const char *in;
		char *out;
	} text = { .in = line.s };
	yyjson_alc allocator = json_arena_allocator(arena);
	yyjson_doc *doc = yyjson_read_opts(text.out, line.n, 0, &allocator, NULL);
	yyjson_val *value = yyjson_doc_get_root(doc);
	size_t size = yyjson_get_len(value);
	if (!yyjson_is_str(value) || size == 0 || size > 256 || strlen(yyjson_get_str(value)) != size)
		return error_set(err, WEIR_INVALID, "line %zu is not a JSON text of 1 to 256 bytes", number);
	if ((int64_t)ret->count >= p->max)
		return error_set(err, WEIR_INVALID, "there are more than %lld lines", (long long)p->max);
	ret->texts[ret->count++] = yyjson_get_str(value);
	return 0;
}

int route_read_lines(const struct route *route, struct bytes body, struct arena *arena, struct value ret[PARAMETERS_MAX], struct error *err)
{
	const struct parameter *p = &route->parameters[0];
	memset(ret, 0, PARAMETERS_MAX * sizeof *ret);
	ret[0].given = true;
	ret[0].texts = arena_zalloc(arena, (size_t)p->max + 1, sizeof *ret[0].texts);
	if (!ret[0].texts)
		return error_set(err, WEIR_LIMIT, "%s is too long", p->name);
	size_t number = 0;
	for (size_t at = 0; at < body.size;) {
		const char *line = (const char *)body.data + at;
		const char *end = memchr(line, '\n', body.size - at);
		size_t size = end ? (size_t)(end - line) : body.size - at;
		size_t blank = size > 0 && line[size - 1] == '\r';
		int code = size - blank > 0 ? read_line(p, (struct text){ line, size - blank }, ++number, arena, &ret[0], err) : 0;
		if (code)
			return code;
		at += size + 1;
	}
	return 0;
}

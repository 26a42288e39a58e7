/* routes_test.c - the tables of routes and openapi.json say the same: paths, methods, parameters with type, range and need, what is deprecated, who may repeat. */
#include "services/gateway/call/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yyjson.h>

#define SAFE_INTEGER ((int64_t)1 << 53) /* what lies above is as good as no limit */

extern const char openapi_begin[], openapi_end[];

static yyjson_doc *document;
static int wrong;

static void tell(const struct route *route, const char *what, const char *name)
{
	fprintf(stderr, "%s %s: %s %s\n", route->method, route->path, name, what);
	wrong++;
}

static yyjson_val *follow(yyjson_val *schema)
{
	const char *reference = yyjson_get_str(yyjson_obj_get(schema, "$ref"));
	return reference ? yyjson_doc_ptr_get(document, reference + 1) : schema;
}

static int64_t number(yyjson_val *schema, const char *name, int64_t otherwise)
{
	yyjson_val *value = yyjson_obj_get(schema, name);
	return value ? yyjson_get_sint(value) : otherwise;
}

static bool is_type(yyjson_val *schema, const char *type)
{
	return yyjson_equals_str(yyjson_obj_get(schema, "type"), type);
}

/* A text that must be one of some, or of some form, needs no bounds in the document; those that are there are the table's. */
static bool same_text(const struct parameter *p, yyjson_val *schema)
{
	bool formed = yyjson_obj_get(schema, "enum") || yyjson_obj_get(schema, "pattern") || yyjson_obj_get(schema, "format");
	bool bounded = yyjson_obj_get(schema, "maxLength") != NULL;
	return is_type(schema, "string") && (bounded || formed) && number(schema, "maxLength", p->max) == p->max &&
	       number(schema, "minLength", formed ? p->min : 0) == p->min;
}

static bool same_schema(const struct parameter *p, yyjson_val *schema)
{
	switch (p->type) {
	case PARAMETER_INT:
		return is_type(schema, "integer") && number(schema, "minimum", INT64_MIN) == p->min &&
		       (yyjson_obj_get(schema, "maximum") ? number(schema, "maximum", 0) == p->max : p->max >= SAFE_INTEGER);
	case PARAMETER_BOOL:
		return is_type(schema, "boolean");
	case PARAMETER_TEXT:
		return same_text(p, schema);
	case PARAMETER_TEXTS:
		return is_type(schema, "array") && number(schema, "maxItems", 0) == p->max && is_type(follow(yyjson_obj_get(schema, "items")), "string");
	}
	return false;
}

static const struct parameter *find(const struct route *route, const char *name)
{
	for (size_t i = 0; i < PARAMETERS_MAX && route->parameters[i].name; i++)
		if (strcmp(route->parameters[i].name, name) == 0)
			return &route->parameters[i];
	return NULL;
}

static void compare(const struct route *route, const char *name, yyjson_val *schema, bool required)
{
	const struct parameter *p = find(route, name);
	if (!p)
		tell(route, "stands in the document alone", name);
	else if (p->required != required)
		tell(route, "is required in one place only", name);
	else if (!same_schema(p, follow(schema)))
		tell(route, "has another type or range", name);
}

static size_t compare_query(const struct route *route, yyjson_val *operation, bool *ret_repeats)
{
	yyjson_val *list = yyjson_obj_get(operation, "parameters"), *entry;
	size_t i, n, count = 0;
	*ret_repeats = false;
	yyjson_arr_foreach(list, i, n, entry)
	{
		yyjson_val *p = follow(entry);
		const char *name = yyjson_get_str(yyjson_obj_get(p, "name"));
		*ret_repeats = *ret_repeats || strcmp(name, "Idempotency-Key") == 0;
		if (!yyjson_equals_str(yyjson_obj_get(p, "in"), "query"))
			continue;
		compare(route, name, yyjson_obj_get(p, "schema"), yyjson_get_bool(yyjson_obj_get(p, "required")));
		count++;
	}
	return count;
}

static bool is_in(yyjson_val *list, const char *name)
{
	yyjson_val *item;
	size_t i, n;
	yyjson_arr_foreach(list, i, n, item)
		if (yyjson_equals_str(item, name))
			return true;
	return false;
}

static size_t compare_body(const struct route *route, yyjson_val *operation)
{
	yyjson_val *content = yyjson_obj_get(yyjson_obj_get(operation, "requestBody"), "content"), *name, *schema;
	yyjson_val *body = follow(yyjson_obj_get(yyjson_obj_get(content, "application/json"), "schema"));
	size_t i, n, count = 0;
	if (route->lines != (yyjson_obj_get(content, "application/x-ndjson") != NULL))
		tell(route, "are taken in one place only", "lines");
	if (!body || !yyjson_is_false(yyjson_obj_get(body, "additionalProperties")))
		tell(route, "allows members that are not named", "the body");
	yyjson_obj_foreach(yyjson_obj_get(body, "properties"), i, n, name, schema)
	{
		compare(route, yyjson_get_str(name), schema, is_in(yyjson_obj_get(body, "required"), yyjson_get_str(name)));
		count++;
	}
	return count;
}

static size_t count_of(const struct route *route)
{
	size_t n = 0;
	while (n < PARAMETERS_MAX && route->parameters[n].name)
		n++;
	return n;
}

static void compare_route(const struct route *route)
{
	bool post = strcmp(route->method, "POST") == 0, repeats = false;
	yyjson_val *operation = yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(document), "paths"), route->path), post ? "post" : "get");
	if (!operation) {
		tell(route, "is not in the document", "it");
		return;
	}
	size_t count = compare_query(route, operation, &repeats);
	if (post)
		count += compare_body(route, operation);
	if (count != count_of(route))
		tell(route, "are not all in the document", "its parameters");
	if (repeats != post)
		tell(route, "belongs to POST, and to each", "Idempotency-Key");
	if ((route->lifecycle != NULL) != yyjson_get_bool(yyjson_obj_get(operation, "deprecated")))
		tell(route, "in one place only", "is deprecated");
}

static void each_route_is_as_documented(void **state)
{
	(void)state;
	for (size_t i = 0; i < client_route_count; i++)
		compare_route(&client_routes[i]);
	for (size_t i = 0; i < admin_route_count; i++)
		compare_route(&admin_routes[i]);
	assert_int_equal(wrong, 0);
}

static bool has_route(const char *method, const char *path)
{
	const struct route *const tables[] = { client_routes, admin_routes };
	const size_t counts[] = { client_route_count, admin_route_count };
	for (size_t t = 0; t < 2; t++)
		for (size_t i = 0; i < counts[t]; i++)
			if (strcmp(tables[t][i].path, path) == 0 && strcasecmp(tables[t][i].method, method) == 0)
				return true;
	return strcmp(path, "/v1/ws") == 0; /* the transport's */
}

static void nothing_else_is_documented(void **state)
{
	(void)state;
	yyjson_val *path, *operations, *method, *operation;
	size_t i, n, j, m, count = 0;
	yyjson_obj_foreach(yyjson_obj_get(yyjson_doc_get_root(document), "paths"), i, n, path, operations)
	{
		yyjson_obj_foreach(operations, j, m, method, operation)
		{
			(void)operation;
			if (!has_route(yyjson_get_str(method), yyjson_get_str(path)))
				fail_msg("%s %s stands in the document alone", yyjson_get_str(method), yyjson_get_str(path));
			count++;
		}
	}
	assert_int_equal(count, client_route_count + admin_route_count + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_route_is_as_documented),
		cmocka_unit_test(nothing_else_is_documented),
	};
	union {
		const char *in;
		char *out;
	} text = { .in = openapi_begin };
	document = yyjson_read_opts(text.out, (size_t)(openapi_end - openapi_begin), 0, NULL, NULL);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	yyjson_doc_free(document);
	return failed;
}

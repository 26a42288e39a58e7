/* call.c - from request to handler: routing, rights, parameters; problems; connections to the ledger. */
#include "call.h"

#include "auth.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ARENA_MAX ((size_t)8 << 20)
#define POOL_WAIT_MS 3000

static const char *title(unsigned status)
{
	static const struct {
		unsigned status;
		const char *title;
	} titles[] = {
		{ 400, "Bad request" },        { 401, "Unauthorized" },          { 403, "Forbidden" },
		{ 404, "Not found" },          { 405, "Method not allowed" },    { 409, "Conflict" },
		{ 410, "Gone" },               { 413, "Content too large" },     { 414, "URI too long" },
		{ 415, "Unsupported media type" }, { 426, "Upgrade required" },  { 431, "Request header fields too large" },
		{ 501, "Not implemented" },    { 503, "Service unavailable" },   { 505, "HTTP version not supported" },
	};
	for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Internal server error";
}

void call_refuse(struct http_response *response, unsigned status, const char *code, const char *detail, const char *instance, const char *request_id,
		 void *arg)
{
	(void)arg;
	char type[128];
	struct buf *out = &response->body;
	snprintf(type, sizeof type, "urn:weir:problem:%s", code);
	response->status = status;
	response->type = "application/problem+json";
	response->cache = false;
	response->etag[0] = '\0';
	buf_reset(out);
	put_object(out, NULL);
	put_text(out, "type", type);
	put_text(out, "title", title(status));
	put_i64(out, "status", status);
	put_text(out, "detail", detail);
	put_text(out, "instance", instance);
	put_text(out, "code", code);
	put_text(out, "request_id", request_id);
	put_end(out, '}');
}

bool call_problem(struct call *call, unsigned status, const char *code, const char *format, ...)
{
	char detail[600];
	va_list args;
	va_start(args, format);
	vsnprintf(detail, sizeof detail, format, args);
	va_end(args);
	if (status == 503 && call->response->retry_after == 0)
		call->response->retry_after = 1;
	call_refuse(call->response, status, code, detail, call->request->target.path, call->request->id, NULL);
	return false;
}

bool call_failed(struct call *call, const struct error *err)
{
	struct log log = call->gateway->log;
	if (call->chain)
		log.chain = call->chain->chain.name;
	switch (err->code) {
	case WEIR_INVALID:
		return call_problem(call, 400, "invalid", "%s", err->text);
	case WEIR_NOT_FOUND:
		return call_problem(call, 404, "not_found", "%s", err->text);
	case WEIR_FULL:
		return call_problem(call, 503, "busy", "too much is asked at the same time: ask again in a moment");
	case WEIR_UNAVAILABLE:
	case WEIR_TIMEOUT:
	case WEIR_CONFLICT:
	case WEIR_IO:
	case WEIR_CANCELED:
		log_debug(&log, "dependency_down", err->text, LOG_S("request_id", call->request->id));
		return call_problem(call, 503, "dependency_unavailable", "the ledger or the bus does not answer now: ask again in a moment");
	default:
		log_error(&log, "request_failed", NULL, LOG_ERR(err), LOG_S("request_id", call->request->id), LOG_S("path", call->request->target.path));
		return call_problem(call, 500, "internal", "the request could not be answered; the server's log has it under this request_id");
	}
}

const struct value *call_value(const struct call *call, const char *name)
{
	static const struct value none;
	for (size_t i = 0; i < PARAMETERS_MAX && call->route->parameters[i].name; i++)
		if (strcmp(call->route->parameters[i].name, name) == 0)
			return &call->values[i];
	return &none;
}

int64_t call_number(const struct call *call, const char *name, int64_t otherwise)
{
	const struct value *value = call_value(call, name);
	return value->given ? value->number : otherwise;
}

const char *call_text(const struct call *call, const char *name)
{
	const struct value *value = call_value(call, name);
	return value->given ? value->text : NULL;
}

/* ---- the ledger ---------------------------------------------------------------------------------------------------------------------- */

bool call_chain_named(struct call *call, const char *name)
{
	call->chain = gateway_find_chain(call->gateway, name);
	if (!call->chain)
		return call_problem(call, 404, "chain_unknown", "no chain of that name is served here");
	if (atomic_load(&call->chain->id) == 0)
		return call_problem(call, 503, "ledger_not_ready", "the ledger does not have this chain yet");
	return true;
}

bool call_chain(struct call *call)
{
	return call_chain_named(call, call->places[0]);
}

bool call_begin(struct call *call)
{
	struct error err = { 0 };
	call->pg = pg_pool_take(call->gateway->pool, POOL_WAIT_MS, &err);
	if (!call->pg || pg_begin(call->pg, &err))
		return call_failed(call, &err);
	call->transaction = true;
	return true;
}

void call_release(struct call *call)
{
	if (call->transaction)
		pg_rollback(call->pg);
	call->transaction = false;
	pg_pool_give(call->gateway->pool, &call->pg);
}

bool call_query(struct call *call, const char *name, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret)
{
	struct error err = { 0 };
	return pg_prepared(call->pg, name, sql, params, n, ret, &err) == 0 || call_failed(call, &err);
}

/* ---- the way in ------------------------------------------------------------------------------------------------------------------------ */

/* "application/json", with any parameters. */
static bool is_json(const char *type)
{
	static const char json[] = "application/json";
	return type && strncasecmp(type, json, sizeof json - 1) == 0 && strchr("; \t", type[sizeof json - 1]);
}

static bool read_values(struct call *call)
{
	struct error err = { 0 };
	bool post = strcmp(call->route->method, "POST") == 0;
	if (route_read_query(call->route, &call->request->target, call->values, &err))
		return call_problem(call, 400, "invalid_parameter", "%s", err.text);
	if (!post)
		return true;
	if (call->request->body.size > 0 && !is_json(call->request->content_type))
		return call_problem(call, 415, "unsupported_media_type", "the body must be application/json");
	if (route_read_body(call->route, call->request->body, call->arena, call->values, &err))
		return call_problem(call, 400, "invalid_body", "%s", err.text);
	return true;
}

static void serve(struct call *call, const struct match *match)
{
	if (!match->route && match->allow[0]) {
		snprintf(call->response->allow, sizeof call->response->allow, "%s", match->allow);
		call_problem(call, 405, "method_not_allowed", "this path takes %s", match->allow);
		return;
	}
	if (!match->route) {
		call_problem(call, 404, "path_unknown", "there is nothing at this path: /openapi.json lists what there is");
		return;
	}
	if (read_values(call)) {
		call->response->status = 200;
		match->route->handler(call);
	}
	call_release(call);
}

static void begin(struct call *call, const struct http_request *request, struct http_response *response, void *gateway)
{
	*call = (struct call){ .gateway = gateway, .request = request, .response = response, .out = &response->body, .arena = arena_new(ARENA_MAX) };
}

void call_client(const struct http_request *request, struct http_response *response, void *gateway)
{
	struct call call;
	struct match match;
	begin(&call, request, response, gateway);
	route_find(client_routes, client_route_count, request->method, &request->target, &match);
	call.route = match.route;
	memcpy(call.places, match.places, sizeof call.places);
	serve(&call, &match);
	arena_free(&call.arena);
}

void call_admin(const struct http_request *request, struct http_response *response, void *gateway)
{
	struct call call;
	struct match match;
	begin(&call, request, response, gateway);
	route_find(admin_routes, admin_route_count, request->method, &request->target, &match);
	call.route = match.route;
	memcpy(call.places, match.places, sizeof call.places);
	/* Who may do nothing learns nothing, not even which paths there are. */
	if (auth_check(&call, match.route ? match.route->role : ROLE_VIEWER))
		serve(&call, &match);
	arena_free(&call.arena);
}

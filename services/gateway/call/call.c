/* call.c - from request to handler: routing, rights, parameters; problems; connections to the ledger. */
#include "call/call.h"

#include "call/admit.h"
#include "call/auth.h"
#include "call/idempotency.h"
#include "call/final.h"
#include "call/reader.h"
#include "call/recent.h"
#include "call/shed.h"
#include "call/lifecycle.h"
#include "call/negotiate.h"
#include "call/validator.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARENA_MAX ((size_t)8 << 20)
#define POOL_WAIT_MS 3000

/* May the same request succeed later, without a change? */
static bool is_retryable(const struct http_response *response)
{
	return response->retry_after > 0 || response->status == 408 || response->status == 429 || response->status == 503;
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
	response->caching = NULL;
	response->policy = NULL;
	response->etag[0] = '\0';
	response->lasting = NULL;
	buf_reset(out);
	put_object(out, NULL);
	put_text(out, "type", type);
	put_text(out, "title", http_reason(status));
	put_i64(out, "status", status);
	put_text(out, "detail", detail);
	put_text(out, "instance", instance);
	put_text(out, "code", code);
	put_bool(out, "retryable", is_retryable(response));
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

bool call_connect(struct call *call)
{
	struct error err = { 0 };
	call->pg = pg_pool_take(call->gateway->pool, POOL_WAIT_MS, &err);
	return call->pg || call_failed(call, &err);
}

bool call_begin(struct call *call)
{
	struct error err = { 0 };
	if (!call_connect(call))
		return false;
	if (pg_begin(call->pg, &err))
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

bool call_ask(struct call *call, const struct row_ask *ask, struct pg_result **ret)
{
	return call_query(call, ask->name, ask->sql, ask->params, ask->n, ret);
}

void call_row(struct call *call, const struct route_row *row)
{
	struct row_ask ask;
	struct pg_result *r = NULL;
	if (row->ask(call, &ask) && call_connect(call) && call_ask(call, &ask, &r))
		row->put(call, r);
	pg_result_free(&r);
}

/* ---- the way in ------------------------------------------------------------------------------------------------------------------------ */

/* "application/json", for example, with any parameters. */
static bool is_type(const char *type, const char *wanted)
{
	size_t n = strlen(wanted);
	return type && strncasecmp(type, wanted, n) == 0 && strchr("; \t", type[n]);
}

static bool read_values(struct call *call)
{
	struct error err = { 0 };
	bool post = strcmp(call->route->method, "POST") == 0;
	if (route_read_query(call->route, &call->request->target, call->values, &err))
		return call_problem(call, 400, "invalid_parameter", "%s", err.text);
	if (!post)
		return true;
	bool lines = call->route->lines && is_type(call->request->content_type, "application/x-ndjson");
	if (call->request->body.size > 0 && !lines && !is_type(call->request->content_type, "application/json"))
		return call_problem(call, 415, "unsupported_media_type", "the body must be application/json%s", call->route->lines ? " or application/x-ndjson" : "");
	if ((lines ? route_read_lines : route_read_body)(call->route, call->request->body, call->arena, call->values, &err))
		return call_problem(call, 400, "invalid_body", "%s", err.text);
	return true;
}

static void keep_final(struct call *call, uint64_t turn)
{
	const struct http_response *r = call->response;
	if (!validator_is_final(r) || r->body.overflow || call->request->target.parameter_count > 0)
		return;
	struct final_answer answer = { .route = call->route, .type = r->type, .caching = r->caching };
	memcpy(answer.etag, r->etag, sizeof answer.etag);
	final_keep(call->gateway->final, turn, call->request->target.path, &answer, (struct bytes){ r->body.data, r->body.size });
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
	struct idempotency once;
	uint64_t turn = final_turn(call->gateway->final);
	lifecycle_tell(match->route->lifecycle, call->response);
	if (!read_values(call) || !idempotency_begin(call, &once))
		return;
	struct recent_ticket recent;
	if (recent_begin(call, &recent))
		return;
	call->response->status = 200;
	match->route->handler(call);
	call->made = call->response->status != 304;
	idempotency_end(call, &once);
	if (match->route->role == ROLE_NONE && !call->response->take)
		validator_of_body(call);
	recent_end(call, &recent);
	call_release(call);
	keep_final(call, turn);
	if (match->route->row)
		validator_not_modified(call);
}

static void serve_admitted(struct call *call, const struct match *match)
{
	struct admission admission;
	if (admit(call, &admission))
		serve(call, match);
	admit_settle(call, &admission);
}

static void begin(struct call *call, const struct http_request *request, struct http_response *response, void *gateway)
{
	*call = (struct call){ .gateway = gateway, .request = request, .response = response, .out = &response->body, .arena = arena_new(ARENA_MAX) };
}

/* What a client needs for it; NULL: for a path that there is not. */
static enum scope scope_of(const struct route *route)
{
	return route && (route->streams || route->watches) ? SCOPE_STREAM : SCOPE_READ;
}

void call_client(const struct http_request *request, struct http_response *response, void *gateway)
{
	struct call call;
	struct match match;
	begin(&call, request, response, gateway);
	call.cors = call.gateway->cors;
	cors_tell(call.cors, request, response);
	route_find(client_routes, client_route_count, request->method, &request->target, &match);
	call.route = match.route;
	memcpy(call.places, match.places, sizeof call.places);
	/* A browser asks before it shows a key. */
	bool asked = !match.route && match.allow[0] && cors_preflight(&call, call.cors, match.allow);
	if (!asked && auth_client(&call, scope_of(match.route)) && shed_admits(&call))
		serve_admitted(&call, &match);
	negotiate_type(request, response);
	negotiate_coding(request, response);
	arena_free(&call.arena);
}

struct later { /* a read that the reader makes */
	struct call call;
	struct admission admission;
	struct recent_ticket recent;
	uint64_t turn;
	bool asked;
};

/* The rest of the way out, on whichever thread knows the answer. */
static void end_row(struct call *call, void *arg)
{
	struct later *later = arg;
	if (later->asked) {
		validator_of_body(call);
		recent_end(call, &later->recent);
		keep_final(call, later->turn);
		validator_not_modified(call);
	}
	admit_settle(call, &later->admission);
	negotiate_type(call->request, call->response);
	negotiate_coding(call->request, call->response);
	arena_free(&call->arena);
	free(later);
}

/* As if it had never been begun. */
static bool hand_on_row(struct call *call, void *arg)
{
	struct later *later = arg;
	struct http_response *response = call->response;
	const struct http_response before = *response;
	response->status = 0;
	recent_end(call, &later->recent);
	response->field_count = 0;
	response->cross_origin = false;
	response->holder[0] = '\0';
	response->session[0] = '\0';
	response->holder_until_ms = 0;
	if (!http_hand_on(call->request)) {
		*response = before;
		return false;
	}
	admit_undo(call, &later->admission);
	arena_free(&call->arena);
	free(later);
	return true;
}

/* False: it is answered. */
static bool ask_row(struct later *later)
{
	struct call *call = &later->call;
	struct row_read *read = xmalloc(sizeof *read);
	*read = (struct row_read){ .call = call, .finish = end_row, .hand_on = hand_on_row, .arg = later };
	later->turn = final_turn(call->gateway->final);
	later->asked = call->made = true;
	call->response->status = 200;
	bool asked = call->route->row->ask(call, &read->ask);
	if (asked && reader_take(call->gateway->reader, read))
		return true;
	free(read);
	if (asked)
		call_problem(call, 503, "draining", "this server is shutting down: ask another one");
	return false;
}

/* Tokens may have to be waited for: a worker's. */
static enum http_at_once begin_row(struct gateway *gateway, const struct http_request *request, struct http_response *response)
{
	struct match match;
	route_find(client_routes, client_route_count, request->method, &request->target, &match);
	if (!match.route || !match.route->row || auth_may_wait(request) || !gateway->reader || !reader_has_room(gateway->reader))
		return HTTP_WAITS;
	struct later *later = xmalloc(sizeof *later);
	struct call *call = &later->call;
	begin(call, request, response, gateway);
	call->cors = gateway->cors;
	call->route = match.route;
	call->hurried = true;
	memcpy(call->places, match.places, sizeof call->places);
	cors_tell(call->cors, request, response);
	if (auth_client(call, SCOPE_READ) && admit(call, &later->admission)) {
		lifecycle_tell(call->route->lifecycle, response);
		if (!recent_begin(call, &later->recent) && ask_row(later))
			return HTTP_LATER;
	}
	end_row(call, later);
	return HTTP_ANSWERED;
}

/* What the door did not turn away (http_options.turns_away), because it could not, and would have. */
static bool turned_away(struct gateway *gateway, const struct http_request *request, struct http_response *response)
{
	struct match match;
	struct call call = { .gateway = gateway, .request = request, .response = response, .out = &response->body, .cors = gateway->cors };
	if (shed_allows(SHED_ANONYMOUS, &request->load, gateway->config->gateway.shed_after_ms))
		return false; /* then nobody is */
	route_find(client_routes, client_route_count, request->method, &request->target, &match);
	call.route = match.route;
	if (shed_lets_in(&call))
		return false;
	cors_tell(call.cors, request, response);
	negotiate_type(request, response);
	negotiate_coding(request, response);
	return true;
}

enum http_at_once call_at_once(const struct http_request *request, struct http_response *response, void *gateway_)
{
	struct gateway *gateway = gateway_;
	struct final_answer answer;
	struct admission admission;
	bool plain = strcmp(request->method, "GET") == 0 && request->target.parameter_count == 0 && request->body.size == 0;
	if (!plain || !final_find(gateway->final, request->target.path, &answer, &response->body)) {
		if (turned_away(gateway, request, response))
			return HTTP_ANSWERED;
		return plain ? begin_row(gateway, request, response) : HTTP_WAITS;
	}
	struct call call = { .gateway = gateway, .request = request, .response = response, .out = &response->body, .route = answer.route, .cors = gateway->cors,
			     .hurried = true };
	response->status = 200;
	response->type = answer.type;
	response->caching = answer.caching;
	memcpy(response->etag, answer.etag, sizeof response->etag);
	cors_tell(call.cors, request, response);
	lifecycle_tell(answer.route->lifecycle, response);
	if (auth_client(&call, SCOPE_READ)) {
		if (admit(&call, &admission))
			validator_not_modified(&call);
		admit_settle(&call, &admission);
	}
	negotiate_type(request, response);
	negotiate_coding(request, response);
	return HTTP_ANSWERED;
}

void call_nested(const struct call *outer, const char *text, struct http_response *ret)
{
	struct call call;
	struct match match;
	struct error err = { 0 };
	struct http_request *request = xmalloc(sizeof *request); /* large */
	request->method = "GET";
	memcpy(request->id, outer->request->id, sizeof request->id);
	memcpy(request->remote, outer->request->remote, sizeof request->remote);
	request->address = outer->request->address;
	begin(&call, request, ret, outer->gateway);
	call.who = outer->who;
	if (target_parse(text, &request->target, &err)) {
		call_problem(&call, 400, "bad_target", "%s", err.text);
	} else {
		route_find(client_routes, client_route_count, request->method, &request->target, &match);
		call.route = match.route;
		memcpy(call.places, match.places, sizeof call.places);
		call.operators = outer->operators;
		if (match.route && match.route->streams)
			call_problem(&call, 400, "not_in_a_batch", "what waits for events is asked for by itself");
		else if (auth_scope(&call, scope_of(match.route)))
			serve_admitted(&call, &match);
	}
	arena_free(&call.arena);
	free(request);
}

/* Operators read the ledger on their own listener too, so that the dashboard needs no other. */
void call_admin_match(const struct http_request *request, struct match *ret)
{
	route_find(admin_routes, admin_route_count, request->method, &request->target, ret);
	if (!ret->route && !ret->allow[0])
		route_find(client_routes, client_route_count, request->method, &request->target, ret);
}

/* A page of another site, or of another port of this one: browsers say so, and nothing that it sends is meant by the operator. */
static bool from_elsewhere(struct call *call)
{
	const char *site = call->request->fetch_site;
	if (!site || strcmp(call->request->method, "POST") != 0 || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0)
		return false;
	call_problem(call, 403, "cross_site", "this came from a page of another origin, which may change nothing here");
	return true;
}

void call_admin(const struct http_request *request, struct http_response *response, void *gateway)
{
	struct call call;
	struct match match;
	begin(&call, request, response, gateway);
	call_admin_match(request, &match);
	call.route = match.route;
	memcpy(call.places, match.places, sizeof call.places);
	/* Who may do nothing learns nothing, not even which paths there are. */
	bool open = match.route && match.route->open;
	call.operators = true;
	if (!from_elsewhere(&call) && !call_file(&call) && (open || auth_operator(&call, match.route && match.route->role > ROLE_VIEWER ? match.route->role : ROLE_VIEWER)) &&
	    shed_admits(&call))
		serve_admitted(&call, &match);
	negotiate_type(request, response);
	negotiate_coding(request, response);
	arena_free(&call.arena);
}

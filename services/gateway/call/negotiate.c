/* negotiate.c - codings, Vary, CORS. */
#include "call/negotiate.h"

#include "call/validator.h"
#include "http/coding.h"

#include "wire/msgpack.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define ARENA_LEAST ((size_t)64 << 10)

/* ---- coding ---------------------------------------------------------------------------------------------------------------------------- */

static const char json[] = "application/json";

bool negotiate_likes_msgpack(const struct http_request *request)
{
	int likes = coding_weight(request->accept, MSGPACK_TYPE);
	likes = likes >= 0 ? likes : coding_weight(request->accept, "application/msgpack");
	return likes > 0 && likes >= coding_weight(request->accept, json);
}

void negotiate_type(const struct http_request *request, struct http_response *response)
{
	bool is_json = response->status == 200 && response->body.size > 0 && !response->body.overflow && response->type && strcmp(response->type, json) == 0;
	if (response->coded || (!is_json && response->status != 304))
		return;
	http_add_text(response, "Vary", "Accept");
	if (!is_json || !negotiate_likes_msgpack(request))
		return;
	struct buf out = BUF_INIT(response->body.size + 16);
	struct arena *arena = arena_new(response->body.size * 16 + ARENA_LEAST); /* yyjson asks for up to 12 times a text */
	if (msgpack_from_json((struct bytes){ response->body.data, response->body.size }, arena, &out, NULL) == 0) {
		buf_reset(&response->body);
		buf_add(&response->body, out.data, out.size);
		response->type = MSGPACK_TYPE;
		etag_add_form(response->etag, "msgpack");
	}
	arena_free(&arena);
	buf_free(&out);
}

void negotiate_coding(const struct http_request *request, struct http_response *response)
{
	struct buf coded = BUF_INIT(CODING_MAX);
	bool fits = response->type && coding_fits(response->type, response->body.size) && !response->body.overflow;
	if (response->coded || (!fits && response->status != 304))
		return;
	http_add_text(response, "Vary", "Accept-Encoding");
	enum coding coding = coding_choose(request->accept_encoding);
	if (!fits || coding == CODING_NONE || !coding_encode(coding, (struct bytes){ response->body.data, response->body.size }, false, &coded)) {
		buf_free(&coded);
		return;
	}
	buf_reset(&response->body);
	buf_add(&response->body, coded.data, coded.size);
	buf_free(&coded);
	http_add_text(response, "Content-Encoding", coding_name(coding));
	etag_add_form(response->etag, coding_name(coding));
}

/* ---- CORS ------------------------------------------------------------------------------------------------------------------------------ */

/* scheme "://" host [":" port], lower case, no path: as browsers send it (RFC 6454 section 6.2). */
static bool is_origin(const char *text)
{
	const char *host = strncmp(text, "https://", 8) == 0 ? text + 8 : strncmp(text, "http://", 7) == 0 ? text + 7 : NULL;
	if (!host || !*host)
		return false;
	for (const char *p = host; *p; p++)
		if (!(islower((unsigned char)*p) || isdigit((unsigned char)*p) || strchr("-.:[]", *p)))
			return false;
	return strlen(text) < sizeof((struct http_field *)0)->value;
}

int cors_parse(const char *list, struct cors_origins *ret, struct error *err)
{
	*ret = (struct cors_origins){ 0 };
	for (const char *p = list; p && *p;) {
		p += strspn(p, " ,");
		size_t n = strcspn(p, " ,");
		if (n == 0)
			break;
		if (ret->count == CORS_ORIGINS_MAX)
			return error_set(err, WEIR_CONFIG, "gateway.cors_origins: more than %d origins", CORS_ORIGINS_MAX);
		ret->items[ret->count++] = xstrndup(p, n);
		if (!is_origin(ret->items[ret->count - 1]))
			return error_set(err, WEIR_CONFIG, "gateway.cors_origins: \"%s\" is no origin: https://host or https://host:port, lower case, no path, no *",
					 ret->items[ret->count - 1]);
		p += n;
	}
	return 0;
}

void cors_free(struct cors_origins *origins)
{
	for (size_t i = 0; i < origins->count; i++)
		xfree(&origins->items[i]);
	origins->count = 0;
}

static bool is_listed(const struct cors_origins *origins, const char *origin)
{
	for (size_t i = 0; origin && i < origins->count; i++)
		if (strcmp(origins->items[i], origin) == 0)
			return true;
	return false;
}

/* Browsers open WebSockets of any origin to any host and ask nobody before. Programs say no origin. */
bool cors_may_open(const struct cors_origins *origins, const struct http_request *request)
{
	const char *origin = request->origin;
	if (!origin || is_listed(origins, origin))
		return true;
	size_t scheme = strncmp(origin, "https://", 8) == 0 ? 8 : strncmp(origin, "http://", 7) == 0 ? 7 : 0;
	return scheme > 0 && request->host && strcasecmp(origin + scheme, request->host) == 0; /* of this very host and port */
}

void cors_tell(const struct cors_origins *origins, const struct http_request *request, struct http_response *response)
{
	if (origins->count == 0)
		return;
	http_add_text(response, "Vary", "Origin");
	if (!is_listed(origins, request->origin))
		return;
	http_add_text(response, "Access-Control-Allow-Origin", request->origin);
	http_add_field(response, "Access-Control-Expose-Headers",
		       "ETag, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Idempotency-Replayed, Deprecation, Sunset, Link");
	response->cross_origin = true;
}

bool cors_preflight(struct call *call, const struct cors_origins *origins, const char *allow)
{
	const struct http_request *request = call->request;
	if (strcmp(request->method, "OPTIONS") != 0 || !request->origin || !request->asked_method || origins->count == 0)
		return false;
	if (!is_listed(origins, request->origin)) {
		call_problem(call, 403, "origin_not_allowed", "pages of this origin may not ask here: gateway.cors_origins does not list it");
		return true;
	}
	call->response->status = 204;
	http_add_text(call->response, "Access-Control-Allow-Methods", allow);
	http_add_field(call->response, "Access-Control-Allow-Headers",
		       "Authorization, X-Api-Key, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-Request-Id");
	http_add_text(call->response, "Access-Control-Max-Age", "7200");
	return true;
}

/* head.c - what a request's head must say beyond its grammar (h1.c), what handlers need out of it, and the WebSocket handshake. */
#include "http/http_internal.h"

#include "http/deflate.h"

#include "base/clock.h"

#include <ctype.h>
#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FORWARDED_MAX 2048

struct scan { /* one pass over the fields */
	size_t hosts, lengths, encodings, upgrades, keys, versions, extension_fields;
	const char *host, *length, *encoding, *connection, *upgrade, *key, *version, *extensions, *request_id, *expect;
	bool upgrade_token, close_token, offers_json, offers_msgpack;
};

static bool has_token(const char *list, const char *token)
{
	size_t n = strlen(token);
	while (*list) {
		list += strspn(list, " \t,");
		size_t size = strcspn(list, " \t,");
		if (size == n && strncasecmp(list, token, n) == 0)
			return true;
		list += size;
	}
	return false;
}

static void keep_once(struct http_request *r, char **slot, const char *value)
{
	if (*slot)
		r->header_repeated = true;
	else
		*slot = xstrndup(value, 4096);
}

/* Several fields of one name are one list (RFC 9110 section 5.3). */
static void keep_list(char **slot, const char *value)
{
	char *joined = *slot ? xasprintf("%.2000s, %.2000s", *slot, value) : xstrndup(value, 4096);
	free(*slot);
	*slot = joined;
}

/* The same, but a list of proxies must not be cut: a part of an address is another address. What is too long is none. */
static void keep_whole_list(char **list, const char *value)
{
	char *joined = *list ? xasprintf("%s,%s", *list, value) : xstrdup(value);
	free(*list);
	*list = joined;
	if (strlen(joined) > FORWARDED_MAX)
		joined[0] = '\0';
}

/* Each field is held against two dozen names, and hardly two of them are of one length. */
struct known {
	const char *text;
	size_t size;
};
#define NAMED(TEXT)                \
	{                          \
		TEXT, sizeof(TEXT) - 1 \
	}

static bool is_named(const char *name, size_t size, struct known known)
{
	return size == known.size && strncasecmp(name, known.text, size) == 0;
}

static void look(struct scan *s, const struct h1_field *f)
{
	const size_t size = strlen(f->name);
	const struct {
		struct known name;
		const char **value;
		size_t *count;
	} counted[] = {
		{ NAMED("host"), &s->host, &s->hosts },
		{ NAMED("content-length"), &s->length, &s->lengths },
		{ NAMED("transfer-encoding"), &s->encoding, &s->encodings },
		{ NAMED("upgrade"), &s->upgrade, &s->upgrades },
		{ NAMED("sec-websocket-key"), &s->key, &s->keys },
		{ NAMED("sec-websocket-version"), &s->version, &s->versions },
		{ NAMED("sec-websocket-extensions"), &s->extensions, &s->extension_fields },
		{ NAMED("x-request-id"), &s->request_id, NULL },
		{ NAMED("expect"), &s->expect, NULL },
	};
	for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++)
		if (is_named(f->name, size, counted[i].name)) {
			*counted[i].value = f->value;
			if (counted[i].count)
				++*counted[i].count;
		}
	if (is_named(f->name, size, (struct known)NAMED("sec-websocket-protocol"))) {
		s->offers_json = s->offers_json || has_token(f->value, HTTP_PROTOCOL_JSON);
		s->offers_msgpack = s->offers_msgpack || has_token(f->value, HTTP_PROTOCOL_MSGPACK);
	}
	if (is_named(f->name, size, (struct known)NAMED("connection"))) {
		s->upgrade_token = s->upgrade_token || has_token(f->value, "upgrade");
		s->close_token = s->close_token || has_token(f->value, "close");
	}
}

static struct scan look_at_all(const struct h1_head *head)
{
	struct scan s = { 0 };
	for (size_t i = 0; i < head->field_count; i++)
		look(&s, &head->fields[i]);
	return s;
}

/* What handlers ask for. */
static void keep(struct http_request *r, const struct h1_head *head)
{
	const struct {
		struct known name;
		char **slot;
		void (*list)(char **, const char *); /* NULL: may stand once */
	} wanted[] = {
		{ NAMED("host"), &r->host, NULL },
		{ NAMED("content-type"), &r->content_type, NULL },
		{ NAMED("authorization"), &r->authorization, NULL },
		{ NAMED("x-api-key"), &r->api_key, NULL },
		{ NAMED("if-none-match"), &r->if_none_match, keep_list },
		{ NAMED("idempotency-key"), &r->idempotency_key, NULL },
		{ NAMED("x-forwarded-for"), &r->forwarded, keep_whole_list },
		{ NAMED("last-event-id"), &r->last_event_id, NULL },
		{ NAMED("accept"), &r->accept, keep_list },
		{ NAMED("accept-encoding"), &r->accept_encoding, keep_list },
		{ NAMED("origin"), &r->origin, NULL },
		{ NAMED("access-control-request-method"), &r->asked_method, NULL },
		{ NAMED("cookie"), &r->cookie, keep_list },
		{ NAMED("sec-fetch-site"), &r->fetch_site, keep_list },
	};
	for (size_t i = 0; i < head->field_count; i++) {
		const size_t size = strlen(head->fields[i].name);
		for (size_t k = 0; k < sizeof wanted / sizeof wanted[0]; k++) {
			if (!is_named(head->fields[i].name, size, wanted[k].name))
				continue;
			if (wanted[k].list)
				wanted[k].list(wanted[k].slot, head->fields[i].value);
			else
				keep_once(r, wanted[k].slot, head->fields[i].value);
		}
	}
}

void http_free_headers(struct http_request *r)
{
	char **const all[] = { &r->content_type, &r->authorization, &r->api_key, &r->if_none_match, &r->idempotency_key, &r->forwarded,
			       &r->accept,       &r->accept_encoding, &r->origin, &r->asked_method, &r->last_event_id,
			       &r->cookie,       &r->fetch_site,      &r->host };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		xfree(all[i]);
}

static void take_request_id(struct http_request *r, const char *given)
{
	size_t n = given ? strlen(given) : 0;
	bool harmless = n >= 1 && n <= 32;
	for (size_t i = 0; i < n && harmless; i++)
		harmless = isalnum((unsigned char)given[i]) || strchr("-_.", given[i]);
	if (harmless)
		snprintf(r->id, sizeof r->id, "%s", given);
	else
		snprintf(r->id, sizeof r->id, "%016llx", (unsigned long long)random_u64());
}

void http_name_request(struct exchange *x)
{
	static const struct client_ranges none;
	const struct client_ranges *trusted = x->conn->loop->http->options.trusted;
	struct scan s = look_at_all(&x->head);
	take_request_id(&x->request, s.request_id);
	struct client_address peer = client_address_of((const struct sockaddr *)&x->conn->address);
	x->request.address = client_address_behind(&peer, x->request.forwarded, trusted ? trusted : &none);
	client_address_print(&x->request.address, x->request.remote);
}

/* host [":" port]: a name, an IPv4 address, or an IPv6 address in brackets (RFC 9110 section 7.2). */
static bool is_host(const char *host)
{
	size_t n;
	if (host[0] == '[') {
		n = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
		if (n < 3 || host[n] != ']')
			return false;
		n++;
	} else {
		n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~");
	}
	size_t digits = host[n] == ':' ? strspn(host + n + 1, "0123456789") : 0;
	return n > 0 && n <= 255 && digits <= 5 && (!host[n] || (host[n] == ':' && !host[n + 1 + digits]));
}

const char *http_read_method(const char *method)
{
	static const char *const known[] = { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
	if (strcmp(method, "HEAD") == 0)
		return "GET"; /* http_send.c leaves the body out */
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(method, known[i]) == 0)
			return known[i];
	return NULL;
}

/* http://host/path as clients of proxies say it; servers must take it, too (RFC 9112 section 3.2.2). NULL: it is neither this nor a path. */
static const char *origin_form(const char *target, char rest[TARGET_MAX + 2])
{
	char host[300];
	size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
	if (scheme == 0)
		return target;
	size_t n = strcspn(target + scheme, "/?");
	if (n >= sizeof host)
		return NULL;
	snprintf(host, sizeof host, "%.*s", (int)n, target + scheme);
	snprintf(rest, TARGET_MAX + 2, "%s%s", target[scheme + n] == '/' ? "" : "/", target + scheme + n);
	return is_host(host) ? rest : NULL;
}

static int read_target(struct exchange *x, struct error *err)
{
	char rest[TARGET_MAX + 2];
	const char *target = origin_form(x->head.target, rest);
	if (strlen(x->head.target) > TARGET_MAX)
		return error_set(err, WEIR_LIMIT, "the request target is longer than %d bytes", TARGET_MAX);
	if (strcmp(x->head.target, "*") == 0 && strcmp(x->head.method, "OPTIONS") == 0)
		return 0;
	return target ? target_parse(target, &x->request.target, err) : error_set(err, WEIR_INVALID, "the request target names no host");
}

enum { ENCODING_GOOD, ENCODING_BAD, ENCODING_UNKNOWN };

/* Chunked must be the last of them, and there once (RFC 9112 sections 6.1 and 7). */
static int judge_encoding(const char *list)
{
	size_t codings = 0, chunked = 0;
	bool last = false;
	for (const char *p = list; *p;) {
		p += strspn(p, " \t,");
		size_t n = strcspn(p, ",");
		while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
			n--;
		if (n == 0)
			break;
		last = n == 7 && strncasecmp(p, "chunked", 7) == 0;
		codings++;
		chunked += last;
		p += n;
		p += strspn(p, " \t");
	}
	return !last || chunked > 1 ? ENCODING_BAD : codings > 1 ? ENCODING_UNKNOWN : ENCODING_GOOD;
}

bool http_expects_continue(const struct exchange *x)
{
	struct scan s = look_at_all(&x->head);
	return x->head.minor == 1 && s.expect != NULL;
}

bool http_read_head(struct exchange *x, int64_t max_body, struct h1_problem *p)
{
	static _Thread_local struct error err; /* lives until the refusal is written */
	struct scan s = look_at_all(&x->head);
	bool http11 = x->head.minor == 1;
	size_t digits = s.length ? strspn(s.length, "0123456789") : 0;
	bool number = digits > 0 && s.length[digits] == 0, sized = number && digits < 19;
	unsigned long long length = sized ? strtoull(s.length, NULL, 10) : 0;
	int encoding = s.encoding ? judge_encoding(s.encoding) : ENCODING_GOOD;
	x->request.method = http_read_method(x->head.method);
	x->request.head = strcmp(x->head.method, "HEAD") == 0;
	int target = x->request.method ? read_target(x, &err) : 0;
	keep(&x->request, &x->head);
	x->chunked = s.encoding != NULL;
	x->length = length;
	x->chunks.max = (uint64_t)max_body;
	x->close = !http11 || s.close_token;
	const struct {
		bool wrong;
		struct h1_problem problem;
	} rules[] = {
		{ !x->request.method, { 501, "method_unknown", "this method is not implemented here" } },
		{ target == WEIR_LIMIT, { 414, "target_too_long", err.text } },
		{ target != 0, { 400, "bad_target", err.text } },
		{ http11 && s.hosts != 1, { 400, "bad_host", "exactly one Host header is needed" } },
		{ s.hosts > 1 || (s.host && !is_host(s.host)), { 400, "bad_host", "the Host header is not one host" } },
		{ s.lengths > 1 || s.encodings > 1, { 400, "ambiguous_length", "Content-Length or Transfer-Encoding is given twice" } },
		{ s.lengths + s.encodings > 1, { 400, "ambiguous_length", "Content-Length and Transfer-Encoding exclude each other" } },
		{ s.encoding && (!http11 || encoding == ENCODING_BAD), { 400, "bad_transfer_encoding", "only chunked is understood, once, and in HTTP/1.1" } },
		{ encoding == ENCODING_UNKNOWN, { 501, "transfer_encoding_unknown", "only chunked is understood" } },
		{ s.length && !number, { 400, "bad_content_length", "Content-Length is not a number" } },
		{ number && (!sized || length > (unsigned long long)max_body), { 413, "body_too_large", "the request's body is larger than this server takes" } },
		{ http11 && s.expect && strcasecmp(s.expect, "100-continue") != 0, { 417, "expectation_unknown", "only 100-continue can be expected" } },
		{ x->request.header_repeated, { 400, "header_repeated", "a header that may stand once is given twice" } },
	};
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i].wrong) {
			*p = rules[i].problem;
			return false;
		}
	return true;
}

bool http_check_handshake(struct exchange *x, char ret_accept[64], struct h1_problem *p)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
	struct scan s = look_at_all(&x->head);
	uint8_t nonce[BASE64_DECODE_LENGTH(32)];
	size_t nonce_size = 0;
	struct base64_decode_ctx decoder;
	base64_decode_init(&decoder);
	bool good_key = s.keys == 1 && strlen(s.key) == 24 && base64_decode_update(&decoder, &nonce_size, nonce, 24, s.key) &&
			base64_decode_final(&decoder) && nonce_size == 16;
	bool is_upgrade = x->head.minor == 1 && s.upgrades == 1 && has_token(s.upgrade, "websocket") && s.upgrade_token;
	const struct {
		bool wrong;
		struct h1_problem problem;
	} rules[] = {
		{ strcmp(x->request.method, "GET") != 0, { 405, "method_not_allowed", "a WebSocket is opened with GET" } },
		{ !is_upgrade, { 426, "upgrade_required", "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket" } },
		{ s.versions != 1 || strcmp(s.version, "13") != 0, { 426, "websocket_version", "only WebSocket version 13 is spoken here" } },
		{ !good_key, { 400, "websocket_key", "Sec-WebSocket-Key is not 16 bytes in base64" } },
		{ s.length || s.encoding, { 400, "websocket_body", "a WebSocket handshake has no body" } },
	};
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i].wrong) {
			*p = rules[i].problem;
			if (p->status == 405)
				snprintf(x->response.allow, sizeof x->response.allow, "GET");
			return false;
		}
	x->protocol = s.offers_msgpack ? HTTP_PROTOCOL_MSGPACK : s.offers_json ? HTTP_PROTOCOL_JSON : NULL;
	x->deflates = s.extension_fields == 1 && deflate_accepts(s.extensions);
	struct sha1_ctx sha;
	uint8_t digest[SHA1_DIGEST_SIZE];
	sha1_init(&sha);
	sha1_update(&sha, 24, (const uint8_t *)s.key);
	sha1_update(&sha, sizeof guid - 1, (const uint8_t *)guid);
	sha1_digest(&sha, sizeof digest, digest);
	base64_encode_raw(ret_accept, sizeof digest, digest);
	ret_accept[BASE64_ENCODE_RAW_LENGTH(sizeof digest)] = '\0';
	return true;
}

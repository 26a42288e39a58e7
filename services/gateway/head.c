/* head.c - what a request's head must look like, where libmicrohttpd is lax; and the WebSocket handshake. */
#include "http_internal.h"

#include "base/clock.h"

#include <ctype.h>
#include <netdb.h>
#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct scan { /* one pass over the headers */
	struct exchange *x;
	size_t bytes, count;
	size_t hosts, lengths, encodings, upgrades, keys, versions;
	const char *host, *length, *encoding, *connection, *upgrade, *key, *version, *request_id;
	bool bad_name, bad_value, upgrade_token;
};

static bool is_token(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("!#$%&'*+-.^_`|~", *s))
			return false;
	return true;
}

static bool is_value(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 ? *s != '\t' : *s == 0x7f)
			return false;
	return true;
}

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

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	struct scan *s = arg;
	struct http_request *r = &s->x->request;
	value = value ? value : "";
	s->bytes += strlen(name) + strlen(value) + 4;
	s->count++;
	s->bad_name = s->bad_name || !is_token(name);
	s->bad_value = s->bad_value || !is_value(value);
	const struct {
		const char *name;
		const char **value;
		size_t *count;
	} counted[] = {
		{ "host", &s->host, &s->hosts },
		{ "content-length", &s->length, &s->lengths },
		{ "transfer-encoding", &s->encoding, &s->encodings },
		{ "upgrade", &s->upgrade, &s->upgrades },
		{ "sec-websocket-key", &s->key, &s->keys },
		{ "sec-websocket-version", &s->version, &s->versions },
		{ "x-request-id", &s->request_id, NULL },
	};
	for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++)
		if (strcasecmp(name, counted[i].name) == 0) {
			*counted[i].value = value;
			if (counted[i].count)
				++*counted[i].count;
		}
	if (strcasecmp(name, "connection") == 0)
		s->upgrade_token = s->upgrade_token || has_token(value, "upgrade");
	else if (strcasecmp(name, "content-type") == 0)
		keep_once(r, &r->content_type, value);
	else if (strcasecmp(name, "authorization") == 0)
		keep_once(r, &r->authorization, value);
	else if (strcasecmp(name, "x-api-key") == 0)
		keep_once(r, &r->api_key, value);
	else if (strcasecmp(name, "if-none-match") == 0)
		keep_once(r, &r->if_none_match, value);
	return MHD_YES;
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

static void take_remote(struct exchange *x)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *a = info ? info->client_addr : NULL;
	socklen_t size = a && a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	if (!a || getnameinfo(a, size, x->request.remote, sizeof x->request.remote, NULL, 0, NI_NUMERICHOST) != 0)
		snprintf(x->request.remote, sizeof x->request.remote, "?");
}

static bool is_host(const char *host)
{
	size_t n = strlen(host);
	if (n == 0 || n > 255)
		return false;
	for (; *host; host++)
		if (!isalnum((unsigned char)*host) && !strchr("-._~:[]%", *host))
			return false;
	return true;
}

const char *http_read_method(const char *method)
{
	static const char *const known[] = { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
	if (strcmp(method, "HEAD") == 0)
		return "GET"; /* libmicrohttpd leaves the body out */
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(method, known[i]) == 0)
			return known[i];
	return NULL;
}

bool http_read_head(struct exchange *x, const char *method, const char *version, int64_t max_body, struct head_problem *p)
{
	struct scan s = { .x = x };
	MHD_get_connection_values(x->connection, MHD_HEADER_KIND, on_header, &s);
	take_request_id(&x->request, s.request_id);
	take_remote(x);
	bool http11 = strcmp(version, "HTTP/1.1") == 0;
	size_t digits = s.length ? strspn(s.length, "0123456789") : 0;
	bool sized = digits > 0 && digits < 19 && s.length[digits] == 0;
	unsigned long long length = sized ? strtoull(s.length, NULL, 10) : 0;
	const struct {
		bool wrong;
		struct head_problem problem;
	} rules[] = {
		{ !x->request.method, { 501, "method_unknown", "this method is not implemented here" } },
		{ !http11 && strcmp(version, "HTTP/1.0") != 0, { 505, "version_not_supported", "HTTP/1.1 is spoken here" } },
		{ x->target_code == WEIR_LIMIT, { 414, "target_too_long", x->target_error.text } },
		{ x->target_code != 0, { 400, "bad_target", x->target_error.text } },
		{ s.bytes > HTTP_HEAD_MAX || s.count > 64, { 431, "head_too_large", "the request's head has more than 16 KiB or 64 fields" } },
		{ s.bad_name || s.bad_value, { 400, "bad_header", "a header's name or value has characters that are not allowed there" } },
		{ http11 && s.hosts != 1, { 400, "bad_host", "exactly one Host header is needed" } },
		{ s.hosts > 1 || (s.host && !is_host(s.host)), { 400, "bad_host", "the Host header is not one host" } },
		{ s.lengths > 1 || s.encodings > 1, { 400, "ambiguous_length", "Content-Length or Transfer-Encoding is given twice" } },
		{ s.lengths + s.encodings > 1, { 400, "ambiguous_length", "Content-Length and Transfer-Encoding exclude each other" } },
		{ s.encoding && (!http11 || strcasecmp(s.encoding, "chunked") != 0), { 400, "bad_transfer_encoding", "only chunked is understood" } },
		{ s.length && !sized, { 400, "bad_content_length", "Content-Length is not a number" } },
		{ sized && length > (unsigned long long)max_body, { 413, "body_too_large", "the request's body is larger than this server takes" } },
		{ x->request.header_repeated, { 400, "header_repeated", "a header that may stand once is given twice" } },
	};
	(void)method;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i].wrong) {
			*p = rules[i].problem;
			return false;
		}
	return true;
}

bool http_check_handshake(struct exchange *x, char ret_accept[64], struct head_problem *p)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
	struct scan s = { .x = &(struct exchange){ .connection = x->connection } };
	MHD_get_connection_values(x->connection, MHD_HEADER_KIND, on_header, &s);
	struct http_request *scratch = &s.x->request;
	xfree(&scratch->content_type);
	xfree(&scratch->authorization);
	xfree(&scratch->api_key);
	xfree(&scratch->if_none_match);
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	uint8_t nonce[BASE64_DECODE_LENGTH(32)];
	size_t nonce_size = 0;
	struct base64_decode_ctx decoder;
	base64_decode_init(&decoder);
	bool good_key = s.keys == 1 && strlen(s.key) == 24 && base64_decode_update(&decoder, &nonce_size, nonce, 24, s.key) &&
			base64_decode_final(&decoder) && nonce_size == 16;
	bool is_upgrade = s.upgrades == 1 && has_token(s.upgrade, "websocket") && s.upgrade_token;
	const struct {
		bool wrong;
		struct head_problem problem;
	} rules[] = {
		{ strcmp(x->request.method, "GET") != 0, { 405, "method_not_allowed", "a WebSocket is opened with GET" } },
		{ !is_upgrade, { 426, "upgrade_required", "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket" } },
		{ s.versions != 1 || strcmp(s.version, "13") != 0, { 426, "websocket_version", "only WebSocket version 13 is spoken here" } },
		{ !good_key, { 400, "websocket_key", "Sec-WebSocket-Key is not 16 bytes in base64" } },
		{ s.length || s.encoding, { 400, "websocket_body", "a WebSocket handshake has no body" } },
		{ !info, { 500, "internal", "the connection has no socket" } },
	};
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i].wrong) {
			*p = rules[i].problem;
			if (p->status == 405)
				snprintf(x->response.allow, sizeof x->response.allow, "GET");
			return false;
		}
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

/* gateway_requests.h - for gateway_fuzz.c: requests out of the tables of routes and WebSocket frames, as libFuzzer's mutations beside its own. */
#ifndef WEIR_TESTS_FUZZ_GATEWAY_REQUESTS_H
#define WEIR_TESTS_FUZZ_GATEWAY_REQUESTS_H

#include "services/gateway/call/call.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define REQUEST_ADMIN_KEY "admin-key-0123456789"
#define REQUEST_VIEWER_KEY "viewer-key-0123456789"
#define REQUEST_BYTES_MAX ((size_t)64 << 10)

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

struct chance {
	uint64_t state;
};

static unsigned one_of(struct chance *c, size_t n)
{
	c->state = c->state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((c->state >> 33) % n);
}

#define PICK(c, words) (words)[one_of(c, sizeof(words) / sizeof(words)[0])]

static const char *some_value(struct chance *c, const char *name)
{
	static const char *const chains[] = { "dev", "dev", "dev", "other" };
	static const char *const topics[] = { "blocks", "entries", "accounts", "status", "watchlist", "dead_letters", "none" };
	static const char *const accounts[] = { "0xf300000000000000000000000000000000000000", "0xF3000000000000000000000000000000000000Zz", "0x" };
	static const char *const assets[] = { "native", "erc20:0xf300000000000000000000000000000000000000", "erc1155:0xf300000000000000000000000000000000000000:1" };
	static const char *const blocks[] = { "1", "latest", "finalized", "0x0100000000000000000000000000000000000000000000000000000000000000", "99999999999999999999" };
	static const char *const offsets[] = { "0", "1", "3.0", "5~1~2", "18446744073709551615", "x" };
	static const char *const others[] = { "1", "0", "-1", "true", "false", "a", "%00", "%c3%28", "normalizer", "50", "9223372036854775807", "2025-11-21T00:00:00Z",
					      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "resume", "close", "transfer" };
	return strcmp(name, "chain") == 0     ? PICK(c, chains) :
	       strcmp(name, "topic") == 0     ? PICK(c, topics) :
	       strstr(name, "account")        ? PICK(c, accounts) :
	       strcmp(name, "asset") == 0     ? PICK(c, assets) :
	       strcmp(name, "block") == 0     ? PICK(c, blocks) :
	       strcmp(name, "offset") == 0    ? PICK(c, offsets) :
						PICK(c, others);
}

static void add_path(struct chance *c, const char *path, struct buf *out)
{
	while (*path) {
		const char *brace = strchr(path, '{'), *end = brace ? strchr(brace, '}') : NULL;
		if (!end) {
			buf_add_str(out, path);
			return;
		}
		char name[40];
		snprintf(name, sizeof name, "%.*s", (int)(end - brace - 1), brace + 1);
		buf_printf(out, "%.*s%s", (int)(brace - path), path, some_value(c, name));
		path = end + 1;
	}
}

static void add_json(struct chance *c, const struct parameter *p, struct buf *out)
{
	const char *value = some_value(c, p->name);
	switch (p->type) {
	case PARAMETER_INT:
		buf_printf(out, "\"%s\":%u", p->name, one_of(c, 1000));
		return;
	case PARAMETER_BOOL:
		buf_printf(out, "\"%s\":%s", p->name, one_of(c, 2) ? "true" : "false");
		return;
	case PARAMETER_TEXT:
		buf_printf(out, "\"%s\":\"%s\"", p->name, value);
		return;
	case PARAMETER_TEXTS:
		buf_printf(out, "\"%s\":[\"%s\",\"/v1/chains/dev/blocks/%s\"]", p->name, value, some_value(c, "block"));
		return;
	}
}

static void add_headers(struct chance *c, struct buf *out)
{
	static const char *const headers[] = {
		"Authorization: Bearer " REQUEST_ADMIN_KEY, "X-Api-Key: " REQUEST_VIEWER_KEY, "X-Api-Key: wrong", "Idempotency-Key: a", "If-None-Match: *",
		"If-None-Match: W/\"one\", \"one-gzip\"", "Accept-Encoding: gzip;q=0.5, zstd", "Accept: application/vnd.msgpack", "Origin: https://a.example",
		"Origin: null", "X-Forwarded-For: 198.51.100.7, 192.0.2.9", "Connection: close", "Expect: 100-continue", "Last-Event-ID: 1", "Cookie: weir-session=a",
		"Sec-Fetch-Site: cross-site", "X-Request-Id: a.b-c", "Access-Control-Request-Method: GET",
	};
	if (one_of(c, 4) > 0)
		buf_add_str(out, "Authorization: Bearer " REQUEST_ADMIN_KEY "\r\n");
	for (unsigned n = one_of(c, 4); n > 0; n--)
		buf_printf(out, "%s\r\n", PICK(c, headers));
}

static void add_body(struct chance *c, const struct route *route, struct buf *out)
{
	struct buf body = BUF_INIT(REQUEST_BYTES_MAX);
	buf_add_byte(&body, '{');
	for (const struct parameter *p = route->parameters; p < route->parameters + PARAMETERS_MAX && p->name; p++)
		if (p->required || one_of(c, 3) == 0) {
			buf_add_str(&body, body.size > 1 ? "," : "");
			add_json(c, p, &body);
		}
	buf_add_byte(&body, '}');
	buf_printf(out, "Content-Type: application/%s\r\n", one_of(c, 8) ? "json" : "x-ndjson");
	if (one_of(c, 4) == 0)
		buf_printf(out, "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n%zx;a=b\r\n%s\r\n0\r\nX-Trailer: a\r\n\r\n", body.size - 1, buf_str(&body) + 1);
	else
		buf_printf(out, "Content-Length: %zu\r\n\r\n%s", body.size, buf_str(&body));
	buf_free(&body);
}

static void add_request(struct chance *c, bool operators, struct buf *out)
{
	static const char *const odd[] = { "/", "/ui/keys", "/index.html", "/v1/ws", "/nothing", "*", "http://a/v1/chains", "/v1/chains?x=1" };
	static const char *const methods[] = { "HEAD", "OPTIONS", "PUT", "BREW" };
	bool own = operators && one_of(c, 8) > 0;
	const struct route *route = own ? &admin_routes[one_of(c, admin_route_count)] : &client_routes[one_of(c, client_route_count)];
	bool post = strcmp(route->method, "POST") == 0;
	buf_printf(out, "%s ", one_of(c, 10) == 0 ? PICK(c, methods) : route->method);
	if (one_of(c, 12) == 0)
		buf_add_str(out, PICK(c, odd));
	else
		add_path(c, route->path, out);
	char join = '?';
	for (const struct parameter *p = route->parameters; !post && p < route->parameters + PARAMETERS_MAX && p->name; p++)
		if (p->required || one_of(c, 3) == 0) {
			buf_printf(out, "%c%s=%s", join, p->name, some_value(c, p->name));
			join = '&';
		}
	buf_add_str(out, " HTTP/1.1\r\nHost: a\r\n");
	add_headers(c, out);
	if (post)
		add_body(c, route, out);
	else
		buf_add_str(out, "\r\n");
}

/* A frame whose mask is zero, so that libFuzzer sees what it says. */
static void add_frame(struct chance *c, struct buf *out)
{
	static const uint8_t first[] = { 0x81, 0x81, 0x81, 0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8a, 0xc1, 0x83 };
	char text[400];
	switch (one_of(c, 7)) {
	case 6:
		snprintf(text, sizeof text, "{\"id\":3,\"method\":\"authenticate\",\"params\":{\"key\":\"%s\"}}", one_of(c, 2) ? REQUEST_VIEWER_KEY : "wrong");
		break;
	case 0:
		snprintf(text, sizeof text, "{\"id\":%u,\"method\":\"unsubscribe\",\"params\":{\"subscription\":\"%u\"}}", one_of(c, 5), 1 + one_of(c, 3));
		break;
	case 1:
		snprintf(text, sizeof text, "{\"id\":\"a\",\"method\":\"ping\"}");
		break;
	case 2:
		snprintf(text, sizeof text, "\x03\xe8%s", some_value(c, "reason"));
		break;
	case 3:
		snprintf(text, sizeof text, "{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topic\":\"%s\",\"chain\":\"dev\",\"from\":{\"offset\":\"%s\"},\"laggard\":\"resume\"}}",
			 some_value(c, "topic"), some_value(c, "offset"));
		break;
	case 4:
		snprintf(text, sizeof text, "{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topic\":\"%s\",\"chain\":\"dev\",\"account\":\"%s\",\"from\":{\"snapshot\":true}}}",
			 some_value(c, "topic"), some_value(c, "account"));
		break;
	default:
		snprintf(text, sizeof text, "{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topic\":\"%s\",\"chain\":\"%s\",\"finality\":true}}", some_value(c, "topic"),
			 some_value(c, "chain"));
		break;
	}
	size_t size = strlen(text);
	buf_add_byte(out, PICK(c, first));
	buf_add_byte(out, (uint8_t)(0x80 | (size < 126 ? size : 126)));
	if (size >= 126) {
		buf_add_byte(out, (uint8_t)(size >> 8));
		buf_add_byte(out, (uint8_t)size);
	}
	buf_add(out, "\0\0\0\0", 4);
	buf_add(out, text, size);
}

static void add_websocket(struct chance *c, struct buf *out)
{
	static const char *const more[] = { "", "", "Authorization: Bearer " REQUEST_ADMIN_KEY "\r\n", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", "Sec-WebSocket-Protocol: weir.msgpack\r\n",
					    "Sec-WebSocket-Protocol: weir.json\r\n", "Origin: https://a.example\r\n" };
	buf_printf(out, "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n", PICK(c, more));
	for (unsigned n = 1 + one_of(c, 4); n > 0; n--)
		add_frame(c, out);
}

/* operators: the bit of the first byte that chooses the listener. */
static size_t requests_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, uint8_t operators)
{
	struct chance c = { seed };
	unsigned how = one_of(&c, 16);
	if (how >= 4 || max_size < 4)
		return LLVMFuzzerMutate(data, size, max_size);
	struct buf out = BUF_INIT(REQUEST_BYTES_MAX);
	if (how < 2 || size < 2) { /* all anew */
		buf_add_byte(&out, (uint8_t)one_of(&c, 64));
		buf_add_byte(&out, (uint8_t)(one_of(&c, 4) ? 0 : one_of(&c, 256)));
	} else {
		buf_add(&out, data, size);
	}
	bool for_operators = out.data[0] & operators;
	if (how == 3)
		add_frame(&c, &out);
	else if (one_of(&c, 4) == 0)
		add_websocket(&c, &out);
	else
		for (unsigned n = 1 + one_of(&c, 3); n > 0; n--)
			add_request(&c, for_operators, &out);
	size = out.size < max_size ? out.size : max_size;
	memcpy(data, out.data, size);
	buf_free(&out);
	return size;
}

#endif

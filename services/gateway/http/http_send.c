/* http_send.c - an answer's status line and headers. */
#include "http/http_internal.h"

#include "http/deflate.h"

#include "base/clock.h"
#include "base/digits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *http_reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *words;
	} rows[] = {
		{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 304, "Not Modified" }, { 400, "Bad Request" },
		{ 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 408, "Request Timeout" },
		{ 409, "Conflict" }, { 410, "Gone" }, { 413, "Content Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" }, { 422, "Unprocessable Content" }, { 426, "Upgrade Required" }, { 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
		{ 503, "Service Unavailable" }, { 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].status == status)
			return rows[i].words;
	return "Error";
}

void http_add_field(struct http_response *response, const char *name, const char *format, ...)
{
	va_list args;
	if (response->field_count == HTTP_FIELDS_MAX)
		return;
	struct http_field *field = &response->fields[response->field_count];
	va_start(args, format);
	int n = vsnprintf(field->value, sizeof field->value, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof field->value)
		return; /* half a value would say something else */
	field->name = name;
	response->field_count++;
}

void http_add_text(struct http_response *response, const char *name, const char *value)
{
	size_t size = strlen(value) + 1;
	if (response->field_count == HTTP_FIELDS_MAX || size > sizeof response->fields[0].value)
		return;
	struct http_field *field = &response->fields[response->field_count++];
	field->name = name;
	memcpy(field->value, value, size);
}

/* An answer has up to twenty fields, and formatting took a third of the time that one from memory costs: they are put together from their parts. */
static void put_field(struct buf *out, const char *name, const char *value)
{
	buf_add_str(out, name);
	buf_add_str(out, ": ");
	buf_add_str(out, value);
	buf_add_str(out, "\r\n");
}

static void put_number(struct buf *out, uint64_t number)
{
	char text[DIGITS_MAX];
	buf_add(out, text, (size_t)(digits_put(text, number) - text));
}

/* Written once for each second and thread. */
static void put_date(struct buf *out)
{
	static _Thread_local struct {
		time_t at;
		char text[64];
	} last;
	struct tm tm;
	time_t now = (time_t)(clock_wall_ms() / 1000);
	if (last.at != now && gmtime_r(&now, &tm) && strftime(last.text, sizeof last.text, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
		last.at = now;
	if (last.at == now)
		put_field(out, "Date", last.text);
}

static void put_common(const struct exchange *x, struct buf *out)
{
	const struct http_response *r = &x->response;
	put_date(out);
	buf_add_str(out, "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n");
	put_field(out, "Cross-Origin-Resource-Policy", r->cross_origin ? "cross-origin" : "same-origin");
	put_field(out, "Content-Security-Policy", r->policy ? r->policy : "default-src 'none'; frame-ancestors 'none'");
	put_field(out, "X-Request-Id", x->request.id);
	for (size_t i = 0; i < r->field_count; i++)
		put_field(out, r->fields[i].name, r->fields[i].value);
}

static void observe(const struct exchange *x)
{
	const struct http_options *o = &x->conn->loop->http->options;
	if (o->observe)
		o->observe(&x->request, &x->response, (double)(clock_mono_ns() - x->began_ns) / 1e9, o->arg);
}

void http_print_head(const struct exchange *x, struct buf *out)
{
	const struct http_response *r = &x->response;
	size_t size = http_body(r)->size;
	bool bodiless = r->status == 204 || r->status == 304;
	buf_add_str(out, "HTTP/1.1 ");
	put_number(out, r->status);
	buf_add_str(out, " ");
	buf_add_str(out, http_reason(r->status));
	buf_add_str(out, "\r\n");
	put_common(x, out);
	if (size > 0)
		put_field(out, "Content-Type", r->type);
	put_field(out, "Cache-Control", r->caching ? r->caching : "no-store");
	if (r->etag[0])
		put_field(out, "ETag", r->etag);
	if (r->cookie)
		put_field(out, "Set-Cookie", r->cookie);
	if (r->allow[0])
		put_field(out, "Allow", r->allow);
	if (r->authenticate)
		buf_add_str(out, "WWW-Authenticate: Bearer\r\n");
	if (r->replayed)
		buf_add_str(out, "Idempotency-Replayed: true\r\n");
	if (r->retry_after > 0)
		buf_printf(out, "Retry-After: %d\r\n", r->retry_after);
	if (r->status == 426)
		buf_add_str(out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
	if (!bodiless) {
		buf_add_str(out, "Content-Length: ");
		put_number(out, size);
		buf_add_str(out, "\r\n");
	}
	if (r->status == 426 && x->close)
		buf_add_str(out, "Connection: upgrade, close\r\n");
	else if (x->close)
		buf_add_str(out, "Connection: close\r\n");
	buf_add_str(out, "\r\n");
}

void http_send(struct http_conn *conn)
{
	struct exchange *x = conn->x;
	struct http_response *r = &x->response;
	if (r->body.overflow) {
		buf_reset(&r->body);
		conn->loop->http->options.refuse(r, 500, "answer_too_large", "the answer would be larger than this server sends: ask for less at a time",
						 x->request.target.path, x->request.id, conn->loop->http->options.arg);
	}
	observe(x);
	buf_reset(&conn->out);
	http_print_head(x, &conn->out);
	conn->sent = 0;
	http_set_phase(conn, PHASE_SENDING);
	conn->body_size = x->request.head || r->status == 204 || r->status == 304 ? 0 : http_body(r)->size;
}

void http_print_upgrade(const struct exchange *x, const char *accept, struct buf *out)
{
	buf_printf(out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\nX-Request-Id: %s\r\n",
		   accept, x->request.id);
	if (x->protocol)
		buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", x->protocol);
	if (x->deflates)
		buf_add_str(out, "Sec-WebSocket-Extensions: " DEFLATE_ANSWER "\r\n");
	buf_add_str(out, "\r\n");
}

void http_stream_head(struct http_socket *s, const char *type, struct buf *out)
{
	s->x->response.status = 200;
	observe(s->x);
	buf_add_str(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
	put_common(s->x, out);
	/* nginx would hold events back */
	buf_printf(out, "Content-Type: %s\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n\r\n", type);
}

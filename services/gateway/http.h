/* http.h - the transport: HTTP/1.1 over libmicrohttpd, and nothing of weir's routes.
 *
 * One listener: libmicrohttpd's threads (epoll) read and write, a pool of workers runs the handler, which may block. A request that
 * is not plainly well-formed is refused here, also where libmicrohttpd would let it pass (RFC 9112 sections 3.2 and 6.3): missing or
 * repeated Host, Content-Length together with Transfer-Encoding, either of them twice, targets that are not clean, bodies where the
 * length is too large. Limits: connections, head, body, time to send the request, time to take the answer. Every answer carries an
 * X-Request-Id and the security headers. Replies that libmicrohttpd makes by itself (a head larger than its buffer, an unreadable
 * request line) have no body of ours.
 */
#ifndef WEIR_GATEWAY_HTTP_H
#define WEIR_GATEWAY_HTTP_H

#include "target.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct http_request {
	const char *method; /* "GET"; HEAD is given to the handler as GET */
	struct target target;
	char id[33];      /* request id: what the client sent, if harmless, else made here */
	char remote[64];  /* peer's address */
	char *content_type, *authorization, *api_key, *if_none_match; /* headers, NULL when absent */
	bool header_repeated; /* one of those was there more than once */
	struct bytes body;
};

struct http_response {
	unsigned status;
	const char *type;      /* of the body, static */
	struct buf body;
	int retry_after;       /* seconds; 0: none */
	char allow[64];        /* for 405 */
	char etag[80];         /* with quotes; empty: none */
	bool authenticate;     /* 401: WWW-Authenticate: Bearer */
	bool cache;            /* may be kept for good: the answer can never change */
};

typedef void http_handler(const struct http_request *, struct http_response *, void *arg);

/* The listener found something wrong: fills status and body. code: machine-readable, snake_case. */
typedef void http_refuse(struct http_response *, unsigned status, const char *code, const char *detail, const char *instance, const char *request_id,
			 void *arg);

/* A WebSocket handshake succeeded (RFC 6455 section 4): the socket is the callee's until http_release. early: bytes already read. */
struct http_socket;
typedef void http_upgraded(struct http_socket *, int fd, struct bytes early, const char *remote, void *arg);
void http_release(struct http_socket **); /* closes it */

struct http_options {
	const char *setting; /* name of the setting that `address` comes from, for messages */
	const char *address; /* "host:port" */
	int64_t max_connections, max_body_bytes, request_timeout_ms;
	unsigned threads, workers;
	http_handler *handler;
	http_refuse *refuse;
	void (*observe)(const struct http_request *, const struct http_response *, double seconds, void *arg); /* after each answer; may be NULL */
	const char *websocket_path; /* NULL: none */
	bool (*websocket_room)(void *arg); /* false: 503 */
	http_upgraded *upgraded;
	void *arg;
	const struct log *log;
};

struct http;
int http_open(const struct http_options *, struct http **ret, struct error *);
const char *http_address(const struct http *); /* "host:port" as bound */
void http_drain(struct http *);  /* accepts nothing new; returns when every request in hand is answered by its handler */
void http_close(struct http **); /* after every upgraded socket was released */

#endif

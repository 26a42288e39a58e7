/* http.h - the transport: an HTTP/1.1 server, and nothing of weir's routes.
 *
 * One listener: a few threads (epoll) read and write, a pool of workers runs the handler, which may block. Its parser (h1.h) is strict, so that
 * nobody else on the way can see other requests in the same bytes (RFC 9112); every refusal, whatever the reason, is a
 * problem document of the caller's making. After a refusal the connection is closed. Limits: connections, head (16 KiB, 64 fields), target,
 * body, time for TLS's handshake, time from a request's first byte to its last, time to take the answer. Every answer carries an X-Request-Id and the security
 * headers. Decision: docs/decisions/0021-own-http.md.
 */
#ifndef WEIR_GATEWAY_HTTP_H
#define WEIR_GATEWAY_HTTP_H

#include "http/client_address.h"
#include "http/target.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct http_load { /* how far behind the listener is */
	int64_t wait_ms; /* for a worker: what a request that has come would wait, or, told a worker, what this one did */
	bool burst;      /* there has not been a queue for long (backlog.h); always, told a worker */
};

struct http_arrival { /* a request of which there is the head, and not more than this known; points into it */
	const char *path; /* plain: nothing to decode */
	size_t path_size;
	bool query, credentials; /* it has some; whether they are good nobody knows */
};

struct http_request {
	const char *method; /* "GET"; HEAD is given to the handler as GET */
	struct target target;
	char id[33];      /* request id: what the client sent, if harmless, else made here */
	struct client_address address; /* the client's, behind trusted proxies */
	char remote[CLIENT_ADDRESS_TEXT];
	char *content_type, *authorization, *api_key, *if_none_match, *idempotency_key, *last_event_id; /* headers, NULL when absent */
	char *forwarded;      /* the values of X-Forwarded-For, joined by commas; NULL when absent */
	bool head;        /* HEAD: nobody waits for the body */
	char *accept, *accept_encoding, *origin, *asked_method; /* the last is Access-Control-Request-Method */
	char *host, *cookie, *fetch_site; /* the last is Sec-Fetch-Site */
	bool header_repeated; /* one of those was there more than once */
	struct bytes body;
	struct http_load load;
	bool left; /* its client has ended its side of the connection while the request waited for a worker */
};

#define HTTP_FIELDS_MAX 16
struct http_field {
	const char *name; /* static */
	char value[192];
};

struct channel;
struct tls;
struct http_socket;
typedef void http_take(struct http_socket *, int fd, void *arg);

/* What a token said of itself, kept for who holds a connection by it (identity/principal.h). */
struct http_token {
	bool is; /* false: it is held by something else */
	uint64_t id;
	int64_t issued_s;
};

struct http_response {
	unsigned status;
	const char *type;      /* of the body, static */
	struct buf body;
	const struct buf *lasting; /* instead of body: somebody else's, who outlives the listener. NULL: body */
	int retry_after;       /* seconds; 0: none */
	char allow[64];        /* for 405 */
	char etag[80];         /* with quotes; empty: none */
	bool authenticate;     /* 401: WWW-Authenticate: Bearer */
	bool coded;            /* the body has its content coding already */
	bool cross_origin;     /* pages of another origin may read it */
	bool replayed;         /* the answer to an earlier request: Idempotency-Replayed: true */
	const char *caching;   /* Cache-Control, static; NULL: no-store */
	char *cookie;          /* Set-Cookie; freed with the response. NULL: none */
	const char *policy;    /* Content-Security-Policy, static; NULL: nothing may load anything */
	struct http_field fields[HTTP_FIELDS_MAX]; /* further headers */
	size_t field_count;
	http_take *take;       /* the answer is left to another thread, see http_answer; NULL: this is the answer */
	void *taking;          /* for take; its callee frees it */
	char session[40];      /* and by which session of an operator, for http_session; empty: by none */
	char holder[128];      /* of a connection that stays: who opened it, for http_holder; empty: nobody in particular */
	int64_t holder_until_ms; /* unix time; 0: no end */
	struct http_token token; /* by which */
};
static inline const struct buf *http_body(const struct http_response *r)
{
	return r->lasting ? r->lasting : &r->body;
}
/* One more header; what does not fit is left out. */
void http_add_field(struct http_response *, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void http_add_text(struct http_response *, const char *name, const char *value); /* the same without formatting: a tenth of the time */

typedef void http_handler(const struct http_request *, struct http_response *, void *arg);

/* The listener found something wrong: fills status and body. code: machine-readable, snake_case. */
typedef void http_refuse(struct http_response *, unsigned status, const char *code, const char *detail, const char *instance, const char *request_id,
			 void *arg);

/* A WebSocket handshake succeeded (RFC 6455 section 4): the socket is the callee's until http_release. early: bytes already read. */
typedef void http_upgraded(struct http_socket *, int fd, struct bytes early, const char *remote, void *arg);
void http_release(struct http_socket **); /* closes it */
#define HTTP_PROTOCOL_JSON "weir.json"
#define HTTP_PROTOCOL_MSGPACK "weir.msgpack"
struct channel *http_channel(struct http_socket *); /* channel.h: to read and write by, until the socket is given back */
const char *http_protocol(const struct http_socket *); /* one of the two; NULL: none was asked for */
bool http_deflates(const struct http_socket *); /* permessage-deflate was agreed on, as deflate.h answers it */
const char *http_session(const struct http_socket *); /* of a request in hand; WebSockets are opened by none */
const char *http_holder(const struct http_socket *, int64_t *ret_until_ms); /* as http_response said when it was opened, or http_hold since */
struct http_token http_token_of(const struct http_socket *); /* by which it is held */
void http_hold(struct http_socket *, const char *holder, int64_t until_ms, struct http_token); /* new credentials were shown, by the same holder or where there was none */

/* A handler that waits for events holds no worker: it sets response->take and returns. Then the request is the callee's, on any thread,
 * until it ends it in one of two ways. http_answer: the response, filled by now, is sent as if the handler had just returned, and the
 * connection goes on. Or the callee writes to the socket itself, http_stream_head first, and ends the connection with http_release.
 * Meanwhile the server leaves the socket alone and nobody but the callee notices that the client went away. */
const struct http_request *http_request_of(const struct http_socket *);
struct http_response *http_response_of(struct http_socket *);
void http_answer(struct http_socket **);
const char *http_reason(unsigned status); /* its words in RFC 9110 */
/* Status 200 and the headers of an answer that ends with its connection. */
void http_stream_head(struct http_socket *, const char *type, struct buf *out);

enum http_at_once {
	HTTP_WAITS,    /* it is a worker's */
	HTTP_ANSWERED, /* the response is filled */
	HTTP_LATER,    /* another thread fills it, and says so by http_finish */
};
/* The responses to these are filled; the requests are gone after that. Any thread; requests of one listener. */
void http_finish(const struct http_request *const requests[], size_t n);
/* A worker shall answer it after all; its response is as it was. False: none will any more, it is to be answered as before. Any thread. */
bool http_hand_on(const struct http_request *);

struct http_options {
	const char *setting; /* name of the setting that `address` comes from, for messages */
	const char *address; /* "host:port" */
	struct tls *tls; /* NULL: plain. Outlives the listener */
	int64_t max_connections, max_body_bytes, request_timeout_ms;
	int64_t connections_per_peer; /* one more is closed when it comes; upgraded ones no longer count, nor do those of `trusted` and `exempt`. 0: no limit */
	struct metric *refused_peers; /* counts those; NULL: nobody does */
	unsigned threads, workers; /* both 0: the caller moves the server (http_internal.h), which tests do that want no accidents of time */
	http_handler *handler;
	enum http_at_once (*at_once)(const struct http_request *, struct http_response *, void *arg); /* asked first, by the thread that reads: must not wait. May be NULL */
	http_refuse *refuse;
	/* Asked before anything else is done about a request, when somebody waits: true: it gets this answer, with a Retry-After and without `observe`. Requests
	 * that are not simple enough (door.h) take the usual way. Both or none. */
	bool (*turns_away)(const struct http_arrival *, const struct http_load *, void *arg);
	void (*turned_away)(struct http_response *, const char *instance, const char *request_id, void *arg); /* made once a second */
	void (*observe)(const struct http_request *, const struct http_response *, double seconds, void *arg); /* after each answer; may be NULL */
	const struct client_ranges *trusted; /* proxies whose X-Forwarded-For counts */
	const struct client_ranges *exempt;  /* from connections_per_peer; may be NULL */
	const char *websocket_path; /* NULL: none */
	bool (*websocket_admit)(const struct http_request *, struct http_response *, void *arg); /* false: refused with the response; must not block */
	bool (*websocket_room)(void *arg); /* false: 503 */
	http_upgraded *upgraded;
	void *arg;
	const struct log *log;
};

struct http;
int http_open(const struct http_options *, struct http **ret, struct error *);
const char *http_address(const struct http *); /* "host:port" as bound */
int64_t http_lag(const struct http *); /* of its loops, the longest, in milliseconds (lag.h) */
void http_drain(struct http *);  /* accepts nothing new; returns when every request in hand is answered by its handler */
void http_close(struct http **); /* after every upgraded socket was released */

#endif

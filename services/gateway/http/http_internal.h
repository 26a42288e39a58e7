/* http_internal.h - private to http*.c and head.c: connections, their requests, and the threads that move them. */
#ifndef WEIR_GATEWAY_HTTP_INTERNAL_H
#define WEIR_GATEWAY_HTTP_INTERNAL_H

#include "http/backlog.h"
#include "http/channel.h"
#include "http/door.h"
#include "http/h1.h"
#include "http/http.h"
#include "http/lag.h"
#include "http/tls.h"

#include "base/seldom.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#define HTTP_ANSWER_MAX ((size_t)64 << 20)

struct http_conn;

enum stage { STAGE_BODY, STAGE_HANDLING, STAGE_ANSWERED, STAGE_TAKEN, STAGE_RELEASED };

struct exchange { /* one request and its answer; belongs to the connection's loop except while handled */
	struct http_conn *conn;
	struct http_request request;
	struct http_response response;
	char *head_text; /* what head points into */
	struct h1_head head;
	struct buf received;
	bool sized, chunked;
	uint64_t length; /* of the body, when sized: what is still to come */
	struct h1_chunks chunks;
	enum stage stage;
	bool close;      /* the connection ends with this answer */
	bool deflates;   /* the WebSocket being opened has permessage-deflate */
	const char *protocol; /* and speaks this, static; NULL: none was offered that is known */
	int64_t began_ns, queued_ns;
	struct exchange *next;
};

enum phase {
	PHASE_READING,
	PHASE_HANDLING, /* by a worker, or taken */
	PHASE_SENDING,
	PHASE_LINGERING, /* the answer is out and the connection will end: what still comes is thrown away, so that the answer is not lost with it */
	PHASE_UPGRADED,  /* its socket is another's: it is forgotten next */
	PHASE_HANDSHAKE, /* of TLS */
};

struct http_conn { /* of its loop's thread, but for done_next and left */
	struct channel io;
	struct http_loop *loop;
	enum phase phase;
	int64_t since_ms; /* of the phase */
	bool readable, writable, begun; /* begun: the first byte of a request is there */
	bool ends;        /* the peer will send no more, or something is wrong: what is read is followed by that */
	bool detached;    /* not in the epoll set */
	_Atomic bool left; /* the peer has ended its side; read by workers, too */
	struct sockaddr_storage address;
	bool counted; /* in http->peers */
	struct buf in;
	struct h1_scan scan;
	struct exchange *x;
	struct buf out; /* the answer's head; its body is the exchange's */
	size_t sent, body_size;
	struct http_conn *next, *previous, *done_next;
};

struct http_loop {
	struct http *http;
	int epoll, wake;
	pthread_t thread;
	bool running, listening;
	int64_t swept_ms;
	size_t shaking; /* connections in TLS's handshake at the last sweep */
	struct lag lag;
	struct door door;
	struct http_conn *conns;
	struct http_conn *done; /* guarded by http->lock: answered, or released */
};

struct http_socket {
	struct exchange *x; /* NULL: of an upgraded connection */
	struct http_conn *conn; /* else */
	/* of an upgraded one, of which this is all that is left here */
	struct http *http;
	struct channel io;
	bool deflates;
	const char *protocol;
	char *holder;
	int64_t holder_until_ms;
	struct http_token token;
};

struct http {
	struct http_options options;
	struct peers *peers; /* NULL: nobody is counted */
	struct seldom refused_peers;
	char address[160];
	int listen_fd;
	_Atomic int64_t connections, busy; /* busy: an answer is being made or sent */
	_Atomic bool quiet, closing;       /* quiet: accepts nothing */
	struct http_loop *loops;
	unsigned loop_count;
	struct backlog backlog; /* of the queue below */
	pthread_mutex_t lock; /* guards everything below, and the loops' done */
	pthread_cond_t queued;
	struct exchange *first, *last;
	bool draining;
	/* Of the thread that opened it. */
	bool drained;
	pthread_t *workers;
	size_t worker_count;
};

/* -- http_loop.c: threads that read and write -------------------------------------------------------------------------------------- */

int http_loops_open(struct http *, struct error *);
void http_loops_wake(struct http *);
void http_loops_close(struct http *);
/* Takes a connected socket, non-blocking, whose peer has the address. It counts as a connection already, and as its peer's if so said. On the loop's thread. */
void http_loop_take(struct http_loop *, int fd, const struct sockaddr_storage *, bool counted);
/* Waits for something to do, at most so long, and does it. What the loop's thread does again and again. */
void http_loop_turn(struct http_loop *, int timeout_ms);
/* The exchange was answered, or its connection released: its loop goes on with it. Any thread. */
void http_done(struct http_conn *);
void http_done_all(struct exchange *const[], size_t n);
void http_set_phase(struct http_conn *, enum phase);
void http_detach(struct http_conn *); /* out of the epoll set; any thread while the loop leaves the connection alone */

/* -- http.c: what happens to a request ---------------------------------------------------------------------------------------------- */

/* The head's bytes are there (text becomes the exchange's), or it is refused (problem). Each of these may end in http_send. */
void http_begin(struct http_conn *, char *text, size_t size, const struct h1_problem *);
void http_received(struct http_conn *); /* the body is there */
struct http_load http_load_of(const struct http_loop *, int64_t now_ns); /* for a request that has just come */
bool http_handle_one(struct http *); /* what a worker does again and again. False: nothing waits for one */
void http_refuse_now(struct http_conn *, unsigned status, const char *code, const char *detail);
void http_exchange_free(struct exchange **);

/* -- http_send.c: answers as bytes ---------------------------------------------------------------------------------------------------- */

void http_send(struct http_conn *); /* prepares the answer of the connection's exchange; the loop writes it */
void http_print_head(const struct exchange *, struct buf *out);
void http_print_upgrade(const struct exchange *, const char *accept, struct buf *out);

/* -- head.c: what a head must say ------------------------------------------------------------------------------------------------------ */

const char *http_read_method(const char *method); /* as a lasting string; NULL when it is none that is known here. HEAD is "GET" */
/* Checks the head and takes what handlers need out of it. False: refused. */
bool http_read_head(struct exchange *, int64_t max_body, struct h1_problem *);
void http_name_request(struct exchange *); /* an id and the client's address, also for what could not be read */
bool http_check_handshake(struct exchange *, char ret_accept[64], struct h1_problem *); /* RFC 6455 section 4.2.1 */
bool http_expects_continue(const struct exchange *);
void http_free_headers(struct http_request *);

#endif

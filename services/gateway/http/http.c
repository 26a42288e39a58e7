/* http.c - what happens to a request: checked, handed to a worker, answered; opening and closing. Bytes move in http_loop.c. */
#include "http/http_internal.h"
#include "http/peers.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FINISHED_TOGETHER 64
#define WORKER_NICE 5 /* who reads, refuses, sends answers or tells that all is well goes before who makes answers: those are many, and would leave nothing to them */

/* ---- workers ----------------------------------------------------------------------------------------------------------------------- */

/* False: another thread answers. */
static bool answer(struct http *http, struct exchange *x)
{
	const int64_t now = clock_mono_ns();
	x->request.load = (struct http_load){ .wait_ms = (now - x->queued_ns) / 1000000, .burst = true };
	x->request.left = atomic_load(&x->conn->left);
	http->options.handler(&x->request, &x->response, http->options.arg);
	x->stage = STAGE_ANSWERED;
	if (!x->response.take)
		return true;
	struct http_socket *s = xmalloc(sizeof *s);
	s->conn = x->conn;
	s->x = x;
	x->stage = STAGE_TAKEN;
	http_detach(x->conn);
	x->response.take(s, x->conn->io.fd, x->response.taking);
	return false;
}

/* The oldest that waits; under the lock. NULL: none does. */
static struct exchange *take_queued(struct http *http)
{
	struct exchange *x = http->first;
	if (!x)
		return NULL;
	http->first = x->next;
	if (!http->first)
		http->last = NULL;
	backlog_leave(&http->backlog, clock_mono_ns());
	return x;
}

static void handle(struct http *http, struct exchange *x)
{
	struct http_conn *conn = x->conn;
	if (answer(http, x))
		http_done(conn); /* x may be gone from here on */
}

static void *work(void *arg)
{
	struct http *http = arg;
	setpriority(PRIO_PROCESS, (id_t)gettid(), WORKER_NICE); /* a thread's, on Linux */
	pthread_mutex_lock(&http->lock);
	for (;;) {
		while (!http->first && !http->draining)
			pthread_cond_wait(&http->queued, &http->lock);
		struct exchange *x = take_queued(http);
		if (!x)
			break;
		pthread_mutex_unlock(&http->lock);
		handle(http, x);
		pthread_mutex_lock(&http->lock);
	}
	pthread_mutex_unlock(&http->lock);
	return NULL;
}

bool http_handle_one(struct http *http)
{
	pthread_mutex_lock(&http->lock);
	struct exchange *x = take_queued(http);
	pthread_mutex_unlock(&http->lock);
	if (x)
		handle(http, x);
	return x != NULL;
}

/* False: no worker will take it any more. */
static bool hand_over(struct http *http, struct exchange *x)
{
	pthread_mutex_lock(&http->lock);
	bool open = !http->draining;
	if (open) {
		x->queued_ns = clock_mono_ns();
		backlog_enter(&http->backlog, x->queued_ns);
		*(http->last ? &http->last->next : &http->first) = x;
		http->last = x;
	}
	pthread_mutex_unlock(&http->lock);
	if (open) /* who wakes finds the lock free */
		pthread_cond_signal(&http->queued);
	return open;
}

struct http_load http_load_of(const struct http_loop *loop, int64_t now_ns)
{
	const struct backlog *backlog = &loop->http->backlog;
	return (struct http_load){ .wait_ms = backlog_wait_ns(backlog, now_ns) / 1000000, .burst = backlog_is_burst(backlog, now_ns) };
}

/* ---- one exchange -------------------------------------------------------------------------------------------------------------------- */

void http_exchange_free(struct exchange **xp)
{
	struct exchange *x = *xp;
	if (!x)
		return;
	http_free_headers(&x->request);
	buf_free(&x->response.body);
	free(x->response.cookie);
	buf_free(&x->received);
	free(x->head_text);
	xfree(xp);
}

void http_refuse_now(struct http_conn *conn, unsigned status, const char *code, const char *detail)
{
	struct exchange *x = conn->x;
	const struct http_options *o = &conn->loop->http->options;
	x->close = true;
	o->refuse(&x->response, status, code, detail, x->request.target.path, x->request.id, o->arg);
	http_send(conn);
}

/* The handshake's answer goes out at once, and the socket with it. */
static void hand_out(struct http_conn *conn, const char *accept)
{
	struct exchange *x = conn->x;
	struct http *http = conn->loop->http;
	buf_reset(&conn->out);
	http_print_upgrade(x, accept, &conn->out);
	if (!channel_write_all(&conn->io, conn->out.data, conn->out.size)) {
		http_refuse_now(conn, 503, "not_read", "the connection takes no answer"); /* and will find out by itself */
		return;
	}
	struct http_socket *s = xmalloc(sizeof *s);
	s->http = http;
	s->deflates = x->deflates;
	s->protocol = x->protocol;
	s->holder = xstrdup(x->response.holder);
	s->holder_until_ms = x->response.holder_until_ms;
	s->token = x->response.token;
	http_detach(conn);
	http_set_phase(conn, PHASE_UPGRADED);
	s->io = conn->io;
	conn->io = (struct channel){ .fd = -1 };
	http->options.upgraded(s, s->io.fd, (struct bytes){ conn->in.data, conn->in.size }, x->request.remote, http->options.arg);
}

static void upgrade(struct http_conn *conn)
{
	char accept[64];
	struct exchange *x = conn->x;
	const struct http_options *o = &conn->loop->http->options;
	struct h1_problem problem;
	if (!http_check_handshake(x, accept, &problem)) {
		http_refuse_now(conn, problem.status, problem.code, problem.detail);
	} else if (o->websocket_admit && !o->websocket_admit(&x->request, &x->response, o->arg)) {
		x->close = true;
		http_send(conn);
	} else if (o->websocket_room && !o->websocket_room(o->arg)) {
		x->response.retry_after = 5;
		http_refuse_now(conn, 503, "too_many_websockets", "this server has as many WebSocket connections as it may: try another one, or later");
	} else {
		hand_out(conn, accept);
	}
}

/* "OPTIONS *" asks about the server as a whole (RFC 9110 section 9.3.7). */
static bool asks_server(const struct exchange *x)
{
	return strcmp(x->request.method, "OPTIONS") == 0 && strcmp(x->head.target, "*") == 0;
}

void http_begin(struct http_conn *conn, char *text, size_t size, const struct h1_problem *found)
{
	const struct http *http = conn->loop->http;
	struct h1_problem problem;
	struct exchange *x = xmalloc(sizeof *x);
	conn->x = x;
	x->conn = conn;
	x->head_text = text;
	x->began_ns = clock_mono_ns();
	x->response = (struct http_response){ .type = "application/json", .body = BUF_INIT(HTTP_ANSWER_MAX) };
	x->received = (struct buf)BUF_INIT((size_t)http->options.max_body_bytes);
	bool good = !found && h1_parse(text, size, &x->head, &problem) && http_read_head(x, http->options.max_body_bytes, &problem);
	http_name_request(x);
	if (!good) {
		const struct h1_problem *p = found ? found : &problem;
		http_refuse_now(conn, p->status, p->code, p->detail);
	} else if (asks_server(x)) {
		x->response.status = 204;
		snprintf(x->response.allow, sizeof x->response.allow, "GET, HEAD, POST, OPTIONS");
		http_send(conn);
	} else if (http->options.websocket_path && strcmp(x->request.target.path, http->options.websocket_path) == 0) {
		x->request.load = http_load_of(conn->loop, x->began_ns);
		upgrade(conn);
	} else if (!x->chunked && x->length == 0) {
		http_received(conn);
	}
}

void http_received(struct http_conn *conn)
{
	struct exchange *x = conn->x;
	if (x->received.overflow) {
		http_refuse_now(conn, 413, "body_too_large", "the request's body is larger than this server takes");
		return;
	}
	x->request.body = (struct bytes){ x->received.data, x->received.size };
	const struct http_options *o = &conn->loop->http->options;
	x->stage = STAGE_HANDLING;
	x->request.load = http_load_of(conn->loop, clock_mono_ns());
	http_set_phase(conn, PHASE_HANDLING);
	switch (o->at_once ? o->at_once(&x->request, &x->response, o->arg) : HTTP_WAITS) {
	case HTTP_ANSWERED:
		x->stage = STAGE_ANSWERED;
		http_send(conn);
		return;
	case HTTP_LATER: /* it is another thread's by now */
		return;
	case HTTP_WAITS:
		break;
	}
	if (hand_over(conn->loop->http, x))
		return;
	x->response.retry_after = 1;
	http_refuse_now(conn, 503, "draining", "this server is shutting down: ask another one");
}

/* ---- sockets in other hands --------------------------------------------------------------------------------------------------------- */

const char *http_holder(const struct http_socket *s, int64_t *ret_until_ms)
{
	*ret_until_ms = s->x ? s->x->response.holder_until_ms : s->holder_until_ms;
	return s->x ? s->x->response.holder : s->holder;
}

const char *http_session(const struct http_socket *s)
{
	return s->x ? s->x->response.session : "";
}

int64_t http_lag(const struct http *http)
{
	int64_t most = 0, now = clock_mono_ms();
	for (unsigned i = 0; i < http->loop_count; i++) {
		int64_t lag = lag_now(&http->loops[i].lag, now);
		most = lag > most ? lag : most;
	}
	return most;
}

struct http_token http_token_of(const struct http_socket *s)
{
	return s->x ? s->x->response.token : s->token;
}

void http_hold(struct http_socket *s, const char *holder, int64_t until_ms, struct http_token token)
{
	if (s->x) {
		snprintf(s->x->response.holder, sizeof s->x->response.holder, "%s", holder);
		s->x->response.holder_until_ms = until_ms;
		s->x->response.token = token;
		return;
	}
	free(s->holder);
	s->holder = xstrdup(holder);
	s->holder_until_ms = until_ms;
	s->token = token;
}

struct channel *http_channel(struct http_socket *s)
{
	return s->x ? &s->conn->io : &s->io;
}

const char *http_protocol(const struct http_socket *s)
{
	return s->protocol;
}

bool http_deflates(const struct http_socket *s)
{
	return s->deflates;
}

void http_release(struct http_socket **sp)
{
	struct http_socket *s = *sp;
	if (!s)
		return;
	if (s->x) {
		s->x->stage = STAGE_RELEASED;
		http_done(s->conn);
	} else {
		channel_close(&s->io);
		if (atomic_fetch_sub(&s->http->connections, 1) >= s->http->options.max_connections)
			http_loops_wake(s->http); /* there is room again */
		free(s->holder);
	}
	xfree(sp);
}

const struct http_request *http_request_of(const struct http_socket *s)
{
	return &s->x->request;
}

struct http_response *http_response_of(struct http_socket *s)
{
	return &s->x->response;
}

static struct exchange *exchange_of(const struct http_request *request)
{
	return (struct exchange *)((char *)(uintptr_t)request - offsetof(struct exchange, request));
}

bool http_hand_on(const struct http_request *request)
{
	struct exchange *x = exchange_of(request);
	return hand_over(x->conn->loop->http, x);
}

void http_finish(const struct http_request *const requests[], size_t n)
{
	struct exchange *all[FINISHED_TOGETHER];
	for (size_t begun = 0, count; begun < n; begun += count) {
		count = n - begun < FINISHED_TOGETHER ? n - begun : FINISHED_TOGETHER;
		for (size_t i = 0; i < count; i++) {
			all[i] = exchange_of(requests[begun + i]);
			all[i]->stage = STAGE_ANSWERED;
		}
		http_done_all(all, count);
	}
}

void http_answer(struct http_socket **s)
{
	struct http_conn *conn = (*s)->conn;
	conn->x->stage = STAGE_ANSWERED;
	xfree(s);
	http_done(conn);
}

/* ---- opening and closing --------------------------------------------------------------------------------------------------------------- */

static int listen_on(const struct http_options *o, int *ret_fd, struct error *err)
{
	char host[256];
	const char *colon = strrchr(o->address, ':');
	if (!colon || (size_t)(colon - o->address) >= sizeof host)
		return error_set(err, WEIR_CONFIG, "%s: \"%s\" is not host:port", o->setting, o->address);
	snprintf(host, sizeof host, "%.*s", (int)(colon - o->address), o->address);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *found = NULL;
	int g = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found);
	if (g != 0)
		return error_set(err, WEIR_CONFIG, "%s: %s: %s", o->setting, o->address, gai_strerror(g));
	int on = 1, fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	int bound = fd < 0 ? -1 : bind(fd, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	if (bound != 0 || listen(fd, 1024) != 0) {
		int code = errno == EADDRINUSE ? WEIR_ADDRESS_IN_USE : errno == EACCES ? WEIR_PERMISSION : WEIR_CONFIG;
		error_set(err, code, "cannot listen on %s (setting %s): %s", o->address, o->setting, strerror(errno));
		if (fd >= 0)
			close(fd);
		return code;
	}
	*ret_fd = fd;
	return 0;
}

static void note_address(struct http *http, int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	char host[128] = "?", port[16] = "?";
	if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
		getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(http->address, sizeof http->address, "%s:%s", host, port);
}

int http_open(const struct http_options *options, struct http **ret, struct error *err)
{
	int fd = -1, code = listen_on(options, &fd, err);
	if (code)
		return code;
	struct http *http = xmalloc(sizeof *http);
	http->options = *options;
	http->listen_fd = fd;
	pthread_mutex_init(&http->lock, NULL);
	pthread_cond_init(&http->queued, NULL);
	note_address(http, fd);
	if (options->connections_per_peer > 0)
		http->peers = peers_new(options->connections_per_peer);
	http->workers = xcalloc(options->workers, sizeof *http->workers);
	for (; http->worker_count < options->workers; http->worker_count++)
		if (pthread_create(&http->workers[http->worker_count], NULL, work, http) != 0)
			break;
	if (http->worker_count < options->workers)
		code = error_set(err, WEIR_FULL, "cannot start the threads of %s: the system's limit on threads is reached", options->setting);
	else
		code = http_loops_open(http, err);
	*ret = http;
	if (code)
		http_close(ret);
	return code;
}

const char *http_address(const struct http *http)
{
	return http->address;
}

void http_drain(struct http *http)
{
	if (!http || http->drained)
		return;
	http->drained = true;
	atomic_store(&http->quiet, true);
	http_loops_wake(http);
	pthread_mutex_lock(&http->lock);
	http->draining = true;
	pthread_cond_broadcast(&http->queued);
	pthread_mutex_unlock(&http->lock);
	for (size_t i = 0; i < http->worker_count; i++)
		pthread_join(http->workers[i], NULL);
	http->worker_count = 0;
}

/* Answers that are on their way get a moment. */
static void wait_until_sent(struct http *http)
{
	int64_t deadline = clock_mono_ms() + 1000;
	while (atomic_load(&http->busy) > 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(5);
}

void http_close(struct http **httpp)
{
	struct http *http = *httpp;
	if (!http)
		return;
	http_drain(http);
	wait_until_sent(http);
	http_loops_close(http);
	close(http->listen_fd);
	peers_free(&http->peers);
	xfree(&http->workers);
	pthread_cond_destroy(&http->queued);
	pthread_mutex_destroy(&http->lock);
	xfree(httpp);
}

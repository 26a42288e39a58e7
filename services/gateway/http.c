/* http.c - the transport over libmicrohttpd: connections, requests, workers. The rules for heads are in head.c. */
#include "http_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY_PER_CONNECTION ((size_t)48 << 10)
#define SEND_TIMEOUTS 6 /* an answer may take so many request timeouts to be taken */
#define SWEEP_MS 250

/* ---- connections: who takes too long is cut off ---------------------------------------------------------------------------------- */

static void on_connection(void *arg, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct http *http = arg;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		struct peer *peer = xmalloc(sizeof *peer);
		peer->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		peer->since_ms = clock_mono_ms();
		pthread_mutex_lock(&http->lock);
		peer->next = http->peers;
		if (peer->next)
			peer->next->previous = peer;
		http->peers = peer;
		pthread_mutex_unlock(&http->lock);
		*context = peer;
		return;
	}
	struct peer *peer = *context;
	if (!peer)
		return;
	pthread_mutex_lock(&http->lock);
	*(peer->previous ? &peer->previous->next : &http->peers) = peer->next;
	if (peer->next)
		peer->next->previous = peer->previous;
	pthread_mutex_unlock(&http->lock);
	free(peer);
	*context = NULL;
}

static void set_phase(struct http *http, struct MHD_Connection *connection, enum phase phase)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct peer *peer = info ? info->socket_context : NULL;
	if (!peer)
		return;
	pthread_mutex_lock(&http->lock);
	peer->phase = phase;
	peer->since_ms = clock_mono_ms();
	pthread_mutex_unlock(&http->lock);
}

static void *sweep(void *arg)
{
	struct http *http = arg;
	pthread_mutex_lock(&http->lock);
	while (!http->closing) {
		int64_t now = clock_mono_ms();
		const int64_t limits[] = { [PHASE_READING] = http->options.request_timeout_ms,
					   [PHASE_SENDING] = SEND_TIMEOUTS * http->options.request_timeout_ms };
		for (struct peer *p = http->peers; p; p = p->next)
			if ((p->phase == PHASE_READING || p->phase == PHASE_SENDING) && now - p->since_ms > limits[p->phase])
				shutdown(p->fd, SHUT_RDWR); /* libmicrohttpd sees the end and cleans up */
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += SWEEP_MS * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&http->swept, &http->lock, &until);
	}
	pthread_mutex_unlock(&http->lock);
	return NULL;
}

/* ---- workers ----------------------------------------------------------------------------------------------------------------------- */

static void answer(struct http *http, struct exchange *x)
{
	http->options.handler(&x->request, &x->response, http->options.arg);
}

static void *work(void *arg)
{
	struct http *http = arg;
	pthread_mutex_lock(&http->lock);
	for (;;) {
		while (!http->first && !http->draining)
			pthread_cond_wait(&http->queued, &http->lock);
		struct exchange *x = http->first;
		if (!x)
			break;
		http->first = x->next;
		if (!http->first)
			http->last = NULL;
		pthread_mutex_unlock(&http->lock);
		answer(http, x);
		struct MHD_Connection *connection = x->connection;
		x->stage = STAGE_ANSWERED;
		MHD_resume_connection(connection); /* x may be gone from here on */
		pthread_mutex_lock(&http->lock);
	}
	pthread_mutex_unlock(&http->lock);
	return NULL;
}

/* False: no worker will take it any more. */
static bool hand_over(struct http *http, struct exchange *x)
{
	pthread_mutex_lock(&http->lock);
	bool open = !http->draining;
	if (open) {
		MHD_suspend_connection(x->connection);
		*(http->last ? &http->last->next : &http->first) = x;
		http->last = x;
		pthread_cond_signal(&http->queued);
	}
	pthread_mutex_unlock(&http->lock);
	return open;
}

/* ---- one exchange -------------------------------------------------------------------------------------------------------------------- */

/* Called with the target as it was sent, before anything else: the exchange is born here. */
static void *on_target(void *arg, const char *uri, struct MHD_Connection *connection)
{
	(void)arg;
	struct exchange *x = xmalloc(sizeof *x);
	x->connection = connection;
	x->began_ns = clock_mono_ns();
	x->response = (struct http_response){ .type = "application/json", .body = BUF_INIT(HTTP_ANSWER_MAX) };
	x->target_code = target_parse(uri, &x->request.target, &x->target_error);
	return x;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
	(void)why;
	struct http *http = arg;
	struct exchange *x = *context;
	if (!x)
		return;
	xfree(&x->request.content_type);
	xfree(&x->request.authorization);
	xfree(&x->request.api_key);
	xfree(&x->request.if_none_match);
	buf_free(&x->response.body);
	buf_free(&x->received);
	free(x);
	*context = NULL;
	set_phase(http, connection, PHASE_READING);
}

void http_add_common_headers(struct MHD_Response *r, const struct exchange *x)
{
	static const struct {
		const char *name, *value;
	} headers[] = {
		{ "X-Content-Type-Options", "nosniff" },
		{ "X-Frame-Options", "DENY" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
	};
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
		MHD_add_response_header(r, headers[i].name, headers[i].value);
	MHD_add_response_header(r, "X-Request-Id", x->request.id);
}

static enum MHD_Result send_answer(struct http *http, struct exchange *x)
{
	struct http_response *out = &x->response;
	char number[24];
	if (out->body.overflow) {
		buf_reset(&out->body);
		http->options.refuse(out, 500, "answer_too_large", "the answer would be larger than this server sends: ask for less at a time",
				     x->request.target.path, x->request.id, http->options.arg);
	}
	if (http->options.observe)
		http->options.observe(&x->request, out, (double)(clock_mono_ns() - x->began_ns) / 1e9, http->options.arg);
	size_t size = out->body.size;
	struct MHD_Response *r = size > 0 ? MHD_create_response_from_buffer(size, buf_detach(&out->body), MHD_RESPMEM_MUST_FREE) :
					    MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	http_add_common_headers(r, x);
	if (size > 0)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, out->type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, out->cache ? "private, max-age=3600, immutable" : "no-store");
	if (out->etag[0])
		MHD_add_response_header(r, MHD_HTTP_HEADER_ETAG, out->etag);
	if (out->allow[0])
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, out->allow);
	if (out->authenticate)
		MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (out->retry_after > 0) {
		snprintf(number, sizeof number, "%d", out->retry_after);
		MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, number);
	}
	if (out->status == 426) {
		MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, "websocket");
		MHD_add_response_header(r, "Sec-WebSocket-Version", "13");
	}
	if (x->close)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	set_phase(http, x->connection, PHASE_SENDING);
	enum MHD_Result result = MHD_queue_response(x->connection, out->status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result refuse(struct http *http, struct exchange *x, unsigned status, const char *code, const char *detail)
{
	x->close = true;
	http->options.refuse(&x->response, status, code, detail, x->request.target.path, x->request.id, http->options.arg);
	return send_answer(http, x);
}

static void on_upgrade(void *arg, struct MHD_Connection *connection, void *context, const char *extra, size_t extra_size, MHD_socket fd,
		       struct MHD_UpgradeResponseHandle *handle)
{
	struct http *http = arg;
	struct exchange *x = context;
	struct http_socket *s = xmalloc(sizeof *s);
	s->handle = handle;
	set_phase(http, connection, PHASE_UPGRADED);
	http->options.upgraded(s, fd, (struct bytes){ (const uint8_t *)extra, extra_size }, x ? x->request.remote : "", http->options.arg);
}

void http_release(struct http_socket **s)
{
	if (!*s)
		return;
	MHD_upgrade_action((*s)->handle, MHD_UPGRADE_ACTION_CLOSE);
	xfree(s);
}

static enum MHD_Result upgrade(struct http *http, struct exchange *x)
{
	char accept[64];
	struct head_problem problem;
	if (!http_check_handshake(x, accept, &problem))
		return refuse(http, x, problem.status, problem.code, problem.detail);
	if (http->options.websocket_room && !http->options.websocket_room(http->options.arg)) {
		x->response.retry_after = 5;
		return refuse(http, x, 503, "too_many_websockets", "this server has as many WebSocket connections as it may: try another one, or later");
	}
	struct MHD_Response *r = MHD_create_response_for_upgrade(on_upgrade, http);
	MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, "websocket");
	MHD_add_response_header(r, "Sec-WebSocket-Accept", accept);
	MHD_add_response_header(r, "X-Request-Id", x->request.id);
	enum MHD_Result result = MHD_queue_response(x->connection, MHD_HTTP_SWITCHING_PROTOCOLS, r);
	MHD_destroy_response(r);
	return result;
}

static bool wants_upgrade(const struct http *http, const struct exchange *x)
{
	return http->options.websocket_path && strcmp(x->request.target.path, http->options.websocket_path) == 0;
}

static enum MHD_Result begin(struct http *http, struct exchange *x, const char *method, const char *version)
{
	struct head_problem problem;
	x->stage = STAGE_BODY;
	x->received = (struct buf)BUF_INIT((size_t)http->options.max_body_bytes);
	x->request.method = http_read_method(method);
	if (!http_read_head(x, method, version, http->options.max_body_bytes, &problem))
		return refuse(http, x, problem.status, problem.code, problem.detail);
	if (wants_upgrade(http, x))
		return upgrade(http, x);
	return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
				  const char *upload, size_t *upload_size, void **context)
{
	(void)url;
	(void)connection;
	struct http *http = arg;
	struct exchange *x = *context;
	switch (x->stage) {
	case STAGE_HEAD:
		return begin(http, x, method, version);
	case STAGE_BODY:
		if (*upload_size > 0) {
			buf_add(&x->received, upload, *upload_size);
			*upload_size = 0;
			return MHD_YES;
		}
		if (x->received.overflow)
			return refuse(http, x, 413, "body_too_large", "the request's body is larger than this server takes");
		x->request.body = (struct bytes){ x->received.data, x->received.size };
		x->stage = STAGE_HANDLING;
		set_phase(http, connection, PHASE_HANDLING);
		if (hand_over(http, x))
			return MHD_YES;
		x->response.retry_after = 1;
		return refuse(http, x, 503, "draining", "this server is shutting down: ask another one");
	case STAGE_HANDLING: /* resumed too early: cannot happen, and would be harmless */
		return MHD_YES;
	case STAGE_ANSWERED:
		x->stage = STAGE_SENT;
		return send_answer(http, x);
	case STAGE_SENT:
		return MHD_YES;
	}
	return MHD_NO;
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

/* Percent escapes stay: target.c does that, strictly. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
	(void)arg;
	(void)connection;
	return strlen(text);
}

static void quiet(void *arg, const char *format, va_list args)
{
	(void)arg;
	(void)format;
	(void)args;
}

static struct MHD_Daemon *start(struct http *http, int fd)
{
	const struct http_options *o = &http->options;
	struct MHD_OptionItem options[] = {
		{ MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)quiet, NULL },
		{ MHD_OPTION_LISTEN_SOCKET, fd, NULL },
		{ MHD_OPTION_CONNECTION_LIMIT, (intptr_t)o->max_connections, NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)MEMORY_PER_CONNECTION, NULL },
		{ MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)(SEND_TIMEOUTS * (o->request_timeout_ms / 1000 + 1)), NULL },
		{ MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, http },
		{ MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, http },
		{ MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, http },
		{ MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL },
		{ MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
		/* Last: it ends the list when there is one thread only. */
		{ o->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)o->threads, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};
	return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL, NULL,
				on_request, http, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

int http_open(const struct http_options *options, struct http **ret, struct error *err)
{
	int fd = -1, code = listen_on(options, &fd, err);
	if (code)
		return code;
	struct http *http = xmalloc(sizeof *http);
	http->options = *options;
	http->log = *options->log;
	http->listen_fd = -1;
	pthread_mutex_init(&http->lock, NULL);
	pthread_cond_init(&http->queued, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&http->swept, &attr);
	pthread_condattr_destroy(&attr);
	note_address(http, fd);
	http->daemon = start(http, fd);
	if (!http->daemon) {
		close(fd);
		http_close(&http);
		return error_set(err, WEIR_INTERNAL, "the listener on %s (setting %s) did not start", options->address, options->setting);
	}
	http->workers = xcalloc(options->workers, sizeof *http->workers);
	for (; http->worker_count < options->workers; http->worker_count++)
		if (pthread_create(&http->workers[http->worker_count], NULL, work, http) != 0)
			break;
	http->sweeping = pthread_create(&http->sweeper, NULL, sweep, http) == 0;
	*ret = http;
	if (http->worker_count == options->workers && http->sweeping)
		return 0;
	http_drain(http);
	http_close(ret);
	return error_set(err, WEIR_FULL, "cannot start the threads of %s: the system's limit on threads is reached", options->setting);
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
	if (http->daemon)
		http->listen_fd = MHD_quiesce_daemon(http->daemon);
	pthread_mutex_lock(&http->lock);
	http->draining = true;
	pthread_cond_broadcast(&http->queued);
	pthread_mutex_unlock(&http->lock);
	for (size_t i = 0; i < http->worker_count; i++)
		pthread_join(http->workers[i], NULL);
	http->worker_count = 0;
}

/* Answers that are on their way get a moment: stopping libmicrohttpd cuts them. */
static void wait_until_sent(struct http *http)
{
	int64_t deadline = clock_mono_ms() + 1000;
	for (bool any = true; any && clock_mono_ms() < deadline;) {
		any = false;
		pthread_mutex_lock(&http->lock);
		for (struct peer *p = http->peers; p; p = p->next)
			any = any || p->phase == PHASE_SENDING || p->phase == PHASE_HANDLING;
		pthread_mutex_unlock(&http->lock);
		if (any)
			clock_sleep_ms(5);
	}
}

void http_close(struct http **httpp)
{
	struct http *http = *httpp;
	if (!http)
		return;
	http_drain(http);
	wait_until_sent(http);
	pthread_mutex_lock(&http->lock);
	http->closing = true;
	pthread_cond_broadcast(&http->swept);
	pthread_mutex_unlock(&http->lock);
	if (http->sweeping)
		pthread_join(http->sweeper, NULL);
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	if (http->listen_fd >= 0)
		close(http->listen_fd);
	xfree(&http->workers);
	pthread_cond_destroy(&http->queued);
	pthread_cond_destroy(&http->swept);
	pthread_mutex_destroy(&http->lock);
	xfree(httpp);
}

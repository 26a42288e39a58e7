/* ops.c - the operations listener of each process: /healthz, /readyz, /metrics, on its own thread (libmicrohttpd). */
#include "daemon/internal.h"

#include "base/clock.h"
#include "base/version.h"
#include "wire/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_STALE_MS 60000
#define BODY_MAX (8u << 20)
#define CONNECTIONS_MAX 64

struct ops {
	struct MHD_Daemon *daemon;
};

static unsigned health(struct daemon_ctx *ctx, struct buf *out)
{
	int64_t age = clock_mono_ms() - atomic_load(&ctx->ticked_ms);
	bool ok = age < TICK_STALE_MS;
	buf_printf(out, "{\"status\":\"%s\",\"process\":\"%s\",\"version\":\"%s\",\"main_loop_age_ms\":%lld}\n", ok ? "ok" : "stuck", ctx->name,
		   weir_version, (long long)age);
	return ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned readiness(struct daemon_ctx *ctx, struct buf *out)
{
	bool started = atomic_load(&ctx->ready), stopping = atomic_load(&ctx->stopping), ok = started && !stopping;
	struct buf checks = BUF_INIT(BODY_MAX);
	pthread_mutex_lock(&ctx->lock);
	for (size_t i = 0; i < ctx->check_count; i++) {
		const struct check *c = &ctx->checks[i];
		ok = ok && c->ok;
		buf_add_str(&checks, i ? ",{\"name\":" : "{\"name\":");
		json_add_string(&checks, c->name, strlen(c->name));
		buf_printf(&checks, ",\"ok\":%s,\"reason\":", c->ok ? "true" : "false");
		json_add_string(&checks, c->reason, strlen(c->reason));
		buf_add_byte(&checks, '}');
	}
	pthread_mutex_unlock(&ctx->lock);
	buf_printf(out, "{\"ready\":%s,\"process\":\"%s\",\"state\":\"%s\",\"checks\":[%s]}\n", ok ? "true" : "false", ctx->name,
		   stopping ? "draining" : started ? "running" : "starting", buf_str(&checks));
	buf_free(&checks);
	return ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned print_metrics(struct daemon_ctx *ctx, struct buf *out)
{
	process_metrics_update(ctx);
	metrics_print(ctx->metrics, out);
	return MHD_HTTP_OK;
}

static const struct route {
	const char *path, *type;
	unsigned (*answer)(struct daemon_ctx *, struct buf *out);
} routes[] = {
	{ "/healthz", "application/json", health },
	{ "/readyz", "application/json", readiness },
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", print_metrics },
};

static enum MHD_Result send_answer(struct MHD_Connection *connection, unsigned status, const char *type, struct buf *body)
{
	size_t size = body->size;
	struct MHD_Response *response = MHD_create_response_from_buffer(size, buf_detach(body), MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
				  const char *upload, size_t *upload_size, void **state)
{
	(void)version;
	(void)upload;
	struct daemon_ctx *ctx = arg;
	static int seen;
	struct buf body = BUF_INIT(BODY_MAX);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) { /* at once: its body is not read */
		buf_add_str(&body, "only GET and HEAD are served here\n");
		return send_answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", &body);
	}
	if (!*state) { /* first call: only the head is there */
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size) { /* a body nobody asked for is dropped */
		*upload_size = 0;
		return MHD_YES;
	}
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(url, routes[i].path) == 0) {
			unsigned status = routes[i].answer(ctx, &body);
			return send_answer(connection, status, routes[i].type, &body);
		}
	buf_add_str(&body, "served here: /healthz /readyz /metrics\n");
	return send_answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", &body);
}

const char *ops_split(const char *address, char ret_host[256])
{
	const char *colon = strrchr(address, ':');
	bool bracketed = address[0] == '[' && colon && colon > address + 1 && colon[-1] == ']';
	if (!colon)
		return NULL;
	snprintf(ret_host, 256, "%.*s", (int)(colon - address) - (bracketed ? 2 : 0), address + bracketed);
	return colon + 1;
}

/* "host:port" or "[v6]:port" to a bound, listening socket; MHD gets the socket, so that errors are ours to word. */
static int listen_on(const struct daemon_ctx *ctx, const char *address, struct error *err)
{
	char host[256];
	const char *port = ops_split(address, host);
	if (!port)
		return error_set(err, WEIR_CONFIG, "ops.listen.%s: \"%s\" is not host:port", ctx->name, address);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *found = NULL;
	int g = getaddrinfo(host, port, &hints, &found);
	if (g != 0)
		return error_set(err, WEIR_CONFIG, "cannot listen on %s (setting ops.listen.%s): %s", address, ctx->name, gai_strerror(g));
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	int why = fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0 ? errno : 0;
	freeaddrinfo(found);
	if (why == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	int code = why == EADDRINUSE ? WEIR_ADDRESS_IN_USE : why == EACCES ? WEIR_PERMISSION : WEIR_CONFIG;
	return error_set(err, code, "cannot listen on %s (setting ops.listen.%s): %s", address, ctx->name, strerror(why));
}

static void say_address(const struct daemon_ctx *ctx, int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	char host[256] = "?", port[16] = "?", shown[300];
	if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
		getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(shown, sizeof shown, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	log_info(&ctx->log, "ops_listening", "operations listener is up", LOG_S("address", shown));
}

int ops_start(struct daemon_ctx *ctx, const char *address, struct error *err)
{
	int fd = listen_on(ctx, address, err);
	if (fd < 0)
		return fd;
	ctx->ops = xmalloc(sizeof *ctx->ops);
	ctx->ops->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, ctx, MHD_OPTION_LISTEN_SOCKET, fd,
					    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, 10u,
					    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
	if (!ctx->ops->daemon) {
		close(fd);
		return error_set(err, WEIR_INTERNAL, "the operations listener on %s did not start", address);
	}
	say_address(ctx, fd);
	return 0;
}

void ops_stop(struct daemon_ctx *ctx)
{
	if (!ctx->ops)
		return;
	if (ctx->ops->daemon)
		MHD_stop_daemon(ctx->ops->daemon);
	xfree(&ctx->ops);
}

/* socket.c - a WebSocket that stays: connect (libcurl: names, TLS, proxies), handshake, frames (wslay), pings, reconnect.
 *
 *   waiting --due--> connecting --connected--> opening --handshake accepted--> open --anything wrong--> waiting (longer each time)
 */
#include "net/rpc.h"

#include "base/clock.h"
#include "net/handshake.h"

#include <curl/curl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <wslay/wslay.h>

#define MESSAGE_MAX (4u << 20)
#define CONNECT_TIMEOUT_MS 10000
#define PING_MS 20000
#define SILENCE_MS 60000 /* nothing heard so long, not even a pong: dead */

enum socket_state { SOCKET_WAITING, SOCKET_CONNECTING, SOCKET_OPENING, SOCKET_OPEN };

struct rpc_socket {
	char *url, *host, *path, *auth_header, *subscribe; /* url with http(s) scheme, for libcurl */
	char *shown;                                       /* as configured, safe to log */
	struct log log;
	enum socket_state state;
	CURLM *multi;
	CURL *easy;
	char words[CURL_ERROR_SIZE];
	int fd;
	char key[25];
	struct buf out, in; /* handshake bytes not yet sent, and received */
	size_t in_at;       /* what of `in` the frame reader took: bytes that came with the handshake's answer */
	wslay_event_context_ptr frames;
	struct backoff backoff;
	int64_t due_ms, deadline_ms, heard_ms, pinged_ms;
	bool failing; /* the failure was logged; say when it works again */
	void (*on_message)(struct bytes, void *arg);
	void *arg;
};

/* -- wslay's callbacks ------------------------------------------------------------------------------------------------------ */

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *data, size_t size, int flags, void *arg)
{
	(void)flags;
	struct rpc_socket *s = arg;
	if (s->in_at < s->in.size) {
		size_t n = s->in.size - s->in_at < size ? s->in.size - s->in_at : size;
		memcpy(data, s->in.data + s->in_at, n);
		s->in_at += n;
		return (ssize_t)n;
	}
	size_t n = 0;
	CURLcode r = curl_easy_recv(s->easy, data, size, &n);
	if (r == CURLE_OK && n > 0) {
		s->heard_ms = clock_mono_ms();
		return (ssize_t)n;
	}
	wslay_event_set_error(ctx, r == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t size, int flags, void *arg)
{
	(void)flags;
	struct rpc_socket *s = arg;
	size_t n = 0;
	CURLcode r = curl_easy_send(s->easy, data, size, &n);
	if (r == CURLE_OK)
		return (ssize_t)n;
	wslay_event_set_error(ctx, r == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *ret, size_t size, void *arg)
{
	(void)ctx;
	(void)arg;
	return RAND_bytes(ret, (int)size) == 1 ? 0 : -1; /* unpredictable: RFC 6455 §5.3 */
}

static void on_frame_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
	(void)ctx;
	struct rpc_socket *s = arg;
	if (message->opcode == WSLAY_TEXT_FRAME && s->on_message)
		s->on_message((struct bytes){ message->msg, message->msg_length }, s->arg);
}

/* -- states ------------------------------------------------------------------------------------------------------------------ */

static void drop(struct rpc_socket *s)
{
	if (s->frames)
		wslay_event_context_free(s->frames);
	s->frames = NULL;
	if (s->easy) {
		curl_multi_remove_handle(s->multi, s->easy);
		curl_easy_cleanup(s->easy);
	}
	s->easy = NULL;
	if (s->multi)
		curl_multi_cleanup(s->multi);
	s->multi = NULL;
	s->fd = -1;
	buf_reset(&s->in);
	buf_reset(&s->out);
	s->in_at = 0;
}

static int broken(struct rpc_socket *s, int code, const char *words, struct error *err)
{
	drop(s);
	s->state = SOCKET_WAITING;
	int64_t wait = backoff_next_ms(&s->backoff);
	s->due_ms = clock_mono_ms() + wait;
	error_set(err, code, "%s: %s", s->shown, words);
	if (!s->failing)
		log_warn(&s->log, "socket_down", "heads are polled until it is back", LOG_S("url", s->shown), LOG_S("error", words));
	s->failing = true;
	return code;
}

static int begin(struct rpc_socket *s, struct error *err)
{
	s->multi = curl_multi_init();
	s->easy = curl_easy_init();
	if (!s->multi || !s->easy)
		return broken(s, WEIR_INTERNAL, "libcurl gives no handle", err);
	s->words[0] = 0;
	curl_easy_setopt(s->easy, CURLOPT_URL, s->url);
	curl_easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(s->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(s->easy, CURLOPT_SSL_ENABLE_ALPN, 0L); /* the handshake is HTTP/1.1 */
	curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->words);
	if (curl_multi_add_handle(s->multi, s->easy) != CURLM_OK)
		return broken(s, WEIR_INTERNAL, "libcurl takes no handle", err);
	s->deadline_ms = clock_mono_ms() + CONNECT_TIMEOUT_MS;
	s->state = SOCKET_CONNECTING;
	return 0;
}

static int connecting(struct rpc_socket *s, struct error *err)
{
	int running, left;
	curl_multi_perform(s->multi, &running);
	CURLMsg *message = curl_multi_info_read(s->multi, &left);
	if (!message)
		return 0;
	if (message->data.result != CURLE_OK)
		return broken(s, WEIR_UNAVAILABLE, s->words[0] ? s->words : curl_easy_strerror(message->data.result), err);
	curl_socket_t fd = CURL_SOCKET_BAD;
	curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (fd == CURL_SOCKET_BAD)
		return broken(s, WEIR_UNAVAILABLE, "the connection was lost at once", err);
	s->fd = fd;
	handshake_key(s->key);
	handshake_request(s->host, s->path, s->auth_header, s->key, &s->out);
	s->state = SOCKET_OPENING;
	return 0;
}

static int opened(struct rpc_socket *s, struct error *err)
{
	const struct wslay_event_callbacks callbacks = { .recv_callback = on_recv,
							 .send_callback = on_send,
							 .genmask_callback = on_mask,
							 .on_msg_recv_callback = on_frame_message };
	if (wslay_event_context_client_init(&s->frames, &callbacks, s) != 0)
		return broken(s, WEIR_INTERNAL, "wslay gives no context", err);
	wslay_event_config_set_max_recv_msg_length(s->frames, MESSAGE_MAX);
	const struct wslay_event_msg first = { .opcode = WSLAY_TEXT_FRAME,
					       .msg = (const uint8_t *)s->subscribe,
					       .msg_length = strlen(s->subscribe) };
	if (*s->subscribe && wslay_event_queue_msg(s->frames, &first) != 0)
		return broken(s, WEIR_INTERNAL, "wslay takes no message", err);
	s->state = SOCKET_OPEN;
	s->heard_ms = s->pinged_ms = clock_mono_ms();
	log_info(&s->log, s->failing ? "socket_back" : "socket_open", NULL, LOG_S("url", s->shown));
	s->failing = false;
	return 0;
}

static int opening(struct rpc_socket *s, struct error *err)
{
	while (s->out.size > 0) {
		size_t n = 0;
		CURLcode r = curl_easy_send(s->easy, s->out.data, s->out.size, &n);
		if (r == CURLE_AGAIN)
			return 0;
		if (r != CURLE_OK)
			return broken(s, WEIR_UNAVAILABLE, curl_easy_strerror(r), err);
		memmove(s->out.data, s->out.data + n, s->out.size - n);
		s->out.size -= n;
	}
	for (;;) {
		uint8_t chunk[4096];
		size_t n = 0, head = 0;
		CURLcode r = curl_easy_recv(s->easy, chunk, sizeof chunk, &n);
		if (r == CURLE_AGAIN)
			return 0;
		if (r != CURLE_OK || n == 0)
			return broken(s, WEIR_UNAVAILABLE, r != CURLE_OK ? curl_easy_strerror(r) : "closed during the handshake", err);
		buf_add(&s->in, chunk, n);
		struct error words = { 0 };
		int code = s->in.overflow ? error_set(&words, WEIR_PROTOCOL, "WebSocket handshake: the answer is too long")
					  : handshake_read((struct bytes){ s->in.data, s->in.size }, s->key, &head, &words);
		if (code == WEIR_TIMEOUT)
			continue;
		if (code != 0)
			return broken(s, code, words.text, err);
		s->in_at = head;
		return opened(s, err);
	}
}

static int flow(struct rpc_socket *s, struct error *err)
{
	int64_t now = clock_mono_ms();
	if (now - s->pinged_ms >= PING_MS) {
		const struct wslay_event_msg ping = { .opcode = WSLAY_PING, .msg = NULL, .msg_length = 0 };
		wslay_event_queue_msg(s->frames, &ping);
		s->pinged_ms = now;
	}
	if (wslay_event_recv(s->frames) != 0)
		return broken(s, WEIR_UNAVAILABLE, "the connection was lost", err);
	if (wslay_event_want_write(s->frames) && wslay_event_send(s->frames) != 0)
		return broken(s, WEIR_UNAVAILABLE, "the connection was lost while sending", err);
	if (wslay_event_get_close_received(s->frames) || !wslay_event_want_read(s->frames)) {
		char words[64];
		snprintf(words, sizeof words, "closed with status %u", (unsigned)wslay_event_get_status_code_received(s->frames));
		return broken(s, WEIR_UNAVAILABLE, words, err);
	}
	if (now - s->heard_ms >= SILENCE_MS)
		return broken(s, WEIR_TIMEOUT, "nothing heard for 60 s, not even a pong", err);
	if (s->heard_ms > s->deadline_ms)
		backoff_reset(&s->backoff); /* it held for a while: the next failure is a new one */
	return 0;
}

int rpc_socket_poll(struct rpc_socket *s, void (*on_message)(struct bytes, void *arg), void *arg, struct error *err)
{
	s->on_message = on_message;
	s->arg = arg;
	int r = 0;
	if (s->state == SOCKET_WAITING && clock_mono_ms() >= s->due_ms)
		r = begin(s, err);
	if (r == 0 && s->state == SOCKET_CONNECTING)
		r = connecting(s, err);
	if (r == 0 && s->state == SOCKET_OPENING)
		r = opening(s, err);
	if (r == 0 && s->state == SOCKET_OPEN)
		r = flow(s, err);
	if (r == 0 && (s->state == SOCKET_CONNECTING || s->state == SOCKET_OPENING) && clock_mono_ms() >= s->deadline_ms)
		r = broken(s, WEIR_TIMEOUT, "no connection within 10 s", err);
	return r;
}

int rpc_socket_fd(const struct rpc_socket *s)
{
	return s->fd;
}

bool rpc_socket_live(const struct rpc_socket *s)
{
	return s->state == SOCKET_OPEN && clock_mono_ms() - s->heard_ms < SILENCE_MS;
}

/* -- open and close ------------------------------------------------------------------------------------------------------------ */

/* Host (with port) and path of the address, for the handshake. */
static int split_url(struct rpc_socket *s, struct error *err)
{
	CURLU *parts = curl_url();
	char *host = NULL, *port = NULL, *path = NULL, *query = NULL;
	bool good = parts && curl_url_set(parts, CURLUPART_URL, s->url, 0) == CURLUE_OK && curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		    curl_url_get(parts, CURLUPART_PATH, &path, 0) == CURLUE_OK;
	if (good) {
		bool has_port = curl_url_get(parts, CURLUPART_PORT, &port, 0) == CURLUE_OK;
		bool has_query = curl_url_get(parts, CURLUPART_QUERY, &query, 0) == CURLUE_OK;
		s->host = xasprintf("%s%s%s", host, has_port ? ":" : "", has_port ? port : "");
		s->path = xasprintf("%s%s%s", path, has_query ? "?" : "", has_query ? query : "");
	}
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_free(query);
	curl_url_cleanup(parts);
	return good ? 0 : error_set(err, WEIR_CONFIG, "\"%s\" is not a valid address", s->shown);
}

int rpc_socket_open(const char *url, const char *auth_header, const char *subscribe_message, const struct log *log, struct rpc_socket **ret,
		    struct error *err)
{
	char safe[256];
	*ret = NULL;
	bool plain = strncasecmp(url, "ws://", 5) == 0, tls = strncasecmp(url, "wss://", 6) == 0;
	if (!plain && !tls)
		return error_set(err, WEIR_CONFIG, "\"%s\": an address that begins with ws:// or wss:// is expected", log_url(url, safe));
	struct rpc_socket *s = xmalloc(sizeof *s);
	s->fd = -1;
	s->shown = xstrdup(log_url(url, safe));
	s->url = xasprintf("%s%s", plain ? "http" : "https", url + (plain ? 2 : 3));
	s->auth_header = xstrdup(auth_header);
	s->subscribe = xstrdup(subscribe_message ? subscribe_message : "");
	s->in.max = 2 * HANDSHAKE_MAX;
	s->out.max = HANDSHAKE_MAX;
	s->backoff = (struct backoff){ .base_ms = 200, .max_ms = 30000 };
	if (log)
		s->log = *log;
	int r = split_url(s, err);
	if (r != 0)
		rpc_socket_close(&s);
	*ret = s;
	return r;
}

void rpc_socket_close(struct rpc_socket **s)
{
	if (!*s)
		return;
	if ((*s)->state == SOCKET_OPEN) {
		wslay_event_queue_close((*s)->frames, WSLAY_CODE_GOING_AWAY, NULL, 0);
		wslay_event_send((*s)->frames);
	}
	drop(*s);
	free((*s)->url);
	free((*s)->host);
	free((*s)->path);
	free((*s)->auth_header);
	free((*s)->subscribe);
	free((*s)->shown);
	buf_free(&(*s)->in);
	buf_free(&(*s)->out);
	xfree(s);
}

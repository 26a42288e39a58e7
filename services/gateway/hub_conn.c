/* hub_conn.c - one WebSocket connection: its queue, reading, writing, closing. */
#include "hub_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_SIZE 16384
#define READS_PER_TURN 8
#define IOV_COUNT 256
#define PING_MS 20000
#define SILENT_MS 60000  /* nothing heard, not even a pong */
#define STALLED_MS 30000 /* bytes wait and none were taken */
#define CLOSING_MS 5000

/* ---- the queue -------------------------------------------------------------------------------------------------------------------------- */

static size_t size_of(const struct out *out)
{
	return out->size + (out->tail ? out->tail->size : 0);
}

static void release(struct out *out)
{
	tail_drop(&out->tail);
	xfree(&out->owned);
}

static struct out *first(struct conn *conn)
{
	return &conn->queue[conn->queue_first];
}

static struct out *add(struct conn *conn)
{
	if (conn->queue_count == conn->queue_capacity) {
		size_t capacity = conn->queue_capacity ? conn->queue_capacity * 2 : 8;
		struct out *queue = xcalloc(capacity, sizeof *queue);
		for (size_t i = 0; i < conn->queue_count; i++)
			queue[i] = conn->queue[(conn->queue_first + i) % conn->queue_capacity];
		free(conn->queue);
		conn->queue = queue;
		conn->queue_first = 0;
		conn->queue_capacity = capacity;
	}
	struct out *out = &conn->queue[(conn->queue_first + conn->queue_count++) % conn->queue_capacity];
	memset(out, 0, offsetof(struct out, head));
	if (!conn->dirty) {
		conn->dirty = true;
		conn->next_dirty = conn->hub->dirty;
		conn->hub->dirty = conn;
	}
	return out;
}

static void note_added(struct conn *conn, const struct out *out)
{
	if (conn->queue_count == 1)
		conn->progress_ms = clock_mono_ms();
	conn->queue_bytes += sizeof *out + size_of(out);
}

static void pop(struct conn *conn)
{
	struct out *out = first(conn);
	conn->queue_bytes -= sizeof *out + size_of(out);
	if (out->sub)
		conn->sent = (struct out){ .sub = out->sub, .offset = out->offset };
	release(out);
	conn->queue_first = (conn->queue_first + 1) % conn->queue_capacity;
	conn->queue_count--;
}

/* The queue is full, or nothing is taken from it: what was not begun is dropped, and the client is told where to go on. */
static void drop_slow(struct conn *conn)
{
	char reason[124], offset[OFFSET_TEXT_MAX];
	size_t keep = conn->written > 0 ? 1 : 0;
	while (conn->queue_count > keep) {
		struct out *last = &conn->queue[(conn->queue_first + --conn->queue_count) % conn->queue_capacity];
		conn->queue_bytes -= sizeof *last + size_of(last);
		release(last);
	}
	const struct out *told = keep && first(conn)->sub ? first(conn) : &conn->sent;
	if (conn->sub_count == 1 && told->sub) {
		offset_print(&told->offset, offset);
		snprintf(reason, sizeof reason, "too slow: resume from offset %s", offset);
	} else {
		snprintf(reason, sizeof reason, "too slow: resume each subscription from its last offset");
	}
	metric_inc(metrics_get(conn->hub->gateway->metrics, "weir_gateway_websocket_closed_total", "slow", NULL, NULL));
	conn_close(conn, 1013, reason);
}

static void check_room(struct conn *conn)
{
	if (!conn->closing && conn->queue_bytes > conn->hub->queue_max)
		drop_slow(conn);
}

static void add_bytes(struct conn *conn, const void *data, size_t size)
{
	struct out *out = add(conn);
	if (size > HEAD_MAX)
		out->owned = xmemdup(data, size);
	else
		memcpy(out->head, data, size);
	out->size = (uint32_t)size;
	note_added(conn, out);
}

void conn_send_text(struct conn *conn, const struct buf *text)
{
	uint8_t header[FRAMES_HEADER_MAX];
	if (conn->closing || conn->dead)
		return;
	struct buf frame = BUF_INIT(text->size + FRAMES_HEADER_MAX);
	buf_add(&frame, header, frames_text_header(text->size, header));
	buf_add(&frame, text->data, text->size);
	add_bytes(conn, frame.data, frame.size);
	buf_free(&frame);
	check_room(conn);
}

void conn_push(struct conn *conn, struct sub *sub, struct tail *tail, uint64_t sequence, int64_t index)
{
	char text[HEAD_MAX - FRAMES_HEADER_MAX], offset[OFFSET_TEXT_MAX];
	if (conn->closing || conn->dead)
		return;
	const struct offset at = { .sequence = sequence, .index = index, .given_after = sub->offset.given_after, .min_height = sub->offset.min_height };
	offset_print(&at, offset);
	int n = snprintf(text, sizeof text, "{\"subscription\":\"%u\",\"seq\":%llu,\"offset\":\"%s\"", sub->id, (unsigned long long)++sub->pushes, offset);
	struct out *out = add(conn);
	size_t header = frames_text_header((size_t)n + tail->size, out->head);
	memcpy(out->head + header, text, (size_t)n);
	out->size = (uint32_t)header + (uint32_t)n;
	out->tail = tail_keep(tail);
	out->sub = sub->id;
	out->offset = at;
	note_added(conn, out);
	metric_inc(conn->hub->metrics.pushes);
	check_room(conn);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------------------ */

static size_t gather(struct conn *conn, struct iovec iov[IOV_COUNT])
{
	size_t n = 0, skip = conn->written;
	for (size_t i = 0; i < conn->queue_count && n + 2 <= IOV_COUNT; i++) {
		struct out *out = &conn->queue[(conn->queue_first + i) % conn->queue_capacity];
		const struct {
			void *data;
			size_t size;
		} parts[] = { { out->owned ? out->owned : out->head, out->size }, { out->tail ? out->tail->text : NULL, out->tail ? out->tail->size : 0 } };
		for (size_t k = 0; k < 2; k++) {
			size_t cut = skip < parts[k].size ? skip : parts[k].size;
			skip -= cut;
			if (parts[k].size > cut)
				iov[n++] = (struct iovec){ (uint8_t *)parts[k].data + cut, parts[k].size - cut };
		}
	}
	return n;
}

static void watch(struct conn *conn, bool blocked)
{
	if (conn->blocked == blocked)
		return;
	conn->blocked = blocked;
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | (blocked ? EPOLLOUT : 0u), .data.ptr = conn };
	epoll_ctl(conn->hub->epoll, EPOLL_CTL_MOD, conn->fd, &e);
}

void conn_flush(struct conn *conn)
{
	struct iovec iov[IOV_COUNT];
	while (conn->queue_count > 0 && !conn->dead) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = gather(conn, iov) };
		ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				conn->dead = true;
			break;
		}
		metric_add(conn->hub->metrics.bytes, (uint64_t)n);
		conn->progress_ms = clock_mono_ms();
		conn->written += (size_t)n;
		while (conn->queue_count > 0 && conn->written >= size_of(first(conn))) {
			conn->written -= size_of(first(conn));
			pop(conn);
		}
	}
	watch(conn, conn->queue_count > 0 && !conn->dead);
	if (conn->closing && conn->queue_count == 0)
		conn->dead = true;
	if (!conn->closing && !conn->dead && conn->queue_bytes < conn->hub->queue_max / 4)
		sub_room(conn);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------------------ */

static void on_text(void *arg, struct bytes message)
{
	struct conn *conn = arg;
	if (!conn->closing)
		sub_request(conn, message);
}

static void on_output(void *arg, struct bytes data)
{
	struct conn *conn = arg;
	/* A header and its payload come apart: they become one frame again in the queue because nothing is put between. */
	if (conn->queue_bytes < 2 * conn->hub->queue_max)
		add_bytes(conn, data.data, data.size);
	else
		conn->dead = true;
}

static void take_input(struct conn *conn, struct bytes data)
{
	conn->heard_ms = clock_mono_ms();
	if (!frames_input(conn->frames, data) && !conn->closing) {
		conn->closing = true;
		conn->closing_ms = conn->heard_ms;
		if (!frames_closed(conn->frames))
			conn->dead = true;
	}
}

void conn_read(struct conn *conn)
{
	uint8_t data[READ_SIZE];
	for (int i = 0; i < READS_PER_TURN && !conn->dead; i++) {
		ssize_t n = recv(conn->fd, data, sizeof data, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			conn->dead = conn->dead || n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
			return;
		}
		take_input(conn, (struct bytes){ data, (size_t)n });
		if ((size_t)n < sizeof data)
			return;
	}
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------------------- */

void conn_close(struct conn *conn, uint16_t code, const char *reason)
{
	if (conn->closing || conn->dead)
		return;
	frames_close(conn->frames, code, reason);
	conn->closing = true;
	conn->closing_ms = clock_mono_ms();
}

void conn_tick(struct conn *conn, int64_t now)
{
	if (conn->closing) {
		conn->dead = conn->dead || now - conn->closing_ms > CLOSING_MS;
		return;
	}
	if (conn->queue_count > 0 && now - conn->progress_ms > STALLED_MS) {
		drop_slow(conn); /* what it reads in the ledger waits for room: the queue alone would not tell */
	} else if (now - conn->heard_ms > SILENT_MS) {
		metric_inc(metrics_get(conn->hub->gateway->metrics, "weir_gateway_websocket_closed_total", "silent", NULL, NULL));
		conn_close(conn, 1001, "no sign of life");
	} else if (now - conn->heard_ms > PING_MS && now - conn->pinged_ms > PING_MS) {
		conn->pinged_ms = now;
		frames_ping(conn->frames);
	}
}

void conn_start(struct conn *conn, struct bytes early)
{
	const struct frames_callbacks callbacks = { on_text, on_output, conn };
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = conn };
	conn->frames = frames_new(&callbacks);
	conn->heard_ms = conn->progress_ms = conn->pinged_ms = clock_mono_ms();
	conn->next_sub = 1;
	conn->next = conn->hub->conns;
	if (conn->next)
		conn->next->previous = conn;
	conn->hub->conns = conn;
	if (epoll_ctl(conn->hub->epoll, EPOLL_CTL_ADD, conn->fd, &e) != 0)
		conn->dead = true;
	if (early.size > 0)
		take_input(conn, early);
}

void conn_free(struct conn **connp)
{
	struct conn *conn = *connp;
	struct hub *hub = conn->hub;
	sub_free_all(conn);
	*(conn->previous ? &conn->previous->next : &hub->conns) = conn->next;
	if (conn->next)
		conn->next->previous = conn->previous;
	epoll_ctl(hub->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
	while (conn->queue_count > 0)
		pop(conn);
	xfree(&conn->queue);
	frames_free(&conn->frames);
	shutdown(conn->fd, SHUT_RDWR);
	http_release(&conn->socket);
	atomic_fetch_sub(&hub->connections, 1);
	metric_set(hub->metrics.connections, (double)atomic_load(&hub->connections));
	xfree(connp);
}

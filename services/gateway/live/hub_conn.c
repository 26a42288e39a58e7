/* hub_conn.c - one connection: its queue, reading, writing, closing. */
#include "live/hub_internal.h"

#include "http/channel.h"

#include "base/clock.h"
#include "base/digits.h"
#include "wire/msgpack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_SIZE 16384
#define READS_PER_TURN 8
#define IOV_COUNT 64
#define OUTS_MAX 256                /* in one write */
#define COPIED_MAX ((size_t)4 << 10) /* larger ones are parts of their own */
#define HEAD_ABOUT 80
#define OWN_MAX 200
#define PING_MS 30000
#define SILENT_MS 60000  /* nothing heard, not even a pong */
#define STALLED_MS 30000 /* bytes wait and none were taken */
#define CLOSING_MS 5000

/* ---- the queue -------------------------------------------------------------------------------------------------------------------------- */

static size_t print_own(const struct conn *conn, const struct out *out, uint8_t ret[OWN_MAX]);

/* What comes before the tail, the same each time. */
static size_t print_head(const struct conn *conn, const struct out *out, uint8_t ret[HEAD_MAX])
{
	uint8_t own[OWN_MAX];
	if (conn->carrier != CARRIER_WEBSOCKET)
		return plain_head(out, ret);
	size_t size = print_own(conn, out, own), n = frames_header((out->deflated ? DEFLATE_STORED_HEADER : 0) + size + out->tail->size, conn->packs, out->deflated, ret);
	if (out->deflated) {
		deflate_stored(size, ret + n);
		n += DEFLATE_STORED_HEADER;
	}
	memcpy(ret + n, own, size);
	return n + size;
}

/* Newlines close an event of a stream. */
static size_t end_of(const struct conn *conn)
{
	return conn->carrier == CARRIER_STREAM ? 2 : 0;
}

static size_t size_of(const struct conn *conn, const struct out *out)
{
	uint8_t head[HEAD_MAX];
	return out->tail ? print_head(conn, out, head) + out->tail->size + end_of(conn) : out->size;
}

/* What it counts for in the queue. */
static size_t weight_of(const struct out *out)
{
	return sizeof *out + (out->tail ? HEAD_ABOUT + out->tail->size : out->size);
}

static void release(struct out *out)
{
	if (out->tail)
		tail_drop(&out->tail);
	else
		xfree(&out->owned);
}

static struct out *first(struct conn *conn)
{
	return &conn->queue[conn->queue_first];
}

void conn_mark(struct conn *conn)
{
	if (conn->dirty)
		return;
	conn->dirty = true;
	conn->next_dirty = conn->hub->dirty;
	conn->hub->dirty = conn;
}

void conn_die(struct conn *conn)
{
	if (conn->dead)
		return;
	conn->dead = true;
	conn->next_dying = conn->hub->dying;
	conn->hub->dying = conn;
}

static struct out *add(struct conn *conn)
{
	if (conn->queue_count == conn->queue_capacity)
		queue_grow(conn);
	conn_mark(conn);
	return &conn->queue[(conn->queue_first + conn->queue_count++) % conn->queue_capacity];
}

static void note_added(struct conn *conn, const struct out *out)
{
	if (conn->queue_count == 1)
		conn->progress_ms = conn->hub->turned_ms;
	conn->queue_bytes += weight_of(out);
}

static void pop(struct conn *conn)
{
	struct out *out = first(conn);
	conn->queue_bytes -= weight_of(out);
	if (out->sub)
		conn->sent = (struct mark){ out->sub, out->offset };
	release(out);
	conn->queue_first = (conn->queue_first + 1) % conn->queue_capacity;
	conn->queue_count--;
}

/* How many of the queue are on their way already, over TLS encrypted if not sent. */
static size_t count_begun(const struct conn *conn)
{
	size_t n = 0, begun = conn->written + conn->io->owed;
	for (size_t bytes = 0; n < conn->queue_count && bytes < begun; n++)
		bytes += size_of(conn, &conn->queue[(conn->queue_first + n) % conn->queue_capacity]);
	return n;
}

/* What the client will have had last when the first `n` of the queue are sent. */
static struct mark last_told(const struct conn *conn, size_t n)
{
	while (n > 0) {
		const struct out *out = &conn->queue[(conn->queue_first + --n) % conn->queue_capacity];
		if (out->sub)
			return (struct mark){ out->sub, out->offset };
	}
	return conn->sent;
}

/* The queue is full, or nothing is taken from it: what was not begun is dropped, and the client is told where to go on. */
static void drop_slow(struct conn *conn)
{
	char reason[124], offset[OFFSET_TEXT_MAX];
	size_t keep = count_begun(conn);
	while (conn->queue_count > keep) {
		struct out *last = &conn->queue[(conn->queue_first + --conn->queue_count) % conn->queue_capacity];
		conn->queue_bytes -= weight_of(last);
		release(last);
	}
	const struct mark told = last_told(conn, keep);
	if (conn->sub_count == 1 && told.sub == conn->subs->id) { /* and not one that was given up: its offset says nothing of this one */
		offset_print(&told.offset, offset);
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

void conn_add_bytes(struct conn *conn, const void *data, size_t size)
{
	struct out *out = add(conn);
	*out = (struct out){ .owned = xmemdup(data, size), .size = (uint32_t)size & 0x7fffffff };
	note_added(conn, out);
}

void conn_add_push(struct conn *conn, const struct sub *sub, struct tail *tail, const struct offset *at, bool deflated)
{
	struct out *out = add(conn);
	*out = (struct out){ .tail = tail_keep(tail), .number = sub->pushes, .offset = *at, .sub = sub->id, .deflated = deflated };
	note_added(conn, out);
	metric_inc(conn->hub->metrics.pushes);
	check_room(conn);
}

void conn_send_text(struct conn *conn, const struct buf *text)
{
	uint8_t header[FRAMES_HEADER_MAX];
	struct error err;
	if (conn->closing || conn->dead)
		return;
	struct buf *packed = &conn->hub->packed, frame = BUF_INIT(2 * text->size + 64);
	buf_reset(packed);
	arena_reset(conn->hub->scratch);
	const struct bytes json = { text->data, text->size };
	bool binary = conn->packs && msgpack_from_json(json, conn->hub->scratch, packed, &err) == 0;
	const struct bytes body = binary ? (struct bytes){ packed->data, packed->size } : json;
	buf_add(&frame, header, frames_header(body.size, binary, false, header));
	buf_add(&frame, body.data, body.size);
	conn_add_bytes(conn, frame.data, frame.size);
	buf_free(&frame);
	check_room(conn);
}

/* A push's own part is an object that is not closed, and the tail brings its last member. As MessagePack: a map of four, three of which are
 * its own. */
static struct tail *packed(struct conn *conn, struct tail *tail)
{
	struct error err;
	struct hub *hub = conn->hub;
	if (tail->packed)
		return tail->packed;
	buf_reset(&hub->packed);
	buf_add_byte(&hub->packed, '{');
	buf_add(&hub->packed, tail->text + 1, tail->size - 1); /* its comma becomes the brace */
	struct buf out = BUF_INIT(tail->size + 64);
	arena_reset(hub->scratch);
	if (msgpack_from_json((struct bytes){ hub->packed.data, hub->packed.size }, hub->scratch, &out, &err) == 0) {
		const struct buf member = { .data = out.data + 1, .size = out.size - 1 }; /* without the map of one around it */
		tail->packed = tail_new(&member);
	}
	buf_free(&out);
	return tail->packed;
}

static char *put_literal(char *to, const char *text, size_t size)
{
	memcpy(to, text, size);
	return to + size;
}
#define PUT(to, literal) put_literal(to, literal, sizeof literal - 1)

static size_t print_own(const struct conn *conn, const struct out *push, uint8_t ret[OWN_MAX])
{
	char offset[OFFSET_TEXT_MAX], id[16];
	size_t n = offset_print(&push->offset, offset);
	if (!conn->packs) {
		char *p = PUT((char *)ret, "{\"subscription\":\"");
		p = PUT(digits_put(p, push->sub), "\",\"seq\":");
		p = PUT(digits_put(p, push->number), ",\"offset\":\"");
		p = PUT(put_literal(p, offset, n), "\"");
		return (size_t)(p - (char *)ret);
	}
	struct buf out = BUF_INIT(OWN_MAX);
	msgpack_map(&out, 4);
	msgpack_text(&out, "subscription", 12);
	msgpack_text(&out, id, (size_t)snprintf(id, sizeof id, "%u", push->sub));
	msgpack_text(&out, "seq", 3);
	msgpack_u64(&out, push->number);
	msgpack_text(&out, "offset", 6);
	msgpack_text(&out, offset, n);
	size_t size = out.size;
	memcpy(ret, out.data, size);
	buf_free(&out);
	return size;
}

/* The tail, compressed when first wanted and shared by everybody who wants it so; NULL: it stays as it is. */
static struct tail *deflated(struct conn *conn, struct tail *tail)
{
	if (!conn->deflates || tail->size < DEFLATE_LEAST)
		return NULL;
	if (!tail->tried) {
		struct buf *out = &conn->hub->packed;
		buf_reset(out);
		tail->tried = true;
		if (deflate_shared(conn->hub->deflate, (struct bytes){ (const uint8_t *)tail->text, tail->size }, out))
			tail->deflated = tail_new(out);
	}
	return tail->deflated;
}

void conn_push(struct conn *conn, struct sub *sub, struct tail *tail, const struct offset *place)
{
	if (conn->closing || conn->dead)
		return;
	struct offset at = *place;
	if (!at.of_letters) {
		at.given_after = sub->offset.given_after;
		at.min_height = sub->offset.min_height;
	}
	if (conn->carrier != CARRIER_WEBSOCKET) {
		plain_push(conn, sub, tail, &at);
		return;
	}
	if (conn->packs)
		tail = packed(conn, tail);
	if (!tail) { /* an event that one of us wrote is no JSON: never seen */
		conn_close(conn, 1011, "an event could not be written: resume as JSON");
		return;
	}
	struct tail *small = deflated(conn, tail);
	sub->pushes++;
	conn_add_push(conn, sub, small ? small : tail, &at, small != NULL);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------------------ */

struct write { /* what goes out together */
	struct iovec parts[IOV_COUNT];
	size_t part_count;
	size_t sizes[OUTS_MAX]; /* of the first ones of the queue */
	size_t out_count;
	uint8_t *together, *end; /* the hub's memory, used up to end */
};

static void put_part(struct write *w, const void *data, size_t size)
{
	struct iovec *last = w->part_count > 0 ? &w->parts[w->part_count - 1] : NULL;
	if (last && (uint8_t *)last->iov_base + last->iov_len == data)
		last->iov_len += size;
	else if (size > 0)
		w->parts[w->part_count++] = (struct iovec){ (void *)(uintptr_t)data, size };
}

/* One part with those before it and behind it: a part of its own costs the kernel more than a few bytes cost here. */
static void put_copy(struct write *w, const void *data, size_t size)
{
	uint8_t *at = w->end;
	memcpy(at, data, size);
	w->end += size;
	put_part(w, at, size);
}

/* False: it does not fit. */
static bool put_out(struct write *w, const struct conn *conn, const struct out *out)
{
	const void *body = out->tail ? (const void *)out->tail->text : out->owned;
	const size_t body_size = out->tail ? out->tail->size : out->size, end = out->tail ? end_of(conn) : 0;
	const bool copies = body_size <= COPIED_MAX;
	uint8_t head[HEAD_MAX];
	if ((size_t)(w->together + TOGETHER_SIZE - w->end) < HEAD_MAX + (copies ? body_size : 0) || w->part_count + 3 > IOV_COUNT || w->out_count == OUTS_MAX)
		return false;
	size_t head_size = out->tail ? print_head(conn, out, head) : 0;
	put_copy(w, head, head_size);
	(copies ? put_copy : put_part)(w, body, body_size);
	put_copy(w, "\n\n", end);
	w->sizes[w->out_count++] = head_size + body_size + end;
	return true;
}

static void skip(struct write *w, size_t written, struct iovec **ret, size_t *ret_count)
{
	*ret = w->parts;
	*ret_count = w->part_count;
	for (; *ret_count > 0 && written >= (*ret)->iov_len; (*ret_count)--)
		written -= (*ret)++->iov_len;
	if (written > 0 && *ret_count > 0) {
		(*ret)->iov_base = (uint8_t *)(*ret)->iov_base + written;
		(*ret)->iov_len -= written;
	}
}

/* As much of the queue as goes out at once. */
static ssize_t write_queue(struct conn *conn, struct write *w)
{
	struct iovec *parts;
	size_t count;
	w->part_count = w->out_count = 0;
	w->together = w->end = conn->hub->together;
	for (size_t i = 0; i < conn->queue_count; i++)
		if (!put_out(w, conn, &conn->queue[(conn->queue_first + i) % conn->queue_capacity]))
			break;
	skip(w, conn->written, &parts, &count);
	return channel_write(conn->io, parts, count);
}

/* What is left of a request by plain HTTP is the server's to read. */
static uint32_t wanted(const struct conn *conn, bool blocked)
{
	return EPOLLRDHUP | (conn->carrier == CARRIER_WEBSOCKET ? EPOLLIN : 0u) | (blocked ? EPOLLOUT : 0u);
}

static void watch(struct conn *conn, bool blocked)
{
	if (conn->blocked == blocked)
		return;
	conn->blocked = blocked;
	struct epoll_event e = { .events = wanted(conn, blocked), .data.ptr = conn };
	epoll_ctl(conn->hub->epoll, EPOLL_CTL_MOD, conn->fd, &e);
}

void conn_flush(struct conn *conn)
{
	struct write w;
	if (conn->carrier == CARRIER_POLL) {
		plain_flush(conn);
		return;
	}
	while (conn->queue_count > 0 && !conn->dead) {
		ssize_t n = write_queue(conn, &w);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				conn_die(conn);
			break;
		}
		metric_add(conn->hub->metrics.bytes, (uint64_t)n);
		conn->progress_ms = conn->hub->turned_ms;
		conn->written += (size_t)n;
		for (size_t i = 0; i < w.out_count && conn->written >= w.sizes[i]; i++) {
			conn->written -= w.sizes[i];
			pop(conn);
		}
	}
	if (conn->queue_count == 0)
		queue_rest(conn);
	watch(conn, conn->queue_count > 0 && !conn->dead);
	if (conn->queue_count > 0 || conn->closing)
		conn_soon(conn);
	if (conn->closing && conn->queue_count == 0)
		conn_die(conn);
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

/* The same request as JSON; what is no MessagePack is no JSON either and answered so. */
static void on_binary(void *arg, struct bytes message)
{
	struct conn *conn = arg;
	struct error err;
	struct buf json = BUF_INIT(4 * FRAMES_MESSAGE_MAX);
	if (msgpack_to_json(message, &json, &err))
		buf_reset(&json);
	on_text(conn, (struct bytes){ json.data, json.size });
	buf_free(&json);
}

static void on_output(void *arg, struct bytes data)
{
	struct conn *conn = arg;
	/* A header and its payload come apart: they become one frame again in the queue because nothing is put between. */
	if (conn->queue_bytes < 2 * conn->hub->queue_max)
		conn_add_bytes(conn, data.data, data.size);
	else
		conn_die(conn);
}

static void take_input(struct conn *conn, struct bytes data)
{
	conn->heard_ms = clock_mono_ms();
	if (!frames_input(conn->frames, data) && !conn->closing) {
		conn->closing = true;
		conn->closing_ms = conn->heard_ms;
		conn_soon(conn);
		if (!frames_closed(conn->frames))
			conn_die(conn);
	}
}

void conn_read(struct conn *conn)
{
	uint8_t data[READ_SIZE];
	if (conn->carrier != CARRIER_WEBSOCKET) { /* only its end was waited for */
		conn_die(conn);
		return;
	}
	for (int i = 0; i < READS_PER_TURN && !conn->dead; i++) {
		ssize_t n = channel_read(conn->io, data, sizeof data);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
				conn_die(conn);
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
	if (conn->carrier != CARRIER_WEBSOCKET)
		plain_close(conn, code, reason);
	else
		frames_close(conn->frames, code, reason);
	conn->closing = true;
	conn->closing_ms = clock_mono_ms();
	conn_soon(conn);
}

void conn_tick(struct conn *conn, int64_t now)
{
	if (conn->closing) {
		if (now - conn->closing_ms > CLOSING_MS && !conn->lingers)
			conn_die(conn);
		return;
	}
	bool patient = conn->subs != NULL;
	for (const struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		patient = patient && sub->laggard != LAGGARD_CLOSE;
	const char *why;
	const uint16_t outstays = conn_outstays(conn, &why);
	if (outstays) {
		metric_inc(metrics_get(conn->hub->gateway->metrics, "weir_gateway_websocket_closed_total", outstays == 1008 ? "revoked" : "expired", NULL, NULL));
		conn_close(conn, outstays, why);
	} else if (conn->queue_count > 0 && now - conn->progress_ms > (patient ? SILENT_MS : STALLED_MS)) {
		drop_slow(conn); /* what it reads in the ledger waits for room: the queue alone would not tell */
	} else if (conn->carrier != CARRIER_WEBSOCKET) {
		plain_tick(conn, now);
	} else if (conn_overdue(conn, now)) {
		return;
	} else if (now - conn->heard_ms > SILENT_MS) {
		metric_inc(metrics_get(conn->hub->gateway->metrics, "weir_gateway_websocket_closed_total", "silent", NULL, NULL));
		conn_close(conn, 1001, "no sign of life");
	} else if (now - conn->heard_ms > PING_MS && now - conn->pinged_ms > PING_MS) {
		conn->pinged_ms = now;
		frames_ping(conn->frames);
	}
	if (conn->notice_at_ms && !conn->closing)
		conn_tell_end(conn);
}

int64_t conn_due_ms(const struct conn *conn, int64_t now)
{
	for (const struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		if (sub->state == SUB_RETRYING)
			return now;
	if (conn->closing || conn->queue_count > 0 || conn->unproven || conn_ends(conn))
		return now;
	if (conn->carrier != CARRIER_WEBSOCKET)
		return plain_due_ms(conn, now);
	int64_t ping = (conn->heard_ms > conn->pinged_ms ? conn->heard_ms : conn->pinged_ms) + PING_MS, silent = conn->heard_ms + SILENT_MS;
	return ping < silent ? ping : silent;
}

void conn_soon(struct conn *conn)
{
	if (!conn->dead)
		wheel_put(&conn->hub->wheel, &conn->due, 0);
}

void conn_start(struct conn *conn, struct bytes early)
{
	const struct frames_callbacks callbacks = { on_text, conn->packs ? on_binary : NULL, on_output, conn };
	struct epoll_event e = { .events = wanted(conn, false), .data.ptr = conn };
	if (conn->carrier == CARRIER_WEBSOCKET)
		conn->frames = frames_new(&callbacks, conn->deflates);
	conn->heard_ms = conn->progress_ms = conn->pinged_ms = clock_mono_ms();
	conn->next_sub = 1;
	conn_plan_notice(conn);
	conn_await_credentials(conn);
	conn->number = ++conn->hub->last_number;
	conn->next = conn->hub->conns;
	if (conn->next)
		conn->next->previous = conn;
	conn->hub->conns = conn;
	conn_soon(conn);
	if (epoll_ctl(conn->hub->epoll, EPOLL_CTL_ADD, conn->fd, &e) != 0)
		conn_die(conn);
	if (early.size > 0)
		take_input(conn, early);
}

void conn_free(struct conn **connp)
{
	struct conn *conn = *connp;
	struct hub *hub = conn->hub;
	sub_free_all(conn);
	conn_leave_room(conn);
	conn_proven(conn);
	wheel_remove(&hub->wheel, &conn->due);
	*(conn->previous ? &conn->previous->next : &hub->conns) = conn->next;
	if (conn->next)
		conn->next->previous = conn->previous;
	if (conn->socket)
		epoll_ctl(hub->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
	while (conn->queue_count > 0)
		pop(conn);
	queue_rest(conn);
	frames_free(&conn->frames);
	plain_free(conn);
	if (conn->socket) {
		channel_end_writing(conn->io);
		shutdown(conn->fd, SHUT_RDWR);
	}
	http_release(&conn->socket);
	atomic_fetch_sub(&hub->connections, 1);
	metric_set(hub->metrics.connections, (double)atomic_load(&hub->connections));
	xfree(connp);
}

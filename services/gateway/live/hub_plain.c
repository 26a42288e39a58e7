/* hub_plain.c - subscriptions over plain HTTP: one per request, as an event stream (WHATWG HTML section 9.2) or a long poll. Both carry the
 * pushes of the WebSocket, unchanged; an event's id is its offset. */
#include "live/hub_internal.h"

#include "call/call.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define HEARTBEAT_MS 15000
#define RETRY_MS 2000         /* what a browser waits before it comes back */
#define RETRY_SPREAD_MS 5000  /* more at most, when everybody is sent away at once */
#define GRACE_MS 5000         /* a poll that is still catching up when its time is over gets so much more */

struct plain {
	bool begun; /* located: there is an offset to come back with */
	/* of a poll */
	int64_t deadline_ms;
	size_t limit, count;
	struct buf items;
	struct offset last;
};

/* ---- the end of a request ----------------------------------------------------------------------------------------------------------------- */

/* The socket is the server's again: from here on its number may be another connection's. */
static void hand_back(struct conn *conn)
{
	epoll_ctl(conn->hub->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
	conn_die(conn);
	http_answer(&conn->socket);
}

static void refuse(struct conn *conn, unsigned status, const char *code, const char *detail)
{
	if (!conn->socket)
		return; /* answered already */
	const struct http_request *request = http_request_of(conn->socket);
	struct http_response *response = http_response_of(conn->socket);
	response->retry_after = status == 503 ? 1 : 0;
	call_refuse(response, status, code, detail, request->target.path, request->id, NULL);
	hand_back(conn);
}

void plain_refuse(struct conn *conn, const char *code, const char *message)
{
	static const struct {
		const char *code;
		unsigned status;
	} statuses[] = { { "chain_unknown", 404 }, { "watchlist_unknown", 404 }, { "offset_unknown", 410 }, { "forbidden", 403 },
			 { "reorged", 410 },	   { "height_unknown", 404 }, { "unavailable", 503 },	 { "busy", 503 } };
	unsigned status = 400;
	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
		if (strcmp(statuses[i].code, code) == 0)
			status = statuses[i].status;
	refuse(conn, status, code, message);
}

static void answer_poll(struct conn *conn)
{
	char offset[OFFSET_TEXT_MAX];
	struct plain *plain = conn->plain;
	const struct offset at = plain->count > 0 || !conn->subs ? plain->last : sub_stands_at(conn->subs);
	struct http_response *response = http_response_of(conn->socket);
	offset_print(&at, offset);
	response->status = 200;
	put_object(&response->body, NULL);
	put_array(&response->body, "items");
	buf_add(&response->body, plain->items.data, plain->items.size);
	put_end(&response->body, ']');
	put_text(&response->body, "offset", offset);
	put_end(&response->body, '}');
	hand_back(conn);
}

void plain_flush(struct conn *conn)
{
	const struct plain *plain = conn->plain;
	if (!conn->socket || !plain->begun)
		return;
	bool late = conn->subs && conn->subs->state == SUB_LIVE && clock_mono_ms() >= plain->deadline_ms;
	if (plain->count > 0 || conn->closing || late)
		answer_poll(conn);
}

/* ---- its events ------------------------------------------------------------------------------------------------------------------------------ */

/* One event of a stream that is not a push: name, offset as id, members of a JSON object in hub->text. */
static void add_event(struct conn *conn, const char *name, const struct offset *at, int retry_ms)
{
	char offset[OFFSET_TEXT_MAX];
	struct buf *data = &conn->hub->text;
	struct buf event = BUF_INIT(4096 + data->size);
	if (at) {
		offset_print(at, offset);
		put_text(data, "offset", offset);
	}
	put_i64(data, "time_ms", clock_wall_ms());
	put_end(data, '}');
	if (retry_ms > 0)
		buf_printf(&event, "retry: %d\n", retry_ms);
	buf_printf(&event, "event: %s\n", name);
	if (at)
		buf_printf(&event, "id: %s\n", offset);
	buf_add_str(&event, "data: ");
	buf_add(&event, data->data, data->size);
	buf_add_str(&event, "\n\n");
	conn_add_bytes(conn, event.data, event.size);
	buf_free(&event);
}

static void begin_event(struct conn *conn)
{
	buf_reset(&conn->hub->text);
	put_object(&conn->hub->text, NULL);
}

void plain_subscribed(struct sub *sub)
{
	struct conn *conn = sub->conn;
	struct buf head = BUF_INIT(16384);
	conn->plain->begun = true;
	conn->plain->last = sub->offset;
	if (conn->carrier == CARRIER_POLL)
		return;
	http_stream_head(conn->socket, "text/event-stream", &head);
	conn_add_bytes(conn, head.data, head.size);
	buf_free(&head);
	begin_event(conn);
	put_text(&conn->hub->text, "subscription", "1");
	/* Before a snapshot was taken there is nothing to resume. */
	add_event(conn, "subscribed", sub->piece ? NULL : &sub->offset, RETRY_MS);
}

#define OWN_MAX (OFFSET_TEXT_MAX + 80)

static size_t print_own(uint64_t number, const struct offset *at, char ret[OWN_MAX])
{
	char offset[OFFSET_TEXT_MAX];
	offset_print(at, offset);
	return (size_t)snprintf(ret, OWN_MAX, "{\"subscription\":\"1\",\"seq\":%llu,\"offset\":\"%s\"", (unsigned long long)number, offset);
}

size_t plain_head(const struct out *out, uint8_t ret[HEAD_MAX])
{
	char offset[OFFSET_TEXT_MAX], own[OWN_MAX];
	offset_print(&out->offset, offset);
	size_t size = print_own(out->number, &out->offset, own), n = (size_t)snprintf((char *)ret, HEAD_MAX, "id: %s\ndata: ", offset);
	memcpy(ret + n, own, size);
	return n + size;
}

void plain_push(struct conn *conn, struct sub *sub, struct tail *tail, const struct offset *at)
{
	struct plain *plain = conn->plain;
	char own[OWN_MAX];
	sub->pushes++;
	if (conn->carrier == CARRIER_STREAM) {
		conn_add_push(conn, sub, tail, at, false);
		return;
	}
	if (plain->count > 0)
		buf_add_byte(&plain->items, ',');
	buf_add(&plain->items, own, print_own(sub->pushes, at, own));
	buf_add(&plain->items, tail->text, tail->size);
	plain->last = *at;
	plain->count++;
	conn->queue_bytes = plain->items.size;
	conn->closing = conn->closing || plain->count == plain->limit || plain->items.size > conn->hub->queue_max / 2;
	conn_mark(conn);
	metric_inc(conn->hub->metrics.pushes);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------- */

void plain_close(struct conn *conn, uint16_t code, const char *reason)
{
	conn_mark(conn);
	if (!conn->plain->begun) {
		refuse(conn, 503, "draining", reason);
		return;
	}
	if (conn->carrier == CARRIER_POLL) {
		if (code == 1012) /* its offset is nothing any more */
			refuse(conn, 410, "offset_unknown", reason);
		return;
	}
	/* No id: the client's last one is where it resumes, whatever of the queue it still gets. */
	begin_event(conn);
	put_i64(&conn->hub->text, "code", code);
	put_text(&conn->hub->text, "reason", reason);
	add_event(conn, "close", NULL, RETRY_MS + (code == 1001 ? (int)(random_u64() % RETRY_SPREAD_MS) : 0));
}

void plain_tick(struct conn *conn, int64_t now)
{
	struct plain *plain = conn->plain;
	const struct sub *sub = conn->subs;
	if (!plain->begun || !sub)
		return;
	if (conn->carrier == CARRIER_POLL) {
		bool settled = sub->state == SUB_LIVE || sub->state == SUB_RETRYING;
		if (now >= plain->deadline_ms + (settled ? 0 : GRACE_MS)) {
			conn->closing = true;
			conn_mark(conn);
		}
		return;
	}
	if (conn->queue_count == 0 && now - conn->pinged_ms >= HEARTBEAT_MS) {
		const struct offset at = sub_stands_at(sub);
		conn->pinged_ms = now;
		begin_event(conn);
		add_event(conn, "heartbeat", &at, 0);
	}
}

int64_t plain_due_ms(const struct conn *conn, int64_t now)
{
	return conn->carrier == CARRIER_POLL || !conn->plain->begun ? now : conn->pinged_ms + HEARTBEAT_MS;
}

void plain_start(struct conn *conn, const struct hub_request *request)
{
	struct plain *plain = xmalloc(sizeof *plain);
	plain->deadline_ms = clock_mono_ms() + request->wait_ms;
	plain->limit = request->limit;
	plain->items = (struct buf)BUF_INIT(4 * conn->hub->queue_max + ((size_t)16 << 20));
	conn->plain = plain;
	conn_start(conn, (struct bytes){ NULL, 0 });
	sub_open(conn, &request->subscribe, "null");
	conn_mark(conn);
}

void plain_free(struct conn *conn)
{
	struct plain *plain = conn->plain;
	if (!plain)
		return;
	/* Whoever is not answered yet, is now. */
	if (conn->socket && !plain->begun)
		refuse(conn, 503, "draining", "this server is shutting down: ask another one");
	else if (conn->socket && conn->carrier == CARRIER_POLL)
		answer_poll(conn);
	buf_free(&plain->items);
	xfree(&conn->plain);
}

/* hub_auth.c - who holds a WebSocket, and how long: told before the end, put off by new credentials of the same principal. One that came without any, as pages
 * of browsers must, shows them in its first messages; where nobody in particular may be (gateway.anonymous) it has to, within gateway.authenticate_within. */
#include "live/hub_internal.h"

#include "call/reauth.h"

#include "base/clock.h"

#include <string.h>

#define NOTICE_MS 60000 /* before the end; of a shorter time, half of it */
#define REFUSALS_MAX 3  /* of a connection that nobody in particular holds; each is charged to its address, too */
#define UNPROVEN_PART 4 /* of gateway.max_websockets: those who have shown nothing yet never keep out those who have */
#define CLOSE_UNAUTHORIZED 3000 /* IANA's registry of close codes */

const char *conn_holder(const struct conn *conn)
{
	int64_t until_ms;
	return conn->socket ? http_holder(conn->socket, &until_ms) : "";
}

void conn_plan_notice(struct conn *conn)
{
	int64_t until_ms = 0, now = clock_wall_ms();
	if (conn->socket && conn->carrier == CARRIER_WEBSOCKET)
		(void)http_holder(conn->socket, &until_ms);
	const int64_t left = until_ms - now;
	conn->notice_at_ms = until_ms == 0 ? 0 : until_ms - (left / 2 < NOTICE_MS ? left / 2 : NOTICE_MS);
}

static void send_notice(struct conn *conn, const char *type, int64_t at_ms, int64_t now_ms)
{
	struct buf *out = &conn->hub->text;
	buf_reset(out);
	put_object(out, NULL);
	put_object(out, "notice");
	put_text(out, "type", type);
	put_i64(out, "at_ms", at_ms);
	put_i64(out, "in_ms", at_ms > now_ms ? at_ms - now_ms : 0);
	put_end(out, '}');
	put_end(out, '}');
	conn_send_text(conn, out);
}

void conn_tell_end(struct conn *conn)
{
	int64_t until_ms = 0, now = clock_wall_ms();
	if (conn->notice_at_ms == 0 || now < conn->notice_at_ms)
		return;
	conn->notice_at_ms = 0;
	(void)http_holder(conn->socket, &until_ms);
	send_notice(conn, "credentials_end", until_ms, now);
}

static void close_unproven(struct conn *conn, const char *reason)
{
	metric_inc(metrics_get(conn->hub->gateway->metrics, "weir_gateway_websocket_closed_total", "unauthenticated", NULL, NULL));
	conn_close(conn, CLOSE_UNAUTHORIZED, reason);
}

void conn_await_credentials(struct conn *conn)
{
	struct hub *hub = conn->hub;
	const struct config *c = hub->gateway->config;
	if (conn->carrier != CARRIER_WEBSOCKET || c->gateway.anonymous || *conn_holder(conn))
		return;
	conn->unproven = true;
	hub->unproven++;
	conn->prove_by_ms = clock_mono_ms() + c->gateway.authenticate_within_ms;
	if (hub->unproven > (size_t)(c->gateway.max_websockets + UNPROVEN_PART - 1) / UNPROVEN_PART) {
		metric_inc(metrics_get(hub->gateway->metrics, "weir_gateway_websocket_closed_total", "limit", NULL, NULL));
		conn_close(conn, 1013, "too many connections here have yet to show credentials: send them in a header, or come back later");
	} else {
		const int64_t now = clock_wall_ms();
		send_notice(conn, "credentials_needed", now + c->gateway.authenticate_within_ms, now);
	}
}

void conn_proven(struct conn *conn)
{
	conn->hub->unproven -= conn->unproven;
	conn->unproven = false;
}

bool conn_overdue(struct conn *conn, int64_t now_ms)
{
	if (!conn->unproven || now_ms < conn->prove_by_ms)
		return false;
	close_unproven(conn, "credentials are needed here, and none came in time: authenticate, or send them in a header");
	return true;
}

static void refuse(struct conn *conn, const char *id, const char *code, const char *words)
{
	uint64_t count;
	struct hub *hub = conn->hub;
	metric_inc(hub->metrics.refused);
	if (seldom_due(&hub->refused, &count))
		log_info(&hub->log, "credentials_refused", "shown in a WebSocket's messages", LOG_S("client", conn->remote), LOG_S("code", code), LOG_U("count", count));
	answer_error(conn, id, code, words);
	if (!*conn_holder(conn) && ++conn->refusals >= REFUSALS_MAX)
		close_unproven(conn, "nothing that this connection showed was good");
}

bool conn_may_ask(struct conn *conn, const struct ws_request *request, bool understood)
{
	if (!conn->unproven || (understood && request->method == WS_AUTHENTICATE))
		return true;
	refuse(conn, request->id, "unauthorized", "credentials are needed here: authenticate first");
	return false;
}

static bool may_subscribe(const struct conn *conn, const struct principal *who)
{
	return conn->operators ? scope_role(who->scopes) >= ROLE_VIEWER : (who->scopes & SCOPE_STREAM) != 0;
}

static void answer(struct conn *conn, const char *id, const struct principal *who)
{
	struct buf *out = &conn->hub->text;
	answer_begin(conn->hub, id, "result");
	put_text(out, "authenticated", who->name);
	if (who->until_ms)
		put_i64(out, "until_ms", who->until_ms);
	else
		put_null(out, "until_ms");
	put_array(out, "scopes");
	for (unsigned i = 0; i < SCOPES; i++)
		if (who->scopes & 1u << i)
			put_text(out, NULL, scope_name(i));
	put_end(out, ']');
	answer_end(conn);
}

/* From here on it counts for its principal. False: that holds as many connections as it may. */
static bool seat(struct conn *conn)
{
	conn_proven(conn);
	conn_leave_room(conn);
	conn_enter_room(conn);
	return !conn->closing;
}

void conn_authenticate(struct conn *conn, const struct ws_request *request)
{
	struct principal who;
	const bool first = !*conn_holder(conn);
	struct reauth given = { .token = request->token, .key = request->key, .remote = conn->remote, .operators = conn->operators, .first = first };
	if (first && conn->sub_count > 0) {
		answer_error(conn, request->id, "identity_changed", "this connection has subscriptions of nobody in particular: end them, or open another one and authenticate first");
		return;
	}
	if (!reauth(conn->hub->gateway, &given, &who)) {
		refuse(conn, request->id, given.code, given.words);
		return;
	}
	if (!first && strcmp(conn_holder(conn), who.name) != 0) {
		refuse(conn, request->id, "identity_changed", "this connection belongs to somebody else: open another one with these credentials");
		return;
	}
	metric_inc(conn->hub->metrics.authenticated);
	http_hold(conn->socket, who.name, who.until_ms, (struct http_token){ .is = who.of_token, .id = who.token, .issued_s = who.issued_s });
	conn->holder_seen = 0; /* what it holds by now is looked at, too */
	if (first && !seat(conn))
		return; /* told by its end */
	conn_plan_notice(conn);
	conn_soon(conn); /* it may have an end now */
	conn->barred = !may_subscribe(conn, &who);
	answer(conn, request->id, &who);
	while (conn->barred && conn->subs && !conn->closing)
		sub_end(conn->subs, conn->operators ? "the new credentials have no role" : "the new credentials lack the scope stream");
}

/* hub_auth.c - how long who opened a connection may hold it: told before the end, put off by new credentials of the same principal. */
#include "live/hub_internal.h"

#include "call/reauth.h"

#include "base/clock.h"

#include <string.h>

#define NOTICE_MS 60000 /* before the end; of a shorter time, half of it */

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

void conn_tell_end(struct conn *conn)
{
	struct buf *out = &conn->hub->text;
	int64_t until_ms = 0, now = clock_wall_ms();
	if (conn->notice_at_ms == 0 || now < conn->notice_at_ms)
		return;
	conn->notice_at_ms = 0;
	(void)http_holder(conn->socket, &until_ms);
	buf_reset(out);
	put_object(out, NULL);
	put_object(out, "notice");
	put_text(out, "type", "credentials_end");
	put_i64(out, "at_ms", until_ms);
	put_i64(out, "in_ms", until_ms > now ? until_ms - now : 0);
	put_end(out, '}');
	put_end(out, '}');
	conn_send_text(conn, out);
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

void conn_authenticate(struct conn *conn, const struct ws_request *request)
{
	struct principal who;
	struct reauth given = { .token = request->token, .key = request->key, .remote = conn->remote, .operators = conn->operators };
	if (!reauth(conn->hub->gateway, &given, &who)) {
		answer_error(conn, request->id, given.code, given.words);
		return;
	}
	if (strcmp(conn_holder(conn), who.name) != 0) {
		answer_error(conn, request->id, "identity_changed", "this connection belongs to somebody else, or to nobody in particular: open another one with these credentials");
		return;
	}
	http_hold(conn->socket, who.until_ms);
	conn_plan_notice(conn);
	conn_soon(conn); /* it may have an end now */
	conn->barred = !may_subscribe(conn, &who);
	answer(conn, request->id, &who);
	while (conn->barred && conn->subs && !conn->closing)
		sub_end(conn->subs, conn->operators ? "the new credentials have no role" : "the new credentials lack the scope stream");
}

/* hub_sub.c - subscriptions: made, moved on through the journal, ended. */
#include "hub_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MS 250

/* ---- answers ------------------------------------------------------------------------------------------------------------------------------ */

static void answer_begin(struct hub *hub, const char *id, const char *what)
{
	buf_reset(&hub->text);
	put_object(&hub->text, NULL);
	put_raw(&hub->text, "id", id);
	put_object(&hub->text, what);
}

static void answer_end(struct conn *conn)
{
	buf_add_str(&conn->hub->text, "}}");
	conn_send_text(conn, &conn->hub->text);
}

static void answer_error(struct conn *conn, const char *id, const char *code, const char *message)
{
	answer_begin(conn->hub, id, "error");
	put_text(&conn->hub->text, "code", code);
	put_text(&conn->hub->text, "message", message);
	answer_end(conn);
}

static void answer_subscribed(struct sub *sub)
{
	char text[OFFSET_TEXT_MAX], id[16];
	struct buf *out = &sub->conn->hub->text;
	offset_print(&sub->offset, text);
	snprintf(id, sizeof id, "%u", sub->id);
	answer_begin(sub->conn->hub, sub->request_id, "result");
	put_text(out, "subscription", id);
	put_text(out, "offset", text);
	answer_end(sub->conn);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------ */

static void detach(struct sub *sub)
{
	struct conn *conn = sub->conn;
	for (struct sub **p = &conn->subs; *p; p = &(*p)->next_of_conn)
		if (*p == sub) {
			*p = sub->next_of_conn;
			break;
		}
	conn->sub_count--;
	live_remove(sub);
	atomic_fetch_sub(&conn->hub->subscriptions, 1);
	metric_set(conn->hub->metrics.subscriptions, (double)atomic_load(&conn->hub->subscriptions));
	sub->conn = NULL;
	replay_job_free(&sub->piece);
	if (!sub->busy)
		free(sub);
}

void sub_free_all(struct conn *conn)
{
	while (conn->subs)
		detach(conn->subs);
}

static void submit(struct sub *sub, enum replay_task task, int64_t height)
{
	struct replay_job *job = xmalloc(sizeof *job);
	job->task = task;
	job->chain = sub->chain->chain;
	job->topic = sub->topic;
	job->filter = sub->filter;
	job->offset = sub->offset;
	job->height = height;
	job->owner = sub;
	sub->busy = true;
	sub->state = task == REPLAY_READ ? SUB_READING : SUB_LOCATING;
	metric_inc(sub->conn->hub->metrics.replays);
	replay_submit(sub->conn->hub->gateway->replay, job);
}

/* Gives as much of the piece at hand as the queue takes. False: there is more. */
static bool give_piece(struct sub *sub)
{
	struct replay_job *piece = sub->piece;
	for (; sub->given < piece->count; sub->given++) {
		if (sub->conn->queue_bytes > sub->conn->hub->queue_max / 2)
			return false;
		conn_push(sub->conn, sub, piece->pushes[sub->given].tail, piece->pushes[sub->given].sequence, piece->pushes[sub->given].index);
	}
	sub->offset.sequence = piece->offset.sequence;
	sub->offset.index = piece->offset.index;
	replay_job_free(&sub->piece);
	return true;
}

/* What was read; then from where it stands as far as memory goes; then the ledger again. */
static void move_on(struct sub *sub)
{
	if (sub->busy || sub->state == SUB_LIVE || sub->conn->closing)
		return;
	if ((sub->piece && !give_piece(sub)) || sub->conn->closing || live_join(sub))
		return;
	sub->state = SUB_WAITING;
	if (sub->conn->queue_bytes < sub->conn->hub->queue_max / 4)
		submit(sub, REPLAY_READ, 0);
}

void sub_room(struct conn *conn)
{
	for (struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		if (sub->state == SUB_WAITING)
			move_on(sub);
}

void sub_retry(struct conn *conn, int64_t now)
{
	for (struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		if (sub->state == SUB_RETRYING && now >= sub->retry_ms) {
			sub->state = SUB_WAITING;
			move_on(sub);
		}
}

static void located(struct sub *sub, const struct replay_job *job)
{
	if (job->code) {
		answer_error(sub->conn, sub->request_id, job->code == WEIR_NOT_FOUND ? "offset_unknown" : "unavailable",
			     job->code == WEIR_NOT_FOUND ? job->error.text : "the ledger does not answer now: subscribe again in a moment");
		detach(sub);
		return;
	}
	sub->offset = job->offset;
	sub->state = SUB_WAITING;
	answer_subscribed(sub);
	move_on(sub);
}

/* True: the job is kept. */
static bool take_piece(struct sub *sub, struct replay_job *job)
{
	struct hub *hub = sub->conn->hub;
	bool moved = job->code == 0 && (job->offset.sequence != sub->offset.sequence || job->offset.index != sub->offset.index);
	if (moved) {
		sub->piece = job;
		sub->given = 0;
		sub->state = SUB_WAITING;
		move_on(sub);
		return true;
	}
	if (job->code && job->code != WEIR_UNAVAILABLE && job->code != WEIR_FULL && job->code != WEIR_CANCELED)
		log_warn(&hub->log, "replay_failed", "a subscription waits; it is tried again", LOG_ERR(&job->error), LOG_S("client", sub->conn->remote));
	sub->state = SUB_RETRYING;
	sub->retry_ms = clock_mono_ms() + RETRY_MS;
	return false;
}

void sub_replayed(struct hub *hub, struct replay_job *job)
{
	struct sub *sub = job->owner;
	(void)hub;
	sub->busy = false;
	if (!sub->conn)
		free(sub);
	else if (job->task != REPLAY_READ)
		located(sub, job);
	else if (take_piece(sub, job))
		return;
	replay_job_free(&job);
}

/* ---- requests ------------------------------------------------------------------------------------------------------------------------------- */

static bool read_filter(struct conn *conn, const struct chain *chain, const struct ws_request *request, struct filter *ret)
{
	struct error err = { 0 };
	size_t size = 0;
	*ret = (struct filter){ .has_account = request->account != NULL, .has_asset = request->asset != NULL };
	int code = request->account ? chain->family->account_parse(chain, request->account, ret->account, &size, &err) : 0;
	if (!code && request->asset)
		code = chain->family->asset_parse(chain, request->asset, &ret->asset, &err);
	ret->account_size = (uint8_t)size;
	if (code)
		answer_error(conn, request->id, "invalid_request", err.text);
	return code == 0;
}

static struct hub_chain *find_chain(struct hub *hub, const char *name)
{
	const struct gateway_chain *chain = gateway_find_chain(hub->gateway, name);
	return chain ? &hub->chains[chain->index] : NULL;
}

static void subscribe(struct conn *conn, const struct ws_request *request)
{
	struct hub_chain *chain = find_chain(conn->hub, request->chain);
	struct filter filter;
	if (!chain) {
		answer_error(conn, request->id, "chain_unknown", "no chain of that name is served here");
		return;
	}
	if (conn->sub_count == SUBSCRIPTIONS_MAX) {
		answer_error(conn, request->id, "too_many_subscriptions", "a connection may have 64 subscriptions");
		return;
	}
	if (!chain->known) {
		answer_error(conn, request->id, "unavailable", "the ledger does not have this chain yet: subscribe again in a moment");
		return;
	}
	if (!read_filter(conn, &chain->chain->chain, request, &filter))
		return;
	struct sub *sub = xmalloc(sizeof *sub);
	*sub = (struct sub){ .id = conn->next_sub++, .conn = conn, .chain = chain, .topic = request->topic, .filter = filter, .offset = request->offset };
	snprintf(sub->request_id, sizeof sub->request_id, "%s", request->id);
	sub->next_of_conn = conn->subs;
	conn->subs = sub;
	conn->sub_count++;
	live_add(sub);
	atomic_fetch_add(&conn->hub->subscriptions, 1);
	metric_set(conn->hub->metrics.subscriptions, (double)atomic_load(&conn->hub->subscriptions));
	if (request->from != WS_FROM_LIVE) {
		submit(sub, request->from == WS_FROM_OFFSET ? REPLAY_FROM_OFFSET : REPLAY_FROM_HEIGHT, request->height);
		return;
	}
	sub->offset = (struct offset){ .sequence = chain->newest, .index = -1, .given_after = chain->newest };
	answer_subscribed(sub);
	sub->state = SUB_LIVE;
}

static void unsubscribe(struct conn *conn, const struct ws_request *request)
{
	struct sub *sub = conn->subs;
	while (sub && sub->id != request->subscription)
		sub = sub->next_of_conn;
	if (!sub) {
		answer_error(conn, request->id, "subscription_unknown", "this connection has no such subscription");
		return;
	}
	detach(sub);
	answer_begin(conn->hub, request->id, "result");
	put_bool(&conn->hub->text, "unsubscribed", true);
	answer_end(conn);
}

void sub_request(struct conn *conn, struct bytes message)
{
	struct ws_request request;
	struct error err = { 0 };
	arena_reset(conn->hub->arena);
	if (ws_request_read(message, conn->hub->arena, &request, &err)) {
		answer_error(conn, request.id, "invalid_request", err.text);
		return;
	}
	switch (request.method) {
	case WS_SUBSCRIBE:
		subscribe(conn, &request);
		return;
	case WS_UNSUBSCRIBE:
		unsubscribe(conn, &request);
		return;
	case WS_PING:
		answer_begin(conn->hub, request.id, "result");
		put_bool(&conn->hub->text, "pong", true);
		put_i64(&conn->hub->text, "time_ms", clock_wall_ms());
		answer_end(conn);
		return;
	}
}

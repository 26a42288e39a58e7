/* hub_sub.c - subscriptions: made, moved on through the journal, ended. */
#include "live/hub_internal.h"

#include "call/admit.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MS 250
#define LOOK_MS 500 /* between two looks at dead letters */
#define PING_FREE_MS 1000

/* ---- answers ------------------------------------------------------------------------------------------------------------------------------ */

void answer_begin(struct hub *hub, const char *id, const char *what)
{
	buf_reset(&hub->text);
	put_object(&hub->text, NULL);
	put_raw(&hub->text, "id", id);
	put_object(&hub->text, what);
}

void answer_end(struct conn *conn)
{
	buf_add_str(&conn->hub->text, "}}");
	conn_send_text(conn, &conn->hub->text);
}

void answer_error(struct conn *conn, const char *id, const char *code, const char *message)
{
	if (conn->carrier != CARRIER_WEBSOCKET) {
		plain_refuse(conn, code, message);
		return;
	}
	answer_begin(conn->hub, id, "error");
	put_text(&conn->hub->text, "code", code);
	put_text(&conn->hub->text, "message", message);
	answer_end(conn);
}

/* The block that the client stands on was taken back: where it may go on. */
static void answer_reorged(struct sub *sub, const struct replay_job *job)
{
	struct conn *conn = sub->conn;
	struct buf *out = &conn->hub->text;
	if (conn->carrier != CARRIER_WEBSOCKET) {
		plain_refuse(conn, "reorged", job->error.text);
		return;
	}
	answer_begin(conn->hub, sub->request_id, "error");
	put_text(out, "code", "reorged");
	put_text(out, "message", job->error.text);
	if (job->ancestor.known) {
		put_object(out, "ancestor");
		put_i64(out, "height", job->ancestor.height);
		put_hex(out, "hash", (struct bytes){ job->ancestor.hash, sizeof job->ancestor.hash });
		put_end(out, '}');
	} else {
		put_null(out, "ancestor");
	}
	answer_end(conn);
}

static void answer_subscribed(struct sub *sub)
{
	char text[OFFSET_TEXT_MAX], id[16];
	struct buf *out = &sub->conn->hub->text;
	if (sub->conn->carrier != CARRIER_WEBSOCKET) {
		plain_subscribed(sub);
		return;
	}
	offset_print(&sub->offset, text);
	snprintf(id, sizeof id, "%u", sub->id);
	answer_begin(sub->conn->hub, sub->request_id, "result");
	put_text(out, "subscription", id);
	put_text(out, "offset", text);
	answer_end(sub->conn);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------ */

static void unlink_sub(struct sub **list, const struct sub *sub)
{
	while (*list != sub)
		list = &(*list)->next_of_conn;
	*list = sub->next_of_conn;
}

/* Its job is not worth a thread any more, but takes room until one comes by it: it goes on counting for the connection. */
static void give_up(struct sub *sub, struct conn *conn)
{
	atomic_store(&sub->job->unwanted, true);
	sub->was_of = conn;
	sub->next_of_conn = conn->given_up;
	conn->given_up = sub;
	conn->given_up_count++;
}

static void free_given_up(struct sub *sub)
{
	if (sub->was_of) {
		unlink_sub(&sub->was_of->given_up, sub);
		sub->was_of->given_up_count--;
	}
	free(sub);
}

static void detach(struct sub *sub)
{
	struct conn *conn = sub->conn;
	unlink_sub(&conn->subs, sub);
	conn->sub_count--;
	live_remove(sub);
	atomic_fetch_sub(&conn->hub->subscriptions, 1);
	metric_set(conn->hub->metrics.subscriptions, (double)atomic_load(&conn->hub->subscriptions));
	sub->conn = NULL;
	replay_job_free(&sub->piece);
	if (sub->job)
		give_up(sub, conn);
	else
		free(sub);
}

void sub_free_all(struct conn *conn)
{
	while (conn->subs)
		detach(conn->subs);
	for (struct sub *sub = conn->given_up; sub; sub = sub->next_of_conn)
		sub->was_of = NULL;
}

/* Whose watch-lists it may follow: nobody's has no name. */
static const char *holder_of(const struct conn *conn)
{
	const char *holder = conn_holder(conn);
	return *holder ? holder : "nobody";
}

/* begin: as asked for; NULL: it goes on. False: as many jobs are out as may be. */
static bool submit(struct sub *sub, enum replay_task task, const struct subscribe *begin)
{
	struct hub *hub = sub->conn->hub;
	if (hub->jobs >= (size_t)hub->gateway->config->gateway.max_replays)
		return false;
	struct replay_job *job = xmalloc(sizeof *job);
	job->task = task;
	job->chain = sub->chain->chain;
	job->topic = sub->topic;
	job->filter = sub->filter;
	job->finality = sub->finality;
	job->offset = sub->offset;
	if (begin) {
		job->height = begin->height;
		job->has_hash = begin->has_hash;
		memcpy(job->hash, begin->hash, sizeof job->hash);
	}
	snprintf(job->holder, sizeof job->holder, "%s", holder_of(sub->conn));
	job->owner = sub;
	sub->job = job;
	sub->state = sub->told ? SUB_READING : SUB_LOCATING;
	hub->jobs++;
	/* What waits for the bus holds up nobody who waits for the ledger. */
	replay_submit(sub->topic == TOPIC_OF_LETTERS ? hub->gateway->letters : hub->gateway->replay, job);
	return true;
}

static void retry_soon(struct sub *sub)
{
	sub->state = SUB_RETRYING;
	sub->retry_ms = clock_mono_ms() + (sub->topic == TOPIC_OF_LETTERS ? LOOK_MS : RETRY_MS);
	conn_soon(sub->conn);
}

/* Gives as much of the piece at hand as the queue takes. False: there is more. */
static bool give_piece(struct sub *sub)
{
	struct replay_job *piece = sub->piece;
	for (; sub->given < piece->count; sub->given++) {
		if (sub->conn->queue_bytes > sub->conn->hub->queue_max / 2)
			return false;
		conn_push(sub->conn, sub, piece->pushes[sub->given].tail, &piece->pushes[sub->given].at);
	}
	if (piece->offset.of_letters) {
		sub->offset = piece->offset;
	} else {
		sub->offset.sequence = piece->offset.sequence;
		sub->offset.print = piece->offset.print;
		sub->offset.index = piece->offset.index;
	}
	replay_job_free(&sub->piece);
	return true;
}

/* What was read; then from where it stands as far as memory goes; then the ledger again. */
static void move_on(struct sub *sub)
{
	if (sub->job || sub->state == SUB_LIVE || sub->conn->closing)
		return;
	if (sub->state == SUB_LAGGING && live_catch_up(sub))
		return;
	if (sub->state == SUB_LAGGING && sub->laggard == LAGGARD_CONFLATE && sub->topic == TOPIC_OF_ACCOUNTS) {
		if (!submit(sub, REPLAY_SNAPSHOT, NULL))
			retry_soon(sub);
		return;
	}
	if ((sub->piece && !give_piece(sub)) || sub->conn->closing || live_join(sub))
		return;
	sub->state = SUB_WAITING;
	if (sub->conn->queue_bytes < sub->conn->hub->queue_max / 4 && !submit(sub, REPLAY_READ, NULL))
		retry_soon(sub);
}

void sub_room(struct conn *conn)
{
	for (struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		if (sub->state == SUB_WAITING || sub->state == SUB_LAGGING)
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

static void take(struct sub *sub, struct replay_job *piece)
{
	sub->piece = piece;
	sub->given = 0;
	sub->state = SUB_WAITING;
	if (piece->task != REPLAY_SNAPSHOT || piece->offset.of_letters)
		return;
	sub->offset.given_after = 0; /* it stands for all that was before */
	sub->offset.min_height = 0;
}

static void answer_unlocated(struct sub *sub, const struct replay_job *job)
{
	static const struct {
		int code;
		const char *name;
	} names[] = { { WEIR_NOT_FOUND, "offset_unknown" }, { WEIR_PERMISSION, "watchlist_unknown" }, { WEIR_GAP, "height_unknown" } };
	if (job->code == WEIR_MISMATCH) {
		answer_reorged(sub, job);
		return;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].code == job->code) {
			answer_error(sub->conn, sub->request_id, names[i].name, job->error.text);
			return;
		}
	answer_error(sub->conn, sub->request_id, "unavailable", "the ledger does not answer now: subscribe again in a moment");
}

/* True: the job is kept. */
static bool located(struct sub *sub, struct replay_job *job)
{
	if (job->code) {
		answer_unlocated(sub, job);
		detach(sub);
		return false;
	}
	bool snapshot = job->task == REPLAY_SNAPSHOT;
	sub->offset = job->offset;
	sub->state = SUB_WAITING;
	if (snapshot)
		take(sub, job);
	sub->told = true;
	answer_subscribed(sub);
	move_on(sub);
	return snapshot;
}

static bool has_moved(const struct offset *from, const struct offset *to)
{
	return to->of_letters ? memcmp(from->places, to->places, sizeof to->places) != 0 : to->sequence != from->sequence || to->index != from->index;
}

/* True: the job is kept. */
static bool take_piece(struct sub *sub, struct replay_job *job)
{
	struct hub *hub = sub->conn->hub;
	bool moved = job->code == 0 && (job->count > 0 || has_moved(&sub->offset, &job->offset));
	if (moved) {
		take(sub, job);
		move_on(sub);
		return true;
	}
	if (job->code && job->code != WEIR_UNAVAILABLE && job->code != WEIR_FULL && job->code != WEIR_CANCELED)
		log_warn(&hub->log, "replay_failed", "a subscription waits; it is tried again", LOG_ERR(&job->error), LOG_S("client", sub->conn->remote));
	retry_soon(sub);
	return false;
}

void sub_replayed(struct hub *hub, struct replay_job *job)
{
	struct sub *sub = job->owner;
	sub->job = NULL;
	hub->jobs--;
	if (job->code != WEIR_CANCELED)
		metric_inc(hub->metrics.replays);
	bool alive = sub->conn && !sub->conn->dead; /* else it is answered already, its socket in other hands: it is buried at the end of the turn */
	if (alive)
		conn_mark(sub->conn); /* a poll may have waited for this alone */
	if (!sub->conn)
		free_given_up(sub);
	else if (alive && (sub->told ? take_piece(sub, job) : located(sub, job)))
		return;
	replay_job_free(&job);
}

struct offset sub_stands_at(const struct sub *sub)
{
	struct offset at = sub->offset;
	if (sub->piece && sub->given > 0) {
		const struct offset *given = &sub->piece->pushes[sub->given - 1].at;
		if (given->of_letters)
			return *given;
		at.sequence = given->sequence;
		at.print = given->print;
		at.index = given->index;
	}
	if (sub->state == SUB_LIVE && live_edge(sub) > at.sequence) {
		at.sequence = live_edge(sub);
		at.print = live_edge_print(sub);
		at.index = -1;
	}
	return at;
}

/* ---- requests ------------------------------------------------------------------------------------------------------------------------------- */

static bool read_filter(struct conn *conn, const struct chain *chain, const struct subscribe *request, const char *id, struct filter *ret)
{
	struct error err = { 0 };
	size_t size = 0;
	*ret = (struct filter){ .has_account = request->account != NULL, .has_asset = request->asset != NULL, .watchlist = request->watchlist };
	int code = request->account ? chain->family->account_parse(chain, request->account, ret->account, &size, &err) : 0;
	if (!code && request->asset)
		code = chain->family->asset_parse(chain, request->asset, &ret->asset, &err);
	ret->account_size = (uint8_t)size;
	if (code) {
		answer_error(conn, id, "invalid_request", err.text);
		return false;
	}
	if (request->kind && kind_parse(request->kind, &ret->kind, &err)) {
		answer_error(conn, id, "invalid_kind", err.text);
		return false;
	}
	return true;
}

static struct hub_chain *find_chain(struct hub *hub, const char *name)
{
	const struct gateway_chain *chain = gateway_find_chain(hub->gateway, name);
	return chain ? &hub->chains[chain->index] : NULL;
}

/* Operators alone, on their own listener, which has its own door (mutual TLS, a private address). One each: every one of them asks the bus. */
static bool may_see_letters(struct conn *conn, const char *id)
{
	if (!conn->operators) {
		answer_error(conn, id, "forbidden", "topic dead_letters is for operators: it is served on their listener (gateway.admin_listen), by the same paths");
		return false;
	}
	for (const struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		if (sub->topic == TOPIC_OF_LETTERS) {
			answer_error(conn, id, "too_many_subscriptions", "a connection may have one subscription to dead letters");
			return false;
		}
	return true;
}

void sub_open(struct conn *conn, const struct subscribe *request, const char *id)
{
	struct hub_chain *chain = find_chain(conn->hub, request->chain);
	struct filter filter;
	if (!chain) {
		answer_error(conn, id, "chain_unknown", "no chain of that name is served here");
		return;
	}
	if (conn->barred) {
		answer_error(conn, id, "forbidden", "the credentials that this connection was given last do not allow subscriptions");
		return;
	}
	if (conn->sub_count + conn->given_up_count >= SUBSCRIPTIONS_MAX) {
		answer_error(conn, id, "too_many_subscriptions",
			     conn->sub_count == SUBSCRIPTIONS_MAX ? "a connection may have 64 subscriptions" :
								    "a connection may have 64 subscriptions, and those that it ended lately are still read for: subscribe again in a moment");
		return;
	}
	const bool letters = request->topic == TOPIC_OF_LETTERS;
	if (letters && !may_see_letters(conn, id))
		return;
	if (!chain->known && !letters) {
		answer_error(conn, id, "unavailable", "the ledger does not have this chain yet: subscribe again in a moment");
		return;
	}
	if (!read_filter(conn, &chain->chain->chain, request, id, &filter))
		return;
	struct sub *sub = xmalloc(sizeof *sub);
	*sub = (struct sub){ .id = conn->next_sub++, .conn = conn, .chain = chain, .topic = request->topic, .filter = filter, .laggard = request->laggard, .finality = request->finality, .offset = request->offset };
	snprintf(sub->request_id, sizeof sub->request_id, "%s", id);
	sub->next_of_conn = conn->subs;
	conn->subs = sub;
	conn->sub_count++;
	live_add(sub);
	atomic_fetch_add(&conn->hub->subscriptions, 1);
	metric_set(conn->hub->metrics.subscriptions, (double)atomic_load(&conn->hub->subscriptions));
	if (request->from != FROM_LIVE || request->watchlist || letters) {
		static const enum replay_task tasks[] = { [FROM_LIVE] = REPLAY_FROM_NOW, [FROM_OFFSET] = REPLAY_FROM_OFFSET, [FROM_HEIGHT] = REPLAY_FROM_HEIGHT, [FROM_SNAPSHOT] = REPLAY_SNAPSHOT };
		if (!submit(sub, tasks[request->from], request)) {
			answer_error(conn, id, "busy", "as many subscriptions as may be are read from the ledger at this moment: subscribe again in a moment");
			detach(sub);
		}
		return;
	}
	sub->offset = (struct offset){ .sequence = chain->newest, .print = live_print(chain, chain->newest), .index = -1, .given_after = chain->newest };
	sub->told = true;
	answer_subscribed(sub);
	sub->state = SUB_LIVE;
}

void sub_send_away(struct sub *sub, int64_t after_ms)
{
	struct hub *hub = sub->conn->hub;
	const struct offset at = sub_stands_at(sub);
	if (!sub->told || sub->conn->carrier == CARRIER_POLL) /* whose answer has it */
		return;
	buf_reset(&hub->text);
	render_reconnect(&sub->chain->chain->chain, after_ms, &hub->text);
	struct tail *tail = tail_new(&hub->text);
	conn_push(sub->conn, sub, tail, &at);
	tail_drop(&tail);
}

void sub_end(struct sub *sub, const char *reason)
{
	struct conn *conn = sub->conn;
	struct hub *hub = conn->hub;
	const struct offset at = sub_stands_at(sub);
	if (!sub->told) {
		answer_error(conn, sub->request_id, conn->barred ? "forbidden" : "watchlist_unknown", reason);
	} else {
		buf_reset(&hub->text);
		render_ended(&sub->chain->chain->chain, reason, &hub->text);
		struct tail *tail = tail_new(&hub->text);
		conn_push(conn, sub, tail, &at);
		tail_drop(&tail);
	}
	if (conn->carrier != CARRIER_WEBSOCKET && !conn->closing)
		conn_close(conn, 1008, reason);
	detach(sub);
}

/* False: it was answered. */
static bool pays(struct conn *conn, const struct ws_request *request, bool subscribes)
{
	char words[ADMIT_WORDS];
	if (admit_message(conn->hub->gateway, conn_holder(conn), conn->remote, subscribes, words))
		return true;
	answer_error(conn, request->id, "rate_limited", words);
	return false;
}

/* Who keeps a connection alive pays nothing for it, even when nothing is left. */
static bool pays_for_ping(struct conn *conn, const struct ws_request *request)
{
	const int64_t now = clock_mono_ms();
	if (now < conn->ping_free_ms)
		return pays(conn, request, false);
	conn->ping_free_ms = now + PING_FREE_MS;
	return true;
}

static void unsubscribe(struct conn *conn, const struct ws_request *request)
{
	struct sub *sub = conn->subs;
	while (sub && sub->id != request->subscription)
		sub = sub->next_of_conn;
	if (!sub) {
		if (pays(conn, request, false))
			answer_error(conn, request->id, "subscription_unknown", "this connection has no such subscription");
		return;
	}
	detach(sub); /* was paid for by subscribing */
	answer_begin(conn->hub, request->id, "result");
	put_bool(&conn->hub->text, "unsubscribed", true);
	answer_end(conn);
}

void sub_request(struct conn *conn, struct bytes message)
{
	struct ws_request request;
	struct error err = { 0 };
	arena_reset(conn->hub->arena);
	const bool understood = ws_request_read(message, conn->hub->arena, &request, &err) == 0;
	if (!conn_may_ask(conn, &request, understood))
		return;
	if (!understood) {
		if (pays(conn, &request, false))
			answer_error(conn, request.id, "invalid_request", err.text);
		return;
	}
	switch (request.method) {
	case WS_SUBSCRIBE:
		if (pays(conn, &request, true))
			sub_open(conn, &request.subscribe, request.id);
		return;
	case WS_UNSUBSCRIBE:
		unsubscribe(conn, &request);
		return;
	case WS_AUTHENTICATE:
		conn_authenticate(conn, &request);
		return;
	case WS_PING:
		if (!pays_for_ping(conn, &request))
			return;
		answer_begin(conn->hub, request.id, "result");
		put_bool(&conn->hub->text, "pong", true);
		put_i64(&conn->hub->text, "time_ms", clock_wall_ms());
		answer_end(conn);
		return;
	}
}

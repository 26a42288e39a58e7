/* webhook_send.c - messages to receivers: what is due is signed and sent; what became of it is written down. */
#include "webhook/webhook_internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ENDPOINT_MAX 8      /* messages of one endpoint under way */
#define SOON_MS 200         /* the next look while something is under way */
#define IDLE_MS 1000

static void on_posted(const struct webhook_result *result, void *arg)
{
	struct webhook_flight *flight = arg;
	struct webhooks *w = flight->webhooks;
	flight->result = *result;
	flight->done = true;
	metric_observe(metrics_get(w->gateway->metrics, "weir_webhook_post_seconds", NULL, NULL, NULL), (double)result->took_ms / 1000);
}

/* ---- sending ----------------------------------------------------------------------------------------------------------------------------- */

static void send_one(struct webhooks *w, struct webhook_endpoint *e, const struct pg_result *r, size_t row)
{
	struct buf signature = BUF_INIT(4096);
	struct error err = { 0 };
	struct webhook_post post = { .url = e->url, .id = pg_get_text(r, row, 2), .timestamp = clock_wall_ms() / 1000, .body = pg_get_bytes(r, row, 3) };
	struct webhook_flight *flight = xmalloc(sizeof *flight);
	*flight = (struct webhook_flight){ .webhooks = w,
					   .delivery = pg_get_i64(r, row, 0),
					   .endpoint = e->id,
					   .tries = pg_get_i64(r, row, 4),
					   .failing = pg_get_bool(r, row, 5),
					   .next = w->flights };
	w->flights = flight;
	w->flight_count++;
	e->in_flight++;
	if (e->secret_count == 0)
		error_set(&err, WEIR_INVALID, "no secret of the endpoint opens: webhooks.encryption_key is not the one that they were stored with");
	else
		webhook_sign(e->secrets, e->secret_count, post.id, post.timestamp, post.body, &signature, &err);
	if (err.code) {
		snprintf(flight->result.error, sizeof flight->result.error, "%s", err.text);
		flight->done = true;
	} else {
		post.signature = buf_str(&signature);
		webhook_poster_start(w->poster, &post, on_posted, flight);
	}
	buf_free(&signature);
}

static char *list_flights(const struct webhooks *w)
{
	struct buf ids = BUF_INIT(w->flight_count * 24 + 8);
	buf_add_byte(&ids, '[');
	for (const struct webhook_flight *f = w->flights; f; f = f->next)
		buf_printf(&ids, "%s%" PRId64, f == w->flights ? "" : ",", f->delivery);
	buf_add_byte(&ids, ']');
	return (char *)buf_detach(&ids);
}

void webhook_send_due(struct webhooks *w)
{
	struct pg_result *r = NULL;
	struct error err = { 0 };
	int64_t now = clock_mono_ms(), next = -1;
	size_t most = (size_t)w->gateway->config->webhooks.max_in_flight;
	if (now < w->send_at_ms || w->flight_count >= most)
		return;
	w->send_at_ms = now + SOON_MS;
	/* What is sent must be over before another gateway may take the endpoint. */
	if (!w->endpoints || now + w->timeout_ms >= w->leased_until_ms)
		return;
	char *flights = list_flights(w);
	int code = webhook_store_due(w->pg, w->owner, flights, ENDPOINT_MAX, &r, &err);
	free(flights);
	for (size_t i = 0; !code && i < pg_rows(r) && w->flight_count < most; i++) {
		struct webhook_endpoint *e = webhook_find(w, pg_get_i64(r, i, 1));
		if (e && e->in_flight < ENDPOINT_MAX && now >= e->paused_until_ms)
			send_one(w, e, r, i);
	}
	pg_result_free(&r);
	if (!code && w->flight_count == 0)
		code = webhook_store_next_due_ms(w->pg, w->owner, &next, &err);
	webhook_database(w, code, &err);
	if (!code && w->flight_count == 0)
		w->send_at_ms = now + (next < 0 || next > IDLE_MS ? IDLE_MS : next < SOON_MS && next > 0 ? next : SOON_MS);
}

/* ---- what became of it --------------------------------------------------------------------------------------------------------------------- */

static void judge(const struct webhooks *w, const struct webhook_flight *f, struct webhook_tried *ret)
{
	enum webhook_verdict verdict = webhook_verdict_of(f->result.status);
	*ret = (struct webhook_tried){ .delivery = f->delivery,
				       .endpoint = f->endpoint,
				       .state = "delivered",
				       .counts = true,
				       .took_ms = f->result.took_ms,
				       .status = f->result.status,
				       .error = f->result.error,
				       .gone = verdict == VERDICT_GONE };
	if (verdict == VERDICT_DELIVERED)
		return;
	/* A probe of a failing endpoint takes nothing from the message's tries: it is not the message's fault. */
	ret->counts = !f->failing;
	ret->wait_ms = f->failing ? 0 : webhook_wait_ms(&w->schedule, (unsigned)f->tries + 1, f->result.retry_after_ms, random_u64());
	ret->state = ret->wait_ms < 0 || ret->gone ? "failed" : "pending";
}

static void tell(struct webhooks *w, const struct webhook_endpoint *e, const struct webhook_tried *t, bool failing, int64_t failures)
{
	char key[WEBHOOK_CONTEXT], host[256];
	const char *who = webhook_context(e->id, key);
	log_url(e->url, host);
	if (t->gone)
		alert_raise(w->gateway->ctx, who, ALERT_FIRING, "webhooks", "%s (%s) is disabled: the receiver answered 410", who, host);
	else if (failing && !e->failing)
		alert_raise(w->gateway->ctx, who, ALERT_FIRING, "webhooks", "%s (%s) failed %" PRId64 " times in a row: %s", who, host, failures, t->error);
	else if (!failing && e->failing)
		alert_raise(w->gateway->ctx, who, ALERT_RESOLVED, "webhooks", "%s (%s) takes messages again", who, host);
}

/* Endpoints before their deliveries, as everybody locks them: an operator who enables one has it and waits for its deliveries. */
static int hold_endpoints(struct webhooks *w, struct error *err)
{
	struct buf ids = BUF_INIT(w->flight_count * 24 + 8);
	buf_add_byte(&ids, '[');
	for (const struct webhook_flight *f = w->flights; f; f = f->next)
		if (f->done)
			buf_printf(&ids, "%s%" PRId64, ids.size == 1 ? "" : ",", f->endpoint);
	buf_add_byte(&ids, ']');
	int code = webhook_store_hold(w->pg, buf_str(&ids), err);
	buf_free(&ids);
	return code;
}

/* What became of one, into the transaction at hand. */
static int record(struct webhooks *w, struct webhook_flight *f, struct error *err)
{
	const struct config *c = w->gateway->config;
	judge(w, f, &f->tried);
	return webhook_store_tried(w->pg, w->owner, &f->tried, c->webhooks.breaker_failures, c->webhooks.probe_interval_ms, &f->now_failing, &f->now_failures, err);
}

/* It is written down: count it, tell of it, and go on. */
static void recorded(struct webhooks *w, const struct webhook_flight *f)
{
	struct webhook_endpoint *e = webhook_find(w, f->endpoint);
	const struct webhook_tried *t = &f->tried;
	bool pending = strcmp(t->state, "pending") == 0;
	metric_inc(metrics_get(w->gateway->metrics, "weir_webhook_posts_total", pending ? "retried" : t->state, NULL, NULL));
	log_debug(&w->log, "webhook_posted", t->state, LOG_I("endpoint", f->endpoint), LOG_I("delivery", f->delivery), LOG_I("status", f->result.status),
		  LOG_I("milliseconds", f->result.took_ms), LOG_S("error", f->result.error));
	if (!e)
		return;
	tell(w, e, t, f->now_failing, f->now_failures);
	e->failing = f->now_failing;
	e->in_flight--;
	e->pending -= !pending;
	if (f->result.retry_after_ms > 0 && t->wait_ms > 0)
		e->paused_until_ms = clock_mono_ms() + t->wait_ms; /* it asked for room, not for its next message */
}

void webhook_send_record(struct webhooks *w)
{
	struct error err = { 0 };
	size_t n = 0;
	int code = 0;
	for (struct webhook_flight *f = w->flights; f; f = f->next)
		n += f->done;
	if (n == 0)
		return;
	code = pg_begin(w->pg, &err);
	if (!code)
		code = hold_endpoints(w, &err);
	for (struct webhook_flight *f = w->flights; f && !code; f = f->next)
		if (f->done)
			code = record(w, f, &err);
	if (!code)
		code = pg_commit(w->pg, &err);
	if (code)
		pg_rollback(w->pg); /* they stay, and are written down when the database is back */
	webhook_database(w, code, &err);
	for (struct webhook_flight **at = &w->flights; *at && !code;) {
		struct webhook_flight *f = *at;
		if (!f->done) {
			at = &f->next;
			continue;
		}
		recorded(w, f);
		*at = f->next;
		free(f);
		w->flight_count--;
		w->send_at_ms = 0;
	}
}

void webhook_send_drop(struct webhooks *w)
{
	for (struct webhook_flight *next; w->flights; w->flights = next) {
		next = w->flights->next;
		free(w->flights);
	}
	w->flight_count = 0;
}

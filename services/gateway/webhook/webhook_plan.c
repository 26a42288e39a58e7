/* webhook_plan.c - the journal into messages: read piece by piece for each endpoint, written down with the endpoint's new position. */
#include "webhook/webhook_internal.h"


#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define PART_BYTES ((size_t)4 << 20) /* of messages in one transaction, about */
#define PARTS_MAX ((size_t)64 << 20)
#define AGAIN_MS 500
#define CHECK_MS 5000  /* while the journal seems shorter than what was read */
#define STORE_MS 1000  /* a position that moved without messages is written so often */

/* By id and round, because the endpoint may be gone, or elsewhere, when the answer comes. */
static void *ticket_of(const struct webhook_endpoint *e)
{
	return (void *)(uintptr_t)((uint64_t)e->id << 16 | e->round);
}

static void submit(struct webhooks *w, struct webhook_endpoint *e, enum replay_task task)
{
	struct replay_job *job = xmalloc(sizeof *job);
	job->task = task;
	job->chain = e->chain;
	job->topic = e->topic;
	job->filter = e->filter;
	job->offset = e->offset;
	job->height = e->start_height;
	job->trusts = true;
	job->owner = ticket_of(e);
	e->reading = true;
	replay_submit(w->replay, job);
}

static void advance(struct webhooks *w, struct webhook_endpoint *e, int64_t now)
{
	uint64_t newest = atomic_load(&e->chain->sequence);
	if (e->reading || e->lost || now < e->again_ms || atomic_load(&e->chain->id) == 0)
		return;
	if (!e->located)
		submit(w, e, REPLAY_FROM_HEIGHT);
	else if (!e->checked)
		submit(w, e, REPLAY_FROM_OFFSET);
	else if ((newest > e->offset.sequence || e->offset.index >= 0) && e->pending < WEBHOOK_PENDING_MAX)
		submit(w, e, REPLAY_READ);
	else if (newest < e->offset.sequence && now - e->checked_ms > CHECK_MS)
		submit(w, e, REPLAY_FROM_OFFSET); /* another gateway read further than our feed, or the ledger is another one */
}

void webhook_plan_submit(struct webhooks *w)
{
	int64_t now = clock_mono_ms();
	for (struct webhook_endpoint *e = w->endpoints; e; e = e->next)
		advance(w, e, now);
}

void webhook_plan_replayed(struct replay_job *job, void *arg)
{
	struct webhooks *w = arg;
	pthread_mutex_lock(&w->lock);
	struct replay_job **last = &w->replayed;
	while (*last)
		last = &(*last)->next;
	*last = job;
	job->next = NULL;
	pthread_mutex_unlock(&w->lock);
	webhook_poster_wake(w->poster);
}

/* ---- what was read ---------------------------------------------------------------------------------------------------------------------- */

static void put_message(struct buf *out, const struct webhook_message *m, uint64_t sequence, const struct buf *body)
{
	char number[24];
	put_object(out, NULL);
	put_text(out, "m", m->id);
	snprintf(number, sizeof number, "%llu", (unsigned long long)sequence);
	put_raw(out, "s", number);
	put_text(out, "t", m->type);
	put_text(out, "l", m->barrier ? NULL : m->lane);
	put_text(out, "b", buf_str(body));
	put_end(out, '}');
}

/* Messages and position in one transaction. */
static int store(struct webhooks *w, struct webhook_endpoint *e, const struct offset *to, const char *messages, size_t n, struct error *err)
{
	char text[OFFSET_TEXT_MAX];
	offset_print(to, text);
	int code = webhook_store_plan(w->pg, w->owner, e->id, e->stored, text, messages, err);
	if (code)
		return code;
	free(e->stored);
	e->stored = xstrdup(text);
	e->offset = *to;
	e->pending += (int64_t)n;
	e->stored_ms = clock_mono_ms();
	if (n > 0)
		w->send_at_ms = 0;
	return 0;
}

static int store_pushes(struct webhooks *w, struct webhook_endpoint *e, const struct replay_job *job, struct error *err)
{
	const struct webhook_want want = { e->chain_name, e->account, e->asset, e->topic, e->id, e->journal };
	struct buf messages = BUF_INIT(PARTS_MAX), body = BUF_INIT(PARTS_MAX);
	struct offset to = job->offset;
	size_t n = 0;
	int code = 0;
	buf_add_byte(&messages, '[');
	for (size_t i = 0; !code && i < job->count; i++) {
		const struct push *push = &job->pushes[i];
		struct webhook_message message;
		buf_reset(&body);
		code = webhook_message_make(&want, push->at.sequence, push->at.index, (struct bytes){ (const uint8_t *)push->tail->text, push->tail->size },
					    clock_wall_ms(), &message, &body, err);
		if (!code)
			put_message(&messages, &message, push->at.sequence, &body);
		n++;
		bool last = i + 1 == job->count;
		if (code || (!last && messages.size < PART_BYTES))
			continue;
		if (!last) {
			to.sequence = push->at.sequence;
			to.print = push->at.print;
			to.index = push->at.index;
		} else {
			to = job->offset;
		}
		put_end(&messages, ']');
		code = messages.overflow || body.overflow ? error_set(err, WEIR_LIMIT, "a message is larger than %zu bytes", PARTS_MAX) :
							    store(w, e, &to, buf_str(&messages), n, err);
		buf_reset(&messages);
		buf_add_byte(&messages, '[');
		n = 0;
	}
	buf_free(&messages);
	buf_free(&body);
	return code;
}

static int take_piece(struct webhooks *w, struct webhook_endpoint *e, const struct replay_job *job, struct error *err)
{
	if (job->count > 0)
		return store_pushes(w, e, job, err);
	e->offset = job->offset;
	return clock_mono_ms() - e->stored_ms < STORE_MS ? 0 : store(w, e, &job->offset, "[]", 0, err);
}

static int forget(struct webhooks *w, struct webhook_endpoint *e, struct error *err)
{
	static const char why[] = "the ledger was made anew: what was to be delivered spoke of the one before; enable the endpoint to begin again";
	char key[WEBHOOK_CONTEXT];
	log_warn(&w->log, "webhook_disabled", why, LOG_I("endpoint", e->id), LOG_S("chain", e->chain_name));
	alert_raise(w->gateway->ctx, webhook_context(e->id, key), ALERT_FIRING, "webhooks", "webhook endpoint %lld: %s", (long long)e->id, why);
	int code = webhook_store_forget(w->pg, e->id, why, err);
	e->lost = code == 0;
	return code;
}

static int take(struct webhooks *w, struct webhook_endpoint *e, const struct replay_job *job, struct error *err)
{
	switch (job->task) {
	case REPLAY_FROM_HEIGHT:
		e->located = e->checked = true;
		return store(w, e, &job->offset, "[]", 0, err);
	case REPLAY_FROM_OFFSET:
		e->checked = true;
		e->checked_ms = clock_mono_ms();
		return 0;
	case REPLAY_READ:
		return take_piece(w, e, job, err);
	case REPLAY_FROM_NOW: /* not asked for here */
	case REPLAY_SNAPSHOT:
		break;
	}
	return WEIR_INTERNAL;
}

static void take_job(struct webhooks *w, const struct replay_job *job)
{
	struct webhook_endpoint *e = webhook_find(w, (int64_t)((uint64_t)(uintptr_t)job->owner >> 16));
	struct error err = job->error;
	if (!e)
		return;
	e->reading = false;
	if (job->code == WEIR_CANCELED || job->owner != ticket_of(e))
		return;
	int code = job->code ? job->code : take(w, e, job, &err);
	if (job->code == WEIR_NOT_FOUND)
		code = forget(w, e, &err);
	if (!code)
		return;
	e->again_ms = clock_mono_ms() + AGAIN_MS;
	e->located = *e->stored && offset_parse(e->stored, &e->offset, NULL) == 0; /* as written down */
	if (code == WEIR_FENCED)
		w->lease_at_ms = 0;
	else if (job->code == 0)
		webhook_database(w, code, &err);
}

void webhook_plan_take(struct webhooks *w)
{
	for (;;) {
		pthread_mutex_lock(&w->lock);
		struct replay_job *job = w->replayed;
		if (job)
			w->replayed = job->next;
		pthread_mutex_unlock(&w->lock);
		if (!job)
			return;
		take_job(w, job);
		replay_job_free(&job);
	}
}

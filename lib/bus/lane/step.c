/* step.c - the shared lane, settling: what a handler emits, its acknowledgements, retries and dead letters in one atomic script.
 *
 * A step goes out in chunks of whole messages: each message with its emits is atomic, which is all that anybody can see of it. Messages that
 * are just done go in calls of their own, a class at a time, as little as their ids; so do dead letters.
 *
 * Where emits must reach replicas (bus_durability, of the strictest of their topics), the step is not committed before they have. A message's acknowledgement and its emits are in
 * one transaction of Redis, so a replica has both or neither: what a failover loses is pending again there, and the step is sent once more.
 */
#include "bus/lane/step.h"
#include "bus/lane/admission.h"
#include "bus/lane/durability.h"
#include "bus/letter/letters.h"
#include "bus/message/tracing.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define CHUNK_MESSAGES 256
#define DONE_MESSAGES 1024
#define CHUNK_BYTES (16u << 20)
#define STEP_BYTES (256u << 20)

struct bus_step *bus_step_begin(struct bus_worker *w)
{
	struct bus_step *s = xmalloc(sizeof *s);
	s->w = w;
	s->bytes = (struct buf)BUF_INIT(STEP_BYTES);
	s->places = xcalloc(w->batch.count + 1, sizeof *s->places);
	s->place_count = w->batch.count;
	return s;
}

void bus_step_abort(struct bus_step **step)
{
	if (!step || !*step)
		return;
	for (size_t i = 0; i < (*step)->emit_count; i++)
		free((*step)->emits[i].traced);
	free((*step)->messages);
	free((*step)->emits);
	free((*step)->places);
	buf_free(&(*step)->bytes);
	xfree(step);
}

static bool same_message(const struct settled *t, const struct bus_message *m)
{
	return t->klass == m->klass && strcmp(t->id, m->id) == 0 && strcmp(t->letter, m->letter) == 0;
}

/* The messages are those of the batch, most often: looked up by where they stand in it. */
static size_t find_message(struct bus_step *s, const struct bus_message *m)
{
	const struct bus_message *batch = s->w->batch.messages;
	size_t *place = batch && m >= batch && m < batch + s->place_count ? &s->places[m - batch] : NULL;
	if (place && *place && same_message(&s->messages[*place - 1], m))
		return *place - 1;
	for (size_t i = place && !s->copies ? 0 : s->count; i > 0; i--)
		if (same_message(&s->messages[i - 1], m))
			return i - 1;
	s->copies = s->copies || !place || *place;
	if (place)
		*place = s->count + 1;
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? s->capacity * 2 : 64;
		s->messages = xrealloc(s->messages, s->capacity, sizeof *s->messages);
	}
	struct settled *new = &s->messages[s->count];
	memset(new, 0, sizeof *new);
	memcpy(new->id, m->id, sizeof new->id);
	memcpy(new->letter, m->letter, sizeof new->letter);
	snprintf(new->key, sizeof new->key, "%.*s", (int)m->frame.key.size, m->frame.key.size ? (const char *)m->frame.key.data : "");
	new->klass = m->klass;
	new->type = m->frame.type;
	new->attempts = m->attempts;
	return s->count++;
}

void bus_step_emit(struct bus_step *s, const struct bus_message *cause, const char *topic, const struct frame *frame)
{
	if (s->emit_count == s->emit_capacity) {
		s->emit_capacity = s->emit_capacity ? s->emit_capacity * 2 : 64;
		s->emits = xrealloc(s->emits, s->emit_capacity, sizeof *s->emits);
	}
	int klass = message_type_class(frame->type);
	struct emit *e = &s->emits[s->emit_count++];
	memset(e, 0, sizeof *e);
	size_t index = find_message(s, cause); /* may move the array */
	struct settled *t = &s->messages[index];
	*(t->emits++ ? &s->emits[t->last_emit - 1].next : &t->first_emit) = s->emit_count;
	t->last_emit = s->emit_count;
	snprintf(e->topic, sizeof e->topic, "%s", topic);
	e->klass = (uint8_t)(klass < 0 ? 2 : klass);
	struct frame sent = *frame;
	bus_trace_message(s->w->bus, &sent, t->emits);
	if (s->w->bus->options.spans && (sent.trace_flags & 1)) {
		e->traced = xmemdup((const struct frame[]){ *frame, sent }, 2 * sizeof sent);
		e->begin_ns = clock_wall_ns();
	}
	e->offset = s->bytes.size;
	frame_write(&sent, &s->bytes);
	e->size = s->bytes.size - e->offset;
}

/* The letter that the message would become; frame: its bytes as read, or NULL to write them again. */
static void prepare_letter(struct bus_step *s, struct settled *t, const struct bus_message *m, const struct bytes *frame, const struct error *why)
{
	const struct bus_worker *w = s->w;
	if (t->outcome == BUS_REJECT && !*t->letter) {
		struct buf whole = BUF_INIT(2ul * FRAME_BODY_MAX);
		if (!frame)
			frame_write(&m->frame, &whole);
		t->base_offset = s->bytes.size;
		bus_letter_pack(w->chain, w->topic, w->subscription, m, frame ? *frame : (struct bytes){ whole.data, whole.size }, "head", &s->bytes);
		t->base_size = s->bytes.size - t->base_offset;
		buf_free(&whole);
	}
	t->fragment_offset = s->bytes.size;
	bus_attempt_pack(w->bus, why, &s->bytes);
	t->fragment_size = s->bytes.size - t->fragment_offset;
}

/* When the lane's policy says so; false: no more. */
static bool decide_retry(const struct bus_step *s, const struct bus_message *m, int64_t *ret_due_ms)
{
	int64_t now = clock_mono_ms();
	return *ret_due_ms != 0 || retry_next(&s->w->policy, m->attempts + 1, now, now, random_u64(), ret_due_ms);
}

static void settle(struct bus_step *s, const struct bus_message *m, enum bus_outcome outcome, const struct bytes *frame, const struct error *why)
{
	size_t index = find_message(s, m); /* may move the array */
	struct settled *t = &s->messages[index];
	t->settled = true;
	t->outcome = outcome;
	t->code = why ? why->code : WEIR_INTERNAL;
	if (outcome == BUS_RETRY && !decide_retry(s, m, &t->due_ms))
		t->outcome = BUS_REJECT;
	if (t->outcome == BUS_RETRY || t->outcome == BUS_REJECT)
		prepare_letter(s, t, m, frame, why);
}

static void count_attempt(const struct bus_step *s, const struct bus_message *m, enum bus_outcome outcome, const struct error *why)
{
	if (!s->w->has_handlers)
		bus_tally_attempt(&s->w->tally, m->frame.type, outcome == BUS_DONE ? 0 : why ? why->code : WEIR_INTERNAL, m->attempts);
}

void bus_step_settle(struct bus_step *s, const struct bus_message *m, enum bus_outcome outcome, const struct error *why)
{
	settle(s, m, outcome, NULL, why);
	count_attempt(s, m, outcome, why);
}

void bus_step_retry(struct bus_step *s, const struct bus_message *m, int64_t due_ms, const struct error *why)
{
	size_t index = find_message(s, m); /* may move the array */
	s->messages[index].due_ms = due_ms > 0 ? due_ms : 1;
	settle(s, m, BUS_RETRY, NULL, why);
	count_attempt(s, m, BUS_RETRY, why);
}

/* -- committing ---------------------------------------------------------------------------------------------------------------- */

static const char *outcome_word(enum bus_outcome outcome)
{
	return outcome == BUS_DONE ? "done" : outcome == BUS_REJECT ? "reject" : "retry";
}

static void add_part(const struct bus_step *s, struct bus_args *a, size_t offset, size_t size)
{
	bus_args_add_bytes(a, size ? (struct bytes){ s->bytes.data + offset, size } : (struct bytes){ NULL, 0 });
}

/* Order as weir.lua's step wants it. Returns how many bytes that is. */
static size_t add_message_args(const struct bus_step *s, size_t i, struct bus_args *a)
{
	const struct settled *t = &s->messages[i];
	size_t n = t->outcome == BUS_DONE ? t->emits : 0, bytes = t->base_size + t->fragment_size;
	bus_args_add(a, s->w->topic);
	bus_args_add(a, bus_classes[t->klass]);
	bus_args_add(a, t->id);
	bus_args_add(a, t->letter);
	bus_args_add(a, outcome_word(t->outcome));
	bus_args_add(a, t->key);
	bus_args_add(a, message_type_name(t->type));
	bus_args_add(a, error_name(t->code));
	bus_args_add_u64(a, t->attempts + 1u);
	add_part(s, a, t->base_offset, t->base_size);
	add_part(s, a, t->fragment_offset, t->fragment_size);
	bus_args_add_u64(a, n);
	for (size_t at = t->first_emit; n > 0 && at > 0; at = s->emits[at - 1].next) {
		const struct emit *e = &s->emits[at - 1];
		bus_args_add(a, e->topic);
		bus_args_add(a, bus_classes[e->klass]);
		add_part(s, a, e->offset, e->size);
		bytes += e->size;
	}
	return bytes;
}

/* Pauses the lane: longer each time, until something succeeds. */
static void pause_lane(struct bus_worker *w)
{
	if (clock_mono_ms() < w->pause_ms)
		return; /* another message of this step did */
	struct backoff b = { w->policy.base_ms > 0 ? w->policy.base_ms : 100, w->policy.max_ms > 0 ? w->policy.max_ms : 30000, w->pauses };
	w->pause_ms = clock_mono_ms() + backoff_next_ms(&b) + 1;
	w->pauses = b.attempts;
	bus_count(w->bus, "weir_bus_paused_total", w->chain, w->topic, w->subscription, 1);
}

void bus_step_remember(struct bus_worker *w, const struct settled *t, bool ours)
{
	const char *name = !ours ? "weir_bus_not_ours_total" : t->outcome == BUS_DONE ? "weir_bus_done_total" : NULL;
	bool keep = ours && (t->outcome == BUS_RETRY || t->outcome == BUS_DEPENDENCY_DOWN);
	struct held *h = keep ? bus_worker_hold(w, t->id, t->letter, t->klass) : bus_worker_held(w, t->id, t->letter, t->klass);
	if (name)
		bus_count(w->bus, name, w->chain, w->topic, w->subscription, 1);
	if (ours && t->outcome == BUS_RETRY)
		bus_tally_add(&w->tally, t->type, t->code, TALLY_RETRIED, 1);
	if (ours && t->outcome == BUS_REJECT && !*t->letter && !w->bus->transport) /* a transport counts the letters that it stores */
		bus_tally_add(&w->tally, t->type, t->code, TALLY_PARKED, 1);
	if (ours && t->outcome == BUS_DONE)
		w->pauses = 0;
	if (t->outcome == BUS_DEPENDENCY_DOWN)
		pause_lane(w);
	if (!h)
		return; /* nothing to keep, or no room: it stays pending and comes back by the sweep */
	if (!keep) {
		bus_worker_unhold(w, h);
		return;
	}
	h->attempts = t->attempts + (t->outcome == BUS_RETRY);
	h->due_ms = t->outcome == BUS_RETRY ? t->due_ms : w->pause_ms;
	h->suspect = h->in_hand = false;
}

static bool goes_out(const struct settled *t)
{
	return t->settled && !t->done && t->outcome != BUS_DEPENDENCY_DOWN;
}

void bus_step_tell_emits(const struct bus_step *s, const struct settled *t)
{
	for (size_t at = t->first_emit; at > 0; at = s->emits[at - 1].next) {
		const struct emit *e = &s->emits[at - 1];
		if (e->traced)
			bus_tell_message(s->w->bus, s->w->chain, e->topic, true, &e->traced[0], &e->traced[1], e->begin_ns);
	}
}

/* Is there room for what these emit? */
static int admit_emits(struct bus_step *s, size_t from, size_t to, struct error *err)
{
	struct bus_worker *w = s->w;
	const struct emit *worst = NULL;
	int r = 0;
	for (size_t i = from; i < to; i++)
		for (size_t at = goes_out(&s->messages[i]) ? s->messages[i].first_emit : 0; at > 0 && r == 0; at = s->emits[at - 1].next) {
			const struct emit *e = &s->emits[at - 1];
			worst = !worst || e->klass > worst->klass ? e : worst;
			const struct bus_durability d = bus_durability_of(w->bus, e->topic);
			r = bus_admit_age(w->bus, w->chain, e->topic, e->klass, err);
			if (r == 0)
				r = bus_durability_check(w->bus, w->chain, &d, err);
		}
	return r != 0 || !worst ? r : bus_admit_memory(w->bus, w->chain, worst->topic, worst->klass, err);
}

static int commit_chunk(struct bus_step *s, size_t from, size_t *ret_to, struct error *err)
{
	struct bus_worker *w = s->w;
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	size_t bytes = 0, to = from, n = 0;
	bus_call(&a, "step", w->anchor);
	bus_args_add(&a, w->bus->run);
	bus_args_add(&a, w->subscription);
	bus_args_add_u64(&a, (uint64_t)w->bus->options.max_backlog);
	bus_args_add(&a, w->consumer);
	bus_args_add_u64(&a, REPLAY_HOLD_MS);
	for (; to < s->count && (to == from || (bytes < CHUNK_BYTES && to - from < CHUNK_MESSAGES)); to++)
		if (goes_out(&s->messages[to])) {
			bytes += add_message_args(s, to, &a);
			n++;
		}
	int r = admit_emits(s, from, to, err);
	if (r == 0 && n > 0)
		r = bus_run(w->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	for (size_t i = from, k = 0; i < to && r == 0; i++) {
		struct settled *t = &s->messages[i];
		if (!t->settled || t->done)
			continue;
		bool ours = !goes_out(t) || (reply && k < reply->elements && reply->element[k++]->integer == 1);
		bus_step_remember(w, t, ours);
		t->emitted = ours && t->outcome == BUS_DONE && t->emits > 0;
		t->done = true;
	}
	if (r == 0 && reply && !*s->run)
		memcpy(s->run, w->bus->run, sizeof s->run);
	freeReplyObject(reply);
	*ret_to = to;
	return r;
}

/* What was emitted by another server than the one that says so now may be lost, with its acknowledgements: it goes out again. */
static int emit_again(struct bus_step *s, struct error *err)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->messages[i].emitted)
			s->messages[i].done = s->messages[i].emitted = false;
	s->run[0] = 0;
	return error_set(err, WEIR_UNAVAILABLE, "subscription %s: another server answers before replicas had what a step emitted: commit it again",
			 s->w->subscription);
}

/* What must hold of all that was emitted. */
static struct bus_durability strictest(const struct bus_step *s)
{
	struct bus_durability all = { .topic = "" };
	for (size_t i = 0; i < s->count; i++)
		for (size_t at = s->messages[i].emitted ? s->messages[i].first_emit : 0; at > 0; at = s->emits[at - 1].next) {
			const struct bus_durability d = bus_durability_of(s->w->bus, s->emits[at - 1].topic);
			bus_durability_join(&all, &d);
		}
	return all;
}

/* 0 once so many replicas have what was emitted. */
static int wait_for_replicas(struct bus_step *s, const struct bus_durability *d, struct error *err)
{
#ifdef WEIR_MUTANT_NO_WAIT
	return 0;
#endif
	struct bus_args a[2] = { 0 };
	redisReply *replies[2] = { NULL };
	bus_args_add(&a[0], "SET"); /* WAIT is for the connection's own writes: this one is behind all that came before */
	bus_args_add_format(&a[0], WAITED_KEY_FORMAT, s->w->chain, s->w->subscription);
	bus_args_add(&a[0], s->w->consumer);
	bus_args_add(&a[1], "WAIT");
	bus_args_add_u64(&a[1], (uint64_t)d->replicas);
	bus_args_add_u64(&a[1], (uint64_t)d->wait_ms);
	int r = bus_run_many(s->w->bus, a, 2, replies, err);
	for (int i = 0; i < 2 && r == 0; i++)
		r = bus_reply_error(s->w->bus, replies[i], "WAIT", err);
	if (r == 0 && strcmp(s->run, s->w->bus->run) != 0)
		r = emit_again(s, err);
	else if (r == 0 && replies[1]->integer < d->replicas)
		r = error_set(err, WEIR_UNAVAILABLE, "subscription %s: %lld of %lld replicas have what a step emitted after %lld ms: commit it again",
			      s->w->subscription, replies[1]->integer, (long long)d->replicas, (long long)d->wait_ms);
	for (int i = 0; i < 2; i++) {
		bus_args_free(&a[i]);
		freeReplyObject(replies[i]);
	}
	return r;
}

static int confirm_emits(struct bus_step *s, struct error *err)
{
	const struct bus_durability d = strictest(s);
	int r = bus_durability_check(s->w->bus, s->w->chain, &d, err);
	if (r == 0 && d.replicas > 0)
		r = wait_for_replicas(s, &d, err);
	for (size_t i = 0; i < s->count && r == 0; i++)
		if (s->messages[i].emitted)
			bus_step_tell_emits(s, &s->messages[i]);
	return r;
}

static bool nothing_came_of(const struct settled *t)
{
	return t->settled && !t->done && t->outcome == BUS_DONE && t->emits == 0;
}

static bool just_done(const struct settled *t)
{
	return nothing_came_of(t) && !*t->letter;
}

static bool just_replayed(const struct settled *t)
{
	return nothing_came_of(t) && *t->letter;
}

static void add_done(const struct bus_step *s, struct bus_args *a, uint8_t klass, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (s->messages[i].klass == klass && just_done(&s->messages[i]))
			bus_args_add(a, s->messages[i].id);
}

/* By plain XACK: a script's ids cost as much again. */
static int acknowledge(struct bus_step *s, uint8_t klass, size_t from, size_t to, uint64_t *ret_ours, struct error *err)
{
	struct bus_worker *w = s->w;
	struct bus_args a[2] = { 0 };
	redisReply *replies[2] = { NULL };
	bus_call(&a[1], "acknowledged", w->anchor);
	bus_args_add(&a[1], w->topic);
	bus_args_add(&a[1], w->subscription);
	bus_args_add(&a[1], bus_classes[klass]);
	bus_args_add(&a[0], "XACK");
	bus_args_add_format(&a[0], STREAM_KEY_FORMAT, w->chain, w->topic, bus_classes[klass]);
	bus_args_add(&a[0], w->subscription);
	add_done(s, &a[0], klass, from, to);
	int r = bus_run_many(w->bus, a, 2, replies, err);
	for (int i = 0; i < 2 && r == 0; i++)
		if (replies[i]->type != REDIS_REPLY_INTEGER)
			w->ids_needed = true; /* whatever it was, the script says it */
	if (r == 0 && !w->ids_needed)
		w->ids_needed = replies[1]->integer != 0;
	if (r == 0 && replies[0]->type == REDIS_REPLY_INTEGER)
		*ret_ours = (uint64_t)replies[0]->integer;
	for (int i = 0; i < 2; i++) {
		freeReplyObject(replies[i]);
		bus_args_free(&a[i]);
	}
	return r;
}

/* With their ids in the script's hands. */
static int settle_done(struct bus_step *s, uint8_t klass, size_t from, size_t to, uint64_t *ret_ours, struct error *err)
{
	struct bus_worker *w = s->w;
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	bus_call(&a, "done", w->anchor);
	bus_args_add(&a, w->topic);
	bus_args_add(&a, w->subscription);
	bus_args_add(&a, bus_classes[klass]);
	add_done(s, &a, klass, from, to);
	int r = bus_run(w->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r == 0 && reply->elements == 2) {
		*ret_ours += (uint64_t)reply->element[0]->integer;
		w->ids_needed = reply->element[1]->integer != 0;
	}
	freeReplyObject(reply);
	return r;
}

/* As many just done of the class as go into one call, from *from on. */
static int commit_done(struct bus_step *s, uint8_t klass, size_t *from, struct error *err)
{
	struct bus_worker *w = s->w;
	uint64_t ours = 0;
	size_t n = 0, to = *from;
	int r = 0;
	for (; to < s->count && n < DONE_MESSAGES; to++)
		n += s->messages[to].klass == klass && just_done(&s->messages[to]);
	if (n > 0 && !w->ids_needed)
		r = acknowledge(s, klass, *from, to, &ours, err);
	if (r == 0 && n > 0 && w->ids_needed)
		r = settle_done(s, klass, *from, to, &ours, err);
	if (r != 0)
		return r;
	for (size_t i = *from; i < to; i++) {
		struct settled *t = &s->messages[i];
		if (t->klass != klass || !just_done(t))
			continue;
		struct held *h = w->held_count ? bus_worker_held(w, t->id, t->letter, klass) : NULL;
		if (h)
			bus_worker_unhold(w, h);
		t->done = true;
	}
	bus_count(w->bus, "weir_bus_done_total", w->chain, w->topic, w->subscription, ours);
	bus_count(w->bus, "weir_bus_not_ours_total", w->chain, w->topic, w->subscription, n - ours);
	if (ours > 0)
		w->pauses = 0;
	*from = to;
	return 0;
}

/* As many letters that were just replayed as go into one call, from *from on. */
static int commit_replayed(struct bus_step *s, size_t *from, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	size_t n = 0, to = *from;
	bus_call(&a, "letters_done", s->w->anchor);
	bus_args_add(&a, s->w->subscription);
	for (; to < s->count && n < DONE_MESSAGES; to++)
		if (just_replayed(&s->messages[to])) {
			bus_args_add(&a, s->messages[to].letter);
			n++;
		}
	int r = n > 0 ? bus_run(s->w->bus, &a, 0, &reply, err) : 0;
	bus_args_free(&a);
	for (size_t i = *from, k = 0; i < to && r == 0; i++) {
		struct settled *t = &s->messages[i];
		if (!just_replayed(t))
			continue;
		bus_step_remember(s->w, t, k < reply->elements && reply->element[k]->integer == 1);
		t->done = true;
		k++;
	}
	freeReplyObject(reply);
	if (r == 0)
		*from = to;
	return r;
}

int bus_step_commit(struct bus_step **step, struct error *err)
{
	struct bus_step *s = *step;
	struct bus_worker *w = s->w;
	if (s->bytes.overflow)
		return error_set(err, WEIR_LIMIT, "a step of subscription %s emits more than %u MiB, or a message of more than %u MiB",
				 w->subscription, STEP_BYTES >> 20, FRAME_BODY_MAX >> 20);
	if (w->bus->transport) {
		int r = w->bus->transport->step_commit(s, err);
		if (r == 0)
			bus_step_abort(step);
		return r;
	}
	for (uint8_t c = 0; c < CLASSES; c++)
		for (size_t done = 0; done < s->count;) {
			int r = commit_done(s, c, &done, err);
			if (r != 0)
				return r;
		}
	for (size_t done = 0; done < s->count;) {
		int r = commit_replayed(s, &done, err);
		if (r != 0)
			return r;
	}
	for (size_t done = 0; done < s->count;) {
		int r = commit_chunk(s, done, &done, err);
		if (r != 0) {
			if (r == WEIR_FULL)
				bus_count(w->bus, "weir_bus_full_total", w->chain, w->topic, w->subscription, 1);
			return r; /* what went through is marked; the rest goes with the next call */
		}
	}
	int r = confirm_emits(s, err);
	if (r == 0)
		bus_step_abort(step);
	return r;
}

int bus_worker_park(struct bus_worker *w, const struct bus_message *m, struct bytes frame, const struct error *why, struct error *err)
{
	struct bus_step *s = bus_step_begin(w);
	settle(s, m, BUS_REJECT, &frame, why);
	int r = bus_step_commit(&s, err);
	bus_step_abort(&s);
	return r;
}

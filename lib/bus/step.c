/* step.c - the shared lane, settling: what a handler emits, its acknowledgements, retries and dead letters in one atomic script.
 *
 * A step goes out in chunks of whole messages: each message with its emits is atomic, which is all that anybody can see of it.
 */
#include "bus/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define CHUNK_MESSAGES 256
#define CHUNK_BYTES (16u << 20)
#define STEP_BYTES (256u << 20)

struct emit {
	size_t cause; /* index into messages */
	char topic[32];
	uint8_t klass;
	size_t offset, size; /* in bytes */
};

struct settled {
	char id[48], letter[48], key[FRAME_KEY_MAX + 1];
	uint8_t klass;
	uint16_t type;
	uint32_t attempts;
	enum bus_outcome outcome;
	bool settled, done; /* by the caller; in Redis */
	int code;
	size_t base_offset, base_size;         /* the letter without its failures */
	size_t fragment_offset, fragment_size; /* this failure */
};

struct bus_step {
	struct bus_worker *w;
	struct settled *messages;
	size_t count, capacity;
	struct emit *emits;
	size_t emit_count, emit_capacity;
	struct buf bytes;
};

struct bus_step *bus_step_begin(struct bus_worker *w)
{
	struct bus_step *s = xmalloc(sizeof *s);
	s->w = w;
	s->bytes = (struct buf)BUF_INIT(STEP_BYTES);
	return s;
}

void bus_step_abort(struct bus_step **step)
{
	if (!step || !*step)
		return;
	free((*step)->messages);
	free((*step)->emits);
	buf_free(&(*step)->bytes);
	xfree(step);
}

static size_t find_message(struct bus_step *s, const struct bus_message *m)
{
	for (size_t i = s->count; i > 0; i--)
		if (s->messages[i - 1].klass == m->klass && strcmp(s->messages[i - 1].id, m->id) == 0 &&
		    strcmp(s->messages[i - 1].letter, m->letter) == 0)
			return i - 1;
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? s->capacity * 2 : 64;
		s->messages = xrealloc(s->messages, s->capacity, sizeof *s->messages);
	}
	struct settled *new = &s->messages[s->count];
	memset(new, 0, sizeof *new);
	snprintf(new->id, sizeof new->id, "%s", m->id);
	snprintf(new->letter, sizeof new->letter, "%s", m->letter);
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
	e->cause = find_message(s, cause);
	snprintf(e->topic, sizeof e->topic, "%s", topic);
	e->klass = (uint8_t)(klass < 0 ? 2 : klass);
	e->offset = s->bytes.size;
	frame_write(frame, &s->bytes);
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

static void settle(struct bus_step *s, const struct bus_message *m, enum bus_outcome outcome, const struct bytes *frame, const struct error *why)
{
	size_t index = find_message(s, m); /* may move the array */
	struct settled *t = &s->messages[index];
	t->settled = true;
	t->outcome = outcome;
	t->code = why ? why->code : WEIR_INTERNAL;
	if (outcome == BUS_RETRY && (int64_t)m->attempts + 1 >= s->w->policy.attempts)
		t->outcome = BUS_REJECT;
	if (t->outcome == BUS_RETRY || t->outcome == BUS_REJECT)
		prepare_letter(s, t, m, frame, why);
}

void bus_step_settle(struct bus_step *s, const struct bus_message *m, enum bus_outcome outcome, const struct error *why)
{
	settle(s, m, outcome, NULL, why);
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
	size_t n = 0, bytes = t->base_size + t->fragment_size;
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
	bool emits = t->outcome == BUS_DONE;
	for (size_t e = 0; e < s->emit_count && emits; e++)
		n += s->emits[e].cause == i;
	bus_args_add_u64(a, n);
	for (size_t e = 0; e < s->emit_count && n > 0; e++) {
		if (s->emits[e].cause != i)
			continue;
		bus_args_add(a, s->emits[e].topic);
		bus_args_add(a, bus_classes[s->emits[e].klass]);
		add_part(s, a, s->emits[e].offset, s->emits[e].size);
		bytes += s->emits[e].size;
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

/* After the script: the message is gone, or it stays ours until its next try. */
static void remember(struct bus_worker *w, const struct settled *t, bool ours)
{
	static const char *const names[] = { "weir_bus_done_total", "weir_bus_retried_total", NULL, "weir_bus_dead_letters_total" };
	const char *name = ours ? names[t->outcome] : "weir_bus_not_ours_total";
	bool keep = ours && (t->outcome == BUS_RETRY || t->outcome == BUS_DEPENDENCY_DOWN);
	struct held *h = keep ? bus_worker_hold(w, t->id, t->letter, t->klass) : bus_worker_held(w, t->id, t->letter, t->klass);
	if (name)
		bus_count(w->bus, name, w->chain, w->topic, w->subscription, 1);
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
	struct backoff b = { w->policy.base_ms, w->policy.max_ms, t->attempts };
	h->attempts = t->attempts + (t->outcome == BUS_RETRY);
	h->due_ms = t->outcome == BUS_RETRY ? clock_mono_ms() + backoff_next_ms(&b) : w->pause_ms;
	h->suspect = h->in_hand = false;
}

static bool goes_out(const struct settled *t)
{
	return t->settled && !t->done && t->outcome != BUS_DEPENDENCY_DOWN;
}

static int commit_chunk(struct bus_step *s, size_t from, size_t *ret_to, struct error *err)
{
	struct bus_worker *w = s->w;
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	size_t bytes = 0, to = from, n = 0;
	bool emits = false;
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
	for (size_t e = 0; e < s->emit_count; e++)
		emits = emits || (s->emits[e].cause >= from && s->emits[e].cause < to);
	int r = 0;
	if (emits && n > 0 && bus_memory_full(w->bus))
		r = error_set(err, WEIR_FULL, "Redis uses more than %d %% of its maxmemory", (int)w->bus->options.max_memory_percent);
	else if (n > 0)
		r = bus_run(w->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	for (size_t i = from, k = 0; i < to && r == 0; i++) {
		struct settled *t = &s->messages[i];
		if (!t->settled || t->done)
			continue;
		bool ours = !goes_out(t) || (reply && k < reply->elements && reply->element[k++]->integer == 1);
		remember(w, t, ours);
		t->done = true;
	}
	freeReplyObject(reply);
	*ret_to = to;
	return r;
}

int bus_step_commit(struct bus_step **step, struct error *err)
{
	struct bus_step *s = *step;
	struct bus_worker *w = s->w;
	if (s->bytes.overflow)
		return error_set(err, WEIR_LIMIT, "a step of subscription %s emits more than %u MiB, or a message of more than %u MiB", w->subscription,
				 STEP_BYTES >> 20, FRAME_BODY_MAX >> 20);
	for (size_t done = 0; done < s->count;) {
		int r = commit_chunk(s, done, &done, err);
		if (r != 0) {
			if (r == WEIR_FULL)
				bus_count(w->bus, "weir_bus_full_total", w->chain, w->topic, w->subscription, 1);
			return r; /* what went through is marked; the rest goes with the next call */
		}
	}
	bus_step_abort(step);
	return 0;
}

int bus_worker_park(struct bus_worker *w, const struct bus_message *m, struct bytes frame, const struct error *why, struct error *err)
{
	struct bus_step *s = bus_step_begin(w);
	settle(s, m, BUS_REJECT, &frame, why);
	int r = bus_step_commit(&s, err);
	bus_step_abort(&s);
	return r;
}

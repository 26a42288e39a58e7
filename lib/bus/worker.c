/* worker.c - the shared lane: a work queue for messages whose order does not matter, and the atomic step that settles them.
 *
 * States of a message here: read (pending in Redis, ours) -> held (waiting for its next try) -> settled (done or parked). What a
 * process that died had read is taken over by others after CLAIM_IDLE_MS; a message that was read CRASHES_MAX times without being
 * settled has probably killed its readers and is parked.
 */
#include "bus/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define CLAIM_IDLE_MS 30000
#define CLAIM_EVERY_MS 5000
#define CRASHES_MAX 4
#define HOLD_MAX 1024
#define BLOCK_SLICE_MS 200
#define REPLAY_EVERY_MS 500
#define STEP_BYTES (64u << 20)

static const size_t weights[CLASSES] = { 16, 8, 4, 1 };

struct held { /* a message that waits for its next try; owns a copy of its frame */
	int64_t due_ms;
	uint32_t attempts;
	char id[48];
	uint8_t klass;
	struct buf frame;
	char letter[48];
};

struct bus_worker {
	struct bus *bus;
	char *chain, *topic, *subscription;
	char anchor[KEY_MAX];
	struct bus_retry_policy policy;
	struct bus_batch batch;
	struct held *held;
	size_t held_count;
	struct buf due; /* frames of held messages that are being tried now */
	char cursor[CLASSES][48]; /* where taking over from the dead goes on */
	int64_t claim_ms, replay_ms;
	bool grouped;
};

int bus_worker_open(struct bus *bus, const char *chain, const char *topic, const char *subscription, const struct bus_retry_policy *policy,
		    struct bus_worker **ret, struct error *err)
{
	(void)err;
	struct bus_worker *w = xmalloc(sizeof *w);
	w->bus = bus;
	w->chain = xstrdup(chain);
	w->topic = xstrdup(topic);
	w->subscription = xstrdup(subscription);
	bus_anchor(chain, w->anchor);
	w->policy = policy ? *policy : (struct bus_retry_policy){ 3, 100, 30000 };
	w->held = xcalloc(HOLD_MAX, sizeof *w->held);
	w->due = (struct buf)BUF_INIT(FRAME_BODY_MAX * 2ul);
	for (int i = 0; i < CLASSES; i++)
		snprintf(w->cursor[i], sizeof w->cursor[i], "0-0");
	*ret = w;
	return 0;
}

static void held_free(struct held *h)
{
	buf_free(&h->frame);
	memset(h, 0, sizeof *h);
}

void bus_worker_close(struct bus_worker **worker)
{
	struct bus_worker *w = *worker;
	if (!w)
		return;
	for (size_t i = 0; i < w->held_count; i++)
		held_free(&w->held[i]); /* still pending in Redis: taken over by another, attempts are counted there */
	free(w->held);
	bus_batch_free(&w->batch);
	buf_free(&w->due);
	free(w->chain);
	free(w->topic);
	free(w->subscription);
	xfree(worker);
}

static int make_groups(struct bus_worker *w, struct error *err)
{
	struct bus_args a = { 0 };
	bus_call(&a, "weir1_groups", w->anchor);
	bus_args_add(&a, w->topic);
	bus_args_add(&a, w->subscription);
	int r = bus_run(w->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	w->grouped = r == 0;
	return r;
}

/* -- reading --------------------------------------------------------------------------------------------------------------- */

static int klass_of_stream(const struct bus_worker *w, const char *name)
{
	char key[KEY_MAX];
	for (int c = 0; c < CLASSES; c++) {
		bus_stream(w->chain, w->topic, c, key);
		if (strcmp(key, name) == 0)
			return c;
	}
	return -1;
}

static int park_undecodable(struct bus_worker *w, const struct bus_message *m, struct bytes frame, struct error *err);

/* Entries of one stream into the batch; what does not decode is parked here: handlers never see it. */
static int take_entries(struct bus_worker *w, const redisReply *entries, int klass, struct error *err)
{
	for (size_t i = 0; entries && i < entries->elements; i++) {
		struct bytes frame;
		struct bus_message *m = bus_batch_add(&w->batch);
		if (!bus_batch_entry(m, entries->element[i], klass, &frame)) {
			w->batch.count--;
			continue;
		}
		if (m->frame_ok)
			continue;
		struct bus_message bad = *m;
		w->batch.count--;
		int r = park_undecodable(w, &bad, frame, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static int read_group(struct bus_worker *w, const size_t counts[CLASSES], int64_t block_ms, struct error *err)
{
	/* COUNT is per stream, so each class is asked by itself unless all may answer the same. */
	for (int c = 0; c < CLASSES; c++) {
		if (counts[c] == 0)
			continue;
		struct bus_args a = { 0 };
		redisReply *reply = NULL;
		char keys[CLASSES][KEY_MAX];
		bus_args_add(&a, "XREADGROUP");
		bus_args_add(&a, "GROUP");
		bus_args_add(&a, w->subscription);
		bus_args_add(&a, w->bus->worker);
		bus_args_add(&a, "COUNT");
		bus_args_add_u64(&a, counts[c]);
		if (block_ms > 0) {
			bus_args_add(&a, "BLOCK");
			bus_args_add_u64(&a, (uint64_t)block_ms);
		}
		bus_args_add(&a, "STREAMS");
		int last = block_ms > 0 ? CLASSES - 1 : c; /* blocking: on all at once */
		for (int k = c; k <= last; k++) {
			bus_stream(w->chain, w->topic, k, keys[k]);
			bus_args_add(&a, keys[k]);
		}
		for (int k = c; k <= last; k++)
			bus_args_add(&a, ">");
		int r = bus_run(w->bus, &a, block_ms, &reply, err);
		bus_args_free(&a);
		if (r == WEIR_NOT_FOUND) { /* NOGROUP: Redis was flushed */
			w->grouped = false;
			return 0;
		}
		if (r != 0)
			return r;
		for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && r == 0; i++)
			r = take_entries(w, reply->element[i]->element[1], klass_of_stream(w, reply->element[i]->element[0]->str), err);
		bus_batch_keep(&w->batch, reply);
		if (r != 0 || block_ms > 0)
			return r;
	}
	return 0;
}

/* Held messages whose time has come. They keep their copy until settled. */
static void take_due(struct bus_worker *w, size_t max)
{
	int64_t now = clock_mono_ms();
	buf_reset(&w->due);
	size_t offsets[HOLD_MAX], n = 0, which[HOLD_MAX];
	for (size_t i = 0; i < w->held_count && n < max && n < HOLD_MAX; i++) {
		if (w->held[i].due_ms > now)
			continue;
		offsets[n] = w->due.size;
		which[n++] = i;
		buf_add(&w->due, w->held[i].frame.data, w->held[i].frame.size);
		w->held[i].due_ms = INT64_MAX; /* being tried */
	}
	for (size_t k = 0; k < n && !w->due.overflow; k++) {
		struct held *h = &w->held[which[k]];
		struct bus_message *m = bus_batch_add(&w->batch);
		snprintf(m->id, sizeof m->id, "%s", h->id);
		snprintf(m->letter, sizeof m->letter, "%s", h->letter);
		m->replay = *h->letter != 0;
		m->klass = h->klass;
		m->attempts = h->attempts;
		(void)bus_parse_id(m->id, &m->generation, &m->sequence);
		m->frame_ok = frame_read((struct bytes){ w->due.data + offsets[k], h->frame.size }, &m->frame, NULL) == 0;
	}
}

/* What consumers that died had read. The cursor is kept between calls, else the tail of a long list is never reached. */
static int claim(struct bus_worker *w, size_t max, struct error *err)
{
	for (int c = 0; c < CLASSES; c++) {
		struct bus_args a = { 0 };
		redisReply *reply;
		char key[KEY_MAX];
		bus_stream(w->chain, w->topic, c, key);
		bus_args_add(&a, "XAUTOCLAIM");
		bus_args_add(&a, key);
		bus_args_add(&a, w->subscription);
		bus_args_add(&a, w->bus->worker);
		bus_args_add_u64(&a, CLAIM_IDLE_MS);
		bus_args_add(&a, w->cursor[c]);
		bus_args_add(&a, "COUNT");
		bus_args_add_u64(&a, max);
		int r = bus_run(w->bus, &a, 0, &reply, err);
		bus_args_free(&a);
		if (r == WEIR_NOT_FOUND) {
			w->grouped = false;
			return 0;
		}
		if (r != 0)
			return r;
		if (reply->elements >= 2) {
			size_t before = w->batch.count;
			snprintf(w->cursor[c], sizeof w->cursor[c], "%s", reply->element[0]->str);
			r = take_entries(w, reply->element[1], c, err);
			bus_count(w->bus, "weir_bus_taken_over_total", w->chain, w->topic, w->subscription, w->batch.count - before);
		}
		bus_batch_keep(&w->batch, reply);
		if (r != 0)
			return r;
	}
	return 0;
}

/* Failures so far of what was taken over, from Redis: the process that counted them is gone. Parks what kills its readers. */
static int load_attempts(struct bus_worker *w, size_t from, struct error *err)
{
	size_t kept = from;
	for (size_t i = from; i < w->batch.count; i++) {
		struct bus_message m = w->batch.messages[i];
		struct bus_args a = { 0 };
		redisReply *reply;
		char key[KEY_MAX], field[128];
		snprintf(key, sizeof key, "%s:att:%s", w->anchor, w->subscription);
		snprintf(field, sizeof field, "%s/%s/%s", w->topic, bus_classes[m.klass], m.id);
		bus_args_add(&a, "HINCRBY");
		bus_args_add(&a, key);
		bus_args_add(&a, field);
		bus_args_add(&a, "1");
		int r = bus_run(w->bus, &a, 0, &reply, err);
		bus_args_free(&a);
		if (r != 0)
			return r;
		m.attempts = (uint32_t)reply->integer;
		freeReplyObject(reply);
		if (m.attempts < CRASHES_MAX) {
			w->batch.messages[kept++] = m;
			continue;
		}
		struct error why = { 0 };
		error_set(&why, WEIR_INTERNAL, "read %u times and never settled: it probably kills its reader", m.attempts);
		struct bus_step *step = bus_step_begin(w);
		bus_step_settle(step, &m, BUS_REJECT, &why);
		r = bus_step_commit(&step, err);
		bus_step_abort(&step);
		if (r != 0)
			return r;
	}
	w->batch.count = kept;
	return 0;
}

static int read_once(struct bus_worker *w, size_t max, int64_t block_ms, struct error *err)
{
	int64_t now = clock_mono_ms();
	int r = w->grouped ? 0 : make_groups(w, err);
	if (r == 0 && now >= w->replay_ms) {
		w->replay_ms = now + REPLAY_EVERY_MS;
		r = bus_take_replays(w->bus, w->chain, w->subscription, max, &w->batch, err);
	}
	if (r == 0 && now >= w->claim_ms && w->grouped) {
		w->claim_ms = now + CLAIM_EVERY_MS;
		size_t before = w->batch.count;
		r = claim(w, max, err);
		if (r == 0)
			r = load_attempts(w, before, err);
	}
	size_t room = max > w->batch.count ? max - w->batch.count : 0, counts[CLASSES];
	for (int c = 0; c < CLASSES; c++)
		counts[c] = room ? (room * weights[c] + weights[0] - 1) / weights[0] : 0;
	if (r == 0 && room > 0 && w->grouped)
		r = read_group(w, counts, 0, err);
	if (r == 0 && w->batch.count == 0 && block_ms > 0 && w->grouped)
		r = read_group(w, (size_t[CLASSES]){ max, 0, 0, 0 }, block_ms, err);
	return r;
}

int bus_worker_read(struct bus_worker *w, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bus_batch_reset(&w->batch);
	*ret_n = 0;
	for (;;) {
		if (bus_canceled(w->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		take_due(w, max);
		int64_t left = deadline - clock_mono_ms();
		int r = read_once(w, max, left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS, err);
		/* What was read before a failure is pending in Redis: hand it out, the failure shows again next time. */
		if (r != 0 && w->batch.count == 0)
			return r;
		if (w->batch.count > 0 || clock_mono_ms() >= deadline)
			break;
	}
	*ret = w->batch.messages;
	*ret_n = w->batch.count;
	bus_count(w->bus, "weir_bus_read_total", w->chain, w->topic, w->subscription, *ret_n);
	return 0;
}

/* -- step ------------------------------------------------------------------------------------------------------------------ */

struct emit {
	size_t cause; /* index into settled */
	const char *topic;
	uint8_t klass;
	size_t offset, size; /* in frames */
};

struct settled {
	char id[48], letter[48], key[FRAME_KEY_MAX + 1];
	uint8_t klass;
	uint16_t type;
	uint32_t attempts;
	enum bus_outcome outcome;
	bool settled, exhausted;
	int code;
	size_t letter_offset, letter_size; /* packed dead letter, in frames */
	size_t frame_offset, frame_size;   /* the message's own frame, for holding; in frames */
	int64_t due_ms;
};

struct bus_step {
	struct bus_worker *w;
	struct settled *messages;
	size_t count, capacity;
	struct emit *emits;
	size_t emit_count, emit_capacity;
	struct buf frames;
};

struct bus_step *bus_step_begin(struct bus_worker *w)
{
	struct bus_step *s = xmalloc(sizeof *s);
	s->w = w;
	s->frames = (struct buf)BUF_INIT(4ul * STEP_BYTES);
	return s;
}

void bus_step_abort(struct bus_step **step)
{
	if (!*step)
		return;
	free((*step)->messages);
	free((*step)->emits);
	buf_free(&(*step)->frames);
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
	*e = (struct emit){ find_message(s, cause), topic, (uint8_t)(klass < 0 ? 2 : klass), s->frames.size, 0 };
	frame_write(frame, &s->frames);
	e->size = s->frames.size - e->offset;
}

void bus_step_settle(struct bus_step *s, const struct bus_message *m, enum bus_outcome outcome, const struct error *why)
{
	struct bus_worker *w = s->w;
	size_t index = find_message(s, m); /* may move the array */
	struct settled *t = &s->messages[index];
	t->settled = true;
	t->outcome = outcome;
	t->code = why ? why->code : 0;
	if (outcome == BUS_DONE)
		return;
	t->frame_offset = s->frames.size;
	bus_frame_bytes(m, &s->frames);
	t->frame_size = s->frames.size - t->frame_offset;
	bool counts = outcome == BUS_RETRY;
	if (counts && m->attempts + 1 >= (uint64_t)w->policy.attempts) {
		t->outcome = BUS_REJECT;
		t->exhausted = true;
	}
	if (t->outcome == BUS_REJECT) {
		struct buf letter = BUF_INIT(FRAME_BODY_MAX * 2ul);
		dead_letter_pack(w->bus, w->chain, w->topic, w->subscription, m,
				 (struct bytes){ s->frames.data + t->frame_offset, t->frame_size }, why, "head", &letter);
		t->letter_offset = s->frames.size;
		buf_add(&s->frames, letter.data, letter.size);
		t->letter_size = letter.size;
		buf_free(&letter);
		return;
	}
	struct backoff b = { w->policy.base_ms, w->policy.max_ms, m->attempts };
	t->due_ms = clock_mono_ms() + backoff_next_ms(&b);
}

static const char *outcome_word(enum bus_outcome outcome)
{
	return outcome == BUS_DONE ? "done" : outcome == BUS_REJECT ? "reject" : "retry";
}

static size_t add_message_args(const struct bus_step *s, size_t i, struct bus_args *a)
{
	const struct settled *t = &s->messages[i];
	bus_args_add(a, s->w->topic);
	bus_args_add(a, bus_classes[t->klass]);
	bus_args_add(a, t->id);
	bus_args_add(a, t->letter);
	bus_args_add(a, outcome_word(t->outcome));
	bus_args_add(a, t->key);
	bus_args_add(a, message_type_name(t->type));
	bus_args_add(a, error_name(t->code));
	bus_args_add_bytes(a, (struct bytes){ s->frames.data + t->letter_offset, t->letter_size });
	size_t n = 0, bytes = t->letter_size;
	for (size_t e = 0; e < s->emit_count; e++)
		n += s->emits[e].cause == i;
	bus_args_add_u64(a, n);
	for (size_t e = 0; e < s->emit_count; e++) {
		if (s->emits[e].cause != i)
			continue;
		bus_args_add(a, s->emits[e].topic);
		bus_args_add(a, bus_classes[s->emits[e].klass]);
		bus_args_add_bytes(a, (struct bytes){ s->frames.data + s->emits[e].offset, s->emits[e].size });
		bytes += s->emits[e].size;
	}
	return bytes;
}

/* The message stays ours and is tried again when it is due; or it is settled and its copy goes. */
static void remember(struct bus_step *s, const struct settled *t)
{
	struct bus_worker *w = s->w;
	struct held *h = NULL;
	for (size_t i = 0; i < w->held_count && !h; i++)
		if (w->held[i].klass == t->klass && strcmp(w->held[i].id, t->id) == 0 && strcmp(w->held[i].letter, t->letter) == 0)
			h = &w->held[i];
	bool keep = t->outcome == BUS_RETRY || t->outcome == BUS_DEPENDENCY_DOWN;
	if (!keep) {
		if (h) {
			held_free(h);
			*h = w->held[--w->held_count];
			memset(&w->held[w->held_count], 0, sizeof *h);
		}
		return;
	}
	if (!h) {
		if (w->held_count == HOLD_MAX)
			return; /* pending in Redis: taken over again after CLAIM_IDLE_MS */
		h = &w->held[w->held_count++];
		snprintf(h->id, sizeof h->id, "%s", t->id);
		snprintf(h->letter, sizeof h->letter, "%s", t->letter);
		h->klass = t->klass;
		h->frame = (struct buf)BUF_INIT(FRAME_BODY_MAX * 2ul);
		buf_add(&h->frame, s->frames.data + t->frame_offset, t->frame_size);
	}
	h->attempts = t->attempts + (t->outcome == BUS_RETRY);
	h->due_ms = t->due_ms;
}

static int commit_some(struct bus_step *s, size_t from, size_t *ret_to, struct error *err)
{
	struct bus_args a = { 0 };
	size_t bytes = 0, i = from;
	bus_call(&a, "weir1_step", s->w->anchor);
	bus_args_add(&a, s->w->subscription);
	bus_args_add_u64(&a, (uint64_t)s->w->bus->options.max_backlog);
	for (; i < s->count && (i == from || (bytes < STEP_BYTES && i - from < 256)); i++)
		if (s->messages[i].settled && s->messages[i].outcome != BUS_DEPENDENCY_DOWN)
			bytes += add_message_args(s, i, &a);
	int r = a.count > 6 ? bus_run(s->w->bus, &a, 0, NULL, err) : 0;
	bus_args_free(&a);
	*ret_to = i;
	return r;
}

int bus_step_commit(struct bus_step **step, struct error *err)
{
	struct bus_step *s = *step;
	struct bus_worker *w = s->w;
	if (s->frames.overflow)
		return error_set(err, WEIR_LIMIT, "one step of subscription %s emits more than %lu bytes", w->subscription, (unsigned long)s->frames.max);
	size_t done = 0;
	while (done < s->count) {
		size_t to;
		int r = commit_some(s, done, &to, err);
		if (r != 0) {
			/* What went through stays settled; the rest is committed by the next call. */
			for (size_t i = 0; i < done; i++)
				s->messages[i].settled = false;
			if (r == WEIR_FULL)
				bus_count(w->bus, "weir_bus_full_total", w->chain, w->topic, w->subscription, 1);
			return r;
		}
		for (size_t i = done; i < to; i++) {
			if (!s->messages[i].settled)
				continue;
			remember(s, &s->messages[i]);
			const char *name = s->messages[i].outcome == BUS_DONE   ? "weir_bus_done_total" :
					   s->messages[i].outcome == BUS_REJECT ? "weir_bus_dead_letters_total" :
										  "weir_bus_retried_total";
			bus_count(w->bus, name, w->chain, w->topic, w->subscription, 1);
		}
		done = to;
	}
	bus_step_abort(step);
	return 0;
}

static int park_undecodable(struct bus_worker *w, const struct bus_message *m, struct bytes frame, struct error *err)
{
	struct error why = { 0 };
	struct frame decoded;
	(void)frame_read(frame, &decoded, &why);
	struct buf letter = BUF_INIT(FRAME_BODY_MAX * 2ul);
	dead_letter_pack(w->bus, w->chain, w->topic, w->subscription, m, frame, &why, "head", &letter);
	struct bus_args a = { 0 };
	bus_call(&a, "weir1_step", w->anchor);
	bus_args_add(&a, w->subscription);
	bus_args_add_u64(&a, (uint64_t)w->bus->options.max_backlog);
	const char *words[] = { w->topic, bus_classes[m->klass], m->id, "", "reject", "", "unknown", error_name(why.code) };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		bus_args_add(&a, words[i]);
	bus_args_add_bytes(&a, (struct bytes){ letter.data, letter.size });
	bus_args_add(&a, "0");
	int r = bus_run(w->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	buf_free(&letter);
	bus_count(w->bus, "weir_bus_dead_letters_total", w->chain, w->topic, w->subscription, 1);
	return r;
}

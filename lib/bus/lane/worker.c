/* worker.c - the shared lane, reading: a work queue for messages whose order does not matter.
 *
 * States of a message: unread -> pending (read by us; its entry stays in the stream) -> [held until its next try -> pending]
 * -> settled: acknowledged, or parked. Leaving pending without being settled:
 *   we stop            -> given back, the next reader has it at once
 *   our process dies   -> the sweep of another worker takes it as soon as our connection is gone, else after CLAIM_IDLE_MS
 *   a reply gets lost  -> found in our own pending list after the connection was made again
 * A message whose readers died twice is handed out alone; when they die once more over it, it is parked.
 */
#include "bus/lane/share.h"
#include "bus/lane/step.h"
#include "bus/letter/letters.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define CLAIM_IDLE_MS 30000
#define DEAD_IDLE_MS 1000
#define SWEEP_EVERY_MS 2000
#define KEEP_EVERY_MS 8000
#define ASK_AGAIN_MS 100 /* when Redis did not say what a held message is */
#define SUSPECT_CLAIMS 2
#define CRASH_CLAIMS 3

int bus_worker_open(struct bus *bus, const char *chain, const char *topic, const char *subscription, const struct retry_policy *policy,
		    struct bus_worker **ret, struct error *err)
{
	static atomic_uint number; /* consumers of one process must differ */
	(void)err;
	struct bus_worker *w = xmalloc(sizeof *w);
	w->bus = bus;
	w->chain = xstrdup(chain);
	w->topic = xstrdup(topic);
	w->subscription = xstrdup(subscription);
	bus_anchor(chain, w->anchor);
	snprintf(w->consumer, sizeof w->consumer, "%.100s/%u", bus->worker, atomic_fetch_add(&number, 1u));
	bus_tally_init(&w->tally, bus, w->chain, w->topic, w->subscription);
	w->policy = policy ? *policy : RETRY_DEFAULT;
	w->recover_evidence = true;
	w->share = xmalloc(sizeof *w->share);
	bus_share_init(w->share);
	for (int c = 0; c < CLASSES; c++)
		w->busy[c] = true;
	if (bus->transport)
		bus->transport->worker_open(w);
	*ret = w;
	return 0;
}

void bus_worker_close(struct bus_worker **worker)
{
	if (!worker || !*worker)
		return;
	struct bus_worker *w = *worker;
	if (w->grouped) {
		struct bus_args a = { 0 };
		struct error ignored;
		bus_call(&a, "give_back", w->anchor);
		bus_args_add(&a, w->topic);
		bus_args_add(&a, w->subscription);
		bus_args_add(&a, w->consumer);
		for (size_t i = 0; i < w->held_count; i++)
			if (*w->held[i].letter)
				bus_args_add(&a, w->held[i].letter);
		for (size_t i = 0; i < w->batch.count; i++)
			if (w->batch.messages[i].replay)
				bus_args_add(&a, w->batch.messages[i].letter);
		(void)bus_run(w->bus, &a, 0, NULL, &ignored); /* else they are taken over */
		bus_args_free(&a);
	}
	if (w->bus->transport)
		w->bus->transport->worker_close(w);
	bus_tally_free(&w->tally);
	bus_batch_free(&w->batch);
	free(w->share);
	free(w->chain);
	free(w->topic);
	free(w->subscription);
	xfree(worker);
}

/* -- entries into the batch ----------------------------------------------------------------------------------------------------- */

static int add_entry(struct bus_worker *w, const redisReply *entry, int klass, uint32_t attempts, struct error *err)
{
	struct bytes frame;
	struct bus_message *m = bus_batch_add(&w->batch);
	bool is_entry = bus_batch_entry(m, entry, klass, &frame);
	m->attempts = attempts;
	if (is_entry && m->frame_ok)
		return 0;
	struct bus_message bad = *m;
	w->batch.count--;
	if (!is_entry)
		return 0;
	struct error why = { 0 };
	struct frame none;
	(void)frame_read(frame, &none, &why);
	return bus_worker_park(w, &bad, frame, &why, err);
}

/* What the sweep and the recovery answer: {class, entry, claims, failures} each. */
static int add_claimed(struct bus_worker *w, const redisReply *rows, struct error *err)
{
	int r = 0;
	uint64_t n = 0;
	for (size_t i = 0; i < rows->elements && r == 0; i++) {
		const redisReply *row = rows->element[i], *entry = row->elements == 4 ? row->element[1] : NULL;
		int klass = entry && row->element[0]->str ? bus_class_of(row->element[0]->str) : -1;
		if (klass < 0 || entry->elements < 2 || !entry->element[0]->str)
			continue;
		const char *id = entry->element[0]->str;
		int64_t claims = row->element[2]->integer;
		uint32_t attempts = (uint32_t)row->element[3]->integer;
		if (bus_worker_held(w, id, "", (uint8_t)klass))
			continue;
		n++;
		if (claims >= CRASH_CLAIMS) {
			struct bus_message m = { 0 };
			struct bytes frame;
			struct error why;
			error_set(&why, WEIR_CRASH, "its readers ended %d times without settling it", (int)claims);
			if (bus_batch_entry(&m, entry, klass, &frame))
				r = bus_worker_park(w, &m, frame, &why, err);
		} else if (claims >= SUSPECT_CLAIMS) {
			struct held *h = bus_worker_hold(w, id, "", (uint8_t)klass);
			if (h) {
				h->suspect = true;
				h->attempts = attempts;
			}
		} else {
			r = add_entry(w, entry, klass, attempts, err);
		}
	}
	bus_count(w->bus, "weir_bus_taken_over_total", w->chain, w->topic, w->subscription, n);
	return r;
}

/* -- sources: due, replays, own leftovers, other's leftovers, the streams --------------------------------------------------------- */

static void begin_call(const struct bus_worker *w, struct bus_args *a, const char *function)
{
	bus_call(a, function, w->anchor);
	bus_args_add(a, w->topic);
	bus_args_add(a, w->subscription);
	bus_args_add(a, w->consumer);
}

static int make_groups(struct bus_worker *w, struct error *err)
{
	struct bus_args a = { 0 };
	bus_call(&a, "groups", w->anchor);
	bus_args_add(&a, w->topic);
	bus_args_add(&a, w->subscription);
	int r = bus_run(w->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	w->grouped = r == 0;
	return r;
}

static int note_suspect(struct bus_worker *w, const struct held *h, struct error *err)
{
	struct bus_args a = { 0 };
	bus_call(&a, "suspect", w->anchor);
	bus_args_add(&a, w->subscription);
	bus_args_add_format(&a, "%s/%s/%s", w->topic, bus_classes[h->klass], h->id);
	int r = bus_run(w->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* Which held messages are to be tried now: all that are due, or one suspect. */
static size_t choose_due(struct bus_worker *w, size_t max, size_t *which, bool *ret_alone)
{
	int64_t now = clock_mono_ms();
	size_t n = 0;
	*ret_alone = false;
	for (size_t i = 0; i < w->held_count; i++) {
		struct held *h = &w->held[i];
		h->in_hand = false; /* of the read before; not settled then: once more */
		if (h->due_ms > now)
			continue;
		if (h->suspect) {
			which[0] = i;
			*ret_alone = true;
			return 1;
		}
		if (n < max)
			which[n++] = i;
	}
	return n;
}

static int take_due(struct bus_worker *w, size_t max, bool *ret_alone, struct error *err)
{
	size_t which[HOLD_MAX], n = choose_due(w, max < HOLD_MAX ? max : HOLD_MAX, which, ret_alone);
	if (n == 0)
		return 0;
	int r = *ret_alone ? note_suspect(w, &w->held[which[0]], err) : 0;
	if (r != 0)
		return r;
	struct bus_args *commands = xcalloc(n, sizeof *commands);
	redisReply **replies = xcalloc(n, sizeof(redisReply *));
	for (size_t i = 0; i < n; i++) {
		const struct held *h = &w->held[which[i]];
		const char *id = *h->letter ? h->letter : h->id;
		if (*h->letter) {
			bus_call(&commands[i], "letter_again", w->anchor);
			bus_args_add(&commands[i], w->subscription);
			bus_args_add(&commands[i], id);
			continue;
		}
		bus_args_add(&commands[i], "XRANGE");
		bus_args_add_format(&commands[i], STREAM_KEY_FORMAT, w->chain, w->topic, bus_classes[h->klass]);
		bus_args_add(&commands[i], id);
		bus_args_add(&commands[i], id);
	}
	r = bus_run_many(w->bus, commands, n, replies, err);
	for (size_t i = n; i > 0; i--) { /* backwards: removing moves the last one */
		struct held *h = &w->held[which[i - 1]];
		redisReply *reply = replies[i - 1];
		bool told = r == 0 && reply->type == REDIS_REPLY_ARRAY; /* else it was busy, say: the message is still ours */
		if (told && reply->elements == 1) {
			size_t before = w->batch.count;
			if (!*h->letter)
				r = add_entry(w, reply->element[0], h->klass, h->attempts, err);
			else if (!bus_batch_letter(bus_batch_add(&w->batch), reply->element[0]))
				w->batch.count--;
			h->in_hand = w->batch.count > before;
			if (h->in_hand)
				w->batch.messages[before].attempts = h->attempts;
		}
		if (!told)
			h->due_ms = clock_mono_ms() + ASK_AGAIN_MS;
		else if (r == 0 && !h->in_hand)
			bus_worker_unhold(w, h); /* Redis lost it */
		if (reply)
			bus_batch_keep(&w->batch, reply);
	}
	for (size_t i = 0; i < n; i++)
		bus_args_free(&commands[i]);
	free(commands);
	free(replies);
	return r;
}

/* Renews our hold on what waits, else others would think us dead. */
static int keep_held(struct bus_worker *w, struct error *err)
{
	if (w->held_count == 0 || clock_mono_ms() < w->keep_ms)
		return 0;
	w->keep_ms = clock_mono_ms() + KEEP_EVERY_MS;
	struct bus_args a = { 0 };
	begin_call(w, &a, "keep");
	bus_args_add_u64(&a, REPLAY_HOLD_MS);
	for (size_t i = 0; i < w->held_count; i++) {
		bus_args_add(&a, bus_classes[w->held[i].klass]);
		bus_args_add(&a, w->held[i].id);
		bus_args_add(&a, w->held[i].letter);
	}
	int r = bus_run(w->bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* Our own pending list: what an earlier life of our name left, or what Redis gave us in a reply that never came. */
static int recover(struct bus_worker *w, size_t max, struct error *err)
{
	if (w->connects != w->bus->connects) {
		w->connects = w->bus->connects;
		for (int c = 0; c < CLASSES; c++)
			snprintf(w->recover[c], sizeof w->recover[c], "-");
	}
	for (int c = 0; c < CLASSES; c++) {
		if (!w->recover[c][0] || w->batch.count >= max)
			continue;
		struct bus_args a = { 0 };
		redisReply *reply;
		begin_call(w, &a, "recover");
		bus_args_add(&a, bus_classes[c]);
		bus_args_add(&a, w->recover[c]);
		bus_args_add_u64(&a, max - w->batch.count);
		bus_args_add(&a, w->recover_evidence ? "1" : "0");
		bus_args_add(&a, w->bus->run);
		int r = bus_run(w->bus, &a, 0, &reply, err);
		bus_args_free(&a);
		if (r != 0)
			return r;
		size_t n = reply->elements;
		const redisReply *last = n && reply->element[n - 1]->elements == 4 ? reply->element[n - 1]->element[1] : NULL;
		if (last && last->elements > 0 && last->element[0]->str)
			snprintf(w->recover[c], sizeof w->recover[c], "(%s", last->element[0]->str);
		else
			w->recover[c][0] = 0;
		r = add_claimed(w, reply, err);
		bus_batch_keep(&w->batch, reply);
		if (r != 0)
			return r;
	}
	bool done = true;
	for (int c = 0; c < CLASSES; c++)
		done = done && !w->recover[c][0];
	if (done)
		w->recover_evidence = false;
	return 0;
}

/* The names of all connections: whose consumer is not among them is dead. */
static bool add_living(struct bus_worker *w, struct bus_args *a, redisReply **ret)
{
	struct bus_args list = { 0 };
	bus_args_add(&list, "CLIENT");
	bus_args_add(&list, "LIST");
	int r = bus_run(w->bus, &list, 0, ret, NULL); /* may be forbidden */
	bus_args_free(&list);
	bus_args_add(a, r == 0 && *w->bus->run ? "1" : "0");
	for (const char *at = r == 0 ? (*ret)->str : NULL; at && (at = strstr(at, " name="));) {
		at += 6;
		size_t size = strcspn(at, " \n");
		if (size > 0)
			bus_args_add_bytes(a, (struct bytes){ (const uint8_t *)at, size });
	}
	return r == 0;
}

static int sweep(struct bus_worker *w, size_t max, struct error *err)
{
	if (clock_mono_ms() < w->sweep_ms || w->batch.count >= max)
		return 0;
	w->sweep_ms = clock_mono_ms() + SWEEP_EVERY_MS;
	struct bus_args a = { 0 };
	redisReply *clients = NULL, *reply;
	begin_call(w, &a, "sweep");
	bus_args_add_u64(&a, CLAIM_IDLE_MS);
	bus_args_add_u64(&a, DEAD_IDLE_MS);
	bus_args_add_u64(&a, max - w->batch.count);
	(void)add_living(w, &a, &clients);
	int r = bus_run(w->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	freeReplyObject(clients);
	if (r != 0)
		return r;
	if (reply->elements > 0)
		w->sweep_ms = 0; /* there may be more */
	r = add_claimed(w, reply, err);
	bus_batch_keep(&w->batch, reply);
	return r;
}

/* How many to ask of each class: by its share among those that have much, one each of those that had little. */
static void share_out(struct bus_worker *w, size_t room, size_t counts[CLASSES])
{
	size_t wanted[CLASSES];
	int64_t now = clock_wall_ms(), age_ms[CLASSES];
	for (int c = 0; c < CLASSES; c++) {
		wanted[c] = w->busy[c] || room < CLASSES ? SIZE_MAX : 1; /* with so little room those that had little take turns, too */
		age_ms[c] = !w->busy[c] ? 0 : w->created_ms[c] > 0 ? now - w->created_ms[c] : INT64_MAX; /* of what it has nobody knows yet */
	}
	bus_share_out(w->share, room, wanted, age_ms, counts);
	for (int c = CLASSES - 1; c >= 0; c--) /* what nobody is known to need: the lowest may have it */
		room -= counts[c];
	counts[CLASSES - 1] += room;
}

static void read_command(const struct bus_worker *w, struct bus_args *a, const size_t counts[CLASSES], int64_t block_ms)
{
	size_t most = 0;
	for (int c = 0; c < CLASSES; c++)
		most = counts[c] > most ? counts[c] : most;
	bus_args_add(a, "XREADGROUP");
	bus_args_add(a, "GROUP");
	bus_args_add(a, w->subscription);
	bus_args_add(a, w->consumer);
	bus_args_add(a, "COUNT");
	bus_args_add_u64(a, most);
	if (block_ms > 0) {
		bus_args_add(a, "BLOCK");
		bus_args_add_u64(a, (uint64_t)block_ms);
	}
#ifdef WEIR_MUTANT_ACK_BEFORE_EFFECT
	bus_args_add(a, "NOACK");
#endif
	bus_args_add(a, "STREAMS");
	for (int c = 0; c < CLASSES; c++)
		if (counts[c] > 0)
			bus_args_add_format(a, STREAM_KEY_FORMAT, w->chain, w->topic, bus_classes[c]);
	for (int c = 0; c < CLASSES; c++)
		if (counts[c] > 0)
			bus_args_add(a, ">");
}

static int64_t created_ms(const struct bus_message *m)
{
	return m->frame.created_unix_ms > 0 ? (int64_t)m->frame.created_unix_ms : clock_wall_ms();
}

/* Entries of one XREADGROUP reply. What is more than max (COUNT is per stream) waits as held. */
static int add_streams(struct bus_worker *w, const redisReply *reply, size_t max, size_t got[CLASSES], struct error *err)
{
	int r = 0;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && r == 0; i++) {
		const redisReply *entries = reply->element[i]->element[1];
		int klass = bus_class_of_stream(w->chain, w->topic, reply->element[i]->element[0]->str);
		for (size_t k = 0; klass >= 0 && k < entries->elements && r == 0; k++) {
			got[klass]++;
			size_t before = w->batch.count;
			if (before < max)
				r = add_entry(w, entries->element[k], klass, 0, err);
			if (w->batch.count > before)
				w->created_ms[klass] = created_ms(&w->batch.messages[before]);
			if (before >= max)
				(void)bus_worker_hold(w, entries->element[k]->element[0]->str, "", (uint8_t)klass);
		}
	}
	return r;
}

/* The classes in one round trip: each by its own command, because COUNT is per stream and the same for all streams of a command. */
static int read_classes(struct bus_worker *w, size_t max, struct error *err)
{
	size_t room = max - w->batch.count, counts[CLASSES], got[CLASSES] = { 0 }, n = 0;
	struct bus_args commands[CLASSES] = { 0 };
	redisReply *replies[CLASSES] = { NULL };
	share_out(w, room, counts);
	for (int c = 0; c < CLASSES; c++) {
		size_t only[CLASSES] = { 0 };
		only[c] = counts[c];
		if (counts[c] > 0)
			read_command(w, &commands[n++], only, 0);
	}
	int r = bus_run_into(w->bus, commands, n, 0, bus_batch_arena(&w->batch), replies, err), failed = 0;
	for (size_t i = 0; i < n; i++)
		bus_args_free(&commands[i]);
	for (size_t i = 0; i < n && r == 0; i++) {
		failed = failed ? failed : bus_reply_error(w->bus, replies[i], "XREADGROUP", err);
		if (replies[i]->type != REDIS_REPLY_ERROR)
			r = add_streams(w, replies[i], max, got, err);
	}
	for (int c = 0; c < CLASSES; c++)
		if (counts[c] > 0)
			w->busy[c] = got[c] >= counts[c];
	if (r == 0 && failed == WEIR_NOT_FOUND) { /* Redis was flushed */
		w->grouped = false;
		return 0;
	}
	return r ? r : failed;
}

static int read_blocking(struct bus_worker *w, size_t max, int64_t block_ms, struct error *err)
{
	size_t each = max / CLASSES ? max / CLASSES : 1, counts[CLASSES] = { each, each, each, each }, got[CLASSES] = { 0 };
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	read_command(w, &a, counts, block_ms);
	int r = bus_run_into(w->bus, &a, 1, block_ms, bus_batch_arena(&w->batch), &reply, err);
	bus_args_free(&a);
	if (r == 0)
		r = bus_reply_error(w->bus, reply, "XREADGROUP", err);
	if (r == WEIR_NOT_FOUND) {
		w->grouped = false;
		return 0;
	}
	if (r != 0)
		return r;
	r = add_streams(w, reply, max, got, err);
	for (int c = 0; c < CLASSES; c++)
		w->busy[c] = got[c] > 0;
	return r;
}

/* -- reading --------------------------------------------------------------------------------------------------------------- */

static int take_replays(struct bus_worker *w, size_t max, struct error *err)
{
	const size_t before = w->batch.count;
	if (before >= max || clock_mono_ms() < w->replay_ms)
		return 0;
	int r = bus_take_replays(w->bus, w->chain, w->topic, w->subscription, NULL, max - before, &w->batch, err);
	w->replayed = w->batch.count > before;
	w->replay_ms = w->replayed ? 0 : clock_mono_ms() + REPLAY_EVERY_MS;
	return r;
}

static int read_once(struct bus_worker *w, size_t max, struct error *err)
{
	bool alone = false;
	int r = w->grouped ? 0 : make_groups(w, err);
	if (r == 0) {
		bus_share_look(w->share, w->bus, w->chain, w->topic, w->subscription);
		r = keep_held(w, err);
	}
	if (r == 0)
		r = take_due(w, max, &alone, err);
	if (alone && w->batch.count > 0)
		return r;
	const bool new_first = w->replayed; /* however many letters are to be tried again, what is new has its turn in between */
	if (r == 0 && !new_first)
		r = take_replays(w, max, err);
	if (r == 0)
		r = recover(w, max, err);
	/* A second time for what a class that gave all it was asked for has beyond the share of those that had nothing. */
	for (int i = 0; i < 2 && r == 0 && w->grouped && (i == 0 ? w->batch.count < max : w->batch.count < max - max / 8); i++)
		if (i == 0 || w->busy[0] || w->busy[1] || w->busy[2] || w->busy[3])
			r = read_classes(w, max, err);
	if (r == 0 && w->grouped)
		r = sweep(w, max, err);
	if (new_first)
		w->replayed = false;
	if (r == 0 && new_first && w->batch.count == 0)
		r = take_replays(w, max, err);
	if (r == WEIR_NOT_FOUND) {
		w->grouped = false;
		r = 0;
	}
	return r;
}

/* How long nothing can happen: until the deadline, the end of the pause, the next try of a held message, or the end of a slice. */
static int64_t idle_ms(const struct bus_worker *w, int64_t deadline, bool paused)
{
	int64_t now = clock_mono_ms(), until = deadline < now + BLOCK_SLICE_MS ? deadline : now + BLOCK_SLICE_MS;
	if (paused && w->pause_ms < until)
		until = w->pause_ms;
	for (size_t i = 0; i < w->held_count && !paused; i++)
		if (w->held[i].due_ms < until)
			until = w->held[i].due_ms;
	return until > now ? until - now : 0;
}

int bus_worker_read(struct bus_worker *w, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	*ret = NULL;
	*ret_n = 0;
	if (max == 0)
		return bus_refuse_nothing(err);
	if (w->bus->transport)
		return w->bus->transport->worker_read(w, max, timeout_ms, ret, ret_n, err);
	bus_tally_tell(&w->tally);
	bus_batch_reset(&w->batch);
	for (;;) {
		if (bus_canceled(w->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		bool paused = clock_mono_ms() < w->pause_ms;
		int r = paused ? keep_held(w, err) : read_once(w, max, err);
		int64_t idle = idle_ms(w, deadline, paused);
		if (r == 0 && w->batch.count == 0 && idle > 0 && !paused && w->grouped)
			r = read_blocking(w, max, idle, err);
		else if (r == 0 && w->batch.count == 0 && idle > 0)
			clock_sleep_ms(idle);
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

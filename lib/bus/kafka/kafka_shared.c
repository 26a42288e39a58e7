/* kafka_shared.c - the shared lane over Kafka: messages of our partitions in any order, committed up to the first that is not settled.
 *
 * A message that waits for its next try is held with its bytes; the committed place stays below it, so that a restart reads it again, and
 * those behind it, too. What waits is bounded (HOLD_MAX): when there is no room nothing new is read.
 *
 * With kafka://…/?transactions=yes a step that emits is a transaction (kafka_transaction.h). One that fails is as if the step had not been: we join the
 * group again and read on from what is committed.
 */
#include "bus/kafka/kafka_shared.h"

#include "bus/kafka/kafka_letters.h"
#include "bus/kafka/kafka_publish.h"
#include "bus/kafka/kafka_transaction.h"
#include "bus/kafka/kafka_unsettled.h"
#include "bus/lane/step.h"

#include "base/clock.h"

#include <string.h>

#define REFUSED_MS 100 /* between two tries to send what brokers refused */
#define NOTHING ((struct bytes){ NULL, 0 })

struct kafka_shared {
	struct bus_worker *w;
	struct kafka_lane *lane;
	struct kafka_unsettled unsettled;
	struct kafka_sends *emits;
	bool refused; /* what was sent last, and that was said */
	struct kafka_transaction *transaction; /* NULL: steps are none */
};

/* It will be read again. */
static void forget(struct kafka_shared *k)
{
	kafka_unsettled_reset(&k->unsettled, k->lane->part_count);
	k->w->held_count = 0;
	bus_batch_reset(&k->w->batch);
}

static bool waits(void *arg, const char *letter)
{
	const struct kafka_shared *k = arg;
	for (size_t i = 0; i < k->w->held_count; i++)
		if (strcmp(k->w->held[i].letter, letter) == 0)
			return true;
	return false;
}

void kafka_shared_open(struct bus_worker *w)
{
	struct kafka_shared *k = xmalloc(sizeof *k);
	k->w = w;
	k->lane = kafka_lane_open(&w->tally, 0);
	k->lane->waits = waits;
	k->lane->waits_arg = k;
	k->emits = xmalloc(sizeof *k->emits);
	if (w->bus->address.transactions)
		k->transaction = kafka_transaction_new(k->lane);
	w->own = k;
}

void kafka_shared_close(struct bus_worker *w)
{
	struct kafka_shared *k = w->own;
	kafka_transaction_free(&k->transaction);
	kafka_unsettled_free(&k->unsettled);
	kafka_sends_leave(&k->emits);
	kafka_lane_close(&k->lane);
	free(k);
	w->own = NULL;
}

/* -- reading -------------------------------------------------------------------------------------------------------------------------- */

/* A caller that did not settle what it read gets it again, and all behind it. */
static bool left_something(const struct kafka_shared *k)
{
	const struct bus_batch *b = &k->w->batch;
	for (size_t i = 0; i < b->count; i++) {
		const struct bus_message *m = &b->messages[i];
		if (!m->replay && kafka_unsettled_has(&k->unsettled, m) && !bus_worker_held(k->w, m->id, m->letter, m->klass))
			return true;
	}
	return false;
}

static void hand_out(struct kafka_shared *k, const struct bus_message *m, uint32_t attempts)
{
	struct bus_message *to = bus_batch_add(&k->w->batch);
	*to = *m;
	to->attempts = attempts;
}

static void take_due(struct kafka_shared *k, size_t max)
{
	struct bus_worker *w = k->w;
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < w->held_count && w->batch.count < max; i++) {
		struct held *h = &w->held[i];
		const struct kafka_kept *kept = h->due_ms <= now ? kafka_unsettled_kept(&k->unsettled, h->klass, h->id, h->letter) : NULL;
		if (kept)
			hand_out(k, &kept->message, h->attempts);
	}
}

/* What no handler gets: parked already, or undecodable. */
static int take_one(struct kafka_shared *k, const struct bus_message *m, struct error *err)
{
	char id[48];
	const struct kafka_part *part = kafka_lane_part(k->lane, m);
	struct error why = { 0 };
	kafka_letter_id(m, false, id);
	if (!part || kafka_letter_known(part->letters, id))
		return 0;
	if (m->frame_ok) {
		kafka_unsettled_add(&k->unsettled, m);
		hand_out(k, m, 0);
		return 0;
	}
	(void)frame_read(m->frame.body, &(struct frame){ 0 }, &why);
	return kafka_letter_park(k->lane, m, false, NOTHING, &why, err);
}

static int take_new(struct kafka_shared *k, size_t max, struct error *err)
{
	struct kafka_lane *l = k->lane;
	const bool new_first = l->replayed; /* however many letters are to be tried again, what is new has its turn in between */
	bus_batch_reset(&l->batch);
	int r = new_first ? kafka_lane_take(l, max, err) : 0;
	const size_t new = l->batch.count;
	if (r == 0 && new < max)
		r = kafka_letters_take(l, max, false, waits, k, err);
	l->replayed = l->batch.count > new;
	if (r == 0 && !new_first && l->batch.count < max)
		r = kafka_lane_take(l, max, err);
	for (size_t i = 0; i < l->batch.count && r == 0; i++)
		if (l->batch.messages[i].replay)
			hand_out(k, &l->batch.messages[i], 0);
		else
			r = take_one(k, &l->batch.messages[i], err);
	return r;
}

/* Behind what is settled; below 0: not known. */
static int64_t settled_to(void *arg, int32_t p, int c)
{
	const struct kafka_shared *k = arg;
	return kafka_unsettled_first(&k->unsettled, p, c, k->lane->parts[p].next[c]);
}

/* Commits what is settled, in all our partitions. */
static int commit_settled(struct kafka_shared *k, struct error *err)
{
	struct kafka_lane *l = k->lane;
	int r = 0;
	for (int32_t p = 0; p < l->part_count && r == 0; p++)
		for (int c = 0; c < CLASSES && r == 0; c++) {
			const int64_t to = l->parts[p].owned ? settled_to(k, p, c) : -1;
			if (to > 0 && to > l->parts[p].committed[c])
				r = kafka_lane_commit(l, p, c, to, err);
		}
	return r;
}

static int read_once(struct kafka_shared *k, size_t max, struct error *err)
{
	struct bus_worker *w = k->w;
	int r = k->lane->owning ? kafka_lane_serve(k->lane, err) : WEIR_FENCED;
	if (r == WEIR_FENCED) {
		r = kafka_lane_acquire(k->lane, err);
		if (r == WEIR_CONFLICT)
			return 0; /* others have the partitions, or the group is not ready */
		if (r == 0)
			forget(k);
	}
	if (r != 0 || clock_mono_ms() < w->pause_ms)
		return r;
	take_due(k, max);
	size_t room = HOLD_MAX - w->held_count; /* each may have to wait */
	if (w->batch.count == 0 && room > 0)
		r = take_new(k, max < room ? max : room, err);
	if (r == WEIR_FENCED) {
		bus_batch_reset(&w->batch);
		return 0; /* acquired again in the next round */
	}
	return r == 0 && w->batch.count == 0 ? commit_settled(k, err) : r; /* what was put aside */
}

/* The transaction that is open will not be. What was done for it on this side is forgotten: all that was not committed is read again. */
static void give_up(struct kafka_shared *k)
{
	char letters[KEY_MAX];
	struct kafka_lane *l = k->lane;
	kafka_transaction_drop(k->transaction);
	kafka_sends_leave(&k->emits);
	k->emits = xmalloc(sizeof *k->emits);
	kafka_letters_name(l->chain, l->topic, l->subscription, letters);
	kafka_tables_forget(l->kafka, letters);
	kafka_lane_leave(l);
}

int kafka_worker_read(struct bus_worker *w, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	struct kafka_shared *k = w->own;
	int64_t deadline = clock_mono_ms() + timeout_ms;
	if (k->transaction && kafka_transaction_open(k->transaction))
		give_up(k); /* its caller has */
	if (k->lane->owning && left_something(k))
		k->lane->changed = k->lane->read = true;
	for (;;) {
		bus_batch_reset(&w->batch);
		if (bus_canceled(w->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		int r = read_once(k, max, err);
		if (r != 0 && r != WEIR_FENCED)
			return r;
		int64_t left = deadline - clock_mono_ms();
		if (w->batch.count > 0 || left <= 0)
			break;
		if (k->lane->consumer)
			kafka_lane_wait(k->lane, left < 20 ? left : 20); /* something may be due */
	}
	*ret = w->batch.messages;
	*ret_n = w->batch.count;
	return 0;
}

/* -- settling -------------------------------------------------------------------------------------------------------------------------- */

static struct bus_message message_of(const struct settled *t)
{
	struct bus_message m = { .klass = t->klass, .replay = *t->letter != 0 };
	memcpy(m.id, t->id, sizeof m.id);
	memcpy(m.letter, t->letter, sizeof m.letter);
	(void)bus_parse_id(m.id, &m.generation, &m.sequence);
	return m;
}

static struct bytes part_of(const struct bus_step *s, size_t offset, size_t size)
{
	return size ? (struct bytes){ s->bytes.data + offset, size } : NOTHING;
}

static int send_emits(struct kafka_shared *k, const struct bus_step *s, const struct settled *t, struct error *err)
{
	int r = 0;
	for (size_t at = t->first_emit; r == 0 && at > 0; at = s->emits[at - 1].next) {
		const struct emit *e = &s->emits[at - 1];
		struct bytes frame = { s->bytes.data + e->offset, e->size }, key;
		uint16_t type;
		if (frame_peek(frame, &type, &key))
			r = kafka_publish_one(k->lane->kafka, k->w->chain, e->topic, e->klass, key, frame, k->emits, err);
	}
	return r;
}

static int send_letter(struct kafka_shared *k, const struct bus_step *s, const struct settled *t, const struct bus_message *m, struct error *err)
{
	const struct kafka_kept *kept = kafka_unsettled_kept(&k->unsettled, t->klass, t->id, t->letter);
	struct bytes now = part_of(s, t->fragment_offset, t->fragment_size);
	struct buf failures = BUF_INIT(2 * KAFKA_HISTORY_MAX + now.size);
	if (kept)
		buf_add(&failures, kept->history.data, kept->history.size);
	buf_add(&failures, now.data, now.size);
	int r = kafka_letter_store(k->lane, m, false, t->code, part_of(s, t->base_offset, t->base_size), (struct bytes){ failures.data, failures.size }, err);
	buf_free(&failures);
	return r;
}

/* What comes of one message, on its way. */
static int send_one(struct kafka_shared *k, const struct bus_step *s, struct settled *t, struct error *err)
{
	struct bus_message m = message_of(t);
	const bool ours = kafka_lane_part(k->lane, &m) != NULL;
	int r = 0;
	if (ours && t->outcome == BUS_DONE)
		r = send_emits(k, s, t, err);
	if (r == 0 && ours && t->outcome == BUS_DONE && *t->letter)
		r = kafka_letter_resolve(k->lane, &m, false, err);
	else if (r == 0 && ours && t->outcome == BUS_REJECT)
		r = send_letter(k, s, t, &m, err);
	t->sent = r == 0;
	return r;
}

/* The message's bytes stay as long as it waits. */
static void settle_one(struct kafka_shared *k, const struct bus_step *s, const struct settled *t)
{
	struct bus_worker *w = k->w;
	struct bus_message m = message_of(t);
	bool ours = kafka_lane_part(k->lane, &m) != NULL;
	struct kafka_kept *kept = kafka_unsettled_kept(&k->unsettled, t->klass, t->id, t->letter);
	bool again = ours && (t->outcome == BUS_RETRY || t->outcome == BUS_DEPENDENCY_DOWN);
	for (size_t i = 0; again && !kept && i < w->batch.count; i++) {
		const struct bus_message *read = &w->batch.messages[i];
		if (read->klass == t->klass && strcmp(read->id, t->id) == 0 && strcmp(read->letter, t->letter) == 0)
			kept = kafka_unsettled_keep(&k->unsettled, read);
	}
	if (again && kept && t->outcome == BUS_RETRY)
		buf_add(&kept->history, s->bytes.data + t->fragment_offset, t->fragment_size);
	if (!again && kept)
		kafka_unsettled_let_go(&k->unsettled, kept);
	if (!again && !*t->letter)
		kafka_unsettled_remove(&k->unsettled, &m);
	bus_step_remember(w, t, ours);
	if (ours && t->outcome == BUS_DONE)
		bus_step_tell_emits(s, t);
}

static int flush_letters(struct kafka_lane *l, struct error *err)
{
	int r = 0;
	for (int32_t p = 0; p < l->part_count && r == 0; p++)
		if (l->parts[p].owned)
			r = kafka_table_flush(l->parts[p].letters, err);
	return r;
}

/* They are still on their way, or will be. */
static bool goes_on(int code)
{
	return code == WEIR_TIMEOUT || code == WEIR_UNAVAILABLE || code == WEIR_CANCELED;
}

static bool is_new(const struct settled *t)
{
	return t->settled && !t->done && !t->sent;
}

/* All that comes of the step's messages, until the brokers have it. */
static int send_all(struct kafka_shared *k, const struct bus_step *s, struct error *err)
{
	int r = 0;
	for (size_t i = 0; i < s->count && r == 0; i++)
		if (is_new(&s->messages[i]))
			r = send_one(k, s, &s->messages[i], err);
	if (r == 0)
		r = kafka_sent(k->lane->kafka, k->emits, kafka_deadline(k->lane->kafka), err);
	if (r == 0)
		r = flush_letters(k->lane, err);
	const bool refused = r != 0 && !goes_on(r) && r != WEIR_FENCED;
	for (size_t i = 0; i < s->count && r != 0 && !goes_on(r); i++)
		s->messages[i].sent = false; /* some of it never arrives: all is sent again */
	if (refused && !k->refused)
		log_warn(&k->w->bus->log, "bus_kafka_refused", "brokers refused what a step sends: it is tried again until they take it", LOG_S("chain", k->lane->chain),
			 LOG_S("topic", k->lane->topic), LOG_S("subscription", k->lane->subscription), LOG_S("error", err ? err->text : ""));
	if (refused)
		clock_sleep_ms(REFUSED_MS);
	k->refused = refused || (k->refused && r != 0);
	return r;
}

static void settle_sent(struct kafka_shared *k, const struct bus_step *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->messages[i].sent && !s->messages[i].done) {
			settle_one(k, s, &s->messages[i]);
			s->messages[i].done = true;
		}
}

/* Others have them. */
static void settle_lost(struct kafka_shared *k, const struct bus_step *s)
{
	for (size_t i = 0; i < s->count; i++)
		s->messages[i].sent = s->messages[i].settled;
	settle_sent(k, s);
}

static int commit_plainly(struct kafka_shared *k, const struct bus_step *s, struct error *err)
{
	int r = send_all(k, s, err);
	if (r == WEIR_FENCED)
		settle_lost(k, s);
	if (r != 0)
		return r; /* what is on its way will get there: commit again */
	settle_sent(k, s);
	return commit_settled(k, err);
}

static int end_transaction(struct kafka_shared *k, const struct bus_step *s, struct error *err)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct settled *t = &s->messages[i];
		const struct bus_message m = message_of(t);
		if (t->sent && !t->done && !*t->letter && (t->outcome == BUS_DONE || t->outcome == BUS_REJECT))
			kafka_unsettled_remove(&k->unsettled, &m);
	}
	rd_kafka_topic_partition_list_t *places = kafka_lane_places(k->lane, settled_to, k);
	int r = kafka_transaction_commit(k->transaction, places, err);
	if (r == 0)
		kafka_lane_placed(k->lane, places);
	rdk.topic_partition_list_destroy(places);
	return r;
}

static int transact(struct kafka_shared *k, const struct bus_step *s, struct error *err)
{
	int r = kafka_transaction_open(k->transaction) ? 0 : flush_letters(k->lane, err); /* what was written before it */
	if (r == 0)
		r = kafka_transaction_begin(k->transaction, err);
	if (r != 0)
		return r;
	if (!kafka_transaction_ending(k->transaction)) {
		kafka_transaction_enter(k->transaction);
		r = send_all(k, s, err);
		kafka_transaction_leave(k->transaction);
	}
	return r ? r : end_transaction(k, s, err);
}

/* A transaction, and, where its step grew while its end was waited for, another one. */
static int commit_in_transactions(struct kafka_shared *k, const struct bus_step *s, struct error *err)
{
	bool more = true;
	int r = 0;
	while (r == 0 && more) {
		r = k->lane->changed ? error_set(err, WEIR_FENCED, "the consumer group changed") : transact(k, s, err);
		if (r == 0)
			settle_sent(k, s);
		more = false;
		for (size_t i = 0; i < s->count; i++)
			more = more || is_new(&s->messages[i]);
	}
	if (r == 0 || goes_on(r))
		return r;
	if (kafka_transaction_open(k->transaction))
		log_warn(&k->w->bus->log, "bus_kafka_transaction_given_up", "a transaction failed: nobody has seen anything of it, and what it read comes again",
			 LOG_S("chain", k->lane->chain), LOG_S("topic", k->lane->topic), LOG_S("subscription", k->lane->subscription), LOG_S("error", err ? err->text : ""));
	give_up(k);
	settle_lost(k, s);
	return r == WEIR_PERMISSION || r == WEIR_CONFIG || r == WEIR_LIMIT || r == WEIR_UNSUPPORTED ? r : 0;
}

static bool emits(const struct bus_step *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->messages[i].settled && !s->messages[i].done && s->messages[i].outcome == BUS_DONE && s->messages[i].first_emit > 0)
			return true;
	return false;
}

int kafka_step_commit(struct bus_step *s, struct error *err)
{
	struct kafka_shared *k = s->w->own;
	const bool whole = k->transaction && (kafka_transaction_open(k->transaction) || emits(s));
	struct error why = { 0 };
	int r = whole ? commit_in_transactions(k, s, &why) : commit_plainly(k, s, &why);
	if (r == WEIR_FENCED)
		return 0; /* not ours any more: others have it again */
	if (r != 0 && err)
		*err = why;
	return r;
}

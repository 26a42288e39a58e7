/* deliver_ordered.c - a round of the ordered lane: what waits and is due, then what is new, then the commit.
 *
 * A message that failed and may be tried again waits in memory, and those of its key behind it; the committed place stays below the
 * first that waits, so that a restart reads them again. What waits is bounded in number and size: when there is no room nothing is read.
 */
#include "bus/handler/deliver.h"
#include "bus/lane/owner.h"
#include "bus/message/letter.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define ACQUIRE_EVERY_MS 25 /* a planned hand-over takes no longer */
#define RESOLVE_EVERY_NS 100000000 /* replays that succeeded */
#define WAITING_SHARE 64    /* rooms asked for at once */

/* -- what waits -------------------------------------------------------------------------------------------------------------- */

static void waiting_free(struct waiting *w)
{
	buf_free(&w->history);
	free(w->bytes);
	free(w);
}

void ordered_forget(struct bus_subscription *s)
{
	for (size_t i = 0; i < s->waiting_count; i++)
		waiting_free(s->waiting[i]);
	s->waiting_count = s->waiting_bytes = 0;
}

static bool same_key(const struct bus_message *a, const struct bus_message *b)
{
	return a->frame.key.size > 0 && a->frame.key.size == b->frame.key.size &&
	       memcmp(a->frame.key.data, b->frame.key.data, a->frame.key.size) == 0;
}

static bool has_room(const struct bus_subscription *s)
{
	return s->waiting_count < s->options.hold_max && s->waiting_bytes < s->options.hold_bytes;
}

/* A copy at the end of the queue. May pass hold_max by what one batch brings. */
static struct waiting *wait_for(struct bus_subscription *s, const struct bus_message *m)
{
	struct waiting *w = xmalloc(sizeof *w);
	const struct bytes parts[] = { m->frame.key, m->frame.more, m->frame.body };
	struct bytes *copies[] = { &w->message.frame.key, &w->message.frame.more, &w->message.frame.body };
	w->size = m->frame.key.size + m->frame.more.size + m->frame.body.size;
	w->bytes = xmalloc(w->size + 1);
	w->message = *m;
	uint8_t *at = w->bytes;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (parts[i].size > 0)
			memcpy(at, parts[i].data, parts[i].size);
		*copies[i] = (struct bytes){ at, parts[i].size };
		at += parts[i].size;
	}
	w->history = (struct buf)BUF_INIT(64u << 10);
	if (s->waiting_count == s->waiting_capacity) {
		s->waiting_capacity += WAITING_SHARE;
		s->waiting = xrealloc(s->waiting, s->waiting_capacity, sizeof(struct waiting *));
	}
	s->waiting_bytes += w->size;
	return s->waiting[s->waiting_count++] = w;
}

/* Takes it out; the next of its key, if any, is due at once. */
static void wait_is_over(struct bus_subscription *s, size_t at)
{
	struct waiting *w = s->waiting[at];
	for (size_t i = at + 1; i < s->waiting_count; i++)
		if (same_key(&s->waiting[i]->message, &w->message)) {
			s->waiting[i]->follows = false;
			break;
		}
	s->waiting_bytes -= w->size;
	s->waiting_count--;
	memmove(s->waiting + at, s->waiting + at + 1, (s->waiting_count - at) * sizeof(struct waiting *));
	waiting_free(w);
}

static bool key_waits(const struct bus_subscription *s, const struct bus_message *m)
{
	for (size_t i = 0; i < s->waiting_count; i++)
		if (same_key(&s->waiting[i]->message, m))
			return true;
	return false;
}

/* -- one message ----------------------------------------------------------------------------------------------------------------- */

/* In probation: notes the message first, and parks the one over which instances ended. What the handler is through with is under way no more: another
 * subscription may end the process next. */
static int call(struct bus_subscription *s, struct attempt *a, enum verdict *ret, struct error *err)
{
	char what[BUS_WHAT_MAX] = "";
	int crashes = 0;
	bool careful = bus_owner_careful(s->owner);
	if (careful) {
		bus_message_name(a->message, what);
		crashes = bus_owner_crashes(s->owner, what);
	}
	bool poison = crashes >= BUS_CRASHES;
	int r = careful ? bus_owner_note(s->owner, poison ? NULL : what, err) : 0;
	if (r != 0)
		return r;
	*ret = poison ? VERDICT_PARK : deliver(s, a);
	if (careful && !poison)
		(void)bus_owner_note(s->owner, NULL, NULL); /* else the next one takes its place */
	if (poison)
		error_set(&a->why, WEIR_CRASH, "instances ended %d times while they handled it", crashes);
	return 0;
}

/* Replays that succeeded are resolved together, at the end of what was read: in *succeeded. */
static int handle_replay(struct bus_subscription *s, const struct bus_message *m, const struct bus_message **succeeded, size_t *n, struct error *err)
{
	struct attempt a = { .message = m, .failures = m->attempts };
	enum verdict v;
	int r = call(s, &a, &v, err);
	if (r != 0)
		return r;
	if (v == VERDICT_LATER)
		error_set(&a.why, WEIR_UNAVAILABLE, "what its handler depends on is down, or the subscription is in a storm");
	deliver_note(s, m, v == VERDICT_DONE ? VERDICT_DONE : VERDICT_RETRY, &a.why);
	if (v != VERDICT_DONE)
		return bus_owner_park(s->owner, m, &a.why, err);
	succeeded[(*n)++] = m;
	return 0;
}

/* Its key has a dead letter, which an operator may have replayed or not. */
static bool is_behind_a_letter(const struct bus_subscription *s, const struct bus_message *m, struct error *why)
{
#ifdef WEIR_MUTANT_NO_FOLLOWER_PARKING
	return false;
#endif
	if (!bus_owner_parked(s->owner, m->frame.key))
		return false;
	error_set(why, WEIR_CONFLICT, "waits behind a dead letter of the same key");
	return true;
}

static int handle_new(struct bus_subscription *s, const struct bus_message *m, struct error *err)
{
	struct attempt a = { .message = m };
	enum verdict v;
	if (is_behind_a_letter(s, m, &a.why))
		return bus_owner_park(s->owner, m, &a.why, err);
	if (s->waiting_count > 0 && key_waits(s, m)) {
		wait_for(s, m)->follows = true;
		return 0;
	}
	int r = call(s, &a, &v, err);
	if (r == 0 && v == VERDICT_PARK)
		r = bus_owner_park(s->owner, m, &a.why, err);
	if (r != 0)
		return r;
	deliver_note(s, m, v, &a.why);
	if (v == VERDICT_RETRY || v == VERDICT_LATER) {
		struct waiting *w = wait_for(s, m);
		w->due_ms = a.due_ms;
		if (v == VERDICT_RETRY) {
			bus_tally_add(s->tally, m->frame.type, a.why.code, TALLY_RETRIED, 1);
			w->failures = 1;
			w->first_ms = s->now_ns / 1000000;
			bus_attempt_pack(s->bus, &a.why, &w->history);
		}
	}
	return 0;
}

/* The message at `at` is due. *ret_gone: it was settled. */
static int handle_waiting(struct bus_subscription *s, size_t at, bool *ret_gone, struct error *err)
{
	struct waiting *w = s->waiting[at];
	struct attempt a = { .message = &w->message, .failures = w->failures, .first_ms = w->first_ms };
	enum verdict v = VERDICT_PARK;
	int r = 0;
	bool behind = is_behind_a_letter(s, &w->message, &a.why);
	if (!behind)
		r = call(s, &a, &v, err);
	*ret_gone = false;
	if (r == 0 && v == VERDICT_PARK)
		r = bus_owner_park_after(s->owner, &w->message, (struct bytes){ w->history.data, w->history.size }, &a.why, err);
	if (r != 0)
		return r;
	if (!behind)
		deliver_note(s, &w->message, v, &a.why);
	if (v == VERDICT_RETRY) {
		bus_tally_add(s->tally, w->message.frame.type, a.why.code, TALLY_RETRIED, 1);
		if (w->failures++ == 0)
			w->first_ms = s->now_ns / 1000000;
		bus_attempt_pack(s->bus, &a.why, &w->history);
	}
	w->due_ms = a.due_ms;
	*ret_gone = v == VERDICT_DONE || v == VERDICT_PARK;
	if (*ret_gone)
		wait_is_over(s, at);
	return 0;
}

static int handle_due(struct bus_subscription *s, struct error *err)
{
	for (size_t i = 0; i < s->waiting_count;) {
		bool gone = false;
		struct waiting *w = s->waiting[i];
		int r = w->follows || w->due_ms > s->now_ns / 1000000 ? 0 : handle_waiting(s, i, &gone, err);
		if (r != 0)
			return r;
		i += !gone;
	}
	return 0;
}

static int64_t next_due(const struct bus_subscription *s)
{
	int64_t due = INT64_MAX;
	for (size_t i = 0; i < s->waiting_count; i++)
		if (!s->waiting[i]->follows && s->waiting[i]->due_ms < due)
			due = s->waiting[i]->due_ms;
	return due;
}

/* -- the round ------------------------------------------------------------------------------------------------------------------ */

static struct floor *floor_of(struct bus_subscription *s, const struct bus_message *m)
{
	return &s->floors[m->klass][s->places > 1 ? (m->generation - 1) % s->places : 0];
}

static const struct waiting *first_at(struct bus_subscription *s, const struct floor *floor)
{
	for (size_t i = 0; i < s->waiting_count; i++)
		if (floor_of(s, &s->waiting[i]->message) == floor)
			return s->waiting[i];
	return NULL;
}

static int commit_floor(struct bus_subscription *s, int klass, struct floor *floor, struct error *err)
{
	struct floor to = *floor;
	const struct waiting *first = first_at(s, floor);
	int r = 0;
	if (first) {
		to.generation = first->message.generation;
		to.sequence = first->message.sequence - 1;
	}
	if (!first || first->message.sequence > 1)
		r = bus_owner_commit(s->owner, (uint8_t)klass, to.generation, to.sequence, err);
	floor->moved = r != 0;
	return r;
}

/* Everything read is done but for what waits: commits below the first of each class and place that does. */
static int commit(struct bus_subscription *s, struct error *err)
{
	int r = 0;
	for (int c = 0; c < CLASSES; c++)
		for (size_t at = 0; at < s->places && r == 0; at++)
			if (s->floors[c][at].moved)
				r = commit_floor(s, c, &s->floors[c][at], err);
	return r;
}

/* From the committed places on. */
static void begin_anew(struct bus_subscription *s)
{
	ordered_forget(s);
	memset(s->floors, 0, sizeof s->floors);
	snprintf(s->token, sizeof s->token, "%s", bus_owner_token(s->owner));
}

static int own(struct bus_subscription *s, int64_t timeout_ms, struct error *err)
{
	int64_t now = clock_mono_ms();
	if (s->acquire_ms > now) {
		clock_sleep_ms(s->acquire_ms - now < timeout_ms ? s->acquire_ms - now : timeout_ms);
		return WEIR_CONFLICT;
	}
	s->acquire_ms = now + ACQUIRE_EVERY_MS;
	int r = bus_owner_acquire(s->owner, err);
	if (r != 0)
		return r;
	begin_anew(s);
	s->owning = true;
	return 0;
}

static int read_new(struct bus_subscription *s, int64_t timeout_ms, struct error *err)
{
	struct bus_message *m;
	size_t n;
	bool trial = deliver_blocked_until(s, INT64_MIN) > 0; /* half-open: one is enough */
	int r = bus_owner_read(s->owner, trial ? 1 : s->options.batch, timeout_ms, &m, &n, err);
	s->now_ns = clock_mono_ns();
	if (strcmp(s->token, bus_owner_token(s->owner)) != 0)
		begin_anew(s); /* what waits is among what was read now */
	const struct bus_message **replayed = n > 0 && m[0].replay ? xcalloc(n, sizeof *replayed) : NULL; /* letters come alone */
	size_t done = 0;
	int64_t begun_ns = s->now_ns;
	for (size_t i = 0; i < n && r == 0; i++) {
		r = replayed ? handle_replay(s, &m[i], replayed, &done, err) : handle_new(s, &m[i], err);
		if (r == 0 && done > 0 && s->now_ns - begun_ns > RESOLVE_EVERY_NS) { /* slow handlers: what is done is not to be lost with the lease */
			r = bus_owner_resolve_many(s->owner, replayed, done, err);
			done = 0;
			begun_ns = s->now_ns;
		}
		if (r == 0 && !replayed)
			*floor_of(s, &m[i]) = (struct floor){ m[i].generation, m[i].sequence, true };
	}
	int resolved = done > 0 ? bus_owner_resolve_many(s->owner, replayed, done, r == 0 ? err : NULL) : 0; /* also before what failed */
	free(replayed);
	return r != 0 ? r : resolved;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int round_of_owner(struct bus_subscription *s, int64_t timeout_ms, struct error *err)
{
	s->now_ns = clock_mono_ns();
	int64_t now = s->now_ns / 1000000, blocked = deliver_blocked_until(s, now);
	bool still = s->paused || blocked > now;
	size_t before = s->waiting_count;
	int r = still ? 0 : handle_due(s, err);
	if (r == 0 && s->waiting_count != before)
		for (int c = 0; c < CLASSES; c++)
			for (size_t at = 0; at < s->places; at++)
				s->floors[c][at].moved = s->floors[c][at].generation != 0;
	if (!still)
		timeout_ms = least(timeout_ms, next_due(s) - now);
	if (timeout_ms < 0 || s->waiting_count < before)
		timeout_ms = 0;
	if (r == 0 && !still && has_room(s) && !s->draining) {
		r = read_new(s, timeout_ms, err);
	} else if (r == 0) {
		r = bus_owner_renew(s->owner, err);
		clock_sleep_ms(least(timeout_ms, blocked > now ? blocked - now : timeout_ms));
	}
	int c = r == 0 ? commit(s, err) : 0;
	return r != 0 ? r : c;
}

int ordered_turn(struct bus_subscription *s, int64_t timeout_ms, struct error *err)
{
	bool owned = s->owning;
	int r = owned ? 0 : own(s, timeout_ms, err);
	if (r == WEIR_CONFLICT)
		return 0; /* somebody else does the work: no error */
	if (r == 0)       /* the first round does not wait: that it owns is to be seen at once */
		r = round_of_owner(s, owned ? least(timeout_ms, s->options.lease_ms / 4) : 0, err);
	if (r != 0) { /* part of a batch may not have been handled: from the committed places on again */
		s->owning = false;
		ordered_forget(s);
	}
	return r;
}

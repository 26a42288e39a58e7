/* owner.c - the ordered lane: one owner by lease with a fencing token, read cursors in memory, the committed floors in Redis.
 *
 * States: idle --acquire--> owning --(FENCED: lease lost, or Redis forgot it)--> idle. Entering owning puts the cursors on the floors, so
 * that what was not committed is read again. After each new connection the positions are compared with what Redis has: it may have lost
 * the end of what was there.
 */
#include "bus/lane/owner.h"
#include "bus/lane/share.h"
#include "bus/letter/letters.h"
#include "bus/redis/cluster.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOTHING ((struct bytes){ NULL, 0 })
#define RESOLVE_MAX 1000 /* letters in one call */

struct place {
	uint64_t generation, sequence;
};

static bool before(struct place a, struct place b)
{
	return a.generation < b.generation || (a.generation == b.generation && a.sequence < b.sequence);
}

struct lane {
	struct place cursor; /* read up to here */
	struct place handed; /* last entry given to the caller */
	struct place floor;  /* committed, as far as we know */
};

struct bus_owner {
	struct bus *bus;
	const struct bus_transport *transport; /* the bus' */
	void *own; /* a transport's: then this is all there is; owned by it */
	char *chain, *topic, *subscription;
	char anchor[KEY_MAX], token[96];
	int64_t lease_ms, renew_ms, replay_ms;
	bool replayed; /* the last that was read were letters */
	uint64_t connects;
	char run[64]; /* the server that we know */
	bool owning, rolled_back;
	struct lane lanes[CLASSES];
	struct bus_batch batch;
	struct bus_tally tally;
	struct bus_probation probation;
	char parked_last[48]; /* letter */
	size_t per_entry; /* messages in the entry read last */
	struct bus_share share;
	struct key {
		char *data;
		size_t size;
		int klass; /* of its first letter, and where that stood: what came before it had been handled */
		struct place head;
	} *parked; /* keys with dead letters, sorted: their followers must wait */
	size_t parked_count, parked_capacity;
	redisReply *settled; /* "class/id" above the floors whose letters are settled already; NULL: none */
};

int bus_owner_open(struct bus *bus, const char *chain, const char *topic, const char *subscription, int64_t lease_ms, struct bus_owner **ret,
		   struct error *err)
{
	(void)err;
	struct bus_owner *o = xmalloc(sizeof *o);
	o->bus = bus;
	o->chain = xstrdup(chain);
	o->topic = xstrdup(topic);
	o->subscription = xstrdup(subscription);
	o->lease_ms = lease_ms > 0 ? lease_ms : 5000;
	bus_anchor(chain, o->anchor);
	bus_share_init(&o->share);
	bus_tally_init(&o->tally, bus, o->chain, o->topic, o->subscription);
	o->probation = (struct bus_probation){ .bus = bus, .chain = o->chain, .topic = o->topic, .subscription = o->subscription };
	o->transport = bus->transport;
	if (o->transport)
		o->own = o->transport->owner_open(&o->tally, o->lease_ms);
	bus_count_from_zero(bus, "weir_bus_loss_suspected_total", o->chain, o->topic, o->subscription);
	*ret = o;
	return 0;
}

static void call_function(const struct bus_owner *o, struct bus_args *a, const char *function)
{
	bus_call(a, function, o->anchor);
	bus_args_add(a, o->topic);
	bus_args_add(a, o->subscription);
}

/* -- parked keys ---------------------------------------------------------------------------------------------------------------- */

static int compare(const struct key *a, const uint8_t *data, size_t size)
{
	int order = memcmp(a->data, data, a->size < size ? a->size : size);
	return order ? order : (a->size > size) - (a->size < size);
}

/* Index of the key, or where it belongs. */
static size_t parked_at(const struct bus_owner *o, struct bytes key, bool *ret_found)
{
	size_t low = 0, high = o->parked_count;
	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(&o->parked[middle], key.data, key.size);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void parked_add(struct bus_owner *o, struct bytes key, int klass, struct place head)
{
	bool found;
	size_t at = parked_at(o, key, &found);
	if (key.size == 0 || found)
		return;
	if (o->parked_count == o->parked_capacity) {
		o->parked_capacity = o->parked_capacity ? o->parked_capacity * 2 : 16;
		o->parked = xrealloc(o->parked, o->parked_capacity, sizeof *o->parked);
	}
	memmove(o->parked + at + 1, o->parked + at, (o->parked_count - at) * sizeof *o->parked);
	o->parked[at] = (struct key){ xmemdup(key.data, key.size), key.size, klass, head };
	o->parked_count++;
}

static void parked_remove(struct bus_owner *o, struct bytes key)
{
	bool found;
	size_t at = parked_at(o, key, &found);
	if (!found)
		return;
	free(o->parked[at].data);
	o->parked_count--;
	memmove(o->parked + at, o->parked + at + 1, (o->parked_count - at) * sizeof *o->parked);
}

static void parked_forget(struct bus_owner *o)
{
	for (size_t i = 0; i < o->parked_count; i++)
		free(o->parked[i].data);
	o->parked_count = 0;
}

bool bus_owner_parked(const struct bus_owner *o, struct bytes key)
{
	bool found;
	if (o->transport)
		return o->transport->owner_parked(o->own, key);
	(void)parked_at(o, key, &found);
	return found;
}

static int ask_hash(struct bus_owner *o, const char *command, const char *key, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, command);
	bus_args_add(&a, key);
	int r = bus_run(o->bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

/* "critical/1-2" */
static void read_head(const char *text, int *ret_klass, struct place *ret)
{
	char name[16];
	const char *slash = strchr(text, '/');
	*ret_klass = -1;
	if (!slash || (size_t)(slash - text) >= sizeof name)
		return;
	snprintf(name, sizeof name, "%.*s", (int)(slash - text), text);
	if (bus_parse_id(slash + 1, &ret->generation, &ret->sequence))
		*ret_klass = bus_class_of(name);
}

/* The key of a hash field <topic>/<key>; empty: of another topic. */
static struct bytes key_of_field(const struct bus_owner *o, const redisReply *field)
{
	size_t prefix = strlen(o->topic);
	bool ours = field->len > prefix && strncmp(field->str, o->topic, prefix) == 0 && field->str[prefix] == '/';
	return ours ? (struct bytes){ (const uint8_t *)field->str + prefix + 1, field->len - prefix - 1 } : NOTHING;
}

static void add_parked(struct bus_owner *o, const redisReply *counts, const redisReply *heads)
{
#ifdef WEIR_MUTANT_NO_PARKED_RELOAD
	return;
#endif
	for (size_t i = 0; i < counts->elements; i++)
		parked_add(o, key_of_field(o, counts->element[i]), -1, (struct place){ 0, 0 });
	for (size_t i = 0; i + 1 < heads->elements; i += 2) {
		bool found;
		size_t at = parked_at(o, key_of_field(o, heads->element[i]), &found);
		if (found)
			read_head(heads->element[i + 1]->str, &o->parked[at].klass, &o->parked[at].head);
	}
}

/* What earlier owners put aside, and what they settled out of turn. */
static int load_parked(struct bus_owner *o, struct error *err)
{
	redisReply *counts, *heads;
	char key[KEY_MAX];
	snprintf(key, sizeof key, PARKED_KEY_FORMAT, o->chain, o->subscription);
	int r = ask_hash(o, "HKEYS", key, &counts, err);
	if (r != 0)
		return r;
	snprintf(key, sizeof key, PARKED_HEAD_KEY_FORMAT, o->chain, o->subscription);
	r = ask_hash(o, "HGETALL", key, &heads, err);
	if (r == 0) {
		parked_forget(o);
		add_parked(o, counts, heads);
		freeReplyObject(heads);
	}
	freeReplyObject(counts);
	if (r != 0)
		return r;
	freeReplyObject(o->settled);
	o->settled = NULL;
	snprintf(key, sizeof key, SETTLED_KEY_FORMAT, o->chain, o->subscription);
	return ask_hash(o, "HKEYS", key, &o->settled, err);
}

#ifndef WEIR_MUTANT_NO_FOLLOWER_PARKING
/* Read again after a crash, but handled before: its key's first letter came behind it, and was handed over only then. */
static bool handled_before_parking(const struct bus_owner *o, const struct bus_message *m)
{
	bool found;
	size_t at = parked_at(o, m->frame.key, &found);
	return found && o->parked[at].klass == m->klass && before((struct place){ m->generation, m->sequence }, o->parked[at].head);
}
#endif

static bool settled_before(const struct bus_owner *o, int klass, const char *id)
{
	if (!o->settled || o->settled->elements == 0)
		return false;
	char field[160];
	snprintf(field, sizeof field, "%s/%s/%s", o->topic, bus_classes[klass], id);
	for (size_t i = 0; i < o->settled->elements; i++)
		if (strcmp(o->settled->element[i]->str, field) == 0)
			return true;
	return false;
}

/* -- owning ----------------------------------------------------------------------------------------------------------------------- */

static bool parse_place(const redisReply *reply, struct place *ret)
{
	*ret = (struct place){ 0, 0 };
	return reply->str && bus_parse_id(reply->str, &ret->generation, &ret->sequence);
}

/* {floor, last id} per class: has Redis lost what was committed, or what was read, or may it have? restart: cursors back to the floors. */
static bool take_positions(struct bus_owner *o, redisReply *const *row, bool restart)
{
	bool lost = false;
	for (int c = 0; c < CLASSES; c++) {
		struct lane *lane = &o->lanes[c];
		struct place floor, last;
		(void)parse_place(row[2 * c], &floor);
		(void)parse_place(row[2 * c + 1], &last);
		lost = lost || before(floor, lane->floor) || before(last, lane->cursor);
		lane->floor = floor;
		if (restart) {
			lane->cursor = floor;
			lane->handed = (struct place){ 0, 0 };
		}
	}
	if (lost)
		bus_count(o->bus, "weir_bus_loss_suspected_total", o->chain, o->topic, o->subscription, 1);
	/* A server that was killed may have lost up to two seconds (while an fsync runs, it answers before it writes), also of what is
	 * not here yet, which no position of ours can show. */
	lost = lost || (*o->run && strcmp(o->run, o->bus->run) != 0);
	o->rolled_back = o->rolled_back || lost;
	memcpy(o->run, o->bus->run, sizeof o->run);
	o->connects = o->bus->connects;
	return lost;
}

int bus_owner_acquire(struct bus_owner *o, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	if (o->transport)
		return o->transport->owner_acquire(o->own, err);
	bus_cluster_route(o->bus, (struct bytes){ (const uint8_t *)o->anchor, strlen(o->anchor) });
	int r = bus_ensure(o->bus, clock_mono_ms() + o->bus->options.command_timeout_ms, err); /* before that the server's run is not known */
	if (r != 0)
		return r;
	call_function(o, &a, "acquire");
	bus_args_add(&a, o->bus->worker);
	bus_args_add_u64(&a, (uint64_t)o->lease_ms);
#ifdef WEIR_MUTANT_NO_NONCE
	bus_args_add(&a, "0");
#else
	bus_args_add_format(&a, "%016" PRIx64, random_u64());
#endif
	bus_args_add(&a, o->bus->run);
	r = bus_run(o->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	if (reply->elements < 2 + 2 * CLASSES) {
		bool known = reply->elements == 3 && reply->element[1]->str && reply->element[2]->str;
		r = error_set(err, WEIR_CONFLICT, "chain %s, subscription %s is owned by %s for another %s ms", o->chain, o->subscription,
			      known ? reply->element[1]->str : "another", known ? reply->element[2]->str : "?");
		freeReplyObject(reply);
		return r;
	}
	snprintf(o->token, sizeof o->token, "%s", reply->element[1]->str);
	(void)take_positions(o, reply->element + 2, true);
	freeReplyObject(reply);
	o->owning = true;
	o->renew_ms = clock_mono_ms() + o->lease_ms / 3;
	o->replay_ms = 0;
	r = load_parked(o, err);
	if (r == 0)
		r = bus_probation_begin(&o->probation, err);
	if (r != 0)
		o->owning = false; /* without knowing the parked keys, and what ended those before, nothing may be read */
	return r;
}

void bus_owner_close(struct bus_owner **owner)
{
	if (!owner || !*owner)
		return;
	struct bus_owner *o = *owner;
	if (o->owning) {
		struct bus_args a = { 0 };
		struct error ignored;
		bus_probation_end(&o->probation);
		call_function(o, &a, "release");
		bus_args_add(&a, o->token);
		(void)bus_run(o->bus, &a, 0, NULL, &ignored); /* best effort: else the lease runs out */
		bus_args_free(&a);
	}
	if (o->transport)
		o->transport->owner_close(o->own);
	bus_tally_free(&o->tally);
	bus_probation_free(&o->probation);
	parked_forget(o);
	free(o->parked);
	freeReplyObject(o->settled);
	bus_batch_free(&o->batch);
	free(o->chain);
	free(o->topic);
	free(o->subscription);
	xfree(owner);
}

struct bus_tally *bus_owner_tally(struct bus_owner *o)
{
	return &o->tally;
}

struct bus_probation *bus_owner_probation(struct bus_owner *o)
{
	return &o->probation;
}

const char *bus_owner_parked_last(const struct bus_owner *o)
{
	return o->parked_last;
}

const char *bus_owner_token(const struct bus_owner *o)
{
	return o->transport ? o->transport->owner_token(o->own) : o->token;
}

void bus_owner_token_of(const struct bus_owner *o, const struct bus_message *m, char ret[96])
{
	if (o->transport)
		o->transport->owner_token_of(o->own, m, ret);
	else
		snprintf(ret, 96, "%s", o->token);
}

bool bus_owner_rolled_back(struct bus_owner *o)
{
	bool was = o->rolled_back || (o->transport && o->transport->owner_rolled_back(o->own));
	o->rolled_back = false;
	return was;
}

static int lost(struct bus_owner *o, int r)
{
	if (r == WEIR_FENCED) {
		o->owning = false;
		bus_probation_lives(&o->probation);
		bus_count(o->bus, "weir_bus_fenced_total", o->chain, o->topic, o->subscription, 1);
	}
	return r;
}

int bus_owner_renew(struct bus_owner *o, struct error *err)
{
	if (o->transport)
		return o->transport->owner_renew(o->own, err);
	struct bus_args a = { 0 };
	call_function(o, &a, "renew");
	bus_args_add(&a, o->token);
	bus_args_add_u64(&a, (uint64_t)o->lease_ms);
	int r = lost(o, bus_run(o->bus, &a, 0, NULL, err));
	bus_args_free(&a);
	if (r == 0)
		o->renew_ms = clock_mono_ms() + o->lease_ms / 3;
	return r;
}

/* A new connection may lead to a server that has lost something. */
static int look_again(struct bus_owner *o, struct error *err)
{
	if (o->connects == o->bus->connects)
		return 0;
	struct bus_args a = { 0 };
	redisReply *reply;
	call_function(o, &a, "look");
	bus_args_add(&a, o->token);
	bus_args_add(&a, o->bus->run);
	int r = lost(o, bus_run(o->bus, &a, 0, &reply, err));
	bus_args_free(&a);
	if (r != 0)
		return r;
	bool lost_some = reply->elements >= 2 * CLASSES && take_positions(o, reply->element, false);
	freeReplyObject(reply);
	if (!lost_some)
		return 0;
	/* Also what was put aside may be lost, behind places that are committed no more: from the floors on again, under a new token. */
	o->owning = false;
	r = bus_owner_acquire(o, err);
	return r == WEIR_CONFLICT ? lost(o, WEIR_FENCED) : r;
}

static int commit_place(struct bus_owner *o, int klass, struct place place, struct error *err)
{
	struct bus_args a = { 0 };
	call_function(o, &a, "commit");
	bus_args_add(&a, o->token);
	bus_args_add_u64(&a, (uint64_t)o->lease_ms);
	bus_args_add(&a, bus_classes[klass]);
	bus_args_add_format(&a, "%" PRIu64 "-%" PRIu64, place.generation, place.sequence);
	bus_args_add(&a, o->bus->run); /* points there: a repetition on a new connection says the new server's */
	int r = lost(o, bus_run(o->bus, &a, 0, NULL, err));
	bus_args_free(&a);
	if (r != 0)
		return r;
	if (before(o->lanes[klass].floor, place))
		o->lanes[klass].floor = place;
	o->renew_ms = clock_mono_ms() + o->lease_ms / 3;
	return 0;
}

int bus_owner_commit(struct bus_owner *o, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *err)
{
	if (klass >= CLASSES)
		return error_set(err, WEIR_INVALID, "no such class: %u", klass);
	if (o->transport)
		return o->transport->owner_commit(o->own, klass, generation, sequence, err);
	struct lane *lane = &o->lanes[klass];
	struct place place = { generation, sequence };
	/* Behind the last entry that the caller got, everything up to the cursor was put aside: done as well. */
	if (lane->handed.generation != 0 && !before(place, lane->handed) && before(place, lane->cursor))
		place = lane->cursor;
	return commit_place(o, klass, place, err);
}

/* -- parking ------------------------------------------------------------------------------------------------------------------------ */

/* *ret_free: a follower whose key has no letters any more (they were purged): it is to be handled. */
static int park(struct bus_owner *o, const struct bus_message *m, struct bytes frame, struct bytes history, const struct error *why, const char *kind,
		bool *ret_free, struct error *err)
{
	struct bus_args a = { 0 };
	struct buf base = BUF_INIT(2ul * FRAME_BODY_MAX), fragment = BUF_INIT(8192 + history.size);
	redisReply *reply = NULL;
	bus_letter_pack(o->chain, o->topic, o->subscription, m, frame, kind, &base);
	buf_add(&fragment, history.data, history.size);
	if (strcmp(kind, "head") == 0)
		bus_attempt_pack(o->bus, why, &fragment);
	call_function(o, &a, "owner_park");
	bus_args_add(&a, o->token);
	bus_args_add(&a, bus_classes[m->klass % CLASSES]);
	bus_args_add(&a, m->id);
	bus_args_add_bytes(&a, m->frame.key);
	bus_args_add(&a, message_type_name(m->frame.type));
	bus_args_add(&a, error_name(why ? why->code : WEIR_INTERNAL));
	bus_args_add(&a, kind);
	bus_args_add(&a, m->letter);
	bus_args_add_bytes(&a, (struct bytes){ base.data, base.size });
	bus_args_add_bytes(&a, (struct bytes){ fragment.data, fragment.size });
	bus_args_add(&a, o->bus->run);
	int r = base.overflow ? error_set(err, WEIR_LIMIT, "entry %s is too large to be parked", m->id)
			      : lost(o, bus_run(o->bus, &a, 0, &reply, err));
	bus_args_free(&a);
	buf_free(&base);
	buf_free(&fragment);
	if (r != 0)
		return r;
	*ret_free = reply && reply->len == 0;
	snprintf(o->parked_last, sizeof o->parked_last, "%s", reply && reply->str ? reply->str : "");
	freeReplyObject(reply);
	if (*ret_free) {
		parked_remove(o, m->frame.key);
	} else {
		if (!*m->letter)
			bus_tally_add(&o->tally, m->frame.type, strcmp(kind, "head") == 0 ? why ? why->code : WEIR_INTERNAL : 0, TALLY_PARKED, 1);
		parked_add(o, m->frame.key, m->klass, (struct place){ m->generation, m->sequence });
	}
	return 0;
}

int bus_owner_park(struct bus_owner *o, const struct bus_message *m, const struct error *why, struct error *err)
{
	return bus_owner_park_after(o, m, NOTHING, why, err);
}

int bus_owner_park_after(struct bus_owner *o, const struct bus_message *m, struct bytes history, const struct error *why, struct error *err)
{
	if (o->transport)
		return o->transport->owner_park(o->own, m, history, why, err);
	struct buf frame = BUF_INIT(2ul * FRAME_BODY_MAX);
	/* The letter keeps the frame as it was read, also when the caller leaves the key out to let its followers pass. */
	const struct frame *read = &m->frame;
	for (size_t i = 0; i < o->batch.count; i++)
		if (o->batch.messages[i].klass == m->klass && strcmp(o->batch.messages[i].id, m->id) == 0)
			read = &o->batch.messages[i].frame;
	frame_write(read, &frame);
	bool is_free = false, follows = !*m->letter && bus_owner_parked(o, m->frame.key);
	struct bytes bytes = { frame.data, frame.size };
	int r = park(o, m, bytes, history, why, follows ? "follower" : "head", &is_free, err);
	if (r == 0 && follows && is_free) /* its head was purged meanwhile */
		r = park(o, m, bytes, history, why, "head", &is_free, err);
	buf_free(&frame);
	return r;
}

static int resolve(struct bus_owner *o, const struct bus_message *const *replayed, size_t n, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	call_function(o, &a, "resolve");
	bus_args_add(&a, o->token);
	bus_args_add(&a, o->bus->run);
	bus_args_add_u64(&a, n);
	for (size_t i = 0; i < n; i++)
		bus_args_add(&a, replayed[i]->letter);
	for (size_t i = 0; i < n; i++)
		bus_args_add_bytes(&a, replayed[i]->frame.key);
	int r = lost(o, bus_run(o->bus, &a, 0, &reply, err));
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; i < n && i < reply->elements; i++)
		if (reply->element[i]->type == REDIS_REPLY_NIL)
			parked_remove(o, replayed[i]->frame.key);
	freeReplyObject(reply);
	o->replay_ms = 0; /* the keys' next letters are free now */
	bus_count(o->bus, "weir_bus_done_total", o->chain, o->topic, o->subscription, n);
	return 0;
}

int bus_owner_resolve_many(struct bus_owner *o, const struct bus_message *const *replayed, size_t n, struct error *err)
{
	if (o->transport)
		return o->transport->owner_resolve(o->own, replayed, n, err);
	for (size_t done = 0; done < n;) {
		size_t some = n - done < RESOLVE_MAX ? n - done : RESOLVE_MAX;
		int r = resolve(o, replayed + done, some, err);
		if (r != 0)
			return r;
		done += some;
	}
	return 0;
}

int bus_owner_resolve(struct bus_owner *o, const struct bus_message *replayed, struct error *err)
{
	return bus_owner_resolve_many(o, &replayed, 1, err);
}

/* -- reading --------------------------------------------------------------------------------------------------------------- */

/* Puts the batch's last message aside if it must not be handled now: undecodable, behind a dead letter, or settled as a letter. */
static int put_aside(struct bus_owner *o, struct bytes frame, bool *ret_aside, struct error *err)
{
	struct bus_message *m = &o->batch.messages[o->batch.count - 1];
	struct error why = { 0 };
	bool is_free = false;
	int r = 0;
	*ret_aside = true;
	if (settled_before(o, m->klass, m->id))
		return 0;
	if (!m->frame_ok) {
		struct frame none;
		(void)frame_read(frame, &none, &why);
		return park(o, m, frame, NOTHING, &why, "head", &is_free, err);
	}
#ifndef WEIR_MUTANT_NO_FOLLOWER_PARKING
	if (m->frame.key.size > 0 && bus_owner_parked(o, m->frame.key)) {
		if (handled_before_parking(o, m))
			return 0;
		error_set(&why, WEIR_CONFLICT, "waits behind a dead letter of the same key");
		r = park(o, m, frame, NOTHING, &why, "follower", &is_free, err);
		if (r != 0 || !is_free)
			return r;
	}
#endif
	*ret_aside = false;
	return r;
}

static int take_message(struct bus_owner *o, struct bytes frame, struct error *err)
{
	const struct bus_message *m = &o->batch.messages[o->batch.count - 1];
	struct lane *lane = &o->lanes[m->klass];
	struct place place = { m->generation, m->sequence };
	bool aside;
	int r = put_aside(o, frame, &aside, err);
	if (r != 0 || aside)
		o->batch.count--;
	if (r != 0)
		return r;
	lane->cursor = place;
	if (!aside)
		lane->handed = place;
	return 0;
}

/* Of an entry with several messages those behind the cursor, as many as there is room for. */
static int take_entry(struct bus_owner *o, const redisReply *entry, int klass, size_t max, struct error *err)
{
	struct bus_entry e;
	struct bytes frame;
	int r = 0;
	if (!bus_entry_open(&e, entry, klass))
		return 0;
	o->per_entry = e.count;
	while (r == 0 && o->batch.count < max && e.given < e.count) {
		struct bus_message *m = bus_batch_add(&o->batch);
		(void)bus_entry_next(&e, m, &frame);
		if (before(o->lanes[klass].cursor, (struct place){ m->generation, m->sequence }))
			r = take_message(o, frame, err);
		else
			o->batch.count--;
	}
	return r;
}

/* How many messages a class' entries hold, and how old the first is. */
static size_t messages_in(const redisReply *entries, int klass, int64_t *ret_age_ms)
{
	size_t n = 0;
	for (size_t i = 0; i < entries->elements; i++) {
		struct bus_entry e;
		if (!bus_entry_open(&e, entries->element[i], klass))
			continue;
		int64_t created = n == 0 ? (int64_t)frame_created(e.rest) : 0;
		if (created > 0)
			*ret_age_ms = clock_wall_ms() - created;
		n += e.count;
	}
	return n;
}

/* How many of each class go into this read: all, or its share where there are more than max. */
static void share_out(struct bus_owner *o, const redisReply *reply, size_t max, size_t ret[CLASSES])
{
	size_t wanted[CLASSES] = { 0 };
	int64_t age_ms[CLASSES] = { 0 };
	for (int c = 0; c < CLASSES; c++)
		ret[c] = max;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
		return;
	for (size_t i = 0; i < reply->elements; i++) {
		int klass = bus_class_of_stream(o->chain, o->topic, reply->element[i]->element[0]->str);
		if (klass >= 0)
			wanted[klass] = messages_in(reply->element[i]->element[1], klass, &age_ms[klass]);
	}
	bus_share_out(&o->share, max, wanted, age_ms, ret);
}

/* Is the token still the lease's? A commit is fenced, but effects that were done before it are done: so it is asked with each read, behind it. */
static int check_token(struct bus_owner *o, const redisReply *token, struct error *err)
{
	if (token->type == REDIS_REPLY_STRING && strcmp(token->str, o->token) == 0)
		return 0;
	return lost(o, error_set(err, WEIR_FENCED, "chain %s, subscription %s: the lease has another holder", o->chain, o->subscription));
}

static int read_streams(struct bus_owner *o, size_t max, int64_t block_ms, struct error *err)
{
	struct bus_args a[2] = { 0 };
	redisReply *replies[2] = { NULL };
	bus_args_add(&a[0], "XREAD");
	bus_args_add(&a[0], "COUNT");
	bus_args_add_u64(&a[0], o->per_entry > 1 ? (max - 1) / o->per_entry + 1 : max);
	if (block_ms > 0) {
		bus_args_add(&a[0], "BLOCK");
		bus_args_add_u64(&a[0], (uint64_t)block_ms);
	}
	bus_args_add(&a[0], "STREAMS");
	for (int c = 0; c < CLASSES; c++)
		bus_args_add_format(&a[0], STREAM_KEY_FORMAT, o->chain, o->topic, bus_classes[c]);
	for (int c = 0; c < CLASSES; c++)
		bus_args_add_format(&a[0], "%" PRIu64 "-%" PRIu64, o->lanes[c].cursor.generation, o->lanes[c].cursor.sequence);
	bus_args_add(&a[1], "HGET");
	bus_args_add_format(&a[1], OWNER_KEY_FORMAT, o->chain, o->topic, o->subscription);
	bus_args_add(&a[1], "token");
	int r = bus_run_into(o->bus, a, 2, block_ms, bus_batch_arena(&o->batch), replies, err);
	for (int i = 0; i < 2; i++)
		bus_args_free(&a[i]);
	if (r == 0)
		r = bus_reply_error(o->bus, replies[0], "XREAD", err);
	if (r == 0)
		r = bus_reply_error(o->bus, replies[1], "HGET", err);
	if (r != 0)
		return r;
	if (o->connects != o->bus->connects) /* from a server that may have lost something: our cursors first */
		return look_again(o, err);
	r = check_token(o, replies[1], err);
	if (r != 0)
		return r;
	const redisReply *reply = replies[0];
	/* COUNT is per stream: what is more than its share is left for the next read, its cursor has not moved. */
	size_t shares[CLASSES];
	share_out(o, reply, max, shares);
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && r == 0; i++) {
		const redisReply *entries = reply->element[i]->element[1];
		int klass = bus_class_of_stream(o->chain, o->topic, reply->element[i]->element[0]->str);
		size_t until = klass >= 0 && o->batch.count + shares[klass] < max ? o->batch.count + shares[klass] : max;
		for (size_t j = 0; klass >= 0 && j < entries->elements && o->batch.count < until && r == 0; j++)
			r = take_entry(o, entries->element[j], klass, until, err);
	}
	return r;
}

/* Where all that was read since the floor was put aside, nobody will commit it but we. */
static int commit_aside(struct bus_owner *o, struct error *err)
{
	int r = 0;
	for (int c = 0; c < CLASSES && r == 0; c++) {
		const struct lane *lane = &o->lanes[c];
		if (before(lane->floor, lane->cursor) && !before(lane->floor, lane->handed))
			r = commit_place(o, c, lane->cursor, err);
	}
	return r;
}

static int take_replays(struct bus_owner *o, size_t max, struct error *err)
{
	if (clock_mono_ms() < o->replay_ms)
		return 0;
	int r = lost(o, bus_take_replays(o->bus, o->chain, o->topic, o->subscription, o->token, max, &o->batch, err));
	o->replayed = o->batch.count > 0;
	o->replay_ms = o->replayed ? 0 : clock_mono_ms() + REPLAY_EVERY_MS;
	return r;
}

static int read_once(struct bus_owner *o, size_t max, int64_t left, struct error *err)
{
	int r = clock_mono_ms() >= o->renew_ms ? bus_owner_renew(o, err) : 0;
	const bool new_first = o->replayed; /* however many letters are to be tried again, what is new has its turn in between */
	if (r == 0 && !new_first)
		r = take_replays(o, max, err);
	if (r == 0)
		r = look_again(o, err);
	if (r == 0 && o->batch.count == 0)
		bus_share_look(&o->share, o->bus, o->chain, o->topic, o->subscription);
	if (r == 0 && o->batch.count == 0)
		r = read_streams(o, max, left <= 0 || new_first ? 0 : left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS, err);
	if (new_first)
		o->replayed = false;
	if (r == 0)
		r = commit_aside(o, err);
	return r;
}

int bus_owner_read(struct bus_owner *o, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bus_batch_reset(&o->batch);
	*ret = NULL;
	*ret_n = 0;
	if (max == 0)
		return bus_refuse_nothing(err);
	if (o->transport)
		return o->transport->owner_read(o->own, max, timeout_ms, ret, ret_n, err);
	if (!o->owning)
		return error_set(err, WEIR_FENCED, "chain %s, subscription %s is not owned by this process", o->chain, o->subscription);
	bus_tally_tell(&o->tally);
	for (;;) {
		if (bus_canceled(o->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		int r = read_once(o, max, deadline - clock_mono_ms(), err);
		if (r != 0 && (o->batch.count == 0 || r == WEIR_FENCED))
			return r;
		if (o->batch.count > 0 || clock_mono_ms() >= deadline)
			break;
	}
	*ret = o->batch.messages;
	*ret_n = o->batch.count;
	bus_count(o->bus, "weir_bus_read_total", o->chain, o->topic, o->subscription, *ret_n);
	return 0;
}

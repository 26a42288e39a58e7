/* owner.c - the ordered lane: one owner by lease with a fencing token, a read cursor in memory, the committed floor in Redis.
 *
 * states: idle --acquire--> owning --(FENCED, lost lease)--> idle. Entering owning puts the cursors on the floors, so that what was
 * not committed is read again.
 */
#include "bus/internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_SLICE_MS 200
#define REPLAY_EVERY_MS 500

struct bus_owner {
	struct bus *bus;
	char *chain, *topic, *subscription;
	char anchor[KEY_MAX], token[96];
	int64_t lease_ms, renew_ms, replay_ms;
	char cursor[CLASSES][48];
	bool owning, rolled_back, had_floor;
	struct bus_batch batch;
	char **parked; /* keys with dead letters: their followers must wait */
	size_t parked_count;
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
	*ret = o;
	return 0;
}

static void forget_parked(struct bus_owner *o)
{
	for (size_t i = 0; i < o->parked_count; i++)
		free(o->parked[i]);
	free(o->parked);
	o->parked = NULL;
	o->parked_count = 0;
}

static void call(const struct bus_owner *o, struct bus_args *a, const char *function)
{
	bus_call(a, function, o->anchor);
	bus_args_add(a, o->topic);
	bus_args_add(a, o->subscription);
}

void bus_owner_close(struct bus_owner **owner)
{
	struct bus_owner *o = *owner;
	if (!o)
		return;
	if (o->owning) {
		struct bus_args a = { 0 };
		struct error ignored;
		call(o, &a, "weir1_release");
		bus_args_add(&a, o->token);
		(void)bus_run(o->bus, &a, 500, NULL, &ignored); /* best effort: else the lease runs out */
		bus_args_free(&a);
	}
	forget_parked(o);
	bus_batch_free(&o->batch);
	free(o->chain);
	free(o->topic);
	free(o->subscription);
	xfree(owner);
}

static void remember_parked(struct bus_owner *o, const char *key, size_t size)
{
	if (size == 0)
		return;
	o->parked = xrealloc(o->parked, o->parked_count + 1, sizeof *o->parked);
	o->parked[o->parked_count++] = xstrndup(key, size);
}

static int load_parked(struct bus_owner *o, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	char key[KEY_MAX];
	snprintf(key, sizeof key, PARKED_KEY_FORMAT, o->chain, o->subscription);
	bus_args_add(&a, "HKEYS");
	bus_args_add(&a, key);
	int r = bus_run(o->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	forget_parked(o);
	for (size_t i = 0; i < reply->elements; i++)
		remember_parked(o, reply->element[i]->str, reply->element[i]->len);
	freeReplyObject(reply);
	return 0;
}

int bus_owner_acquire(struct bus_owner *o, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	char nonce[24];
	snprintf(nonce, sizeof nonce, "%016" PRIx64, random_u64());
	call(o, &a, "weir1_acquire");
	bus_args_add(&a, o->bus->worker);
	bus_args_add_u64(&a, (uint64_t)o->lease_ms);
	bus_args_add(&a, nonce);
	int r = bus_run(o->bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	if (reply->element[0]->integer == 0) {
		r = error_set(err, WEIR_CONFLICT, "chain %s, subscription %s is owned by %s for another %s ms", o->chain, o->subscription,
			      reply->element[1]->str, reply->element[2]->str);
		freeReplyObject(reply);
		return r;
	}
	snprintf(o->token, sizeof o->token, "%s", reply->element[1]->str);
	bool has_floor = false;
	for (int c = 0; c < CLASSES; c++) {
		snprintf(o->cursor[c], sizeof o->cursor[c], "%s", reply->element[2 + c]->str);
		has_floor = has_floor || strcmp(o->cursor[c], "0-0") != 0;
	}
	freeReplyObject(reply);
	if (o->had_floor && !has_floor)
		o->rolled_back = true; /* Redis was flushed: what we knew of it is gone */
	o->had_floor = has_floor;
	o->owning = true;
	o->renew_ms = clock_mono_ms() + o->lease_ms / 3;
	return load_parked(o, err);
}

const char *bus_owner_token(const struct bus_owner *o)
{
	return o->token;
}

static int lost(struct bus_owner *o, int r)
{
	if (r == WEIR_FENCED) {
		o->owning = false;
		bus_count(o->bus, "weir_bus_fenced_total", o->chain, o->topic, o->subscription, 1);
	}
	return r;
}

int bus_owner_renew(struct bus_owner *o, struct error *err)
{
	struct bus_args a = { 0 };
	call(o, &a, "weir1_renew");
	bus_args_add(&a, o->token);
	bus_args_add_u64(&a, (uint64_t)o->lease_ms);
	int r = lost(o, bus_run(o->bus, &a, 0, NULL, err));
	bus_args_free(&a);
	if (r == 0)
		o->renew_ms = clock_mono_ms() + o->lease_ms / 3;
	return r;
}

static int park(struct bus_owner *o, const struct bus_message *m, struct bytes frame, const struct error *why, const char *kind, struct error *err)
{
	struct bus_args a = { 0 };
	struct buf letter = BUF_INIT(FRAME_BODY_MAX * 2ul);
	dead_letter_pack(o->bus, o->chain, o->topic, o->subscription, m, frame, why, kind, &letter);
	call(o, &a, "weir1_owner_park");
	bus_args_add(&a, o->token);
	bus_args_add(&a, bus_classes[m->klass]);
	bus_args_add(&a, m->id);
	bus_args_add_bytes(&a, m->frame.key);
	bus_args_add(&a, message_type_name(m->frame.type));
	bus_args_add(&a, error_name(why ? why->code : WEIR_INTERNAL));
	bus_args_add(&a, kind);
	bus_args_add_bytes(&a, (struct bytes){ letter.data, letter.size });
	int r = lost(o, bus_run(o->bus, &a, 0, NULL, err));
	bus_args_free(&a);
	buf_free(&letter);
	if (r == 0) {
		bus_count(o->bus, "weir_bus_dead_letters_total", o->chain, o->topic, o->subscription, 1);
		if (!bus_owner_parked(o, m->frame.key))
			remember_parked(o, (const char *)m->frame.key.data, m->frame.key.size);
	}
	return r;
}

int bus_owner_park(struct bus_owner *o, const struct bus_message *m, const struct error *why, struct error *err)
{
	struct buf frame = BUF_INIT(FRAME_BODY_MAX * 2ul);
	bus_frame_bytes(m, &frame);
	int r = park(o, m, (struct bytes){ frame.data, frame.size }, why, "head", err);
	buf_free(&frame);
	return r;
}

bool bus_owner_parked(const struct bus_owner *o, struct bytes key)
{
	for (size_t i = 0; i < o->parked_count; i++)
		if (strlen(o->parked[i]) == key.size && memcmp(o->parked[i], key.data, key.size) == 0)
			return true;
	return false;
}

int bus_owner_resolve(struct bus_owner *o, const struct bus_message *replayed, struct error *err)
{
	struct bus_args a = { 0 };
	call(o, &a, "weir1_resolve");
	bus_args_add(&a, o->token);
	bus_args_add(&a, replayed->letter);
	int r = lost(o, bus_run(o->bus, &a, 0, NULL, err));
	bus_args_free(&a);
	return r == 0 ? load_parked(o, err) : r;
}

bool bus_owner_rolled_back(struct bus_owner *o)
{
	bool was = o->rolled_back;
	o->rolled_back = false;
	return was;
}

/* -- reading --------------------------------------------------------------------------------------------------------------- */

/* One entry: undecodable and parked-key messages are put aside here, in order, before the cursor passes them. */
static int take_entry(struct bus_owner *o, const redisReply *entry, int klass, struct error *err)
{
	struct bytes frame;
	struct bus_message *m = bus_batch_add(&o->batch);
	if (!bus_batch_entry(m, entry, klass, &frame)) {
		o->batch.count--;
		return 0;
	}
	int r = 0;
	struct bus_message aside = *m;
	if (!m->frame_ok) {
		struct error why = { 0 };
		struct frame decoded;
		(void)frame_read(frame, &decoded, &why);
		o->batch.count--;
		r = park(o, &aside, frame, &why, "head", err);
	} else if (aside.frame.key.size > 0 && bus_owner_parked(o, aside.frame.key)) {
		struct error why = { 0 };
		error_set(&why, WEIR_CONFLICT, "waits behind a dead letter of the same key");
		o->batch.count--;
		r = park(o, &aside, frame, &why, "follower", err);
	}
	if (r == 0)
		snprintf(o->cursor[klass], sizeof o->cursor[klass], "%s", aside.id);
	return r;
}

static int klass_of(const struct bus_owner *o, const char *name)
{
	char key[KEY_MAX];
	for (int c = 0; c < CLASSES; c++) {
		bus_stream(o->chain, o->topic, c, key);
		if (strcmp(key, name) == 0)
			return c;
	}
	return -1;
}

static int read_streams(struct bus_owner *o, size_t max, int64_t block_ms, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	char keys[CLASSES][KEY_MAX];
	bus_args_add(&a, "XREAD");
	bus_args_add(&a, "COUNT");
	bus_args_add_u64(&a, max);
	if (block_ms > 0) {
		bus_args_add(&a, "BLOCK");
		bus_args_add_u64(&a, (uint64_t)block_ms);
	}
	bus_args_add(&a, "STREAMS");
	for (int c = 0; c < CLASSES; c++) {
		bus_stream(o->chain, o->topic, c, keys[c]);
		bus_args_add(&a, keys[c]);
	}
	for (int c = 0; c < CLASSES; c++)
		bus_args_add(&a, o->cursor[c]);
	int r = bus_run(o->bus, &a, block_ms, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && r == 0; i++) {
		const redisReply *entries = reply->element[i]->element[1];
		int klass = klass_of(o, reply->element[i]->element[0]->str);
		for (size_t j = 0; klass >= 0 && j < entries->elements && r == 0; j++)
			r = take_entry(o, entries->element[j], klass, err);
	}
	bus_batch_keep(&o->batch, reply);
	return r;
}

int bus_owner_read(struct bus_owner *o, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bus_batch_reset(&o->batch);
	*ret_n = 0;
	if (!o->owning)
		return error_set(err, WEIR_FENCED, "chain %s, subscription %s is not owned by this process", o->chain, o->subscription);
	for (;;) {
		if (bus_canceled(o->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		int r = clock_mono_ms() >= o->renew_ms ? bus_owner_renew(o, err) : 0;
		if (r == 0 && o->parked_count > 0 && clock_mono_ms() >= o->replay_ms) {
			o->replay_ms = clock_mono_ms() + REPLAY_EVERY_MS;
			r = bus_take_replays(o->bus, o->chain, o->subscription, max, &o->batch, err);
		}
		int64_t left = deadline - clock_mono_ms();
		if (r == 0 && o->batch.count == 0)
			r = read_streams(o, max, left <= 0 ? 0 : left < BLOCK_SLICE_MS ? left : BLOCK_SLICE_MS, err);
		if (r != 0 && o->batch.count == 0)
			return r;
		if (o->batch.count > 0 || clock_mono_ms() >= deadline)
			break;
	}
	*ret = o->batch.messages;
	*ret_n = o->batch.count;
	bus_count(o->bus, "weir_bus_read_total", o->chain, o->topic, o->subscription, *ret_n);
	return 0;
}

int bus_owner_commit(struct bus_owner *o, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *err)
{
	struct bus_args a = { 0 };
	char id[48];
	snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, generation, sequence);
	call(o, &a, "weir1_commit");
	bus_args_add(&a, o->token);
	bus_args_add_u64(&a, (uint64_t)o->lease_ms);
	bus_args_add(&a, bus_classes[klass % CLASSES]);
	bus_args_add(&a, id);
	int r = lost(o, bus_run(o->bus, &a, 0, NULL, err));
	bus_args_free(&a);
	if (r == 0) {
		o->had_floor = true;
		o->renew_ms = clock_mono_ms() + o->lease_ms / 3;
	}
	return r;
}

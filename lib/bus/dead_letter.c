/* dead_letter.c - the dead-letter queue as operators use it: list, show, replay, purge; and handing letters out for replay. */
#include "bus/internal.h"

#include "weir/v1/dead_letter.pb-c.h"

#include <stdio.h>
#include <string.h>

#define PAGE 128
#define REPLAY_HOLD_MS 60000
#define IDS_PER_CALL 500

static bool matches(const struct dead_letter_filter *f, const redisReply *fields)
{
	const struct {
		const char *wanted, *field;
	} rows[] = { { f ? f->type : NULL, "type" }, { f ? f->reason : NULL, "reason" }, { f ? f->key : NULL, "key" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const redisReply *value = rows[i].wanted ? bus_reply_field(fields, rows[i].field) : NULL;
		if (rows[i].wanted && *rows[i].wanted && (!value || strcmp(value->str, rows[i].wanted) != 0))
			return false;
	}
	return true;
}

typedef bool letter_fn(const char *id, const redisReply *fields, void *arg);

/* Every letter behind the cursor, oldest first, in pages. */
static int each(struct bus *bus, const char *chain, const char *subscription, const char *cursor, letter_fn *fn, void *arg, struct error *err)
{
	char key[KEY_MAX], from[64];
	snprintf(key, sizeof key, DEAD_KEY_FORMAT, chain, subscription);
	snprintf(from, sizeof from, "%s%s", cursor && *cursor ? "(" : "-", cursor && *cursor ? cursor : "");
	for (;;) {
		struct bus_args a = { 0 };
		redisReply *reply;
		bus_args_add(&a, "XRANGE");
		bus_args_add(&a, key);
		bus_args_add(&a, from);
		bus_args_add(&a, "+");
		bus_args_add(&a, "COUNT");
		bus_args_add_u64(&a, PAGE);
		int r = bus_run(bus, &a, 0, &reply, err);
		bus_args_free(&a);
		if (r != 0)
			return r;
		size_t n = reply->elements;
		bool more = n == PAGE;
		for (size_t i = 0; i < n; i++) {
			const char *id = reply->element[i]->element[0]->str;
			snprintf(from, sizeof from, "(%s", id);
			if (!fn(id, reply->element[i]->element[1], arg)) {
				more = false;
				break;
			}
		}
		freeReplyObject(reply);
		if (!more)
			return 0;
	}
}

struct listing {
	const struct dead_letter_filter *filter;
	size_t limit, given;
	dead_letter_fn *fn;
	void *arg;
};

static bool list_one(const char *id, const redisReply *fields, void *arg)
{
	struct listing *l = arg;
	const redisReply *body = bus_reply_field(fields, "d");
	if (!body || !matches(l->filter, fields))
		return true;
	l->given++;
	return l->fn(id, (struct bytes){ (const uint8_t *)body->str, body->len }, l->arg) && (l->limit == 0 || l->given < l->limit);
}

int dead_letter_list(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *cursor,
		     size_t limit, dead_letter_fn *fn, void *arg, struct error *err)
{
	struct listing l = { filter, limit, 0, fn, arg };
	return each(bus, chain, subscription, cursor, list_one, &l, err);
}

static bool is_letter_id(const char *id)
{
	uint64_t generation, sequence;
	return id && strlen(id) < 48 && bus_parse_id(id, &generation, &sequence);
}

int dead_letter_show(struct bus *bus, const char *chain, const char *subscription, const char *id, dead_letter_fn *fn, void *arg, struct error *err)
{
	if (!is_letter_id(id))
		return error_set(err, WEIR_INVALID, "not a dead letter's id");
	char key[KEY_MAX];
	snprintf(key, sizeof key, DEAD_KEY_FORMAT, chain, subscription);
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "XRANGE");
	bus_args_add(&a, key);
	bus_args_add(&a, id);
	bus_args_add(&a, id);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	const redisReply *body = reply->elements == 1 ? bus_reply_field(reply->element[0]->element[1], "d") : NULL;
	if (body)
		(void)fn(id, (struct bytes){ (const uint8_t *)body->str, body->len }, arg);
	else
		r = error_set(err, WEIR_NOT_FOUND, "subscription %s of chain %s has no dead letter %s", subscription, chain, id);
	freeReplyObject(reply);
	return r;
}

/* -- acting on many --------------------------------------------------------------------------------------------------------- */

struct ids {
	char (*ids)[48];
	size_t count, capacity;
	const struct dead_letter_filter *filter;
};

static void ids_add(struct ids *list, const char *id)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 64;
		list->ids = xrealloc(list->ids, list->capacity, sizeof *list->ids);
	}
	snprintf(list->ids[list->count++], sizeof list->ids[0], "%s", id);
}

static bool collect_one(const char *id, const redisReply *fields, void *arg)
{
	struct ids *list = arg;
	if (matches(list->filter, fields))
		ids_add(list, id);
	return true;
}

/* function: weir1_mark_replay or weir1_purge; lead: its arguments before the ids. */
static int act(struct bus *bus, const char *function, const char *chain, const char *subscription, const struct dead_letter_filter *filter,
	       const char *const *ids, size_t n, const char *const *lead, size_t lead_count, uint64_t *ret_n, struct error *err)
{
	struct ids list = { .filter = filter };
	char anchor[KEY_MAX];
	int r = 0;
	*ret_n = 0;
	bus_anchor(chain, anchor);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (is_letter_id(ids[i]))
			ids_add(&list, ids[i]);
		else
			r = error_set(err, WEIR_INVALID, "not a dead letter's id");
	}
	if (n == 0)
		r = each(bus, chain, subscription, NULL, collect_one, &list, err);
	for (size_t done = 0; r == 0 && done < list.count;) {
		struct bus_args a = { 0 };
		redisReply *reply;
		bus_call(&a, function, anchor);
		for (size_t i = 0; i < lead_count; i++)
			bus_args_add(&a, lead[i]);
		for (size_t i = 0; i < IDS_PER_CALL && done < list.count; i++)
			bus_args_add(&a, list.ids[done++]);
		r = bus_run(bus, &a, 0, &reply, err);
		bus_args_free(&a);
		if (r == 0) {
			*ret_n += (uint64_t)reply->integer;
			freeReplyObject(reply);
		}
	}
	free(list.ids);
	return r;
}

int dead_letter_replay(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter,
		       const char *const *ids, size_t n, const char *who, uint64_t *ret_n, struct error *err)
{
	return act(bus, "weir1_mark_replay", chain, subscription, filter, ids, n, (const char *[]){ subscription, who }, 2, ret_n, err);
}

int dead_letter_purge(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *const *ids,
		      size_t n, const char *who, const char *why, uint64_t *ret_n, struct error *err)
{
	return act(bus, "weir1_purge", chain, subscription, filter, ids, n, (const char *[]){ subscription, who, why }, 3, ret_n, err);
}

int dead_letter_count(struct bus *bus, const char *chain, const char *subscription, uint64_t *ret, struct error *err)
{
	char key[KEY_MAX];
	snprintf(key, sizeof key, DEAD_KEY_FORMAT, chain, subscription);
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "XLEN");
	bus_args_add(&a, key);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r == 0) {
		*ret = (uint64_t)reply->integer;
		freeReplyObject(reply);
	}
	return r;
}

/* -- handing out ------------------------------------------------------------------------------------------------------------ */

int bus_take_replays(struct bus *bus, const char *chain, const char *subscription, size_t max, struct bus_batch *batch, struct error *err)
{
	char anchor[KEY_MAX];
	bus_anchor(chain, anchor);
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_call(&a, "weir1_take_replays", anchor);
	bus_args_add(&a, subscription);
	bus_args_add_u64(&a, max);
	bus_args_add_u64(&a, REPLAY_HOLD_MS);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; i < reply->elements; i++) {
		const redisReply *fields = reply->element[i]->element[1], *body = bus_reply_field(fields, "d"), *klass = bus_reply_field(fields, "class");
		Weir__V1__DeadLetter *letter = body ? weir__v1__dead_letter__unpack(NULL, body->len, (const uint8_t *)body->str) : NULL;
		if (!letter || letter->frame.len > body->len) {
			if (letter)
				weir__v1__dead_letter__free_unpacked(letter, NULL);
			continue;
		}
		/* The frame stands inside the packed letter, which the batch keeps: point there instead of copying. */
		const uint8_t *frame = memmem(body->str, body->len, letter->frame.data, letter->frame.len);
		struct bus_message *m = bus_batch_add(batch);
		m->replay = true;
		snprintf(m->letter, sizeof m->letter, "%s", reply->element[i]->element[0]->str);
		snprintf(m->id, sizeof m->id, "%s", letter->entry_id);
		(void)bus_parse_id(m->id, &m->generation, &m->sequence);
		for (int c = 0; klass && c < CLASSES; c++)
			if (strcmp(bus_classes[c], klass->str) == 0)
				m->klass = (uint8_t)c;
		m->frame_ok = frame && frame_read((struct bytes){ frame, letter->frame.len }, &m->frame, NULL) == 0;
		weir__v1__dead_letter__free_unpacked(letter, NULL);
		if (!m->frame_ok)
			batch->count--;
	}
	bus_count(bus, "weir_bus_replayed_total", chain, NULL, subscription, reply->elements);
	bus_batch_keep(batch, reply);
	return 0;
}

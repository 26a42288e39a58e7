/* dead_letter.c - the dead-letter queue as operators use it: list, show, replay, purge; and handing letters out for replay. */
#include "bus/internal.h"

#include <stdio.h>
#include <string.h>

#define PAGE 64
#define IDS_PER_CALL 500
#define LETTER_MAX (2ul * FRAME_BODY_MAX)

static bool matches(const struct dead_letter_filter *f, const redisReply *fields)
{
	const struct {
		const char *wanted, *field;
	} rows[] = { { f ? f->type : NULL, "type" }, { f ? f->reason : NULL, "reason" }, { f ? f->key : NULL, "key" } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const redisReply *value = rows[i].wanted && *rows[i].wanted ? bus_reply_field(fields, rows[i].field) : NULL;
		if (rows[i].wanted && *rows[i].wanted && (!value || strcmp(value->str, rows[i].wanted) != 0))
			return false;
	}
	return true;
}

/* Gives one letter to the caller, with what happened to it since it was parked. */
static int give(struct bus *bus, const char *chain, const char *subscription, const char *id, const redisReply *fields, dead_letter_fn *fn, void *arg,
		bool *ret_more, struct error *err)
{
	const redisReply *body = bus_reply_field(fields, "d");
	struct bus_args a = { 0 };
	redisReply *history;
	*ret_more = true;
	bus_args_add(&a, "HGET");
	bus_args_add_format(&a, "weir:{%s}:dlqr:%s", chain, subscription);
	bus_args_add(&a, id);
	int r = bus_run(bus, &a, 0, &history, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	struct bytes whole = body ? (struct bytes){ (const uint8_t *)body->str, body->len } : (struct bytes){ NULL, 0 };
	struct buf joined = BUF_INIT(LETTER_MAX);
	if (history->str) {
		buf_add(&joined, whole.data, whole.size);
		buf_add(&joined, history->str, history->len);
		whole = (struct bytes){ joined.data, joined.size };
	}
	if (body)
		*ret_more = fn(id, whole, arg);
	buf_free(&joined);
	freeReplyObject(history);
	return 0;
}

/* on_letter: 0 goes on, >0 ends, <0 is an error. */
typedef int letter_fn(const char *id, const redisReply *fields, void *arg, struct error *);

/* Every letter behind the cursor, oldest first, in pages. */
static int each(struct bus *bus, const char *chain, const char *subscription, const char *cursor, letter_fn *fn, void *arg, struct error *err)
{
	char from[64];
	snprintf(from, sizeof from, "%s%s", cursor && *cursor ? "(" : "-", cursor && *cursor ? cursor : "");
	for (size_t n = PAGE; n == PAGE;) {
		struct bus_args a = { 0 };
		redisReply *reply;
		bus_args_add(&a, "XRANGE");
		bus_args_add_format(&a, DEAD_KEY_FORMAT, chain, subscription);
		bus_args_add(&a, from);
		bus_args_add(&a, "+");
		bus_args_add(&a, "COUNT");
		bus_args_add_u64(&a, PAGE);
		int r = bus_run(bus, &a, 0, &reply, err);
		bus_args_free(&a);
		if (r != 0)
			return r;
		n = reply->elements;
		for (size_t i = 0; i < n && r == 0; i++) {
			const char *id = reply->element[i]->element[0]->str;
			snprintf(from, sizeof from, "(%s", id);
			r = fn(id, reply->element[i]->element[1], arg, err);
		}
		freeReplyObject(reply);
		if (r != 0)
			return r > 0 ? 0 : r;
	}
	return 0;
}

struct listing {
	struct bus *bus;
	const char *chain, *subscription;
	const struct dead_letter_filter *filter;
	size_t limit, given;
	dead_letter_fn *fn;
	void *arg;
};

static int list_one(const char *id, const redisReply *fields, void *arg, struct error *err)
{
	struct listing *l = arg;
	if (!matches(l->filter, fields))
		return 0;
	bool more;
	int r = give(l->bus, l->chain, l->subscription, id, fields, l->fn, l->arg, &more, err);
	l->given++;
	return r ? r : !more || (l->limit > 0 && l->given >= l->limit);
}

static bool is_letter_id(const char *id)
{
	uint64_t generation, sequence;
	return id && strlen(id) < 48 && bus_parse_id(id, &generation, &sequence);
}

int dead_letter_list(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *cursor,
		     size_t limit, dead_letter_fn *fn, void *arg, struct error *err)
{
	if (cursor && *cursor && !is_letter_id(cursor))
		return error_set(err, WEIR_INVALID, "not a cursor of this list");
	struct listing l = { bus, chain, subscription, filter, limit, 0, fn, arg };
	return each(bus, chain, subscription, cursor, list_one, &l, err);
}

int dead_letter_show(struct bus *bus, const char *chain, const char *subscription, const char *id, dead_letter_fn *fn, void *arg, struct error *err)
{
	if (!is_letter_id(id))
		return error_set(err, WEIR_INVALID, "not a dead letter's id");
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "XRANGE");
	bus_args_add_format(&a, DEAD_KEY_FORMAT, chain, subscription);
	bus_args_add(&a, id);
	bus_args_add(&a, id);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	bool more;
	if (reply->elements == 1)
		r = give(bus, chain, subscription, id, reply->element[0]->element[1], fn, arg, &more, err);
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

static int collect_one(const char *id, const redisReply *fields, void *arg, struct error *err)
{
	(void)err;
	struct ids *list = arg;
	if (matches(list->filter, fields))
		ids_add(list, id);
	return 0;
}

/* lead: the function's arguments before the ids. */
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
			bus_args_add(&a, lead[i] ? lead[i] : "");
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
	return act(bus, "mark_replay", chain, subscription, filter, ids, n, (const char *[]){ subscription, who }, 2, ret_n, err);
}

int dead_letter_purge(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *const *ids,
		      size_t n, const char *who, const char *why, uint64_t *ret_n, struct error *err)
{
	return act(bus, "purge", chain, subscription, filter, ids, n, (const char *[]){ subscription, who, why }, 3, ret_n, err);
}

int dead_letter_count(struct bus *bus, const char *chain, const char *subscription, uint64_t *ret, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "XLEN");
	bus_args_add_format(&a, DEAD_KEY_FORMAT, chain, subscription);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r == 0) {
		*ret = (uint64_t)reply->integer;
		freeReplyObject(reply);
	}
	return r;
}

/* -- handing out ------------------------------------------------------------------------------------------------------------ */

int bus_take_replays(struct bus *bus, const char *chain, const char *topic, const char *subscription, const char *token, size_t max,
		     struct bus_batch *batch, struct error *err)
{
	char anchor[KEY_MAX];
	bus_anchor(chain, anchor);
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_call(&a, "take_replays", anchor);
	bus_args_add(&a, subscription);
	bus_args_add_u64(&a, max);
	bus_args_add_u64(&a, REPLAY_HOLD_MS);
	bus_args_add(&a, token ? token : "");
	bus_args_add(&a, topic);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; i < reply->elements; i++)
		if (!bus_batch_letter(bus_batch_add(batch), reply->element[i]))
			batch->count--; /* undecodable: stays a dead letter */
	bus_count(bus, "weir_bus_replayed_total", chain, topic, subscription, reply->elements);
	bus_batch_keep(batch, reply);
	return 0;
}

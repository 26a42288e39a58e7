/* dead_letter.c - finding dead letters, replaying and purging them; and handing letters out for replay. */
#include "bus/letter/letters.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"
#include "bus/retry.h"

#include <stdio.h>
#include <string.h>

#define PAGE 200
#define IDS_PER_CALL 500
#define IDS_PER_PAGE 5000

bool dead_letter_is_id(const char *id)
{
	uint64_t generation, sequence;
	return id && strlen(id) < 32 && bus_parse_id(id, &generation, &sequence) && generation < 99999999999999 && sequence < 1000000;
}

int dead_letter_check_why(const char *subscription, const char *action, const char *why, struct error *err)
{
	if (why && *why)
		return 0;
	return error_set(err, WEIR_INVALID, "subscription %s: to %s dead letters takes a reason, which is kept in the audit log; nothing was done. Give one",
			 subscription, action);
}

static void add_text_or_empty(struct bus_args *a, const char *text)
{
	bus_args_add(a, text ? text : "");
}

/* As dead_letter.lua reads it: a class is its codes, or those that are not of it, because codes that this build does not know are permanent. */
static void add_reason(struct bus_args *a, const struct dead_letter_filter *f)
{
	size_t n;
	const int *codes = error_codes(&n);
	const char *class = f->error_class;
	if (!class || (f->reason && strcmp(retry_class_name(retry_class_of_name(f->reason)), class) == 0)) {
		add_text_or_empty(a, f->reason);
		return;
	}
	bool but = strcmp(class, retry_class_name(RETRY_PERMANENT)) == 0;
	struct buf names = BUF_INIT(4096);
	for (size_t i = 0; i < n && !f->reason; i++)
		if ((strcmp(retry_class_name(retry_class_of(codes[i])), class) == 0) != but)
			buf_printf(&names, " %s ", error_name(codes[i]));
	bus_args_add_format(a, "\1%s\1%c\1%s", f->reason ? "none" : class, but && !f->reason ? '!' : '=', buf_str(&names));
	buf_free(&names);
}

void dead_letter_add_filter(struct bus_args *a, const struct dead_letter_filter *f)
{
	static const struct dead_letter_filter any;
	f = f ? f : &any;
	add_text_or_empty(a, f->type);
	add_reason(a, f);
	add_text_or_empty(a, f->key);
	add_text_or_empty(a, f->kind);
	for (int i = 0; i < 2; i++) {
		int64_t ms = i == 0 ? f->from_ms : f->to_ms;
		if (ms > 0)
			bus_args_add_u64(a, (uint64_t)ms);
		else
			bus_args_add(a, "");
	}
}

void dead_letter_call(struct bus_args *a, const char *function, const char *chain, const char *subscription)
{
	char anchor[KEY_MAX];
	bus_anchor(chain, anchor);
	bus_args_add(a, "FCALL");
	bus_args_add_format(a, "%s%s", bus_function_prefix(), function);
	bus_args_add(a, "1");
	bus_args_add_format(a, "%s", anchor); /* lives as long as the arguments */
	bus_args_add(a, subscription);
}

/* -- finding ------------------------------------------------------------------------------------------------------------- */

static int page(struct bus *bus, const char *function, const char *chain, const char *subscription, const struct dead_letter_filter *filter,
		const char *cursor, size_t limit, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	dead_letter_call(&a, function, chain, subscription);
	dead_letter_add_filter(&a, filter);
	bus_args_add(&a, cursor);
	bus_args_add_u64(&a, limit);
	int r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

int dead_letter_list(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *cursor,
		     size_t limit, dead_letter_fn *fn, void *arg, struct error *err)
{
	char after[48] = "";
	bool more = true;
	if (bus->transport)
		return bus->transport->letter_list(bus, chain, subscription, filter, cursor && *cursor ? cursor : NULL, limit, fn, arg, err);
	if (cursor && *cursor && !dead_letter_is_id(cursor))
		return error_set(err, WEIR_INVALID, "not a cursor of this list");
	snprintf(after, sizeof after, "%s", cursor ? cursor : "");
	for (size_t given = 0; more && (limit == 0 || given < limit);) {
		size_t want = limit == 0 || limit - given > PAGE ? PAGE : limit - given;
		redisReply *reply = NULL;
		int r = page(bus, "list_letters", chain, subscription, filter, after, want, &reply, err);
		if (r != 0)
			return r;
		for (size_t i = 0; i < reply->elements && more; i++, given++) {
			const redisReply *row = reply->element[i];
			snprintf(after, sizeof after, "%s", row->element[0]->str);
			more = fn(after, (struct bytes){ (const uint8_t *)row->element[1]->str, row->element[1]->len }, arg);
		}
		more = more && reply->elements == want;
		freeReplyObject(reply);
	}
	return 0;
}

int dead_letter_read(struct bus *bus, const char *chain, const char *subscription, const char *id, redisReply **ret, struct error *err)
{
	if (!dead_letter_is_id(id))
		return error_set(err, WEIR_INVALID, "not a dead letter's id");
	struct bus_args a = { 0 };
	dead_letter_call(&a, "show_letter", chain, subscription);
	bus_args_add(&a, id);
	int r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	if (r == 0 && (*ret)->elements != LETTER_PARTS) {
		freeReplyObject(*ret);
		r = error_set(err, WEIR_NOT_FOUND, "subscription %s of chain %s has no dead letter %s", subscription, chain, id);
	}
	return r;
}

int dead_letter_show(struct bus *bus, const char *chain, const char *subscription, const char *id, dead_letter_fn *fn, void *arg, struct error *err)
{
	redisReply *reply = NULL;
	if (bus->transport)
		return bus->transport->letter_show(bus, chain, subscription, id, fn, arg, err);
	int r = dead_letter_read(bus, chain, subscription, id, &reply, err);
	if (r != 0 || !reply)
		return r;
	(void)fn(id, dead_letter_part(reply, LETTER_WHOLE), arg);
	freeReplyObject(reply);
	return 0;
}

static int ask_count(struct bus *bus, struct bus_args *a, uint64_t *ret, struct error *err)
{
	redisReply *reply = NULL;
	int r = bus_run(bus, a, 0, &reply, err);
	bus_args_free(a);
	if (r == 0) {
		*ret = (uint64_t)reply->integer;
		freeReplyObject(reply);
	}
	return r;
}

int dead_letter_count(struct bus *bus, const char *chain, const char *subscription, uint64_t *ret, struct error *err)
{
	struct bus_args a = { 0 };
	if (bus->transport)
		return bus->transport->letter_count(bus, chain, subscription, NULL, ret, err);
	bus_args_add(&a, "XLEN");
	bus_args_add_format(&a, DEAD_KEY_FORMAT, chain, subscription);
	return ask_count(bus, &a, ret, err);
}

int dead_letter_count_matching(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, uint64_t *ret,
			       struct error *err)
{
	struct bus_args a = { 0 };
	if (bus->transport)
		return bus->transport->letter_count(bus, chain, subscription, filter, ret, err);
	dead_letter_call(&a, "count_letters", chain, subscription);
	dead_letter_add_filter(&a, filter);
	return ask_count(bus, &a, ret, err);
}

int dead_letter_counts(struct bus *bus, const char *chain, const char *subscription, dead_letter_counts_fn *fn, void *arg, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	if (bus->transport)
		return bus->transport->letter_counts(bus, chain, subscription, fn, arg, err);
	dead_letter_call(&a, "letter_counts", chain, subscription);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; i < reply->elements; i++) {
		redisReply *const *row = reply->element[i]->element;
		fn(row[0]->str, row[1]->str, row[2]->str, strtoull(row[3]->str, NULL, 10), arg);
	}
	freeReplyObject(reply);
	return 0;
}

/* -- acting on many --------------------------------------------------------------------------------------------------------- */

struct ids {
	char (*ids)[48];
	size_t count, capacity;
};

static void ids_add(struct ids *list, const char *id)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 64;
		list->ids = xrealloc(list->ids, list->capacity, sizeof *list->ids);
	}
	snprintf(list->ids[list->count++], sizeof list->ids[0], "%s", id);
}

static int collect(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, struct ids *list,
		   struct error *err)
{
	for (size_t n = IDS_PER_PAGE; n == IDS_PER_PAGE;) {
		redisReply *reply = NULL;
		char after[48] = "";
		if (list->count > 0)
			snprintf(after, sizeof after, "%s", list->ids[list->count - 1]);
		int r = page(bus, "select_letters", chain, subscription, filter, after, IDS_PER_PAGE, &reply, err);
		if (r != 0)
			return r;
		n = reply->elements;
		for (size_t i = 0; i < n; i++)
			ids_add(list, reply->element[i]->str);
		freeReplyObject(reply);
	}
	return 0;
}

/* lead: the function's arguments between subscription and ids. */
static int act(struct bus *bus, const char *function, const char *chain, const char *subscription, const struct dead_letter_filter *filter,
	       const char *const *ids, size_t n, const char *const *lead, size_t lead_count, uint64_t *ret_n, struct error *err)
{
	struct ids list = { 0 };
	int r = 0;
	*ret_n = 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		if (dead_letter_is_id(ids[i]))
			ids_add(&list, ids[i]);
		else
			r = error_set(err, WEIR_INVALID, "not a dead letter's id");
	}
	if (n == 0)
		r = collect(bus, chain, subscription, filter, &list, err);
	for (size_t done = 0; r == 0 && done < list.count;) {
		struct bus_args a = { 0 };
		uint64_t acted = 0;
		dead_letter_call(&a, function, chain, subscription);
		for (size_t i = 0; i < lead_count; i++)
			add_text_or_empty(&a, lead[i]);
		for (size_t i = 0; i < IDS_PER_CALL && done < list.count; i++)
			bus_args_add(&a, list.ids[done++]);
		r = ask_count(bus, &a, &acted, err);
		*ret_n += acted;
	}
	free(list.ids);
	return r;
}

int dead_letter_replay(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *const *ids,
		       size_t n, const char *who, uint64_t *ret_n, struct error *err)
{
	if (bus->transport)
		return bus->transport->letter_replay(bus, chain, subscription, filter, ids, n, who, ret_n, err);
	return act(bus, "mark_replay", chain, subscription, filter, ids, n, (const char *[]){ who }, 1, ret_n, err);
}

void dead_letter_replay_unsupported(struct bus *bus, const char *chain, const char *subscription, const uint16_t *types, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		uint16_t type = types[i / 2];
		char number[16]; /* what it is called by builds that do not know it */
		snprintf(number, sizeof number, "#%u", type);
		struct dead_letter_filter filter = { .type = i % 2 ? number : message_type_name(type), .reason = error_name(WEIR_UNSUPPORTED) };
		uint64_t letters = 0;
		struct error why = { 0 };
		if (dead_letter_replay(bus, chain, subscription, &filter, NULL, 0, "newer build", &letters, &why) != 0)
			log_warn(&bus->log, "bus_unknown_not_tried", "what an older build did not know stays parked: replay it, or start again",
				 LOG_S("chain", chain), LOG_S("subscription", subscription), LOG_S("type", message_type_name(type)), LOG_ERR(&why));
		if (letters > 0)
			log_info(&bus->log, "bus_unknown_tried_again", "what an older build did not know is tried again", LOG_S("chain", chain),
				 LOG_S("subscription", subscription), LOG_S("type", message_type_name(type)), LOG_U("letters", letters));
	}
}

int dead_letter_purge(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *const *ids,
		      size_t n, const char *who, const char *why, uint64_t *ret_n, struct error *err)
{
	*ret_n = 0;
	int r = dead_letter_check_why(subscription, "purge", why, err);
	if (r != 0)
		return r;
	if (bus->transport)
		return bus->transport->letter_purge(bus, chain, subscription, filter, ids, n, who, why, ret_n, err);
	return act(bus, "purge", chain, subscription, filter, ids, n, (const char *[]){ who, why }, 2, ret_n, err);
}

/* -- handing out ------------------------------------------------------------------------------------------------------------ */

/* A letter that no handler can be given: it failed again. */
static int put_back(struct bus *bus, const char *chain, const char *subscription, const char *letter, struct error *err)
{
	struct bus_args a = { 0 };
	struct buf fragment = BUF_INIT(8192);
	struct error why = { 0 };
	error_set(&why, WEIR_INVALID, "the letter's frame cannot be read: give it another body, or purge it");
	bus_attempt_pack(bus, &why, &fragment);
	dead_letter_call(&a, "letter_unreadable", chain, subscription);
	bus_args_add(&a, letter);
	bus_args_add_bytes(&a, (struct bytes){ fragment.data, fragment.size });
	bus_args_add(&a, error_name(why.code));
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	buf_free(&fragment);
	return r;
}

int bus_take_replays(struct bus *bus, const char *chain, const char *topic, const char *subscription, const char *token, size_t max,
		     struct bus_batch *batch, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	dead_letter_call(&a, "take_replays", chain, subscription);
	bus_args_add_u64(&a, max);
	bus_args_add_u64(&a, REPLAY_HOLD_MS);
	bus_args_add(&a, token ? token : "");
	bus_args_add(&a, topic);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	for (size_t i = 0; i < reply->elements && r == 0; i++)
		if (!bus_batch_letter(bus_batch_add(batch), reply->element[i])) {
			batch->count--;
			r = put_back(bus, chain, subscription, reply->element[i]->element[0]->str, err);
		}
	bus_count(bus, "weir_bus_replayed_total", chain, topic, subscription, reply->elements);
	bus_batch_keep(batch, reply);
	return r;
}

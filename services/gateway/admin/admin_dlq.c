/* admin_dlq.c - /admin/v1/dlq: list, show, replay, purge dead letters of every chain and subscription. */
#include "admin/admin.h"
#include "admin/letter_search.h"

#include "control.h"
#include "live/letters.h"

#include "weir/streams.h"
#include "wire/digest.h"
#include "wire/hex.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_MAX 2000 /* letters looked at for one page of a pattern: a page may be short, or empty, and go on */

struct letters { /* being listed */
	struct call *call;
	const char *chain, *subscription;
	const char *pattern; /* of the error; NULL: any */
	size_t left, looked; /* room for letters; how many were looked at for the pattern */
	char last[64];
	bool full; /* the page has no room for the letter that came, or took long enough to fill */
	bool whole; /* show everything */
	size_t given;
};

static void put_frame(struct buf *out, const Weir__V1__DeadLetter *letter)
{
	struct frame frame;
	char key[FRAME_KEY_MAX + 1], id[67];
	if (frame_read((struct bytes){ letter->frame.data, letter->frame.len }, &frame, NULL)) {
		put_null(out, "frame");
		return;
	}
	snprintf(key, sizeof key, "%.*s", (int)frame.key.size, (const char *)frame.key.data);
	put_object(out, "frame");
	put_text(out, "type", message_type_name(frame.type));
	put_i64(out, "schema_version", frame.schema_version);
	put_text(out, "key", key);
	hex_from_bytes(frame.event_id, sizeof frame.event_id, id);
	put_text(out, "event_id", id + 2);
	hex_from_bytes(frame.trace_id, sizeof frame.trace_id, id);
	put_text(out, "trace_id", id + 2);
	put_milliseconds(out, "created_at", (int64_t)frame.created_unix_ms);
	put_u64(out, "body_bytes", frame.body.size);
	put_end(out, '}');
}

static void put_attempts(struct buf *out, const Weir__V1__DeadLetter *letter)
{
	put_array(out, "attempts");
	for (size_t i = 0; i < letter->n_attempts; i++) {
		const Weir__V1__Attempt *a = letter->attempts[i];
		put_object(out, NULL);
		put_milliseconds(out, "at", (int64_t)a->at_unix_ms);
		put_text(out, "error_code", a->error_code);
		put_text(out, "error", a->error);
		put_text(out, "worker", a->worker);
		put_end(out, '}');
	}
	put_end(out, ']');
}

static void put_edits(struct buf *out, const Weir__V1__DeadLetter *letter)
{
	put_array(out, "edits");
	for (size_t i = 0; i < letter->n_edits; i++) {
		const Weir__V1__Edit *e = letter->edits[i];
		put_object(out, NULL);
		put_milliseconds(out, "at", (int64_t)e->at_unix_ms);
		put_text(out, "who", e->who);
		put_text(out, "why", e->why);
		put_text(out, "before_sha256", e->before_sha256);
		put_text(out, "after_sha256", e->after_sha256);
		put_end(out, '}');
	}
	put_end(out, ']');
}

static void put_letter(struct letters *l, const char *id, const Weir__V1__DeadLetter *letter)
{
	struct buf *out = l->call->out;
	const Weir__V1__Attempt *last = letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1] : NULL;
	put_object(out, NULL);
	put_text(out, "id", id);
	put_text(out, "chain", l->chain);
	put_text(out, "subscription", l->subscription);
	put_text(out, "kind", letter_kind(letter->kind));
	put_text(out, "type", letter->type);
	put_text(out, "key", letter->key);
	put_text(out, "reason", last ? last->error_code : "");
	put_text(out, "error", last ? last->error : "");
	put_text(out, "stream", letter->stream);
	put_text(out, "entry_id", letter->entry_id);
	put_milliseconds(out, "parked_at", (int64_t)letter->parked_at_unix_ms);
	put_i64(out, "replays", letter->replays);
	put_u64(out, "attempt_count", letter->n_attempts);
	put_u64(out, "bytes", letter->frame.len > 0 ? letter->frame.len : letter->frame_bytes);
	if (l->whole) {
		char sha256[SHA256_TEXT];
		put_attempts(out, letter);
		put_frame(out, letter);
		sha256_text(letter->frame.data, letter->frame.len, sha256);
		put_text(out, "frame_sha256", sha256);
		put_edits(out, letter);
	}
	put_end(out, '}');
}

static bool on_letter(const char *id, struct bytes body, void *arg)
{
	struct letters *l = arg;
	if (l->pattern && l->looked++ == LOOK_MAX) {
		l->full = true;
		return false;
	}
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	if (l->pattern && !(letter && letter_has_pattern(letter, l->pattern))) {
		snprintf(l->last, sizeof l->last, "%s", id);
		if (letter)
			weir__v1__dead_letter__free_unpacked(letter, NULL);
		return true;
	}
	if (l->left == 0) {
		l->full = true;
		if (letter)
			weir__v1__dead_letter__free_unpacked(letter, NULL);
		return false;
	}
	if (letter) {
		put_letter(l, id, letter);
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	}
	l->left--;
	l->given++;
	snprintf(l->last, sizeof l->last, "%s", id);
	return true;
}

bool admin_check_letters(struct call *call, const char *subscription, const char *chain)
{
	if (subscription && letter_subscription(subscription) == LETTER_SUBSCRIPTIONS)
		return call_problem(call, 404, "subscription_unknown", "subscriptions are %s, %s and %s", letter_subscriptions[0], letter_subscriptions[1],
				    letter_subscriptions[2]);
	return !chain || gateway_find_chain(call->gateway, chain) || call_problem(call, 404, "chain_unknown", "no chain of that name is served here");
}

const char *admin_one_chain(struct call *call)
{
	const char *chain = call_text(call, "chain");
	if (!chain && call->gateway->chain_count != 1) {
		call_problem(call, 400, "chain_missing", "%zu chains are served here: say which with chain", call->gateway->chain_count);
		return NULL;
	}
	if (!chain)
		return call->gateway->chains[0].chain.name;
	if (!gateway_find_chain(call->gateway, chain)) {
		call_problem(call, 404, "chain_unknown", "no chain of that name is served here");
		return NULL;
	}
	return chain;
}

void admin_letter_failed(struct call *call, const struct error *err)
{
	if (err->code == WEIR_CONFLICT || err->code == WEIR_UNSUPPORTED)
		call_problem(call, 409, "conflict", "%s", err->text);
	else
		call_failed(call, err);
}

bool admin_read_time(struct call *call, const char *name, int64_t *ret_ms)
{
	const char *text = call_text(call, name);
	struct tm tm = { 0 };
	if (!text)
		return true;
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t ms = 0;
	if (end && *end == '.') {
		int64_t unit = 100;
		for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
			ms += (*end - '0') * unit;
	}
	if (!end || strcmp(end, "Z") != 0)
		return call_problem(call, 400, "invalid_parameter", "%s is not a time like 2026-01-31T12:00:00Z", name);
	*ret_ms = (int64_t)timegm(&tm) * 1000 + ms;
	return *ret_ms > 0 || call_problem(call, 400, "invalid_parameter", "%s lies before 1970", name);
}

static bool is_kind(const char *text)
{
	return strcmp(text, "head") == 0 || strcmp(text, "follower") == 0 || strcmp(text, "skipped") == 0;
}

static bool is_error_class(const char *text)
{
	bool known = false;
	for (int k = RETRY_ANY + 1; k <= RETRY_CRASH && !known; k++)
		known = strcmp(text, retry_class_name((enum retry_class)k)) == 0;
	return known;
}

bool admin_letter_filter(struct call *call, struct dead_letter_filter *ret)
{
	*ret = (struct dead_letter_filter){ .type = call_text(call, "type"),
					    .reason = call_text(call, "reason"),
					    .error_class = call_text(call, "error_class"),
					    .key = call_text(call, "key"),
					    .kind = call_text(call, "kind") };
	if (ret->kind && !is_kind(ret->kind))
		return call_problem(call, 400, "invalid_parameter", "kind is head, follower or skipped");
	if (ret->error_class && !is_error_class(ret->error_class))
		return call_problem(call, 400, "invalid_parameter", "error_class is transient, dependency, permanent or crash");
	return admin_read_time(call, "from", &ret->from_ms) && admin_read_time(call, "to", &ret->to_ms);
}

/* "chain subscription letter": where the next page goes on. */
struct place {
	char chain[40], subscription[40], letter[64];
};

static bool read_place(struct call *call, struct place *ret)
{
	char text[200];
	*ret = (struct place){ 0 };
	if (!page_cursor_text(call, text, sizeof text))
		return false;
	if (text[0] &&
	    (sscanf(text, "%39s %39s %63s", ret->chain, ret->subscription, ret->letter) != 3 || strspn(ret->letter, "0123456789-") != strlen(ret->letter)))
		return call_problem(call, 400, "invalid_cursor", "the cursor is not one that this server gave");
	return true;
}

void admin_dlq_list(struct call *call)
{
	struct place place;
	struct letters l = { .call = call, .pattern = call_text(call, "pattern"), .left = (size_t)call_number(call, "limit", LIMIT_DEFAULT) };
	const char *chain = call_text(call, "chain"), *subscription = call_text(call, "subscription");
	struct dead_letter_filter filter;
	struct error err = { 0 };
	char next[200] = "";
	int code = 0;
	if (!admin_check_letters(call, subscription, chain) || !admin_letter_filter(call, &filter) || !read_place(call, &place))
		return;
	bool begun = !place.chain[0];
	page_begin(call);
	struct bus *bus = control_take(call->gateway->letter_control);
	for (size_t i = 0; !code && !l.full && i < call->gateway->chain_count; i++)
		for (size_t k = 0; !code && !l.full && k < LETTER_SUBSCRIPTIONS; k++) {
			l.chain = call->gateway->chains[i].chain.name;
			l.subscription = letter_subscriptions[k];
			if ((chain && strcmp(chain, l.chain) != 0) || (subscription && strcmp(subscription, l.subscription) != 0))
				continue;
			bool here = strcmp(place.chain, l.chain) == 0 && strcmp(place.subscription, l.subscription) == 0;
			if (!begun && !here)
				continue;
			snprintf(l.last, sizeof l.last, "%s", here ? place.letter : "");
			begun = true;
			/* one more than fits tells whether there is another page */
			code = dead_letter_list(bus, l.chain, l.subscription, &filter, l.last, l.pattern ? LOOK_MAX - l.looked + 1 : l.left + 1, on_letter, &l, &err);
			if (l.full)
				snprintf(next, sizeof next, "%s %s %s", l.chain, l.subscription, l.last[0] ? l.last : "0-0");
		}
	control_give(call->gateway->letter_control);
	if (code)
		call_failed(call, &err);
	else
		page_end_behind(call, *next ? next : NULL);
}

void admin_dlq_show(struct call *call)
{
	struct letters l = { .call = call, .subscription = call->places[0], .left = 1, .whole = true };
	const char *chain = call_text(call, "chain");
	struct error err = { 0 };
	int code = WEIR_NOT_FOUND;
	if (!admin_check_letters(call, call->places[0], chain))
		return;
	struct bus *bus = control_take(call->gateway->letter_control);
	for (size_t i = 0; code == WEIR_NOT_FOUND && i < call->gateway->chain_count; i++) {
		l.chain = call->gateway->chains[i].chain.name;
		if (!chain || strcmp(chain, l.chain) == 0)
			code = dead_letter_show(bus, l.chain, call->places[0], call->places[1], on_letter, &l, &err);
	}
	control_give(call->gateway->letter_control);
	if (code == WEIR_NOT_FOUND)
		call_problem(call, 404, "dead_letter_unknown", "there is no such dead letter: it was replayed, purged, or never was");
	else if (code)
		call_failed(call, &err);
}

/* ---- acting ---------------------------------------------------------------------------------------------------------------------------- */

/* n 0: all that match the filter. */
typedef int act_fn(struct call *, struct bus *, const char *chain, const struct dead_letter_filter *, const char *const *ids, size_t n, uint64_t *ret,
		   struct error *);

static int replay(struct call *call, struct bus *bus, const char *chain, const struct dead_letter_filter *filter, const char *const *ids, size_t n,
		  uint64_t *ret, struct error *err)
{
	return dead_letter_replay(bus, chain, call_text(call, "subscription"), filter, ids, n, call->who->name, ret, err);
}

static int purge(struct call *call, struct bus *bus, const char *chain, const struct dead_letter_filter *filter, const char *const *ids, size_t n,
		 uint64_t *ret, struct error *err)
{
	return dead_letter_purge(bus, chain, call_text(call, "subscription"), filter, ids, n, call->who->name, call_text(call, "why"), ret, err);
}

/* On the letters that a filter and a pattern leave, as they are found. */
static int act_on_pattern(struct call *call, const char *chain, const struct dead_letter_filter *filter, act_fn *fn, uint64_t *ret, struct error *err)
{
	const char *ids[LETTER_SEARCH_STEP];
	struct letter_search *s = letter_search_asked(call, chain, filter);
	int code;
	while ((code = letter_search_next(s, err)) > 0) {
		uint64_t n = 0;
		if (s->count == 0)
			continue; /* without ids it would be done to all */
		for (size_t i = 0; i < s->count; i++)
			ids[i] = s->ids[i];
		code = fn(call, control_take(s->control), chain, filter, ids, s->count, &n, err);
		control_give(s->control);
		*ret += n;
		if (code)
			break;
	}
	free(s);
	return code;
}

static int act_on_chain(struct call *call, const char *chain, const struct dead_letter_filter *filter, act_fn *fn, uint64_t *ret, struct error *err)
{
	const struct value *ids = call_value(call, "ids");
	uint64_t n = 0;
	if (ids->count == 0 && call_text(call, "pattern"))
		return act_on_pattern(call, chain, filter, fn, ret, err);
	int code = fn(call, control_take(call->gateway->letter_control), chain, filter, ids->texts, ids->count, &n, err);
	control_give(call->gateway->letter_control);
	*ret += n;
	return code;
}

static void act(struct call *call, const char *action, act_fn *fn)
{
	const char *chain = call_text(call, "chain");
	struct dead_letter_filter filter;
	struct error err = { 0 };
	uint64_t total = 0;
	int code = 0;
	if (!admin_check_letters(call, call_text(call, "subscription"), chain) || !admin_letter_filter(call, &filter))
		return;
	for (size_t i = 0; !code && i < call->gateway->chain_count; i++) {
		const char *name = call->gateway->chains[i].chain.name;
		if (!chain || strcmp(chain, name) == 0)
			code = act_on_chain(call, name, &filter, fn, &total, &err);
	}
	if (code) {
		call_failed(call, &err);
		return;
	}
	log_info(&call->gateway->log, "operator_action", call_text(call, "why"), LOG_S("action", action), LOG_S("who", call->who->name),
		 LOG_S("subscription", call_text(call, "subscription")), LOG_U("letters", total), LOG_S("request_id", call->request->id));
	put_object(call->out, NULL);
	put_u64(call->out, "count", total);
	put_end(call->out, '}');
}

void admin_dlq_replay(struct call *call)
{
	act(call, "dlq_replay", replay);
}

void admin_dlq_purge(struct call *call)
{
	static const char *const filters[] = { "type", "reason", "error_class", "key", "kind", "from", "to", "pattern" };
	bool narrow = call_value(call, "ids")->count > 0;
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
		narrow = narrow || call_text(call, filters[i]);
	if (!narrow && !call_number(call, "all", 0)) {
		call_problem(call, 400, "invalid_body", "name ids, type, reason, error_class, pattern, key, kind or a time, or say \"all\": true to drop every dead letter of the subscription");
		return;
	}
	if (call_value(call, "ids")->given && call_value(call, "ids")->count == 0) {
		call_problem(call, 400, "invalid_body", "ids is empty");
		return;
	}
	act(call, "dlq_purge", purge);
}

/* ---- counts ---------------------------------------------------------------------------------------------------------------------------- */

struct counting {
	struct buf *out;
	const char *chain, *subscription;
};

static void put_count(const char *kind, const char *type, const char *reason, uint64_t count, void *arg)
{
	const struct counting *c = arg;
	put_object(c->out, NULL);
	put_text(c->out, "chain", c->chain);
	put_text(c->out, "subscription", c->subscription);
	put_text(c->out, "kind", kind);
	put_text(c->out, "type", type);
	put_text(c->out, "reason", reason);
	put_u64(c->out, "count", count);
	put_end(c->out, '}');
}

void admin_items_of_all(struct call *call, admin_items_fn *fn)
{
	const char *chain = call_text(call, "chain"), *subscription = call_text(call, "subscription");
	struct error err = { 0 };
	int code = 0;
	if (!admin_check_letters(call, subscription, chain))
		return;
	put_object(call->out, NULL);
	put_array(call->out, "items");
	struct bus *bus = control_take(call->gateway->letter_control);
	for (size_t i = 0; !code && i < call->gateway->chain_count; i++)
		for (size_t k = 0; !code && k < LETTER_SUBSCRIPTIONS; k++) {
			const char *name = call->gateway->chains[i].chain.name, *sub = letter_subscriptions[k];
			if ((!chain || strcmp(chain, name) == 0) && (!subscription || strcmp(subscription, sub) == 0))
				code = fn(bus, name, sub, call->out, &err);
		}
	control_give(call->gateway->letter_control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	put_end(call->out, ']');
	put_end(call->out, '}');
}

static int put_counts(struct bus *bus, const char *chain, const char *subscription, struct buf *out, struct error *err)
{
	struct counting c = { .out = out, .chain = chain, .subscription = subscription };
	return dead_letter_counts(bus, chain, subscription, put_count, &c, err);
}

void admin_dlq_counts(struct call *call)
{
	admin_items_of_all(call, put_counts);
}

/* admin_dlq.c - /admin/v1/dlq: list, show, replay, purge dead letters of every chain and subscription. */
#include "admin.h"

#include "control.h"

#include "weir/streams.h"
#include "weir/v1/dead_letter.pb-c.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

static const char *const subscriptions[] = { SUBSCRIPTION_NORMALIZER, SUBSCRIPTION_RECONCILER, SUBSCRIPTION_FETCHER };
#define SUBSCRIPTION_COUNT (sizeof subscriptions / sizeof subscriptions[0])

struct letters { /* being listed */
	struct call *call;
	const char *chain, *subscription;
	size_t left;
	char last[64];
	bool full; /* the page has no room for the letter that came */
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

static void put_letter(struct letters *l, const char *id, const Weir__V1__DeadLetter *letter)
{
	struct buf *out = l->call->out;
	const Weir__V1__Attempt *last = letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1] : NULL;
	put_object(out, NULL);
	put_text(out, "id", id);
	put_text(out, "chain", l->chain);
	put_text(out, "subscription", l->subscription);
	put_text(out, "kind", letter->kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER ? "follower" : "head");
	put_text(out, "type", letter->type);
	put_text(out, "key", letter->key);
	put_text(out, "reason", last ? last->error_code : "");
	put_text(out, "error", last ? last->error : "");
	put_text(out, "stream", letter->stream);
	put_text(out, "entry_id", letter->entry_id);
	put_milliseconds(out, "parked_at", (int64_t)letter->parked_at_unix_ms);
	put_i64(out, "replays", letter->replays);
	put_u64(out, "attempt_count", letter->n_attempts);
	put_u64(out, "bytes", letter->frame.len);
	if (l->whole) {
		put_attempts(out, letter);
		put_frame(out, letter);
	}
	put_end(out, '}');
}

static bool on_letter(const char *id, struct bytes body, void *arg)
{
	struct letters *l = arg;
	if (l->left == 0) {
		l->full = true;
		return false;
	}
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	if (letter) {
		put_letter(l, id, letter);
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	}
	l->left--;
	l->given++;
	snprintf(l->last, sizeof l->last, "%s", id);
	return true;
}

static bool check_subscription(struct call *call, const char *subscription)
{
	for (size_t i = 0; i < SUBSCRIPTION_COUNT; i++)
		if (!subscription || strcmp(subscription, subscriptions[i]) == 0)
			return true;
	return call_problem(call, 404, "subscription_unknown", "subscriptions are %s, %s and %s", subscriptions[0], subscriptions[1], subscriptions[2]);
}

static bool check_chain(struct call *call, const char *chain)
{
	return !chain || gateway_find_chain(call->gateway, chain) || call_problem(call, 404, "chain_unknown", "no chain of that name is served here");
}

/* "chain subscription letter": where the next page goes on. */
struct place {
	char chain[40], subscription[40], letter[64];
};

static bool read_place(struct call *call, struct place *ret)
{
	char text[200];
	struct error err = { 0 };
	const char *cursor = call_text(call, "cursor");
	*ret = (struct place){ 0 };
	if (!cursor)
		return true;
	if (cursor_parse_text(cursor, text, sizeof text, &err) ||
	    sscanf(text, "%39s %39s %63s", ret->chain, ret->subscription, ret->letter) != 3 || strspn(ret->letter, "0123456789-") != strlen(ret->letter))
		return call_problem(call, 400, "invalid_cursor", "the cursor is not one that this server gave");
	return true;
}

void admin_dlq_list(struct call *call)
{
	struct place place;
	struct letters l = { .call = call, .left = (size_t)call_number(call, "limit", LIMIT_DEFAULT) };
	const char *chain = call_text(call, "chain"), *subscription = call_text(call, "subscription");
	const struct dead_letter_filter filter = { .type = call_text(call, "type"), .reason = call_text(call, "reason"), .key = call_text(call, "key") };
	struct error err = { 0 };
	struct buf next = BUF_INIT(512);
	int code = 0;
	if (!check_subscription(call, subscription) || !check_chain(call, chain) || !read_place(call, &place))
		return;
	bool begun = !place.chain[0];
	page_begin(call);
	struct bus *bus = control_take(call->gateway->control);
	for (size_t i = 0; !code && !l.full && i < call->gateway->chain_count; i++)
		for (size_t k = 0; !code && !l.full && k < SUBSCRIPTION_COUNT; k++) {
			l.chain = call->gateway->chains[i].chain.name;
			l.subscription = subscriptions[k];
			if ((chain && strcmp(chain, l.chain) != 0) || (subscription && strcmp(subscription, l.subscription) != 0))
				continue;
			bool here = strcmp(place.chain, l.chain) == 0 && strcmp(place.subscription, l.subscription) == 0;
			if (!begun && !here)
				continue;
			snprintf(l.last, sizeof l.last, "%s", here ? place.letter : "");
			begun = true;
			code = dead_letter_list(bus, l.chain, l.subscription, &filter, l.last, 0, on_letter, &l, &err);
			if (l.full) {
				char text[200];
				snprintf(text, sizeof text, "%s %s %s", l.chain, l.subscription, l.last[0] ? l.last : "0-0");
				cursor_print_text(text, &next);
			}
		}
	control_give(call->gateway->control);
	if (code) {
		call_failed(call, &err);
	} else {
		put_end(call->out, ']');
		put_text(call->out, "next_cursor", next.size > 0 ? buf_str(&next) : NULL);
		put_end(call->out, '}');
	}
	buf_free(&next);
}

void admin_dlq_show(struct call *call)
{
	struct letters l = { .call = call, .subscription = call->places[0], .left = 1, .whole = true };
	const char *chain = call_text(call, "chain");
	struct error err = { 0 };
	int code = WEIR_NOT_FOUND;
	if (!check_subscription(call, call->places[0]) || !check_chain(call, chain))
		return;
	struct bus *bus = control_take(call->gateway->control);
	for (size_t i = 0; code == WEIR_NOT_FOUND && i < call->gateway->chain_count; i++) {
		l.chain = call->gateway->chains[i].chain.name;
		if (!chain || strcmp(chain, l.chain) == 0)
			code = dead_letter_show(bus, l.chain, call->places[0], call->places[1], on_letter, &l, &err);
	}
	control_give(call->gateway->control);
	if (code == WEIR_NOT_FOUND)
		call_problem(call, 404, "dead_letter_unknown", "there is no such dead letter: it was replayed, purged, or never was");
	else if (code)
		call_failed(call, &err);
}

/* ---- acting ---------------------------------------------------------------------------------------------------------------------------- */

typedef int act_fn(struct call *, struct bus *, const char *chain, const struct dead_letter_filter *, const struct value *ids, uint64_t *ret,
		   struct error *);

static int replay(struct call *call, struct bus *bus, const char *chain, const struct dead_letter_filter *filter, const struct value *ids,
		  uint64_t *ret, struct error *err)
{
	return dead_letter_replay(bus, chain, call_text(call, "subscription"), filter, ids->texts, ids->count, call->who->name, ret, err);
}

static int purge(struct call *call, struct bus *bus, const char *chain, const struct dead_letter_filter *filter, const struct value *ids, uint64_t *ret,
		 struct error *err)
{
	return dead_letter_purge(bus, chain, call_text(call, "subscription"), filter, ids->texts, ids->count, call->who->name, call_text(call, "why"), ret,
				 err);
}

static void act(struct call *call, const char *action, act_fn *fn)
{
	const char *chain = call_text(call, "chain");
	const struct dead_letter_filter filter = { .type = call_text(call, "type"), .reason = call_text(call, "reason") };
	const struct value *ids = call_value(call, "ids");
	struct error err = { 0 };
	uint64_t total = 0;
	int code = 0;
	if (!check_subscription(call, call_text(call, "subscription")) || !check_chain(call, chain))
		return;
	struct bus *bus = control_take(call->gateway->control);
	for (size_t i = 0; !code && i < call->gateway->chain_count; i++) {
		const char *name = call->gateway->chains[i].chain.name;
		uint64_t n = 0;
		if (chain && strcmp(chain, name) != 0)
			continue;
		code = fn(call, bus, name, &filter, ids, &n, &err);
		total += n;
	}
	control_give(call->gateway->control);
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
	bool narrow = call_value(call, "ids")->count > 0 || call_text(call, "type") || call_text(call, "reason");
	if (!narrow && !call_number(call, "all", 0)) {
		call_problem(call, 400, "invalid_body", "name ids, type or reason, or say \"all\": true to drop every dead letter of the subscription");
		return;
	}
	if (call_value(call, "ids")->given && call_value(call, "ids")->count == 0) {
		call_problem(call, 400, "invalid_body", "ids is empty");
		return;
	}
	act(call, "dlq_purge", purge);
}

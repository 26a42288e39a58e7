/* admin_dlq_look.c - looking closely at dead letters: GET /admin/v1/dlq/groups clusters them by error, and
 * GET /admin/v1/dlq/{subscription}/{id}/payload shows what one carries, decoded and raw. */
#include "admin/admin.h"
#include "admin/error_pattern.h"

#include "control.h"
#include "live/letters.h"
#include "write/message_json.h"

#include "weir/streams.h"
#include "weir/v1/dead_letter.pb-c.h"

#include <stdio.h>
#include <string.h>

#define SCAN_MAX 5000 /* letters of a subscription looked at for one answer: beyond it, its counts are lower bounds */
#define GROUPS_MAX 200
#define RAW_MAX 16384 /* bytes of a frame shown, unless the whole is asked for */

struct group {
	const char *chain, *subscription;
	char *type, *reason, *error, *newest_id;
	bool waits; /* behind others: nothing is wrong with them, so neither reason nor pattern tells them from letters in general */
	char pattern[ERROR_PATTERN_MAX + 1];
	uint64_t count, heads, replayed, bytes, first_ms, last_ms;
	bool more; /* letters of its subscription were not looked at */
};

struct grouping {
	const char *chain, *subscription;
	struct group items[GROUPS_MAX];
	size_t count;
	uint64_t scanned, scanned_here; /* in all; of this subscription */
	bool more_here, left_out;
};

static struct group *find_group(struct grouping *g, bool waits, const char *type, const char *reason, const char *error)
{
	char pattern[ERROR_PATTERN_MAX + 1];
	error_pattern(error, pattern);
	for (size_t i = 0; i < g->count; i++) {
		struct group *group = &g->items[i];
		if (group->chain == g->chain && group->subscription == g->subscription && group->waits == waits && strcmp(group->type, type) == 0 &&
		    strcmp(group->reason, reason) == 0 && strcmp(group->pattern, pattern) == 0)
			return group;
	}
	if (g->count == GROUPS_MAX)
		return NULL;
	struct group *group = &g->items[g->count++];
	*group = (struct group){ .chain = g->chain, .subscription = g->subscription, .waits = waits, .type = xstrdup(type), .reason = xstrdup(reason) };
	memcpy(group->pattern, pattern, sizeof pattern);
	return group;
}

static bool on_letter(const char *id, struct bytes body, void *arg)
{
	struct grouping *g = arg;
	if (g->scanned_here == SCAN_MAX) {
		g->more_here = true;
		return false;
	}
	g->scanned_here++;
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	if (!letter)
		return true;
	const Weir__V1__Attempt *last = letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1] : NULL;
	bool waits = letter->kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER;
	struct group *group = find_group(g, waits, letter->type, last ? last->error_code : "", last ? last->error : "");
	if (group) {
		uint64_t at = letter->parked_at_unix_ms;
		group->count++;
		group->heads += !waits;
		group->replayed += letter->replays > 0;
		group->bytes += letter->frame.len > 0 ? letter->frame.len : letter->frame_bytes;
		group->first_ms = group->first_ms == 0 || at < group->first_ms ? at : group->first_ms;
		if (at >= group->last_ms) {
			group->last_ms = at;
			free(group->error);
			free(group->newest_id);
			group->error = xstrdup(last ? last->error : "");
			group->newest_id = xstrdup(id);
		}
	} else {
		g->left_out = true;
	}
	weir__v1__dead_letter__free_unpacked(letter, NULL);
	return true;
}

static void put_groups(struct buf *out, const struct grouping *g)
{
	put_object(out, NULL);
	put_array(out, "items");
	for (size_t i = 0; i < g->count; i++) {
		const struct group *group = &g->items[i];
		put_object(out, NULL);
		put_text(out, "chain", group->chain);
		put_text(out, "subscription", group->subscription);
		put_text(out, "type", group->type);
		put_text(out, "reason", group->reason);
		put_text(out, "pattern", group->pattern);
		put_text(out, "error", group->error ? group->error : "");
		put_text(out, "newest_id", group->newest_id ? group->newest_id : "");
		put_u64(out, "count", group->count);
		put_bool(out, "complete", !group->more);
		put_u64(out, "heads", group->heads);
		put_u64(out, "replayed", group->replayed);
		put_u64(out, "bytes", group->bytes);
		put_milliseconds(out, "first_at", (int64_t)group->first_ms);
		put_milliseconds(out, "last_at", (int64_t)group->last_ms);
		put_end(out, '}');
	}
	put_end(out, ']');
	put_u64(out, "scanned", g->scanned);
	put_bool(out, "complete", !g->left_out);
	put_end(out, '}');
}

static int scan(struct control *control, const struct dead_letter_filter *filter, struct grouping *g, struct error *err)
{
	g->scanned_here = 0;
	g->more_here = false;
	int code = dead_letter_list(control_take(control), g->chain, g->subscription, filter, NULL, SCAN_MAX + 1, on_letter, g, err);
	control_give(control);
	g->scanned += g->scanned_here;
	g->left_out = g->left_out || g->more_here;
	for (size_t i = 0; i < g->count; i++)
		if (g->items[i].chain == g->chain && g->items[i].subscription == g->subscription)
			g->items[i].more = g->more_here;
	return code;
}

void admin_dlq_groups(struct call *call)
{
	const char *chain = call_text(call, "chain"), *subscription = call_text(call, "subscription");
	struct dead_letter_filter filter;
	struct error err = { 0 };
	int code = 0;
	if (!admin_check_letters(call, subscription, chain) || !admin_letter_filter(call, &filter))
		return;
	struct grouping *g = xmalloc(sizeof *g);
	for (size_t i = 0; !code && i < call->gateway->chain_count; i++)
		for (size_t k = 0; !code && k < LETTER_SUBSCRIPTIONS; k++) {
			g->chain = call->gateway->chains[i].chain.name;
			g->subscription = letter_subscriptions[k];
			if ((!chain || strcmp(chain, g->chain) == 0) && (!subscription || strcmp(subscription, g->subscription) == 0))
				code = scan(call->gateway->letter_control, &filter, g, &err);
		}
	if (code)
		call_failed(call, &err);
	else
		put_groups(call->out, g);
	for (size_t i = 0; i < g->count; i++) {
		free(g->items[i].type);
		free(g->items[i].reason);
		free(g->items[i].error);
		free(g->items[i].newest_id);
	}
	free(g);
}

/* ---- one letter's payload ------------------------------------------------------------------------------------------------------------- */

static void put_decoded(struct buf *out, struct bytes data)
{
	struct frame frame;
	struct error err = { 0 };
	if (frame_read(data, &frame, &err)) {
		put_text(out, "message", NULL);
		put_null(out, "decoded");
		put_text(out, "problem", err.text);
		return;
	}
	const ProtobufCMessageDescriptor *kind = message_kind(frame.type);
	ProtobufCMessage *message = kind ? protobuf_c_message_unpack(kind, NULL, frame.body.size, frame.body.data) : NULL;
	put_text(out, "message", kind ? kind->name : NULL);
	if (message)
		put_message(out, "decoded", message);
	else
		put_null(out, "decoded");
	put_text(out, "problem", message ? NULL : kind ? "the body is not a message of this kind" : "no kind of message is known for this frame");
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

/* A larger frame cannot be sent back: its body is base64 in a request, beside the reason. */
static size_t edit_max(const struct call *call)
{
	int64_t most = (call->gateway->config->gateway.max_body_bytes - 1024) / 4 * 3;
	return most > RAW_MAX ? (size_t)most : RAW_MAX;
}

static bool on_payload(const char *id, struct bytes body, void *arg)
{
	static const char digits[] = "0123456789abcdef";
	struct call *call = arg;
	struct buf *out = call->out;
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	struct bytes frame = letter ? (struct bytes){ letter->frame.data, letter->frame.len } : body;
	size_t most = call_number(call, "whole", 0) ? edit_max(call) : RAW_MAX;
	size_t shown = frame.size <= most ? frame.size : RAW_MAX;
	char *hex = xmalloc(2 * shown + 1);
	for (size_t i = 0; i < shown; i++) {
		hex[2 * i] = digits[frame.data[i] >> 4];
		hex[2 * i + 1] = digits[frame.data[i] & 15];
	}
	put_object(out, NULL);
	put_text(out, "id", id);
	put_decoded(out, frame);
	put_u64(out, "raw_bytes", frame.size);
	put_text(out, "raw_hex", hex);
	put_end(out, '}');
	free(hex);
	if (letter)
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	return false;
}

void admin_dlq_payload(struct call *call)
{
	const char *chain = call_text(call, "chain");
	struct error err = { 0 };
	int code = WEIR_NOT_FOUND;
	if (!admin_check_letters(call, call->places[0], chain))
		return;
	struct bus *bus = control_take(call->gateway->letter_control);
	for (size_t i = 0; code == WEIR_NOT_FOUND && i < call->gateway->chain_count; i++) {
		const char *name = call->gateway->chains[i].chain.name;
		if (!chain || strcmp(chain, name) == 0)
			code = dead_letter_show(bus, name, call->places[0], call->places[1], on_payload, call, &err);
	}
	control_give(call->gateway->letter_control);
	if (code == WEIR_NOT_FOUND)
		call_problem(call, 404, "dead_letter_unknown", "there is no such dead letter: it was replayed, purged, or never was");
	else if (code)
		call_failed(call, &err);
}

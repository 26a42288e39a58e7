/* admin_dlq_change.c - editing a dead letter, skipping a head, and dead letters as files. */
#include "admin/admin.h"

#include "control.h"
#include "write/message_json.h"

#include "wire/digest.h"

#include <stdio.h>
#include <string.h>

#define EXPORT_BYTES (16u << 20) /* a page ends behind the line that passes this */

/* The chain whose letter the path names. NULL: answered. */
static const char *begin(struct call *call)
{
	const char *chain = admin_one_chain(call);
	return chain && admin_check_letters(call, call->places[0], chain) ? chain : NULL;
}

static void failed(struct call *call, const struct error *err)
{
	if (err->code == WEIR_NOT_FOUND)
		call_problem(call, 404, "dead_letter_unknown", "there is no such dead letter: it was replayed, purged, or never was");
	else
		admin_letter_failed(call, err);
}

static void note(struct call *call, const char *action)
{
	log_info(&call->gateway->log, "operator_action", call_text(call, "why"), LOG_S("action", action), LOG_S("who", call->who->name),
		 LOG_S("subscription", call->places[0]), LOG_S("letter", call->places[1]), LOG_S("request_id", call->request->id));
}

/* ---- editing ------------------------------------------------------------------------------------------------------------------ */

static bool has_unknown(const ProtobufCMessage *message)
{
	if (message->n_unknown_fields > 0)
		return true;
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
		const char *at = (const char *)message + f->offset;
		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t n;
			ProtobufCMessage *const *list;
			memcpy(&n, (const char *)message + f->quantifier_offset, sizeof n);
			memcpy(&list, at, sizeof list);
			for (size_t k = 0; k < n; k++)
				if (has_unknown(list[k]))
					return true;
			continue;
		}
		uint32_t which = f->id;
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			memcpy(&which, (const char *)message + f->quantifier_offset, sizeof which);
		const ProtobufCMessage *one;
		memcpy(&one, at, sizeof one);
		if (which == f->id && one && has_unknown(one))
			return true;
	}
	return false;
}

/* Fields that the type does not have mean that it is a message of another type: nearly any bytes are some protobuf. */
static int check_body(uint16_t type, uint16_t schema_version, struct bytes body, void *arg, struct error *err)
{
	(void)schema_version;
	(void)arg;
	const ProtobufCMessageDescriptor *kind = message_kind(type);
	ProtobufCMessage *message = kind ? protobuf_c_message_unpack(kind, NULL, body.size, body.data) : NULL;
	if (!message)
		return error_set(err, WEIR_INVALID, kind ? "the body is not a %s" : "this version of weir does not know the type of the message (%s)",
				 kind ? kind->name : "unknown");
	bool unknown = has_unknown(message);
	protobuf_c_message_free_unpacked(message, NULL);
	return unknown ? error_set(err, WEIR_INVALID, "the body has fields that a %s does not have", kind->name) : 0;
}

void admin_dlq_edit(struct call *call)
{
	const char *chain = begin(call), *text = call_text(call, "body");
	struct buf body = BUF_INIT(64u << 20);
	char sha256[SHA256_TEXT];
	struct error err = { 0 };
	if (!chain)
		return;
	if (!base64_read(text, strlen(text), &body)) {
		call_problem(call, 400, "invalid_body", "body is not base64 of a packed message");
		buf_free(&body);
		return;
	}
	const struct dead_letter_edit edit = { .body = { body.data, body.size },
					       .expect_sha256 = call_text(call, "frame_sha256"),
					       .who = call->who->name,
					       .why = call_text(call, "why"),
					       .check = check_body };
	struct bus *bus = control_take(call->gateway->letter_control);
	int code = dead_letter_edit(bus, chain, call->places[0], call->places[1], &edit, sha256, &err);
	control_give(call->gateway->letter_control);
	buf_free(&body);
	if (code) {
		failed(call, &err);
		return;
	}
	note(call, "dlq_edit");
	put_object(call->out, NULL);
	put_text(call->out, "id", call->places[1]);
	put_text(call->out, "frame_sha256", sha256);
	put_end(call->out, '}');
}

void admin_dlq_skip(struct call *call)
{
	const char *chain = begin(call);
	struct error err = { 0 };
	if (!chain)
		return;
	struct bus *bus = control_take(call->gateway->letter_control);
	int code = dead_letter_skip(bus, chain, call->places[0], call->places[1], call->who->name, call_text(call, "why"), &err);
	control_give(call->gateway->letter_control);
	if (code) {
		failed(call, &err);
		return;
	}
	note(call, "dlq_skip");
	put_object(call->out, NULL);
	put_u64(call->out, "count", 1);
	put_end(call->out, '}');
}

/* ---- files -------------------------------------------------------------------------------------------------------------------- */

struct lines {
	struct buf *out;
	size_t begun, left;
	char last[64];
	bool more;
};

static bool on_line(const char *id, struct bytes line, void *arg)
{
	struct lines *l = arg;
	if (l->left == 0 || l->out->size - l->begun > EXPORT_BYTES) {
		l->more = true;
		return false;
	}
	char *text = xstrndup((const char *)line.data, line.size);
	put_raw(l->out, NULL, text);
	free(text);
	l->left--;
	snprintf(l->last, sizeof l->last, "%s", id);
	return true;
}

void admin_dlq_export(struct call *call)
{
	const char *chain = admin_one_chain(call), *subscription = call_text(call, "subscription");
	struct dead_letter_filter filter;
	struct error err = { 0 };
	struct lines l = { .out = call->out, .left = (size_t)call_number(call, "limit", LIMIT_DEFAULT) };
	char after[64] = "";
	if (!chain || !admin_check_letters(call, subscription, chain) || !admin_letter_filter(call, &filter) ||
	    !page_cursor_text(call, after, sizeof after))
		return;
	page_begin(call);
	l.begun = call->out->size;
	struct bus *bus = control_take(call->gateway->letter_control);
	int code = dead_letter_export(bus, chain, subscription, &filter, after, l.left + 1, on_line, &l, &err);
	control_give(call->gateway->letter_control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	page_end_behind(call, l.more ? l.last : NULL);
}

void admin_dlq_import(struct call *call)
{
	const char *chain = admin_one_chain(call), *subscription = call_text(call, "subscription"), *lines = call_text(call, "lines");
	struct error err = { 0 };
	uint64_t imported = 0, known = 0;
	if (!chain || !admin_check_letters(call, subscription, chain))
		return;
	struct bus *bus = control_take(call->gateway->letter_control);
	int code = dead_letter_import(bus, chain, subscription, (struct bytes){ (const uint8_t *)lines, strlen(lines) }, call->who->name, &imported,
				      &known, &err);
	control_give(call->gateway->letter_control);
	if (code) {
		admin_letter_failed(call, &err);
		return;
	}
	log_info(&call->gateway->log, "operator_action", NULL, LOG_S("action", "dlq_import"), LOG_S("who", call->who->name),
		 LOG_S("subscription", subscription), LOG_U("letters", imported), LOG_S("request_id", call->request->id));
	put_object(call->out, NULL);
	put_u64(call->out, "imported", imported);
	put_u64(call->out, "known", known);
	put_end(call->out, '}');
}

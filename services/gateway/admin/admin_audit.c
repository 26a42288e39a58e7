/* admin_audit.c - /admin/v1/audit: what operators did, and whether that record is as it was written. */
#include "admin/admin.h"

#include "control.h"

#include "weir/streams.h"

#include <stdio.h>
#include <string.h>

struct lines {
	struct buf *out;
	size_t left;
	char last[64];
	bool more;
};

static bool on_line(const struct audit_line *line, void *arg)
{
	struct lines *l = arg;
	if (l->left == 0) {
		l->more = true;
		return false;
	}
	put_object(l->out, NULL);
	put_u64(l->out, "number", line->number);
	put_milliseconds(l->out, "at", line->at_ms);
	put_text(l->out, "hash", line->hash);
	put_object(l->out, "words");
	for (size_t i = 0; i + 1 < line->word_count; i += 2)
		put_text(l->out, line->words[i], line->words[i + 1]);
	put_end(l->out, '}');
	put_end(l->out, '}');
	l->left--;
	snprintf(l->last, sizeof l->last, "%s", line->id);
	return true;
}

/* What belongs to no chain has a record of its own. */
static const char *record_of(struct call *call)
{
	const char *chain = call_text(call, "chain");
	return chain && strcmp(chain, AUDIT_GATEWAY) == 0 ? AUDIT_GATEWAY : admin_one_chain(call);
}

void admin_audit_list(struct call *call)
{
	const char *chain = record_of(call);
	struct lines l = { .out = call->out, .left = (size_t)call_number(call, "limit", LIMIT_DEFAULT) };
	struct error err = { 0 };
	char before[64] = "";
	if (!chain || !page_cursor_text(call, before, sizeof before))
		return;
	page_begin(call);
	struct bus *bus = control_take(call->gateway->control);
	int code = bus_audit_list(bus, chain, before, l.left + 1, on_line, &l, &err);
	control_give(call->gateway->control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	page_end_behind(call, l.more ? l.last : NULL);
}

void admin_audit_verify(struct call *call)
{
	const char *chain = record_of(call), *hash = call_text(call, "hash");
	int64_t number = call_number(call, "number", 0);
	struct audit_report report;
	struct error err = { 0 };
	if (!chain)
		return;
	if ((hash != NULL) != (number > 0)) {
		call_problem(call, 400, "invalid_parameter", "number and hash of the line that was noted go together");
		return;
	}
	struct bus *bus = control_take(call->gateway->control);
	int code = bus_audit_verify(bus, chain, (uint64_t)number, hash, &report, &err);
	control_give(call->gateway->control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	put_object(call->out, NULL);
	put_text(call->out, "chain", chain);
	put_bool(call->out, "sound", report.sound);
	put_u64(call->out, "lines", report.lines);
	put_u64(call->out, "first", report.first);
	put_u64(call->out, "last", report.last);
	put_text(call->out, "hash", report.lines > 0 ? report.hash : NULL);
	if (report.sound)
		put_null(call->out, "wrong");
	else
		put_u64(call->out, "wrong", report.wrong);
	put_text(call->out, "words", report.sound ? NULL : report.words);
	put_end(call->out, '}');
}

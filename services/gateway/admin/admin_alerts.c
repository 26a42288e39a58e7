/* admin_alerts.c - /admin/v1/alerts: where alerts go, trying that, and silences. */
#include "admin/admin.h"

#include "control.h"

#include "base/clock.h"
#include "daemon/silence.h"

#include <stdio.h>
#include <string.h>

static void put_silence(struct buf *out, const struct silence *s)
{
	put_text(out, "id", s->id);
	put_text(out, "pattern", s->pattern);
	put_text(out, "reason", s->reason);
	put_text(out, "who", s->who);
	put_milliseconds(out, "created_at", s->created_ms);
	put_milliseconds(out, "expires_at", s->expires_ms);
}

static void put_destination(struct buf *out, const char *name, const char *kind, const char *to, const char *severity)
{
	put_object(out, NULL);
	put_text(out, "name", name);
	put_text(out, "kind", kind);
	put_text(out, "to", to);
	put_text(out, "severity", severity);
	put_end(out, '}');
}

void admin_alerts(struct call *call)
{
	const struct config *c = call->gateway->config;
	struct silence silences[SILENCES_MAX];
	struct error err = { 0 };
	size_t n = 0;
	char host[256];
	struct bus *bus = control_take(call->gateway->control);
	int code = silence_list(bus, silences, &n, &err);
	control_give(call->gateway->control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	put_object(call->out, NULL);
	put_array(call->out, "destinations");
	if (*c->alerts.webhook_url)
		put_destination(call->out, "webhook_url", "slack", log_url(c->alerts.webhook_url, host), "ticket");
	for (size_t i = 0; i < c->alerts.destination_count; i++) {
		const struct alert_destination_config *d = &c->alerts.destinations[i];
		put_destination(call->out, d->name, d->kind, *d->to ? d->to : log_url(d->url, host), d->severity);
	}
	put_end(call->out, ']');
	put_array(call->out, "silences");
	for (size_t i = 0; i < n; i++) {
		put_object(call->out, NULL);
		put_silence(call->out, &silences[i]);
		put_end(call->out, '}');
	}
	put_end(call->out, ']');
	put_end(call->out, '}');
}

static void on_tested(const char *name, const char *kind, const struct error *failed, void *arg)
{
	struct buf *out = arg;
	put_object(out, NULL);
	put_text(out, "name", name);
	put_text(out, "kind", kind);
	put_bool(out, "taken", !failed);
	put_text(out, "error", failed ? failed->text : NULL);
	put_end(out, '}');
}

void admin_alert_test(struct call *call)
{
	const char *destination = call_text(call, "destination");
	struct error err = { 0 };
	if (!admin_audit_identity(call, "alert_test", destination ? destination : "all destinations"))
		return;
	put_object(call->out, NULL);
	put_array(call->out, "items");
	if (alert_test(call->gateway->ctx, destination, call->who->name, on_tested, call->out, &err)) {
		call_failed(call, &err); /* writes the answer anew */
		return;
	}
	put_end(call->out, ']');
	put_end(call->out, '}');
}

void admin_alert_silence(struct call *call)
{
	struct silence silence = { 0 };
	struct error err = { 0 };
	char detail[500];
	snprintf(silence.pattern, sizeof silence.pattern, "%s", call_text(call, "pattern"));
	snprintf(silence.reason, sizeof silence.reason, "%s", call_text(call, "why"));
	snprintf(silence.who, sizeof silence.who, "%s", call->who->name);
	silence.expires_ms = clock_wall_ms() + call_number(call, "seconds", 0) * 1000;
	snprintf(detail, sizeof detail, "%s for %lld s: %s", silence.pattern, (long long)call_number(call, "seconds", 0), silence.reason);
	if (!admin_audit_identity(call, "alert_silence", detail))
		return;
	struct bus *bus = control_take(call->gateway->control);
	int code = silence_add(bus, &silence, &err);
	control_give(call->gateway->control);
	if (code == WEIR_FULL) {
		call_problem(call, 409, "too_many_silences", "%s", err.text);
	} else if (code) {
		call_failed(call, &err);
	} else {
		put_object(call->out, NULL);
		put_silence(call->out, &silence);
		put_end(call->out, '}');
	}
}

void admin_alert_unsilence(struct call *call)
{
	struct error err = { 0 };
	char detail[300];
	const char *why = call_text(call, "why");
	snprintf(detail, sizeof detail, "%.32s%s%s", call->places[0], why ? ": " : "", why ? why : "");
	if (!admin_audit_identity(call, "alert_unsilence", detail))
		return;
	struct bus *bus = control_take(call->gateway->control);
	int code = silence_end(bus, call->places[0], &err);
	control_give(call->gateway->control);
	if (code) {
		call_failed(call, &err);
		return;
	}
	put_object(call->out, NULL);
	put_i64(call->out, "count", 1);
	put_end(call->out, '}');
}

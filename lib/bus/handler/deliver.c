/* deliver.c - one message to its handler: the upcast, the breaker, the call, and what its result means. */
#include "bus/handler/deliver.h"
#include "bus/lane/owner.h"
#include "bus/trace.h"
#include "wire/envelope.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* -- breakers ---------------------------------------------------------------------------------------------------------------- */

/* What was parked while its dependency was down deserves another try. Best effort: an operator can do it as well. */
static void try_parked_again(struct bus_subscription *s)
{
	const struct dead_letter_filter filter = { .error_class = retry_class_name(RETRY_DEPENDENCY) };
	uint64_t all = 0;
	(void)dead_letter_replay(s->bus, s->chain, s->name, &filter, NULL, 0, "breaker", &all, NULL);
	if (all > 0)
		log_info(&s->bus->log, "bus_parked_tried_again", "what was parked while a dependency was down is tried again",
			 LOG_S("chain", s->chain), LOG_S("subscription", s->name), LOG_U("letters", all));
}

static void breaker_heard(struct bus_subscription *s, struct handler_state *h, bool worked, int64_t now)
{
	bool was_open = !breaker_closed(h->breaker);
	if (worked)
		breaker_success(h->breaker, now);
	else
		breaker_failure(h->breaker, now);
	bool open = !breaker_closed(h->breaker);
	if (open && !was_open)
		log_warn(&s->bus->log, "bus_breaker_opened", "what the handler depends on fails: its messages wait, no attempt is used up",
			 LOG_S("chain", s->chain), LOG_S("subscription", s->name), LOG_S("handler", h->def->name),
			 LOG_S("dependency", h->def->dependency ? h->def->dependency : h->def->name), LOG_I("pause_ms", h->breaker->until_ms - now));
	if (was_open && !open)
		log_info(&s->bus->log, "bus_breaker_closed", "what the handler depends on works again", LOG_S("chain", s->chain),
			 LOG_S("subscription", s->name), LOG_S("handler", h->def->name));
	/* At the first sign of life: they serve as the further probes, when nothing else comes. */
	if (was_open && worked && (!open || h->breaker->proved == 1))
		try_parked_again(s);
}

int64_t deliver_blocked_until(const struct bus_subscription *s, int64_t now_ms)
{
	int64_t first = INT64_MAX;
	if (!breaker_closed(&s->storm) && s->storm.until_ms > now_ms)
		return s->storm.until_ms;
	for (size_t i = 0; i < s->breaker_count; i++) {
		const struct breaker *b = &s->breakers[i];
		if (breaker_closed(b) || b->until_ms <= now_ms)
			return 0;
		first = b->until_ms < first ? b->until_ms : first;
	}
	return first == INT64_MAX ? 0 : first;
}

/* -- counting ------------------------------------------------------------------------------------------------------------------ */

static struct handler_state *handler_of(struct bus_subscription *s, uint16_t type)
{
	uint8_t at = s->handler_of[type];
	return at ? &s->handlers[at - 1] : NULL;
}

void deliver_note(struct bus_subscription *s, const struct bus_message *m, enum verdict verdict, const struct error *why)
{
	struct handler_state *h = handler_of(s, m->frame.type);
	s->progressed = s->progressed || verdict == VERDICT_DONE || verdict == VERDICT_PARK;
	if (why && *why->text)
		snprintf(s->own.last_error, sizeof s->own.last_error, "%s", why->text);
	if (verdict != VERDICT_PARK)
		return;
	if (h)
		h->status.parked++;
	log_warn(&s->bus->log, "bus_parked", "a message became a dead letter; those of its key wait behind it", LOG_S("chain", s->chain),
		 LOG_S("topic", s->topic), LOG_S("subscription", s->name), LOG_S("entry", m->id), LOG_S("type", message_type_name(m->frame.type)),
		 LOG_S("reason", error_name(why ? why->code : WEIR_INTERNAL)), LOG_S("error", why ? why->text : ""));
}

static void count_call(struct bus_subscription *s, struct handler_state *h, const struct attempt *a, int result, int64_t ns)
{
	s->own.delivered++;
	s->own.replayed += a->message->replay;
	h->status.busy_us += ns / 1000;
	h->status.done += result == 0;
	h->status.failed += result != 0;
	h->status.recovered += result == 0 && a->failures > 0;
	bus_tally_attempt(s->tally, a->message->frame.type, result, a->failures);
	if (h->seconds)
		metric_observe(h->seconds, (double)ns / 1e9);
}

/* -- the verdict ----------------------------------------------------------------------------------------------------------------- */

/* More than half of the last minute's messages would be parked: something bigger is wrong than these messages. */
static enum verdict park_unless_storm(struct bus_subscription *s, struct attempt *a, int64_t now)
{
	if (s->options.no_storm_guard)
		return VERDICT_PARK;
	bool was_open = !breaker_closed(&s->storm);
	breaker_failure(&s->storm, now);
	if (breaker_closed(&s->storm))
		return VERDICT_PARK;
	if (!was_open) {
		bus_count(s->bus, "weir_bus_storms_total", s->chain, s->topic, s->name, 1);
		log_error(&s->bus->log, "bus_storm",
			  "most messages fail for good: paused before they all become dead letters; one is tried now and then",
			  LOG_S("chain", s->chain), LOG_S("topic", s->topic), LOG_S("subscription", s->name),
			  LOG_S("type", message_type_name(a->message->frame.type)), LOG_S("error", a->why.text));
	}
	a->due_ms = s->storm.until_ms;
	return VERDICT_LATER;
}

/* The publisher's word counts before the rule's, but where the rule says that trying again cannot help. */
static uint32_t retry_attempts(const struct bus_message *m, const struct retry_policy *rule)
{
	struct envelope e;
	bool said = m->frame.more.size > 0 && envelope_read(m->frame.more, &e, NULL) == 0 && e.attempts_max > 0;
	return said && rule->attempts > 1 ? e.attempts_max : rule->attempts;
}

static enum verdict failed(struct bus_subscription *s, struct handler_state *h, struct attempt *a, int64_t now)
{
	enum retry_class klass = retry_class_of(a->why.code);
	size_t rule;
	const struct retry_policy *policy =
		retry_choose(s->options.retries, s->options.retry_count, h->def->name, a->message->frame.type, klass, &rule);
	breaker_heard(s, h, klass != RETRY_DEPENDENCY, now);
	if (klass == RETRY_DEPENDENCY && !breaker_closed(h->breaker)) {
		a->due_ms = h->breaker->until_ms;
		return VERDICT_LATER;
	}
	struct retry_policy own = *policy;
	own.attempts = retry_attempts(a->message, policy);
	if (retry_next(&own, a->failures + 1, a->first_ms ? a->first_ms : now, now, random_u64(), &a->due_ms))
		return VERDICT_RETRY;
	return park_unless_storm(s, a, now);
}

/* A storm's one trial at a time. */
static bool storm_allows(struct bus_subscription *s, struct attempt *a, int64_t now)
{
	if (breaker_closed(&s->storm) || breaker_take_probe(&s->storm, now))
		return true;
	a->due_ms = s->storm.until_ms > now ? s->storm.until_ms : now + 1;
	return false;
}

static enum verdict attempt(struct bus_subscription *s, struct attempt *a)
{
	const struct bus_message *m = a->message;
	struct handler_state *h = handler_of(s, m->frame.type);
	int64_t now = s->now_ns / 1000000;
	struct bytes body;
	if (!h && bus_type_of(m->frame.type)) {
		s->own.skipped++;
		return VERDICT_DONE;
	}
	a->why.code = 0;
	a->why.text[0] = 0;
	int unreadable = bus_upcast(m->frame.type, m->frame.schema_version, m->frame.body, &s->upcast, &body, &a->why);
	if (unreadable == WEIR_UNSUPPORTED)
		return VERDICT_PARK; /* until a build knows it: no sign of a storm */
	if (!storm_allows(s, a, now))
		return VERDICT_LATER;
	if (unreadable)
		return park_unless_storm(s, a, now);
	if (!breaker_closed(h->breaker) && !breaker_take_probe(h->breaker, now)) {
		a->due_ms = h->breaker->until_ms > now ? h->breaker->until_ms : now + 1;
		return VERDICT_LATER;
	}
	struct bus_handling span;
	bus_handling_begin(&span, s->bus, s->chain, s->topic, s->name, m);
	char token[96] = "";
	if (s->owner)
		bus_owner_token_of(s->owner, m, token);
	struct bus_delivery d = { m, body, a->failures, token, s, span.span.context };
	int result = h->def->handle(&d, h->def->arg, &a->why);
	bus_handling_end(&span, s->bus, result, &a->why);
	int64_t began = s->now_ns;
	s->now_ns = clock_mono_ns();
	now = s->now_ns / 1000000;
	count_call(s, h, a, result, s->now_ns - began);
	if (result != 0) {
		a->why.code = result;
		return failed(s, h, a, now);
	}
	breaker_heard(s, h, true, now);
	breaker_success(&s->storm, now);
	return VERDICT_DONE;
}

enum verdict deliver(struct bus_subscription *s, struct attempt *a)
{
	enum verdict v = attempt(s, a);
	if (v == VERDICT_RETRY || v == VERDICT_LATER)
		s->storm.probing = false; /* a storm's trial without a result: the next one may */
	return v;
}

/* trace.c - spans of publishing and handling messages. */
#include "bus/message/tracing.h"

#include "base/clock.h"
#include "bus/core/transport.h"

#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* The same message below the same parent has the same span, whoever says so. */
static struct span_context context_of(const struct frame *f, uint64_t place)
{
	struct span_context c = frame_trace(f);
	uint64_t parent, id[2];
	memcpy(&parent, f->span_id, 8);
	memcpy(id, f->event_id, 16);
	uint64_t made = mix(parent + mix(id[0] + mix(id[1] + mix(place + 1))));
	made = made ? made : 1;
	memcpy(c.span_id, &made, 8);
	return c;
}

static void hex(const uint8_t *bytes, size_t size, char *ret)
{
	for (size_t i = 0; i < size; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

/* What each span of messaging says. */
static void describe(struct span *s, const struct bus *bus, const char *operation, const char *name, const char *destination, const char *topic)
{
	span_text(s, "messaging.system", bus->transport ? bus->transport->system : bus->memory ? "memory" : "redis");
	span_text(s, "messaging.operation.type", operation);
	span_text(s, "messaging.operation.name", name);
	span_text(s, "messaging.destination.name", destination);
	span_text(s, "weir.topic", topic);
}

/* -- publishing ---------------------------------------------------------------------------------------------------------------- */

void bus_trace_message(const struct bus *bus, struct frame *f, uint64_t place)
{
	struct span_context c = frame_trace(f);
	if (!bus->options.spans || !span_recorded(&c))
		return;
	c = context_of(f, place);
	frame_set_trace(f, &c);
}

void bus_tell_message(const struct bus *bus, const char *chain, const char *topic, bool alone, const struct frame *before, const struct frame *sent,
		      int64_t begin_ns)
{
	const char *word = alone ? "publish" : "create";
	char name[64], destination[64], id[33];
	struct span s = { .context = frame_trace(sent), .kind = SPAN_PRODUCER, .name = name, .begin_ns = begin_ns };
	memcpy(s.parent_id, before->span_id, sizeof s.parent_id);
	snprintf(name, sizeof name, "%s %s", word, topic);
	snprintf(destination, sizeof destination, "%s.%s", chain, topic);
	hex(sent->event_id, sizeof sent->event_id, id);
	describe(&s, bus, alone ? "send" : "create", word, destination, topic);
	span_text(&s, "messaging.message.id", id);
	span_number(&s, "messaging.message.body.size", (int64_t)sent->body.size);
	span_text(&s, "weir.chain", chain);
	span_text(&s, "weir.message.type", message_type_name(sent->type));
	span_end(bus->options.spans, &s);
}

/* How many of them are recorded. */
static size_t recorded(const struct frame *frames, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += (frames[i].trace_flags & 1) != 0;
	return count;
}

const struct frame *bus_publishing_begin(struct bus_publishing *t, const struct bus *bus, const struct frame *frames, size_t n, uint64_t first)
{
	*t = (struct bus_publishing){ .frames = frames, .count = n };
	t->recorded = bus->options.spans ? recorded(frames, n) : 0;
	if (t->recorded == 0)
		return frames;
	t->begin_ns = clock_wall_ns();
	t->sent = xmalloc(n * sizeof *t->sent);
	memcpy(t->sent, frames, n * sizeof *t->sent);
	for (size_t i = 0; i < n; i++)
		bus_trace_message(bus, &t->sent[i], first + i);
	return t->sent;
}

static void tell_batch(const struct bus_publishing *t, const struct bus *bus, const char *chain, const char *topic)
{
	struct span_context links[SPAN_LINKS_MAX], root = span_root(1000000);
	char name[64], destination[64];
	size_t n = 0;
	for (size_t i = 0; i < t->count && n < SPAN_LINKS_MAX; i++)
		if (t->sent[i].trace_flags & 1)
			links[n++] = frame_trace(&t->sent[i]);
	snprintf(name, sizeof name, "publish %s", topic);
	snprintf(destination, sizeof destination, "%s.%s", chain, topic);
	struct span s = span_begin(bus->options.spans, &root, SPAN_CLIENT, name);
	s.begin_ns = t->begin_ns;
	s.links = links;
	s.link_count = n;
	describe(&s, bus, "send", "publish", destination, topic);
	span_number(&s, "messaging.batch.message_count", (int64_t)t->count);
	span_end(bus->options.spans, &s);
}

void bus_publishing_end(struct bus_publishing *t, const struct bus *bus, const char *chain, const char *topic, bool done)
{
	for (size_t i = 0; done && t->sent && i < t->count; i++)
		if (t->sent[i].trace_flags & 1)
			bus_tell_message(bus, chain, topic, t->count == 1, &t->frames[i], &t->sent[i], t->begin_ns);
	if (done && t->sent && t->count > 1)
		tell_batch(t, bus, chain, topic);
	xfree(&t->sent);
}

/* -- handling -------------------------------------------------------------------------------------------------------------------- */

void bus_handling_begin(struct bus_handling *ret, const struct bus *bus, const char *chain, const char *topic, const char *subscription,
			const struct bus_message *m)
{
	struct span_context parent = frame_trace(&m->frame);
	ret->span = span_begin(bus->options.spans, &parent, SPAN_CONSUMER, ret->name);
	if (ret->span.begin_ns == 0)
		return;
	snprintf(ret->name, sizeof ret->name, "process %s", topic);
	snprintf(ret->destination, sizeof ret->destination, "%s.%s", chain, topic);
	hex(m->frame.event_id, sizeof m->frame.event_id, ret->event_id);
	describe(&ret->span, bus, "process", "process", ret->destination, topic);
	span_text(&ret->span, "messaging.consumer.group.name", subscription);
	span_text(&ret->span, "messaging.message.id", ret->event_id);
	span_text(&ret->span, "weir.chain", chain);
	span_text(&ret->span, "weir.message.type", message_type_name(m->frame.type));
	span_text(&ret->span, "weir.entry", m->id);
	span_number(&ret->span, "weir.attempt", (int64_t)m->attempts + 1);
	if (m->replay)
		span_text(&ret->span, "weir.letter", m->letter);
}

void bus_handling_end(struct bus_handling *h, const struct bus *bus, int code, const struct error *why)
{
	if (code != 0) {
		span_text(&h->span, "error.type", error_name(code));
		h->span.error = why && *why->text ? why->text : error_title(code);
	}
	span_end(bus->options.spans, &h->span);
}

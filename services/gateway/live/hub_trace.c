/* hub_trace.c - see hub_trace.h. Who is behind and reads from the ledger, or whose socket is full, gets the event later, outside of this span. */
#include "live/hub_trace.h"

#include "base/clock.h"
#include "weir/streams.h"

#define TRACES_MAX 64 /* of one turn; those before end when there are more */

struct hub_trace {
	const struct hub_chain *chain;
	struct span span;
	uint64_t pushes, bytes; /* counted before; pushes: then those of this event */
	int64_t announced_ms;   /* 0: it was not */
};

struct hub_traces {
	struct hub_trace list[TRACES_MAX];
	size_t count;
	bool open; /* the last one is being offered */
};

struct hub_traces *hub_traces_new(void)
{
	return xmalloc(sizeof(struct hub_traces));
}

void hub_traces_free(struct hub_traces **traces)
{
	xfree(traces);
}

static int64_t announced_ms(const Weir__V1__LedgerEvent *m)
{
	return m->event_case == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED ? (int64_t)m->block_applied->announced_at_unix_ms : 0;
}

void hub_trace_begin(struct hub *hub, const struct hub_chain *chain, const struct event *event)
{
	struct hub_traces *all = hub->traces;
	const int64_t announced = announced_ms(event->message);
	all->open = announced > 0 || span_recorded(&event->trace);
	if (!all->open)
		return;
	if (all->count == TRACES_MAX)
		hub_traces_end(hub);
	struct hub_trace *t = &all->list[all->count++];
	t->chain = chain;
	t->announced_ms = announced;
	t->pushes = metric_count(hub->metrics.pushes);
	t->bytes = metric_count(hub->metrics.bytes);
	t->span = span_begin(daemon_spans(hub->gateway->ctx), &event->trace, SPAN_CONSUMER, "process " TOPIC_LEDGER);
	span_number(&t->span, "weir.sequence", (int64_t)event->sequence);
	span_number(&t->span, "weir.height", event->height);
}

void hub_trace_offered(struct hub *hub)
{
	struct hub_traces *all = hub->traces;
	if (!all->open)
		return;
	struct hub_trace *t = &all->list[all->count - 1];
	t->pushes = metric_count(hub->metrics.pushes) - t->pushes;
	all->open = false;
}

static void end(const struct hub *hub, struct hub_trace *t)
{
	struct span *s = &t->span;
	if (t->announced_ms > 0)
		metric_observe(hub->metrics.latency, (double)(clock_wall_ms() - t->announced_ms) / 1e3);
	span_text(s, "messaging.system", "redis");
	span_text(s, "messaging.operation.type", "process");
	span_text(s, "messaging.operation.name", "process");
	span_text(s, "messaging.destination.name", TOPIC_LEDGER);
	span_text(s, "weir.chain", t->chain->chain->chain.name);
	span_number(s, "weir.pushes", (int64_t)t->pushes);
	span_number(s, "weir.bytes", (int64_t)(metric_count(hub->metrics.bytes) - t->bytes));
	span_end(daemon_spans(hub->gateway->ctx), s);
}

void hub_traces_end(struct hub *hub)
{
	struct hub_traces *all = hub->traces;
	for (size_t i = 0; i < all->count; i++)
		end(hub, &all->list[i]);
	all->count = 0;
}

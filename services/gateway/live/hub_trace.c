/* hub_trace.c - see hub_trace.h. Who is behind and reads from the ledger gets the event later, outside of this span. */
#include "live/hub_trace.h"

#include "weir/streams.h"

void hub_trace_begin(struct hub_trace *t, const struct hub *hub, const struct event *event)
{
	t->span = span_begin(daemon_spans(hub->gateway->ctx), &event->trace, SPAN_CONSUMER, "process " TOPIC_LEDGER);
	t->pushes = metric_count(hub->metrics.pushes);
	span_number(&t->span, "weir.sequence", (int64_t)event->sequence);
	span_number(&t->span, "weir.height", event->height);
}

void hub_trace_end(struct hub_trace *t, const struct hub *hub, const struct hub_chain *chain)
{
	struct span *s = &t->span;
	span_text(s, "messaging.system", "redis");
	span_text(s, "messaging.operation.type", "process");
	span_text(s, "messaging.operation.name", "process");
	span_text(s, "messaging.destination.name", TOPIC_LEDGER);
	span_text(s, "weir.chain", chain->chain->chain.name);
	span_number(s, "weir.pushes", (int64_t)(metric_count(hub->metrics.pushes) - t->pushes));
	span_end(daemon_spans(hub->gateway->ctx), s);
}

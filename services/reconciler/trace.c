/* trace.c - see trace.h. */
#include "trace.h"

#include "weir/streams.h"

static size_t recorded(struct held *const *held, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += span_recorded(&held[i]->trace);
	return count;
}

static void describe(struct span *s, const struct apply_trace *t, const char *operation)
{
	span_text(s, "messaging.system", "redis");
	span_text(s, "messaging.operation.type", operation);
	span_text(s, "messaging.operation.name", operation);
	span_text(s, "messaging.destination.name", TOPIC_BLOCKS);
	span_text(s, "messaging.consumer.group.name", SUBSCRIPTION_RECONCILER);
	span_text(s, "weir.chain", t->chain);
}

static void begin_block(struct span *s, const struct apply_trace *t, struct arena *arena, Weir__V1__NormalizedBlock *block, const struct held *held)
{
	*s = span_begin(t->sink, &held->trace, SPAN_CONSUMER, "process " TOPIC_BLOCKS);
	char *text = span_recorded(&s->context) ? arena_alloc(arena, SPAN_TRACEPARENT_SIZE) : NULL;
	if (!text)
		return;
	span_traceparent(&s->context, text);
	block->traceparent = text;
	describe(s, t, "process");
	span_number(s, "weir.height", held->facts.height);
	span_number(s, "weir.transaction.blocks", (int64_t)t->count);
}

void apply_trace_begin(struct apply_trace *t, const struct span_sink *sink, const char *chain, struct arena *arena,
		       Weir__V1__NormalizedBlock *const *blocks, struct held *const *held, size_t n)
{
	*t = (struct apply_trace){ .sink = NULL };
	struct span *spans = sink && recorded(held, n) > 0 ? arena_zalloc(arena, n, sizeof *spans) : NULL;
	if (!spans)
		return;
	*t = (struct apply_trace){ .sink = sink, .chain = chain, .spans = spans, .count = n };
	struct span_context root = span_root(1000000);
	if (n > 1)
		t->batch = span_begin(sink, &root, SPAN_CONSUMER, "process " TOPIC_BLOCKS " (transaction)");
	for (size_t i = 0; i < n; i++)
		begin_block(&spans[i], t, arena, blocks[i], held[i]);
}

static void failed(struct span *s, int code, const struct error *why)
{
	if (code == 0)
		return;
	span_text(s, "error.type", error_name(code));
	s->error = why && *why->text ? why->text : error_title(code);
}

void apply_trace_end(struct apply_trace *t, int code, const struct error *why)
{
	struct span_context links[SPAN_LINKS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < t->count; i++) {
		struct span *s = &t->spans[i];
		if (n < SPAN_LINKS_MAX && span_recorded(&s->context))
			links[n++] = s->context;
		if (t->count > 1) {
			s->links = &t->batch.context;
			s->link_count = 1;
		}
		failed(s, code, why);
		span_end(t->sink, s);
	}
	if (t->count < 2)
		return;
	describe(&t->batch, t, "process");
	span_number(&t->batch, "messaging.batch.message_count", (int64_t)t->count);
	t->batch.links = links;
	t->batch.link_count = n;
	failed(&t->batch, code, why);
	span_end(t->sink, &t->batch);
}

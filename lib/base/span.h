/* span.h - what a piece of work was, for tracing: which trace it belongs to, what caused it, when, how it ended.
 *
 * Context travels with messages as W3C Trace Context says (trace id, span id, flags; https://www.w3.org/TR/trace-context/): whoever begins a
 * trace decides whether it is recorded, everybody else obeys the flag. Who does something tells it to a sink when it is over; where spans
 * go is the sink's affair (daemon/otel.h sends them by OTLP). Without a sink nothing is recorded and nothing costs anything.
 */
#ifndef WEIR_BASE_SPAN_H
#define WEIR_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPAN_ATTRIBUTES_MAX 16
#define SPAN_LINKS_MAX 128
#define SPAN_TRACEPARENT_SIZE 56 /* "00-<32 hex>-<16 hex>-<2 hex>" and NUL */

struct span_context {
	uint8_t trace_id[16]; /* all zero: no trace */
	uint8_t span_id[8];
	uint8_t flags; /* bit 0: recorded */
};

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER }; /* as OTLP numbers them */

struct span_attribute {
	const char *name; /* of OpenTelemetry's semantic conventions, or "weir.…" */
	const char *text; /* NULL: number */
	int64_t number;
};

struct span {
	struct span_context context;
	uint8_t parent_id[8]; /* all zero: the trace begins here */
	enum span_kind kind;
	const char *name;
	int64_t begin_ns, end_ns; /* since 1970 */
	struct span_attribute attributes[SPAN_ATTRIBUTES_MAX]; /* texts must live until the span is told */
	size_t attribute_count;
	const struct span_context *links; /* what else had to do with it; at most SPAN_LINKS_MAX are kept */
	size_t link_count;
	const char *error; /* what went wrong; NULL: nothing */
};

/* tell copies what it keeps, never waits, may be called by any thread. */
struct span_sink {
	void (*tell)(void *arg, const struct span *);
	void *arg;
};

bool span_recorded(const struct span_context *); /* has a trace, and its beginner wants it recorded */
/* A new trace; recorded with probability per_million / 1 000 000. */
struct span_context span_root(int64_t per_million);
/* Begins a span below parent, now. Give it attributes and links, then span_end. Of a parent that is not recorded, or without a sink, it
 * has the parent's context and is not told: so what it causes belongs to the parent. */
struct span span_begin(const struct span_sink *, const struct span_context *parent, enum span_kind, const char *name);
void span_text(struct span *, const char *name, const char *text); /* beyond SPAN_ATTRIBUTES_MAX: dropped */
void span_number(struct span *, const char *name, int64_t);
void span_end(const struct span_sink *, struct span *); /* sets end_ns, and tells it where it is recorded */

void span_traceparent(const struct span_context *, char ret[SPAN_TRACEPARENT_SIZE]);
/* False, and *ret without a trace, when text is none. */
bool span_from_traceparent(const char *text, struct span_context *ret);

#endif

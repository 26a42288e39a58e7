/* otel.h - spans to an OpenTelemetry collector: OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp), by a thread of its
 * own from a bounded queue.
 *
 * Telling a span costs a copy and never waits: where the collector is slow or away the queue fills, and further spans are dropped and counted
 * (weir_otel_spans_total). A batch that the collector refuses for the moment (429, 502, 503, 504) or does not answer is tried again for a
 * while; one that it refuses for good is dropped. What waits when the process ends gets OTEL_FLUSH_MS.
 */
#ifndef WEIR_DAEMON_OTEL_H
#define WEIR_DAEMON_OTEL_H

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/span.h"

#define OTEL_QUEUE_SPANS 8192
#define OTEL_QUEUE_BYTES (8u << 20)
#define OTEL_BATCH_SPANS 512
#define OTEL_LINGER_MS 500
#define OTEL_FLUSH_MS 3000

struct otel_options {
	const char *endpoint;     /* base URL, "http://collector:4318": /v1/traces is appended. NULL or empty: nothing is recorded */
	const char *service_name; /* resource attributes service.name, … */
	const char *instance;     /* … service.instance.id */
	const struct log *log;
	struct metrics *metrics;
};

struct otel;
struct otel *otel_start(const struct otel_options *); /* NULL: it is off. The strings must live as long as it does */
void otel_stop(struct otel **);                      /* accepts NULL */
const struct span_sink *otel_sink(const struct otel *); /* NULL where it is off */
void otel_span_json(const struct span *, struct buf *out); /* one element of scopeSpans[].spans: for tests, too */

extern const struct metric_def otel_metric_defs[];
extern const size_t otel_metric_count;

#endif

/* metrics.h - counters, gauges and histograms, declared in one table per program, printed in Prometheus text format.
 *
 * The table (struct metric_def[]) also makes docs/metrics.md. A series is a def plus up to five label values; it is created on
 * first use and lives as long as the process; a def may have at most METRICS_SERIES_MAX series, further ones are counted in
 * weir_metrics_series_dropped_total. Updates are atomic and lock-free on an existing series; look a series up once and keep it.
 */
#ifndef WEIR_BASE_METRICS_H
#define WEIR_BASE_METRICS_H

#include "base/mem.h"

#include <stdint.h>

#define METRICS_SERIES_MAX 512
#define METRICS_LABELS_MAX 5

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_def {
	const char *name; /* "weir_fetcher_blocks_total" */
	enum metric_kind kind;
	const char *help;
	const char *labels[METRICS_LABELS_MAX]; /* NULL-ended */
	const double *buckets;                  /* histograms: ascending upper bounds, ended by 0; NULL: METRICS_SECONDS */
};
extern const double METRICS_SECONDS[]; /* 0.5 ms .. 60 s */

struct metrics; /* the registry: one per process */
struct metric;  /* one series; owned by the registry, never freed before it */

struct metrics *metrics_new(void);
void metrics_free(struct metrics **);
void metrics_register(struct metrics *, const struct metric_def *defs, size_t n); /* defs must outlive the registry */
/* NULL label values end the list. Never returns NULL (an overflow series is shared). */
struct metric *metrics_get(struct metrics *, const char *name, const char *label1, const char *label2, const char *label3);
/* The same, with as many labels as a def may have. */
struct metric *metrics_series(struct metrics *, const char *name, const char *const labels[METRICS_LABELS_MAX]);
void metric_add(struct metric *, uint64_t n);
void metric_inc(struct metric *);
void metric_set(struct metric *, double value);
void metric_observe(struct metric *, double value);
uint64_t metric_count(const struct metric *); /* counter value, or a histogram's count */
double metric_value(const struct metric *);   /* gauge value */
void metrics_print(struct metrics *, struct buf *out);                                     /* Prometheus text 0.0.4 */
void metrics_print_markdown(const struct metric_def *defs, size_t n, struct buf *out);     /* rows of docs/metrics.md */

#endif

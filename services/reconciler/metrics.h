/* metrics.h - what the reconciler counts: one table (docs/metrics.md is printed from it), and the series of one chain. */
#ifndef WEIR_RECONCILER_METRICS_H
#define WEIR_RECONCILER_METRICS_H

#include "base/metrics.h"

extern const struct metric_def reconciler_metrics[];
extern const size_t reconciler_metric_count;

struct chain_metrics {
	struct metric *watermark, *head, *safe, *finalized, *owner;
	struct metric *blocks, *entries, *skipped, *retracted, *openings, *openings_unknown;
	struct metric *batch_seconds, *batch_entries, *held, *held_bytes, *gaps, *incidents, *lag_seconds;
	struct metric *published, *unpublished, *forks;
	struct metric *refetches, *unproven;
	struct metric *checked, *mismatches, *queue, *sweep, *observations;
	struct metrics *registry;
	const char *chain;
};
void chain_metrics_init(struct chain_metrics *, struct metrics *, const char *chain);
/* Balances that were not compared, by reason. */
struct metric *chain_metrics_skipped(const struct chain_metrics *, const char *reason);

#endif

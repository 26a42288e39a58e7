/* metrics.c - the table of the reconciler's metrics. */
#include "metrics.h"

static const double SIZES[] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 0 };

#define PREFIX "weir_reconciler_"
#define CHAIN_METRICS(X)                                                                                                               \
	X(watermark, METRIC_GAUGE, "watermark_height", "Every block from the start to here is in the ledger", NULL)                    \
	X(head, METRIC_GAUGE, "head_height", "Height of the chain's head as the fetcher told it", NULL)                                \
	X(safe, METRIC_GAUGE, "safe_height", "Height that the chain calls safe", NULL)                                                 \
	X(finalized, METRIC_GAUGE, "finalized_height", "Height that the chain calls final", NULL)                                      \
	X(owner, METRIC_GAUGE, "owner", "1 where this process writes the chain's ledger, 0 where it stands by", NULL)                  \
	X(blocks, METRIC_COUNTER, "blocks_applied_total", "Blocks put into the ledger", NULL)                                          \
	X(entries, METRIC_COUNTER, "entries_applied_total", "Entries put into the ledger", NULL)                                       \
	X(skipped, METRIC_COUNTER, "blocks_skipped_total", "Blocks that arrived again and were in the ledger already", NULL)           \
	X(retracted, METRIC_COUNTER, "blocks_retracted_total", "Blocks superseded by a reorg, a rewind or a heal", NULL)               \
	X(openings, METRIC_COUNTER, "openings_total", "Opening balances written", NULL)                                                \
	X(openings_unknown, METRIC_COUNTER, "openings_unknown_total", "Balances whose opening no endpoint could tell", NULL)           \
	X(batch_seconds, METRIC_HISTOGRAM, "batch_seconds", "Time to put one batch of blocks into the ledger", NULL)                   \
	X(batch_entries, METRIC_HISTOGRAM, "batch_entries", "Entries in one batch", SIZES)                                             \
	X(held, METRIC_GAUGE, "held_blocks", "Blocks waiting in memory for the one before them", NULL)                                 \
	X(held_bytes, METRIC_GAUGE, "held_bytes", "Bytes of those blocks", NULL)                                                       \
	X(gaps, METRIC_GAUGE, "gaps_open", "Ranges of blocks that are missing or not proven", NULL)                                    \
	X(incidents, METRIC_GAUGE, "incidents_open", "Differences between ledger and chain that are not closed", NULL)                 \
	X(lag_seconds, METRIC_GAUGE, "lag_seconds", "Age of the newest applied block beyond the head's, 0 when level", NULL)           \
	X(published, METRIC_COUNTER, "events_published_total", "Ledger events put on topic ledger", NULL)                              \
	X(unpublished, METRIC_GAUGE, "events_unpublished", "Committed events that wait for Redis", NULL)                               \
	X(forks, METRIC_COUNTER, "forks_total", "Reorganizations followed", NULL)                                                      \
	X(refetches, METRIC_COUNTER, "refetches_total", "Refetch commands sent", NULL)                                                 \
	X(unproven, METRIC_COUNTER, "blocks_unproven_total", "Blocks that arrived with a failed proof", NULL)                          \
	X(checked, METRIC_COUNTER, "balances_checked_total", "Balances compared with the chain and found equal", NULL)                 \
	X(mismatches, METRIC_COUNTER, "balance_mismatches_total", "Balances that differed from the chain, confirmed", NULL)            \
	X(queue, METRIC_GAUGE, "check_queue", "Balances waiting to be compared", NULL)                                                 \
	X(sweep, METRIC_COUNTER, "sweep_rounds_total", "Times that the sweep went over all balances", NULL)                            \
	X(observations, METRIC_COUNTER, "observations_total", "Balances stored as the chain says", NULL)

const struct metric_def reconciler_metrics[] = {
#define X(field, kind_, name_, help_, buckets_) { .name = PREFIX name_, .kind = kind_, .help = help_, .labels = { "chain" }, .buckets = buckets_ },
	CHAIN_METRICS(X)
#undef X
	{ .name = PREFIX "balances_skipped_total", .kind = METRIC_COUNTER, .help = "Balances not compared with the chain, by reason",
	  .labels = { "chain", "reason" } },
};
const size_t reconciler_metric_count = sizeof reconciler_metrics / sizeof reconciler_metrics[0];

void chain_metrics_init(struct chain_metrics *m, struct metrics *registry, const char *chain)
{
	m->registry = registry;
	m->chain = chain;
#define X(field, kind_, name_, help_, buckets_) m->field = metrics_get(registry, PREFIX name_, chain, NULL, NULL);
	CHAIN_METRICS(X)
#undef X
}

struct metric *chain_metrics_skipped(const struct chain_metrics *m, const char *reason)
{
	return metrics_get(m->registry, PREFIX "balances_skipped_total", m->chain, reason, NULL);
}

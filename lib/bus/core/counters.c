/* counters.c - what the bus counts. */
#include "bus/core/core.h"

#define BUS_COUNTER(metric, text) { .name = metric, .kind = METRIC_COUNTER, .help = text, .labels = { "chain", "topic", "subscription" } }
/* By message type and error class: what each lane's tally counts. */
#define TALLY_COUNTER(metric, text, by) { .name = metric, .kind = METRIC_COUNTER, .help = text, .labels = { "chain", "topic", "subscription", "type", by } }
const struct metric_def bus_metric_defs[] = {
	BUS_COUNTER("weir_bus_published_total", "Messages published."),
	BUS_COUNTER("weir_bus_duplicates_skipped_total", "Messages that were sent again and stood already."),
	BUS_COUNTER("weir_bus_read_total", "Messages read."),
	BUS_COUNTER("weir_bus_done_total", "Messages handled and acknowledged."),
	TALLY_COUNTER("weir_bus_attempts_total", "Attempts at messages: calls of handlers. error_class none: it worked.", "error_class"),
	TALLY_COUNTER("weir_bus_retried_total", "Attempts that failed and will be repeated.", "error_class"),
	TALLY_COUNTER("weir_bus_recovered_total", "Messages handled after failures before.", NULL),
	BUS_COUNTER("weir_bus_not_ours_total", "Messages settled in vain: somebody else had taken them over."),
	TALLY_COUNTER("weir_bus_dead_letters_total", "Messages parked as dead letters. error_class none: they wait behind another.", "error_class"),
	BUS_COUNTER("weir_bus_replayed_total", "Dead letters tried again."),
	BUS_COUNTER("weir_bus_fenced_total", "Writes refused because another instance had taken over."),
	BUS_COUNTER("weir_bus_gaps_total", "Times a stream was shorter than what had been published."),
	BUS_COUNTER("weir_bus_loss_suspected_total", "Times Redis no longer had what had been read or committed there."),
	BUS_COUNTER("weir_bus_reconnects_total", "Connections to Redis made again."),
	BUS_COUNTER("weir_bus_full_total", "Times publishing had to wait for its readers or for memory."),
	BUS_COUNTER("weir_bus_paused_total", "Times a lane paused because what its handler depends on was down."),
	BUS_COUNTER("weir_bus_taken_over_total", "Messages taken over that somebody had read and not settled."),
	BUS_COUNTER("weir_bus_storms_total", "Times a subscription paused because most of its messages would have become dead letters."),
	{ .name = "weir_bus_breaker_opened_total",
	  .kind = METRIC_COUNTER,
	  .help = "Times a handler's breaker opened because what it depends on failed. Handlers of one dependency share its breaker, and each counts.",
	  .labels = { "chain", "subscription", "handler" } },
	{ .name = "weir_bus_breaker_state",
	  .kind = METRIC_GAUGE,
	  .help = "A handler's breaker: 0 closed, 1 half-open, 2 open.",
	  .labels = { "chain", "subscription", "handler" } },
	{ .name = "weir_bus_handler_seconds",
	  .kind = METRIC_HISTOGRAM,
	  .help = "Time in the handler, by attempt.",
	  .labels = { "chain", "subscription", "handler" } },
};
const size_t bus_metric_count = sizeof bus_metric_defs / sizeof bus_metric_defs[0];

void bus_register_metrics(struct metrics *metrics)
{
	metrics_register(metrics, bus_metric_defs, bus_metric_count);
}

void bus_count_from_zero(struct bus *bus, const char *name, const char *chain, const char *topic, const char *subscription)
{
	if (bus->options.metrics)
		(void)metrics_get(bus->options.metrics, name, chain, topic, subscription);
}

void bus_count(struct bus *bus, const char *name, const char *chain, const char *topic, const char *subscription, uint64_t n)
{
	if (bus->options.metrics && n > 0)
		metric_add(metrics_get(bus->options.metrics, name, chain, topic, subscription), n);
}

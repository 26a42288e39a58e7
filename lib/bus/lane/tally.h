/* tally.h - private to lib/bus: what a lane counts by message type and error class (statistics.h). */
#ifndef WEIR_BUS_TALLY_H
#define WEIR_BUS_TALLY_H

#include "bus/core/core.h"
#include "bus/retry.h"
#include "bus/statistics.h"

#define TALLY_CLASSES (RETRY_CRASH + 1) /* [RETRY_ANY] stands for "none" */

enum tally_figure { TALLY_ATTEMPTS, TALLY_RETRIED, TALLY_RECOVERED, TALLY_PARKED, TALLY_FIGURES };

struct tally_row {
	uint16_t type; /* 0: unknown to this build */
	uint64_t counted[TALLY_CLASSES][TALLY_FIGURES], told[TALLY_CLASSES][TALLY_FIGURES];
	struct metric *metrics[TALLY_CLASSES][TALLY_FIGURES]; /* looked up when first needed */
};

struct bus_tally {
	struct bus *bus;
	const char *chain, *topic, *subscription; /* the lane's */
	struct tally_row *rows; /* at most BUS_TYPES_MAX + 1; owned */
	size_t count, capacity, last;
	int64_t tell_ms;
	bool news; /* something was counted that Redis was not told */
};

void bus_tally_init(struct bus_tally *, struct bus *, const char *chain, const char *topic, const char *subscription);
void bus_tally_free(struct bus_tally *); /* tells first */
/* code: 0 (it worked, or only waits), or what failed. */
void bus_tally_add(struct bus_tally *, uint16_t type, int code, enum tally_figure, uint64_t n);
void bus_tally_attempt(struct bus_tally *, uint16_t type, int code, uint32_t failures_before);
/* Adds to Redis what was counted since the last time; does something about once a second. Best effort: else the next time. */
void bus_tally_tell(struct bus_tally *);
void bus_tally_each(const struct tally_row *, size_t n, bus_statistics_fn *, void *arg);

#endif

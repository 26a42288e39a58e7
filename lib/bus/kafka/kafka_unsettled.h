/* kafka_unsettled.h - private to lib/bus: what a shared lane over Kafka has read and not settled: offsets, below which nothing more is committed, and
 * the bytes of messages that wait for their next try.
 */
#ifndef WEIR_BUS_KAFKA_UNSETTLED_H
#define WEIR_BUS_KAFKA_UNSETTLED_H

#include "bus/lane/worker.h"

#define KAFKA_HISTORY_MAX (64u << 10) /* bytes of a message's failures; later ones are left out */

struct kafka_unsettled_offsets;

struct kafka_kept { /* a message of w->held */
	struct bus_message message; /* points into bytes */
	uint8_t *bytes;
	struct buf history; /* its failures, packed */
};

struct kafka_unsettled {
	struct kafka_unsettled_offsets *places; /* by partition and class */
	size_t place_count;
	struct kafka_kept kept[HOLD_MAX];
	size_t kept_count;
};

void kafka_unsettled_free(struct kafka_unsettled *);
/* Forgets all, of what are now so many partitions. */
void kafka_unsettled_reset(struct kafka_unsettled *, int32_t partitions);

/* Messages of partitions that there were not at the last reset are left alone: they are read again after the next. Offsets are added rising. */
void kafka_unsettled_add(struct kafka_unsettled *, const struct bus_message *);
void kafka_unsettled_remove(struct kafka_unsettled *, const struct bus_message *);
bool kafka_unsettled_has(const struct kafka_unsettled *, const struct bus_message *);
/* The lowest, or otherwise where there is none; below 0 where the partition is not known. */
int64_t kafka_unsettled_first(const struct kafka_unsettled *, int32_t partition, int klass, int64_t otherwise);

/* Copies its bytes. NULL: as many wait as can. It stays where it is until one is let go. */
struct kafka_kept *kafka_unsettled_keep(struct kafka_unsettled *, const struct bus_message *);
struct kafka_kept *kafka_unsettled_kept(struct kafka_unsettled *, uint8_t klass, const char *id, const char *letter);
void kafka_unsettled_let_go(struct kafka_unsettled *, struct kafka_kept *);

#endif

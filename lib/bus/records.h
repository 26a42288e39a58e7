/* records.h - plain records into a topic of Kafka, for readers that know nothing of the bus: key and value are the caller's, and nothing is put around them.
 *
 * Idempotent, acks=all, in order for each key. What a writer sends in one partition has no holes: a record arrives only where all those that the writer sent
 * there before did. So a caller that begins again at its last place makes repetitions, and no reader of a partition ever meets a record before an earlier one.
 */
#ifndef WEIR_BUS_RECORDS_H
#define WEIR_BUS_RECORDS_H

#include "bus/bus.h"

struct bus_record {
	struct bytes key, value;
};

struct bus_records;
/* Asks nobody. The bus is for this alone: what else it publishes would be held to the same rule. WEIR_UNSUPPORTED: no bus of kafka:// or kafkas://.
 * WEIR_CONFIG: its URL wants transactions. */
int bus_records_open(struct bus *, const char *topic, struct bus_records **ret, struct error *);
void bus_records_close(struct bus_records **);
/* 0: the brokers have all of them. WEIR_TIMEOUT, WEIR_UNAVAILABLE, WEIR_CANCELED: not yet; the same call again goes on waiting for the same records, and sends
 * none twice. Anything else: some may be there and some not; nothing is under way any more, begin again at the last place. WEIR_CONFIG: there is no such topic,
 * and how to make it. */
int bus_records_write(struct bus_records *, const struct bus_record *, size_t n, struct error *);
/* The newest record of each partition that has any, whoever wrote it; key and value are fn's for the call. */
typedef void bus_record_fn(const struct bus_record *, void *arg);
int bus_records_newest(struct bus_records *, bus_record_fn *, void *arg, struct error *);
/* Gives up what is under way: some of it may still arrive. */
void bus_records_drop(struct bus_records *);

#endif

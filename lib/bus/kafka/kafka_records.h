/* kafka_records.h - private to lib/bus: plain records over Kafka. */
#ifndef WEIR_BUS_KAFKA_RECORDS_H
#define WEIR_BUS_KAFKA_RECORDS_H

#include "bus/lane/records.h"

int kafka_records_write(struct bus_records *, const struct bus_record *, size_t n, struct error *);
int kafka_records_newest(struct bus_records *, bus_record_fn *, void *arg, struct error *);
void kafka_records_drop(struct bus_records *);

#endif

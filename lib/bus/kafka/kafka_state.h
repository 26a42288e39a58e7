/* kafka_state.h - private to lib/bus: hashes and figures over Kafka (bus_hash_…, bus_info of bus.h). */
#ifndef WEIR_BUS_KAFKA_STATE_H
#define WEIR_BUS_KAFKA_STATE_H

#include "bus/kafka/kafka.h"

int kafka_hash_write(struct kafka *, const char *key, const struct bus_field *fields, size_t n, struct error *);
int kafka_hash_read(struct kafka *, const char *key, void (*on_field)(const char *name, const char *value, void *arg), void *arg, struct error *);
int kafka_hash_delete(struct kafka *, const char *key, const char *const *names, size_t n, struct error *);
int kafka_info(struct kafka *, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], struct error *);

#endif

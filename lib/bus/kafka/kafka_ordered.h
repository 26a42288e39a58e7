/* kafka_ordered.h - private to lib/bus: the ordered lane over Kafka (bus_owner_… of bus.h). */
#ifndef WEIR_BUS_KAFKA_ORDERED_H
#define WEIR_BUS_KAFKA_ORDERED_H

#include "bus/kafka/kafka_lane.h"

int kafka_owner_read(struct kafka_lane *, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *);
int kafka_owner_commit(struct kafka_lane *, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *);
int kafka_owner_renew(struct kafka_lane *, struct error *);
int kafka_owner_park(struct kafka_lane *, const struct bus_message *, struct bytes history, const struct error *why, struct error *);
bool kafka_owner_parked(const struct kafka_lane *, struct bytes key);
int kafka_owner_resolve(struct kafka_lane *, const struct bus_message *const *, size_t n, struct error *);

#endif

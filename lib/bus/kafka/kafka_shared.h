/* kafka_shared.h - private to lib/bus: the shared lane over Kafka (bus_worker_… and bus_step_commit of bus.h). */
#ifndef WEIR_BUS_KAFKA_SHARED_H
#define WEIR_BUS_KAFKA_SHARED_H

#include "bus/core/core.h"

void kafka_shared_open(struct bus_worker *);
void kafka_shared_close(struct bus_worker *); /* leaves the group: what was not settled goes to others */
int kafka_worker_read(struct bus_worker *, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *);
/* What came of the messages is with the brokers before their places are committed. */
int kafka_step_commit(struct bus_step *, struct error *);

#endif

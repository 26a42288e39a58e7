/* kafka_publish.h - private to lib/bus: publishing over Kafka (bus_publish of bus.h). */
#ifndef WEIR_BUS_KAFKA_PUBLISH_H
#define WEIR_BUS_KAFKA_PUBLISH_H

#include "bus/kafka/kafka.h"
#include "bus/lane/publish.h"

/* identity: what makes a call the same call when it is repeated. */
int kafka_publish(struct bus_publisher *, const struct frame *frames, size_t n, uint64_t identity, struct error *);
/* Before anything of a call was sent, to one topic: what a shared lane emits. */
int kafka_publish_one(struct kafka *, const char *chain, const char *topic, int klass, struct bytes key, struct bytes frame, struct kafka_sends *,
		      struct error *);
void kafka_publisher_close(struct bus_publisher *); /* what is on its way gets there */

#endif

/* kafka_transport.h - private to lib/bus: Kafka as a transport (core/transport.h). */
#ifndef WEIR_BUS_KAFKA_TRANSPORT_H
#define WEIR_BUS_KAFKA_TRANSPORT_H

#include "bus/core/core.h"

/* Makes the bus one over Kafka, as its address says. WEIR_UNSUPPORTED: librdkafka is not there; the bus is as it was. */
int bus_kafka_open(struct bus *, struct error *);

#endif

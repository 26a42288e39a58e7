/* records.h - private to lib/bus: a writer of plain records. */
#ifndef WEIR_BUS_LANE_RECORDS_H
#define WEIR_BUS_LANE_RECORDS_H

#include "bus/core/transport.h"
#include "bus/records.h"

struct bus_records {
	struct bus *bus;
	char *topic; /* owned */
	void *own;   /* the transport's, for what is under way; NULL: nothing is */
	size_t done; /* of the call that is to be repeated: so many were handed over */
};

#endif

/* share.h - private to the lanes: one read's room, shared among the classes by weights.h. */
#ifndef WEIR_BUS_SHARE_H
#define WEIR_BUS_SHARE_H

#include "bus/core/core.h"
#include "bus/weights.h"

struct bus_share {
	struct bus_weights weights;
	int64_t deficit[CLASSES]; /* thousandths of a message */
	unsigned turn;            /* of the age rule */
	int64_t look_ms;          /* when the weights are read again */
};
void bus_share_init(struct bus_share *); /* the default weights */

/* Reads the weights, at most twice a second. A failure leaves them as they are: reading goes on, and shows it itself. */
void bus_share_look(struct bus_share *, struct bus *, const char *chain, const char *topic, const char *subscription);
/* wanted: how many each class has, SIZE_MAX: nobody knows; age_ms of its oldest, 0 where that is not known. The sum of ret is room, or all wanted. */
void bus_share_out(struct bus_share *, size_t room, const size_t wanted[CLASSES], const int64_t age_ms[CLASSES], size_t ret[CLASSES]);

#endif

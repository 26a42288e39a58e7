/* watch.h - how far the readers of the bus are behind, as gauges: told by the gateway, because it lives on when they do not. */
#ifndef WEIR_GATEWAY_WATCH_H
#define WEIR_GATEWAY_WATCH_H

#include "gateway.h"

struct watch;
int watch_open(const struct gateway *, struct watch **ret, struct error *);
void watch_close(struct watch **);
void watch_turn(struct watch *); /* looks when it is time; bounded by the bus' time-out */

#endif

/* weights.h - how a subscription's readers share their time among the four classes: weights that may change while they run, and an age rule.
 *
 * Where more waits than a read has room for, the classes get room in proportion to their weights (deficit round robin: what a class could not be
 * given of its share is added to its next one), so no class starves and what a class does not need is the others'. A class whose oldest message
 * is older than age_ms goes first, with at most half of the room, unless all that wait are as late. Both lanes obey; on the ordered lane order
 * is kept per key and class, as ever. Not on Kafka, whose consumers read what the broker gives.
 */
#ifndef WEIR_BUS_WEIGHTS_H
#define WEIR_BUS_WEIGHTS_H

#include "base/error.h"

#include <stdint.h>

struct bus;

#define BUS_WEIGHT_MAX 1000
struct bus_weights {
	uint32_t of[4]; /* critical, high, normal, low: 1 .. BUS_WEIGHT_MAX */
	int64_t age_ms; /* 0: no age rule */
};
extern const struct bus_weights BUS_WEIGHTS_DEFAULT; /* 16, 8, 4, 1; 60 s */

/* Every reader of the subscription obeys within a second, also those that start later. Audited. WEIR_INVALID: a weight that is none. */
int bus_weights_set(struct bus *, const char *chain, const char *topic, const char *subscription, const struct bus_weights *, const char *who,
		    struct error *);
/* What was set; the default where nothing was, or for what cannot be read. */
int bus_weights_get(struct bus *, const char *chain, const char *topic, const char *subscription, struct bus_weights *ret, struct error *);

#endif

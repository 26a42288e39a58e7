/* registry.h - the types of messages that a program knows: names, versions, classes, keys, and how older bodies become newer ones.
 *
 * One table per program, added before the first thread starts and never changed after that. A program that adds nothing has weir's
 * own types (weir/streams.h). Rules that are checked when types are added:
 *   - ids and names are unique, and never reused: an id in a stream of last year means what it meant;
 *   - the types of one key space (what their keys name: "account") keep their order with each other, and a class has its own
 *     stream and its own place: so they share one class, unless they are declared independent of the others' order;
 *   - each version between the oldest that is read and the newest has its upcaster.
 * What a build does not know (an id, or a version above its own) is parked as WEIR_UNSUPPORTED, not dropped, and tried again by itself when
 * a build that knows it starts (subscription.h).
 */
#ifndef WEIR_BUS_REGISTRY_H
#define WEIR_BUS_REGISTRY_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_TYPES_MAX 512

enum bus_class { BUS_CRITICAL, BUS_HIGH, BUS_NORMAL, BUS_LOW };

/* Turns a body of version `from` into one of version from + 1. WEIR_INVALID: it is not what it says. */
typedef int bus_upcast_fn(struct bytes body, struct buf *ret, struct error *);
/* Is body, of the newest version, well formed? For edited dead letters and for publishers' tests. */
typedef int bus_check_fn(struct bytes body, struct error *);

struct bus_type {
	uint16_t id;      /* 1 .. 65535 */
	const char *name; /* "order_placed" */
	uint16_t version; /* what this build writes; 1 .. 65535 */
	uint16_t oldest;  /* what it still reads; 0: the same */
	enum bus_class klass;
	const char *key_space;           /* NULL: its messages have no key, or need no order */
	bool independent;                /* of the order with other types of its key space */
	bus_upcast_fn *const *upcasters; /* version - oldest of them, [0] from the oldest; NULL when none is needed */
	bus_check_fn *check;             /* may be NULL */
};

/* Adds n rows, or none: WEIR_CONFIG with the rule that was broken. The rows must live as long as the program. */
int bus_types_add(const struct bus_type *, size_t n, struct error *);
const struct bus_type *bus_type_of(uint16_t id); /* NULL: unknown to this build */
/* Everything known, for documentation. fn returns false to stop. */
void bus_types_each(bool (*fn)(const struct bus_type *, void *arg), void *arg);
/* The body as the newest version has it: *ret is body itself, or points into buf. WEIR_UNSUPPORTED: type or version is unknown to this
 * build; WEIR_INVALID: an upcaster refused it. */
int bus_upcast(uint16_t id, uint16_t version, struct bytes body, struct buf *buf, struct bytes *ret, struct error *);

const char *message_type_name(uint16_t type); /* "raw_block_tip"; of an unknown one "#77", valid until the thread's next call */
int message_type_class(uint16_t type);        /* enum bus_class, -1 unknown */

#endif

/* wheel.h - what is due when, in ticks: put, moved and taken in constant time, however many there are. Owns nothing; one thread.
 *
 * As many slots as ticks lie ahead at most: what is due later comes earlier, and is put again by whoever takes it.
 */
#ifndef WEIR_GATEWAY_WHEEL_H
#define WEIR_GATEWAY_WHEEL_H

#include <stdint.h>

#define WHEEL_SLOTS 256

struct wheel_entry { /* a member of what is due; zeros: in no wheel */
	struct wheel_entry *next, *previous;
	uint64_t due;
};

struct wheel {
	uint64_t tick; /* everything up to it was taken; not 0 */
	struct wheel_entry *slots[WHEEL_SLOTS];
};

/* At the next tick if that one is over, after WHEEL_SLOTS - 1 ticks if it is further away; from where it was before it is taken out. */
void wheel_put(struct wheel *, struct wheel_entry *, uint64_t tick);
void wheel_remove(struct wheel *, struct wheel_entry *);
/* One that is due at tick `now` or before, now in no wheel; NULL: none is left. What is put meanwhile may be among them while
 * ticks are made up for. */
struct wheel_entry *wheel_take(struct wheel *, uint64_t now);

#endif

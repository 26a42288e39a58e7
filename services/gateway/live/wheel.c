/* wheel.c - a list for each slot. */
#include "live/wheel.h"

#include <stddef.h>

static struct wheel_entry **slot_of(struct wheel *w, uint64_t tick)
{
	return &w->slots[tick % WHEEL_SLOTS];
}

void wheel_remove(struct wheel *w, struct wheel_entry *e)
{
	if (e->due == 0)
		return;
	*(e->previous ? &e->previous->next : slot_of(w, e->due)) = e->next;
	if (e->next)
		e->next->previous = e->previous;
	*e = (struct wheel_entry){ 0 };
}

void wheel_put(struct wheel *w, struct wheel_entry *e, uint64_t tick)
{
	uint64_t due = tick <= w->tick ? w->tick + 1 : tick - w->tick < WHEEL_SLOTS ? tick : w->tick + WHEEL_SLOTS - 1;
	struct wheel_entry **slot = slot_of(w, due);
	if (e->due == due)
		return;
	wheel_remove(w, e);
	*e = (struct wheel_entry){ .next = *slot, .due = due };
	if (*slot)
		(*slot)->previous = e;
	*slot = e;
}

struct wheel_entry *wheel_take(struct wheel *w, uint64_t now)
{
	if (now > w->tick + WHEEL_SLOTS)
		w->tick = now - WHEEL_SLOTS; /* every slot is due, once */
	for (;;) {
		struct wheel_entry *e = *slot_of(w, w->tick);
		if (e && e->due <= now) {
			wheel_remove(w, e);
			return e;
		}
		if (w->tick >= now)
			return NULL;
		w->tick++;
	}
}

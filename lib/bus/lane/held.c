/* held.c - the messages of a worker that wait for their next try. */
#include "bus/lane/worker.h"

#include <stdio.h>
#include <string.h>

struct held *bus_worker_held(struct bus_worker *w, const char *id, const char *letter, uint8_t klass)
{
	for (size_t i = 0; i < w->held_count; i++)
		if (w->held[i].klass == klass && strcmp(w->held[i].id, id) == 0 && strcmp(w->held[i].letter, letter) == 0)
			return &w->held[i];
	return NULL;
}

struct held *bus_worker_hold(struct bus_worker *w, const char *id, const char *letter, uint8_t klass)
{
	struct held *h = bus_worker_held(w, id, letter, klass);
	if (h || w->held_count == HOLD_MAX)
		return h;
	h = &w->held[w->held_count++];
	memset(h, 0, sizeof *h);
	snprintf(h->id, sizeof h->id, "%s", id);
	snprintf(h->letter, sizeof h->letter, "%s", letter);
	h->klass = klass;
	return h;
}

void bus_worker_unhold(struct bus_worker *w, struct held *h)
{
	*h = w->held[--w->held_count];
}

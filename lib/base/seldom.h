/* seldom.h - log lines that outsiders can cause: one in a while at most, which says how many others it stands for. Thread-safe; zeroed, it is ready. */
#ifndef WEIR_BASE_SELDOM_H
#define WEIR_BASE_SELDOM_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SELDOM_MS 10000

struct seldom {
	_Atomic int64_t next_ms;
	_Atomic uint64_t count; /* since the last line */
};

/* One more happened. True: say so now; *ret_count are those since the last line, this one included. */
static inline bool seldom_due(struct seldom *s, uint64_t *ret_count)
{
	const int64_t now = clock_mono_ms();
	int64_t next = atomic_load(&s->next_ms);
	atomic_fetch_add(&s->count, 1);
	if (now < next || !atomic_compare_exchange_strong(&s->next_ms, &next, now + SELDOM_MS))
		return false;
	*ret_count = atomic_exchange(&s->count, 0);
	return *ret_count > 0;
}

#endif

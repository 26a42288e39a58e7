/* lag.c - see lag.h. */
#include "http/lag.h"

void lag_note(struct lag *lag, int64_t began_ms, int64_t ended_ms)
{
	lag->turns[lag->next++ % LAG_TURNS] = ended_ms > began_ms ? ended_ms - began_ms : 0;
	int64_t shortest = lag->turns[0]; /* zero as long as there were too few */
	for (unsigned i = 1; i < LAG_TURNS; i++)
		shortest = lag->turns[i] < shortest ? lag->turns[i] : shortest;
	atomic_store_explicit(&lag->lag_ms, shortest, memory_order_relaxed);
	atomic_store_explicit(&lag->at_ms, ended_ms, memory_order_relaxed);
}

int64_t lag_now(const struct lag *lag, int64_t now_ms)
{
	return now_ms - atomic_load_explicit(&lag->at_ms, memory_order_relaxed) < LAG_KEPT_MS ? atomic_load_explicit(&lag->lag_ms, memory_order_relaxed) : 0;
}

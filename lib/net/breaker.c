/* breaker.c - counting failures, opening, half-opening. */
#include "net/breaker.h"

#include "base/clock.h"

#define DRAIN_PER_SECOND 0.25 /* of the level of wrong answers */

bool breaker_closed(const struct breaker *b)
{
	return !b->open;
}

bool breaker_half_open(const struct breaker *b, int64_t now_ms)
{
#ifdef WEIR_MUTANT_NO_PROBE
	return false;
#endif
	return b->open && now_ms >= b->until_ms;
}

bool breaker_take_probe(struct breaker *b, int64_t now_ms)
{
	if (!breaker_half_open(b, now_ms) || b->probing)
		return false;
	b->probing = true;
	return true;
}

void breaker_trip(struct breaker *b, int64_t now_ms)
{
	int64_t pause = BREAKER_PAUSE_MS;
	for (unsigned i = 0; i < b->trips && pause < BREAKER_PAUSE_MAX_MS; i++)
		pause *= 2;
	if (pause > BREAKER_PAUSE_MAX_MS)
		pause = BREAKER_PAUSE_MAX_MS;
	if (b->trips < 32)
		b->trips++;
	b->open = true;
	b->probing = false;
	b->bad_content = 0;
	/* Jitter over the upper half: many processes that lost one node don't come back in the same millisecond. */
	b->until_ms = now_ms + pause / 2 + (int64_t)(random_u64() % (uint64_t)(pause / 2 + 1));
}

void breaker_success(struct breaker *b)
{
	/* A late answer of a request sent before the breaker opened does not close it: only the probe does. */
	if (b->open && !b->probing)
		return;
	b->open = b->probing = false;
	b->consecutive = 0;
	b->trips = 0;
}

void breaker_failure(struct breaker *b, int64_t now_ms)
{
	b->consecutive++;
	if (b->open ? b->probing : b->consecutive >= BREAKER_ERRORS)
		breaker_trip(b, now_ms);
}

void breaker_bad_content(struct breaker *b, int64_t now_ms)
{
	b->bad_content -= (double)(now_ms - b->bad_content_ms) / 1000 * DRAIN_PER_SECOND;
	if (b->bad_content < 0)
		b->bad_content = 0;
	b->bad_content_ms = now_ms;
	b->bad_content += 1;
	if (!b->open && b->bad_content >= BREAKER_BAD_CONTENT)
		breaker_trip(b, now_ms);
}

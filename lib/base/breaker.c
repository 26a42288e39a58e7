/* breaker.c - counting failures, opening, half-opening. */
#include "base/breaker.h"

#include "base/clock.h"

#define DRAIN_PER_SECOND 0.25 /* of the level of wrong answers */

const struct breaker_policy BREAKER_ENDPOINT = { .row = 5, .bad_content = 5, .pause_ms = 500, .pause_max_ms = 30000, .probes = 1 };
const struct breaker_policy BREAKER_HANDLER = { .least = 20, .accept = 2, .window_ms = 10000, .pause_ms = 500, .pause_max_ms = 30000, .probes = 3 };

static const struct breaker_policy *policy_of(const struct breaker *b)
{
	return b->policy ? b->policy : &BREAKER_ENDPOINT;
}

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

static void forget_window(struct breaker *b)
{
	b->asked[0] = b->asked[1] = b->accepted[0] = b->accepted[1] = 0;
}

void breaker_trip(struct breaker *b, int64_t now_ms)
{
	const struct breaker_policy *p = policy_of(b);
	int64_t pause = p->pause_ms;
	for (unsigned i = 0; i < b->trips && pause < p->pause_max_ms; i++)
		pause *= 2;
	if (pause > p->pause_max_ms)
		pause = p->pause_max_ms;
	if (b->trips < 32)
		b->trips++;
	b->open = true;
	b->probing = false;
	b->proved = 0;
	b->bad_content = 0;
	b->opened_total++;
	forget_window(b);
	/* Jitter over the upper half: many processes that lost one peer don't come back in the same millisecond. */
	b->until_ms = now_ms + pause / 2 + (int64_t)(random_u64() % (uint64_t)(pause / 2 + 1));
}

void breaker_reset(struct breaker *b)
{
	b->open = b->probing = false;
	b->consecutive = 0;
	b->trips = 0;
	b->proved = 0;
	b->bad_content = 0;
	forget_window(b);
}

/* Two halves of a window: when the younger one is full it becomes the older one. */
static void count(struct breaker *b, int64_t now_ms, bool accepted)
{
	const struct breaker_policy *p = policy_of(b);
	if (p->least == 0)
		return;
	int64_t age = now_ms - b->half_ms;
	if (age >= p->window_ms / 2) {
		bool next_to = age < p->window_ms;
		b->asked[1] = next_to ? b->asked[0] : 0;
		b->accepted[1] = next_to ? b->accepted[0] : 0;
		b->asked[0] = b->accepted[0] = 0;
		b->half_ms = now_ms;
	}
	b->asked[0]++;
	b->accepted[0] += accepted;
}

static bool enough(const struct breaker *b)
{
	const struct breaker_policy *p = policy_of(b);
	uint32_t asked = b->asked[0] + b->asked[1], accepted = b->accepted[0] + b->accepted[1];
	return (p->row > 0 && b->consecutive >= p->row) || (p->least > 0 && asked >= p->least && (double)asked > p->accept * (double)accepted);
}

void breaker_success(struct breaker *b, int64_t now_ms)
{
	/* A late answer to what was asked before the breaker opened does not close it: only probes do. */
	if (b->open && !b->probing)
		return;
	if (b->open && ++b->proved < policy_of(b)->probes) {
		b->probing = false;
		return;
	}
	if (b->open)
		breaker_reset(b);
	b->consecutive = 0;
	b->trips = 0;
	count(b, now_ms, true);
}

void breaker_failure(struct breaker *b, int64_t now_ms)
{
	b->consecutive++;
	if (!b->open)
		count(b, now_ms, false);
	if (b->open ? b->probing : enough(b))
		breaker_trip(b, now_ms);
}

void breaker_bad_content(struct breaker *b, int64_t now_ms)
{
	b->bad_content -= (double)(now_ms - b->bad_content_ms) / 1000 * DRAIN_PER_SECOND;
	if (b->bad_content < 0)
		b->bad_content = 0;
	b->bad_content_ms = now_ms;
	b->bad_content += 1;
	if (!b->open && policy_of(b)->bad_content > 0 && b->bad_content >= policy_of(b)->bad_content)
		breaker_trip(b, now_ms);
}

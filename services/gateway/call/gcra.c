/* gcra.c - see gcra.h. */
#include "call/gcra.h"

int64_t gcra_debt(const struct gcra_policy *p, int64_t cost)
{
	return cost * (p->window_us / p->count);
}

/* What a cost above the whole count would need can never be there: it is let through once everything is paid off. */
static int64_t allowed(const struct gcra_policy *p, int64_t cost)
{
	int64_t debt = gcra_debt(p, cost);
	return debt < p->window_us ? p->window_us - debt : 0;
}

int64_t gcra_wait_us(int64_t debt_until_us, const struct gcra_policy *p, int64_t cost, int64_t now_us)
{
	int64_t debt = debt_until_us > now_us ? debt_until_us - now_us : 0, most = allowed(p, cost);
	return debt > most ? debt - most : 0;
}

bool gcra_take(int64_t *debt_until_us, const struct gcra_policy *p, int64_t cost, int64_t now_us)
{
	if (gcra_wait_us(*debt_until_us, p, cost, now_us) > 0)
		return false;
	*debt_until_us = (*debt_until_us > now_us ? *debt_until_us : now_us) + gcra_debt(p, cost);
	return true;
}

int64_t gcra_remaining(int64_t debt_until_us, const struct gcra_policy *p, int64_t now_us)
{
	int64_t debt = debt_until_us > now_us ? debt_until_us - now_us : 0;
	return debt < p->window_us ? (p->window_us - debt) / (p->window_us / p->count) : 0;
}

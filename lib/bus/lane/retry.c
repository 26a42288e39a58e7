/* retry.c - classes of failures, choosing a rule, and the next time. */
#include "bus/retry.h"

#include <string.h>

const struct retry_policy RETRY_DEFAULT = {
	.growth = RETRY_EXPONENTIAL, .attempts = 3, .base_ms = 100, .max_ms = 30000, .hold_ms = 30000, .jitter = 1
};
static const struct retry_policy never_again = { .growth = RETRY_FIXED, .attempts = 1 };

enum retry_class retry_class_of(int code)
{
	switch (code) {
	case WEIR_UNAVAILABLE:
	case WEIR_TIMEOUT:
	case WEIR_RATE_LIMITED:
	case WEIR_FULL:
		return RETRY_DEPENDENCY;
	case WEIR_CRASH:
		return RETRY_CRASH;
	default:
		return error_retriable(code) ? RETRY_TRANSIENT : RETRY_PERMANENT;
	}
}

const char *retry_class_name(enum retry_class klass)
{
	static const char *const names[] = { "any", "transient", "dependency", "permanent", "crash" };
	return klass <= RETRY_CRASH ? names[klass] : "unknown";
}

enum retry_class retry_class_of_name(const char *code)
{
	size_t n;
	const int *codes = error_codes(&n);
	for (size_t i = 0; i < n; i++)
		if (strcmp(error_name(codes[i]), code) == 0)
			return retry_class_of(codes[i]);
	return RETRY_PERMANENT;
}

const struct retry_policy *retry_choose(const struct retry_rule *rules, size_t n, const char *handler, uint16_t type, enum retry_class klass,
					size_t *ret_rule)
{
	int best = -1;
	*ret_rule = n;
	for (size_t i = 0; i < n; i++) {
		const struct retry_rule *r = &rules[i];
		if ((r->handler && strcmp(r->handler, handler) != 0) || (r->type && r->type != type) || (r->klass != RETRY_ANY && r->klass != klass))
			continue;
		int score = (r->handler ? 4 : 0) + (r->type ? 2 : 0) + (r->klass != RETRY_ANY ? 1 : 0);
		/* A rule for any class is not meant for what cannot succeed. */
		if (klass == RETRY_PERMANENT && r->klass != RETRY_PERMANENT)
			continue;
		if (score > best) {
			best = score;
			*ret_rule = i;
		}
	}
	if (best >= 0)
		return &rules[*ret_rule].policy;
	return klass == RETRY_PERMANENT ? &never_again : &RETRY_DEFAULT;
}

static int64_t wait_of(const struct retry_policy *p, uint32_t failures)
{
	int64_t wait = p->base_ms;
	if (p->growth == RETRY_LINEAR)
		wait = failures > (uint64_t)p->max_ms / (uint64_t)(p->base_ms > 0 ? p->base_ms : 1) ? p->max_ms : p->base_ms * (int64_t)failures;
	for (uint32_t i = 1; p->growth == RETRY_EXPONENTIAL && i < failures && wait < p->max_ms; i++)
		wait *= 2;
	return wait < p->max_ms ? wait : p->max_ms;
}

bool retry_next(const struct retry_policy *p, uint32_t failures, int64_t first_ms, int64_t now_ms, uint64_t random, int64_t *ret_due_ms)
{
	if (failures >= p->attempts)
		return false;
	int64_t wait = wait_of(p, failures), least = wait - (int64_t)((double)wait * p->jitter);
	*ret_due_ms = now_ms + least + (int64_t)(random % (uint64_t)(wait - least + 1));
	return p->hold_ms == 0 || *ret_due_ms - first_ms <= p->hold_ms;
}

int retry_check(const struct retry_rule *rules, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct retry_policy *p = &rules[i].policy;
		const char *wrong = p->attempts == 0                           ? "attempts must be at least 1"
				    : p->growth > RETRY_EXPONENTIAL            ? "no such growth"
				    : rules[i].klass > RETRY_CRASH             ? "no such class"
				    : p->base_ms < 0 || p->max_ms < p->base_ms ? "0 <= base_ms <= max_ms must hold"
				    : p->max_ms > INT64_C(86400000)            ? "max_ms must be a day at most"
				    : p->hold_ms < 0                           ? "hold_ms must not be negative"
				    : !(p->jitter >= 0 && p->jitter <= 1)      ? "jitter must be between 0 and 1"
									       : NULL;
		if (wrong)
			return error_set(err, WEIR_CONFIG, "retry rule %zu (handler %s, type %u, %s): %s", i,
					 rules[i].handler ? rules[i].handler : "any", rules[i].type, retry_class_name(rules[i].klass), wrong);
	}
	return 0;
}

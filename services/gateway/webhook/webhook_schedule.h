/* webhook_schedule.h - when a webhook is tried again, and what a receiver's answer means (Standard Webhooks specification 1.0). */
#ifndef WEIR_GATEWAY_WEBHOOK_SCHEDULE_H
#define WEIR_GATEWAY_WEBHOOK_SCHEDULE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define WEBHOOK_WAITS_MAX 32
/* The waits before the second, third, … try; the first is made at once. The specification's: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. */
struct webhook_schedule {
	int64_t waits_ms[WEBHOOK_WAITS_MAX];
	size_t count;
};
#define WEBHOOK_SCHEDULE_TEXT "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h"
int webhook_schedule_read(const char *text, struct webhook_schedule *ret, struct error *); /* ms, s, m, h; at most 7 days each. WEIR_INVALID */

/* How long after try number `tries` (from 1) failed the next one is due: up to a fifth longer than the table says, so that receivers that
 * failed together are not all tried together; not before retry_after_ms (0: the receiver did not say), of which a day is believed.
 * -1: that was the last. random: any number. */
int64_t webhook_wait_ms(const struct webhook_schedule *, unsigned tries, int64_t retry_after_ms, uint64_t random);

enum webhook_verdict {
	VERDICT_DELIVERED, /* 2xx */
	VERDICT_AGAIN,     /* everything else, redirects included: they are not followed */
	VERDICT_GONE,      /* 410: the receiver wants no more */
};
enum webhook_verdict webhook_verdict_of(long status); /* 0: no answer */

#endif

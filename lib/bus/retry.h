/* retry.h - how often and when a message that failed is tried again, by a table. Pure: the caller gives times and randomness.
 *
 * A failure's class comes from its error code (error.h), never from its words:
 *   transient    retriable, the message's own trouble: tried again as its rule says, then parked
 *   dependency   what the handler needs is down (unavailable, timed out, rate limited, full): tried again and counted at the breaker, which
 *                pauses the subscription before attempts are used up
 *   permanent    trying again cannot help (invalid, limit, unsupported, …): parked at once, unless a rule says otherwise
 *   crash        its readers ended over it
 */
#ifndef WEIR_BUS_RETRY_H
#define WEIR_BUS_RETRY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum retry_class { RETRY_ANY, RETRY_TRANSIENT, RETRY_DEPENDENCY, RETRY_PERMANENT, RETRY_CRASH };
enum retry_growth { RETRY_FIXED, RETRY_LINEAR, RETRY_EXPONENTIAL };

struct retry_policy {
	enum retry_growth growth;
	uint32_t attempts;       /* all in all, the first one included; 1: never again */
	int64_t base_ms, max_ms; /* the wait after the first failure, and the longest */
	int64_t hold_ms;         /* from the first failure on, after this it is parked whatever attempts are left; 0: no such limit */
	double jitter;           /* this share of the wait is random: 0 none, 1 all of it */
};

/* The most specific rule counts: handler before type before class; among equals the first. */
struct retry_rule {
	const char *handler; /* NULL: any */
	uint16_t type;       /* 0: any */
	enum retry_class klass;
	struct retry_policy policy;
};

extern const struct retry_policy RETRY_DEFAULT; /* 3 attempts, exponential from 100 ms to 30 s, full jitter, held 30 s at most */

enum retry_class retry_class_of(int code);
const char *retry_class_name(enum retry_class);
/* Of an error code's name ("timeout"); one that this build does not know is permanent. */
enum retry_class retry_class_of_name(const char *code);
/* The rule's policy; RETRY_DEFAULT where no rule fits, and "never again" for permanent failures that no rule names. *ret_rule: its index, or n. */
const struct retry_policy *retry_choose(const struct retry_rule *, size_t n, const char *handler, uint16_t type, enum retry_class, size_t *ret_rule);
/* After `failures` failures, the first at first_ms: false: no more, park it; true: *ret_due_ms is when. random: any number. */
bool retry_next(const struct retry_policy *, uint32_t failures, int64_t first_ms, int64_t now_ms, uint64_t random, int64_t *ret_due_ms);
/* WEIR_CONFIG names what is wrong with a rule. */
int retry_check(const struct retry_rule *, size_t n, struct error *);

#endif

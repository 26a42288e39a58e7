/* rate.h - rate limits that several processes share, as debts in Redis that time pays off (the generic cell rate algorithm).
 *
 * Who limits decides from what it knows itself and tells afterwards what was spent, for many limits in one script call (RATE_KEY_FORMAT).
 * Unlike other calls of this library, one that is repeated after a broken connection may count twice.
 */
#ifndef WEIR_BUS_RATE_H
#define WEIR_BUS_RATE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct bus;

struct bus_rate {
	const char *name;  /* of the limit and who it is counted for */
	int64_t spent_us;  /* debt to add; below 0: to take back */
	int64_t debt_us;   /* filled in: what is owed now, spent_us included, by all */
};
/* Debts are cut at cap_us, so that nobody has to wait longer than that. */
int bus_rate(struct bus *, int64_t cap_us, struct bus_rate *rates, size_t n, struct error *);

#endif

/* gcra.h - the generic cell rate algorithm (ITU-T I.371 annex A) as a debt that is paid off by time. Pure: the caller gives the time.
 *
 * A limit of `count` per window is a debt of at most one window: each unit of cost adds window/count, time takes it away. A client that
 * was quiet may spend the whole count at once; after that it gets count per window, evenly.
 */
#ifndef WEIR_GATEWAY_GCRA_H
#define WEIR_GATEWAY_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct gcra_policy {
	int64_t count, window_us; /* count 1..10^7, window at least count µs */
};

/* debt_until_us: when everything spent is paid off ("theoretical arrival time"); 0 for a client never seen. */
bool gcra_take(int64_t *debt_until_us, const struct gcra_policy *, int64_t cost, int64_t now_us); /* false: nothing was spent */
int64_t gcra_debt(const struct gcra_policy *, int64_t cost); /* µs that the cost adds; negative for a negative cost */
int64_t gcra_remaining(int64_t debt_until_us, const struct gcra_policy *, int64_t now_us); /* units that may be spent now */
int64_t gcra_wait_us(int64_t debt_until_us, const struct gcra_policy *, int64_t cost, int64_t now_us); /* until that cost may be spent; 0: now */

#endif

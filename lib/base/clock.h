/* clock.h - time. Monotonic for durations, wall for records. Tests may replace them, and randomness, by
 * assigning the function pointers before threads start. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

extern int64_t (*clock_mono_ns)(void); /* nanoseconds since an arbitrary start, never goes back */
extern int64_t (*clock_wall_ns)(void); /* nanoseconds since 1970-01-01 UTC */
int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);
extern void (*clock_sleep_ms)(int64_t ms); /* interruptible by signals, may return early */

/* backoff: exponential with full jitter, bounded. Zero-initialise except base and max. */
struct backoff {
	int64_t base_ms, max_ms;
	unsigned attempts;
};
int64_t backoff_next_ms(struct backoff *); /* how long to wait now; counts the attempt */
void backoff_reset(struct backoff *);

extern uint64_t (*random_u64)(void); /* seeded from the kernel, per thread */

#endif

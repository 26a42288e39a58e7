/* breaker.h - when to stop asking an endpoint that fails, and when to try it again. Pure: the caller gives the time.
 *
 * closed --(BREAKER_ERRORS failures in a row, or BREAKER_BAD_CONTENT wrong answers within a short time)--> open
 * open --(its pause is over)--> half-open: one probe is let through
 * half-open --probe succeeded--> closed;  --probe failed--> open, twice as long, at most BREAKER_PAUSE_MAX_MS
 *
 * An answer that is right in form and wrong in content is counted apart, because the exchange that carried it was a success: a
 * level that drains with time, so that a single odd answer a minute opens nothing.
 */
#ifndef WEIR_NET_BREAKER_H
#define WEIR_NET_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_ERRORS 5
#define BREAKER_BAD_CONTENT 5
#define BREAKER_PAUSE_MS 500
#define BREAKER_PAUSE_MAX_MS 30000

struct breaker { /* zero-initialised: closed */
	bool open;
	bool probing; /* half-open and its one probe is on the way */
	uint64_t consecutive;
	unsigned trips; /* openings since the last success */
	double bad_content;
	int64_t bad_content_ms; /* when the level was last brought up to date */
	int64_t until_ms;
};

bool breaker_closed(const struct breaker *);
bool breaker_half_open(const struct breaker *, int64_t now_ms); /* open, but a probe may go (or is on the way) */
bool breaker_take_probe(struct breaker *, int64_t now_ms);     /* true: the caller sends the probe and reports its end */
void breaker_success(struct breaker *);
void breaker_failure(struct breaker *, int64_t now_ms);
void breaker_bad_content(struct breaker *, int64_t now_ms);
void breaker_trip(struct breaker *, int64_t now_ms); /* open now, whatever the counts say */

#endif

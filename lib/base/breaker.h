/* breaker.h - when to stop asking something that fails, and when to try it again. Pure: the caller gives the time, and owns the memory;
 * one thread at a time.
 *
 * closed --(see enough)--> open
 * open --(its pause is over)--> half-open: one probe after the other is let through
 * half-open --`probes` probes in a row succeeded--> closed;  --a probe failed--> open, twice as long, at most pause_max_ms
 *
 * What is enough to open: `row` failures in a row; or within window_ms at least `least` exchanges of which more succeeded not than
 * 1/accept (the adaptive rule of the SRE book, chapter 21: stop when requests > accept x successes); or `bad_content` answers that were
 * right in form and wrong in content, a level that drains with time, so that a single odd answer a minute opens nothing. A figure
 * that is 0 switches its rule off.
 */
#ifndef WEIR_BASE_BREAKER_H
#define WEIR_BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_policy {
	uint32_t row;
	uint32_t least;
	double accept;
	int64_t window_ms;
	uint32_t bad_content;
	int64_t pause_ms, pause_max_ms;
	uint32_t probes;
};
extern const struct breaker_policy BREAKER_ENDPOINT; /* of a chain's endpoint: 5 in a row, 5 bad contents, 0.5 .. 30 s, 1 probe */
extern const struct breaker_policy BREAKER_HANDLER;  /* of a handler's dependency: half of at least 20 in 10 s, 0.5 .. 30 s, 3 probes */

struct breaker {                             /* zero-initialised: closed */
	const struct breaker_policy *policy; /* NULL: BREAKER_ENDPOINT */
	bool open;
	bool probing; /* half-open and its one probe is on the way */
	uint64_t consecutive;
	unsigned trips;  /* openings since the last success */
	uint32_t proved; /* probes that succeeded in a row */
	double bad_content;
	int64_t bad_content_ms; /* when the level was last brought up to date */
	int64_t until_ms;
	int64_t half_ms;                /* when the younger half of the window began */
	uint32_t asked[2], accepted[2]; /* younger and older half of the window */
	uint64_t opened_total;
};

bool breaker_closed(const struct breaker *);
bool breaker_half_open(const struct breaker *, int64_t now_ms); /* open, but a probe may go (or is on the way) */
bool breaker_take_probe(struct breaker *, int64_t now_ms);      /* true: the caller sends the probe and reports its end */
void breaker_success(struct breaker *, int64_t now_ms);
void breaker_failure(struct breaker *, int64_t now_ms);
void breaker_bad_content(struct breaker *, int64_t now_ms);
void breaker_trip(struct breaker *, int64_t now_ms); /* open now, whatever the counts say */
void breaker_reset(struct breaker *);                /* closed, nothing remembered: an operator's word */

#endif

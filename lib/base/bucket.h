/* bucket.h - a token bucket: so many calls a second, with a burst of one second's worth. Pure: the caller gives the time. */
#ifndef WEIR_BASE_BUCKET_H
#define WEIR_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_PAUSE_MS 1000 /* after "slow down" without a time; doubles up to BUCKET_PAUSE_MAX_MS */
#define BUCKET_PAUSE_MAX_MS 60000

struct bucket {
	int64_t per_second; /* 0: no limit, but pauses count */
	double tokens;
	int64_t updated_ms;
	int64_t blocked_until_ms; /* the endpoint told us to wait until then */
	unsigned refusals;        /* since the last success */
};

void bucket_init(struct bucket *, int64_t per_second, int64_t now_ms);
/* How many calls may go now, at most `want`. Takes nothing. */
int64_t bucket_available(struct bucket *, int64_t want, int64_t now_ms);
void bucket_take(struct bucket *, int64_t calls);
/* Milliseconds until at least one call may go; 0: now. */
int64_t bucket_wait_ms(struct bucket *, int64_t now_ms);
/* The endpoint answered "too many requests"; retry_after_ms 0: it did not say for how long. */
void bucket_refused(struct bucket *, int64_t retry_after_ms, int64_t now_ms);
void bucket_success(struct bucket *);

#endif

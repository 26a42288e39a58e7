/* backlog.h - how long a request that comes now would wait for a worker: those before it, times how far apart they leave (a running mean, so a few slow ones
 * say little); or the time since the last one left, when that is longer: it grows by itself when nothing moves any more.
 *
 * Changed under the lock of the queue that it counts, read by any thread without it: what is read may be one request old.
 */
#ifndef WEIR_GATEWAY_BACKLOG_H
#define WEIR_GATEWAY_BACKLOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BACKLOG_MEAN 64       /* requests that the mean remembers, about */
#define BACKLOG_STANDS_MS 1000 /* a queue that is never empty for so long is no burst */
#define BACKLOG_CALM_MS 5000   /* for so long after somebody was turned away, one that comes back is the same overload, and no other burst */

struct backlog { /* zeros: nothing waits */
	_Atomic int64_t waiting, apart_ns;
	_Atomic int64_t left_ns;  /* when the last one left, or began to wait when nobody did */
	_Atomic int64_t since_ns; /* since when there is always somebody */
	_Atomic int64_t turned_ns; /* when somebody was turned away; 0: never */
};
/* clock_mono_ns. */
void backlog_enter(struct backlog *, int64_t now_ns);
void backlog_leave(struct backlog *, int64_t now_ns);
int64_t backlog_wait_ns(const struct backlog *, int64_t now_ns); /* 0: nobody waits */
bool backlog_is_burst(const struct backlog *, int64_t now_ns);
void backlog_turned_away(struct backlog *, int64_t now_ns); /* any thread */

#endif

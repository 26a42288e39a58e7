/* lag.h - how late a loop around epoll is: everybody whose event comes while it handles others waits until their turn is over.
 *
 * A turn that was long once may be the machine's doing (the thread was not scheduled); turns that are all long are too much work. So the lag is the
 * shortest of the last LAG_TURNS turns, and nothing when the last one is LAG_KEPT_MS ago. It is told, and refuses nobody (backlog.h). Written by the loop's thread, read by any.
 */
#ifndef WEIR_GATEWAY_LAG_H
#define WEIR_GATEWAY_LAG_H

#include <stdatomic.h>
#include <stdint.h>

#define LAG_TURNS 8
#define LAG_KEPT_MS 1000

struct lag { /* zeros: no turn yet */
	int64_t turns[LAG_TURNS];
	unsigned next;
	_Atomic int64_t lag_ms, at_ms;
};
/* A turn that handled something, from its first event on. clock_mono_ms. */
void lag_note(struct lag *, int64_t began_ms, int64_t ended_ms);
int64_t lag_now(const struct lag *, int64_t now_ms);

#endif

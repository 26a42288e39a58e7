/* hub.h - WebSocket connections and their subscriptions: one thread around epoll.
 *
 * Events come from the feeds in order; a subscription at the live end gets them from memory. One that is behind, or needs what the
 * event does not carry, reads the journal through replay.h piece by piece, as fast as its socket takes it, and joins the live end where
 * the sequence numbers meet: no gap, nothing twice. A client that does not take what it is sent is closed (1013) when its queue is
 * full, with the offset to resume from.
 */
#ifndef WEIR_GATEWAY_HUB_H
#define WEIR_GATEWAY_HUB_H

#include "event.h"
#include "http.h"
#include "replay.h"

struct hub;
int hub_open(struct gateway *, struct hub **ret, struct error *);
void hub_stop(struct hub *);   /* tells every client to go elsewhere (1001), closes them all; what comes later is closed at once */
void hub_close(struct hub **); /* after replay and listeners are closed */

/* Any thread. */
void hub_adopt(struct http_socket *, int fd, struct bytes early, const char *remote, void *hub); /* an http_upgraded */
bool hub_has_room(void *hub);
void hub_event(struct hub *, const struct gateway_chain *, struct event *); /* takes the reference; sequences ascend by one */
/* The journal is another one than before (the ledger was made anew): everybody must begin again. newest: its end. */
void hub_reset(struct hub *, const struct gateway_chain *, uint64_t newest);
void hub_replayed(struct replay_job *, void *hub); /* a replay_done */

struct hub_counts {
	uint64_t connections, subscriptions;
};
struct hub_counts hub_counts(const struct hub *);

#endif

/* hub.h - clients at the live end and their subscriptions, whatever carries them: WebSocket, event stream or long poll. One thread around epoll.
 *
 * Events come from the feeds in order; a subscription at the live end gets them from memory. One that is behind, or needs what the
 * event does not carry, reads the journal through replay.h piece by piece, as fast as its socket takes it, and joins the live end where
 * the sequence numbers meet: no gap, nothing twice. A client that does not take what it is sent is closed (1013) when its queue is
 * full, with the offset to resume from.
 */
#ifndef WEIR_GATEWAY_HUB_H
#define WEIR_GATEWAY_HUB_H

#include "live/event.h"
#include "http/http.h"
#include "live/replay.h"

struct hub;
int hub_open(struct gateway *, struct hub **ret, struct error *);
void hub_stop(struct hub *);   /* tells one client after the other to go elsewhere (1001), with its offsets, over gateway.drain; what comes later is closed at once */
void hub_close(struct hub **); /* after replay and listeners are closed */

/* Any thread. */
void hub_adopt(struct http_socket *, int fd, struct bytes early, const char *remote, void *hub); /* an http_upgraded */
void hub_adopt_operator(struct http_socket *, int fd, struct bytes early, const char *remote, void *hub); /* the same on the operators' listener */
bool hub_has_room(void *hub);
enum carrier { CARRIER_WEBSOCKET, CARRIER_STREAM, CARRIER_POLL };
struct hub_request { /* one subscription by plain HTTP */
	struct gateway *gateway;
	enum carrier carrier;
	bool operators; /* on their listener */
	struct subscribe subscribe; /* its texts are the four below */
	char chain[40], account[96], asset[168], kind[40];
	int64_t wait_ms; /* a poll's: without events it ends then */
	size_t limit;    /* events in a poll's answer */
};
void hub_take(struct http_socket *, int fd, void *hub_request); /* an http_take; frees the request */
void hub_event(struct hub *, const struct gateway_chain *, struct event *); /* takes the reference; sequences ascend by one */
/* The journal is another one than before (the ledger was made anew): everybody must begin again. newest: its end, print: of the event there. */
void hub_reset(struct hub *, const struct gateway_chain *, uint64_t newest, uint32_t print);
/* Everything about watch-lists is known up to event `sequence` of the chain; gateway: whose hub. A watchlists_known. */
void hub_watched(void *gateway, const struct gateway_chain *, uint64_t sequence);
void hub_replayed(struct replay_job *, void *hub); /* a replay_done */

struct hub_counts {
	uint64_t connections, subscriptions;
};
struct hub_counts hub_counts(const struct hub *);
struct hub_search {
	size_t limit;
	uint64_t before;  /* number of a connection: only older ones; 0: all */
	const char *find; /* NULL or words that are in the connection or in one of its subscriptions; letter case does not matter, '_' is ' ' */
};
/* Writes "items":[…], the newest connections first, each with its subscriptions. Returns where to go on (before), 0: there is no more. Waits
 * for the hub's thread, which looks at a part of the connections at a time; never after hub_stop. */
uint64_t hub_list(struct hub *, struct buf *out, const struct hub_search *);

#endif

/* hub_trace.h - a ledger event's way to its subscribers' sockets: the last span of the block's trace, and how long ago the node announced the
 * block. Both end when the turn that took the event has written what it made. Thread: the hub's. */
#ifndef WEIR_GATEWAY_HUB_TRACE_H
#define WEIR_GATEWAY_HUB_TRACE_H

#include "live/hub_internal.h"

struct hub_traces;

struct hub_traces *hub_traces_new(void);
void hub_traces_free(struct hub_traces **);
/* Before the event is offered: it may be gone after that. Costs nothing where it is neither traced nor of a block that was announced. */
void hub_trace_begin(struct hub *, const struct hub_chain *, const struct event *);
void hub_trace_offered(struct hub *); /* the one that began last: its pushes are in the queues */
void hub_traces_end(struct hub *);    /* the queues were written, as far as the sockets take it */

#endif

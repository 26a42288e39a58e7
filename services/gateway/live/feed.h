/* feed.h - the live end of one chain's journal: a thread that reads topic "ledger" and hands every event to the hub, in order, each
 * once. What the stream lost, and everything while Redis is away, comes from the journal in PostgreSQL. */
#ifndef WEIR_GATEWAY_FEED_H
#define WEIR_GATEWAY_FEED_H

#include "gateway.h"

struct feed;
int feed_open(struct gateway *, struct gateway_chain *, struct feed **ret, struct error *);
void feed_close(struct feed **);

#endif

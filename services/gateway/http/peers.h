/* peers.h - how many connections each address holds, so that one alone cannot hold all that there may be. IPv6 counts by /64. Thread-safe. */
#ifndef WEIR_GATEWAY_PEERS_H
#define WEIR_GATEWAY_PEERS_H

#include "http/client_address.h"

struct peers;
struct peers *peers_new(int64_t most); /* of one address */
void peers_free(struct peers **);
/* False: it holds as many as it may. Else it counts until peers_leave. */
bool peers_enter(struct peers *, const struct client_address *);
void peers_leave(struct peers *, const struct client_address *);

#endif

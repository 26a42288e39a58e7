/* cluster.h - private to lib/bus: which node of a Redis Cluster a command goes to.
 *
 * All keys of a chain have its hash tag and lie in one slot, so each command has one node. Nothing is asked beforehand: a command goes to the
 * node that its slot was at last, the first time to any, and a node that does not have the slot says who has (MOVED; redis.io, "Redis
 * cluster specification"). A node that cannot be reached is forgotten with its slots, and another one is asked; after a failover that is
 * how the new master is found.
 *
 * ASK is not followed: while a slot is moving some keys of a chain are here and some there, and a function that finds half of them would
 * begin anew. The chain's commands wait until the slot has arrived (command.c repeats them), other chains go on.
 *
 * Each node has a connection of its own; the one in use is struct bus' own `redis`, `run` and `address.host`. One thread, as the bus.
 */
#ifndef WEIR_BUS_CLUSTER_H
#define WEIR_BUS_CLUSTER_H

#include "bus/core/address.h"
#include "base/error.h"
#include "base/mem.h"

#include <hiredis/hiredis.h>

#define CLUSTER_NODES_MAX 64
#define CLUSTER_ROUTES_MAX 256

struct bus;
struct bus_args;

struct bus_cluster {
	struct cluster_node {
		struct bus_host host;
		redisContext *redis; /* NULL: none, or it is the bus' own at the moment */
		char run[64];
	} nodes[CLUSTER_NODES_MAX];
	size_t node_count, current; /* the nodes of the URL come first */
	struct cluster_route {
		uint16_t slot;
		uint8_t node;
	} routes[CLUSTER_ROUTES_MAX]; /* one for each chain that this bus has to do with; when full, the oldest goes */
	size_t route_count;
	size_t next; /* whom to ask when a node is lost */
	size_t refused_node; /* the last that could not be reached, */
	struct error refused; /* and why; code 0: none */
};

unsigned bus_cluster_slot(struct bytes tag); /* CRC16 (XMODEM) modulo 16384 */

/* All of these do nothing, at the price of one comparison, when the bus' address is no cluster. */

void bus_cluster_open(struct bus *);
void bus_cluster_close(struct bus *); /* the connections that are not in use */
/* Makes the node of this key ("weir:{chain}…") the one in use; of a key without a tag: stays. */
void bus_cluster_route(struct bus *, struct bytes key);
/* The same by the first of a command's arguments that is such a key. */
void bus_cluster_route_command(struct bus *, const struct bus_args *);
/* The node in use cannot be reached, for that reason: takes another one. */
void bus_cluster_lost(struct bus *, const struct error *why);
void bus_cluster_reached(struct bus *); /* the node in use can be */
/* Why the node in use could not be reached at last; false: not known. */
bool bus_cluster_refused(const struct bus *, struct error *ret);
/* Is this error reply a redirection? Then its node is the one in use, and the command is to be sent again. */
bool bus_cluster_redirected(struct bus *, const redisReply *);

#endif

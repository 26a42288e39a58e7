/* cluster.c - slots, routes and redirections of a Redis Cluster. */
#include "bus/redis/cluster.h"
#include "bus/redis/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 16384

unsigned bus_cluster_slot(struct bytes tag)
{
	unsigned crc = 0;
	for (size_t i = 0; i < tag.size; i++) {
		crc ^= (unsigned)tag.data[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
	}
	return crc % SLOTS;
}

/* What is between the first { and the next }, of keys of ours. */
static bool tag_of(struct bytes key, struct bytes *ret)
{
	static const char prefix[] = "weir:{";
	const size_t begin = sizeof prefix - 1;
	if (key.size <= begin || memcmp(key.data, prefix, begin) != 0)
		return false;
	const uint8_t *end = memchr(key.data + begin, '}', key.size - begin);
	*ret = (struct bytes){ key.data + begin, end ? (size_t)(end - key.data) - begin : 0 };
	return ret->size > 0;
}

static struct cluster_route *route_of(struct bus_cluster *c, unsigned slot)
{
	for (size_t i = 0; i < c->route_count; i++)
		if (c->routes[i].slot == slot)
			return &c->routes[i];
	return NULL;
}

static void set_route(struct bus_cluster *c, unsigned slot, size_t node)
{
	struct cluster_route *r = route_of(c, slot);
	if (!r && c->route_count == CLUSTER_ROUTES_MAX) {
		memmove(c->routes, c->routes + 1, (CLUSTER_ROUTES_MAX - 1) * sizeof c->routes[0]);
		c->route_count--;
	}
	if (!r)
		r = &c->routes[c->route_count++];
	*r = (struct cluster_route){ (uint16_t)slot, (uint8_t)node };
}

static void forget_routes(struct bus_cluster *c, size_t node)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->route_count; i++)
		if (c->routes[i].node != node)
			c->routes[kept++] = c->routes[i];
	c->route_count = kept;
}

/* The node in use changes: its connection is put away, the other one's taken out. */
static void use(struct bus *bus, size_t node)
{
	struct bus_cluster *c = bus->cluster;
	if (node == c->current)
		return;
	struct cluster_node *old = &c->nodes[c->current], *new = &c->nodes[node];
	old->redis = bus->redis;
	memcpy(old->run, bus->run, sizeof old->run);
	bus->redis = new->redis;
	new->redis = NULL;
	memcpy(bus->run, new->run, sizeof bus->run);
	bus->address.host = new->host;
	c->current = node;
}

/* A slot that is elsewhere now: as after a new connection, its lanes look again at what they think they know. */
static void changed(struct bus *bus)
{
	bus->connects++;
}

static size_t node_at(struct bus *bus, const struct bus_host *host)
{
	struct bus_cluster *c = bus->cluster;
	for (size_t i = 0; i < c->node_count; i++)
		if (c->nodes[i].host.port == host->port && strcmp(c->nodes[i].host.name, host->name) == 0)
			return i;
	if (c->node_count < CLUSTER_NODES_MAX)
		return c->nodes[c->node_count] = (struct cluster_node){ .host = *host }, c->node_count++;
	size_t i = c->next++ % CLUSTER_NODES_MAX; /* nodes that came and went */
	if (i == c->current)
		i = (i + 1) % CLUSTER_NODES_MAX;
	if (c->nodes[i].redis)
		redisFree(c->nodes[i].redis);
	forget_routes(c, i);
	c->nodes[i] = (struct cluster_node){ .host = *host };
	return i;
}

/* -- opening and closing ------------------------------------------------------------------------------------------------------ */

void bus_cluster_open(struct bus *bus)
{
	const struct bus_address *a = &bus->address;
	if (!a->cluster)
		return;
	bus->cluster = xcalloc(1, sizeof *bus->cluster);
	for (size_t i = 0; i < a->host_count; i++)
		bus->cluster->nodes[i].host = a->hosts[i];
	bus->cluster->node_count = a->host_count;
	bus->address.host = a->hosts[0];
}

void bus_cluster_close(struct bus *bus)
{
	for (size_t i = 0; bus->cluster && i < bus->cluster->node_count; i++)
		if (bus->cluster->nodes[i].redis)
			redisFree(bus->cluster->nodes[i].redis);
	xfree(&bus->cluster);
}

/* -- routing ------------------------------------------------------------------------------------------------------------------ */

void bus_cluster_route(struct bus *bus, struct bytes key)
{
	struct bytes tag;
	if (!bus->cluster || !tag_of(key, &tag))
		return;
	const struct cluster_route *r = route_of(bus->cluster, bus_cluster_slot(tag));
	if (r)
		use(bus, r->node);
}

void bus_cluster_route_command(struct bus *bus, const struct bus_args *a)
{
	struct bytes tag;
	for (size_t i = 1; bus->cluster && i < a->count; i++) {
		struct bytes key = { (const uint8_t *)a->data[i], a->sizes[i] };
		if (tag_of(key, &tag)) {
			bus_cluster_route(bus, key);
			return;
		}
	}
}

void bus_cluster_reached(struct bus *bus)
{
	if (bus->cluster && bus->cluster->refused_node == bus->cluster->current)
		bus->cluster->refused.code = 0;
}

bool bus_cluster_refused(const struct bus *bus, struct error *ret)
{
	const struct bus_cluster *c = bus->cluster;
	if (!c || c->refused.code == 0 || c->refused_node != c->current)
		return false;
	*ret = c->refused;
	return true;
}

void bus_cluster_lost(struct bus *bus, const struct error *why)
{
	struct bus_cluster *c = bus->cluster;
	if (!c)
		return;
	c->refused_node = c->current;
	c->refused.code = 0;
	if (error_retriable(why->code)) /* else it is the answer of this call, and the next one asks again */
		c->refused = *why;
	forget_routes(c, c->current);
	changed(bus);
	size_t next = c->next++ % c->node_count;
	use(bus, next == c->current ? (next + 1) % c->node_count : next);
}

/* "MOVED 3999 127.0.0.1:6381", "MOVED 3999 ::1:6381", "MOVED 3999 node.example:6381", and without a host (":6381") where the cluster does not know
 * its own. "?:6381" is of a node that is to have a name and was given none: it may be any, so that is an error (bus_reply_error). */
bool bus_cluster_redirected(struct bus *bus, const redisReply *reply)
{
	static const char moved[] = "MOVED ";
	if (!bus->cluster || reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, moved, sizeof moved - 1) != 0)
		return false;
	char *end;
	unsigned long slot = strtoul(reply->str + sizeof moved - 1, &end, 10);
	const char *colon = strrchr(end, ':');
	struct bus_host host = bus->address.host;
	if (*end != ' ' || !colon || slot >= SLOTS || strncmp(end, " ?:", 3) == 0)
		return false;
	if (colon > end + 1)
		snprintf(host.name, sizeof host.name, "%.*s", (int)(colon - end - 1), end + 1);
	host.port = (int)strtol(colon + 1, NULL, 10);
	if (host.port < 1 || host.port > 65535)
		return false;
	size_t node = node_at(bus, &host);
	set_route(bus->cluster, (unsigned)slot, node);
	changed(bus);
	use(bus, node);
	return true;
}

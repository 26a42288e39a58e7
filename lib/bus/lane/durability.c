/* durability.c - see durability.h. */
#include "bus/lane/durability.h"
#include "bus/redis/connection.h"

#include <string.h>

struct bus_durability bus_durability_of(const struct bus *bus, const char *topic)
{
	const struct bus_options *o = &bus->options;
	struct bus_durability d = { .topic = topic, .replicas = o->wait_replicas, .wait_ms = o->wait_ms };
	for (size_t i = 0; i < o->durability_count; i++)
		if (strcmp(o->durability[i].topic, topic) == 0)
			d = o->durability[i];
	if (d.wait_ms <= 0)
		d.wait_ms = o->wait_ms;
	return d;
}

void bus_durability_join(struct bus_durability *d, const struct bus_durability *other)
{
	if (other->replicas > d->replicas)
		d->replicas = other->replicas;
	if (other->wait_ms > d->wait_ms)
		d->wait_ms = other->wait_ms;
	if (other->fsync && !d->fsync)
		d->topic = other->topic; /* whose it is, for words */
	d->fsync = d->fsync || other->fsync;
}

int bus_durability_check(struct bus *bus, const char *chain, const struct bus_durability *d, struct error *err)
{
	return d->fsync ? bus_fsync_check(bus, chain, d->topic, err) : 0;
}

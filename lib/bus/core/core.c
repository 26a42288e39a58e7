/* core.c - stopping, other sources of bytes and time, and refusing what makes no sense or a transport does not have. */
#include "bus/core/transport.h"

void bus_set_io(struct bus *bus, const struct bus_io *io)
{
	bus->io = io;
}

void bus_set_stop(struct bus *bus, bool (*stopping)(void *), void *arg)
{
	bus->stopping = stopping;
	bus->stopping_arg = arg;
}

bool bus_canceled(const struct bus *bus)
{
	return bus->stopping && bus->stopping(bus->stopping_arg);
}

int bus_refuse_nothing(struct error *err)
{
	return error_set(err, WEIR_INVALID, "a read of at most 0 messages: nothing was read, ask for 1 or more");
}

int bus_refuse(const struct bus *bus, const char *operation, struct error *err)
{
	char shown[256];
	return error_set(err, WEIR_UNSUPPORTED, "%s: the bus over %s has no %s (docs/bus.md says what it has); nothing was changed. Use a Redis for it",
			 log_url(bus->url, shown), bus->transport->name, operation);
}

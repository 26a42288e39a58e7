/* open.c - a bus from its options: what its URL names, a Redis or another transport. The one file that knows them all (README.md). */
#include "bus/kafka/kafka_transport.h"
#include "bus/memory/memory.h"
#include "bus/redis/cluster.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"

#include <stdio.h>
#include <string.h>

#define COMMAND_TIMEOUT_MS 5000
#define WAIT_MS 1000

int bus_open(const struct bus_options *options, struct bus **ret, struct error *err)
{
	struct bus_address address;
	char shown[256];
	*ret = NULL;
	if (bus_address_parse(options->url, &address, err) != 0)
		return WEIR_CONFIG;
	struct memory_client *memory = NULL;
	const struct bus_io *io = NULL;
	if (address.memory && options->wait_replicas > 0)
		return error_set(err, WEIR_CONFIG, "%s has no replicas that wait_replicas could wait for", log_url(options->url, shown));
	if (*address.brokers && options->wait_replicas > 0)
		return error_set(err, WEIR_CONFIG, "%s: over Kafka all replicas in sync are waited for, always (min.insync.replicas of the topic); "
				 "wait_replicas must be 0", log_url(options->url, shown));
	int r = address.memory ? bus_memory_join(address.host.name, &memory, &io, err) : 0;
	if (r != 0)
		return r;
	struct bus *bus = xmalloc(sizeof *bus);
	bus->memory = memory;
	bus->io = io;
	bus->address = address;
	bus->options = *options;
	bus_cluster_open(bus);
	bus->url = xstrdup(options->url);
	bus->username = xstrdup(options->username);
	bus->password = xstrdup(options->password);
	bus->worker = xstrdup(options->worker && *options->worker ? options->worker : "worker");
	for (char *p = bus->worker; *p; p++)
		if (*p <= ' ' || *p == '/' || *p > '~')
			*p = '_'; /* is the connection's name, too, which Redis wants without spaces */
	if (options->log)
		bus->log = *options->log;
	if (bus->options.command_timeout_ms <= 0)
		bus->options.command_timeout_ms = COMMAND_TIMEOUT_MS;
	if (bus->options.max_backlog <= 0)
		bus->options.max_backlog = 20000;
	if (bus->options.max_memory_percent <= 0)
		bus->options.max_memory_percent = 80;
	if (bus->options.wait_ms <= 0)
		bus->options.wait_ms = WAIT_MS;
	if (*address.brokers && (r = bus_kafka_open(bus, err)) != 0)
		bus_close(&bus);
	*ret = bus;
	return r;
}

void bus_close(struct bus **bus)
{
	if (!bus || !*bus)
		return;
	bus_drop(*bus);
	if ((*bus)->transport)
		(*bus)->transport->close(*bus);
	bus_cluster_close(*bus);
	bus_memory_leave(&(*bus)->memory);
	free((*bus)->url);
	free((*bus)->username);
	free((*bus)->password);
	free((*bus)->worker);
	xfree(bus);
}

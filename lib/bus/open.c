/* open.c - a bus from its options: what its URL names, a Redis or another transport. The one file that knows them all (README.md). */
#include "bus/kafka/kafka_transport.h"
#include "bus/memory/memory.h"
#include "bus/redis/cluster.h"
#include "bus/redis/connection.h"
#include "bus/core/transport.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORKER_MAX 96
#define COMMAND_TIMEOUT_MS 5000
#define WAIT_MS 1000

static bool has_row_before(const struct bus_options *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(o->durability[i].topic, o->durability[n].topic) == 0)
			return true;
	return false;
}

static int check_durability(const struct bus_options *o, const struct bus_address *address, struct error *err)
{
	char shown[256];
	bool fsync = false;
	int64_t replicas = o->wait_replicas;
	for (size_t i = 0; i < o->durability_count; i++) {
		const struct bus_durability *d = &o->durability[i];
		if (!d->topic || !*d->topic || d->replicas < 0 || has_row_before(o, i))
			return error_set(err, WEIR_CONFIG, "durability, row %zu: a topic that has no other row, and 0 replicas or more are needed", i);
		fsync = fsync || d->fsync;
		replicas = d->replicas > replicas ? d->replicas : replicas;
	}
	if (address->memory && replicas > 0)
		return error_set(err, WEIR_CONFIG, "%s has no replicas that wait_replicas could wait for", log_url(o->url, shown));
	if (address->memory && fsync)
		return error_set(err, WEIR_CONFIG, "%s has no disk that a topic's durability could ask for an fsync", log_url(o->url, shown));
	if (*address->brokers && (replicas > 0 || fsync))
		return error_set(err, WEIR_CONFIG, "%s: over Kafka all replicas in sync are waited for, always (min.insync.replicas of the topic), and an "
				 "fsync is the topic's own matter (flush.messages); wait_replicas must be 0, and no topic may have a row of durability that asks for more",
				 log_url(o->url, shown));
	return 0;
}

/* Nobody else's: who has a name has its leases and its messages. */
static const char *name_of_own(char ret[WORKER_MAX])
{
	char host[64] = "";
	(void)gethostname(host, sizeof host - 1);
	snprintf(ret, WORKER_MAX, "%s:%d:%08" PRIx32, host, (int)getpid(), (uint32_t)random_u64());
	return ret;
}

int bus_open(const struct bus_options *options, struct bus **ret, struct error *err)
{
	struct bus_address address;
	*ret = NULL;
	if (bus_address_parse(options->url, &address, err) != 0)
		return WEIR_CONFIG;
	struct memory_client *memory = NULL;
	const struct bus_io *io = NULL;
	if (check_durability(options, &address, err) != 0)
		return WEIR_CONFIG;
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
	char own[WORKER_MAX];
	bus->worker = xstrdup(options->worker && *options->worker ? options->worker : name_of_own(own));
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

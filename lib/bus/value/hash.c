/* hash.c - small shared hashes. */
#include "bus/core/transport.h"
#include "bus/redis/command.h"

int bus_hash_write(struct bus *bus, const char *key, const struct bus_field *fields, size_t n, struct error *err)
{
	if (n == 0)
		return 0;
	if (bus->transport)
		return bus->transport->hash_write(bus, key, fields, n, err);
	struct bus_args a = { 0 };
	bus_args_add(&a, "HSET");
	bus_args_add(&a, key);
	for (size_t i = 0; i < n; i++) {
		bus_args_add(&a, fields[i].name);
		bus_args_add(&a, fields[i].value);
	}
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

int bus_hash_read(struct bus *bus, const char *key, void (*on_field)(const char *, const char *, void *), void *arg, struct error *err)
{
	if (bus->transport)
		return bus->transport->hash_read(bus, key, on_field, arg, err);
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "HGETALL");
	bus_args_add(&a, key);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	size_t n = reply->elements;
	for (size_t i = 0; i + 1 < n; i += 2)
		on_field(reply->element[i]->str, reply->element[i + 1]->str, arg);
	freeReplyObject(reply);
	return n ? 0 : error_set(err, WEIR_NOT_FOUND, "Redis has no key %s", key);
}

int bus_hash_delete(struct bus *bus, const char *key, const char *const *names, size_t n, struct error *err)
{
	if (n == 0)
		return 0;
	if (bus->transport)
		return bus->transport->hash_delete(bus, key, names, n, err);
	struct bus_args a = { 0 };
	bus_args_add(&a, "HDEL");
	bus_args_add(&a, key);
	for (size_t i = 0; i < n; i++)
		bus_args_add(&a, names[i]);
	int r = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return r;
}

/* rate.c - telling Redis what was spent, and taking what is owed. */
#include "bus/rate.h"

#include "bus/redis/command.h"

int bus_rate(struct bus *bus, int64_t cap_us, struct bus_rate *rates, size_t n, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	char anchor[KEY_MAX];
	if (n == 0)
		return 0;
	bus_anchor(RATE_CHAIN, anchor);
	bus_call(&a, "rate", anchor);
	bus_args_add_format(&a, "%lld", (long long)cap_us);
	for (size_t i = 0; i < n; i++) {
		bus_args_add(&a, rates[i].name);
		bus_args_add_format(&a, "%lld", (long long)rates[i].spent_us);
	}
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	if (reply->elements != n)
		r = error_set(err, WEIR_PROTOCOL, "Redis answered %zu debts instead of %zu", reply->elements, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		rates[i].debt_us = reply->element[i]->integer;
	freeReplyObject(reply);
	return r;
}

/* basic.c - the smallest whole use of libweir-bus: publish three events, handle them, stop.
 *
 *	basic redis://127.0.0.1:6379/0
 */
#include "bus/bus.h"
#include "bus/subscription.h"

#include <stdio.h>
#include <string.h>

enum { GREETING = 1 };
static const struct bus_type types[] = { { .id = GREETING, .name = "greeting", .version = 1, .klass = BUS_NORMAL, .key_space = "person" } };

static int greet(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)err;
	unsigned *greeted = arg;
	printf("hello, %.*s\n", (int)d->body.size, (const char *)d->body.data);
	++*greeted;
	return 0;
}

static struct bytes text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static int publish(struct bus *bus, struct error *err)
{
	static const char *const people[] = { "Ada", "Grace", "Barbara" };
	struct bus_publisher *p;
	int r = bus_publisher_open(bus, "example", "greetings", "basic", &p, err);
	for (size_t i = 0; i < 3 && r == 0; i++) {
		struct frame f = { .type = GREETING, .schema_version = 1, .key = text(people[i]), .body = text(people[i]) };
		r = bus_publish(p, &f, 1, err);
	}
	bus_publisher_close(&p);
	return r;
}

int main(int argc, char **argv)
{
	static const uint16_t wanted[] = { GREETING };
	unsigned greeted = 0;
	struct error err = { 0 };
	struct bus *bus = NULL;
	struct bus_subscription *s = NULL;
	const struct bus_options to = { .url = argc > 1 ? argv[1] : "redis://127.0.0.1:6379/0" };
	const struct bus_handler handlers[] = { { "greet", wanted, 1, greet, &greeted, NULL } };
	const struct bus_subscription_options what = {
		.chain = "example", .topic = "greetings", .subscription = "greeter", .order = BUS_ORDERED, .handlers = handlers, .handler_count = 1
	};
	int r = bus_types_add(types, 1, &err);
	if (r == 0)
		r = bus_open(&to, &bus, &err);
	if (r == 0)
		r = bus_subscription_open(bus, &what, &s, &err);
	if (r == 0)
		r = publish(bus, &err);
	while (r == 0 && greeted < 3)
		r = bus_subscription_turn(s, 1000, &err);
	bus_subscription_close(&s);
	bus_close(&bus);
	if (r != 0)
		fprintf(stderr, "basic: %s\n%s\n", err.text, error_suggestion(r));
	return r != 0;
}

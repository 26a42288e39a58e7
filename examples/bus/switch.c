/* switch.c - from handlers that a program calls itself to the bus, and the way back open all the time: a switch with three positions.
 *
 *	switch redis://127.0.0.1:6379/0
 *
 *	in memory   announce() calls the handler, as before
 *	both        announce() calls the handler and publishes; the subscription finds each effect done, and compares
 *	on the bus  announce() publishes; the subscription calls the handler
 *
 * The rest of the program calls announce() and knows nothing of it. What makes every turn of the switch safe is that the handler's effect is idempotent by
 * the event's id: what came both ways, or is handed over again after a crash, is done once. Only back from the bus to memory the program waits, until the
 * subscription has handled what there is: else a new event would overtake those of its account.
 */
#include "bus/bus.h"
#include "bus/subscription.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPOSITED = 1 };
enum { ACCOUNTS = 7, EVENTS = 400 };
static const struct bus_type types[] = { { .id = DEPOSITED, .name = "deposited", .version = 1, .klass = BUS_NORMAL, .key_space = "account" } };

struct event {
	unsigned id, account, amount;
};

/* -- the program's database: in earnest, both are written in one transaction -------------------------------------------------------------------- */

struct books {
	unsigned amount_of[EVENTS]; /* by event id: which effects are there; 0: not yet */
	unsigned balance[ACCOUNTS], last[ACCOUNTS];
	unsigned compared, differences, disorders;
};

static void deposit(struct books *b, const struct event *e)
{
	if (b->amount_of[e->id] != 0) { /* it came the other way, or once more */
		b->compared++;
		b->differences += b->amount_of[e->id] != e->amount;
		return;
	}
	b->disorders += e->id < b->last[e->account];
	b->last[e->account] = e->id;
	b->amount_of[e->id] = e->amount;
	b->balance[e->account] += e->amount;
}

/* -- the switch ------------------------------------------------------------------------------------------------------------------------------------ */

enum position { IN_MEMORY, BOTH, ON_THE_BUS };

struct switchboard {
	enum position position;
	struct books *books;
	struct bus *bus;
	struct bus_publisher *publisher;
	struct bus_subscription *subscription;
};

static int announce(struct switchboard *s, const struct event *e, struct error *err)
{
	char key[16], body[40];
	struct frame f = { .type = DEPOSITED, .schema_version = 1 };
	if (s->position != ON_THE_BUS)
		deposit(s->books, e);
	if (s->position == IN_MEMORY)
		return 0;
	memcpy(f.event_id, &e->id, sizeof e->id);
	f.key = (struct bytes){ (const uint8_t *)key, (size_t)snprintf(key, sizeof key, "%u", e->account) };
	f.body = (struct bytes){ (const uint8_t *)body, (size_t)snprintf(body, sizeof body, "%u %u %u", e->id, e->account, e->amount) };
	return bus_publish(s->publisher, &f, 1, err);
}

static int on_deposited(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct books *b = arg;
	struct event e;
	char body[40];
	snprintf(body, sizeof body, "%.*s", (int)d->body.size, (const char *)d->body.data);
	char *at = body;
	e.id = (unsigned)strtoul(at, &at, 10);
	e.account = (unsigned)strtoul(at, &at, 10);
	e.amount = (unsigned)strtoul(at, &at, 10);
	if (e.id >= EVENTS || e.account >= ACCOUNTS || e.amount == 0)
		return error_set(err, WEIR_INVALID, "no deposit: %s", body);
	deposit(b, &e);
	return 0;
}

/* Nothing is unread and nothing waits for its next try. A dead letter would have to be looked at before the switch is turned. */
static int drained(struct switchboard *s, bool *ret, struct error *err)
{
	static struct bus_subscription_status status;
	struct bus_stream_info info[4];
	size_t n;
	uint64_t left = 0;
	int r = bus_info(s->bus, "bank", "events", "books", info, &n, err);
	bus_subscription_status(s->subscription, &status);
	for (size_t i = 0; r == 0 && i < n; i++)
		left += info[i].lag + info[i].dead;
	*ret = r == 0 && left == 0 && status.held == 0;
	return r;
}

static int turn_the_switch(struct switchboard *s, enum position to, struct error *err)
{
	bool empty = to != IN_MEMORY || s->position == IN_MEMORY;
	int r = 0;
	while (r == 0 && !empty) {
		r = bus_subscription_turn(s->subscription, 50, err);
		if (r == 0)
			r = drained(s, &empty, err);
	}
	s->position = to;
	return r;
}

/* -- the story -------------------------------------------------------------------------------------------------------------------------------------- */

static int run(struct switchboard *s, struct error *err)
{
	static const enum position story[] = { IN_MEMORY, BOTH, ON_THE_BUS, IN_MEMORY };
	static const char *const names[] = { "in memory", "both", "on the bus" };
	int r = 0;
	for (unsigned i = 0; i < EVENTS && r == 0; i++) {
		const struct event e = { i, i * 31 % ACCOUNTS, 1 + i % 9 };
		if (i % 100 == 0) {
			r = turn_the_switch(s, story[i / 100], err);
			printf("from event %u on: %s\n", i, names[s->position]);
		}
		if (r == 0)
			r = announce(s, &e, err);
		if (r == 0 && i % 30 == 0) /* in earnest the subscription runs in a thread or a process of its own */
			r = bus_subscription_turn(s->subscription, 0, err);
	}
	return r;
}

int main(int argc, char **argv)
{
	static const uint16_t wanted[] = { DEPOSITED };
	static struct books books;
	struct switchboard s = { .books = &books };
	struct error err = { 0 };
	const struct bus_options to = { .url = argc > 1 ? argv[1] : "redis://127.0.0.1:6379/0", .worker = "switch" };
	const struct bus_handler handlers[] = { { "deposit", wanted, 1, on_deposited, &books, NULL } };
	const struct bus_subscription_options what = {
		.chain = "bank", .topic = "events", .subscription = "books", .order = BUS_ORDERED, .handlers = handlers, .handler_count = 1
	};
	int r = bus_types_add(types, 1, &err);
	if (r == 0)
		r = bus_open(&to, &s.bus, &err);
	if (r == 0)
		r = bus_subscription_open(s.bus, &what, &s.subscription, &err);
	if (r == 0)
		r = bus_publisher_open(s.bus, "bank", "events", "switch", &s.publisher, &err);
	if (r == 0)
		r = run(&s, &err);
	bus_publisher_close(&s.publisher);
	bus_subscription_close(&s.subscription);
	bus_close(&s.bus);
	if (r != 0)
		fprintf(stderr, "switch: %s\n%s\n", err.text, error_suggestion(r));
	unsigned done = 0;
	for (unsigned i = 0; i < EVENTS; i++)
		done += books.amount_of[i] == 1 + i % 9;
	printf("%u of %u events done, %u compared, %u differences, %u out of order\n", done, EVENTS, books.compared, books.differences,
	       books.disorders);
	bool right = r == 0 && done == EVENTS && books.compared == 100 && books.differences == 0 && books.disorders == 0;
	printf("%s\n", right ? "there and back, each event once" : "something is missing");
	return !right;
}

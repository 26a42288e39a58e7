/* everything.c - most of what libweir-bus has, in one story: a shop whose orders are paid and shipped.
 *
 *	everything redis://127.0.0.1:6379/0
 *
 * Types with a key space, an older schema and its upcaster; an ordered subscription with retry rules and a dependency that is down for a
 * while (the breaker waits, nothing is lost); an order that can never succeed, its followers parked behind it, listed, mended and replayed;
 * a shared subscription whose results go out with the acknowledgement; status and pause.
 */
#include "bus/bus.h"
#include "bus/dead_letter.h"
#include "bus/subscription.h"

#include <stdio.h>
#include <string.h>

enum { ORDER_PAID = 1, ORDER_SHIPPED, LETTER_PRINTED };
#define ORDERS 40

/* -- types: version 1 of ORDER_PAID had no currency ------------------------------------------------------------------------------ */

static int add_currency(struct bytes body, struct buf *ret, struct error *err)
{
	(void)err;
	buf_add(ret, body.data, body.size);
	buf_add_str(ret, " EUR");
	return 0;
}
static bus_upcast_fn *const paid_upcasters[] = { add_currency };
static const struct bus_type types[] = {
	{ .id = ORDER_PAID, .name = "order_paid", .version = 2, .oldest = 1, .klass = BUS_HIGH, .key_space = "order", .upcasters = paid_upcasters },
	{ .id = ORDER_SHIPPED, .name = "order_shipped", .version = 1, .klass = BUS_HIGH, .key_space = "order" },
	{ .id = LETTER_PRINTED, .name = "letter_printed", .version = 1, .klass = BUS_LOW },
};

/* -- the shop ---------------------------------------------------------------------------------------------------------------------- */

struct shop {
	unsigned paid, shipped, printed, calls;
	bool bank_is_open, order_7_is_mended, out_of_order;
	bool is_paid[ORDERS];
};

static unsigned number_of(const struct bus_delivery *d)
{
	unsigned n = 0;
	const struct bytes key = d->message->frame.key;
	for (size_t i = 0; i < key.size; i++)
		n = n * 10 + (unsigned)(key.data[i] - '0');
	return n % ORDERS;
}

static int book(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct shop *shop = arg;
	unsigned order = number_of(d);
	shop->calls++;
	if (!shop->bank_is_open)
		return error_set(err, WEIR_UNAVAILABLE, "the bank does not answer");
	if (order == 7 && !shop->order_7_is_mended)
		return error_set(err, WEIR_INVALID, "order 7 has no address");
	if (d->body.size < 4 || memcmp(d->body.data + d->body.size - 4, " EUR", 4) != 0)
		return error_set(err, WEIR_INVALID, "no currency");
	shop->is_paid[order] = true;
	shop->paid++;
	return 0;
}

static int ship(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)err;
	struct shop *shop = arg;
	shop->out_of_order = shop->out_of_order || !shop->is_paid[number_of(d)];
	shop->shipped++;
	return 0;
}

static int print_letter(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct shop *shop = arg;
	struct frame letter = { .type = LETTER_PRINTED, .schema_version = 1, .body = d->body };
	int r = bus_delivery_emit(d, "letters", &letter, err); /* published if and only if this message is acknowledged */
	if (r != 0)
		return r;
	shop->printed++;
	return 0;
}

static const uint16_t paid[] = { ORDER_PAID }, shipped[] = { ORDER_SHIPPED };

/* -- what happens ---------------------------------------------------------------------------------------------------------------------- */

static struct bytes text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static int publish_orders(struct bus *bus, struct error *err)
{
	struct bus_publisher *p;
	int r = bus_publisher_open(bus, "shop", "orders", "till", &p, err);
	for (unsigned i = 0; i < ORDERS && r == 0; i++) {
		char key[16];
		snprintf(key, sizeof key, "%u", i);
		struct frame both[] = {
			{ .type = ORDER_PAID, .schema_version = i % 2 ? 1 : 2, .key = text(key), .body = text(i % 2 ? "10" : "10 EUR") },
			{ .type = ORDER_SHIPPED, .schema_version = 1, .key = text(key), .body = text("parcel") },
		};
		r = bus_publish(p, both, 2, err); /* called again after WEIR_UNAVAILABLE or WEIR_TIMEOUT it is still once */
	}
	bus_publisher_close(&p);
	return r;
}

static bool show(const char *id, struct bytes body, void *arg)
{
	(void)body; /* a packed weir.v1.DeadLetter: dead_letter_export writes it as a line of JSON */
	printf("   letter %s\n", id);
	++*(unsigned *)arg;
	return true;
}

static int mend_order_7(struct bus *bus, struct shop *shop, struct error *err)
{
	unsigned listed = 0;
	uint64_t marked;
	struct dead_letter_filter filter = { .key = "7" };
	printf("2. order 7 cannot succeed: it is a dead letter, and what came behind it waits with it\n");
	int r = dead_letter_list(bus, "shop", "books", &filter, NULL, 0, show, &listed, err);
	shop->order_7_is_mended = true;
	if (r == 0)
		r = dead_letter_replay(bus, "shop", "books", &filter, NULL, 0, "everything", &marked, err);
	return r;
}

static int turn_until(struct bus_subscription *s, const unsigned *count, unsigned wanted, struct error *err)
{
	int r = 0;
	for (int rounds = 0; r == 0 && *count < wanted && rounds < 2000; rounds++)
		r = bus_subscription_turn(s, 50, err);
	return r != 0 || *count >= wanted ? r : error_set(err, WEIR_TIMEOUT, "%u of %u came", *count, wanted);
}

static int keep_books(struct bus *bus, struct shop *shop, struct error *err)
{
	const struct bus_handler handlers[] = { { "book", paid, 1, book, shop, "bank" }, { "ship", shipped, 1, ship, shop, NULL } };
	static const struct retry_rule rules[] = {
		{ "book", 0, RETRY_DEPENDENCY, { .growth = RETRY_EXPONENTIAL, .attempts = 50, .base_ms = 5, .max_ms = 50, .jitter = 0.5 } },
		{ NULL, 0, RETRY_TRANSIENT, { .growth = RETRY_LINEAR, .attempts = 5, .base_ms = 10, .max_ms = 1000 } },
	};
	static const struct breaker_policy breaker = {
		.least = 10, .accept = 2, .window_ms = 5000, .pause_ms = 50, .pause_max_ms = 200, .probes = 2
	};
	const struct bus_subscription_options what = { .chain = "shop",
						       .topic = "orders",
						       .subscription = "books",
						       .order = BUS_ORDERED,
						       .handlers = handlers,
						       .handler_count = 2,
						       .retries = rules,
						       .retry_count = 2,
						       .breaker = &breaker };
	struct bus_subscription *s = NULL;
	static struct bus_subscription_status status;
	int r = bus_subscription_open(bus, &what, &s, err);
	for (int rounds = 0; r == 0 && rounds < 2000 && (rounds == 0 || !status.handlers[0].breaker_open); rounds++) {
		r = bus_subscription_turn(s, 50, err);
		bus_subscription_status(s, &status);
	}
	printf("1. the bank is closed: after %u calls the breaker is open, %zu messages wait, the subscription is %s\n", shop->calls, status.held,
	       bus_subscription_state_name(status.state));
	shop->bank_is_open = true;
	if (r == 0)
		r = turn_until(s, &shop->shipped, ORDERS - 1, err);
	if (r == 0)
		r = mend_order_7(bus, shop, err);
	if (r == 0)
		r = turn_until(s, &shop->shipped, ORDERS, err);
	bus_subscription_pause(s, "stocktaking", "everything");
	if (r == 0)
		r = bus_subscription_turn(s, 10, err);
	bus_subscription_status(s, &status);
	printf("3. %u paid, %u shipped, %llu attempts failed, %llu recovered; now %s for %s\n", shop->paid, shop->shipped,
	       (unsigned long long)status.handlers[0].failed, (unsigned long long)status.handlers[0].recovered,
	       bus_subscription_state_name(status.state), status.reason);
	bus_subscription_close(&s);
	return r;
}

static int print_letters(struct bus *bus, struct shop *shop, struct error *err)
{
	const struct bus_handler handlers[] = { { "print", shipped, 1, print_letter, shop, NULL } };
	const struct bus_subscription_options what = { .chain = "shop",
						       .topic = "orders",
						       .subscription = "printers",
						       .order = BUS_SHARED,
						       .handlers = handlers,
						       .handler_count = 1,
						       .batch = 16 };
	struct bus_subscription *s = NULL;
	int r = bus_subscription_open(bus, &what, &s, err);
	if (r == 0)
		r = turn_until(s, &shop->printed, ORDERS, err);
	bus_subscription_close(&s);
	struct bus_stream_info info[4];
	size_t n = 0;
	if (r == 0)
		r = bus_info(bus, "shop", "letters", "", info, &n, err);
	for (size_t i = 0; i < n; i++)
		if (info[i].length > 0)
			printf("4. %u handled by the printers, %llu results in the %s stream of letters\n", shop->printed,
			       (unsigned long long)info[i].length, info[i].klass);
	return r;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	struct bus *bus = NULL;
	struct shop shop = { 0 };
	const struct bus_options to = { .url = argc > 1 ? argv[1] : "redis://127.0.0.1:6379/0", .worker = "everything" };
	log_init(LOG_ERROR, LOG_FORMAT_LOGFMT); /* the breaker's warnings are expected here */
	int r = bus_types_add(types, sizeof types / sizeof types[0], &err);
	if (r == 0)
		r = bus_open(&to, &bus, &err);
	if (r == 0)
		r = bus_check(bus, &err); /* version, memory policy, persistence */
	if (r == 0)
		r = publish_orders(bus, &err);
	if (r == 0)
		r = keep_books(bus, &shop, &err);
	if (r == 0)
		r = print_letters(bus, &shop, &err);
	bus_close(&bus);
	if (r != 0)
		fprintf(stderr, "everything: %s\n%s\n", err.text, error_suggestion(r));
	bool right = shop.paid == ORDERS && shop.shipped == ORDERS && shop.printed == ORDERS && !shop.out_of_order;
	printf("%s\n", right ? "every order was paid, then shipped, once" : "something is missing");
	return r != 0 || !right;
}

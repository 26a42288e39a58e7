/* bus_handler.c - what a subscription adds to the lane beneath it, and how long nobody owns it. One JSON object out.
 *
 *   bus_handler breaker                  calls a second of a closed breaker (asked, then told of the success)
 *   bus_handler serialise                envelopes and frames written, and frames and envelopes read, a second on one core
 *   bus_handler subscription URL EVENTS  events a second through an ordered subscription with an empty handler
 *   bus_handler held URL EVENTS          memory of a reader whose dependency is away while so many events wait for it
 *   bus_handler handover URL TIMES       planned: from the end of one instance's last round until another one owns; milliseconds
 *   bus_handler takeover URL TIMES       after a crash: from the moment that an instance is heard of no more until another one owns
 */
#include "base/breaker.h"
#include "base/clock.h"
#include "bus/subscription.h"
#include "weir/streams.h"
#include "wire/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define CALLS 50000000
#define FRAMES 2000000
#define TIMES_MAX 1000
#define BODY 200
#define HELD_MS 10000

static const uint16_t wanted[] = { MESSAGE_CHAIN_HEAD };

static void must(int r, const char *what, const struct error *err)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

static int empty(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)d;
	(void)err;
	++*(uint64_t *)arg;
	return 0;
}

static void breaker(void)
{
	struct breaker b = { .policy = &BREAKER_HANDLER };
	uint64_t let = 0;
	int64_t began = clock_mono_ns();
	for (uint32_t i = 0; i < CALLS; i++) {
		int64_t now = i / 1000;
		if (breaker_closed(&b) || breaker_take_probe(&b, now))
			let++;
		breaker_success(&b, now);
	}
	double seconds = (double)(clock_mono_ns() - began) / 1e9;
	printf("{\"calls_per_second\": %.0f, \"let\": %llu, \"ns\": %.3f}\n", CALLS / seconds, (unsigned long long)let, seconds * 1e9 / CALLS);
}

/* An event as it goes out and comes in: its envelope packed, the frame with its checksum, and both read again. */
static void serialise(void)
{
	static uint8_t body[BODY];
	struct envelope e = { .issuer = { (const uint8_t *)"issuer", 6 }, .category = { (const uint8_t *)"category", 8 }, .attempts_max = 5 };
	struct frame f = { .type = MESSAGE_CHAIN_HEAD, .schema_version = 1, .created_unix_ms = 1, .key = { (const uint8_t *)"key", 3 }, .body = { body, BODY } };
	struct buf more = BUF_INIT(FRAME_MORE_MAX), out = BUF_INIT(4096);
	uint64_t read = 0;
	memset(e.correlation_id, 7, sizeof e.correlation_id);
	int64_t began = clock_mono_ns();
	for (uint32_t i = 0; i < FRAMES; i++) {
		memcpy(e.causation_id, &i, sizeof i);
		memcpy(f.event_id, &i, sizeof i);
		buf_reset(&more);
		buf_reset(&out);
		envelope_write(&e, &more);
		f.more = (struct bytes){ more.data, more.size };
		frame_write(&f, &out);
	}
	int64_t written = clock_mono_ns();
	for (uint32_t i = 0; i < FRAMES; i++) {
		struct frame got;
		struct envelope said;
		if (frame_read((struct bytes){ out.data, out.size }, &got, NULL) == 0 && envelope_read(got.more, &said, NULL) == 0)
			read += said.attempts_max == 5;
	}
	int64_t ended = clock_mono_ns();
	printf("{\"written_per_second\": %.0f, \"read_per_second\": %.0f, \"bytes\": %zu, \"read\": %llu}\n", FRAMES * 1e9 / (double)(written - began),
	       FRAMES * 1e9 / (double)(ended - written), out.size, (unsigned long long)read);
	buf_free(&more);
	buf_free(&out);
}

static struct bus_subscription *open_subscription(const char *url, const char *worker, const struct bus_handler *handler, struct bus **bus)
{
	struct error err = { 0 };
	struct bus_subscription *s;
	const struct bus_options to = { .url = url, .worker = worker };
	const struct bus_subscription_options what = {
		.chain = "bench", .topic = TOPIC_BLOCKS, .subscription = "bench", .order = BUS_ORDERED, .handlers = handler, .handler_count = 1
	};
	must(bus_open(&to, bus, &err), "bus_open", &err);
	must(bus_subscription_open(*bus, &what, &s, &err), "bus_subscription_open", &err);
	return s;
}

static void publish(const char *url, uint64_t events)
{
	enum { CALL = 2000 };
	static struct frame frames[CALL];
	static char keys[CALL][8], body[BODY];
	struct error err = { 0 };
	struct bus *bus;
	struct bus_publisher *p;
	const struct bus_options to = { .url = url, .worker = "publisher", .max_backlog = 1 << 30 };
	must(bus_open(&to, &bus, &err), "bus_open", &err);
	must(bus_publisher_open(bus, "bench", TOPIC_BLOCKS, "p", &p, &err), "bus_publisher_open", &err);
	for (uint64_t done = 0; done < events; done += CALL) {
		for (size_t i = 0; i < CALL; i++) {
			frames[i] = (struct frame){ .type = MESSAGE_CHAIN_HEAD, .schema_version = 1, .body = { (const uint8_t *)body, BODY } };
			frames[i].key = (struct bytes){ (const uint8_t *)keys[i], (size_t)snprintf(keys[i], sizeof keys[i], "%zu", i % 1000) };
		}
		must(bus_publish(p, frames, CALL, &err), "bus_publish", &err);
	}
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void subscription(const char *url, uint64_t events)
{
	uint64_t got = 0;
	const struct bus_handler handler = { "empty", wanted, 1, empty, &got, NULL };
	struct error err = { 0 };
	struct bus *bus;
	publish(url, events);
	struct bus_subscription *s = open_subscription(url, "reader", &handler, &bus);
	int64_t began = clock_mono_ns();
	while (got < events)
		must(bus_subscription_turn(s, 100, &err), "bus_subscription_turn", &err);
	double seconds = (double)(clock_mono_ns() - began) / 1e9;
	printf("{\"events_per_second\": %.0f}\n", (double)got / seconds);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static int away(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)d;
	++*(uint64_t *)arg;
	return error_set(err, WEIR_UNAVAILABLE, "the dependency is away");
}

static void held(const char *url, uint64_t events)
{
	uint64_t tried = 0;
	const struct bus_handler handler = { "away", wanted, 1, away, &tried, NULL };
	static struct bus_subscription_status st;
	struct rusage u;
	struct error err = { 0 };
	struct bus *bus;
	publish(url, events);
	struct bus_subscription *s = open_subscription(url, "reader", &handler, &bus);
	for (int64_t until = clock_mono_ms() + HELD_MS; clock_mono_ms() < until;)
		must(bus_subscription_turn(s, 100, &err), "bus_subscription_turn", &err);
	bus_subscription_status(s, &st);
	getrusage(RUSAGE_SELF, &u);
	printf("{\"events\": %llu, \"tried\": %llu, \"held\": %llu, \"resident_mb\": %.1f}\n", (unsigned long long)events, (unsigned long long)tried,
	       (unsigned long long)st.held, (double)u.ru_maxrss / 1024);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void wait_for(struct bus_subscription *s)
{
	static struct bus_subscription_status st;
	do
		bus_subscription_status(s, &st);
	while (st.state != BUS_RUNNING);
}

/* Two instances in turns. crash: the one that owns simply stops saying anything. */
static void change_hands(const char *url, size_t times, bool crash)
{
	static double took[TIMES_MAX];
	uint64_t got = 0;
	const struct bus_handler handler = { "empty", wanted, 1, empty, &got, NULL };
	struct error err = { 0 };
	struct bus *buses[2];
	struct bus_subscription *s[2] = { open_subscription(url, "a", &handler, &buses[0]), NULL };
	must(bus_subscription_start(s[0], 0, &err), "start", &err);
	wait_for(s[0]);
	for (size_t i = 0; i < times && i < TIMES_MAX; i++) {
		char name[24];
		size_t old = i % 2, new = 1 - old;
		snprintf(name, sizeof name, "next%zu", i);
		s[new] = open_subscription(url, name, &handler, &buses[new]);
		must(bus_subscription_start(s[new], 0, &err), "start", &err);
		clock_sleep_ms(60 + (int64_t)(i * 7 % 30));              /* it stands by */
		must(bus_subscription_join(s[old], &err), "join", &err); /* until here it would have handled what came */
		int64_t began = clock_mono_ns();
		if (!crash)
			bus_subscription_close(&s[old]);
		wait_for(s[new]);
		took[i] = (double)(clock_mono_ns() - began) / 1e6;
		if (crash)
			bus_subscription_close(&s[old]);
		bus_close(&buses[old]);
	}
	bus_subscription_close(&s[times % 2]);
	bus_close(&buses[times % 2]);
	qsort(took, times, sizeof took[0], ascending);
	printf("{\"p50_ms\": %.1f, \"p99_ms\": %.1f, \"worst_ms\": %.1f, \"times\": %zu}\n", took[times / 2], took[(times * 99) / 100],
	       took[times - 1], times);
}

int main(int argc, char **argv)
{
	const char *part = argc > 1 ? argv[1] : "", *url = argc > 2 ? argv[2] : "";
	uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	log_init(LOG_ERROR, LOG_FORMAT_LOGFMT);
	if (strcmp(part, "breaker") == 0)
		breaker();
	else if (strcmp(part, "serialise") == 0)
		serialise();
	else if (strcmp(part, "subscription") == 0 && n > 0)
		subscription(url, n);
	else if (strcmp(part, "held") == 0 && n > 0)
		held(url, n);
	else if ((strcmp(part, "handover") == 0 || strcmp(part, "takeover") == 0) && n > 0 && n <= TIMES_MAX)
		change_hands(url, (size_t)n, strcmp(part, "takeover") == 0);
	else
		return fprintf(stderr, "usage: see the first lines of tests/bench/bus_handler.c\n"), 64;
	return 0;
}

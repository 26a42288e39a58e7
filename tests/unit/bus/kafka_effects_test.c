/* kafka_effects_test.c - effects keyed by event ids are once over Kafka, whoever dies between an effect and its commit (decision 22). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/kafka_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define EVENTS 60
#define DEATHS 3
#define LIFE 10 /* deliveries, and the last one is its end */

/* What outlives every consumer: a receiving database, whose table has a unique key. Only one process at a time uses it. */
static struct receiver {
	struct row {
		uint8_t event_id[16];
		unsigned number;
	} rows[EVENTS + DEATHS * LIFE];
	unsigned count, deliveries;
	uint8_t published[EVENTS][16]; /* event ids */
} *receiver;

/* insert … on conflict (event_id) do nothing */
static void insert(const uint8_t event_id[16], unsigned number)
{
	for (unsigned i = 0; i < receiver->count; i++)
		if (memcmp(receiver->rows[i].event_id, event_id, 16) == 0)
			return;
	if (receiver->count == sizeof receiver->rows / sizeof receiver->rows[0])
		_exit(4);
	struct row *row = &receiver->rows[receiver->count++];
	memcpy(row->event_id, event_id, 16);
	row->number = number;
}

static const uint16_t commands[] = { MESSAGE_COMMAND };

struct life {
	unsigned handled, end; /* dies over this delivery; 0: never */
};

static int take_effect(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)err;
	struct life *life = arg;
	receiver->deliveries++;
	insert(d->message->frame.event_id, kafka_fixture_number(d->body));
	if (++life->handled == life->end)
		(void)kill(getpid(), SIGKILL); /* the effect is there, its commit is not */
	return 0;
}

static int publish_events(enum bus_order order, unsigned end)
{
	(void)order, (void)end;
	struct error err = { 0 };
	struct frame frames[EVENTS];
	struct kafka_fixture_text texts[EVENTS];
	struct bus *bus = kafka_fixture_bus("p", 5000);
	struct bus_publisher *p = kafka_fixture_publisher(bus, "effects");
	kafka_fixture_messages(frames, texts, 0, EVENTS, 7);
	for (unsigned i = 0; i < EVENTS; i++)
		memcpy(receiver->published[i], frames[i].event_id, 16);
	int r = bus_publish(p, frames, EVENTS, &err);
	bus_publisher_close(&p);
	bus_close(&bus);
	return r ? 1 : 0;
}

/* A consumer: until its end, or until nothing is left. */
static int consume(enum bus_order order, unsigned end)
{
	struct life life = { 0, end };
	const struct bus_handler handler = { "h", commands, 1, take_effect, &life, NULL };
	const struct bus_subscription_options o = { .chain = "c", .topic = "effects", .subscription = "s", .order = order, .handlers = &handler,
						    .handler_count = 1, .batch = 4, .no_storm_guard = true };
	struct bus_stream_info info[4] = { 0 };
	size_t n;
	struct error err = { 0 };
	struct bus_subscription *s;
	struct bus *bus = kafka_fixture_bus("consumer", 5000);
	if (bus_subscription_open(bus, &o, &s, &err) != 0)
		return 2;
	info[BUS_HIGH].lag = EVENTS;
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; info[BUS_HIGH].lag > 0;) {
		(void)bus_subscription_turn(s, 50, &err);
		if (receiver->count >= EVENTS) /* not in each round: figures take a second */
			(void)bus_info(bus, "c", "effects", "s", info, &n, NULL);
		if (clock_mono_ms() > deadline) {
			fprintf(stderr, "%u handled, %u effects: %s\n", life.handled, receiver->count, err.text);
			return 3;
		}
	}
	bus_subscription_close(&s);
	bus_close(&bus);
	return 0;
}

/* In a process of its own, for librdkafka's threads do not come along over a fork. How it ended: as waitpid says. */
static int process(int (*run)(enum bus_order, unsigned), enum bus_order order, unsigned end)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run(order, end));
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

/* What decision 22 promises: deliveries are at least once, effects keyed by the event id are once, whoever died between the two. */
static void effects_are_once(enum bus_order order)
{
	receiver = mmap(NULL, sizeof *receiver, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(receiver != MAP_FAILED);
	kafka_fixture_topics("effects", "s");
	assert_int_equal(process(publish_events, order, 0), 0);
	for (int i = 0; i < DEATHS; i++) {
		int status = process(consume, order, LIFE);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	assert_int_equal(process(consume, order, 0), 0);
	assert_true(receiver->deliveries >= EVENTS + DEATHS); /* at least what each died over came again */
	assert_int_equal(receiver->count, EVENTS);
	for (unsigned i = 0; i < EVENTS; i++) {
		unsigned times = 0;
		for (unsigned k = 0; k < receiver->count; k++)
			times += receiver->rows[k].number == i && memcmp(receiver->rows[k].event_id, receiver->published[i], 16) == 0;
		assert_int_equal(times, 1);
	}
	munmap(receiver, sizeof *receiver);
}

static void effects_keyed_by_event_ids_are_once_on_an_ordered_lane_whose_consumers_die(void **state)
{
	(void)state;
	effects_are_once(BUS_ORDERED);
}

static void effects_keyed_by_event_ids_are_once_on_a_shared_lane_whose_consumers_die(void **state)
{
	(void)state;
	effects_are_once(BUS_SHARED);
}

static struct CMUnitTest tests[] = {
	cmocka_unit_test(effects_keyed_by_event_ids_are_once_on_an_ordered_lane_whose_consumers_die),
	cmocka_unit_test(effects_keyed_by_event_ids_are_once_on_a_shared_lane_whose_consumers_die),
};

int main(int argc, char **argv)
{
	return kafka_fixture_main(argc, argv, "kafka_effects_test", tests, sizeof tests / sizeof tests[0]);
}

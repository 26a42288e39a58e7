/* kafka_fixture.c - see kafka_fixture.h. */
#include "support/kafka_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/core/core.h"
#include "support/apart.h"
#include "support/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACQUIRE_MS 60000

struct kafka_broker kafka_fixture_broker;
char kafka_fixture_url[300];
static struct CMUnitTest *cases;

struct bus *kafka_fixture_bus(const char *worker, int64_t timeout_ms)
{
	struct bus *bus;
	struct error err = { 0 };
	struct bus_options o = { .url = kafka_fixture_url, .worker = worker, .command_timeout_ms = timeout_ms };
	if (bus_open(&o, &bus, &err) != 0)
		fail_msg("%s", err.text);
	return bus;
}

void kafka_fixture_topics(const char *topic, const char *subscription)
{
	char name[200];
	for (int c = 0; c < CLASSES; c++) {
		snprintf(name, sizeof name, "weir.c.%s.%s", topic, bus_classes[c]);
		kafka_broker_topic(&kafka_fixture_broker, name, KAFKA_FIXTURE_PARTITIONS);
	}
	snprintf(name, sizeof name, "weir.c.%s.letters.%s", topic, subscription);
	kafka_broker_topic(&kafka_fixture_broker, name, KAFKA_FIXTURE_PARTITIONS);
}

struct bus_publisher *kafka_fixture_publisher(struct bus *bus, const char *topic)
{
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "c", topic, "p", &p, NULL), 0);
	return p;
}

void kafka_fixture_messages(struct frame *ret, struct kafka_fixture_text *texts, unsigned from, unsigned n, unsigned keys)
{
	for (unsigned i = 0; i < n; i++) {
		snprintf(texts[i].key, sizeof texts[i].key, "k%u", (from + i) % keys);
		snprintf(texts[i].body, sizeof texts[i].body, "%u", from + i);
		ret[i] = fixture_message(MESSAGE_COMMAND, texts[i].key, texts[i].body);
	}
}

unsigned kafka_fixture_number(struct bytes b)
{
	char text[32];
	snprintf(text, sizeof text, "%.*s", (int)b.size, (const char *)b.data);
	return (unsigned)strtoul(text + (text[0] == 'k'), NULL, 10);
}

struct bytes kafka_fixture_bytes(const char *text)
{
	return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

void kafka_fixture_acquire(struct bus_owner *o)
{
	struct error err = { 0 };
	for (int64_t deadline = clock_mono_ms() + ACQUIRE_MS; bus_owner_acquire(o, &err) != 0;) {
		if (clock_mono_ms() > deadline || err.code != WEIR_CONFLICT)
			fail_msg("%s", err.text);
		clock_sleep_ms(20);
	}
}

static int run_case(size_t at)
{
	kafka_broker_start(&kafka_fixture_broker);
	snprintf(kafka_fixture_url, sizeof kafka_fixture_url, "kafka://%s/?session_ms=4000", kafka_fixture_broker.hosts);
	kafka_broker_topic(&kafka_fixture_broker, "weir.c.state", 1);
	int failed = _cmocka_run_group_tests("kafka", &cases[at], 1, NULL, NULL);
	kafka_broker_stop(&kafka_fixture_broker);
	return failed;
}

int kafka_fixture_main(int argc, char **argv, const char *program, struct CMUnitTest *tests, size_t n)
{
	cases = tests;
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	return apart_main(argc, argv, program, tests, n, run_case);
}

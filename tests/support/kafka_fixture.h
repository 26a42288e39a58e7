/* kafka_fixture.h - what a test program of the bus over Kafka has in common with others: each case is a process of its own with its own broker, for joining
 * a group of the mock takes three seconds, in which nobody computes anything, and a session must be longer than that.
 */
#ifndef TESTS_SUPPORT_KAFKA_FIXTURE_H
#define TESTS_SUPPORT_KAFKA_FIXTURE_H

#include "bus/bus.h"
#include "support/kafka_broker.h"

#define KAFKA_FIXTURE_PARTITIONS 3

extern struct kafka_broker kafka_fixture_broker;
extern char kafka_fixture_url[300];

struct bus *kafka_fixture_bus(const char *worker, int64_t timeout_ms);
/* All that the topic of chain "c" and its subscription need. */
void kafka_fixture_topics(const char *topic, const char *subscription);
struct bus_publisher *kafka_fixture_publisher(struct bus *, const char *topic);
/* n messages on their way: bodies are the numbers from `from` on, keys "k" and the number modulo `keys`. texts: n of them, must outlive the frames. */
struct kafka_fixture_text {
	char key[16], body[16];
};
void kafka_fixture_messages(struct frame *ret, struct kafka_fixture_text *texts, unsigned from, unsigned n, unsigned keys);
unsigned kafka_fixture_number(struct bytes); /* "17" or "k17" */
struct bytes kafka_fixture_bytes(const char *text);
void kafka_fixture_acquire(struct bus_owner *); /* waits for who has it now */

struct CMUnitTest;
int kafka_fixture_main(int argc, char **argv, const char *program, struct CMUnitTest *tests, size_t n);

#endif

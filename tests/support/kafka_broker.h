/* kafka_broker.h - a Kafka for one test program: librdkafka's mock cluster in a process of its own, which can be told to be down, and killed.
 *
 * It keeps topics, consumer groups and offsets in memory, at most 5 MB of a partition. It neither compacts, nor isolates transactions, nor
 * fences producers, nor knows accounts.
 */
#ifndef TESTS_SUPPORT_KAFKA_BROKER_H
#define TESTS_SUPPORT_KAFKA_BROKER_H

#include <sys/types.h>

struct kafka_broker {
	pid_t pid;
	int tell, answer;
	char hosts[256]; /* host:port */
};
/* Aborts the test program when it cannot. Call before the program has threads. */
void kafka_broker_start(struct kafka_broker *);
void kafka_broker_topic(struct kafka_broker *, const char *name, int partitions);
void kafka_broker_forbid(struct kafka_broker *, const char *name); /* there is no such topic; else asking makes one, with 4 partitions */
void kafka_broker_allow(struct kafka_broker *, const char *name); /* there is, after all, with 4 partitions */
void kafka_broker_up(struct kafka_broker *, int up); /* 0: connections break and are refused */
void kafka_broker_delay(struct kafka_broker *, int ms); /* of each answer */
void kafka_broker_hold(struct kafka_broker *, int held); /* 1: it accepts connections and says nothing, until 0 */
void kafka_broker_silence_offsets(struct kafka_broker *); /* who asks next where a partition begins or ends: no more answers on that connection */
/* The requests of Kafka's protocol that can be refused. */
enum kafka_request {
	KAFKA_PRODUCE = 0,
	KAFKA_INIT_PRODUCER_ID = 22,
	KAFKA_ADD_PARTITIONS_TO_TXN = 24,
	KAFKA_ADD_OFFSETS_TO_TXN = 25,
	KAFKA_END_TXN = 26,
	KAFKA_TXN_OFFSET_COMMIT = 28,
};
void kafka_broker_refuse(struct kafka_broker *, enum kafka_request, int code); /* a librdkafka error: its answer to the next one, which it does not do */
void kafka_broker_late(struct kafka_broker *, enum kafka_request, int ms); /* its answer to the next one comes so much later, and all that follow on that connection */
void kafka_broker_stop(struct kafka_broker *); /* kill -9 */

#endif

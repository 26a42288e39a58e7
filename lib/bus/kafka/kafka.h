/* kafka.h - private to lib/bus: what all parts of "kafka://" share: one bus' clients, topics, and messages on their way. See
 * docs/decisions/0022-kafka.md for how each idea of the bus is kept in Kafka.
 *
 *	weir.<chain>.<topic>.<class>                 messages: key and frame as they are, partition by key (murmur2, as Kafka's own clients)
 *	weir.<chain>.<topic>.letters.<subscription>  dead letters, compacted: partition p has those of the messages' partition p
 *	weir.<chain>.state                           compacted, one partition: hashes, such as words to subscriptions
 *
 * Everything here belongs to the bus' thread; librdkafka's own threads only fill its queues.
 */
#ifndef WEIR_BUS_KAFKA_H
#define WEIR_BUS_KAFKA_H

#include "bus/core/core.h"
#include "bus/kafka/kafka_api.h"

#define KAFKA_PARTITIONS_MAX PLACES_MAX /* of a topic */

struct kafka_topic {
	char *name;
	int32_t partitions;
	rd_kafka_topic_t *write, *read; /* write NULL: not written to with this producer yet */
	struct kafka_topic *next;
};

struct kafka {
	struct bus *bus;
	char *hosts;
	rd_kafka_t *producer, *reader; /* NULL: not needed yet, or closed after it failed for good */
	rd_kafka_t *transaction;       /* of kafka_transaction.h: what is sent goes by it; NULL: by the producer */
	bool fatal;                    /* the producer cannot go on */
	bool gapless;                  /* a producer ends with the first record that fails for good (kafka_records.c) */
	struct kafka_topic *topics;
	struct kafka_table *tables; /* kafka_table.h */
	struct kafka_lane *lanes;   /* kafka_lane.h */
	char trouble[200];          /* what librdkafka complained of last */
};

/* Loads the library and checks TLS' files and the account's form; clients are made when they are first needed. */
int kafka_open(struct bus *, struct error *);
void kafka_close(struct bus *);
static inline struct kafka *kafka_of(const struct bus *bus)
{
	return bus->transport_state;
}
/* Ends what reads, without a good-bye, as if the connection had broken. What is on its way to the brokers stays. */
void kafka_drop(struct kafka *);
int kafka_ping(struct kafka *, struct error *);
int kafka_all_topics(struct kafka *, const struct rd_kafka_metadata **ret, struct error *); /* rdk.metadata_destroy */

/* A setting of librdkafka, or its end: its own tables say which there are. */
struct kafka_setting {
	const char *name, *value;
};
#define KAFKA_SECURITY_MAX 10
/* TLS and the account, as librdkafka's settings; values are the bus'. Returns how many (kafka_security.c). */
size_t kafka_security(const struct bus *, struct kafka_setting ret[KAFKA_SECURITY_MAX]);
/* What can be said of them without a broker. WEIR_CONFIG. */
int kafka_security_check(struct kafka *, struct error *);

/* Fails with words that name what was being done. */
int kafka_error(const struct kafka *, rd_kafka_resp_err_t, const char *doing, struct error *);
int64_t kafka_deadline(const struct kafka *); /* of one call */

/* The topic as the brokers know it. WEIR_CONFIG: there is none, and how to make it: for those words is what it is for. */
enum kafka_use { KAFKA_MESSAGES, KAFKA_TABLE, KAFKA_STATE, KAFKA_RECORDS };
int kafka_topic(struct kafka *, const char *name, enum kafka_use, struct kafka_topic **ret, struct error *);
/* Names that stand in topics' names: WEIR_CONFIG where Kafka could not tell them apart. */
int kafka_names(const struct kafka *, const char *const *names, size_t n, struct error *);
void kafka_letters_name(const char *chain, const char *topic, const char *subscription, char ret[KEY_MAX]);
void kafka_topic_name(const char *chain, const char *topic, int klass, char ret[KEY_MAX]);
int kafka_reader(struct kafka *, struct error *);
/* Where partitions begin (RD_KAFKA_OFFSET_BEGINNING) or end (RD_KAFKA_OFFSET_END): each element's offset; below 0: unknown, also after an error. */
int kafka_offsets(struct kafka *, rd_kafka_t *client, rd_kafka_topic_partition_list_t *, int64_t which, int64_t deadline_ms, struct error *);
/* Both of each partition, in the order of the list; to be freed also after an error. */
struct kafka_ends {
	rd_kafka_topic_partition_list_t *lows, *highs;
};
int kafka_ends(struct kafka *, rd_kafka_t *client, const rd_kafka_topic_partition_list_t *, struct kafka_ends *ret, struct error *);
void kafka_ends_free(struct kafka_ends *);
/* One that sends what is given to it in order, once, to all in-sync replicas; with further settings. */
int kafka_producer(struct kafka *, const struct kafka_setting *, size_t n, rd_kafka_t **ret, struct error *);
int kafka_client(struct kafka *, rd_kafka_type_t, const struct kafka_setting *, size_t n,
		 void (*on_rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *), void *opaque, rd_kafka_t **ret,
		 struct error *);

/* -- sending ----------------------------------------------------------------------------------------------------------------- */

/* Messages on their way that are waited for together. Reports come only within calls of kafka_send, kafka_sent and kafka_close. */
struct kafka_sends {
	size_t under_way;
	rd_kafka_resp_err_t failed; /* the first that did; 0: none */
	bool left;                  /* nobody waits: freed with the last report */
};
#define KAFKA_ANY RD_KAFKA_PARTITION_UA /* the partition of the key */
/* Copies. Waits until there is room on this side. value.data NULL: a tombstone. mark: of a table's records, or empty. */
int kafka_send(struct kafka *, struct kafka_topic *, int32_t partition, struct bytes key, struct bytes value, struct bytes mark,
	       struct kafka_sends *, int64_t deadline_ms, struct error *);
/* Until the brokers have all of them. WEIR_TIMEOUT, WEIR_UNAVAILABLE: they are still on their way and will get there: wait again. Another error:
 * some did not arrive, and never will. */
int kafka_sent(struct kafka *, struct kafka_sends *, int64_t deadline_ms, struct error *);
void kafka_sends_leave(struct kafka_sends **);
/* Ends the producer; what was on its way is reported as failed, and may arrive. The next send makes another one. */
void kafka_purge(struct kafka *);

#endif

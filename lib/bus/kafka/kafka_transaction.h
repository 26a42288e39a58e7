/* kafka_transaction.h - private to lib/bus: a shared lane's steps as Kafka's transactions (kafka://…/?transactions=yes): what a step emits, its letters and
 * how far it read are there together or not at all (KIP-98; a member of the group that was followed is refused by its generation, KIP-447).
 *
 * Each lane has a producer with a transactional.id of its own, new with each process: what one that died left open the brokers abort after its time.
 */
#ifndef WEIR_BUS_KAFKA_TRANSACTION_H
#define WEIR_BUS_KAFKA_TRANSACTION_H

#include "bus/kafka/kafka_lane.h"

struct kafka_transaction;
struct kafka_transaction *kafka_transaction_new(struct kafka_lane *);
void kafka_transaction_free(struct kafka_transaction **); /* aborts what is open */

/* Opens one unless one is open. An error leaves none open. */
int kafka_transaction_begin(struct kafka_transaction *, struct error *);
bool kafka_transaction_open(const struct kafka_transaction *);
/* Its end has begun: nothing can go into it any more. */
bool kafka_transaction_ending(const struct kafka_transaction *);
/* What the bus sends from now on goes into it, until told otherwise. */
void kafka_transaction_enter(struct kafka_transaction *);
void kafka_transaction_leave(struct kafka_transaction *);
/* Ends it with these places, which are read (topic, partition, offset of what is next). WEIR_TIMEOUT, WEIR_UNAVAILABLE, WEIR_CANCELED: not yet, call again; the
 * places of the first call count. Another error: it will not be there; kafka_transaction_drop. */
int kafka_transaction_commit(struct kafka_transaction *, const rd_kafka_topic_partition_list_t *, struct error *);
/* Aborts it, or leaves it to the brokers to abort: nobody will have seen anything of it. One whose end had begun may be there all the same. */
void kafka_transaction_drop(struct kafka_transaction *);

#endif

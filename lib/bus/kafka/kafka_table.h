/* kafka_table.h - private to lib/bus: one partition of a compacted topic as a table in memory.
 *
 * Whoever opens it reads it from its beginning; what is put is a record, the newest of a key counts, an empty one removes. Own records
 * take effect at once, others' when they are read.
 *
 * Who takes the table over (an owner of the partition) writes a record "o/<epoch>" with the next epoch. A record that says an older epoch and
 * stands behind it is somebody's who does not know yet that he was followed: all readers leave it out. So the log itself fences. Records of
 * epoch 0, by operators, always count.
 *
 * A large value goes in pieces, records "p/<its number>/<piece>", before the row's own record, which names them: a letter is larger than its message, and
 * would be refused by brokers that took the message. The pieces go when the row does. Those of a writer that ended before he wrote the row's record are
 * removed by the next owner.
 */
#ifndef WEIR_BUS_KAFKA_TABLE_H
#define WEIR_BUS_KAFKA_TABLE_H

#include "bus/kafka/kafka.h"

#define KAFKA_TABLE_ROWS 200000 /* beyond these WEIR_FULL */
#define KAFKA_TABLE_BYTES ((size_t)256 << 20)
#define KAFKA_PIECE_SIZE ((size_t)256 << 10) /* of a value, in one record: what brokers must take at least */

struct kafka_row {
	char *key;
	struct bytes value; /* owned */
	struct kafka_pieces {
		uint64_t number; /* 0: its record has all of it */
		unsigned count;
	} pieces;
};

struct kafka_table {
	struct kafka *kafka;
	struct kafka_topic *topic;
	int32_t partition;
	rd_kafka_queue_t *queue; /* NULL: not reading */
	int64_t next;            /* everything before this offset was read */
	bool whole;              /* its end was reached since it was opened */
	struct kafka_row *rows;  /* sorted by key */
	size_t count, capacity, bytes;
	uint8_t writer[8]; /* of our records: random */
	uint64_t epoch;    /* the newest in the log */
	bool epoch_is_ours;
	uint64_t changes; /* rows put or removed so far: who keeps something derived looks at this */
	struct kafka_sends *sends;
	struct kafka_table *next_table;
};

/* Of this bus: the same one for all who ask. */
int kafka_table(struct kafka *, const char *topic, int32_t partition, struct kafka_table **ret, struct error *);
void kafka_tables_close(struct kafka *);
/* All of a topic are read anew, and are nobody's until they are taken over again: what was put last may not be there. */
void kafka_tables_forget(struct kafka *, const char *topic);
/* Reads what came meanwhile, without waiting. */
int kafka_table_poll(struct kafka_table *, struct error *);
/* Reads up to what the partition's end is now. */
int kafka_table_load(struct kafka_table *, struct error *);
/* Loads it and enters the next epoch. WEIR_FENCED: somebody else did at the same time. */
int kafka_table_take_over(struct kafka_table *, struct error *);
/* value.data NULL removes. as_owner: counts only while nobody has followed us. On its way when it returns: kafka_table_flush waits. */
int kafka_table_put(struct kafka_table *, const char *key, struct bytes value, bool as_owner, struct error *);
int kafka_table_flush(struct kafka_table *, struct error *);
const struct kafka_row *kafka_table_find(const struct kafka_table *, const char *key);
/* The first row at or behind key. */
size_t kafka_table_at(const struct kafka_table *, const char *key);

#endif

/* kafka_lane.h - private to lib/bus: what both lanes have in common over Kafka: a member of a consumer group, its partitions, their dead letters.
 *
 * A part is a partition number: the four classes' partitions of that number and the one of the letters. Its owner is the group's member that
 * has all four (the range assignor gives equal numbers to one member). Owning begins when the part's letters are taken over (kafka_table.h),
 * and ends with any change of the group, after which what was not committed is read again.
 */
#ifndef WEIR_BUS_KAFKA_LANE_H
#define WEIR_BUS_KAFKA_LANE_H

#include "bus/kafka/kafka_table.h"
#include "bus/lane/tally.h"
#include "bus/message/message.h"

struct kafka_part {
	unsigned classes; /* a bit for each whose partition we were given */
	bool owned;       /* and its letters are ours */
	int64_t next[CLASSES];      /* offset of what is read next; -1: not known yet */
	int64_t handed[CLASSES];    /* behind the last one that a caller got; -1: none */
	int64_t committed[CLASSES]; /* -1: nothing yet */
	struct kafka_table *letters;
};

struct kafka_lane {
	struct kafka *kafka;
	char *chain, *topic, *subscription;
	struct bus_tally *tally; /* of whoever opened it */
	int64_t session_ms;
	rd_kafka_t *consumer; /* NULL: not joined */
	rd_kafka_queue_t *main, *classes[CLASSES];
	int wake;             /* an eventfd that librdkafka writes to when a queue has something */
	struct kafka_part *parts;
	int32_t part_count;   /* 0: not known yet */
	bool changed;         /* the group gave or took something since the lane was acquired */
	bool owning;
	bool read;            /* something since the positions were put on the committed places */
	bool rejoin;          /* its group must be joined again */
	bool rolled_back;
	bool replayed;        /* the last that was read were letters */
	uint64_t turn;        /* times it was acquired */
	char token[96];
	int64_t look_ms;      /* when letters are looked at next */
	struct bus_batch batch;
	bool (*waits)(void *, const char *letter); /* a letter that is held for another try; NULL: none ever is */
	void *waits_arg;
	struct kafka_lane *next;
};

struct kafka_lane *kafka_lane_open(struct bus_tally *, int64_t lease_ms); /* on the tally's topic, for its subscription */
void kafka_lane_close(struct kafka_lane **); /* leaves the group: its partitions go to others at once */
void kafka_lane_drop(struct kafka_lane *);   /* ends without a word */
static inline struct kafka_lane *kafka_lane_next(const struct kafka_lane *l)
{
	return l->next;
}

/* 0: at least one part is ours. WEIR_CONFLICT: others have them, or the group is still sorting itself out. */
int kafka_lane_acquire(struct kafka_lane *, struct error *);
/* Serves the group and the letters. WEIR_FENCED: what we own has changed. */
int kafka_lane_serve(struct kafka_lane *, struct error *);
/* Adds up to max messages behind those read before to the batch, critical class first, without waiting. */
int kafka_lane_take(struct kafka_lane *, size_t max, struct error *);
/* Until there may be something, or the time has passed. */
void kafka_lane_wait(struct kafka_lane *, int64_t ms);
/* Everything before the offset is done. Flushes the letters first. */
int kafka_lane_commit(struct kafka_lane *, int32_t part, int klass, int64_t offset, struct error *);
/* What place() says is to be committed of each partition that is ours, as far as it is new. If nothing is, one that is committed already, should there be
 * any: a commit asks the group whether we belong to it. rdk.topic_partition_list_destroy. */
rd_kafka_topic_partition_list_t *kafka_lane_places(const struct kafka_lane *, int64_t (*place)(void *, int32_t part, int klass), void *arg);
void kafka_lane_placed(struct kafka_lane *, const rd_kafka_topic_partition_list_t *); /* they are committed */
void kafka_lane_leave(struct kafka_lane *); /* its group, to join it again: what was not committed is read again */
int kafka_lane_flush(struct kafka_lane *, const struct bus_message *, struct error *); /* the letters of its part */
/* The lane of this bus that owns the table; NULL: another process does, or nobody. */
struct kafka_lane *kafka_lane_of(const struct kafka_table *);
/* The part of a message of this lane, or NULL: not ours (any more). */
struct kafka_part *kafka_lane_part(struct kafka_lane *, const struct bus_message *);
/* "epoch:writer" of the message's part: rises with each change of its owner. */
void kafka_lane_token(const struct kafka_lane *, const struct bus_message *, char ret[96]);

#endif

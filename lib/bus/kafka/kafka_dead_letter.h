/* kafka_dead_letter.h - private to lib/bus: what operators do with dead letters over Kafka (dead_letter.h). A letter's place in lists is by its
 * key's hash, so those of a key stand together, oldest first.
 */
#ifndef WEIR_BUS_KAFKA_DEAD_LETTER_H
#define WEIR_BUS_KAFKA_DEAD_LETTER_H

#include "bus/kafka/kafka_table.h"

#include "weir/v1/dead_letter.pb-c.h"

int kafka_dead_list(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *cursor, size_t limit,
		    dead_letter_fn *, void *arg, struct error *);
int kafka_dead_show(struct bus *, const char *chain, const char *subscription, const char *id, dead_letter_fn *, void *arg, struct error *);
int kafka_dead_count(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, uint64_t *ret, struct error *);
int kafka_dead_counts(struct bus *, const char *chain, const char *subscription, dead_letter_counts_fn *, void *arg, struct error *);
int kafka_dead_replay(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids, size_t n,
		      const char *who, uint64_t *ret_n, struct error *);
int kafka_dead_purge(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids, size_t n,
		     const char *who, const char *why, uint64_t *ret_n, struct error *);
/* -- for jobs --------------------------------------------------------------------------------------------------------------------- */

#define KAFKA_DEAD_TOPICS 64 /* of one subscription */
struct kafka_dead {
	struct kafka_table *table;
	const char *id;
	Weir__V1__DeadLetter *whole;
};
int kafka_dead_topics(struct kafka *, const char *chain, const char *subscription, char (*ret)[KEY_MAX], size_t *ret_n, struct error *);
/* Calls fn for those that match behind the cursor, until it says no. */
int kafka_dead_each(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *cursor,
		    bool (*fn)(struct kafka_dead *, void *), void *arg, struct error *);
bool kafka_dead_fits(const Weir__V1__DeadLetter *, const struct dead_letter_filter *);
Weir__V1__DeadLetter *kafka_dead_read(const struct kafka_table *, const struct kafka_row *); /* with its failures; NULL: it is none */

/* A letter's row as it is now. WEIR_NOT_FOUND. */
int kafka_dead_find(struct kafka *, const char *chain, const char *subscription, const char *id, struct kafka_table **ret,
		    const struct kafka_row **ret_row, struct error *);

#endif

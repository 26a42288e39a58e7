/* kafka_dead_letter.h - private to lib/bus: what operators do with dead letters over Kafka (dead_letter.h). A letter's place in lists is by its
 * key's hash, so those of a key stand together, oldest first.
 */
#ifndef WEIR_BUS_KAFKA_DEAD_LETTER_H
#define WEIR_BUS_KAFKA_DEAD_LETTER_H

#include "bus/kafka/kafka_table.h"

int kafka_dead_list(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *cursor, size_t limit,
		    dead_letter_fn *, void *arg, struct error *);
int kafka_dead_show(struct bus *, const char *chain, const char *subscription, const char *id, dead_letter_fn *, void *arg, struct error *);
int kafka_dead_count(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, uint64_t *ret, struct error *);
int kafka_dead_counts(struct bus *, const char *chain, const char *subscription, dead_letter_counts_fn *, void *arg, struct error *);
int kafka_dead_replay(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids, size_t n,
		      const char *who, uint64_t *ret_n, struct error *);
int kafka_dead_purge(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids, size_t n,
		     const char *who, const char *why, uint64_t *ret_n, struct error *);
/* A letter's row as it is now. WEIR_NOT_FOUND. */
int kafka_dead_find(struct kafka *, const char *chain, const char *subscription, const char *id, struct kafka_table **ret,
		    const struct kafka_row **ret_row, struct error *);

#endif

/* letter_tail.h - for those who watch dead letters: where the streams that tell of them end, and the audit stream from a place on.
 *
 * weir's own, not installed. A letter's id and an audit line's are ids of Redis streams: within a stream they only grow, also across restarts. New letters
 * of a subscription are those behind an id (dead_letter_list with it as cursor). Over Kafka there is neither: WEIR_UNSUPPORTED.
 */
#ifndef WEIR_BUS_LETTER_TAIL_H
#define WEIR_BUS_LETTER_TAIL_H

#include "bus/audit.h"

/* "milliseconds-number" as one number that is ordered alike; 0: before the first. */
uint64_t letter_id_pack(const char *id); /* 0 as well when it is none */
#define LETTER_ID_TEXT 48
const char *letter_id_text(uint64_t packed, char ret[LETTER_ID_TEXT]);

/* The id given out last, also when its entry is gone; 0: none ever was. */
int letter_tail_end(struct bus *, const char *chain, const char *subscription, uint64_t *ret, struct error *);
int audit_tail_end(struct bus *, const char *chain, uint64_t *ret, struct error *);
/* Oldest first, from the id on (itself included when it is there), at most limit. Return false to stop. */
int audit_tail_list(struct bus *, const char *chain, uint64_t from, size_t limit, audit_line_fn *, void *arg, struct error *);

#endif

/* letter_tail.h - for those who watch dead letters: what became of each, and what operators did, from a place on.
 *
 * weir's own, not installed. Places are ids of Redis streams: within a stream they only grow, also across restarts. Over Kafka there is neither stream:
 * WEIR_UNSUPPORTED.
 */
#ifndef WEIR_BUS_LETTER_TAIL_H
#define WEIR_BUS_LETTER_TAIL_H

#include "bus/audit.h"

/* "milliseconds-number" as one number that is ordered alike; 0: before the first. */
uint64_t letter_id_pack(const char *id); /* 0 as well when it is none */
#define LETTER_ID_TEXT 48
const char *letter_id_text(uint64_t packed, char ret[LETTER_ID_TEXT]);

struct letter_news {
	uint64_t place; /* behind it */
	int64_t at_ms;
	const char *what;   /* "parked", "failed" (its replay did, the letter stays), "ok" (its replay succeeded), "gone" (it was dropped) */
	const char *subscription, *letter, *kind, *type, *reason, *key;
};
typedef void letter_news_fn(const struct letter_news *, void *arg);
/* Oldest first, behind the place (0: from the first on), at most limit. The newest 50 000 are kept. WEIR_NOT_FOUND: what came behind the place is no longer
 * all there, or the place is of another Redis. */
int letter_tail_list(struct bus *, const char *chain, uint64_t behind, size_t limit, letter_news_fn *, void *arg, struct error *);

/* The place given out last; 0: none ever was. */
int letter_tail_end(struct bus *, const char *chain, uint64_t *ret, struct error *);
int audit_tail_end(struct bus *, const char *chain, uint64_t *ret, struct error *);
/* Oldest first, from the id on (itself included when it is there), at most limit. Return false to stop. */
int audit_tail_list(struct bus *, const char *chain, uint64_t from, size_t limit, audit_line_fn *, void *arg, struct error *);

#endif

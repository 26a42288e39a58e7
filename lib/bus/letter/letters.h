/* letters.h - private to lib/bus: what the files about dead letters share, and letters handed out to be tried again. */
#ifndef WEIR_BUS_LETTERS_H
#define WEIR_BUS_LETTERS_H

#include "bus/message/letter.h"
#include "bus/redis/command.h"

/* A letter as show_letter gives it. */
enum { LETTER_TOPIC, LETTER_CLASS, LETTER_ENTRY, LETTER_LANE, LETTER_KEY, LETTER_EDITS, LETTER_WHOLE, LETTER_PARTS };
int dead_letter_read(struct bus *, const char *chain, const char *subscription, const char *id, redisReply **ret, struct error *);
static inline struct bytes dead_letter_part(const redisReply *letter, int part)
{
	return (struct bytes){ (const uint8_t *)letter->element[part]->str, letter->element[part]->len };
}
/* What the scripts' answers mean: 0, or an error with words. */
int dead_letter_edit_answer(long long answer, const char *id, struct error *);
int dead_letter_skip_answer(long long answer, const char *subscription, const char *id, struct error *);
/* A letter in one piece, edited: appended to ret when the edit is allowed. ret_after: its frame's digest, 65 bytes. */
int dead_letter_edited(const char *id, struct bytes packed, const struct dead_letter_edit *, struct buf *ret, char *ret_after, struct error *);
/* How fast and when to stop, with what is taken where the order says nothing. WEIR_INVALID. */
int dead_letter_order_limits(const struct dead_letter_order *, struct dead_letter_job *ret, struct error *);
bool dead_letter_is_id(const char *);
int dead_letter_check_why(const char *subscription, const char *action, const char *why, struct error *); /* WEIR_INVALID: none given */
void dead_letter_call(struct bus_args *, const char *function, const char *chain, const char *subscription);
void dead_letter_add_filter(struct bus_args *, const struct dead_letter_filter *); /* six arguments; NULL: any */

/* Up to n entries of a stream, beginning at an id ("(" before it: behind it). */
enum page_order { OLDEST_FIRST, NEWEST_FIRST };
int bus_read_page(struct bus *, const char *key, enum page_order, const char *from, size_t n, redisReply **ret, struct error *);

/* Letters to try again, as messages. token NULL: a shared lane. */
int bus_take_replays(struct bus *, const char *chain, const char *topic, const char *subscription, const char *token, size_t max,
		     struct bus_batch *, struct error *);

#endif

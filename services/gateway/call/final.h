/* final.h - answers that will not change any more, kept in memory: reads of finalised blocks, which their Cache-Control calls immutable.
 *
 * A transport's thread gives them out itself (call_at_once), after key, scope and limit were looked at as for any other answer. Kept by path alone: an
 * answer with a query is not. The oldest make room. What an operator takes back below finality, and a ledger made anew, empties it: whoever read the
 * ledger before that may not put into it what they read (the turn). Any thread.
 */
#ifndef WEIR_GATEWAY_FINAL_H
#define WEIR_GATEWAY_FINAL_H

#include "base/mem.h"
#include "base/metrics.h"

#include <stdbool.h>
#include <stdint.h>

#define FINAL_ANSWER_MAX ((size_t)64 << 10) /* larger ones are not kept */

struct route;
struct final_answers;
struct final_answer {
	const struct route *route;
	const char *type, *caching; /* static */
	char etag[80];
};

/* max_bytes 0: keeps nothing. The metrics may be NULL. */
struct final_answers *final_new(size_t max_bytes, struct metric *bytes, struct metric *given);
void final_free(struct final_answers **);

/* True: it is there; the body is added to ret_body. */
bool final_has(struct final_answers *, const char *path, size_t size);
bool final_find(struct final_answers *, const char *path, struct final_answer *ret, struct buf *ret_body);
uint64_t final_turn(struct final_answers *); /* taken before the ledger is read */
void final_keep(struct final_answers *, uint64_t turn, const char *path, const struct final_answer *, struct bytes body);
void final_forget(struct final_answers *);

#endif

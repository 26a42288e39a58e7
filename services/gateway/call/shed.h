/* shed.h - what is not answered when there is more than can be: refused at once (503, Retry-After), so that what is answered is answered while somebody waits.
 *
 * What decides is how long a request would wait for a worker (http_load). gateway.shed_after is the wait that is too long for who is refused
 * first; each class has its own multiple of it:
 *
 *   anonymous   1    first: nobody knows them, there may be any number, and they may come back with a key
 *   read        2    with a key: GET, and POST /v1/batch
 *   write       4    with a key: what changes watch-lists. Fewer, and somebody waits to know whether it was done
 *   admin       8    operators, on their own listener with its own workers: they are to repair it
 *   health      -    never; it has a listener and a thread of its own (ops.listen)
 *
 * So a class is refused only when every class above it is. A burst is not overload: as long as the queue was empty within the last second, and nobody was turned
 * away within the last five (backlog.h), everybody may wait SHED_BURST times as long.
 *
 * Refused is at the door: by the thread that read the head, before credentials, limits and the ledger, by what the request would wait and by the class that it
 * claims (credentials may be wrong: then it is refused for that, later). Answers that are in memory (final.h) are given all the same, they cost as little. A
 * worker looks again, at what the request did wait and who it is: the ledger may have stood still meanwhile; and at whether the client is still there.
 */
#ifndef WEIR_GATEWAY_SHED_H
#define WEIR_GATEWAY_SHED_H

#include "call/call.h"

#define SHED_BURST 10

enum shed_class { SHED_ANONYMOUS, SHED_READ, SHED_WRITE, SHED_ADMIN, SHED_HEALTH, SHED_CLASSES };
const char *shed_class_name(enum shed_class);
/* after_ms: gateway.shed_after; 0: nobody is refused. */
bool shed_allows(enum shed_class, const struct http_load *, int64_t after_ms);

enum shed_class shed_class_of(const struct call *); /* call->who is known */
bool shed_admits(struct call *); /* False: answered with 503 */
bool shed_lets_in(struct call *); /* the same at the door, where it is not known */

/* http_options.turns_away, turned_away. */
bool shed_turns_away(const struct http_arrival *, const struct http_load *, void *gateway);
void shed_turned_away(struct http_response *, const char *instance, const char *request_id, void *gateway);

/* Counters of those who are refused, found once. */
struct shed_counts {
	struct metric *by_class[SHED_CLASSES], *answered;
};
struct shed_counts *shed_counts_new(struct metrics *);

#endif

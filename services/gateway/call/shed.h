/* shed.h - what is not answered when there is more than can be. Two signals say how far behind a listener is: how long the request waited for a worker, and
 * the lag of the loop that read it (lag.h), which counts SHED_LAG_WEIGHT times because everybody on that loop has it.
 *
 * Whoever asks belongs to a class, and each class is refused (503, Retry-After) at its own multiple of gateway.shed_after:
 *
 *   anonymous   1    first: nobody knows them, there may be any number, and they may come back with a key
 *   read       10    with a key: GET, and POST /v1/batch
 *   write      20    with a key: what changes watch-lists. Fewer, and somebody waits to know whether it was done
 *   admin      40    operators, on their own listener with its own workers: they are to repair it
 *   health      -    never; it has a listener and a thread of its own (ops.listen)
 *
 * So a class is refused only when every class above it is. A refusal costs microseconds: the queue shrinks, and those behind are answered in time.
 */
#ifndef WEIR_GATEWAY_SHED_H
#define WEIR_GATEWAY_SHED_H

#include "call/call.h"

#define SHED_LAG_WEIGHT 10

enum shed_class { SHED_ANONYMOUS, SHED_READ, SHED_WRITE, SHED_ADMIN, SHED_HEALTH, SHED_CLASSES };
const char *shed_class_name(enum shed_class);
/* after_ms: gateway.shed_after; 0: nobody is refused. */
bool shed_allows(enum shed_class, int64_t waited_ms, int64_t lag_ms, int64_t after_ms);

enum shed_class shed_class_of(const struct call *); /* call->who is known */
bool shed_admits(struct call *); /* False: answered with 503 */

#endif

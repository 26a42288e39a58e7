/* session_watch.h - sessions of operators that live connections were opened with: whether they go on.
 *
 * A session is looked up in the database at each request; a connection that stays must hear of its end, too. Who holds one asks again and again, and a
 * thread that may wait (keyring.c's) looks all of them up together. A session that nobody asked for in SESSION_WATCH_FORGET_MS is forgotten. Thread-safe.
 */
#ifndef WEIR_GATEWAY_SESSION_WATCH_H
#define WEIR_GATEWAY_SESSION_WATCH_H

#include "store/pg.h"

#define SESSION_WATCH_MAX 256 /* more than the operators' listener has connections */
#define SESSION_WATCH_FORGET_MS 30000
#define SESSION_ID_MAX 40

struct session_watch;
struct session_watch *session_watch_new(void);
void session_watch_free(struct session_watch **);

/* False: it is over, for good (or there is no room to know). True: it goes on, as far as was looked. */
bool session_watch_stands(struct session_watch *, const char *id);
/* Looks them up. Waits for the database. *ret_ended: some are over since. */
int session_watch_look(struct session_watch *, struct pg *, bool *ret_ended, struct error *);

#endif

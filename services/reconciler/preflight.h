/* preflight.h - before a reconciler works: is everything there that it needs? And --check and --migrate, which are only that. */
#ifndef WEIR_RECONCILER_PREFLIGHT_H
#define WEIR_RECONCILER_PREFLIGHT_H

#include "daemon/daemon.h"

int preflight_redis(struct daemon_ctx *, struct error *);
int preflight_migrate(struct daemon_ctx *, struct error *); /* the schema is up to date afterwards */
/* After preflight_redis: would the schema's changes apply, does the ledger belong to the chains of the settings, and does every endpoint answer and serve
 * its chain? Changes nothing. */
int preflight_check(struct daemon_ctx *, void *state, struct error *);

#endif

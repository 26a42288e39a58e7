/* export_store.h - what the sending threads read and write in PostgreSQL (schema weir_kafka, 0007_kafka.sql).
 *
 * A gateway owns a chain's export while its lease lasts, by the database's clock. Who owns it alone moves the position, from where it last saw it.
 */
#ifndef WEIR_GATEWAY_EXPORT_STORE_H
#define WEIR_GATEWAY_EXPORT_STORE_H

#include "live/protocol.h"

#include "store/pg.h"

enum export_state { EXPORT_RUNNING, EXPORT_WAITING, EXPORT_STOPPED };
const char *export_state_name(enum export_state);

struct export_row {
	bool ours;             /* the lease is */
	int64_t epoch, start_height, records; /* start_height -1: as the settings say */
	char position[OFFSET_TEXT_MAX]; /* "": none yet */
	enum export_state state;
	int64_t state_seconds; /* since when */
	char reason[400], owner[160];
};

/* Takes the lease if nobody has it, renews ours, and reads the row, whoever owns it. */
int export_store_lease(struct pg *, const char *chain, const char *owner, int64_t lease_ms, struct export_row *ret, struct error *);
int export_store_release(struct pg *, const char *chain, const char *owner, struct error *);
/* WEIR_FENCED: it is another gateway's now, or an operator began anew. */
int export_store_move(struct pg *, const char *chain, const char *owner, const struct export_row *from, const char *to, int64_t records, struct error *);
int export_store_state(struct pg *, const char *chain, const char *owner, enum export_state, const char *reason, struct error *);
/* Begins anew under a higher epoch, whoever owns it: from this height on, or -1: as the settings say. */
int export_store_restart(struct pg *, const char *chain, int64_t start_height, int64_t *ret_epoch, struct error *);

#endif

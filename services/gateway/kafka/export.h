/* export.h - the ledger to Kafka: each chain's events in topic weir.<chain>.ledger, by one thread for each chain, which one gateway at a time lets work.
 *
 * The journal is read as for a WebSocket subscription (replay.h), one piece at a time; once the brokers have acknowledged all of it (acks=all, idempotent), the
 * position moves in PostgreSQL (export_store.h). So whoever dies, the next one begins behind what was acknowledged: at least once, and never out of order, for what
 * is repeated is repeated from one place on (docs/decisions/0037-ledger-to-kafka.md says why a reader can tell). Brokers that are away are waited for, with the
 * piece in hand; a ledger that no longer has what was sent last stops the export until an operator begins anew.
 */
#ifndef WEIR_GATEWAY_EXPORT_H
#define WEIR_GATEWAY_EXPORT_H

#include "gateway.h"
#include "kafka/export_store.h"

struct exports;
int exports_open(struct gateway *, struct exports **ret, struct error *); /* WEIR_CONFIG: a setting of kafka is wrong */
void exports_stop(struct exports *);   /* ends the threads: what is under way will be sent again, the leases are given back */
void exports_close(struct exports **); /* after nobody asks any more */

/* For handlers. Without kafka.url there are none. */
bool exports_on(const struct exports *);
struct export_status {
	const char *topic; /* lives as long as the exports */
	bool known;        /* the row was read at least once; else nothing below means anything */
	uint64_t lag;      /* events of the journal that are not with the brokers */
	struct export_row row;
};
void exports_status(struct exports *, const struct gateway_chain *, struct export_status *ret);
int exports_restart(struct exports *, const struct gateway_chain *, int64_t start_height, int64_t *ret_epoch, struct error *);

#endif

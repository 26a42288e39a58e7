/* incident.h - rows of weir.incidents and their events: differences between ledger and chain that somebody should be able to see. */
#ifndef WEIR_RECONCILER_INCIDENT_H
#define WEIR_RECONCILER_INCIDENT_H

#include "ledger.h"

struct incident_facts {
	const char *kind; /* mismatch | finality_violation */
	int64_t account_id; /* 0: not about one */
	int32_t asset_id;
	int64_t height;
	const struct i256 *expected, *observed; /* or NULL */
	const char *evidence; /* JSON object */
	const char *summary;  /* for the event */
};

/* Inside a fenced transaction, whose journal is given. */
int incident_insert(struct pg *, struct journal *, int16_t chain_id, const struct incident_facts *, int64_t *ret_id, struct error *);
/* state: open | confirmed | bisected | healing | closed. resolution NULL: unchanged. first_wrong -1: unchanged. evidence is merged. */
int incident_update(struct pg *, struct journal *, int64_t id, const char *state, const char *resolution, int64_t first_wrong, const char *evidence,
		    const char *summary, struct error *);
/* A reorg below the finalized height that the ledger is about to follow: recorded and closed in a transaction of its own. */
int incident_finality(struct ledger *, int64_t ancestor, const char *words, struct error *);

#endif

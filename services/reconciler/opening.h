/* opening.h - openings that nobody could tell when their accounts first moved the asset, and that an endpoint tells later. The checker asks
 * (ask_again.c), the writer records. */
#ifndef WEIR_RECONCILER_OPENING_H
#define WEIR_RECONCILER_OPENING_H

#include "ledger.h"

#define OPENINGS_TOLD_MAX 16 /* asked together, and recorded in one transaction */

struct told_opening {
	struct ledger_touch touch; /* whose; the amount is the ledger's at that time */
	uint8_t hash[32];          /* the block at which it was asked */
	struct i256 amount;
};

/* Writes the opening entries, and adds them to all running balances that follow. Left out is what became known meanwhile, what was asked at a
 * block that is not the one before the ledger's first any more, and what would not fit 256 bits. ret: those recorded, as they are now at the
 * watermark, to be compared with the chain. */
int ledger_record_openings(struct ledger *, const struct told_opening *, size_t n, struct ledger_touch ret[OPENINGS_TOLD_MAX], size_t *ret_count,
			   struct error *);

#endif

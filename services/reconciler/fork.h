/* fork.h - taking blocks back: a reorg, a rewind by an operator, a block that has to be read again. */
#ifndef WEIR_RECONCILER_FORK_H
#define WEIR_RECONCILER_FORK_H

#include "ledger.h"

/* Supersedes every block above to_height in one transaction: reversal entries beside the originals (same height and branch,
 * ordinals behind the block's own), balances, watermark and finality back, BlockRetracted events from the tip down. Nothing is
 * deleted. fetch_again: the fetcher must publish the blocks above to_height again (a new epoch). WEIR_NOT_FOUND when the ledger
 * has no block to_height (start - 1 takes everything back). The ledger is loaded again afterwards. */
int ledger_retract(struct ledger *, int64_t to_height, bool fetch_again, size_t *ret_blocks, struct error *);

#endif

/* made_block.h - valid Ethereum blocks made to order: signed transactions, receipts, logs, withdrawals, traces and state diff as JSON
 * the way a node writes it, with every root, bloom, hash and signature right. For tests where no recorded data is at hand.
 */
#ifndef TESTS_SUPPORT_MADE_BLOCK_H
#define TESTS_SUPPORT_MADE_BLOCK_H

#include "chains/chain.h"

enum made_trace { MADE_NO_TRACE, MADE_CALL_TRACE, MADE_FLAT_TRACE };

struct made_block {
	uint64_t height, chain_id;
	size_t transactions; /* types 0 (with and without EIP-155), 1, 2, 3, 4, a creation and a failure take turns */
	size_t logs;         /* token transfers per successful transaction */
	size_t withdrawals;
	enum made_trace trace;
	bool state_diff;
	unsigned seed;
	uint64_t excess_blob_gas;
	unsigned blob_price; /* as the receipts state it; 0: 1 */
};

/* Parts with encoding identity; everything in the arena. */
Weir__V1__RawBlock *made_block(const struct made_block *, struct arena *);

#endif

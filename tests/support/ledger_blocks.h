/* ledger_blocks.h - generated normalized blocks for tests and benchmarks of the ledger: reproducible from a seed, with the shape of
 * real ones (per transaction: a token transfer's two entries, the fee, the tip). */
#ifndef WEIR_TESTS_LEDGER_BLOCKS_H
#define WEIR_TESTS_LEDGER_BLOCKS_H

#include "base/mem.h"

#include "weir/v1/block.pb-c.h"

struct ledger_blocks {
	uint64_t seed;
	uint32_t accounts; /* distinct accounts to choose from */
	uint32_t hot;      /* out of 100 choices so many fall on the first 1 % of the accounts */
	uint32_t tokens;
	uint32_t transactions; /* per block */
};

/* The hash of the generated block at height on a branch; branch b shares with branch 0 everything below its fork height. */
void ledger_blocks_hash(const struct ledger_blocks *, uint64_t height, uint32_t branch, uint8_t ret[32]);
/* parent: branch of the parent block. Everything lives in the arena. */
Weir__V1__NormalizedBlock *ledger_blocks_make(const struct ledger_blocks *, struct arena *, uint64_t height, uint32_t branch, uint32_t parent);

#endif

/* blocks.h - looking at normalized blocks in tests: checks by name, failures in words, sums of deltas. */
#ifndef TESTS_SUPPORT_BLOCKS_H
#define TESTS_SUPPORT_BLOCKS_H

#include "base/u256.h"
#include "chains/chain.h"

/* Normalizes; a RawBlock that is none fails the test. */
Weir__V1__NormalizedBlock *blocks_normalize(const struct chain *, const Weir__V1__RawBlock *, struct arena *);
const Weir__V1__Check *blocks_check(const Weir__V1__NormalizedBlock *, Weir__V1__CheckName);
bool blocks_passed(const Weir__V1__NormalizedBlock *, Weir__V1__CheckName);
bool blocks_failed(const Weir__V1__NormalizedBlock *, Weir__V1__CheckName);
/* "RECEIPTS_ROOT: …; …" of all failed checks; "" when none failed. */
const char *blocks_failures(const Weir__V1__NormalizedBlock *, struct arena *);
/* Sum of an account's native deltas (account: 20 bytes). */
struct i256 blocks_native_delta(const Weir__V1__NormalizedBlock *, const uint8_t account[20]);
/* Same transactions, same movements of the same accounts and assets in the same order? */
bool blocks_equal(const Weir__V1__NormalizedBlock *, const Weir__V1__NormalizedBlock *);

#endif

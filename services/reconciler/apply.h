/* apply.h - blocks into the ledger: many blocks, one transaction.
 *
 * ledger_apply is idempotent by block: what is canonical already is skipped by (height, hash) at the price of a comparison in
 * memory. Either all the blocks that it reports are in the ledger, with entries, running balances, balances, certificates,
 * watermark and journal, or nothing is.
 */
#ifndef WEIR_RECONCILER_APPLY_H
#define WEIR_RECONCILER_APPLY_H

#include "ledger.h"

struct applied {
	size_t blocks, skipped, entries, balances;
	size_t openings, openings_unknown;
	const struct ledger_touch *touches; /* of blocks near the head; valid until the next ledger_apply */
	size_t touch_count;
};

/* Blocks ascending and contiguous, each proven and checked with ledger_check_block, the first new one on top of the watermark.
 * May apply fewer than given (a partition's border): call again with the rest. */
int ledger_apply(struct ledger *, Weir__V1__NormalizedBlock *const *blocks, size_t n, struct applied *ret, struct error *);
/* Only a token that lies can leave the range of 256 bits. Its balances are not served from these sums; what matters is that the ledger stays
 * the sum of its entries, so an entry takes what fits. Returns the delta that was applied. */
struct i256 ledger_add(struct i256 *balance, struct i256 delta);
/* Is the message one that can be applied at all? WEIR_INVALID or WEIR_LIMIT with the field's name. */
int ledger_check_block(const Weir__V1__NormalizedBlock *, struct error *);

/* Keys and values of the ledger's caches. */
struct account_key {
	uint8_t size, bytes[32];
};
struct asset_key {
	uint8_t contract_size, contract[32], has_token_id, token_id[32];
};
struct asset_value {
	int32_t id;
	bool non_conserving;
};
struct balance_key {
	int64_t account;
	int64_t asset;
};
struct balance_value {
	struct i256 amount;
	int64_t height;
	bool opening_known;
};

struct batch *ledger_batch_new(void);
void ledger_batch_free(struct batch **);
void asset_to_key(const struct chain_asset *, struct asset_key *ret);
bool asset_from_message(const Weir__V1__Asset *, struct chain_asset *ret);

#endif

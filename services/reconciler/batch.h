/* batch.h - the working memory of one ledger_apply: each account, asset and balance of the batch once, by number. */
#ifndef WEIR_RECONCILER_BATCH_H
#define WEIR_RECONCILER_BATCH_H

#include "apply.h"

struct batch_account {
	struct account_key key;
	int64_t id; /* 0: not in the ledger yet */
	bool is_new;
};

struct batch_asset {
	struct asset_key key;
	struct chain_asset asset;
	int32_t id; /* 0: not in the ledger yet */
	int64_t first_height;
	bool is_new, non_conserving;
};

/* One account's balance of one asset. */
struct batch_pair {
	uint32_t account, asset;
	bool stored; /* has a row in balances, or its value is known */
	bool opening_known;
	uint32_t last_block; /* index of the last block that moves it */
	int64_t height;      /* of the last entry */
	struct i256 amount;  /* before the batch; then running */
	struct i256 opening; /* delta of the opening entry */
	struct i256 opened;  /* balance after it: what the chain said */
};

struct batch_block {
	const Weir__V1__NormalizedBlock *message;
	int64_t height;
	int16_t branch;
	size_t first_entry; /* index into pair_of */
	bool cut;           /* an entry was written with less than its delta: readers must take it from the ledger */
};

struct batch {
	struct arena *arena;
	struct batch_block *blocks;
	size_t block_count, entry_count, transaction_count;
	uint32_t *pair_of; /* of each entry, all blocks in order */
	struct i256 *delta_of;

	struct batch_account *accounts;
	size_t account_count, account_capacity;
	struct batch_asset *assets;
	size_t asset_count, asset_capacity;
	struct batch_pair *pairs;
	size_t pair_count, pair_capacity;
	struct table account_table, asset_table, pair_table;

	struct opening *openings; /* questions, then answers */
	uint32_t *opening_pairs;
	size_t opening_count, opening_written;
	struct ledger_touch *touches;
	struct buf sql; /* arrays for statements */
};

/* Collects who is moved by the blocks. WEIR_LIMIT when the batch does not fit the arena. */
int ledger_batch_gather(struct batch *, Weir__V1__NormalizedBlock *const *blocks, size_t n, struct error *);
/* Ids and balances from the caches, then from PostgreSQL; asks for openings of pairs seen first. No change yet. */
int ledger_batch_resolve(struct batch *, struct ledger *, struct applied *, struct error *);
/* Is block 0 in the batch, and the ledger's first? */
bool ledger_batch_has_genesis(const struct batch *, const struct ledger *);
/* Inside the transaction: gives ids to new accounts and assets. */
int ledger_batch_intern(struct batch *, struct ledger *, struct error *);
/* The pairs' indices in the order of balances' primary key (ids are known: after ledger_batch_intern); NULL when they do not fit the arena. */
uint32_t *ledger_batch_order(struct batch *);
/* After the commit: what the caches should know. */
void ledger_batch_remember(const struct batch *, struct ledger *);

#endif

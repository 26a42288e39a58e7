/* ledger.h - the ledger of one chain: what PostgreSQL holds, and what its one writer keeps in memory of it.
 *
 * A struct ledger belongs to one thread. Everything in memory is a copy: after any failure ledger_load reads it again, and that
 * also answers whether a commit of unknown outcome happened. Writing needs the fence: the token of the lease, set by
 * ledger_claim and compared inside every transaction (a writer that lost its lease gets WEIR_FENCED and has changed nothing).
 */
#ifndef WEIR_RECONCILER_LEDGER_H
#define WEIR_RECONCILER_LEDGER_H

#include "cache.h"
#include "journal.h"

#include "chains/chain.h"
#include "store/pg.h"

#define LEDGER_RECENT 4096u       /* canonical hashes kept in memory, and in Redis (HASHES_KEEP) */
#define LEDGER_LEAF_BITS 20       /* heights in one partition of entries: 2^20 */
#define LEDGER_TIP_DISTANCE 64    /* a block so near the head is followed live: reconciled, and published with its entries */

/* Both connections of a chain's writer. Arrays have thousands of members, which the planner cannot know beforehand, and it plans for
 * tables that were empty when the session began: left alone it reads them whole, for each block, until somebody analyzes them. Always
 * look up by index. A writer that was stopped inside a transaction must not hold the chain's row for ever. */
#define LEDGER_SESSION_SQL                                                                                                             \
	"set plan_cache_mode = force_generic_plan; set jit = off; set enable_seqscan = off; set enable_bitmapscan = off;"              \
	" set enable_hashjoin = off; set enable_mergejoin = off; set idle_in_transaction_session_timeout = 60000"

/* One balance before the ledger's first block: the question and its answer. */
struct opening {
	struct bytes account;
	const struct chain_asset *asset;
	bool known; /* false: no endpoint has that state */
	struct i256 amount;
};
/* Answers all n for the block (height, hash). Retriable failures are waited for by the caller; nothing was written. */
typedef int opening_fn(void *arg, uint64_t height, const uint8_t hash[32], struct opening *, size_t n, struct error *);

struct ledger_options {
	struct pg_options pg;
	const struct chain *chain;
	const char *family, *profile;
	size_t balance_cache;
	opening_fn *opening; /* NULL: all openings are zero (tests of other things, benchmarks) */
	void *opening_arg;
	const struct log *log;
};

/* The chain's head as the fetcher told it. Heights are -1 where unknown. */
struct ledger_head {
	int64_t height, safe, finalized;
	uint8_t hash[32], safe_hash[32], finalized_hash[32];
};

/* An account and asset that a batch moved: what the ledger says right after block (height, hash). */
struct ledger_touch {
	int64_t account_id;
	int32_t asset_id;
	bool opening_known, non_conserving;
	uint8_t account_size;
	uint8_t account[32];
	struct chain_asset asset;
	int64_t height;
	uint8_t hash[32];
	struct i256 amount;
};

struct ledger {
	struct pg *pg;
	const struct chain *chain;
	struct ledger_options options;
	struct log log;
	char fence[96];

	/* As committed. */
	int16_t id;
	int64_t start, watermark, epoch;
	uint8_t watermark_hash[32];
	bool paused, genesis_known;
	uint8_t genesis_hash[32];
	struct ledger_head head;
	uint64_t journal_sequence;
	int64_t promoted_safe, promoted_finalized; /* highest block of ours announced as such */
	int64_t superseded_top;                    /* highest height that has a superseded block; -1: none */
	size_t open_gaps;
	int64_t leaf;                              /* newest partition known to exist; -1: none */
	bool opening_hash_known;
	uint8_t opening_hash[32];
	int32_t opening_ordinal;                   /* of the next opening entry */
	uint8_t (*recent)[32];                     /* by height % LEDGER_RECENT; valid for recent_low..watermark */
	int64_t recent_low;

	struct cache *accounts, *assets, *balances;
	struct batch *batch;     /* working memory of ledger_apply */
	struct journal journal;  /* events of the transaction at hand, then of the last commit */
	int64_t status_ms;       /* when ChainStatus was last journalled */
};

/* Creates or updates the schema. */
int ledger_migrate(const struct pg_options *, struct error *);
/* Does the ledger's row, if there is one, belong to this chain of the settings? Its genesis block, where it knows one. Changes nothing. */
int ledger_check_chain(struct pg *, const struct chain *, const char *family, bool *ret_genesis_known, uint8_t ret_genesis[32], struct error *);
/* Connects, finds or makes the chain's row and partitions, loads. WEIR_CONFIG when the row says another start, family or id. */
int ledger_open(const struct ledger_options *, struct ledger **ret, struct error *);
void ledger_close(struct ledger **);
int ledger_load(struct ledger *, struct error *);
int ledger_reload(struct ledger *, struct error *); /* the same, keeping the events of the last commit for the publisher */
/* Takes the ledger over with a lease's token. The caller checks afterwards that it still holds the lease. Ends the session of an owner
 * that stopped inside a transaction; WEIR_TIMEOUT when PostgreSQL still works for it (try again). */
int ledger_claim(struct ledger *, const char *token, struct error *);

/* A fenced transaction that will change the ledger: begin, then statements and journal_add, then ledger_commit. On any failure
 * ledger_abort; the caller then calls ledger_load. */
int ledger_begin(struct ledger *, struct error *);
int ledger_commit(struct ledger *, struct error *); /* writes the journal first */
void ledger_abort(struct ledger *);

/* Hash of the canonical block at height. WEIR_NOT_FOUND when there is none. */
int ledger_hash_at(struct ledger *, int64_t height, uint8_t ret[32], struct error *);
/* Is exactly this block canonical in the ledger? From memory for recent heights, else one query. */
int ledger_has(struct ledger *, int64_t height, const uint8_t hash[32], bool *ret, struct error *);
static inline const uint8_t *ledger_recent(const struct ledger *ledger, int64_t height)
{
	return height >= ledger->recent_low && height <= ledger->watermark ? ledger->recent[height % LEDGER_RECENT] : NULL;
}

/* Remembers the node's word on the head; written with the next batch, or alone. Never goes back for safe and finalized. */
int ledger_note_head(struct ledger *, const struct ledger_head *, struct error *);
int ledger_set_paused(struct ledger *, bool paused, struct error *);
int ledger_new_epoch(struct ledger *, struct error *); /* blocks must be fetched again from the watermark on */
int ledger_learn_genesis(struct ledger *, const uint8_t hash[32], struct error *);
/* Adds FinalityPromoted and ChainStatus events as due; inside a transaction. */
void ledger_journal_head(struct ledger *, int64_t watermark, const uint8_t *watermark_hash);
/* The height at which opening balances lie. */
static inline int64_t ledger_opening_height(const struct ledger *ledger)
{
	return ledger->start > 0 ? ledger->start - 1 : 0;
}
int ledger_make_leaf(struct ledger *, int64_t height, struct error *);
static inline struct bytes ledger_hash_bytes(const uint8_t hash[32])
{
	return (struct bytes){ hash, 32 };
}

#endif

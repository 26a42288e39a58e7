/* present.h - how the API writes what the ledger holds: entries, blocks, assets, ids. One place for REST and WebSocket. */
#ifndef WEIR_GATEWAY_PRESENT_H
#define WEIR_GATEWAY_PRESENT_H

#include "gateway.h"
#include "write/writer.h"

#include "store/pg.h"

#define EVENT_ID_SIZE 16
#define ASSET_TEXT_MAX 160

const char *kind_name(int kind);         /* weir.v1.EntryKind -> "token_transfer"; "unknown" */
int kind_parse(const char *name, int *ret, struct error *); /* and back; WEIR_INVALID: no kind is called that */
const char *finality_name(int finality); /* weir.v1.Finality -> "seen" */
const char *standard_name(int standard); /* weir.v1.TokenStandard -> "erc20" */
const char *check_name(int check);       /* weir.v1.CheckName -> "receipts_root" */
bool kind_is_opening(int kind);          /* lies before the ledger's first block and belongs to none */

/* Ids of events: the same for the same thing, whoever computes them and whenever. */
void entry_id(const char *chain, int kind, struct bytes block_hash, int32_t ordinal, uint8_t ret[EVENT_ID_SIZE]);
void block_id(const char *chain, struct bytes block_hash, uint8_t ret[EVENT_ID_SIZE]);
void account_event_id(const char *chain, struct bytes block_hash, struct bytes account, uint64_t salt, uint8_t ret[EVENT_ID_SIZE]);
void put_id(struct buf *, const char *key, const uint8_t id[EVENT_ID_SIZE]);

void asset_text(const struct chain *, const struct chain_asset *, char ret[ASSET_TEXT_MAX]);
void account_text(const struct chain *, struct bytes account, char ret[80]);
struct chain_asset asset_from_columns(int standard, struct bytes contract, bool has_token_id, struct u256 token_id);

struct entry_view {
	int64_t height;
	struct bytes block_hash, transaction_hash; /* none: size 0 */
	int32_t ordinal;
	int kind;
	struct bytes account;
	const struct chain_asset *asset;
	const char *delta, *balance; /* decimal; balance NULL: left out */
	const char *path;
	bool superseded;
};
/* The members of an entry, without braces: callers may add their own. */
void put_entry_members(struct buf *, const struct chain *, const struct entry_view *);

/* The columns that entry_from_row reads, and the joins that they need, around `source`: a sub-select of weir_api.entries named e. */
#define ENTRY_COLUMNS                                                                                                                       \
	"e.height, e.ordinal, e.kind, e.superseded, e.delta::text, e.balance::text, e.path, a.address, s.standard, s.contract, s.token_id," \
	" b.hash, t.hash"
#define ENTRY_COLUMN_COUNT 13
#define ENTRY_JOINS                                                                                                       \
	" join weir_api.accounts a on a.id = e.account join weir_api.assets s on s.id = e.asset"                          \
	" left join weir_api.blocks b on b.chain = e.chain and b.height = e.height and b.branch = e.branch"               \
	" left join weir_api.transactions t on t.chain = e.chain and t.height = e.height and t.branch = e.branch"         \
	" and t.tx_index = e.tx_index"
/* Points into the result and into *ret_asset. */
void entry_from_row(const struct pg_result *, size_t row, size_t column, struct chain_asset *ret_asset, struct entry_view *ret);

#endif

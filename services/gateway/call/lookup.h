/* lookup.h - what a request names: a block, an account, an asset, a kind of entry; and where its chain stands. All read in the call's snapshot. */
#ifndef WEIR_GATEWAY_LOOKUP_H
#define WEIR_GATEWAY_LOOKUP_H

#include "call/call.h"

/* A block of a chain as a path names it: height, hash or "latest". */
struct block_ref {
	int64_t height;
	int16_t branch;
	uint8_t hash[32];
	bool canonical;
	char finality[16];
	int32_t entry_count;
	bool by_hash; /* asked for by its hash */
};
bool find_block(struct call *, const char *text, struct block_ref *ret); /* false: answered with a problem */

/* The same and more of it in one query, where the columns are chosen: an answer that needs no other needs no transaction. */
enum naming { BY_LATEST, BY_HASH, BY_HEIGHT };
struct block_sql { /* the same block under each of its names */
	struct {
		const char *name, *sql;
	} by[3];
	int height, branch, hash, canonical, finality, entry_count; /* its columns */
};
#define BLOCK_SQL(name, columns)                                                                                                                      \
	{ { name "_latest", "select " columns " from weir_api.blocks b where b.chain = $1 and b.canonical and b.height ="                             \
			    " (select watermark_height from weir_api.chains where id = $1)" },                                                         \
	  { name "_by_hash", "select " columns " from weir_api.blocks b where b.chain = $1 and b.hash = $2 order by b.canonical desc, b.branch desc limit 1" }, \
	  { name "_by_height", "select " columns " from weir_api.blocks b where b.chain = $1 and b.height = $2 and b.canonical" } }
bool ask_block(struct call *, const struct block_sql *, const char *text, struct row_ask *ret);
bool take_block(struct call *, const struct block_sql *, const char *text, const struct pg_result *, struct block_ref *ret); /* the answer to that; no row: 404 */

/* Account and asset of a path or query; 400 when they are none. */
bool read_account(struct call *, const char *text, struct bytes *ret, uint8_t buffer[32]);
bool read_asset(struct call *, const char *text, struct chain_asset *ret);
/* What the parameter "kind" names; *ret 0 when it is not given. 400 when it names none. */
bool read_kind(struct call *, int *ret);
/* Parameters "from" and "to" (heights), "since" and "until" (unix seconds), all of them included, as heights. */
bool read_range(struct call *, int64_t *ret_from, int64_t *ret_to);
/* The ledger's ids; *ret 0 where it never saw them. */
bool find_account(struct call *, struct bytes account, int64_t *ret);
bool ask_asset(struct call *, const char *text, struct row_ask *ret); /* its columns, as rest_transactions.c reads them */
bool find_asset(struct call *, const struct chain_asset *, int32_t *ret);

/* The watermark and start of the call's chain, in the call's snapshot. */
struct chain_heights {
	int64_t start, watermark, safe, finalized;
};
bool read_heights(struct call *, struct chain_heights *ret);
/* Where opening entries lie (0001_ledger.sql). */
static inline int64_t opening_height(const struct chain_heights *h)
{
	return h->start > 0 ? h->start - 1 : 0;
}

#endif

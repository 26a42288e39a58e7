/* rest.h - handlers of the client listener, and what they share with the admin's. */
#ifndef WEIR_GATEWAY_REST_H
#define WEIR_GATEWAY_REST_H

#include "call.h"
#include "cursor.h"
#include "present.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000

void rest_openapi(struct call *);
void rest_chains(struct call *);
void rest_chain(struct call *);
void rest_blocks(struct call *);
void rest_block(struct call *);
void rest_certificate(struct call *);
void rest_block_entries(struct call *);
void rest_transaction(struct call *);
void rest_balances(struct call *);
void rest_account_entries(struct call *);
void rest_asset(struct call *);

/* Puts the members of a chain's row (SQL in rest_chains.c). */
extern const char *const chain_columns_sql; /* "select … from weir_api.chains c" */
void put_chain_members(struct call *, const struct pg_result *, size_t row);

/* {"items":[ is written by begin; end closes with next_cursor (NULL: null). */
void page_begin(struct call *);
void page_end(struct call *, const struct cursor *next);

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

/* Account and asset of a path or query; 400 when they are none. */
bool read_account(struct call *, const char *text, struct bytes *ret, uint8_t buffer[32]);
bool read_asset(struct call *, const char *text, struct chain_asset *ret);
/* The ledger's ids; *ret 0 where it never saw them. */
bool find_account(struct call *, struct bytes account, int64_t *ret);
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

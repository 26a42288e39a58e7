/* rest.h - handlers of the client listener, and what they share with the admin's. */
#ifndef WEIR_GATEWAY_REST_H
#define WEIR_GATEWAY_REST_H

#include "call/call.h"
#include "call/lookup.h"
#include "call/page.h"
#include "write/present.h"

void rest_openapi(struct call *);
void rest_asyncapi(struct call *);
void rest_chains(struct call *);
void rest_chain(struct call *);
void rest_blocks(struct call *);
void rest_block(struct call *);
extern const struct route_row rest_block_row;
void rest_certificate(struct call *);
void rest_block_entries(struct call *);
void rest_transaction(struct call *);
extern const struct route_row rest_transaction_row;
void rest_balances(struct call *);
void rest_account_entries(struct call *);
void rest_entries(struct call *);
void rest_asset(struct call *);
extern const struct route_row rest_asset_row;
void rest_statistics(struct call *);
void rest_statistics_history(struct call *);
void rest_account_statistics(struct call *);
void rest_asset_statistics(struct call *);
void rest_batch(struct call *);
void rest_stream(struct call *);
void rest_poll(struct call *);
void rest_watchlists(struct call *);
void rest_watchlist_make(struct call *);
void rest_watchlist(struct call *);
void rest_watchlist_addresses(struct call *);
void rest_watchlist_add(struct call *);
void rest_watchlist_remove(struct call *);
void rest_watchlist_rename(struct call *);
void rest_watchlist_delete(struct call *);

/* At most limit rows of entries (present.h); a cursor goes on behind the last of them, pinned to its block. How many. */
size_t put_entries(struct call *, const struct pg_result *, size_t limit, struct cursor *behind);
/* The same as a page of its own; one row more than the limit says that it goes on. */
void put_entry_page(struct call *, const struct pg_result *, size_t limit, struct cursor *);

/* Puts the members of a chain's row (SQL in rest_chains.c). */
extern const char *const chain_columns_sql; /* "select … from weir_api.chains c" */
void put_chain_members(struct call *, const struct pg_result *, size_t row);

#endif

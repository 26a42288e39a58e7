/* observe.h - balances that only the chain knows: of assets whose logs do not tell the truth. */
#ifndef WEIR_GATEWAY_OBSERVE_H
#define WEIR_GATEWAY_OBSERVE_H

#include "rest/rest.h"

struct balance_row {
	struct chain_asset asset;
	int32_t asset_id;
	bool non_conserving;
	bool touched;       /* the account has an entry of it */
	bool asks_chain;    /* the amount is the chain's, not the ledger's */
	bool pending;       /* and nobody asked it yet */
	bool opening_known;
	int64_t reconciled_height; /* -1: never */
	const char *amount;
};

/* Asks the reconciler for all that is pending (one batch of commands) and waits for the answers in table observations. False: answered
 * with 503 observation_pending. The call holds no connection meanwhile. */
bool observe_balances(struct call *, struct bytes account, int64_t account_id, const struct block_ref *, struct balance_row *, size_t n);

#endif

/* profile.c - the table of EVM chains, and the family's faces. A new EVM chain is a row here. */
#include "chains/evm/evm.h"

#include <string.h>

#define CHECK(name) (1u << WEIR__V1__CHECK_NAME__CHECK_NAME_##name)

/* What every chain with Ethereum's commitments can show. Traces are committed by nothing: coherent where there are any. */
#define ETHEREUM_CHECKS                                                                                                               \
	(CHECK(HEADER_HASH) | CHECK(TRANSACTIONS_ROOT) | CHECK(RECEIPTS_ROOT) | CHECK(LOGS_BLOOM) | CHECK(TRANSACTION_HASHES) |       \
	 CHECK(SENDERS) | CHECK(RECEIPT_COHERENCE) | CHECK(LOG_COHERENCE) | CHECK(FEES) | CHECK(SHAPE))

static const struct chain_profile profiles[] = {
	/* mainnet alone: rewards by its heights, blob prices by its fork times */
	{ .name = "ethereum", .chain_id = 1, .demanded = ETHEREUM_CHECKS, .pow_until = 15537394, .burns_base_fee = true, .checks_senders = true,
	  .mainnet_blob_schedule = true },
	/* Hoodi, Holesky, Sepolia since its merge: no proof-of-work rewards, a blob price by any schedule so far */
	{ .name = "testnet", .demanded = ETHEREUM_CHECKS, .burns_base_fee = true, .checks_senders = true },
	/* anvil and the like: no proof-of-work reward, tips go to the zero address as to any other */
	{ .name = "dev", .demanded = ETHEREUM_CHECKS, .burns_base_fee = true, .checks_senders = true,
	  .commits_sidecars = true },
};

const struct chain_profile *evm_profile(const char *name)
{
	for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++)
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	return NULL;
}

bool evm_fits(const struct chain_profile *profile, uint64_t chain_id)
{
	return profile->chain_id == 0 || profile->chain_id == chain_id;
}

const struct chain_family evm_family = {
	.name = "evm",
	.profile = evm_profile,
	.profiles = EVM_PROFILES,
	.fits = evm_fits,
	.question = evm_question,
	.answer = evm_answer,
	.classify = evm_classify,
	.notice = evm_notice,
	.parts = evm_parts,
	.receipt_call = evm_receipt_call,
	.belongs = evm_belongs,
	.peek_block = evm_peek_block,
	.normalize = evm_normalize,
	.asset_parse = evm_asset_parse,
	.asset_print = evm_asset_print,
	.account_parse = evm_account_parse,
	.account_print = evm_account_print,
	.reconcilable = evm_reconcilable,
};

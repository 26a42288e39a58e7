/* entry.c - one balance entry into the message: account and asset as indices of its tables, the delta as few bytes as hold it. */
#include "chains/evm/evm.h"

#include <string.h>

/* An asset as one key: standard, contract, id. */
static size_t asset_key(const struct chain_asset *asset, uint8_t ret[64])
{
	ret[0] = (uint8_t)asset->standard;
	ret[1] = asset->has_token_id;
	memcpy(ret + 2, asset->contract, asset->contract_size);
	if (!asset->has_token_id)
		return 2u + asset->contract_size;
	return 2u + asset->contract_size + u256_to_be_min(asset->token_id, ret + 2 + asset->contract_size);
}

static bool grow(struct evm_writer *w)
{
	if (w->entry_count < w->entry_capacity)
		return true;
	size_t capacity = w->entry_capacity ? w->entry_capacity * 2 : 256;
	Weir__V1__Entry *bigger = capacity > EVM_ENTRIES_MAX ? NULL : arena_alloc(w->block->arena, capacity * sizeof *bigger);
	if (!bigger)
		return false;
	if (w->entry_count)
		memcpy(bigger, w->entries, w->entry_count * sizeof *bigger);
	w->entries = bigger;
	w->entry_capacity = capacity;
	return true;
}

void evm_write_entry(struct evm_writer *w, Weir__V1__EntryKind kind, int32_t tx_index, const char *path, const uint8_t account[20],
		     const struct chain_asset *asset, struct u256 amount, bool negative)
{
	if (w->failed || u256_is_zero(amount))
		return;
	struct arena *arena = w->block->arena;
	uint8_t key[64], delta[32];
	uint32_t account_index = evm_intern(&w->accounts, arena, account, 20);
	uint32_t asset_index = evm_intern(&w->assets, arena, key, asset_key(asset, key));
	/* An amount of 2^255 or more can only be a token's fancy: the ledger holds what fits and the reconciler finds the rest. */
	size_t size = i256_to_be_min(i256_from_u256(amount, negative), delta);
	uint8_t *bytes = arena_alloc(arena, size);
	char *copy = arena_text(arena, path);
	if (!grow(w) || account_index == UINT32_MAX || asset_index == UINT32_MAX || !bytes || !copy) {
		w->failed = true;
		return;
	}
	memcpy(bytes, delta, size);
	Weir__V1__Entry *e = &w->entries[w->entry_count++];
	weir__v1__entry__init(e);
	e->kind = kind;
	e->tx_index = tx_index;
	e->path = copy;
	e->account = account_index;
	e->asset = asset_index;
	e->delta.data = bytes;
	e->delta.len = size;
}

/* ledger_blocks.c - generates normalized blocks. */
#include "support/ledger_blocks.h"

#include "base/u256.h"

#include <string.h>

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static void fill(uint8_t *out, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = mix(seed + i * 1000003);
		memcpy(out + i, &word, size - i < 8 ? size - i : 8);
	}
}

void ledger_blocks_hash(const struct ledger_blocks *set, uint64_t height, uint32_t branch, uint8_t ret[32])
{
	fill(ret, 32, mix(set->seed ^ height) ^ mix(branch * 7919u + 1));
}

static ProtobufCBinaryData bytes_of(struct arena *arena, size_t size, uint64_t seed)
{
	ProtobufCBinaryData b = { size, arena_alloc(arena, size) };
	fill(b.data, size, seed);
	return b;
}

static ProtobufCBinaryData number(struct arena *arena, uint64_t v)
{
	ProtobufCBinaryData b = { 0, arena_alloc(arena, 32) };
	b.len = u256_to_be_min(u256_from_u64(v), b.data);
	return b;
}

static ProtobufCBinaryData delta(struct arena *arena, uint64_t v, bool negative)
{
	ProtobufCBinaryData b = { 0, arena_alloc(arena, 32) };
	b.len = i256_to_be_min(i256_from_u256(u256_from_u64(v), negative), b.data);
	return b;
}

static uint64_t choose(const struct ledger_blocks *set, uint64_t random)
{
	uint32_t few = set->accounts / 100 + 1;
	return random % 100 < set->hot ? (random >> 8) % few : (random >> 8) % set->accounts;
}

/* A few tokens carry most transfers, as on real chains. */
static uint32_t choose_token(const struct ledger_blocks *set, uint64_t random)
{
	uint32_t few = set->tokens < 3 ? set->tokens : 3;
	return 1 + (uint32_t)(random % 100 < 60 ? (random >> 8) % few : (random >> 8) % set->tokens);
}

static void add_entry(Weir__V1__NormalizedBlock *block, struct arena *arena, int kind, int32_t tx, uint32_t account, uint32_t asset, uint64_t v,
		      bool negative, const char *path)
{
	Weir__V1__Entry *entry = arena_alloc(arena, sizeof *entry);
	weir__v1__entry__init(entry);
	entry->kind = (Weir__V1__EntryKind)kind;
	entry->tx_index = tx;
	entry->path = arena_printf(arena, "%s", path);
	entry->account = account;
	entry->asset = asset;
	entry->delta = delta(arena, v, negative);
	block->entries[block->n_entries++] = entry;
}

static void add_transaction(const struct ledger_blocks *set, Weir__V1__NormalizedBlock *block, struct arena *arena, uint32_t i, uint64_t seed)
{
	Weir__V1__Transaction *tx = arena_alloc(arena, sizeof *tx);
	uint64_t from = choose(set, mix(seed + 1)), to = choose(set, mix(seed + 2)), value = mix(seed + 3) >> 20;
	uint32_t token = choose_token(set, mix(seed + 4));
	weir__v1__transaction__init(tx);
	tx->hash = bytes_of(arena, 32, seed + 5);
	tx->type = 2;
	block->accounts[2 * i + 1] = bytes_of(arena, 20, mix(set->seed ^ UINT64_C(0xacc0) ^ from << 16));
	block->accounts[2 * i + 2] = bytes_of(arena, 20, mix(set->seed ^ UINT64_C(0xacc0) ^ to << 16));
	tx->from = block->accounts[2 * i + 1];
	tx->to = block->assets[token]->contract;
	tx->value = number(arena, 0);
	tx->nonce = seed & 0xffff;
	tx->gas_used = 51000;
	tx->effective_gas_price = number(arena, 1500000000);
	tx->succeeded = true;
	tx->log_count = 1;
	block->transactions[i] = tx;
	char path[24] = "log:";
	size_t n = 4;
	if (i >= 10)
		path[n++] = (char)('0' + i / 10 % 10);
	path[n] = (char)('0' + i % 10);
	add_entry(block, arena, WEIR__V1__ENTRY_KIND__ENTRY_KIND_FEE, (int32_t)i, 2 * i + 1, 0, UINT64_C(51000) * 1500000000, true, "fee");
	add_entry(block, arena, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TIP, (int32_t)i, 0, 0, UINT64_C(51000) * 500000000, false, "tip");
	add_entry(block, arena, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TOKEN_TRANSFER, (int32_t)i, 2 * i + 1, token, value, true, path);
	add_entry(block, arena, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TOKEN_TRANSFER, (int32_t)i, 2 * i + 2, token, value, false, path);
}

static void add_assets(const struct ledger_blocks *set, Weir__V1__NormalizedBlock *block, struct arena *arena)
{
	block->n_assets = set->tokens + 1;
	block->assets = arena_zalloc(arena, block->n_assets, sizeof *block->assets);
	for (uint32_t i = 0; i < block->n_assets; i++) {
		Weir__V1__Asset *asset = arena_alloc(arena, sizeof *asset);
		weir__v1__asset__init(asset);
		asset->standard = i == 0 ? WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE : WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC20;
		if (i > 0)
			asset->contract = bytes_of(arena, 20, mix(set->seed ^ UINT64_C(0x70ce) ^ (uint64_t)i << 20));
		block->assets[i] = asset;
	}
}

Weir__V1__NormalizedBlock *ledger_blocks_make(const struct ledger_blocks *set, struct arena *arena, uint64_t height, uint32_t branch, uint32_t parent)
{
	Weir__V1__NormalizedBlock *block = arena_alloc(arena, sizeof *block);
	Weir__V1__Check *check = arena_alloc(arena, sizeof *check);
	uint64_t seed = mix(set->seed * 31 + height) ^ branch;
	weir__v1__normalized_block__init(block);
	block->chain = arena_printf(arena, "test");
	block->height = height;
	block->hash = (ProtobufCBinaryData){ 32, arena_alloc(arena, 32) };
	block->parent_hash = (ProtobufCBinaryData){ 32, arena_alloc(arena, 32) };
	ledger_blocks_hash(set, height, branch, block->hash.data);
	ledger_blocks_hash(set, height - 1, parent, block->parent_hash.data);
	block->timestamp = 1700000000 + height;
	block->gas_used = set->transactions * UINT64_C(51000);
	block->base_fee = number(arena, 1000000000);
	block->fee_recipient = bytes_of(arena, 20, 99);
	block->n_endpoints = 1;
	block->endpoints = arena_zalloc(arena, 1, sizeof *block->endpoints);
	block->endpoints[0] = arena_printf(arena, "e0");
	block->certificate = arena_alloc(arena, sizeof *block->certificate);
	weir__v1__certificate__init(block->certificate);
	weir__v1__check__init(check);
	check->name = WEIR__V1__CHECK_NAME__CHECK_NAME_HEADER_HASH;
	check->result = WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED;
	block->certificate->proven = true;
	block->certificate->n_checks = 1;
	block->certificate->checks = arena_zalloc(arena, 1, sizeof *block->certificate->checks);
	block->certificate->checks[0] = check;
	add_assets(set, block, arena);
	block->n_accounts = 2 * set->transactions + 1;
	block->accounts = arena_zalloc(arena, block->n_accounts, sizeof *block->accounts);
	block->accounts[0] = block->fee_recipient;
	block->n_transactions = set->transactions;
	block->transactions = arena_zalloc(arena, set->transactions + 1, sizeof *block->transactions);
	block->entries = arena_zalloc(arena, 4 * set->transactions + 1, sizeof *block->entries);
	for (uint32_t i = 0; i < set->transactions; i++)
		add_transaction(set, block, arena, i, mix(seed + i * 16));
	return block;
}

/* read.c - a proven block into transactions and balance entries.
 *
 * Order within a transaction: value, inner transfers, fee, tip, blob fee, tokens; then, for the block, withdrawals and rewards.
 * A failed transaction pays its fee and moves nothing else. The base fee and the blob fee are burned: no entry credits them.
 */
#include "chains/evm/evm.h"

#include <string.h>

/* -- entries --------------------------------------------------------------------------------------------------------------- */

static const struct chain_asset native = { .standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE };

static void write_native(struct evm_writer *w, Weir__V1__EntryKind kind, size_t tx, const char *path, const uint8_t *from, const uint8_t *to,
			 struct u256 amount)
{
	evm_write_entry(w, kind, (int32_t)tx, path, from, &native, amount, true);
	if (to)
		evm_write_entry(w, kind, (int32_t)tx, path, to, &native, amount, false);
}

static void read_value(struct evm_writer *w, size_t i)
{
	const struct evm_block *b = w->block;
	const struct evm_tx *tx = &b->txs[i];
	if (!tx->succeeded)
		return;
	write_native(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TRANSFER, i, tx->creates ? "create" : "call", tx->from, tx->creates ? tx->created : tx->to,
		     tx->value);
	for (size_t m = 0; m < tx->move_count; m++) {
		const struct evm_move *move = &b->moves[tx->first_move + m];
		Weir__V1__EntryKind kind = move->kind == EVM_MOVE_SELFDESTRUCT ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_SELFDESTRUCT :
										 WEIR__V1__ENTRY_KIND__ENTRY_KIND_INTERNAL;
		write_native(w, kind, i, move->path, move->from, move->burns ? NULL : move->to, move->value);
	}
}

bool evm_fees_of(const struct evm_block *b, const struct evm_tx *tx, struct evm_fees *ret)
{
	struct u256 tip_price = tx->effective_gas_price;
	if (!u256_mul_u64(tx->effective_gas_price, tx->gas_used, &ret->fee) || !u256_mul_u64(tx->blob_gas_price, tx->blob_gas_used, &ret->blob))
		return false;
	if (b->chain->profile->burns_base_fee && !u256_sub(tx->effective_gas_price, b->header.base_fee, &tip_price))
		return false;
	return u256_mul_u64(tip_price, tx->gas_used, &ret->tip);
}

static void read_fees(struct evm_writer *w, size_t i)
{
	const struct evm_tx *tx = &w->block->txs[i];
	struct evm_fees fees;
	if (!evm_fees_of(w->block, tx, &fees)) {
		w->failed = true;
		return;
	}
	evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_FEE, (int32_t)i, "fee", tx->from, &native, fees.fee, true);
	evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_TIP, (int32_t)i, "tip", w->block->header.miner, &native, fees.tip, false);
	evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_BLOB_FEE, (int32_t)i, "blob_fee", tx->from, &native, fees.blob, true);
}

static void read_withdrawals(struct evm_writer *w)
{
	const struct evm_block *b = w->block;
	for (size_t i = 0; i < b->withdrawal_count; i++) {
		struct u256 amount;
		const char *path = arena_printf(b->arena, "withdrawal:%llu", (unsigned long long)b->withdrawals[i].index);
		if (!path || !u256_mul_u64(u256_from_u64(b->withdrawals[i].amount_gwei), 1000000000, &amount)) { /* EIP-4895: in Gwei */
			w->failed = true;
			return;
		}
		evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_WITHDRAWAL, -1, path, b->withdrawals[i].address, &native, amount, false);
	}
}

/* 5, 3, 2 ether by height (EIP-649, EIP-1234), and to the miner a 32nd of it per uncle included. */
bool evm_block_reward(const struct evm_block *b, struct u256 *ret_base, struct u256 *ret_miner)
{
	const struct evm_header *h = &b->header;
	struct u256 share;
	uint64_t rest, ether = h->height < 4370000 ? 5 : h->height < 7280000 ? 3 : 2;
	if (h->height >= b->chain->profile->pow_until || u256_is_zero(h->difficulty) || h->height == 0)
		return false;
	(void)u256_mul_u64(u256_from_u64(1000000000000000000), ether, ret_base);
	u256_div_u64(*ret_base, 32, &share, &rest);
	(void)u256_mul_u64(share, h->uncle_count, &share);
	(void)u256_add(*ret_base, share, ret_miner);
	return true;
}

/* An uncle's miner gets the less the older it is: an eighth less per block of age (yellow paper §11.3). */
static void read_uncles(struct evm_writer *w, struct u256 base)
{
	const struct evm_block *b = w->block;
	struct u256 reward;
	uint64_t rest;
	u256_div_u64(base, 8, &base, &rest);
	for (size_t i = 0; i < b->uncle_count; i++) {
		const char *path = arena_printf(b->arena, "uncle:%zu", i);
		w->failed |= !path || !u256_mul_u64(base, b->uncles[i].height + 8 - b->header.height, &reward);
		if (!w->failed)
			evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_REWARD, -1, path, b->uncles[i].miner, &native, reward, false);
	}
}

/* The uncles' own rewards are known where their headers were fetched or traces tell them. */
static void read_rewards(struct evm_writer *w)
{
	const struct evm_block *b = w->block;
	struct u256 base, miner;
	if (!evm_block_reward(b, &base, &miner))
		return;
	evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_REWARD, -1, "reward", b->header.miner, &native, miner, false);
	if (b->uncle_count > 0) {
		read_uncles(w, base);
		return;
	}
	for (size_t i = 0, n = 0; i < b->reward_count; i++) {
		const char *path = b->rewards[i].uncle ? arena_printf(b->arena, "uncle:%zu", n++) : NULL;
		if (path)
			evm_write_entry(w, WEIR__V1__ENTRY_KIND__ENTRY_KIND_REWARD, -1, path, b->rewards[i].account, &native, b->rewards[i].value, false);
	}
}

/* -- conservation ---------------------------------------------------------------------------------------------------------- */

bool evm_check_conservation(const struct evm_block *b, const Weir__V1__NormalizedBlock *m, struct evm_certificate *c)
{
	struct i256 sum = { { 0 } }, delta;
	struct u256 burned;
	bool fits = u256_mul_u64(b->chain->profile->burns_base_fee ? b->header.base_fee : u256_from_u64(0), b->header.gas_used, &burned) &&
		    i256_from_u256_checked(burned, false, &sum);
	for (size_t i = 0; fits && i < m->n_entries; i++) {
		const Weir__V1__Entry *e = m->entries[i];
		bool one_sided = e->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_WITHDRAWAL || e->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_REWARD ||
				 e->kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_BLOB_FEE;
		if (m->assets[e->asset]->standard == WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE && !one_sided)
			fits = i256_from_be(e->delta.data, e->delta.len, &delta) == 0 && i256_add(sum, delta, &sum);
	}
	for (size_t i = 0; fits && i < b->move_count; i++)
		if (b->moves[i].burns)
			fits = i256_from_u256_checked(b->moves[i].value, false, &delta) && i256_add(sum, delta, &sum);
	if (fits && i256_is_zero(sum)) {
		evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_CONSERVATION, c->block_endpoint);
		return true;
	}
	char text[I256_DEC_MAX];
	i256_to_dec(sum, text);
	return evm_fail(c, WEIR__V1__CHECK_NAME__CHECK_NAME_CONSERVATION, c->block_endpoint, "native entries and burns sum to %s, not to nothing", text);
}

/* -- the message ----------------------------------------------------------------------------------------------------------- */

static ProtobufCBinaryData binary(struct arena *arena, const uint8_t *data, size_t size)
{
	ProtobufCBinaryData out = { .len = 0, .data = NULL };
	uint8_t *copy = size ? arena_alloc(arena, size) : NULL;
	if (copy) {
		memcpy(copy, data, size);
		out.data = copy;
		out.len = size;
	}
	return out;
}

static ProtobufCBinaryData binary_u256(struct arena *arena, struct u256 value)
{
	uint8_t bytes[32];
	return binary(arena, bytes, u256_to_be_min(value, bytes));
}

static bool write_transactions(struct evm_block *b, Weir__V1__NormalizedBlock *m)
{
	Weir__V1__Transaction *array = arena_zalloc(b->arena, b->tx_count + 1, sizeof *array);
	m->transactions = arena_zalloc(b->arena, b->tx_count + 1, sizeof *m->transactions);
	if (!array || !m->transactions)
		return false;
	for (size_t i = 0; i < b->tx_count; i++) {
		const struct evm_tx *tx = &b->txs[i];
		Weir__V1__Transaction *t = m->transactions[i] = &array[i];
		weir__v1__transaction__init(t);
		t->hash = binary(b->arena, tx->hash, 32);
		t->type = tx->type;
		t->from = binary(b->arena, tx->from, 20);
		t->to = binary(b->arena, tx->to, tx->creates ? 0 : 20);
		t->value = binary_u256(b->arena, tx->value);
		t->nonce = tx->nonce;
		t->gas_used = tx->gas_used;
		t->effective_gas_price = binary_u256(b->arena, tx->effective_gas_price);
		t->succeeded = tx->succeeded;
		t->created = binary(b->arena, tx->created, tx->creates && tx->succeeded ? 20 : 0);
		t->log_count = (uint32_t)tx->log_count;
	}
	m->n_transactions = b->tx_count;
	return true;
}

static bool write_interned(struct evm_writer *w)
{
	struct arena *arena = w->block->arena;
	Weir__V1__NormalizedBlock *m = w->message;
	m->accounts = arena_zalloc(arena, w->accounts->count + 1, sizeof *m->accounts);
	Weir__V1__Asset *assets = arena_zalloc(arena, w->assets->count + 1, sizeof *assets);
	m->assets = arena_zalloc(arena, w->assets->count + 1, sizeof *m->assets);
	m->entries = arena_zalloc(arena, w->entry_count + 1, sizeof *m->entries);
	if (!m->accounts || !assets || !m->assets || !m->entries)
		return false;
	for (size_t i = 0; i < w->accounts->count; i++)
		m->accounts[i] = (ProtobufCBinaryData){ .len = 20, .data = (uint8_t *)(uintptr_t)w->accounts->keys[i].data };
	for (size_t i = 0; i < w->assets->count; i++) {
		const struct bytes *key = &w->assets->keys[i];
		Weir__V1__Asset *a = m->assets[i] = &assets[i];
		weir__v1__asset__init(a);
		a->standard = (Weir__V1__TokenStandard)key->data[0];
		a->has_token_id = key->data[1];
		if (key->size > 2)
			a->contract = binary(arena, key->data + 2, 20);
		if (a->has_token_id)
			a->token_id = binary(arena, key->data + 22, key->size - 22);
	}
	for (size_t i = 0; i < w->entry_count; i++)
		m->entries[i] = &w->entries[i];
	m->n_accounts = w->accounts->count;
	m->n_assets = w->assets->count;
	m->n_entries = w->entry_count;
	return true;
}

bool evm_read(struct evm_block *b, Weir__V1__NormalizedBlock *m, struct error *err)
{
	struct evm_writer w = { .block = b, .message = m, .accounts = evm_intern_new(b->arena, 64), .assets = evm_intern_new(b->arena, 16) };
	w.failed = !w.accounts || !w.assets;
	for (size_t i = 0; i < b->tx_count && !w.failed; i++) {
		read_value(&w, i);
		read_fees(&w, i);
		evm_read_tokens(&w, i);
	}
	if (!w.failed)
		read_withdrawals(&w);
	if (!w.failed)
		read_rewards(&w);
	if (w.failed || !write_transactions(b, m) || !write_interned(&w)) {
		error_set(err, WEIR_LIMIT, "block %llu needs more memory or entries than one message may have", (unsigned long long)b->header.height);
		return false;
	}
	m->gas_used = b->header.gas_used;
	if (b->header.has_base_fee)
		m->base_fee = binary_u256(b->arena, b->header.base_fee);
	m->fee_recipient = binary(b->arena, b->header.miner, 20);
	return true;
}

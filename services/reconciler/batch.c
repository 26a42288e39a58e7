/* batch.c - gathering the accounts, assets and balances of a batch, and knowing their ids and amounts. */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_MAX ((size_t)1 << 30)

struct batch *ledger_batch_new(void)
{
	struct batch *batch = xmalloc(sizeof *batch);
	batch->arena = arena_new(ARENA_MAX);
	batch->sql = (struct buf)BUF_INIT((size_t)1 << 30);
	table_init(&batch->account_table);
	table_init(&batch->asset_table);
	table_init(&batch->pair_table);
	return batch;
}

void ledger_batch_free(struct batch **batchp)
{
	struct batch *batch = *batchp;
	if (!batch)
		return;
	arena_free(&batch->arena);
	buf_free(&batch->sql);
	table_free(&batch->account_table);
	table_free(&batch->asset_table);
	table_free(&batch->pair_table);
	xfree(&batch->accounts);
	xfree(&batch->assets);
	xfree(&batch->pairs);
	xfree(batchp);
}

/* ---- gathering ------------------------------------------------------------------------------------------------------------ */

static int account_equal(const void *things, uint32_t i, const void *key)
{
	return memcmp(&((const struct batch_account *)things)[i].key, key, sizeof(struct account_key)) == 0;
}

static int asset_equal(const void *things, uint32_t i, const void *key)
{
	return memcmp(&((const struct batch_asset *)things)[i].key, key, sizeof(struct asset_key)) == 0;
}

static int pair_equal(const void *things, uint32_t i, const void *key)
{
	const struct batch_pair *pair = &((const struct batch_pair *)things)[i];
	const uint32_t *wanted = key;
	return pair->account == wanted[0] && pair->asset == wanted[1];
}

#define GROW(array, count, capacity)                                                    \
	do {                                                                            \
		if ((count) == (capacity)) {                                            \
			(capacity) = (capacity) ? (capacity)*2 : 1024;                  \
			(array) = xrealloc((array), (capacity), sizeof *(array));       \
		}                                                                       \
	} while (0)

static uint32_t add_account(struct batch *batch, ProtobufCBinaryData address)
{
	struct account_key key;
	memset(&key, 0, sizeof key);
	key.size = (uint8_t)address.len;
	memcpy(key.bytes, address.data, address.len);
	uint64_t hash;
	uint32_t i = table_find(&batch->account_table, &key, sizeof key, account_equal, batch->accounts, &hash);
	if (i != UINT32_MAX)
		return i;
	GROW(batch->accounts, batch->account_count, batch->account_capacity);
	i = (uint32_t)batch->account_count++;
	batch->accounts[i] = (struct batch_account){ .key = key };
	table_add(&batch->account_table, hash, i);
	return i;
}

void asset_to_key(const struct chain_asset *asset, struct asset_key *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->contract_size = asset->contract_size;
	memcpy(ret->contract, asset->contract, asset->contract_size);
	ret->has_token_id = asset->has_token_id;
	if (asset->has_token_id)
		u256_to_be32(asset->token_id, ret->token_id);
}

bool asset_from_message(const Weir__V1__Asset *message, struct chain_asset *ret)
{
	memset(ret, 0, sizeof *ret);
	if (message->contract.len > sizeof ret->contract || message->token_id.len > 32)
		return false;
	ret->standard = (int)message->standard;
	ret->contract_size = (uint8_t)message->contract.len;
	if (message->contract.len > 0)
		memcpy(ret->contract, message->contract.data, message->contract.len);
	ret->has_token_id = message->has_token_id;
	if (message->has_token_id)
		ret->token_id = u256_from_be(message->token_id.data, message->token_id.len);
	return true;
}

static uint32_t add_asset(struct batch *batch, const Weir__V1__Asset *message, int64_t height)
{
	struct chain_asset asset;
	struct asset_key key;
	asset_from_message(message, &asset);
	asset_to_key(&asset, &key);
	uint64_t hash;
	uint32_t i = table_find(&batch->asset_table, &key, sizeof key, asset_equal, batch->assets, &hash);
	if (i != UINT32_MAX)
		return i;
	GROW(batch->assets, batch->asset_count, batch->asset_capacity);
	i = (uint32_t)batch->asset_count++;
	batch->assets[i] = (struct batch_asset){ .key = key, .asset = asset, .first_height = height };
	table_add(&batch->asset_table, hash, i);
	return i;
}

static uint32_t add_pair(struct batch *batch, uint32_t account, uint32_t asset)
{
	const uint32_t key[2] = { account, asset };
	uint64_t hash;
	uint32_t i = table_find(&batch->pair_table, key, sizeof key, pair_equal, batch->pairs, &hash);
	if (i != UINT32_MAX)
		return i;
	GROW(batch->pairs, batch->pair_count, batch->pair_capacity);
	i = (uint32_t)batch->pair_count++;
	batch->pairs[i] = (struct batch_pair){ .account = account, .asset = asset, .opening_known = true };
	table_add(&batch->pair_table, hash, i);
	return i;
}

static int gather_block(struct batch *batch, const Weir__V1__NormalizedBlock *message, uint32_t index, struct error *err)
{
	struct batch_block *block = &batch->blocks[index];
	*block = (struct batch_block){ .message = message, .height = (int64_t)message->height, .first_entry = batch->entry_count };
	uint32_t *accounts = arena_zalloc(batch->arena, message->n_accounts + 1, sizeof *accounts);
	uint32_t *assets = arena_zalloc(batch->arena, message->n_assets + 1, sizeof *assets);
	if (!accounts || !assets)
		return error_set(err, WEIR_LIMIT, "block %lld names too many accounts for one batch", (long long)block->height);
	/* Only what an entry moves becomes part of the ledger: names may be listed for other uses. */
	memset(accounts, 0xff, message->n_accounts * sizeof *accounts);
	memset(assets, 0xff, message->n_assets * sizeof *assets);
	for (size_t i = 0; i < message->n_entries; i++) {
		const Weir__V1__Entry *entry = message->entries[i];
		if (accounts[entry->account] == UINT32_MAX)
			accounts[entry->account] = add_account(batch, message->accounts[entry->account]);
		if (assets[entry->asset] == UINT32_MAX)
			assets[entry->asset] = add_asset(batch, message->assets[entry->asset], block->height);
		uint32_t pair = add_pair(batch, accounts[entry->account], assets[entry->asset]);
		batch->pairs[pair].last_block = index;
		batch->pair_of[batch->entry_count] = pair;
		i256_from_be(entry->delta.data, entry->delta.len, &batch->delta_of[batch->entry_count]);
		batch->entry_count++;
	}
	batch->transaction_count += message->n_transactions;
	return 0;
}

int ledger_batch_gather(struct batch *batch, Weir__V1__NormalizedBlock *const *blocks, size_t n, struct error *err)
{
	arena_reset(batch->arena);
	table_reset(&batch->account_table);
	table_reset(&batch->asset_table);
	table_reset(&batch->pair_table);
	batch->account_count = batch->asset_count = batch->pair_count = batch->opening_count = batch->opening_written = 0;
	batch->block_count = n;
	batch->entry_count = batch->transaction_count = 0;
	size_t entries = 0;
	for (size_t i = 0; i < n; i++)
		entries += blocks[i]->n_entries;
	batch->blocks = arena_zalloc(batch->arena, n + 1, sizeof *batch->blocks);
	batch->pair_of = arena_alloc(batch->arena, (entries + 1) * sizeof *batch->pair_of);
	batch->delta_of = arena_alloc(batch->arena, (entries + 1) * sizeof *batch->delta_of);
	if (!batch->blocks || !batch->pair_of || !batch->delta_of)
		return error_set(err, WEIR_LIMIT, "%zu entries are too many for one batch", entries);
	for (size_t i = 0; i < n; i++) {
		int code = gather_block(batch, blocks[i], (uint32_t)i, err);
		if (code)
			return code;
	}
	return 0;
}

/* ---- knowing ids ---------------------------------------------------------------------------------------------------------- */

/* Each id is looked up by itself (lateral): a join could also be made the other way round, by reading all accounts of the chain. */

static struct bytes key_bytes(const struct account_key *key)
{
	return (struct bytes){ key->bytes, key->size };
}

static int read_accounts(struct batch *batch, struct ledger *ledger, struct error *err)
{
	struct pg_array addresses;
	buf_reset(&batch->sql);
	pg_array_begin(&addresses, &batch->sql, 17);
	uint32_t *missing = arena_zalloc(batch->arena, batch->account_count + 1, sizeof *missing);
	if (!missing)
		return error_set(err, WEIR_LIMIT, "too many accounts in one batch");
	size_t n = 0;
	for (size_t i = 0; i < batch->account_count; i++) {
		const int64_t *id = cache_get(ledger->accounts, &batch->accounts[i].key);
		if (id) {
			batch->accounts[i].id = *id;
			continue;
		}
		missing[n++] = (uint32_t)i;
		pg_array_bytea(&addresses, key_bytes(&batch->accounts[i].key));
	}
	if (n == 0)
		return 0;
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_array_finish(&addresses, &p[1]);
	int code = pg_prepared(ledger->pg, "account_ids",
			       "select i.n, a.id from unnest($2::bytea[]) with ordinality i(address, n) cross join lateral"
			       " (select id from weir.accounts where chain = $1 and address = i.address limit 1) a",
			       p, 2, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++)
		batch->accounts[missing[pg_get_i64(r, i, 0) - 1]].id = pg_get_i64(r, i, 1);
	pg_result_free(&r);
	return code;
}

/* contract bytea[] and token_id numeric[] of the assets numbered; null: none. Two buffers would be two allocations: one after the other. */
static void asset_arrays(struct batch *batch, const uint32_t *which, size_t n, struct pg_param *ret_contracts, struct pg_param *ret_tokens)
{
	struct pg_array contracts, tokens;
	buf_reset(&batch->sql);
	pg_array_begin(&contracts, &batch->sql, 17);
	for (size_t i = 0; i < n; i++) {
		const struct chain_asset *asset = &batch->assets[which[i]].asset;
		pg_array_bytea(&contracts, (struct bytes){ asset->contract, asset->contract_size });
	}
	pg_array_begin(&tokens, &batch->sql, 1700);
	for (size_t i = 0; i < n; i++) {
		const struct chain_asset *asset = &batch->assets[which[i]].asset;
		if (asset->has_token_id)
			pg_array_u256(&tokens, asset->token_id);
		else
			pg_array_null(&tokens);
	}
	pg_array_finish(&contracts, ret_contracts);
	pg_array_finish(&tokens, ret_tokens);
}

static int read_assets(struct batch *batch, struct ledger *ledger, struct error *err)
{
	uint32_t *missing = arena_zalloc(batch->arena, batch->asset_count + 1, sizeof *missing);
	if (!missing)
		return error_set(err, WEIR_LIMIT, "too many assets in one batch");
	size_t n = 0;
	for (size_t i = 0; i < batch->asset_count; i++) {
		const struct asset_value *known = cache_get(ledger->assets, &batch->assets[i].key);
		if (known) {
			batch->assets[i].id = known->id;
			batch->assets[i].non_conserving = known->non_conserving;
		} else {
			missing[n++] = (uint32_t)i;
		}
	}
	if (n == 0)
		return 0;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	asset_arrays(batch, missing, n, &p[1], &p[2]);
	int code = pg_prepared(ledger->pg, "asset_ids",
			       "select i.n, a.id, a.non_conserving from unnest($2::bytea[], $3::numeric[]) with ordinality i(contract, token_id, n)"
			       " cross join lateral (select id, non_conserving from weir.assets where chain = $1 and contract = i.contract"
			       " and coalesce(token_id, -1) = coalesce(i.token_id, -1) limit 1) a",
			       p, 3, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		struct batch_asset *asset = &batch->assets[missing[pg_get_i64(r, i, 0) - 1]];
		asset->id = (int32_t)pg_get_i64(r, i, 1);
		asset->non_conserving = pg_get_bool(r, i, 2);
	}
	pg_result_free(&r);
	return code;
}

static int read_balances(struct batch *batch, struct ledger *ledger, struct error *err)
{
	uint32_t *missing = arena_zalloc(batch->arena, batch->pair_count + 1, sizeof *missing);
	if (!missing)
		return error_set(err, WEIR_LIMIT, "too many balances in one batch");
	size_t n = 0;
	for (size_t i = 0; i < batch->pair_count; i++) {
		struct batch_pair *pair = &batch->pairs[i];
		const struct balance_key key = { batch->accounts[pair->account].id, batch->assets[pair->asset].id };
		const struct balance_value *known = key.account && key.asset ? cache_get(ledger->balances, &key) : NULL;
		if (known) {
			pair->stored = true;
			pair->amount = known->amount;
			pair->height = known->height;
			pair->opening_known = known->opening_known;
		} else if (key.account && key.asset) {
			missing[n++] = (uint32_t)i;
		}
	}
	if (n == 0)
		return 0;
	struct pg_array accounts, assets;
	buf_reset(&batch->sql);
	pg_array_begin(&accounts, &batch->sql, 20);
	for (size_t i = 0; i < n; i++)
		pg_array_i64(&accounts, batch->accounts[batch->pairs[missing[i]].account].id);
	pg_array_begin(&assets, &batch->sql, 23);
	for (size_t i = 0; i < n; i++)
		pg_array_i32(&assets, batch->assets[batch->pairs[missing[i]].asset].id);
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_array_finish(&accounts, &p[0]);
	pg_array_finish(&assets, &p[1]);
	int code = pg_prepared(ledger->pg, "balances",
			       "select i.n, b.amount, b.height, b.opening_known from unnest($1::int8[], $2::int4[]) with ordinality i(account, asset, n)"
			       " join weir.balances b on b.account = i.account and b.asset = i.asset",
			       p, 2, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		struct batch_pair *pair = &batch->pairs[missing[pg_get_i64(r, i, 0) - 1]];
		pair->stored = true;
		pair->height = pg_get_i64(r, i, 2);
		pair->opening_known = pg_get_bool(r, i, 3);
		if (pg_get_numeric(r, i, 1, &pair->amount))
			code = error_set(err, WEIR_INTERNAL, "a balance in the ledger is not a whole 256-bit number");
	}
	pg_result_free(&r);
	return code;
}

/* ---- openings ------------------------------------------------------------------------------------------------------------- */

/* What block 0 itself moves is part of the balance that the chain tells for block 0, and is an entry as well: it must count once. */
static void subtract_genesis_moves(struct batch *batch)
{
	for (size_t i = 0; i < batch->blocks[0].message->n_entries; i++) {
		struct batch_pair *pair = &batch->pairs[batch->pair_of[i]];
		if (!pair->stored && pair->opening_known && !i256_sub(pair->opening, batch->delta_of[i], &pair->opening))
			pair->opening_known = false;
	}
}

bool ledger_batch_has_genesis(const struct batch *batch, const struct ledger *ledger)
{
	return ledger->start == 0 && batch->block_count > 0 && batch->blocks[0].height == 0;
}

static int ask_openings(struct batch *batch, struct ledger *ledger, struct applied *applied, struct error *err)
{
	batch->openings = arena_zalloc(batch->arena, batch->pair_count + 1, sizeof *batch->openings);
	batch->opening_pairs = arena_zalloc(batch->arena, batch->pair_count + 1, sizeof *batch->opening_pairs);
	if (!batch->openings || !batch->opening_pairs)
		return error_set(err, WEIR_LIMIT, "too many new balances in one batch");
	for (size_t i = 0; i < batch->pair_count; i++) {
		const struct batch_pair *pair = &batch->pairs[i];
		if (pair->stored)
			continue;
		batch->opening_pairs[batch->opening_count] = (uint32_t)i;
		batch->openings[batch->opening_count++] = (struct opening){
			.account = key_bytes(&batch->accounts[pair->account].key),
			.asset = &batch->assets[pair->asset].asset,
			.known = true,
		};
	}
	if (batch->opening_count == 0 || !ledger->options.opening)
		return 0;
	const uint8_t *hash = ledger->opening_hash_known ? ledger->opening_hash :
			      ledger->start > 0		 ? batch->blocks[0].message->parent_hash.data :
							   batch->blocks[0].message->hash.data;
	int code = ledger->options.opening(ledger->options.opening_arg, (uint64_t)ledger_opening_height(ledger), hash, batch->openings,
					   batch->opening_count, err);
	for (size_t i = 0; !code && i < batch->opening_count; i++) {
		struct batch_pair *pair = &batch->pairs[batch->opening_pairs[i]];
		pair->opening_known = batch->openings[i].known;
		pair->opening = pair->opened = batch->openings[i].amount;
	}
	bool genesis = ledger_batch_has_genesis(batch, ledger);
	if (!code && genesis)
		subtract_genesis_moves(batch);
	for (size_t i = 0; !code && i < batch->opening_count; i++) {
		struct batch_pair *pair = &batch->pairs[batch->opening_pairs[i]];
		if (!pair->opening_known) {
			pair->opening = pair->opened = (struct i256){ { 0 } };
			applied->openings_unknown++;
		}
		if (!genesis) /* else block 0's own entries come first: write_entries goes on from there */
			pair->amount = pair->opened;
		pair->height = ledger_opening_height(ledger);
		batch->opening_written += !i256_is_zero(pair->opening);
	}
	applied->openings = batch->opening_written;
	return code;
}

int ledger_batch_resolve(struct batch *batch, struct ledger *ledger, struct applied *applied, struct error *err)
{
	int code = read_accounts(batch, ledger, err);
	if (!code)
		code = read_assets(batch, ledger, err);
	if (!code)
		code = read_balances(batch, ledger, err);
	if (!code)
		code = ask_openings(batch, ledger, applied, err);
	return code;
}

/* ---- new accounts and assets ----------------------------------------------------------------------------------------------- */

static int insert_accounts(struct batch *batch, struct ledger *ledger, struct error *err)
{
	struct pg_array addresses;
	size_t n = 0;
	buf_reset(&batch->sql);
	pg_array_begin(&addresses, &batch->sql, 17);
	for (size_t i = 0; i < batch->account_count; i++) {
		if (batch->accounts[i].id)
			continue;
		batch->accounts[i].is_new = true;
		pg_array_bytea(&addresses, key_bytes(&batch->accounts[i].key));
		n++;
	}
	if (n == 0)
		return 0;
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_array_finish(&addresses, &p[1]);
	int code = pg_prepared(ledger->pg, "new_accounts",
			       "insert into weir.accounts (chain, address) select $1, address from unnest($2::bytea[]) a(address) returning address, id", p,
			       2, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		struct bytes address = pg_get_bytes(r, i, 0);
		struct account_key key;
		uint64_t hash;
		memset(&key, 0, sizeof key);
		key.size = (uint8_t)address.size;
		memcpy(key.bytes, address.data, address.size);
		uint32_t at = table_find(&batch->account_table, &key, sizeof key, account_equal, batch->accounts, &hash);
		batch->accounts[at].id = pg_get_i64(r, i, 1);
	}
	pg_result_free(&r);
	return code;
}

static void asset_key_of_row(const struct pg_result *r, size_t row, struct asset_key *ret)
{
	struct chain_asset asset = { 0 };
	struct bytes contract = pg_get_bytes(r, row, 1);
	asset.contract_size = (uint8_t)contract.size;
	memcpy(asset.contract, contract.data, contract.size);
	asset.has_token_id = !pg_is_null(r, row, 2);
	if (asset.has_token_id)
		pg_get_u256(r, row, 2, &asset.token_id);
	asset_to_key(&asset, ret);
}

static int insert_assets(struct batch *batch, struct ledger *ledger, struct error *err)
{
	uint32_t *fresh = arena_zalloc(batch->arena, batch->asset_count + 1, sizeof *fresh);
	if (!fresh)
		return error_set(err, WEIR_LIMIT, "too many assets in one batch");
	size_t n = 0;
	for (size_t i = 0; i < batch->asset_count; i++) {
		if (batch->assets[i].id)
			continue;
		batch->assets[i].is_new = true;
		fresh[n++] = (uint32_t)i;
	}
	if (n == 0)
		return 0;
	struct pg_param p[5];
	struct pg_result *r = NULL;
	struct buf more = BUF_INIT((size_t)64 << 20);
	struct pg_array standards, heights;
	pg_array_begin(&standards, &more, 23);
	for (size_t i = 0; i < n; i++)
		pg_array_i32(&standards, batch->assets[fresh[i]].asset.standard);
	pg_array_begin(&heights, &more, 20);
	for (size_t i = 0; i < n; i++)
		pg_array_i64(&heights, batch->assets[fresh[i]].first_height);
	pg_i32(&p[0], ledger->id);
	asset_arrays(batch, fresh, n, &p[1], &p[2]);
	pg_array_finish(&standards, &p[3]);
	pg_array_finish(&heights, &p[4]);
	int code = pg_prepared(ledger->pg, "new_assets",
			       "insert into weir.assets (chain, standard, contract, token_id, first_height)"
			       " select $1, standard, contract, token_id, height from unnest($2::bytea[], $3::numeric[], $4::int4[], $5::int8[])"
			       " i(contract, token_id, standard, height) returning id, contract, token_id",
			       p, 5, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		struct asset_key key;
		uint64_t hash;
		asset_key_of_row(r, i, &key);
		uint32_t at = table_find(&batch->asset_table, &key, sizeof key, asset_equal, batch->assets, &hash);
		batch->assets[at].id = (int32_t)pg_get_i64(r, i, 0);
	}
	pg_result_free(&r);
	buf_free(&more);
	return code;
}

int ledger_batch_intern(struct batch *batch, struct ledger *ledger, struct error *err)
{
	int code = insert_accounts(batch, ledger, err);
	return code ? code : insert_assets(batch, ledger, err);
}

struct ordered {
	int64_t account;
	int32_t asset;
	uint32_t pair;
};

static int compare_ordered(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	if (x->account != y->account)
		return x->account < y->account ? -1 : 1;
	return (x->asset > y->asset) - (x->asset < y->asset);
}

uint32_t *ledger_batch_order(struct batch *batch)
{
	struct ordered *keys = arena_alloc(batch->arena, (batch->pair_count + 1) * sizeof *keys);
	uint32_t *order = arena_alloc(batch->arena, (batch->pair_count + 1) * sizeof *order);
	if (!keys || !order)
		return NULL;
	for (size_t i = 0; i < batch->pair_count; i++)
		keys[i] = (struct ordered){ batch->accounts[batch->pairs[i].account].id, batch->assets[batch->pairs[i].asset].id, (uint32_t)i };
	qsort(keys, batch->pair_count, sizeof *keys, compare_ordered);
	for (size_t i = 0; i < batch->pair_count; i++)
		order[i] = keys[i].pair;
	return order;
}

void ledger_batch_remember(const struct batch *batch, struct ledger *ledger)
{
	for (size_t i = 0; i < batch->account_count; i++)
		cache_put(ledger->accounts, &batch->accounts[i].key, &batch->accounts[i].id);
	for (size_t i = 0; i < batch->asset_count; i++) {
		const struct asset_value value = { batch->assets[i].id, batch->assets[i].non_conserving };
		cache_put(ledger->assets, &batch->assets[i].key, &value);
	}
	for (size_t i = 0; i < batch->pair_count; i++) {
		const struct batch_pair *pair = &batch->pairs[i];
		const struct balance_key key = { batch->accounts[pair->account].id, batch->assets[pair->asset].id };
		const struct balance_value value = { pair->amount, pair->height, pair->opening_known };
		cache_put(ledger->balances, &key, &value);
	}
}

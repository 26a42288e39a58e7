/* state_diff.c - what transactions did to native balances, as reckoned from value, traces and fees, against what the node's state says they
 * did: prestateTracer in diff mode (geth), {pre, post} per transaction, of the accounts that changed.
 *
 * In pre and not in post: the account is gone. In post and not in pre: it is new. In post without a balance: the balance stayed.
 */
#include "chains/evm/evm.h"

#include "wire/hex.h"

#include <string.h>

#define FAIL(k, ...) evm_fail((k)->c, WEIR__V1__CHECK_NAME__CHECK_NAME_STATE_DIFF, (k)->endpoint, __VA_ARGS__)

struct ledger { /* one transaction's accounts */
	const struct evm_block *b;
	struct evm_certificate *c;
	const char *endpoint;
	size_t tx_index;
	struct evm_intern *accounts;
	struct i256 *reckoned; /* by index of accounts */
	bool *seen;            /* in the diff */
	size_t capacity;
	bool full;
};

static void book(struct ledger *k, const uint8_t account[20], struct u256 amount, bool negative)
{
	struct i256 delta;
	uint32_t i = evm_intern(&k->accounts, k->b->arena, account, 20);
	if (i == UINT32_MAX || i >= k->capacity || !i256_from_u256_checked(amount, negative, &delta) || !i256_add(k->reckoned[i], delta, &k->reckoned[i]))
		k->full = true;
}

static void book_transaction(struct ledger *k, const struct evm_tx *tx)
{
	struct evm_fees fees;
	if (!evm_fees_of(k->b, tx, &fees)) {
		k->full = true;
		return;
	}
	book(k, tx->from, fees.fee, true);
	book(k, tx->from, fees.blob, true);
	book(k, k->b->header.miner, fees.tip, false);
	if (!tx->succeeded)
		return;
	book(k, tx->from, tx->value, true);
	book(k, tx->creates ? tx->created : tx->to, tx->value, false);
	for (size_t i = 0; i < tx->move_count; i++) {
		const struct evm_move *move = &k->b->moves[tx->first_move + i];
		book(k, move->from, move->value, true);
		if (!move->burns)
			book(k, move->to, move->value, false);
	}
}

static bool differs(struct ledger *k, const uint8_t account[20], struct i256 state, struct i256 reckoned)
{
	char name[43], a[I256_DEC_MAX], b[I256_DEC_MAX];
	hex_from_bytes(account, 20, name);
	i256_to_dec(state, a);
	i256_to_dec(reckoned, b);
	return FAIL(k, "transaction %zu: %s changed by %s in the state diff, by %s according to transaction and traces", k->tx_index, name, a, b);
}

/* One account: what the state says it changed by. */
static bool compare(struct ledger *k, yyjson_val *name, yyjson_val *pre, yyjson_val *post)
{
	uint8_t account[20];
	struct u256 before = { { 0 } }, after = { { 0 } }, size;
	struct i256 state, reckoned = { { 0 } };
	yyjson_val *balance = yyjson_obj_get(post, "balance");
	if (!evm_hex_bytes(name, account, 20) || (pre && yyjson_obj_get(pre, "balance") && !evm_hex_u256(yyjson_obj_get(pre, "balance"), &before)) ||
	    (balance && !evm_hex_u256(balance, &after)))
		return FAIL(k, "the state diff of transaction %zu is malformed", k->tx_index);
	if (post && !balance)
		after = before;
	bool negative = u256_cmp(after, before) < 0;
	(void)(negative ? u256_sub(before, after, &size) : u256_sub(after, before, &size));
	if (!i256_from_u256_checked(size, negative, &state))
		return FAIL(k, "the state diff of transaction %zu names an absurd balance", k->tx_index);
	uint32_t i = evm_intern(&k->accounts, k->b->arena, account, 20);
	if (i == UINT32_MAX)
		return FAIL(k, "the state diff needs more memory than one message may have");
	if (i < k->capacity) {
		k->seen[i] = true;
		reckoned = k->reckoned[i];
	}
	return i256_cmp(state, reckoned) == 0 || differs(k, account, state, reckoned);
}

static bool compare_all(struct ledger *k, yyjson_val *diff)
{
	yyjson_val *pre = yyjson_obj_get(diff, "pre"), *post = yyjson_obj_get(diff, "post"), *name;
	if (!yyjson_is_obj(pre) || !yyjson_is_obj(post))
		return FAIL(k, "the state diff of transaction %zu has no pre or post", k->tx_index);
	yyjson_obj_iter iter = yyjson_obj_iter_with(pre), others = yyjson_obj_iter_with(post);
	while ((name = yyjson_obj_iter_next(&iter)))
		if (!compare(k, name, yyjson_obj_iter_get_val(name), yyjson_obj_iter_getn(&others, yyjson_get_str(name), yyjson_get_len(name))))
			return false;
	iter = yyjson_obj_iter_with(post);
	others = yyjson_obj_iter_with(pre);
	while ((name = yyjson_obj_iter_next(&iter)))
		if (!yyjson_obj_iter_getn(&others, yyjson_get_str(name), yyjson_get_len(name)) && !compare(k, name, NULL, yyjson_obj_iter_get_val(name)))
			return false;
	static const struct i256 nothing;
	for (size_t i = 0; i < k->accounts->count && i < k->capacity; i++)
		if (!k->seen[i] && i256_cmp(k->reckoned[i], nothing) != 0)
			return differs(k, k->accounts->keys[i].data, nothing, k->reckoned[i]);
	return true;
}

static bool check_transaction(struct ledger *k, yyjson_val *item)
{
	const struct evm_tx *tx = &k->b->txs[k->tx_index];
	uint8_t hash[32];
	yyjson_val *named = yyjson_obj_get(item, "txHash");
	if (named && (!evm_hex_bytes(named, hash, 32) || memcmp(hash, tx->hash, 32) != 0))
		return FAIL(k, "state diff %zu belongs to another transaction", k->tx_index);
	k->capacity = 2 * tx->move_count + 4;
	k->accounts = evm_intern_new(k->b->arena, k->capacity);
	k->reckoned = arena_zalloc(k->b->arena, k->capacity, sizeof *k->reckoned);
	k->seen = arena_zalloc(k->b->arena, k->capacity, sizeof *k->seen);
	if (!k->accounts || !k->reckoned || !k->seen)
		return FAIL(k, "the state diff needs more memory than one message may have");
	book_transaction(k, tx);
	if (k->full)
		return FAIL(k, "transaction %zu moves more than balances can hold", k->tx_index);
	return compare_all(k, yyjson_obj_get(item, "result"));
}

bool evm_check_state_diff(const struct evm_block *b, yyjson_val *root, const char *endpoint, struct evm_certificate *c)
{
	struct ledger k = { .b = b, .c = c, .endpoint = endpoint };
	if (!yyjson_is_arr(root) || yyjson_arr_size(root) != b->tx_count)
		return FAIL(&k, "%zu state diffs for %zu transactions", yyjson_arr_size(root), b->tx_count);
	size_t i, n;
	yyjson_val *item;
	yyjson_arr_foreach(root, i, n, item)
	{
		k.tx_index = i;
		if (!check_transaction(&k, item))
			return false;
	}
	evm_pass(c, WEIR__V1__CHECK_NAME__CHECK_NAME_STATE_DIFF, endpoint);
	return true;
}

/* rest_transactions.c - GET …/transactions/{hash} and …/assets/{asset}. */
#include "rest/rest.h"
#include "call/validator.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define ENTRIES_MAX 2000

static void put_account(struct call *call, const char *key, const struct pg_result *r, size_t row, size_t column)
{
	char text[80];
	bool none = pg_is_null(r, row, column) || pg_get_bytes(r, row, column).size == 0;
	if (!none)
		account_text(&call->chain->chain, pg_get_bytes(r, row, column), text);
	put_text(call->out, key, none ? NULL : text);
}

static void put_transaction_members(struct call *call, const struct pg_result *r)
{
	struct buf *out = call->out;
	put_text(out, "chain", call->chain->chain.name);
	put_hex(out, "hash", pg_get_bytes(r, 0, 0));
	put_object(out, "block");
	put_i64(out, "height", pg_get_i64(r, 0, 1));
	put_hex(out, "hash", pg_get_bytes(r, 0, 2));
	put_end(out, '}');
	put_text(out, "finality", pg_get_text(r, 0, 3));
	put_i64(out, "index", pg_get_i64(r, 0, 4));
	put_i64(out, "type", pg_get_i64(r, 0, 5));
	put_account(call, "from", r, 0, 6);
	put_account(call, "to", r, 0, 7);
	put_text(out, "value", pg_get_text(r, 0, 8));
	put_i64(out, "nonce", pg_get_i64(r, 0, 9));
	put_i64(out, "gas_used", pg_get_i64(r, 0, 10));
	put_text(out, "effective_gas_price", pg_is_null(r, 0, 11) ? NULL : pg_get_text(r, 0, 11));
	put_bool(out, "succeeded", pg_get_bool(r, 0, 12));
	put_account(call, "created", r, 0, 13);
	put_i64(out, "log_count", pg_get_i64(r, 0, 14));
}

void rest_transaction(struct call *call)
{
	uint8_t hash[32];
	struct pg_param p[5];
	struct pg_result *r = NULL, *entries = NULL;
	if (hex_to_bytes(call->places[1], strlen(call->places[1]), hash, 32)) {
		call_problem(call, 400, "invalid_hash", "a transaction's hash is 0x and 64 hex digits");
		return;
	}
	if (!call_chain(call) || !call_begin(call))
		return;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_bytea(&p[1], (struct bytes){ hash, 32 });
	if (!call_query(call, "transaction",
			"select t.hash, t.height, b.hash, b.finality, t.tx_index, t.type, t.sender, t.recipient, t.value::text, t.nonce, t.gas_used,"
			" t.effective_gas_price::text, t.succeeded, t.created, t.log_count, t.branch"
			" from weir_api.transactions t join weir_api.blocks b on b.chain = t.chain and b.height = t.height and b.branch = t.branch"
			" where t.chain = $1 and t.hash = $2 order by b.canonical desc, t.height desc, t.branch desc limit 1",
			p, 2, &r))
		return;
	if (pg_rows(r) == 0) {
		pg_result_free(&r);
		call_problem(call, 404, "transaction_unknown", "the ledger does not have this transaction");
		return;
	}
	struct block_ref block = { .height = pg_get_i64(r, 0, 1), .branch = (int16_t)pg_get_i64(r, 0, 15) };
	struct bytes block_hash = pg_get_bytes(r, 0, 2);
	memcpy(block.hash, block_hash.data, block_hash.size < sizeof block.hash ? block_hash.size : sizeof block.hash);
	snprintf(block.finality, sizeof block.finality, "%s", pg_get_text(r, 0, 3));
	if (validator_of_block(call, &block, false)) {
		pg_result_free(&r);
		return;
	}
	pg_i64(&p[1], block.height);
	pg_i32(&p[2], block.branch);
	pg_i32(&p[3], (int32_t)pg_get_i64(r, 0, 4));
	pg_i64(&p[4], ENTRIES_MAX + 1);
	if (call_query(call, "transaction_entries",
		       "select " ENTRY_COLUMNS " from (select * from weir_api.entries where chain = $1 and height = $2 and branch = $3 and tx_index = $4"
		       " and kind <> 16 order by ordinal limit $5) e" ENTRY_JOINS " order by e.ordinal",
		       p, 5, &entries)) {
		put_object(call->out, NULL);
		put_transaction_members(call, r);
		put_array(call->out, "entries");
		size_t shown = put_entries(call, entries, ENTRIES_MAX, NULL);
		put_end(call->out, ']');
		put_bool(call->out, "entries_truncated", pg_rows(entries) > shown);
		put_end(call->out, '}');
	}
	pg_result_free(&entries);
	pg_result_free(&r);
}

void rest_asset(struct call *call)
{
	struct chain_asset asset;
	int32_t id = 0;
	struct pg_param p;
	struct pg_result *r = NULL;
	char text[ASSET_TEXT_MAX];
	if (!call_chain(call) || !read_asset(call, call->places[1], &asset) || !call_begin(call) || !find_asset(call, &asset, &id))
		return;
	if (id == 0) {
		call_problem(call, 404, "asset_unknown", "nobody ever moved this asset in the ledger");
		return;
	}
	if (!call_query(call, "asset",
			"select standard, symbol, decimals, non_conserving, (extract(epoch from non_conserving_since) * 1000)::int8, evidence::text, first_height"
			" from weir_api.assets where id = $1",
			pg_i32(&p, id), 1, &r))
		return;
	struct buf *out = call->out;
	asset_text(&call->chain->chain, &asset, text);
	put_object(out, NULL);
	put_text(out, "chain", call->chain->chain.name);
	put_text(out, "asset", text);
	put_text(out, "standard", standard_name((int)pg_get_i64(r, 0, 0)));
	put_text(out, "symbol", pg_is_null(r, 0, 1) ? NULL : pg_get_text(r, 0, 1));
	if (pg_is_null(r, 0, 2))
		put_null(out, "decimals");
	else
		put_i64(out, "decimals", pg_get_i64(r, 0, 2));
	put_i64(out, "first_height", pg_get_i64(r, 0, 6));
	put_bool(out, "non_conserving", pg_get_bool(r, 0, 3));
	put_milliseconds(out, "non_conserving_since", pg_is_null(r, 0, 4) ? 0 : pg_get_i64(r, 0, 4));
	put_raw(out, "evidence", pg_get_text(r, 0, 5));
	put_end(out, '}');
	pg_result_free(&r);
}

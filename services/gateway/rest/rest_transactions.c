/* rest_transactions.c - GET …/transactions/{hash} and …/assets/{asset}. */
#include "rest/rest.h"
#include "call/validator.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define ENTRIES_MAX 2000
#define T ENTRY_COLUMN_COUNT /* the transaction's own columns stand behind those of its entries, in each row */

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
	put_hex(out, "hash", pg_get_bytes(r, 0, T + 0));
	put_object(out, "block");
	put_i64(out, "height", pg_get_i64(r, 0, T + 1));
	put_hex(out, "hash", pg_get_bytes(r, 0, T + 2));
	put_end(out, '}');
	put_text(out, "finality", pg_get_text(r, 0, T + 3));
	put_i64(out, "index", pg_get_i64(r, 0, T + 4));
	put_i64(out, "type", pg_get_i64(r, 0, T + 5));
	put_account(call, "from", r, 0, T + 6);
	put_account(call, "to", r, 0, T + 7);
	put_text(out, "value", pg_get_text(r, 0, T + 8));
	put_i64(out, "nonce", pg_get_i64(r, 0, T + 9));
	put_i64(out, "gas_used", pg_get_i64(r, 0, T + 10));
	put_text(out, "effective_gas_price", pg_is_null(r, 0, T + 11) ? NULL : pg_get_text(r, 0, T + 11));
	put_bool(out, "succeeded", pg_get_bool(r, 0, T + 12));
	put_account(call, "created", r, 0, T + 13);
	put_i64(out, "log_count", pg_get_i64(r, 0, T + 14));
}

/* $1 chain, $2 hash, $3 entries at most. One row for each entry; one without an entry where there is none. */
static const char *const transaction_sql =
	"select y.*, x.* from (select t.hash, t.height, b.hash as block_hash, b.finality, t.tx_index, t.type, t.sender, t.recipient, t.value::text, t.nonce, t.gas_used,"
	"  t.effective_gas_price::text, t.succeeded, t.created, t.log_count, t.branch"
	"  from weir_api.transactions t join weir_api.blocks b on b.chain = t.chain and b.height = t.height and b.branch = t.branch"
	"  where t.chain = $1 and t.hash = $2 order by b.canonical desc, t.height desc, t.branch desc limit 1) x"
	" left join lateral (select " ENTRY_COLUMNS " from (select * from weir_api.entries where chain = $1 and height = x.height and branch = x.branch"
	"  and tx_index = x.tx_index and kind <> 16 order by ordinal limit $3) e" ENTRY_JOINS ") y on true order by y.ordinal";

static bool ask_transaction(struct call *call, struct row_ask *ret)
{
	if (hex_to_bytes(call->places[1], strlen(call->places[1]), ret->bytes, 32))
		return call_problem(call, 400, "invalid_hash", "a transaction's hash is 0x and 64 hex digits");
	if (!call_chain(call))
		return false;
	pg_i32(&ret->params[0], atomic_load(&call->chain->id));
	pg_bytea(&ret->params[1], (struct bytes){ ret->bytes, 32 });
	pg_i64(&ret->params[2], ENTRIES_MAX + 1);
	ret->name = "transaction";
	ret->sql = transaction_sql;
	ret->n = 3;
	return true;
}

static void put_transaction(struct call *call, const struct pg_result *r)
{
	if (pg_rows(r) == 0) {
		call_problem(call, 404, "transaction_unknown", "the ledger does not have this transaction");
		return;
	}
	struct block_ref block = { .height = pg_get_i64(r, 0, T + 1), .branch = (int16_t)pg_get_i64(r, 0, T + 15) };
	struct bytes block_hash = pg_get_bytes(r, 0, T + 2);
	memcpy(block.hash, block_hash.data, block_hash.size < sizeof block.hash ? block_hash.size : sizeof block.hash);
	snprintf(block.finality, sizeof block.finality, "%s", pg_get_text(r, 0, T + 3));
	validator_tag_block(call, &block, false);
	const bool none = pg_is_null(r, 0, 0);
	put_object(call->out, NULL);
	put_transaction_members(call, r);
	put_array(call->out, "entries");
	if (!none)
		put_entries(call, r, ENTRIES_MAX, NULL);
	put_end(call->out, ']');
	put_bool(call->out, "entries_truncated", pg_rows(r) > ENTRIES_MAX);
	put_end(call->out, '}');
}

const struct route_row rest_transaction_row = { ask_transaction, put_transaction };

void rest_transaction(struct call *call)
{
	call_row(call, &rest_transaction_row);
}

static bool ask_one_asset(struct call *call, struct row_ask *ret)
{
	return call_chain(call) && ask_asset(call, call->places[1], ret);
}

static void put_one_asset(struct call *call, const struct pg_result *r)
{
	struct chain_asset asset;
	char text[ASSET_TEXT_MAX];
	if (pg_rows(r) == 0) {
		call_problem(call, 404, "asset_unknown", "nobody ever moved this asset in the ledger");
		return;
	}
	if (!read_asset(call, call->places[1], &asset))
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
}

const struct route_row rest_asset_row = { ask_one_asset, put_one_asset };

void rest_asset(struct call *call)
{
	call_row(call, &rest_asset_row);
}

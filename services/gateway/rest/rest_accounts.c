/* rest_accounts.c - GET …/accounts/{account}/balances and …/entries. */
#include "rest/rest.h"

#include "control.h"
#include "rest/observe.h"

#include <stdio.h>
#include <string.h>

/* ---- balances -------------------------------------------------------------------------------------------------------------------------- */

/* $1 chain, $2 account, $3 height, $4 the canonical hash there. Each asset's last entry at or below the height is its balance then; an asset
 * that does not conserve has the chain's word, also where no log ever named the account. */
static const char *const balances_sql =
	"with ids as (select asset from weir_api.balances where account = $2"
	"             union (select id from weir_api.assets where chain = $1 and non_conserving and token_id is null and first_height <= $3 order by id limit 64))"
	" select s.standard, s.contract, s.token_id, s.id, s.non_conserving, e.balance::text,"
	"        case when b.reconciled_height <= $3 then b.reconciled_height end, coalesce(b.opening_known, true), o.amount::text"
	"   from ids join weir_api.assets s on s.id = ids.asset"
	"   left join weir_api.balances b on b.account = $2 and b.asset = s.id"
	"   left join lateral (select e.balance from weir_api.entries e where e.chain = $1 and e.account = $2 and e.asset = s.id and e.height <= $3"
	"                       and not e.superseded order by e.height desc, e.ordinal desc limit 1) e on true"
	"   left join weir_api.observations o on o.account = $2 and o.asset = s.id and o.height = $3 and o.hash = $4"
	"  where e.balance is not null or (s.non_conserving and s.first_height <= $3) order by s.id";

static const char *finality_at(const struct chain_heights *h, int64_t height)
{
	return height <= h->finalized ? "finalized" : height <= h->safe ? "safe" : "seen";
}

static bool choose_height(struct call *call, const struct chain_heights *heights, int64_t *ret)
{
	*ret = call_number(call, "height", heights->watermark);
	if (*ret > heights->watermark)
		return call_problem(call, 404, "height_not_reached", "the ledger has reached height %lld, not %lld", (long long)heights->watermark,
				    (long long)*ret);
	if (*ret < heights->start)
		return call_problem(call, 404, "height_before_start", "the ledger begins at height %lld", (long long)heights->start);
	return true;
}

static void put_balance(struct call *call, const struct balance_row *row, int64_t height, const char *finality)
{
	char text[ASSET_TEXT_MAX];
	struct buf *out = call->out;
	asset_text(&call->chain->chain, &row->asset, text);
	put_object(out, NULL);
	put_text(out, "asset", text);
	put_text(out, "amount", row->amount);
	put_i64(out, "height", height);
	put_text(out, "finality", finality);
	if (row->reconciled_height < 0)
		put_null(out, "reconciled_at_height");
	else
		put_i64(out, "reconciled_at_height", row->reconciled_height);
	put_bool(out, "non_conserving", row->non_conserving);
	put_bool(out, "opening_known", row->opening_known);
	put_end(out, '}');
}

static size_t read_rows(struct call *call, const struct pg_result *r, struct bytes account, struct balance_row *rows)
{
	const struct chain *chain = &call->chain->chain;
	for (size_t i = 0; i < pg_rows(r); i++) {
		struct u256 token_id = { 0 };
		const char *reason = NULL;
		bool has_id = !pg_is_null(r, i, 2) && pg_get_u256(r, i, 2, &token_id) == 0;
		bool touched = !pg_is_null(r, i, 5), observed = !pg_is_null(r, i, 8), non_conserving = pg_get_bool(r, i, 4);
		rows[i] = (struct balance_row){ .asset = asset_from_columns((int)pg_get_i64(r, i, 0), pg_get_bytes(r, i, 1), has_id, token_id),
						.asset_id = (int32_t)pg_get_i64(r, i, 3),
						.non_conserving = non_conserving,
						.touched = touched,
						.opening_known = pg_get_bool(r, i, 7),
						.reconciled_height = pg_is_null(r, i, 6) ? -1 : pg_get_i64(r, i, 6) };
		rows[i].asks_chain = non_conserving && chain->family->reconcilable(chain, account, &rows[i].asset, &reason);
		rows[i].pending = rows[i].asks_chain && !observed;
		const char *amount = rows[i].asks_chain && observed ? pg_get_text(r, i, 8) : touched ? pg_get_text(r, i, 5) : "0";
		rows[i].amount = arena_text(call->arena, amount);
	}
	return pg_rows(r);
}

static bool query_balances(struct call *call, int64_t account_id, int64_t height, struct bytes hash, struct pg_result **ret)
{
	struct pg_param p[4];
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], account_id);
	pg_i64(&p[2], height);
	pg_bytea(&p[3], hash);
	return call_query(call, "balances", balances_sql, p, 4, ret);
}

void rest_balances(struct call *call)
{
	struct bytes account = { 0 };
	uint8_t buffer[32];
	int64_t account_id = 0, height = 0;
	struct chain_heights heights;
	struct block_ref block;
	struct pg_result *r = NULL;
	char text[24];
	if (!call_chain(call) || !read_account(call, call->places[1], &account, buffer) || !call_begin(call) || !read_heights(call, &heights))
		return;
	if (heights.watermark < heights.start) {
		call_problem(call, 404, "height_not_reached", "the ledger has no block yet");
		return;
	}
	if (!choose_height(call, &heights, &height))
		return;
	snprintf(text, sizeof text, "%lld", (long long)height);
	if (!find_block(call, text, &block) || !find_account(call, account, &account_id))
		return;
	size_t n = 0;
	struct balance_row *rows = NULL;
	if (account_id != 0) {
		if (!query_balances(call, account_id, height, (struct bytes){ block.hash, 32 }, &r))
			return;
		rows = arena_zalloc(call->arena, pg_rows(r) + 1, sizeof *rows);
		if (!rows) {
			pg_result_free(&r);
			call_problem(call, 500, "answer_too_large", "the account holds more assets than fit one answer");
			return;
		}
		n = read_rows(call, r, account, rows);
		pg_result_free(&r);
		call_release(call);
		if (!observe_balances(call, account, account_id, &block, rows, n))
			return;
	}
	page_begin(call);
	for (size_t i = 0; i < n; i++)
		if (rows[i].touched || strcmp(rows[i].amount, "0") != 0)
			put_balance(call, &rows[i], height, finality_at(&heights, height));
	put_end(call->out, ']');
	put_null(call->out, "next_cursor");
	put_i64(call->out, "height", height);
	put_hex(call->out, "block_hash", (struct bytes){ block.hash, 32 });
	put_end(call->out, '}');
}

/* ---- entries --------------------------------------------------------------------------------------------------------------------------- */

/* $1 chain, $2 account, $3 asset or 0, $4..$5 heights, $6..$7 position, $8 limit. By asset, because the index is; then merged. */
static const char *const entries_sql =
	"with e as (select e.* from (select asset from weir_api.balances where account = $2 and ($3 = 0 or asset = $3)) b cross join lateral"
	" (select * from weir_api.entries e where e.chain = $1 and e.account = $2 and e.asset = b.asset and not e.superseded"
	"   and e.height between $4 and $5 and (e.height, e.ordinal) > ($6, $7) and ($9 = 0 or e.kind = $9) order by e.height, e.ordinal limit $8) e"
	" order by e.height, e.ordinal limit $8)"
	" select " ENTRY_COLUMNS " from e" ENTRY_JOINS " order by e.height, e.ordinal";

static bool read_filter(struct call *call, const struct chain_heights *heights, int32_t *ret_asset, bool *ret_unknown, struct cursor *ret_cursor)
{
	const char *asset_given = call_text(call, "asset");
	struct chain_asset asset;
	*ret_asset = 0;
	*ret_unknown = false;
	*ret_cursor = (struct cursor){ .kind = CURSOR_ACCOUNT_ENTRIES, .height = -1, .ordinal = -1, .pinned = -1, .as_of = heights->watermark };
	if (asset_given) {
		if (!read_asset(call, asset_given, &asset) || !find_asset(call, &asset, ret_asset))
			return false;
		*ret_unknown = *ret_asset == 0;
	}
	return page_cursor(call, CURSOR_ACCOUNT_ENTRIES, ret_cursor) && page_stands(call, ret_cursor, true);
}

void rest_account_entries(struct call *call)
{
	struct bytes account = { 0 };
	uint8_t buffer[32];
	int64_t account_id = 0, limit = call_number(call, "limit", LIMIT_DEFAULT), from = 0, to = 0;
	int32_t asset_id = 0;
	bool unknown = false;
	struct chain_heights heights;
	struct cursor cursor;
	int kind = 0;
	struct pg_param p[9];
	struct pg_result *r = NULL;
	if (!call_chain(call) || !read_account(call, call->places[1], &account, buffer) || !call_begin(call) || !read_heights(call, &heights) ||
	    !read_kind(call, &kind) || !read_range(call, &from, &to) || !find_account(call, account, &account_id) ||
	    !read_filter(call, &heights, &asset_id, &unknown, &cursor))
		return;
	if (account_id == 0 || unknown) {
		page_begin(call);
		page_end(call, NULL);
		return;
	}
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], account_id);
	pg_i32(&p[2], asset_id);
	pg_i64(&p[3], from);
	/* As of the first page: what a later block brings, an asset's opening with it, would partly lie before the cursor. */
	pg_i64(&p[4], to < cursor.as_of ? to : cursor.as_of);
	pg_i64(&p[5], cursor.height);
	pg_i32(&p[6], cursor.ordinal);
	pg_i64(&p[7], limit + 1);
	pg_i32(&p[8], kind);
	if (!call_query(call, "account_entries", entries_sql, p, 9, &r))
		return;
	put_entry_page(call, r, (size_t)limit, &cursor);
	pg_result_free(&r);
}

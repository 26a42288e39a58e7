/* rest_summaries.c - GET …/accounts/{account}/statistics: what came and went, by asset and kind; …/assets/{asset}/statistics: supply, who holds most, what moved. */
#include "rest/rest.h"

/* What one answer may be made of: it is read as a whole. */
#define ENTRIES_MAX 100000
#define HOLDERS_MAX 100000
#define BLOCKS_DEFAULT 100
#define TOP_DEFAULT 10

/* ---- an account ------------------------------------------------------------------------------------------------------------------------ */

/* $1 chain, $2 account, $3 asset or 0, $4..$5 heights, $6 entries read at most. By asset, because the index is. */
static const char *const account_sql =
	"with e as (select e.* from (select asset from weir_api.balances where account = $2 and ($3 = 0 or asset = $3)) b cross join lateral"
	" (select asset, kind, delta, height from weir_api.entries e where e.chain = $1 and e.account = $2 and e.asset = b.asset and not e.superseded"
	"   and e.height between $4 and $5 limit $6) e limit $6)"
	" select s.standard, s.contract, s.token_id, g.* from (select asset, kind, count(*), coalesce(sum(delta) filter (where delta > 0), 0)::text,"
	"  coalesce(-sum(delta) filter (where delta < 0), 0)::text, min(height), max(height) from e group by asset, kind) g"
	" join weir_api.assets s on s.id = g.asset order by g.asset, g.kind";

static int64_t count_entries(const struct pg_result *r)
{
	int64_t n = 0;
	for (size_t i = 0; i < pg_rows(r); i++)
		n += pg_get_i64(r, i, 5);
	return n;
}

static void put_asset_of_row(struct call *call, const struct pg_result *r, size_t row)
{
	char text[ASSET_TEXT_MAX];
	struct u256 token_id = { 0 };
	bool has_id = !pg_is_null(r, row, 2) && pg_get_u256(r, row, 2, &token_id) == 0;
	struct chain_asset asset = asset_from_columns((int)pg_get_i64(r, row, 0), pg_get_bytes(r, row, 1), has_id, token_id);
	asset_text(&call->chain->chain, &asset, text);
	put_text(call->out, "asset", text);
}

static void put_account_statistics(struct call *call, struct bytes account, const struct pg_result *r)
{
	struct buf *out = call->out;
	char text[80];
	int64_t first = -1, last = -1;
	for (size_t i = 0; r && i < pg_rows(r); i++) {
		first = first < 0 || pg_get_i64(r, i, 8) < first ? pg_get_i64(r, i, 8) : first;
		last = pg_get_i64(r, i, 9) > last ? pg_get_i64(r, i, 9) : last;
	}
	account_text(&call->chain->chain, account, text);
	put_object(out, NULL);
	put_text(out, "chain", call->chain->chain.name);
	put_text(out, "account", text);
	put_i64(out, "entries", r ? count_entries(r) : 0);
	if (last < 0)
		put_null(out, "first_height");
	else
		put_i64(out, "first_height", first);
	if (last < 0)
		put_null(out, "last_height");
	else
		put_i64(out, "last_height", last);
	put_array(out, "items");
	for (size_t i = 0; r && i < pg_rows(r); i++) {
		put_object(out, NULL);
		put_asset_of_row(call, r, i);
		put_text(out, "kind", kind_name((int)pg_get_i64(r, i, 4)));
		put_i64(out, "entries", pg_get_i64(r, i, 5));
		put_text(out, "in", pg_get_text(r, i, 6));
		put_text(out, "out", pg_get_text(r, i, 7));
		put_i64(out, "first_height", pg_get_i64(r, i, 8));
		put_i64(out, "last_height", pg_get_i64(r, i, 9));
		put_end(out, '}');
	}
	put_end(out, ']');
	put_end(out, '}');
}

void rest_account_statistics(struct call *call)
{
	struct bytes account = { 0 };
	struct chain_asset asset;
	uint8_t buffer[32];
	int64_t account_id = 0, from = 0, to = 0;
	int32_t asset_id = 0;
	const char *asset_given = call_text(call, "asset");
	struct pg_param p[6];
	struct pg_result *r = NULL;
	if (!call_chain(call) || !read_account(call, call->places[1], &account, buffer) || !call_begin(call) || !read_range(call, &from, &to) || !find_account(call, account, &account_id))
		return;
	if (asset_given && (!read_asset(call, asset_given, &asset) || !find_asset(call, &asset, &asset_id)))
		return;
	if (account_id == 0 || (asset_given && asset_id == 0)) {
		put_account_statistics(call, account, NULL);
		return;
	}
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], account_id);
	pg_i32(&p[2], asset_id);
	pg_i64(&p[3], from);
	pg_i64(&p[4], to);
	pg_i64(&p[5], ENTRIES_MAX + 1);
	if (!call_query(call, "account_statistics", account_sql, p, 6, &r))
		return;
	if (count_entries(r) > ENTRIES_MAX)
		call_problem(call, 400, "range_too_large", "one answer is of at most %d entries: ask for less with asset, from and to, or since and until", ENTRIES_MAX);
	else
		put_account_statistics(call, account, r);
	pg_result_free(&r);
}

/* ---- an asset -------------------------------------------------------------------------------------------------------------------------- */

/* $1 asset (as the index of holders has it: bigint), $2 accounts read at most, $3 how many to name. The zero address holds nothing: what it has is what was burned, less what was minted. */
static const char *const holders_sql =
	"with held as (select b.account, b.amount, b.opening_known, a.address, a.address = decode(repeat('00', length(a.address)), 'hex') as zero"
	"   from (select account, amount, opening_known from weir_api.balances where asset::bigint = $1 limit $2) b join weir_api.accounts a on a.id = b.account)"
	" select count(*), count(*) filter (where amount > 0 and not zero), coalesce(sum(amount) filter (where not zero), 0)::text,"
	"  count(*) filter (where not opening_known), null::bytea, null::text from held"
	" union all (select null, null, null, null, address, amount::text from held where amount > 0 and not zero order by held.amount desc, address limit $3)";

/* $1 chain, $2 asset, $3..$4 heights. */
static const char *const moved_sql =
	"select e.kind, count(*), coalesce(sum(e.delta) filter (where e.delta > 0), 0)::text, count(distinct e.account) from weir_api.entries e"
	" where e.chain = $1 and e.asset = $2 and e.height between $3 and $4 and not e.superseded group by e.kind order by e.kind";

struct asset_facts {
	int32_t id;
	bool non_conserving;
};

static bool find_facts(struct call *call, const struct chain_asset *asset, struct asset_facts *ret)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	if (!find_asset(call, asset, &ret->id))
		return false;
	if (ret->id == 0)
		return call_problem(call, 404, "asset_unknown", "nobody ever moved this asset in the ledger");
	if (!call_query(call, "asset_facts", "select non_conserving from weir_api.assets where id = $1", pg_i32(&p, ret->id), 1, &r))
		return false;
	ret->non_conserving = pg_get_bool(r, 0, 0);
	pg_result_free(&r);
	return true;
}

/* What the ledger's own sums cannot say is null: more accounts than one answer is made of, and assets whose balances are the chain's word. */
static void put_holders(struct call *call, const struct pg_result *r)
{
	struct buf *out = call->out;
	char text[80];
	const bool known = r && pg_get_i64(r, 0, 0) <= HOLDERS_MAX;
	if (!known) {
		static const char *const names[] = { "holders", "supply", "openings_unknown", "top" };
		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
			put_null(out, names[i]);
		return;
	}
	put_i64(out, "holders", pg_get_i64(r, 0, 1));
	put_text(out, "supply", pg_get_text(r, 0, 2));
	put_i64(out, "openings_unknown", pg_get_i64(r, 0, 3));
	put_array(out, "top");
	for (size_t i = 1; i < pg_rows(r); i++) {
		account_text(&call->chain->chain, pg_get_bytes(r, i, 4), text);
		put_object(out, NULL);
		put_text(out, "account", text);
		put_text(out, "amount", pg_get_text(r, i, 5));
		put_end(out, '}');
	}
	put_end(out, ']');
}

static void put_moved(struct buf *out, const struct pg_result *r)
{
	put_array(out, "moved");
	for (size_t i = 0; i < pg_rows(r); i++) {
		put_object(out, NULL);
		put_text(out, "kind", kind_name((int)pg_get_i64(r, i, 0)));
		put_i64(out, "entries", pg_get_i64(r, i, 1));
		put_text(out, "received", pg_get_text(r, i, 2));
		put_i64(out, "accounts", pg_get_i64(r, i, 3));
		put_end(out, '}');
	}
	put_end(out, ']');
}

void rest_asset_statistics(struct call *call)
{
	struct chain_asset asset;
	struct asset_facts facts = { 0 };
	struct chain_heights heights;
	struct pg_param p[4];
	struct pg_result *held = NULL, *moved = NULL;
	char text[ASSET_TEXT_MAX];
	const int64_t blocks = call_number(call, "blocks", BLOCKS_DEFAULT);
	if (!call_chain(call) || !read_asset(call, call->places[1], &asset) || !call_begin(call) || !read_heights(call, &heights) || !find_facts(call, &asset, &facts))
		return;
	pg_i64(&p[0], facts.id);
	pg_i64(&p[1], HOLDERS_MAX + 1);
	pg_i64(&p[2], call_number(call, "top", TOP_DEFAULT));
	if (!facts.non_conserving && !call_query(call, "asset_holders", holders_sql, p, 3, &held))
		return;
	const int64_t from = heights.watermark - blocks + 1 > heights.start ? heights.watermark - blocks + 1 : heights.start;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i32(&p[1], facts.id);
	pg_i64(&p[2], from);
	pg_i64(&p[3], heights.watermark);
	if (call_query(call, "asset_moved", moved_sql, p, 4, &moved)) {
		struct buf *out = call->out;
		asset_text(&call->chain->chain, &asset, text);
		put_object(out, NULL);
		put_text(out, "chain", call->chain->chain.name);
		put_text(out, "asset", text);
		put_bool(out, "non_conserving", facts.non_conserving);
		put_holders(call, held);
		put_i64(out, "from_height", from);
		put_i64(out, "to_height", heights.watermark);
		put_moved(out, moved);
		put_end(out, '}');
	}
	pg_result_free(&held);
	pg_result_free(&moved);
}

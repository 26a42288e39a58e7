/* admin_lists.c - GET /admin/v1/gaps, /admin/v1/incidents, /admin/v1/explain. */
#include "admin.h"

#include <stdio.h>
#include <string.h>

/* The filter that both lists have: chain, open, cursor (a row's id), limit. */
static bool read_filter(struct call *call, struct pg_param p[4], struct cursor *ret)
{
	struct error err = { 0 };
	const char *text = call_text(call, "cursor"), *chain = call_text(call, "chain");
	const struct value *open = call_value(call, "open");
	*ret = (struct cursor){ .kind = CURSOR_ROWS, .height = INT64_MAX };
	if (text && cursor_parse(text, CURSOR_ROWS, ret, &err))
		return call_problem(call, 400, "invalid_cursor", "%s", err.text);
	if (chain && !gateway_find_chain(call->gateway, chain))
		return call_problem(call, 404, "chain_unknown", "no chain of that name is served here");
	for (size_t i = 0; i < call->gateway->chain_count; i++)
		if (atomic_load(&call->gateway->chains[i].id) != 0)
			call->chain = &call->gateway->chains[i];
	if (!call->chain)
		return call_problem(call, 503, "ledger_not_ready", "there is no ledger yet");
	pg_text(&p[0], chain ? chain : "");
	pg_i64(&p[1], ret->height);
	pg_i32(&p[2], !open->given ? -1 : open->number ? 1 : 0);
	pg_i64(&p[3], call_number(call, "limit", LIMIT_DEFAULT) + 1);
	return true;
}

static void list(struct call *call, const char *name, const char *sql, void (*put_row)(struct call *, const struct pg_result *, size_t row))
{
	struct pg_param p[4];
	struct cursor cursor;
	struct pg_result *r = NULL;
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	if (!read_filter(call, p, &cursor) || !call_begin(call) || !call_query(call, name, sql, p, 4, &r))
		return;
	size_t n = pg_rows(r), shown = n > limit ? limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++) {
		put_object(call->out, NULL);
		put_row(call, r, i);
		put_end(call->out, '}');
		cursor.height = pg_get_i64(r, i, 0);
	}
	page_end(call, n > shown ? &cursor : NULL);
	pg_result_free(&r);
}

static void put_gap(struct call *call, const struct pg_result *r, size_t row)
{
	struct buf *out = call->out;
	put_i64(out, "id", pg_get_i64(r, row, 0));
	put_text(out, "chain", pg_get_text(r, row, 1));
	put_i64(out, "from_height", pg_get_i64(r, row, 2));
	put_i64(out, "to_height", pg_get_i64(r, row, 3));
	put_text(out, "reason", pg_get_text(r, row, 4));
	put_text(out, "detail", pg_get_text(r, row, 5));
	put_i64(out, "attempts", pg_get_i64(r, row, 6));
	put_bool(out, "open", pg_is_null(r, row, 8));
	put_milliseconds(out, "opened_at", pg_get_i64(r, row, 7));
	put_milliseconds(out, "closed_at", pg_get_i64(r, row, 8));
}

#define MS(column) "(extract(epoch from " #column ") * 1000)::int8"
#define ROWS_WHERE                                                                                                \
	" where ($1 = '' or c.name = $1) and x.id < $2 and ($3 < 0 or (x.closed_at is null) = ($3 = 1)) order by x.id desc limit $4"

void admin_gaps(struct call *call)
{
	list(call, "gaps",
	     "select x.id, c.name, x.from_height, x.to_height, x.reason, x.detail, x.attempts, " MS(x.opened_at) ", " MS(x.closed_at)
	     " from weir_api.gaps x join weir_api.chains c on c.id = x.chain" ROWS_WHERE,
	     put_gap);
}

static void put_incident(struct call *call, const struct pg_result *r, size_t row)
{
	struct buf *out = call->out;
	const struct gateway_chain *chain = gateway_find_chain(call->gateway, pg_get_text(r, row, 1));
	char text[ASSET_TEXT_MAX];
	put_i64(out, "id", pg_get_i64(r, row, 0));
	put_text(out, "chain", pg_get_text(r, row, 1));
	put_text(out, "kind", pg_get_text(r, row, 2));
	put_text(out, "state", pg_get_text(r, row, 3));
	bool has_account = chain && !pg_is_null(r, row, 4), has_asset = chain && !pg_is_null(r, row, 5);
	if (has_account)
		account_text(&chain->chain, pg_get_bytes(r, row, 4), text);
	put_text(out, "account", has_account ? text : NULL);
	if (has_asset) {
		struct u256 id = { 0 };
		bool has_id = !pg_is_null(r, row, 7) && pg_get_u256(r, row, 7, &id) == 0;
		struct chain_asset asset = asset_from_columns((int)pg_get_i64(r, row, 5), pg_get_bytes(r, row, 6), has_id, id);
		asset_text(&chain->chain, &asset, text);
	}
	put_text(out, "asset", has_asset ? text : NULL);
	put_i64(out, "height", pg_get_i64(r, row, 8));
	if (pg_is_null(r, row, 9))
		put_null(out, "first_wrong_height");
	else
		put_i64(out, "first_wrong_height", pg_get_i64(r, row, 9));
	put_text(out, "expected", pg_is_null(r, row, 10) ? NULL : pg_get_text(r, row, 10));
	put_text(out, "observed", pg_is_null(r, row, 11) ? NULL : pg_get_text(r, row, 11));
	put_text(out, "resolution", pg_is_null(r, row, 12) ? NULL : pg_get_text(r, row, 12));
	put_raw(out, "evidence", pg_get_text(r, row, 13));
	put_bool(out, "open", pg_is_null(r, row, 16));
	put_milliseconds(out, "opened_at", pg_get_i64(r, row, 14));
	put_milliseconds(out, "updated_at", pg_get_i64(r, row, 15));
	put_milliseconds(out, "closed_at", pg_get_i64(r, row, 16));
}

void admin_incidents(struct call *call)
{
	list(call, "incidents",
	     "select x.id, c.name, x.kind, x.state, a.address, s.standard, s.contract, s.token_id, x.height, x.first_wrong_height,"
	     " x.expected::text, x.observed::text, x.resolution, x.evidence::text, " MS(x.opened_at) ", " MS(x.updated_at) ", " MS(x.closed_at)
	     " from weir_api.incidents x join weir_api.chains c on c.id = x.chain left join weir_api.accounts a on a.id = x.account"
	     " left join weir_api.assets s on s.id = x.asset" ROWS_WHERE,
	     put_incident);
}

/* ---- explain ----------------------------------------------------------------------------------------------------------------------------- */

static const char *const explain_sql =
	"with e as (select * from weir_api.entries e where e.chain = $1 and e.account = $2 and e.asset = $3 and not e.superseded and e.height <= $4"
	" and (e.height, e.ordinal) > ($5, $6) order by e.height, e.ordinal limit $7)"
	" select " ENTRY_COLUMNS ", e.branch, k.proven, k.passed, k.failed, k.not_possible,"
	" (select coalesce(jsonb_agg(x), '[]') from unnest(b.endpoints) x)::text from e" ENTRY_JOINS
	" left join weir_api.certificates k on k.chain = e.chain and k.height = e.height and k.branch = e.branch and e.kind not in (14, 15)"
	" order by e.height, e.ordinal";

static void put_checks(struct buf *out, const char *key, int64_t bits)
{
	put_array(out, key);
	for (int i = 1; i < 31; i++)
		if (bits >> i & 1)
			put_text(out, NULL, check_name(i));
	put_end(out, ']');
}

static void put_explained(struct call *call, const struct pg_result *r, size_t row, struct cursor *next)
{
	struct buf *out = call->out;
	struct chain_asset asset;
	struct entry_view entry;
	entry_from_row(r, row, 0, &asset, &entry);
	put_object(out, NULL);
	put_entry_members(out, &call->chain->chain, &entry);
	const size_t c = ENTRY_COLUMN_COUNT;
	if (pg_is_null(r, row, c + 1)) {
		put_null(out, "proof");
	} else {
		put_object(out, "proof");
		put_bool(out, "proven", pg_get_bool(r, row, c + 1));
		put_checks(out, "passed", pg_get_i64(r, row, c + 2));
		put_checks(out, "failed", pg_get_i64(r, row, c + 3));
		put_checks(out, "not_possible", pg_get_i64(r, row, c + 4));
		put_raw(out, "endpoints", pg_get_text(r, row, c + 5));
		put_end(out, '}');
	}
	put_end(out, '}');
	next->height = entry.height;
	next->ordinal = entry.ordinal;
	next->branch = (int16_t)pg_get_i64(r, row, c);
}

/* Members before the list: what the balance is at that height, as far as the ledger itself sums it. */
static bool put_subject(struct call *call, struct bytes account, const struct chain_asset *asset, int64_t account_id, int32_t asset_id, int64_t height)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	char text[ASSET_TEXT_MAX];
	struct buf *out = call->out;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], account_id);
	pg_i32(&p[2], asset_id);
	pg_i64(&p[3], height);
	if (!call_query(call, "explain_subject",
			"select s.non_conserving, b.opening_known, b.reconciled_height,"
			" (select e.balance::text from weir_api.entries e where e.chain = $1 and e.account = $2 and e.asset = $3 and not e.superseded"
			"   and e.height <= $4 order by e.height desc, e.ordinal desc limit 1)"
			" from weir_api.assets s left join weir_api.balances b on b.asset = s.id and b.account = $2 where s.id = $3",
			p, 4, &r))
		return false;
	put_object(out, NULL);
	put_text(out, "chain", call->chain->chain.name);
	account_text(&call->chain->chain, account, text);
	put_text(out, "account", text);
	asset_text(&call->chain->chain, asset, text);
	put_text(out, "asset", text);
	put_i64(out, "height", height);
	put_text(out, "amount", pg_rows(r) == 1 && !pg_is_null(r, 0, 3) ? pg_get_text(r, 0, 3) : "0");
	put_bool(out, "non_conserving", pg_rows(r) == 1 && pg_get_bool(r, 0, 0));
	put_bool(out, "opening_known", pg_rows(r) == 0 || pg_is_null(r, 0, 1) || pg_get_bool(r, 0, 1));
	if (pg_rows(r) == 1 && !pg_is_null(r, 0, 2))
		put_i64(out, "reconciled_at_height", pg_get_i64(r, 0, 2));
	else
		put_null(out, "reconciled_at_height");
	pg_result_free(&r);
	return true;
}

void admin_explain(struct call *call)
{
	struct bytes account;
	uint8_t buffer[32];
	struct chain_asset asset;
	struct chain_heights heights;
	struct error err = { 0 };
	int64_t account_id = 0, limit = call_number(call, "limit", LIMIT_DEFAULT);
	int32_t asset_id = 0;
	struct cursor cursor = { .kind = CURSOR_ACCOUNT_ENTRIES, .height = -1, .ordinal = -1 };
	struct pg_param p[7];
	struct pg_result *r = NULL;
	const char *text = call_text(call, "cursor");
	if (text && cursor_parse(text, CURSOR_ACCOUNT_ENTRIES, &cursor, &err)) {
		call_problem(call, 400, "invalid_cursor", "%s", err.text);
		return;
	}
	if (!call_chain_named(call, call_text(call, "chain")) || !read_account(call, call_text(call, "account"), &account, buffer) ||
	    !read_asset(call, call_text(call, "asset"), &asset) || !call_begin(call) || !read_heights(call, &heights) ||
	    !find_account(call, account, &account_id) || !find_asset(call, &asset, &asset_id))
		return;
	int64_t height = call_number(call, "height", heights.watermark);
	if (height > heights.watermark) {
		call_problem(call, 404, "height_not_reached", "the ledger has reached height %lld", (long long)heights.watermark);
		return;
	}
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], account_id);
	pg_i32(&p[2], asset_id);
	pg_i64(&p[3], height);
	pg_i64(&p[4], cursor.height);
	pg_i32(&p[5], cursor.ordinal);
	pg_i64(&p[6], limit + 1);
	if (!call_query(call, "explain", explain_sql, p, 7, &r))
		return;
	if (put_subject(call, account, &asset, account_id, asset_id, height)) {
		size_t n = pg_rows(r), shown = n > (size_t)limit ? (size_t)limit : n;
		put_array(call->out, "items");
		for (size_t i = 0; i < shown; i++)
			put_explained(call, r, i, &cursor);
		page_end(call, n > shown ? &cursor : NULL);
	}
	pg_result_free(&r);
}

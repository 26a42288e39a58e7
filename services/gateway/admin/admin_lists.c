/* admin_lists.c - GET /admin/v1/gaps and /admin/v1/incidents. */
#include "admin/admin.h"

#include <stdio.h>
#include <string.h>

/* The filter that both lists have: chain, open, cursor (a row's id), limit. */
static bool read_filter(struct call *call, struct pg_param p[4], struct cursor *ret)
{
	const char *chain = call_text(call, "chain");
	const struct value *open = call_value(call, "open");
	*ret = (struct cursor){ .kind = CURSOR_ROWS, .height = INT64_MAX, .pinned = -1, .as_of = -1 };
	if (!page_cursor(call, CURSOR_ROWS, ret))
		return false;
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

/* rest_chains.c - GET /v1/chains and /v1/chains/{chain}. */
#include "rest/rest.h"

#include "live/event.h"
#include "live/protocol.h"

#include <stdio.h>
#include <string.h>

#define AT(column) "(extract(epoch from c." #column ") * 1000)::int8"

const char *const chain_columns_sql =
	"select c.name, c.family, c.profile, c.chain_id, c.genesis_hash, c.start_height, c.watermark_height, c.watermark_hash, " AT(watermark_at) ","
	" c.head_height, c.head_hash, " AT(head_at) ", c.safe_height, c.finalized_height, c.journal_sequence, c.paused, c.gaps, c.incidents,"
	" case when c.head_height > c.watermark_height then greatest(0, extract(epoch from now())::int8 -"
	"   coalesce((select b.timestamp from weir_api.blocks b where b.chain = c.id and b.height = c.watermark_height and b.canonical),"
	"            extract(epoch from c.head_at)::int8)) else 0 end::int8,"
	" (select j.body from weir_api.journal j where j.chain = c.id and j.sequence = c.journal_sequence)"
	" from weir_api.chains c";

static void put_ref(struct buf *out, const char *key, const struct pg_result *r, size_t row, size_t height, size_t hash, size_t at)
{
	if (pg_is_null(r, row, height) || pg_get_i64(r, row, height) < 0) {
		put_null(out, key);
		return;
	}
	put_object(out, key);
	put_i64(out, "height", pg_get_i64(r, row, height));
	put_hex(out, "hash", pg_get_bytes(r, row, hash));
	put_milliseconds(out, "at", pg_get_i64(r, row, at));
	put_end(out, '}');
}

static void put_optional_height(struct buf *out, const char *key, const struct pg_result *r, size_t row, size_t column)
{
	if (pg_is_null(r, row, column) || pg_get_i64(r, row, column) < 0)
		put_null(out, key);
	else
		put_i64(out, key, pg_get_i64(r, row, column));
}

/* The journal's end, to subscribe from. */
static void put_offset(struct call *call, const struct pg_result *r, size_t row)
{
	char text[OFFSET_TEXT_MAX];
	struct event *event = NULL;
	struct error err = { 0 };
	struct offset end = { .sequence = (uint64_t)pg_get_i64(r, row, 14), .index = -1 };
	const struct gateway_chain *chain = gateway_find_chain(call->gateway, pg_get_text(r, row, 0));
	if (chain && !pg_is_null(r, row, 19) && event_read(&chain->chain, pg_get_bytes(r, row, 19), &event, &err) == 0)
		end.print = event->print;
	event_drop(&event);
	offset_print(&end, text);
	put_text(call->out, "offset", text);
}

void put_chain_members(struct call *call, const struct pg_result *r, size_t row)
{
	struct buf *out = call->out;
	int64_t head = pg_is_null(r, row, 9) ? -1 : pg_get_i64(r, row, 9), watermark = pg_get_i64(r, row, 6);
	put_text(out, "name", pg_get_text(r, row, 0));
	put_text(out, "family", pg_get_text(r, row, 1));
	put_text(out, "profile", pg_get_text(r, row, 2));
	put_i64(out, "chain_id", pg_get_i64(r, row, 3));
	put_hex(out, "genesis_hash", pg_get_bytes(r, row, 4));
	put_i64(out, "start_height", pg_get_i64(r, row, 5));
	put_ref(out, "head", r, row, 9, 10, 11);
	put_ref(out, "watermark", r, row, 6, 7, 8);
	put_optional_height(out, "safe", r, row, 12);
	put_optional_height(out, "finalized", r, row, 13);
	put_i64(out, "lag_blocks", head > watermark ? head - watermark : 0);
	put_i64(out, "lag_seconds", pg_get_i64(r, row, 18));
	put_i64(out, "gaps", pg_get_i64(r, row, 16));
	put_i64(out, "incidents", pg_get_i64(r, row, 17));
	put_bool(out, "paused", pg_get_bool(r, row, 15));
	put_offset(call, r, row);
}

void rest_chains(struct call *call)
{
	char sql[2000];
	struct pg_result *r = NULL;
	snprintf(sql, sizeof sql, "%s order by c.name", chain_columns_sql);
	for (size_t i = 0; i < call->gateway->chain_count; i++)
		if (atomic_load(&call->gateway->chains[i].id) != 0)
			call->chain = &call->gateway->chains[i];
	if (!call->chain) { /* no ledger yet: an empty list is the truth */
		page_begin(call);
		page_end(call, NULL);
		return;
	}
	if (!call_begin(call) || !call_query(call, "chains", sql, NULL, 0, &r))
		return;
	page_begin(call);
	for (size_t i = 0; i < pg_rows(r); i++) {
		if (!gateway_find_chain(call->gateway, pg_get_text(r, i, 0)))
			continue;
		put_object(call->out, NULL);
		put_chain_members(call, r, i);
		put_end(call->out, '}');
	}
	page_end(call, NULL);
	pg_result_free(&r);
}

void rest_chain(struct call *call)
{
	char sql[2000];
	struct pg_result *r = NULL;
	struct pg_param p;
	snprintf(sql, sizeof sql, "%s where c.id = $1", chain_columns_sql);
	if (!call_chain(call) || !call_begin(call) || !call_query(call, "chain", sql, pg_i32(&p, atomic_load(&call->chain->id)), 1, &r))
		return;
	if (pg_rows(r) == 0) {
		call_problem(call, 503, "ledger_not_ready", "the ledger does not have this chain yet");
	} else {
		put_object(call->out, NULL);
		put_chain_members(call, r, 0);
		put_end(call->out, '}');
	}
	pg_result_free(&r);
}

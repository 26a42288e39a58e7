/* rest_blocks.c - GET …/blocks, …/blocks/{block}, its certificate and its entries. */
#include "rest/rest.h"
#include "call/validator.h"

#include "wire/hex.h"

#include "weir/v1/block.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_COLUMNS                                                                                                             \
	"b.height, b.hash, b.parent_hash, b.timestamp, b.finality, b.transaction_count, b.entry_count, b.gas_used, b.base_fee::text," \
	" b.fee_recipient, (select coalesce(jsonb_agg(e), '[]') from unnest(b.endpoints) e)::text, b.branch, b.canonical,"           \
	" (extract(epoch from b.applied_at) * 1000)::int8"

static void put_block_members(struct call *call, const struct pg_result *r, size_t row)
{
	struct buf *out = call->out;
	uint8_t id[EVENT_ID_SIZE];
	char text[80];
	block_id(call->chain->chain.name, pg_get_bytes(r, row, 1), id);
	put_id(out, "id", id);
	put_text(out, "chain", call->chain->chain.name);
	put_i64(out, "height", pg_get_i64(r, row, 0));
	put_hex(out, "hash", pg_get_bytes(r, row, 1));
	put_hex(out, "parent_hash", pg_get_bytes(r, row, 2));
	put_i64(out, "timestamp", pg_get_i64(r, row, 3));
	put_text(out, "finality", pg_get_text(r, row, 4));
	put_i64(out, "transaction_count", pg_get_i64(r, row, 5));
	put_i64(out, "entry_count", pg_get_i64(r, row, 6));
	put_i64(out, "gas_used", pg_get_i64(r, row, 7));
	put_text(out, "base_fee", pg_is_null(r, row, 8) ? NULL : pg_get_text(r, row, 8));
	if (!pg_is_null(r, row, 9))
		account_text(&call->chain->chain, pg_get_bytes(r, row, 9), text);
	put_text(out, "fee_recipient", pg_is_null(r, row, 9) ? NULL : text);
	put_raw(out, "endpoints", pg_get_text(r, row, 10));
	put_milliseconds(out, "applied_at", pg_get_i64(r, row, 13));
}

static const struct block_sql blocks = { BLOCK_SQL("block", BLOCK_COLUMNS), 0, 11, 1, 12, 4, 6 };

static struct pg_param *block_key(struct call *call, const struct block_ref *block, struct pg_param p[3])
{
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], block->height);
	pg_i32(&p[2], block->branch);
	return p;
}

/* ---- handlers ---------------------------------------------------------------------------------------------------------------------------- */

void rest_blocks(struct call *call)
{
	struct cursor cursor = { .kind = CURSOR_BLOCKS, .height = INT64_MAX, .pinned = -1, .as_of = -1 };
	struct pg_param p[4];
	struct pg_result *r = NULL;
	int64_t limit = call_number(call, "limit", LIMIT_DEFAULT), from = 0, to = 0;
	if (!page_cursor(call, CURSOR_BLOCKS, &cursor) || !call_chain(call) || !call_begin(call) || !page_stands(call, &cursor, false) || !read_range(call, &from, &to))
		return;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], cursor.height <= to ? cursor.height : to + 1);
	pg_i64(&p[2], limit + 1);
	pg_i64(&p[3], from);
	if (!call_query(call, "blocks",
			"select " BLOCK_COLUMNS " from weir_api.blocks b where b.chain = $1 and b.height < $2 and b.height >= $4 and b.canonical order by b.height desc limit $3",
			p, 4, &r))
		return;
	size_t n = pg_rows(r), shown = n > (size_t)limit ? (size_t)limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++) {
		put_object(call->out, NULL);
		put_block_members(call, r, i);
		put_end(call->out, '}');
	}
	if (n > shown && cursor.pinned < 0) /* the newest of all: while it stands, so does what lies below */
		page_pin(&cursor, pg_get_i64(r, 0, 0), pg_get_bytes(r, 0, 1));
	if (n > shown)
		cursor.height = pg_get_i64(r, shown - 1, 0);
	page_end(call, n > shown ? &cursor : NULL);
	pg_result_free(&r);
}

static bool ask_one(struct call *call, struct row_ask *ret)
{
	return call_chain(call) && ask_block(call, &blocks, call->places[1], ret);
}

static void put_one(struct call *call, const struct pg_result *r)
{
	struct block_ref block;
	if (!take_block(call, &blocks, call->places[1], r, &block))
		return;
	validator_tag_block(call, &block, false);
	put_object(call->out, NULL);
	put_block_members(call, r, 0);
	put_end(call->out, '}');
}

const struct route_row rest_block_row = { ask_one, put_one };

void rest_block(struct call *call)
{
	call_row(call, &rest_block_row);
}

static void put_certificate(struct call *call, const struct block_ref *block, const Weir__V1__Certificate *certificate)
{
	static const char *const results[] = { "unknown", "passed", "failed", "not_possible" };
	struct buf *out = call->out;
	put_object(out, NULL);
	put_text(out, "chain", call->chain->chain.name);
	put_i64(out, "height", block->height);
	put_hex(out, "hash", (struct bytes){ block->hash, 32 });
	put_bool(out, "proven", certificate->proven);
	put_text(out, "normalizer_version", certificate->normalizer_version);
	put_milliseconds(out, "normalized_at", (int64_t)certificate->normalized_at_unix_ms);
	put_array(out, "checks");
	for (size_t i = 0; i < certificate->n_checks; i++) {
		const Weir__V1__Check *check = certificate->checks[i];
		put_object(out, NULL);
		put_text(out, "name", check_name((int)check->name));
		put_text(out, "result", results[(unsigned)check->result < 4 ? (unsigned)check->result : 0]);
		put_text(out, "detail", check->detail);
		put_text(out, "endpoint", check->endpoint);
		put_end(out, '}');
	}
	put_end(out, ']');
	put_end(out, '}');
}

void rest_certificate(struct call *call)
{
	struct block_ref block;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	if (!call_chain(call) || !call_begin(call) || !find_block(call, call->places[1], &block) || validator_of_block(call, &block, false))
		return;
	if (!call_query(call, "certificate", "select body from weir_api.certificates where chain = $1 and height = $2 and branch = $3",
			block_key(call, &block, p), 3, &r))
		return;
	struct bytes body = pg_rows(r) == 1 ? pg_get_bytes(r, 0, 0) : (struct bytes){ NULL, 0 };
	Weir__V1__Certificate *certificate = body.data ? weir__v1__certificate__unpack(NULL, body.size, body.data) : NULL;
	if (certificate)
		put_certificate(call, &block, certificate);
	else
		call_problem(call, 404, "certificate_unknown", "the ledger has no certificate of this block");
	if (certificate)
		weir__v1__certificate__free_unpacked(certificate, NULL);
	pg_result_free(&r);
}

/* The block whose entries are listed: the path's, or behind "latest" the one that the first page was of. */
static bool find_listed(struct call *call, struct block_ref *block, struct cursor *cursor)
{
	char height[24];
	bool goes_on = call_text(call, "cursor") != NULL, latest = strcmp(call->places[1], "latest") == 0;
	*cursor = (struct cursor){ .kind = CURSOR_BLOCK_ENTRIES, .ordinal = -1, .as_of = -1 };
	if (!page_cursor(call, CURSOR_BLOCK_ENTRIES, cursor) || !call_chain(call) || !call_begin(call))
		return false;
	snprintf(height, sizeof height, "%lld", (long long)cursor->pinned);
	if (goes_on && latest && !page_stands(call, cursor, false))
		return false;
	if (!find_block(call, goes_on && latest ? height : call->places[1], block))
		return false;
	/* A height may name another block by now. */
	if (goes_on && (cursor->pinned != block->height || memcmp(cursor->hash, block->hash, sizeof cursor->hash) != 0))
		return page_reorged(call, cursor, false);
	page_pin(cursor, block->height, (struct bytes){ block->hash, 32 });
	return true;
}

/* kind, asset and account; 0: any, -1: one that the ledger never saw. */
struct entry_filter {
	int kind;
	int32_t asset;
	int64_t account;
};

static bool read_entry_filter(struct call *call, struct entry_filter *ret)
{
	struct chain_asset asset;
	struct bytes account;
	uint8_t buffer[32];
	const char *asset_given = call_text(call, "asset"), *account_given = call_text(call, "account");
	*ret = (struct entry_filter){ 0 };
	if (!read_kind(call, &ret->kind))
		return false;
	if (asset_given && (!read_asset(call, asset_given, &asset) || !find_asset(call, &asset, &ret->asset)))
		return false;
	if (account_given && (!read_account(call, account_given, &account, buffer) || !find_account(call, account, &ret->account)))
		return false;
	ret->asset = asset_given && ret->asset == 0 ? -1 : ret->asset;
	ret->account = account_given && ret->account == 0 ? -1 : ret->account;
	return true;
}

void rest_block_entries(struct call *call)
{
	struct entry_filter filter;
	struct block_ref block;
	struct cursor cursor;
	struct pg_param p[8];
	struct pg_result *r = NULL;
	int64_t limit = call_number(call, "limit", LIMIT_DEFAULT);
	if (!find_listed(call, &block, &cursor) || !read_entry_filter(call, &filter) || validator_of_block(call, &block, true))
		return;
	block_key(call, &block, p);
	pg_i32(&p[3], cursor.ordinal);
	pg_i64(&p[4], limit + 1);
	pg_i32(&p[5], filter.kind);
	pg_i32(&p[6], filter.asset);
	pg_i64(&p[7], filter.account);
	if (!call_query(call, "block_entries",
			"select " ENTRY_COLUMNS " from (select * from weir_api.entries where chain = $1 and height = $2 and branch = $3 and ordinal > $4"
			" and ($6 = 0 or kind = $6) and ($7 = 0 or asset = $7) and ($8 = 0 or account = $8)"
			" order by ordinal limit $5) e" ENTRY_JOINS " order by e.ordinal",
			p, 8, &r))
		return;
	put_entry_page(call, r, (size_t)limit, &cursor);
	pg_result_free(&r);
}

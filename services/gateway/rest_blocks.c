/* rest_blocks.c - GET …/blocks, …/blocks/{block}, its certificate and its entries. */
#include "rest.h"

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

bool read_heights(struct call *call, struct chain_heights *ret)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	if (!call_query(call, "heights",
			"select start_height, watermark_height, coalesce(safe_height, -1), coalesce(finalized_height, -1) from weir_api.chains where id = $1",
			pg_i32(&p, atomic_load(&call->chain->id)), 1, &r))
		return false;
	bool found = pg_rows(r) == 1;
	if (found)
		*ret = (struct chain_heights){ pg_get_i64(r, 0, 0), pg_get_i64(r, 0, 1), pg_get_i64(r, 0, 2), pg_get_i64(r, 0, 3) };
	pg_result_free(&r);
	return found || call_problem(call, 503, "ledger_not_ready", "the ledger does not have this chain yet");
}

/* ---- naming a block ------------------------------------------------------------------------------------------------------------------- */

#define REF_COLUMNS "select b.height, b.branch, b.hash, b.canonical, b.finality, b.entry_count from weir_api.blocks b where b.chain = $1 and "

static bool query_ref(struct call *call, const char *text, struct pg_param p[2], struct block_ref *ret, struct pg_result **r)
{
	uint8_t hash[32];
	char *end;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	ret->by_hash = text[0] == '0' && text[1] == 'x';
	if (strcmp(text, "latest") == 0)
		return call_query(call, "block_latest",
				  REF_COLUMNS "b.canonical and b.height = (select watermark_height from weir_api.chains where id = $1)", p, 1, r);
	if (ret->by_hash) {
		if (hex_to_bytes(text, strlen(text), hash, 32))
			return call_problem(call, 400, "invalid_block", "a block's hash is 0x and 64 hex digits");
		pg_bytea(&p[1], (struct bytes){ hash, 32 });
		return call_query(call, "block_by_hash", REF_COLUMNS "b.hash = $2 order by b.canonical desc, b.branch desc limit 1", p, 2, r);
	}
	if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
		return call_problem(call, 400, "invalid_block", "a block is named by its height, its hash, or \"latest\"");
	pg_i64(&p[1], strtoll(text, &end, 10));
	return call_query(call, "block_by_height", REF_COLUMNS "b.height = $2 and b.canonical", p, 2, r);
}

bool find_block(struct call *call, const char *text, struct block_ref *ret)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	*ret = (struct block_ref){ 0 };
	if (!query_ref(call, text, p, ret, &r))
		return false;
	if (pg_rows(r) == 0) {
		pg_result_free(&r);
		return call_problem(call, 404, "block_unknown", "the ledger does not have this block");
	}
	ret->height = pg_get_i64(r, 0, 0);
	ret->branch = (int16_t)pg_get_i64(r, 0, 1);
	struct bytes hash = pg_get_bytes(r, 0, 2);
	memcpy(ret->hash, hash.data, hash.size > 32 ? 32 : hash.size);
	ret->canonical = pg_get_bool(r, 0, 3);
	snprintf(ret->finality, sizeof ret->finality, "%s", pg_get_text(r, 0, 4));
	ret->entry_count = (int32_t)pg_get_i64(r, 0, 5);
	pg_result_free(&r);
	return true;
}

static struct pg_param *block_key(struct call *call, const struct block_ref *block, struct pg_param p[3])
{
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], block->height);
	pg_i32(&p[2], block->branch);
	return p;
}

/* ---- handlers ---------------------------------------------------------------------------------------------------------------------------- */

/* The block that a cursor stands behind must still be canonical: else the page would continue on another branch. */
static bool check_cursor(struct call *call, const struct cursor *cursor)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], cursor->height);
	if (!call_query(call, "cursor_block", "select hash from weir_api.blocks where chain = $1 and height = $2 and canonical", p, 2, &r))
		return false;
	bool same = pg_rows(r) == 1 && memcmp(pg_get_bytes(r, 0, 0).data, cursor->hash, sizeof cursor->hash) == 0;
	pg_result_free(&r);
	return same || call_problem(call, 410, "cursor_reorged", "a reorg took the block back that this cursor stands on: list again from the start");
}

void rest_blocks(struct call *call)
{
	struct cursor cursor = { .height = INT64_MAX };
	struct error err = { 0 };
	struct pg_param p[3];
	struct pg_result *r = NULL;
	const char *text = call_text(call, "cursor");
	int64_t limit = call_number(call, "limit", LIMIT_DEFAULT);
	if (text && cursor_parse(text, CURSOR_BLOCKS, &cursor, &err)) {
		call_problem(call, 400, "invalid_cursor", "%s", err.text);
		return;
	}
	if (!call_chain(call) || !call_begin(call) || (text && !check_cursor(call, &cursor)))
		return;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], cursor.height);
	pg_i64(&p[2], limit + 1);
	if (!call_query(call, "blocks",
			"select " BLOCK_COLUMNS " from weir_api.blocks b where b.chain = $1 and b.height < $2 and b.canonical order by b.height desc limit $3", p,
			3, &r))
		return;
	size_t n = pg_rows(r), shown = n > (size_t)limit ? (size_t)limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++) {
		put_object(call->out, NULL);
		put_block_members(call, r, i);
		put_end(call->out, '}');
	}
	if (n > shown) {
		cursor = (struct cursor){ .kind = CURSOR_BLOCKS, .height = pg_get_i64(r, shown - 1, 0) };
		memcpy(cursor.hash, pg_get_bytes(r, shown - 1, 1).data, sizeof cursor.hash);
	}
	page_end(call, n > shown ? &cursor : NULL);
	pg_result_free(&r);
}

/* What is final never changes: clients may keep it and ask again for nothing. */
static bool not_modified(struct call *call, const struct block_ref *block, const char *what)
{
	if (strcmp(block->finality, "finalized") != 0)
		return false;
	char hash[67];
	hex_from_bytes(block->hash, 32, hash);
	snprintf(call->response->etag, sizeof call->response->etag, "\"%.40s-%s\"", hash + 2, what);
	call->response->cache = block->by_hash;
	if (!call->request->if_none_match || strcmp(call->request->if_none_match, call->response->etag) != 0)
		return false;
	call->response->status = 304;
	return true;
}

void rest_block(struct call *call)
{
	struct block_ref block;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	if (!call_chain(call) || !call_begin(call) || !find_block(call, call->places[1], &block) || not_modified(call, &block, "block"))
		return;
	if (!call_query(call, "block", "select " BLOCK_COLUMNS " from weir_api.blocks b where b.chain = $1 and b.height = $2 and b.branch = $3",
			block_key(call, &block, p), 3, &r))
		return;
	put_object(call->out, NULL);
	if (pg_rows(r) == 1)
		put_block_members(call, r, 0);
	put_end(call->out, '}');
	pg_result_free(&r);
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
	if (!call_chain(call) || !call_begin(call) || !find_block(call, call->places[1], &block) || not_modified(call, &block, "certificate"))
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

static bool read_entries_cursor(struct call *call, const struct block_ref *block, struct cursor *ret)
{
	struct error err = { 0 };
	const char *text = call_text(call, "cursor");
	*ret = (struct cursor){ .kind = CURSOR_BLOCK_ENTRIES, .height = block->height, .branch = block->branch, .ordinal = -1 };
	memcpy(ret->hash, block->hash, sizeof ret->hash);
	if (!text)
		return true;
	struct cursor given;
	if (cursor_parse(text, CURSOR_BLOCK_ENTRIES, &given, &err))
		return call_problem(call, 400, "invalid_cursor", "%s", err.text);
	/* "latest" and a height may name another block by now. */
	if (given.height != block->height || given.branch != block->branch || memcmp(given.hash, ret->hash, sizeof ret->hash) != 0)
		return call_problem(call, 410, "cursor_reorged", "this name means another block now: list again from the start");
	ret->ordinal = given.ordinal;
	return true;
}

void rest_block_entries(struct call *call)
{
	struct block_ref block;
	struct cursor cursor;
	struct pg_param p[5];
	struct pg_result *r = NULL;
	int64_t limit = call_number(call, "limit", LIMIT_DEFAULT);
	if (!call_chain(call) || !call_begin(call) || !find_block(call, call->places[1], &block) || !read_entries_cursor(call, &block, &cursor))
		return;
	block_key(call, &block, p);
	pg_i32(&p[3], cursor.ordinal);
	pg_i64(&p[4], limit + 1);
	if (!call_query(call, "block_entries",
			"select " ENTRY_COLUMNS " from (select * from weir_api.entries where chain = $1 and height = $2 and branch = $3 and ordinal > $4"
			" order by ordinal limit $5) e" ENTRY_JOINS " order by e.ordinal",
			p, 5, &r))
		return;
	size_t n = pg_rows(r), shown = n > (size_t)limit ? (size_t)limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++) {
		struct chain_asset asset;
		struct entry_view entry;
		entry_from_row(r, i, 0, &asset, &entry);
		put_object(call->out, NULL);
		put_entry_members(call->out, &call->chain->chain, &entry);
		put_end(call->out, '}');
		cursor.ordinal = entry.ordinal;
	}
	page_end(call, n > shown ? &cursor : NULL);
	pg_result_free(&r);
}

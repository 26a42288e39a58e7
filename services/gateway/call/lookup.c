/* lookup.c - names of a request to rows of the ledger. What cannot be read is answered with 400, what is not there with 404. */
#include "call/lookup.h"

#include "write/present.h"

#include "wire/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------- */

static const struct block_sql refs = { BLOCK_SQL("ref", "b.height, b.branch, b.hash, b.canonical, b.finality, b.entry_count"), 0, 1, 2, 3, 4, 5 };

static bool read_name(struct call *call, const char *text, struct pg_param *p, uint8_t hash[32], enum naming *ret)
{
	*ret = strcmp(text, "latest") == 0 ? BY_LATEST : text[0] == '0' && text[1] == 'x' ? BY_HASH : BY_HEIGHT;
	if (*ret == BY_HASH && hex_to_bytes(text, strlen(text), hash, 32))
		return call_problem(call, 400, "invalid_block", "a block's hash is 0x and 64 hex digits");
	if (*ret == BY_HASH)
		pg_bytea(p, (struct bytes){ hash, 32 });
	if (*ret == BY_HEIGHT && (strspn(text, "0123456789") != strlen(text) || strlen(text) > 18))
		return call_problem(call, 400, "invalid_block", "a block is named by its height, its hash, or \"latest\"");
	if (*ret == BY_HEIGHT)
		pg_i64(p, strtoll(text, NULL, 10));
	return true;
}

bool ask_block(struct call *call, const struct block_sql *sql, const char *text, struct row_ask *ret)
{
	enum naming by;
	pg_i32(&ret->params[0], atomic_load(&call->chain->id));
	if (!read_name(call, text, &ret->params[1], ret->bytes, &by))
		return false;
	ret->name = sql->by[by].name;
	ret->sql = sql->by[by].sql;
	ret->n = by == BY_LATEST ? 1 : 2;
	return true;
}

bool take_block(struct call *call, const struct block_sql *sql, const char *text, const struct pg_result *r, struct block_ref *ret)
{
	*ret = (struct block_ref){ 0 };
	if (pg_rows(r) == 0)
		return call_problem(call, 404, "block_unknown", "the ledger does not have this block");
	ret->by_hash = text[0] == '0' && text[1] == 'x';
	ret->height = pg_get_i64(r, 0, (size_t)sql->height);
	ret->branch = (int16_t)pg_get_i64(r, 0, (size_t)sql->branch);
	struct bytes hash = pg_get_bytes(r, 0, (size_t)sql->hash);
	memcpy(ret->hash, hash.data, hash.size > 32 ? 32 : hash.size);
	ret->canonical = pg_get_bool(r, 0, (size_t)sql->canonical);
	snprintf(ret->finality, sizeof ret->finality, "%s", pg_get_text(r, 0, (size_t)sql->finality));
	ret->entry_count = (int32_t)pg_get_i64(r, 0, (size_t)sql->entry_count);
	return true;
}

bool find_block(struct call *call, const char *text, struct block_ref *ret)
{
	struct pg_result *r = NULL;
	struct row_ask ask;
	bool found = ask_block(call, &refs, text, &ask) && call_ask(call, &ask, &r) && take_block(call, &refs, text, r, ret);
	pg_result_free(&r);
	return found;
}

/* ---- heights and times ---------------------------------------------------------------------------------------------------------------- */

/* The first height whose block is not before a time: by halves, a chain's time never goes back. */
static bool find_time(struct call *call, const struct chain_heights *heights, int64_t time, int64_t *ret)
{
	int64_t low = heights->start, high = heights->watermark + 1;
	while (low < high) {
		struct pg_param p[2];
		struct pg_result *r = NULL;
		int64_t middle = low + (high - low) / 2;
		pg_i32(&p[0], atomic_load(&call->chain->id));
		pg_i64(&p[1], middle);
		if (!call_query(call, "time_at", "select timestamp from weir_api.blocks where chain = $1 and height = $2 and canonical", p, 2, &r))
			return false;
		bool before = pg_rows(r) == 1 && pg_get_i64(r, 0, 0) < time;
		pg_result_free(&r);
		if (before)
			low = middle + 1;
		else
			high = middle;
	}
	*ret = low;
	return true;
}

bool read_range(struct call *call, int64_t *ret_from, int64_t *ret_to)
{
	struct chain_heights heights = { 0 };
	int64_t first = 0, behind = 0;
	bool since = call_value(call, "since")->given, until = call_value(call, "until")->given;
	*ret_from = call_number(call, "from", 0);
	*ret_to = call_number(call, "to", INT64_MAX - 1);
	if ((since || until) && !read_heights(call, &heights))
		return false;
	if (since && !find_time(call, &heights, call_number(call, "since", 0), &first))
		return false;
	if (until && !find_time(call, &heights, call_number(call, "until", 0) + 1, &behind))
		return false;
	*ret_from = since && first > *ret_from ? first : *ret_from;
	*ret_to = until && behind - 1 < *ret_to ? behind - 1 : *ret_to;
	return true;
}

/* ---- accounts and assets --------------------------------------------------------------------------------------------------------------- */

bool read_account(struct call *call, const char *text, struct bytes *ret, uint8_t buffer[32])
{
	struct error err = { 0 };
	size_t size = 0;
	if (call->chain->chain.family->account_parse(&call->chain->chain, text, buffer, &size, &err))
		return call_problem(call, 400, "invalid_account", "%s", err.text);
	*ret = (struct bytes){ buffer, size };
	return true;
}

bool read_asset(struct call *call, const char *text, struct chain_asset *ret)
{
	struct error err = { 0 };
	if (call->chain->chain.family->asset_parse(&call->chain->chain, text, ret, &err))
		return call_problem(call, 400, "invalid_asset", "%s", err.text);
	return true;
}

bool read_kind(struct call *call, int *ret)
{
	const char *name = call_text(call, "kind");
	struct error err = { 0 };
	*ret = 0;
	return !name || kind_parse(name, ret, &err) == 0 || call_problem(call, 400, "invalid_kind", "%s", err.text);
}

bool find_account(struct call *call, struct bytes account, int64_t *ret)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_bytea(&p[1], account);
	if (!call_query(call, "account", "select id from weir_api.accounts where chain = $1 and address = $2", p, 2, &r))
		return false;
	*ret = pg_rows(r) == 1 ? pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	return true;
}

#define ASSET_OF_KEY " from weir_api.assets where chain = $1 and contract = $2 and coalesce(token_id, -1) = $3::numeric"

static void put_key(struct call *call, const struct chain_asset *asset, struct row_ask *ret)
{
	pg_i32(&ret->params[0], atomic_load(&call->chain->id));
	memcpy(ret->bytes, asset->contract, asset->contract_size);
	pg_bytea(&ret->params[1], (struct bytes){ ret->bytes, asset->contract_size });
	snprintf(ret->text, sizeof ret->text, "-1");
	if (asset->has_token_id)
		u256_to_dec(asset->token_id, ret->text);
	pg_text(&ret->params[2], ret->text);
	ret->n = 3;
}

bool ask_asset(struct call *call, const char *text, struct row_ask *ret)
{
	struct chain_asset asset;
	if (!read_asset(call, text, &asset))
		return false;
	put_key(call, &asset, ret);
	ret->name = "asset";
	ret->sql = "select standard, symbol, decimals, non_conserving, (extract(epoch from non_conserving_since) * 1000)::int8, evidence::text, first_height" ASSET_OF_KEY;
	return true;
}

bool find_asset(struct call *call, const struct chain_asset *asset, int32_t *ret)
{
	struct row_ask ask = { .name = "asset_id", .sql = "select id" ASSET_OF_KEY };
	struct pg_result *r = NULL;
	put_key(call, asset, &ask);
	if (!call_ask(call, &ask, &r))
		return false;
	*ret = pg_rows(r) == 1 ? (int32_t)pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	return true;
}

/* present.c - how the API writes what the ledger holds. */
#include "write/present.h"

#include "wire/hex.h"
#include "wire/keccak.h"

#include <stdio.h>
#include <string.h>

#define NAME(names, i) ((i) >= 0 && (size_t)(i) < sizeof(names) / sizeof(names)[0] && (names)[i] ? (names)[i] : "unknown")

/* weir.v1.EntryKind, without unknown */
static const char *const kind_names[] = { NULL,	     "transfer",       "internal", "fee",  "tip",  "blob_fee", "withdrawal", "selfdestruct",
					  "reward",   "token_transfer", "mint",	    "burn", "wrap", "unwrap",	"opening",    "genesis",
					  "reversal", "l1_fee",	 "operator_fee", "coinbase", "rent" };
#define KINDS (sizeof kind_names / sizeof kind_names[0])

const char *kind_name(int kind)
{
	return NAME(kind_names, kind);
}

int kind_parse(const char *name, int *ret, struct error *err)
{
	for (*ret = 1; (size_t)*ret < KINDS; ++*ret)
		if (strcmp(kind_names[*ret], name) == 0)
			return 0;
	*ret = 0;
	return error_set(err, WEIR_INVALID, "there is no kind of entry \"%.32s\"", name);
}

const char *finality_name(int finality)
{
	static const char *const names[] = { NULL, "seen", "safe", "finalized" };
	return NAME(names, finality);
}

const char *standard_name(int standard)
{
	static const char *const names[] = { NULL, "native", "erc20", "erc721", "erc1155" };
	return NAME(names, standard);
}

const char *check_name(int check)
{
	static const char *const names[] = { NULL,          "header_hash",  "transactions_root", "receipts_root",
					     "withdrawals_root", "logs_bloom", "transaction_hashes", "senders",
					     "receipt_coherence", "log_coherence", "trace_coherence", "fees",
					     "uncles_hash", "conservation", "state_diff",        "shape" };
	return NAME(names, check);
}

bool kind_is_opening(int kind)
{
	return kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_OPENING || kind == WEIR__V1__ENTRY_KIND__ENTRY_KIND_GENESIS;
}

/* ---- ids ------------------------------------------------------------------------------------------------------------------------------ */

static void make_id(const char *chain, const char *what, struct bytes hash, struct bytes account, uint64_t number, uint8_t ret[EVENT_ID_SIZE])
{
	uint8_t text[32 + 16 + 2 + 32 + 32 + 8], digest[32];
	size_t n = 0, size = strnlen(chain, 32);
	memcpy(text, chain, size);
	n = size;
	text[n++] = 0;
	size = strlen(what);
	memcpy(text + n, what, size + 1);
	n += size + 1;
	const struct bytes parts[] = { hash, account };
	for (size_t i = 0; i < 2; i++) {
		size = parts[i].size > 32 ? 32 : parts[i].size;
		if (size > 0)
			memcpy(text + n, parts[i].data, size);
		n += size;
	}
	for (int i = 0; i < 8; i++)
		text[n++] = (uint8_t)(number >> 8 * (7 - i));
	keccak256(text, n, digest);
	memcpy(ret, digest, EVENT_ID_SIZE);
}

void entry_id(const char *chain, int kind, struct bytes block_hash, int32_t ordinal, uint8_t ret[EVENT_ID_SIZE])
{
	bool opening = kind_is_opening(kind);
	const struct bytes none = { NULL, 0 };
	make_id(chain, opening ? "opening" : "entry", opening ? none : block_hash, none, (uint64_t)(uint32_t)ordinal, ret);
}

void block_id(const char *chain, struct bytes block_hash, uint8_t ret[EVENT_ID_SIZE])
{
	make_id(chain, "block", block_hash, (struct bytes){ NULL, 0 }, 0, ret);
}

void account_event_id(const char *chain, struct bytes block_hash, struct bytes account, uint64_t salt, uint8_t ret[EVENT_ID_SIZE])
{
	make_id(chain, "account", block_hash, account, salt, ret);
}

void put_id(struct buf *out, const char *key, const uint8_t id[EVENT_ID_SIZE])
{
	char text[2 * EVENT_ID_SIZE + 3];
	hex_from_bytes(id, EVENT_ID_SIZE, text);
	put_text(out, key, text + 2);
}

/* ---- assets and accounts ---------------------------------------------------------------------------------------------------------------- */

void asset_text(const struct chain *chain, const struct chain_asset *asset, char ret[ASSET_TEXT_MAX])
{
	struct buf out = BUF_INIT(ASSET_TEXT_MAX);
	chain->family->asset_print(chain, asset, &out);
	snprintf(ret, ASSET_TEXT_MAX, "%s", buf_str(&out));
	buf_free(&out);
}

void account_text(const struct chain *chain, struct bytes account, char ret[80])
{
	struct buf out = BUF_INIT(80);
	chain->family->account_print(chain, account, &out);
	snprintf(ret, 80, "%s", buf_str(&out));
	buf_free(&out);
}

struct chain_asset asset_from_columns(int standard, struct bytes contract, bool has_token_id, struct u256 token_id)
{
	struct chain_asset asset = { .standard = standard, .has_token_id = has_token_id, .token_id = token_id };
	asset.contract_size = (uint8_t)(contract.size > sizeof asset.contract ? sizeof asset.contract : contract.size);
	if (asset.contract_size > 0)
		memcpy(asset.contract, contract.data, asset.contract_size);
	return asset;
}

/* ---- entries ------------------------------------------------------------------------------------------------------------------------------ */

void put_entry_members(struct buf *out, const struct chain *chain, const struct entry_view *e)
{
	uint8_t id[EVENT_ID_SIZE];
	char text[ASSET_TEXT_MAX];
	bool opening = kind_is_opening(e->kind);
	entry_id(chain->name, e->kind, e->block_hash, e->ordinal, id);
	put_id(out, "id", id);
	put_text(out, "chain", chain->name);
	put_i64(out, "height", e->height);
	put_hex(out, "block_hash", opening ? (struct bytes){ NULL, 0 } : e->block_hash);
	put_i64(out, "ordinal", e->ordinal);
	put_hex(out, "transaction_hash", e->transaction_hash);
	put_text(out, "kind", kind_name(e->kind));
	account_text(chain, e->account, text);
	put_text(out, "account", text);
	asset_text(chain, e->asset, text);
	put_text(out, "asset", text);
	put_text(out, "delta", e->delta);
	if (e->balance) {
		put_text(out, "balance", e->balance);
		put_bool(out, "superseded", e->superseded);
	}
	put_text(out, "path", e->path);
}

void entry_from_row(const struct pg_result *r, size_t row, size_t c, struct chain_asset *ret_asset, struct entry_view *ret)
{
	struct u256 token_id = { 0 };
	bool has_token_id = !pg_is_null(r, row, c + 10) && pg_get_u256(r, row, c + 10, &token_id) == 0;
	*ret_asset = asset_from_columns((int)pg_get_i64(r, row, c + 8), pg_get_bytes(r, row, c + 9), has_token_id, token_id);
	*ret = (struct entry_view){ .height = pg_get_i64(r, row, c),
				    .ordinal = (int32_t)pg_get_i64(r, row, c + 1),
				    .kind = (int)pg_get_i64(r, row, c + 2),
				    .superseded = pg_get_bool(r, row, c + 3),
				    .delta = pg_get_text(r, row, c + 4),
				    .balance = pg_get_text(r, row, c + 5),
				    .path = pg_get_text(r, row, c + 6),
				    .account = pg_get_bytes(r, row, c + 7),
				    .asset = ret_asset,
				    .block_hash = pg_get_bytes(r, row, c + 11),
				    .transaction_hash = pg_get_bytes(r, row, c + 12) };
}

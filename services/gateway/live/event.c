/* event.c - LedgerEvents decoded and rendered. */
#include "live/event.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX ((size_t)128 << 20)

/* ---- shared tails --------------------------------------------------------------------------------------------------------------------- */

struct tail *tail_new(const struct buf *text)
{
	struct tail *t = xmalloc(sizeof *t + text->size);
	atomic_init(&t->references, 1);
	t->size = (uint32_t)text->size;
	if (text->size > 0)
		memcpy(t->text, text->data, text->size);
	return t;
}

struct tail *tail_keep(struct tail *t)
{
	atomic_fetch_add(&t->references, 1);
	return t;
}

void tail_drop(struct tail **tp)
{
	if (*tp && atomic_fetch_sub(&(*tp)->references, 1) == 1) {
		tail_drop(&(*tp)->deflated);
		tail_drop(&(*tp)->packed);
		free(*tp);
	}
	*tp = NULL;
}

/* ---- decoding --------------------------------------------------------------------------------------------------------------------------- */

bool filter_takes(const struct filter *f, struct bytes account, const struct chain_asset *asset, int kind)
{
	if (f->kind && f->kind != kind)
		return false;
	if (f->has_account && (account.size != f->account_size || memcmp(account.data, f->account, account.size) != 0))
		return false;
	if (!f->has_asset)
		return true;
	return asset->contract_size == f->asset.contract_size && memcmp(asset->contract, f->asset.contract, asset->contract_size) == 0 &&
	       asset->has_token_id == f->asset.has_token_id && u256_cmp(asset->token_id, f->asset.token_id) == 0;
}

static void *allocate(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void forget(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

static struct bytes bytes_of(ProtobufCBinaryData b)
{
	return (struct bytes){ b.data, b.len };
}

static int read_item(struct event *event, const Weir__V1__Entry *entry, ProtobufCBinaryData *accounts, size_t n_accounts, Weir__V1__Asset **assets,
		     size_t n_assets, Weir__V1__Transaction **transactions, size_t n_transactions, int32_t ordinal, struct item *ret)
{
	struct i256 delta;
	char *text = arena_alloc(event->arena, I256_DEC_MAX);
	if (!text || entry->account >= n_accounts || entry->asset >= n_assets || entry->tx_index >= (int64_t)n_transactions ||
	    i256_from_be(entry->delta.data, entry->delta.len, &delta))
		return WEIR_INVALID;
	const Weir__V1__Asset *asset = assets[entry->asset];
	if (asset->contract.len > 32 || asset->token_id.len > 32 || accounts[entry->account].len > 32)
		return WEIR_INVALID;
	i256_to_dec(delta, text);
	*ret = (struct item){ .ordinal = ordinal,
			      .account = bytes_of(accounts[entry->account]),
			      .asset = asset_from_columns((int)asset->standard, bytes_of(asset->contract), asset->has_token_id,
							  u256_from_be(asset->token_id.data, asset->token_id.len)),
			      .kind = (int)entry->kind,
			      .delta = text,
			      .path = entry->path };
	if (entry->tx_index >= 0)
		ret->transaction_hash = bytes_of(transactions[entry->tx_index]->hash);
	return 0;
}

static int read_items(struct event *event)
{
	const Weir__V1__BlockApplied *b = event->kind == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED ? event->message->block_applied : NULL;
	const Weir__V1__OpeningsRecorded *o = event->kind == WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED ? event->message->openings_recorded : NULL;
	if ((!b && !o) || (b && b->entries_omitted) || (o && o->entries_omitted))
		return 0;
	size_t n = b ? b->n_entries : o->n_entries;
	event->items = arena_zalloc(event->arena, n + 1, sizeof *event->items);
	if (!event->items)
		return WEIR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		int code = b ? read_item(event, b->entries[i], b->accounts, b->n_accounts, b->assets, b->n_assets, b->transactions, b->n_transactions,
					 (int32_t)i, &event->items[i]) :
			       read_item(event, o->entries[i], o->accounts, o->n_accounts, o->assets, o->n_assets, NULL, 0,
					 (int32_t)(o->first_ordinal + i), &event->items[i]);
		if (code)
			return code;
	}
	event->item_count = n;
	event->has_items = true;
	return 0;
}

static int read_head(struct event *event)
{
	const Weir__V1__LedgerEvent *m = event->message;
	const Weir__V1__BlockRef *ref = NULL;
	if (event->kind == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED) {
		ref = m->block_applied->block;
		event->branch = (int)m->block_applied->branch;
	} else if (event->kind == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED) {
		ref = m->block_retracted->block;
		event->branch = (int)m->block_retracted->branch;
	} else if (event->kind == WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED) {
		event->height = (int64_t)m->openings_recorded->height;
		return 0;
	} else {
		return 0;
	}
	if (!ref || ref->hash.len != 32 || ref->height > INT64_MAX / 2)
		return WEIR_INVALID;
	event->height = (int64_t)ref->height;
	memcpy(event->hash, ref->hash.data, 32);
	return 0;
}

/* Two ledgers do not commit the same thing in the same millisecond under the same number. */
static uint32_t print_of(const struct event *event)
{
	uint64_t h = hash_bytes(HASH_BASIS, &event->sequence, sizeof event->sequence);
	h = hash_bytes(h, &event->kind, sizeof event->kind);
	h = hash_bytes(h, &event->message->committed_at_unix_ms, sizeof event->message->committed_at_unix_ms);
	h = hash_bytes(h, event->hash, sizeof event->hash);
	const uint32_t print = (uint32_t)(h ^ h >> 32);
	return print ? print : 1;
}

int event_read(const struct chain *chain, struct bytes body, struct event **ret, struct error *err)
{
	struct event *event = xmalloc(sizeof *event);
	(void)chain;
	atomic_init(&event->references, 1);
	event->arena = arena_new(ARENA_MAX);
	ProtobufCAllocator allocator = { allocate, forget, event->arena };
	event->message = weir__v1__ledger_event__unpack(&allocator, body.size, body.data);
	int code = event->message ? 0 : WEIR_INVALID;
	if (!code) {
		event->sequence = event->message->sequence;
		event->kind = (int)event->message->event_case;
		code = read_head(event);
	}
	if (!code)
		code = read_items(event);
	if (!code)
		event->print = print_of(event);
	if (code) {
		event_drop(&event);
		return error_set(err, code, "a ledger event of %zu bytes cannot be read", body.size);
	}
	*ret = event;
	return 0;
}

void event_drop(struct event **eventp)
{
	struct event *event = *eventp;
	*eventp = NULL;
	if (!event || atomic_fetch_sub(&event->references, 1) != 1)
		return;
	for (size_t i = 0; i < event->item_count; i++)
		tail_drop(&event->items[i].tail);
	tail_drop(&event->tail);
	arena_free(&event->arena);
	free(event);
}

/* ---- rendering ---------------------------------------------------------------------------------------------------------------------------- */

static void begin(struct buf *out, const char *type, const struct chain *chain)
{
	buf_add_str(out, ",\"event\":{");
	put_text(out, "type", type);
	if (chain)
		put_text(out, "chain", chain->name);
}

static void end(struct buf *out)
{
	buf_add_str(out, "}}");
}

void render_block(const struct chain *chain, const struct event *event, struct buf *out)
{
	const Weir__V1__BlockApplied *b = event->message->block_applied;
	const struct bytes hash = { event->hash, 32 };
	uint8_t id[EVENT_ID_SIZE];
	block_id(chain->name, hash, id);
	begin(out, "block", chain);
	put_id(out, "id", id);
	put_i64(out, "height", event->height);
	put_hex(out, "hash", hash);
	put_hex(out, "parent_hash", bytes_of(b->parent_hash));
	put_u64(out, "timestamp", b->timestamp);
	put_text(out, "finality", finality_name((int)b->finality));
	put_i64(out, "transaction_count", b->transaction_count);
	put_i64(out, "entry_count", b->entry_count);
	put_u64(out, "announced_at_ms", b->announced_at_unix_ms);
	put_u64(out, "committed_at_ms", event->message->committed_at_unix_ms);
	end(out);
}

void render_item(const struct chain *chain, const struct event *event, const struct item *item, struct buf *out)
{
	const struct entry_view view = { .height = event->height,
					 .block_hash = { event->hash, 32 },
					 .transaction_hash = item->transaction_hash,
					 .ordinal = item->ordinal,
					 .kind = item->kind,
					 .account = item->account,
					 .asset = &item->asset,
					 .delta = item->delta,
					 .path = item->path };
	begin(out, "entry", NULL);
	put_entry_members(out, chain, &view);
	end(out);
}

static void put_ref(struct buf *out, const char *key, const Weir__V1__BlockRef *ref)
{
	if (!ref) {
		put_null(out, key);
		return;
	}
	put_object(out, key);
	put_u64(out, "height", ref->height);
	put_hex(out, "hash", bytes_of(ref->hash));
	put_end(out, '}');
}

static void render_asset_flag(const struct chain *chain, const Weir__V1__AssetFlagged *flag, struct buf *out)
{
	char text[ASSET_TEXT_MAX] = "";
	const Weir__V1__Asset *a = flag->asset;
	if (a && a->contract.len <= 32 && a->token_id.len <= 32) {
		struct chain_asset asset = asset_from_columns((int)a->standard, bytes_of(a->contract), a->has_token_id,
							      u256_from_be(a->token_id.data, a->token_id.len));
		asset_text(chain, &asset, text);
	}
	begin(out, "asset", chain);
	put_text(out, "asset", text);
	put_bool(out, "non_conserving", flag->non_conserving);
	end(out);
}

void render_status(const struct chain *chain, const struct event *event, struct buf *out)
{
	const Weir__V1__LedgerEvent *m = event->message;
	switch ((int)event->kind) {
	case WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED:
		begin(out, "finality", chain);
		put_text(out, "finality", finality_name((int)m->finality_promoted->finality));
		put_ref(out, "up_to", m->finality_promoted->up_to);
		end(out);
		break;
	case WEIR__V1__LEDGER_EVENT__EVENT_CHAIN_STATUS:
		begin(out, "status", chain);
		put_ref(out, "head", m->chain_status->head);
		put_ref(out, "watermark", m->chain_status->watermark);
		put_ref(out, "safe", m->chain_status->safe);
		put_ref(out, "finalized", m->chain_status->finalized);
		put_i64(out, "gaps", m->chain_status->gaps);
		put_i64(out, "incidents", m->chain_status->incidents);
		end(out);
		break;
	case WEIR__V1__LEDGER_EVENT__EVENT_GAP_CHANGED:
		begin(out, "gap", chain);
		put_u64(out, "from_height", m->gap_changed->from_height);
		put_u64(out, "to_height", m->gap_changed->to_height);
		put_bool(out, "open", m->gap_changed->open);
		put_text(out, "reason", m->gap_changed->reason);
		end(out);
		break;
	case WEIR__V1__LEDGER_EVENT__EVENT_INCIDENT_CHANGED:
		begin(out, "incident", chain);
		put_u64(out, "incident", m->incident_changed->id);
		put_text(out, "state", m->incident_changed->state);
		put_text(out, "summary", m->incident_changed->summary);
		end(out);
		break;
	case WEIR__V1__LEDGER_EVENT__EVENT_ASSET_FLAGGED:
		render_asset_flag(chain, m->asset_flagged, out);
		break;
	default:
		break;
	}
}

void render_entry_retracted(const struct chain *chain, const struct event *event, const struct item *item, struct buf *out)
{
	char text[ASSET_TEXT_MAX];
	uint8_t id[EVENT_ID_SIZE];
	entry_id(chain->name, item->kind, (struct bytes){ event->hash, 32 }, item->ordinal, id);
	account_text(chain, item->account, text);
	begin(out, "retracted", chain);
	put_i64(out, "height", event->height);
	put_hex(out, "block_hash", (struct bytes){ event->hash, 32 });
	put_array(out, "ids");
	put_id(out, NULL, id);
	put_end(out, ']');
	put_text(out, "account", text);
	end(out);
}

void render_retracted(const struct chain *chain, int64_t height, const uint8_t hash[32], const uint8_t *ids, size_t n, struct buf *out)
{
	begin(out, "retracted", chain);
	put_i64(out, "height", height);
	put_hex(out, "block_hash", (struct bytes){ hash, 32 });
	put_array(out, "ids");
	for (size_t i = 0; i < n; i++)
		put_id(out, NULL, ids + i * EVENT_ID_SIZE);
	put_end(out, ']');
	end(out);
}

void render_skipped(const struct chain *chain, uint64_t events, struct buf *out)
{
	begin(out, "skipped", chain);
	put_u64(out, "events", events);
	end(out);
}

void render_reconnect(const struct chain *chain, int64_t after_ms, struct buf *out)
{
	begin(out, "reconnect", chain);
	put_i64(out, "after_ms", after_ms);
	end(out);
}

void render_ended(const struct chain *chain, const char *reason, struct buf *out)
{
	begin(out, "ended", chain);
	put_text(out, "reason", reason);
	end(out);
}

/* An item among others of its account: is it the first of its asset, is it the last, and then what all of the asset come to. */
struct part {
	bool first, last;
	struct i256 sum;
};

static int compare_numbers(size_t a, size_t b)
{
	return (a > b) - (a < b);
}

/* By asset, and in their order: those of one asset stand together. */
static int compare_items(const void *a_, const void *b_)
{
	const struct item *a = *(const struct item *const *)a_, *b = *(const struct item *const *)b_;
	int order = compare_numbers(a->asset.contract_size, b->asset.contract_size);
	if (order == 0)
		order = memcmp(a->asset.contract, b->asset.contract, a->asset.contract_size);
	if (order == 0)
		order = compare_numbers(a->asset.has_token_id, b->asset.has_token_id);
	if (order == 0)
		order = u256_cmp(a->asset.token_id, b->asset.token_id);
	return order ? order : (a > b) - (a < b);
}

static bool same_asset(const struct chain_asset *a, const struct chain_asset *b)
{
	const struct filter f = { .has_asset = true, .asset = *a };
	return filter_takes(&f, (struct bytes){ NULL, 0 }, b, 0);
}

/* Owned by the caller. A block may have tens of thousands of one account: each is looked at once. */
static struct part *parts_of(const struct item *items, size_t n)
{
	struct part *parts = xcalloc(n + 1, sizeof *parts);
	const struct item **sorted = xcalloc(n + 1, sizeof *sorted);
	struct i256 sum = { { 0 } }, delta;
	for (size_t i = 0; i < n; i++)
		sorted[i] = &items[i];
	qsort(sorted, n, sizeof *sorted, compare_items);
	for (size_t i = 0; i < n; i++) {
		struct part *part = &parts[sorted[i] - items];
		part->first = i == 0 || !same_asset(&sorted[i]->asset, &sorted[i - 1]->asset);
		part->last = i + 1 == n || !same_asset(&sorted[i]->asset, &sorted[i + 1]->asset);
		if (part->first)
			sum = (struct i256){ { 0 } };
		if (i256_from_dec(sorted[i]->delta, strlen(sorted[i]->delta), &delta) == 0)
			(void)i256_add(sum, delta, &sum);
		part->sum = sum;
	}
	free(sorted);
	return parts;
}

/* What the asset's balance was before its first entry in the block; false: the ledger keeps none. */
static bool balance_before(const struct item *item, char ret[I256_DEC_MAX])
{
	struct i256 after, delta, before;
	if (!item->balance || i256_from_dec(item->balance, strlen(item->balance), &after) || i256_from_dec(item->delta, strlen(item->delta), &delta))
		return false;
	if (!i256_sub(after, delta, &before))
		return false;
	i256_to_dec(before, ret);
	return true;
}

void render_account_retracted(const struct chain *chain, const struct event *event, struct bytes account, const struct item *items, size_t n,
			      const uint8_t id[EVENT_ID_SIZE], struct buf *out)
{
	char text[ASSET_TEXT_MAX], amount[I256_DEC_MAX];
	begin(out, "retracted", chain);
	put_i64(out, "height", event->height);
	put_hex(out, "block_hash", (struct bytes){ event->hash, 32 });
	put_array(out, "ids");
	put_id(out, NULL, id);
	put_end(out, ']');
	account_text(chain, account, text);
	put_text(out, "account", text);
	put_array(out, "balances");
	struct part *parts = parts_of(items, n);
	for (size_t i = 0; i < n; i++) {
		if (!parts[i].first)
			continue;
		put_object(out, NULL);
		asset_text(chain, &items[i].asset, text);
		put_text(out, "asset", text);
		put_text(out, "amount", balance_before(&items[i], amount) ? amount : NULL);
		put_end(out, '}');
	}
	free(parts);
	put_end(out, ']');
	end(out);
}

void render_account(const struct chain *chain, const struct event *event, struct bytes account, const struct item *items, size_t n,
		    const uint8_t id[EVENT_ID_SIZE], struct buf *out)
{
	char text[ASSET_TEXT_MAX];
	bool opening = event->kind == WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED;
	begin(out, "account", chain);
	put_id(out, "id", id);
	account_text(chain, account, text);
	put_text(out, "account", text);
	put_i64(out, "height", event->height);
	put_hex(out, "block_hash", opening ? (struct bytes){ NULL, 0 } : (struct bytes){ event->hash, 32 });
	put_array(out, "balances");
	struct part *parts = parts_of(items, n);
	for (size_t i = 0; i < n; i++) {
		/* The last entry of each asset has its balance after the block; the change is the sum over all. */
		if (!parts[i].last)
			continue;
		put_object(out, NULL);
		asset_text(chain, &items[i].asset, text);
		put_text(out, "asset", text);
		put_text(out, "amount", items[i].balance);
		i256_to_dec(parts[i].sum, text);
		put_text(out, "delta", text);
		put_end(out, '}');
	}
	free(parts);
	put_end(out, ']');
	end(out);
}

/* apply.c - the transaction that puts blocks into the ledger. */
#include "batch.h"


#include <stdio.h>
#include <string.h>

#define PATH_MAX_SIZE 200
#define FULL_EVENT_MAX ((size_t)512 << 10) /* larger blocks are announced without their entries */

/* ---- is it a block that can be applied? ------------------------------------------------------------------------------------- */

static int bad(struct error *err, const Weir__V1__NormalizedBlock *block, const char *what, size_t index)
{
	return error_set(err, WEIR_INVALID, "normalized block %llu: %s (item %zu)", (unsigned long long)block->height, what, index);
}

static int check_names(const Weir__V1__NormalizedBlock *block, struct error *err)
{
	for (size_t i = 0; i < block->n_accounts; i++)
		if (block->accounts[i].len == 0 || block->accounts[i].len > 32)
			return bad(err, block, "an account has not 1 to 32 bytes", i);
	for (size_t i = 0; i < block->n_assets; i++)
		if (block->assets[i]->contract.len > 32 || block->assets[i]->token_id.len > 32)
			return bad(err, block, "an asset has more than 32 bytes", i);
	for (size_t i = 0; i < block->n_endpoints; i++)
		if (strlen(block->endpoints[i]) > 64)
			return bad(err, block, "an endpoint's name is longer than 64 bytes", i);
	return block->n_endpoints > 64 ? bad(err, block, "more than 64 endpoints", 64) : 0;
}

static int check_transactions(const Weir__V1__NormalizedBlock *block, struct error *err)
{
	for (size_t i = 0; i < block->n_transactions; i++) {
		const Weir__V1__Transaction *tx = block->transactions[i];
		if (tx->hash.len != 32)
			return bad(err, block, "a transaction's hash has not 32 bytes", i);
		if (tx->from.len > 32 || tx->to.len > 32 || tx->created.len > 32)
			return bad(err, block, "a transaction's address has more than 32 bytes", i);
		if (tx->value.len > 32 || tx->effective_gas_price.len > 32)
			return bad(err, block, "a transaction's amount has more than 32 bytes", i);
		if (tx->type > 255 || tx->nonce > INT64_MAX || tx->gas_used > INT64_MAX || tx->log_count > INT32_MAX)
			return bad(err, block, "a transaction's number is absurd", i);
	}
	return 0;
}

static int check_entries(const Weir__V1__NormalizedBlock *block, struct error *err)
{
	for (size_t i = 0; i < block->n_entries; i++) {
		const Weir__V1__Entry *entry = block->entries[i];
		struct i256 delta;
		if (entry->account >= block->n_accounts || entry->asset >= block->n_assets)
			return bad(err, block, "an entry names no account or asset of the block", i);
		if (entry->tx_index < -1 || entry->tx_index >= (int64_t)block->n_transactions)
			return bad(err, block, "an entry names no transaction of the block", i);
		if (i256_from_be(entry->delta.data, entry->delta.len, &delta))
			return bad(err, block, "an entry's delta is not a signed number of 1 to 32 bytes", i);
		if (strlen(entry->path) > PATH_MAX_SIZE || entry->kind > 255)
			return bad(err, block, "an entry's path or kind is too large", i);
	}
	return 0;
}

int ledger_check_block(const Weir__V1__NormalizedBlock *block, struct error *err)
{
	if (block->hash.len != 32 || block->parent_hash.len != 32)
		return bad(err, block, "the hash or the parent's hash has not 32 bytes", 0);
	if (block->height > INT64_MAX / 2 || block->timestamp > INT64_MAX || block->gas_used > INT64_MAX)
		return bad(err, block, "a number is absurd", 0);
	if (block->base_fee.len > 32 || block->fee_recipient.len > 32)
		return bad(err, block, "the base fee or its recipient has more than 32 bytes", 0);
	if (block->n_entries > INT32_MAX / 4 || block->n_transactions > INT32_MAX)
		return error_set(err, WEIR_LIMIT, "normalized block %llu has too many entries", (unsigned long long)block->height);
	if (!block->certificate)
		return bad(err, block, "it has no certificate", 0);
	int code = check_names(block, err);
	if (!code)
		code = check_transactions(block, err);
	return code ? code : check_entries(block, err);
}

/* ---- which of them are new? --------------------------------------------------------------------------------------------------- */

static int count_applied(struct ledger *ledger, Weir__V1__NormalizedBlock *const *blocks, size_t n, size_t *ret, struct error *err)
{
	*ret = 0;
	while (*ret < n && (int64_t)blocks[*ret]->height <= ledger->watermark) {
		bool has = false;
		int code = ledger_has(ledger, (int64_t)blocks[*ret]->height, blocks[*ret]->hash.data, &has, err);
		if (code)
			return code;
		if (!has)
			return error_set(err, WEIR_CONFLICT, "block %llu is another than the ledger's: a fork must be reversed first",
					 (unsigned long long)blocks[*ret]->height);
		++*ret;
	}
	return 0;
}

static int check_order(const struct ledger *ledger, Weir__V1__NormalizedBlock *const *blocks, size_t n, struct error *err)
{
	int64_t next = ledger->watermark < ledger->start ? ledger->start : ledger->watermark + 1;
	const uint8_t *parent = ledger->watermark >= ledger->start ? ledger->watermark_hash : NULL;
	for (size_t i = 0; i < n; i++, next++) {
#ifndef WEIR_MUTANT_NO_ORDER_CHECK
		if ((int64_t)blocks[i]->height != next)
			return error_set(err, WEIR_INTERNAL, "block %llu given where %lld is next", (unsigned long long)blocks[i]->height,
					 (long long)next);
#endif
		if (parent && memcmp(parent, blocks[i]->parent_hash.data, 32) != 0)
			return error_set(err, WEIR_CONFLICT, "block %llu does not follow the ledger's block before it",
					 (unsigned long long)blocks[i]->height);
		parent = blocks[i]->hash.data;
	}
	return 0;
}

/* How many blocks lie in the partition of the first. */
static size_t same_leaf(Weir__V1__NormalizedBlock *const *blocks, size_t n)
{
	size_t i = 1;
	while (i < n && blocks[i]->height >> LEDGER_LEAF_BITS == blocks[0]->height >> LEDGER_LEAF_BITS)
		i++;
	return i;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

static struct bytes pb(ProtobufCBinaryData b)
{
	return (struct bytes){ b.data, b.len };
}

/* Which branch number is free at each height: 0, unless a reorg superseded blocks there. */
static int find_branches(struct batch *batch, struct ledger *ledger, struct error *err)
{
	if (batch->blocks[0].height > ledger->superseded_top)
		return 0;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], batch->blocks[0].height);
	pg_i64(&p[2], batch->blocks[batch->block_count - 1].height);
	int code = pg_prepared(ledger->pg, "branches",
			       "select height, max(branch) + 1 from weir.blocks where chain = $1 and height between $2 and $3 group by height", p, 3, &r,
			       err);
	for (size_t i = 0; !code && i < pg_rows(r); i++)
		batch->blocks[pg_get_i64(r, i, 0) - batch->blocks[0].height].branch = (int16_t)pg_get_i64(r, i, 1);
	pg_result_free(&r);
	return code;
}

static void copy_optional(struct pg_copy *copy, ProtobufCBinaryData b)
{
	if (b.len > 0)
		pg_copy_bytes(copy, pb(b));
	else
		pg_copy_null(copy);
}

static struct bytes endpoint_array(struct batch *batch, const Weir__V1__NormalizedBlock *message)
{
	struct pg_array names;
	struct pg_param p;
	buf_reset(&batch->sql);
	pg_array_begin(&names, &batch->sql, 25);
	for (size_t i = 0; i < message->n_endpoints; i++)
		pg_array_bytea(&names, (struct bytes){ (const uint8_t *)message->endpoints[i], strlen(message->endpoints[i]) });
	pg_array_finish(&names, &p);
	return (struct bytes){ p.data, (size_t)p.size };
}

static int write_blocks(struct batch *batch, struct ledger *ledger, struct error *err)
{
	struct pg_copy *copy = NULL;
	int code = pg_copy_begin(ledger->pg,
				 "copy weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count,"
				 " gas_used, base_fee, fee_recipient, endpoints) from stdin binary",
				 &copy, err);
	for (size_t i = 0; !code && i < batch->block_count; i++) {
		const Weir__V1__NormalizedBlock *m = batch->blocks[i].message;
		pg_copy_row(copy, 13);
		pg_copy_i16(copy, ledger->id);
		pg_copy_i64(copy, batch->blocks[i].height);
		pg_copy_i16(copy, batch->blocks[i].branch);
		pg_copy_bytes(copy, pb(m->hash));
		pg_copy_bytes(copy, pb(m->parent_hash));
		pg_copy_i64(copy, (int64_t)m->timestamp);
		pg_copy_bool(copy, true);
		pg_copy_i32(copy, (int32_t)m->n_transactions);
		pg_copy_i32(copy, (int32_t)m->n_entries);
		pg_copy_i64(copy, (int64_t)m->gas_used);
		if (m->base_fee.len > 0)
			pg_copy_u256(copy, u256_from_be(m->base_fee.data, m->base_fee.len));
		else
			pg_copy_null(copy);
		copy_optional(copy, m->fee_recipient);
		pg_copy_bytes(copy, endpoint_array(batch, m));
	}
	return code ? code : pg_copy_end(&copy, err);
}

static int write_certificates(struct batch *batch, struct ledger *ledger, struct error *err)
{
	struct pg_copy *copy = NULL;
	int code = pg_copy_begin(ledger->pg, "copy weir.certificates (chain, height, branch, proven, passed, failed, not_possible, body) from stdin binary",
				 &copy, err);
	for (size_t i = 0; !code && i < batch->block_count; i++) {
		const Weir__V1__Certificate *certificate = batch->blocks[i].message->certificate;
		uint32_t bits[4] = { 0 }; /* by CheckResult */
		for (size_t k = 0; k < certificate->n_checks; k++)
			if (certificate->checks[k]->name < 31)
				bits[certificate->checks[k]->result & 3] |= UINT32_C(1) << certificate->checks[k]->name;
		buf_reset(&batch->sql);
		size_t size = weir__v1__certificate__get_packed_size(certificate);
		buf_reserve(&batch->sql, size);
		weir__v1__certificate__pack(certificate, batch->sql.data);
		pg_copy_row(copy, 8);
		pg_copy_i16(copy, ledger->id);
		pg_copy_i64(copy, batch->blocks[i].height);
		pg_copy_i16(copy, batch->blocks[i].branch);
		pg_copy_bool(copy, certificate->proven);
		pg_copy_i32(copy, (int32_t)bits[WEIR__V1__CHECK_RESULT__CHECK_RESULT_PASSED]);
		pg_copy_i32(copy, (int32_t)bits[WEIR__V1__CHECK_RESULT__CHECK_RESULT_FAILED]);
		pg_copy_i32(copy, (int32_t)bits[WEIR__V1__CHECK_RESULT__CHECK_RESULT_NOT_POSSIBLE]);
		pg_copy_bytes(copy, (struct bytes){ batch->sql.data, size });
	}
	return code ? code : pg_copy_end(&copy, err);
}

static void write_transaction(struct pg_copy *copy, const struct ledger *ledger, const struct batch_block *block, size_t index)
{
	const Weir__V1__Transaction *tx = block->message->transactions[index];
	pg_copy_row(copy, 15);
	pg_copy_i16(copy, ledger->id);
	pg_copy_i64(copy, block->height);
	pg_copy_i16(copy, block->branch);
	pg_copy_i32(copy, (int32_t)index);
	pg_copy_bytes(copy, pb(tx->hash));
	pg_copy_i16(copy, (int16_t)tx->type);
	pg_copy_bytes(copy, pb(tx->from));
	copy_optional(copy, tx->to);
	pg_copy_u256(copy, u256_from_be(tx->value.data, tx->value.len));
	pg_copy_i64(copy, (int64_t)tx->nonce);
	pg_copy_i64(copy, (int64_t)tx->gas_used);
	pg_copy_u256(copy, u256_from_be(tx->effective_gas_price.data, tx->effective_gas_price.len));
	pg_copy_bool(copy, tx->succeeded);
	copy_optional(copy, tx->created);
	pg_copy_i32(copy, (int32_t)tx->log_count);
}

static int write_transactions(struct batch *batch, struct ledger *ledger, struct error *err)
{
	if (batch->transaction_count == 0)
		return 0;
	struct pg_copy *copy = NULL;
	int code = pg_copy_begin(ledger->pg,
				 "copy weir.transactions (chain, height, branch, tx_index, hash, type, sender, recipient, value, nonce, gas_used,"
				 " effective_gas_price, succeeded, created, log_count) from stdin binary",
				 &copy, err);
	for (size_t i = 0; !code && i < batch->block_count; i++)
		for (size_t k = 0; k < batch->blocks[i].message->n_transactions; k++)
			write_transaction(copy, ledger, &batch->blocks[i], k);
	return code ? code : pg_copy_end(&copy, err);
}

/* ---- entries -------------------------------------------------------------------------------------------------------------------- */

#define ENTRY_COLUMNS "(chain, height, branch, ordinal, tx_index, kind, superseded, asset, account, delta, balance, path)"

struct entry_row {
	int64_t height;
	int16_t branch;
	int32_t ordinal, tx_index;
	int16_t kind;
	struct i256 delta, balance;
	const char *path;
};

static void write_entry(struct pg_copy *copy, const struct batch *batch, const struct ledger *ledger, const struct batch_pair *pair,
			const struct entry_row *row)
{
	pg_copy_row(copy, 12);
	pg_copy_i16(copy, ledger->id);
	pg_copy_i64(copy, row->height);
	pg_copy_i16(copy, row->branch);
	pg_copy_i32(copy, row->ordinal);
	pg_copy_i32(copy, row->tx_index);
	pg_copy_i16(copy, row->kind);
	pg_copy_bool(copy, false);
	pg_copy_i32(copy, batch->assets[pair->asset].id);
	pg_copy_i64(copy, batch->accounts[pair->account].id);
	pg_copy_numeric(copy, row->delta);
	pg_copy_numeric(copy, row->balance);
	pg_copy_bytes(copy, (struct bytes){ (const uint8_t *)row->path, strlen(row->path) });
}

static int write_openings(struct batch *batch, struct ledger *ledger, struct error *err)
{
	if (batch->opening_written == 0)
		return 0;
	/* Block 0's own entries come first when it is the first of the ledger. */
	if (ledger_batch_has_genesis(batch, ledger) && ledger->opening_ordinal < (int32_t)batch->blocks[0].message->n_entries)
		ledger->opening_ordinal = (int32_t)batch->blocks[0].message->n_entries;
	struct pg_copy *copy = NULL;
	int code = pg_copy_begin(ledger->pg, "copy weir.entries " ENTRY_COLUMNS " from stdin binary", &copy, err);
	int32_t ordinal = ledger->opening_ordinal;
	for (size_t i = 0; !code && i < batch->opening_count; i++) {
		const struct batch_pair *pair = &batch->pairs[batch->opening_pairs[i]];
		if (i256_is_zero(pair->opening))
			continue;
		write_entry(copy, batch, ledger, pair,
			    &(struct entry_row){ .height = ledger_opening_height(ledger),
						 .ordinal = ordinal++,
						 .tx_index = -1,
						 .kind = ledger->start > 0 ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_OPENING :
									     WEIR__V1__ENTRY_KIND__ENTRY_KIND_GENESIS,
						 .delta = pair->opening,
						 .balance = pair->opened,
						 .path = ledger->start > 0 ? "opening" : "genesis" });
	}
	return code ? code : pg_copy_end(&copy, err);
}

struct i256 ledger_add(struct i256 *balance, struct i256 delta)
{
	static const struct i256 most = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX } };
	struct i256 before = *balance, applied = delta;
	if (i256_add(before, delta, balance))
		return delta;
	*balance = i256_is_negative(delta) ? i256_negate(most) : most;
	i256_sub(*balance, before, &applied);
	return applied;
}

/* Openings lie behind block 0's own entries, which have just been written. */
static void open_genesis(struct batch *batch)
{
	for (size_t i = 0; i < batch->opening_count; i++) {
		struct batch_pair *pair = &batch->pairs[batch->opening_pairs[i]];
		if (pair->opening_known)
			i256_add(pair->amount, pair->opening, &pair->amount);
	}
}

static int write_entries(struct batch *batch, struct ledger *ledger, struct error *err)
{
	char sql[200];
	struct pg_copy *copy = NULL;
	if (batch->entry_count == 0)
		return 0; /* no pairs either */
	/* Straight into the partition: routing each row there costs a fifth of the time. */
	snprintf(sql, sizeof sql, "copy weir.entries_%d_%lld " ENTRY_COLUMNS " from stdin binary", ledger->id, (long long)ledger->leaf);
	int code = pg_copy_begin(ledger->pg, sql, &copy, err);
	for (size_t i = 0; !code && i < batch->block_count; i++) {
		struct batch_block *block = &batch->blocks[i];
		for (size_t k = 0; k < block->message->n_entries; k++) {
			const Weir__V1__Entry *entry = block->message->entries[k];
			struct batch_pair *pair = &batch->pairs[batch->pair_of[block->first_entry + k]];
			const struct i256 delta = ledger_add(&pair->amount, batch->delta_of[block->first_entry + k]);
			block->cut = block->cut || i256_cmp(delta, batch->delta_of[block->first_entry + k]) != 0;
			pair->height = block->height;
			write_entry(copy, batch, ledger, pair,
				    &(struct entry_row){ .height = block->height,
							 .branch = block->branch,
							 .ordinal = (int32_t)k,
							 .tx_index = entry->tx_index,
							 .kind = (int16_t)entry->kind,
							 .delta = delta,
							 .balance = pair->amount,
							 .path = entry->path });
		}
		if (i == 0 && ledger_batch_has_genesis(batch, ledger))
			open_genesis(batch);
	}
	return code ? code : pg_copy_end(&copy, err);
}

/* Balances seen first: new rows need no look for old ones. */
static int insert_balances(struct batch *batch, struct ledger *ledger, const uint32_t *order, size_t n, struct error *err)
{
	struct pg_copy *copy = NULL;
	if (n == 0)
		return 0;
	int code = pg_copy_begin(ledger->pg, "copy weir.balances (account, asset, chain, amount, height, opening_known) from stdin binary", &copy, err);
	for (size_t i = 0; !code && i < batch->pair_count; i++) {
		const struct batch_pair *pair = &batch->pairs[order[i]];
		if (pair->stored)
			continue;
		pg_copy_row(copy, 6);
		pg_copy_i64(copy, batch->accounts[pair->account].id);
		pg_copy_i32(copy, batch->assets[pair->asset].id);
		pg_copy_i16(copy, ledger->id);
		pg_copy_numeric(copy, pair->amount);
		pg_copy_i64(copy, pair->height);
		pg_copy_bool(copy, pair->opening_known);
	}
	return code ? code : pg_copy_end(&copy, err);
}

static int update_balances(struct batch *batch, struct ledger *ledger, const uint32_t *order, struct error *err)
{
	struct pg_array accounts, assets, amounts, heights;
	struct pg_param p[4];
	buf_reset(&batch->sql);
#define EACH(array, oid, add)                                     \
	pg_array_begin(&(array), &batch->sql, (oid));             \
	for (size_t i = 0; i < batch->pair_count; i++)            \
		if (batch->pairs[order[i]].stored)                \
	add
	EACH(accounts, 20, pg_array_i64(&accounts, batch->accounts[batch->pairs[order[i]].account].id));
	EACH(assets, 23, pg_array_i32(&assets, batch->assets[batch->pairs[order[i]].asset].id));
	EACH(amounts, 1700, pg_array_numeric(&amounts, batch->pairs[order[i]].amount));
	EACH(heights, 20, pg_array_i64(&heights, batch->pairs[order[i]].height));
#undef EACH
	pg_array_finish(&accounts, &p[0]);
	pg_array_finish(&assets, &p[1]);
	pg_array_finish(&amounts, &p[2]);
	pg_array_finish(&heights, &p[3]);
	return pg_prepared(ledger->pg, "update_balances",
			   "update weir.balances b set amount = i.amount, height = i.height"
			   " from unnest($1::int8[], $2::int4[], $3::numeric[], $4::int8[]) i(account, asset, amount, height)"
			   " where b.account = i.account and b.asset = i.asset",
			   p, 4, NULL, err);
}

/* Once per balance and batch, whatever the number of entries. In the order of the primary key, so that each of its pages is found once. */
static int write_balances(struct batch *batch, struct ledger *ledger, struct error *err)
{
	size_t fresh = 0;
	for (size_t i = 0; i < batch->pair_count; i++)
		fresh += !batch->pairs[i].stored;
	uint32_t *order = ledger_batch_order(batch);
	if (!order)
		return error_set(err, WEIR_LIMIT, "too many balances in one batch");
	int code = insert_balances(batch, ledger, order, fresh, err);
	return code || fresh == batch->pair_count ? code : update_balances(batch, ledger, order, err);
}

/* ---- watermark, gaps, events ------------------------------------------------------------------------------------------------------ */

static int close_gaps(struct ledger *ledger, int64_t watermark, size_t *ret_closed, struct error *err)
{
	*ret_closed = 0;
	if (ledger->open_gaps == 0)
		return 0;
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], watermark);
	int code = pg_prepared(ledger->pg, "close_gaps",
			       "update weir.gaps set closed_at = now() where chain = $1 and closed_at is null and to_height <= $2"
			       " returning from_height, to_height, reason",
			       p, 2, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		Weir__V1__LedgerEvent event;
		Weir__V1__GapChanged gap;
		char reason[64];
		weir__v1__ledger_event__init(&event);
		weir__v1__gap_changed__init(&gap);
		snprintf(reason, sizeof reason, "%s", pg_get_text(r, i, 2));
		gap.from_height = (uint64_t)pg_get_i64(r, i, 0);
		gap.to_height = (uint64_t)pg_get_i64(r, i, 1);
		gap.reason = reason;
		event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_GAP_CHANGED;
		event.gap_changed = &gap;
		journal_add(&ledger->journal, &event, NULL, (int64_t)gap.from_height, 0);
	}
	*ret_closed = code ? 0 : pg_rows(r);
	pg_result_free(&r);
	return code;
}

static bool near_head(const struct ledger *ledger, int64_t height)
{
	return height + LEDGER_TIP_DISTANCE >= ledger->head.height;
}

static void journal_block(struct batch *batch, struct ledger *ledger, const struct batch_block *block)
{
	const Weir__V1__NormalizedBlock *m = block->message;
	Weir__V1__LedgerEvent event, lean;
	Weir__V1__BlockApplied applied, stored;
	Weir__V1__BlockRef ref;
	weir__v1__ledger_event__init(&event);
	weir__v1__ledger_event__init(&lean);
	weir__v1__block_applied__init(&applied);
	weir__v1__block_ref__init(&ref);
	(void)batch;
	ref.height = m->height;
	ref.hash = m->hash;
	applied.block = &ref;
	applied.parent_hash = m->parent_hash;
	applied.timestamp = m->timestamp;
	applied.branch = (uint32_t)block->branch;
	applied.finality = block->height <= ledger->head.finalized ? WEIR__V1__FINALITY__FINALITY_FINALIZED :
			   block->height <= ledger->head.safe	   ? WEIR__V1__FINALITY__FINALITY_SAFE :
								     WEIR__V1__FINALITY__FINALITY_SEEN;
	applied.transaction_count = (uint32_t)m->n_transactions;
	applied.entry_count = (uint32_t)m->n_entries;
	applied.announced_at_unix_ms = m->announced_at_unix_ms;
	applied.entries_omitted = m->n_entries > 0 || m->n_transactions > 0;
	stored = applied;
	event.event_case = lean.event_case = WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED;
	event.block_applied = &applied;
	lean.block_applied = &stored;
	bool full = applied.entries_omitted && !block->cut && near_head(ledger, block->height) && m->n_entries * 64 + m->n_transactions * 160 < FULL_EVENT_MAX;
	if (full) {
		applied.entries_omitted = false;
		applied.n_transactions = m->n_transactions;
		applied.transactions = m->transactions;
		applied.n_accounts = m->n_accounts;
		applied.accounts = m->accounts;
		applied.n_assets = m->n_assets;
		applied.assets = m->assets;
		applied.n_entries = m->n_entries;
		applied.entries = m->entries;
	}
	struct journal_event *e = journal_add(&ledger->journal, &event, full ? &lean : NULL, block->height, block->branch);
	(void)span_from_traceparent(m->traceparent, &e->trace);
}

struct opening_message {
	Weir__V1__Entry entry;
	Weir__V1__Asset asset;
	uint8_t delta[32], token_id[32];
};

/* One event for the openings that the batch wrote, with the entries themselves while they are few. */
static int journal_openings(struct batch *batch, struct ledger *ledger, struct error *err)
{
	if (batch->opening_written == 0)
		return 0;
	Weir__V1__LedgerEvent event, lean;
	Weir__V1__OpeningsRecorded recorded, stored;
	weir__v1__ledger_event__init(&event);
	weir__v1__ledger_event__init(&lean);
	weir__v1__openings_recorded__init(&recorded);
	recorded.height = (uint64_t)ledger_opening_height(ledger);
	recorded.first_ordinal = (uint32_t)ledger->opening_ordinal;
	recorded.count = (uint32_t)batch->opening_written;
	recorded.entries_omitted = true;
	stored = recorded;
	event.event_case = lean.event_case = WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED;
	event.openings_recorded = &recorded;
	lean.openings_recorded = &stored;
	size_t n = batch->opening_written;
	bool full = near_head(ledger, batch->blocks[batch->block_count - 1].height) && n < 4096;
	if (full) {
		struct opening_message *messages = arena_zalloc(batch->arena, n, sizeof *messages);
		recorded.entries = arena_zalloc(batch->arena, n, sizeof *recorded.entries);
		recorded.assets = arena_zalloc(batch->arena, n, sizeof *recorded.assets);
		recorded.accounts = arena_zalloc(batch->arena, n, sizeof *recorded.accounts);
		if (!messages || !recorded.entries || !recorded.assets || !recorded.accounts)
			return error_set(err, WEIR_LIMIT, "too many openings in one batch");
		size_t k = 0;
		for (size_t i = 0; i < batch->opening_count; i++) {
			struct batch_pair *pair = &batch->pairs[batch->opening_pairs[i]];
			if (i256_is_zero(pair->opening))
				continue;
			struct opening_message *m = &messages[k];
			struct batch_asset *asset = &batch->assets[pair->asset];
			struct account_key *account = &batch->accounts[pair->account].key;
			weir__v1__entry__init(&m->entry);
			weir__v1__asset__init(&m->asset);
			m->entry.kind = ledger->start > 0 ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_OPENING : WEIR__V1__ENTRY_KIND__ENTRY_KIND_GENESIS;
			m->entry.tx_index = -1;
			m->entry.path = arena_text(batch->arena, ledger->start > 0 ? "opening" : "genesis");
			m->entry.account = m->entry.asset = (uint32_t)k;
			m->entry.delta = (ProtobufCBinaryData){ i256_to_be_min(pair->opening, m->delta), m->delta };
			m->asset.standard = (Weir__V1__TokenStandard)asset->asset.standard;
			m->asset.contract = (ProtobufCBinaryData){ asset->asset.contract_size, asset->asset.contract };
			m->asset.has_token_id = asset->asset.has_token_id;
			m->asset.token_id = (ProtobufCBinaryData){ u256_to_be_min(asset->asset.token_id, m->token_id), m->token_id };
			recorded.accounts[k] = (ProtobufCBinaryData){ account->size, account->bytes };
			recorded.entries[k] = &m->entry;
			recorded.assets[k] = &m->asset;
			k++;
		}
		recorded.n_entries = recorded.n_assets = recorded.n_accounts = n;
		recorded.entries_omitted = false;
	}
	journal_add(&ledger->journal, &event, full ? &lean : NULL, (int64_t)recorded.height, 0);
	return 0;
}

static int move_watermark(struct batch *batch, struct ledger *ledger, size_t *ret_closed_gaps, struct error *err)
{
	const struct batch_block *last = &batch->blocks[batch->block_count - 1];
	struct pg_param p[3];
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], last->height);
	pg_bytea(&p[2], pb(last->message->hash));
	int code = pg_prepared(ledger->pg, "watermark",
			       "update weir.chains set watermark_height = $2, watermark_hash = $3, watermark_at = now() where id = $1", p, 3, NULL, err);
	if (!code)
		code = journal_openings(batch, ledger, err);
	for (size_t i = 0; !code && i < batch->block_count; i++)
		journal_block(batch, ledger, &batch->blocks[i]);
	if (!code)
		code = close_gaps(ledger, last->height, ret_closed_gaps, err);
	if (!code)
		ledger_journal_head(ledger, last->height, last->message->hash.data);
	return code;
}

/* ---- all together ------------------------------------------------------------------------------------------------------------------- */

static int write_all(struct batch *batch, struct ledger *ledger, size_t *ret_closed_gaps, struct error *err)
{
	int code = find_branches(batch, ledger, err);
	if (!code)
		code = ledger_batch_intern(batch, ledger, err);
	if (!code)
		code = write_openings(batch, ledger, err);
	if (!code)
		code = write_blocks(batch, ledger, err);
	if (!code)
		code = write_certificates(batch, ledger, err);
	if (!code)
		code = write_transactions(batch, ledger, err);
	if (!code)
		code = write_entries(batch, ledger, err);
	if (!code)
		code = write_balances(batch, ledger, err);
	if (!code)
		code = move_watermark(batch, ledger, ret_closed_gaps, err);
	return code;
}

static void remember(struct batch *batch, struct ledger *ledger, size_t closed_gaps)
{
	const struct batch_block *first = &batch->blocks[0], *last = &batch->blocks[batch->block_count - 1];
	for (size_t i = 0; i < batch->block_count; i++)
		memcpy(ledger->recent[batch->blocks[i].height % LEDGER_RECENT], batch->blocks[i].message->hash.data, 32);
	if (ledger->watermark < ledger->start)
		ledger->recent_low = first->height;
	ledger->watermark = last->height;
	if (ledger->watermark - ledger->recent_low >= (int64_t)LEDGER_RECENT)
		ledger->recent_low = ledger->watermark - (int64_t)LEDGER_RECENT + 1;
	memcpy(ledger->watermark_hash, last->message->hash.data, 32);
	if (!ledger->opening_hash_known && first->height == ledger->start) {
		memcpy(ledger->opening_hash, ledger->start > 0 ? first->message->parent_hash.data : first->message->hash.data, 32);
		ledger->opening_hash_known = true;
	}
	if (ledger->start == 0 && first->height == 0 && ledger->opening_ordinal < (int32_t)first->message->n_entries)
		ledger->opening_ordinal = (int32_t)first->message->n_entries;
	ledger->opening_ordinal += (int32_t)batch->opening_written;
	ledger->open_gaps -= closed_gaps < ledger->open_gaps ? closed_gaps : ledger->open_gaps;
	ledger_batch_remember(batch, ledger);
}

/* What the checking thread should compare with the chain: each balance once, at the last block that moved it. */
static void note_touches(struct batch *batch, const struct ledger *ledger, struct applied *applied)
{
	if (!near_head(ledger, batch->blocks[batch->block_count - 1].height))
		return;
	batch->touches = arena_zalloc(batch->arena, batch->pair_count + 1, sizeof *batch->touches);
	if (!batch->touches)
		return;
	for (size_t i = 0; i < batch->pair_count; i++) {
		const struct batch_pair *pair = &batch->pairs[i];
		const struct batch_account *account = &batch->accounts[pair->account];
		const struct batch_asset *asset = &batch->assets[pair->asset];
		const struct batch_block *block = &batch->blocks[pair->last_block];
		struct ledger_touch *touch = &batch->touches[applied->touch_count++];
		*touch = (struct ledger_touch){ .account_id = account->id,
						.asset_id = asset->id,
						.opening_known = pair->opening_known,
						.non_conserving = asset->non_conserving,
						.account_size = account->key.size,
						.asset = asset->asset,
						.height = block->height,
						.amount = pair->amount };
		memcpy(touch->account, account->key.bytes, account->key.size);
		memcpy(touch->hash, block->message->hash.data, 32);
	}
	applied->touches = batch->touches;
}

int ledger_apply(struct ledger *ledger, Weir__V1__NormalizedBlock *const *blocks, size_t n, struct applied *ret, struct error *err)
{
	*ret = (struct applied){ 0 };
	int code = count_applied(ledger, blocks, n, &ret->skipped, err);
	if (code || ret->skipped == n)
		return code;
	blocks += ret->skipped;
	n = same_leaf(blocks, n - ret->skipped);
	struct batch *batch = ledger->batch;
	code = check_order(ledger, blocks, n, err);
	if (!code)
		code = ledger_make_leaf(ledger, (int64_t)blocks[0]->height, err);
	if (!code)
		code = ledger_batch_gather(batch, blocks, n, err);
	if (!code)
		code = ledger_batch_resolve(batch, ledger, ret, err);
	if (!code)
		code = ledger_begin(ledger, err);
	if (code)
		return code;
	size_t closed_gaps = 0;
	code = write_all(batch, ledger, &closed_gaps, err);
	if (!code)
		code = ledger_commit(ledger, err);
	if (code) {
		ledger_abort(ledger);
		error_prefix(err, "applying blocks %llu..%llu", (unsigned long long)blocks[0]->height,
			     (unsigned long long)blocks[n - 1]->height);
		return code;
	}
	remember(batch, ledger, closed_gaps);
	note_touches(batch, ledger, ret);
	ret->blocks = n;
	ret->entries = batch->entry_count;
	ret->balances = batch->pair_count;
	return 0;
}

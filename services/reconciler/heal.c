/* heal.c - a block that the checker doubts is fetched again, elsewhere, and compared with the ledger's entries. */
#include "follow.h"

#include "apply.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* Endpoints that told the block the first time: another one is asked if there is another. */
static int exclude_first_endpoints(struct follow *f, int64_t height, struct gap *gap, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], f->ledger->id);
	pg_i64(&p[1], height);
	int code = pg_query(f->ledger->pg, "select unnest(endpoints) from weir.blocks where chain = $1 and height = $2 and canonical", p, 2, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r) && gap->exclude_count < GAP_EXCLUDES_MAX; i++)
		snprintf(gap->exclude[gap->exclude_count++], NAME_MAX_SIZE, "%s", pg_get_text(r, i, 0));
	if (gap->exclude_count >= f->settings->endpoint_count)
		gap->exclude_count = 0;
	pg_result_free(&r);
	return code;
}

int heal_tick(struct follow *f, struct error *err)
{
	struct mail_heal heal;
	mailbox_heal(f->mailbox, &heal);
	if (heal.height < 0 || heal.state != HEAL_WANTED)
		return 0;
	bool has = false;
	struct gap gap = { .from = heal.height, .to = heal.height, .attempts = 1 };
	int code = ledger_has(f->ledger, heal.height, heal.hash, &has, err);
	if (!code && !has) {
		mailbox_heal_is(f->mailbox, heal.height, HEAL_GONE);
		return 0;
	}
	if (!code)
		code = exclude_first_endpoints(f, heal.height, &gap, err);
	if (!code)
		code = follow_refetch(f, &gap, heal.hash, false, "a balance differs from the chain", err);
	if (!code)
		mailbox_heal_is(f->mailbox, heal.height, HEAL_ASKED);
	return code;
}

static bool same_bytes(ProtobufCBinaryData a, struct bytes b)
{
	return a.len == b.size && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* What is stored is what fitted: of a token that lies, the message's delta may have been cut (ledger_add). */
static bool same_delta(ProtobufCBinaryData told, const struct pg_result *r, size_t row)
{
	struct i256 delta, stored, balance, before;
	if (i256_from_be(told.data, told.len, &delta) || pg_get_numeric(r, row, 6, &stored) || pg_get_numeric(r, row, 8, &balance) ||
	    !i256_sub(balance, stored, &before))
		return false;
	return i256_cmp(ledger_add(&before, delta), stored) == 0;
}

static bool same_entry(const Weir__V1__NormalizedBlock *block, size_t i, const struct pg_result *r)
{
	const Weir__V1__Entry *entry = block->entries[i];
	const Weir__V1__Asset *asset = block->assets[entry->asset];
	struct u256 token = { { 0 } };
	if (pg_get_i64(r, i, 0) != (int64_t)i || pg_get_i64(r, i, 1) != entry->tx_index || pg_get_i64(r, i, 2) != (int64_t)entry->kind)
		return false;
	if (!same_bytes(block->accounts[entry->account], pg_get_bytes(r, i, 3)) || !same_bytes(asset->contract, pg_get_bytes(r, i, 4)))
		return false;
	if (pg_is_null(r, i, 5) == asset->has_token_id || (asset->has_token_id && pg_get_u256(r, i, 5, &token)))
		return false;
	if (asset->has_token_id && u256_cmp(token, u256_from_be(asset->token_id.data, asset->token_id.len)) != 0)
		return false;
	return same_delta(entry->delta, r, i) && strcmp(entry->path, pg_get_text(r, i, 7)) == 0;
}

/* Are the ledger's entries of the block those of the message? */
static int compare(struct follow *f, const Weir__V1__NormalizedBlock *block, bool *ret_same, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], f->ledger->id);
	pg_i64(&p[1], (int64_t)block->height);
	int code = pg_query(f->ledger->pg,
			    "select e.ordinal, e.tx_index, e.kind, a.address, s.contract, s.token_id, e.delta, e.path, e.balance"
			    " from weir.blocks b join weir.entries e on e.chain = b.chain and e.height = b.height and e.branch = b.branch"
			    " join weir.accounts a on a.id = e.account join weir.assets s on s.id = e.asset"
			    " where b.chain = $1 and b.height = $2 and b.canonical and e.chain = $1 and e.height = $2 and e.kind not in (14, 15, 16)"
			    " order by e.ordinal",
			    p, 2, &r, err);
	*ret_same = !code && pg_rows(r) == block->n_entries;
	for (size_t i = 0; *ret_same && i < block->n_entries; i++)
		*ret_same = same_entry(block, i, r);
	pg_result_free(&r);
	return code;
}

/* A balance differs from the chain, and another endpoint tells other entries: who told the block first told it wrong. What follows is then
 * not fetched from there again. */
static int tell_who_lied(struct follow *f, const struct mail_heal *heal, struct error *err)
{
	struct gap gap = { .from = heal->height, .to = heal->height, .attempts = 2 };
	int code = exclude_first_endpoints(f, heal->height, &gap, err);
	if (code || gap.exclude_count == 0)
		return code;
	return follow_refetch(f, &gap, heal->hash, true, "another endpoint tells other entries, and the balance that differs is theirs", err);
}

int heal_compare(struct follow *f, const struct block_facts *facts, const struct bus_message *message, bool *ret_taken, struct error *err)
{
	struct mail_heal heal;
	mailbox_heal(f->mailbox, &heal);
	*ret_taken = false;
	if (heal.height != facts->height || heal.state != HEAL_ASKED || facts->reason != WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH ||
	    memcmp(heal.hash, facts->hash, 32) != 0)
		return 0;
	Weir__V1__NormalizedBlock *block;
	struct error why = { 0 };
	bool same = false;
	arena_reset(f->arena);
	if (follow_unpack(f, message->frame.body, &block, &why) || ledger_check_block(block, &why))
		return 0; /* the checker's patience ends by itself */
	*ret_taken = true;
	int code = compare(f, block, &same, err);
	if (code)
		return code;
	if (same) {
		mailbox_heal_is(f->mailbox, heal.height, HEAL_SAME);
		return 0;
	}
	log_warn(&f->log, "block_replaced", "read again elsewhere, the block has other entries: it and what follows are applied again",
		 LOG_I("height", heal.height), LOG_H("hash", heal.hash, 32));
	code = tell_who_lied(f, &heal, err);
	if (code)
		return code;
	/* Held first: after the retraction it is the next block of the ledger. */
	window_add(&f->window, facts, message->frame.body, message->klass, message->generation, message->sequence);
	code = follow_retract(f, heal.height - 1, true, "a block was read wrong", err);
	if (!code)
		mailbox_heal_is(f->mailbox, heal.height, HEAL_REPLACED);
	return code;
}

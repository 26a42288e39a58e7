/* fork.c - superseding the blocks above a height. */
#include "fork.h"

#include <string.h>

/* $1 chain, $2 the height that stays, $3 the height of a balance that has no entry left. Order matters: reversals and balances
 * are computed from entries that are still canonical. */
static const char *const reverse_entries =
	"insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, superseded, asset, account, delta, balance, path)"
	" select e.chain, e.height, e.branch, 2 * b.entry_count - 1 - e.ordinal, e.tx_index, 16, true, e.asset, e.account, -e.delta,"
	"        e.balance - e.delta, e.path"
	"   from weir.blocks b join weir.entries e on e.chain = b.chain and e.height = b.height and e.branch = b.branch"
	"  where b.chain = $1 and b.height > $2 and b.canonical and e.chain = $1 and e.height > $2 and not e.superseded";
/* From the last entry that stays, not by subtracting: where a lying token's movement did not fit, the sum does not hold. */
static const char *const restore_balances =
	"with touched as (select distinct e.account, e.asset from weir.entries e where e.chain = $1 and e.height > $2 and not e.superseded),"
	" before as (select t.account, t.asset, l.balance, l.height from touched t left join lateral"
	"             (select e.balance, e.height from weir.entries e where e.account = t.account and e.asset = t.asset and not e.superseded"
	"                 and e.chain = $1 and e.height <= $2 order by e.height desc, e.ordinal desc limit 1) l on true)"
	" update weir.balances b set amount = coalesce(before.balance, 0), height = coalesce(before.height, $3),"
	"        reconciled_height = case when b.reconciled_height <= $2 then b.reconciled_height end"
	"   from before where b.account = before.account and b.asset = before.asset";
/* On the branch that stays an asset may come earlier than it did on the one that is gone: as soon as its first block. */
static const char *const lower_first_heights =
	"with touched as (select distinct e.asset from weir.entries e where e.chain = $1 and e.height > $2 and not e.superseded)"
	" update weir.assets s set first_height = $2 + 1 from touched where s.id = touched.asset and s.first_height > $2 + 1";
static const char *const supersede_entries =
	"update weir.entries e set superseded = true where e.chain = $1 and e.height > $2 and not e.superseded";
static const char *const supersede_blocks =
	"with gone as (update weir.blocks set canonical = false, superseded_at = now() where chain = $1 and height > $2 and canonical"
	"              returning height, hash, branch, entry_count)"
	" select height, hash, branch, entry_count from gone order by height desc";
static const char *const drop_observations =
	"delete from weir.observations o using weir.accounts a where o.height > $2 and a.id = o.account and a.chain = $1";
/* $1 chain, $2 where openings lie, below the ledger's first block. They were asked at the parent of a block that is gone: with all blocks taken
 * back they go, too, and are asked anew. The place behind the last ordinal is theirs as the block's is for reversals. */
static const char *const reverse_openings =
	"insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, superseded, asset, account, delta, balance, path)"
	" select e.chain, e.height, e.branch, last.ordinal + row_number() over (order by e.ordinal desc), e.tx_index, 16, true, e.asset, e.account,"
	"        -e.delta, e.balance - e.delta, e.path"
	"   from weir.entries e, (select max(ordinal) as ordinal from weir.entries where chain = $1 and height = $2) last"
	"  where e.chain = $1 and e.height = $2 and not e.superseded";
static const char *const supersede_openings = "update weir.entries set superseded = true where chain = $1 and height = $2 and not superseded";
static const char *const forget_balances = "delete from weir.balances where chain = $1";
static const char *const move_back =
	"update weir.chains set watermark_height = $2, watermark_hash = $3, watermark_at = now(), epoch = epoch + $4::int8,"
	" safe_height = case when safe_height > $5 then $5 else safe_height end,"
	" finalized_height = case when finalized_height > $5 then $5 else finalized_height end where id = $1";

static void journal_retracted(struct ledger *ledger, const struct pg_result *r, size_t row)
{
	Weir__V1__LedgerEvent event;
	Weir__V1__BlockRetracted retracted;
	Weir__V1__BlockRef ref;
	uint8_t hash[32] = { 0 };
	weir__v1__ledger_event__init(&event);
	weir__v1__block_retracted__init(&retracted);
	weir__v1__block_ref__init(&ref);
	struct bytes b = pg_get_bytes(r, row, 1);
	memcpy(hash, b.data, b.size < 32 ? b.size : 32);
	ref.height = (uint64_t)pg_get_i64(r, row, 0);
	ref.hash = (ProtobufCBinaryData){ 32, hash };
	retracted.block = &ref;
	retracted.branch = (uint32_t)pg_get_i64(r, row, 2);
	retracted.entry_count = (uint32_t)pg_get_i64(r, row, 3);
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED;
	event.block_retracted = &retracted;
	journal_add(&ledger->journal, &event, NULL, (int64_t)ref.height, (int16_t)retracted.branch);
}

static int supersede(struct ledger *ledger, int64_t to_height, size_t *ret_blocks, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], to_height);
	pg_i64(&p[2], ledger_opening_height(ledger));
	const char *first = reverse_entries;
#ifdef WEIR_MUTANT_NO_REVERSAL
	first = "select $1::int4, $2::int8";
#endif
	int code = pg_query(ledger->pg, first, p, 2, NULL, err);
	if (!code)
		code = pg_query(ledger->pg, restore_balances, p, 3, NULL, err);
	if (!code)
		code = pg_query(ledger->pg, lower_first_heights, p, 2, NULL, err);
	if (!code)
		code = pg_query(ledger->pg, supersede_entries, p, 2, NULL, err);
	if (!code)
		code = pg_query(ledger->pg, drop_observations, p, 2, NULL, err);
	if (!code)
		code = pg_query(ledger->pg, supersede_blocks, p, 2, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++)
		journal_retracted(ledger, r, i);
	*ret_blocks = code ? 0 : pg_rows(r);
	pg_result_free(&r);
	return code;
}

static int take_back_openings(struct ledger *ledger, struct error *err)
{
	struct pg_param p[2];
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], ledger_opening_height(ledger));
	int code = ledger->start > 0 ? pg_query(ledger->pg, reverse_openings, p, 2, NULL, err) : 0;
	if (!code && ledger->start > 0)
		code = pg_query(ledger->pg, supersede_openings, p, 2, NULL, err);
	return code ? code : pg_query(ledger->pg, forget_balances, p, 1, NULL, err);
}

int ledger_retract(struct ledger *ledger, int64_t to_height, bool fetch_again, size_t *ret_blocks, struct error *err)
{
	uint8_t hash[32];
	bool everything = to_height < ledger->start;
	*ret_blocks = 0;
	int code = everything ? 0 : ledger_hash_at(ledger, to_height, hash, err);
	if (!code)
		code = ledger_begin(ledger, err);
	if (code)
		return code;
	/* A deep one rewrites many rows: the ordinary limit is for statements that hang. */
	code = pg_unlimited(ledger->pg, err);
	if (!code)
		code = supersede(ledger, everything ? ledger->start - 1 : to_height, ret_blocks, err);
	if (!code && everything)
		code = take_back_openings(ledger, err);
	struct pg_param p[5];
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], everything ? -1 : to_height);
	pg_bytea(&p[2], everything ? (struct bytes){ NULL, 0 } : ledger_hash_bytes(hash));
	pg_i64(&p[3], fetch_again);
	pg_i64(&p[4], everything ? ledger->start - 1 : to_height);
	if (!code)
		code = pg_query(ledger->pg, move_back, p, 5, NULL, err);
	if (!code)
		code = ledger_commit(ledger, err);
	if (code) {
		ledger_abort(ledger);
		return code;
	}
	/* Keep the events of this commit: whoever publishes takes them before the next transaction. */
	return ledger_reload(ledger, err);
}

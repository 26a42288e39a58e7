/* opening.c - the transaction that records openings told later. */
#include "opening.h"

#include "apply.h"

#include <string.h>

/* What the ledger has of the pair while its opening is unknown. */
struct unopened {
	bool there;
	struct i256 amount, highest; /* highest: of all running balances */
	struct i256 first; /* what block 0 itself moved, where it is the ledger's first: the opening lies behind that */
	int64_t height;
};

static struct pg_param *pair_params(const struct ledger *ledger, const struct ledger_touch *touch, struct pg_param p[3])
{
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], touch->account_id);
	pg_i32(&p[2], touch->asset_id);
	return p;
}

static int read_unopened(struct ledger *ledger, const struct ledger_touch *touch, struct unopened *ret, struct error *err)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	pair_params(ledger, touch, p);
	pg_i64(&p[3], ledger->start > 0 ? -1 : 0);
	int code = pg_prepared(ledger->pg, "unopened",
			       "select b.amount, b.height, e.highest, e.first from weir.balances b, lateral (select coalesce(max(balance), 0) as highest,"
			       " coalesce(sum(delta) filter (where height = $4), 0) as first from weir.entries"
			       " where chain = $1 and account = $2 and asset = $3 and not superseded) e"
			       " where b.chain = $1 and b.account = $2 and b.asset = $3 and not b.opening_known",
			       p, 4, &r, err);
	ret->there = !code && pg_rows(r) == 1;
	if (ret->there) {
		ret->height = pg_get_i64(r, 0, 1);
		if (pg_get_numeric(r, 0, 0, &ret->amount) || pg_get_numeric(r, 0, 2, &ret->highest) || pg_get_numeric(r, 0, 3, &ret->first))
			code = error_set(err, WEIR_INTERNAL, "a balance in the ledger is not a whole 256-bit number");
	}
	pg_result_free(&r);
	return code;
}

static struct pg_param *numeric(struct pg_param *p, struct i256 value, char text[I256_DEC_MAX])
{
	i256_to_dec(value, text);
	return pg_text(p, text);
}

static int write_opening(struct ledger *ledger, const struct ledger_touch *touch, struct i256 opening, struct i256 balance, struct error *err)
{
	struct pg_param p[8];
	char delta_text[I256_DEC_MAX], balance_text[I256_DEC_MAX];
	pair_params(ledger, touch, p);
	pg_i64(&p[3], ledger_opening_height(ledger));
	numeric(&p[4], opening, delta_text);
	int code = pg_prepared(ledger->pg, "open_running",
			       "update weir.entries set balance = balance + $5::numeric where chain = $1 and account = $2 and asset = $3 and height > $4"
			       " and not superseded",
			       p, 5, NULL, err);
	numeric(&p[5], balance, balance_text);
	pg_i32(&p[6], ledger->opening_ordinal);
	pg_i32(&p[7], ledger->start > 0 ? WEIR__V1__ENTRY_KIND__ENTRY_KIND_OPENING : WEIR__V1__ENTRY_KIND__ENTRY_KIND_GENESIS);
	if (!code)
		code = pg_prepared(ledger->pg, "open_entry",
				   "insert into weir.entries (chain, height, branch, ordinal, tx_index, kind, superseded, asset, account, delta, balance, path)"
				   " values ($1, $4, 0, $7, -1, $8, false, $3, $2, $5::numeric, $6::numeric, case when $8 = 14 then 'opening' else 'genesis' end)",
				   p, 8, NULL, err);
	return code;
}

/* *ret: what was there before; there is false where nothing was recorded. */
static int record(struct ledger *ledger, const struct told_opening *told, struct ledger_touch *ret, bool *ret_recorded, size_t *written, struct error *err)
{
	struct unopened pair;
	struct i256 opening, amount, highest;
	struct pg_param p[4];
	char text[I256_DEC_MAX];
	int code = read_unopened(ledger, &told->touch, &pair, err);
	*ret_recorded = false;
	if (code || !pair.there || !i256_sub(told->amount, pair.first, &opening) || !i256_add(pair.amount, opening, &amount) ||
	    !i256_add(pair.highest, opening, &highest))
		return code;
	if (!i256_is_zero(opening)) {
		code = write_opening(ledger, &told->touch, opening, told->amount, err);
		ledger->opening_ordinal++;
		++*written;
	}
	pair_params(ledger, &told->touch, p);
	numeric(&p[3], amount, text);
	if (!code)
		code = pg_prepared(ledger->pg, "open_balance",
				   "update weir.balances set amount = $4::numeric, opening_known = true, reconciled_height = null"
				   " where chain = $1 and account = $2 and asset = $3",
				   p, 4, NULL, err);
	*ret_recorded = !code;
	*ret = told->touch;
	ret->opening_known = true;
	ret->amount = amount;
	ret->height = pair.height; /* of its last entry, until the transaction is committed */
	return code;
}

static void journal_recorded(struct ledger *ledger, int32_t first_ordinal, size_t written)
{
	Weir__V1__LedgerEvent event;
	Weir__V1__OpeningsRecorded recorded;
	if (written == 0)
		return;
	weir__v1__ledger_event__init(&event);
	weir__v1__openings_recorded__init(&recorded);
	recorded.height = (uint64_t)ledger_opening_height(ledger);
	recorded.first_ordinal = (uint32_t)first_ordinal;
	recorded.count = (uint32_t)written;
	recorded.entries_omitted = true;
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_OPENINGS_RECORDED;
	event.openings_recorded = &recorded;
	journal_add(&ledger->journal, &event, NULL, (int64_t)recorded.height, 0);
}

/* Memory knows what was committed, and the touches speak of the watermark. */
static void remember(struct ledger *ledger, struct ledger_touch *touches, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct balance_key key = { touches[i].account_id, touches[i].asset_id };
		const struct balance_value value = { touches[i].amount, touches[i].height, true };
		cache_put(ledger->balances, &key, &value);
		touches[i].height = ledger->watermark;
		memcpy(touches[i].hash, ledger->watermark_hash, 32);
	}
}

int ledger_record_openings(struct ledger *ledger, const struct told_opening *told, size_t n, struct ledger_touch ret[OPENINGS_TOLD_MAX],
			   size_t *ret_count, struct error *err)
{
	const int32_t first_ordinal = ledger->opening_ordinal;
	size_t written = 0;
	*ret_count = 0;
	if (!ledger->opening_hash_known || ledger->watermark < ledger->start)
		return 0;
	int code = ledger_begin(ledger, err);
	if (code)
		return code;
	code = pg_unlimited(ledger->pg, err); /* an account may have moved the asset very often */
	for (size_t i = 0; !code && i < n && *ret_count < OPENINGS_TOLD_MAX; i++) {
		bool recorded = false;
		if (memcmp(told[i].hash, ledger->opening_hash, 32) == 0)
			code = record(ledger, &told[i], &ret[*ret_count], &recorded, &written, err);
		*ret_count += recorded;
	}
	if (!code) {
		journal_recorded(ledger, first_ordinal, written);
		code = ledger_commit(ledger, err);
	}
	if (code) {
		ledger_abort(ledger);
		*ret_count = 0;
		return code;
	}
	remember(ledger, ret, *ret_count);
	return 0;
}

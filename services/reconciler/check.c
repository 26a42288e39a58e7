/* check.c - the checker's loop: what to ask next, what the answers mean, writing what was found equal. */
#include "check.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define SWEEP_ROWS 128
#define FLUSH_INTERVAL_MS 200
#define HURRY_PER_SECOND 5000

/* ---- opening ----------------------------------------------------------------------------------------------------------------------------- */

int check_open(struct check *c, struct error *err)
{
	c->log = log_for_chain(daemon_log(c->ctx), c->chain->name);
	chain_metrics_init(&c->metrics, daemon_metrics(c->ctx), c->chain->name);
	journal_init(&c->journal, c->chain->name);
	c->flagged = cache_new(65536, sizeof(int64_t), 1);
	c->item_count = (size_t)c->config->reconciler.reconcile_concurrency;
	c->items = xcalloc(c->item_count, sizeof *c->items);
	c->doubts = xcalloc(CHECK_DOUBTS_MAX, sizeof *c->doubts);
	c->sweep = xcalloc(SWEEP_ROWS, sizeof *c->sweep);
	c->backoff = (struct backoff){ .base_ms = 100, .max_ms = 2000 };
	struct node_options node = { .identity = c->identity,
				     .endpoints = c->endpoints,
				     .log = &c->log,
				     .metrics = daemon_metrics(c->ctx),
				     .concurrency = c->item_count,
				     .request_timeout_ms = c->settings->request_timeout_ms };
	struct pg_options pg = { .url = c->config->postgres.url,
				 .application_name = "weir-reconciler-check",
				 .connect_timeout_ms = c->config->postgres.connect_timeout_ms,
				 .statement_timeout_ms = c->config->postgres.statement_timeout_ms,
				 .session_sql = LEDGER_SESSION_SQL,
				 .log = &c->log };
	int code = node_open(&node, &c->node, err);
	return code ? code : pg_open(&pg, &c->pg, err);
}

void check_close(struct check *c)
{
	node_close(&c->node); /* ends the calls in flight, which use the items */
	pg_close(&c->pg);
	journal_free(&c->journal);
	cache_free(&c->flagged);
	xfree(&c->items);
	xfree(&c->doubts);
	xfree(&c->sweep);
}

/* ---- transactions ------------------------------------------------------------------------------------------------------------------------- */

int check_begin(struct check *c, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	int code = pg_begin(c->pg, err);
	if (code)
		return code;
	pg_i32(&p[0], c->view.chain_id);
	pg_text(&p[1], c->view.fence);
	code = pg_prepared(c->pg, "fence", "select journal_sequence from weir.chains where id = $1 and fence = $2 for update", p, 2, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_FENCED, "chain %s: another reconciler owns the ledger now", c->chain->name);
	if (!code)
		journal_begin(&c->journal, (uint64_t)pg_get_i64(r, 0, 0));
	pg_result_free(&r);
	if (code)
		pg_rollback(c->pg);
	return code;
}

int check_commit(struct check *c, struct error *err)
{
	int code = journal_write(&c->journal, c->pg, c->view.chain_id, err);
	if (!code && c->journal.count > 0) {
		struct pg_param p[2];
		pg_i32(&p[0], c->view.chain_id);
		pg_i64(&p[1], (int64_t)c->journal.last);
		code = pg_query(c->pg, "update weir.chains set journal_sequence = $2 where id = $1", p, 2, NULL, err);
	}
	if (!code)
		code = pg_commit(c->pg, err);
	if (!code && c->journal.count > 0)
		mailbox_note_journal(c->mailbox, c->journal.last);
	return code;
}

void check_abort(struct check *c)
{
	pg_rollback(c->pg);
}

/* ---- results ---------------------------------------------------------------------------------------------------------------------------------- */

void check_skip(struct check *c, const char *reason, size_t n)
{
	metric_add(chain_metrics_skipped(&c->metrics, reason), n);
}

bool check_is_flagged(struct check *c, int32_t asset_id)
{
	const int64_t key = asset_id;
	return cache_get(c->flagged, &key) != NULL;
}

void check_store(struct check *c, const struct ledger_touch *touch, struct u256 amount, bool observation)
{
	if (c->result_count == CHECK_RESULTS_MAX) {
		/* PostgreSQL does not take results at present: the sweep comes by again. */
		check_skip(c, "not_written", 1);
		return;
	}
	struct check_result *result = &c->results[c->result_count++];
	*result = (struct check_result){ .account_id = touch->account_id,
					 .asset_id = touch->asset_id,
					 .height = touch->height,
					 .observation = observation,
					 .amount = amount };
	memcpy(result->hash, touch->hash, 32);
	metric_inc(observation ? c->metrics.observations : c->metrics.checked);
}

/* Results of one kind as arrays; only those whose block is still canonical count. */
static int write_results(struct check *c, bool observations, const char *name, const char *sql, struct error *err)
{
	struct buf out = BUF_INIT((size_t)1 << 20);
	struct pg_array accounts, assets, heights, hashes, amounts;
	struct pg_param p[6];
	size_t n = 0;
#define EACH(array, oid, add)                                            \
	pg_array_begin(&(array), &out, (oid));                           \
	for (size_t i = 0; i < c->result_count; i++)                     \
		if (c->results[i].observation == observations)           \
	add
	EACH(accounts, 20, (pg_array_i64(&accounts, c->results[i].account_id), n++));
	EACH(assets, 23, pg_array_i32(&assets, c->results[i].asset_id));
	EACH(heights, 20, pg_array_i64(&heights, c->results[i].height));
	EACH(hashes, 17, pg_array_bytea(&hashes, ledger_hash_bytes(c->results[i].hash)));
	EACH(amounts, 1700, pg_array_u256(&amounts, c->results[i].amount));
#undef EACH
	pg_i32(&p[0], c->view.chain_id);
	pg_array_finish(&accounts, &p[1]);
	pg_array_finish(&assets, &p[2]);
	pg_array_finish(&heights, &p[3]);
	pg_array_finish(&hashes, &p[4]);
	pg_array_finish(&amounts, &p[5]);
	int code = n > 0 ? pg_prepared(c->pg, name, sql, p, 6, NULL, err) : 0;
	buf_free(&out);
	return code;
}

#define RESULT_ROWS                                                                                                                       \
	" unnest($2::int8[], $3::int4[], $4::int8[], $5::bytea[], $6::numeric[]) i(account, asset, height, hash, amount)"                   \
	" cross join lateral (select from weir.blocks where chain = $1 and height = i.height and hash = i.hash and canonical limit 1) k"

int check_flush(struct check *c, struct error *err)
{
	if (c->result_count == 0)
		return 0;
	int code = check_begin(c, err);
	if (code)
		return code;
	/* What a crash takes of it is found again, and nothing is announced; waiting for the disk, it would hold up the writer, who needs the
	 * chain's row. */
	code = pg_exec(c->pg, "set local synchronous_commit = off", err);
	if (!code)
		code = write_results(c, false, "reconciled",
				     "update weir.balances b set reconciled_height = greatest(b.reconciled_height, i.height), reconciled_at = now()"
				     " from" RESULT_ROWS " where b.account = i.account and b.asset = i.asset and i.amount is not null",
				     err);
	if (!code)
		code = write_results(c, true, "observed",
				     "insert into weir.observations as o (account, asset, height, hash, amount)"
				     " select distinct on (i.account, i.asset, i.height) i.account, i.asset, i.height, i.hash, i.amount from" RESULT_ROWS
				     " on conflict (account, asset, height) do update"
				     " set hash = excluded.hash, amount = excluded.amount, observed_at = now()",
				     err);
	if (!code)
		code = check_commit(c, err);
	if (code)
		check_abort(c);
	else
		c->result_count = 0;
	return code;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------------------------------- */

static bool equals(struct i256 ledger, struct u256 chain)
{
#ifdef WEIR_MUTANT_NO_RECONCILIATION
	return true;
#endif
	return !i256_is_negative(ledger) && u256_cmp(i256_abs(ledger), chain) == 0;
}

static bool is_superseded(struct check *c, const struct ledger_touch *touch)
{
	uint8_t hash[32];
	bool found = false;
	return !check_canonical(c, touch->height, hash, &found, NULL) && (!found || memcmp(hash, touch->hash, 32) != 0);
}

bool check_refusal_is_zero(const struct check *c, const struct ledger_touch *touch)
{
	return touch->asset.standard == WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721 && touch->height <= c->answered_height;
}

static void on_answer(const struct node_balance *told, void *arg)
{
	struct check_item *item = arg;
	struct check *c = item->check;
	struct node_balance zero = *told;
	const struct node_balance *answer = told;
	item->busy = false;
	c->in_flight--;
	if (!told->code && item->touch.height > c->answered_height)
		c->answered_height = item->touch.height;
	if (told->code == WEIR_NOT_FOUND && check_refusal_is_zero(c, &item->touch) && !is_superseded(c, &item->touch)) {
		zero.code = 0;
		zero.amount = u256_from_u64(0);
		answer = &zero;
	}
	if (answer->code == WEIR_CANCELED)
		return;
	if (answer->code)
		check_skip(c, answer->code != WEIR_NOT_FOUND ? "no_answer" : is_superseded(c, &item->touch) ? "superseded" : "state_unavailable", 1);
	else if (item->observe_only)
		check_store(c, &item->touch, answer->amount, true);
	else if (equals(item->touch.amount, answer->amount))
		check_store(c, &item->touch, answer->amount, false);
	else
		doubt_add(c, &item->touch, answer->amount, answer->endpoint);
}

/* Why this balance is not compared, or NULL. */
static const char *reason_to_skip(struct check *c, const struct ledger_touch *touch)
{
	const char *reason = NULL;
	const struct bytes account = { touch->account, touch->account_size };
	if (!c->chain->family->reconcilable(c->chain, account, &touch->asset, &reason))
		return reason ? reason : "not_reconcilable";
	if (!touch->opening_known)
		return "opening_unknown";
	return NULL;
}

static struct check_item *free_item(struct check *c)
{
	for (size_t i = 0; i < c->item_count; i++)
		if (!c->items[i].busy)
			return &c->items[i];
	return NULL;
}

static void ask(struct check *c, struct check_item *item, const struct ledger_touch *touch)
{
	bool flagged = touch->non_conserving || check_is_flagged(c, touch->asset_id);
	const char *skip = reason_to_skip(c, touch);
	if (skip && !(flagged && strcmp(skip, "opening_unknown") == 0)) {
		check_skip(c, skip, 1);
		return;
	}
	*item = (struct check_item){ .check = c, .touch = *touch, .busy = true, .observe_only = flagged };
	c->in_flight++;
	int code = node_ask_balance(c->node, (struct bytes){ item->touch.account, item->touch.account_size }, &item->touch.asset,
				    (uint64_t)touch->height, item->touch.hash, 0, on_answer, item);
	if (code) {
		item->busy = false;
		c->in_flight--;
		check_skip(c, "no_answer", 1);
	}
}

/* ---- the sweep over all balances -------------------------------------------------------------------------------------------------------------------- */

size_t check_read_rows(const struct pg_result *r, struct ledger_touch *ret, size_t max)
{
	size_t n = pg_rows(r) < max ? pg_rows(r) : max, kept = 0;
	for (size_t i = 0; i < n; i++) {
		struct ledger_touch *touch = &ret[kept];
		struct bytes address = pg_get_bytes(r, i, 4), contract = pg_get_bytes(r, i, 6), hash = pg_get_bytes(r, i, 10);
		*touch = (struct ledger_touch){ .account_id = pg_get_i64(r, i, 0),
						.asset_id = (int32_t)pg_get_i64(r, i, 1),
						.opening_known = pg_get_bool(r, i, 3),
						.non_conserving = pg_get_bool(r, i, 8),
						.height = pg_get_i64(r, i, 9) };
		if (address.size > 32 || contract.size > 32 || hash.size != 32 || pg_get_numeric(r, i, 2, &touch->amount))
			continue;
		touch->account_size = (uint8_t)address.size;
		memcpy(touch->account, address.data, address.size);
		touch->asset.standard = (int)pg_get_i64(r, i, 5);
		touch->asset.contract_size = (uint8_t)contract.size;
		if (contract.size > 0)
			memcpy(touch->asset.contract, contract.data, contract.size);
		touch->asset.has_token_id = !pg_is_null(r, i, 7);
		if (touch->asset.has_token_id && pg_get_u256(r, i, 7, &touch->asset.token_id))
			continue;
		memcpy(touch->hash, hash.data, 32);
		kept++;
	}
	return kept;
}

static int read_sweep(struct check *c, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], c->sweep_account);
	pg_i32(&p[2], c->sweep_asset);
	int code = pg_prepared(c->pg, "sweep",
			       "select " CHECK_ROW " where b.chain = $1 and (b.account, b.asset) > ($2, $3) and c.watermark_hash is not null"
			       " order by b.account, b.asset limit 128",
			       p, 3, &r, err);
	if (code)
		return code;
	c->sweep_next = 0;
	c->sweep_count = check_read_rows(r, c->sweep, SWEEP_ROWS);
	if (pg_rows(r) > 0) {
		c->sweep_account = pg_get_i64(r, pg_rows(r) - 1, 0);
		c->sweep_asset = (int32_t)pg_get_i64(r, pg_rows(r) - 1, 1);
	} else if (c->sweep_account != 0) {
		c->sweep_account = 0;
		c->sweep_asset = 0;
		c->sweep_hurry = false;
		metric_inc(c->metrics.sweep);
	}
	pg_result_free(&r);
	return 0;
}

/* Fills what the touched balances leave of the concurrency, at the rate that the settings allow. */
static int sweep(struct check *c, struct error *err)
{
	int64_t now = clock_mono_ms();
	double rate = c->sweep_hurry ? HURRY_PER_SECOND : (double)c->config->reconciler.sweep_per_second;
	c->sweep_budget += rate * (double)(now - c->sweep_ms) / 1000;
	c->sweep_ms = now;
	if (c->sweep_budget > rate)
		c->sweep_budget = rate;
	if (c->view.watermark < c->view.start || c->view.watermark + LEDGER_TIP_DISTANCE < c->view.head)
		return 0; /* in backfill the state of the tip is not ours yet */
	struct check_item *item;
	while (c->sweep_budget >= 1 && c->doubt_count < CHECK_DOUBTS_MAX / 2 && (item = free_item(c))) {
		if (c->sweep_next == c->sweep_count) {
			int code = read_sweep(c, err);
			if (code || c->sweep_count == 0)
				return code;
		}
		c->sweep_budget--;
		ask(c, item, &c->sweep[c->sweep_next++]);
	}
	return 0;
}

/* ---- a turn ---------------------------------------------------------------------------------------------------------------------------------------------- */

static int load(struct check *c, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	const uint8_t yes = 1;
	int code = pg_query(c->pg, "select id from weir.assets where chain = $1 and non_conserving", pg_i32(&p, c->view.chain_id), 1, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		const int64_t id = pg_get_i64(r, i, 0);
		cache_put(c->flagged, &id, &yes);
	}
	pg_result_free(&r);
	if (!code)
		code = doubt_load(c, err);
	openings_hurry(c);
	if (!code)
		snprintf(c->loaded_fence, sizeof c->loaded_fence, "%s", c->view.fence);
	return code;
}

static int work(struct check *c, struct error *err)
{
	int code = strcmp(c->loaded_fence, c->view.fence) != 0 ? load(c, err) : 0;
	if (!code)
		code = question_step(c, err);
	if (!code)
		code = openings_step(c, err);
	const struct mail_view *view = &c->view;
	bool awaited = view->watermark >= view->start && view->head > view->watermark && view->head <= view->watermark + LEDGER_TIP_DISTANCE;
	bool wait = give_way(&c->way, awaited, clock_mono_ms());
	struct check_item *item;
	struct ledger_touch touch;
	while (!code && !wait && c->result_count + c->in_flight < CHECK_RESULTS_MAX && (item = free_item(c)) && mailbox_take_touch(c->mailbox, &touch))
		ask(c, item, &touch);
	if (!code && !wait && c->result_count + c->in_flight < CHECK_RESULTS_MAX)
		code = sweep(c, err);
	node_poll(c->node, c->in_flight > 0 ? 10 : 40, mailbox_fd(c->mailbox));
	mailbox_wait_clear(c->mailbox);
	int64_t now = clock_mono_ms();
	if (!code && !wait && (now - c->flush_ms >= FLUSH_INTERVAL_MS || c->result_count >= CHECK_RESULTS_MAX / 2)) {
		c->flush_ms = now;
		code = check_flush(c, err);
	}
	return code ? code : doubt_step(c, err);
}

void check_turn(struct check *c)
{
	struct error err = { 0 };
	mailbox_view(c->mailbox, &c->view);
	if (!c->view.owner) {
		c->loaded_fence[0] = '\0';
		c->sweep_count = c->sweep_next = 0;
		struct ledger_touch touch;
		while (mailbox_take_touch(c->mailbox, &touch))
			check_skip(c, "superseded", 1);
		clock_sleep_ms(50);
		return;
	}
	int code = work(c, &err);
	if (!code || code == WEIR_FENCED || code == WEIR_CANCELED) {
		if (c->failing)
			log_info(&c->log, "checker_goes_on", NULL);
		c->failing = false;
		backoff_reset(&c->backoff);
		if (code) {
			c->result_count = 0;
			clock_sleep_ms(50);
		}
		return;
	}
	if (!c->failing)
		log_warn(&c->log, "checker_waits", "balances are not compared until this is over", LOG_ERR(&err));
	c->failing = true;
	for (int64_t until = clock_mono_ms() + backoff_next_ms(&c->backoff); clock_mono_ms() < until && !daemon_stopping(c->ctx);)
		node_poll(c->node, 20, -1);
}

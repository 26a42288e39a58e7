/* ledger.c - opening, loading and owning the ledger of one chain, and its transactions. */
#include "ledger.h"

#include "apply.h"
#include "migrations.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define STATUS_INTERVAL_MS 1000

int ledger_migrate(const struct pg_options *options, struct error *err)
{
	struct pg *pg = NULL;
	int code = pg_open(options, &pg, err);
	if (!code)
		code = pg_migrate(pg, ledger_migrations, ledger_migration_count, err);
	pg_close(&pg);
	return code;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

static int make_chain_row(struct ledger *ledger, struct error *err)
{
	struct pg_param p[5];
	pg_text(&p[0], ledger->chain->name);
	pg_text(&p[1], ledger->options.family);
	pg_text(&p[2], ledger->options.profile);
	pg_i64(&p[3], (int64_t)ledger->chain->chain_id);
	pg_i64(&p[4], (int64_t)ledger->chain->start_height);
	return pg_query(ledger->pg,
			"insert into weir.chains (name, family, profile, chain_id, start_height) select $1, $2, $3, $4, $5"
			" where not exists (select 1 from weir.chains where name = $1) on conflict (name) do nothing",
			p, 5, NULL, err);
}

static bool get_hash(const struct pg_result *r, size_t row, size_t column, uint8_t ret[32])
{
	struct bytes b = pg_get_bytes(r, row, column);
	if (!b.data || b.size != 32)
		return false;
	memcpy(ret, b.data, 32);
	return true;
}

/* row: id, family, chain_id, start_height. */
static int check_chain_row(const struct chain *chain, const char *family, const struct pg_result *row, struct error *err)
{
	if (strcmp(pg_get_text(row, 0, 1), family) != 0)
		return error_set(err, WEIR_CONFIG, "chain %s: the ledger was made for family %s, the settings say %s", chain->name,
				 pg_get_text(row, 0, 1), family);
	if (pg_get_i64(row, 0, 2) != (int64_t)chain->chain_id)
		return error_set(err, WEIR_WRONG_CHAIN, "chain %s: the ledger was made for chain id %lld, the settings say %llu", chain->name,
				 (long long)pg_get_i64(row, 0, 2), (unsigned long long)chain->chain_id);
	if (pg_get_i64(row, 0, 3) != (int64_t)chain->start_height)
		return error_set(err, WEIR_CONFIG,
				 "chain %s: the ledger begins at block %lld, the settings say start_height %llu; a ledger's start cannot be moved: "
				 "use another chain name",
				 chain->name, (long long)pg_get_i64(row, 0, 3), (unsigned long long)chain->start_height);
	return 0;
}

int ledger_check_chain(struct pg *pg, const struct chain *chain, const char *family, bool *ret_genesis_known, uint8_t ret_genesis[32],
		       struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_query(pg, "select id, family, chain_id, start_height, genesis_hash from weir.chains where name = $1", pg_text(&p, chain->name), 1, &r, err);
	bool there = !code && pg_rows(r) == 1;
	if (there)
		code = check_chain_row(chain, family, r, err);
	*ret_genesis_known = there && get_hash(r, 0, 4, ret_genesis);
	pg_result_free(&r);
	return code;
}

static int make_partition(struct ledger *ledger, struct error *err)
{
	char sql[200];
	snprintf(sql, sizeof sql,
		 "create table if not exists weir.entries_%d partition of weir.entries for values in (%d) partition by range (height)",
		 ledger->id, ledger->id);
	return pg_exec(ledger->pg, sql, err);
}

int ledger_make_leaf(struct ledger *ledger, int64_t height, struct error *err)
{
	int64_t leaf = height >> LEDGER_LEAF_BITS;
	if (leaf == ledger->leaf)
		return 0;
	char sql[240];
	snprintf(sql, sizeof sql,
		 "create table if not exists weir.entries_%d_%lld partition of weir.entries_%d for values from (%lld) to (%lld)", ledger->id,
		 (long long)leaf, ledger->id, (long long)(leaf << LEDGER_LEAF_BITS), (long long)((leaf + 1) << LEDGER_LEAF_BITS));
	int code = pg_exec(ledger->pg, sql, err);
	if (!code)
		ledger->leaf = leaf;
	return code;
}

int ledger_open(const struct ledger_options *options, struct ledger **ret, struct error *err)
{
	struct ledger *ledger = xmalloc(sizeof *ledger);
	ledger->options = *options;
	ledger->chain = options->chain;
	if (options->log)
		ledger->log = *options->log;
	ledger->leaf = -1;
	journal_init(&ledger->journal, options->chain->name);
	ledger->recent = xcalloc(LEDGER_RECENT, sizeof *ledger->recent);
	size_t hot = options->balance_cache >= 1024 ? options->balance_cache : 1024;
	ledger->accounts = cache_new(hot, sizeof(struct account_key), sizeof(int64_t));
	ledger->assets = cache_new(hot / 4, sizeof(struct asset_key), sizeof(struct asset_value));
	ledger->balances = cache_new(hot, sizeof(struct balance_key), sizeof(struct balance_value));
	ledger->batch = ledger_batch_new();
	struct pg_options pg = options->pg;
	pg.session_sql = LEDGER_SESSION_SQL;
	int code = pg_open(&pg, &ledger->pg, err);
	if (!code)
		code = make_chain_row(ledger, err);
	if (!code)
		code = ledger_load(ledger, err);
	if (!code)
		code = make_partition(ledger, err);
	if (!code)
		code = ledger_make_leaf(ledger, ledger_opening_height(ledger), err);
	if (code) {
		ledger_close(&ledger);
		return code;
	}
	*ret = ledger;
	return 0;
}

void ledger_close(struct ledger **ledgerp)
{
	struct ledger *ledger = *ledgerp;
	if (!ledger)
		return;
	pg_close(&ledger->pg);
	cache_free(&ledger->accounts);
	cache_free(&ledger->assets);
	cache_free(&ledger->balances);
	ledger_batch_free(&ledger->batch);
	journal_free(&ledger->journal);
	xfree(&ledger->recent);
	xfree(ledgerp);
}

/* ---- loading ------------------------------------------------------------------------------------------------------------ */

static int64_t get_height(const struct pg_result *r, size_t row, size_t column)
{
	return pg_is_null(r, row, column) ? -1 : pg_get_i64(r, row, column);
}

static int load_chain(struct ledger *ledger, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_query(ledger->pg,
			    "select id, family, chain_id, start_height, watermark_height, watermark_hash, epoch, paused, genesis_hash, head_height,"
			    " head_hash, safe_height, finalized_height, journal_sequence,"
			    " (select count(*) from weir.gaps g where g.chain = c.id and closed_at is null),"
			    " coalesce((select max(height) from weir.blocks b where b.chain = c.id and not canonical), -1)"
			    " from weir.chains c where name = $1",
			    pg_text(&p, ledger->chain->name), 1, &r, err);
	if (!code && pg_rows(r) != 1)
		code = error_set(err, WEIR_NOT_FOUND, "chain %s has no row in weir.chains", ledger->chain->name);
	if (!code)
		code = check_chain_row(ledger->chain, ledger->options.family, r, err);
	if (!code) {
		ledger->id = (int16_t)pg_get_i64(r, 0, 0);
		ledger->start = pg_get_i64(r, 0, 3);
		ledger->watermark = pg_get_i64(r, 0, 4);
		get_hash(r, 0, 5, ledger->watermark_hash);
		ledger->epoch = pg_get_i64(r, 0, 6);
		ledger->paused = pg_get_bool(r, 0, 7);
		ledger->genesis_known = get_hash(r, 0, 8, ledger->genesis_hash);
		ledger->head.height = get_height(r, 0, 9);
		get_hash(r, 0, 10, ledger->head.hash);
		ledger->head.safe = get_height(r, 0, 11);
		ledger->head.finalized = get_height(r, 0, 12);
		ledger->journal_sequence = (uint64_t)pg_get_i64(r, 0, 13);
		ledger->open_gaps = (size_t)pg_get_i64(r, 0, 14);
		ledger->superseded_top = pg_get_i64(r, 0, 15);
		ledger->promoted_safe = ledger->head.safe < ledger->watermark ? ledger->head.safe : ledger->watermark;
		ledger->promoted_finalized = ledger->head.finalized < ledger->watermark ? ledger->head.finalized : ledger->watermark;
	}
	pg_result_free(&r);
	return code;
}

/* Newest canonical hashes. A hole (there is none unless somebody edits tables) ends what memory may answer. */
static int load_recent(struct ledger *ledger, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], ledger->watermark - (int64_t)LEDGER_RECENT);
	int code = pg_query(ledger->pg, "select height, hash from weir.blocks where chain = $1 and canonical and height > $2 order by height desc", p, 2, &r,
			    err);
	ledger->recent_low = ledger->watermark + 1;
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		int64_t height = pg_get_i64(r, i, 0);
		if (height != ledger->recent_low - 1 || !get_hash(r, i, 1, ledger->recent[height % LEDGER_RECENT]))
			break;
		ledger->recent_low = height;
	}
	pg_result_free(&r);
	return code;
}

/* The block at which opening balances are asked: the parent of the first, or block 0 itself. */
static int load_opening(struct ledger *ledger, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], ledger->start);
	pg_i64(&p[2], ledger_opening_height(ledger));
	int code = pg_query(ledger->pg,
			    "select (select case when $2 > 0 then parent_hash else hash end from weir.blocks where chain = $1 and height = $2 and canonical),"
			    " coalesce((select max(ordinal) + 1 from weir.entries where chain = $1 and height = $3 and branch = 0), 0)",
			    p, 3, &r, err);
	if (!code) {
		ledger->opening_hash_known = get_hash(r, 0, 0, ledger->opening_hash);
		ledger->opening_ordinal = (int32_t)pg_get_i64(r, 0, 1);
	}
	pg_result_free(&r);
	return code;
}

int ledger_reload(struct ledger *ledger, struct error *err)
{
	pg_rollback(ledger->pg);
	cache_clear(ledger->accounts);
	cache_clear(ledger->assets);
	cache_clear(ledger->balances);
	ledger->leaf = -1;
	int code = load_chain(ledger, err);
	if (!code)
		code = load_recent(ledger, err);
	if (!code)
		code = load_opening(ledger, err);
	return code;
}

int ledger_load(struct ledger *ledger, struct error *err)
{
	int code = ledger_reload(ledger, err);
	journal_begin(&ledger->journal, ledger->journal_sequence);
	return code;
}

/* ---- owning ------------------------------------------------------------------------------------------------------------- */

/* The owner before may have stopped (a paused machine, a lost network) inside a transaction, which holds the chain's row for as long as
 * PostgreSQL waits for its client. Whoever holds the row and has said nothing for a while is shown the door: what it did is rolled
 * back, and it could not have committed under its fence. A session that PostgreSQL works for is let finish: ending it would only make
 * its successor begin the same long statement. */
static int end_silent_holder(struct ledger *ledger, struct error *err)
{
	static const char *sql = "select a.pid, extract(epoch from clock_timestamp() - greatest(a.state_change, a.query_start))::bigint,"
				 " pg_terminate_backend(a.pid)"
				 " from weir.chains c join pg_locks l on l.locktype = 'transactionid' and l.transactionid = c.xmax and l.granted"
				 " join pg_stat_activity a on a.pid = l.pid"
				 " where c.id = $1 and a.wait_event = 'ClientRead'"
				 " and greatest(a.state_change, a.query_start) < clock_timestamp() - interval '1 second'";
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_query(ledger->pg, sql, pg_i32(&p, ledger->id), 1, &r, err);
	for (size_t i = 0; !code && i < pg_rows(r); i++)
		log_warn(&ledger->log, "silent_owner_ended", "the owner before stopped in the middle of a transaction that held the chain's row: its session was ended",
			 LOG_I("backend", pg_get_i64(r, i, 0)), LOG_I("silent_s", pg_get_i64(r, i, 1)), LOG_B("ended", pg_get_bool(r, i, 2)));
	pg_result_free(&r);
	return code;
}

static int write_fence(struct ledger *ledger, const char *token, struct error *err)
{
	struct pg_param p[2];
	pg_i32(&p[0], ledger->id);
	pg_text(&p[1], token);
	int code = pg_begin(ledger->pg, err);
	if (code)
		return code;
	code = pg_exec(ledger->pg, "set local lock_timeout = '1s'", err);
	if (!code)
		code = pg_query(ledger->pg, "update weir.chains set fence = $2 where id = $1", p, 2, NULL, err);
	if (!code)
		code = pg_commit(ledger->pg, err);
	if (code)
		pg_rollback(ledger->pg);
	return code;
}

int ledger_claim(struct ledger *ledger, const char *token, struct error *err)
{
	int code = write_fence(ledger, token, err);
	if (code == WEIR_TIMEOUT) {
		code = end_silent_holder(ledger, err);
		if (!code)
			code = write_fence(ledger, token, err);
	}
	if (code)
		return code;
	snprintf(ledger->fence, sizeof ledger->fence, "%s", token);
	return ledger_load(ledger, err);
}

int ledger_begin(struct ledger *ledger, struct error *err)
{
	int code = pg_begin(ledger->pg, err);
	if (code)
		return code;
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_text(&p[1], ledger->fence);
#ifdef WEIR_MUTANT_NO_LEDGER_FENCE
	const char *sql = "select watermark_height, journal_sequence from weir.chains where id = $1 and $2::text is not null for update";
#else
	const char *sql = "select watermark_height, journal_sequence from weir.chains where id = $1 and fence = $2 for update";
#endif
	code = pg_prepared(ledger->pg, "fence", sql, p, 2, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_FENCED, "chain %s: another reconciler owns the ledger now; nothing was written", ledger->chain->name);
	if (!code && pg_get_i64(r, 0, 0) != ledger->watermark)
		code = error_set(err, WEIR_CONFLICT, "chain %s: the watermark is %lld, not %lld as remembered", ledger->chain->name,
				 (long long)pg_get_i64(r, 0, 0), (long long)ledger->watermark);
	if (!code) {
		/* The checking thread writes events too: the row says which sequence is next. */
		ledger->journal_sequence = (uint64_t)pg_get_i64(r, 0, 1);
		journal_begin(&ledger->journal, ledger->journal_sequence);
	}
	pg_result_free(&r);
	if (code)
		pg_rollback(ledger->pg);
	return code;
}

int ledger_commit(struct ledger *ledger, struct error *err)
{
	int code = journal_write(&ledger->journal, ledger->pg, ledger->id, err);
	if (!code && ledger->journal.count > 0) {
		struct pg_param p[2];
		pg_i32(&p[0], ledger->id);
		pg_i64(&p[1], (int64_t)ledger->journal.last);
		code = pg_prepared(ledger->pg, "sequence", "update weir.chains set journal_sequence = $2 where id = $1", p, 2, NULL, err);
	}
	if (!code)
		code = pg_commit(ledger->pg, err);
	if (!code)
		ledger->journal_sequence = ledger->journal.last;
	return code;
}

void ledger_abort(struct ledger *ledger)
{
	pg_rollback(ledger->pg);
	journal_begin(&ledger->journal, ledger->journal_sequence);
}

/* ---- questions ---------------------------------------------------------------------------------------------------------- */

int ledger_hash_at(struct ledger *ledger, int64_t height, uint8_t ret[32], struct error *err)
{
	const uint8_t *recent = ledger_recent(ledger, height);
	if (recent) {
		memcpy(ret, recent, 32);
		return 0;
	}
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], height);
	int code = pg_prepared(ledger->pg, "hash_at", "select hash from weir.blocks where chain = $1 and height = $2 and canonical", p, 2, &r, err);
	if (!code && (pg_rows(r) == 0 || !get_hash(r, 0, 0, ret)))
		code = error_set(err, WEIR_NOT_FOUND, "chain %s has no block %lld in the ledger", ledger->chain->name, (long long)height);
	pg_result_free(&r);
	return code;
}

int ledger_has(struct ledger *ledger, int64_t height, const uint8_t hash[32], bool *ret, struct error *err)
{
	uint8_t ours[32];
	*ret = false;
	if (height > ledger->watermark || height < ledger->start)
		return 0;
	int code = ledger_hash_at(ledger, height, ours, err);
	if (code == WEIR_NOT_FOUND)
		return 0;
	*ret = !code && memcmp(ours, hash, 32) == 0;
	return code;
}

/* ---- head, pause, epoch --------------------------------------------------------------------------------------------------- */

static void promote(struct ledger *ledger, Weir__V1__Finality finality, int64_t height, int64_t watermark, const uint8_t *watermark_hash,
		    int64_t *promoted)
{
	int64_t up_to = height < watermark ? height : watermark;
	const uint8_t *hash = up_to == watermark ? watermark_hash : ledger_recent(ledger, up_to);
	uint8_t ours[32];
	if (up_to <= *promoted || (!hash && ledger_hash_at(ledger, up_to, ours, NULL)))
		return;
	Weir__V1__LedgerEvent event;
	Weir__V1__FinalityPromoted promotion;
	Weir__V1__BlockRef ref;
	weir__v1__ledger_event__init(&event);
	weir__v1__finality_promoted__init(&promotion);
	weir__v1__block_ref__init(&ref);
	memcpy(ours, hash ? hash : ours, 32);
	ref.height = (uint64_t)up_to;
	ref.hash = (ProtobufCBinaryData){ 32, ours };
	promotion.finality = finality;
	promotion.up_to = &ref;
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED;
	event.finality_promoted = &promotion;
	journal_add(&ledger->journal, &event, NULL, up_to, 0);
	*promoted = up_to;
}

static Weir__V1__BlockRef *block_ref(Weir__V1__BlockRef *ref, int64_t height, uint8_t hash[32], bool hash_known)
{
	weir__v1__block_ref__init(ref);
	if (height < 0)
		return NULL;
	ref->height = (uint64_t)height;
	if (hash_known)
		ref->hash = (ProtobufCBinaryData){ 32, hash };
	return ref;
}

static void journal_status(struct ledger *ledger, int64_t watermark, const uint8_t *watermark_hash)
{
	int64_t now = clock_mono_ms();
	if (ledger->status_ms && now - ledger->status_ms < STATUS_INTERVAL_MS)
		return;
	ledger->status_ms = now;
	Weir__V1__LedgerEvent event;
	Weir__V1__ChainStatus status;
	Weir__V1__BlockRef refs[4];
	uint8_t hash[32];
	weir__v1__ledger_event__init(&event);
	weir__v1__chain_status__init(&status);
	memcpy(hash, watermark_hash, 32);
	status.head = block_ref(&refs[0], ledger->head.height, ledger->head.hash, true);
	status.watermark = block_ref(&refs[1], watermark, hash, true);
	status.safe = block_ref(&refs[2], ledger->head.safe, ledger->head.safe_hash, false);
	status.finalized = block_ref(&refs[3], ledger->head.finalized, ledger->head.finalized_hash, false);
	status.gaps = (uint32_t)ledger->open_gaps;
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_CHAIN_STATUS;
	event.chain_status = &status;
	journal_add(&ledger->journal, &event, NULL, watermark, 0);
}

void ledger_journal_head(struct ledger *ledger, int64_t watermark, const uint8_t *watermark_hash)
{
	promote(ledger, WEIR__V1__FINALITY__FINALITY_SAFE, ledger->head.safe, watermark, watermark_hash, &ledger->promoted_safe);
	promote(ledger, WEIR__V1__FINALITY__FINALITY_FINALIZED, ledger->head.finalized, watermark, watermark_hash, &ledger->promoted_finalized);
	journal_status(ledger, watermark, watermark_hash);
}

static int64_t highest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

int ledger_note_head(struct ledger *ledger, const struct ledger_head *head, struct error *err)
{
	int64_t safe = highest(ledger->head.safe, head->safe), finalized = highest(ledger->head.finalized, head->finalized);
	struct pg_param p[5];
	pg_i32(&p[0], ledger->id);
	pg_i64(&p[1], head->height);
	pg_bytea(&p[2], ledger_hash_bytes(head->hash));
	safe < 0 ? pg_null(&p[3]) : pg_i64(&p[3], safe);
	finalized < 0 ? pg_null(&p[4]) : pg_i64(&p[4], finalized);
	p[3].oid = p[4].oid = 20; /* a prepared statement's types must not depend on its first values */
	int code = ledger_begin(ledger, err);
	if (code)
		return code;
	code = pg_prepared(ledger->pg, "head",
			   "update weir.chains set head_height = $2, head_hash = $3, head_at = now(), safe_height = $4, finalized_height = $5 where id = $1",
			   p, 5, NULL, err);
	if (!code) {
		ledger->head = *head;
		ledger->head.safe = safe;
		ledger->head.finalized = finalized;
		ledger_journal_head(ledger, ledger->watermark, ledger->watermark_hash);
		code = ledger_commit(ledger, err);
	}
	if (code)
		ledger_abort(ledger);
	return code;
}

static int update_chain(struct ledger *ledger, const char *sql, const struct pg_param *p, size_t n, struct error *err)
{
	int code = ledger_begin(ledger, err);
	if (code)
		return code;
	code = pg_query(ledger->pg, sql, p, n, NULL, err);
	if (!code)
		code = ledger_commit(ledger, err);
	if (code)
		ledger_abort(ledger);
	return code;
}

int ledger_set_paused(struct ledger *ledger, bool paused, struct error *err)
{
	struct pg_param p[2];
	pg_i32(&p[0], ledger->id);
	int code = update_chain(ledger, "update weir.chains set paused = $2 where id = $1", (pg_bool(&p[1], paused), p), 2, err);
	if (!code)
		ledger->paused = paused;
	return code;
}

int ledger_new_epoch(struct ledger *ledger, struct error *err)
{
	struct pg_param p;
	int code = update_chain(ledger, "update weir.chains set epoch = epoch + 1 where id = $1", pg_i32(&p, ledger->id), 1, err);
	if (!code)
		ledger->epoch++;
	return code;
}

int ledger_learn_genesis(struct ledger *ledger, const uint8_t hash[32], struct error *err)
{
	struct pg_param p[2];
	pg_i32(&p[0], ledger->id);
	pg_bytea(&p[1], ledger_hash_bytes(hash));
	int code = update_chain(ledger, "update weir.chains set genesis_hash = $2 where id = $1 and genesis_hash is null", p, 2, err);
	if (!code) {
		memcpy(ledger->genesis_hash, hash, 32);
		ledger->genesis_known = true;
	}
	return code;
}

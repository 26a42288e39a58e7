/* replay_snapshot.c - what is so at the journal's end, as one push. Everything after it follows as events, retractions of blocks before it
 * included: they say what is so then. One transaction reads both, so nothing lies between. */
#include "live/replay_internal.h"

static void put_ref(struct buf *out, const char *key, const struct pg_result *r, size_t height, size_t hash)
{
	if (pg_is_null(r, 0, height) || pg_get_i64(r, 0, height) < 0) {
		put_null(out, key);
		return;
	}
	put_object(out, key);
	put_i64(out, "height", pg_get_i64(r, 0, height));
	put_hex(out, "hash", hash ? pg_get_bytes(r, 0, hash) : (struct bytes){ NULL, 0 });
	put_end(out, '}');
}

static int put_balances(const struct replay_job *job, struct pg *pg, struct buf *out, struct error *err)
{
	const struct filter *f = &job->filter;
	const struct chain *chain = &job->chain->chain;
	struct pg_param p[2];
	struct pg_result *r = NULL;
	char text[ASSET_TEXT_MAX];
	pg_i32(&p[0], atomic_load(&job->chain->id));
	pg_bytea(&p[1], (struct bytes){ f->account, f->account_size });
	int code = pg_prepared(pg, "snapshot_balances",
			       "select s.standard, s.contract, s.token_id, case when not s.non_conserving then b.amount::text end"
			       " from weir_api.accounts a join weir_api.balances b on b.account = a.id join weir_api.assets s on s.id = b.asset"
			       " where a.chain = $1 and a.address = $2 order by s.id",
			       p, 2, &r, err);
	account_text(chain, (struct bytes){ f->account, f->account_size }, text);
	put_text(out, "account", text);
	put_array(out, "balances");
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		struct u256 token_id = { 0 };
		bool has_id = !pg_is_null(r, i, 2) && pg_get_u256(r, i, 2, &token_id) == 0;
		const struct chain_asset asset = asset_from_columns((int)pg_get_i64(r, i, 0), pg_get_bytes(r, i, 1), has_id, token_id);
		if (!filter_takes(f, (struct bytes){ f->account, f->account_size }, &asset, 0))
			continue;
		asset_text(chain, &asset, text);
		put_object(out, NULL);
		put_text(out, "asset", text);
		put_text(out, "amount", pg_is_null(r, i, 3) ? NULL : pg_get_text(r, i, 3));
		put_end(out, '}');
	}
	put_end(out, ']');
	pg_result_free(&r);
	return code;
}

static void put_status(const struct pg_result *r, struct buf *out)
{
	put_ref(out, "head", r, 3, 4);
	put_ref(out, "safe", r, 5, 0);
	put_ref(out, "finalized", r, 6, 0);
	put_i64(out, "gaps", pg_get_i64(r, 0, 7));
	put_i64(out, "incidents", pg_get_i64(r, 0, 8));
}

int replay_snapshot(struct replay_job *job, struct pg *pg, struct error *err)
{
	struct buf text = BUF_INIT((size_t)16 << 20);
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_prepared(pg, "snapshot_chain",
			       "select journal_sequence, watermark_height, watermark_hash, head_height, head_hash, safe_height, finalized_height, gaps, incidents,"
			       " (select body from weir_api.journal j where j.chain = c.id and j.sequence = c.journal_sequence) from weir_api.chains c where id = $1",
			       pg_i32(&p, atomic_load(&job->chain->id)), 1, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_UNAVAILABLE, "the ledger does not have this chain yet");
	if (!code) {
		job->offset = (struct offset){ .sequence = (uint64_t)pg_get_i64(r, 0, 0), .index = -1 };
		code = pg_is_null(r, 0, 9) ? 0 : replay_print(job, pg_get_bytes(r, 0, 9), &job->offset.print, err);
	}
	if (!code) {
		buf_add_str(&text, ",\"event\":{");
		put_text(&text, "type", "snapshot");
		put_text(&text, "chain", job->chain->chain.name);
		put_ref(&text, "watermark", r, 1, 2);
		if (job->topic == TOPIC_OF_ACCOUNTS)
			code = put_balances(job, pg, &text, err);
		else
			put_status(r, &text);
		buf_add_str(&text, "}}");
	}
	if (!code && text.overflow)
		code = error_set(err, WEIR_LIMIT, "the account holds more assets than fit one snapshot: begin at a height");
	if (!code)
		replay_add_push(job, &text, &job->offset);
	pg_result_free(&r);
	buf_free(&text);
	return code;
}

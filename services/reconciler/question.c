/* question.c - what operators and gateways ask: compare now, or tell what the chain says about a balance at a height. */
#include "check.h"

#include <string.h>

#define ROWS_MAX 256

/* Openings that nobody could tell. */
static int ask_openings(struct check *c, const struct ledger_touch *touches, size_t n, struct error *err)
{
	struct ledger_touch unknown[OPENINGS_TOLD_MAX];
	size_t count = 0, told;
	int code = 0;
	for (size_t i = 0; !code && i < n; i++) {
		if (!touches[i].opening_known)
			unknown[count++] = touches[i];
		if (count > 0 && (count == OPENINGS_TOLD_MAX || i + 1 == n)) {
			code = openings_ask(c, unknown, count, &told, err);
			count = 0;
		}
	}
	return code;
}

/* $3..$6 pick one asset; $3 false: all of the account's. */
static int reconcile_account(struct check *c, const struct mail_question *q, struct error *err)
{
	struct pg_param p[5];
	struct pg_result *r = NULL;
	char token[U256_DEC_MAX];
	struct ledger_touch *touches = xcalloc(ROWS_MAX, sizeof *touches);
	u256_to_dec(q->asset.token_id, token);
	pg_i32(&p[0], c->view.chain_id);
	pg_bytea(&p[1], (struct bytes){ q->account, q->account_size });
	pg_bool(&p[2], !q->has_asset);
	pg_bytea(&p[3], (struct bytes){ q->asset.contract, q->asset.contract_size });
	pg_text(&p[4], q->asset.has_token_id ? token : NULL);
	int code = pg_query(c->pg,
			    "select " CHECK_ROW " where b.chain = $1 and a.address = $2 and a.chain = $1 and c.watermark_hash is not null"
			    " and ($3 or (s.contract = $4 and s.token_id is not distinct from $5::numeric)) order by b.asset limit 256",
			    p, 5, &r, err);
	size_t n = code ? 0 : check_read_rows(r, touches, ROWS_MAX);
	size_t put = mailbox_put_touches(c->mailbox, touches, n);
	if (put < n)
		check_skip(c, "queue_full", n - put);
	pg_result_free(&r);
	if (!code)
		code = ask_openings(c, touches, n, err);
	xfree(&touches);
	return code;
}

/* Ids, and the canonical block at the height. Unknown accounts have no row that an observation could belong to. */
static int find(struct check *c, const struct mail_question *q, struct ledger_touch *ret, bool *ret_found, struct error *err)
{
	struct pg_param p[5];
	struct pg_result *r = NULL;
	char token[U256_DEC_MAX];
	u256_to_dec(q->asset.token_id, token);
	pg_i32(&p[0], c->view.chain_id);
	pg_bytea(&p[1], (struct bytes){ q->account, q->account_size });
	pg_bytea(&p[2], (struct bytes){ q->asset.contract, q->asset.contract_size });
	pg_text(&p[3], q->asset.has_token_id ? token : NULL);
	pg_i64(&p[4], (int64_t)q->height);
	int code = pg_query(c->pg,
			    "select a.id, s.id, k.hash from weir.accounts a, weir.assets s, weir.blocks k where a.chain = $1 and a.address = $2"
			    " and s.chain = $1 and s.contract = $3 and coalesce(s.token_id, -1) = coalesce($4::numeric, -1)"
			    " and k.chain = $1 and k.height = $5 and k.canonical",
			    p, 5, &r, err);
	*ret_found = !code && pg_rows(r) == 1 && pg_get_bytes(r, 0, 2).size == 32;
	if (*ret_found) {
		ret->account_id = pg_get_i64(r, 0, 0);
		ret->asset_id = (int32_t)pg_get_i64(r, 0, 1);
		ret->height = (int64_t)q->height;
		memcpy(ret->hash, pg_get_bytes(r, 0, 2).data, 32);
	}
	pg_result_free(&r);
	return code;
}

static int observe(struct check *c, const struct mail_question *q, struct error *err)
{
	struct ledger_touch touch = { 0 };
	struct u256 amount;
	size_t endpoint;
	bool found = false;
	if (q->height > INT64_MAX / 2)
		return 0;
	int code = find(c, q, &touch, &found, err);
	if (code || !found)
		return code;
	struct error why = { 0 };
	if (node_balance(c->node, (struct bytes){ q->account, q->account_size }, &q->asset, q->height, touch.hash, 0, &amount, &endpoint, &why)) {
		log_warn(&c->log, "observation_failed", NULL, LOG_U("height", q->height), LOG_ERR(&why));
		return 0;
	}
	check_store(c, &touch, amount, true);
	return check_flush(c, err); /* a client waits for it */
}

int question_step(struct check *c, struct error *err)
{
	struct mail_question q;
	for (int i = 0; i < 16 && mailbox_take_question(c->mailbox, &q); i++) {
		int code = 0;
		if (q.kind == MAIL_OBSERVE) {
			code = observe(c, &q, err);
		} else if (q.account_size > 0) {
			code = reconcile_account(c, &q, err);
		} else {
			c->sweep_account = 0;
			c->sweep_asset = 0;
			c->sweep_next = c->sweep_count = 0;
			c->sweep_hurry = true;
			openings_hurry(c);
		}
		if (code) {
			if (!mailbox_put_question(c->mailbox, &q)) /* others came meanwhile */
				check_skip(c, "queue_full", 1);
			return code;
		}
	}
	return 0;
}

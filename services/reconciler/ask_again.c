/* ask_again.c - asks the endpoints again for openings that nobody could tell: a few at a time, less and less often while nobody can. */
#include "check.h"

#include <string.h>

#define WAIT_BASE_MS 10000
#define WAIT_MAX_MS 3600000

/* The block at which openings lie: the parent of the ledger's first, or block 0. */
static int opening_block(struct check *c, uint8_t ret[32], bool *ret_found, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], c->view.start);
	int code = pg_prepared(c->pg, "opening_block",
			       "select case when $2 > 0 then parent_hash else hash end from weir.blocks where chain = $1 and height = $2 and canonical", p, 2,
			       &r, err);
	*ret_found = !code && pg_rows(r) == 1 && pg_get_bytes(r, 0, 0).size == 32;
	if (*ret_found)
		memcpy(ret, pg_get_bytes(r, 0, 0).data, 32);
	pg_result_free(&r);
	return code;
}

int openings_ask(struct check *c, const struct ledger_touch *touches, size_t n, size_t *ret_told, struct error *err)
{
	struct opening openings[OPENINGS_TOLD_MAX] = { 0 };
	struct told_opening told[OPENINGS_TOLD_MAX];
	uint8_t hash[32];
	bool found = false;
	*ret_told = 0;
	int code = opening_block(c, hash, &found, err);
	if (code || !found || n > OPENINGS_TOLD_MAX)
		return code;
	for (size_t i = 0; i < n; i++)
		openings[i] = (struct opening){ .account = { touches[i].account, touches[i].account_size }, .asset = &touches[i].asset };
	node_forget_codes(c->node);
	if (node_openings(c->node, c->view.start > 0 ? (uint64_t)c->view.start - 1 : 0, hash, openings, n, NULL))
		return 0; /* nobody answers now */
	for (size_t i = 0; i < n; i++) {
		if (!openings[i].known)
			continue;
		told[*ret_told] = (struct told_opening){ .touch = touches[i], .amount = openings[i].amount };
		memcpy(told[(*ret_told)++].hash, hash, 32);
	}
	mailbox_tell_openings(c->mailbox, told, *ret_told); /* what does not fit is asked again in the next round */
	return 0;
}

void openings_hurry(struct check *c)
{
	c->opening_ms = c->opening_wait_ms = 0;
	c->opening_account = 0;
	c->opening_asset = 0;
}

static int read_unknown(struct check *c, struct ledger_touch ret[OPENINGS_TOLD_MAX], size_t *ret_count, bool *ret_more, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], c->opening_account);
	pg_i32(&p[2], c->opening_asset);
	int code = pg_prepared(c->pg, "openings_unknown",
			       "select " CHECK_ROW " where b.chain::int = $1 and not b.opening_known and (b.account, b.asset) > ($2, $3)"
			       " and c.watermark_hash is not null order by b.account, b.asset limit 16",
			       p, 3, &r, err);
	*ret_count = code ? 0 : check_read_rows(r, ret, OPENINGS_TOLD_MAX);
	*ret_more = !code && pg_rows(r) == OPENINGS_TOLD_MAX;
	c->opening_account = *ret_more ? pg_get_i64(r, OPENINGS_TOLD_MAX - 1, 0) : 0;
	c->opening_asset = *ret_more ? (int32_t)pg_get_i64(r, OPENINGS_TOLD_MAX - 1, 1) : 0;
	pg_result_free(&r);
	return code;
}

int openings_step(struct check *c, struct error *err)
{
	struct ledger_touch unknown[OPENINGS_TOLD_MAX];
	size_t n = 0, told = 0;
	bool more = false;
	int64_t now = clock_mono_ms();
	if (now < c->opening_ms || c->view.watermark < c->view.start || c->view.watermark + LEDGER_TIP_DISTANCE < c->view.head)
		return 0;
	int code = read_unknown(c, unknown, &n, &more, err);
	if (!code && n > 0)
		code = openings_ask(c, unknown, n, &told, err);
	if (code)
		return code;
	/* Endpoints that tell one tell more; where nobody tells any, the next few are asked for later, and later. */
	if (n == 0 || told > 0 || c->opening_wait_ms < WAIT_BASE_MS)
		c->opening_wait_ms = WAIT_BASE_MS;
	else if (c->opening_wait_ms < WAIT_MAX_MS / 2)
		c->opening_wait_ms *= 2;
	else
		c->opening_wait_ms = WAIT_MAX_MS;
	c->opening_ms = clock_mono_ms() + (told > 0 && more ? 0 : c->opening_wait_ms);
	return 0;
}

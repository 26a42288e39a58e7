/* observe.c - asking the chain, through the reconciler, and waiting. */
#include "rest/observe.h"

#include "control.h"

#include "base/clock.h"

#include <string.h>

#define WAIT_MS 3000
#define POLL_FIRST_MS 10
#define POLL_MAX_MS 100

static size_t count_pending(const struct balance_row *rows, size_t n)
{
	size_t pending = 0;
	for (size_t i = 0; i < n; i++)
		pending += rows[i].pending;
	return pending;
}

static bool ask(struct call *call, struct bytes account, int64_t height, const struct balance_row *rows, size_t n)
{
	struct error err = { 0 };
	struct control_observe *questions = arena_zalloc(call->arena, n, sizeof *questions);
	size_t count = 0;
	for (size_t i = 0; questions && i < n; i++) {
		if (!rows[i].pending)
			continue;
		asset_text(&call->chain->chain, &rows[i].asset, questions[count].asset);
		questions[count].account = account;
		questions[count++].height = height;
	}
	if (!questions)
		return call_problem(call, 500, "answer_too_large", "the account holds more assets than fit one answer");
	return control_observe(call->gateway->control, call->chain, questions, count, &err) == 0 || call_failed(call, &err);
}

static bool look(struct call *call, int64_t account_id, const struct block_ref *block, struct balance_row *rows, size_t n)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	struct pg_array ids;
	struct buf out = BUF_INIT((size_t)1 << 20);
	pg_array_begin(&ids, &out, 23);
	for (size_t i = 0; i < n; i++)
		if (rows[i].pending)
			pg_array_i32(&ids, rows[i].asset_id);
	pg_i64(&p[0], account_id);
	pg_i64(&p[1], block->height);
	pg_bytea(&p[2], (struct bytes){ block->hash, 32 });
	pg_array_finish(&ids, &p[3]);
	bool ok = call_begin(call) &&
		  call_query(call, "observations",
			     "select asset, amount::text from weir_api.observations where account = $1 and height = $2 and hash = $3 and asset = any($4)", p, 4, &r);
	for (size_t k = 0; ok && k < pg_rows(r); k++)
		for (size_t i = 0; i < n; i++)
			if (rows[i].pending && rows[i].asset_id == (int32_t)pg_get_i64(r, k, 0)) {
				rows[i].pending = false;
				rows[i].amount = arena_text(call->arena, pg_get_text(r, k, 1));
			}
	pg_result_free(&r);
	buf_free(&out);
	call_release(call);
	return ok;
}

bool observe_balances(struct call *call, struct bytes account, int64_t account_id, const struct block_ref *block, struct balance_row *rows, size_t n)
{
	if (count_pending(rows, n) == 0)
		return true;
	if (!ask(call, account, block->height, rows, n))
		return false;
	int64_t deadline = clock_mono_ms() + WAIT_MS;
	for (int64_t wait = POLL_FIRST_MS; clock_mono_ms() < deadline && !daemon_stopping(call->gateway->ctx);
	     wait = wait * 2 > POLL_MAX_MS ? POLL_MAX_MS : wait * 2) {
		clock_sleep_ms(wait);
		if (!look(call, account_id, block, rows, n))
			return false;
		if (count_pending(rows, n) == 0)
			return true;
	}
	return call_problem(call, 503, "observation_pending", "the chain was asked for %zu balances of assets that do not conserve and has not answered yet",
			    count_pending(rows, n));
}

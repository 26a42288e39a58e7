/* rest_statistics.c - GET …/statistics: what the newest blocks of a chain held, and …/statistics/history: the same by minute, hour or day. */
#include "rest/rest.h"

#include <string.h>

#define BLOCKS_DEFAULT 1000

static const char *const statistics_sql =
	"select count(*), min(b.height), max(b.height), min(b.timestamp), max(b.timestamp), coalesce(sum(b.transaction_count), 0)::int8,"
	" coalesce(sum(b.entry_count), 0)::int8, coalesce(sum(b.gas_used), 0)::text, count(*) filter (where b.finality = 'finalized'),"
	" (select count(*) from weir_api.blocks s where s.chain = $1 and not s.canonical and s.height between $2 and $3)"
	" from weir_api.blocks b where b.chain = $1 and b.canonical and b.height between $2 and $3";

void rest_statistics(struct call *call)
{
	struct chain_heights heights;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	int64_t wanted = call_number(call, "blocks", BLOCKS_DEFAULT);
	if (!call_chain(call) || !call_begin(call) || !read_heights(call, &heights))
		return;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], heights.watermark - wanted + 1);
	pg_i64(&p[2], heights.watermark);
	if (!call_query(call, "statistics", statistics_sql, p, 3, &r))
		return;
	struct buf *out = call->out;
	int64_t blocks = pg_get_i64(r, 0, 0), seconds = blocks > 1 ? pg_get_i64(r, 0, 4) - pg_get_i64(r, 0, 3) : 0;
	put_object(out, NULL);
	put_text(out, "chain", call->chain->chain.name);
	put_i64(out, "blocks", blocks);
	static const char *const names[] = { NULL, "from_height", "to_height", "from_timestamp", "to_timestamp" };
	for (size_t i = 1; i < sizeof names / sizeof names[0]; i++)
		if (blocks > 0)
			put_i64(out, names[i], pg_get_i64(r, 0, i));
		else
			put_null(out, names[i]);
	put_i64(out, "transactions", pg_get_i64(r, 0, 5));
	put_i64(out, "entries", pg_get_i64(r, 0, 6));
	put_text(out, "gas_used", pg_get_text(r, 0, 7));
	put_i64(out, "finalized_blocks", pg_get_i64(r, 0, 8));
	put_i64(out, "superseded_blocks", pg_get_i64(r, 0, 9));
	put_f64(out, "seconds_per_block", blocks > 1 ? (double)seconds / (double)(blocks - 1) : 0);
	put_f64(out, "transactions_per_second", seconds > 0 ? (double)pg_get_i64(r, 0, 5) / (double)seconds : 0);
	put_end(out, '}');
	pg_result_free(&r);
}

/* ---- over time ------------------------------------------------------------------------------------------------------------------------- */

#define HISTORY_BLOCKS 10000 /* that one answer may be of */

static const struct {
	const char *name;
	int64_t seconds;
} steps[] = { { "minute", 60 }, { "hour", 3600 }, { "day", 86400 } };

/* $1 chain, $2..$3 heights, $4 seconds of a step. */
static const char *const history_sql =
	"with b as (select height, branch, timestamp - timestamp % $4 as step, timestamp, transaction_count, entry_count, gas_used from weir_api.blocks"
	"            where chain = $1 and canonical and height between $2 and $3),"
	" blocks as (select step, count(*) as n, min(height) as low, max(height) as high, sum(transaction_count)::int8 as transactions,"
	"             sum(entry_count)::int8 as entries, sum(gas_used)::text as gas from b group by step),"
	" paid as (select b.step, count(*) filter (where not t.succeeded) as failed, count(distinct t.sender) as senders,"
	"           sum(t.gas_used * coalesce(t.effective_gas_price, 0)) as fees"
	"           from b join weir_api.transactions t on t.chain = $1 and t.height = b.height and t.branch = b.branch group by b.step)"
	" select step, n, low, high, transactions, coalesce(failed, 0), entries, gas, coalesce(fees, 0)::text, coalesce(senders, 0)"
	" from blocks left join paid using (step) order by step";

static int64_t read_step(struct call *call)
{
	const char *name = call_text(call, "step");
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (strcmp(name ? name : "hour", steps[i].name) == 0)
			return steps[i].seconds;
	call_problem(call, 400, "invalid_parameter", "step is minute, hour or day");
	return 0;
}

/* The heights asked for, or the newest. */
static bool read_history(struct call *call, int64_t *ret_from, int64_t *ret_to)
{
	struct chain_heights heights;
	if (!read_heights(call, &heights) || !read_range(call, ret_from, ret_to))
		return false;
	*ret_from = *ret_from > heights.start ? *ret_from : heights.start;
	*ret_to = *ret_to < heights.watermark ? *ret_to : heights.watermark;
	bool bounded = call_value(call, "from")->given || call_value(call, "since")->given;
	if (!bounded && *ret_to - *ret_from >= HISTORY_BLOCKS)
		*ret_from = *ret_to - HISTORY_BLOCKS + 1;
	const int64_t blocks = *ret_to - *ret_from + 1;
	return blocks <= HISTORY_BLOCKS ||
	       call_problem(call, 400, "range_too_large", "one answer is of at most %d blocks, these would be %lld: ask for less with from and to, or since and until", HISTORY_BLOCKS,
			    (long long)blocks);
}

void rest_statistics_history(struct call *call)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	int64_t from = 0, to = 0, step = 0;
	if (!call_chain(call) || (step = read_step(call)) == 0 || !call_begin(call) || !read_history(call, &from, &to))
		return;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], from);
	pg_i64(&p[2], to);
	pg_i64(&p[3], step);
	if (!call_query(call, "statistics_history", history_sql, p, 4, &r))
		return;
	struct buf *out = call->out;
	put_object(out, NULL);
	put_text(out, "chain", call->chain->chain.name);
	put_i64(out, "step_seconds", step);
	put_array(out, "items");
	for (size_t i = 0; i < pg_rows(r); i++) {
		static const char *const names[] = { "timestamp", "blocks", "from_height", "to_height", "transactions", "failed_transactions", "entries" };
		put_object(out, NULL);
		for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
			put_i64(out, names[k], pg_get_i64(r, i, k));
		put_text(out, "gas_used", pg_get_text(r, i, 7));
		put_text(out, "fees", pg_get_text(r, i, 8));
		put_i64(out, "senders", pg_get_i64(r, i, 9));
		put_end(out, '}');
	}
	put_end(out, ']');
	put_end(out, '}');
	pg_result_free(&r);
}

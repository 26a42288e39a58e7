/* rest_statistics.c - GET …/statistics: what the newest blocks of a chain held. */
#include "rest/rest.h"

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

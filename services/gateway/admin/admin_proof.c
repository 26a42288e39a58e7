/* admin_proof.c - GET /admin/v1/chains/{chain}/proof: how much of the newest blocks is proven and compared with the chain. */
#include "admin/admin.h"

#define WINDOW 64         /* blocks looked at */
#define BALANCES_MAX 20000 /* changed balances looked at */
#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)

static const char blocks_sql[] =
	"select count(*), coalesce(min(b.height), 0), coalesce(sum(b.transaction_count), 0)::int8, coalesce(sum(b.entry_count), 0)::int8,"
	" count(*) filter (where x.proven), coalesce(sum(bit_count(x.passed::bit(32))), 0)::int8, coalesce(sum(bit_count(x.failed::bit(32))), 0)::int8,"
	" coalesce(sum(bit_count(x.not_possible::bit(32))), 0)::int8"
	" from weir_api.blocks b left join weir_api.certificates x on x.chain = b.chain and x.height = b.height and x.branch = b.branch"
	" where b.chain = $1 and b.canonical and b.height > $2 and b.height <= $3";

static const char balances_sql[] =
	"select count(*), count(*) filter (where x.reconciled_height >= e.top) from (select account, asset, max(height) as top from weir_api.entries"
	" where chain = $1 and height > $2 and height <= $3 and not superseded group by account, asset limit " STRING(BALANCES_MAX) ") e"
	" join weir_api.balances x on x.account = e.account and x.asset = e.asset";

void admin_proof(struct call *call)
{
	struct chain_heights heights;
	struct pg_param p[3];
	struct pg_result *blocks = NULL, *balances = NULL;
	struct buf *out = call->out;
	if (!call_chain(call) || !call_begin(call) || !read_heights(call, &heights))
		return;
	pg_i32(&p[0], atomic_load(&call->chain->id));
	pg_i64(&p[1], heights.watermark - WINDOW);
	pg_i64(&p[2], heights.watermark);
	if (call_query(call, "proof_blocks", blocks_sql, p, 3, &blocks) && call_query(call, "proof_balances", balances_sql, p, 3, &balances)) {
		put_object(out, NULL);
		put_text(out, "chain", call->chain->chain.name);
		put_i64(out, "from_height", pg_get_i64(blocks, 0, 1));
		put_i64(out, "to_height", heights.watermark < 0 ? 0 : heights.watermark);
		put_i64(out, "blocks", pg_get_i64(blocks, 0, 0));
		put_i64(out, "proven", pg_get_i64(blocks, 0, 4));
		put_i64(out, "transactions", pg_get_i64(blocks, 0, 2));
		put_i64(out, "entries", pg_get_i64(blocks, 0, 3));
		put_i64(out, "checks_passed", pg_get_i64(blocks, 0, 5));
		put_i64(out, "checks_failed", pg_get_i64(blocks, 0, 6));
		put_i64(out, "checks_not_possible", pg_get_i64(blocks, 0, 7));
		put_i64(out, "balances_changed", pg_get_i64(balances, 0, 0));
		put_i64(out, "balances_compared", pg_get_i64(balances, 0, 1));
		put_end(out, '}');
	}
	pg_result_free(&blocks);
	pg_result_free(&balances);
}

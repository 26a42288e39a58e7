/* ledger_test.c - blocks into and out of the ledger, against a real PostgreSQL: batches, idempotence, fence, forks, openings. */
#include "services/reconciler/apply.h"
#include "services/reconciler/fork.h"
#include "services/reconciler/opening.h"

#include "support/ledger_blocks.h"
#include "support/postgres_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct postgres_server *server;
static struct error err;
static struct arena *arena;
static struct chain chains[32]; /* each ledger keeps a pointer to its own */
static size_t chain_count;
static const struct ledger_blocks set = { .seed = 7, .accounts = 60, .hot = 30, .tokens = 3, .transactions = 8 };
static Weir__V1__NormalizedBlock *blocks[256];

#define OK(call)                                                                     \
	do {                                                                         \
		int ok_code_ = (call);                                               \
		if (ok_code_)                                                        \
			fail_msg("%s: %d %s", #call, ok_code_, err.text);            \
	} while (0)

static struct ledger_options options(const char *name, uint64_t start)
{
	struct chain *chain = &chains[chain_count++];
	*chain = (struct chain){ .name = name, .chain_id = 31337, .start_height = start };
	return (struct ledger_options){
		.pg = { .url = postgres_server_url(server), .connect_timeout_ms = 2000, .statement_timeout_ms = 20000 },
		.chain = chain,
		.family = "evm",
		.profile = "dev",
		.balance_cache = 2048,
	};
}

static struct ledger *open_ledger(const char *name, uint64_t start)
{
	struct ledger *ledger = NULL;
	struct ledger_options o = options(name, start);
	OK(ledger_open(&o, &ledger, &err));
	OK(ledger_claim(ledger, "1:test", &err));
	return ledger;
}

static int64_t number(struct ledger *ledger, const char *sql)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	OK(pg_query(ledger->pg, sql, pg_i32(&p, ledger->id), 1, &r, &err));
	int64_t v = pg_rows(r) ? pg_get_i64(r, 0, 0) : -1;
	pg_result_free(&r);
	return v;
}

static size_t make(uint64_t from, size_t n, uint32_t branch, uint32_t parent)
{
	for (size_t i = 0; i < n; i++)
		blocks[i] = ledger_blocks_make(&set, arena, from + i, branch, i == 0 ? parent : branch);
	return n;
}

static struct applied apply(struct ledger *ledger, size_t n)
{
	struct applied applied;
	OK(ledger_apply(ledger, blocks, n, &applied, &err));
	return applied;
}

/* What must hold of any ledger at any time. */
static void assert_sound(struct ledger *ledger)
{
	assert_int_equal(number(ledger, "select count(*) from (select account, asset, sum(delta) s from weir.entries where chain = $1 and not superseded"
					" group by 1, 2) e full join (select * from weir.balances where chain = $1) b using (account, asset)"
					" where coalesce(e.s, 0) is distinct from b.amount"),
			 0);
	assert_int_equal(number(ledger, "select count(*) from (select account, asset, sum(delta) s, sum(delta) filter (where not superseded) c"
					" from weir.entries where chain = $1 group by 1, 2) e where s is distinct from coalesce(c, 0)"),
			 0);
	assert_int_equal(number(ledger, "select count(*) from (select balance, sum(delta) over (partition by account, asset order by height, ordinal) s"
					" from weir.entries where chain = $1 and not superseded) e where s <> balance"),
			 0);
	assert_int_equal(number(ledger, "select count(*) from weir.balances b where chain = $1 and height <> coalesce((select max(height) from weir.entries e"
					" where e.account = b.account and e.asset = b.asset and not superseded), b.height)"),
			 0);
	assert_int_equal(number(ledger, "select count(*) from weir.blocks b where chain = $1 and entry_count <> (select count(*) from weir.entries e where"
					" e.chain = $1 and e.height = b.height and e.branch = b.branch and kind < 14)"),
			 0);
	assert_int_equal(number(ledger, "select count(*) - (max(height) - min(height) + 1) from weir.blocks where chain = $1 and canonical"), 0);
	assert_int_equal(number(ledger, "select watermark_height - (select max(height) from weir.blocks where chain = $1 and canonical) from weir.chains"
					" where id = $1"),
			 0);
	assert_int_equal(number(ledger, "select journal_sequence - (select count(*) from weir.journal where chain = $1) from weir.chains where id = $1"), 0);
	assert_int_equal(number(ledger, "select count(*) from weir.blocks b left join weir.certificates c using (chain, height, branch) where b.chain = $1"
					" and c.proven is distinct from true"),
			 0);
}

static void P1_a_batch_is_in_the_ledger_once_and_leaves_no_hole(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("batch", 0);
	struct applied a = apply(ledger, make(0, 40, 0, 0));
	assert_int_equal(a.blocks, 40);
	assert_int_equal(a.entries, 40 * 4 * set.transactions);
	assert_sound(ledger);
	assert_int_equal(number(ledger, "select count(*) from weir.transactions where chain = $1"), 40 * set.transactions);
	a = apply(ledger, 40);
	assert_int_equal(a.blocks, 0);
	assert_int_equal(a.skipped, 40);
	/* Overlapping the tip: only what is new. */
	make(30, 20, 0, 0);
	a = apply(ledger, 20);
	assert_int_equal(a.skipped, 10);
	assert_int_equal(a.blocks, 10);
	assert_int_equal(ledger->watermark, 49);
	assert_sound(ledger);
	/* A block that leaves a hole, or that follows another one, does not get in. */
	make(51, 1, 0, 0);
	assert_int_equal(ledger_apply(ledger, blocks, 1, &a, &err), WEIR_INTERNAL);
	make(50, 1, 1, 1);
	assert_int_equal(ledger_apply(ledger, blocks, 1, &a, &err), WEIR_CONFLICT);
	make(49, 1, 1, 0);
	assert_int_equal(ledger_apply(ledger, blocks, 1, &a, &err), WEIR_CONFLICT);
	assert_int_equal(ledger->watermark, 49);
	ledger_close(&ledger);
	/* What memory knew is known again. */
	ledger = open_ledger("batch", 0);
	assert_int_equal(ledger->watermark, 49);
	make(0, 50, 0, 0);
	a = apply(ledger, 50);
	assert_int_equal(a.skipped, 50);
	make(50, 5, 0, 0);
	apply(ledger, 5);
	assert_sound(ledger);
	ledger_close(&ledger);
}

static void events_follow_each_commit_in_order(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("events", 0);
	apply(ledger, make(0, 3, 0, 0));
	assert_true(ledger->journal.count >= 3);
	for (size_t i = 0; i < ledger->journal.count; i++)
		assert_int_equal(ledger->journal.events[i].sequence, i + 1);
	const struct journal_event *e = &ledger->journal.events[1];
	Weir__V1__LedgerEvent *full = weir__v1__ledger_event__unpack(NULL, e->full.size, e->full.data);
	Weir__V1__LedgerEvent *lean = weir__v1__ledger_event__unpack(NULL, e->body.size, e->body.data);
	assert_int_equal(full->event_case, WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED);
	assert_int_equal(full->block_applied->block->height, 1);
	assert_int_equal(full->block_applied->n_entries, 4 * set.transactions);
	assert_false(full->block_applied->entries_omitted);
	assert_int_equal(lean->block_applied->n_entries, 0);
	assert_true(lean->block_applied->entries_omitted);
	assert_string_equal(full->chain, "events");
	weir__v1__ledger_event__free_unpacked(full, NULL);
	weir__v1__ledger_event__free_unpacked(lean, NULL);
	struct ledger_head head = { .height = 2, .safe = 1, .finalized = 0 };
	OK(ledger_note_head(ledger, &head, &err));
	assert_int_equal(number(ledger, "select count(*) from weir.journal where chain = $1 and kind = 6"), 2);
	head.safe = 0; /* a node that lags: what was safe stays safe */
	OK(ledger_note_head(ledger, &head, &err));
	assert_int_equal(number(ledger, "select safe_height from weir.chains where id = $1"), 1);
	assert_int_equal(number(ledger, "select count(*) from weir.journal where chain = $1 and kind = 6"), 2);
	/* Finality beyond the watermark is announced as the blocks come in. */
	head = (struct ledger_head){ .height = 10, .safe = 8, .finalized = 5 };
	OK(ledger_note_head(ledger, &head, &err));
	assert_int_equal(number(ledger, "select max(height) from weir.journal where chain = $1 and kind = 6"), 2);
	apply(ledger, make(3, 4, 0, 0));
	assert_int_equal(number(ledger, "select max(height) from weir.journal where chain = $1 and kind = 6"), 6);
	assert_int_equal(number(ledger, "select count(*) from weir_api.blocks where chain = $1 and finality = 'finalized'"), 6);
	assert_int_equal(number(ledger, "select count(*) from weir_api.blocks where chain = $1 and finality = 'safe'"), 1);
	assert_sound(ledger);
	ledger_close(&ledger);
}

/* P5: a writer whose lease went to somebody else writes nothing, at whatever moment it wakes up. */
static void P5_a_zombie_writes_nothing(void **state)
{
	(void)state;
	struct ledger *old = open_ledger("fence", 0), *new = NULL;
	struct applied a;
	apply(old, make(0, 5, 0, 0));
	struct ledger_options o = options("fence", 0);
	OK(ledger_open(&o, &new, &err));
	OK(ledger_claim(new, "2:other", &err));
	make(5, 2, 0, 0);
	assert_int_equal(ledger_apply(old, blocks, 2, &a, &err), WEIR_FENCED);
	assert_int_equal(ledger_set_paused(old, true, &err), WEIR_FENCED);
	size_t gone;
	assert_int_equal(ledger_retract(old, 2, false, &gone, &err), WEIR_FENCED);
	assert_int_equal(number(new, "select watermark_height from weir.chains where id = $1 and not paused"), 4);
	OK(ledger_apply(new, blocks, 2, &a, &err));
	OK(ledger_claim(old, "3:back", &err));
	assert_int_equal(old->watermark, 6);
	make(7, 1, 0, 0);
	assert_int_equal(ledger_apply(new, blocks, 1, &a, &err), WEIR_FENCED);
	OK(ledger_apply(old, blocks, 1, &a, &err));
	assert_sound(old);
	ledger_close(&old);
	ledger_close(&new);
}

/* P4: a reorg reverses and keeps. */
static void P4_a_fork_is_reversed_and_kept(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("fork", 0);
	size_t gone;
	apply(ledger, make(0, 30, 0, 0));
	int64_t before = number(ledger, "select count(*) from weir.entries where chain = $1");
	OK(ledger_retract(ledger, 24, false, &gone, &err));
	assert_int_equal(gone, 5);
	assert_int_equal(ledger->watermark, 24);
	assert_int_equal(ledger->journal.count, 5);
	assert_int_equal(ledger->journal.events[0].height, 29);
	assert_int_equal(ledger->journal.events[4].height, 25);
	assert_int_equal(number(ledger, "select count(*) from weir.entries where chain = $1"), before + 5 * 4 * set.transactions);
	assert_sound(ledger);
	apply(ledger, make(25, 10, 1, 0));
	assert_sound(ledger);
	assert_int_equal(number(ledger, "select count(*) from weir.blocks where chain = $1 and height = 27"), 2);
	assert_int_equal(number(ledger, "select branch from weir.blocks where chain = $1 and height = 27 and canonical"), 1);
	/* Back to the first branch: a third row, not the first one revived. */
	OK(ledger_retract(ledger, 24, true, &gone, &err));
	assert_int_equal(ledger->epoch, 2);
	apply(ledger, make(25, 12, 0, 0));
	assert_int_equal(number(ledger, "select branch from weir.blocks where chain = $1 and height = 27 and canonical"), 2);
	assert_int_equal(number(ledger, "select branch from weir.blocks where chain = $1 and height = 36 and canonical"), 0);
	assert_sound(ledger);
	/* The same ledger, built without any fork, has the same balances. */
	struct ledger *straight = open_ledger("straight", 0);
	apply(straight, make(0, 37, 0, 0));
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], ledger->id);
	pg_i32(&p[1], straight->id);
	OK(pg_query(ledger->pg,
		    "with all_of as (select b.chain, address, contract, amount, height from weir.balances b join weir.accounts a on a.id = b.account"
		    " join weir.assets s on s.id = b.asset where amount <> 0)"
		    " select count(*) from (select address, contract, amount, height from all_of where chain = $1) x full join"
		    " (select address, contract, amount, height from all_of where chain = $2) y using (address, contract, amount, height)"
		    " where x.* is null or y.* is null",
		    p, 2, &r, &err));
	assert_int_equal(pg_get_i64(r, 0, 0), 0);
	pg_result_free(&r);
	/* Finality goes back with the blocks that had it. */
	struct ledger_head head = { .height = 36, .safe = 35, .finalized = 34 };
	OK(ledger_note_head(ledger, &head, &err));
	OK(ledger_retract(ledger, 30, false, &gone, &err));
	assert_int_equal(number(ledger, "select safe_height from weir.chains where id = $1"), 30);
	assert_int_equal(ledger->head.safe, 30);
	assert_int_equal(ledger->head.finalized, 30);
	ledger_close(&straight);
	ledger_close(&ledger);
}

/* Balances that the chain tells are served from first_height on. */
static void P4_an_asset_may_come_earlier_on_the_branch_that_stays(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("earlier", 0);
	size_t gone;
	apply(ledger, make(0, 30, 0, 0));
	number(ledger, "update weir.assets set first_height = case when contract = '' then 3 else 28 end where chain = $1 returning 1");
	OK(ledger_retract(ledger, 24, false, &gone, &err));
	assert_int_equal(number(ledger, "select max(first_height) from weir.assets where chain = $1 and contract <> ''"), 25);
	assert_int_equal(number(ledger, "select first_height from weir.assets where chain = $1 and contract = ''"), 3);
	ledger_close(&ledger);
}

static void everything_can_be_taken_back(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("all", 100);
	size_t gone;
	apply(ledger, make(100, 10, 0, 0));
	OK(ledger_retract(ledger, 99, true, &gone, &err));
	assert_int_equal(gone, 10);
	assert_int_equal(ledger->watermark, -1);
	apply(ledger, make(100, 10, 3, 3));
	assert_sound(ledger);
	assert_int_equal(ledger_retract(ledger, 500, true, &gone, &err), WEIR_NOT_FOUND);
	ledger_close(&ledger);
}

/* A chain that answers openings: every account had 1000000 of asset 0 (native), nothing of others, except one unknown. */
struct openings {
	size_t asked;
	uint64_t height;
	uint8_t hash[32];
	int fail;
};

static int answer_openings(void *arg, uint64_t height, const uint8_t hash[32], struct opening *list, size_t n, struct error *error)
{
	struct openings *o = arg;
	if (o->fail)
		return error_set(error, o->fail, "no endpoint answers");
	o->asked += n;
	o->height = height;
	memcpy(o->hash, hash, 32);
	for (size_t i = 0; i < n; i++) {
		if (list[i].asset->contract_size == 0)
			list[i].amount = i256_from_u256(u256_from_u64(UINT64_C(1000000000000000000)), false);
		if (list[i].asset->contract_size > 0 && list[i].account.data[0] < 16)
			list[i].known = false;
	}
	return 0;
}

static void openings_are_asked_once_survive_forks_and_go_with_the_last_block(void **state)
{
	(void)state;
	struct openings o = { 0 };
	struct ledger *ledger = open_ledger("openings", 1000);
	ledger->options.opening = answer_openings;
	ledger->options.opening_arg = &o;
	make(1000, 10, 0, 0);
	struct applied a;
	o.fail = WEIR_UNAVAILABLE;
	assert_int_equal(ledger_apply(ledger, blocks, 10, &a, &err), WEIR_UNAVAILABLE);
	o.fail = 0;
	a = apply(ledger, 10);
	assert_int_equal(o.height, 999);
	assert_memory_equal(o.hash, blocks[0]->parent_hash.data, 32);
	size_t asked = o.asked;
	assert_int_equal(asked, number(ledger, "select count(*) from weir.balances where chain = $1"));
	assert_true(a.openings > 0);
	assert_true(a.openings_unknown > 0);
	assert_int_equal(a.openings, number(ledger, "select count(*) from weir.entries where chain = $1 and height = 999 and kind = 14"));
	assert_int_equal(a.openings_unknown, number(ledger, "select count(*) from weir.balances where chain = $1 and not opening_known"));
	assert_sound(ledger);
	size_t gone;
	OK(ledger_retract(ledger, 1000, false, &gone, &err));
	assert_sound(ledger);
	apply(ledger, make(1001, 9, 0, 0));
	assert_int_equal(o.asked, asked);
	apply(ledger, make(1010, 10, 0, 0));
	assert_sound(ledger);
	assert_int_equal(o.asked, number(ledger, "select count(*) from weir.balances where chain = $1"));
	/* Another block before the first: what was asked there says nothing of this branch. */
	const int64_t opened = number(ledger, "select count(*) from weir.entries where chain = $1 and height = 999 and kind = 14");
	OK(ledger_retract(ledger, 999, true, &gone, &err));
	assert_int_equal(number(ledger, "select count(*) from weir.balances where chain = $1"), 0);
	assert_int_equal(number(ledger, "select count(*) from weir.entries where chain = $1 and not superseded"), 0);
	assert_int_equal(number(ledger, "select count(*) from weir.entries where chain = $1 and height = 999 and kind = 16"), opened);
	o.asked = 0;
	apply(ledger, make(1000, 10, 3, 3));
	assert_memory_equal(o.hash, blocks[0]->parent_hash.data, 32);
	assert_int_equal(o.asked, number(ledger, "select count(*) from weir.balances where chain = $1"));
	assert_true(number(ledger, "select count(*) from weir.entries where chain = $1 and height = 999 and kind = 14 and not superseded") > 0);
	assert_sound(ledger);
	ledger_close(&ledger);
	/* At genesis they lie at block 0, behind its own entries, and block 0's own movements count once. */
	o = (struct openings){ 0 };
	ledger = open_ledger("genesis", 0);
	ledger->options.opening = answer_openings;
	ledger->options.opening_arg = &o;
	apply(ledger, make(0, 4, 0, 0));
	assert_memory_equal(o.hash, blocks[0]->hash.data, 32);
	apply(ledger, make(4, 10, 0, 0));
	assert_sound(ledger);
	assert_true(number(ledger, "select count(*) from weir.entries where chain = $1 and height = 0 and kind = 15") > 0);
	assert_int_equal(number(ledger, "select count(*) from (select account, sum(delta) s from weir.entries e join weir.assets a on a.id = e.asset"
					" where e.chain = $1 and a.contract = '' and e.height = 0 group by 1) t where s <> 1000000000000000000"),
			 0);
	ledger_close(&ledger);
}

/* Tells the openings of up to n balances whose opening is unknown: 1000000 each. */
static size_t tell_unknown(struct ledger *ledger, struct told_opening *told, size_t n)
{
	struct pg_param p[1];
	struct pg_result *r = NULL;
	OK(pg_query(ledger->pg, "select account, asset from weir.balances where chain = $1 and not opening_known order by 1, 2", pg_i32(&p[0], ledger->id), 1, &r,
		    &err));
	size_t count = pg_rows(r) < n ? pg_rows(r) : n;
	for (size_t i = 0; i < count; i++) {
		told[i] = (struct told_opening){ .touch = { .account_id = pg_get_i64(r, i, 0), .asset_id = (int32_t)pg_get_i64(r, i, 1) },
						 .amount = i256_from_u256(u256_from_u64(1000000), false) };
		memcpy(told[i].hash, ledger->opening_hash, 32);
	}
	pg_result_free(&r);
	return count;
}

static void openings_told_later_are_recorded_once_and_change_no_delta(void **state)
{
	(void)state;
	struct openings o = { 0 };
	struct told_opening told[OPENINGS_TOLD_MAX];
	struct ledger_touch touches[OPENINGS_TOLD_MAX];
	size_t recorded, gone;
	struct ledger *ledger = open_ledger("later", 1000);
	ledger->options.opening = answer_openings;
	ledger->options.opening_arg = &o;
	apply(ledger, make(1000, 10, 0, 0));
	OK(ledger_retract(ledger, 1004, false, &gone, &err));
	apply(ledger, make(1005, 10, 1, 0));
	const int64_t unknown = number(ledger, "select count(*) from weir.balances where chain = $1 and not opening_known");
	const int64_t moved = number(ledger, "select sum(delta)::int8 from weir.entries where chain = $1 and height >= 1000 and not superseded");
	const int64_t openings = number(ledger, "select count(*) from weir.entries where chain = $1 and kind = 14");
	const int64_t events = number(ledger, "select journal_sequence from weir.chains where id = $1");
	size_t n = tell_unknown(ledger, told, 4);
	assert_int_equal(n, 4);
	assert_true(unknown > 4);
	told[3].hash[0] ^= 1; /* asked at a block that a reorg took */
	told[2].amount = (struct i256){ { UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX } };
	OK(ledger_record_openings(ledger, told, n, touches, &recorded, &err));
	assert_true(recorded >= 2); /* the third only fits where the account's sum has never been above 0 */
	assert_int_equal(recorded, unknown - number(ledger, "select count(*) from weir.balances where chain = $1 and not opening_known"));
	assert_int_equal(number(ledger, "select count(*) from weir.entries where chain = $1 and kind = 14 and height = 999"), openings + (int64_t)recorded);
	assert_int_equal(number(ledger, "select sum(delta)::int8 from weir.entries where chain = $1 and height >= 1000 and not superseded"), moved);
	assert_int_equal(number(ledger, "select journal_sequence from weir.chains where id = $1"), events + 1);
	assert_int_equal(touches[0].height, ledger->watermark);
	assert_true(touches[0].opening_known);
	assert_sound(ledger);
	/* Told twice: the second time there is nothing to do. */
	size_t again;
	OK(ledger_record_openings(ledger, told, 2, touches, &again, &err));
	assert_int_equal(again, 0);
	assert_sound(ledger);
	/* Memory goes on from what was recorded, forks go back to it, and it goes with the last block. */
	apply(ledger, make(1015, 10, 1, 1));
	assert_sound(ledger);
	OK(ledger_retract(ledger, 1002, false, &gone, &err));
	assert_sound(ledger);
	apply(ledger, make(1003, 4, 0, 0));
	assert_sound(ledger);
	OK(ledger_retract(ledger, 999, true, &gone, &err));
	assert_int_equal(number(ledger, "select count(*) from weir.entries where chain = $1 and not superseded"), 0);
	n = tell_unknown(ledger, told, 4);
	assert_int_equal(n, 0);
	ledger_close(&ledger);
}

/* What block 0 itself moves is part of what the chain tells of block 0. */
static void openings_of_block_0_told_later_lie_behind_its_own_entries(void **state)
{
	(void)state;
	struct openings o = { 0 };
	struct told_opening told[OPENINGS_TOLD_MAX];
	struct ledger_touch touches[OPENINGS_TOLD_MAX];
	size_t recorded;
	struct ledger *ledger = open_ledger("genesis later", 0);
	ledger->options.opening = answer_openings;
	ledger->options.opening_arg = &o;
	apply(ledger, make(0, 10, 0, 0));
	size_t n = tell_unknown(ledger, told, 3);
	assert_int_equal(n, 3);
	OK(ledger_record_openings(ledger, told, n, touches, &recorded, &err));
	assert_int_equal(recorded, 3);
	assert_sound(ledger);
	assert_int_equal(number(ledger, "select count(*) from (select distinct on (account, asset) balance, kind from weir.entries where chain = $1 and height = 0"
					" and not superseded order by account, asset, ordinal desc) e where kind = 15 and balance = 1000000"),
			 3);
	ledger_close(&ledger);
}

static void settings_that_contradict_the_ledger_are_refused(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("settings", 5);
	ledger_close(&ledger);
	struct ledger_options o = options("settings", 6);
	assert_int_equal(ledger_open(&o, &ledger, &err), WEIR_CONFIG);
	assert_null(ledger);
	o = options("settings", 5);
	chains[chain_count - 1].chain_id = 1;
	assert_int_equal(ledger_open(&o, &ledger, &err), WEIR_WRONG_CHAIN);
	o = options("settings", 5);
	o.family = "bitcoin";
	assert_int_equal(ledger_open(&o, &ledger, &err), WEIR_CONFIG);
}

static void a_crash_of_the_server_loses_no_commit(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("crash", 0);
	struct applied a;
	apply(ledger, make(0, 5, 0, 0));
	postgres_server_crash(server);
	make(5, 5, 0, 0);
	assert_int_equal(ledger_apply(ledger, blocks, 5, &a, &err), WEIR_UNAVAILABLE);
	assert_int_equal(ledger_load(ledger, &err), WEIR_UNAVAILABLE);
	assert_true(postgres_server_resume(server));
	OK(ledger_load(ledger, &err));
	assert_int_equal(ledger->watermark, 4);
	apply(ledger, 5);
	assert_sound(ledger);
	ledger_close(&ledger);
}

/* Changing balances names account and asset. Another index that begins with either would be taken by a planner that has not seen the table
 * full yet, and read with all its equal keys for each balance. */
static void balances_are_changed_by_their_key_whatever_the_planner_knows(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("planner", 1);
	assert_int_equal(number(ledger, "select count(*) from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
					" where i.indrelid = 'weir.balances'::regclass and not i.indisprimary and $1::int is not null"),
			 0);
	ledger_close(&ledger);
}

static void absurd_blocks_are_refused(void **state)
{
	(void)state;
	make(1, 1, 0, 0);
	Weir__V1__NormalizedBlock *b = blocks[0];
	OK(ledger_check_block(b, &err));
#define REFUSED(change, restore)                                              \
	do {                                                                  \
		change;                                                       \
		assert_int_equal(ledger_check_block(b, &err), WEIR_INVALID);  \
		restore;                                                      \
		OK(ledger_check_block(b, &err));                              \
	} while (0)
	REFUSED(b->hash.len = 31, b->hash.len = 32);
	REFUSED(b->height = UINT64_MAX, b->height = 1);
	REFUSED(b->accounts[0].len = 0, b->accounts[0].len = 20);
	REFUSED(b->assets[1]->contract.len = 33, b->assets[1]->contract.len = 20);
	REFUSED(b->entries[0]->account = 1000, b->entries[0]->account = 0);
	REFUSED(b->entries[0]->asset = 1000, b->entries[0]->asset = 0);
	REFUSED(b->entries[0]->tx_index = 8, b->entries[0]->tx_index = -1);
	REFUSED(b->entries[0]->tx_index = -2, b->entries[0]->tx_index = 0);
	REFUSED(b->entries[0]->delta.len = 0, b->entries[0]->delta.len = 1);
	REFUSED(b->transactions[0]->hash.len = 0, b->transactions[0]->hash.len = 32);
	REFUSED(b->transactions[0]->nonce = UINT64_MAX, b->transactions[0]->nonce = 0);
	Weir__V1__Certificate *certificate = b->certificate;
	REFUSED(b->certificate = NULL, b->certificate = certificate);
}

static int start(void **state)
{
	(void)state;
	arena = arena_new((size_t)1 << 30);
	server = postgres_server_start("-c fsync=off");
	struct pg_options o = { .url = server ? postgres_server_url(server) : "", .connect_timeout_ms = 2000 };
	int code = server ? ledger_migrate(&o, &err) : -1;
	if (code)
		print_error("%s\n", err.text);
	return code;
}

static int stop(void **state)
{
	(void)state;
	arena_free(&arena);
	postgres_server_stop(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P1_a_batch_is_in_the_ledger_once_and_leaves_no_hole),
		cmocka_unit_test(events_follow_each_commit_in_order),
		cmocka_unit_test(P5_a_zombie_writes_nothing),
		cmocka_unit_test(P4_a_fork_is_reversed_and_kept),
		cmocka_unit_test(P4_an_asset_may_come_earlier_on_the_branch_that_stays),
		cmocka_unit_test(everything_can_be_taken_back),
		cmocka_unit_test(openings_are_asked_once_survive_forks_and_go_with_the_last_block),
		cmocka_unit_test(openings_told_later_are_recorded_once_and_change_no_delta),
		cmocka_unit_test(openings_of_block_0_told_later_lie_behind_its_own_entries),
		cmocka_unit_test(settings_that_contradict_the_ledger_are_refused),
		cmocka_unit_test(a_crash_of_the_server_loses_no_commit),
		cmocka_unit_test(balances_are_changed_by_their_key_whatever_the_planner_knows),
		cmocka_unit_test(absurd_blocks_are_refused),
	};
	return cmocka_run_group_tests(tests, start, stop);
}

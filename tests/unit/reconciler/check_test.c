/* check_test.c - balances that are not compared, each counted by its reason, and a difference that is none: real PostgreSQL, and a node that
 * answers as no honest one does. */
#include "services/reconciler/apply.h"
#include "services/reconciler/check.h"

#include "support/ledger_blocks.h"
#include "support/postgres_server.h"
#include "support/scripted_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yyjson.h>

#define BLOCKS 6
#define PATIENCE_MS 60000

static struct postgres_server *server;
static struct error err;
static struct arena *arena;
static const struct ledger_blocks set = { .seed = 7, .accounts = 40, .hot = 30, .tokens = 3, .transactions = 8 };

#define OK(call)                                                                     \
	do {                                                                         \
		int ok_code_ = (call);                                               \
		if (ok_code_)                                                        \
			fail_msg("%s: %d %s", #call, ok_code_, err.text);            \
	} while (0)

/* ---- the node ------------------------------------------------------------------------------------------------------------- */

struct told { /* what it says of balances */
	enum { TELLS_ANOTHER_EACH_TIME, TELLS_THE_SAME, HAS_NO_STATE } how;
	atomic_uint asked;
};

static void answer_call(yyjson_val *call, struct told *told, struct buf *out)
{
	const char *method = yyjson_get_str(yyjson_obj_get(call, "method"));
	char *id = yyjson_val_write(yyjson_obj_get(call, "id"), 0, NULL);
	buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,", id);
	free(id);
	if (strcmp(method, "eth_chainId") == 0)
		buf_add_str(out, "\"result\":\"0x7a69\"}");
	else if (strcmp(method, "eth_getBlockByNumber") == 0)
		buf_add_str(out, "\"result\":null}");
	else if (told->how == HAS_NO_STATE)
		buf_add_str(out, "\"error\":{\"code\":-32000,\"message\":\"missing trie node\"}}");
	else if (strcmp(method, "eth_getCode") == 0)
		buf_add_str(out, "\"result\":\"0x60\"}");
	else
		buf_printf(out, "\"result\":\"0x%064x\"}", told->how == TELLS_THE_SAME ? 5 : 5 + ++told->asked);
}

static void answer(const char *head, const char *body, struct scripted_reply *reply, void *arg)
{
	yyjson_doc *doc = yyjson_read(body, strlen(body), 0);
	yyjson_val *root = yyjson_doc_get_root(doc), *call;
	struct buf out = BUF_INIT((size_t)1 << 20);
	size_t i, n;
	(void)head;
	if (yyjson_is_arr(root)) {
		buf_add_str(&out, "[");
		yyjson_arr_foreach(root, i, n, call)
		{
			buf_add_str(&out, i > 0 ? "," : "");
			answer_call(call, arg, &out);
		}
		buf_add_str(&out, "]");
	} else {
		answer_call(root, arg, &out);
	}
	reply->body = strdup(buf_str(&out));
	buf_free(&out);
	yyjson_doc_free(doc);
}

/* ---- a ledger and its checker --------------------------------------------------------------------------------------------- */

struct world {
	struct told told;
	struct scripted_node *server;
	struct config *config;
	struct daemon_ctx *ctx;
	struct chain chain;
	struct node_identity identity;
	struct endpoints *endpoints;
	struct mailbox *mailbox;
	struct ledger *ledger;
	struct check check;
	struct mail_view view;
	struct ledger_touch touches[64];
	size_t touch_count;
};

static void fill_ledger(struct world *w)
{
	Weir__V1__NormalizedBlock *blocks[BLOCKS];
	struct applied applied;
	struct ledger_options o = { .pg = { .url = postgres_server_url(server), .connect_timeout_ms = 2000, .statement_timeout_ms = 20000 },
				    .chain = &w->chain,
				    .family = "evm",
				    .profile = "dev",
				    .balance_cache = 2048 };
	OK(ledger_open(&o, &w->ledger, &err));
	OK(ledger_claim(w->ledger, "1:test", &err));
	w->ledger->head.height = BLOCKS;
	for (uint32_t i = 0; i < BLOCKS; i++)
		blocks[i] = ledger_blocks_make(&set, arena, i, 0, 0);
	OK(ledger_apply(w->ledger, blocks, BLOCKS, &applied, &err));
	for (size_t i = 0; i < applied.touch_count && w->touch_count < 64; i++)
		if (applied.touches[i].asset.contract_size > 0 && !i256_is_zero(applied.touches[i].amount))
			w->touches[w->touch_count++] = applied.touches[i];
	assert_true(w->touch_count > 8);
}

static struct world *make(const char *chain, size_t queue)
{
	struct world *w = calloc(1, sizeof *w);
	w->server = scripted_node_start(answer, &w->told);
	char *yaml = xasprintf("bus: {redis_url: \"redis://127.0.0.1:1/0\"}\npostgres: {url: \"%s\"}\nreconciler: {reconcile_concurrency: 4}\n"
			       "chains: [{name: %s, family: evm, profile: dev, chain_id: 31337, endpoints: [{name: a, url: \"%s\"}]}]",
			       postgres_server_url(server), chain, scripted_node_url(w->server));
	OK(config_parse(yaml, strlen(yaml), "test", &w->config, &err));
	free(yaml);
	w->ctx = daemon_ctx_new("reconciler", w->config, reconciler_metrics, reconciler_metric_count);
	rpc_register_metrics(daemon_metrics(w->ctx));
	OK(chain_init(&w->chain, w->config->chains[0].name, "evm", "dev", 31337, &err));
	w->identity.chain = &w->chain;
	struct endpoint_options endpoint = { .name = "a",
					     .url = scripted_node_url(w->server),
					     .weight = 1,
					     .max_concurrency = 4,
					     .roles = ENDPOINT_HEAD | ENDPOINT_BACKFILL | ENDPOINT_VERIFY };
	w->endpoints = endpoints_new(chain, &endpoint, 1, daemon_log(w->ctx), daemon_metrics(w->ctx));
	w->mailbox = mailbox_new(queue);
	fill_ledger(w);
	struct check *c = &w->check;
	c->ctx = w->ctx;
	c->config = w->config;
	c->settings = &w->config->chains[0];
	c->chain = &w->chain;
	c->endpoints = w->endpoints;
	c->identity = &w->identity;
	c->mailbox = w->mailbox;
	OK(check_open(c, &err));
	/* Far below its head: nothing is swept, only what a test gives is compared. */
	w->view = (struct mail_view){ .owner = true, .fence = "1:test", .chain_id = w->ledger->id, .watermark = BLOCKS - 1, .head = 100000 };
	memcpy(w->view.watermark_hash, w->ledger->watermark_hash, 32);
	mailbox_set_view(w->mailbox, &w->view);
	mailbox_view(w->mailbox, &c->view);
	return w;
}

static void drop(struct world *w)
{
	check_close(&w->check);
	ledger_close(&w->ledger);
	endpoints_free(&w->endpoints);
	mailbox_free(&w->mailbox);
	daemon_ctx_free(&w->ctx);
	config_free(&w->config);
	scripted_node_stop(&w->server);
	free(w);
}

static unsigned skipped(struct world *w, const char *reason)
{
	return (unsigned)metric_count(chain_metrics_skipped(&w->check.metrics, reason));
}

static void turn_until_skipped(struct world *w, const char *reason, unsigned n)
{
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; skipped(w, reason) < n;) {
		if (clock_mono_ms() >= deadline)
			fail_msg("%u of %u were skipped as %s", skipped(w, reason), n, reason);
		check_turn(&w->check);
	}
	assert_int_equal(skipped(w, reason), n);
}

static int64_t incidents(struct world *w)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	OK(pg_query(w->ledger->pg, "select count(*) from weir.incidents where chain = $1", pg_i32(&p, w->ledger->id), 1, &r, &err));
	int64_t n = pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	return n;
}

/* The same touch, of a block that a reorg took. */
static struct ledger_touch of_another_branch(const struct ledger_touch *touch)
{
	struct ledger_touch other = *touch;
	memset(other.hash, 0xdd, 32);
	return other;
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------ */

static void what_an_instance_without_the_ledger_was_handed_is_superseded(void **state)
{
	(void)state;
	struct world *w = make("disowned", 16);
	assert_int_equal(mailbox_put_touches(w->mailbox, w->touches, 3), 3);
	w->view.owner = false;
	mailbox_set_view(w->mailbox, &w->view);
	turn_until_skipped(w, "superseded", 3);
	assert_int_equal(w->told.asked, 0);
	drop(w);
}

static void a_doubt_about_a_block_that_is_gone_is_superseded(void **state)
{
	(void)state;
	struct world *w = make("gone", 16);
	struct ledger_touch touch = of_another_branch(&w->touches[0]);
	doubt_add(&w->check, &touch, u256_from_u64(1), 0);
	OK(doubt_step(&w->check, &err));
	assert_int_equal(skipped(w, "superseded"), 1);
	/* The block is there, and says something else than when the doubt arose. */
	touch = w->touches[0];
	i256_add(touch.amount, i256_from_u256(u256_from_u64(1), false), &touch.amount);
	doubt_add(&w->check, &touch, u256_from_u64(1), 0);
	OK(doubt_step(&w->check, &err));
	assert_int_equal(skipped(w, "superseded"), 2);
	assert_int_equal(w->told.asked, 0);
	assert_int_equal(w->check.doubt_count, 0);
	assert_int_equal(incidents(w), 0);
	drop(w);
}

static void state_that_went_with_its_block_is_superseded_and_other_state_unavailable(void **state)
{
	(void)state;
	struct world *w = make("stateless", 16);
	w->told.how = HAS_NO_STATE;
	struct ledger_touch touches[2] = { of_another_branch(&w->touches[0]), w->touches[1] };
	assert_int_equal(mailbox_put_touches(w->mailbox, touches, 2), 2);
	turn_until_skipped(w, "superseded", 1);
	turn_until_skipped(w, "state_unavailable", 1);
	drop(w);
}

static void a_node_that_says_something_else_each_time_is_unstable_and_opens_no_incident(void **state)
{
	(void)state;
	struct world *w = make("unstable", 16);
	assert_int_equal(mailbox_put_touches(w->mailbox, &w->touches[0], 1), 1);
	turn_until_skipped(w, "unstable", 1);
	assert_true(w->told.asked > 2);
	assert_int_equal(incidents(w), 0);
	/* Said again and again it is a difference. */
	w->told.how = TELLS_THE_SAME;
	assert_int_equal(mailbox_put_touches(w->mailbox, &w->touches[0], 1), 1);
	for (int64_t deadline = clock_mono_ms() + PATIENCE_MS; incidents(w) == 0 && clock_mono_ms() < deadline;)
		check_turn(&w->check);
	assert_int_equal(incidents(w), 1);
	assert_int_equal(skipped(w, "unstable"), 1);
	drop(w);
}

static void more_doubts_than_are_kept_are_counted(void **state)
{
	(void)state;
	struct world *w = make("doubtful", 16);
	for (size_t i = 0; i < CHECK_DOUBTS_MAX + 3; i++)
		doubt_add(&w->check, &w->touches[i % w->touch_count], u256_from_u64(1), 0);
	assert_int_equal(w->check.doubt_count, CHECK_DOUBTS_MAX);
	assert_int_equal(skipped(w, "queue_full"), 3);
	drop(w);
}

static void many_incidents_that_wait_for_a_person_keep_no_other_waiting(void **state)
{
	(void)state;
	struct world *w = make("crowded", 16);
	struct pg_param p;
	w->told.how = TELLS_THE_SAME;
	w->view.head = BLOCKS; /* else nothing is looked at again */
	mailbox_set_view(w->mailbox, &w->view);
	mailbox_view(w->mailbox, &w->check.view);
	/* Native balances that a person was asked about, and one of a token whose healing a crash interrupted. */
	OK(pg_query(w->ledger->pg,
		    "insert into weir.incidents (chain, kind, state, account, asset, height, updated_at)"
		    " select b.chain, 'mismatch', case when s.contract = '' then 'open' else 'healing' end, b.account, b.asset, 1,"
		    " now() + case when s.contract = '' then interval '0' else interval '1 second' end"
		    " from ((select b.* from weir.balances b join weir.assets s on s.id = b.asset where b.chain = $1 and s.contract = '' and amount <> 5 limit 20)"
		    " union all (select b.* from weir.balances b join weir.assets s on s.id = b.asset where b.chain = $1 and s.contract <> '' and amount <> 0 limit 1)) b"
		    " join weir.assets s on s.id = b.asset order by s.contract <> ''",
		    pg_i32(&p, w->ledger->id), 1, NULL, &err));
	assert_int_equal(incidents(w), 21);
	OK(doubt_load(&w->check, &err));
	for (int turn = 0; turn < 3 && !w->check.current.incident; turn++) {
		w->check.incident_ms = -1000000000;
		OK(doubt_step(&w->check, &err));
	}
	assert_true(w->check.current.incident != 0); /* the one that a crash had interrupted goes on */
	drop(w);
}

static void more_balances_than_the_queue_takes_are_counted_when_an_operator_asks(void **state)
{
	(void)state;
	struct world *w = make("asked", 1);
	struct pg_param p;
	struct pg_result *r = NULL;
	OK(pg_query(w->ledger->pg,
		    "select a.address, count(*) from weir.balances b join weir.accounts a on a.id = b.account where b.chain = $1 group by 1 order by 2 desc limit 1",
		    pg_i32(&p, w->ledger->id), 1, &r, &err));
	struct mail_question question = { .kind = MAIL_RECONCILE, .account_size = 20 };
	memcpy(question.account, pg_get_bytes(r, 0, 0).data, 20);
	int64_t assets = pg_get_i64(r, 0, 1);
	pg_result_free(&r);
	assert_true(assets > 1);
	assert_true(mailbox_put_question(w->mailbox, &question));
	OK(question_step(&w->check, &err));
	assert_int_equal(skipped(w, "queue_full"), assets - 1);
	drop(w);
}

/* ---- openings -------------------------------------------------------------------------------------------------------------- */

static void forget_openings(struct world *w, size_t n)
{
	struct pg_param p[2];
	pg_i32(&p[0], w->ledger->id);
	pg_i64(&p[1], (int64_t)n);
	OK(pg_query(w->ledger->pg,
		    "update weir.balances b set opening_known = false from (select account, asset from weir.balances where chain = $1 and amount <> 0 order by 1, 2"
		    " limit $2) i where b.account = i.account and b.asset = i.asset",
		    p, 2, NULL, &err));
}

static void openings_that_nobody_tells_are_asked_for_less_and_less_often(void **state)
{
	(void)state;
	struct told_opening told[OPENINGS_TOLD_MAX];
	struct world *w = make("untold", 16);
	struct check *c = &w->check;
	c->view.head = BLOCKS;
	forget_openings(w, 20);
	w->told.how = HAS_NO_STATE;
	int64_t last = 0;
	for (int i = 0; i < 12; i++) {
		c->opening_ms = 0;
		OK(openings_step(c, &err));
		assert_true(c->opening_wait_ms >= last && c->opening_wait_ms <= 3600000);
		assert_true(c->opening_ms > clock_mono_ms());
		last = c->opening_wait_ms;
	}
	assert_int_equal(last, 3600000);
	assert_int_equal(mailbox_take_openings(w->mailbox, told), 0);
	/* Somebody tells: the next ones follow at once, until there are no more. */
	w->told.how = TELLS_THE_SAME;
	openings_hurry(c);
	OK(openings_step(c, &err));
	assert_true(c->opening_ms <= clock_mono_ms());
	assert_int_equal(mailbox_take_openings(w->mailbox, told), OPENINGS_TOLD_MAX);
	assert_int_equal(i256_cmp(told[0].amount, i256_from_u256(u256_from_u64(5), false)), 0);
	OK(openings_step(c, &err));
	assert_int_equal(mailbox_take_openings(w->mailbox, told), 20 - OPENINGS_TOLD_MAX);
	assert_true(c->opening_ms > clock_mono_ms());
	/* Not while blocks are being filled in: they come first. */
	c->view.head = 100000;
	openings_hurry(c);
	OK(openings_step(c, &err));
	assert_int_equal(mailbox_take_openings(w->mailbox, told), 0);
	drop(w);
}

static void an_operator_has_the_openings_of_one_account_asked_for_now(void **state)
{
	(void)state;
	struct told_opening told[OPENINGS_TOLD_MAX];
	struct world *w = make("ordered", 64);
	w->told.how = TELLS_THE_SAME;
	forget_openings(w, 1000);
	struct mail_question question = { .kind = MAIL_RECONCILE, .account_size = w->touches[0].account_size, .has_asset = true, .asset = w->touches[0].asset };
	memcpy(question.account, w->touches[0].account, sizeof question.account);
	assert_true(mailbox_put_question(w->mailbox, &question));
	OK(question_step(&w->check, &err));
	assert_int_equal(mailbox_take_openings(w->mailbox, told), 1);
	assert_int_equal(told[0].touch.account_id, w->touches[0].account_id);
	assert_int_equal(told[0].touch.asset_id, w->touches[0].asset_id);
	drop(w);
}

static int start(void **state)
{
	(void)state;
	arena = arena_new((size_t)1 << 28);
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
		cmocka_unit_test(what_an_instance_without_the_ledger_was_handed_is_superseded),
		cmocka_unit_test(a_doubt_about_a_block_that_is_gone_is_superseded),
		cmocka_unit_test(state_that_went_with_its_block_is_superseded_and_other_state_unavailable),
		cmocka_unit_test(a_node_that_says_something_else_each_time_is_unstable_and_opens_no_incident),
		cmocka_unit_test(more_doubts_than_are_kept_are_counted),
		cmocka_unit_test(many_incidents_that_wait_for_a_person_keep_no_other_waiting),
		cmocka_unit_test(openings_that_nobody_tells_are_asked_for_less_and_less_often),
		cmocka_unit_test(an_operator_has_the_openings_of_one_account_asked_for_now),
		cmocka_unit_test(more_balances_than_the_queue_takes_are_counted_when_an_operator_asks),
	};
	return cmocka_run_group_tests(tests, start, stop);
}

/* rpc_test.c - calls over several endpoints of which some misbehave: every way in which a node can fail, and what the caller sees. */
#include "net/internal.h"

#include "base/clock.h"
#include "support/anvil_node.h"
#include "support/scripted_node.h"

#include <curl/curl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* -- a node with habits ------------------------------------------------------------------------------------------------------ */

enum habit {
	HONEST,
	REVERSED,   /* batch answers in reverse order: allowed */
	TRUNCATED,
	WRONG_ID,
	TWICE,      /* one answer twice */
	PARTIAL,    /* leaves one call of a batch out */
	EMPTY,
	NOT_JSON,
	STATUS_500,
	HANG_UP,
	HUGE,       /* more than the cap */
	SMALL_BATCH, /* refuses batches of more than 2 as anvil refuses bad ones: one error, id null */
	NO_METHOD,
	INTERNAL,
	LIMITED_ITEM, /* 429 as a JSON-RPC error */
	REDIRECT,
	STATUS_429,
	HABITS
};
static const char *const habit_names[] = { "honest", "reversed", "truncated", "wrong id", "twice", "partial", "empty", "not json", "500", "hang up", "huge",
					   "small batch", "no method", "internal", "limited item", "redirect", "429" };

struct node {
	struct scripted_node *server;
	const char *name, *chain_id;
	atomic_int habit, delay_ms;
	atomic_int requests, calls, largest_batch;
};

#define RESULT_MAX 200

static void add_item(struct buf *out, const struct node *n, const char *id, int id_size, const char *method, int method_size, const char *params,
		     int params_size)
{
	if (method_size == 7 && (memcmp(method, "chainId", 7) == 0 || memcmp(method, "genesis", 7) == 0)) {
		buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":\"%s\"}", id_size, id, n->chain_id);
		return;
	}
	switch (atomic_load(&n->habit)) {
	case NO_METHOD:
		buf_printf(out, "{\"id\":%.*s,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}", id_size, id);
		break;
	case INTERNAL:
		buf_printf(out, "{\"id\":%.*s,\"error\":{\"code\":-32603,\"message\":\"internal\"}}", id_size, id);
		break;
	case LIMITED_ITEM:
		buf_printf(out, "{\"id\":%.*s,\"error\":{\"code\":-32005,\"message\":\"slow down\"}}", id_size, id);
		break;
	case WRONG_ID:
		buf_printf(out, "{\"id\":1%.*s,\"result\":true}", id_size, id);
		break;
	default:
		buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"node\":\"%s\",\"method\":\"%.*s\",\"params\":%.*s}}", id_size, id, n->name,
			   method_size, method, params_size, params);
	}
}

/* The bodies are our own writing, so their form is known exactly. */
static void answer(const char *head, const char *body, struct scripted_reply *reply, void *arg)
{
	(void)head;
	struct node *n = arg;
	struct buf items[64];
	int count = 0, habit = atomic_load(&n->habit);
	for (const char *at = body; (at = strstr(at, "\"id\":")) && count < 64; count++) {
		const char *id = at + 5, *method = strstr(id, "\"method\":\"") + 10, *params = strstr(method, "\"params\":") + 9;
		const char *end = strchr(params, ']') + 1;
		items[count] = (struct buf)BUF_INIT(65536);
		add_item(&items[count], n, id, (int)strspn(id, "0123456789"), method, (int)strcspn(method, "\""), params, (int)(end - params));
		at = end;
	}
	bool probe = strstr(body, "chainId") || strstr(body, "genesis");
	atomic_fetch_add(&n->requests, 1);
	atomic_fetch_add(&n->calls, probe ? 0 : count);
	if (count > atomic_load(&n->largest_batch))
		atomic_store(&n->largest_batch, count);
	struct buf out = BUF_INIT(128u << 20);
	bool batch = body[0] == '[';
	buf_add_str(&out, batch ? "[" : "");
	for (int i = 0; i < count - (habit == PARTIAL && batch); i++) {
		struct buf *item = &items[habit == REVERSED ? count - 1 - i : i];
		buf_printf(&out, "%s%s", i ? "," : "", buf_str(item));
		if (habit == TWICE && i == 0)
			buf_printf(&out, ",%s", buf_str(item));
	}
	buf_add_str(&out, batch ? "]" : "");
	for (int i = 0; i < count; i++)
		buf_free(&items[i]);
	if (habit == SMALL_BATCH && count > 2) {
		buf_reset(&out);
		buf_add_str(&out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"Invalid request\"}}");
	} else if (habit == EMPTY || habit == NOT_JSON) {
		buf_reset(&out);
		buf_add_str(&out, habit == EMPTY ? "" : "<html>bad gateway</html>");
	} else if (habit == TRUNCATED && !probe) {
		out.size -= 3;
	} else if (habit == HUGE && !probe) {
		buf_reset(&out);
		buf_reserve(&out, RPC_ANSWER_MAX + 4096);
		memset(out.data, ' ', RPC_ANSWER_MAX + 4095);
		out.size = RPC_ANSWER_MAX + 4095;
	}
	reply->delay_ms = probe ? 0 : atomic_load(&n->delay_ms);
	reply->hang_up = habit == HANG_UP && !probe;
	reply->status = habit == STATUS_500 && !probe ? 500 : habit == REDIRECT && !probe ? 302 : habit == STATUS_429 && !probe ? 429 : 200;
	reply->headers = habit == REDIRECT ? "location: http://127.0.0.1:1/\r\n" : habit == STATUS_429 ? "retry-after: 2\r\n" : NULL;
	reply->body_size = out.size;
	reply->body = (char *)buf_detach(&out);
}

static void node_start(struct node *n, const char *name)
{
	memset(n, 0, sizeof *n);
	n->name = name;
	n->chain_id = "0x1";
	n->server = scripted_node_start(answer, n);
}

/* -- the client under test ----------------------------------------------------------------------------------------------------- */

static int classify(void *arg, int64_t code, const char *message)
{
	(void)arg;
	(void)message;
	return code == -32601 ? WEIR_UNSUPPORTED : code == -32005 ? WEIR_RATE_LIMITED : code == -32603 ? WEIR_UNAVAILABLE : WEIR_PROTOCOL;
}

static int identify(void *arg, size_t endpoint, const char *chain_id, const char *genesis, struct error *err)
{
	(void)arg;
	(void)endpoint;
	(void)genesis;
	return strcmp(chain_id, "\"0x1\"") == 0 ? 0 : error_set(err, WEIR_WRONG_CHAIN, "chain id %s", chain_id);
}

static struct endpoints *set;
static struct rpc *rpc;
static struct metrics *metrics;

static void client_open(const struct endpoint_options *options, size_t n, int64_t timeout_ms)
{
	struct error err = { 0 };
	struct rpc_options o = { .classify = classify,
				 .identify = identify,
				 .identify_methods = { "chainId", "genesis" },
				 .identify_params = { "[]", "[]" },
				 .timeout_ms = timeout_ms };
	metrics = metrics_new();
	rpc_register_metrics(metrics);
	set = endpoints_new("test", options, n, NULL, metrics);
	o.endpoints = set;
	assert_int_equal(rpc_open(&o, &rpc, &err), 0);
}

static void client_close(void)
{
	rpc_close(&rpc);
	endpoints_free(&set);
	metrics_free(&metrics);
}

struct told {
	int n, code[512];
	char result[512][RESULT_MAX];
	size_t endpoint[512];
};
struct slot {
	struct told *told;
	int index;
};
static struct slot slots[512];

static void on_done(const struct rpc_answer *a, void *arg)
{
	struct slot *slot = arg;
	struct told *told = slot->told;
	assert_int_equal(told->code[slot->index], 1); /* exactly once */
	told->code[slot->index] = a->code;
	told->endpoint[slot->index] = a->endpoint;
	snprintf(told->result[slot->index], RESULT_MAX, "%.*s", (int)a->result.size, (const char *)a->result.data);
	told->n++;
}

static void call(struct told *told, int i, struct rpc_request request)
{
	char params[64];
	snprintf(params, sizeof params, "[%d]", i);
	slots[i] = (struct slot){ told, i };
	told->code[i] = 1;
	request.method = "echo";
	request.params = params;
	request.on_done = on_done;
	request.arg = &slots[i];
	assert_int_equal(rpc_call(rpc, &request), 0);
}

static void wait_for(const struct told *told, int n)
{
	int64_t deadline = clock_mono_ms() + 30000;
	while (told->n < n && clock_mono_ms() < deadline)
		rpc_poll(rpc, 100, -1);
	assert_int_equal(told->n, n);
}

static void wait_identified(size_t index)
{
	struct endpoint_status s;
	int64_t deadline = clock_mono_ms() + 30000;
	do {
		rpc_poll(rpc, 10, -1);
		endpoints_status(set, index, &s);
	} while (!s.identified && clock_mono_ms() < deadline);
	assert_true(s.identified);
}

static void check_echo(const struct told *told, int i)
{
	char expected[64];
	snprintf(expected, sizeof expected, "\"method\":\"echo\",\"params\":[%d]}", i);
	assert_int_equal(told->code[i], 0);
	if (!strstr(told->result[i], expected))
		fail_msg("call %d got %s", i, told->result[i]);
}

/* -- cases ---------------------------------------------------------------------------------------------------------------------- */

/* Whatever the first node does, every call ends well with its own answer, from the second. */
static void every_habit_heals_on_the_second(void **state)
{
	(void)state;
	for (int habit = HONEST; habit < HABITS; habit++) {
		for (int tip = 0; tip < 2; tip++) {
			static struct node a, b;
			static struct told told;
			memset(&told, 0, sizeof told);
			node_start(&a, "a");
			node_start(&b, "b");
			const struct endpoint_options options[] = {
				{ .name = "a", .url = scripted_node_url(a.server), .roles = ENDPOINT_HEAD, .weight = 1000, .max_concurrency = 2 },
				{ .name = "b", .url = scripted_node_url(b.server), .roles = ENDPOINT_HEAD, .weight = 1, .max_concurrency = 2 },
			};
			client_open(options, 2, 5000);
			wait_identified(0);
			wait_identified(1);
			atomic_store(&a.habit, habit);
			for (int i = 0; i < 20; i++)
				call(&told, i, (struct rpc_request){ .role = ENDPOINT_HEAD, .only = -1, .tip = tip });
			wait_for(&told, 20);
			print_message("habit %s%s: a answered %d calls, b %d\n", habit_names[habit], tip ? " (single)" : "", atomic_load(&a.calls),
				      atomic_load(&b.calls));
			for (int i = 0; i < 20; i++)
				check_echo(&told, i);
			assert_true(atomic_load(&a.calls) > 0);
			assert_int_equal(rpc_in_flight(rpc), 0);
			client_close();
			scripted_node_stop(&a.server);
			scripted_node_stop(&b.server);
		}
	}
}

static void one_node(struct node *n, struct endpoint_options options, int64_t timeout_ms)
{
	node_start(n, "a");
	options.name = "a";
	options.url = scripted_node_url(n->server);
	options.roles = ENDPOINT_HEAD;
	client_open(&options, 1, timeout_ms);
}

static void calls_share_a_request_by_what_they_cost(void **state)
{
	(void)state;
	assert_int_equal(rpc_group(1, 8, 0), 4);    /* nothing known yet */
	assert_int_equal(rpc_group(79, 8, 0), 10);  /* a share for each free request */
	assert_int_equal(rpc_group(10, 8, 5), 8);   /* 40 ms of work */
	assert_int_equal(rpc_group(10, 8, 0.1), 24); /* but others may want the node's answers, too */
	assert_int_equal(rpc_group(10, 8, 500), 4);
	assert_int_equal(rpc_group(400, 8, 0.1), 51); /* more than that only where the requests would not suffice */
	assert_int_equal(rpc_group(10, 0, 500), 11);
}

static void batches_form_and_limits_are_learnt(void **state)
{
	(void)state;
	static struct node n;
	static struct told told;
	struct endpoint_status s;
	memset(&told, 0, sizeof told);
	one_node(&n, (struct endpoint_options){ .max_concurrency = 1 }, 5000);
	wait_identified(0);
	for (int i = 0; i < 200; i++)
		call(&told, i, (struct rpc_request){ .only = -1 });
	wait_for(&told, 200);
	assert_in_range(atomic_load(&n.requests), 3, 20); /* not 200 */
	atomic_store(&n.habit, SMALL_BATCH);
	memset(&told, 0, sizeof told);
	for (int i = 0; i < 100; i++)
		call(&told, i, (struct rpc_request){ .only = -1, .attempts = 1 }); /* being split costs nobody an attempt */
	wait_for(&told, 100);
	for (int i = 0; i < 100; i++)
		check_echo(&told, i);
	endpoints_status(set, 0, &s);
	assert_in_range((uintmax_t)s.batch_max, 1, 2);
	assert_int_equal(s.consecutive_errors, 0);
	client_close();
	scripted_node_stop(&n.server);
}

static void refused_then_waits(enum habit habit, int64_t at_least_ms)
{
	static struct node n;
	static struct told told;
	memset(&told, 0, sizeof told);
	one_node(&n, (struct endpoint_options){ 0 }, 5000);
	wait_identified(0);
	atomic_store(&n.habit, (int)habit);
	call(&told, 0, (struct rpc_request){ .only = -1, .attempts = 1 });
	int64_t deadline = clock_mono_ms() + 10000;
	while (atomic_load(&n.calls) == 0 && clock_mono_ms() < deadline)
		rpc_poll(rpc, 10, -1);
	int64_t refused = clock_mono_ms();
	atomic_store(&n.habit, HONEST);
	wait_for(&told, 1);
	assert_true(clock_mono_ms() - refused >= at_least_ms);
	assert_int_equal(atomic_load(&n.calls), 2);
	check_echo(&told, 0);
	client_close();
	scripted_node_stop(&n.server);
}

static void too_many_requests_wait(void **state)
{
	(void)state;
	refused_then_waits(LIMITED_ITEM, 500); /* the pause of a refusal without a time is a second */
	refused_then_waits(STATUS_429, 1500);  /* Retry-After: 2 */
}

static void a_dead_node_is_probed_until_it_answers(void **state)
{
	(void)state;
	static struct node n;
	static struct told told;
	struct endpoint_status s;
	memset(&told, 0, sizeof told);
	one_node(&n, (struct endpoint_options){ 0 }, 5000);
	wait_identified(0);
	atomic_store(&n.habit, HANG_UP);
	for (int i = 0; i < 5; i++)
		call(&told, i, (struct rpc_request){ .only = -1, .attempts = 1, .tip = true });
	wait_for(&told, 5);
	endpoints_status(set, 0, &s);
	assert_int_not_equal(s.breaker, BREAKER_CLOSED);
	assert_false(s.identified);
	assert_true(s.consecutive_errors >= 5);
	assert_true(s.last_error[0]);
	atomic_store(&n.habit, HONEST);
	memset(&told, 0, sizeof told);
	call(&told, 0, (struct rpc_request){ .only = -1 }); /* waits for the probe */
	wait_for(&told, 1);
	check_echo(&told, 0);
	endpoints_status(set, 0, &s);
	assert_int_equal(s.breaker, BREAKER_CLOSED);
	client_close();
	scripted_node_stop(&n.server);
}

static void the_wrong_chain_is_never_asked(void **state)
{
	(void)state;
	static struct node a, b;
	static struct told told;
	struct endpoint_status s;
	memset(&told, 0, sizeof told);
	node_start(&a, "a");
	node_start(&b, "b");
	a.chain_id = "0x2";
	const struct endpoint_options options[] = {
		{ .name = "a", .url = scripted_node_url(a.server), .roles = ENDPOINT_HEAD, .weight = 1000 },
		{ .name = "b", .url = scripted_node_url(b.server), .roles = ENDPOINT_HEAD, .weight = 1 },
	};
	client_open(options, 2, 5000);
	for (int i = 0; i < 50; i++)
		call(&told, i, (struct rpc_request){ .only = -1 });
	wait_for(&told, 50);
	for (int i = 0; i < 50; i++) {
		check_echo(&told, i);
		assert_int_equal(told.endpoint[i], 1);
	}
	assert_int_equal(atomic_load(&a.calls), 0);
	memset(&told, 0, sizeof told);
	call(&told, 0, (struct rpc_request){ .only = 0 });
	wait_for(&told, 1);
	assert_int_equal(told.code[0], WEIR_WRONG_CHAIN);
	endpoints_status(set, 0, &s);
	assert_true(s.wrong_chain);
	/* And when it changes its identity while it is down, it is noticed when it comes back. */
	b.chain_id = "0x3";
	atomic_store(&b.habit, HANG_UP);
	memset(&told, 0, sizeof told);
	for (int i = 0; i < 6; i++)
		call(&told, i, (struct rpc_request){ .only = 1, .attempts = 1, .tip = true });
	wait_for(&told, 6);
	atomic_store(&b.habit, HONEST);
	memset(&told, 0, sizeof told);
	call(&told, 0, (struct rpc_request){ .only = -1 });
	wait_for(&told, 1);
	assert_int_equal(told.code[0], WEIR_WRONG_CHAIN);
	client_close();
	scripted_node_stop(&a.server);
	scripted_node_stop(&b.server);
}

static void times_out_and_keeps_its_deadline(void **state)
{
	(void)state;
	static struct node n;
	static struct told told;
	memset(&told, 0, sizeof told);
	one_node(&n, (struct endpoint_options){ 0 }, 200);
	wait_identified(0);
	atomic_store(&n.delay_ms, 20000);
	call(&told, 0, (struct rpc_request){ .only = -1, .attempts = 1 });
	call(&told, 1, (struct rpc_request){ .only = -1, .attempts = 100, .timeout_ms = 700 });
	wait_for(&told, 2);
	assert_int_equal(told.code[0], WEIR_TIMEOUT);
	assert_int_equal(told.code[1], WEIR_TIMEOUT);
	client_close();
	scripted_node_stop(&n.server);
}

static void excluded_only_when_no_other_is_left(void **state)
{
	(void)state;
	static struct node a, b;
	static struct told told;
	memset(&told, 0, sizeof told);
	node_start(&a, "a");
	node_start(&b, "b");
	const struct endpoint_options options[] = {
		{ .name = "a", .url = scripted_node_url(a.server), .roles = ENDPOINT_HEAD | ENDPOINT_VERIFY, .weight = 1000 },
		{ .name = "b", .url = scripted_node_url(b.server), .roles = ENDPOINT_HEAD, .weight = 1 },
	};
	client_open(options, 2, 5000);
	wait_identified(0);
	wait_identified(1);
	for (int i = 0; i < 20; i++)
		call(&told, i, (struct rpc_request){ .role = ENDPOINT_HEAD, .only = -1, .exclude = 1 });
	for (int i = 20; i < 40; i++)
		call(&told, i, (struct rpc_request){ .role = ENDPOINT_VERIFY, .only = -1, .exclude = 1 });
	call(&told, 40, (struct rpc_request){ .role = ENDPOINT_BACKFILL, .only = -1 });
	wait_for(&told, 41);
	for (int i = 0; i < 40; i++)
		assert_int_equal(told.endpoint[i], i < 20 ? 1 : 0);
	assert_int_equal(told.code[40], WEIR_UNSUPPORTED);
	/* A liar rests while another is there; alone it is still asked. */
	struct endpoint_status s;
	endpoints_note_lie(set, 0, "receipts root");
	endpoints_status(set, 0, &s);
	assert_int_not_equal(s.breaker, BREAKER_CLOSED);
	endpoints_note_lie(set, 1, "receipts root");
	endpoints_status(set, 1, &s);
	assert_int_equal(s.breaker, BREAKER_CLOSED);
	assert_int_equal(rpc_choose(set, ENDPOINT_HEAD, 2, 0), 1);
	client_close();
	scripted_node_stop(&a.server);
	scripted_node_stop(&b.server);
}

static void closing_cancels(void **state)
{
	(void)state;
	static struct node n;
	static struct told told;
	memset(&told, 0, sizeof told);
	one_node(&n, (struct endpoint_options){ .max_concurrency = 1 }, 30000);
	wait_identified(0);
	atomic_store(&n.delay_ms, 60000);
	for (int i = 0; i < 100; i++)
		call(&told, i, (struct rpc_request){ .only = -1 });
	rpc_poll(rpc, 50, -1);
	rpc_close(&rpc);
	assert_int_equal(told.n, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(told.code[i], WEIR_CANCELED);
	client_close();
	scripted_node_stop(&n.server);
}

static void calls_are_bounded(void **state)
{
	(void)state;
	static struct node n;
	static struct told told;
	one_node(&n, (struct endpoint_options){ 0 }, 5000);
	slots[0] = (struct slot){ &told, 0 };
	struct rpc_request request = { .method = "echo", .params = "[1]", .only = -1, .arg = &slots[0] };
	int r = 0, accepted = 0;
	request.on_done = (rpc_done_fn *)on_done;
	told.code[0] = 1;
	static struct told many[5000];
	static struct slot places[5000];
	for (; accepted < 5000 && r == 0; accepted += r == 0) {
		places[accepted] = (struct slot){ &many[accepted], 0 };
		many[accepted].code[0] = 1;
		request.arg = &places[accepted];
		r = rpc_call(rpc, &request);
	}
	assert_int_equal(r, WEIR_FULL);
	assert_int_equal(accepted, 4096);
	client_close();
	scripted_node_stop(&n.server);
}

static void bad_addresses_are_named(void **state)
{
	(void)state;
	static const char *const bad[] = { "ftp://host/", "file:///etc/passwd", "host:8545", "", "http://" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct error err = { 0 };
		struct endpoint_options options = { .name = "x", .url = bad[i], .roles = ENDPOINT_HEAD };
		struct endpoints *e = endpoints_new("test", &options, 1, NULL, NULL);
		struct rpc_options o = { .endpoints = e };
		struct rpc *r = NULL;
		assert_int_equal(rpc_open(&o, &r, &err), WEIR_CONFIG);
		assert_null(r);
		assert_non_null(strstr(err.text, "endpoint 0"));
		endpoints_free(&e);
	}
}

/* -- a real node ------------------------------------------------------------------------------------------------------------------ */

static void against_a_real_node(void **state)
{
	(void)state;
	if (!anvil_node_available()) {
		print_message("SKIPPED: anvil is not installed (npm ci --ignore-scripts in tests/support/chain)\n");
		skip();
	}
	struct anvil_node anvil;
	static struct told told;
	anvil_node_start(&anvil, 0);
	memset(&told, 0, sizeof told);
	struct endpoint_options options = { .name = "anvil", .url = anvil.url, .roles = ENDPOINT_HEAD };
	struct rpc_options o = { .identify_methods = { "eth_chainId", "eth_getBlockByNumber" }, .identify_params = { "[]", "[\"0x0\",false]" }, .classify = classify };
	struct error err = { 0 };
	metrics = NULL;
	o.endpoints = set = endpoints_new("test", &options, 1, NULL, NULL);
	assert_int_equal(rpc_open(&o, &rpc, &err), 0);
	struct arena *arena = arena_new(1 << 20);
	struct bytes result;
	size_t endpoint = 9;
	struct rpc_request mine = { .method = "anvil_mine", .params = "[\"0x64\"]", .only = -1 };
	assert_int_equal(rpc_ask(rpc, &mine, arena, &result, &endpoint, &err), 0);
	struct rpc_request height = { .method = "eth_blockNumber", .only = -1 };
	assert_int_equal(rpc_ask(rpc, &height, arena, &result, &endpoint, &err), 0);
	assert_string_equal((const char *)result.data, "\"0x64\"");
	assert_int_equal(endpoint, 0);
	struct rpc_request nope = { .method = "no_such", .only = -1 };
	assert_int_equal(rpc_ask(rpc, &nope, arena, &result, &endpoint, &err), WEIR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "no_such"));
	arena_free(&arena);
	rpc_close(&rpc);
	endpoints_free(&set);
	anvil_node_stop(&anvil);
}

int main(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_habit_heals_on_the_second),
		cmocka_unit_test(calls_share_a_request_by_what_they_cost),
		cmocka_unit_test(batches_form_and_limits_are_learnt),
		cmocka_unit_test(too_many_requests_wait),
		cmocka_unit_test(a_dead_node_is_probed_until_it_answers),
		cmocka_unit_test(the_wrong_chain_is_never_asked),
		cmocka_unit_test(times_out_and_keeps_its_deadline),
		cmocka_unit_test(excluded_only_when_no_other_is_left),
		cmocka_unit_test(closing_cancels),
		cmocka_unit_test(calls_are_bounded),
		cmocka_unit_test(bad_addresses_are_named),
		cmocka_unit_test(against_a_real_node),
	};
	return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}

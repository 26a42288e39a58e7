/* socket_test.c - the WebSocket against a real node: heads arrive, a dead node is noticed, a restarted one is found again. */
#include "net/rpc.h"

#include "base/clock.h"
#include "support/anvil_node.h"
#include "support/scripted_node.h"

#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SUBSCRIBE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_subscribe\",\"params\":[\"newHeads\"]}"

struct heard {
	int messages, heads;
};

static void on_message(struct bytes text, void *arg)
{
	struct heard *heard = arg;
	heard->messages++;
	heard->heads += memmem(text.data, text.size, "\"parentHash\"", 12) != NULL;
}

static void mine(const struct anvil_node *node)
{
	struct error err = { 0 };
	struct endpoint_options options = { .name = "anvil", .url = node->url, .roles = ENDPOINT_HEAD };
	struct rpc_options o = { .endpoints = endpoints_new("test", &options, 1, NULL, NULL) };
	struct rpc *rpc;
	struct bytes result;
	struct arena *arena = arena_new(65536);
	assert_int_equal(rpc_open(&o, &rpc, &err), 0);
	struct rpc_request request = { .method = "evm_mine", .only = -1 };
	assert_int_equal(rpc_ask(rpc, &request, arena, &result, NULL, &err), 0);
	rpc_close(&rpc);
	endpoints_free(&o.endpoints);
	arena_free(&arena);
}

/* Polls until what the test waits for. */
#define UNTIL(condition)                                                                             \
	do {                                                                                          \
		int64_t deadline_ = clock_mono_ms() + 30000;                                          \
		while (!(condition) && clock_mono_ms() < deadline_) {                                 \
			int r_ = rpc_socket_poll(s, on_message, &heard, &err);                        \
			failure = r_ ? r_ : failure;                                                  \
			clock_sleep_ms(2);                                                            \
		}                                                                                     \
		assert_true(condition);                                                               \
	} while (0)

static void heads_through_a_restart(void **state)
{
	(void)state;
	if (!anvil_node_available()) {
		print_message("SKIPPED: anvil is not installed (npm ci --ignore-scripts in tests/support/chain)\n");
		skip();
	}
	struct anvil_node anvil;
	struct error err = { 0 };
	struct heard heard = { 0 };
	struct rpc_socket *s;
	int failure = 0;
	anvil_node_start(&anvil, 0);
	assert_int_equal(rpc_socket_open(anvil.ws_url, NULL, SUBSCRIBE, NULL, &s, &err), 0);
	assert_int_equal(rpc_socket_fd(s), -1);
	UNTIL(rpc_socket_live(s) && heard.messages == 1); /* the answer to the subscription */
	assert_true(rpc_socket_fd(s) >= 0);
	for (int i = 1; i <= 3; i++) {
		mine(&anvil);
		UNTIL(heard.heads == i);
	}
	int port = anvil.port;
	anvil_node_stop(&anvil);
	UNTIL(!rpc_socket_live(s));
	assert_int_equal(rpc_socket_fd(s), -1);
	failure = 0;
	UNTIL(failure == WEIR_UNAVAILABLE); /* refused: said, not hidden */
	anvil_node_start(&anvil, port);
	UNTIL(rpc_socket_live(s) && heard.messages == 5);
	mine(&anvil);
	UNTIL(heard.heads == 4);
	rpc_socket_close(&s);
	anvil_node_stop(&anvil);
}

static void refuse_upgrade(const char *head, const char *body, struct scripted_reply *reply, void *arg)
{
	(void)head;
	(void)body;
	(void)arg;
	reply->status = 101;
	reply->body = xstrdup("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n");
}

static void a_false_accept_is_refused(void **state)
{
	(void)state;
	struct scripted_node *node = scripted_node_start(refuse_upgrade, NULL);
	struct error err = { 0 };
	struct heard heard = { 0 };
	struct rpc_socket *s;
	int failure = 0;
	char url[64];
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/", scripted_node_port(node));
	assert_int_equal(rpc_socket_open(url, NULL, SUBSCRIBE, NULL, &s, &err), 0);
	UNTIL(failure == WEIR_PROTOCOL);
	assert_non_null(strstr(err.text, "Sec-WebSocket-Accept"));
	assert_false(rpc_socket_live(s));
	rpc_socket_close(&s);
	scripted_node_stop(&node);
}

static void bad_addresses(void **state)
{
	(void)state;
	static const char *const bad[] = { "http://host/", "", "ws:/host", "ws://" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct error err = { 0 };
		struct rpc_socket *s = NULL;
		assert_int_equal(rpc_socket_open(bad[i], NULL, SUBSCRIBE, NULL, &s, &err), WEIR_CONFIG);
		assert_null(s);
	}
}

int main(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	const struct CMUnitTest tests[] = { cmocka_unit_test(heads_through_a_restart), cmocka_unit_test(a_false_accept_is_refused), cmocka_unit_test(bad_addresses) };
	return cmocka_run_group_tests_name("socket", tests, NULL, NULL);
}

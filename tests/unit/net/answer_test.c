/* answer_test.c - JSON-RPC answers taken apart: extents of results, and everything that must be refused. */
#include "net/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct seen {
	struct answer_item items[8];
	size_t n;
};

static void on_item(const struct answer_item *item, void *arg)
{
	struct seen *seen = arg;
	assert_true(seen->n < 8);
	seen->items[seen->n++] = *item;
}

static int split(const char *text, struct seen *seen, bool *batch)
{
	struct error err = { 0 };
	memset(seen, 0, sizeof *seen);
	/* A copy of exact size: reading behind the end is seen by the sanitizer. */
	uint8_t *copy = xmemdup(text, strlen(text));
	int r = answer_split((struct bytes){ copy, strlen(text) }, on_item, seen, batch, &err);
	for (size_t i = 0; i < seen->n; i++)
		if (seen->items[i].has_result)
			seen->items[i].result.data = (const uint8_t *)text + (seen->items[i].result.data - copy);
	free(copy);
	if (r != 0)
		assert_true(err.text[0]);
	return r;
}

static void results_keep_their_bytes(void **state)
{
	(void)state;
	static const char *const values[] = { "null", "\"0x1\"", "[]", "{ \"a\" : [1, 2.50e3, \"\\\"}]\\\\\"] }", "true", "-0", "[[[]],{}]", "\"\\u007d\"" };
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		char text[256];
		struct seen seen;
		bool batch;
		snprintf(text, sizeof text, " {\"jsonrpc\":\"2.0\", \"result\" : %s ,\"id\":7}\n", values[i]);
		assert_int_equal(split(text, &seen, &batch), 0);
		assert_false(batch);
		assert_int_equal(seen.n, 1);
		assert_true(seen.items[0].has_id && seen.items[0].id == 7 && seen.items[0].has_result);
		assert_int_equal(seen.items[0].result.size, strlen(values[i]));
		assert_memory_equal(seen.items[0].result.data, values[i], strlen(values[i]));
	}
}

static void batches_and_errors(void **state)
{
	(void)state;
	struct seen seen;
	bool batch;
	assert_int_equal(split("[{\"id\":2,\"result\":{\"error\":1,\"id\":9}},{\"id\":1,\"error\":{\"code\":-32601,\"message\":\"no \\n way\"}}]", &seen, &batch),
			 0);
	assert_true(batch);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.items[0].id, 2);
	assert_true(seen.items[1].has_error && !seen.items[1].has_result);
	assert_int_equal(seen.items[1].error_code, -32601);
	assert_string_equal(seen.items[1].error_message, "no ? way");
	assert_int_equal(split("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"Invalid\"}}", &seen, &batch), 0);
	assert_true(!seen.items[0].has_id && seen.items[0].has_error);
	assert_int_equal(split("{\"id\":1,\"error\":null,\"result\":5}", &seen, &batch), 0);
	assert_true(seen.items[0].has_result && !seen.items[0].has_error);
	assert_int_equal(split("[]", &seen, &batch), 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(split("{\"id\":\"1\",\"result\":5}", &seen, &batch), 0);
	assert_false(seen.items[0].has_id); /* we ask with numbers: a text is not our id */
	assert_int_equal(split("{\"id\":99999999999999999999,\"result\":5}", &seen, &batch), 0);
	assert_false(seen.items[0].has_id);
}

static void refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", " ", "nonsense", "<html>", "{", "{}", "{\"id\":1}", "{\"id\":1,\"result\":}", "{\"id\":1,\"result\":{\"a\":1}", "{\"id\":1,\"result\":\"abc",
		"{\"id\":1,\"result\":[1,2}}", "{\"id\":1,\"result\":1}x", "{\"id\":1,\"result\":1}{}", "{\"id\":1,\"id\":1,\"result\":1}",
		"{\"id\":1,\"result\":1,\"result\":2}", "{\"id\":1,\"result\":1,\"error\":{\"code\":1,\"message\":\"x\"}}", "{\"id\":1 \"result\":1}",
		"{\"id\" 1,\"result\":1}", "{id:1,\"result\":1}", "[{\"id\":1,\"result\":1}", "[{\"id\":1,\"result\":1},", "[1]", "[{\"id\":1,\"result\":1} {}]",
		"{\"id\":1,\"result\":\"\\\"}", "{\"id\":1,\"error\":7}", "{\"id\":1,\"error\":{\"code\":}}", "[[]]",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct seen seen;
		bool batch;
		if (split(bad[i], &seen, &batch) != WEIR_PROTOCOL)
			fail_msg("accepted: %s", bad[i]);
	}
}

/* Every prefix of a good answer is a truncated one. */
static void truncated_anywhere(void **state)
{
	(void)state;
	static const char good[] = "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":[\"x\\\"y\",{\"b\":null}]}},{\"id\":2,\"error\":{\"code\":1,\"message\":\"m\"}}]";
	for (size_t n = 0; n < sizeof good - 1; n++) {
		char text[sizeof good];
		struct seen seen;
		bool batch;
		memcpy(text, good, n);
		text[n] = 0;
		if (split(text, &seen, &batch) != WEIR_PROTOCOL)
			fail_msg("accepted %zu bytes: %s", n, text);
	}
}

static void depth_is_bounded(void **state)
{
	(void)state;
	for (size_t depth = ANSWER_DEPTH_MAX - 1; depth <= ANSWER_DEPTH_MAX + 1; depth++) {
		struct buf text = BUF_INIT(1 << 20);
		struct seen seen;
		bool batch;
		buf_add_str(&text, "{\"id\":1,\"result\":");
		for (size_t i = 0; i < depth; i++)
			buf_add_byte(&text, '[');
		for (size_t i = 0; i < depth; i++)
			buf_add_byte(&text, ']');
		buf_add_byte(&text, '}');
		assert_int_equal(split(buf_str(&text), &seen, &batch), depth <= ANSWER_DEPTH_MAX ? 0 : WEIR_PROTOCOL);
		buf_free(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_keep_their_bytes), cmocka_unit_test(batches_and_errors), cmocka_unit_test(refused),
		cmocka_unit_test(truncated_anywhere),	    cmocka_unit_test(depth_is_bounded),
	};
	return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}

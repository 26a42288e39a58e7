/* h1_test.c - heads and chunks in any pieces: the verdict and what was read are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/http/h1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *text;
	unsigned status; /* 0: complete; 1: not yet */
} heads[] = {
	{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 }, { "\r\nGET / HTTP/1.1\r\n\r\n", 0 }, { "\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400 }, { "GET / HTTP/1.1\r\n", 1 },
	{ "GET / HTTP/1.1\n\n", 400 }, { "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400 }, { "GET / HTTP/1.1\r\nA: b\r\r\n\r\n", 400 }, { "GET / HTTP/1.1\r\nA\x01: b\r\n\r\n", 400 },
	{ "GET / HTTP/2.0\r\n\r\n", 505 }, { "GET / HTTP/1.1\r\nA : b\r\n\r\n", 400 }, { "GET / HTTP/1.1\r\n A: b\r\n\r\n", 400 }, { "GET  / HTTP/1.1\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n: b\r\n\r\n", 400 }, { "GET / HTTP/1.1\r\nA\r\n\r\n", 400 }, { "GET\r\n\r\n", 400 }, { "", 1 }, { "\r", 1 }, { "\n", 400 }, { "\r\n", 1 },
};

/* 0: complete, 1: not yet, else the status. */
static unsigned judge(const char *text, size_t cut, struct h1_head *head, char *copy)
{
	struct h1_scan scan = { 0 };
	struct h1_problem problem = { 0 };
	size_t size = strlen(text);
	ssize_t n = h1_scan(&scan, (const uint8_t *)text, cut, &problem);
	if (n == 0)
		n = h1_scan(&scan, (const uint8_t *)text, size, &problem);
	if (n < 0)
		return problem.status;
	if (n == 0)
		return 1;
	memcpy(copy, text + scan.begin, (size_t)n - scan.begin);
	copy[(size_t)n - scan.begin] = '\0';
	return h1_parse(copy, (size_t)n - scan.begin, head, &problem) ? 0 : problem.status;
}

static void heads_in_any_pieces(void **state)
{
	(void)state;
	struct h1_head head;
	char copy[200];
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
		for (size_t cut = 0; cut <= strlen(heads[i].text); cut++)
			if (judge(heads[i].text, cut, &head, copy) != heads[i].status)
				fail_msg("\"%s\" cut at %zu: %u", heads[i].text, cut, judge(heads[i].text, cut, &head, copy));
	assert_int_equal(judge("POST /x?y=z HTTP/1.0\r\nA:\t b c \t\r\nd-E:\r\n\r\n", 0, &head, copy), 0);
	assert_string_equal(head.method, "POST");
	assert_string_equal(head.target, "/x?y=z");
	assert_int_equal(head.minor, 0);
	assert_int_equal(head.field_count, 2);
	assert_string_equal(head.fields[0].value, "b c");
	assert_string_equal(head.fields[1].name, "d-E");
	assert_string_equal(head.fields[1].value, "");
}

static void every_byte_at_every_place(void **state)
{
	(void)state;
	static const char good[] = "GET /x HTTP/1.1\r\nHost: a\r\nB: c d\r\n\r\n";
	struct h1_head head;
	char copy[200], text[sizeof good];
	for (size_t at = 0; at < sizeof good - 1; at++)
		for (int byte = 1; byte < 256; byte++) {
			memcpy(text, good, sizeof good);
			text[at] = (char)byte;
			unsigned whole = judge(text, 0, &head, copy);
			for (size_t cut = 1; cut < sizeof good; cut += 5)
				assert_int_equal(judge(text, cut, &head, copy), whole);
			bool control = (byte < 0x20 && byte != '\t' && byte != '\r' && byte != '\n') || byte == 0x7f;
			if (control)
				assert_int_equal(whole, 400);
			if ((byte == '\n' || byte == '\r') && good[at] != byte)
				assert_int_not_equal(whole, 0);
		}
}

static void heads_have_an_end(void **state)
{
	(void)state;
	uint8_t *data = test_malloc(2 * H1_HEAD_MAX);
	struct h1_problem problem;
	memset(data, 'a', 2 * H1_HEAD_MAX);
	struct h1_scan scan = { 0 };
	assert_int_equal(h1_scan(&scan, data, H1_HEAD_MAX, &problem), 0);
	assert_int_equal(h1_scan(&scan, data, H1_HEAD_MAX + 1, &problem), -1);
	assert_int_equal(problem.status, 414);
	memcpy(data, "GET / HTTP/1.1\r\n", 16);
	scan = (struct h1_scan){ 0 };
	assert_int_equal(h1_scan(&scan, data, 2 * H1_HEAD_MAX, &problem), -1);
	assert_int_equal(problem.status, 431);
	test_free(data);
}

static const struct {
	const char *text;
	int status; /* 0: done */
	const char *body;
} chunked[] = {
	{ "0\r\n\r\n", 0, "" }, { "5\r\nhello\r\n0\r\n\r\n", 0, "hello" }, { "1;a=b\r\nh\r\n004\r\nello\r\n0\r\nX: y\r\n\r\n", 0, "hello" }, { "a\r\n0123456789\r\n0 ;x\r\n\r\n", 0, "0123456789" },
	{ "5\nhello\r\n0\r\n\r\n", 400, NULL }, { "5\r\nhelloo\r\n0\r\n\r\n", 400, NULL }, { "ffffffffffffffffff\r\n", 400, NULL }, { "ffffffffffffffff\r\n", 413, NULL },
	{ "41\r\n", 413, NULL }, { "40\r\n", 1, NULL }, { "20\r\n01234567890123456789012345678901\r\n21\r\n", 413, NULL }, { "\r\n", 400, NULL }, { "5 \r\n", 400, NULL }, { "5;\r\n", 400, NULL },
	{ "0\r\nX\r\n\r\n", 400, NULL }, { "0\r\n X: y\r\n\r\n", 400, NULL }, { "0\r\nX: y\r\n", 1, NULL }, { "5\r\nhel", 1, NULL },
};

static int dechunk(const char *text, size_t cut, struct buf *body, size_t *ret_taken)
{
	struct h1_chunks c = { .max = 64 };
	struct h1_problem problem;
	size_t size = strlen(text), at = 0;
	bool done = false;
	const size_t ends[] = { cut, size };
	for (int i = 0; i < 2 && !done; i++) {
		ssize_t n = h1_dechunk(&c, (const uint8_t *)text + at, ends[i] - at, body, &done, &problem);
		if (n < 0)
			return (int)problem.status;
		at += (size_t)n;
	}
	*ret_taken = at;
	return done ? 0 : 1;
}

static void chunks_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof chunked / sizeof chunked[0]; i++)
		for (size_t cut = 0; cut <= strlen(chunked[i].text); cut++) {
			struct buf body = BUF_INIT(100);
			size_t taken = 0;
			char more[200];
			snprintf(more, sizeof more, "%sGET", chunked[i].text); /* what follows is not the body's */
			int status = dechunk(chunked[i].status == 0 ? more : chunked[i].text, cut, &body, &taken);
			if (status != chunked[i].status)
				fail_msg("\"%s\" cut at %zu: %d", chunked[i].text, cut, status);
			if (status == 0) {
				assert_string_equal(buf_str(&body), chunked[i].body);
				assert_int_equal(taken, strlen(chunked[i].text));
			}
			buf_free(&body);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_in_any_pieces),
		cmocka_unit_test(every_byte_at_every_place),
		cmocka_unit_test(heads_have_an_end),
		cmocka_unit_test(chunks_in_any_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

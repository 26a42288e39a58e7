/* door_test.c - which requests may be turned away at their head, and what they get. */
#include "services/gateway/http/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET "GET /v1/a-b_c.d~e:f/0x12?height=%41\"{}&x=2 HTTP/1.1\r\n"
#define PLAIN "GET /a HTTP/1.1\r\nHost: a\r\n"

static bool reads(const char *head, struct http_arrival *ret)
{
	return door_read(head, strlen(head), ret);
}

static void a_plain_read_is_understood(void **state)
{
	struct http_arrival request;
	(void)state;
	assert_true(reads(GET "Host: a\r\nAccept: */*\r\nconnection: Keep-Alive\r\n\r\n", &request));
	assert_int_equal(request.path_size, strlen("/v1/a-b_c.d~e:f/0x12"));
	assert_memory_equal(request.path, "/v1/a-b_c.d~e:f/0x12", request.path_size);
	assert_true(request.query && !request.credentials);
	assert_true(reads(PLAIN "authorization: Bearer x\r\n\r\n", &request));
	assert_true(request.credentials && !request.query && request.path_size == 2);
	assert_true(reads(PLAIN "X-Api-Key:x\r\n\r\n", &request) && request.credentials);
	assert_true(reads(PLAIN "X-Api-Keys: x\r\n\r\n", &request) && !request.credentials);
}

/* What is not surely one whole request with the answer that all get. */
static void everything_else_takes_the_usual_way(void **state)
{
	static const char *const heads[] = {
		"POST /a HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n", "get /a HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a HTTP/1.0\r\nHost: a\r\n\r\n", "GET /a HTTP/1.2\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET  /a HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://a/a HTTP/1.1\r\nHost: a\r\n\r\n", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%61 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\" HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a\\ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET HTTP/1.1\r\nHost: a\r\n\r\n",
		PLAIN "Host: b\r\n\r\n", PLAIN "Content-Length: 5\r\n\r\n", PLAIN "content-length: 0\r\n\r\n", PLAIN "Content-Length : 5\r\n\r\n",
		PLAIN "Transfer-Encoding: chunked\r\n\r\n", PLAIN "A: b\r\n Content-Length: 5\r\n\r\n", PLAIN "Expect: 100-continue\r\n\r\n",
		PLAIN "Upgrade: websocket\r\n\r\n", PLAIN "Connection: close\r\n\r\n", PLAIN "Connection: keep-alive, close\r\n\r\n", PLAIN "Connection: keep-alive \r\n\r\n",
		PLAIN "Origin: https://a\r\n\r\n", PLAIN "X-Request-Id: 7\r\n\r\n", PLAIN ": b\r\n\r\n", PLAIN "A\r\n\r\n", PLAIN "Content_Length: 5\r\n\r\n", "\r\n", "",
	};
	struct http_arrival request;
	(void)state;
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
		if (reads(heads[i], &request))
			fail_msg("read: %s", heads[i]);
	char head[2048];
	snprintf(head, sizeof head, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", DOOR_PATH_MAX, 0);
	assert_false(reads(head, &request));
	snprintf(head, sizeof head, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", DOOR_PATH_MAX - 1, 0);
	assert_true(reads(head, &request));
	assert_int_equal(request.path_size, DOOR_PATH_MAX);
	size_t n = (size_t)snprintf(head, sizeof head, PLAIN);
	for (int i = 0; i < 64; i++)
		n += (size_t)snprintf(head + n, sizeof head - n, "A: b\r\n");
	strcpy(head + n, "\r\n");
	assert_false(reads(head, &request)); /* 65 fields */
}

static unsigned made;

static void turned_away(struct http_response *response, const char *instance, const char *request_id, void *arg)
{
	made++;
	response->status = 503;
	response->type = "application/problem+json";
	buf_printf(&response->body, "{\"detail\":\"%s\",\"instance\":\"%s\",\"code\":\"overloaded\",\"request_id\":\"%s\"}", (const char *)arg, instance, request_id);
}

static const char *value_of(const char *text, const char *label, char *ret, size_t size)
{
	const char *at = strstr(text, label);
	assert_non_null(at);
	at += strlen(label);
	snprintf(ret, size, "%.*s", (int)strcspn(at, "\r\""), at);
	return ret;
}

static void the_answer_is_like_any_other(void **state)
{
	char detail[] = "0000000000000000 instance Retry-After: this server has more to do than it can, and this is said at some length";
	const struct http_options options = { .turned_away = turned_away, .arg = detail };
	struct door door = { 0 };
	char text[DOOR_ANSWER_MAX + 1], id[40], again[40], other[40], number[40], expected[1024];
	(void)state;
	for (size_t size = 1; size <= DOOR_PATH_MAX; size++) {
		char path[DOOR_PATH_MAX + 1] = "/";
		memset(path + 1, 'x', size - 1);
		path[size] = '\0';
		const struct http_arrival request = { .path = path, .path_size = size };
		size_t n = door_answer(&door, &options, &request, text);
		assert_in_range(n, 1, DOOR_ANSWER_MAX);
		text[n] = '\0';
		assert_memory_equal(text, "HTTP/1.1 503 Service Unavailable\r\n", 34);
		const char *body = strstr(text, "\r\n\r\n");
		assert_non_null(body);
		body += 4;
		assert_int_equal(strtoul(value_of(text, "\r\nContent-Length: ", number, sizeof number), NULL, 10), strlen(body));
		assert_in_range(strtoul(value_of(text, "\r\nRetry-After: ", number, sizeof number), NULL, 10), 1, 5);
		value_of(text, "\r\nX-Request-Id: ", id, sizeof id);
		value_of(body, "\"request_id\":\"", again, sizeof again);
		assert_string_equal(id, again);
		assert_int_equal(strlen(id), 16);
		assert_string_not_equal(id, other);
		memcpy(other, id, sizeof other);
		snprintf(expected, sizeof expected, "{\"detail\":\"%s\",\"instance\":\"%s\",\"code\":\"overloaded\",\"request_id\":\"%s\"}", detail, path, id);
		assert_string_equal(body, expected);
		assert_null(strstr(text, "Connection"));
	}
	assert_in_range(made, 1, 10); /* once a second */
	door_free(&door);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_plain_read_is_understood), cmocka_unit_test(everything_else_takes_the_usual_way),
					    cmocka_unit_test(the_answer_is_like_any_other) };
	return cmocka_run_group_tests_name("door", tests, NULL, NULL);
}

/* webhook_post_test.c - one POST to a receiver that others chose: pinned to addresses that were checked, whatever its name says later,
 * whatever the receiver answers, and within its time. */
#include "services/gateway/webhook/webhook_post.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a receiver ----------------------------------------------------------------------------------------------------------------------- */

static struct {
	int fd;
	uint16_t port;
	pthread_t thread;
	const char *answer; /* NULL: none */
	size_t flood;       /* bytes of body behind it */
	atomic_int connections;
	char seen[8192];
} server;

static void serve(int fd)
{
	size_t n = 0;
	ssize_t got;
	memset(server.seen, 0, sizeof server.seen);
	while (!strstr(server.seen, "}") && (got = read(fd, server.seen + n, sizeof server.seen - 1 - n)) > 0)
		n += (size_t)got;
	if (!server.answer) { /* until the other end gives up */
		char byte;
		(void)!read(fd, &byte, 1);
		return;
	}
	(void)!write(fd, server.answer, strlen(server.answer));
	char block[4096];
	memset(block, 'x', sizeof block);
	for (size_t left = server.flood; left > 0; left -= left < sizeof block ? left : sizeof block)
		if (send(fd, block, left < sizeof block ? left : sizeof block, MSG_NOSIGNAL) <= 0)
			return;
}

static void *run_server(void *arg)
{
	(void)arg;
	for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0; close(fd)) {
		atomic_fetch_add(&server.connections, 1);
		serve(fd);
	}
	return NULL;
}

static int start_server(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	(void)state;
	server.fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(server.fd, (struct sockaddr *)&address, size) || listen(server.fd, 16) || getsockname(server.fd, (struct sockaddr *)&address, &size))
		return -1;
	server.port = ntohs(address.sin_port);
	return pthread_create(&server.thread, NULL, run_server, NULL);
}

static int stop_server(void **state)
{
	(void)state;
	shutdown(server.fd, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	close(server.fd);
	return 0;
}

/* ---- names --------------------------------------------------------------------------------------------------------------------------------- */

static const char *names[4]; /* what the next lookup says, NULL-ended */
static int lookup_code;
static int64_t lookup_ms;

static int lookup(const char *host, struct sockaddr_storage ret[WEBHOOK_ADDRESSES_MAX], size_t *ret_n, struct error *err)
{
	for (int64_t end = clock_mono_ms() + lookup_ms; clock_mono_ms() < end;)
		clock_sleep_ms(5);
	*ret_n = 0;
	if (lookup_code)
		return error_set(err, lookup_code, "the name %s does not exist", host);
	for (; names[*ret_n]; (*ret_n)++) {
		struct sockaddr_in v4 = { .sin_family = AF_INET };
		struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
		if (inet_pton(AF_INET, names[*ret_n], &v4.sin_addr) == 1)
			memcpy(&ret[*ret_n], &v4, sizeof v4);
		else if (inet_pton(AF_INET6, names[*ret_n], &v6.sin6_addr) == 1)
			memcpy(&ret[*ret_n], &v6, sizeof v6);
	}
	return 0;
}

/* ---- one post -------------------------------------------------------------------------------------------------------------------------------- */

static struct webhook_result result;
static bool ended;

static void on_posted(const struct webhook_result *r, void *arg)
{
	(void)arg;
	assert_false(ended);
	result = *r;
	ended = true;
}

static void post_to(const char *url, bool loopback, int64_t timeout_ms)
{
	struct webhook_poster_options options = { .rules = { .loopback = loopback, .ports = { 443 }, .port_count = 1 }, .timeout_ms = timeout_ms, .lookup = lookup };
	struct webhook_poster *poster = NULL;
	struct error err;
	const struct webhook_post post = { .url = url, .id = "msg_1", .signature = "v1,abc", .timestamp = 1700000000, .body = { (const uint8_t *)"{\"a\":1}", 7 } };
	assert_int_equal(webhook_poster_open(&options, &poster, &err), 0);
	ended = false;
	webhook_poster_start(poster, &post, on_posted, NULL);
	for (int64_t deadline = clock_mono_ms() + 60000; !ended && clock_mono_ms() < deadline;)
		webhook_poster_turn(poster, 50);
	assert_true(ended);
	assert_int_equal(webhook_poster_busy(poster), 0);
	webhook_poster_close(&poster);
}

static const char *url_of(const char *host)
{
	static char url[300];
	snprintf(url, sizeof url, "http://%s:%u/hook?x=1", host, server.port);
	return url;
}

static void says(const char *address, const char *second)
{
	names[0] = address;
	names[1] = second;
	names[2] = NULL;
	lookup_code = 0;
	lookup_ms = 0;
	server.flood = 0;
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	atomic_store(&server.connections, 0);
}

static void test_what_is_sent(void **state)
{
	(void)state;
	says("127.0.0.1", NULL);
	setenv("http_proxy", "http://127.0.0.1:1", 1); /* would take every request somewhere else */
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	post_to(url_of("hooks.test"), true, 20000);
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
	assert_int_equal(result.status, 200);
	assert_string_equal(result.error, "");
	assert_memory_equal(server.seen, "POST /hook?x=1 HTTP/1.1\r\n", 25);
	for (const char *const *line = (const char *const[]){ "\r\nContent-Type: application/json\r\n", "\r\nwebhook-id: msg_1\r\n", "\r\nwebhook-timestamp: 1700000000\r\n",
							      "\r\nwebhook-signature: v1,abc\r\n", "\r\nHost: hooks.test:", "\r\n\r\n{\"a\":1}", NULL };
	     *line; line++)
		if (!strstr(server.seen, *line))
			fail_msg("%s is not in %s", *line, server.seen);
	assert_null(strstr(server.seen, "Expect"));
}

static void test_addresses_that_are_refused(void **state)
{
	static const char *const bad[][2] = { { "10.0.0.1", NULL }, { "127.0.0.1", "10.0.0.1" }, { "127.0.0.1", "8.8.8.8" }, { "::ffff:127.0.0.1", NULL },
					      { "169.254.169.254", NULL }, { "8.8.8.8", NULL }, { NULL, NULL } };
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		says(bad[i][0], bad[i][1]);
		post_to(url_of("hooks.test"), true, 20000);
		assert_int_equal(result.status, 0);
		assert_non_null(strstr(result.error, "hooks.test has"));
		assert_int_equal(atomic_load(&server.connections), 0);
	}
	says("127.0.0.1", NULL);
	post_to("https://hooks.test/", false, 20000);
	assert_non_null(strstr(result.error, "may not go"));
	lookup_code = WEIR_NOT_FOUND;
	post_to(url_of("hooks.test"), true, 20000);
	assert_string_equal(result.error, "the name hooks.test does not exist");
	assert_int_equal(atomic_load(&server.connections), 0);
}

/* The system's own resolver would send "localhost" to this machine. What was looked up and checked is where it goes. */
static void test_the_connection_is_pinned(void **state)
{
	(void)state;
	says("127.0.0.9", NULL); /* nobody listens there */
	post_to(url_of("localhost"), true, 20000);
	assert_int_equal(result.status, 0);
	assert_int_equal(atomic_load(&server.connections), 0);
	/* Nor does a literal address in the URL go anywhere but where the check looked. */
	post_to(url_of("127.0.0.1"), true, 20000);
	assert_int_equal(result.status, 0);
	assert_int_equal(atomic_load(&server.connections), 0);
	says("127.0.0.1", NULL);
	post_to(url_of("127.0.0.1"), true, 20000);
	assert_int_equal(result.status, 200);
}

static void test_answers(void **state)
{
	(void)state;
	says("127.0.0.1", NULL);
	server.answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	post_to(url_of("hooks.test"), true, 20000);
	assert_int_equal(result.status, 302);
	assert_string_equal(result.error, "the receiver answered 302: redirects are not followed");
	assert_int_equal(atomic_load(&server.connections), 1);
	server.answer = "HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	post_to(url_of("hooks.test"), true, 20000);
	assert_true(result.status == 429 && result.retry_after_ms == 17000);
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\nConnection: close\r\n\r\n";
	server.flood = 9000000;
	post_to(url_of("hooks.test"), true, 20000);
	assert_int_equal(result.status, 200);
	assert_string_equal(result.error, "");
	server.flood = 0;
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nshort";
	post_to(url_of("hooks.test"), true, 20000);
	assert_true(result.status == 0 && result.error[0]);
	server.answer = "nonsense that is no HTTP\r\n\r\n";
	post_to(url_of("hooks.test"), true, 20000);
	assert_true(result.status == 0 && result.error[0]);
	assert_null(strstr(result.error, "nonsense"));
}

static void test_one_deadline_for_everything(void **state)
{
	(void)state;
	says("127.0.0.1", NULL);
	server.answer = NULL;
	post_to(url_of("hooks.test"), true, 300);
	assert_true(result.status == 0 && result.error[0] && result.took_ms >= 300);
	says("127.0.0.1", NULL);
	lookup_ms = 1000;
	post_to(url_of("hooks.test"), true, 300);
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.error, "looking up the name"));
	lookup_ms = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_sent),
		cmocka_unit_test(test_addresses_that_are_refused),
		cmocka_unit_test(test_the_connection_is_pinned),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_one_deadline_for_everything),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}

/* alert_test.c - alerts as messages, silences, and what is sent when several come at once. */
#include "daemon/alert_post.h"
#include "daemon/silence.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

#include <cmocka.h>

static struct config *parse(const char *alerts)
{
	struct config *config = NULL;
	struct error err = { 0 };
	char *yaml = xasprintf("bus: {redis_url: \"redis://127.0.0.1:1/0\"}\nalerts:\n%s", alerts);
	if (config_parse(yaml, strlen(yaml), "test", &config, &err))
		fail_msg("%s", err.text);
	free(yaml);
	return config;
}

static struct alert make(const char *text)
{
	struct alert a = { .state = ALERT_FIRING, .severity = ALERT_PAGE, .key = "gap dev 1", .runbook = "gap", .at_ms = 1700000000123 };
	snprintf(a.text, sizeof a.text, "%s", text);
	return a;
}

/* ---- messages --------------------------------------------------------------------------------------------------------------------------- */

static void test_links(void **state)
{
	static const struct {
		const char *setting, *link;
	} cases[] = { { "  cooldown: 1s", "docs/runbook/gap.md" },
		      { "  runbook_url: \"https://wiki/r\"", "https://wiki/r/gap.md" },
		      { "  runbook_url: \"https://wiki/r/\"", "https://wiki/r/gap.md" } };
	char link[320];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config *config = parse(cases[i].setting);
		alert_link(config, "gap", link);
		assert_string_equal(link, cases[i].link);
		config_free(&config);
	}
}

static void test_json_of_any_text(void **state)
{
	static const char *const texts[] = { "plain", "a \"quote\" and \\", "line\r\nline", "\x01\x02", "\xc3\xa4\xe2\x82\xac", "\xff\xfe", "</script>", "" };
	struct config *config = parse("  cooldown: 1s");
	struct alert many[30];
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct buf slack = BUF_INIT(1 << 20), json = BUF_INIT(1 << 20);
		struct alert one = make(texts[i]);
		alert_write_slack(config, "fetcher", &one, 1, &slack);
		alert_write_json(config, "fetcher", &one, 1, &json);
		yyjson_doc *doc = yyjson_read((const char *)slack.data, slack.size, 0);
		assert_non_null(doc);
		assert_non_null(yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "text")));
		yyjson_doc_free(doc);
		doc = yyjson_read((const char *)json.data, json.size, 0);
		yyjson_val *alert = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "alerts"));
		assert_string_equal(yyjson_get_str(yyjson_obj_get(alert, "severity")), "page");
		yyjson_doc_free(doc);
		buf_free(&slack);
		buf_free(&json);
	}
	for (size_t n = 1; n <= 30; n++) {
		struct buf json = BUF_INIT(1 << 20), slack = BUF_INIT(1 << 20);
		many[n - 1] = make("x");
		alert_write_json(config, "fetcher", many, n, &json);
		yyjson_doc *doc = yyjson_read((const char *)json.data, json.size, 0);
		assert_int_equal(yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "count")), n);
		assert_int_equal(yyjson_arr_size(yyjson_obj_get(yyjson_doc_get_root(doc), "alerts")), n < ALERTS_SHOWN ? n : ALERTS_SHOWN);
		yyjson_doc_free(doc);
		alert_write_slack(config, "fetcher", many, n, &slack);
		assert_int_equal(strstr(buf_str(&slack), "more: see the log") != NULL, n > ALERTS_SHOWN);
		buf_free(&json);
		buf_free(&slack);
	}
	config_free(&config);
}

/* Whatever an alert says, the head has our eight lines and their continuations, each short and of ASCII. */
static void test_mail_heads_hold(void **state)
{
	char longest[ALERT_TEXT];
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	const char *const texts[] = { "plain", "a\r\nBcc: everybody@example.com\r\n\r\nbody", "\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
				      longest, "\n.\n", "" };
	static const char *const names[] = { "From: ", "To: ", "Subject: ", "Date: ", "Message-ID: ", "Auto-Submitted: ", "MIME-Version: ", "Content-Type: ",
					     "Content-Transfer-Encoding: " };
	struct config *config = parse("  smtp_from: weir@example.com");
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct buf mail = BUF_INIT(1 << 20);
		struct alert one = make(texts[i]);
		size_t seen = 0;
		alert_write_mail(config, "fetcher", "a@example.com", &one, 1, 1700000000000, &mail);
		char *line = (char *)mail.data, *end;
		assert_non_null(strstr(line, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
		for (; (end = strstr(line, "\r\n")) && end != line; line = end + 2) {
			*end = '\0';
			assert_true(strlen(line) <= 78 && !strpbrk(line, "\r\n"));
			for (const char *p = line; *p; p++)
				assert_true(*p >= ' ' && *p <= '~');
			if (line[0] == ' ')
				continue;
			assert_true(seen < sizeof names / sizeof names[0] && strncmp(line, names[seen], strlen(names[seen])) == 0);
			seen++;
		}
		assert_int_equal(seen, sizeof names / sizeof names[0]);
		for (line += 2; (end = strstr(line, "\r\n")); line = end + 2)
			assert_true(end - line <= 76);
		buf_free(&mail);
	}
	config_free(&config);
}

/* ---- silences --------------------------------------------------------------------------------------------------------------------------- */

static void test_what_a_silence_covers(void **state)
{
	static const struct {
		const char *pattern, *key, *runbook;
		bool covered;
	} cases[] = {
		{ "gap dev 1", "gap dev 1", "gap", true }, { "gap dev *", "gap dev 17", "gap", true },    { "gap *", "gap dev 1", "gap", true },
		{ "gap", "something else", "gap", true },  { "gap", "gap dev 1", "other", false },        { "gap de", "gap dev 1", "other", false },
		{ "*", "anything", "any", true },          { "gap dev ?", "gap dev 12", "other", false }, { "gap dev ?", "gap dev 1", "other", true },
		{ "[", "[", "x", true },                   { "\\*", "x", "y", false },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct silence s = { .expires_ms = 1000 };
		snprintf(s.pattern, sizeof s.pattern, "%s", cases[i].pattern);
		if (silence_covers(&s, cases[i].key, cases[i].runbook, 999) != cases[i].covered)
			fail_msg("%s and %s", cases[i].pattern, cases[i].key);
		assert_false(silence_covers(&s, cases[i].key, cases[i].runbook, 1000));
	}
}

/* ---- sending ------------------------------------------------------------------------------------------------------------------------------ */

static struct {
	int fd;
	uint16_t port;
	pthread_t thread;
	pthread_mutex_t lock;
	int posts;
	char newest[65536];
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *run_server(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	(void)arg;
	for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0; close(fd)) {
		char text[sizeof server.newest] = "";
		size_t n = 0;
		ssize_t got;
		while (!strstr(text, "]}") && (got = read(fd, text + n, sizeof text - 1 - n)) > 0)
			text[n += (size_t)got] = '\0';
		pthread_mutex_lock(&server.lock);
		server.posts++;
		snprintf(server.newest, sizeof server.newest, "%s", text);
		pthread_mutex_unlock(&server.lock);
		(void)!write(fd, answer, sizeof answer - 1);
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

static int posts(void)
{
	pthread_mutex_lock(&server.lock);
	int n = server.posts;
	pthread_mutex_unlock(&server.lock);
	return n;
}

static void wait_for_posts(int n)
{
	for (int64_t deadline = clock_mono_ms() + 60000; posts() < n;) {
		assert_true(clock_mono_ms() < deadline);
		clock_sleep_ms(5);
	}
}

static struct daemon_ctx *context(const char *wait, struct config **ret)
{
	char *alerts = xasprintf("  group_wait: %s\n  cooldown: 1h\n  destinations: [{name: machine, kind: webhook, url: \"http://127.0.0.1:%u/\", severity: page}]", wait,
				 server.port);
	*ret = parse(alerts);
	free(alerts);
	server.posts = 0;
	return daemon_ctx_new("fetcher", *ret, NULL, 0);
}

/* What comes within the wait is one message; the same alert again within the cool-down is none; the other severity goes elsewhere. */
static void test_alerts_are_grouped(void **state)
{
	struct config *config;
	struct daemon_ctx *ctx = context("2s", &config);
	(void)state;
	for (int i = 0; i < 5; i++) {
		char key[32];
		snprintf(key, sizeof key, "gap dev %d", i);
		alert_raise(ctx, key, ALERT_FIRING, "gap", "blocks %d", i);
		alert_raise(ctx, key, ALERT_FIRING, "gap", "blocks %d", i);
		alert_raise(ctx, "a ticket", ALERT_FIRING, "webhooks", "not urgent");
		alert_raise(ctx, "never fired", ALERT_RESOLVED, "gap", "nothing to take back");
	}
	wait_for_posts(1);
	assert_non_null(strstr(server.newest, "\"count\":5,"));
	assert_null(strstr(server.newest, "not urgent"));
	alert_raise(ctx, "gap dev 0", ALERT_RESOLVED, "gap", "a change of state passes the cool-down");
	alert_raise(ctx, "gap dev 0", ALERT_FIRING, "gap", "and back");
	wait_for_posts(2);
	assert_non_null(strstr(server.newest, "\"count\":2,"));
	assert_true(strstr(server.newest, "resolved") < strstr(server.newest, "and back"));
	daemon_ctx_free(&ctx);
	assert_int_equal(posts(), 2);
	config_free(&config);
}

/* A process that ends sends what waits, without the wait. */
static void test_the_end_does_not_wait(void **state)
{
	struct config *config;
	struct daemon_ctx *ctx = context("5m", &config);
	(void)state;
	alert_raise(ctx, "gap dev 1", ALERT_FIRING, "gap", "last words");
	daemon_ctx_free(&ctx);
	assert_int_equal(posts(), 1);
	config_free(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_json_of_any_text),
		cmocka_unit_test(test_mail_heads_hold),
		cmocka_unit_test(test_what_a_silence_covers),
		cmocka_unit_test(test_alerts_are_grouped),
		cmocka_unit_test(test_the_end_does_not_wait),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}

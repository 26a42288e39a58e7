/* redis_tls_test.c - rediss://: a real Redis, and a real sentinel, that speak TLS only by certificates of an authority made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"
#include "support/certificate.h"

#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 60000
enum { MESSAGES = 20000, BODY = 1000, PATIENCE_MS = 20000 };

static struct redis_server server;
static int port;
static char authority[128], stranger[128];
static struct metrics *metrics;

static const char *in_folder(const char *name)
{
	static char path[4][160];
	static unsigned next;
	char *to = path[next++ % 4];
	snprintf(to, sizeof path[0], "%s/%s", server.dir, name);
	return to;
}

/* Signed by an authority that we trust, and one that we do not. */
static void make_certificates(void)
{
	struct certificate ca = certificate_make("weir test authority", NULL, 1), other = certificate_make("somebody else", NULL, 1);
	struct certificate own = certificate_make("localhost", &ca, 1);
	snprintf(authority, sizeof authority, "%s", in_folder("ca.pem"));
	snprintf(stranger, sizeof stranger, "%s", in_folder("stranger.pem"));
	certificate_write(&ca, authority);
	certificate_write(&other, stranger);
	certificate_write(&own, in_folder("own.pem"));
	certificate_write_key(&own, in_folder("own.key"), NULL);
	certificate_free(&ca);
	certificate_free(&other);
	certificate_free(&own);
}

static int start(void **state)
{
	(void)state;
	redis_server_start(&server);
	make_certificates();
	port = redis_server_free_port();
	(void)redis_server_ask(&server, NULL, "CONFIG SET tls-cert-file %s tls-key-file %s tls-ca-cert-file %s tls-auth-clients no tls-port %d",
			       in_folder("own.pem"), in_folder("own.key"), authority, port);
	return setenv("SSL_CERT_FILE", authority, 1);
}

static int stop(void **state)
{
	(void)state;
	redis_server_stop(&server);
	return 0;
}

static int flush(void **state)
{
	(void)state;
	setenv("SSL_CERT_FILE", authority, 1);
	metrics = metrics_new();
	bus_register_metrics(metrics);
	return (int)redis_server_ask(&server, NULL, "FLUSHALL");
}

static int forget(void **state)
{
	(void)state;
	metrics_free(&metrics);
	return 0;
}

static struct bus *open_bus(const char *host, const char *user, const char *password, int64_t timeout_ms)
{
	char url[96];
	struct bus *bus;
	struct error err = { 0 };
	snprintf(url, sizeof url, "rediss://%s:%d", host, port);
	const struct bus_options o = { .url = url,
				       .worker = "w",
				       .username = user,
				       .password = password,
				       .command_timeout_ms = timeout_ms,
				       .metrics = metrics,
				       .max_backlog = 10 * MESSAGES };
	if (bus_open(&o, &bus, &err) != 0)
		fail_msg("%s", err.text);
	return bus;
}

/* -- handling ------------------------------------------------------------------------------------------------------------------------- */

static unsigned handled;

static int count(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	if (d->body.size != BODY)
		return error_set(err, WEIR_INVALID, "%zu bytes came", d->body.size);
	handled++;
	return 0;
}

static const uint16_t types[] = { MESSAGE_CHAIN_HEAD };
static const struct bus_handler handlers[] = { { "count", types, 1, count, NULL, NULL } };

static void handle_until(struct bus_subscription *s, unsigned n)
{
	struct error err = { 0 };
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; handled < n;) {
		int r = bus_subscription_turn(s, 100, &err);
		if (clock_mono_ms() > end || (r != 0 && r != WEIR_FENCED && !error_retriable(r)))
			fail_msg("%u of %u: %s", handled, n, err.text);
	}
}

static struct bus_subscription *subscribe(struct bus *bus, enum bus_order order)
{
	const struct bus_subscription_options o = {
		.chain = "test", .topic = TOPIC_BLOCKS, .subscription = "s", .order = order, .handlers = handlers, .handler_count = 1
	};
	struct bus_subscription *s;
	struct error err = { 0 };
	if (bus_subscription_open(bus, &o, &s, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

/* -- what TLS must not change ------------------------------------------------------------------------------------------------------------ */

/* More than a socket takes at once, on both ways of publishing: what waits to be written grows and moves meanwhile. */
static void much_at_once_comes_over_one_connection(void **state)
{
	(void)state;
	static char text[BODY + 1];
	struct bus *writer = open_bus("localhost", NULL, NULL, PATIENCE_MS), *reader = open_bus("localhost", NULL, NULL, PATIENCE_MS);
	struct bus_publisher *p;
	struct error err = { 0 };
	struct frame *f = xcalloc(MESSAGES, sizeof *f);
	memset(text, 'x', BODY);
	for (unsigned i = 0; i < MESSAGES; i++)
		f[i] = fixture_message(MESSAGE_CHAIN_HEAD, "", text);
	assert_int_equal(bus_check(writer, &err), 0);
	assert_int_equal(bus_publisher_open(writer, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	if (bus_publish(p, f, MESSAGES - 100, &err) != 0 || bus_publish(p, f + MESSAGES - 100, 100, &err) != 0)
		fail_msg("%s", err.text);
	for (int order = BUS_ORDERED; order <= BUS_SHARED; order++) {
		handled = 0;
		struct bus_subscription_options o = { .chain = "test",
						      .topic = TOPIC_BLOCKS,
						      .subscription = order == BUS_ORDERED ? "o" : "s",
						      .order = (enum bus_order)order,
						      .handlers = handlers,
						      .handler_count = 1 };
		struct bus_subscription *s;
		assert_int_equal(bus_subscription_open(reader, &o, &s, &err), 0);
		handle_until(s, MESSAGES);
		bus_subscription_close(&s);
	}
	assert_int_equal(metric_count(metrics_get(metrics, "weir_bus_reconnects_total", NULL, NULL, NULL)), 0);
	free(f);
	bus_publisher_close(&p);
	bus_close(&writer);
	bus_close(&reader);
}

static void a_broken_connection_is_made_again(void **state)
{
	(void)state;
	static char text[BODY + 1];
	struct bus *writer = open_bus("localhost", NULL, NULL, PATIENCE_MS), *reader = open_bus("localhost", NULL, NULL, PATIENCE_MS);
	struct bus_subscription *s = subscribe(reader, BUS_ORDERED);
	memset(text, 'x', BODY);
	handled = 0;
	for (unsigned i = 1; i <= 5; i++) {
		fixture_publish(writer, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "", text));
		handle_until(s, i);
		(void)redis_server_ask(&server, NULL, "CLIENT KILL TYPE normal SKIPME yes");
	}
	bus_subscription_close(&s);
	bus_close(&writer);
	bus_close(&reader);
}

/* OpenSSL has one queue of errors for a thread: what a program's own use of it left there is no failure of this connection. */
static void errors_of_others_break_no_connection(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus = open_bus("localhost", NULL, NULL, PATIENCE_MS);
	assert_int_equal(bus_ping(bus, &err), 0);
	for (int i = 0; i < 5; i++) {
		ERR_raise(ERR_LIB_USER, 1);
		if (bus_ping(bus, &err) != 0)
			fail_msg("%s", err.text);
	}
	ERR_clear_error();
	assert_int_equal(metric_count(metrics_get(metrics, "weir_bus_reconnects_total", NULL, NULL, NULL)), 0);
	bus_close(&bus);
}

static void an_account_is_shown_over_it(void **state)
{
	(void)state;
	struct error err = { 0 };
	(void)redis_server_ask(&server, NULL, "ACL SETUSER weir on >secret ~weir:* +@all");
	struct bus *bus = open_bus("localhost", "weir", "secret", PATIENCE_MS), *wrong = open_bus("localhost", "weir", "guess", PATIENCE_MS);
	assert_int_equal(bus_check(bus, &err), 0);
	assert_int_equal(bus_ping(wrong, &err), WEIR_PERMISSION);
	bus_close(&bus);
	bus_close(&wrong);
}

/* -- who is not believed ------------------------------------------------------------------------------------------------------------------- */

static void refuses(const char *host, const char *words)
{
	struct error err = { 0 };
	struct bus *bus = open_bus(host, NULL, NULL, 2000);
	assert_int_equal(bus_ping(bus, &err), WEIR_UNAVAILABLE);
	if (!strstr(err.text, "TLS") || !strstr(err.text, words))
		fail_msg("%s", err.text);
	bus_close(&bus);
}

static void a_certificate_of_another_authority_is_refused(void **state)
{
	(void)state;
	setenv("SSL_CERT_FILE", stranger, 1);
	refuses("localhost", "certificate verify failed");
}

static void a_certificate_of_another_name_is_refused(void **state)
{
	(void)state;
	refuses("127.0.0.1", "certificate verify failed");
}

static void a_server_without_tls_is_told(void **state)
{
	(void)state;
	int plain = redis_server_free_port(), right = port;
	redis_server_listen(&server, plain);
	port = plain;
	refuses("localhost", "TLS");
	port = right;
	redis_server_listen(&server, 0);
}

/* -- sentinel ---------------------------------------------------------------------------------------------------------------------------------- */

static pid_t start_sentinel(int at)
{
	char path[160];
	snprintf(path, sizeof path, "%s", in_folder("sentinel.conf"));
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
		"port 0\ntls-port %d\nbind 127.0.0.1\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\ntls-auth-clients no\ntls-replication "
		"yes\n"
		"sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel monitor m localhost %d 1\n",
		at, in_folder("own.pem"), in_folder("own.key"), authority, port);
	assert_int_equal(fclose(f), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!freopen("/dev/null", "a", stdout))
			_exit(126);
		execlp("redis-server", "redis-server", path, "--sentinel", (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void sentinels_are_asked_over_it(void **state)
{
	(void)state;
	char url[96];
	struct bus *bus;
	struct error err = { 0 };
	int at = redis_server_free_port(), r;
	pid_t sentinel = start_sentinel(at);
	snprintf(url, sizeof url, "rediss+sentinel://localhost:%d/m", at);
	const struct bus_options o = { .url = url, .worker = "w", .command_timeout_ms = 1000 };
	assert_int_equal(bus_open(&o, &bus, NULL), 0);
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	do
		r = bus_ping(bus, &err);
	while (r != 0 && clock_mono_ms() < end);
	kill(sentinel, SIGKILL);
	waitpid(sentinel, NULL, 0);
	if (r != 0)
		fail_msg("%s", err.text);
	bus_close(&bus);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
#define TEST(f) cmocka_unit_test_setup_teardown(f, flush, forget)
	const struct CMUnitTest tests[] = {
		TEST(much_at_once_comes_over_one_connection),
		TEST(a_broken_connection_is_made_again),
		TEST(errors_of_others_break_no_connection),
		TEST(an_account_is_shown_over_it),
		TEST(a_certificate_of_another_authority_is_refused),
		TEST(a_certificate_of_another_name_is_refused),
		TEST(a_server_without_tls_is_told),
		TEST(sentinels_are_asked_over_it),
	};
	return cmocka_run_group_tests_name("redis over TLS", tests, start, stop);
}

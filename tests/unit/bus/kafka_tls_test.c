/* kafka_tls_test.c - TLS to brokers and accounts: librdkafka's mock cluster behind a TLS proxy of ours (the mock has neither TLS nor accounts), and what
 * librdkafka is told. The proxy is what a client meets first; the brokers' own addresses are the mock's, so only the first connection is seen here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/kafka/kafka.h"
#include "support/kafka_broker.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECRET "opensesame-not-in-any-word"

static struct kafka_broker broker;
static char folder[64];
static int listener, port;
static SSL_CTX *context;

static int on_loopback(int to)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (to > 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		(void)close(fd);
		return -1;
	}
	if (to == 0) {
		socklen_t size = sizeof a;
		if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&a, &size) != 0)
			abort();
		port = ntohs(a.sin_port);
	}
	return fd;
}

/* Bytes both ways until one side has ended. */
static void relay(SSL *ssl, int client, int server)
{
	char bytes[16384];
	for (;;) {
		struct pollfd fds[2] = { { .fd = client, .events = POLLIN }, { .fd = server, .events = POLLIN } };
		if (SSL_pending(ssl) == 0 && poll(fds, 2, -1) < 0)
			return;
		if (SSL_pending(ssl) > 0 || fds[0].revents) {
			int n = SSL_read(ssl, bytes, sizeof bytes);
			if (n <= 0 || write(server, bytes, (size_t)n) != n)
				return;
		}
		if (fds[1].revents) {
			ssize_t n = read(server, bytes, sizeof bytes);
			if (n <= 0 || SSL_write(ssl, bytes, (int)n) != n)
				return;
		}
	}
}

static void *serve_one(void *arg)
{
	int client = (int)(intptr_t)arg, server = on_loopback(atoi(strrchr(broker.hosts, ':') + 1));
	SSL *ssl = SSL_new(context);
	(void)SSL_set_fd(ssl, client);
	if (server >= 0 && SSL_accept(ssl) == 1)
		relay(ssl, client, server);
	SSL_free(ssl);
	(void)close(client);
	(void)close(server);
	return NULL;
}

static void *serve(void *arg)
{
	(void)arg;
	for (int client; (client = accept(listener, NULL, NULL)) >= 0;) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)client) != 0)
			abort();
		(void)pthread_detach(thread);
	}
	return NULL;
}

static void make(const char *command)
{
	char whole[600];
	snprintf(whole, sizeof whole, "cd '%s' && { %s; } >log 2>&1", folder, command);
	assert_int_equal(system(whole), 0);
}

/* An authority, another one, and what the first has signed for 127.0.0.1. */
static int setup(void **state)
{
	static pthread_t thread;
	char path[128];
	(void)state;
	kafka_broker_start(&broker);
	snprintf(folder, sizeof folder, "/tmp/weir-kafka-tls-XXXXXX");
	assert_non_null(mkdtemp(folder));
	for (int i = 0; i < 2; i++) {
		char command[400];
		snprintf(command, sizeof command,
			 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=%s -keyout %s.key -out %s.pem",
			 i ? "other" : "ca", i ? "other" : "ca", i ? "other" : "ca");
		make(command);
	}
	make("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=broker -keyout broker.key -out broker.csr && "
	     "echo subjectAltName=IP:127.0.0.1 >names && "
	     "openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out broker.pem && echo no certificate >wrong.pem");
	context = SSL_CTX_new(TLS_server_method());
	snprintf(path, sizeof path, "%s/broker.pem", folder);
	assert_int_equal(SSL_CTX_use_certificate_file(context, path, SSL_FILETYPE_PEM), 1);
	snprintf(path, sizeof path, "%s/broker.key", folder);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM), 1);
	listener = on_loopback(0);
	return pthread_create(&thread, NULL, serve, NULL);
}

static int teardown(void **state)
{
	char command[128];
	(void)state;
	kafka_broker_stop(&broker);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

/* In the URL, PORT is the proxy's and DIR the folder of certificates. */
static int open_with(const char *pattern, const char *user, const char *password, struct bus **ret, struct error *err)
{
	struct buf url = BUF_INIT(400);
	for (const char *at = pattern; *at;) {
		if (strncmp(at, "PORT", 4) == 0) {
			buf_printf(&url, "%d", port);
			at += 4;
		} else if (strncmp(at, "DIR", 3) == 0) {
			buf_add_str(&url, folder);
			at += 3;
		} else {
			buf_add(&url, at++, 1);
		}
	}
	const struct bus_options o = { .url = buf_str(&url), .username = user, .password = password, .worker = "w", .command_timeout_ms = 2000 };
	int r = bus_open(&o, ret, err);
	buf_free(&url);
	return r;
}

static void the_brokers_certificate_is_checked(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus;
	int r = WEIR_UNAVAILABLE;
	assert_int_equal(open_with("kafkas://127.0.0.1:PORT/?ca=DIR/ca.pem", NULL, NULL, &bus, &err), 0);
	for (int64_t deadline = clock_mono_ms() + 60000; r != 0 && error_retriable(r) && clock_mono_ms() < deadline;)
		r = bus_ping(bus, &err);
	if (r != 0)
		fail_msg("%d: %s", r, err.text);
	bus_close(&bus);
	assert_int_equal(open_with("kafkas://127.0.0.1:PORT/?ca=DIR/other.pem", NULL, NULL, &bus, &err), 0);
	bool said = false;
	for (int64_t deadline = clock_mono_ms() + 60000; !said && clock_mono_ms() < deadline;) {
		r = bus_ping(bus, &err);
		assert_true(r != 0 && error_retriable(r));
		said = strstr(err.text, "certificate verify failed") != NULL;
	}
	if (!said)
		fail_msg("%s", err.text);
	bus_close(&bus);
}

static void a_certificate_of_another_name_is_refused(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus;
	bool said = false;
	assert_int_equal(open_with("kafkas://localhost:PORT/?ca=DIR/ca.pem", NULL, NULL, &bus, &err), 0);
	for (int64_t deadline = clock_mono_ms() + 60000; !said && clock_mono_ms() < deadline;) {
		int r = bus_ping(bus, &err);
		assert_true(r != 0 && error_retriable(r));
		said = strstr(err.text, "certificate verify failed") != NULL;
	}
	if (!said)
		fail_msg("%s", err.text);
	bus_close(&bus);
}

static void files_that_are_wrong_are_said_at_open(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
		{ "kafkas://127.0.0.1:PORT/?ca=DIR/none.pem", "none.pem cannot be read: No such file" },
		{ "kafkas://127.0.0.1:PORT/?ca=DIR/wrong.pem", "ssl.ca.location" },
		{ "kafkas://127.0.0.1:PORT/?cert=DIR/none.pem&key=/x", "none.pem cannot be read: No such file" },
		{ "kafkas://127.0.0.1:PORT/?cert=DIR/broker.pem&key=/none.key", "key=/none.key cannot be read" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct error err = { 0 };
		struct bus *bus;
		assert_int_equal(open_with(rows[i][0], NULL, NULL, &bus, &err), WEIR_CONFIG);
		assert_null(bus);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i][1]);
	}
}

static const char *value_of(const struct bus *bus, const char *name)
{
	struct kafka_setting settings[KAFKA_SECURITY_MAX];
	size_t n = kafka_security(bus, settings);
	for (size_t i = 0; i < n; i++)
		if (strcmp(settings[i].name, name) == 0)
			return settings[i].value;
	return "";
}

static void what_librdkafka_is_told(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct bus *bus;
	static const struct {
		const char *url, *user, *password, *protocol, *mechanism, *name, *names;
	} rows[] = {
		{ "kafka://127.0.0.1:PORT", NULL, NULL, "", "", "", "" },
		{ "kafka://127.0.0.1:PORT", "u", SECRET, "sasl_plaintext", "SCRAM-SHA-512", "u", "" },
		{ "kafka://of:url@127.0.0.1:PORT/?sasl=SCRAM-SHA-256", NULL, NULL, "sasl_plaintext", "SCRAM-SHA-256", "of", "" },
		{ "kafka://of:url@127.0.0.1:PORT", "u", SECRET, "sasl_plaintext", "SCRAM-SHA-512", "u", "" },
		{ "kafkas://127.0.0.1:PORT/?ca=DIR/ca.pem", NULL, NULL, "ssl", "", "", "https" },
		{ "kafkas://127.0.0.1:PORT/?ca=DIR/ca.pem&sasl=PLAIN", "u", SECRET, "sasl_ssl", "PLAIN", "u", "https" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (open_with(rows[i].url, rows[i].user, rows[i].password, &bus, &err) != 0)
			fail_msg("%zu: %s", i, err.text);
		assert_string_equal(value_of(bus, "security.protocol"), rows[i].protocol);
		assert_string_equal(value_of(bus, "sasl.mechanism"), rows[i].mechanism);
		assert_string_equal(value_of(bus, "sasl.username"), rows[i].name);
		assert_string_equal(value_of(bus, "sasl.password"), rows[i].user ? rows[i].password : *rows[i].name ? "url" : "");
		assert_string_equal(value_of(bus, "ssl.endpoint.identification.algorithm"), rows[i].names);
		bus_close(&bus);
	}
}

/* The mock knows no accounts: it refuses them, and nobody tells the password. */
static void a_password_stands_in_no_error(void **state)
{
	(void)state;
	static const char *const urls[] = { "kafkas://127.0.0.1:PORT/?ca=DIR/ca.pem", "kafka://u:" SECRET "@127.0.0.1:PORT/?session_ms=6000" };
	struct error err = { 0 };
	struct bus *bus;
	assert_int_equal(open_with("kafka://127.0.0.1:PORT", "u", NULL, &bus, &err), WEIR_CONFIG);
	assert_non_null(strstr(err.text, "go together"));
	assert_int_equal(open_with("kafka://127.0.0.1:PORT/?sasl=PLAIN", "u", SECRET, &bus, &err), WEIR_CONFIG);
	assert_null(strstr(err.text, SECRET));
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(open_with(urls[i], i ? NULL : "u", i ? NULL : SECRET, &bus, &err), 0);
		assert_int_not_equal(bus_ping(bus, &err), 0);
		assert_null(strstr(err.text, SECRET));
		assert_int_equal(bus_trim(bus, "c", "t", 1, &err), WEIR_UNSUPPORTED);
		assert_null(strstr(err.text, SECRET));
		bus_close(&bus);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_brokers_certificate_is_checked),    cmocka_unit_test(a_certificate_of_another_name_is_refused),
		cmocka_unit_test(files_that_are_wrong_are_said_at_open), cmocka_unit_test(what_librdkafka_is_told),
		cmocka_unit_test(a_password_stands_in_no_error),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

/* tls_test.c - TLS of a listener: who may come in, files that change, and bytes that arrive whole however little the peer takes. */
#include "services/gateway/http/channel.h"
#include "services/gateway/http/tls.h"
#include "support/certificate.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct metric_def defs[] = {
	{ "weir_gateway_tls_handshakes_total", METRIC_COUNTER, "", { "listener", "result" }, NULL },
	{ "weir_gateway_tls_reloads_total", METRIC_COUNTER, "", { "listener", "result" }, NULL },
	{ "weir_gateway_tls_certificate_end_seconds", METRIC_GAUGE, "", { "listener" }, NULL },
};

static struct fixture {
	char folder[64], certificate[96], key[96], ca[96], locked[96];
	struct certificate authority, server, client, stranger;
	struct metrics *metrics;
	struct log log;
	struct tls_options options;
} f;

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	snprintf(f.folder, sizeof f.folder, "/tmp/weir-tls-XXXXXX");
	assert_non_null(mkdtemp(f.folder));
	snprintf(f.certificate, sizeof f.certificate, "%s/certificate.pem", f.folder);
	snprintf(f.key, sizeof f.key, "%s/key.pem", f.folder);
	snprintf(f.ca, sizeof f.ca, "%s/ca.pem", f.folder);
	snprintf(f.locked, sizeof f.locked, "%s/locked.pem", f.folder);
	f.authority = certificate_make("authority", NULL, 30);
	f.server = certificate_make("server", &f.authority, 30);
	f.client = certificate_make("client", &f.authority, 30);
	f.stranger = certificate_make("stranger", NULL, 30);
	certificate_write(&f.authority, f.ca);
	certificate_write_key(&f.server, f.locked, "secret");
	f.metrics = metrics_new();
	metrics_register(f.metrics, defs, sizeof defs / sizeof defs[0]);
	f.log = (struct log){ .process = "test" };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	const char *const paths[] = { f.certificate, f.key, f.ca, f.locked };
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		unlink(paths[i]);
	rmdir(f.folder);
	certificate_free(&f.authority);
	certificate_free(&f.server);
	certificate_free(&f.client);
	certificate_free(&f.stranger);
	metrics_free(&f.metrics);
	return 0;
}

static int fresh_files(void **state)
{
	(void)state;
	certificate_write(&f.server, f.certificate);
	certificate_write_key(&f.server, f.key, NULL);
	f.options = (struct tls_options){ .setting = "gateway.tls", .certificate = f.certificate, .key = f.key, .client_ca = "", .metrics = f.metrics, .log = &f.log };
	return 0;
}

static struct tls *opened(void)
{
	struct tls *tls;
	struct error err = { 0 };
	if (tls_open(&f.options, &tls, &err) != 0)
		print_error("%s\n", err.text);
	assert_int_equal(err.code, 0);
	return tls;
}

/* ---- a client ------------------------------------------------------------------------------------------------------------------------ */

struct peers {
	struct channel server;
	SSL_CTX *context;
	SSL *client;
	int fd;
	const char *reason; /* of a refusal */
};

static struct peers connect_to(struct tls *tls)
{
	int fds[2];
	struct peers p = { .context = SSL_CTX_new(TLS_client_method()) };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p.fd = fds[1];
	p.server = (struct channel){ .fd = fds[0], .tls = tls_accept(tls, fds[0]) };
	assert_non_null(p.server.tls);
	assert_int_equal(SSL_CTX_load_verify_file(p.context, f.ca), 1);
	SSL_CTX_set_verify(p.context, SSL_VERIFY_PEER, NULL);
	return p;
}

static void show_certificate(const struct peers *p, const struct certificate *c)
{
	assert_int_equal(SSL_CTX_use_certificate(p->context, c->x509), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(p->context, c->key), 1);
}

/* True: both sides are through, and a byte went over. */
static bool shake(struct peers *p)
{
	enum channel_handshake state = CHANNEL_WAITS;
	uint8_t byte = 0;
	p->client = SSL_new(p->context);
	SSL_set_fd(p->client, p->fd);
	for (int i = 0; i < 50 && state == CHANNEL_WAITS; i++) {
		ERR_clear_error();
		SSL_connect(p->client);
		state = channel_shake_hands(&p->server, &p->reason);
	}
	ERR_clear_error();
	return state == CHANNEL_OPEN && SSL_connect(p->client) == 1 && SSL_write(p->client, "x", 1) == 1 && channel_read(&p->server, &byte, 1) == 1 && byte == 'x';
}

static void part(struct peers *p)
{
	channel_close(&p->server);
	SSL_free(p->client);
	SSL_CTX_free(p->context);
	close(p->fd);
	ERR_clear_error();
}

/* ---- tests --------------------------------------------------------------------------------------------------------------------------- */

static void test_versions_ciphers_and_protocols(void **state)
{
	static const struct {
		int most;
		const char *ciphers, *protocols; /* ALPN; NULL: none is offered */
		bool good;
	} rows[] = {
		{ TLS1_3_VERSION, NULL, NULL, true },
		{ TLS1_3_VERSION, NULL, "\x02h2\x08http/1.1", true },
		{ TLS1_3_VERSION, NULL, "\x02h2", false },
		{ TLS1_2_VERSION, NULL, NULL, true },
		{ TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", NULL, true },
		{ TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA", NULL, false }, /* CBC */
		{ TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA384", NULL, false },
		{ TLS1_2_VERSION, "AES128-GCM-SHA256", NULL, false }, /* no forward secrecy */
		{ TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false },
	};
	(void)state;
	struct tls *tls = opened();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct peers p = connect_to(tls);
		SSL_CTX_set_min_proto_version(p.context, TLS1_VERSION);
		SSL_CTX_set_max_proto_version(p.context, rows[i].most);
		if (rows[i].ciphers)
			assert_int_equal(SSL_CTX_set_cipher_list(p.context, rows[i].ciphers), 1);
		if (rows[i].protocols)
			SSL_CTX_set_alpn_protos(p.context, (const unsigned char *)rows[i].protocols, (unsigned)strlen(rows[i].protocols));
		bool good = shake(&p);
		if (good != rows[i].good)
			print_error("row %zu\n", i);
		assert_int_equal(good, rows[i].good);
		part(&p);
	}
	tls_close(&tls);
}

static void test_client_certificates(void **state)
{
	struct certificate late = certificate_make("late", &f.authority, 0);
	X509_gmtime_adj(X509_getm_notAfter(late.x509), -60);
	X509_sign(late.x509, f.authority.key, EVP_sha256());
	const struct {
		const struct certificate *shown; /* NULL: none */
		bool required, optional;
	} rows[] = { { NULL, false, true }, { &f.client, true, true }, { &f.stranger, false, false }, { &late, false, false } };
	(void)state;
	for (int required = 0; required < 2; required++) {
		f.options.client_ca = f.ca;
		f.options.client_required = required;
		struct tls *tls = opened();
		for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
			struct peers p = connect_to(tls);
			if (rows[i].shown)
				show_certificate(&p, rows[i].shown);
			assert_int_equal(shake(&p), required ? rows[i].required : rows[i].optional);
			part(&p);
		}
		tls_close(&tls);
	}
	certificate_free(&late);
}

static void wrong(const char *certificate, const char *key, const char *ca, const char *word, const char *path)
{
	struct tls *tls;
	struct error err = { 0 };
	struct tls_options options = f.options;
	options.certificate = certificate;
	options.key = key;
	options.client_ca = ca;
	assert_int_equal(tls_open(&options, &tls, &err), WEIR_CONFIG);
	assert_null(tls);
	if (!strstr(err.text, word) || !strstr(err.text, path))
		print_error("no %s, %s in: %s\n", word, path, err.text);
	assert_non_null(strstr(err.text, word));
	assert_non_null(strstr(err.text, path));
}

static void test_wrong_files_are_named(void **state)
{
	(void)state;
	wrong("/nonexistent.pem", f.key, "", "gateway.tls.certificate: /nonexistent.pem", "No such file");
	wrong(f.key, f.key, "", "gateway.tls.certificate", f.key);
	wrong(f.certificate, "/nonexistent.pem", "", "gateway.tls.key", "/nonexistent.pem");
	wrong(f.certificate, f.certificate, "", "gateway.tls.key", f.certificate);
	wrong(f.certificate, f.locked, "", "gateway.tls.key", "without a passphrase");
	wrong(f.ca, f.key, "", "gateway.tls.key", "mismatch");
	wrong(f.certificate, f.key, f.key, "gateway.tls.client_ca", f.key);
}

static const char *name_of(const struct peers *p, char ret[64])
{
	X509 *shown = SSL_get1_peer_certificate(p->client);
	assert_non_null(shown);
	X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, ret, 64);
	X509_free(shown);
	return ret;
}

static uint64_t reloads(const char *result)
{
	return metric_count(metrics_get(f.metrics, "weir_gateway_tls_reloads_total", "gateway.tls", result, NULL));
}

static void test_changed_files_are_used_and_wrong_ones_are_not(void **state)
{
	char name[64];
	(void)state;
	struct tls *tls = opened();
	struct peers before = connect_to(tls);
	assert_true(shake(&before));
	tls_turn(tls);
	assert_int_equal(reloads("done"), 0);

	struct certificate next = certificate_make("the next one", &f.authority, 60);
	certificate_write(&next, f.certificate); /* half of it */
	tls_turn(tls);
	tls_turn(tls);
	assert_int_equal(reloads("failed"), 1);
	struct peers between = connect_to(tls);
	assert_true(shake(&between));
	assert_string_equal(name_of(&between, name), "server");

	certificate_write_key(&next, f.key, NULL);
	tls_turn(tls);
	assert_int_equal(reloads("done"), 1);
	double left = metric_value(metrics_get(f.metrics, "weir_gateway_tls_certificate_end_seconds", "gateway.tls", NULL, NULL)) - (double)time(NULL);
	assert_true(left > 59 * 86400.0 && left < 61 * 86400.0);
	struct peers after = connect_to(tls);
	assert_true(shake(&after));
	assert_string_equal(name_of(&after, name), "the next one");

	/* Who was there before goes on. */
	uint8_t byte;
	assert_int_equal(SSL_write(before.client, "y", 1), 1);
	assert_int_equal(channel_read(&before.server, &byte, 1), 1);
	part(&before);
	part(&between);
	part(&after);
	tls_close(&tls);
	certificate_free(&next);
}

static void test_a_handshake_byte_by_byte(void **state)
{
	(void)state;
	struct tls *tls = opened();
	struct peers p = connect_to(tls);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	p.client = SSL_new(p.context);
	SSL_set_bio(p.client, in, out);
	enum channel_handshake at = CHANNEL_WAITS;
	for (int i = 0; i < 20000 && at == CHANNEL_WAITS; i++) {
		uint8_t data[4096];
		ssize_t n;
		while ((n = recv(p.fd, data, sizeof data, 0)) > 0)
			BIO_write(in, data, (int)n);
		ERR_clear_error();
		SSL_connect(p.client);
		if (BIO_read(out, data, 1) == 1)
			assert_int_equal(send(p.fd, data, 1, 0), 1);
		at = channel_shake_hands(&p.server, &p.reason);
	}
	assert_int_equal(at, CHANNEL_OPEN);
	part(&p);
	tls_close(&tls);
}

static void test_plain_http_is_told_what_to_do(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	char answer[1024] = "";
	(void)state;
	struct tls *tls = opened();
	struct peers p = connect_to(tls);
	assert_int_equal(send(p.fd, request, sizeof request - 1, 0), sizeof request - 1);
	assert_int_equal(channel_shake_hands(&p.server, &p.reason), CHANNEL_REFUSED);
	assert_string_equal(p.reason, "http request");
	assert_true(recv(p.fd, answer, sizeof answer - 1, 0) > 0);
	assert_non_null(strstr(answer, "HTTP/1.1 400 "));
	const char *size = strstr(answer, "Content-Length: "), *body = strstr(answer, "\r\n\r\n");
	assert_true(size && body && strtoul(size + 16, NULL, 10) == strlen(body + 4));
	part(&p);
	/* And what is no protocol at all. */
	p = connect_to(tls);
	assert_int_equal(send(p.fd, "\x16\x03\x01 nonsense nonsense", 20, 0), 20);
	shutdown(p.fd, SHUT_WR);
	assert_int_equal(channel_shake_hands(&p.server, &p.reason), CHANNEL_REFUSED);
	part(&p);
	tls_close(&tls);
}

/* Reads what is there; how many bytes of the pattern arrived so far is *at. */
static void take(const struct peers *p, size_t most, size_t *at)
{
	uint8_t data[5000];
	while (most > 0) {
		ERR_clear_error();
		int n = SSL_read(p->client, data, (int)(most < sizeof data ? most : sizeof data));
		if (n <= 0)
			return;
		for (int i = 0; i < n; i++, ++*at)
			if (data[i] != (uint8_t)(*at * 31 + *at / 251)) {
				print_error("byte %zu is wrong\n", *at);
				fail();
			}
		most -= (size_t)n;
	}
}

/* Pieces of every size out of moving memory, to a peer that takes a little now and then. */
static void test_bytes_arrive_whole_however_little_is_taken(void **state)
{
	const size_t total = 3 << 20;
	(void)state;
	struct tls *tls = opened();
	struct peers p = connect_to(tls);
	int small = 4096;
	setsockopt(p.server.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	assert_true(shake(&p));
	uint8_t *pattern = xmalloc(total);
	for (size_t i = 0; i < total; i++)
		pattern[i] = (uint8_t)(i * 31 + i / 251);
	size_t sent = 0, got = 0, waits = 0;
	for (size_t turn = 0; sent < total; turn++) {
		size_t sizes[3] = { turn % 7 == 0 ? 1 : turn * 577 % 40000, turn % 3 ? 0 : 5, 3000 }, size = 0;
		struct iovec parts[3];
		uint8_t *moved[3];
		if (p.server.owed > sizes[0])
			sizes[0] = p.server.owed;
		for (int i = 0; i < 3; i++) {
			sizes[i] = sizes[i] < total - sent - size ? sizes[i] : total - sent - size;
			moved[i] = xmemdup(pattern + sent + size, sizes[i]);
			parts[i] = (struct iovec){ moved[i], sizes[i] };
			size += sizes[i];
		}
		ssize_t n = channel_write(&p.server, parts, 3);
		assert_true(n > 0 || errno == EAGAIN);
		waits += n < 0;
		sent += n > 0 ? (size_t)n : 0;
		for (int i = 0; i < 3; i++)
			free(moved[i]);
		if (n < 0)
			take(&p, turn % 5 ? 3000 : 50000, &got);
	}
	assert_true(waits > 20);
	/* Its end is told apart from a cut. */
	take(&p, total, &got);
	channel_end_writing(&p.server);
	take(&p, total, &got);
	assert_int_equal(got, total);
	assert_int_equal(SSL_get_shutdown(p.client) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	assert_int_equal(channel_write(&p.server, &(struct iovec){ pattern, 1 }, 1), -1);
	assert_int_equal(errno, EPIPE);
	free(pattern);
	part(&p);
	tls_close(&tls);
}

static void test_what_is_owed_must_come_first(void **state)
{
	static uint8_t much[1 << 20];
	(void)state;
	struct tls *tls = opened();
	struct peers p = connect_to(tls);
	assert_true(shake(&p));
	struct iovec all = { much, sizeof much };
	ssize_t n;
	do
		n = channel_write(&p.server, &all, 1);
	while (n > 0);
	assert_int_equal(errno, EAGAIN);
	assert_true(p.server.owed > 1);
	assert_int_equal(channel_write(&p.server, &(struct iovec){ much, p.server.owed - 1 }, 1), -1);
	assert_int_equal(errno, EIO);
	/* A last word that does not fit ends the channel instead of being said later. */
	assert_false(channel_write_all(&p.server, much, p.server.owed));
	assert_int_equal(channel_write(&p.server, &all, 1), -1);
	assert_int_equal(errno, EPIPE);
	part(&p);
	tls_close(&tls);
}

static void test_reading_ends_as_a_socket_does(void **state)
{
	uint8_t data[16384];
	(void)state;
	struct tls *tls = opened();
	struct peers p = connect_to(tls);
	assert_true(shake(&p));
	assert_int_equal(channel_read(&p.server, data, sizeof data), -1);
	assert_int_equal(errno, EAGAIN);
	SSL_shutdown(p.client);
	assert_int_equal(channel_read(&p.server, data, sizeof data), 0);
	part(&p);
	p = connect_to(tls);
	assert_true(shake(&p));
	assert_int_equal(send(p.fd, "this is no record of TLS", 24, 0), 24);
	assert_int_equal(channel_read(&p.server, data, sizeof data), -1);
	assert_int_equal(errno, EIO);
	part(&p);
	tls_close(&tls);
}

static void test_handshakes_are_counted(void **state)
{
	(void)state;
	struct tls *tls = opened();
	tls_count(tls, TLS_DONE);
	tls_count(tls, TLS_TIMEOUT);
	tls_count(tls, TLS_TIMEOUT);
	assert_int_equal(metric_count(metrics_get(f.metrics, "weir_gateway_tls_handshakes_total", "gateway.tls", "done", NULL)), 1);
	assert_int_equal(metric_count(metrics_get(f.metrics, "weir_gateway_tls_handshakes_total", "gateway.tls", "timeout", NULL)), 2);
	tls_close(&tls);
	tls_turn(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_versions_ciphers_and_protocols, fresh_files),
		cmocka_unit_test_setup(test_client_certificates, fresh_files),
		cmocka_unit_test_setup(test_wrong_files_are_named, fresh_files),
		cmocka_unit_test_setup(test_changed_files_are_used_and_wrong_ones_are_not, fresh_files),
		cmocka_unit_test_setup(test_a_handshake_byte_by_byte, fresh_files),
		cmocka_unit_test_setup(test_plain_http_is_told_what_to_do, fresh_files),
		cmocka_unit_test_setup(test_bytes_arrive_whole_however_little_is_taken, fresh_files),
		cmocka_unit_test_setup(test_what_is_owed_must_come_first, fresh_files),
		cmocka_unit_test_setup(test_reading_ends_as_a_socket_does, fresh_files),
		cmocka_unit_test_setup(test_handshakes_are_counted, fresh_files),
	};
	return cmocka_run_group_tests_name("tls", tests, set_up, tear_down);
}

/* tls.c - OpenSSL's context of one listener: made from files, made anew when they change. */
#include "http/tls.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define FILES 3
#define CIPHERS "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
		"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

struct version { /* of a file */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
};

struct tls {
	struct tls_options options;
	struct log log;
	pthread_mutex_t lock; /* guards context */
	SSL_CTX *context;
	/* Of tls_turn's thread. */
	struct version seen[FILES]; /* when they were read last, with success or without */
	struct metric *ended[3], *reloads[2], *until;
};

/* ---- reading the files --------------------------------------------------------------------------------------------------------------- */

/* Of OpenSSL's complaints the system's, else the newest, which is about the file and not about its parser. Empties their queue. */
static const char *complaint(void)
{
	const char *words = "not understood";
	for (unsigned long code; (code = ERR_get_error()) != 0;) {
		if (ERR_SYSTEM_ERROR(code)) {
			words = strerror(ERR_GET_REASON(code));
			break;
		}
		if (ERR_reason_error_string(code))
			words = ERR_reason_error_string(code);
	}
	return words;
}

/* Without this OpenSSL would ask the terminal. */
static int no_passphrase(char *text, int size, int writing, void *arg)
{
	(void)text;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_size, const unsigned char *offered, unsigned size, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	(void)ssl;
	(void)arg;
	unsigned char *chosen;
	if (SSL_select_next_proto(&chosen, ret_size, ours, sizeof ours - 1, offered, size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool set_manners(SSL_CTX *context, const char *setting)
{
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets only: they hold no memory here, and their key ends with the context */
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	size_t size = strlen(setting);
	return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(context, CIPHERS) == 1 &&
	       SSL_CTX_set_session_id_context(context, (const unsigned char *)setting, (unsigned)size) == 1;
}

static int read_client_ca(const struct tls_options *o, SSL_CTX *context, struct error *err)
{
	if (!*o->client_ca)
		return 0;
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->client_ca);
	if (!names || SSL_CTX_load_verify_file(context, o->client_ca) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return error_set(err, WEIR_CONFIG, "%s.client_ca: %s: %s (wanted: certificates as PEM)", o->setting, o->client_ca, complaint());
	}
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (o->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	return 0;
}

static int fill(const struct tls_options *o, SSL_CTX *context, struct error *err)
{
	if (!context || !set_manners(context, o->setting))
		return error_set(err, WEIR_INTERNAL, "%s: OpenSSL gives no context: %s", o->setting, complaint());
	if (SSL_CTX_use_certificate_chain_file(context, o->certificate) != 1)
		return error_set(err, WEIR_CONFIG, "%s.certificate: %s: %s (wanted: a certificate and its chain as PEM)", o->setting, o->certificate, complaint());
	if (SSL_CTX_use_PrivateKey_file(context, o->key, SSL_FILETYPE_PEM) != 1)
		return error_set(err, WEIR_CONFIG, "%s.key: %s: %s (wanted: the certificate's private key as PEM, without a passphrase)", o->setting, o->key, complaint());
	return read_client_ca(o, context, err);
}

static int read_files(const struct tls_options *o, SSL_CTX **ret, struct error *err)
{
	ERR_clear_error();
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int code = fill(o, context, err);
	if (code) {
		SSL_CTX_free(context);
		context = NULL;
	}
	ERR_clear_error();
	*ret = context;
	return code;
}

static void look(const struct tls *tls, struct version ret[FILES])
{
	const char *const paths[FILES] = { tls->options.certificate, tls->options.key, tls->options.client_ca };
	memset(ret, 0, FILES * sizeof *ret);
	for (size_t i = 0; i < FILES; i++) {
		struct stat s;
		if (*paths[i] && stat(paths[i], &s) == 0) {
			ret[i].device = s.st_dev;
			ret[i].inode = s.st_ino;
			ret[i].size = s.st_size;
			ret[i].modified = s.st_mtim;
		}
	}
}

static void tell_end(const struct tls *tls)
{
	struct tm end;
	const X509 *certificate = SSL_CTX_get0_certificate(tls->context);
	if (tls->until && certificate && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
		metric_set(tls->until, (double)timegm(&end));
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------- */

static void find_metrics(struct tls *tls)
{
	static const char *const ends[] = { [TLS_DONE] = "done", [TLS_FAILED] = "failed", [TLS_TIMEOUT] = "timeout" };
	struct metrics *m = tls->options.metrics;
	const char *name = tls->options.setting;
	if (!m)
		return;
	for (size_t i = 0; i < 3; i++)
		tls->ended[i] = metrics_get(m, "weir_gateway_tls_handshakes_total", name, ends[i], NULL);
	tls->reloads[0] = metrics_get(m, "weir_gateway_tls_reloads_total", name, "done", NULL);
	tls->reloads[1] = metrics_get(m, "weir_gateway_tls_reloads_total", name, "failed", NULL);
	tls->until = metrics_get(m, "weir_gateway_tls_certificate_end_seconds", name, NULL, NULL);
}

int tls_open(const struct tls_options *options, struct tls **ret, struct error *err)
{
	struct tls *tls = xmalloc(sizeof *tls);
	tls->options = *options;
	tls->log = *options->log;
	pthread_mutex_init(&tls->lock, NULL);
	look(tls, tls->seen);
	find_metrics(tls);
	int code = read_files(options, &tls->context, err);
	if (code)
		tls_close(&tls);
	else
		tell_end(tls);
	*ret = tls;
	return code;
}

void tls_close(struct tls **tlsp)
{
	struct tls *tls = *tlsp;
	if (!tls)
		return;
	SSL_CTX_free(tls->context);
	pthread_mutex_destroy(&tls->lock);
	xfree(tlsp);
}

void tls_turn(struct tls *tls)
{
	struct version now[FILES];
	SSL_CTX *context;
	struct error err = { 0 };
	if (!tls)
		return;
	look(tls, now);
	if (memcmp(now, tls->seen, sizeof now) == 0)
		return;
	memcpy(tls->seen, now, sizeof now);
	bool failed = read_files(&tls->options, &context, &err) != 0;
	if (tls->reloads[failed])
		metric_inc(tls->reloads[failed]);
	if (failed) {
		log_warn(&tls->log, "tls_reload_failed", "the certificate in use stays until the files are right", LOG_ERR(&err));
		return;
	}
	pthread_mutex_lock(&tls->lock);
	SSL_CTX *old = tls->context;
	tls->context = context;
	pthread_mutex_unlock(&tls->lock);
	SSL_CTX_free(old); /* connections keep it while they need it */
	tell_end(tls);
	log_info(&tls->log, "tls_reloaded", "new connections get the certificate of the changed files", LOG_S("setting", tls->options.setting));
}

SSL *tls_accept(struct tls *tls, int fd)
{
	pthread_mutex_lock(&tls->lock);
	SSL *ssl = SSL_new(tls->context);
	pthread_mutex_unlock(&tls->lock);
	if (ssl && SSL_set_fd(ssl, fd) == 1)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

void tls_count(struct tls *tls, enum tls_end end)
{
	if (tls->ended[end])
		metric_inc(tls->ended[end]);
}

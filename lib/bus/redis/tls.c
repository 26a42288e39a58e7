/* tls.c - see tls.h. */
#include "bus/redis/tls.h"

#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

static bool prepare(SSL_CTX *context, SSL *ssl, const char *name)
{
	char shown[256]; /* OpenSSL's interface is not const-correct */
	snprintf(shown, sizeof shown, "%s", name);
	if (!ssl || SSL_CTX_set_default_verify_paths(context) != 1 || SSL_set1_host(ssl, name) != 1)
		return false;
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, shown) == 1;
}

void bus_tls_forget_errors(void)
{
	ERR_clear_error();
}

bool bus_tls_start(redisContext *redis, const char *name, char why[TLS_WHY])
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = context ? SSL_new(context) : NULL;
	bool good = false;
	if (!prepare(context, ssl, name)) {
		snprintf(why, TLS_WHY, "OpenSSL cannot be set up");
	} else if (redisInitiateSSL(redis, ssl) == REDIS_OK) {
		ssl = NULL; /* goes with the connection */
		good = true;
	} else {
		snprintf(why, TLS_WHY, "%s", redis->errstr);
	}
	SSL_free(ssl);
	SSL_CTX_free(context);
	return good;
}

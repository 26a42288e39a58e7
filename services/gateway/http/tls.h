/* tls.h - a listener's certificate and key, and how TLS is spoken with them. Decision: docs/decisions/0028-tls-and-sign-in.md.
 *
 * TLS 1.2 (with forward secrecy and AEAD ciphers only) and 1.3, no renegotiation, no compression, no early data; ALPN http/1.1. With a client CA,
 * peers are asked for a certificate of it, which only opens the door: who somebody is still comes from a key or a session, because
 * browsers show certificates unasked and another site's page could use them. Files are looked at by tls_turn and read again when they changed;
 * connections that are open go on as they are; what cannot be read or does not fit together leaves the old ones in use and is logged once.
 */
#ifndef WEIR_GATEWAY_TLS_H
#define WEIR_GATEWAY_TLS_H

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"

#include <openssl/types.h>

struct tls_options {
	const char *setting; /* "gateway.tls": for messages, and the metrics' label */
	const char *certificate, *key; /* PEM files; the certificate with its chain behind it */
	const char *client_ca; /* PEM file; empty: clients are not asked for certificates */
	bool client_required;  /* else whoever has none comes in, too */
	struct metrics *metrics; /* may be NULL */
	const struct log *log;
};

struct tls;
int tls_open(const struct tls_options *, struct tls **ret, struct error *); /* the strings must outlive it */
void tls_close(struct tls **); /* after the listener */
void tls_turn(struct tls *);   /* one thread, about once a second; NULL: nothing */

/* Any thread. */
SSL *tls_accept(struct tls *, int fd); /* NULL: no memory */
enum tls_end { TLS_DONE, TLS_FAILED, TLS_TIMEOUT };
void tls_count(struct tls *, enum tls_end); /* a handshake ended so */

#endif

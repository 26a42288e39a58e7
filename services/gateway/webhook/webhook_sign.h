/* webhook_sign.h - secrets and signatures of the Standard Webhooks specification 1.0 (standardwebhooks.com).
 *
 * What is signed is `id.timestamp.body`. v1: HMAC-SHA256 with a secret of 24 to 64 bytes that the receiver has too, written whsec_ and
 * base64. v1a: ed25519 (RFC 8032) with a key that never leaves weir; the receiver has its public half, written whpk_ and base64.
 * The header webhook-signature holds one signature per secret, apart by spaces: while a secret is rotated there are two.
 */
#ifndef WEIR_GATEWAY_WEBHOOK_SIGN_H
#define WEIR_GATEWAY_WEBHOOK_SIGN_H

#include "base/error.h"
#include "base/mem.h"

#include <stdint.h>

enum webhook_algorithm { WEBHOOK_V1 = 1, WEBHOOK_V1A = 2 }; /* kept in the database */

#define WEBHOOK_SECRET_MIN 24
#define WEBHOOK_SECRET_MAX 64
#define WEBHOOK_SECRET_MADE 32
struct webhook_secret {
	enum webhook_algorithm algorithm;
	size_t size;
	uint8_t key[WEBHOOK_SECRET_MAX]; /* v1a: the 32 bytes that the key pair comes from */
};

int webhook_secret_make(enum webhook_algorithm, struct webhook_secret *ret, struct error *); /* at random */
int webhook_secret_read(const char *text, struct webhook_secret *ret, struct error *);       /* whsec_… only. WEIR_INVALID */
void webhook_secret_wipe(struct webhook_secret *);

#define WEBHOOK_SECRET_TEXT 100
/* What the receiver needs to check signatures: v1 the secret itself, v1a the public key. */
int webhook_receiver_key(const struct webhook_secret *, char ret[WEBHOOK_SECRET_TEXT], struct error *);

/* Appends the value of the header webhook-signature. */
int webhook_sign(const struct webhook_secret *, size_t n, const char *id, int64_t timestamp, struct bytes body, struct buf *out, struct error *);

/* Secrets at rest: AES-256-GCM under the key of the settings, bound to their place by `context`, so that a row copied elsewhere opens
 * nothing. They must come out again to sign with, which a hash would not allow. */
#define WEBHOOK_KEY_SIZE 32
int webhook_key_read(const char *base64, uint8_t ret[WEBHOOK_KEY_SIZE], struct error *); /* WEIR_INVALID */
int webhook_secret_seal(const uint8_t key[WEBHOOK_KEY_SIZE], const char *context, const struct webhook_secret *, struct buf *out, struct error *);
int webhook_secret_open(const uint8_t key[WEBHOOK_KEY_SIZE], const char *context, struct bytes sealed, struct webhook_secret *ret, struct error *);

#endif

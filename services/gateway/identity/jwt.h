/* jwt.h - JSON Web Tokens (RFC 7519) in compact serialization, signed with HS256, RS256 or ES256, read as RFC 8725 demands. Pure.
 *
 * Strict: one way to write each token. base64url without padding and without stray bits; header and claims are JSON objects without a member that
 * stands twice; no `crit`; `alg` must be the one that the key is for, so neither "none" nor a public key used as an HMAC secret gets anywhere;
 * what a header says about where keys are (jku, x5u, jwk, x5c) is never looked at. `iss`, `aud`, `sub` and `exp` are required.
 */
#ifndef WEIR_GATEWAY_JWT_H
#define WEIR_GATEWAY_JWT_H

#include "base/mem.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWT_MAX 4096     /* bytes of a token */
#define JWT_KEYS_MAX 32
#define JWT_TEXT_MAX 96  /* bytes of sub */
#define JWT_SECRET_MIN 32 /* RFC 7518 section 3.2 */

enum jwt_alg { JWT_HS256, JWT_RS256, JWT_ES256 };

struct jwt_key {
	enum jwt_alg alg;
	char kid[128];    /* empty: it has none */
	EVP_PKEY *public; /* owned; RS256 and ES256 */
	uint8_t *secret;  /* owned; HS256 */
	size_t secret_size;
};
struct jwt_keys {
	struct jwt_key items[JWT_KEYS_MAX];
	size_t count;
};
void jwt_keys_free(struct jwt_keys *);
bool jwt_keys_add_secret(struct jwt_keys *, const char *kid, struct bytes secret); /* false: too short, or no room */
/* Adds the keys of a JWK Set (RFC 7517) that are for verifying signatures of a known kind; others are left out, and so are RSA keys below 2048
 * bits and points that are not on P-256. Symmetric keys in a set are left out: a set is public. False: not a set, or none of it can be used. */
bool jwt_keys_add_set(struct jwt_keys *, struct bytes json);

enum jwt_verdict {
	JWT_GOOD,
	JWT_MALFORMED,   /* not a token as above */
	JWT_UNKNOWN_KEY, /* no key of that kid and alg: it may be a new one */
	JWT_FORGED,      /* the signature is wrong */
	JWT_EXPIRED,
	JWT_NOT_YET,
	JWT_WRONG_ISSUER,
	JWT_WRONG_AUDIENCE,
};
const char *jwt_verdict_words(enum jwt_verdict);

struct jwt_expected {
	const char *issuer, *audience;
	int64_t now_s, skew_s;
};
struct jwt_claims {
	char subject[JWT_TEXT_MAX + 1]; /* printable, without '#' */
	char scopes[512];               /* `scope` (RFC 8693), `scp` or `roles`, by blanks; empty: none */
	int64_t expires_s, issued_s;    /* issued 0: it does not say */
	uint64_t id;                    /* denial_mark of `jti`; 0: it has none */
};
/* A token without kid is tried with every key of its alg that has none, or with the only key of its alg. */
enum jwt_verdict jwt_verify(const char *token, const struct jwt_keys *, const struct jwt_expected *, struct jwt_claims *ret);

/* Appends a token signed with HS256. claims: a JSON object. */
void jwt_sign(struct bytes secret, const char *claims, struct buf *out);

#endif

/* issuer.h - who signs the tokens that are accepted, and the keys for that: shared secrets of the settings, and a JWK Set in a file or behind a URL.
 *
 * The set is read at the start and every gateway.jwt.refresh; when a token names a key that is not known, again, but not within
 * ISSUER_REFETCH_MS of the last time, so that nobody makes us hammer the issuer. What was read stays in force while the issuer is away.
 * An issuer that publishes a new key before it signs with it changes keys without one refusal.
 *
 * Thread-safe.
 */
#ifndef WEIR_GATEWAY_ISSUER_H
#define WEIR_GATEWAY_ISSUER_H

#include "identity/jwt.h"
#include "identity/principal.h"

#include "base/error.h"

struct gateway;
struct issuer;

#define ISSUER_REFETCH_MS 2000

/* Without gateway.jwt.issuer no token is accepted: *ret stays NULL. WEIR_CONFIG: the settings do not fit together. */
int issuer_open(struct gateway *, struct issuer **ret, struct error *);
void issuer_close(struct issuer **);

bool issuer_is_token(const char *text); /* has it the form of one: two dots? */
/* may_wait: for the set to be read again, a second or two; else the caller's client has to come back. */
enum jwt_verdict issuer_check(struct issuer *, const char *token, bool may_wait, struct principal *ret);

#endif

/* keyring.h - the API keys in the database (weir_identity.keys), in memory.
 *
 * A thread asks for changes every KEYRING_POLL_MS, by number, so a key that was made or revoked anywhere is so on every gateway within
 * that time and a round trip. PostgreSQL is asked and not Redis: it is where keys live, and while it is away nothing can be revoked either. What was
 * loaded stays valid meanwhile. A database without the schema (an older reconciler), or that this login may not read, has no keys: a warning
 * says so, and the keys of the settings work. The same thread looks after the sessions of live connections (session_watch.h) and revoked tokens (denial.h).
 *
 * Thread-safe.
 */
#ifndef WEIR_GATEWAY_KEYRING_H
#define WEIR_GATEWAY_KEYRING_H

#include "http/client_address.h"
#include "identity/principal.h"

#include "store/pg.h"

struct gateway;
struct keyring;

#define KEYRING_POLL_MS 250
#define KEYRING_MAX 100000 /* keys that are neither revoked nor expired; further ones are not accepted */

int keyring_open(struct gateway *, struct keyring **ret, struct error *);
void keyring_close(struct keyring **);

enum keyring_verdict { KEYRING_GOOD, KEYRING_UNKNOWN, KEYRING_EXPIRED, KEYRING_ADDRESS };
/* text: a key of api_key.h's form. Its use is noted for last_used_at. */
enum keyring_verdict keyring_check(struct keyring *, const char *text, const struct client_address *, struct principal *ret);
/* Grows whenever a key was revoked or changed: who holds on to a principal asks again then. */
uint64_t keyring_generation(const struct keyring *);
bool keyring_holds(struct keyring *, const char *principal_name); /* true also for those that are not of the database */

/* Was a token of an issuer revoked (denial.h)? */
bool keyring_denies(struct keyring *, uint64_t jti, const char *subject, int64_t issued_s);

/* Is a live connection's session still one? False also when nothing can be known of it. */
bool keyring_session_stands(struct keyring *, const char *session);

/* A connection that may write, for one caller at a time. NULL: err says why. */
struct pg *keyring_take_pg(struct keyring *, struct error *);
void keyring_give_pg(struct keyring *);

#endif

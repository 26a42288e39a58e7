/* session.h - operators who signed in: short access tokens, and refresh tokens that are good once.
 *
 * An access token is a JSON Web Token of ours (HS256), good for SESSION_ACCESS_S on the operators' listener alone; at each use the session is looked up,
 * so that signing out, a new password and disabling count at once. A refresh token is exchanged for new ones; when one comes a
 * second time somebody has copied it, and the session ends for both. (Within SESSION_GRACE_S it may be the same client's other tab: 409, and
 * nothing ends.) Sessions end SESSION_MAX_S after signing in.
 *
 * Thread-safe; every call asks PostgreSQL.
 */
#ifndef WEIR_GATEWAY_SESSION_H
#define WEIR_GATEWAY_SESSION_H

#include "identity/principal.h"

#include "base/error.h"
#include "base/mem.h"

struct gateway;

#define SESSION_ACCESS_S 300
#define SESSION_MAX_S (12 * 3600)
#define SESSION_GRACE_S 5
#define SESSION_SECRET_MIN 32
#define SESSION_TOKEN_MAX 160

struct session_grant {
	struct buf access;               /* the caller frees it */
	char refresh[SESSION_TOKEN_MAX]; /* weirs_<session>_<64 hex digits> */
	char user[72];
	const char *role;
	int64_t until_ms; /* end of the session */
};

/* user: checked already. */
int session_begin(struct gateway *, const char *user, const char *role, const char *remote, struct session_grant *ret, struct error *);
/* WEIR_PERMISSION: no such session, or it ended. WEIR_FENCED: the token was used before; the session is ended now. WEIR_CONFLICT: … a moment ago. user
 * is filled in also for these two. */
int session_refresh(struct gateway *, const char *refresh, struct session_grant *ret, struct error *);
/* Ends it; user is told. WEIR_PERMISSION: there is none. */
int session_end(struct gateway *, const char *refresh, char ret_user[72], struct error *);

enum session_verdict { SESSION_GOOD, SESSION_NOT_OURS, SESSION_EXPIRED, SESSION_ENDED, SESSION_UNKNOWN };
/* SESSION_UNKNOWN: PostgreSQL does not answer. */
enum session_verdict session_check(struct gateway *, const char *access, struct principal *ret);

#endif

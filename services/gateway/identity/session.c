/* session.c - granting, exchanging and checking the tokens of sessions. */
#include "identity/session.h"

#include "gateway.h"
#include "identity/jwt.h"
#include "identity/keyring.h"
#include "write/writer.h"

#include "base/clock.h"
#include "wire/hex.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define ISSUER "weir-gateway"
#define AUDIENCE "weir-operators"
#define PREFIX "weirs_"
#define ID_SIZE 32
#define SECRET_SIZE 64

static struct bytes key_of(const struct gateway *gateway)
{
	const char *secret = gateway->config->gateway.session_secret;
	return (struct bytes){ (const uint8_t *)secret, strlen(secret) };
}

static void hash_of(const struct gateway *gateway, const char *refresh, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, key_of(gateway).size, key_of(gateway).data);
	hmac_sha256_update(&hmac, strlen(refresh), (const uint8_t *)refresh);
	hmac_sha256_digest(&hmac, SHA256_DIGEST_SIZE, ret);
}

static int random_hex(size_t size, char *ret, struct error *err)
{
	uint8_t random[32];
	char hex[2 * sizeof random + 3];
	ssize_t n;
	do
		n = getrandom(random, size / 2, 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)(size / 2))
		return error_set(err, WEIR_INTERNAL, "the kernel gives no random numbers");
	hex_from_bytes(random, size / 2, hex);
	memcpy(ret, hex + 2, size + 1);
	return 0;
}

static int make_refresh(const char *session, char ret[SESSION_TOKEN_MAX], struct error *err)
{
	char secret[SECRET_SIZE + 1];
	int code = random_hex(SECRET_SIZE, secret, err);
	if (!code)
		snprintf(ret, SESSION_TOKEN_MAX, PREFIX "%s_%s", session, secret);
	return code;
}

static bool read_refresh(const char *refresh, char ret_session[ID_SIZE + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = sizeof PREFIX - 1;
	if (strncmp(refresh, PREFIX, at) != 0 || strspn(refresh + at, digits) != ID_SIZE || refresh[at + ID_SIZE] != '_' ||
	    strspn(refresh + at + ID_SIZE + 1, digits) != SECRET_SIZE || refresh[at + ID_SIZE + 1 + SECRET_SIZE] != '\0')
		return false;
	snprintf(ret_session, ID_SIZE + 1, "%.*s", ID_SIZE, refresh + at);
	return true;
}

static void make_access(const struct gateway *gateway, const char *session, struct session_grant *grant)
{
	struct buf claims = BUF_INIT(1024);
	int64_t now_s = clock_wall_ms() / 1000, until_s = grant->until_ms / 1000;
	put_object(&claims, NULL);
	put_text(&claims, "iss", ISSUER);
	put_text(&claims, "aud", AUDIENCE);
	put_text(&claims, "sub", grant->user);
	put_text(&claims, "scope", session); /* the rest is looked up */
	put_i64(&claims, "iat", now_s);
	put_i64(&claims, "exp", now_s + SESSION_ACCESS_S < until_s ? now_s + SESSION_ACCESS_S : until_s);
	put_end(&claims, '}');
	grant->access = (struct buf)BUF_INIT(JWT_MAX);
	jwt_sign(key_of(gateway), buf_str(&claims), &grant->access);
	buf_free(&claims);
}

static int run(struct gateway *gateway, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret, struct error *err)
{
	struct pg *pg = keyring_take_pg(gateway->keyring, err);
	int code = pg ? pg_query(pg, sql, params, n, ret, err) : err->code;
	if (pg)
		keyring_give_pg(gateway->keyring);
	return code;
}

static const char *lasting_role(const char *role)
{
	return scope_role_name(scope_by_name(role, strlen(role)));
}

int session_begin(struct gateway *gateway, const char *user, const char *role, const char *remote, struct session_grant *ret, struct error *err)
{
	char session[ID_SIZE + 1];
	uint8_t hash[SHA256_DIGEST_SIZE];
	struct pg_param p[5];
	*ret = (struct session_grant){ .role = lasting_role(role), .until_ms = clock_wall_ms() + SESSION_MAX_S * 1000LL };
	snprintf(ret->user, sizeof ret->user, "%s", user);
	int code = random_hex(ID_SIZE, session, err);
	if (!code)
		code = make_refresh(session, ret->refresh, err);
	if (code)
		return code;
	hash_of(gateway, ret->refresh, hash);
	pg_text(&p[0], session);
	pg_text(&p[1], user);
	pg_bytea(&p[2], (struct bytes){ hash, sizeof hash });
	pg_text(&p[3], remote);
	pg_i64(&p[4], SESSION_MAX_S);
	code = run(gateway,
		   "with old as (delete from weir_identity.sessions where expires_at < now() - interval '7 days'),"
		   " seen as (update weir_identity.users set signed_in_at = now() where name = $2::text)"
		   " insert into weir_identity.sessions (id, user_name, hash, remote, expires_at)"
		   " values ($1::text, $2::text, $3::bytea, $4::text, now() + $5::int8 * interval '1 second')",
		   p, 5, NULL, err);
	if (!code)
		make_access(gateway, session, ret);
	return code;
}

/* One statement decides and acts, under the row's lock: of two that come with one token only one is the first. */
static const char refresh_sql[] =
	"with s as (select s.*, u.role, s.ended_at is null and s.expires_at > now() and u.disabled_at is null as live from weir_identity.sessions s"
	" join weir_identity.users u on u.name = s.user_name where s.id = $1::text for update of s),"
	" verdict as (select *, case when not live then 'ended' when hash = $2::bytea then 'good'"
	" when previous_hash = $2::bytea and rotated_at > now() - $4::int8 * interval '1 second' then 'again' else 'reused' end as word from s),"
	" done as (update weir_identity.sessions t set"
	" hash = case v.word when 'good' then $3::bytea else t.hash end, previous_hash = case v.word when 'good' then t.hash else t.previous_hash end,"
	" rotated_at = case v.word when 'good' then now() else t.rotated_at end,"
	" ended_at = case v.word when 'reused' then now() else t.ended_at end, ended_by = case v.word when 'reused' then 'reuse' else t.ended_by end"
	" from verdict v where t.id = v.id and v.word in ('good', 'reused'))"
	" select word, user_name, role, (extract(epoch from expires_at) * 1000)::int8 from verdict";

int session_refresh(struct gateway *gateway, const char *refresh, struct session_grant *ret, struct error *err)
{
	char session[ID_SIZE + 1];
	uint8_t hash[SHA256_DIGEST_SIZE], next[SHA256_DIGEST_SIZE];
	struct pg_param p[4];
	struct pg_result *r = NULL;
	*ret = (struct session_grant){ .role = "none" };
	if (!read_refresh(refresh, session))
		return error_set(err, WEIR_PERMISSION, "this is no refresh token");
	int code = make_refresh(session, ret->refresh, err);
	if (code)
		return code;
	hash_of(gateway, refresh, hash);
	hash_of(gateway, ret->refresh, next);
	pg_text(&p[0], session);
	pg_bytea(&p[1], (struct bytes){ hash, sizeof hash });
	pg_bytea(&p[2], (struct bytes){ next, sizeof next });
	pg_i64(&p[3], SESSION_GRACE_S);
	code = run(gateway, refresh_sql, p, 4, &r, err);
	const char *word = !code && pg_rows(r) > 0 ? pg_get_text(r, 0, 0) : "ended";
	if (!code && pg_rows(r) > 0) {
		snprintf(ret->user, sizeof ret->user, "%s", pg_get_text(r, 0, 1));
		ret->role = lasting_role(pg_get_text(r, 0, 2));
		ret->until_ms = pg_get_i64(r, 0, 3);
	}
	if (!code && strcmp(word, "ended") == 0)
		code = error_set(err, WEIR_PERMISSION, "the session has ended");
	else if (!code && strcmp(word, "again") == 0)
		code = error_set(err, WEIR_CONFLICT, "this refresh token was used a moment ago");
	else if (!code && strcmp(word, "reused") == 0)
		code = error_set(err, WEIR_FENCED, "this refresh token was used before: the session is ended");
	if (!code)
		make_access(gateway, session, ret);
	pg_result_free(&r);
	return code;
}

int session_end(struct gateway *gateway, const char *refresh, char ret_user[72], struct error *err)
{
	char session[ID_SIZE + 1];
	uint8_t hash[SHA256_DIGEST_SIZE];
	struct pg_param p[2];
	struct pg_result *r = NULL;
	if (!read_refresh(refresh, session))
		return error_set(err, WEIR_PERMISSION, "this is no refresh token");
	hash_of(gateway, refresh, hash);
	pg_text(&p[0], session);
	pg_bytea(&p[1], (struct bytes){ hash, sizeof hash });
	int code = run(gateway,
		       "update weir_identity.sessions set ended_at = now(), ended_by = 'logout' where id = $1::text and ended_at is null"
		       " and $2::bytea in (hash, previous_hash) returning user_name",
		       p, 2, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_PERMISSION, "there is no such session");
	if (!code)
		snprintf(ret_user, 72, "%s", pg_get_text(r, 0, 0));
	pg_result_free(&r);
	return code;
}

enum session_verdict session_check(struct gateway *gateway, const char *access, struct principal *ret)
{
	const struct jwt_expected expected = { ISSUER, AUDIENCE, clock_wall_ms() / 1000, 0 };
	struct jwt_keys keys = { .count = 0 };
	struct jwt_claims claims;
	struct error err = { 0 };
	struct pg_param p;
	struct pg_result *r = NULL;
	if (!jwt_keys_add_secret(&keys, "", key_of(gateway)))
		return SESSION_NOT_OURS;
	enum jwt_verdict verdict = jwt_verify(access, &keys, &expected, &claims);
	jwt_keys_free(&keys);
	if (verdict != JWT_GOOD)
		return verdict == JWT_EXPIRED ? SESSION_EXPIRED : SESSION_NOT_OURS;
	int code = run(gateway,
		       "select u.role from weir_identity.sessions s join weir_identity.users u on u.name = s.user_name"
		       " where s.id = $1 and s.ended_at is null and s.expires_at > now() and u.disabled_at is null",
		       pg_text(&p, claims.scopes), 1, &r, &err);
	enum session_verdict answer = code ? SESSION_UNKNOWN : pg_rows(r) == 0 ? SESSION_ENDED : SESSION_GOOD;
	if (answer == SESSION_GOOD) {
		*ret = (struct principal){ .scopes = scopes_of_role(pg_get_text(r, 0, 0)), .until_ms = claims.expires_s * 1000 };
		ret->role = scope_role_name(ret->scopes);
		snprintf(ret->name, sizeof ret->name, "user:%s", claims.subject);
		snprintf(ret->session, sizeof ret->session, "%s", claims.scopes);
	}
	pg_result_free(&r);
	return answer;
}

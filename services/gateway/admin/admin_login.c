/* admin_login.c - /admin/v1/{login,refresh,logout}: operators sign in by name and password.
 *
 * The refresh token travels in bodies, or, for the dashboard, in a cookie that no script reads, that no other site's page makes a browser send
 * (SameSite=Strict, RFC 6265bis), and that is good for nothing but these calls. */
#include "admin/admin.h"

#include "control.h"
#include "identity/keyring.h"
#include "call/limit.h"
#include "identity/password.h"
#include "identity/session.h"

#include "base/clock.h"

#include "weir/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COOKIE "weir-session"

/* Nobody is signed in yet, so who it is comes from outside call->who. */
static bool record(struct call *call, const char *user, const char *action)
{
	struct principal who = { .role = "none" };
	const struct principal *before = call->who;
	snprintf(who.name, sizeof who.name, "user:%s", user);
	call->who = &who;
	bool written = admin_audit_identity(call, action, call->request->remote);
	call->who = before;
	return written;
}

static bool may_sign_in(struct call *call)
{
	return strlen(call->gateway->config->gateway.session_secret) >= SESSION_SECRET_MIN ||
	       call_problem(call, 503, "logins_off", "nobody can sign in by name here: set gateway.session_secret, at least %d bytes", SESSION_SECRET_MIN);
}

/* Guesses at a password are counted by address and by name, wherever they come from, loopback too. */
static bool may_guess(struct call *call, const struct limited *by)
{
	struct limit_verdict verdict = limit_take(call->gateway->limits, by, 1);
	if (verdict.allowed)
		return true;
	call->response->retry_after = (int)verdict.wait_s;
	return call_problem(call, 429, "too_many_logins", "too many attempts to sign in %s: try again in %lld s",
			    by->kind == LIMIT_LOGIN_USER ? "under this name" : "from this address", (long long)verdict.wait_s);
}

static void set_cookie(struct call *call, const char *token, int64_t seconds)
{
	free(call->response->cookie);
	call->response->cookie = xasprintf(COOKIE "=%s; Path=/admin/v1/; Max-Age=%lld; HttpOnly; Secure; SameSite=Strict", token, (long long)seconds);
}

/* The token of the body, else the cookie's, copied into ret. A body there must be, as it must be JSON, which a browser lets no page of another origin
 * send without asking. False: answered. */
static bool given_token(struct call *call, char ret[SESSION_TOKEN_MAX], bool *ret_cookie)
{
	const char *text = call_text(call, "refresh_token"), *list = call->request->body.size > 0 ? call->request->cookie : NULL;
	*ret_cookie = text == NULL;
	for (size_t n; !text && list && *list; list += n) {
		list += strspn(list, "; ,");
		n = strcspn(list, "; ,");
		if (n > sizeof COOKIE && strncmp(list, COOKIE "=", sizeof COOKIE) == 0 && n - sizeof COOKIE < SESSION_TOKEN_MAX) {
			snprintf(ret, SESSION_TOKEN_MAX, "%.*s", (int)(n - sizeof COOKIE), list + sizeof COOKIE);
			return true;
		}
	}
	if (!text)
		return call_problem(call, 401, "session_ended", "nobody is signed in here: there is no refresh token, neither in the body nor as a cookie");
	snprintf(ret, SESSION_TOKEN_MAX, "%s", text);
	return true;
}

static void put_grant(struct call *call, struct session_grant *grant, bool by_cookie)
{
	int64_t left_ms = grant->until_ms - clock_wall_ms();
	put_object(call->out, NULL);
	put_text(call->out, "access_token", buf_str(&grant->access));
	put_i64(call->out, "expires_in", left_ms / 1000 < SESSION_ACCESS_S ? left_ms / 1000 : SESSION_ACCESS_S);
	if (by_cookie)
		set_cookie(call, grant->refresh, left_ms / 1000);
	else
		put_text(call->out, "refresh_token", grant->refresh);
	put_i64(call->out, "refresh_expires_in", left_ms / 1000);
	put_text(call->out, "name", grant->user);
	put_text(call->out, "role", grant->role);
	put_end(call->out, '}');
	buf_free(&grant->access);
}

static bool find_user(struct call *call, const char *name, struct pg_result **ret)
{
	struct error err = { 0 };
	struct pg_param p;
	struct pg *pg = keyring_take_pg(call->gateway->keyring, &err);
	int code = pg ? pg_query(pg, "select password, role from weir_identity.users where name = $1 and disabled_at is null", pg_text(&p, name), 1, ret, &err) : err.code;
	if (pg)
		keyring_give_pg(call->gateway->keyring);
	return code == 0 || call_failed(call, &err);
}

void admin_login(struct call *call)
{
	const char *name = call_text(call, "user");
	struct limited address = { .kind = LIMIT_LOGIN_ADDRESS }, user = { .kind = LIMIT_LOGIN_USER };
	struct session_grant grant;
	struct error err = { 0 };
	struct pg_result *r = NULL;
	client_address_limited(&call->request->address, address.name);
	snprintf(user.name, sizeof user.name, "%s", name);
	if (!may_sign_in(call) || !may_guess(call, &address) || !may_guess(call, &user) || !find_user(call, name, &r))
		return;
	bool known = pg_rows(r) > 0, good = password_check(call_text(call, "password"), known ? pg_get_text(r, 0, 0) : NULL);
	if (!good) {
		log_info(&call->gateway->log, "login_failed", NULL, LOG_S("client", call->request->remote), LOG_S("request_id", call->request->id));
		if (record(call, name, "login_failed")) /* of a name that nobody has, too: that it cannot be written down would tell that somebody has it */
			call_problem(call, 401, "login_failed", "name and password do not belong together, or the account is disabled");
	} else if (record(call, name, "login")) {
		limit_give_back(call->gateway->limits, &address, 1);
		limit_give_back(call->gateway->limits, &user, 1);
		if (session_begin(call->gateway, name, pg_get_text(r, 0, 1), call->request->remote, &grant, &err))
			call_failed(call, &err);
		else
			put_grant(call, &grant, call_value(call, "cookie")->number != 0);
	}
	pg_result_free(&r);
}

void admin_refresh(struct call *call)
{
	struct session_grant grant;
	struct error err = { 0 };
	char token[SESSION_TOKEN_MAX];
	bool by_cookie;
	if (!may_sign_in(call) || !given_token(call, token, &by_cookie))
		return;
	switch (session_refresh(call->gateway, token, &grant, &err)) {
	case 0:
		put_grant(call, &grant, by_cookie);
		return;
	case WEIR_FENCED:
		if (!record(call, grant.user, "session_reuse"))
			return;
		break;
	case WEIR_CONFLICT:
		call_problem(call, 409, "refreshed_elsewhere", "this refresh token was exchanged a moment ago: use the one that came with it");
		return;
	case WEIR_PERMISSION:
		break;
	default:
		call_failed(call, &err);
		return;
	}
	if (by_cookie)
		set_cookie(call, "", 0);
	call_problem(call, 401, "session_ended", "%s: sign in again", err.text);
}

void admin_logout(struct call *call)
{
	char user[72], token[SESSION_TOKEN_MAX];
	bool by_cookie;
	struct error err = { 0 };
	if (!may_sign_in(call) || !given_token(call, token, &by_cookie))
		return;
	int code = session_end(call->gateway, token, user, &err);
	if (by_cookie && (!code || code == WEIR_PERMISSION))
		set_cookie(call, "", 0);
	if (code == WEIR_PERMISSION)
		call_problem(call, 401, "session_ended", "%s", err.text);
	else if (code)
		call_failed(call, &err);
	if (code || !record(call, user, "logout"))
		return;
	put_object(call->out, NULL);
	put_text(call->out, "name", user);
	put_end(call->out, '}');
}

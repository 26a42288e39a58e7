/* auth.c - from credentials to a principal. Keys are compared by digest and in constant time, so that timing tells nothing about any of them. */
#include "call/auth.h"

#include "call/admit.h"
#include "identity/issuer.h"
#include "identity/keyring.h"
#include "identity/session.h"

#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void digest(const char *text, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx sha;
	sha256_init(&sha);
	sha256_update(&sha, strlen(text), (const uint8_t *)text);
	sha256_digest(&sha, SHA256_DIGEST_SIZE, ret);
}

static const char *given_credentials(const struct http_request *request)
{
	static const char bearer[] = "Bearer ";
	const char *authorization = request->authorization;
	if (request->api_key)
		return request->api_key;
	if (authorization && strncasecmp(authorization, bearer, sizeof bearer - 1) == 0)
		return authorization + sizeof bearer - 1 + strspn(authorization + sizeof bearer - 1, " ");
	return NULL;
}

/* All of them are looked at, always. */
static bool find_in_settings(const struct config *config, const char *given, struct principal *ret)
{
	uint8_t wanted[SHA256_DIGEST_SIZE], have[SHA256_DIGEST_SIZE];
	bool found = false;
	digest(given, wanted);
	for (size_t i = 0; i < config->gateway.key_count; i++) {
		const struct api_key_config *key = &config->gateway.keys[i];
		digest(key->key, have);
		if (memeql_sec(wanted, have, sizeof have)) {
			*ret = (struct principal){ .scopes = scopes_of_role(key->role) };
			ret->role = scope_role_name(ret->scopes);
			snprintf(ret->name, sizeof ret->name, "%s", key->name);
			found = true;
		}
	}
	return found;
}

/* Guessing is limited, too: it is charged to the address. */
static bool refuse(struct call *call, const char *detail)
{
	struct admission admission;
	if (!admit(call, &admission))
		return false;
	call->response->authenticate = true;
	return call_problem(call, 401, "unauthorized", "%s", detail);
}

static bool accept(struct call *call)
{
	call->who = &call->principal;
	snprintf(call->response->holder, sizeof call->response->holder, "%s", call->who->name);
	snprintf(call->response->session, sizeof call->response->session, "%s", call->who->session);
	call->response->holder_until_ms = call->who->until_ms;
	call->response->token = (struct http_token){ .is = call->who->of_token, .id = call->who->token, .issued_s = call->who->issued_s };
	return true;
}

/* Of an operator who signed in; good on the operators' listener alone. */
static bool identify_session(struct call *call, const char *token, bool *ret_answer)
{
	*ret_answer = false;
	switch (session_check(call->gateway, token, &call->principal)) {
	case SESSION_GOOD:
		*ret_answer = accept(call);
		return true;
	case SESSION_EXPIRED:
		refuse(call, "the access token has expired: exchange the refresh token");
		return true;
	case SESSION_ENDED:
		refuse(call, "the session has ended: sign in again");
		return true;
	case SESSION_UNKNOWN:
		call_problem(call, 503, "dependency_unavailable", "the session cannot be looked up now: ask again in a moment");
		return true;
	case SESSION_NOT_OURS:
		break;
	}
	return false;
}

static bool identify_token(struct call *call, const char *token)
{
	bool answer;
	if (call->operators && !call->hurried && identify_session(call, token, &answer)) /* the database is asked */
		return answer;
	enum jwt_verdict verdict = JWT_WRONG_ISSUER;
	if (call->gateway->issuer)
		verdict = issuer_check(call->gateway->issuer, token, !call->hurried, &call->principal);
	if (verdict != JWT_GOOD)
		return refuse(call, jwt_verdict_words(verdict));
	const struct principal *who = &call->principal;
	if (keyring_denies(call->gateway->keyring, who->token, who->name + sizeof PRINCIPAL_TOKEN - 1, who->issued_s))
		return refuse(call, "this token was revoked");
	return accept(call);
}

bool auth_shows(const struct http_request *request)
{
	return request->authorization || request->api_key;
}

bool auth_may_wait(const struct http_request *request)
{
	const char *given = given_credentials(request);
	return given && !request->api_key && issuer_is_token(given);
}

/* Sets call->who where there are credentials. False: answered. */
static bool identify(struct call *call)
{
	const struct http_request *request = call->request;
	const char *given = given_credentials(request);
	if (request->authorization && request->api_key)
		return refuse(call, "there are two credentials, in Authorization and in X-Api-Key: send one of them");
	if (!given)
		return !request->authorization || refuse(call, "Authorization is understood as Bearer only");
	if (find_in_settings(call->gateway->config, given, &call->principal))
		return accept(call);
	if (!request->api_key && issuer_is_token(given))
		return identify_token(call, given);
	enum keyring_verdict verdict = keyring_check(call->gateway->keyring, given, &request->address, &call->principal);
	switch (verdict) {
	case KEYRING_GOOD:
		return accept(call);
	case KEYRING_UNKNOWN:
		return refuse(call, "this API key is not known here");
	case KEYRING_EXPIRED:
		return refuse(call, "this API key has expired: ask for a new one");
	case KEYRING_ADDRESS:
		break;
	}
	struct admission admission;
	return admit(call, &admission) && call_problem(call, 403, "address_not_allowed", "the key \"%s\" may not be used from this address", call->principal.name);
}

bool auth_operator(struct call *call, enum role needed)
{
	call->operators = true;
	if (!identify(call))
		return false;
	if (!call->who)
		return refuse(call, "an API key is needed: Authorization: Bearer KEY, or X-Api-Key: KEY");
#ifdef WEIR_MUTANT_NO_ROLES
	needed = ROLE_VIEWER;
#endif
	if (scope_role(call->who->scopes) < needed)
		return call_problem(call, 403, "forbidden", "the key \"%s\" has the role %s, which may not do this", call->who->name, call->who->role);
	return true;
}

bool auth_scope(struct call *call, enum scope needed)
{
	if (!call->who || call->operators || call->who->scopes & needed)
		return true;
	return call_problem(call, 403, "forbidden", "the key \"%s\" lacks the scope %s", call->who->name, needed == SCOPE_STREAM ? "stream" : "read");
}

bool auth_client(struct call *call, enum scope needed)
{
	if (!identify(call))
		return false;
	if (!call->who)
		return call->gateway->config->gateway.anonymous || refuse(call, "an API key is needed here: Authorization: Bearer KEY, or X-Api-Key: KEY");
	return auth_scope(call, needed);
}

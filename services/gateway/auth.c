/* auth.c - API keys. Every key is compared, by digest and in constant time, so that timing tells nothing about any of them. */
#include "auth.h"

#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <string.h>
#include <strings.h>

static void digest(const char *text, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx sha;
	sha256_init(&sha);
	sha256_update(&sha, strlen(text), (const uint8_t *)text);
	sha256_digest(&sha, SHA256_DIGEST_SIZE, ret);
}

enum role auth_role(const char *name)
{
	static const char *const names[] = { [ROLE_VIEWER] = "viewer", [ROLE_OPERATOR] = "operator", [ROLE_ADMIN] = "admin" };
	for (int r = ROLE_VIEWER; r <= ROLE_ADMIN; r++)
		if (name && strcmp(name, names[r]) == 0)
			return (enum role)r;
	return ROLE_NONE;
}

static const char *given_key(const struct http_request *request)
{
	static const char bearer[] = "Bearer ";
	const char *authorization = request->authorization;
	if (authorization && request->api_key)
		return NULL; /* which of them? */
	if (request->api_key)
		return request->api_key;
	if (authorization && strncasecmp(authorization, bearer, sizeof bearer - 1) == 0)
		return authorization + sizeof bearer - 1 + strspn(authorization + sizeof bearer - 1, " ");
	return NULL;
}

bool auth_check(struct call *call, enum role needed)
{
	const struct config *config = call->gateway->config;
	const char *given = given_key(call->request);
	uint8_t wanted[SHA256_DIGEST_SIZE], have[SHA256_DIGEST_SIZE];
	digest(given ? given : "", wanted);
	for (size_t i = 0; i < config->gateway.key_count; i++) {
		digest(config->gateway.keys[i].key, have);
		if (memeql_sec(wanted, have, sizeof have) && given)
			call->who = &config->gateway.keys[i];
	}
	if (!call->who) {
		call->response->authenticate = true;
		return call_problem(call, 401, "unauthorized", "an API key is needed: Authorization: Bearer KEY, or X-Api-Key: KEY");
	}
#ifdef WEIR_MUTANT_NO_ROLES
	needed = ROLE_VIEWER;
#endif
	if (auth_role(call->who->role) < needed)
		return call_problem(call, 403, "forbidden", "the key \"%s\" has the role %s, which may not do this", call->who->name, call->who->role);
	return true;
}

/* principal.h - who a request comes from, once its credentials were checked: a name, and scopes that say what it may do. */
#ifndef WEIR_GATEWAY_PRINCIPAL_H
#define WEIR_GATEWAY_PRINCIPAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN }; /* ordered: each may all that the ones before may */

enum scope {
	SCOPE_READ = 1,   /* the ledger by REST */
	SCOPE_STREAM = 2, /* … by WebSocket and other streams */
	SCOPE_VIEWER = 4, /* roles of the admin listener, each may all that the ones before may */
	SCOPE_OPERATOR = 8,
	SCOPE_ADMIN = 16,
};
#define SCOPES 5

#define PRINCIPAL_NAME_MAX 112
#define PRINCIPAL_TOKEN "token:"
struct principal {
	char name[PRINCIPAL_NAME_MAX]; /* "alice", "export#3f9a01c2b7de": for limits, audit and logs */
	unsigned scopes;
	const char *role; /* the highest: "admin", "operator", "viewer", or "none" */
	char session[40]; /* of an operator who signed in; empty: there is none */
	int64_t until_ms; /* unix time at which the credentials end; 0: never */
	bool of_token;    /* of an issuer, whose name is "token:" and the subject; for keyring_denies: */
	uint64_t token;   /* … its jti's mark */
	int64_t issued_s; /* … and when it was issued */
};

unsigned scope_by_name(const char *name, size_t size); /* 0: there is no such scope */
const char *scope_name(unsigned index); /* 0..SCOPES-1, in the order above */
enum role scope_role(unsigned scopes);
const char *scope_role_name(unsigned scopes);
unsigned scopes_of_role(const char *role); /* what a key of the settings with this role may do */

#endif

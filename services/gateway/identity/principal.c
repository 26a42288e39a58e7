/* principal.c - names of scopes and roles. */
#include "identity/principal.h"

#include <string.h>

static const char *const names[SCOPES] = { "read", "stream", "viewer", "operator", "admin" };

unsigned scope_by_name(const char *name, size_t size)
{
	for (unsigned i = 0; i < SCOPES; i++)
		if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0)
			return 1u << i;
	return 0;
}

const char *scope_name(unsigned index)
{
	return names[index];
}

enum role scope_role(unsigned scopes)
{
	return scopes & SCOPE_ADMIN ? ROLE_ADMIN : scopes & SCOPE_OPERATOR ? ROLE_OPERATOR : scopes & SCOPE_VIEWER ? ROLE_VIEWER : ROLE_NONE;
}

const char *scope_role_name(unsigned scopes)
{
	static const char *const roles[] = { [ROLE_NONE] = "none", [ROLE_VIEWER] = "viewer", [ROLE_OPERATOR] = "operator", [ROLE_ADMIN] = "admin" };
	return roles[scope_role(scopes)];
}

unsigned scopes_of_role(const char *role)
{
	return SCOPE_READ | SCOPE_STREAM | scope_by_name(role, strlen(role));
}

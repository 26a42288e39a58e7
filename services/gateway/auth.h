/* auth.h - who may use the admin listener: API keys of the settings, each with a role. Deny by default. */
#ifndef WEIR_GATEWAY_AUTH_H
#define WEIR_GATEWAY_AUTH_H

#include "call.h"

/* Key from "Authorization: Bearer …" or "X-Api-Key: …". Sets call->who. False: answered with 401 or 403. */
bool auth_check(struct call *, enum role);
enum role auth_role(const char *name); /* "viewer", "operator", "admin"; else ROLE_NONE */

#endif

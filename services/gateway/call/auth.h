/* auth.h - who asks, and whether they may: API keys of the settings and of the database. Deny by default. */
#ifndef WEIR_GATEWAY_AUTH_H
#define WEIR_GATEWAY_AUTH_H

#include "call/call.h"

/* Credentials from "Authorization: Bearer …" or "X-Api-Key: …" to call->who. False: answered with 401 or 403. */
bool auth_operator(struct call *, enum role needed);
/* Clients may be nobody where gateway.anonymous says so; wrong credentials are refused all the same. */
bool auth_client(struct call *, enum scope needed);
/* Of a call whose `who` is known. On the operators' listener roles say who may come in, and scopes nothing. False: answered with 403. */
bool auth_scope(struct call *, enum scope needed);
bool auth_shows(const struct http_request *); /* are there credentials, whatever they are worth? */
bool auth_may_wait(const struct http_request *); /* may looking at its credentials take a while? */

#endif

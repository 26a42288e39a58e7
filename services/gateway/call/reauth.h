/* reauth.h - credentials on a connection that is open already: looked at as at its opening, on a thread that may not wait. */
#ifndef WEIR_GATEWAY_REAUTH_H
#define WEIR_GATEWAY_REAUTH_H

#include "gateway.h"
#include "identity/principal.h"

struct reauth {
	const char *token, *key; /* one of the two */
	const char *remote;      /* the connection's client, as text: wrong credentials are charged to it */
	bool operators;          /* on their listener */
	bool first;              /* nobody in particular holds the connection so far: the scope is looked at and the key charged as at its opening */
	/* answer, when they are not good: a problem's code and detail */
	char code[40], words[400];
};
/* Sets *ret; unless it is the first, whatever its scopes. False: they are not good. Tokens that must be looked up elsewhere (sessions of operators, keys of an issuer that
 * were not fetched yet) are refused. */
bool reauth(struct gateway *, struct reauth *, struct principal *ret);

#endif

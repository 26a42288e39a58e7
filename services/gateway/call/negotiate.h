/* negotiate.h - what the answer looks like to this client: coding, and who may read it from a page of another origin (CORS).
 *
 * CORS (the Fetch standard) is for the clients' listener only, and for the origins in gateway.cors_origins, compared as a whole; there is no
 * "*" and no credentials mode: keys travel in headers that a page must set itself.
 */
#ifndef WEIR_GATEWAY_NEGOTIATE_H
#define WEIR_GATEWAY_NEGOTIATE_H

#include "call/call.h"

#define MSGPACK_TYPE "application/vnd.msgpack"
/* Does Accept name it (or application/msgpack) and like JSON no better? */
bool negotiate_likes_msgpack(const struct http_request *);
/* The answer as MessagePack for those; problems stay JSON. */
void negotiate_type(const struct http_request *, struct http_response *);
/* Codes the body where that helps, and says in Vary what the answer depends on. The last step of a call, on either listener. */
void negotiate_coding(const struct http_request *, struct http_response *);

#define CORS_ORIGINS_MAX 32
struct cors_origins {
	char *items[CORS_ORIGINS_MAX];
	size_t count;
};
/* "https://a.example, https://b.example:8443". WEIR_CONFIG. */
int cors_parse(const char *list, struct cors_origins *ret, struct error *);
void cors_free(struct cors_origins *);
/* Headers that let a page of a listed origin read the answer. */
void cors_tell(const struct cors_origins *, const struct http_request *, struct http_response *);
/* May the page that asks open a WebSocket: is it of a listed origin, or of this host and port? Programs, which are no pages, may. */
bool cors_may_open(const struct cors_origins *, const struct http_request *);
/* A preflight: OPTIONS with Origin and Access-Control-Request-Method, for a path that takes `allow`. False: it is none. Answered with 204 or
 * with 403. */
bool cors_preflight(struct call *, const struct cors_origins *, const char *allow);

#endif

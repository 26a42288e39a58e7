/* admit.h - whether a request may come in: its client's rate limit pays for it, or it is answered with 429. */
#ifndef WEIR_GATEWAY_ADMIT_H
#define WEIR_GATEWAY_ADMIT_H

#include "call/call.h"
#include "call/limit.h"

/* Charges the call's route to its key (call->who), else to its address. False: answered with 429. admit_settle, after the handler, gives back
 * what a 304 was charged, and tells the client how it stands. */
struct admission {
	struct limited payer;
	int64_t cost;
	struct limit_verdict verdict;
};
bool admit(struct call *, struct admission *ret);
void admit_settle(struct call *, const struct admission *);
void admit_undo(struct call *, const struct admission *); /* instead: it was never asked */

/* http_options.websocket_admit: a handshake costs like any request. */
bool admit_websocket(const struct http_request *, struct http_response *, void *gateway);
bool admit_operator_websocket(const struct http_request *, struct http_response *, void *gateway);

/* A message over a WebSocket: one that subscribes costs what GET /v1/stream does. holder: whose connection it is, "": its address pays. False: it
 * is not allowed now, words tells why. */
#define ADMIT_WORDS 200
bool admit_message(struct gateway *, const char *holder, const char *remote, bool subscribes, char words[ADMIT_WORDS]);

#endif

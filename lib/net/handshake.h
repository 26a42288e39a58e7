/* handshake.h - the opening handshake of a WebSocket client (RFC 6455 §4): what is sent, and a strict look at the answer. Pure. */
#ifndef WEIR_NET_HANDSHAKE_H
#define WEIR_NET_HANDSHAKE_H

#include "base/error.h"
#include "base/mem.h"

#define HANDSHAKE_MAX 16384 /* bytes of the server's answer head */

void handshake_key(char ret[25]); /* 16 random bytes in base64 */
void handshake_accept(const char *key, char ret[29]);
void handshake_request(const char *host, const char *path, const char *auth_header, const char *key, struct buf *out);
/* answer: what arrived so far. 0: accepted, *ret_size bytes belong to the head. WEIR_TIMEOUT: not whole yet. WEIR_PROTOCOL or what the
 * status means otherwise. */
int handshake_read(struct bytes answer, const char *key, size_t *ret_size, struct error *);

#endif

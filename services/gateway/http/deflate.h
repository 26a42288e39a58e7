/* deflate.h - permessage-deflate (RFC 7692), without context takeover either way: no connection holds a window.
 *
 * Because every message is compressed by itself, the part of a push that all subscribers share is compressed once (deflate_shared) and
 * each subscriber's own few bytes go before it as a stored block (deflate_stored). Both are of one thread at a time.
 */
#ifndef WEIR_GATEWAY_DEFLATE_H
#define WEIR_GATEWAY_DEFLATE_H

#include "base/mem.h"

#define DEFLATE_LEAST 256 /* bytes of a message below which compressing is not worth its work */
#define DEFLATE_STORED_HEADER 5
#define DEFLATE_ANSWER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

/* Section 7.1: is there an offer in Sec-WebSocket-Extensions that DEFLATE_ANSWER answers? */
bool deflate_accepts(const char *offers);

struct deflate;
struct deflate *deflate_new(void);
void deflate_free(struct deflate **);
/* The end of a message: what follows stored blocks, without the empty block that section 7.2.1 leaves out. False: it would not be smaller. */
bool deflate_shared(struct deflate *, struct bytes, struct buf *ret);
/* Header of a stored block of `size` <= 65535 bytes, which follow it as they are (RFC 1951 section 3.2.4). */
void deflate_stored(size_t size, uint8_t ret[DEFLATE_STORED_HEADER]);

/* A received message (section 7.2.2), appended to out: out->overflow when it is larger than out may become. False: it is no such message. */
bool deflate_inflate(struct bytes, struct buf *out);

#endif

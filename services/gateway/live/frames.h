/* frames.h - WebSocket framing (RFC 6455) of one connection, over wslay: bytes in, whole messages out; and frames for sending.
 *
 * Bytes that the protocol itself wants sent (pong, close) come out of on_output as whole frames. Knows no sockets.
 */
#ifndef WEIR_GATEWAY_FRAMES_H
#define WEIR_GATEWAY_FRAMES_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAMES_MESSAGE_MAX ((size_t)64 << 10)
#define FRAMES_FRAGMENTS_MAX 1024 /* of a message, empty ones counted; one more ends the connection (1009) */
#define FRAMES_HEADER_MAX 10

struct frames;
struct frames_callbacks {
	void (*on_text)(void *arg, struct bytes message);
	void (*on_binary)(void *arg, struct bytes message); /* NULL: such messages end the connection (1003) */
	void (*on_output)(void *arg, struct bytes frame_bytes); /* may come in pieces; nothing else may be sent between two pieces of one call */
	void *arg;
};
struct frames *frames_new(const struct frames_callbacks *, bool deflates); /* permessage-deflate was agreed on */
void frames_free(struct frames **);
/* False: the connection is over (a close was answered, or the peer broke the protocol and was told so): flush and close. */
bool frames_input(struct frames *, struct bytes);
void frames_ping(struct frames *);
void frames_close(struct frames *, uint16_t code, const char *reason); /* nothing may be sent after it */
bool frames_closed(const struct frames *);                              /* a close was sent */
bool frames_parted(const struct frames *);                              /* and one was received */

bool frames_is_utf8(struct bytes); /* RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF */

/* Header of an unmasked frame of `size` bytes, text or binary; deflated: they are compressed. Returns its length. */
size_t frames_header(size_t size, bool binary, bool deflated, uint8_t ret[FRAMES_HEADER_MAX]);

#endif

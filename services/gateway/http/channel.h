/* channel.h - the bytes of one connection, plain or through TLS (tls.h): what the listener's threads and the hub read and write by.
 *
 * The socket is non-blocking. Results and errno are those of recv and sendmsg, so that callers know one way only: 0 is the end, EAGAIN asks to
 * wait for the socket. Over TLS the wait may be for the other direction than the caller's: who keeps score of "readable" and "writable" sets both
 * at any event. A channel is one thread's at a time.
 */
#ifndef WEIR_GATEWAY_CHANNEL_H
#define WEIR_GATEWAY_CHANNEL_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct channel {
	int fd;
	SSL *tls;     /* NULL: plain. Owned */
	size_t owed;  /* bytes that channel_write refused with EAGAIN and that are encrypted already: they must come first again */
	bool ended;   /* nothing more is written */
};

ssize_t channel_read_tls(struct channel *, void *data, size_t size);
ssize_t channel_write_tls(struct channel *, const struct iovec *, size_t count);

static inline ssize_t channel_read(struct channel *c, void *data, size_t size)
{
	return c->tls ? channel_read_tls(c, data, size) : recv(c->fd, data, size, 0);
}

static inline ssize_t channel_write(struct channel *c, struct iovec *parts, size_t count)
{
	if (c->tls)
		return channel_write_tls(c, parts, count);
	if (count == 1)
		return send(c->fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL);
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
	return sendmsg(c->fd, &message, MSG_NOSIGNAL);
}

/* For a few bytes at a moment when the peer must have room for them. False: it has none, or is gone; the channel is of no use any more. */
bool channel_write_all(struct channel *, const void *data, size_t size);

enum channel_handshake { CHANNEL_OPEN, CHANNEL_WAITS, CHANNEL_REFUSED };
/* Goes on with TLS's handshake. CHANNEL_REFUSED: ret_reason (static or OpenSSL's) tells why; the peer was told, by an alert, or in plain HTTP if that is what
 * it speaks. */
enum channel_handshake channel_shake_hands(struct channel *, const char **ret_reason);

void channel_end_writing(struct channel *); /* TLS: with close_notify, so that the peer knows that nothing was cut off */
void channel_close(struct channel *);       /* and the socket */

#endif

/* channel.c - TLS records between a connection's caller and its socket; plain connections are in the header. */
#include "http/channel.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

#define RECORD SSL3_RT_MAX_PLAIN_LENGTH

static ssize_t fail(int code)
{
	errno = code;
	return -1;
}

/* A read asks for a whole record's room, so that none is left where epoll cannot see it. That a read waits for room to write (the peer wants new keys and
 * takes nothing) is not waited for: an honest peer comes back. */
ssize_t channel_read_tls(struct channel *c, void *data, size_t size)
{
	ERR_clear_error();
	int n = SSL_read(c->tls, data, (int)size);
	if (n > 0)
		return n;
	switch (SSL_get_error(c->tls, n)) {
	case SSL_ERROR_WANT_READ:
		return fail(EAGAIN);
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		c->ended = true;
		return fail(EIO);
	}
}

/* At most `most` bytes behind the first `skip`: where they are, or copied together. */
static const void *gather(const struct iovec *parts, size_t count, size_t skip, size_t most, uint8_t *copy, size_t *ret_size)
{
	*ret_size = 0;
	for (size_t i = 0; i < count && *ret_size < most; i++) {
		size_t cut = skip < parts[i].iov_len ? skip : parts[i].iov_len, left = parts[i].iov_len - cut;
		const uint8_t *from = (const uint8_t *)parts[i].iov_base + cut;
		skip -= cut;
		if (*ret_size == 0 && left >= most) {
			*ret_size = most;
			return from;
		}
		size_t n = left < most - *ret_size ? left : most - *ret_size;
		memcpy(copy + *ret_size, from, n);
		*ret_size += n;
	}
	return copy;
}

ssize_t channel_write_tls(struct channel *c, const struct iovec *parts, size_t count)
{
	uint8_t copy[RECORD];
	size_t sent = 0, size;
	if (c->ended)
		return fail(EPIPE);
	for (;;) {
		const void *data = gather(parts, count, sent, c->owed ? c->owed : RECORD, copy, &size);
		if (size == 0)
			return (ssize_t)sent;
		if (size < c->owed)
			return fail(EIO); /* the caller forgot what it owes */
		ERR_clear_error();
		int n = SSL_write(c->tls, data, (int)size);
		if (n <= 0) {
			bool waits = SSL_get_error(c->tls, n) == SSL_ERROR_WANT_WRITE;
			c->owed = waits ? size : 0;
			c->ended = !waits;
			return sent > 0 ? (ssize_t)sent : fail(waits ? EAGAIN : EIO);
		}
		c->owed = 0;
		sent += (size_t)n;
	}
}

bool channel_write_all(struct channel *c, const void *data, size_t size)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	if (channel_write(c, &part, 1) == (ssize_t)size)
		return true;
	c->ended = true;
	shutdown(c->fd, SHUT_WR);
	return false;
}

enum channel_handshake channel_shake_hands(struct channel *c, const char **ret_reason)
{
	static const char plain[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: 151\r\n\r\n"
				    "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"tls_wanted\",\"detail\":\"this address speaks TLS: ask it by "
				    "https:// instead of http://\"}";
	ERR_clear_error();
	int n = SSL_accept(c->tls), why = n == 1 ? SSL_ERROR_NONE : SSL_get_error(c->tls, n);
	if (why == SSL_ERROR_NONE)
		return CHANNEL_OPEN;
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return CHANNEL_WAITS;
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	*ret_reason = reason ? reason : "the connection ended in the handshake";
	if (ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST)
		(void)!send(c->fd, plain, sizeof plain - 1, MSG_NOSIGNAL);
	return CHANNEL_REFUSED;
}

void channel_end_writing(struct channel *c)
{
	if (c->tls && !c->ended && SSL_is_init_finished(c->tls)) {
		ERR_clear_error();
		SSL_shutdown(c->tls);
	}
	c->ended = true;
	shutdown(c->fd, SHUT_WR);
}

void channel_close(struct channel *c)
{
	if (c->tls && !c->ended)
		channel_end_writing(c);
	SSL_free(c->tls);
	c->tls = NULL;
	close(c->fd);
}

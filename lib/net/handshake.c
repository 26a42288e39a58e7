/* handshake.c - Sec-WebSocket-Accept and everything else that RFC 6455 §4.1 makes a client check. */
#include "net/handshake.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 §1.3 */

void handshake_key(char ret[25])
{
	uint8_t random[16];
	RAND_bytes(random, sizeof random);
	EVP_EncodeBlock((unsigned char *)ret, random, sizeof random);
}

void handshake_accept(const char *key, char ret[29])
{
	char text[128];
	uint8_t digest[SHA_DIGEST_LENGTH];
	int length = snprintf(text, sizeof text, "%s" GUID, key);
	SHA1((const unsigned char *)text, (size_t)length, digest);
	EVP_EncodeBlock((unsigned char *)ret, digest, sizeof digest);
}

void handshake_request(const char *host, const char *path, const char *auth_header, const char *key, struct buf *out)
{
	buf_printf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
		   path, host, key);
	if (auth_header && *auth_header)
		buf_printf(out, "Authorization: %s\r\n", auth_header);
	buf_add_str(out, "\r\n");
}

struct header {
	const char *name, *value;
	size_t name_size, value_size;
};

/* Takes the next line off *at; false at the empty line that ends the head, or when a line is not a header. */
static bool next_header(const char **at, const char *end, struct header *ret, bool *ret_malformed)
{
	const char *line = *at, *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
	if (!stop || stop == line)
		return false;
	*at = stop + 2;
	const char *colon = memchr(line, ':', (size_t)(stop - line));
	if (!colon || colon == line || *line == ' ' || *line == '\t') {
		*ret_malformed = true;
		return false;
	}
	ret->name = line;
	ret->name_size = (size_t)(colon - line);
	const char *value = colon + 1;
	while (value < stop && (*value == ' ' || *value == '\t'))
		value++;
	while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
		stop--;
	ret->value = value;
	ret->value_size = (size_t)(stop - value);
	return true;
}

static bool is(const char *text, size_t size, const char *word)
{
	return size == strlen(word) && strncasecmp(text, word, size) == 0;
}

static bool has_token(const struct header *h, const char *word)
{
	for (size_t at = 0; at < h->value_size;) {
		size_t end = at;
		while (end < h->value_size && h->value[end] != ',')
			end++;
		size_t from = at, to = end;
		while (from < to && h->value[from] == ' ')
			from++;
		while (to > from && h->value[to - 1] == ' ')
			to--;
		if (is(h->value + from, to - from, word))
			return true;
		at = end + 1;
	}
	return false;
}

static int refused(int status, struct error *err)
{
	int code = status == 401 || status == 403	? WEIR_PERMISSION
		   : status == 429			? WEIR_RATE_LIMITED
		   : status == 404 || status == 405	? WEIR_UNSUPPORTED
		   : status >= 500 && status < 600	? WEIR_UNAVAILABLE
							: WEIR_PROTOCOL;
	return error_set(err, code, "WebSocket handshake refused with HTTP status %d", status);
}

int handshake_read(struct bytes answer, const char *key, size_t *ret_size, struct error *err)
{
	const char *text = (const char *)answer.data;
	const char *blank = answer.size ? memmem(text, answer.size, "\r\n\r\n", 4) : NULL;
	if (!blank)
		return answer.size >= HANDSHAKE_MAX ? error_set(err, WEIR_PROTOCOL, "WebSocket handshake: head of more than %d bytes", HANDSHAKE_MAX)
						    : WEIR_TIMEOUT;
	const char *end = blank + 4;
	if (end - text < 14 || strncmp(text, "HTTP/1.1 ", 9) != 0 || strspn(text + 9, "0123456789") != 3)
		return error_set(err, WEIR_PROTOCOL, "WebSocket handshake: the answer is not HTTP/1.1");
	int status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
	if (status != 101)
		return refused(status, err);
	char accept[29];
	handshake_accept(key, accept);
	const char *at = (const char *)memmem(text, (size_t)(end - text), "\r\n", 2) + 2;
	bool upgrade = false, connection = false, accepted = false, extra = false, malformed = false;
	for (struct header h; next_header(&at, end, &h, &malformed);) {
		if (is(h.name, h.name_size, "Upgrade"))
			upgrade = is(h.value, h.value_size, "websocket");
		else if (is(h.name, h.name_size, "Connection"))
			connection = connection || has_token(&h, "upgrade");
		else if (is(h.name, h.name_size, "Sec-WebSocket-Accept"))
			accepted = h.value_size == 28 && memcmp(h.value, accept, 28) == 0;
		else if (is(h.name, h.name_size, "Sec-WebSocket-Extensions") || is(h.name, h.name_size, "Sec-WebSocket-Protocol"))
			extra = true; /* nothing of that kind was asked for */
	}
	if (!upgrade || !connection || !accepted || extra || malformed)
		return error_set(err, WEIR_PROTOCOL, "WebSocket handshake: %s", malformed ? "a malformed header"
										: !upgrade ? "no \"Upgrade: websocket\""
										: !connection ? "no \"Connection: Upgrade\""
										: !accepted ? "Sec-WebSocket-Accept does not match the key"
											    : "an extension or protocol that was not asked for");
	*ret_size = (size_t)(end - text);
	return 0;
}

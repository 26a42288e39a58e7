/* handshake_test.c - RFC 6455's own example, and handshakes that must be refused. */
#include "net/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 §1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GOOD "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n"

static int read_text(const char *text, size_t *ret_size)
{
	struct error err = { 0 };
	return handshake_read((struct bytes){ (const uint8_t *)text, strlen(text) }, KEY, ret_size, &err);
}

static void the_example_of_the_rfc(void **state)
{
	(void)state;
	char accept[29];
	size_t size = 0;
	handshake_accept(KEY, accept);
	assert_string_equal(accept, ACCEPT);
	assert_int_equal(read_text(GOOD, &size), 0);
	assert_int_equal(size, strlen(GOOD));
	assert_int_equal(read_text(GOOD "\x81\x01x", &size), 0); /* a frame that came along */
	assert_int_equal(size, strlen(GOOD));
	for (size_t n = 0; n < strlen(GOOD); n++) { /* not whole yet */
		char text[sizeof GOOD];
		snprintf(text, n + 1, "%s", GOOD);
		assert_int_equal(read_text(text, &size), WEIR_TIMEOUT);
	}
}

static void what_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", WEIR_PROTOCOL },
		{ "HTTP/1.1 401 Unauthorized\r\n\r\n", WEIR_PERMISSION },
		{ "HTTP/1.1 429 Slow\r\n\r\n", WEIR_RATE_LIMITED },
		{ "HTTP/1.1 503 Down\r\n\r\n", WEIR_UNAVAILABLE },
		{ "HTTP/1.1 302 Moved\r\nLocation: ws://elsewhere/\r\n\r\n", WEIR_PROTOCOL },
		{ "SSH-2.0-OpenSSH\r\n\r\n", WEIR_PROTOCOL },
		{ "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", WEIR_PROTOCOL },
		{ "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAALMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", WEIR_PROTOCOL },
		{ "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", WEIR_PROTOCOL },
		{ "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", WEIR_PROTOCOL },
		{ "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Accept: " ACCEPT
		  "\r\n\r\n",
		  WEIR_PROTOCOL },
		{ "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nno colon\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", WEIR_PROTOCOL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t size;
		if (read_text(rows[i].text, &size) != rows[i].code)
			fail_msg("row %zu: %s", i, rows[i].text);
	}
	struct buf endless = BUF_INIT(1 << 20);
	buf_add_str(&endless, "HTTP/1.1 101 X\r\n");
	while (endless.size < HANDSHAKE_MAX)
		buf_add_str(&endless, "a: b\r\n");
	size_t size;
	assert_int_equal(read_text(buf_str(&endless), &size), WEIR_PROTOCOL);
	buf_free(&endless);
}

static void keys_differ(void **state)
{
	(void)state;
	char a[25], b[25];
	handshake_key(a);
	handshake_key(b);
	assert_int_equal(strlen(a), 24);
	assert_string_not_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_example_of_the_rfc), cmocka_unit_test(what_is_refused), cmocka_unit_test(keys_differ) };
	return cmocka_run_group_tests_name("handshake", tests, NULL, NULL);
}

/* frames.c - wslay's event interface fed from memory. */
#include "frames.h"

#include <string.h>
#include <wslay/wslay.h>

struct frames {
	wslay_event_context_ptr ws;
	struct frames_callbacks callbacks;
	struct bytes input; /* what wslay has not taken yet; only during frames_input */
};

static ssize_t on_read(wslay_event_context_ptr ws, uint8_t *data, size_t size, int flags, void *arg)
{
	(void)flags;
	struct frames *f = arg;
	size_t n = f->input.size < size ? f->input.size : size;
	if (n == 0) {
		wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(data, f->input.data, n);
	f->input.data += n;
	f->input.size -= n;
	return (ssize_t)n;
}

static ssize_t on_write(wslay_event_context_ptr ws, const uint8_t *data, size_t size, int flags, void *arg)
{
	(void)ws;
	(void)flags;
	struct frames *f = arg;
	f->callbacks.on_output(f->callbacks.arg, (struct bytes){ data, size });
	return (ssize_t)size;
}

static void on_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
	static const char text_only[] = "only text messages are spoken here";
	struct frames *f = arg;
	if (message->opcode == WSLAY_TEXT_FRAME)
		f->callbacks.on_text(f->callbacks.arg, (struct bytes){ message->msg, message->msg_length });
	else if (message->opcode == WSLAY_BINARY_FRAME)
		wslay_event_queue_close(ws, WSLAY_CODE_UNSUPPORTED_DATA, (const uint8_t *)text_only, sizeof text_only - 1);
}

struct frames *frames_new(const struct frames_callbacks *callbacks)
{
	static const struct wslay_event_callbacks table = { on_read, on_write, NULL, NULL, NULL, NULL, on_message };
	struct frames *f = xmalloc(sizeof *f);
	f->callbacks = *callbacks;
	if (wslay_event_context_server_init(&f->ws, &table, f) != 0)
		abort(); /* out of memory is its only reason */
	wslay_event_config_set_max_recv_msg_length(f->ws, FRAMES_MESSAGE_MAX);
	return f;
}

void frames_free(struct frames **fp)
{
	if (!*fp)
		return;
	wslay_event_context_free((*fp)->ws);
	xfree(fp);
}

static bool flush(struct frames *f)
{
	return !wslay_event_want_write(f->ws) || wslay_event_send(f->ws) == 0;
}

bool frames_input(struct frames *f, struct bytes data)
{
	f->input = data;
	bool ok = true;
	while (ok && f->input.size > 0 && wslay_event_want_read(f->ws)) {
		size_t before = f->input.size;
		ok = wslay_event_recv(f->ws) == 0;
		if (f->input.size == before)
			break;
	}
	f->input = (struct bytes){ NULL, 0 };
	ok = flush(f) && ok;
	return ok && !frames_closed(f);
}

void frames_ping(struct frames *f)
{
	const struct wslay_event_msg ping = { WSLAY_PING, NULL, 0 };
	if (wslay_event_queue_msg(f->ws, &ping) == 0)
		(void)flush(f);
}

void frames_close(struct frames *f, uint16_t code, const char *reason)
{
	size_t n = strlen(reason);
	if (wslay_event_queue_close(f->ws, code, (const uint8_t *)reason, n > 123 ? 123 : n) == 0)
		(void)flush(f);
}

bool frames_closed(const struct frames *f)
{
	return wslay_event_get_close_sent(f->ws) != 0;
}

size_t frames_text_header(size_t size, uint8_t ret[FRAMES_HEADER_MAX])
{
	size_t n = size < 126 ? 0 : size < 65536 ? 2 : 8;
	ret[0] = 0x81; /* final, text */
	ret[1] = n == 0 ? (uint8_t)size : n == 2 ? 126 : 127;
	for (size_t i = 0; i < n; i++)
		ret[2 + i] = (uint8_t)((uint64_t)size >> 8 * (n - 1 - i));
	return 2 + n;
}

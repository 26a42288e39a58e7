/* frames.c - wslay's event interface fed from memory. */
#include "live/frames.h"

#include "http/deflate.h"

#include <string.h>
#include <wslay/wslay.h>

/* Where the input stands between frames: wslay does not say, and has 8 KB of buffers that a connection on which nothing happens can do without. */
struct place {
	uint8_t header[14], header_size;
	bool fragmented; /* a message has begun whose last frame is still to come */
	unsigned fragments; /* of that message so far */
	uint64_t payload; /* bytes of this frame that are still to come */
};

struct frames {
	wslay_event_context_ptr ws; /* NULL: nothing is under way */
	bool deflates;
	struct place place;
	struct frames_callbacks callbacks;
	struct bytes input; /* what wslay has not taken yet; only during frames_input */
	uint16_t instead;   /* code to answer a broken close with; 0: it is whole */
	size_t payload;     /* bytes of the frame going out that are still to come */
	bool replaced;      /* and they are left out */
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

/* wslay hands out control frames: a header of two bytes, then the payload. Where it ends a connection without saying why (a broken control
 * frame), or answers a close that is itself broken as if it were not, the right close goes out instead. */
static ssize_t on_write(wslay_event_context_ptr ws, const uint8_t *data, size_t size, int flags, void *arg)
{
	(void)flags;
	struct frames *f = arg;
	struct bytes out = { data, size };
	uint8_t close[4] = { 0x88, 2 };
	if (f->payload > 0) { /* of the frame whose header went out */
		f->payload -= size < f->payload ? size : f->payload;
		out.size = f->replaced ? 0 : size;
	} else if (size >= 2) {
		bool unexplained = data[0] == close[0] && data[1] == 0 && !wslay_event_get_close_received(ws);
		uint16_t code = unexplained ? WSLAY_CODE_PROTOCOL_ERROR : data[0] == close[0] ? f->instead : 0;
		f->payload = (size_t)(data[1] & 0x7f) + 2 > size ? (size_t)(data[1] & 0x7f) + 2 - size : 0;
		f->replaced = code != 0;
		close[2] = (uint8_t)(code >> 8);
		close[3] = (uint8_t)code;
		if (code)
			out = (struct bytes){ close, sizeof close };
	}
	if (out.size > 0)
		f->callbacks.on_output(f->callbacks.arg, out);
	return (ssize_t)size;
}

/* Bytes of the character that begins with p[0] and has n bytes at most; 0: it is none. */
static size_t character(const uint8_t *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < size)
		return 0;
	for (size_t i = 1; i < size; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
	return overlong || outside ? 0 : size;
}

bool frames_is_utf8(struct bytes text)
{
	for (size_t i = 0, n; i < text.size; i += n)
		if ((n = character(text.data + i, text.size - i)) == 0)
			return false;
	return true;
}

static void give_up(struct frames *f, uint16_t code, const char *why)
{
	wslay_event_queue_close(f->ws, code, (const uint8_t *)why, strlen(why));
}

static void take_binary(struct frames *f, struct bytes message)
{
	if (f->callbacks.on_binary)
		f->callbacks.on_binary(f->callbacks.arg, message);
	else
		give_up(f, WSLAY_CODE_UNSUPPORTED_DATA, "only text messages are spoken here");
}

/* Its size is limited before as after. That the text is UTF-8 could not be seen while it was compressed. */
static void on_deflated(struct frames *f, const struct wslay_event_on_msg_recv_arg *message)
{
	struct buf text = BUF_INIT(FRAMES_MESSAGE_MAX);
	if (!deflate_inflate((struct bytes){ message->msg, message->msg_length }, &text))
		give_up(f, WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA, "the message cannot be inflated");
	else if (text.overflow)
		give_up(f, WSLAY_CODE_MESSAGE_TOO_BIG, "the message is larger than 64 KiB when inflated");
	else if (message->opcode == WSLAY_BINARY_FRAME)
		take_binary(f, (struct bytes){ text.data, text.size });
	else if (!frames_is_utf8((struct bytes){ text.data, text.size }))
		give_up(f, WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA, "the message is not UTF-8");
	else
		f->callbacks.on_text(f->callbacks.arg, (struct bytes){ text.data, text.size });
	buf_free(&text);
}

/* Section 5.5.1: nothing, or a code and a reason in UTF-8. wslay looks at the reason only when it comes in one piece. */
static uint16_t broken_close(struct bytes payload)
{
	if (payload.size == 1)
		return WSLAY_CODE_PROTOCOL_ERROR;
	bool readable = payload.size < 2 || frames_is_utf8((struct bytes){ payload.data + 2, payload.size - 2 });
	return readable ? 0 : WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA;
}

static void on_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
	(void)ws;
	struct frames *f = arg;
	if (message->opcode == WSLAY_CONNECTION_CLOSE)
		f->instead = broken_close((struct bytes){ message->msg, message->msg_length });
	else if (wslay_get_rsv1(message->rsv))
		on_deflated(f, message);
	else if (message->opcode == WSLAY_TEXT_FRAME)
		f->callbacks.on_text(f->callbacks.arg, (struct bytes){ message->msg, message->msg_length });
	else if (message->opcode == WSLAY_BINARY_FRAME)
		take_binary(f, (struct bytes){ message->msg, message->msg_length });
}

struct frames *frames_new(const struct frames_callbacks *callbacks, bool deflates)
{
	struct frames *f = xmalloc(sizeof *f);
	f->callbacks = *callbacks;
	f->deflates = deflates;
	return f;
}

/* ---- the context, while something is under way ------------------------------------------------------------------------------------------- */

static void begin(struct frames *f)
{
	static const struct wslay_event_callbacks table = { on_read, on_write, NULL, NULL, NULL, NULL, on_message };
	if (f->ws)
		return;
	if (wslay_event_context_server_init(&f->ws, &table, f) != 0)
		abort(); /* out of memory is its only reason */
	wslay_event_config_set_max_recv_msg_length(f->ws, FRAMES_MESSAGE_MAX);
	wslay_event_config_set_allowed_rsv_bits(f->ws, f->deflates ? WSLAY_RSV1_BIT : WSLAY_RSV_NONE);
}

/* Between two messages, with nothing to write and no end in sight, a new context knows as much as the old one. */
static void rest(struct frames *f)
{
	const struct place *p = &f->place;
	if (!f->ws)
		return;
	bool ends = wslay_event_get_close_sent(f->ws) || wslay_event_get_close_received(f->ws) || !wslay_event_get_read_enabled(f->ws);
	if (ends || p->header_size > 0 || p->payload > 0 || p->fragmented || f->payload > 0 || wslay_event_want_write(f->ws))
		return;
	wslay_event_context_free(f->ws);
	f->ws = NULL;
}

static size_t header_size(const uint8_t *header, size_t size)
{
	if (size < 2)
		return 2;
	unsigned length = header[1] & 0x7f;
	return 2u + (length == 126 ? 2u : length == 127 ? 8u : 0u) + (header[1] & 0x80 ? 4u : 0u);
}

static void end_header(struct place *p)
{
	unsigned opcode = p->header[0] & 15u, length = p->header[1] & 0x7f, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
	p->payload = bytes ? 0 : length;
	for (unsigned i = 0; i < bytes; i++)
		p->payload = p->payload << 8 | p->header[2 + i];
	if (opcode < 8) { /* control frames come between the parts of a message */
		p->fragments = p->fragmented ? p->fragments + 1 : 1;
		p->fragmented = !(p->header[0] & 0x80);
	}
	p->header_size = 0;
}

/* What breaks the rules is wslay's to refuse; then there is no place to come back to. Returns how much of it comes before a fragment too many, of which wslay
 * counts the bytes alone: those of empty ones never are too many. */
static size_t follow(struct place *p, struct bytes data)
{
	for (size_t i = 0; i < data.size;) {
		if (p->payload > 0) {
			uint64_t n = data.size - i < p->payload ? data.size - i : p->payload;
			p->payload -= n;
			i += (size_t)n;
			continue;
		}
		p->header[p->header_size++] = data.data[i++];
		if (p->header_size == header_size(p->header, p->header_size))
			end_header(p);
		if (p->fragments > FRAMES_FRAGMENTS_MAX)
			return i - 1; /* its header stays incomplete */
	}
	return data.size;
}

void frames_free(struct frames **fp)
{
	if (!*fp)
		return;
	if ((*fp)->ws)
		wslay_event_context_free((*fp)->ws);
	xfree(fp);
}

static bool flush(struct frames *f)
{
	return !wslay_event_want_write(f->ws) || wslay_event_send(f->ws) == 0;
}

/* A whole pong, final, masked, with no more than a control frame may carry: a sign of life and nothing else (section 5.5.3). */
static bool is_pong(struct bytes data)
{
	return data.size >= 6 && data.data[0] == 0x8a && data.data[1] >= 0x80 && data.data[1] <= 0x80 + 125 && data.size == 6u + (data.data[1] & 0x7f);
}

bool frames_input(struct frames *f, struct bytes data)
{
	if (!f->ws && is_pong(data)) /* what connections on which nothing happens say */
		return true;
	begin(f);
	f->input = (struct bytes){ data.data, follow(&f->place, data) };
	bool ok = true;
	while (ok && f->input.size > 0 && wslay_event_want_read(f->ws)) {
		size_t before = f->input.size;
		ok = wslay_event_recv(f->ws) == 0;
		if (f->input.size == before)
			break;
	}
	f->input = (struct bytes){ NULL, 0 };
	if (ok && f->place.fragments > FRAMES_FRAGMENTS_MAX && !frames_closed(f))
		frames_close(f, WSLAY_CODE_MESSAGE_TOO_BIG, "a message in too many fragments");
	ok = flush(f) && ok;
	if (ok)
		rest(f);
	return ok && !frames_closed(f);
}

void frames_ping(struct frames *f)
{
	static const uint8_t bytes[] = { 0x89, 0 };
	const struct wslay_event_msg ping = { WSLAY_PING, NULL, 0 };
	if (!f->ws) { /* nothing is under way that it could come between */
		f->callbacks.on_output(f->callbacks.arg, (struct bytes){ bytes, sizeof bytes });
		return;
	}
	if (wslay_event_queue_msg(f->ws, &ping) == 0)
		(void)flush(f);
	rest(f);
}

void frames_close(struct frames *f, uint16_t code, const char *reason)
{
	size_t n = strlen(reason);
	begin(f);
	if (wslay_event_queue_close(f->ws, code, (const uint8_t *)reason, n > 123 ? 123 : n) == 0)
		(void)flush(f);
}

bool frames_closed(const struct frames *f)
{
	return f->ws && wslay_event_get_close_sent(f->ws) != 0;
}

bool frames_parted(const struct frames *f)
{
	return frames_closed(f) && wslay_event_get_close_received(f->ws) != 0;
}

size_t frames_header(size_t size, bool binary, bool deflated, uint8_t ret[FRAMES_HEADER_MAX])
{
	size_t n = size < 126 ? 0 : size < 65536 ? 2 : 8;
	ret[0] = (uint8_t)(0x80 | (deflated ? 0x40 : 0) | (binary ? 2 : 1)); /* final; RSV1 is permessage-deflate's */
	ret[1] = n == 0 ? (uint8_t)size : n == 2 ? 126 : 127;
	for (size_t i = 0; i < n; i++)
		ret[2 + i] = (uint8_t)((uint64_t)size >> 8 * (n - 1 - i));
	return 2 + n;
}

/* ws_fuzz.c - what clients send over the WebSocket: frames in any pieces, and the JSON inside. */
#include "services/gateway/live/frames.h"
#include "services/gateway/live/protocol.h"

static void on_text(void *arg, struct bytes message)
{
	struct arena *arena = arg;
	struct ws_request request;
	struct error err;
	arena_reset(arena);
	(void)ws_request_read(message, arena, &request, &err);
}

static void on_output(void *arg, struct bytes frame)
{
	(void)arg;
	(void)frame;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(1 << 22);
	struct frames_callbacks callbacks = { on_text, NULL, on_output, arena };
	struct frames *frames = frames_new(&callbacks, size > 0 && data[0] & 1);
	on_text(arena, (struct bytes){ data, size });
	size_t piece = size ? data[0] % 32 + 1u : 1;
	for (size_t at = 0; at < size; at += piece)
		if (!frames_input(frames, (struct bytes){ data + at, size - at < piece ? size - at : piece }))
			break;
	frames_free(&frames);
	arena_free(&arena);
	return 0;
}

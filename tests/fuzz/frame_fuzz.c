/* frame_fuzz.c - the bus' frame: what is read is written again as the same bytes; nothing is read outside. */
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame frame;
	struct bytes key;
	uint16_t type;
	struct bytes input = { data, size };
	(void)frame_peek(input, &type, &key);
	if (frame_read(input, &frame, NULL) == 0) {
		struct buf out = BUF_INIT(FRAME_BODY_MAX * 2ul);
		frame_write(&frame, &out);
		if (out.size != size)
			abort();
		buf_free(&out);
	}
	/* And as content: whatever the bytes, a frame around them comes back. */
	struct buf whole = BUF_INIT(FRAME_BODY_MAX * 2ul);
	struct frame around = { .type = 1, .key = { data, size > FRAME_KEY_MAX ? FRAME_KEY_MAX : size }, .body = input };
	frame_write(&around, &whole);
	if (frame_read((struct bytes){ whole.data, whole.size }, &frame, NULL) != 0 || frame.body.size != size ||
	    (size && memcmp(frame.body.data, data, size) != 0))
		abort();
	buf_free(&whole);
	return 0;
}

/* frame_fuzz.c - the bus' frame and its envelope: what is read is written again as the same bytes; nothing is read outside. */
#include "wire/envelope.h"

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
	struct envelope envelope, again;
	if (envelope_read(input, &envelope, NULL) == 0) {
		struct buf packed = BUF_INIT(FRAME_MORE_MAX);
		envelope_write(&envelope, &packed);
		if (packed.overflow || envelope_read((struct bytes){ packed.data, packed.size }, &again, NULL) != 0 ||
		    again.issuer.size != envelope.issuer.size || again.attempts_max != envelope.attempts_max ||
		    memcmp(again.causation_id, envelope.causation_id, 16) != 0)
			abort();
		buf_free(&packed);
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

/* inflate_fuzz.c - compressed messages, offers of compression, and what is compressed for sending: it comes back as it was. */
#include "services/gateway/http/deflate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct deflate *deflate;
	struct buf out = BUF_INIT(64 << 10), message = BUF_INIT(1 << 20);
	char *text = xstrndup((const char *)data, size);
	uint8_t header[DEFLATE_STORED_HEADER];
	if (!deflate)
		deflate = deflate_new();
	(void)deflate_accepts(text);
	(void)deflate_inflate((struct bytes){ data, size }, &out);
	if (out.size > out.max)
		abort();
	buf_reset(&out);
	size_t own = size < 60 ? size : 60;
	deflate_stored(own, header);
	buf_add(&message, header, sizeof header);
	buf_add(&message, data, own);
	if (size > own && size < 60000 && deflate_shared(deflate, (struct bytes){ data + own, size - own }, &message) &&
	    (!deflate_inflate((struct bytes){ message.data, message.size }, &out) || out.size != size || memcmp(out.data, data, size) != 0))
		abort();
	free(text);
	buf_free(&out);
	buf_free(&message);
	return 0;
}

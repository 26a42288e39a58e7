/* rlp_fuzz.c - RLP: what the strict reader accepts, the writer writes again byte for byte. */
#include "wire/rlp.h"

#include <stdlib.h>
#include <string.h>

static bool rewrite(struct bytes rest, struct buf *out, unsigned depth)
{
	struct rlp_item item;
	while (rest.size > 0) {
		if (depth > 64 || rlp_next(&rest, &item) != 0)
			return false;
		if (!item.list) {
			rlp_add_bytes(out, item.payload.data, item.payload.size);
			continue;
		}
		size_t list = rlp_list_begin(out);
		if (!rewrite(item.payload, out, depth + 1))
			return false;
		rlp_list_end(out, list);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT(1 << 22);
	struct rlp_item item;
	struct bytes rest = { data, size };
	uint64_t number;
	if (rlp_next(&rest, &item) == 0)
		(void)rlp_to_u64(&item, &number);
	if (rewrite((struct bytes){ data, size }, &out, 0) && !out.overflow && (out.size != size || (size && memcmp(out.data, data, size) != 0)))
		abort();
	buf_free(&out);
	return 0;
}

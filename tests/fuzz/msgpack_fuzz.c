/* msgpack_fuzz.c - MessagePack from outside: what is taken is JSON, and what that becomes again is taken, too, and says the same. */
#include "wire/msgpack.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(1 << 24);
	struct buf json = BUF_INIT(1 << 18), packed = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
	struct error err;
	if (msgpack_to_json((struct bytes){ data, size }, &json, &err) == 0) {
		if (msgpack_from_json((struct bytes){ json.data, json.size }, arena, &packed, &err) != 0)
			abort();
		if (msgpack_to_json((struct bytes){ packed.data, packed.size }, &again, &err) != 0)
			abort();
	}
	buf_reset(&packed);
	(void)msgpack_from_json((struct bytes){ data, size }, arena, &packed, &err);
	buf_free(&json);
	buf_free(&packed);
	buf_free(&again);
	arena_free(&arena);
	return 0;
}

/* compress.c - zstd with limits. */
#include "wire/compress.h"

#include <zstd.h>

struct compressor { /* each made when it is needed: few need both */
	ZSTD_CCtx *in;
	ZSTD_DCtx *out;
};

struct compressor *compressor_new(void)
{
	return xmalloc(sizeof(struct compressor));
}

void compressor_free(struct compressor **c)
{
	if (!*c)
		return;
	ZSTD_freeCCtx((*c)->in);
	ZSTD_freeDCtx((*c)->out);
	xfree(c);
}

int compress_zstd(struct compressor *c, struct bytes data, struct buf *out, struct error *err)
{
	size_t bound = ZSTD_compressBound(data.size);
	if (!c->in)
		c->in = ZSTD_createCCtx();
	buf_reserve(out, bound);
	if (out->overflow)
		return error_set(err, WEIR_LIMIT, "%zu bytes are too many to compress", data.size);
	size_t n = ZSTD_compressCCtx(c->in, out->data + out->size, bound, data.data, data.size, 1);
	if (ZSTD_isError(n))
		return error_set(err, WEIR_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
	out->size += n;
	return 0;
}

int decompress_zstd(struct compressor *c, struct bytes data, uint64_t size, size_t max, struct arena *arena, struct bytes *ret, struct error *err)
{
	if (size > max || size > SIZE_MAX / 2)
		return error_set(err, WEIR_LIMIT, "%llu bytes decompressed; at most %zu are accepted", (unsigned long long)size, max);
	uint8_t *room = arena_alloc(arena, size + 16); /* padding: yyjson may read in place behind it */
	if (!room)
		return error_set(err, WEIR_LIMIT, "%llu bytes decompressed are more than one message may hold", (unsigned long long)size);
	if (!c->out)
		c->out = ZSTD_createDCtx();
	size_t n = ZSTD_decompressDCtx(c->out, room, size, data.data, data.size);
	if (ZSTD_isError(n) || n != size)
		return error_set(err, WEIR_INVALID, "zstd: %s", ZSTD_isError(n) ? ZSTD_getErrorName(n) : "another size than announced");
	*ret = (struct bytes){ room, size };
	return 0;
}

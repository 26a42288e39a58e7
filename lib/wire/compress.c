/* compress.c - zstd with limits. */
#include "wire/compress.h"

#include <pthread.h>
#include <string.h>
#include <yyjson.h>
#include <zstd.h>

struct compressor { /* each made when it is needed: few need both */
	ZSTD_CCtx *in;
	ZSTD_DCtx *out;
};

/* Contexts that are not in use: making one costs as much as what it is used for in a small block. */
#define KEPT_MAX 8
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct compressor *kept[KEPT_MAX];
static size_t kept_count;

struct compressor *compressor_new(void)
{
	struct compressor *c = NULL;
	pthread_mutex_lock(&lock);
	if (kept_count > 0)
		c = kept[--kept_count];
	pthread_mutex_unlock(&lock);
	return c ? c : xmalloc(sizeof(struct compressor));
}

void compressor_free(struct compressor **c)
{
	if (!*c)
		return;
	pthread_mutex_lock(&lock);
	bool keep = kept_count < KEPT_MAX;
	if (keep)
		kept[kept_count++] = *c;
	pthread_mutex_unlock(&lock);
	if (keep) {
		*c = NULL;
		return;
	}
	ZSTD_freeCCtx((*c)->in);
	ZSTD_freeDCtx((*c)->out);
	xfree(c);
}

/* What a small text costs at level 1 is tables, made for it and read again before its first byte; the negative levels do without. */
#define SMALL ((size_t)64 << 10)
#define SMALL_LEVEL (-1)
#define LEVEL 1

int compress_zstd(struct compressor *c, struct bytes data, struct buf *out, struct error *err)
{
	size_t bound = ZSTD_compressBound(data.size);
	if (!c->in)
		c->in = ZSTD_createCCtx();
	buf_reserve(out, bound);
	if (out->overflow)
		return error_set(err, WEIR_LIMIT, "%zu bytes are too many to compress", data.size);
	size_t n = ZSTD_compressCCtx(c->in, out->data + out->size, bound, data.data, data.size, data.size < SMALL ? SMALL_LEVEL : LEVEL);
	if (ZSTD_isError(n))
		return error_set(err, WEIR_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
	out->size += n;
	return 0;
}

int decompress_zstd(struct compressor *c, struct bytes data, uint64_t size, size_t max, struct arena *arena, struct bytes *ret, struct error *err)
{
	if (size > max || size > SIZE_MAX / 2)
		return error_set(err, WEIR_LIMIT, "%llu bytes decompressed; at most %zu are accepted", (unsigned long long)size, max);
	uint8_t *room = arena_alloc(arena, size + YYJSON_PADDING_SIZE);
	if (!room)
		return error_set(err, WEIR_LIMIT, "%llu bytes decompressed are more than one message may hold", (unsigned long long)size);
	if (!c->out)
		c->out = ZSTD_createDCtx();
	size_t n = ZSTD_decompressDCtx(c->out, room, size, data.data, data.size);
	if (ZSTD_isError(n) || n != size)
		return error_set(err, WEIR_INVALID, "zstd: %s", ZSTD_isError(n) ? ZSTD_getErrorName(n) : "another size than announced");
	memset(room + size, 0, YYJSON_PADDING_SIZE);
	*ret = (struct bytes){ room, size };
	return 0;
}

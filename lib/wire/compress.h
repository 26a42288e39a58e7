/* compress.h - zstd in one call, with limits, at memory speed: raw blocks shrink 5 to 10 times, small answers (below 64 KiB) half as much. */
#ifndef WEIR_WIRE_COMPRESS_H
#define WEIR_WIRE_COMPRESS_H

#include "base/error.h"
#include "base/mem.h"

/* One context per thread: keeps its tables between calls. A few that were freed are kept for the next who asks, from any thread. */
struct compressor;
struct compressor *compressor_new(void);
void compressor_free(struct compressor **);
/* Appends. */
int compress_zstd(struct compressor *, struct bytes data, struct buf *out, struct error *);
/* Exactly size bytes must come out (as the message says), at most max: WEIR_LIMIT, WEIR_INVALID. *ret lives in the arena and belongs to the caller, who may
 * write there; zeros stand behind it, YYJSON_PADDING_SIZE at least. */
int decompress_zstd(struct compressor *, struct bytes data, uint64_t size, size_t max, struct arena *, struct bytes *ret, struct error *);

#endif

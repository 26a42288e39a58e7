/* compress.h - zstd in one call, with limits. Level 1: raw blocks shrink 5-10 times at memory speed. */
#ifndef WEIR_WIRE_COMPRESS_H
#define WEIR_WIRE_COMPRESS_H

#include "base/error.h"
#include "base/mem.h"

/* Appends. One context per thread: keeps its tables between calls. */
struct compressor;
struct compressor *compressor_new(void);
void compressor_free(struct compressor **);
int compress_zstd(struct compressor *, struct bytes data, struct buf *out, struct error *);
/* Exactly size bytes must come out (as the message says), at most max: WEIR_LIMIT, WEIR_INVALID. *ret lives in the arena. */
int decompress_zstd(struct compressor *, struct bytes data, uint64_t size, size_t max, struct arena *, struct bytes *ret, struct error *);

#endif

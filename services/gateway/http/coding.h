/* coding.h - content codings by Accept-Encoding (RFC 9110 section 12.5.3): zstd (RFC 8878), gzip (RFC 1952), or none. Pure, any thread. */
#ifndef WEIR_GATEWAY_CODING_H
#define WEIR_GATEWAY_CODING_H

#include "base/mem.h"

#include <stdbool.h>

/* Bodies outside these bounds stay as they are: smaller ones fit into a packet, larger ones would hold a worker for too long. */
#define CODING_MIN ((size_t)1024)
#define CODING_MAX ((size_t)16 << 20)

enum coding { CODING_NONE, CODING_GZIP, CODING_ZSTD, CODINGS };
const char *coding_name(enum coding); /* "gzip", "zstd"; NULL for none */

/* What the client likes best of what there is; equally liked: zstd, then gzip. NULL or unreadable: none. */
enum coding coding_choose(const char *accept_encoding);
/* The weight of one name in such a list (Accept's too) in thousandths, or -1 when it does not stand there. */
int coding_weight(const char *list, const char *name);
/* Is it worth a coding? By type and size. */
bool coding_fits(const char *type, size_t size);
/* Appends the coded bytes. False (nothing appended): it did not get smaller, or memory is short. best: slowly, for what is coded once. */
bool coding_encode(enum coding, struct bytes plain, bool best, struct buf *out);

#endif

/* msgpack.h - JSON texts as MessagePack and back (github.com/msgpack/msgpack, spec.md). The values are the same either way: maps with texts as keys,
 * lists, texts, booleans, null, whole numbers of 64 bits, doubles. Whole numbers and lengths take the shortest form. Pure. */
#ifndef WEIR_WIRE_MSGPACK_H
#define WEIR_WIRE_MSGPACK_H

#include "base/error.h"
#include "base/mem.h"

/* Appends to out, whose overflow is WEIR_LIMIT. WEIR_INVALID: the text is not JSON. Scratch memory comes from the arena. */
int msgpack_from_json(struct bytes json, struct arena *, struct buf *out, struct error *);
/* WEIR_INVALID: more or less than one value, deeper than 32, byte strings, extensions, keys that are no texts, numbers that JSON has not. */
int msgpack_to_json(struct bytes, struct buf *out, struct error *);

/* Pieces, for who writes a message by hand. */
void msgpack_map(struct buf *, size_t pairs);
void msgpack_text(struct buf *, const char *text, size_t size);
void msgpack_u64(struct buf *, uint64_t);

#endif

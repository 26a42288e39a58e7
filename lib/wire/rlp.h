/* rlp.h - Recursive Length Prefix encoding (Ethereum yellow paper, appendix B): writer into a buf, strict reader.
 *
 * Writing a list:
 *	size_t list = rlp_list_begin(out);
 *	rlp_add_u64(out, 7); …
 *	rlp_list_end(out, list);
 */
#ifndef WEIR_WIRE_RLP_H
#define WEIR_WIRE_RLP_H

#include "base/error.h"
#include "base/mem.h"
#include "base/u256.h"

void rlp_add_bytes(struct buf *out, const uint8_t *data, size_t size);
void rlp_add_u64(struct buf *out, uint64_t value);     /* scalar: big-endian without leading zeros */
void rlp_add_u256(struct buf *out, struct u256 value); /* scalar */
/* From "0x…" text without a detour: a quantity becomes a scalar, data stays as it is. False when the text is not hex of that kind. */
bool rlp_add_hex_quantity(struct buf *out, const char *text, size_t length);
bool rlp_add_hex_data(struct buf *out, const char *text, size_t length);
size_t rlp_list_begin(struct buf *out);
void rlp_list_end(struct buf *out, size_t begin);
/* Bytes of the header in front of a payload of this size; writes it to ret. */
size_t rlp_list_header(size_t payload, uint8_t ret[9]);

/* One decoded item: a string's bytes or a list's payload. */
struct rlp_item {
	bool list;
	struct bytes payload;
};
/* Takes the next item off *rest. WEIR_INVALID: truncated, or not the shortest form (as consensus demands). */
int rlp_next(struct bytes *rest, struct rlp_item *ret);
int rlp_to_u64(const struct rlp_item *, uint64_t *ret); /* a scalar without leading zeros */
int rlp_to_u256(const struct rlp_item *, struct u256 *ret);

#endif

/* rlp.c - RLP writer and strict reader. */
#include "wire/rlp.h"

#include "wire/hex.h"

#include <string.h>

/* Header of a string (base 0x80) or list (base 0xc0). */
static size_t header(uint8_t base, size_t size, uint8_t ret[9])
{
	if (size <= 55) {
		ret[0] = (uint8_t)(base + size);
		return 1;
	}
	size_t n = 0;
	for (size_t rest = size; rest; rest >>= 8)
		n++;
	ret[0] = (uint8_t)(base + 55 + n);
	for (size_t i = 0; i < n; i++)
		ret[1 + i] = (uint8_t)(size >> (8 * (n - 1 - i)));
	return 1 + n;
}

size_t rlp_list_header(size_t payload, uint8_t ret[9])
{
	return header(0xc0, payload, ret);
}

void rlp_add_bytes(struct buf *out, const uint8_t *data, size_t size)
{
	if (size == 1 && data[0] < 0x80) {
		buf_add_byte(out, data[0]);
		return;
	}
	uint8_t head[9];
	buf_add(out, head, header(0x80, size, head));
	buf_add(out, data, size);
}

void rlp_add_u64(struct buf *out, uint64_t value)
{
	uint8_t bytes[8];
	size_t n = 0;
	for (int shift = 56; shift >= 0; shift -= 8)
		if (n > 0 || (value >> shift) & 0xff)
			bytes[n++] = (uint8_t)(value >> shift);
	rlp_add_bytes(out, bytes, n);
}

void rlp_add_u256(struct buf *out, struct u256 value)
{
	uint8_t bytes[32];
	size_t size = u256_to_be_min(value, bytes);
	rlp_add_bytes(out, bytes, size);
}

bool rlp_add_hex_quantity(struct buf *out, const char *text, size_t length)
{
	struct u256 value;
	uint64_t small;
	if (length <= 18) {
		if (hex_to_u64(text, length, &small) != 0)
			return false;
		rlp_add_u64(out, small);
		return true;
	}
	if (u256_from_hex(text, length, &value) != 0)
		return false;
	rlp_add_u256(out, value);
	return true;
}

bool rlp_add_hex_data(struct buf *out, const char *text, size_t length)
{
	if (length < 2 || length % 2)
		return false;
	size_t size = length / 2 - 1, written;
	if (size == 1) {
		uint8_t byte;
		if (hex_to_bytes(text, length, &byte, 1) != 0)
			return false;
		rlp_add_bytes(out, &byte, 1);
		return true;
	}
	uint8_t head[9];
	buf_add(out, head, header(0x80, size, head));
	buf_reserve(out, size);
	if (out->overflow)
		return false;
	if (hex_to_data(text, length, out->data + out->size, size, &written) != 0)
		return false;
	out->size += size;
	out->data[out->size] = 0;
	return true;
}

size_t rlp_list_begin(struct buf *out)
{
	return out->size;
}

void rlp_list_end(struct buf *out, size_t begin)
{
	if (out->overflow)
		return;
	size_t payload = out->size - begin;
	uint8_t head[9];
	size_t n = header(0xc0, payload, head);
	buf_reserve(out, n);
	if (out->overflow)
		return;
	memmove(out->data + begin + n, out->data + begin, payload);
	memcpy(out->data + begin, head, n);
	out->size += n;
	out->data[out->size] = 0;
}

int rlp_next(struct bytes *rest, struct rlp_item *ret)
{
	if (rest->size == 0)
		return WEIR_INVALID;
	uint8_t first = rest->data[0];
	size_t head = 1, size;
	bool list = first >= 0xc0;
	uint8_t base = list ? 0xc0 : 0x80;
	if (first < 0x80) {
		head = 0;
		size = 1;
	} else if (first <= base + 55) {
		size = (size_t)(first - base);
	} else {
		size_t n = (size_t)(first - base - 55);
		if (rest->size < 1 + n || rest->data[1] == 0)
			return WEIR_INVALID;
		size = 0;
		for (size_t i = 0; i < n; i++) {
			if (size >> 48)
				return WEIR_INVALID;
			size = size << 8 | rest->data[1 + i];
		}
		if (size <= 55)
			return WEIR_INVALID;
		head = 1 + n;
	}
	if (size > rest->size - head)
		return WEIR_INVALID;
	if (!list && head == 1 && size == 1 && rest->data[1] < 0x80)
		return WEIR_INVALID; /* a single small byte is its own encoding */
	ret->list = list;
	ret->payload = (struct bytes){ rest->data + head, size };
	rest->data += head + size;
	rest->size -= head + size;
	return 0;
}

int rlp_to_u256(const struct rlp_item *item, struct u256 *ret)
{
	if (item->list || item->payload.size > 32 || (item->payload.size > 0 && item->payload.data[0] == 0))
		return WEIR_INVALID;
	*ret = u256_from_be(item->payload.data, item->payload.size);
	return 0;
}

int rlp_to_u64(const struct rlp_item *item, uint64_t *ret)
{
	struct u256 value;
	if (rlp_to_u256(item, &value) != 0 || !u256_to_u64(value, ret))
		return WEIR_INVALID;
	return 0;
}

/* msgpack.c - MessagePack from JSON and to JSON. */
#include "msgpack.h"

#include "json.h"

#include <math.h>
#include <string.h>

#define DEPTH_MAX 32

/* ---- writing --------------------------------------------------------------------------------------------------------------------------------- */

static void put_be(struct buf *out, uint8_t tag, uint64_t value, unsigned bytes)
{
	buf_add_byte(out, tag);
	for (unsigned i = bytes; i-- > 0;)
		buf_add_byte(out, (uint8_t)(value >> 8 * i));
}

/* fix: tag of the short form for n < fix_end; then tags for 8 (0: none), 16 and 32 bits of length. */
static void put_length(struct buf *out, size_t n, uint8_t fix, size_t fix_end, uint8_t tag8, uint8_t tag16, uint8_t tag32)
{
	if (n < fix_end)
		buf_add_byte(out, (uint8_t)(fix | n));
	else if (tag8 && n <= UINT8_MAX)
		put_be(out, tag8, n, 1);
	else if (n <= UINT16_MAX)
		put_be(out, tag16, n, 2);
	else
		put_be(out, tag32, n, 4);
}

void msgpack_map(struct buf *out, size_t pairs)
{
	put_length(out, pairs, 0x80, 16, 0, 0xde, 0xdf);
}

void msgpack_text(struct buf *out, const char *text, size_t size)
{
	put_length(out, size, 0xa0, 32, 0xd9, 0xda, 0xdb);
	buf_add(out, text, size);
}

void msgpack_u64(struct buf *out, uint64_t n)
{
	if (n < 128)
		buf_add_byte(out, (uint8_t)n);
	else if (n <= UINT8_MAX)
		put_be(out, 0xcc, n, 1);
	else if (n <= UINT16_MAX)
		put_be(out, 0xcd, n, 2);
	else if (n <= UINT32_MAX)
		put_be(out, 0xce, n, 4);
	else
		put_be(out, 0xcf, n, 8);
}

static void put_negative(struct buf *out, int64_t n)
{
	if (n >= -32)
		buf_add_byte(out, (uint8_t)n);
	else if (n >= INT8_MIN)
		put_be(out, 0xd0, (uint64_t)n, 1);
	else if (n >= INT16_MIN)
		put_be(out, 0xd1, (uint64_t)n, 2);
	else if (n >= INT32_MIN)
		put_be(out, 0xd2, (uint64_t)n, 4);
	else
		put_be(out, 0xd3, (uint64_t)n, 8);
}

static bool put_value(struct buf *out, yyjson_val *value, unsigned depth)
{
	size_t i, n;
	yyjson_val *key, *inner;
	uint64_t bits;
	double number;
	if (depth > DEPTH_MAX)
		return false;
	if (yyjson_is_obj(value)) {
		msgpack_map(out, yyjson_obj_size(value));
		yyjson_obj_foreach(value, i, n, key, inner)
		{
			msgpack_text(out, yyjson_get_str(key), yyjson_get_len(key));
			if (!put_value(out, inner, depth + 1))
				return false;
		}
	} else if (yyjson_is_arr(value)) {
		put_length(out, yyjson_arr_size(value), 0x90, 16, 0, 0xdc, 0xdd);
		yyjson_arr_foreach(value, i, n, inner)
		{
			if (!put_value(out, inner, depth + 1))
				return false;
		}
	} else if (yyjson_is_str(value)) {
		msgpack_text(out, yyjson_get_str(value), yyjson_get_len(value));
	} else if (yyjson_is_bool(value)) {
		buf_add_byte(out, yyjson_is_true(value) ? 0xc3 : 0xc2);
	} else if (yyjson_is_uint(value)) {
		msgpack_u64(out, yyjson_get_uint(value));
	} else if (yyjson_is_sint(value)) {
		put_negative(out, yyjson_get_sint(value));
	} else if (yyjson_is_real(value)) {
		number = yyjson_get_real(value);
		memcpy(&bits, &number, sizeof bits);
		put_be(out, 0xcb, bits, 8);
	} else {
		buf_add_byte(out, 0xc0);
	}
	return true;
}

int msgpack_from_json(struct bytes json, struct arena *arena, struct buf *out, struct error *err)
{
	yyjson_alc allocator = json_arena_allocator(arena);
	union { /* yyjson changes nothing without its in-situ flag */
		const uint8_t *in;
		char *out;
	} text = { .in = json.data };
	yyjson_doc *doc = json.size > 0 ? yyjson_read_opts(text.out, json.size, 0, &allocator, NULL) : NULL;
	if (!doc || !put_value(out, yyjson_doc_get_root(doc), 0))
		return error_set(err, WEIR_INVALID, "the text is not JSON of at most %d levels", DEPTH_MAX);
	return out->overflow ? error_set(err, WEIR_LIMIT, "the value is larger than %zu bytes as MessagePack", out->max) : 0;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------------------- */

static bool take_be(struct bytes *in, unsigned bytes, uint64_t *ret)
{
	*ret = 0;
	if (in->size < bytes)
		return false;
	for (unsigned i = 0; i < bytes; i++)
		*ret = *ret << 8 | in->data[i];
	in->data += bytes;
	in->size -= bytes;
	return true;
}

static bool take_text(struct bytes *in, uint64_t size, struct buf *out)
{
	if (size > in->size)
		return false;
	json_add_string(out, (const char *)in->data, (size_t)size);
	in->data += size;
	in->size -= (size_t)size;
	return true;
}

static bool take_value(struct bytes *in, struct buf *out, unsigned depth, bool text_only);

static bool take_list(struct bytes *in, uint64_t n, bool map, struct buf *out, unsigned depth)
{
	if (n > in->size) /* every element has a byte at least */
		return false;
	buf_add_byte(out, map ? '{' : '[');
	for (uint64_t i = 0; i < n; i++) {
		if (i > 0)
			buf_add_byte(out, ',');
		if (map && !take_value(in, out, depth + 1, true))
			return false;
		if (map)
			buf_add_byte(out, ':');
		if (!take_value(in, out, depth + 1, false))
			return false;
	}
	buf_add_byte(out, map ? '}' : ']');
	return true;
}

static bool take_real(struct bytes *in, unsigned bytes, struct buf *out)
{
	uint64_t bits;
	double number;
	float small;
	if (!take_be(in, bytes, &bits))
		return false;
	if (bytes == 4) {
		uint32_t half = (uint32_t)bits;
		memcpy(&small, &half, sizeof small);
		number = (double)small;
	} else {
		memcpy(&number, &bits, sizeof number);
	}
	if (!isfinite(number))
		return false;
	buf_printf(out, "%.17g", number);
	return true;
}

static bool take_whole(struct bytes *in, uint8_t tag, struct buf *out)
{
	uint64_t n;
	unsigned bits = 8u << (tag & 3);
	if (!take_be(in, bits / 8, &n))
		return false;
	if (tag < 0xd0) {
		buf_printf(out, "%llu", (unsigned long long)n);
		return true;
	}
	/* The sign is the highest of its bytes. */
	uint64_t sign = UINT64_C(1) << ((bits - 1) & 63);
	buf_printf(out, "%lld", (long long)((n ^ sign) - sign));
	return true;
}

static bool take_value(struct bytes *in, struct buf *out, unsigned depth, bool text_only)
{
	uint64_t tag, n;
	if (depth > DEPTH_MAX || out->overflow || !take_be(in, 1, &tag))
		return false;
	if ((tag & 0xe0) == 0xa0)
		return take_text(in, tag & 0x1f, out);
	if (tag >= 0xd9 && tag <= 0xdb)
		return take_be(in, 1u << (tag - 0xd9), &n) && take_text(in, n, out);
	if (text_only)
		return false;
	if (tag < 0x80 || tag >= 0xe0) {
		buf_printf(out, "%d", tag < 0x80 ? (int)tag : (int)tag - 256);
		return true;
	}
	if (tag < 0xa0)
		return take_list(in, tag & 0x0f, tag < 0x90, out, depth);
	if (tag >= 0xdc)
		return take_be(in, tag & 1 ? 4 : 2, &n) && take_list(in, n, tag >= 0xde, out, depth);
	if (tag == 0xc0 || tag == 0xc2 || tag == 0xc3) {
		buf_add_str(out, tag == 0xc0 ? "null" : tag == 0xc2 ? "false" : "true");
		return true;
	}
	if (tag == 0xca || tag == 0xcb)
		return take_real(in, tag == 0xca ? 4 : 8, out);
	return tag >= 0xcc && tag <= 0xd3 && take_whole(in, (uint8_t)tag, out);
}

int msgpack_to_json(struct bytes in, struct buf *out, struct error *err)
{
	bool ok = take_value(&in, out, 0, false) && in.size == 0;
	if (out->overflow)
		return error_set(err, WEIR_LIMIT, "the value is larger than %zu bytes as JSON", out->max);
	return ok ? 0 : error_set(err, WEIR_INVALID, "the message is not one MessagePack value that JSON has, too");
}

/* cursor.c - cursors to text and back. */
#include "cursor.h"

#include "wire/frame.h"

#include <string.h>

#define VERSION 1
#define BODY_SIZE 24 /* version, kind, branch (2), height (8), ordinal (4), hash (8) */
#define SIZE (BODY_SIZE + 4)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const uint8_t *data, size_t size, char *ret)
{
	size_t n = 0;
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t v = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0u);
		for (size_t k = 0; k < (left > 2 ? 4 : left + 1); k++)
			ret[n++] = alphabet[v >> (18 - 6 * k) & 63];
	}
	ret[n] = '\0';
	return n;
}

/* False: not base64url, not canonical, or more than max bytes. */
static bool decode(const char *text, uint8_t *ret, size_t max, size_t *ret_size)
{
	uint32_t v = 0;
	size_t bits = 0, n = 0;
	for (const char *p = text; *p; p++) {
		const char *at = strchr(alphabet, *p);
		if (!at)
			return false;
		v = v << 6 | (uint32_t)(at - alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			if (n == max)
				return false;
			ret[n++] = (uint8_t)(v >> bits);
			v &= (1u << bits) - 1;
		}
	}
	*ret_size = n;
	return bits < 6 && v == 0;
}

static void big(uint8_t *p, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t unbig(const uint8_t *p, int bytes)
{
	uint64_t value = 0;
	for (int i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

void cursor_print(const struct cursor *c, char ret[CURSOR_TEXT_MAX])
{
	uint8_t b[SIZE] = { VERSION, (uint8_t)c->kind };
	big(b + 2, (uint16_t)c->branch, 2);
	big(b + 4, (uint64_t)c->height, 8);
	big(b + 12, (uint32_t)c->ordinal, 4);
	memcpy(b + 16, c->hash, 8);
	big(b + BODY_SIZE, crc32c(0, b, BODY_SIZE), 4);
	encode(b, SIZE, ret);
}

int cursor_parse(const char *text, enum cursor_kind expected, struct cursor *ret, struct error *err)
{
	uint8_t b[SIZE];
	size_t size = 0;
	if (!decode(text, b, sizeof b, &size) || size != SIZE || unbig(b + BODY_SIZE, 4) != crc32c(0, b, BODY_SIZE))
		return error_set(err, WEIR_INVALID, "the cursor is not one that this server gave");
	if (b[0] != VERSION || b[1] != expected)
		return error_set(err, WEIR_INVALID, "the cursor belongs to another list");
	ret->kind = expected;
	ret->branch = (int16_t)unbig(b + 2, 2);
	ret->height = (int64_t)unbig(b + 4, 8);
	ret->ordinal = (int32_t)unbig(b + 12, 4);
	memcpy(ret->hash, b + 16, 8);
	return 0;
}

void cursor_print_text(const char *text, struct buf *out)
{
	char encoded[512];
	size_t size = strlen(text);
	if (size <= 300)
		buf_add(out, encoded, encode((const uint8_t *)text, size, encoded));
}

int cursor_parse_text(const char *text, char *ret, size_t max, struct error *err)
{
	size_t size = 0;
	if (strlen(text) > 400 || !decode(text, (uint8_t *)ret, max - 1, &size) || memchr(ret, '\0', size))
		return error_set(err, WEIR_INVALID, "the cursor is not one that this server gave");
	ret[size] = '\0';
	return 0;
}

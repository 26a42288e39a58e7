/* digest.c - see digest.h. */
#include "wire/digest.h"

#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <string.h>

void sha256_text(const void *data, size_t size, char ret[SHA256_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	struct sha256_ctx ctx;
	uint8_t hash[SHA256_DIGEST_SIZE];
	sha256_init(&ctx);
	sha256_update(&ctx, size, data);
	sha256_digest(&ctx, sizeof hash, hash);
	for (size_t i = 0; i < sizeof hash; i++) {
		ret[2 * i] = digits[hash[i] >> 4];
		ret[2 * i + 1] = digits[hash[i] & 15];
	}
	ret[64] = 0;
}

void base64_write(struct bytes data, struct buf *out)
{
	size_t size = BASE64_ENCODE_RAW_LENGTH(data.size);
	buf_reserve(out, size + 1);
	if (out->overflow || out->capacity - out->size < size) {
		out->overflow = true;
		return;
	}
	base64_encode_raw((char *)out->data + out->size, data.size, data.data);
	out->size += size;
	out->data[out->size] = 0;
}

bool base64_read(const char *text, size_t size, struct buf *out)
{
	struct base64_decode_ctx ctx;
	size_t n = BASE64_DECODE_LENGTH(size);
	buf_reserve(out, n + 1);
	if (out->overflow || out->capacity - out->size < n) {
		out->overflow = true;
		return false;
	}
	base64_decode_init(&ctx);
	if (!base64_decode_update(&ctx, &n, out->data + out->size, size, text) || !base64_decode_final(&ctx))
		return false;
	out->size += n;
	out->data[out->size] = 0;
	return true;
}

void base64url_write(struct bytes data, struct buf *out)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < data.size; i++) {
		bits = bits << 8 | data.data[i];
		have += 8;
		while (have >= 6) {
			have -= 6;
			buf_add_byte(out, (uint8_t)letters[bits >> have & 63]);
		}
		bits &= (1u << have) - 1;
	}
	if (have)
		buf_add_byte(out, (uint8_t)letters[bits << (6 - have) & 63]);
}

static int value_of(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_read(const char *text, size_t size, uint8_t *ret, size_t max, size_t *ret_size)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;
	for (size_t i = 0; i < size; i++) {
		int value = value_of(text[i]);
		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			if (n == max)
				return false;
			ret[n++] = (uint8_t)(bits >> have);
			bits &= (1u << have) - 1;
		}
	}
	*ret_size = n;
	return have < 6 && bits == 0;
}

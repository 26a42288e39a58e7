/* u256.c - 256-bit arithmetic on four limbs with the compiler's 128-bit integers. */
#include "base/u256.h"

#include "base/error.h"

#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define TEN19 10000000000000000000u /* the largest power of ten in a limb */

struct u256 u256_from_u64(uint64_t v)
{
	return (struct u256){ { v, 0, 0, 0 } };
}

static uint64_t load_be(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

static void store_be(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}

struct u256 u256_from_be(const uint8_t *bytes, size_t size)
{
	uint8_t full[32] = { 0 };
	if (size > 32) {
		bytes += size - 32;
		size = 32;
	}
	if (size)
		memcpy(full + 32 - size, bytes, size);
	return (struct u256){ { load_be(full + 24), load_be(full + 16), load_be(full + 8), load_be(full) } };
}

void u256_to_be32(struct u256 v, uint8_t ret[32])
{
	for (size_t i = 0; i < 4; i++)
		store_be(ret + 24 - 8 * i, v.limb[i]);
}

size_t u256_to_be_min(struct u256 v, uint8_t ret[32])
{
	uint8_t full[32];
	u256_to_be32(v, full);
	size_t skip = 0;
	while (skip < 32 && full[skip] == 0)
		skip++;
	memcpy(ret, full + skip, 32 - skip);
	return 32 - skip;
}

bool u256_is_zero(struct u256 v)
{
	return (v.limb[0] | v.limb[1] | v.limb[2] | v.limb[3]) == 0;
}

int u256_cmp(struct u256 a, struct u256 b)
{
	for (int i = 3; i >= 0; i--)
		if (a.limb[i] != b.limb[i])
			return a.limb[i] < b.limb[i] ? -1 : 1;
	return 0;
}

bool u256_add(struct u256 a, struct u256 b, struct u256 *ret)
{
	u128 carry = 0;
	for (size_t i = 0; i < 4; i++) {
		carry += (u128)a.limb[i] + b.limb[i];
		ret->limb[i] = (uint64_t)carry;
		carry >>= 64;
	}
	return carry == 0;
}

bool u256_sub(struct u256 a, struct u256 b, struct u256 *ret)
{
	uint64_t borrow = 0;
	for (size_t i = 0; i < 4; i++) {
		u128 d = (u128)a.limb[i] - b.limb[i] - borrow;
		ret->limb[i] = (uint64_t)d;
		borrow = (uint64_t)(d >> 64) & 1;
	}
	return borrow == 0;
}

bool u256_mul(struct u256 a, struct u256 b, struct u256 *ret)
{
	uint64_t r[8] = { 0 };
	for (size_t i = 0; i < 4; i++) {
		u128 carry = 0;
		for (size_t j = 0; j < 4; j++) {
			carry += (u128)a.limb[i] * b.limb[j] + r[i + j];
			r[i + j] = (uint64_t)carry;
			carry >>= 64;
		}
		r[i + 4] = (uint64_t)carry;
	}
	memcpy(ret->limb, r, sizeof ret->limb);
	return (r[4] | r[5] | r[6] | r[7]) == 0;
}

bool u256_mul_u64(struct u256 a, uint64_t b, struct u256 *ret)
{
	u128 carry = 0;
	for (size_t i = 0; i < 4; i++) {
		carry += (u128)a.limb[i] * b;
		ret->limb[i] = (uint64_t)carry;
		carry >>= 64;
	}
	return carry == 0;
}

void u256_div_u64(struct u256 v, uint64_t divisor, struct u256 *ret_quotient, uint64_t *ret_remainder)
{
	u128 rest = 0;
	for (int i = 3; i >= 0; i--) {
		rest = rest << 64 | v.limb[i];
		ret_quotient->limb[i] = (uint64_t)(rest / divisor);
		rest %= divisor;
	}
	*ret_remainder = (uint64_t)rest;
}

size_t u256_to_dec(struct u256 v, char ret[U256_DEC_MAX])
{
	char digits[U256_DEC_MAX];
	size_t n = 0;
	do {
		uint64_t rest;
		u256_div_u64(v, TEN19, &v, &rest);
		for (int i = 0; i < 19; i++) {
			digits[n++] = (char)('0' + rest % 10);
			rest /= 10;
			if (rest == 0 && u256_is_zero(v))
				break;
		}
	} while (!u256_is_zero(v));
	for (size_t i = 0; i < n; i++)
		ret[i] = digits[n - 1 - i];
	ret[n] = 0;
	return n;
}

int u256_from_dec(const char *text, size_t size, struct u256 *ret)
{
	if (size == 0 || size > 78)
		return WEIR_INVALID;
	struct u256 v = { { 0 } };
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return WEIR_INVALID;
		if (!u256_mul_u64(v, 10, &v) || !u256_add(v, u256_from_u64((uint64_t)(text[i] - '0')), &v))
			return WEIR_INVALID;
	}
	*ret = v;
	return 0;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int u256_from_hex(const char *text, size_t size, struct u256 *ret)
{
	if (size < 3 || size > 66 || text[0] != '0' || text[1] != 'x')
		return WEIR_INVALID;
	struct u256 v = { { 0 } };
	for (size_t i = 2; i < size; i++) {
		int digit = digit_of(text[i]);
		if (digit < 0)
			return WEIR_INVALID;
		size_t place = size - 1 - i;
		v.limb[place / 16] |= (uint64_t)digit << (place % 16 * 4);
	}
	*ret = v;
	return 0;
}

bool u256_to_u64(struct u256 v, uint64_t *ret)
{
	if (v.limb[1] | v.limb[2] | v.limb[3])
		return false;
	*ret = v.limb[0];
	return true;
}

/* -- signed --------------------------------------------------------------------------------------------------------------- */

static struct u256 raw(struct i256 v)
{
	struct u256 u;
	memcpy(&u, &v, sizeof u);
	return u;
}

static struct i256 cooked(struct u256 v)
{
	struct i256 i;
	memcpy(&i, &v, sizeof i);
	return i;
}

bool i256_is_negative(struct i256 v)
{
	return v.limb[3] >> 63;
}

bool i256_is_zero(struct i256 v)
{
	return u256_is_zero(raw(v));
}

struct i256 i256_negate(struct i256 v)
{
	struct u256 zero = { { 0 } }, r;
	(void)u256_sub(zero, raw(v), &r);
	return cooked(r);
}

bool i256_from_u256_checked(struct u256 v, bool negative, struct i256 *ret)
{
	bool lowest = v.limb[3] == (uint64_t)1 << 63 && (v.limb[0] | v.limb[1] | v.limb[2]) == 0; /* -2^255 exists, 2^255 does not */
	if (v.limb[3] >> 63 && !(negative && lowest))
		return false;
	*ret = negative ? i256_negate(cooked(v)) : cooked(v);
	return true;
}

struct i256 i256_from_u256(struct u256 v, bool negative)
{
	struct i256 r;
	if (!i256_from_u256_checked(v, negative, &r)) {
		struct u256 top = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX } };
		(void)i256_from_u256_checked(top, negative, &r);
	}
	return r;
}

bool i256_add(struct i256 a, struct i256 b, struct i256 *ret)
{
	struct u256 sum;
	(void)u256_add(raw(a), raw(b), &sum);
	struct i256 r = cooked(sum);
	if (i256_is_negative(a) == i256_is_negative(b) && i256_is_negative(r) != i256_is_negative(a))
		return false;
	*ret = r;
	return true;
}

bool i256_sub(struct i256 a, struct i256 b, struct i256 *ret)
{
	struct u256 difference;
	(void)u256_sub(raw(a), raw(b), &difference);
	struct i256 r = cooked(difference);
	if (i256_is_negative(a) != i256_is_negative(b) && i256_is_negative(r) != i256_is_negative(a))
		return false;
	*ret = r;
	return true;
}

int i256_cmp(struct i256 a, struct i256 b)
{
	if (i256_is_negative(a) != i256_is_negative(b))
		return i256_is_negative(a) ? -1 : 1;
	return u256_cmp(raw(a), raw(b));
}

struct u256 i256_abs(struct i256 v)
{
	return raw(i256_is_negative(v) ? i256_negate(v) : v);
}

size_t i256_to_dec(struct i256 v, char ret[I256_DEC_MAX])
{
	bool negative = i256_is_negative(v);
	if (negative)
		ret[0] = '-';
	return u256_to_dec(i256_abs(v), ret + negative) + negative;
}

int i256_from_dec(const char *text, size_t size, struct i256 *ret)
{
	bool negative = size > 0 && text[0] == '-';
	struct u256 v;
	if (u256_from_dec(text + negative, size - negative, &v) != 0)
		return WEIR_INVALID;
	return i256_from_u256_checked(v, negative, ret) ? 0 : WEIR_INVALID;
}

size_t i256_to_be_min(struct i256 v, uint8_t ret[32])
{
	uint8_t full[32];
	u256_to_be32(raw(v), full);
	uint8_t sign = i256_is_negative(v) ? 0xff : 0x00;
	size_t skip = 0;
	while (skip < 31 && full[skip] == sign && (full[skip + 1] & 0x80) == (sign & 0x80))
		skip++;
	memcpy(ret, full + skip, 32 - skip);
	return 32 - skip;
}

int i256_from_be(const uint8_t *bytes, size_t size, struct i256 *ret)
{
	if (size == 0 || size > 32)
		return WEIR_INVALID;
	uint8_t full[32];
	memset(full, bytes[0] & 0x80 ? 0xff : 0x00, sizeof full);
	memcpy(full + 32 - size, bytes, size);
	*ret = cooked(u256_from_be(full, 32));
	return 0;
}

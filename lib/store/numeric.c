/* numeric.c - whole numbers as PostgreSQL's binary numeric: digit count i16, weight i16, sign u16, scale u16, base-10000 digits
 * u16 from the most significant, trailing zero digits left out (numeric.c of PostgreSQL, numeric_send). */
#include "store/internal.h"

#include <string.h>

enum { POSITIVE = 0x0000, NEGATIVE = 0x4000, DIGITS_MAX = 20 }; /* 2^256 has 78 decimal digits: 20 base-10000 digits */

/* Base-10000 digits of v, least significant first; returns how many. */
static int split(struct u256 v, uint16_t ret[DIGITS_MAX + 4])
{
	int n = 0;
	while (!u256_is_zero(v)) {
		uint64_t part = v.limb[0];
		bool last = !(v.limb[1] | v.limb[2] | v.limb[3]);
		if (last)
			v = (struct u256){ { 0 } };
		else
			u256_div_u64(v, UINT64_C(10000000000000000), &v, &part);
		for (int i = 0; last ? part > 0 : i < 4; i++) {
			ret[n++] = (uint16_t)(part % 10000);
			part /= 10000;
		}
	}
	while (n > 0 && ret[n - 1] == 0)
		n--;
	return n;
}

static void write_signed(struct buf *out, struct u256 v, bool negative)
{
	uint16_t digits[DIGITS_MAX + 4];
	int n = split(v, digits), low = 0;
	while (low < n && digits[low] == 0)
		low++;
	uint8_t bytes[8 + 2 * (DIGITS_MAX + 4)];
	pg_put16(bytes, (uint16_t)(n - low));
	pg_put16(bytes + 2, (uint16_t)(n > 0 ? n - 1 : 0));
	pg_put16(bytes + 4, negative ? NEGATIVE : POSITIVE);
	pg_put16(bytes + 6, 0);
	uint8_t *p = bytes + 8;
	for (int i = n - 1; i >= low; i--, p += 2)
		pg_put16(p, digits[i]);
	buf_add(out, bytes, (size_t)(p - bytes));
}

void pg_numeric_write(struct buf *out, struct i256 v)
{
	write_signed(out, i256_abs(v), i256_is_negative(v));
}

void pg_numeric_write_u256(struct buf *out, struct u256 v)
{
	write_signed(out, v, false);
}

int pg_numeric_read_u256(struct bytes b, bool *ret_negative, struct u256 *ret)
{
	if (!b.data || b.size < 8)
		return WEIR_INVALID;
	int count = (int16_t)pg_take16(b.data), weight = (int16_t)pg_take16(b.data + 2);
	uint16_t sign = pg_take16(b.data + 4);
	if (count < 0 || (size_t)count * 2 + 8 != b.size || (sign != POSITIVE && sign != NEGATIVE) || weight >= DIGITS_MAX ||
	    (count > 0 && weight < count - 1)) /* digits behind the point */
		return WEIR_INVALID;
	struct u256 v = { { 0 } };
	for (int i = 0; count > 0 && i <= weight; i++) {
		uint16_t digit = i < count ? pg_take16(b.data + 8 + 2 * i) : 0;
		if (digit > 9999 || !u256_mul_u64(v, 10000, &v) || !u256_add(v, u256_from_u64(digit), &v))
			return WEIR_INVALID;
	}
	*ret_negative = sign == NEGATIVE;
	*ret = v;
	return 0;
}

int pg_numeric_read(struct bytes b, struct i256 *ret)
{
	struct u256 v;
	bool negative;
	int code = pg_numeric_read_u256(b, &negative, &v);
	if (code)
		return code;
	return i256_from_u256_checked(v, negative, ret) ? 0 : WEIR_INVALID;
}

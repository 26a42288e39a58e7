/* u256_test.c - 256-bit arithmetic against a slow model: decimal digits, added and multiplied as at school. */
#include "base/error.h"
#include "base/u256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 20000
#define DIGITS 160 /* a product of two 256-bit numbers has at most 155 */

/* -- the model: magnitude in decimal digits, least significant first ------------------------------------------------------- */

struct big {
	uint8_t digit[DIGITS];
};

static struct big big_small(unsigned v)
{
	struct big r = { { 0 } };
	for (size_t i = 0; v; i++, v /= 10)
		r.digit[i] = (uint8_t)(v % 10);
	return r;
}

static struct big big_add(struct big a, struct big b)
{
	unsigned carry = 0;
	for (size_t i = 0; i < DIGITS; i++) {
		carry += (unsigned)a.digit[i] + b.digit[i];
		a.digit[i] = (uint8_t)(carry % 10);
		carry /= 10;
	}
	assert_int_equal(carry, 0);
	return a;
}

static int big_cmp(struct big a, struct big b)
{
	for (size_t i = DIGITS; i > 0; i--)
		if (a.digit[i - 1] != b.digit[i - 1])
			return a.digit[i - 1] < b.digit[i - 1] ? -1 : 1;
	return 0;
}

static struct big big_sub(struct big a, struct big b) /* a >= b */
{
	int borrow = 0;
	for (size_t i = 0; i < DIGITS; i++) {
		int d = a.digit[i] - b.digit[i] - borrow;
		borrow = d < 0;
		a.digit[i] = (uint8_t)(d + (borrow ? 10 : 0));
	}
	assert_int_equal(borrow, 0);
	return a;
}

static struct big big_mul(struct big a, struct big b)
{
	unsigned sums[2 * DIGITS] = { 0 };
	for (size_t i = 0; i < DIGITS; i++)
		for (size_t j = 0; a.digit[i] && j < DIGITS; j++)
			sums[i + j] += (unsigned)a.digit[i] * b.digit[j];
	struct big r;
	unsigned carry = 0;
	for (size_t i = 0; i < 2 * DIGITS; i++) {
		carry += sums[i];
		if (i < DIGITS)
			r.digit[i] = (uint8_t)(carry % 10);
		else
			assert_int_equal(carry % 10, 0);
		carry /= 10;
	}
	return r;
}

static struct big big_power_of_two(unsigned n)
{
	struct big r = big_small(1);
	while (n-- > 0)
		r = big_add(r, r);
	return r;
}

static struct big big_of(const uint64_t limb[4])
{
	struct big r = { { 0 } };
	for (int bit = 255; bit >= 0; bit--) {
		r = big_add(r, r);
		if (limb[bit / 64] >> (bit % 64) & 1)
			r = big_add(r, big_small(1));
	}
	return r;
}

static size_t big_text(struct big v, char ret[DIGITS + 1])
{
	size_t n = DIGITS;
	while (n > 1 && v.digit[n - 1] == 0)
		n--;
	for (size_t i = 0; i < n; i++)
		ret[i] = (char)('0' + v.digit[n - 1 - i]);
	ret[n] = 0;
	return n;
}

struct big_signed {
	bool negative; /* never of zero */
	struct big size;
};

static struct big_signed signed_of(struct i256 v)
{
	struct big size = big_of(v.limb);
	if (!(v.limb[3] >> 63))
		return (struct big_signed){ false, size };
	return (struct big_signed){ true, big_sub(big_power_of_two(256), size) };
}

static struct big_signed signed_add(struct big_signed a, struct big_signed b)
{
	if (a.negative == b.negative)
		return (struct big_signed){ a.negative, big_add(a.size, b.size) };
	int c = big_cmp(a.size, b.size);
	if (c == 0)
		return (struct big_signed){ false, big_small(0) };
	return c > 0 ? (struct big_signed){ a.negative, big_sub(a.size, b.size) } : (struct big_signed){ b.negative, big_sub(b.size, a.size) };
}

static struct big_signed signed_negate(struct big_signed v)
{
	v.negative = !v.negative && big_cmp(v.size, big_small(0)) != 0;
	return v;
}

static bool signed_fits(struct big_signed v)
{
	int c = big_cmp(v.size, big_power_of_two(255));
	return c < 0 || (v.negative && c == 0);
}

static bool signed_equal(struct big_signed a, struct big_signed b)
{
	return a.negative == b.negative && big_cmp(a.size, b.size) == 0;
}

/* -- numbers worth trying -------------------------------------------------------------------------------------------------- */

static uint64_t seed = 0x5eed0fd0d0u;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t pick_limb(void)
{
	static const uint64_t odd[] = { 0, 0, 1, 2, 9, 10, UINT64_MAX, UINT64_MAX - 1, 1ull << 63, (1ull << 63) - 1, 10000000000000000000u };
	uint64_t r = next();
	return r % 3 == 0 ? r : odd[r / 3 % (sizeof odd / sizeof odd[0])];
}

static struct u256 pick(void)
{
	struct u256 v = { { pick_limb(), pick_limb(), pick_limb(), pick_limb() } };
	for (uint64_t n = next() % 5; n > 0; n--) /* often short */
		v.limb[4 - n] = next() % 2 ? v.limb[4 - n] : 0;
	return v;
}

static struct i256 pick_signed(void)
{
	struct u256 v = pick();
	struct i256 r;
	memcpy(&r, &v, sizeof r);
	return next() % 4 ? r : i256_negate(r);
}

/* -- unsigned -------------------------------------------------------------------------------------------------------------- */

static void adds_and_subtracts_as_at_school(void **state)
{
	(void)state;
	struct big limit = big_power_of_two(256);
	for (int i = 0; i < ROUNDS / 10; i++) {
		struct u256 a = pick(), b = pick(), r;
		struct big x = big_of(a.limb), y = big_of(b.limb), sum = big_add(x, y);
		bool fits = big_cmp(sum, limit) < 0;
		assert_int_equal(u256_add(a, b, &r), fits);
		assert_int_equal(big_cmp(big_of(r.limb), fits ? sum : big_sub(sum, limit)), 0);
		bool positive = big_cmp(x, y) >= 0;
		assert_int_equal(u256_sub(a, b, &r), positive);
		if (positive)
			assert_int_equal(big_cmp(big_of(r.limb), big_sub(x, y)), 0);
		int c = u256_cmp(a, b);
		assert_int_equal((c > 0) - (c < 0), big_cmp(x, y));
		assert_int_equal(u256_is_zero(a), big_cmp(x, big_small(0)) == 0);
	}
}

static void multiplies_as_at_school(void **state)
{
	(void)state;
	struct big limit = big_power_of_two(256);
	for (int i = 0; i < ROUNDS / 20; i++) {
		struct u256 a = pick(), b = pick(), r;
		struct big product = big_mul(big_of(a.limb), big_of(b.limb));
		bool fits = big_cmp(product, limit) < 0;
		assert_int_equal(u256_mul(a, b, &r), fits);
		if (fits)
			assert_int_equal(big_cmp(big_of(r.limb), product), 0);
		struct u256 one_limb = u256_from_u64(b.limb[0]);
		product = big_mul(big_of(a.limb), big_of(one_limb.limb));
		fits = big_cmp(product, limit) < 0;
		assert_int_equal(u256_mul_u64(a, b.limb[0], &r), fits);
		if (fits)
			assert_int_equal(big_cmp(big_of(r.limb), product), 0);
	}
}

static void divides_so_that_it_multiplies_back(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS / 20; i++) {
		struct u256 a = pick(), q;
		uint64_t divisor = pick_limb(), rest;
		divisor += divisor == 0;
		u256_div_u64(a, divisor, &q, &rest);
		assert_true(rest < divisor);
		struct u256 d = u256_from_u64(divisor), r = u256_from_u64(rest);
		struct big back = big_add(big_mul(big_of(q.limb), big_of(d.limb)), big_of(r.limb));
		assert_int_equal(big_cmp(back, big_of(a.limb)), 0);
	}
}

static void results_may_replace_operands(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = pick(), b = pick(), r, in_place;
		bool fits = u256_add(a, b, &r);
		in_place = a;
		assert_int_equal(u256_add(in_place, b, &in_place), fits);
		assert_memory_equal(&in_place, &r, sizeof r);
		fits = u256_mul(a, b, &r);
		in_place = b;
		assert_int_equal(u256_mul(a, in_place, &in_place), fits);
		assert_memory_equal(&in_place, &r, sizeof r);
		fits = u256_sub(a, b, &r);
		in_place = b;
		assert_int_equal(u256_sub(a, in_place, &in_place), fits);
		assert_memory_equal(&in_place, &r, sizeof r);
	}
}

static void decimal_text_there_and_back(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS / 10; i++) {
		struct u256 a = pick(), back;
		char have[U256_DEC_MAX], want[DIGITS + 1];
		memset(have, 'x', sizeof have);
		size_t n = u256_to_dec(a, have);
		assert_int_equal(n, big_text(big_of(a.limb), want));
		assert_string_equal(have, want);
		assert_int_equal(u256_from_dec(have, n, &back), 0);
		assert_memory_equal(&back, &a, sizeof a);
	}
}

static void decimal_text_of_every_power_of_ten(void **state)
{
	(void)state;
	struct u256 v = u256_from_u64(1);
	for (size_t zeros = 0; zeros <= 77; zeros++) {
		char text[U256_DEC_MAX], want[U256_DEC_MAX];
		memset(want, '0', sizeof want);
		want[0] = '1';
		want[zeros + 1] = 0;
		assert_int_equal(u256_to_dec(v, text), zeros + 1);
		assert_string_equal(text, want);
		struct u256 below;
		assert_true(u256_sub(v, u256_from_u64(1), &below));
		memset(want, '9', zeros);
		want[zeros ? zeros : 1] = 0;
		if (!zeros)
			want[0] = '0';
		u256_to_dec(below, text);
		assert_string_equal(text, want);
		assert_int_equal(u256_mul_u64(v, 10, &v), zeros < 77);
	}
}

static int from_dec(const char *text, struct u256 *ret)
{
	return u256_from_dec(text, strlen(text), ret);
}

#define MAX_TEXT "115792089237316195423570985008687907853269984665640564039457584007913129639935"
#define OVER_TEXT "115792089237316195423570985008687907853269984665640564039457584007913129639936"

static void refuses_what_is_no_decimal(void **state)
{
	(void)state;
	struct u256 v = u256_from_u64(7);
	static const char *const bad[] = { "", " ", "+1", "-1", "1 ", " 1", "0x1", "1e3", "1.0", "a", "1\n", OVER_TEXT, "999999999999999999999999999999999999999999999999999999999999999999999999999999",
					   "0000000000000000000000000000000000000000000000000000000000000000000000000000001" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(from_dec(bad[i], &v), WEIR_INVALID);
	assert_int_equal(u256_from_dec("1\0002", 3, &v), WEIR_INVALID);
	assert_true(v.limb[0] == 7 && !v.limb[1]); /* untouched */
	assert_int_equal(from_dec(MAX_TEXT, &v), 0);
	assert_true(v.limb[0] == UINT64_MAX && v.limb[1] == UINT64_MAX && v.limb[2] == UINT64_MAX && v.limb[3] == UINT64_MAX);
	assert_int_equal(from_dec("007", &v), 0);
	assert_int_equal(v.limb[0], 7);
}

static void hex_quantities(void **state)
{
	(void)state;
	struct u256 v;
	static const char *const bad[] = { "", "0", "0x", "x1", "1", "0X1", "0xg", "0x 1", "0x1 ", "-0x1",
					   "0x10000000000000000000000000000000000000000000000000000000000000000" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(u256_from_hex(bad[i], strlen(bad[i]), &v), WEIR_INVALID);
	assert_int_equal(u256_from_hex("0x00aF", 6, &v), 0);
	assert_int_equal(v.limb[0], 0xaf);
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = pick();
		char text[67] = "0x";
		size_t n = 2;
		for (int nibble = 63; nibble >= 0; nibble--) {
			unsigned digit = (unsigned)(a.limb[nibble / 16] >> (nibble % 16 * 4)) & 15;
			if (digit || n > 2 || nibble == 0 || next() % 64 == 0) /* sometimes leading zeros */
				text[n++] = (next() % 2 ? "0123456789abcdef" : "0123456789ABCDEF")[digit];
		}
		assert_int_equal(u256_from_hex(text, n, &v), 0);
		assert_memory_equal(&v, &a, sizeof a);
	}
}

static void big_endian_bytes(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = pick();
		uint8_t full[32], least[32];
		u256_to_be32(a, full);
		for (size_t b = 0; b < 32; b++)
			assert_int_equal(full[31 - b], (uint8_t)(a.limb[b / 8] >> (b % 8 * 8)));
		size_t n = u256_to_be_min(a, least), zeros = 0;
		while (zeros < 32 && !full[zeros])
			zeros++;
		assert_int_equal(n, 32 - zeros);
		assert_memory_equal(least, full + zeros, n);
		struct u256 back = u256_from_be(least, n);
		assert_memory_equal(&back, &a, sizeof a);
	}
	struct u256 nothing = u256_from_be(NULL, 0);
	assert_true(u256_is_zero(nothing));
}

static void narrows_only_what_fits(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = pick();
		uint64_t v = 1234;
		bool fits = !(a.limb[1] | a.limb[2] | a.limb[3]);
		assert_int_equal(u256_to_u64(a, &v), fits);
		assert_true(v == (fits ? a.limb[0] : 1234));
	}
}

/* -- signed ---------------------------------------------------------------------------------------------------------------- */

static void signed_adds_and_subtracts_as_at_school(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS / 10; i++) {
		struct i256 a = pick_signed(), b = pick_signed();
		struct big_signed x = signed_of(a), y = signed_of(b);
		struct big_signed results[2] = { signed_add(x, y), signed_add(x, signed_negate(y)) };
		for (int minus = 0; minus < 2; minus++) {
			struct i256 r = { { 1, 2, 3, 4 } }, untouched = r;
			bool fits = signed_fits(results[minus]);
			assert_int_equal(minus ? i256_sub(a, b, &r) : i256_add(a, b, &r), fits);
			if (fits)
				assert_true(signed_equal(signed_of(r), results[minus]));
			else
				assert_memory_equal(&r, &untouched, sizeof r);
		}
		struct big_signed difference = results[1];
		int c = i256_cmp(a, b), want = difference.negative ? -1 : big_cmp(difference.size, big_small(0)) != 0;
		assert_int_equal((c > 0) - (c < 0), want);
		assert_int_equal(i256_is_negative(a), x.negative);
		assert_int_equal(i256_is_zero(a), big_cmp(x.size, big_small(0)) == 0);
		struct u256 size = i256_abs(a);
		assert_int_equal(big_cmp(big_of(size.limb), x.size), 0);
		if (signed_fits(signed_negate(x)))
			assert_true(signed_equal(signed_of(i256_negate(a)), signed_negate(x)));
	}
}

static void signed_text_there_and_back(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS / 10; i++) {
		struct i256 a = pick_signed(), back;
		char have[I256_DEC_MAX], want[DIGITS + 2] = "-";
		struct big_signed x = signed_of(a);
		size_t n = i256_to_dec(a, have);
		assert_int_equal(n, big_text(x.size, want + x.negative) + x.negative);
		assert_string_equal(have, want);
		assert_int_equal(i256_from_dec(have, n, &back), 0);
		assert_memory_equal(&back, &a, sizeof a);
	}
}

#define LOW_TEXT "-57896044618658097711785492504343953926634992332820282019728792003956564819968"
#define HIGH_TEXT "57896044618658097711785492504343953926634992332820282019728792003956564819967"

static void signed_limits(void **state)
{
	(void)state;
	const struct i256 low = { { 0, 0, 0, 1ull << 63 } }, high = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX } };
	char text[I256_DEC_MAX];
	struct i256 v;
	assert_int_equal(i256_to_dec(low, text), strlen(LOW_TEXT));
	assert_string_equal(text, LOW_TEXT);
	i256_to_dec(high, text);
	assert_string_equal(text, HIGH_TEXT);
	assert_int_equal(i256_from_dec(LOW_TEXT, strlen(LOW_TEXT), &v), 0);
	assert_memory_equal(&v, &low, sizeof v);
	static const char *const bad[] = { "", "-", "--1", "+1", "- 1", "-a", "57896044618658097711785492504343953926634992332820282019728792003956564819968",
					   "-57896044618658097711785492504343953926634992332820282019728792003956564819969" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(i256_from_dec(bad[i], strlen(bad[i]), &v), WEIR_INVALID);
	assert_int_equal(i256_from_dec("-0", 2, &v), 0);
	assert_true(i256_is_zero(v) && !i256_is_negative(v));

	struct u256 half = { { 0, 0, 0, 1ull << 63 } }, all = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX } };
	assert_true(i256_from_u256_checked(half, true, &v));
	assert_memory_equal(&v, &low, sizeof v);
	assert_false(i256_from_u256_checked(half, false, &v));
	assert_false(i256_from_u256_checked(all, true, &v));
	v = i256_from_u256(all, false);
	assert_memory_equal(&v, &high, sizeof v);
	struct i256 lowest_but_one = i256_negate(high);
	v = i256_from_u256(all, true);
	assert_memory_equal(&v, &lowest_but_one, sizeof v);
}

static void signed_bytes_are_shortest(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct i256 a = pick_signed(), back;
		uint8_t bytes[32];
		size_t n = i256_to_be_min(a, bytes);
		assert_in_range(n, 1, 32);
		assert_int_equal(i256_from_be(bytes, n, &back), 0);
		assert_memory_equal(&back, &a, sizeof a);
		if (n > 1) { /* without its first byte it would be another number */
			assert_int_equal(i256_from_be(bytes + 1, n - 1, &back), 0);
			assert_memory_not_equal(&back, &a, sizeof a);
		}
	}
	static const struct {
		const char *text;
		size_t size;
		uint8_t bytes[2];
	} rows[] = { { "0", 1, { 0 } },	   { "1", 1, { 1 } },	    { "127", 1, { 0x7f } }, { "128", 2, { 0, 0x80 } },
		     { "-1", 1, { 0xff } }, { "-128", 1, { 0x80 } }, { "-129", 2, { 0xff, 0x7f } } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct i256 v;
		uint8_t bytes[32];
		assert_int_equal(i256_from_dec(rows[i].text, strlen(rows[i].text), &v), 0);
		assert_int_equal(i256_to_be_min(v, bytes), rows[i].size);
		assert_memory_equal(bytes, rows[i].bytes, rows[i].size);
	}
	uint8_t long_bytes[33] = { 0 };
	struct i256 v;
	assert_int_equal(i256_from_be(long_bytes, 0, &v), WEIR_INVALID);
	assert_int_equal(i256_from_be(long_bytes, 33, &v), WEIR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_and_subtracts_as_at_school),
		cmocka_unit_test(multiplies_as_at_school),
		cmocka_unit_test(divides_so_that_it_multiplies_back),
		cmocka_unit_test(results_may_replace_operands),
		cmocka_unit_test(decimal_text_there_and_back),
		cmocka_unit_test(decimal_text_of_every_power_of_ten),
		cmocka_unit_test(refuses_what_is_no_decimal),
		cmocka_unit_test(hex_quantities),
		cmocka_unit_test(big_endian_bytes),
		cmocka_unit_test(narrows_only_what_fits),
		cmocka_unit_test(signed_adds_and_subtracts_as_at_school),
		cmocka_unit_test(signed_text_there_and_back),
		cmocka_unit_test(signed_limits),
		cmocka_unit_test(signed_bytes_are_shortest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

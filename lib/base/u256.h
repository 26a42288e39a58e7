/* u256.h - unsigned and signed 256-bit integers as four 64-bit limbs, least significant first.
 *
 * Amounts on EVM chains are unsigned 256-bit; ledger deltas and balances are signed (a lying token can drive a balance below
 * zero). Signed values are two's complement in the same type. All operations report overflow; nothing wraps silently.
 */
#ifndef WEIR_BASE_U256_H
#define WEIR_BASE_U256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct u256 {
	uint64_t limb[4];
};
struct i256 { /* two's complement */
	uint64_t limb[4];
};

#define U256_DEC_MAX 79 /* longest decimal text of a u256 with its NUL */
#define I256_DEC_MAX 80

struct u256 u256_from_u64(uint64_t);
struct u256 u256_from_be(const uint8_t *bytes, size_t size); /* size <= 32, big-endian, shorter is zero-extended */
void u256_to_be32(struct u256, uint8_t ret_bytes[32]);
size_t u256_to_be_min(struct u256, uint8_t ret_bytes[32]); /* without leading zeros; returns the length, 0 for zero */
bool u256_is_zero(struct u256);
int u256_cmp(struct u256, struct u256);
bool u256_add(struct u256, struct u256, struct u256 *ret); /* false on overflow */
bool u256_sub(struct u256, struct u256, struct u256 *ret); /* false below zero */
bool u256_mul(struct u256, struct u256, struct u256 *ret); /* false on overflow */
bool u256_mul_u64(struct u256, uint64_t, struct u256 *ret);
void u256_div_u64(struct u256, uint64_t divisor, struct u256 *ret_quotient, uint64_t *ret_remainder);
size_t u256_to_dec(struct u256, char ret_text[U256_DEC_MAX]);  /* returns the length */
int u256_from_dec(const char *text, size_t size, struct u256 *ret); /* WEIR_INVALID: only digits, no sign, must fit */
int u256_from_hex(const char *text, size_t size, struct u256 *ret); /* "0x…" quantity, 1..64 digits; leading zeros allowed */
bool u256_to_u64(struct u256, uint64_t *ret); /* false if it does not fit */

struct i256 i256_from_u256(struct u256, bool negative); /* |v| must be < 2^255, else saturates: use i256_from_u256_checked */
bool i256_from_u256_checked(struct u256, bool negative, struct i256 *ret);
bool i256_add(struct i256, struct i256, struct i256 *ret); /* false on signed overflow: *ret stays as it was */
bool i256_sub(struct i256, struct i256, struct i256 *ret);
struct i256 i256_negate(struct i256);
bool i256_is_negative(struct i256);
bool i256_is_zero(struct i256);
int i256_cmp(struct i256, struct i256);
struct u256 i256_abs(struct i256);
size_t i256_to_dec(struct i256, char ret_text[I256_DEC_MAX]); /* "-12" */
int i256_from_dec(const char *text, size_t size, struct i256 *ret);
/* wire form of a delta or balance: 32 bytes big-endian two's complement with leading sign bytes cut, at least 1 byte; zero is 1 byte 0 */
size_t i256_to_be_min(struct i256, uint8_t ret_bytes[32]);
int i256_from_be(const uint8_t *bytes, size_t size, struct i256 *ret); /* 1..32 bytes, sign-extended; WEIR_INVALID else */

#endif

/* keccak.c - the sponge of Keccak-256 (rate 136, padding 0x01) over nettle's permutation. */
#include "wire/keccak.h"

#include <nettle/sha3.h>
#include <string.h>

#define RATE 136

static inline void absorb(struct sha3_state *state, const uint8_t *block)
{
	for (size_t i = 0; i < RATE / 8; i++) {
		uint64_t lane; /* little-endian, as every machine that weir runs on */
		memcpy(&lane, block + 8 * i, 8);
		state->a[i] ^= lane;
	}
	sha3_permute(state);
}

void keccak256(const void *data, size_t size, uint8_t ret[32])
{
	struct sha3_state state;
	memset(&state, 0, sizeof state);
	const uint8_t *p = data;
	for (; size >= RATE; p += RATE, size -= RATE)
		absorb(&state, p);
	uint8_t last[RATE] = { 0 };
	if (size)
		memcpy(last, p, size);
	last[size] = 0x01;
	last[RATE - 1] |= 0x80;
	absorb(&state, last);
	memcpy(ret, state.a, 32);
}

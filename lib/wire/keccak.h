/* keccak.h - Keccak-256 as Ethereum uses it (padding 0x01, not SHA-3's 0x06), over nettle's permutation. */
#ifndef WEIR_WIRE_KECCAK_H
#define WEIR_WIRE_KECCAK_H

#include <stddef.h>
#include <stdint.h>

void keccak256(const void *data, size_t size, uint8_t ret[32]);

#endif

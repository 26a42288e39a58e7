/* hex.h - "0x…" text to bytes and back, and JSON-RPC quantities (EIP-1474: minimal hex, "0x0" for zero; weir reads leading zeros). */
#ifndef WEIR_WIRE_HEX_H
#define WEIR_WIRE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exactly size bytes from "0x" + 2*size digits. WEIR_INVALID otherwise. */
int hex_to_bytes(const char *text, size_t length, uint8_t *ret, size_t size);
/* Any even number of digits; *ret_size bytes written, at most max (WEIR_LIMIT). */
int hex_to_data(const char *text, size_t length, uint8_t *ret, size_t max, size_t *ret_size);
int hex_to_u64(const char *text, size_t length, uint64_t *ret); /* quantity; WEIR_LIMIT when it does not fit */
/* Writes "0x" + digits + NUL: 2*size+3 bytes. Returns the length without NUL. */
size_t hex_from_bytes(const uint8_t *data, size_t size, char *ret);
size_t hex_from_u64(uint64_t value, char ret[19]); /* quantity */

#endif

/* digest.h - SHA-256 and base64: what files and operators compare. */
#ifndef WEIR_WIRE_DIGEST_H
#define WEIR_WIRE_DIGEST_H

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_TEXT 65
void sha256_text(const void *data, size_t size, char ret[SHA256_TEXT]); /* 64 hex digits and NUL */

void base64_write(struct bytes, struct buf *out); /* RFC 4648 section 4, with padding */
/* Appends the bytes. False: not base64. */
bool base64_read(const char *text, size_t size, struct buf *out);

/* RFC 4648 section 5, without padding. */
void base64url_write(struct bytes, struct buf *out);
/* False: not base64url, not the one way to write these bytes, or more than max of them. */
bool base64url_read(const char *text, size_t size, uint8_t *ret, size_t max, size_t *ret_size);

#endif

/* writer.h - JSON out, into a struct buf. Commas come by themselves: the byte before tells whether one is due. Key NULL: an element
 * of an array. Text that is not UTF-8 becomes U+FFFD. */
#ifndef WEIR_GATEWAY_WRITER_H
#define WEIR_GATEWAY_WRITER_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

void put_object(struct buf *, const char *key);
void put_array(struct buf *, const char *key);
void put_end(struct buf *, char bracket); /* '}' or ']' */
void put_text(struct buf *, const char *key, const char *text); /* NULL: null */
void put_i64(struct buf *, const char *key, int64_t);
void put_u64(struct buf *, const char *key, uint64_t);
void put_f64(struct buf *, const char *key, double); /* three decimals */
void put_bool(struct buf *, const char *key, bool);
void put_null(struct buf *, const char *key);
void put_hex(struct buf *, const char *key, struct bytes); /* "0x…"; no bytes: null */
void put_raw(struct buf *, const char *key, const char *json); /* JSON text as it stands; NULL or empty: null */
void put_milliseconds(struct buf *, const char *key, int64_t unix_ms); /* RFC 3339 in UTC; 0: null */

#endif

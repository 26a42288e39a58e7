/* cursor.h - where a list goes on: opaque to clients, pinned to a block so that a page never continues on another branch.
 *
 * base64url (RFC 4648 section 5, no padding) of: version, kind of list, height, ordinal, branch, first 8 bytes of the block's hash,
 * and a crc32c over it. The crc finds slips, not forgers: nothing in a cursor grants anything.
 */
#ifndef WEIR_GATEWAY_CURSOR_H
#define WEIR_GATEWAY_CURSOR_H

#include "base/error.h"
#include "base/mem.h"

#include <stdint.h>

enum cursor_kind { CURSOR_BLOCKS = 1, CURSOR_BLOCK_ENTRIES, CURSOR_ACCOUNT_ENTRIES, CURSOR_ROWS };

struct cursor {
	enum cursor_kind kind;
	int64_t height; /* or the row's id */
	int32_t ordinal;
	int16_t branch;
	uint8_t hash[8];
};

#define CURSOR_TEXT_MAX 64
void cursor_print(const struct cursor *, char ret[CURSOR_TEXT_MAX]);
int cursor_parse(const char *text, enum cursor_kind expected, struct cursor *ret, struct error *); /* WEIR_INVALID */

/* Any text as an opaque cursor and back (dead letters). ret of size max; WEIR_INVALID, WEIR_LIMIT. */
void cursor_print_text(const char *text, struct buf *out);
int cursor_parse_text(const char *text, char *ret, size_t max, struct error *);

#endif

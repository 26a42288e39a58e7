/* cursor.h - where a list goes on: opaque and signed, pinned to a block so that a page never continues on another branch.
 *
 * base64url (RFC 4648 section 5, no padding) of: version, kind, the key's id, time of issue, the list's tag, branch, height, ordinal, the
 * block that must still be canonical (height and first 8 bytes of its hash), the ledger's height at the first page; and behind all
 * that the first 16 bytes of an HMAC-SHA-256 over it. Compared in constant time. The time of issue is told in steps of an hour, so that
 * a page read twice is the same page; a cursor lives CURSOR_LIFE_S, and up to a step less.
 */
#ifndef WEIR_GATEWAY_CURSOR_H
#define WEIR_GATEWAY_CURSOR_H

#include "base/error.h"
#include "base/mem.h"

#include <stdint.h>

#define CURSOR_LIFE_S (25 * 3600)
#define CURSOR_STEP_S 3600

enum cursor_kind { CURSOR_BLOCKS = 1, CURSOR_BLOCK_ENTRIES, CURSOR_ACCOUNT_ENTRIES, CURSOR_ROWS, CURSOR_TEXT, CURSOR_ENTRIES, CURSOR_KINDS };

struct cursor {
	enum cursor_kind kind;
	int16_t branch;
	int32_t ordinal;
	int64_t height;       /* or the row's id */
	int64_t pinned;       /* height of the block that must still be canonical; -1: none */
	uint8_t hash[8];      /* that block's */
	int64_t as_of;        /* the ledger's height when the first page was read; -1: does not matter */
};

/* Keys: the first signs, each verifies. */
#define CURSOR_KEYS_MAX 8
struct cursor_key {
	uint8_t id[4], secret[32];
};
struct cursor_ring {
	struct cursor_key keys[CURSOR_KEYS_MAX];
	size_t count;
};
/* A key from any secret: its id is told to everybody and tells nothing. */
struct cursor_key cursor_key_from(struct bytes secret);

/* What a cursor belongs to: kind of list, and the tag of the list (path and filters). now_s: unix time. */
struct cursor_scope {
	const struct cursor_ring *ring;
	uint32_t list;
	int64_t now_s;
};

#define CURSOR_TEXT_MAX 112
void cursor_print(const struct cursor *, const struct cursor_scope *, char ret[CURSOR_TEXT_MAX]);
/* WEIR_INVALID: forged, damaged, signed with a key that nobody knows (any more), or another list's. WEIR_TIMEOUT: expired. */
int cursor_parse(const char *text, enum cursor_kind expected, const struct cursor_scope *, struct cursor *ret, struct error *);

/* Any text of at most 256 bytes as an opaque, signed cursor and back (dead letters, lines). ret of size max; codes as above. */
void cursor_print_text(const char *text, const struct cursor_scope *, struct buf *out);
int cursor_parse_text(const char *text, const struct cursor_scope *, char *ret, size_t max, struct error *);

#endif

/* h1.h - HTTP/1.1 as bytes: where a head ends, what is in it, and chunked bodies (RFC 9112). Pure, no sockets; remote input.
 *
 * Strict where the RFC lets a recipient be lenient, because two readers of one connection must see the same requests: lines end with CRLF and
 * nothing else, one space between the parts of the request line, no white space before a colon, no folded lines, no control
 * characters. Bytes may come in any pieces: the verdict is the same.
 */
#ifndef WEIR_GATEWAY_H1_H
#define WEIR_GATEWAY_H1_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define H1_HEAD_MAX ((size_t)16 << 10)
#define H1_FIELDS_MAX 64

struct h1_problem {
	unsigned status;
	const char *code, *detail; /* static */
};

/* Begins as zeros for each request. */
struct h1_scan {
	size_t at, begin, line; /* next byte to look at; of the request line; of the line that is being read */
	unsigned lines;
};
/* data: everything of this request so far. Size of the head when it is complete (scan->begin: an empty line may precede it), 0: not yet,
 * -1: it can't become one. */
ssize_t h1_scan(struct h1_scan *, const uint8_t *data, size_t size, struct h1_problem *);

struct h1_field {
	const char *name, *value; /* value without white space around it */
};
struct h1_head {
	const char *method, *target;
	int minor; /* 0 or 1; a higher one is spoken to as 1 */
	struct h1_field fields[H1_FIELDS_MAX];
	size_t field_count;
};
/* Takes a complete head apart, in place; ret points into it. data ends with NUL behind size. False: refused. */
bool h1_parse(char *data, size_t size, struct h1_head *ret, struct h1_problem *);
bool h1_is_token(const char *);

/* A chunked body; begins as zeros but for max. */
struct h1_chunks {
	int state;
	uint64_t left, total, max; /* of the chunk; of the body; bytes that the body may have */
	size_t line, overhead;     /* bytes of this line; of all that is not the body */
};
/* Appends what is body. Bytes that were taken, -1: refused. *ret_done: the last line was among them. */
ssize_t h1_dechunk(struct h1_chunks *, const uint8_t *data, size_t size, struct buf *body, bool *ret_done, struct h1_problem *);

#endif

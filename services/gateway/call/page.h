/* page.h - lists in pages: {"items": […], "next_cursor": …}, with signed cursors that know about reorgs.
 *
 * A cursor is pinned to a block. When that block is still canonical, so is everything below it, so the pages before are still right and the
 * next one follows without a gap; else the answer is 410 cursor_reorged with the newest block that both branches share: items above it are
 * to be forgotten. Ascending lists pin the block of the last item (and get a cursor to go on with), descending lists that of the first
 * item of the first page (and begin at their start).
 */
#ifndef WEIR_GATEWAY_PAGE_H
#define WEIR_GATEWAY_PAGE_H

#include "call/call.h"
#include "call/cursor.h"

#define LIMIT_DEFAULT 100 /* items of a page, unless the request asks for another number */
#define LIMIT_MAX 1000

/* The call's parameter "cursor"; *ret stays as it is when there is none. False: answered with 400. */
bool page_cursor(struct call *, enum cursor_kind, struct cursor *ret);
bool page_cursor_text(struct call *, char *ret, size_t max); /* "" when there is none */

/* {"items":[ is written by begin; end closes with next_cursor (NULL: null). */
void page_begin(struct call *);
/* Begins, and puts the first `limit` rows as an object each: how many. A list asks for one row more, to know whether it goes on. */
typedef void page_put(struct buf *, const struct pg_result *, size_t row);
size_t page_put_rows(struct call *, const struct pg_result *, size_t limit, page_put *);
void page_end(struct call *, const struct cursor *next);
void page_end_behind(struct call *, const char *last); /* for lists whose places are texts of others: ids of letters and lines */
void page_put_cursor_behind(struct call *, const char *last); /* the same without the ends, for lists that say more */
void page_put_cursor(struct call *, const char *key, const struct cursor *); /* NULL: null */

void page_pin(struct cursor *, int64_t height, struct bytes hash);
/* Is the pinned block still the ledger's? False: answered with 410 (or 503). */
bool page_stands(struct call *, const struct cursor *, bool goes_up);
bool page_reorged(struct call *, const struct cursor *, bool goes_up); /* the 410; returns false */

#endif

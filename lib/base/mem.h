/* mem.h - allocation that cannot fail, arenas, and buffers born with their maximum.
 *
 * Out of memory ends the process with a message (a supervisor restarts it), so no path pretends to recover. Memory comes zeroed.
 * Three lifetimes cover weir: the message being handled (arena, dropped whole), the connection, the process.
 */
#ifndef WEIR_BASE_MEM_H
#define WEIR_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

void *xmalloc(size_t size);                             /* zeroed */
void *xcalloc(size_t count, size_t size);               /* zeroed, overflow-checked */
void *xrealloc(void *p, size_t count, size_t size);     /* overflow-checked; new room is NOT zeroed */
char *xstrdup(const char *s);                           /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* xfree(&p): frees and nulls the caller's pointer; NULL is fine. */
#define xfree(pointer)                  \
	do {                            \
		free(*(pointer));       \
		*(pointer) = NULL;      \
	} while (0)

/* Read-only bytes that belong to someone else. Valid as long as the owner says. */
struct bytes {
	const uint8_t *data;
	size_t size;
};

/* arena: allocations for the life of one message, freed together. Not thread-safe. */
struct arena;
struct arena *arena_new(size_t max_size); /* allocation beyond max_size returns NULL (remote input decides sizes) */
void arena_reset(struct arena *);         /* drops everything, keeps up to 1 MiB for the next message */
void arena_free(struct arena **);         /* accepts NULL */
void *arena_alloc(struct arena *, size_t size); /* 16-byte aligned, NOT zeroed; NULL when max_size would be passed */
void *arena_zalloc(struct arena *, size_t count, size_t size);
char *arena_text(struct arena *, const char *); /* a copy */
char *arena_printf(struct arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t arena_used(const struct arena *);

/* buf: a growing byte string with a maximum. Appending beyond max sets `overflow` and drops the bytes: check once at the end.
 *
 *	struct buf b = BUF_INIT(4096);
 *	buf_printf(&b, "%s", name);
 *	if (b.overflow) ...
 *	buf_free(&b);
 */
struct buf {
	uint8_t *data; /* owned; always NUL-terminated behind `size` once non-NULL */
	size_t size;
	size_t capacity;
	size_t max;
	bool overflow;
};
#define BUF_INIT(maximum) { .data = NULL, .size = 0, .capacity = 0, .max = (maximum), .overflow = false }
void buf_reserve(struct buf *, size_t extra);
void buf_add(struct buf *, const void *data, size_t size);
void buf_add_str(struct buf *, const char *s);
void buf_add_byte(struct buf *, uint8_t byte);
void buf_printf(struct buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_reset(struct buf *);        /* size 0, overflow false, keeps memory */
uint8_t *buf_detach(struct buf *);   /* the caller now owns the bytes (NUL-terminated) */
void buf_free(struct buf *);
const char *buf_str(const struct buf *); /* never NULL */

#endif

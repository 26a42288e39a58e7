/* mem.c - allocation that ends the process when memory is out; arenas; bounded buffers. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BLOCK_MIN (64u << 10)
#define ARENA_KEEP_MAX (1u << 20)

static void *must(void *p, size_t size)
{
	if (p || size == 0)
		return p;
	static const char words[] = "weir: out of memory: the process ends and its supervisor restarts it\n";
	if (write(STDERR_FILENO, words, sizeof words - 1) < 0)
		abort();
	abort();
}

static size_t times(size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		must(NULL, 1);
	return total;
}

void *xmalloc(size_t size)
{
	return must(calloc(1, size ? size : 1), 1);
}

void *xcalloc(size_t count, size_t size)
{
	return xmalloc(times(count, size));
}

void *xrealloc(void *p, size_t count, size_t size)
{
	size_t total = times(count, size);
	return must(realloc(p, total ? total : 1), 1);
}

void *xmemdup(const void *p, size_t n)
{
	void *copy = xmalloc(n);
	if (n)
		memcpy(copy, p, n);
	return copy;
}

char *xstrndup(const char *s, size_t n)
{
	size_t length = strnlen(s, n);
	char *copy = xmalloc(length + 1);
	memcpy(copy, s, length);
	return copy;
}

char *xstrdup(const char *s)
{
	return s ? xstrndup(s, strlen(s)) : NULL;
}

char *xasprintf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	int length = vasprintf(&text, format, args);
	va_end(args);
	return must(length < 0 ? NULL : text, 1);
}

/* -- arena ---------------------------------------------------------------------------------------------------------------- */

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	_Alignas(16) uint8_t data[];
};

struct arena {
	struct arena_block *first; /* the one that is filled */
	size_t max_size, total;    /* total: bytes handed out */
};

struct arena *arena_new(size_t max_size)
{
	struct arena *a = xmalloc(sizeof *a);
	a->max_size = max_size;
	return a;
}

static struct arena_block *block_new(size_t size, struct arena_block *next)
{
	struct arena_block *b = must(malloc(sizeof *b + size), 1);
	b->next = next;
	b->size = size;
	b->used = 0;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > a->max_size || a->total > a->max_size - size)
		return NULL;
	size_t rounded = (size + 15) & ~(size_t)15;
	struct arena_block *b = a->first;
	if (!b || b->size - b->used < rounded) {
		size_t want = b ? b->size * 2 : ARENA_BLOCK_MIN;
		if (want > (16u << 20))
			want = 16u << 20;
		if (want < rounded)
			want = rounded;
		b = a->first = block_new(want, b);
	}
	void *p = b->data + b->used;
	b->used += rounded;
	a->total += rounded;
	return p;
}

void *arena_zalloc(struct arena *a, size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	void *p = arena_alloc(a, total);
	if (p)
		memset(p, 0, total);
	return p;
}

char *arena_text(struct arena *a, const char *text)
{
	const size_t size = strlen(text) + 1;
	char *copy = arena_alloc(a, size);
	return copy ? memcpy(copy, text, size) : NULL;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return NULL;
	char *text = arena_alloc(a, (size_t)length + 1);
	if (!text)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t)length + 1, format, args);
	va_end(args);
	return text;
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL;
	for (struct arena_block *b = a->first, *next; b; b = next) {
		next = b->next;
		if (!keep && b->size <= ARENA_KEEP_MAX) {
			keep = b;
			keep->used = 0;
		} else {
			free(b);
		}
	}
	if (keep)
		keep->next = NULL;
	a->first = keep;
	a->total = 0;
}

void arena_free(struct arena **a)
{
	if (!*a)
		return;
	for (struct arena_block *b = (*a)->first, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	xfree(a);
}

size_t arena_used(const struct arena *a)
{
	return a->total;
}

/* -- buf ------------------------------------------------------------------------------------------------------------------ */

void buf_reserve(struct buf *b, size_t extra)
{
	if (extra > b->max || b->size > b->max - extra) {
		b->overflow = true;
		return;
	}
	size_t need = b->size + extra + 1; /* the NUL */
	if (need <= b->capacity)
		return;
	size_t capacity = b->capacity ? b->capacity : 64;
	while (capacity < need)
		capacity *= 2;
	b->data = xrealloc(b->data, capacity, 1);
	b->capacity = capacity;
	b->data[b->size] = 0;
}

void buf_add(struct buf *b, const void *data, size_t size)
{
	if (b->overflow)
		return;
	buf_reserve(b, size);
	if (b->overflow)
		return;
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	b->data[b->size] = 0;
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_add_byte(struct buf *b, uint8_t byte)
{
	buf_add(b, &byte, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
	char small[512];
	va_list args;
	va_start(args, format);
	int length = vsnprintf(small, sizeof small, format, args);
	va_end(args);
	if (length < 0)
		return;
	if ((size_t)length < sizeof small) {
		buf_add(b, small, (size_t)length);
		return;
	}
	buf_reserve(b, (size_t)length);
	if (b->overflow)
		return;
	va_start(args, format);
	vsnprintf((char *)b->data + b->size, (size_t)length + 1, format, args);
	va_end(args);
	b->size += (size_t)length;
}

void buf_reset(struct buf *b)
{
	b->size = 0;
	b->overflow = false;
	if (b->data)
		b->data[0] = 0;
}

uint8_t *buf_detach(struct buf *b)
{
	if (!b->data)
		buf_reserve(b, 0);
	uint8_t *data = b->data;
	b->data = NULL;
	b->size = b->capacity = 0;
	return data;
}

void buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->size = b->capacity = 0;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? (const char *)b->data : "";
}

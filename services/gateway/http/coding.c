/* coding.c - choosing and applying content codings. */
#include "http/coding.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

#define MEMBERS_MAX 32 /* of one Accept-Encoding; the rest is not read */
#define GZIP_WINDOW (15 + 16)

const char *coding_name(enum coding coding)
{
	static const char *const names[] = { [CODING_GZIP] = "gzip", [CODING_ZSTD] = "zstd" };
	return coding > CODING_NONE && coding < CODINGS ? names[coding] : NULL;
}

/* qvalue in thousandths (RFC 9110 section 12.4.2); -1: it is none. */
static int read_weight(const char *p, const char *end)
{
	int value = 0, scale = 1000;
	if (p == end || (*p != '0' && *p != '1'))
		return -1;
	value = (*p++ - '0') * 1000;
	if (p < end && *p++ != '.')
		return -1;
	for (; p < end; p++) {
		scale /= 10;
		if (*p < '0' || *p > '9' || scale == 0)
			return -1;
		value += (*p - '0') * scale;
	}
	return value > 1000 ? -1 : value;
}

static const char *skip(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* One member "coding;q=0.5". False: unreadable. */
static bool read_member(const char *p, const char *end, const char **ret_name, size_t *ret_size, int *ret_weight)
{
	p = skip(p, end);
	*ret_name = p;
	while (p < end && *p != ';' && *p != ' ' && *p != '\t')
		p++;
	*ret_size = (size_t)(p - *ret_name);
	*ret_weight = 1000;
	p = skip(p, end);
	if (p == end)
		return *ret_size > 0;
	if (*p++ != ';')
		return false;
	p = skip(p, end);
	if (end - p < 2 || (*p != 'q' && *p != 'Q') || p[1] != '=')
		return false;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*ret_weight = read_weight(p + 2, end);
	return *ret_size > 0 && *ret_weight >= 0;
}

static bool is(const char *name, size_t size, const char *word)
{
	return strlen(word) == size && strncasecmp(name, word, size) == 0;
}

int coding_weight(const char *list, const char *wanted)
{
	int found = -1;
	for (int i = 0; list && *list && i < MEMBERS_MAX; i++) {
		const char *end = list + strcspn(list, ","), *name;
		size_t size;
		int weight;
		if (read_member(list, end, &name, &size, &weight) && is(name, size, wanted))
			found = weight;
		list = *end ? end + 1 : end;
	}
	return found;
}

enum coding coding_choose(const char *accept)
{
	int weights[CODINGS] = { -1, -1, -1 }, any = -1;
	for (int i = 0; accept && *accept && i < MEMBERS_MAX; i++) {
		const char *end = accept + strcspn(accept, ","), *name;
		size_t size;
		int weight;
		if (read_member(accept, end, &name, &size, &weight)) {
			if (is(name, size, "gzip") || is(name, size, "x-gzip"))
				weights[CODING_GZIP] = weight;
			else if (is(name, size, "zstd"))
				weights[CODING_ZSTD] = weight;
			else if (is(name, size, "identity"))
				weights[CODING_NONE] = weight;
			else if (is(name, size, "*"))
				any = weight;
		}
		accept = *end ? end + 1 : end;
	}
	enum coding best = CODING_NONE;
	for (enum coding c = CODING_ZSTD; c > CODING_NONE; c--) {
		int weight = weights[c] >= 0 ? weights[c] : any > 0 ? any : 0;
		if (weight > 0 && weight >= weights[CODING_NONE] && (best == CODING_NONE || weight > weights[best]))
			best = c, weights[c] = weight;
	}
	return best;
}

bool coding_fits(const char *type, size_t size)
{
	static const char *const types[] = { "application/json", "application/problem+json", "application/vnd.msgpack", "text/", "image/svg+xml" };
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (strncmp(type, types[i], strlen(types[i])) == 0)
			return size >= CODING_MIN && size <= CODING_MAX;
	return false;
}

static size_t gzip(struct bytes plain, bool best, uint8_t *out, size_t room)
{
	/* zlib is not const-correct: it only reads from next_in. */
	union {
		const uint8_t *in;
		uint8_t *out;
	} data = { .in = plain.data };
	z_stream z = { .next_in = data.out, .avail_in = (uInt)plain.size, .next_out = out, .avail_out = (uInt)room };
	if (deflateInit2(&z, best ? 9 : 4, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	size_t size = deflate(&z, Z_FINISH) == Z_STREAM_END ? room - z.avail_out : 0; /* no room: it did not get smaller */
	deflateEnd(&z);
	return size;
}

bool coding_encode(enum coding coding, struct bytes plain, bool best, struct buf *out)
{
	if (coding == CODING_NONE || plain.size < 2 || plain.size > CODING_MAX)
		return false;
	size_t room = plain.size - 1, size;
	uint8_t *coded = malloc(room);
	if (!coded)
		return false;
	if (coding == CODING_ZSTD) {
		size = ZSTD_compress(coded, room, plain.data, plain.size, best ? 15 : 3);
		size = ZSTD_isError(size) ? 0 : size;
	} else {
		size = gzip(plain, best, coded, room);
	}
	if (size > 0)
		buf_add(out, coded, size);
	free(coded);
	return size > 0 && !out->overflow;
}

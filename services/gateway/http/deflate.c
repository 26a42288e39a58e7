/* deflate.c - permessage-deflate over zlib. */
#include "http/deflate.h"

#include <string.h>
#include <strings.h>
#include <zlib.h>

#define LEVEL 3 /* a push has a few hundred bytes: higher levels find no more in it */
#define MEMORY_LEVEL 8
#define PIECE 16384

static const uint8_t empty_block[4] = { 0x00, 0x00, 0xff, 0xff };

/* ---- the handshake ------------------------------------------------------------------------------------------------------------------------- */

/* One offer's parameters, "; a; b=10": known, each once, and none that wants a smaller window of us. */
static bool acceptable(const char *p, const char *end)
{
	static const char *const names[] = { "server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits", "server_max_window_bits" };
	unsigned seen = 0;
	while (p < end) {
		p += strspn(p, " \t;");
		size_t n = strcspn(p, " \t;,=");
		if (p >= end || n == 0)
			return p >= end;
		unsigned which = 0;
		while (which < 4 && (strlen(names[which]) != n || strncasecmp(p, names[which], n) != 0))
			which++;
		if (which == 4 || seen >> which & 1)
			return false;
		seen |= 1u << which;
		p += n;
		p += strspn(p, " \t");
		if (*p != '=') {
			if (which == 3) /* needs a value */
				return false;
			continue;
		}
		p++;
		p += strspn(p, " \t\"");
		size_t digits = strspn(p, "0123456789");
		int bits = digits == 1 ? p[0] - '0' : digits == 2 ? 10 * (p[0] - '0') + p[1] - '0' : 0;
		if (which < 2 || p[0] == '0' || bits < 8 || bits > 15 || (which == 3 && bits != 15))
			return false;
		p += digits;
		p += strspn(p, " \t\"");
		if (p < end && *p != ';' && *p != ',')
			return false;
	}
	return true;
}

bool deflate_accepts(const char *offers)
{
	static const char name[] = "permessage-deflate";
	while (offers && *offers) {
		offers += strspn(offers, " \t,");
		const char *end = offers + strcspn(offers, ",");
		size_t n = strcspn(offers, " \t,;");
		if (n == sizeof name - 1 && strncasecmp(offers, name, n) == 0 && acceptable(offers + n, end))
			return true;
		offers = end;
	}
	return false;
}

/* ---- out --------------------------------------------------------------------------------------------------------------------------------------- */

struct deflate {
	z_stream z;
};

struct deflate *deflate_new(void)
{
	struct deflate *d = xmalloc(sizeof *d);
	if (deflateInit2(&d->z, LEVEL, Z_DEFLATED, -15, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		abort(); /* out of memory is its only reason */
	return d;
}

void deflate_free(struct deflate **dp)
{
	if (!*dp)
		return;
	deflateEnd(&(*dp)->z);
	xfree(dp);
}

bool deflate_shared(struct deflate *d, struct bytes plain, struct buf *ret)
{
	size_t begin = ret->size, room = deflateBound(&d->z, plain.size) + 16;
	union { /* zlib reads only */
		const uint8_t *in;
		uint8_t *out;
	} input = { .in = plain.data };
	buf_reserve(ret, room);
	if (ret->capacity - ret->size < room || plain.size > UINT32_MAX)
		return false;
	deflateReset(&d->z);
	d->z.next_in = input.out;
	d->z.avail_in = (uInt)plain.size;
	d->z.next_out = ret->data + begin;
	d->z.avail_out = (uInt)room;
	if (deflate(&d->z, Z_SYNC_FLUSH) != Z_OK || d->z.avail_in > 0 || d->z.avail_out == 0)
		return false;
	size_t size = room - d->z.avail_out;
	if (size < sizeof empty_block || size - sizeof empty_block + DEFLATE_STORED_HEADER >= plain.size)
		return false;
	ret->size = begin + size - sizeof empty_block;
	return true;
}

void deflate_stored(size_t size, uint8_t ret[DEFLATE_STORED_HEADER])
{
	ret[0] = 0; /* not the last block; stored; the rest of the byte is padding */
	ret[1] = (uint8_t)size;
	ret[2] = (uint8_t)(size >> 8);
	ret[3] = (uint8_t)~ret[1];
	ret[4] = (uint8_t)~ret[2];
}

/* ---- in ----------------------------------------------------------------------------------------------------------------------------------------- */

/* Z_OK: more may come. Z_STREAM_END: the sender closed the stream with a final block, which section 7.2.3.4 allows. */
static int feed(z_stream *z, struct bytes in, struct buf *out)
{
	uint8_t piece[PIECE];
	union {
		const uint8_t *in;
		uint8_t *out;
	} input = { .in = in.data };
	z->next_in = input.out;
	z->avail_in = (uInt)in.size;
	int code = Z_OK;
	do {
		z->next_out = piece;
		z->avail_out = sizeof piece;
		code = inflate(z, Z_SYNC_FLUSH);
		buf_add(out, piece, sizeof piece - z->avail_out);
	} while (code == Z_OK && !out->overflow && (z->avail_in > 0 || z->avail_out == 0));
	return code == Z_BUF_ERROR ? Z_OK : code;
}

bool deflate_inflate(struct bytes message, struct buf *out)
{
	z_stream z = { 0 };
	if (message.size > UINT32_MAX || inflateInit2(&z, -15) != Z_OK)
		return false;
	int code = message.size > 0 ? feed(&z, message, out) : Z_OK;
	bool ended = code == Z_STREAM_END && z.avail_in <= 1; /* the empty block's first byte may be there */
	if (code == Z_OK && !out->overflow)
		code = feed(&z, (struct bytes){ empty_block, sizeof empty_block }, out);
	inflateEnd(&z);
	return out->overflow || ended || code == Z_OK;
}

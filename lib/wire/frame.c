/* frame.c - the envelope: fixed header, key, body, crc32c. */
#include "wire/frame.h"

#include <string.h>

#define MAGIC0 'W'
#define MAGIC1 'F'
#define VERSION 1

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by SSE 4.2 where the machine has it, else by table. */
static uint32_t crc_table_step(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int i = 0; i < 8; i++)
		crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p, size_t size)
{
	uint64_t wide = crc;
	for (; size >= 8; p += 8, size -= 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; size; p++, size--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

uint32_t crc32c(uint32_t seed, const void *data, size_t size)
{
	uint32_t crc = ~seed;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_fast(crc, data, size);
#endif
	for (const uint8_t *p = data; size; p++, size--)
		crc = crc_table_step(crc, *p);
	return ~crc;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)v);
	put16(p + 2, (uint16_t)(v >> 16));
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) | (uint32_t)get16(p + 2) << 16;
}

void frame_write(const struct frame *f, struct buf *out)
{
	uint8_t h[FRAME_HEADER_SIZE] = { MAGIC0, MAGIC1, VERSION, f->flags };
	size_t key_size = f->key.size > FRAME_KEY_MAX ? FRAME_KEY_MAX : f->key.size;
	put16(h + 4, f->type);
	put16(h + 6, f->schema_version);
	put16(h + 8, (uint16_t)key_size);
	h[10] = f->trace_flags;
	put32(h + 12, (uint32_t)f->body.size);
	memcpy(h + 16, f->event_id, 16);
	memcpy(h + 32, f->trace_id, 16);
	memcpy(h + 48, f->span_id, 8);
	put32(h + 56, (uint32_t)f->created_unix_ms);
	put16(h + 60, (uint16_t)(f->created_unix_ms >> 32));
	put16(h + 62, (uint16_t)f->more.size);
	size_t begin = out->size;
	if (f->body.size > FRAME_BODY_MAX || f->more.size > FRAME_MORE_MAX) {
		out->overflow = true;
		return;
	}
	buf_add(out, h, sizeof h);
	buf_add(out, f->key.data, key_size);
	if (f->more.size > 0)
		buf_add(out, f->more.data, f->more.size);
	buf_add(out, f->body.data, f->body.size);
	if (out->overflow)
		return;
	uint8_t crc[4];
	put32(crc, crc32c(0, out->data + begin, out->size - begin));
	buf_add(out, crc, 4);
}

struct span_context frame_trace(const struct frame *f)
{
	struct span_context c = { .flags = f->trace_flags };
	memcpy(c.trace_id, f->trace_id, sizeof c.trace_id);
	memcpy(c.span_id, f->span_id, sizeof c.span_id);
	return c;
}

void frame_set_trace(struct frame *f, const struct span_context *c)
{
	f->trace_flags = c->flags;
	memcpy(f->trace_id, c->trace_id, sizeof f->trace_id);
	memcpy(f->span_id, c->span_id, sizeof f->span_id);
}

int frame_read(struct bytes data, struct frame *ret, struct error *err)
{
	const uint8_t *h = data.data;
	if (data.size < FRAME_HEADER_SIZE + 4 || h[0] != MAGIC0 || h[1] != MAGIC1)
		return error_set(err, WEIR_INVALID, "not a frame (%zu bytes)", data.size);
	if (h[2] != VERSION)
		return error_set(err, WEIR_INVALID, "frame version %u is not known", h[2]);
	size_t key_size = get16(h + 8), more_size = get16(h + 62), body_size = get32(h + 12);
	if (key_size > FRAME_KEY_MAX || more_size > FRAME_MORE_MAX || body_size > FRAME_BODY_MAX)
		return error_set(err, WEIR_LIMIT, "frame with a key of %zu, an envelope of %zu and a body of %zu bytes", key_size, more_size, body_size);
	if (data.size != FRAME_HEADER_SIZE + key_size + more_size + body_size + 4)
		return error_set(err, WEIR_INVALID, "frame of %zu bytes should have %zu", data.size,
				 FRAME_HEADER_SIZE + key_size + more_size + body_size + 4);
	if (crc32c(0, h, data.size - 4) != get32(h + data.size - 4))
		return error_set(err, WEIR_INVALID, "frame is damaged: its checksum does not fit");
	memset(ret, 0, sizeof *ret);
	ret->flags = h[3];
	ret->type = get16(h + 4);
	ret->schema_version = get16(h + 6);
	ret->trace_flags = h[10];
	memcpy(ret->event_id, h + 16, 16);
	memcpy(ret->trace_id, h + 32, 16);
	memcpy(ret->span_id, h + 48, 8);
	ret->created_unix_ms = get32(h + 56) | (uint64_t)get16(h + 60) << 32;
	ret->key = (struct bytes){ h + FRAME_HEADER_SIZE, key_size };
	ret->more = (struct bytes){ h + FRAME_HEADER_SIZE + key_size, more_size };
	ret->body = (struct bytes){ h + FRAME_HEADER_SIZE + key_size + more_size, body_size };
	return 0;
}

uint64_t frame_created(struct bytes data)
{
	return frame_size(data) > 0 ? get32(data.data + 56) | (uint64_t)get16(data.data + 60) << 32 : 0;
}

size_t frame_size(struct bytes data)
{
	if (data.size < FRAME_HEADER_SIZE || data.data[0] != MAGIC0 || data.data[1] != MAGIC1)
		return 0;
	return FRAME_HEADER_SIZE + (size_t)get16(data.data + 8) + get16(data.data + 62) + get32(data.data + 12) + 4;
}

bool frame_peek(struct bytes data, uint16_t *ret_type, struct bytes *ret_key)
{
	if (data.size < FRAME_HEADER_SIZE || data.data[0] != MAGIC0 || data.data[1] != MAGIC1)
		return false;
	size_t key_size = get16(data.data + 8);
	if (key_size > FRAME_KEY_MAX || data.size < FRAME_HEADER_SIZE + key_size)
		return false;
	*ret_type = get16(data.data + 4);
	*ret_key = (struct bytes){ data.data + FRAME_HEADER_SIZE, key_size };
	return true;
}

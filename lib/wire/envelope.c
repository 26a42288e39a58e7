/* envelope.c - the envelope's few fields as protobuf, read without a copy. */
#include "wire/envelope.h"

#include <string.h>

/* -- writing --------------------------------------------------------------------------------------------------------------------- */

static void add_varint(struct buf *out, uint64_t n)
{
	uint8_t bytes[10];
	size_t size = 0;
	do
		bytes[size++] = (uint8_t)(n & 127) | (n > 127 ? 128 : 0);
	while ((n >>= 7) > 0);
	buf_add(out, bytes, size);
}

static void add_bytes(struct buf *out, unsigned field, const void *data, size_t size)
{
	if (size == 0)
		return;
	add_varint(out, field << 3 | 2);
	add_varint(out, size);
	buf_add(out, data, size);
}

static size_t text_size(struct bytes text)
{
	return text.size < ENVELOPE_TEXT_MAX ? text.size : ENVELOPE_TEXT_MAX;
}

static size_t id_size(const uint8_t id[16])
{
	static const uint8_t none[16];
	return memcmp(id, none, sizeof none) == 0 ? 0 : sizeof none;
}

void envelope_write(const struct envelope *e, struct buf *out)
{
	add_bytes(out, 1, e->issuer.data, text_size(e->issuer));
	add_bytes(out, 2, e->category.data, text_size(e->category));
	add_bytes(out, 3, e->causation_id, id_size(e->causation_id));
	add_bytes(out, 4, e->correlation_id, id_size(e->correlation_id));
	if (e->attempts_max > 0) {
		add_varint(out, 5 << 3);
		add_varint(out, e->attempts_max);
	}
}

/* -- reading --------------------------------------------------------------------------------------------------------------------- */

static bool take_varint(struct bytes *in, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; in->size > 0 && shift < 64; shift += 7) {
		uint8_t byte = *in->data++;
		in->size--;
		*ret |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

static bool take_bytes(struct bytes *in, uint64_t size, struct bytes *ret)
{
	if (size > in->size)
		return false;
	*ret = (struct bytes){ in->data, (size_t)size };
	in->data += size;
	in->size -= (size_t)size;
	return true;
}

/* One field: a number or bytes. */
static bool take_field(struct bytes *in, uint64_t *ret_field, uint64_t *ret_number, struct bytes *ret_bytes)
{
	uint64_t tag;
	*ret_number = 0;
	*ret_bytes = (struct bytes){ NULL, 0 };
	if (!take_varint(in, &tag))
		return false;
	*ret_field = tag >> 3;
	switch (tag & 7) {
	case 0:
		return take_varint(in, ret_number);
	case 1:
		return take_bytes(in, 8, ret_bytes);
	case 2:
		return take_varint(in, ret_number) && take_bytes(in, *ret_number, ret_bytes);
	case 5:
		return take_bytes(in, 4, ret_bytes);
	default:
		return false;
	}
}

static bool is_id(struct bytes b, uint8_t ret[16])
{
	if (b.size == 16)
		memcpy(ret, b.data, 16);
	return b.size == 16 || b.size == 0;
}

int envelope_read(struct bytes more, struct envelope *ret, struct error *err)
{
	uint64_t field, number;
	struct bytes bytes;
	bool fine = true;
	memset(ret, 0, sizeof *ret);
	while (fine && more.size > 0) {
		fine = take_field(&more, &field, &number, &bytes);
		if (fine && field == 1)
			ret->issuer = bytes;
		else if (fine && field == 2)
			ret->category = bytes;
		else if (fine && field == 3)
			fine = is_id(bytes, ret->causation_id);
		else if (fine && field == 4)
			fine = is_id(bytes, ret->correlation_id);
		else if (fine && field == 5)
			ret->attempts_max = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
	}
	if (fine && ret->issuer.size <= ENVELOPE_TEXT_MAX && ret->category.size <= ENVELOPE_TEXT_MAX)
		return 0;
	memset(ret, 0, sizeof *ret);
	return error_set(err, WEIR_INVALID, "what stands behind the frame's key is not an envelope");
}

void envelope_caused_by(struct envelope *e, const struct frame *cause)
{
	struct envelope before;
	memcpy(e->causation_id, cause->event_id, sizeof e->causation_id);
	bool told = envelope_read(cause->more, &before, NULL) == 0 && id_size(before.correlation_id) > 0;
	memcpy(e->correlation_id, told ? before.correlation_id : cause->event_id, sizeof e->correlation_id);
}

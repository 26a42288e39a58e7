/* param.c - statement parameters and arrays in PostgreSQL's binary form. */
#include "store/internal.h"

#include <string.h>

static struct pg_param *fill(struct pg_param *p, uint32_t oid, const void *data, size_t size, int format)
{
	p->oid = oid;
	p->data = data;
	p->size = (int)size;
	p->format = format;
	return p;
}

struct pg_param *pg_i64(struct pg_param *p, int64_t v)
{
	pg_put64((uint8_t *)&p->scratch, (uint64_t)v);
	return fill(p, PG_INT8, &p->scratch, 8, 1);
}

struct pg_param *pg_i32(struct pg_param *p, int32_t v)
{
	pg_put32((uint8_t *)&p->scratch, (uint32_t)v);
	return fill(p, PG_INT4, &p->scratch, 4, 1);
}

struct pg_param *pg_bool(struct pg_param *p, bool v)
{
	*(uint8_t *)&p->scratch = v;
	return fill(p, PG_BOOL, &p->scratch, 1, 1);
}

struct pg_param *pg_text(struct pg_param *p, const char *s)
{
	return fill(p, 0, s, s ? strlen(s) : 0, 0);
}

struct pg_param *pg_bytea(struct pg_param *p, struct bytes b)
{
	return fill(p, PG_BYTEA, b.data, b.size, 1);
}

struct pg_param *pg_null(struct pg_param *p)
{
	return fill(p, 0, NULL, 0, 0);
}

/* ---- arrays: dimensions i32, has-null i32, element oid u32, length i32, lower bound i32, then size-prefixed elements ------ */

enum { ARRAY_HEADER = 20 };

static const struct {
	uint32_t element, array;
} array_oids[] = {
	{ PG_BOOL, 1000 }, { PG_BYTEA, 1001 }, { PG_INT2, 1005 }, { PG_INT4, 1007 }, { PG_TEXT, 1009 }, { PG_INT8, 1016 }, { PG_NUMERIC, 1231 },
};

void pg_array_begin(struct pg_array *a, struct buf *out, uint32_t element_oid)
{
	uint8_t header[ARRAY_HEADER] = { 0 };
	pg_put32(header, 1);
	pg_put32(header + 8, element_oid);
	pg_put32(header + 16, 1);
	*a = (struct pg_array){ .out = out, .start = out->size, .count = 0, .oid = element_oid };
	buf_add(out, header, sizeof header);
	a->end = out->size;
}

static void element(struct pg_array *a, const void *data, size_t size)
{
	uint8_t length[4];
	pg_put32(length, (uint32_t)size);
	buf_add(a->out, length, 4);
	buf_add(a->out, data, size);
	a->end = a->out->size;
	a->count++;
}

void pg_array_i64(struct pg_array *a, int64_t v)
{
	uint8_t b[8];
	pg_put64(b, (uint64_t)v);
	element(a, b, 8);
}

void pg_array_i32(struct pg_array *a, int32_t v)
{
	uint8_t b[4];
	pg_put32(b, (uint32_t)v);
	element(a, b, 4);
}

void pg_array_i16(struct pg_array *a, int16_t v)
{
	uint8_t b[2];
	pg_put16(b, (uint16_t)v);
	element(a, b, 2);
}

void pg_array_bool(struct pg_array *a, bool v)
{
	uint8_t b = v;
	element(a, &b, 1);
}

void pg_array_bytea(struct pg_array *a, struct bytes b)
{
	element(a, b.data ? b.data : (const uint8_t *)"", b.size);
}

/* A numeric's length is known only once it is written. */
static size_t open_element(struct pg_array *a)
{
	static const uint8_t unknown[4] = { 0 };
	size_t at = a->out->size;
	buf_add(a->out, unknown, 4);
	return at;
}

static void close_element(struct pg_array *a, size_t at)
{
	if (!a->out->overflow)
		pg_put32(a->out->data + at, (uint32_t)(a->out->size - at - 4));
	a->end = a->out->size;
	a->count++;
}

void pg_array_numeric(struct pg_array *a, struct i256 v)
{
	size_t at = open_element(a);
	pg_numeric_write(a->out, v);
	close_element(a, at);
}

void pg_array_u256(struct pg_array *a, struct u256 v)
{
	size_t at = open_element(a);
	pg_numeric_write_u256(a->out, v);
	close_element(a, at);
}

void pg_array_null(struct pg_array *a)
{
	static const uint8_t minus_one[4] = { 0xff, 0xff, 0xff, 0xff };
	buf_add(a->out, minus_one, 4);
	if (!a->out->overflow)
		pg_put32(a->out->data + a->start + 4, 1);
	a->end = a->out->size;
	a->count++;
}

struct pg_param *pg_array_finish(struct pg_array *a, struct pg_param *p)
{
	uint32_t oid = 0;
	for (size_t i = 0; i < sizeof array_oids / sizeof array_oids[0]; i++)
		if (array_oids[i].element == a->oid)
			oid = array_oids[i].array;
	size_t size = a->end - a->start;
	if (!a->out->overflow) {
		pg_put32(a->out->data + a->start + 12, (uint32_t)a->count);
		if (a->count == 0) { /* an empty array has no dimension at all */
			pg_put32(a->out->data + a->start, 0);
			size = 12;
		}
	}
	return fill(p, oid, a->out->data + a->start, size, 1);
}

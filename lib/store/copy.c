/* copy.c - binary COPY into a table: rows are built in one buffer and sent in pieces of 256 KiB. */
#include "store/internal.h"

#include <string.h>

#define FLUSH_AT ((size_t)256 << 10)
#define FIELD_MAX ((size_t)64 << 20) /* no single field of weir is larger; bounds the buffer */

struct pg_copy {
	struct pg *pg; /* borrowed */
	struct buf out;
	struct error error; /* the first failure; the rest of the rows go nowhere */
};

/* "PGCOPY\n\377\r\n\0", flags, length of the header extension */
static const uint8_t signature[19] = { 'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0 };

int pg_copy_begin(struct pg *pg, const char *copy_sql, struct pg_copy **ret, struct error *err)
{
	int code = pg_ready(pg, err);
	if (code)
		return code;
	PGresult *result;
	code = pg_answer(pg, PQsendQuery(pg->conn, copy_sql), &result, err);
	if (code)
		return code;
	if (PQresultStatus(result) != PGRES_COPY_IN) {
		code = pg_failure(pg, result, "COPY", err);
		PQclear(result);
		return code;
	}
	PQclear(result);
	struct pg_copy *copy = xmalloc(sizeof *copy);
	copy->pg = pg;
	copy->out = (struct buf)BUF_INIT(FLUSH_AT + FIELD_MAX);
	buf_reserve(&copy->out, FLUSH_AT + 4096);
	buf_add(&copy->out, signature, sizeof signature);
	*ret = copy;
	return 0;
}

static void flush(struct pg_copy *copy)
{
	if (!copy->error.code && copy->out.overflow)
		error_set(&copy->error, WEIR_LIMIT, "a row of a COPY is larger than %zu bytes", FIELD_MAX);
	if (!copy->error.code && PQputCopyData(copy->pg->conn, (const char *)copy->out.data, (int)copy->out.size) != 1)
		pg_failure(copy->pg, NULL, "COPY data", &copy->error);
	if (!copy->error.code)
		(void)pg_wait(copy->pg, PG_SENT, NULL, &copy->error); /* libpq would keep all that the server does not take */
	buf_reset(&copy->out);
}

/* Room for size bytes at the end of the row; NULL when it would be too large. */
static uint8_t *room(struct pg_copy *copy, size_t size)
{
	buf_reserve(&copy->out, size);
	if (copy->out.capacity - copy->out.size <= size) {
		copy->out.overflow = true;
		return NULL;
	}
	uint8_t *p = copy->out.data + copy->out.size;
	copy->out.size += size;
	return p;
}

void pg_copy_row(struct pg_copy *copy, int16_t columns)
{
	if (copy->out.size >= FLUSH_AT)
		flush(copy);
	uint8_t *p = room(copy, 2);
	if (p)
		pg_put16(p, (uint16_t)columns);
}

void pg_copy_i64(struct pg_copy *copy, int64_t v)
{
	uint8_t *p = room(copy, 12);
	if (!p)
		return;
	pg_put32(p, 8);
	pg_put64(p + 4, (uint64_t)v);
}

void pg_copy_i32(struct pg_copy *copy, int32_t v)
{
	uint8_t *p = room(copy, 8);
	if (!p)
		return;
	pg_put32(p, 4);
	pg_put32(p + 4, (uint32_t)v);
}

void pg_copy_i16(struct pg_copy *copy, int16_t v)
{
	uint8_t *p = room(copy, 6);
	if (!p)
		return;
	pg_put32(p, 2);
	pg_put16(p + 4, (uint16_t)v);
}

void pg_copy_bool(struct pg_copy *copy, bool v)
{
	uint8_t *p = room(copy, 5);
	if (!p)
		return;
	pg_put32(p, 1);
	p[4] = v;
}

void pg_copy_bytes(struct pg_copy *copy, struct bytes b)
{
	uint8_t *p = room(copy, 4 + b.size);
	if (!p)
		return;
	pg_put32(p, (uint32_t)b.size);
	if (b.size > 0)
		memcpy(p + 4, b.data, b.size);
}

static void close_field(struct pg_copy *copy, size_t at)
{
	if (!copy->out.overflow)
		pg_put32(copy->out.data + at, (uint32_t)(copy->out.size - at - 4));
}

void pg_copy_numeric(struct pg_copy *copy, struct i256 v)
{
	size_t at = copy->out.size;
	if (!room(copy, 4))
		return;
	pg_numeric_write(&copy->out, v);
	close_field(copy, at);
}

void pg_copy_u256(struct pg_copy *copy, struct u256 v)
{
	size_t at = copy->out.size;
	if (!room(copy, 4))
		return;
	pg_numeric_write_u256(&copy->out, v);
	close_field(copy, at);
}

void pg_copy_null(struct pg_copy *copy)
{
	uint8_t *p = room(copy, 4);
	if (p)
		pg_put32(p, UINT32_MAX);
}

/* Reads what COPY left behind so that the connection may be used again. */
static void finish(struct pg_copy *copy)
{
	struct pg *pg = copy->pg;
	while (pg->conn) {
		struct error late;
		int code = pg_wait(pg, PG_ANSWERED, NULL, &late);
		if (code) {
			if (!copy->error.code)
				copy->error = late;
			return;
		}
		PGresult *result = PQgetResult(pg->conn);
		if (!result)
			return;
		bool failed = PQresultStatus(result) != PGRES_COMMAND_OK;
		if (failed && !copy->error.code)
			pg_failure(pg, result, "COPY", &copy->error);
		bool stuck = PQresultStatus(result) == PGRES_COPY_IN;
		PQclear(result);
		if (stuck)
			pg_drop(pg); /* its end could not be sent */
	}
}

static void release(struct pg_copy **copyp)
{
	buf_free(&(*copyp)->out);
	xfree(copyp);
}

int pg_copy_end(struct pg_copy **copyp, struct error *err)
{
	struct pg_copy *copy = *copyp;
	if (!copy)
		return 0;
	uint8_t *p = room(copy, 2);
	if (p)
		pg_put16(p, UINT16_MAX);
	flush(copy);
	if (copy->pg->conn)
		PQputCopyEnd(copy->pg->conn, copy->error.code ? "weir gave up" : NULL);
	finish(copy);
	int code = copy->error.code;
	if (code)
		error_set(err, code, "%s", copy->error.text);
	release(copyp);
	return code;
}

void pg_copy_abort(struct pg_copy **copyp)
{
	struct pg_copy *copy = *copyp;
	if (!copy)
		return;
	if (copy->pg->conn)
		PQputCopyEnd(copy->pg->conn, "weir gave up");
	error_set(&copy->error, WEIR_CANCELED, "aborted"); /* the server's complaint about the end that we asked for is no news */
	finish(copy);
	release(copyp);
}

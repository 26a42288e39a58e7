/* pg.h - PostgreSQL: connections, transactions, parameters, binary COPY, migrations. A thin, checked layer over libpq.
 *
 * A `struct pg` is one connection and belongs to one thread. A lost connection is opened again by the next pg_begin or pg_query
 * outside a transaction; inside one every call fails with WEIR_UNAVAILABLE until pg_rollback. Errors carry SQLSTATE class:
 *   08, 57P0x -> WEIR_UNAVAILABLE; 40001, 40P01 -> WEIR_CONFLICT; 53100 (disk full) -> WEIR_IO; 53xxx -> WEIR_FULL;
 *   28xxx, 42501 -> WEIR_PERMISSION; 57014 -> WEIR_TIMEOUT; else WEIR_INTERNAL.
 * SQL text stays with the service that owns the tables.
 */
#ifndef WEIR_STORE_PG_H
#define WEIR_STORE_PG_H

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/u256.h"

#include <stdbool.h>
#include <stdint.h>

struct pg;
struct pg_options {
	const char *url; /* conninfo or URI */
	const char *application_name;
	int64_t connect_timeout_ms;
	int64_t statement_timeout_ms; /* the server's; a server that then says nothing for 1 to 5 s more loses the connection. 0: no limit */
	bool read_only; /* default_transaction_read_only=on */
	const char *session_sql; /* run after each connect, e.g. "set jit = off"; may be NULL */
	const struct log *log;
};
int pg_open(const struct pg_options *, struct pg **ret, struct error *); /* connects; version >= 14 else WEIR_VERSION */
void pg_close(struct pg **);
bool pg_alive(const struct pg *);

/* Parameters in binary. Text is for PostgreSQL to parse where no binary maker exists. */
struct pg_param {
	uint32_t oid; /* 0: untyped text */
	const void *data;
	int size;
	int format; /* 0 text, 1 binary */
	uint64_t scratch; /* holds the bytes of small numbers: keep the param where it is until the call returns */
};
struct pg_param *pg_i64(struct pg_param *, int64_t);
struct pg_param *pg_i32(struct pg_param *, int32_t);
struct pg_param *pg_bool(struct pg_param *, bool);
struct pg_param *pg_text(struct pg_param *, const char *); /* NULL: SQL NULL */
struct pg_param *pg_bytea(struct pg_param *, struct bytes); /* data NULL: SQL NULL */
struct pg_param *pg_null(struct pg_param *);
/* Binary arrays (int8[], int4[], int2[], bytea[], numeric[], bool[]) built into a buf: header patched by finish. */
struct pg_array {
	struct buf *out;
	size_t start, end; /* several arrays may be built into one buf, one after the other */
	int32_t count;
	uint32_t oid;
};
void pg_array_begin(struct pg_array *, struct buf *out, uint32_t element_oid);
void pg_array_i64(struct pg_array *, int64_t);
void pg_array_i32(struct pg_array *, int32_t);
void pg_array_i16(struct pg_array *, int16_t);
void pg_array_bool(struct pg_array *, bool);
void pg_array_bytea(struct pg_array *, struct bytes);
void pg_array_numeric(struct pg_array *, struct i256);
void pg_array_u256(struct pg_array *, struct u256); /* numeric[]: token ids and amounts up to 2^256-1 */
void pg_array_null(struct pg_array *);
struct pg_param *pg_array_finish(struct pg_array *, struct pg_param *); /* points into out: out must not grow before the call */

/* Results are binary. Row and column from 0. */
struct pg_result;
int pg_query(struct pg *, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret, struct error *); /* ret may be NULL */
int pg_exec(struct pg *, const char *sql, struct error *); /* no parameters, may be several statements, result dropped */
/* Prepared once per connection by name, then reused. */
int pg_prepared(struct pg *, const char *name, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret, struct error *);
/* Several such statements that return rows, in one round trip. Each result is the caller's; at a failure there is none, and err tells of the first. Not inside a
 * transaction: together they are one. */
#define PG_TOGETHER_PARAMS 8
struct pg_ask {
	const char *name, *sql;
	const struct pg_param *params;
	size_t n; /* at most PG_TOGETHER_PARAMS */
	struct pg_result *result;
};
struct pg_patience { /* of who waits for the answers: every `after_ms` of it are told */
	int64_t after_ms;
	void (*over)(void *arg);
	void *arg;
};
int pg_prepared_all(struct pg *, struct pg_ask *, size_t n, const struct pg_patience *, struct error *); /* patience NULL: there is no end to it */
void pg_result_free(struct pg_result **);
size_t pg_rows(const struct pg_result *);
uint64_t pg_affected(const struct pg_result *);
bool pg_is_null(const struct pg_result *, size_t row, size_t column);
int64_t pg_get_i64(const struct pg_result *, size_t row, size_t column); /* int2, int4, int8; 0 for NULL */
bool pg_get_bool(const struct pg_result *, size_t row, size_t column);
struct bytes pg_get_bytes(const struct pg_result *, size_t row, size_t column); /* bytea or text */
const char *pg_get_text(const struct pg_result *, size_t row, size_t column);   /* text, NUL-terminated; "" for NULL */
int pg_get_numeric(const struct pg_result *, size_t row, size_t column, struct i256 *ret); /* whole numbers only */
int pg_get_u256(const struct pg_result *, size_t row, size_t column, struct u256 *ret);    /* not negative */

int pg_begin(struct pg *, struct error *);
int pg_commit(struct pg *, struct error *); /* WEIR_UNAVAILABLE: unknown whether it happened; look before doing it again */
int pg_rollback(struct pg *);
/* Until the end of this transaction no statement has a limit: for those that may take long, such as changes to the schema. */
int pg_unlimited(struct pg *, struct error *);

/* Binary COPY … FROM STDIN. Rows are built in a bounded buffer and flushed at 256 KiB. */
struct pg_copy;
int pg_copy_begin(struct pg *, const char *copy_sql, struct pg_copy **ret, struct error *);
void pg_copy_row(struct pg_copy *, int16_t columns);
void pg_copy_i64(struct pg_copy *, int64_t);
void pg_copy_i32(struct pg_copy *, int32_t);
void pg_copy_i16(struct pg_copy *, int16_t);
void pg_copy_bool(struct pg_copy *, bool);
void pg_copy_bytes(struct pg_copy *, struct bytes); /* bytea or text */
void pg_copy_numeric(struct pg_copy *, struct i256);
void pg_copy_u256(struct pg_copy *, struct u256);
void pg_copy_null(struct pg_copy *);
int pg_copy_end(struct pg_copy **, struct error *);   /* 0 or the first failure */
void pg_copy_abort(struct pg_copy **);

/* Numbered migrations, each applied once in one transaction under an advisory lock; checksums of applied ones are compared
 * (WEIR_CONFLICT when a released migration was changed). Table weir.migrations. */
struct pg_migration {
	int number;
	const char *name;
	const char *sql;
};
int pg_migrate(struct pg *, const struct pg_migration *, size_t n, struct error *);
/* Changes nothing: how many pg_migrate would apply, and its WEIR_CONFLICT and WEIR_PERMISSION before it would meet them. */
int pg_migrations_pending(struct pg *, const struct pg_migration *, size_t n, size_t *ret, struct error *);
void pg_numeric_write(struct buf *, struct i256); /* PostgreSQL's binary numeric */
void pg_numeric_write_u256(struct buf *, struct u256);
int pg_numeric_read(struct bytes, struct i256 *ret);
int pg_numeric_read_u256(struct bytes, bool *ret_negative, struct u256 *ret); /* absolute value and sign */

/* A bounded pool of read-only connections for threads. */
struct pg_pool;
/* The first connection is made now, within first_ms if that is less than the options' connect_timeout_ms, and tells whether they are right; the others when needed. */
int pg_pool_open(const struct pg_options *, size_t size, int64_t first_ms, struct pg_pool **ret, struct error *);
void pg_pool_close(struct pg_pool **);
struct pg *pg_pool_take(struct pg_pool *, int64_t timeout_ms, struct error *); /* NULL: none free in time (err: WEIR_FULL) or no server */
void pg_pool_give(struct pg_pool *, struct pg **);

#endif

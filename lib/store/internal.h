/* internal.h - what the files of lib/store share: the connection behind struct pg. Not for other folders. */
#ifndef WEIR_STORE_INTERNAL_H
#define WEIR_STORE_INTERNAL_H

#include "store/pg.h"

#include <libpq-fe.h>

#define PG_PREPARED_MAX 96

struct pg {
	PGconn *conn; /* NULL before the first connection and after a lost one */
	char *url, *application_name, *session_sql;
	int64_t connect_timeout_ms, statement_timeout_ms;
	bool read_only;
	struct log log;
	bool in_transaction;
	bool unlimited; /* this transaction: see pg_unlimited */
	bool lost; /* the connection went away inside a transaction: nothing works until pg_rollback */
	const char *prepared[PG_PREPARED_MAX]; /* names known to this connection; borrowed from the callers' literals */
	size_t prepared_count;
};

struct pg_result {
	PGresult *result;
};

/* Type ids of pg_type.dat: part of PostgreSQL's stable catalogue. */
enum pg_oid {
	PG_BOOL = 16,
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT2 = 21,
	PG_INT4 = 23,
	PG_TEXT = 25,
	PG_NUMERIC = 1700,
};

/* A connection object that has not been connected yet. */
struct pg *pg_new(const struct pg_options *);
/* Connects if there is no live connection. WEIR_UNAVAILABLE inside a transaction whose connection was lost. */
int pg_ready(struct pg *, struct error *);
/* There is no connection any more. */
void pg_drop(struct pg *);
bool pg_is_prepared(const struct pg *, const char *name);
/* Waits until everything is sent, or also an answer can be read without waiting, telling patience (or NULL) while it lasts. WEIR_UNAVAILABLE: the server
 * has said nothing for longer than it may take for a statement, and the connection was given up. */
enum pg_wait_for { PG_SENT, PG_ANSWERED };
int pg_wait(struct pg *, enum pg_wait_for, const struct pg_patience *, struct error *);
/* What PQexec would return for the command that PQsend… has sent (its return value): the last result, NULL if it could not be sent. Fails as pg_wait. */
int pg_answer(struct pg *, int sent, PGresult **ret, struct error *);
/* The failure of result (or of the connection, when NULL) as a code and words; notes a lost connection. */
int pg_failure(struct pg *, const PGresult *, const char *doing, struct error *);

static inline void pg_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void pg_put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static inline void pg_put64(uint8_t *p, uint64_t v)
{
	pg_put32(p, (uint32_t)(v >> 32));
	pg_put32(p + 4, (uint32_t)v);
}

static inline uint16_t pg_take16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t pg_take32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif

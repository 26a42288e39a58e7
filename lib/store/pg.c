/* pg.c - one PostgreSQL connection: opening, statements, transactions, and what its failures mean. */
#include "store/internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_MIN 150000

/* ---- failures -------------------------------------------------------------------------------------------------------- */

/* SQLSTATE prefix -> code; the first that fits counts. */
static const struct {
	const char *prefix;
	int code;
} sqlstate_codes[] = {
	{ "08", WEIR_UNAVAILABLE }, { "57P", WEIR_UNAVAILABLE }, { "40001", WEIR_CONFLICT }, { "40P01", WEIR_CONFLICT },
	{ "53100", WEIR_IO },       { "53", WEIR_FULL },         { "58", WEIR_IO },          { "28", WEIR_PERMISSION },
	{ "42501", WEIR_PERMISSION }, { "57014", WEIR_TIMEOUT }, { "55P03", WEIR_TIMEOUT },  { "25P03", WEIR_UNAVAILABLE },
	{ "25006", WEIR_PERMISSION }, { "3D000", WEIR_NOT_FOUND },
};

static int code_of(const char *sqlstate)
{
	if (!sqlstate)
		return WEIR_UNAVAILABLE;
	for (size_t i = 0; i < sizeof sqlstate_codes / sizeof sqlstate_codes[0]; i++)
		if (strncmp(sqlstate, sqlstate_codes[i].prefix, strlen(sqlstate_codes[i].prefix)) == 0)
			return sqlstate_codes[i].code;
	return WEIR_INTERNAL;
}

/* libpq ends its messages with a newline and may say several lines. */
static int words(const char *message, char ret[600])
{
	size_t n = 0;
	for (const char *p = message ? message : ""; *p && n < 599; p++)
		ret[n++] = *p == '\n' || *p == '\t' ? ' ' : *p;
	while (n > 0 && ret[n - 1] == ' ')
		n--;
	ret[n] = '\0';
	return (int)n;
}

void pg_drop(struct pg *pg)
{
	if (pg->conn)
		PQfinish(pg->conn);
	pg->conn = NULL;
	pg->prepared_count = 0;
	pg->unlimited = false;
	if (pg->in_transaction)
		pg->lost = true;
}

int pg_failure(struct pg *pg, const PGresult *result, const char *doing, struct error *err)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	char text[600];
	words(result && state ? PQresultErrorMessage(result) : PQerrorMessage(pg->conn), text);
	int code = code_of(state);
	bool gone = PQstatus(pg->conn) != CONNECTION_OK;
	if (gone)
		code = WEIR_UNAVAILABLE;
	error_set(err, code, "PostgreSQL, %s: %s%s%s", doing, text[0] ? text : "connection lost", state ? " - SQLSTATE " : "",
		  state ? state : "");
	if (gone)
		pg_drop(pg);
	return code;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

struct pg *pg_new(const struct pg_options *options)
{
	struct pg *pg = xmalloc(sizeof *pg);
	pg->url = xstrdup(options->url ? options->url : "");
	pg->application_name = xstrdup(options->application_name ? options->application_name : "weir");
	pg->session_sql = xstrdup(options->session_sql);
	pg->connect_timeout_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : 5000;
	pg->statement_timeout_ms = options->statement_timeout_ms;
	pg->read_only = options->read_only;
	if (options->log)
		pg->log = *options->log;
	return pg;
}

static void on_notice(void *arg, const char *message)
{
	const struct pg *pg = arg;
	char text[600];
	words(message, text);
	log_debug(&pg->log, "postgres_notice", text);
}

/* libpq quotes the part that it does not understand, which may be a password. */
static void blank_quotes(const char *text, char ret[600])
{
	size_t n = 0;
	bool quoted = false;
	for (; *text && n < 590; text++) {
		if (!quoted || *text == '"')
			ret[n++] = *text;
		if (*text == '"' && (quoted = !quoted))
			n += (size_t)snprintf(ret + n, 600 - n, "…");
	}
	ret[n] = 0;
}

/* Before libpq reads it for connecting and says in full what it could not read. Without '=' it is just a database's name. */
static int check_url(const struct pg *pg, struct error *err)
{
	char *why = NULL, text[600], shown[600];
	if (!strchr(pg->url, '=') && !strstr(pg->url, "://"))
		return 0;
	PQconninfoOption *options = PQconninfoParse(pg->url, &why);
	if (options) {
		PQconninfoFree(options);
		return 0;
	}
	words(why ? why : "out of memory", text);
	PQfreemem(why);
	blank_quotes(text, shown);
	return error_set(err, WEIR_CONFIG, "the connection string in postgres.url (or postgres.reader_url) cannot be read: %s", shown);
}

static int connect_once(struct pg *pg, struct error *err)
{
	int readable = check_url(pg, err);
	if (readable)
		return readable;
	char seconds[24], user_timeout[24];
	/* libpq waits at least 2 s whatever it is told. */
	snprintf(seconds, sizeof seconds, "%lld", (long long)((pg->connect_timeout_ms + 999) / 1000));
	snprintf(user_timeout, sizeof user_timeout, "%d", 30000);
	const char *keys[] = { "fallback_application_name", "connect_timeout", "tcp_user_timeout", "keepalives_idle",
			       "keepalives_interval", "keepalives_count", "client_encoding", "dbname", NULL };
	const char *values[] = { pg->application_name, seconds, user_timeout, "10", "5", "3", "UTF8", pg->url, NULL };
	pg->conn = PQconnectdbParams(keys, values, 1);
	if (!pg->conn || PQstatus(pg->conn) != CONNECTION_OK) {
		char text[600];
		words(pg->conn ? PQerrorMessage(pg->conn) : "out of memory", text);
		/* libpq gives no SQLSTATE for a refused start, only words. What the string holds was checked. */
		int code = strstr(text, "authentication") || strstr(text, "permission denied for") || strstr(text, "pg_hba") ||
					   (strstr(text, "role \"") && strstr(text, "does not exist")) ?
				   WEIR_PERMISSION :
			   strstr(text, "database \"") && strstr(text, "does not exist") ? WEIR_NOT_FOUND :
				   WEIR_UNAVAILABLE;
		const char *hint = code == WEIR_PERMISSION ? "; correct role and password in postgres.url, or the server's pg_hba.conf" :
				   code == WEIR_NOT_FOUND  ? "; create it (createdb), or correct postgres.url" :
							     "";
		error_set(err, code, "cannot connect to PostgreSQL: %s%s", text, hint);
		pg_drop(pg);
		return code;
	}
	PQsetNoticeProcessor(pg->conn, on_notice, pg);
	if (PQserverVersion(pg->conn) < VERSION_MIN) {
		int version = PQserverVersion(pg->conn);
		pg_drop(pg);
		return error_set(err, WEIR_VERSION, "PostgreSQL %d.%d is too old: weir needs 15 or newer", version / 10000,
				 version % 10000);
	}
	(void)PQsetnonblocking(pg->conn, 1);
	char set[200];
	snprintf(set, sizeof set, "set client_min_messages = warning; set statement_timeout = %lld; set extra_float_digits = 1%s",
		 (long long)(pg->statement_timeout_ms > 0 ? pg->statement_timeout_ms : 0),
		 pg->read_only ? "; set default_transaction_read_only = on" : "");
	int code = 0;
	const char *const settings[] = { set, pg->session_sql };
	for (size_t i = 0; !code && i < 2 && settings[i]; i++) {
		PGresult *result;
		code = pg_answer(pg, PQsendQuery(pg->conn, settings[i]), &result, err);
		if (!code && PQresultStatus(result) != PGRES_COMMAND_OK)
			code = pg_failure(pg, result, "session settings", err);
		PQclear(result);
	}
	if (code)
		pg_drop(pg);
	return code;
}

int pg_open(const struct pg_options *options, struct pg **ret, struct error *err)
{
	struct pg *pg = pg_new(options);
	int code = connect_once(pg, err);
	if (code) {
		pg_close(&pg);
		return code;
	}
	*ret = pg;
	return 0;
}

void pg_close(struct pg **pgp)
{
	struct pg *pg = *pgp;
	if (!pg)
		return;
	pg_drop(pg);
	xfree(&pg->url);
	xfree(&pg->application_name);
	xfree(&pg->session_sql);
	xfree(pgp);
}

bool pg_alive(const struct pg *pg)
{
	return pg && pg->conn && PQstatus(pg->conn) == CONNECTION_OK && !pg->lost;
}

/* An idle server says something only when it goes away: looking costs no round trip. */
static bool hung_up(const struct pg *pg)
{
	struct pollfd fd = { .fd = PQsocket(pg->conn), .events = POLLIN };
	while (poll(&fd, 1, 0) > 0)
		if (!PQconsumeInput(pg->conn))
			return true;
	return PQstatus(pg->conn) != CONNECTION_OK;
}

int pg_ready(struct pg *pg, struct error *err)
{
	if (pg->lost)
		return error_set(err, WEIR_UNAVAILABLE, "PostgreSQL: the connection was lost inside this transaction");
	if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK && (pg->in_transaction || !hung_up(pg)))
		return 0;
	if (pg->in_transaction) {
		pg_drop(pg);
		return error_set(err, WEIR_UNAVAILABLE, "PostgreSQL: the connection was lost inside this transaction");
	}
	pg_drop(pg);
	return connect_once(pg, err);
}

/* ---- statements -------------------------------------------------------------------------------------------------------- */

/* The first words of a statement, for errors. */
static void summary(const char *sql, char ret[64])
{
	size_t n = 0;
	for (const char *p = sql; *p && n < 60; p++) {
		char c = *p == '\n' || *p == '\t' ? ' ' : *p;
		if (c == ' ' && (n == 0 || ret[n - 1] == ' '))
			continue;
		ret[n++] = c;
	}
	ret[n] = '\0';
}

static int take(struct pg *pg, int sent, const char *sql, struct pg_result **ret, struct error *err)
{
	PGresult *result;
	int code = pg_answer(pg, sent, &result, err);
	if (code)
		return code;
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		char doing[64];
		summary(sql, doing);
		code = pg_failure(pg, result, doing, err);
		PQclear(result);
		return code;
	}
	if (ret) {
		*ret = xmalloc(sizeof **ret);
		(*ret)->result = result;
	} else {
		PQclear(result);
	}
	return 0;
}

#define PARAMS_MAX 32

struct libpq_params {
	const char *values[PARAMS_MAX];
	int lengths[PARAMS_MAX], formats[PARAMS_MAX];
	Oid oids[PARAMS_MAX];
};

static int unpack(const struct pg_param *params, size_t n, struct libpq_params *ret, struct error *err)
{
	if (n > PARAMS_MAX)
		return error_set(err, WEIR_INTERNAL, "a statement has %zu parameters, at most %d are possible", n, PARAMS_MAX);
	for (size_t i = 0; i < n; i++) {
		ret->values[i] = params[i].data;
		ret->lengths[i] = params[i].size;
		ret->formats[i] = params[i].format;
		ret->oids[i] = params[i].oid;
	}
	return 0;
}

int pg_query(struct pg *pg, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret, struct error *err)
{
	struct libpq_params p;
	int code = pg_ready(pg, err);
	if (!code)
		code = unpack(params, n, &p, err);
	if (code)
		return code;
	return take(pg, PQsendQueryParams(pg->conn, sql, (int)n, p.oids, p.values, p.lengths, p.formats, 1), sql, ret, err);
}

int pg_exec(struct pg *pg, const char *sql, struct error *err)
{
	int code = pg_ready(pg, err);
	if (code)
		return code;
	return take(pg, PQsendQuery(pg->conn, sql), sql, NULL, err);
}

bool pg_is_prepared(const struct pg *pg, const char *name)
{
	for (size_t i = 0; i < pg->prepared_count; i++)
		if (pg->prepared[i] == name || strcmp(pg->prepared[i], name) == 0)
			return true;
	return false;
}

int pg_prepared(struct pg *pg, const char *name, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret,
		struct error *err)
{
	struct libpq_params p;
	int code = pg_ready(pg, err);
	if (!code)
		code = unpack(params, n, &p, err);
	if (code)
		return code;
	if (!pg_is_prepared(pg, name)) {
		if (pg->prepared_count == PG_PREPARED_MAX)
			return error_set(err, WEIR_INTERNAL, "more than %d prepared statements", PG_PREPARED_MAX);
		code = take(pg, PQsendPrepare(pg->conn, name, sql, (int)n, p.oids), sql, NULL, err);
		if (code)
			return code;
		pg->prepared[pg->prepared_count++] = name;
	}
	return take(pg, PQsendQueryPrepared(pg->conn, name, (int)n, p.values, p.lengths, p.formats, 1), sql, ret, err);
}

/* ---- transactions ------------------------------------------------------------------------------------------------------ */

int pg_begin(struct pg *pg, struct error *err)
{
	if (pg->in_transaction)
		return error_set(err, WEIR_INTERNAL, "a transaction is open already");
	int code = pg_exec(pg, "begin", err);
	if (code == WEIR_UNAVAILABLE && !pg->conn) /* died this instant: beginning again is harmless */
		code = pg_exec(pg, "begin", err);
	pg->in_transaction = code == 0;
	return code;
}

int pg_commit(struct pg *pg, struct error *err)
{
	if (!pg->in_transaction)
		return error_set(err, WEIR_INTERNAL, "commit without a transaction");
	int code = pg_ready(pg, err);
	if (code)
		return code;
	PGresult *result;
	code = pg_answer(pg, PQsendQuery(pg->conn, "commit"), &result, err);
	if (code)
		; /* there is no connection any more */
	else if (PQresultStatus(result) != PGRES_COMMAND_OK)
		code = pg_failure(pg, result, "commit", err);
	else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) /* an aborted transaction answers ROLLBACK, and that is no error for libpq */
		code = error_set(err, WEIR_CONFLICT, "PostgreSQL rolled the transaction back at commit");
	PQclear(result);
	pg->in_transaction = pg->unlimited = false;
	pg->lost = false;
	return code;
}

int pg_rollback(struct pg *pg)
{
	if (!pg->in_transaction)
		return 0;
	int code = 0;
	if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK) {
		PGresult *result;
		code = pg_answer(pg, PQsendQuery(pg->conn, "rollback"), &result, NULL);
		if (!code && PQresultStatus(result) != PGRES_COMMAND_OK)
			code = pg_failure(pg, result, "rollback", NULL);
		PQclear(result);
	}
	pg->in_transaction = pg->unlimited = false;
	pg->lost = false;
	return code;
}

/* ---- results ----------------------------------------------------------------------------------------------------------- */

void pg_result_free(struct pg_result **resultp)
{
	if (!*resultp)
		return;
	PQclear((*resultp)->result);
	xfree(resultp);
}

size_t pg_rows(const struct pg_result *result)
{
	return result ? (size_t)PQntuples(result->result) : 0;
}

uint64_t pg_affected(const struct pg_result *result)
{
	return result ? strtoull(PQcmdTuples(result->result), NULL, 10) : 0;
}

bool pg_is_null(const struct pg_result *result, size_t row, size_t column)
{
	return PQgetisnull(result->result, (int)row, (int)column);
}

int64_t pg_get_i64(const struct pg_result *result, size_t row, size_t column)
{
	struct bytes b = pg_get_bytes(result, row, column);
	switch (b.size) {
	case 1:
		return b.data[0];
	case 2:
		return (int16_t)pg_take16(b.data);
	case 4:
		return (int32_t)pg_take32(b.data);
	case 8:
		return (int64_t)((uint64_t)pg_take32(b.data) << 32 | pg_take32(b.data + 4));
	default:
		return 0;
	}
}

bool pg_get_bool(const struct pg_result *result, size_t row, size_t column)
{
	return pg_get_i64(result, row, column) != 0;
}

struct bytes pg_get_bytes(const struct pg_result *result, size_t row, size_t column)
{
	if (pg_is_null(result, row, column))
		return (struct bytes){ NULL, 0 };
	return (struct bytes){ (const uint8_t *)PQgetvalue(result->result, (int)row, (int)column),
			       (size_t)PQgetlength(result->result, (int)row, (int)column) };
}

const char *pg_get_text(const struct pg_result *result, size_t row, size_t column)
{
	return pg_is_null(result, row, column) ? "" : PQgetvalue(result->result, (int)row, (int)column);
}

int pg_get_numeric(const struct pg_result *result, size_t row, size_t column, struct i256 *ret)
{
	return pg_numeric_read(pg_get_bytes(result, row, column), ret);
}

int pg_get_u256(const struct pg_result *result, size_t row, size_t column, struct u256 *ret)
{
	bool negative;
	int code = pg_numeric_read_u256(pg_get_bytes(result, row, column), &negative, ret);
	return code ? code : negative && !u256_is_zero(*ret) ? WEIR_INVALID : 0;
}

/* together.c - several statements in one round trip, by libpq's pipeline mode. They are one transaction to the server, so that one that fails takes the others
 * with it; whoever asked does them again one by one. */
#include "store/internal.h"

/* Statements that this connection does not know go first. Noted at once: when one fails, the connection ends, and with it what it knows. */
static bool send_new(struct pg *pg, const struct pg_ask *asks, size_t n, size_t *ret_sent)
{
	Oid oids[PG_TOGETHER_PARAMS];
	*ret_sent = 0;
	for (size_t i = 0; i < n; i++) {
		if (pg_is_prepared(pg, asks[i].name))
			continue;
		for (size_t k = 0; k < asks[i].n; k++)
			oids[k] = asks[i].params[k].oid;
		if (pg->prepared_count == PG_PREPARED_MAX || !PQsendPrepare(pg->conn, asks[i].name, asks[i].sql, (int)asks[i].n, oids))
			return false;
		pg->prepared[pg->prepared_count++] = asks[i].name;
		++*ret_sent;
	}
	return true;
}

static bool send_one(struct pg *pg, const struct pg_ask *ask)
{
	const char *values[PG_TOGETHER_PARAMS];
	int lengths[PG_TOGETHER_PARAMS], formats[PG_TOGETHER_PARAMS];
	for (size_t i = 0; i < ask->n; i++) {
		values[i] = ask->params[i].data;
		lengths[i] = ask->params[i].size;
		formats[i] = ask->params[i].format;
	}
	return PQsendQueryPrepared(pg->conn, ask->name, (int)ask->n, values, lengths, formats, 1);
}

/* The answer to one statement, and the end that libpq puts behind it. ask NULL: it was made known, nothing else. */
static int take_one(struct pg *pg, struct pg_ask *ask, const struct pg_patience *patience, struct error *err)
{
	int code = pg_wait(pg, PG_ANSWERED, patience, err);
	if (code)
		return code;
	PGresult *result = PQgetResult(pg->conn);
	if (ask && PQresultStatus(result) == PGRES_TUPLES_OK) {
		ask->result = xmalloc(sizeof *ask->result);
		ask->result->result = result;
	} else {
		if (ask || PQresultStatus(result) != PGRES_COMMAND_OK)
			code = pg_failure(pg, result, ask ? ask->name : "a new statement", err);
		PQclear(result);
	}
	while (!code && (code = pg_wait(pg, PG_ANSWERED, patience, err)) == 0 && (result = PQgetResult(pg->conn)) != NULL)
		PQclear(result);
	return code;
}

int pg_prepared_all(struct pg *pg, struct pg_ask *asks, size_t n, const struct pg_patience *patience, struct error *err)
{
	int code = pg_ready(pg, err);
	for (size_t i = 0; i < n; i++) {
		asks[i].result = NULL;
		if (!code && asks[i].n > PG_TOGETHER_PARAMS)
			code = error_set(err, WEIR_INTERNAL, "a statement has %zu parameters, at most %d are possible here", asks[i].n, PG_TOGETHER_PARAMS);
	}
	if (code)
		return code;
	size_t fresh = 0;
	bool sent = PQenterPipelineMode(pg->conn) && send_new(pg, asks, n, &fresh);
	for (size_t i = 0; i < n && sent; i++)
		sent = send_one(pg, &asks[i]);
	if (!sent || !PQpipelineSync(pg->conn)) {
		code = pg_failure(pg, NULL, "several statements", err);
		pg_drop(pg);
		return code;
	}
	for (size_t i = 0; i < fresh + n && !code; i++)
		code = take_one(pg, i < fresh ? NULL : &asks[i - fresh], patience, err);
	if (!code)
		code = pg_wait(pg, PG_ANSWERED, patience, err);
	if (code) { /* what is still on its way is not worth waiting for */
		for (size_t i = 0; i < n; i++)
			pg_result_free(&asks[i].result);
		pg_drop(pg);
		return code;
	}
	PQclear(PQgetResult(pg->conn)); /* PGRES_PIPELINE_SYNC */
	if (!PQexitPipelineMode(pg->conn))
		pg_drop(pg); /* something came behind the end: never seen */
	return 0;
}

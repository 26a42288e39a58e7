/* call.h - one request on its way through a handler: what was asked, by whom, and the answer being written. */
#ifndef WEIR_GATEWAY_CALL_H
#define WEIR_GATEWAY_CALL_H

#include "gateway.h"
#include "http/http.h"
#include "identity/principal.h"
#include "call/route.h"
#include "write/writer.h"

#include "store/pg.h"

struct call {
	struct gateway *gateway;
	const struct http_request *request;
	struct http_response *response;
	struct buf *out; /* the answer's body */
	const struct route *route;
	const char *places[PLACES_MAX];
	struct value values[PARAMETERS_MAX];
	const struct principal *who; /* NULL: nobody in particular */
	struct principal principal;
	const struct cors_origins *cors; /* of the listener; NULL: none */
	bool operators; /* on their listener */
	bool hurried; /* on the transport's own thread: nothing may wait */
	bool made;    /* the answer was, from the ledger; that the client has it already came out only then */
	struct arena *arena;
	struct gateway_chain *chain; /* set by call_chain */
	struct pg *pg;               /* taken by call_begin, given back when the call ends */
	bool transaction;
};

/* A read of one row, or of the few that belong to one thing, in two halves, between which it is asked for together with others (reader.h): what to ask for, and the answer from the row. */
struct row_ask {
	const char *name, *sql;
	struct pg_param params[4];
	size_t n;
	uint8_t bytes[32]; /* that parameters may point to: a filled one stays where it is */
	char text[U256_DEC_MAX];
};
struct route_row {
	bool (*ask)(struct call *, struct row_ask *ret); /* must not wait. False: answered */
	void (*put)(struct call *, const struct pg_result *); /* tags the answer if it likes, and leaves 304 to others */
};

/* What a listener does with a request: routes, authorizes, validates, calls. */
void call_client(const struct http_request *, struct http_response *, void *gateway);
/* The same for what needs no worker: an answer that is kept (final.h), and reads of one row, which are left to the reader. Never waits. */
enum http_at_once call_at_once(const struct http_request *, struct http_response *, void *gateway);
void call_admin(const struct http_request *, struct http_response *, void *gateway);
bool call_file(struct call *); /* answers with a file of the dashboard; false: the target names none */
void call_admin_match(const struct http_request *, struct match *ret); /* its routes: the operators', then the clients' */
void call_refuse(struct http_response *, unsigned status, const char *code, const char *detail, const char *instance, const char *request_id, void *arg);

/* A read of the clients' routes within another call: same client, same rights, a transaction of its own; each is charged to the client's limit. */
void call_nested(const struct call *outer, const char *target, struct http_response *ret);

/* The value of a parameter of the call's route. */
const struct value *call_value(const struct call *, const char *name);
int64_t call_number(const struct call *, const char *name, int64_t otherwise);
const char *call_text(const struct call *, const char *name); /* NULL: not given */

/* The problem that the call ends with (RFC 9457). Returns false, so that `return call_problem(…)` reads well. */
bool call_problem(struct call *, unsigned status, const char *code, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The one that fits a failure of PostgreSQL or Redis; logs what is not the client's fault. */
bool call_failed(struct call *, const struct error *);

/* The chain named in the path (place 0), or by text. False: answered with a problem. */
bool call_chain(struct call *);
bool call_chain_named(struct call *, const char *name);
/* Takes a connection: enough for one query. */
bool call_connect(struct call *);
/* Takes a connection and begins a transaction with one snapshot. call_release gives it back early. */
bool call_begin(struct call *);
void call_release(struct call *);
bool call_query(struct call *, const char *name, const char *sql, const struct pg_param *, size_t n, struct pg_result **ret);
void call_row(struct call *, const struct route_row *); /* by itself, on this thread */
bool call_ask(struct call *, const struct row_ask *, struct pg_result **ret); /* the same for a row */

#endif

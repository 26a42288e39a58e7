/* call.h - one request on its way through a handler: what was asked, by whom, and the answer being written. */
#ifndef WEIR_GATEWAY_CALL_H
#define WEIR_GATEWAY_CALL_H

#include "gateway.h"
#include "http.h"
#include "route.h"
#include "writer.h"

#include "store/pg.h"

struct call {
	struct gateway *gateway;
	const struct http_request *request;
	struct http_response *response;
	struct buf *out; /* the answer's body */
	const struct route *route;
	const char *places[PLACES_MAX];
	struct value values[PARAMETERS_MAX];
	const struct api_key_config *who; /* admin listener */
	struct arena *arena;
	struct gateway_chain *chain; /* set by call_chain */
	struct pg *pg;               /* taken by call_begin, given back when the call ends */
	bool transaction;
};

/* What a listener does with a request: routes, authorizes, validates, calls. */
void call_client(const struct http_request *, struct http_response *, void *gateway);
void call_admin(const struct http_request *, struct http_response *, void *gateway);
void call_refuse(struct http_response *, unsigned status, const char *code, const char *detail, const char *instance, const char *request_id, void *arg);

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
/* Takes a connection and begins a transaction with one snapshot. call_release gives it back early. */
bool call_begin(struct call *);
void call_release(struct call *);
bool call_query(struct call *, const char *name, const char *sql, const struct pg_param *, size_t n, struct pg_result **ret);

#endif

/* route.h - every path that the gateway serves, in one table: method, template, who may, parameters with type and range, handler.
 *
 * The table drives matching and validation; a test compares it with openapi.json. What is not in it does not exist: an unknown path
 * is 404, another method 405, an unknown parameter 400.
 */
#ifndef WEIR_GATEWAY_ROUTE_H
#define WEIR_GATEWAY_ROUTE_H

#include "http/target.h"
#include "identity/principal.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum parameter_type {
	PARAMETER_INT,   /* min..max */
	PARAMETER_TEXT,  /* min..max bytes */
	PARAMETER_BOOL,
	PARAMETER_TEXTS, /* bodies only: a list of at most max texts of 1..256 bytes */
};

struct parameter {
	const char *name;
	enum parameter_type type;
	int64_t min, max;
	bool required;
};
#define PARAMETERS_MAX 20

struct value {
	bool given;
	int64_t number; /* PARAMETER_INT, PARAMETER_BOOL */
	const char *text;
	const char **texts;
	size_t count;
};

struct call;
struct lifecycle;
struct route_row;
typedef void route_handler(struct call *);

struct route {
	const char *method, *path; /* "/v1/chains/{chain}": a segment in braces takes any text */
	enum role role;
	route_handler *handler;
	struct parameter parameters[PARAMETERS_MAX]; /* of the query, or of the JSON body of a POST */
	const struct route_row *row; /* of a GET without parameters that reads one row: call.h. NULL: it is another */
	const struct lifecycle *lifecycle; /* of a route that will go; NULL: it stays */
	int64_t cost; /* against rate limits; 0: 1 */
	bool streams; /* a key needs the scope stream */
	bool watches; /* that, too; it may be asked for in a batch */
	bool lines;   /* the body may be application/x-ndjson: elements of the first parameter, one a line */
	bool open;    /* of the admin listener: credentials are not needed */
	bool secret;  /* request and answer have secrets, which are kept nowhere (idempotency.h) */
};

extern const struct route client_routes[], admin_routes[];
extern const size_t client_route_count, admin_route_count;

#define PLACES_MAX 4
struct match {
	const struct route *route; /* NULL: 404, or 405 when allow is not empty */
	const char *places[PLACES_MAX]; /* values of the segments in braces, in order */
	char allow[64];
};
void route_find(const struct route *, size_t n, const char *method, const struct target *, struct match *ret);

/* Values of a route's parameters, in the table's order. WEIR_INVALID with words naming the parameter. JSON lives in the arena. */
int route_read_query(const struct route *, const struct target *, struct value ret[PARAMETERS_MAX], struct error *);
int route_read_body(const struct route *, struct bytes body, struct arena *, struct value ret[PARAMETERS_MAX], struct error *);
/* The first parameter, a PARAMETER_TEXTS, from JSON texts one a line; the others are not given. */
int route_read_lines(const struct route *, struct bytes body, struct arena *, struct value ret[PARAMETERS_MAX], struct error *);

#endif

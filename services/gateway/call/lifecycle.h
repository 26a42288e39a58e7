/* lifecycle.h - routes that will go: the headers Deprecation (RFC 9745), Sunset (RFC 8594) and Link to what comes instead. */
#ifndef WEIR_GATEWAY_LIFECYCLE_H
#define WEIR_GATEWAY_LIFECYCLE_H

#include "http/http.h"

struct lifecycle {
	int64_t deprecated_s, sunset_s; /* unix time; sunset 0: not decided */
	const char *successor;          /* path; NULL: none */
};
void lifecycle_tell(const struct lifecycle *, struct http_response *); /* NULL: nothing to tell */

#endif

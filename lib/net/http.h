/* http.h - POST requests over one curl multi handle: keep-alive, size cap while receiving, no redirects, http and https only.
 *
 * One thread. Handles and their buffers are used again; at most HTTP_IDLE_MAX idle ones are kept.
 */
#ifndef WEIR_NET_HTTP_H
#define WEIR_NET_HTTP_H

#include "base/error.h"
#include "base/mem.h"

#include <stddef.h>
#include <stdint.h>

struct http;
struct http_request {
	const char *url;
	const char *auth_header; /* value of Authorization, or NULL */
	struct bytes body;       /* must stay until on_done */
	size_t max_answer;
	int64_t timeout_ms;
};
struct http_result {
	int code;               /* 0 for status 200; 401 and 403 PERMISSION, 413 LIMIT, 429 RATE_LIMITED, 5xx UNAVAILABLE, else PROTOCOL */
	struct error error;
	long status;            /* 0: no answer at all */
	int64_t retry_after_ms; /* as the server asks, 0: it does not */
	struct bytes answer;    /* decoded; valid during the callback; also for statuses other than 200 */
	double seconds;
};
typedef void http_done_fn(const struct http_result *, void *arg);

struct http *http_new(void);
/* Requests under way end with WEIR_CANCELED. */
void http_free(struct http **);
int http_start(struct http *, const struct http_request *, http_done_fn *, void *arg, struct error *);
/* Moves bytes and runs callbacks; waits at most timeout_ms when there is nothing to do. Returns how many requests ended. */
size_t http_poll(struct http *, int64_t timeout_ms, int wake_fd);
int http_check_url(const char *url, struct error *); /* WEIR_CONFIG */

#endif

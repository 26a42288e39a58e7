/* webhook_post.h - posting to receivers that others chose: many at a time over one curl multi handle, each within one deadline.
 *
 * Name lookup, connection, TLS and answer share the deadline. The name's addresses are checked (webhook_address.h) and the connection is
 * pinned to them; the socket's own address is checked again when it is opened. No redirects, no proxy, no cookies; what the receiver
 * answers is counted and dropped: nobody ever sees it, so that a webhook reads nothing from inside this network.
 *
 * One thread, except webhook_poster_wake.
 */
#ifndef WEIR_GATEWAY_WEBHOOK_POST_H
#define WEIR_GATEWAY_WEBHOOK_POST_H

#include "webhook/webhook_resolve.h"

#include "base/mem.h"

#define WEBHOOK_ANSWER_MAX ((size_t)64 << 10) /* more of an answer is not read */

struct webhook_poster_options {
	struct webhook_rules rules;
	int64_t timeout_ms;
	const char *ca_file;    /* certificate authorities instead of the system's; NULL: the system's */
	webhook_lookup *lookup; /* NULL: the system's */
};

struct webhook_post {
	const char *url;
	const char *id, *signature; /* headers webhook-id and webhook-signature */
	int64_t timestamp;          /* webhook-timestamp */
	struct bytes body;          /* copied */
};

struct webhook_result {
	long status;            /* 0: no answer */
	int64_t retry_after_ms; /* as the receiver asks; 0: it does not */
	int64_t took_ms;
	char error[200];        /* empty for 2xx */
};
typedef void webhook_posted(const struct webhook_result *, void *arg);

struct webhook_poster;
int webhook_poster_open(const struct webhook_poster_options *, struct webhook_poster **ret, struct error *);
void webhook_poster_close(struct webhook_poster **); /* what is under way is dropped; nobody hears of it */
void webhook_poster_start(struct webhook_poster *, const struct webhook_post *, webhook_posted *, void *arg);
/* Moves what is under way, waits at most timeout_ms when there is nothing to do, and tells of what ended. */
void webhook_poster_turn(struct webhook_poster *, int64_t timeout_ms);
void webhook_poster_wake(struct webhook_poster *); /* any thread: ends the wait */
size_t webhook_poster_busy(const struct webhook_poster *);

#endif

/* webhook_store.h - what the delivering thread of webhooks reads and writes in PostgreSQL (schema weir_webhooks, 0002_webhooks.sql).
 *
 * A gateway owns an endpoint while its lease lasts. The lease is renewed in the same rows that tell of changes, so that nobody delivers
 * for an endpoint that it does not own any more for longer than the lease. Clocks: the database's, for all gateways alike.
 */
#ifndef WEIR_GATEWAY_WEBHOOK_STORE_H
#define WEIR_GATEWAY_WEBHOOK_STORE_H

#include "webhook/webhook_message.h"
#include "webhook/webhook_sign.h"

#include "store/pg.h"

#define WEBHOOK_ENDPOINTS_MAX 1000
#define WEBHOOK_SECRETS_MAX 8     /* of one endpoint at a time */
#define WEBHOOK_PENDING_MAX 10000 /* messages of one endpoint that wait; the rest waits in the journal */

struct webhook_row { /* an endpoint of ours; texts belong to the result that it was read from */
	int64_t id, failures, start_height, pending, journal, watchlist; /* start_height -1: none; watchlist 0: none */
	const char *url, *chain, *account, *asset, *kind; /* account and so on "": all */
	enum topic topic;
	bool failing;
	const char *position; /* "": not found yet */
};

/* Takes endpoints that nobody owns, renews ours, and reads them all. chains: JSON list of the names that are served here. */
int webhook_store_lease(struct pg *, const char *owner, int64_t lease_ms, const char *chains, struct pg_result **ret, struct error *);
void webhook_store_row(const struct pg_result *, size_t row, struct webhook_row *ret);
/* (endpoint, sealed) of all that are ours, newest first. */
int webhook_store_secrets(struct pg *, const char *owner, struct pg_result **ret, struct error *);
int webhook_store_release(struct pg *, const char *owner, struct error *);

/* Messages to be sent now: the first of each lane that is due, at most per_endpoint each; of a failing endpoint the oldest, when a probe is
 * due. in_flight: JSON list of ids that are being sent. Columns: id, endpoint, message, body, tries, failing, attempts. */
int webhook_store_due(struct pg *, const char *owner, const char *in_flight, int per_endpoint, struct pg_result **ret, struct error *);
int webhook_store_next_due_ms(struct pg *, const char *owner, int64_t *ret, struct error *); /* -1: nothing waits */

/* messages: JSON list of {m, s, t, l, b}. WEIR_FENCED when the endpoint is not ours any more or was moved. One transaction. */
int webhook_store_plan(struct pg *, const char *owner, int64_t endpoint, const char *from, const char *to, const char *messages, struct error *);

struct webhook_tried {
	int64_t delivery, endpoint;
	const char *state; /* pending, delivered, failed */
	bool counts;       /* as a try of the schedule */
	int64_t wait_ms;   /* pending: until the next */
	int64_t took_ms;
	long status;
	const char *error;
	bool gone;         /* the receiver wants no more */
};
/* Until the end of the caller's transaction nobody else changes these; endpoints: a JSON list of ids. Before anything is done to their deliveries. */
int webhook_store_hold(struct pg *, const char *endpoints, struct error *);
/* ret_failing, ret_failures: the endpoint's state now. In the caller's transaction, which holds the endpoint. */
int webhook_store_tried(struct pg *, const char *gateway, const struct webhook_tried *, int64_t breaker_failures, int64_t probe_ms, bool *ret_failing,
			int64_t *ret_failures, struct error *);
/* Stops an endpoint until an operator enables it. */
int webhook_store_disable(struct pg *, int64_t endpoint, const char *reason, struct error *);
/* The same for one whose journal is gone: what was to be delivered speaks of another ledger and is dropped. */
int webhook_store_forget(struct pg *, int64_t endpoint, const char *reason, struct error *);
/* Drops what is done and older than the retention, some of it. */
int webhook_store_clean(struct pg *, int64_t retention_ms, uint64_t *ret_n, struct error *);

#endif

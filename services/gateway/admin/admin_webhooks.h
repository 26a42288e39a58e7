/* admin_webhooks.h - private to admin_webhook*.c: a connection to schema weir_webhooks for one call. */
#ifndef WEIR_GATEWAY_ADMIN_WEBHOOKS_H
#define WEIR_GATEWAY_ADMIN_WEBHOOKS_H

#include "admin/admin.h"
#include "webhook/webhook.h"
#include "webhook/webhook_resolve.h"
#include "webhook/webhook_store.h"

/* In a transaction; NULL: answered. admin_webhooks_end gives it back, and undoes what was not committed. */
struct pg *admin_webhooks_begin(struct call *);
void admin_webhooks_end(struct call *);
bool admin_webhooks_ask(struct call *, struct pg *, const char *name, const char *sql, const struct pg_param *, size_t n, struct pg_result **ret);
bool admin_webhooks_commit(struct call *, struct pg *); /* and wakes who delivers */
/* An id in a path; false: answered with 404. */
bool admin_webhooks_number(struct call *, const char *text, int64_t *ret);
/* begin, and the endpoint that the path names; sets call->chain. */
struct pg *admin_webhooks_find(struct call *, int64_t *ret_id);

#endif

/* admin.h - handlers of the admin listener. */
#ifndef WEIR_GATEWAY_ADMIN_H
#define WEIR_GATEWAY_ADMIN_H

#include "rest/rest.h"

void admin_session(struct call *);
void admin_status(struct call *);
void admin_dlq_list(struct call *);
void admin_dlq_show(struct call *);
void admin_dlq_groups(struct call *);
void admin_dlq_payload(struct call *);
void admin_dlq_replay(struct call *);
void admin_dlq_purge(struct call *);
void admin_dlq_counts(struct call *);
void admin_dlq_edit(struct call *);
void admin_dlq_skip(struct call *);
void admin_dlq_export(struct call *);
void admin_dlq_import(struct call *);
void admin_dlq_jobs(struct call *);
void admin_dlq_job(struct call *);
void admin_dlq_job_start(struct call *);
void admin_dlq_job_pause(struct call *);
void admin_dlq_job_resume(struct call *);
void admin_dlq_job_cancel(struct call *);
void admin_audit_list(struct call *);
void admin_audit_verify(struct call *);
void admin_weights(struct call *);
void admin_weights_set(struct call *);
void admin_statistics(struct call *);
/* What is read by subscriptions; the ledger's readers are tails. */
#define ADMIN_LANES 4
extern const struct admin_lane {
	const char *topic, *subscription;
} admin_lanes[ADMIN_LANES];
void admin_refetch(struct call *);
void admin_pause(struct call *);
void admin_resume(struct call *);
void admin_reconcile(struct call *);
void admin_rewind(struct call *);
void admin_kafka_restart(struct call *);
void admin_put_export(struct buf *, const struct gateway *, const struct gateway_chain *); /* into the chain's status, if it is sent to Kafka */
void admin_gaps(struct call *);
void admin_incidents(struct call *);
void admin_proof(struct call *);
void admin_connections(struct call *);
void admin_watchlists(struct call *);
/* One statement on keys or users (what: which of them, for words) as the role that manages both; the caller frees *ret. False: answered. */
bool admin_identity_query(struct call *, const char *what, const char *sql, const struct pg_param *, size_t n, struct pg_result **ret);
void admin_alerts(struct call *);
void admin_alert_test(struct call *);
void admin_alert_silence(struct call *);
void admin_alert_unsilence(struct call *);
void admin_webhooks_list(struct call *);
void admin_webhook_add(struct call *);
void admin_webhook_show(struct call *);
void admin_webhook_enable(struct call *);
void admin_webhook_disable(struct call *);
void admin_webhook_remove(struct call *);
void admin_webhook_rotate(struct call *);
void admin_webhook_test(struct call *);
void admin_webhook_replay(struct call *);
void admin_webhook_deliveries(struct call *);
void admin_webhook_delivery(struct call *);
void admin_settings(struct call *);
void admin_login(struct call *);
void admin_refresh(struct call *);
void admin_logout(struct call *);
void admin_users(struct call *);
void admin_user_make(struct call *);
void admin_user_password(struct call *);
void admin_user_role(struct call *);
void admin_user_disable(struct call *);
void admin_keys(struct call *);
void admin_key_make(struct call *);
void admin_key_revoke(struct call *);
void admin_tokens_revoked(struct call *);
void admin_token_revoke(struct call *);

/* The subscriptions that have dead letters are in live/letters.h. */
/* Are they known? NULL: all. False: answered with 404. */
bool admin_check_letters(struct call *, const char *subscription, const char *chain);
/* A parameter: RFC 3339 in UTC, as the API writes times; fractions of a second may be left out. Not given: *ret_ms stays. False: answered with 400. */
bool admin_read_time(struct call *, const char *name, int64_t *ret_ms);
/* What the call's parameters type, reason, key, kind, from and to ask for. False: answered with 400. */
struct dead_letter_filter;
bool admin_letter_filter(struct call *, struct dead_letter_filter *ret);
/* Answers with {"items":[…]}: what fn puts for each chain and subscription that the call asks for. */
struct bus;
typedef int admin_items_fn(struct bus *, const char *chain, const char *subscription, struct buf *out, struct error *);
void admin_items_of_all(struct call *, admin_items_fn *);
/* The chain that the call names, or the only one that is served. NULL: answered with a problem. */
const char *admin_one_chain(struct call *);
/* What failed, as a problem; a conflict of operators is theirs to know about. */
void admin_letter_failed(struct call *, const struct error *);

/* Puts what the operator did into the audit stream and the log. False: the stream could not be written; answered with 503. */
bool admin_audit(struct call *, const char *action, const char *detail);
/* The same for what belongs to no chain: the stream of AUDIT_GATEWAY. */
bool admin_audit_identity(struct call *, const char *action, const char *detail);

#endif

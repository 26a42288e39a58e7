/* webhook.h - webhooks: one thread that takes endpoints which no other gateway has, writes down what each is to be sent, and sends it.
 *
 * For each endpoint the journal is read as for a WebSocket subscription with the same filters (replay.h). What it says becomes rows of
 * weir_webhooks.deliveries in the transaction that moves the endpoint's position: a process that dies loses nothing and sends nothing
 * that is not written down. Each message is sent until the receiver says 2xx or the schedule ends: at least once, with an id that stays.
 * One message at a time per endpoint and account; a retraction waits for everything before it and holds everything behind it.
 *
 * An endpoint that fails webhooks.breaker_failures times in a row is failing: an alert is raised, and only the oldest message is tried,
 * every webhooks.probe_interval, until one gets through. One that answers 410 is disabled.
 */
#ifndef WEIR_GATEWAY_WEBHOOK_H
#define WEIR_GATEWAY_WEBHOOK_H

#include "gateway.h"
#include "webhook/webhook_address.h"
#include "webhook/webhook_sign.h"

struct webhooks;
int webhooks_open(struct gateway *, struct webhooks **ret, struct error *); /* WEIR_CONFIG: a setting of webhooks is wrong */
void webhooks_stop(struct webhooks *);   /* ends the thread: what is under way is dropped and will be sent again, the leases are given back */
void webhooks_close(struct webhooks **); /* after nobody takes the store any more */

/* For handlers. Without webhooks.encryption_key there are no webhooks. */
bool webhooks_on(const struct webhooks *);
const struct webhook_rules *webhooks_rules(const struct webhooks *);
const uint8_t *webhooks_key(const struct webhooks *); /* WEBHOOK_KEY_SIZE bytes */
/* A connection that may write schema weir_webhooks; nobody else has it until webhooks_give. NULL: *err says why. */
struct pg *webhooks_take(struct webhooks *, struct error *);
void webhooks_give(struct webhooks *);
void webhooks_wake(struct webhooks *); /* something was changed that the thread should see now */

/* What a secret is sealed with: it opens in this endpoint's row only. */
#define WEBHOOK_CONTEXT 48
const char *webhook_context(int64_t endpoint, char ret[WEBHOOK_CONTEXT]);

#endif

/* webhook_internal.h - private to webhook.c, webhook_plan.c and webhook_send.c. All of it belongs to the thread, but for what says otherwise. */
#ifndef WEIR_GATEWAY_WEBHOOK_INTERNAL_H
#define WEIR_GATEWAY_WEBHOOK_INTERNAL_H

#include "live/replay.h"
#include "webhook/webhook.h"
#include "webhook/webhook_post.h"
#include "webhook/webhook_schedule.h"
#include "webhook/webhook_store.h"

#include <pthread.h>

struct webhook_endpoint {
	int64_t id, start_height, pending, journal, watchlist;
	char *url, *chain_name, *account, *asset; /* owned */
	char *stored;                /* owned: position as the database has it; "": none */
	enum topic topic;
	const struct gateway_chain *chain;
	struct filter filter;
	bool failing;
	struct webhook_secret secrets[WEBHOOK_SECRETS_MAX];
	size_t secret_count;
	struct offset offset;        /* read up to here; at or behind what is stored */
	bool located;                /* the offset means something */
	bool checked;                /* and lies in the ledger's journal */
	bool reading;                /* a job is out */
	bool lost;                   /* its journal is gone: nothing is read until it is moved */
	uint16_t round;              /* grows when an operator moves the endpoint: what was read for the round before is not wanted */
	int64_t again_ms, checked_ms, stored_ms;
	unsigned in_flight;
	int64_t paused_until_ms;     /* the receiver asked for it */
	bool seen;
	struct webhook_endpoint *next;
};

struct webhook_flight { /* a message from when it is sent until what became of it is written down */
	struct webhooks *webhooks;
	int64_t delivery, endpoint, tries;
	bool failing, done;
	struct webhook_result result;
	struct webhook_tried tried; /* what is written down */
	bool now_failing;           /* the endpoint, after it */
	int64_t now_failures;
	struct webhook_flight *next;
};

struct webhooks {
	struct gateway *gateway;
	struct log log;
	bool on;
	uint8_t key[WEBHOOK_KEY_SIZE];
	struct webhook_rules rules;
	struct webhook_schedule schedule;
	int64_t timeout_ms, lease_ms;
	char owner[160], *chains; /* owned: JSON list of names */
	struct pg_options pg_options;
	pthread_t thread;
	bool started;
	_Atomic bool closing;
	struct webhook_poster *poster;
	struct replay *replay;
	struct pg *pg;
	bool schema, database_ok;
	struct webhook_endpoint *endpoints;
	struct webhook_flight *flights;
	size_t flight_count;
	int64_t leased_until_ms, lease_at_ms, send_at_ms, clean_at_ms;

	pthread_mutex_t lock; /* guards replayed */
	struct replay_job *replayed;

	pthread_mutex_t store_lock; /* guards store: handlers take turns */
	struct pg *store;
};

struct webhook_endpoint *webhook_find(struct webhooks *, int64_t id);
/* What to do about a failure of PostgreSQL: said once, tried again in a moment. */
void webhook_database(struct webhooks *, int code, const struct error *);

/* webhook_plan.c: the journal into messages. */
void webhook_plan_submit(struct webhooks *);
void webhook_plan_take(struct webhooks *);
void webhook_plan_replayed(struct replay_job *, void *webhooks); /* a replay_done */

/* webhook_send.c: messages to receivers. */
void webhook_send_due(struct webhooks *);
void webhook_send_record(struct webhooks *);
void webhook_send_drop(struct webhooks *); /* forgets what is under way; after the poster is closed */

#endif

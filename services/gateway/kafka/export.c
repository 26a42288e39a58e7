/* export.c - the ledger to Kafka: settings, and a thread for each chain that leases, reads, sends and moves on. */
#include "kafka/export.h"

#include "kafka/export_record.h"
#include "live/replay.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TURN_MS 50         /* between looks for new events */
#define LOOK_MS 1000       /* … and for a lease that another gateway has */
#define CHECK_MS 5000      /* while the journal seems shorter than what was sent */
#define WAIT_BASE_MS 250   /* while something is away */
#define WAIT_MAX_MS 10000
#define ALERT_AFTER_S 30   /* brokers that are started again are nobody's business */

struct export {
	struct exports *exports;
	struct gateway *gateway;
	const struct gateway_chain *chain;
	struct log log;
	char topic[96], check[96], owner[160];
	struct pg *pg;
	bool schema;
	struct bus *bus;
	struct bus_records *records;
	pthread_t thread;
	bool started;
	struct export_row row;   /* as last read; ours: the lease was, then */
	int64_t leased_until_ms, renew_ms;
	struct offset offset;    /* sent and acknowledged up to here: row.position */
	bool located, checked;   /* there is one, and it lies in the ledger's journal */
	bool compared;           /* what is in Kafka does, too */
	int64_t checked_ms;
	struct backoff backoff;
	bool alerted;
	char trouble[400];       /* told last; "": none */
	struct metric *sent, *failures, *lag, *waiting;

	pthread_mutex_t lock;    /* guards shown */
	struct export_status shown;
};

struct exports {
	struct gateway *gateway;
	struct pg_options pg_options;
	int64_t lease_ms;
	_Atomic bool closing;
	struct export *each; /* one for each chain, in the gateway's order; NULL: switched off */
	size_t count;
};

static bool stopping(void *arg)
{
	struct exports *all = arg;
	return atomic_load(&all->closing) || daemon_stopping(all->gateway->ctx); /* at once, beside the clients' drain */
}

static void rest(const struct export *e, int64_t ms)
{
	for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until && !stopping(e->exports);)
		clock_sleep_ms(ms < TURN_MS ? ms : TURN_MS);
}

/* ---- what people are told --------------------------------------------------------------------------------------------------------------- */

static uint64_t lag_of(const struct gateway_chain *chain, const struct export_row *row)
{
	struct offset at;
	uint64_t newest = atomic_load(&chain->sequence);
	if (!*row->position || offset_parse(row->position, &at, NULL))
		return newest;
	return newest > at.sequence ? newest - at.sequence : 0;
}

static void show(struct export *e)
{
	metric_set(e->lag, (double)lag_of(e->chain, &e->row));
	metric_set(e->waiting, e->row.state == EXPORT_RUNNING ? 0 : (double)e->row.state_seconds + 1);
	pthread_mutex_lock(&e->lock);
	e->shown = (struct export_status){ .topic = e->topic, .known = true, .row = e->row };
	pthread_mutex_unlock(&e->lock);
}

static void alert(struct export *e, bool firing)
{
	char key[96];
	if (e->alerted == firing)
		return;
	e->alerted = firing;
	snprintf(key, sizeof key, "export of %s to Kafka", e->chain->chain.name);
	alert_raise(e->gateway->ctx, key, firing ? ALERT_FIRING : ALERT_RESOLVED, "kafka", "chain %s to Kafka: %s", e->chain->chain.name,
		    firing ? e->row.reason : "goes on");
}

/* The state of the export, for all gateways to see. What is told of it here does not depend on PostgreSQL. */
static void set_state(struct export *e, enum export_state state, const char *reason)
{
	struct error err = { 0 };
	const bool same = e->row.state == state && strcmp(e->row.reason, reason) == 0;
	if (!same && e->row.ours && e->pg && !stopping(e->exports) && export_store_state(e->pg, e->chain->chain.name, e->owner, state, reason, &err) == 0) {
		if (e->row.state != state)
			e->row.state_seconds = 0;
		e->row.state = state;
		snprintf(e->row.reason, sizeof e->row.reason, "%s", reason);
	}
	alert(e, e->row.ours && (e->row.state == EXPORT_STOPPED || (e->row.state == EXPORT_WAITING && e->row.state_seconds >= ALERT_AFTER_S)));
	show(e);
}

/* Once for each new reason: said, and shown by /readyz, which it does not make unready: clients are served all the same. */
static void tell(struct export *e, const char *reason)
{
	if (strcmp(e->trouble, reason) == 0)
		return;
	if (*reason)
		log_warn(&e->log, "export_waits", reason, LOG_S("chain", e->chain->chain.name), LOG_S("topic", e->topic));
	else
		log_info(&e->log, "export_goes_on", "events are sent again", LOG_S("chain", e->chain->chain.name), LOG_S("topic", e->topic));
	snprintf(e->trouble, sizeof e->trouble, "%s", reason);
	daemon_check_set(e->gateway->ctx, e->check, true, reason);
}

static void trouble(struct export *e, int code, const struct error *err)
{
	char reason[sizeof e->trouble];
	snprintf(reason, sizeof reason, "%s", code == WEIR_PERMISSION && !e->row.ours ? "the gateway's role may not use schema weir_kafka: grant weir_webhooks to it" : err->text);
	metric_inc(e->failures);
	tell(e, reason);
	set_state(e, EXPORT_WAITING, reason);
}

/* ---- the lease ------------------------------------------------------------------------------------------------------------------------- */

static void forget_place(struct export *e)
{
	if (e->records)
		bus_records_drop(e->records);
	e->located = *e->row.position && offset_parse(e->row.position, &e->offset, NULL) == 0;
	e->checked = e->compared = false;
}

static int open_pg(struct export *e, struct error *err)
{
	struct pg_result *r = NULL;
	int code = e->pg ? 0 : pg_open(&e->exports->pg_options, &e->pg, err);
	if (code || e->schema)
		return code;
	code = pg_query(e->pg, "select to_regclass('weir_kafka.exports') is not null", NULL, 0, &r, err);
	e->schema = !code && pg_get_bool(r, 0, 0);
	pg_result_free(&r);
	return code;
}

/* Renews the lease, or tries to get it, when it is time. What another owner did, or an operator, is read with it. */
static int lease(struct export *e, struct error *err)
{
	const struct export_row before = e->row;
	const int64_t began = clock_mono_ms();
	if (began < e->renew_ms)
		return 0;
	int code = open_pg(e, err);
	if (!code && e->schema) /* which the reconciler makes */
		code = export_store_lease(e->pg, e->chain->chain.name, e->owner, e->exports->lease_ms, &e->row, err);
	if (code || !e->schema) {
		e->row.ours = e->row.ours && began < e->leased_until_ms;
		return code;
	}
	e->renew_ms = began + (e->row.ours ? e->exports->lease_ms / 3 : LOOK_MS);
	e->leased_until_ms = began + e->exports->lease_ms * 2 / 3; /* no lease of ours ends before */
	if (!before.ours || before.epoch != e->row.epoch || strcmp(before.position, e->row.position) != 0)
		forget_place(e);
	if (!e->row.ours)
		tell(e, "");
	show(e);
	return 0;
}

/* ---- the journal ------------------------------------------------------------------------------------------------------------------------ */

static int ask(struct export *e, enum replay_task task, struct replay_job **ret, struct error *err)
{
	struct replay_job *job = xmalloc(sizeof *job);
	job->task = task;
	job->chain = e->chain;
	job->topic = TOPIC_OF_LEDGER;
	job->offset = e->offset;
	job->height = e->row.start_height > 0 ? e->row.start_height : 0;
	job->trusts = true;
	*ret = job;
	return replay_answer(e->gateway, job, err);
}

static int move(struct export *e, const struct offset *to, size_t records, struct error *err)
{
	char text[OFFSET_TEXT_MAX];
	offset_print(to, text);
	int code = export_store_move(e->pg, e->chain->chain.name, e->owner, &e->row, text, (int64_t)records, err);
	if (code)
		return code;
	memcpy(e->row.position, text, sizeof text);
	e->row.records += (int64_t)records;
	e->offset = *to;
	return 0;
}

/* Where to begin, the first time and after an operator said so. */
static int locate(struct export *e, struct error *err)
{
	struct replay_job *job = NULL;
	const bool now = e->row.start_height < 0 && strcmp(e->gateway->config->kafka.start, "now") == 0;
	int code = ask(e, now ? REPLAY_FROM_NOW : REPLAY_FROM_HEIGHT, &job, err);
	if (!code)
		code = move(e, &job->offset, 0, err);
	e->located = e->checked = code == 0;
	replay_job_free(&job);
	return code;
}

static int check(struct export *e, struct error *err)
{
	struct replay_job *job = NULL;
	int code = ask(e, REPLAY_FROM_OFFSET, &job, err);
	e->checked = code == 0;
	e->checked_ms = clock_mono_ms();
	replay_job_free(&job);
	return code;
}

static void keep_newest(const struct bus_record *record, void *arg)
{
	struct export_place place, *newest = arg;
	if (export_place_read(record->value, &place) && export_place_above(&place, newest))
		*newest = place;
}

/* Is what is in Kafka of this ledger? Of one that was restored together with our position it says more than the position: then readers have events that the
 * ledger no longer has. Looked at by everybody who begins to send, after others did. */
static int compare(struct export *e, struct error *err)
{
	struct export_place newest = { 0 };
	struct replay_job *job = NULL;
	struct offset at;
	int code = bus_records_newest(e->records, keep_newest, &newest, err);
	if (code)
		return code;
	if (newest.epoch > e->row.epoch)
		return error_set(err, WEIR_NOT_FOUND, "Kafka has records of epoch %lld, the database knows of %lld", (long long)newest.epoch, (long long)e->row.epoch);
	if (newest.epoch == e->row.epoch && offset_parse(newest.offset, &at, NULL) == 0) {
		const struct offset ours = e->offset;
		e->offset = at;
		code = ask(e, REPLAY_FROM_OFFSET, &job, err);
		e->offset = ours;
	}
	replay_job_free(&job);
	e->compared = code == 0;
	return code;
}

/* Until the brokers have all of it, or it is not ours to send any more. */
static int send_all(struct export *e, const struct export_batch *batch, struct error *err)
{
	for (;;) {
		const struct export_row before = e->row;
		int code = bus_records_write(e->records, batch->records, batch->count, err);
		if (code != WEIR_TIMEOUT && code != WEIR_UNAVAILABLE)
			return code;
		if (stopping(e->exports))
			return error_set(err, WEIR_CANCELED, "stopping");
		trouble(e, code, err);
		code = lease(e, err);
		if (!e->row.ours || before.epoch != e->row.epoch || strcmp(before.position, e->row.position) != 0)
			return code ? code : error_set(err, WEIR_FENCED, "the lease ended while the brokers were waited for");
	}
}

static int read_and_send(struct export *e, struct error *err)
{
	struct replay_job *job = NULL;
	struct export_batch batch = { 0 };
	int code = ask(e, REPLAY_READ, &job, err);
	if (!code)
		code = export_batch_make(&e->chain->chain, e->row.epoch, job->pushes, job->count, &batch, err);
	if (!code)
		code = lease(e, err); /* reading took its time */
	if (!code && (!e->row.ours || !e->located))
		code = error_set(err, WEIR_FENCED, "another gateway has the lease");
	if (!code && batch.count > 0)
		code = send_all(e, &batch, err);
	if (!code)
		code = move(e, &job->offset, batch.count, err);
	if (!code)
		metric_add(e->sent, batch.count);
	export_batch_free(&batch);
	replay_job_free(&job);
	return code;
}

static void stop_until_told(struct export *e, const struct error *err)
{
	char reason[sizeof e->row.reason];
	snprintf(reason, sizeof reason, "the ledger no longer has what was sent last (%s); begin anew: weirctl kafka restart --chain %s --why …", err->text, e->chain->chain.name);
	tell(e, reason);
	set_state(e, EXPORT_STOPPED, reason);
}

enum progress {
	LEVEL,    /* nothing was to be done */
	PREPARED, /* one step nearer to sending, which says nothing of whether the brokers take records */
	SENT,
};

static int step(struct export *e, enum progress *ret, struct error *err)
{
	int code = lease(e, err);
	const uint64_t newest = atomic_load(&e->chain->sequence);
	if (code || !e->row.ours || e->row.state == EXPORT_STOPPED || atomic_load(&e->chain->id) == 0)
		return code;
	*ret = PREPARED;
	if (!e->compared)
		return compare(e, err);
	if (!e->located)
		return locate(e, err);
	if (!e->checked || (newest < e->offset.sequence && clock_mono_ms() - e->checked_ms > CHECK_MS))
		return check(e, err); /* our feed is behind another gateway's, or the ledger is another one */
	*ret = newest > e->offset.sequence || e->offset.index >= 0 ? SENT : LEVEL;
	return *ret == SENT ? read_and_send(e, err) : 0;
}

static int64_t turn(struct export *e)
{
	struct error err = { 0 };
	enum progress progress = LEVEL;
	int code = step(e, &progress, &err);
	if (code == WEIR_CANCELED || (code == 0 && progress == PREPARED))
		return 0;
	if (code == WEIR_FENCED || code == WEIR_CONFLICT) { /* looked at again, from what PostgreSQL says */
		e->renew_ms = 0;
		forget_place(e);
		return TURN_MS;
	}
	if (code == WEIR_NOT_FOUND) {
		stop_until_told(e, &err);
		return LOOK_MS;
	}
	if (code) {
		trouble(e, code, &err);
		return backoff_next_ms(&e->backoff);
	}
	backoff_reset(&e->backoff);
	if (e->row.ours && e->row.state != EXPORT_STOPPED) {
		tell(e, "");
		set_state(e, EXPORT_RUNNING, "");
	}
	return progress == SENT ? 0 : e->row.ours ? TURN_MS : LOOK_MS;
}

static void *run(void *arg)
{
	struct export *e = arg;
	struct error err = { 0 };
	while (!stopping(e->exports))
		rest(e, turn(e));
	bus_records_drop(e->records);
	if (e->pg && e->row.ours && export_store_release(e->pg, e->chain->chain.name, e->owner, &err))
		log_info(&e->log, "export_not_released", "another gateway takes it when the lease ends", LOG_S("chain", e->chain->chain.name), LOG_ERR(&err));
	return NULL;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------------------------------ */

static int open_records(struct export *e, struct error *err)
{
	const struct config *c = e->gateway->config;
	const struct bus_options options = { .url = c->kafka.url,
					     .username = c->kafka.username,
					     .password = c->kafka.password,
					     .command_timeout_ms = e->exports->lease_ms / 8 + 50,
					     .worker = "weir-gateway-kafka",
					     .log = &e->gateway->log };
	int code = bus_open(&options, &e->bus, err);
	if (!code)
		code = bus_records_open(e->bus, e->topic, &e->records, err);
	if (!code)
		bus_set_stop(e->bus, stopping, e->exports);
	return code ? error_prefix(err, "kafka.url") : 0;
}

static int open_one(struct exports *all, size_t i, const char *host, struct error *err)
{
	struct export *e = &all->each[i];
	struct metrics *metrics = all->gateway->metrics;
	const char *chain = all->gateway->chains[i].chain.name;
	e->exports = all;
	e->gateway = all->gateway;
	e->chain = &all->gateway->chains[i];
	e->log = all->gateway->log;
	e->backoff = (struct backoff){ .base_ms = WAIT_BASE_MS, .max_ms = WAIT_MAX_MS };
	pthread_mutex_init(&e->lock, NULL);
	all->count = i + 1;
	snprintf(e->topic, sizeof e->topic, "weir.%s.ledger", chain);
	snprintf(e->check, sizeof e->check, "kafka %s", chain);
	snprintf(e->owner, sizeof e->owner, "%s:%ld:%08x", host, (long)getpid(), (unsigned)random_u64());
	e->shown.topic = e->topic;
	e->sent = metrics_get(metrics, "weir_kafka_records_total", chain, NULL, NULL);
	e->failures = metrics_get(metrics, "weir_kafka_failures_total", chain, NULL, NULL);
	e->lag = metrics_get(metrics, "weir_kafka_lag_events", chain, NULL, NULL);
	e->waiting = metrics_get(metrics, "weir_kafka_waiting_seconds", chain, NULL, NULL);
	int code = open_records(e, err);
	if (code)
		return code;
	daemon_check_set(all->gateway->ctx, e->check, true, "");
	if (pthread_create(&e->thread, NULL, run, e) != 0)
		return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	e->started = true;
	return 0;
}

int exports_open(struct gateway *gateway, struct exports **ret, struct error *err)
{
	const struct config *c = gateway->config;
	struct exports *all = xmalloc(sizeof *all);
	char host[64] = "?";
	int code = 0;
	*ret = all;
	all->gateway = gateway;
	if (!*c->kafka.url)
		return 0;
	gethostname(host, sizeof host - 1);
	all->lease_ms = c->bus.lease_ms;
	all->pg_options = (struct pg_options){ .url = c->postgres.reader_url && c->postgres.reader_url[0] ? c->postgres.reader_url : c->postgres.url,
					       .application_name = "weir-gateway-kafka",
					       .connect_timeout_ms = c->postgres.connect_timeout_ms,
					       .statement_timeout_ms = c->gateway.request_timeout_ms < all->lease_ms ? c->gateway.request_timeout_ms : all->lease_ms, /* what takes longer is no longer ours */
					       .session_sql = "set jit = off",
					       .log = &gateway->log };
	all->each = xcalloc(gateway->chain_count ? gateway->chain_count : 1, sizeof *all->each);
	for (size_t i = 0; !code && i < gateway->chain_count; i++)
		code = open_one(all, i, host, err);
	return code;
}

void exports_stop(struct exports *all)
{
	if (!all)
		return;
	atomic_store(&all->closing, true);
	for (size_t i = 0; i < all->count; i++) {
		if (all->each[i].started)
			pthread_join(all->each[i].thread, NULL);
		all->each[i].started = false;
	}
}

void exports_close(struct exports **allp)
{
	struct exports *all = *allp;
	if (!all)
		return;
	exports_stop(all);
	for (size_t i = 0; i < all->count; i++) {
		struct export *e = &all->each[i];
		bus_records_close(&e->records);
		bus_close(&e->bus);
		pg_close(&e->pg);
		pthread_mutex_destroy(&e->lock);
	}
	free(all->each);
	xfree(allp);
}

/* ---- for handlers ------------------------------------------------------------------------------------------------------------------------ */

bool exports_on(const struct exports *all)
{
	return all->count > 0;
}

void exports_status(struct exports *all, const struct gateway_chain *chain, struct export_status *ret)
{
	struct export *e = &all->each[chain->index];
	pthread_mutex_lock(&e->lock);
	*ret = e->shown;
	pthread_mutex_unlock(&e->lock);
	ret->lag = lag_of(chain, &ret->row);
}

int exports_restart(struct exports *all, const struct gateway_chain *chain, int64_t start_height, int64_t *ret_epoch, struct error *err)
{
	struct pg *pg = NULL;
	int code = pg_open(&all->pg_options, &pg, err);
	if (!code)
		code = export_store_restart(pg, chain->chain.name, start_height, ret_epoch, err);
	pg_close(&pg);
	return code;
}

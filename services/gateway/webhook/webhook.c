/* webhook.c - webhooks: settings, leases, the thread. */
#include "webhook/webhook_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEASE_LOOK_MS 1000  /* how often changes are looked for */
#define TURN_MS 50          /* and new events of the journal */
#define DATABASE_MS 1000    /* between tries while it does not answer */
#define CLEAN_MS 60000
#define REPLAY_THREADS 1

const char *webhook_context(int64_t endpoint, char ret[WEBHOOK_CONTEXT])
{
	snprintf(ret, WEBHOOK_CONTEXT, "webhook endpoint %lld", (long long)endpoint);
	return ret;
}

struct webhook_endpoint *webhook_find(struct webhooks *w, int64_t id)
{
	for (struct webhook_endpoint *e = w->endpoints; e; e = e->next)
		if (e->id == id)
			return e;
	return NULL;
}

void webhook_database(struct webhooks *w, int code, const struct error *err)
{
	if (code && w->database_ok && code == WEIR_PERMISSION)
		log_warn(&w->log, "webhooks_wait", "the gateway's role may not use schema weir_webhooks: grant weir_webhooks to it", LOG_ERR(err));
	else if (code && w->database_ok)
		log_warn(&w->log, "webhooks_wait", "nothing is delivered until PostgreSQL answers", LOG_ERR(err));
	else if (!code && !w->database_ok)
		log_info(&w->log, "webhooks_go_on", "PostgreSQL answers");
	w->database_ok = !code;
	if (code)
		w->lease_at_ms = w->send_at_ms = clock_mono_ms() + DATABASE_MS;
}

/* ---- endpoints ---------------------------------------------------------------------------------------------------------------------------- */

static void endpoint_free(struct webhook_endpoint *e)
{
	for (size_t i = 0; i < e->secret_count; i++)
		webhook_secret_wipe(&e->secrets[i]);
	free(e->url);
	free(e->chain_name);
	free(e->account);
	free(e->asset);
	free(e->stored);
	free(e);
}

static bool read_filter(struct webhook_endpoint *e, const char *kind)
{
	const struct chain *chain = &e->chain->chain;
	size_t size = 0;
	e->filter = (struct filter){ .has_account = *e->account, .has_asset = *e->asset, .watchlist = e->watchlist };
	if (*e->account && chain->family->account_parse(chain, e->account, e->filter.account, &size, NULL))
		return false;
	e->filter.account_size = (uint8_t)size;
	if (*kind && kind_parse(kind, &e->filter.kind, NULL))
		return false;
	return !*e->asset || chain->family->asset_parse(chain, e->asset, &e->filter.asset, NULL) == 0;
}

/* What never changes of an endpoint. NULL: of a chain that is not served here. */
static struct webhook_endpoint *endpoint_new(struct webhooks *w, const struct webhook_row *row)
{
	struct webhook_endpoint *e = xmalloc(sizeof *e);
	e->id = row->id;
	e->topic = row->topic;
	e->watchlist = row->watchlist;
	e->url = xstrdup(row->url);
	e->chain_name = xstrdup(row->chain);
	e->account = xstrdup(row->account);
	e->asset = xstrdup(row->asset);
	e->stored = xstrdup("?"); /* differs from every position */
	e->chain = gateway_find_chain(w->gateway, row->chain);
	if (!e->chain || !read_filter(e, row->kind)) {
		log_warn(&w->log, "webhook_unreadable", "its chain, account, asset or kind is not one that is known here", LOG_I("endpoint", e->id));
		endpoint_free(e);
		return NULL;
	}
	e->next = w->endpoints;
	w->endpoints = e;
	return e;
}

static void adopt(struct webhooks *w, const struct webhook_row *row)
{
	struct webhook_endpoint *e = webhook_find(w, row->id);
	if (!e)
		e = endpoint_new(w, row);
	if (!e)
		return;
	e->seen = true;
	e->failing = row->failing;
	e->pending = row->pending;
	e->journal = row->journal;
	if (strcmp(e->stored, row->position) == 0)
		return;
	free(e->stored);
	e->stored = xstrdup(row->position);
	e->start_height = row->start_height;
	e->located = *row->position && offset_parse(row->position, &e->offset, NULL) == 0;
	e->checked = e->lost = false;
	e->round++;
	e->stored_ms = clock_mono_ms();
}

static void drop_unseen(struct webhooks *w)
{
	for (struct webhook_endpoint **at = &w->endpoints; *at;) {
		struct webhook_endpoint *e = *at;
		if (e->seen || e->in_flight > 0 || e->reading) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		endpoint_free(e);
	}
}

static void read_secrets(struct webhooks *w, const struct pg_result *r)
{
	struct error err;
	char context[WEBHOOK_CONTEXT];
	for (struct webhook_endpoint *e = w->endpoints; e; e = e->next)
		e->secret_count = 0;
	for (size_t i = 0; i < pg_rows(r); i++) {
		struct webhook_endpoint *e = webhook_find(w, pg_get_i64(r, i, 0));
		if (e && e->secret_count < WEBHOOK_SECRETS_MAX &&
		    webhook_secret_open(w->key, webhook_context(e->id, context), pg_get_bytes(r, i, 1), &e->secrets[e->secret_count], &err) == 0)
			e->secret_count++;
	}
}

static int lease(struct webhooks *w, struct error *err)
{
	struct pg_result *r = NULL;
	int64_t began = clock_mono_ms();
	int code = 0;
	if (!w->schema) { /* the reconciler makes it */
		code = pg_query(w->pg, "select to_regclass('weir_webhooks.endpoints') is not null", NULL, 0, &r, err);
		w->schema = !code && pg_get_bool(r, 0, 0);
		pg_result_free(&r);
		if (code || !w->schema)
			return code;
	}
	code = webhook_store_lease(w->pg, w->owner, w->lease_ms, w->chains, &r, err);
	if (code)
		return code;
	for (struct webhook_endpoint *e = w->endpoints; e; e = e->next)
		e->seen = false;
	for (size_t i = 0; i < pg_rows(r); i++) {
		struct webhook_row row;
		webhook_store_row(r, i, &row);
		adopt(w, &row);
	}
	pg_result_free(&r);
	drop_unseen(w);
	code = webhook_store_secrets(w->pg, w->owner, &r, err);
	if (!code)
		read_secrets(w, r);
	pg_result_free(&r);
	if (!code)
		w->leased_until_ms = began + w->lease_ms * 2 / 3; /* no lease of ours ends before */
	return code;
}

static void lease_turn(struct webhooks *w)
{
	struct error err = { 0 };
	int64_t now = clock_mono_ms(), pending = 0;
	size_t n = 0;
	uint64_t cleaned = 0;
	if (now < w->lease_at_ms)
		return;
	w->lease_at_ms = now + LEASE_LOOK_MS;
	int code = w->pg ? 0 : pg_open(&w->pg_options, &w->pg, &err);
	if (!code)
		code = lease(w, &err);
	if (!code && w->schema && now >= w->clean_at_ms) {
		code = webhook_store_clean(w->pg, w->gateway->config->webhooks.retention_ms, &cleaned, &err);
		w->clean_at_ms = now + (cleaned > 0 ? LEASE_LOOK_MS : CLEAN_MS);
	}
	webhook_database(w, code, &err);
	for (const struct webhook_endpoint *e = w->endpoints; e; e = e->next, n++)
		pending += e->pending;
	metric_set(metrics_get(w->gateway->metrics, "weir_webhook_endpoints", NULL, NULL, NULL), (double)n);
	metric_set(metrics_get(w->gateway->metrics, "weir_webhook_pending", NULL, NULL, NULL), (double)pending);
}

/* ---- the thread ----------------------------------------------------------------------------------------------------------------------------- */

static void *run(void *arg)
{
	struct webhooks *w = arg;
	struct error err = { 0 };
	while (!atomic_load(&w->closing)) {
		lease_turn(w);
		webhook_plan_take(w);
		webhook_plan_submit(w);
		if (w->database_ok && w->schema) {
			webhook_send_record(w);
			webhook_send_due(w);
		} else if (clock_mono_ms() >= w->send_at_ms && w->pg) {
			webhook_send_record(w);
		}
		webhook_poster_turn(w->poster, w->endpoints ? TURN_MS : LEASE_LOOK_MS);
	}
	if (w->pg && w->schema && webhook_store_release(w->pg, w->owner, &err))
		log_info(&w->log, "webhooks_not_released", "another gateway takes them when the lease ends", LOG_ERR(&err));
	return NULL;
}

static int setting_wrong(struct error *err, const char *setting)
{
	error_prefix(err, "%s", setting);
	err->code = WEIR_CONFIG;
	return WEIR_CONFIG;
}

static int read_settings(struct webhooks *w, struct error *err)
{
	const struct config *c = w->gateway->config;
	w->timeout_ms = c->webhooks.timeout_ms;
	w->lease_ms = 2 * w->timeout_ms + 2000;
	w->on = *c->webhooks.encryption_key;
	if (w->on && webhook_key_read(c->webhooks.encryption_key, w->key, err))
		return setting_wrong(err, "webhooks.encryption_key");
	if (webhook_rules_read(c->webhooks.ports, c->webhooks.allow_loopback, &w->rules, err))
		return setting_wrong(err, "webhooks.ports");
	if (webhook_schedule_read(c->webhooks.retry_schedule, &w->schedule, err))
		return setting_wrong(err, "webhooks.retry_schedule");
	if (*c->webhooks.ca_file && access(c->webhooks.ca_file, R_OK) != 0)
		return error_set(err, WEIR_CONFIG, "webhooks.ca_file: %s cannot be read", c->webhooks.ca_file);
	return 0;
}

static void name_chains(struct webhooks *w)
{
	struct buf names = BUF_INIT(65536);
	put_array(&names, NULL);
	for (size_t i = 0; i < w->gateway->chain_count; i++)
		put_text(&names, NULL, w->gateway->chains[i].chain.name);
	put_end(&names, ']');
	w->chains = (char *)buf_detach(&names);
}

static int open_parts(struct webhooks *w, struct error *err)
{
	const struct config *c = w->gateway->config;
	const struct webhook_poster_options options = { .rules = w->rules,
							.timeout_ms = w->timeout_ms,
							.ca_file = *c->webhooks.ca_file ? c->webhooks.ca_file : NULL };
	int code = webhook_poster_open(&options, &w->poster, err);
	if (!code)
		code = replay_open(w->gateway, REPLAY_THREADS, webhook_plan_replayed, w, &w->replay, err);
	if (!code && pthread_create(&w->thread, NULL, run, w) != 0)
		code = error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	w->started = code == 0;
	return code;
}

int webhooks_open(struct gateway *gateway, struct webhooks **ret, struct error *err)
{
	struct webhooks *w = xmalloc(sizeof *w);
	const struct config *c = gateway->config;
	char host[64] = "?";
	gethostname(host, sizeof host - 1);
	*ret = w;
	w->gateway = gateway;
	w->log = gateway->log;
	w->database_ok = true;
	snprintf(w->owner, sizeof w->owner, "%s:%ld:%08x", host, (long)getpid(), (unsigned)random_u64());
	w->pg_options = (struct pg_options){ .url = c->postgres.reader_url && c->postgres.reader_url[0] ? c->postgres.reader_url : c->postgres.url,
					     .application_name = "weir-gateway-webhooks",
					     .connect_timeout_ms = c->postgres.connect_timeout_ms,
					     .statement_timeout_ms = c->gateway.request_timeout_ms,
					     .session_sql = "set jit = off",
					     .log = &gateway->log };
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->store_lock, NULL);
	name_chains(w);
	int code = read_settings(w, err);
	return code || !w->on ? code : open_parts(w, err);
}

void webhooks_stop(struct webhooks *w)
{
	if (!w)
		return;
	atomic_store(&w->closing, true);
	if (!w->started)
		return;
	webhook_poster_wake(w->poster);
	pthread_join(w->thread, NULL);
	w->started = false;
}

void webhooks_close(struct webhooks **wp)
{
	struct webhooks *w = *wp;
	if (!w)
		return;
	webhooks_stop(w);
	replay_close(&w->replay);
	webhook_poster_close(&w->poster);
	webhook_send_drop(w);
	for (struct webhook_endpoint *next; w->endpoints; w->endpoints = next) {
		next = w->endpoints->next;
		endpoint_free(w->endpoints);
	}
	for (struct replay_job *job; (job = w->replayed);) {
		w->replayed = job->next;
		replay_job_free(&job);
	}
	pg_close(&w->pg);
	pg_close(&w->store);
	pthread_mutex_destroy(&w->store_lock);
	pthread_mutex_destroy(&w->lock);
	free(w->chains);
	xfree(wp);
}

/* ---- for handlers ------------------------------------------------------------------------------------------------------------------------ */

bool webhooks_on(const struct webhooks *w)
{
	return w->on;
}

const struct webhook_rules *webhooks_rules(const struct webhooks *w)
{
	return &w->rules;
}

const uint8_t *webhooks_key(const struct webhooks *w)
{
	return w->key;
}

struct pg *webhooks_take(struct webhooks *w, struct error *err)
{
	pthread_mutex_lock(&w->store_lock);
	if (!w->store && pg_open(&w->pg_options, &w->store, err)) {
		pthread_mutex_unlock(&w->store_lock);
		return NULL;
	}
	return w->store;
}

void webhooks_give(struct webhooks *w)
{
	pg_rollback(w->store);
	pthread_mutex_unlock(&w->store_lock);
}

void webhooks_wake(struct webhooks *w)
{
	if (w->poster)
		webhook_poster_wake(w->poster);
}

/* alert.c - alerts: logged at once, counted, sent in groups to destinations from a bounded queue on its own thread; cool-down per key. */
#include "daemon/alert_post.h"
#include "daemon/internal.h"
#include "daemon/silence.h"

#include "base/clock.h"
#include "base/cond.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS_MAX 1024
#define QUEUE_MAX 64
#define FLUSH_MS 3000      /* what waits at the end may still be sent for so long; the log has it already */
#define SILENCES_ASK_MS 500 /* Redis may take so long to tell of silences */

#define RETRIES 2
static const int64_t retry_after_ms[RETRIES] = { 1000, 5000 };

struct alert_key {
	char key[ALERT_KEY];
	enum alert_state state;
	bool silenced; /* when it was said last */
	int64_t sent_ms;
};

struct alerts {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running;
	atomic_bool stop;
	_Atomic int64_t stop_at_ms; /* when the last post must be over; set before stop */
	struct alert_key keys[KEYS_MAX];
	size_t key_count;
	struct alert queue[QUEUE_MAX];
	size_t queued;
	int64_t first_ms; /* when the first of the queue came */

	/* the sender's alone */
	struct alert group[QUEUE_MAX];
	struct alert_destination_config webhook_url; /* alerts.webhook_url as a destination */
	struct bus *bus;
	struct silence silences[SILENCES_MAX];
	size_t silence_count;
};

/* What cannot wait for the morning, by page of the runbook, as in deploy/monitoring. Everything else is a ticket. */
static enum alert_severity severity_of(const char *runbook)
{
	static const char *const pages[] = { "chain-endpoints", "finality", "gap", "mismatch" };
	for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
		if (strcmp(pages[i], runbook) == 0)
			return ALERT_PAGE;
	return ALERT_TICKET;
}

static struct alert_key *find_key(struct alerts *a, const char *key)
{
	for (size_t i = 0; i < a->key_count; i++)
		if (strcmp(a->keys[i].key, key) == 0)
			return &a->keys[i];
	return NULL;
}

/* Has this alert to be said now? Remembers that it was. A full table forgets the oldest key. */
static bool due(struct alerts *a, const char *key, enum alert_state state, int64_t cooldown_ms)
{
	int64_t now = clock_mono_ms();
	struct alert_key *slot = find_key(a, key), *oldest = &a->keys[0];
	for (size_t i = 0; i < a->key_count; i++)
		if (a->keys[i].sent_ms < oldest->sent_ms)
			oldest = &a->keys[i];
	if (slot && slot->state == state && (state == ALERT_RESOLVED || now - slot->sent_ms < cooldown_ms))
		return false;
	if (!slot) {
		if (state == ALERT_RESOLVED)
			return false; /* never fired: nothing to take back */
		slot = a->key_count < KEYS_MAX ? &a->keys[a->key_count++] : oldest;
		*slot = (struct alert_key){ 0 };
		snprintf(slot->key, sizeof slot->key, "%s", key);
	}
	slot->state = state;
	slot->sent_ms = now;
	return true;
}

/* ---- the sender ---------------------------------------------------------------------------------------------------------------------- */

static bool past_end(const struct alerts *a)
{
	return atomic_load(&a->stop) && clock_mono_ms() >= atomic_load(&a->stop_at_ms);
}

static int64_t stop_at(void *arg)
{
	const struct alerts *a = arg;
	return atomic_load(&a->stop) ? atomic_load(&a->stop_at_ms) : 0;
}

static bool stopping(void *arg)
{
	return past_end(arg);
}

/* What is silenced now; when Redis does not say, what it said last. */
static void ask_silences(struct daemon_ctx *ctx)
{
	struct alerts *a = ctx->alerts;
	struct silence found[SILENCES_MAX];
	size_t n = 0;
	const struct bus_options options = { .url = ctx->config->bus.redis_url,
					     .username = ctx->config->bus.username,
					     .password = ctx->config->bus.password,
					     .command_timeout_ms = SILENCES_ASK_MS,
					     .worker = "alerts",
					     .log = &ctx->log };
	if (!a->bus && bus_open(&options, &a->bus, NULL) != 0)
		return;
	bus_set_stop(a->bus, stopping, a);
	if (silence_list(a->bus, found, &n, NULL) != 0)
		return;
	memcpy(a->silences, found, sizeof found);
	a->silence_count = n;
}

static bool is_silenced(const struct alerts *a, const struct alert *alert)
{
	int64_t now = clock_wall_ms();
	for (size_t i = 0; i < a->silence_count; i++)
		if (silence_covers(&a->silences[i], alert->key, alert->runbook, now))
			return true;
	return false;
}

/* Leaves those of the group that are to be heard. What was not heard is not taken back either. */
static size_t leave_out_silenced(struct daemon_ctx *ctx, size_t n)
{
	struct alerts *a = ctx->alerts;
	size_t left = 0;
	for (size_t i = 0; i < n; i++) {
		bool silenced = is_silenced(a, &a->group[i]);
		pthread_mutex_lock(&a->lock);
		struct alert_key *slot = find_key(a, a->group[i].key);
		if (slot && a->group[i].state == ALERT_RESOLVED)
			silenced = silenced || slot->silenced;
		if (slot)
			slot->silenced = silenced;
		pthread_mutex_unlock(&a->lock);
		if (silenced)
			metric_inc(metrics_get(ctx->metrics, "weir_alert_posts_total", "silenced", NULL, NULL));
		else
			a->group[left++] = a->group[i];
	}
	return left;
}

/* True: it took it, or what there is is not for it. */
static bool send_to(struct daemon_ctx *ctx, const struct alert_destination_config *d, size_t n, bool last)
{
	struct alerts *a = ctx->alerts;
	struct alert wanted[QUEUE_MAX];
	struct error err = { 0 };
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		if (a->group[i].severity == ALERT_PAGE || strcmp(d->severity, "ticket") == 0)
			wanted[count++] = a->group[i];
	if (count == 0)
		return true;
	int code = alert_post(ctx->config, ctx->name, d, wanted, count, stop_at, a, &err);
	metric_inc(metrics_get(ctx->metrics, "weir_alert_posts_total", code == 0 ? "sent" : last ? "failed" : "retried", NULL, NULL));
	if (code != 0)
		log_warn(&ctx->log, "alert_not_posted", last ? "a destination did not take an alert; it stands in the log only" : "a destination did not take an alert; it is tried again",
			 LOG_S("destination", d->name), LOG_S("error", err.text));
	return code == 0;
}

/* False: the process ends, or so much waits behind this group that it has to do. */
static bool wait_to_retry(struct alerts *a, int64_t ms)
{
	const struct timespec until = cond_deadline(ms);
	int code = 0;
	pthread_mutex_lock(&a->lock);
	while (code == 0 && !atomic_load(&a->stop) && a->queued < QUEUE_MAX / 2)
		code = pthread_cond_timedwait(&a->wake, &a->lock, &until);
	pthread_mutex_unlock(&a->lock);
	return code != 0;
}

static void send_group(struct daemon_ctx *ctx, size_t n)
{
	struct alerts *a = ctx->alerts;
	ask_silences(ctx);
	n = leave_out_silenced(ctx, n);
	const struct alert_destination_config **left = xcalloc(ctx->config->alerts.destination_count + 1, sizeof *left);
	size_t count = 0;
	if (*ctx->config->alerts.webhook_url)
		left[count++] = &a->webhook_url;
	for (size_t i = 0; i < ctx->config->alerts.destination_count; i++)
		left[count++] = &ctx->config->alerts.destinations[i];
	/* All once before one is tried again: a dead one holds the others up as little as can be. */
	for (size_t round = 0; count > 0 && (round == 0 || wait_to_retry(a, retry_after_ms[round - 1])); round++) {
		size_t kept = 0;
		for (size_t i = 0; i < count; i++)
			if (!send_to(ctx, left[i], n, round == RETRIES || atomic_load(&a->stop)))
				left[kept++] = left[i];
		count = round == RETRIES || atomic_load(&a->stop) ? 0 : kept;
	}
	free(left);
}

/* Until the group is complete: the wait is over, the queue is full, or the process ends. */
static void wait_for_group(struct daemon_ctx *ctx)
{
	struct alerts *a = ctx->alerts;
	while (!atomic_load(&a->stop) && a->queued < QUEUE_MAX) {
		int64_t left = a->first_ms + ctx->config->alerts.group_wait_ms - clock_mono_ms();
		if (left <= 0)
			return;
		const struct timespec until = cond_deadline(left);
		pthread_cond_timedwait(&a->wake, &a->lock, &until);
	}
}

static void *sender(void *arg)
{
	struct daemon_ctx *ctx = arg;
	struct alerts *a = ctx->alerts;
	pthread_mutex_lock(&a->lock);
	while (!atomic_load(&a->stop) || (a->queued > 0 && !past_end(a))) {
		if (a->queued == 0) {
			pthread_cond_wait(&a->wake, &a->lock);
			continue;
		}
		wait_for_group(ctx);
		size_t n = a->queued;
		memcpy(a->group, a->queue, n * sizeof a->queue[0]);
		a->queued = 0;
		pthread_mutex_unlock(&a->lock);
		send_group(ctx, n);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static struct alert_destination_config webhook_destination(const struct config *config)
{
	static char name[] = "webhook_url", kind[] = "slack", severity[] = "ticket", nobody[] = "";
	return (struct alert_destination_config){ .name = name, .kind = kind, .url = config->alerts.webhook_url, .to = nobody, .severity = severity };
}

static const char *const post_results[] = { "sent", "failed", "dropped", "silenced" };

void alerts_start(struct daemon_ctx *ctx)
{
	struct alerts *a = ctx->alerts = xmalloc(sizeof *a);
	pthread_mutex_init(&a->lock, NULL);
	cond_init(&a->wake);
	for (size_t i = 0; i < sizeof post_results / sizeof post_results[0]; i++) /* there before the first count: a rule watches for it */
		(void)metrics_get(ctx->metrics, "weir_alert_posts_total", post_results[i], NULL, NULL);
	if (!ctx->config)
		return;
	a->webhook_url = webhook_destination(ctx->config);
	if (*ctx->config->alerts.webhook_url || ctx->config->alerts.destination_count > 0)
		a->running = pthread_create(&a->thread, NULL, sender, ctx) == 0;
}

void alerts_stop(struct daemon_ctx *ctx)
{
	struct alerts *a = ctx->alerts;
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	atomic_store(&a->stop_at_ms, clock_mono_ms() + FLUSH_MS);
	atomic_store(&a->stop, true);
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->lock);
	if (a->running)
		pthread_join(a->thread, NULL);
	bus_close(&a->bus);
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->lock);
	xfree(&ctx->alerts);
}

/* ---- saying one ------------------------------------------------------------------------------------------------------------------------ */

static void fill(struct alert *ret, const char *key, enum alert_state state, const char *runbook, const char *text)
{
	*ret = (struct alert){ .state = state, .severity = severity_of(runbook), .at_ms = clock_wall_ms() };
	snprintf(ret->key, sizeof ret->key, "%s", key);
	snprintf(ret->runbook, sizeof ret->runbook, "%s", runbook);
	snprintf(ret->text, sizeof ret->text, "%s", text);
}

void alert_raise(struct daemon_ctx *ctx, const char *key, enum alert_state state, const char *runbook, const char *format, ...)
{
	struct alerts *a = ctx->alerts;
	if (!a)
		return;
	char text[ALERT_TEXT];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);

	pthread_mutex_lock(&a->lock);
	bool say = due(a, key, state, ctx->config ? ctx->config->alerts.cooldown_ms : 0);
	bool full = a->queued == QUEUE_MAX;
	if (say && a->running && !full) {
		if (a->queued == 0)
			a->first_ms = clock_mono_ms();
		fill(&a->queue[a->queued++], key, state, runbook, text);
		pthread_cond_signal(&a->wake);
	}
	pthread_mutex_unlock(&a->lock);
	if (say && a->running && full)
		metric_inc(metrics_get(ctx->metrics, "weir_alert_posts_total", "dropped", NULL, NULL));
	if (!say)
		return;
	metric_inc(metrics_get(ctx->metrics, "weir_alerts_total", state == ALERT_FIRING ? "firing" : "resolved", runbook, NULL));
	char page[320];
	alert_link(ctx->config, runbook, page);
	log_at(&ctx->log, state == ALERT_FIRING ? LOG_ERROR : LOG_INFO, state == ALERT_FIRING ? "alert_firing" : "alert_resolved", text,
	       LOG_S("alert", key), LOG_S("runbook", page));
}

int alert_test(struct daemon_ctx *ctx, const char *name, const char *who, alert_tested *tell, void *arg, struct error *err)
{
	const struct config *c = ctx->config;
	struct alert_destination_config webhook_url = webhook_destination(c);
	char text[ALERT_TEXT];
	struct alert alert;
	size_t n = 0;
	snprintf(text, sizeof text, "a test, asked for by %.64s: nothing is wrong", who);
	fill(&alert, "test", ALERT_FIRING, "README", text);
	alert.severity = ALERT_PAGE;
	for (size_t i = 0; i <= c->alerts.destination_count; i++) {
		const struct alert_destination_config *d = i == 0 ? &webhook_url : &c->alerts.destinations[i - 1];
		struct error failed = { 0 };
		if ((i == 0 && !*d->url) || (name && strcmp(d->name, name) != 0))
			continue;
		n++;
		int code = alert_post(c, ctx->name, d, &alert, 1, NULL, NULL, &failed);
		tell(d->name, d->kind, code ? &failed : NULL, arg);
	}
	if (n > 0)
		return 0;
	if (name)
		return error_set(err, WEIR_NOT_FOUND, "there is no destination %s in alerts.destinations", name);
	return error_set(err, WEIR_NOT_FOUND, "there is no destination: set alerts.destinations");
}

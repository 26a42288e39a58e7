/* alert.c - alerts: logged at once, counted, posted to a webhook from a bounded queue on its own thread; cool-down per key. */
#include "daemon/internal.h"

#include "base/clock.h"
#include "wire/json.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 1024
#define QUEUE_MAX 64
#define POST_MS 5000
#define FLUSH_MS 3000 /* what waits at the end may still be sent for so long; the log has it already */

struct alert_key {
	char key[160];
	enum alert_state state;
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
	char *queue[QUEUE_MAX]; /* JSON bodies, owned */
	size_t queued;
};

/* Has this alert to be said now? Remembers that it was. A full table forgets the oldest key. */
static bool due(struct alerts *a, const char *key, enum alert_state state, int64_t cooldown_ms)
{
	int64_t now = clock_mono_ms();
	struct alert_key *slot = NULL, *oldest = &a->keys[0];
	for (size_t i = 0; i < a->key_count; i++) {
		if (strcmp(a->keys[i].key, key) == 0)
			slot = &a->keys[i];
		if (a->keys[i].sent_ms < oldest->sent_ms)
			oldest = &a->keys[i];
	}
	if (slot && slot->state == state && (state == ALERT_RESOLVED || now - slot->sent_ms < cooldown_ms))
		return false;
	if (!slot) {
		if (state == ALERT_RESOLVED)
			return false; /* never fired: nothing to take back */
		slot = a->key_count < KEYS_MAX ? &a->keys[a->key_count++] : oldest;
		snprintf(slot->key, sizeof slot->key, "%s", key);
	}
	slot->state = state;
	slot->sent_ms = now;
	return true;
}

static size_t drop_answer(char *data, size_t size, size_t count, void *arg)
{
	(void)data;
	(void)arg;
	return size * count;
}

static bool past_end(const struct alerts *a)
{
	return atomic_load(&a->stop) && clock_mono_ms() >= atomic_load(&a->stop_at_ms);
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	return past_end(arg);
}

static void post(struct daemon_ctx *ctx, const char *body)
{
	const char *url = ctx->config->alerts.webhook_url;
	char words[CURL_ERROR_SIZE] = "", shown[256];
	CURL *curl = curl_easy_init();
	if (!curl)
		return;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)POST_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_answer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, ctx->alerts);
	CURLcode code = curl_easy_perform(curl);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	metric_inc(metrics_get(ctx->metrics, "weir_alert_posts_total", code == CURLE_OK ? "sent" : "failed", NULL, NULL));
	if (code != CURLE_OK) /* not tried again: the alert stands in the log, and a queue behind a dead webhook would only grow */
		log_warn(&ctx->log, "alert_not_posted", "the webhook did not take an alert; it stands in the log only", LOG_S("url", log_url(url, shown)),
			 LOG_S("error", *words ? words : curl_easy_strerror(code)));
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
		char *body = a->queue[0];
		memmove(a->queue, a->queue + 1, --a->queued * sizeof a->queue[0]);
		pthread_mutex_unlock(&a->lock);
		post(ctx, body);
		free(body);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

void alerts_start(struct daemon_ctx *ctx)
{
	struct alerts *a = ctx->alerts = xmalloc(sizeof *a);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->wake, NULL);
	if (ctx->config && *ctx->config->alerts.webhook_url)
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
	for (size_t i = 0; i < a->queued; i++)
		free(a->queue[i]);
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->lock);
	xfree(&ctx->alerts);
}

static char *webhook_body(const struct daemon_ctx *ctx, enum alert_state state, const char *runbook, const char *text)
{
	struct buf plain = BUF_INIT(2048), body = BUF_INIT(16384); /* each byte may become six */
	buf_printf(&plain, "[%s] weir %s: %s (docs/runbook/%s.md)", state == ALERT_FIRING ? "FIRING" : "RESOLVED", ctx->name, text, runbook);
	buf_add_str(&body, "{\"text\":");
	json_add_string(&body, buf_str(&plain), plain.size);
	buf_add_byte(&body, '}');
	buf_free(&plain);
	return (char *)buf_detach(&body);
}

void alert_raise(struct daemon_ctx *ctx, const char *key, enum alert_state state, const char *runbook, const char *format, ...)
{
	struct alerts *a = ctx->alerts;
	if (!a)
		return;
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);

	pthread_mutex_lock(&a->lock);
	bool say = due(a, key, state, ctx->config ? ctx->config->alerts.cooldown_ms : 0);
	bool full = a->queued == QUEUE_MAX;
	if (say && a->running && !full) {
		a->queue[a->queued++] = webhook_body(ctx, state, runbook, text);
		pthread_cond_signal(&a->wake);
	}
	pthread_mutex_unlock(&a->lock);
	if (say && a->running && full)
		metric_inc(metrics_get(ctx->metrics, "weir_alert_posts_total", "dropped", NULL, NULL));
	if (!say)
		return;
	metric_inc(metrics_get(ctx->metrics, "weir_alerts_total", state == ALERT_FIRING ? "firing" : "resolved", runbook, NULL));
	char page[128];
	snprintf(page, sizeof page, "docs/runbook/%s.md", runbook);
	log_at(&ctx->log, state == ALERT_FIRING ? LOG_ERROR : LOG_INFO, state == ALERT_FIRING ? "alert_firing" : "alert_resolved", text,
	       LOG_S("alert", key), LOG_S("runbook", page));
}

/* alert.c - alerts: logged at once, counted, posted to a webhook from a bounded queue on its own thread; cool-down per key. */
#include "daemon/internal.h"

#include "base/clock.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 1024
#define QUEUE_MAX 64

struct alert_key {
	char key[160];
	enum alert_state state;
	int64_t sent_ms;
};

struct alerts {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, stop;
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

static void post(const char *url, const char *body)
{
	CURL *curl = curl_easy_init();
	if (!curl)
		return;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_perform(curl); /* the log has the alert already; a webhook that fails is not retried for ever */
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}

static void *sender(void *arg)
{
	struct daemon_ctx *ctx = arg;
	struct alerts *a = ctx->alerts;
	pthread_mutex_lock(&a->lock);
	while (!a->stop || a->queued > 0) {
		if (a->queued == 0) {
			pthread_cond_wait(&a->wake, &a->lock);
			continue;
		}
		char *body = a->queue[0];
		memmove(a->queue, a->queue + 1, --a->queued * sizeof a->queue[0]);
		pthread_mutex_unlock(&a->lock);
		post(ctx->config->alerts.webhook_url, body);
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
	a->stop = true;
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
	struct buf body = BUF_INIT(8192);
	buf_add_str(&body, "{\"text\":\"");
	struct buf plain = BUF_INIT(4096);
	buf_printf(&plain, "[%s] weir %s: %s (docs/runbook/%s.md)", state == ALERT_FIRING ? "FIRING" : "RESOLVED", ctx->name, text, runbook);
	for (const char *p = buf_str(&plain); *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '"' || c == '\\')
			buf_printf(&body, "\\%c", c);
		else if (c < 0x20)
			buf_printf(&body, "\\u%04x", c);
		else
			buf_add_byte(&body, c);
	}
	buf_add_str(&body, "\"}");
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
	if (say && a->running && a->queued < QUEUE_MAX) {
		a->queue[a->queued++] = webhook_body(ctx, state, runbook, text);
		pthread_cond_signal(&a->wake);
	}
	pthread_mutex_unlock(&a->lock);
	if (!say)
		return;
	metric_inc(metrics_get(ctx->metrics, "weir_alerts_total", state == ALERT_FIRING ? "firing" : "resolved", runbook, NULL));
	char page[128];
	snprintf(page, sizeof page, "docs/runbook/%s.md", runbook);
	log_at(&ctx->log, state == ALERT_FIRING ? LOG_ERROR : LOG_INFO, state == ALERT_FIRING ? "alert_firing" : "alert_resolved", text,
	       LOG_S("alert", key), LOG_S("runbook", page));
}

/* otel.c - see otel.h. */
#include "daemon/otel.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/version.h"
#include "wire/json.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POST_MS 5000
#define TRIES 5
#define SPAN_BYTES 65536

const struct metric_def otel_metric_defs[] = {
	{ .name = "weir_otel_spans_total",
	  .kind = METRIC_COUNTER,
	  .help = "Spans for otel.endpoint: exported, dropped because too many waited, or refused (the collector did not take them).",
	  .labels = { "result" } },
};
const size_t otel_metric_count = sizeof otel_metric_defs / sizeof otel_metric_defs[0];

struct waiting_span {
	char *json; /* owned */
	size_t size;
};

struct otel {
	struct span_sink sink;
	char *url;
	const char *service_name, *instance;
	struct log log;
	struct metric *exported, *dropped, *refused;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the queue */
	pthread_cond_t wake;
	struct waiting_span queue[OTEL_QUEUE_SPANS]; /* a ring */
	size_t first, count, bytes;
	atomic_bool stop;
	_Atomic int64_t stop_at_ms;
	bool failing; /* it was said that the collector does not take spans */
};

/* -- a span as JSON ------------------------------------------------------------------------------------------------------------ */

static void put_text(struct buf *out, const char *text)
{
	json_add_string(out, text, strlen(text));
}

static void put_id(struct buf *out, const char *name, const uint8_t *id, size_t size)
{
	buf_printf(out, ",\"%s\":\"", name);
	for (size_t i = 0; i < size; i++)
		buf_printf(out, "%02x", id[i]);
	buf_add_byte(out, '"');
}

static void put_attribute(struct buf *out, const struct span_attribute *a, bool first)
{
	buf_add_str(out, first ? "{\"key\":" : ",{\"key\":");
	put_text(out, a->name);
	buf_add_str(out, ",\"value\":{");
	if (a->text) {
		buf_add_str(out, "\"stringValue\":");
		put_text(out, a->text);
	} else {
		buf_printf(out, "\"intValue\":\"%" PRId64 "\"", a->number); /* 64-bit numbers are text in protobuf's JSON */
	}
	buf_add_str(out, "}}");
}

static bool is_zero(const uint8_t *id, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (id[i])
			return false;
	return true;
}

void otel_span_json(const struct span *s, struct buf *out)
{
	buf_add_str(out, "{\"name\":");
	put_text(out, s->name);
	put_id(out, "traceId", s->context.trace_id, 16); /* OTLP's JSON has ids in hexadecimal, not base64 */
	put_id(out, "spanId", s->context.span_id, 8);
	if (!is_zero(s->parent_id, 8))
		put_id(out, "parentSpanId", s->parent_id, 8);
	buf_printf(out, ",\"flags\":%u,\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64 "\",\"attributes\":[",
		   s->context.flags, (int)s->kind, s->begin_ns, s->end_ns);
	for (size_t i = 0; i < s->attribute_count; i++)
		put_attribute(out, &s->attributes[i], i == 0);
	buf_add_str(out, "]");
	if (s->link_count > 0)
		buf_add_str(out, ",\"links\":[");
	for (size_t i = 0; i < s->link_count && i < SPAN_LINKS_MAX; i++) {
		buf_printf(out, "%s{\"flags\":%u", i ? "," : "", s->links[i].flags);
		put_id(out, "traceId", s->links[i].trace_id, 16);
		put_id(out, "spanId", s->links[i].span_id, 8);
		buf_add_byte(out, '}');
	}
	if (s->link_count > 0)
		buf_add_byte(out, ']');
	if (s->error) {
		buf_add_str(out, ",\"status\":{\"code\":2,\"message\":");
		put_text(out, s->error);
		buf_add_byte(out, '}');
	}
	buf_add_byte(out, '}');
}

/* -- the queue ------------------------------------------------------------------------------------------------------------------- */

static void tell(void *arg, const struct span *s)
{
	struct otel *o = arg;
	struct buf json = BUF_INIT(SPAN_BYTES);
	otel_span_json(s, &json);
	size_t size = json.size;
	pthread_mutex_lock(&o->lock);
	bool room = !json.overflow && o->count < OTEL_QUEUE_SPANS && o->bytes + size <= OTEL_QUEUE_BYTES;
	if (room) {
		o->queue[(o->first + o->count++) % OTEL_QUEUE_SPANS] = (struct waiting_span){ (char *)buf_detach(&json), size };
		o->bytes += size;
	}
	if (o->count == OTEL_BATCH_SPANS)
		pthread_cond_signal(&o->wake);
	pthread_mutex_unlock(&o->lock);
	if (!room)
		metric_inc(o->dropped);
	buf_free(&json);
}

/* The oldest spans as one request; returns how many. */
static size_t take(struct otel *o, struct buf *body)
{
	size_t n = 0;
	buf_reset(body);
	buf_add_str(body, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
	put_attribute(body, &(struct span_attribute){ "service.name", o->service_name, 0 }, true);
	put_attribute(body, &(struct span_attribute){ "service.version", weir_version, 0 }, false);
	put_attribute(body, &(struct span_attribute){ "service.instance.id", o->instance, 0 }, false);
	buf_add_str(body, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"weir\",\"version\":\"");
	buf_add_str(body, weir_version);
	buf_add_str(body, "\"},\"spans\":[");
	pthread_mutex_lock(&o->lock);
	for (; n < OTEL_BATCH_SPANS && o->count > 0; n++) {
		struct waiting_span *w = &o->queue[o->first];
		if (n > 0)
			buf_add_byte(body, ',');
		buf_add(body, w->json, w->size);
		o->bytes -= w->size;
		xfree(&w->json);
		o->first = (o->first + 1) % OTEL_QUEUE_SPANS;
		o->count--;
	}
	pthread_mutex_unlock(&o->lock);
	buf_add_str(body, "]}]}]}");
	return n;
}

/* -- sending ----------------------------------------------------------------------------------------------------------------------- */

static bool past_end(const struct otel *o)
{
	return atomic_load(&o->stop) && clock_mono_ms() >= atomic_load(&o->stop_at_ms);
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	return past_end(arg);
}

static size_t drop_answer(char *data, size_t size, size_t count, void *arg)
{
	(void)data;
	(void)arg;
	return size * count;
}

/* The status; 0: no answer. */
static long post(struct otel *o, CURL *curl, struct curl_slist *headers, const struct buf *body, char *words)
{
	long status = 0;
	*words = 0;
	curl_easy_reset(curl); /* keeps the connection */
	curl_easy_setopt(curl, CURLOPT_URL, o->url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_str(body));
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->size);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)POST_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_answer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, o);
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool may_pass(long status) /* what OTLP/HTTP calls retryable */
{
	return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

static void rest(struct otel *o, int64_t ms)
{
	for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until && !atomic_load(&o->stop);)
		clock_sleep_ms(20);
}

/* Said at the first failure and at the end of a row of them, not once a batch. */
static void say(struct otel *o, bool good, long status, const char *words)
{
	char shown[256], number[32];
	snprintf(number, sizeof number, "HTTP status %ld", status);
	if (!good && !o->failing)
		log_warn(&o->log, "spans_not_exported", "the collector does not take spans: they are dropped, nothing else waits for it",
			 LOG_S("url", log_url(o->url, shown)), LOG_S("error", status ? number : *words ? words : "no answer"));
	if (good && o->failing)
		log_info(&o->log, "spans_exported_again", "the collector takes spans again", LOG_S("url", log_url(o->url, shown)));
	o->failing = !good;
}

static void send_batch(struct otel *o, CURL *curl, struct curl_slist *headers, const struct buf *body, size_t n)
{
	char words[CURL_ERROR_SIZE];
	struct backoff backoff = { 100, 5000, 0 };
	long status = post(o, curl, headers, body, words);
	for (int i = 1; i < TRIES && may_pass(status) && !atomic_load(&o->stop); i++) {
		rest(o, backoff_next_ms(&backoff));
		status = post(o, curl, headers, body, words);
	}
	bool good = status >= 200 && status < 300;
	say(o, good, status, words);
	metric_add(good ? o->exported : o->refused, n);
}

/* Until there is a batch, or what there is has waited long enough. */
static void wait_for_some(struct otel *o)
{
	const struct timespec until = cond_deadline(OTEL_LINGER_MS);
	pthread_mutex_lock(&o->lock);
	if (o->count < OTEL_BATCH_SPANS && !atomic_load(&o->stop))
		(void)pthread_cond_timedwait(&o->wake, &o->lock, &until);
	pthread_mutex_unlock(&o->lock);
}

static bool waits(struct otel *o)
{
	pthread_mutex_lock(&o->lock);
	bool some = o->count > 0;
	pthread_mutex_unlock(&o->lock);
	return some;
}

static void *sender(void *arg)
{
	struct otel *o = arg;
	struct buf body = BUF_INIT(OTEL_QUEUE_BYTES + SPAN_BYTES);
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURL *curl = curl_easy_init();
	while (curl && !(atomic_load(&o->stop) && (!waits(o) || past_end(o)))) {
		wait_for_some(o);
		size_t n = waits(o) ? take(o, &body) : 0;
		if (n > 0)
			send_batch(o, curl, headers, &body, n);
	}
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	buf_free(&body);
	return NULL;
}

/* -- life ---------------------------------------------------------------------------------------------------------------------------- */

struct otel *otel_start(const struct otel_options *options)
{
	if (!options->endpoint || !*options->endpoint)
		return NULL;
	struct otel *o = xmalloc(sizeof *o);
	size_t length = strlen(options->endpoint);
	while (length > 0 && options->endpoint[length - 1] == '/')
		length--;
	o->url = xasprintf("%.*s/v1/traces", (int)length, options->endpoint);
	o->sink = (struct span_sink){ tell, o };
	o->service_name = options->service_name;
	o->instance = options->instance;
	if (options->log)
		o->log = *options->log;
	o->exported = metrics_get(options->metrics, "weir_otel_spans_total", "exported", NULL, NULL);
	o->dropped = metrics_get(options->metrics, "weir_otel_spans_total", "dropped", NULL, NULL);
	o->refused = metrics_get(options->metrics, "weir_otel_spans_total", "refused", NULL, NULL);
	pthread_mutex_init(&o->lock, NULL);
	cond_init(&o->wake);
	if (pthread_create(&o->thread, NULL, sender, o) != 0) {
		log_warn(&o->log, "spans_not_exported", "the thread that sends them could not be started");
		pthread_mutex_destroy(&o->lock);
		pthread_cond_destroy(&o->wake);
		free(o->url);
		xfree(&o);
	}
	return o;
}

void otel_stop(struct otel **otel)
{
	struct otel *o = *otel;
	if (!o)
		return;
	pthread_mutex_lock(&o->lock);
	atomic_store(&o->stop_at_ms, clock_mono_ms() + OTEL_FLUSH_MS);
	atomic_store(&o->stop, true);
	pthread_cond_signal(&o->wake);
	pthread_mutex_unlock(&o->lock);
	pthread_join(o->thread, NULL);
	for (size_t i = 0; i < o->count; i++)
		free(o->queue[(o->first + i) % OTEL_QUEUE_SPANS].json);
	metric_add(o->dropped, o->count);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->wake);
	free(o->url);
	xfree(otel);
}

const struct span_sink *otel_sink(const struct otel *o)
{
	return o ? &o->sink : NULL;
}

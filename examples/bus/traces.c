/* traces.c - a program's own spans, and those of its messages that the bus tells, at an OpenTelemetry collector.
 *
 *	traces redis://127.0.0.1:6379/0 http://127.0.0.1:4318		(linked with -lcurl, too)
 *
 * The exporter is this program's: a span_sink that sends OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp), by a thread
 * from a bounded buffer, so that nobody waits for the collector. An order is placed in a trace; the bank refuses it until it is a dead letter;
 * it is replayed, and paid: all below the one `place order`. Two more orders in one call are a batch, which has links.
 */
#include "base/clock.h"
#include "bus/bus.h"
#include "bus/dead_letter.h"
#include "bus/subscription.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* -- the exporter -------------------------------------------------------------------------------------------------------------------- */

enum { SPAN_BYTES = 64 << 10, WAITING_BYTES = 1 << 20, TRIES = 5 };

struct exporter {
	char url[256];
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	struct buf waiting; /* spans, with commas between them */
	size_t dropped;
	bool stop;
};

static void put_text(struct buf *out, const char *name, const char *text)
{
	buf_printf(out, "\"%s\":\"", name);
	for (; *text; text++)
		buf_printf(out, (unsigned char)*text < ' ' || *text == '"' || *text == '\\' ? "\\u%04x" : "%c", (unsigned char)*text);
	buf_add_str(out, "\"");
}

static void put_ids(struct buf *out, const struct span_context *c)
{
	buf_add_str(out, "{\"traceId\":\"");
	for (size_t i = 0; i < sizeof c->trace_id; i++)
		buf_printf(out, "%02x", c->trace_id[i]);
	buf_add_str(out, "\",\"spanId\":\"");
	for (size_t i = 0; i < sizeof c->span_id; i++)
		buf_printf(out, "%02x", c->span_id[i]);
	buf_printf(out, "\",\"flags\":%u", c->flags);
}

static void put_span(struct buf *out, const struct span *s)
{
	put_ids(out, &s->context);
	buf_add_str(out, ",\"parentSpanId\":\""); /* empty: none */
	for (size_t i = 0; i < sizeof s->parent_id && memcmp(s->parent_id, (uint8_t[8]){ 0 }, 8) != 0; i++)
		buf_printf(out, "%02x", s->parent_id[i]);
	buf_printf(out, "\",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\",", (int)s->kind, (long long)s->begin_ns,
		   (long long)s->end_ns);
	put_text(out, "name", s->name);
	buf_add_str(out, ",\"attributes\":[");
	for (size_t i = 0; i < s->attribute_count; i++) {
		const struct span_attribute *a = &s->attributes[i];
		buf_add_str(out, i ? ",{" : "{");
		put_text(out, "key", a->name);
		buf_add_str(out, ",\"value\":{");
		if (a->text)
			put_text(out, "stringValue", a->text);
		else
			buf_printf(out, "\"intValue\":\"%lld\"", (long long)a->number);
		buf_add_str(out, "}}");
	}
	buf_add_str(out, "],\"links\":[");
	for (size_t i = 0; i < s->link_count; i++) {
		buf_add_str(out, i ? "," : "");
		put_ids(out, &s->links[i]);
		buf_add_str(out, "}");
	}
	buf_add_str(out, s->error ? "],\"status\":{\"code\":2," : "],\"status\":{");
	if (s->error)
		put_text(out, "message", s->error);
	buf_add_str(out, "}}");
}

/* The sink: called by any thread, keeps nothing of the span, never waits for the collector. What finds no room is dropped. */
static void tell(void *arg, const struct span *s)
{
	struct exporter *e = arg;
	struct buf json = BUF_INIT(SPAN_BYTES);
	put_span(&json, s);
	pthread_mutex_lock(&e->lock);
	if (!json.overflow && e->waiting.size + json.size + 1 <= WAITING_BYTES) {
		buf_add_str(&e->waiting, e->waiting.size ? "," : "");
		buf_add(&e->waiting, json.data, json.size);
		pthread_cond_signal(&e->wake);
	} else {
		e->dropped++;
	}
	pthread_mutex_unlock(&e->lock);
	buf_free(&json);
}

/* Again while OTLP says that it may pass: no answer, 429, 502, 503, 504. */
static bool post(CURL *curl, const char *url, struct buf *body)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	long status = 0;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_str(body));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	for (int i = 0; i < TRIES && (status == 0 || status == 429 || (status >= 502 && status <= 504)); i++) {
		clock_sleep_ms(200 * i);
		status = 0;
		if (curl_easy_perform(curl) == CURLE_OK)
			curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	}
	curl_slist_free_all(headers);
	return status / 100 == 2;
}

static void *export_spans(void *arg)
{
	struct exporter *e = arg;
	CURL *curl = curl_easy_init();
	pthread_mutex_lock(&e->lock);
	while (curl && (!e->stop || e->waiting.size > 0)) {
		if (e->waiting.size == 0) {
			pthread_cond_wait(&e->wake, &e->lock);
			continue;
		}
		struct buf spans = e->waiting, body = BUF_INIT(WAITING_BYTES + 1024);
		e->waiting = (struct buf)BUF_INIT(WAITING_BYTES);
		pthread_mutex_unlock(&e->lock);
		buf_printf(&body, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"shop\"}}]},");
		buf_printf(&body, "\"scopeSpans\":[{\"scope\":{\"name\":\"weir-bus\"},\"spans\":[%s]}]}]}", buf_str(&spans));
		if (!post(curl, e->url, &body))
			fprintf(stderr, "traces: %s does not take spans: these are lost\n", e->url);
		buf_free(&spans);
		buf_free(&body);
		pthread_mutex_lock(&e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	curl_easy_cleanup(curl);
	return NULL;
}

static void stop(struct exporter *e)
{
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL); /* what waits is sent first */
	buf_free(&e->waiting);
}

/* -- the shop ------------------------------------------------------------------------------------------------------------------------ */

enum { ORDER_PLACED = 1 };
static const struct bus_type types[] = { { .id = ORDER_PLACED, .name = "order_placed", .version = 1, .klass = BUS_NORMAL, .key_space = "order" } };
static const uint16_t placed[] = { ORDER_PLACED };

struct shop {
	const struct span_sink *spans;
	bool bank_is_open;
	unsigned paid;
};

static int pay(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct shop *shop = arg;
	struct span s = span_begin(shop->spans, &d->trace, SPAN_CLIENT, "charge card"); /* below the bus' `process orders` */
	if (!shop->bank_is_open)
		s.error = "the bank says \"closed\"";
	span_end(shop->spans, &s);
	if (!shop->bank_is_open)
		return error_set(err, WEIR_CONFLICT, "the bank is closed");
	shop->paid++;
	return 0;
}

static int place(struct bus *bus, const struct shop *shop, const char *const *orders, size_t n, struct error *err)
{
	struct bus_publisher *p;
	struct frame f[2];
	const struct span_context root = span_root(1000000); /* of a million; a part of them where there are many */
	struct span s = span_begin(shop->spans, &root, SPAN_INTERNAL, "place order");
	for (size_t i = 0; i < n; i++) {
		const struct bytes order = { (const uint8_t *)orders[i], strlen(orders[i]) };
		f[i] = (struct frame){ .type = ORDER_PLACED, .schema_version = 1, .key = order, .body = order };
		frame_set_trace(&f[i], &s.context); /* in the frame: it lives as long as the message, also as a dead letter */
	}
	int r = bus_publisher_open(bus, "shop", "orders", "till", &p, err);
	if (r == 0)
		r = bus_publish(p, f, n, err);
	bus_publisher_close(&p);
	s.error = r != 0 ? err->text : NULL;
	span_end(shop->spans, &s);
	return r;
}

static int run(struct bus *bus, struct bus_subscription *s, struct shop *shop, struct error *err)
{
	uint64_t parked = 0, marked;
	int r = place(bus, shop, (const char *const[]){ "1" }, 1, err);
	while (r == 0 && parked == 0) {
		r = bus_subscription_turn(s, 100, err);
		if (r == 0)
			r = dead_letter_count(bus, "shop", "bank", &parked, err);
	}
	shop->bank_is_open = true;
	if (r == 0)
		r = dead_letter_replay(bus, "shop", "bank", NULL, NULL, 0, "traces", &marked, err);
	if (r == 0)
		r = place(bus, shop, (const char *const[]){ "2", "3" }, 2, err);
	while (r == 0 && shop->paid < 3)
		r = bus_subscription_turn(s, 100, err);
	return r;
}

int main(int argc, char **argv)
{
	static struct exporter e = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .waiting = BUF_INIT(WAITING_BYTES) };
	static const struct retry_rule twice[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 2, .base_ms = 1, .max_ms = 1 } } };
	const struct span_sink sink = { tell, &e };
	struct shop shop = { .spans = &sink };
	const struct bus_handler handlers[] = { { "pay", placed, 1, pay, &shop, NULL } };
	const struct bus_subscription_options what = { .chain = "shop", .topic = "orders", .subscription = "bank", .order = BUS_ORDERED, .handlers = handlers,
						       .handler_count = 1, .retries = twice, .retry_count = 1 };
	const struct bus_options to = { .url = argc > 1 ? argv[1] : "redis://127.0.0.1:6379/0", .worker = "traces", .spans = &sink };
	struct error err = { 0 };
	struct bus *bus = NULL;
	struct bus_subscription *s = NULL;
	log_init(LOG_ERROR, LOG_FORMAT_LOGFMT);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	snprintf(e.url, sizeof e.url, "%s/v1/traces", argc > 2 ? argv[2] : "http://127.0.0.1:4318");
	if (pthread_create(&e.thread, NULL, export_spans, &e) != 0)
		return 1;
	int r = bus_types_add(types, 1, &err);
	if (r == 0)
		r = bus_open(&to, &bus, &err);
	if (r == 0)
		r = bus_subscription_open(bus, &what, &s, &err);
	if (r == 0)
		r = run(bus, s, &shop, &err);
	bus_subscription_close(&s);
	bus_close(&bus);
	stop(&e);
	curl_global_cleanup();
	if (r != 0)
		fprintf(stderr, "traces: %s\n%s\n", err.text, error_suggestion(r));
	else
		printf("%u orders paid, %zu spans dropped\n", shop.paid, e.dropped);
	return r != 0;
}

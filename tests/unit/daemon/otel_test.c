/* otel_test.c - a span as OTLP's JSON, a collector that is away, and a queue that is full. The collector that answers is in
 * tests/system/test_tracing.py. */
#include "base/clock.h"
#include "daemon/otel.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <yyjson.h>

static struct span some_span(void)
{
	struct span s = { .context = { { 0x0a, 0xf7 }, { 0xb7, [7] = 0x31 }, 1 }, .kind = SPAN_PRODUCER, .name = "publish \"raw\"", .begin_ns = 5, .end_ns = 17 };
	s.attributes[0] = (struct span_attribute){ "a.text", "x\n", 0 };
	s.attributes[1] = (struct span_attribute){ "a.number", NULL, -9007199254740993 };
	s.attribute_count = 2;
	return s;
}

static yyjson_doc *read_span(const struct span *s)
{
	struct buf out = BUF_INIT(65536);
	otel_span_json(s, &out);
	yyjson_doc *doc = yyjson_read(buf_str(&out), out.size, 0);
	assert_non_null(doc);
	buf_free(&out);
	return doc;
}

static const char *text(yyjson_doc *doc, const char *pointer)
{
	return yyjson_get_str(yyjson_doc_ptr_get(doc, pointer));
}

static void a_span_as_the_specification_wants_it(void **state)
{
	(void)state;
	struct span s = some_span();
	struct span_context link = { { 1 }, { 2 }, 1 };
	s.parent_id[0] = 0xcc;
	s.links = &link;
	s.link_count = 1;
	s.error = "it \"broke\"";
	yyjson_doc *doc = read_span(&s);
	assert_string_equal(text(doc, "/name"), "publish \"raw\"");
	assert_string_equal(text(doc, "/traceId"), "0af70000000000000000000000000000");
	assert_string_equal(text(doc, "/spanId"), "b700000000000031");
	assert_string_equal(text(doc, "/parentSpanId"), "cc00000000000000");
	assert_string_equal(text(doc, "/startTimeUnixNano"), "5");
	assert_string_equal(text(doc, "/endTimeUnixNano"), "17");
	assert_int_equal(yyjson_get_int(yyjson_doc_ptr_get(doc, "/kind")), 4);
	assert_string_equal(text(doc, "/attributes/0/value/stringValue"), "x\n");
	assert_string_equal(text(doc, "/attributes/1/value/intValue"), "-9007199254740993");
	assert_string_equal(text(doc, "/links/0/spanId"), "0200000000000000");
	assert_int_equal(yyjson_get_int(yyjson_doc_ptr_get(doc, "/status/code")), 2);
	assert_string_equal(text(doc, "/status/message"), "it \"broke\"");
	yyjson_doc_free(doc);
	s = some_span(); /* a root that worked has neither parent, links nor status */
	doc = read_span(&s);
	assert_null(yyjson_doc_ptr_get(doc, "/parentSpanId"));
	assert_null(yyjson_doc_ptr_get(doc, "/links"));
	assert_null(yyjson_doc_ptr_get(doc, "/status"));
	yyjson_doc_free(doc);
}

static uint64_t counted(struct metrics *m, const char *result)
{
	return metric_count(metrics_get(m, "weir_otel_spans_total", result, NULL, NULL));
}

static struct metrics *registry(void)
{
	struct metrics *m = metrics_new();
	metrics_register(m, otel_metric_defs, otel_metric_count);
	return m;
}

static void off_without_an_endpoint(void **state)
{
	(void)state;
	struct otel *o = otel_start(&(struct otel_options){ .endpoint = "" });
	assert_null(o);
	assert_null(otel_sink(o));
	otel_stop(&o);
}

/* Accepts nobody: connections hang in its backlog. Telling must not notice, and what does not fit is counted. */
static void a_collector_that_hangs_stops_nobody(void **state)
{
	(void)state;
	char url[64];
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
	struct metrics *m = registry();
	struct otel *o = otel_start(&(struct otel_options){ .endpoint = url, .service_name = "s", .instance = "i", .metrics = m });
	const struct span_sink *sink = otel_sink(o);
	struct span s = some_span();
	for (int i = 0; i < 2 * OTEL_QUEUE_SPANS; i++)
		sink->tell(sink->arg, &s);
	/* One batch may be under way. */
	assert_in_range(counted(m, "dropped"), OTEL_QUEUE_SPANS - OTEL_BATCH_SPANS, OTEL_QUEUE_SPANS);
	otel_stop(&o); /* within OTEL_FLUSH_MS and a little */
	assert_null(o);
	assert_int_equal(counted(m, "exported"), 0);
	assert_int_equal(counted(m, "dropped") + counted(m, "refused"), 2 * OTEL_QUEUE_SPANS);
	metrics_free(&m);
	close(fd);
}

static void a_span_that_is_too_large_is_dropped(void **state)
{
	(void)state;
	static char large[200000];
	memset(large, 'x', sizeof large - 1);
	struct metrics *m = registry();
	struct otel *o = otel_start(&(struct otel_options){ .endpoint = "http://127.0.0.1:1", .service_name = "s", .instance = "i", .metrics = m });
	struct span s = some_span();
	s.attributes[0].text = large;
	otel_sink(o)->tell(otel_sink(o)->arg, &s);
	assert_int_equal(counted(m, "dropped"), 1);
	otel_stop(&o);
	metrics_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_span_as_the_specification_wants_it),
		cmocka_unit_test(off_without_an_endpoint),
		cmocka_unit_test(a_collector_that_hangs_stops_nobody),
		cmocka_unit_test(a_span_that_is_too_large_is_dropped),
	};
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}

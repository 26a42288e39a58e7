/* publish_test.c - a block whose answers do not fit into one message is asked for again, and holds back nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/internal.h"
#include "services/fetcher/fetcher.h"
#include "support/bus_fixture.h"

#include <string.h>

static struct job *ready_job(struct follower *f, uint64_t height, size_t size_of_traces)
{
	struct job *j = xcalloc(1, sizeof *j);
	j->f = f;
	j->request = (struct job_request){ .height = height, .reason = WEIR__V1__FETCH_REASON__FETCH_REASON_BACKFILL };
	j->block.height = height;
	j->has_block = true;
	j->part_count = 2;
	j->parts[0] = (struct job_part){ .kind = WEIR__V1__PART_KIND__PART_KIND_BLOCK, .endpoint = 0, .body = BUF_INIT(1 << 20) };
	j->parts[1] = (struct job_part){ .kind = WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES, .endpoint = 1, .body = BUF_INIT(size_of_traces) };
	buf_add_str(&j->parts[0].body, "[]");
	uint8_t *traces = xcalloc(size_of_traces, 1);
	buf_add(&j->parts[1].body, traces, size_of_traces);
	xfree(&traces);
	f->ready[f->ready_count++] = j;
	return j;
}

static void what_is_too_large_is_asked_of_another_endpoint(void **state)
{
	(void)state;
	struct error err = { 0 };
	struct config config = { 0 };
	struct daemon_ctx ctx = { .config = &config, .metrics = metrics_new() };
	struct fetcher fetcher = { .ctx = &ctx };
	struct follower *f = xcalloc(1, sizeof *f);
	const struct endpoint_options endpoints[] = { { .name = "a", .url = "http://127.0.0.1:9", .roles = ENDPOINT_BACKFILL, .weight = 1 },
						      { .name = "b", .url = "http://127.0.0.1:9", .roles = ENDPOINT_BACKFILL, .weight = 1 } };
	metrics_register(ctx.metrics, fetcher_metrics, fetcher_metric_count);
	rpc_register_metrics(ctx.metrics);
	bus_register_metrics(ctx.metrics);
	f->fetcher = &fetcher;
	f->limit = 8;
	fetch_window_init(&f->window, 64);
	assert_int_equal(chain_init(&f->chain, "dev", "evm", "dev", 31337, &err), 0);
	f->endpoints = endpoints_new("dev", endpoints, 2, &f->log, ctx.metrics);
	f->bus = fixture_bus("fetcher");
	assert_int_equal(bus_publisher_open(f->bus, "dev", TOPIC_RAW, "fetcher", &f->raw, &err), 0);
	struct job *large = ready_job(f, 5, (size_t)65 << 20);
	ready_job(f, 6, 10);

	assert_int_equal(publish_ready(f, &err), 0);
	assert_int_equal(f->ready_count, 0);
	assert_int_equal(fetch_window_at(&f->window, 6)->state, HEIGHT_PUBLISHED);
	assert_int_equal(fetch_window_at(&f->window, 5)->state, HEIGHT_WANTED);
	assert_int_equal(f->job_count, 1);
	assert_ptr_equal(f->jobs[0], large);
	assert_true(large->failed && large->code == WEIR_LIMIT);
	assert_int_equal(large->request.exclude, 1 << 1); /* whose answer is the largest */

	job_free(&f->jobs[0]);
	bus_publisher_close(&f->raw);
	bus_close(&f->bus);
	endpoints_free(&f->endpoints);
	fetch_window_free(&f->window);
	metrics_free(&ctx.metrics);
	xfree(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_too_large_is_asked_of_another_endpoint) };
	return fixture_run(tests);
}

/* metrics_test.c - the registry: series, limits, threads, and the Prometheus text format (0.0.4) read back. */
#include "base/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const double two_buckets[] = { 1, 10, 0 };
static const struct metric_def defs[] = {
	{ .name = "t_requests_total", .kind = METRIC_COUNTER, .help = "Requests.", .labels = { "chain", "endpoint", "result" } },
	{ .name = "t_height", .kind = METRIC_GAUGE, .help = "Height.", .labels = { "chain" } },
	{ .name = "t_seconds", .kind = METRIC_HISTOGRAM, .help = "Seconds.", .labels = { "chain" } },
	{ .name = "t_sizes", .kind = METRIC_HISTOGRAM, .help = "Sizes.", .buckets = two_buckets },
};

static int new_registry(void **state)
{
	struct metrics *m = metrics_new();
	metrics_register(m, defs, sizeof defs / sizeof defs[0]);
	*state = m;
	return 0;
}

static int free_registry(void **state)
{
	struct metrics *m = *state;
	metrics_free(&m);
	assert_null(m);
	metrics_free(&m);
	return 0;
}

static char *print(struct metrics *m)
{
	struct buf out = BUF_INIT(8u << 20);
	metrics_print(m, &out);
	assert_false(out.overflow);
	return (char *)buf_detach(&out);
}

static void assert_prints(struct metrics *m, const char *const *lines)
{
	char *text = print(m);
	for (; *lines; lines++) {
		char *at = strstr(text, *lines);
		if (!at)
			print_error("no \"%s\" in:\n%s", *lines, text);
		assert_non_null(at);
	}
	xfree(&text);
}

static void the_same_labels_are_the_same_series(void **state)
{
	struct metrics *m = *state;
	struct metric *a = metrics_get(m, "t_requests_total", "dev", "e0", "ok");
	assert_ptr_equal(a, metrics_get(m, "t_requests_total", "dev", "e0", "ok"));
	assert_ptr_not_equal(a, metrics_get(m, "t_requests_total", "dev", "e0", "no"));
	assert_ptr_not_equal(a, metrics_get(m, "t_requests_total", "dev", "e0", NULL));
	assert_ptr_not_equal(metrics_get(m, "t_requests_total", "dev", NULL, NULL), metrics_get(m, "t_requests_total", NULL, NULL, NULL));
	assert_ptr_equal(metrics_get(m, "t_requests_total", "dev", NULL, "ignored"), metrics_get(m, "t_requests_total", "dev", NULL, NULL));
	char label[] = "dev"; /* the registry keeps its own copy */
	a = metrics_get(m, "t_height", label, NULL, NULL);
	label[0] = 'x';
	assert_ptr_equal(a, metrics_get(m, "t_height", "dev", NULL, NULL));
}

static void values_are_printed(void **state)
{
	struct metrics *m = *state;
	metric_add(metrics_get(m, "t_requests_total", "dev", "e0", "ok"), 41);
	metric_inc(metrics_get(m, "t_requests_total", "dev", "e0", "ok"));
	metric_set(metrics_get(m, "t_height", "dev", NULL, NULL), 12345678);
	metric_set(metrics_get(m, "t_height", "b", NULL, NULL), -0.5);
	assert_int_equal(metric_count(metrics_get(m, "t_requests_total", "dev", "e0", "ok")), 42);
	assert_true(metric_value(metrics_get(m, "t_height", "b", NULL, NULL)) == -0.5);
	const char *const lines[] = { "# HELP t_requests_total Requests.\n# TYPE t_requests_total counter\n",
				      "t_requests_total{chain=\"dev\",endpoint=\"e0\",result=\"ok\"} 42\n",
				      "# TYPE t_height gauge\n",
				      "t_height{chain=\"dev\"} 12345678\n",
				      "t_height{chain=\"b\"} -0.5\n",
				      "weir_metrics_series_dropped_total 0\n",
				      NULL };
	assert_prints(m, lines);
	char *text = print(m);
	assert_null(strstr(text, "t_sizes")); /* no series yet: nothing to say */
	xfree(&text);
}

static void histograms_are_cumulative(void **state)
{
	struct metrics *m = *state;
	struct metric *h = metrics_get(m, "t_sizes", NULL, NULL, NULL);
	const double values[] = { 0, 1, 1.5, 10, 11, 1e9 };
	for (size_t i = 0; i < 6; i++)
		metric_observe(h, values[i]);
	assert_int_equal(metric_count(h), 6);
	const char *const lines[] = { "# TYPE t_sizes histogram\nt_sizes_bucket{le=\"1\"} 2\nt_sizes_bucket{le=\"10\"} 4\nt_sizes_bucket{le=\"+Inf\"} 6\n"
				      "t_sizes_sum 1.00000002e+09\nt_sizes_count 6\n",
				      NULL };
	assert_prints(m, lines);
	metric_observe(metrics_get(m, "t_seconds", "dev", NULL, NULL), 0.0007);
	const char *const seconds[] = { "t_seconds_bucket{chain=\"dev\",le=\"0.0005\"} 0\nt_seconds_bucket{chain=\"dev\",le=\"0.001\"} 1\n",
					"t_seconds_bucket{chain=\"dev\",le=\"60\"} 1\n", "t_seconds_sum{chain=\"dev\"} 0.0007\n", NULL };
	assert_prints(m, seconds);
}

static void label_values_are_escaped(void **state)
{
	struct metrics *m = *state;
	metric_inc(metrics_get(m, "t_requests_total", "a\"b\\c\nd", NULL, NULL));
	const char *const lines[] = { "t_requests_total{chain=\"a\\\"b\\\\c\\nd\"} 1\n", NULL };
	assert_prints(m, lines);
}

static void series_are_bounded_and_the_rest_counted(void **state)
{
	struct metrics *m = *state;
	char label[32];
	for (int i = 0; i < METRICS_SERIES_MAX; i++) {
		snprintf(label, sizeof label, "c%d", i);
		metric_inc(metrics_get(m, "t_height", label, NULL, NULL));
	}
	struct metric *over = metrics_get(m, "t_height", "one too many", NULL, NULL);
	assert_non_null(over);
	assert_ptr_equal(over, metrics_get(m, "t_height", "and another", NULL, NULL));
	assert_ptr_equal(over, metrics_get(m, "not_registered", NULL, NULL, NULL));
	metric_inc(over);
	metric_set(over, 1);
	metric_observe(over, 1);
	assert_ptr_not_equal(over, metrics_get(m, "t_height", "c7", NULL, NULL)); /* what was there stays usable */
	const char *const lines[] = { "weir_metrics_series_dropped_total 3\n", NULL };
	assert_prints(m, lines);
	char *text = print(m);
	assert_null(strstr(text, "too many"));
	xfree(&text);
}

static void registering_twice_changes_nothing(void **state)
{
	struct metrics *m = *state;
	struct metric *a = metrics_get(m, "t_height", "dev", NULL, NULL);
	metrics_register(m, defs, sizeof defs / sizeof defs[0]);
	assert_ptr_equal(a, metrics_get(m, "t_height", "dev", NULL, NULL));
}

#define THREADS 4
#define UPDATES 20000

static void *update(void *arg)
{
	struct metrics *m = arg;
	struct metric *h = metrics_get(m, "t_sizes", NULL, NULL, NULL);
	for (int i = 0; i < UPDATES; i++) {
		metric_inc(metrics_get(m, "t_requests_total", i % 2 ? "a" : "b", NULL, NULL));
		metric_observe(h, 2);
		metric_set(metrics_get(m, "t_height", "dev", NULL, NULL), i);
	}
	return NULL;
}

static void no_update_is_lost_between_threads(void **state)
{
	struct metrics *m = *state;
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, update, m), 0);
	for (int i = 0; i < 50; i++) { /* reading meanwhile */
		char *text = print(m);
		xfree(&text);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(metric_count(metrics_get(m, "t_requests_total", "a", NULL, NULL)), THREADS * UPDATES / 2);
	assert_int_equal(metric_count(metrics_get(m, "t_requests_total", "b", NULL, NULL)), THREADS * UPDATES / 2);
	const char *const lines[] = { "t_sizes_bucket{le=\"10\"} 80000\n", "t_sizes_sum 160000\n", "t_sizes_count 80000\n", NULL };
	assert_prints(m, lines);
}

static void every_line_is_prometheus_text(void **state)
{
	struct metrics *m = *state;
	metric_inc(metrics_get(m, "t_requests_total", "dev", "e0", "ok"));
	metric_observe(metrics_get(m, "t_seconds", "dev", NULL, NULL), 3);
	metric_set(metrics_get(m, "t_height", NULL, NULL, NULL), 1e300);
	char *text = print(m), *rest;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0)
			continue;
		char name[200], *end;
		assert_int_equal(sscanf(line, "%199[a-z_]", name), 1);
		const char *at = line + strlen(name);
		if (*at == '{')
			at = strchr(at, '}') + 1;
		assert_int_equal(*at, ' ');
		strtod(at + 1, &end);
		assert_true(end > at + 1 && *end == 0);
	}
	xfree(&text);
}

static void the_manual_has_a_row_for_each(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1 << 16);
	metrics_print_markdown(defs, 2, &out);
	assert_string_equal(buf_str(&out), "| `t_requests_total` | counter | chain, endpoint, result | Requests. |\n| `t_height` | gauge | chain | Height. |\n");
	buf_free(&out);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, new_registry, free_registry)
	const struct CMUnitTest tests[] = {
		test(the_same_labels_are_the_same_series), test(values_are_printed),
		test(histograms_are_cumulative),	   test(label_values_are_escaped),
		test(series_are_bounded_and_the_rest_counted), test(registering_twice_changes_nothing),
		test(no_update_is_lost_between_threads),   test(every_line_is_prometheus_text),
		test(the_manual_has_a_row_for_each),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

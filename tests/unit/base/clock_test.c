/* clock_test.c - clocks that tests may replace, bounded back-off, randomness per thread. */
#include "base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void monotonic_never_goes_back(void **state)
{
	(void)state;
	int64_t before = clock_mono_ns();
	for (int i = 0; i < 100000; i++) {
		int64_t now = clock_mono_ns();
		assert_true(now >= before);
		before = now;
	}
	assert_true(clock_wall_ms() > 1600000000000); /* after 2020 */
	clock_sleep_ms(0);
	clock_sleep_ms(-5);
	before = clock_mono_ms();
	clock_sleep_ms(2);
	assert_true(clock_mono_ms() >= before);
}

static int64_t fixed(void)
{
	return 1999999;
}

static void tests_may_set_the_time(void **state)
{
	(void)state;
	int64_t (*mono)(void) = clock_mono_ns, (*wall)(void) = clock_wall_ns;
	clock_mono_ns = clock_wall_ns = fixed;
	assert_int_equal(clock_mono_ms(), 1);
	assert_int_equal(clock_wall_ms(), 1);
	clock_mono_ns = mono;
	clock_wall_ns = wall;
}

static void backoff_grows_to_its_maximum_with_jitter(void **state)
{
	(void)state;
	struct backoff b = { .base_ms = 100, .max_ms = 3000 };
	int64_t limits[] = { 100, 200, 400, 800, 1600, 3000, 3000 };
	int64_t longest[7] = { 0 };
	for (int round = 0; round < 2000; round++) {
		backoff_reset(&b);
		for (size_t i = 0; i < 7; i++) {
			int64_t wait = backoff_next_ms(&b);
			assert_in_range(wait, 1, limits[i]);
			longest[i] = wait > longest[i] ? wait : longest[i];
		}
	}
	for (size_t i = 0; i < 7; i++) /* full jitter uses the whole range */
		assert_true(longest[i] > limits[i] * 9 / 10);
	for (int i = 0; i < 1000; i++) /* attempts are counted without end, the wait is not */
		assert_in_range(backoff_next_ms(&b), 1, 3000);
}

static void backoff_survives_odd_settings(void **state)
{
	(void)state;
	struct backoff odd[] = { { .base_ms = 0, .max_ms = 0 }, { .base_ms = 5, .max_ms = 0 }, { .base_ms = 900, .max_ms = 10 },
				 { .base_ms = 1, .max_ms = INT64_MAX } };
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		for (int j = 0; j < 200; j++)
			assert_true(backoff_next_ms(&odd[i]) >= 1);
}

static void *draw(void *arg)
{
	for (int i = 0; i < 4; i++)
		((uint64_t *)arg)[i] = random_u64();
	return NULL;
}

static void threads_draw_different_numbers(void **state)
{
	(void)state;
	uint64_t drawn[8][4];
	pthread_t threads[8];
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw, drawn[i]), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 32; i++)
		for (int j = 0; j < i; j++)
			assert_true(drawn[i / 4][i % 4] != drawn[j / 4][j % 4]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(monotonic_never_goes_back),
		cmocka_unit_test(tests_may_set_the_time),
		cmocka_unit_test(backoff_grows_to_its_maximum_with_jitter),
		cmocka_unit_test(backoff_survives_odd_settings),
		cmocka_unit_test(threads_draw_different_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

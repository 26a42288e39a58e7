/* cond_test.c - waits end at their deadline by the kernel's monotonic clock, whatever the moments look like in seconds and nanoseconds. */
#include "base/cond.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int64_t ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return ns(t);
}

static void test_a_deadline_is_so_far_from_now(void **state)
{
	(void)state;
	static const int64_t waits[] = { 0, 1, 999, 1000, 1001, 59999, INT64_C(86400000) * 365 };
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		int64_t before = now_ns();
		struct timespec t = cond_deadline(waits[i]);
		assert_in_range(t.tv_nsec, 0, 999999999);
		assert_true(ns(t) >= before + waits[i] * 1000000 && ns(t) <= now_ns() + waits[i] * 1000000);
	}
	assert_true(ns(cond_deadline(-5)) <= now_ns());
	assert_true(ns(cond_deadline(INT64_MIN)) <= now_ns());
}

static void test_a_wait_ends_when_its_time_is_up(void **state)
{
	(void)state;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond;
	cond_init(&cond);
	struct timespec until = cond_deadline(20);
	int r = 0;
	pthread_mutex_lock(&lock);
	while (r == 0)
		r = pthread_cond_timedwait(&cond, &lock, &until);
	pthread_mutex_unlock(&lock);
	assert_int_equal(r, ETIMEDOUT);
	assert_true(now_ns() >= ns(until));
	pthread_cond_destroy(&cond);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_a_deadline_is_so_far_from_now), cmocka_unit_test(test_a_wait_ends_when_its_time_is_up) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* limits_test.c - breaker and token bucket on a clock that the test moves. */
#include "base/breaker.h"
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ROW ((int)BREAKER_ENDPOINT.row)

static void opens_after_errors_in_a_row(void **state)
{
	(void)state;
	struct breaker b = { 0 };
	for (int i = 0; i < ROW - 1; i++)
		breaker_failure(&b, 1000);
	assert_true(breaker_closed(&b));
	breaker_success(&b, 1000);
	for (int i = 0; i < ROW - 1; i++)
		breaker_failure(&b, 1000);
	assert_true(breaker_closed(&b));
	breaker_failure(&b, 1000);
	assert_false(breaker_closed(&b));
}

static void half_opens_for_one_probe(void **state)
{
	(void)state;
	struct breaker b = { 0 };
	breaker_trip(&b, 1000);
	assert_false(breaker_take_probe(&b, 1000 + BREAKER_ENDPOINT.pause_ms / 2 - 1));
	assert_true(breaker_half_open(&b, 1000 + BREAKER_ENDPOINT.pause_ms));
	assert_true(breaker_take_probe(&b, 1000 + BREAKER_ENDPOINT.pause_ms));
	assert_false(breaker_take_probe(&b, 1000 + BREAKER_ENDPOINT.pause_ms));
	breaker_success(&b, 1000);
	assert_true(breaker_closed(&b));
	assert_int_equal(b.consecutive, 0);
}

static void a_late_success_does_not_close(void **state)
{
	(void)state;
	struct breaker b = { 0 };
	breaker_trip(&b, 1000);
	breaker_success(&b, 1000);
	assert_false(breaker_closed(&b));
}

static void pauses_grow_to_a_limit(void **state)
{
	(void)state;
	struct breaker b = { 0 };
	int64_t now = 1000, longest = 0;
	breaker_trip(&b, now);
	for (int i = 0; i < 12; i++) {
		int64_t pause = b.until_ms - now;
		assert_true(pause >= longest / 2 && pause <= BREAKER_ENDPOINT.pause_max_ms);
		if (pause > longest)
			longest = pause;
		now = b.until_ms;
		assert_true(breaker_take_probe(&b, now));
		breaker_failure(&b, now);
		assert_false(breaker_closed(&b));
	}
	assert_true(longest > BREAKER_ENDPOINT.pause_max_ms / 2);
}

static void wrong_answers_count_by_rate(void **state)
{
	(void)state;
	struct breaker slow = { 0 }, fast = { 0 };
	for (int i = 0; i < 100; i++) {
		breaker_bad_content(&slow, (int64_t)i * 10000);
		breaker_success(&slow, (int64_t)i * 10000); /* the exchange itself was fine */
	}
	assert_true(breaker_closed(&slow));
	for (int i = 0; i < (int)BREAKER_ENDPOINT.bad_content + 1; i++) {
		breaker_bad_content(&fast, (int64_t)i * 10);
		breaker_success(&fast, (int64_t)i * 10);
	}
	assert_false(breaker_closed(&fast));
}

static const struct breaker_policy share = { .least = 10, .accept = 2, .window_ms = 1000, .pause_ms = 100, .pause_max_ms = 1000, .probes = 3 };

static void opens_when_half_of_enough_fail(void **state)
{
	(void)state;
	struct breaker b = { .policy = &share };
	for (int i = 0; i < 8; i++)
		breaker_failure(&b, 5000);
	assert_true(breaker_closed(&b)); /* too few to say */
	breaker_success(&b, 5000);
	assert_true(breaker_closed(&b));
	breaker_failure(&b, 5000); /* 10 asked, 1 accepted */
	assert_false(breaker_closed(&b));
	assert_int_equal(b.opened_total, 1);
}

static void half_that_succeeds_keeps_it_closed(void **state)
{
	(void)state;
	struct breaker b = { .policy = &share };
	for (int i = 0; i < 1000; i++) {
		breaker_success(&b, 5000 + i);
		breaker_failure(&b, 5000 + i);
		assert_true(breaker_closed(&b));
	}
}

static void forgets_what_is_older_than_its_window(void **state)
{
	(void)state;
	struct breaker b = { .policy = &share };
	for (int i = 0; i < 9; i++)
		breaker_failure(&b, 5000);
	breaker_failure(&b, 6100); /* alone in its window */
	assert_true(breaker_closed(&b));
	for (int i = 0; i < 4; i++)
		breaker_failure(&b, 6200);
	for (int i = 0; i < 5; i++)
		breaker_failure(&b, 6700); /* half a window later: both halves count */
	assert_false(breaker_closed(&b));
}

static void closes_after_enough_probes_in_a_row(void **state)
{
	(void)state;
	struct breaker b = { .policy = &share };
	breaker_trip(&b, 1000);
	int64_t now = b.until_ms;
	for (int i = 0; i < 2; i++) {
		assert_true(breaker_take_probe(&b, now));
		breaker_success(&b, now);
		assert_false(breaker_closed(&b));
	}
	assert_true(breaker_take_probe(&b, now));
	breaker_failure(&b, now); /* begins anew */
	now = b.until_ms;
	for (int i = 0; i < 3; i++) {
		assert_false(breaker_closed(&b));
		assert_true(breaker_take_probe(&b, now));
		breaker_success(&b, now);
	}
	assert_true(breaker_closed(&b));
	breaker_trip(&b, now);
	breaker_reset(&b);
	assert_true(breaker_closed(&b));
}

static void bucket_lets_its_rate_through(void **state)
{
	(void)state;
	struct bucket b;
	bucket_init(&b, 10, 0);
	assert_int_equal(bucket_available(&b, 100, 0), 10); /* the burst */
	bucket_take(&b, 10);
	assert_int_equal(bucket_available(&b, 1, 0), 0);
	assert_int_equal(bucket_available(&b, 1, 99), 0);
	assert_in_range((uintmax_t)bucket_wait_ms(&b, 99), 1, 3);
	int64_t sent = 0;
	for (int64_t now = 100; now <= 10000; now += 7) {
		int64_t may = bucket_available(&b, 5, now);
		bucket_take(&b, may);
		sent += may;
	}
	assert_in_range((uintmax_t)sent, 98, 100);
	bucket_init(&b, 0, 0);
	assert_int_equal(bucket_available(&b, 64, 0), 64);
}

static void bucket_honours_refusals(void **state)
{
	(void)state;
	struct bucket b;
	bucket_init(&b, 0, 0);
	bucket_refused(&b, 7000, 1000);
	assert_int_equal(bucket_available(&b, 1, 7999), 0);
	assert_int_equal(bucket_wait_ms(&b, 1000), 7000);
	assert_int_equal(bucket_available(&b, 1, 8000), 1);
	bucket_init(&b, 0, 0);
	int64_t now = 0;
	for (int i = 0; i < 10; i++) { /* no time given: longer and longer, up to a limit */
		bucket_refused(&b, 0, now);
		int64_t expected = BUCKET_PAUSE_MS << i;
		assert_int_equal(b.blocked_until_ms - now, expected < BUCKET_PAUSE_MAX_MS ? expected : BUCKET_PAUSE_MAX_MS);
		now = b.blocked_until_ms;
	}
	bucket_success(&b);
	bucket_refused(&b, 0, now);
	assert_int_equal(b.blocked_until_ms - now, BUCKET_PAUSE_MS);
	bucket_refused(&b, INT64_C(86400000), now); /* a day: not obeyed to the letter */
	assert_int_equal(b.blocked_until_ms - now, BUCKET_PAUSE_MAX_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_after_errors_in_a_row),
		cmocka_unit_test(half_opens_for_one_probe),
		cmocka_unit_test(a_late_success_does_not_close),
		cmocka_unit_test(pauses_grow_to_a_limit),
		cmocka_unit_test(wrong_answers_count_by_rate),
		cmocka_unit_test(opens_when_half_of_enough_fail),
		cmocka_unit_test(half_that_succeeds_keeps_it_closed),
		cmocka_unit_test(forgets_what_is_older_than_its_window),
		cmocka_unit_test(closes_after_enough_probes_in_a_row),
		cmocka_unit_test(bucket_lets_its_rate_through),
		cmocka_unit_test(bucket_honours_refusals),
	};
	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}

/* job_test.c - how many blocks the fetcher has under way. */
#include "services/fetcher/fetcher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB (1024.0 * 1024)

static void small_blocks_are_many_and_large_ones_few(void **state)
{
	(void)state;
	assert_int_equal(jobs_room(24, 0), 8); /* not known yet how large they are */
	assert_int_equal(jobs_room(24, 40000), 24);
	assert_int_equal(jobs_room(100, 40000), 100);
	assert_int_equal(jobs_room(24, 2 * MIB), 12);
	assert_int_equal(jobs_room(24, 6 * MIB), 8);
	assert_int_equal(jobs_room(24, 60 * MIB), 8);
}

static void what_the_nodes_take_is_the_limit(void **state)
{
	(void)state;
	assert_int_equal(jobs_room(1, 0), 1);
	assert_int_equal(jobs_room(3.9, 40000), 3);
	assert_int_equal(jobs_room(3.9, 60 * MIB), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_blocks_are_many_and_large_ones_few),
		cmocka_unit_test(what_the_nodes_take_is_the_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* failover_test.c - an owner in the middle of a batch when the server becomes one that lost what came last: nothing that it knows of the old one may be
 * settled there. Found by tests/system/test_bus_torture.py; on the simulator. */
#include "bus/bus.h"
#include "support/bus_fixture.h"
#include "support/sim_redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct bus *bus;
static struct bus_owner *owner;
static struct bus_message *m;

static size_t take(void)
{
	size_t n;
	struct error err = { 0 };
	if (bus_owner_read(owner, 10, 150, &m, &n, &err) != 0)
		fail_msg("%s", err.text);
	return n;
}

/* Three messages of one key in hand, the first one parked; then the server loses that letter. */
static void lose_a_letter(void)
{
	static const struct error why = { .code = WEIR_INVALID, .text = "bad" };
	sim_begin(3);
	bus = sim_bus("w");
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "s", 60000, &owner, NULL), 0);
	assert_int_equal(bus_owner_acquire(owner, NULL), 0);
	for (const char *const *body = (const char *const[]){ "1", "2", "3", NULL }; *body; body++)
		fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", *body));
	assert_int_equal(take(), 3);
	assert_int_equal(bus_owner_park(owner, &m[0], &why, NULL), 0);
	sim_restart(1);
}

static void everything_is_read_again(void)
{
	assert_int_equal(bus_owner_acquire(owner, NULL), 0);
	assert_true(bus_owner_rolled_back(owner));
	assert_int_equal(take(), 3);
	assert_true(fixture_body_is(&m[0], "1"));
	bus_owner_close(&owner);
	bus_close(&bus);
	sim_end();
}

static void a_follower_is_not_parked_before_its_head(void **state)
{
	(void)state;
	struct error why = { .code = WEIR_INVALID, .text = "bad" };
	lose_a_letter();
	assert_int_equal(bus_owner_park(owner, &m[1], &why, NULL), WEIR_FENCED);
	everything_is_read_again();
}

static void a_place_is_not_committed_over_a_lost_letter(void **state)
{
	(void)state;
	lose_a_letter();
	assert_int_equal(bus_owner_commit(owner, m[2].klass, m[2].generation, m[2].sequence, NULL), WEIR_FENCED);
	everything_is_read_again();
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_follower_is_not_parked_before_its_head),
		cmocka_unit_test(a_place_is_not_committed_over_a_lost_letter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* limit_test.c - more clients than there is room for: those that are known keep what is theirs, further ones share one place per kind. */
#include "daemon/internal.h"
#include "services/gateway/call/limit.h"
#include "services/gateway/gateway.h"
#include "support/bus_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define PER_MINUTE 2 /* so that none is forgotten while this runs */

static struct limits *limits;

static struct limited client(enum limit_kind kind, unsigned number)
{
	struct limited who = { .kind = kind };
	snprintf(who.name, sizeof who.name, "%u", number);
	return who;
}

/* What is left of its limit; -1: it is refused. */
static int64_t left(enum limit_kind kind, unsigned number)
{
	const struct limited who = client(kind, number);
	const struct limit_verdict v = limit_take(limits, &who, 1);
	assert_true(v.limited);
	return v.allowed ? v.remaining : -1;
}

static void those_beyond_the_room_share_one_place_per_kind(void **state)
{
	(void)state;
	struct config config = { .bus.redis_url = fixture_server.url, .gateway = { .address_limit = PER_MINUTE, .key_limit = PER_MINUTE } };
	struct daemon_ctx ctx = { .config = &config, .metrics = metrics_new() };
	struct gateway gateway = { .ctx = &ctx, .config = &config, .metrics = ctx.metrics };
	struct error err;
	metrics_register(ctx.metrics, gateway_metrics, gateway_metric_count);
	bus_register_metrics(ctx.metrics);
	assert_int_equal(limit_open(&gateway, &limits, &err), 0);
	for (unsigned i = 0; i < LIMIT_CLIENTS_MAX; i++)
		assert_int_equal(left(LIMIT_ADDRESS, i), 1);
	unsigned stranger = LIMIT_CLIENTS_MAX;
	assert_int_equal(left(LIMIT_ADDRESS, stranger++), 1);
	assert_int_equal(left(LIMIT_ADDRESS, stranger++), 0);
	assert_int_equal(left(LIMIT_ADDRESS, stranger), -1); /* it asked for nothing yet */
	assert_int_equal(left(LIMIT_KEY, stranger), 1);      /* keys have a place of their own */
	const struct limited none = client(LIMIT_ADDRESS, stranger);
	limit_give_back(limits, &none, PER_MINUTE); /* what one of them gives back is not known to be its own */
	assert_int_equal(left(LIMIT_ADDRESS, stranger), -1);
	assert_int_equal(left(LIMIT_ADDRESS, 0), 0); /* who is known has not paid for them */
	assert_int_equal(left(LIMIT_ADDRESS, 0), -1);
	limit_close(&limits);
	metrics_free(&ctx.metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(those_beyond_the_room_share_one_place_per_kind) };
	return fixture_run(tests);
}

/* server_limits_test.c - limits of the server and of numbers, against a real Redis: a server that hangs up, reads of nothing, no name, more
 * letters in a millisecond than a number of six digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long long connections(void)
{
	char *info = fixture_text("INFO stats");
	const char *at = info ? strstr(info, "total_connections_received:") : NULL;
	long long n = at ? strtoll(at + strlen("total_connections_received:"), NULL, 10) : -1;
	free(info);
	return n;
}

/* It answers each greeting, and hangs up over the command: connecting works, so only what comes behind it tells that there is no use in trying at once. */
static void who_is_hung_up_on_does_not_come_back_at_once(void **state)
{
	(void)state;
	enum { BODY = 3 << 20 };
	struct bus *bus = fixture_bus_with("w", 2000, 0);
	struct bus_publisher *p;
	struct error err = { 0 };
	uint8_t *body = calloc(1, BODY);
	struct frame f = fixture_message(MESSAGE_CHAIN_HEAD, "k", "");
	f.body = (struct bytes){ body, BODY };
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	assert_int_equal(fixture_ask("CONFIG SET client-query-buffer-limit 1mb"), 0);
	long long before = connections();
	assert_true(error_retriable(bus_publish(p, &f, 1, &err)));
	long long tries = connections() - before;
	if (tries > 100)
		fail_msg("%lld connections in one call", tries);
	assert_int_equal(fixture_ask("CONFIG SET client-query-buffer-limit 1gb"), 0);
	if (bus_publish(p, &f, 1, &err) != 0)
		fail_msg("%s", err.text);
	bus_publisher_close(&p);
	bus_close(&bus);
	free(body);
}

/* Until the operator of the server does something it goes on saying so: whoever gets the answer tries again later, and loses nothing. */
static void what_a_server_refuses_for_now_may_be_tried_again(const char *setting, const char *refusing, const char *good, const char *word)
{
	struct bus *bus = fixture_bus_with("w", 500, 0);
	struct bus_publisher *p;
	struct error err = { 0 };
	struct frame f = fixture_message(MESSAGE_CHAIN_HEAD, "k", "1");
	assert_int_equal(bus_publisher_open(bus, "test", TOPIC_BLOCKS, "p", &p, NULL), 0);
	assert_int_equal(fixture_ask("CONFIG SET %s %s", setting, refusing), 0);
	int r = bus_publish(p, &f, 1, &err);
	if (!error_retriable(r) || !strstr(err.text, word))
		fail_msg("%s %s: %s: %s", setting, refusing, error_name(r), err.text);
	assert_int_equal(fixture_ask("CONFIG SET %s %s", setting, good), 0);
	if (bus_publish(p, &f, 1, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(fixture_ask("XLEN weir:{test}:blocks:normal"), 1);
	bus_publisher_close(&p);
	bus_close(&bus);
}

static void too_few_replicas_are_waited_for(void **state)
{
	(void)state;
	what_a_server_refuses_for_now_may_be_tried_again("min-replicas-to-write", "1", "0", "NOREPLICAS");
}

/* It says so and hangs up; who writes first may miss the words. Ours to the server need a connection from before. */
static void a_full_server_is_waited_for(void **state)
{
	(void)state;
	enum { FEW = 8 };
	redisContext *others[FEW + 2];
	struct bus *bus = fixture_bus_with("w", 50, 0);
	struct error err = { 0 };
	redisContext *admin = redisConnectUnix(fixture_server.url + 7);
	freeReplyObject(redisCommand(admin, "CONFIG SET maxclients %d", FEW));
	for (int i = 0; i < FEW + 2; i++)
		others[i] = redisConnectUnix(fixture_server.url + 7);
	for (int i = 0; i < 30; i++)
		if (!error_retriable(bus_ping(bus, &err)))
			fail_msg("%s", err.text);
	for (int i = 0; i < FEW + 2; i++)
		redisFree(others[i]);
	freeReplyObject(redisCommand(admin, "CONFIG SET maxclients 10000"));
	redisFree(admin);
	bus_close(&bus);
	bus = fixture_bus("w");
	if (bus_ping(bus, &err) != 0)
		fail_msg("%s", err.text);
	bus_close(&bus);
}

/* No read asks for nothing: to Redis that means everything. */
static void a_read_of_nothing_is_refused(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_worker *w;
	struct bus_tail *t;
	struct bus_message *m;
	size_t n;
	uint64_t first;
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "1"));
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "s", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_owner_read(o, 0, 0, &m, &n, NULL), WEIR_INVALID);
	assert_int_equal(bus_owner_read(o, 1, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(bus_worker_open(bus, "test", TOPIC_BLOCKS, "q", NULL, &w, NULL), 0);
	assert_int_equal(bus_worker_read(w, 0, 0, &m, &n, NULL), WEIR_INVALID);
	assert_int_equal(bus_tail_open(bus, "test", TOPIC_BLOCKS, "high", &t, NULL), 0);
	assert_int_equal(bus_tail_read(t, 0, 0, &m, &n, &first, NULL), WEIR_INVALID);
	bus_tail_close(&t);
	bus_worker_close(&w);
	bus_owner_close(&o);
	bus_close(&bus);
}

static bool remember_id(const char *id, struct bytes body, void *arg)
{
	(void)body;
	snprintf(arg, 48, "%s", id);
	return true;
}

/* While the server's clock is set back its streams go on in the last millisecond that they have seen: the number behind it counts the letters of all
 * that time. */
static void a_millisecond_has_more_than_a_million_letters(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	struct bus_owner *o;
	struct bus_message *m;
	struct error err = { 0 }, why;
	size_t n;
	char id[48] = "";
	error_set(&why, WEIR_INVALID, "no");
	fixture_publish(bus, TOPIC_BLOCKS, fixture_message(MESSAGE_CHAIN_HEAD, "k", "1"));
	assert_true(fixture_ask("XADD weir:{test}:dlq:s 9999999999999-999999 h x d x") >= 0);
	assert_true(fixture_ask("XTRIM weir:{test}:dlq:s MAXLEN 0") >= 0);
	assert_int_equal(bus_owner_open(bus, "test", TOPIC_BLOCKS, "s", 60000, &o, NULL), 0);
	assert_int_equal(bus_owner_acquire(o, NULL), 0);
	assert_int_equal(bus_owner_read(o, 1, 1000, &m, &n, NULL), 0);
	assert_int_equal(n, 1);
	if (bus_owner_park(o, m, &why, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(dead_letter_list(bus, "test", "s", NULL, NULL, 10, remember_id, id, NULL), 0);
	assert_true(*id);
	assert_int_equal(fixture_ask("XLEN weir:{test}:dlq:s"), 1);
	uint64_t purged = 0;
	const char *const ids[] = { id };
	assert_int_equal(dead_letter_purge(bus, "test", "s", NULL, ids, 1, "operator", "it is bad", &purged, NULL), 0);
	assert_int_equal(purged, 1);
	bus_owner_close(&o);
	bus_close(&bus);
}

/* Who says no name is not the same as everybody else who says none: else the one has the lease and the messages of the other. */
static void two_without_a_name_are_two(void **state)
{
	(void)state;
	struct bus *a = fixture_bus_with(NULL, 20000, 0), *b = fixture_bus_with(NULL, 20000, 0);
	struct bus_owner *first, *second;
	assert_int_equal(bus_owner_open(a, "test", TOPIC_BLOCKS, "s", 60000, &first, NULL), 0);
	assert_int_equal(bus_owner_open(b, "test", TOPIC_BLOCKS, "s", 60000, &second, NULL), 0);
	assert_int_equal(bus_owner_acquire(first, NULL), 0);
	assert_int_equal(bus_owner_acquire(second, NULL), WEIR_CONFLICT);
	assert_int_equal(bus_owner_renew(first, NULL), 0);
	bus_owner_close(&first);
	bus_owner_close(&second);
	bus_close(&a);
	bus_close(&b);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(who_is_hung_up_on_does_not_come_back_at_once, fixture_flush),
		cmocka_unit_test_setup(too_few_replicas_are_waited_for, fixture_flush),
		cmocka_unit_test_setup(a_full_server_is_waited_for, fixture_flush),
		cmocka_unit_test_setup(a_read_of_nothing_is_refused, fixture_flush),
		cmocka_unit_test_setup(two_without_a_name_are_two, fixture_flush),
		cmocka_unit_test_setup(a_millisecond_has_more_than_a_million_letters, fixture_flush),
	};
	return fixture_run(tests);
}

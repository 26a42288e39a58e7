/* address_test.c - what a Redis URL may be, and what it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/core/address.h"

#include <string.h>

static void urls_have_their_parts(void **state)
{
	(void)state;
	static const struct {
		const char *url, *host, *user, *password;
		int port, database;
		bool tls, local;
	} rows[] = {
		{ "redis://h", "h", "", "", 6379, 0, false, false },         { "redis://h:1/2", "h", "", "", 1, 2, false, false },
		{ "rediss://h/", "h", "", "", 6379, 0, true, false },        { "redis://u:p@h:7", "h", "u", "p", 7, 0, false, false },
		{ "redis://:p:q@h", "h", "", "p:q", 6379, 0, false, false }, { "redis://u@h", "h", "u", "", 6379, 0, false, false },
		{ "redis://[::1]:8/1", "::1", "", "", 8, 1, false, false },  { "redis://[::1]", "::1", "", "", 6379, 0, false, false },
		{ "unix:///a/b", "/a/b", "", "", 0, 0, false, true },
		{ "memory://m", "m", "", "", 0, 0, false, true },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bus_address a;
		assert_int_equal(bus_address_parse(rows[i].url, &a, NULL), 0);
		assert_string_equal(a.host.name, rows[i].host);
		assert_string_equal(a.user, rows[i].user);
		assert_string_equal(a.password, rows[i].password);
		assert_int_equal(a.host.port, rows[i].port);
		assert_int_equal(a.database, rows[i].database);
		assert_int_equal(a.tls, rows[i].tls);
		assert_int_equal(a.local, rows[i].local);
		assert_int_equal(a.sentinel_count, 0);
	}
}

static void a_cluster_is_named_by_some_of_its_nodes(void **state)
{
	(void)state;
	struct bus_address a;
	assert_int_equal(bus_address_parse("rediss+cluster://u:p@a,b:7001,[::1]/0", &a, NULL), 0);
	assert_true(a.cluster && a.tls);
	assert_string_equal(a.user, "u");
	assert_int_equal(a.host_count, 3);
	assert_string_equal(a.hosts[0].name, "a");
	assert_int_equal(a.hosts[0].port, 6379);
	assert_int_equal(a.hosts[1].port, 7001);
	assert_string_equal(a.hosts[2].name, "::1");
}

static void sentinels_come_with_the_masters_name(void **state)
{
	(void)state;
	struct bus_address a;
	assert_int_equal(bus_address_parse("rediss+sentinel://u:p@a:1,b,[::1]:3/mymaster/4", &a, NULL), 0);
	assert_int_equal(a.sentinel_count, 3);
	assert_string_equal(a.sentinels[0].name, "a");
	assert_int_equal(a.sentinels[0].port, 1);
	assert_string_equal(a.sentinels[1].name, "b");
	assert_int_equal(a.sentinels[1].port, 26379);
	assert_string_equal(a.sentinels[2].name, "::1");
	assert_int_equal(a.sentinels[2].port, 3);
	assert_string_equal(a.master, "mymaster");
	assert_int_equal(a.database, 4);
	assert_true(a.tls);
	assert_string_equal(a.user, "u");
}

static void brokers_are_as_librdkafka_wants_them(void **state)
{
	(void)state;
	struct bus_address a;
	assert_int_equal(bus_address_parse("kafka://a,b:1,[::1]:3", &a, NULL), 0);
	assert_string_equal(a.brokers, "a:9092,b:1,[::1]:3");
	assert_int_equal(a.session_ms, 6000);
	assert_int_equal(bus_address_parse("kafka://a/?session_ms=700", &a, NULL), 0);
	assert_string_equal(a.brokers, "a:9092");
	assert_int_equal(a.session_ms, 700);
	assert_int_equal(bus_address_parse("kafkas://u:p@a,b/?sasl=PLAIN&session_ms=700&ca=/ca.pem&cert=/c&key=/k", &a, NULL), 0);
	assert_string_equal(a.brokers, "a:9092,b:9092");
	assert_true(a.tls && a.session_ms == 700);
	assert_string_equal(a.user, "u");
	assert_string_equal(a.password, "p");
	assert_string_equal(a.sasl, "PLAIN");
	assert_string_equal(a.ca, "/ca.pem");
	assert_string_equal(a.cert, "/c");
	assert_string_equal(a.key, "/k");
	assert_false(a.transactions);
	assert_int_equal(bus_address_parse("kafka://a/?transactions=yes&session_ms=700", &a, NULL), 0);
	assert_true(a.transactions && a.session_ms == 700);
	assert_int_equal(bus_address_parse("kafka://a/?transactions=no", &a, NULL), 0);
	assert_false(a.transactions);
	assert_int_equal(bus_address_parse("kafkas://a", &a, NULL), 0);
	assert_string_equal(a.ca, "");
	assert_int_equal(bus_address_parse("redis://a", &a, NULL), 0);
	assert_string_equal(a.brokers, "");
}

static void what_is_wrong_is_said(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
		{ "http://h", "must begin with" },
		{ "redis:h", "must begin with" },
		{ "", "must begin with" },
		{ "unix://", "no socket" },
		{ "redis://", "no host" },
		{ "redis://h:0", "no valid port" },
		{ "redis://h:65536", "no valid port" },
		{ "redis://h:x", "no valid port" },
		{ "redis://h:", "no valid port" },
		{ "redis://h/x", "database" },
		{ "redis+sentinel://a,b", "the master's name" },
		{ "redis+sentinel://a/", "the master's name" },
		{ "redis+sentinel:///m", "1 to 8 sentinels" },
		{ "redis+sentinel://a,,b/m", "1 to 8 sentinels" },
		{ "redis+sentinel://a,b,c,d,e,f,g,h,i/m", "1 to 8 sentinels" },
		{ "redis+sentinel://a/m/x", "database" },
		{ "redis+cluster://", "1 to 8 nodes" },
		{ "redis+cluster://a,,b", "1 to 8 nodes" },
		{ "redis+cluster://a,b,c,d,e,f,g,h,i", "1 to 8 nodes" },
		{ "redis+cluster://a,b/1", "only database 0" },
		{ "kafka://", "1 to 8 brokers" },
		{ "kafka://a,,b", "1 to 8 brokers" },
		{ "kafka://a/?ca=/x", "kafkas" },
		{ "kafka://u:p@a/?sasl=PLAIN", "as it is" },
		{ "kafkas://u:p@a/?sasl=OTHER", "SCRAM-SHA-512" },
		{ "kafkas://a/?cert=/x", "go together" },
		{ "kafkas://a/?ca=", "empty" },
		{ "kafkas://a/?password=x", "can stand" },
		{ "kafka://a/1", "session_ms" },
		{ "kafka://a/?session_ms=499", "500 to 600000" },
		{ "kafka://a/?transactions=true", "yes or no" },
		{ "kafka://a/?transactions=", "yes or no" },
		{ "kafka://a?session_ms=x", "500 to 600000" },
		{ "kafka://a/?session_ms=1&x", "500 to 600000" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bus_address a;
		struct error err = { 0 };
		assert_int_equal(bus_address_parse(rows[i][0], &a, &err), WEIR_CONFIG);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("%s: \"%s\" does not say \"%s\"", rows[i][0], err.text, rows[i][1]);
	}
	struct bus_address a;
	assert_int_equal(bus_address_parse(NULL, &a, NULL), WEIR_CONFIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_have_their_parts),
		cmocka_unit_test(sentinels_come_with_the_masters_name),
		cmocka_unit_test(a_cluster_is_named_by_some_of_its_nodes),
		cmocka_unit_test(brokers_are_as_librdkafka_wants_them),
		cmocka_unit_test(what_is_wrong_is_said),
	};
	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}

/* client_address_test.c - addresses, ranges, and clients behind proxies. */
#include "services/gateway/http/client_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <netinet/in.h>

#include <cmocka.h>

static struct client_address address(const char *text)
{
	struct client_address a;
	assert_true(client_address_parse(text, strlen(text), &a));
	return a;
}

static struct client_ranges ranges(const char *text)
{
	struct client_ranges r;
	struct error err = { 0 };
	assert_int_equal(client_ranges_parse(text, &r, &err), 0);
	return r;
}

static void addresses_print_as_they_are_counted(void **state)
{
	(void)state;
	static const struct {
		const char *text, *printed, *limited;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1" },
		{ "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1" },
		{ "::ffff:c000:201", "192.0.2.1", "192.0.2.1" },
		{ "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
		{ "2001:DB8:1:2:ffff::1", "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64" },
		{ "2001:db8:1:3::1", "2001:db8:1:3::1", "2001:db8:1:3::/64" },
		{ "::1", "::1", "::/64" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char printed[CLIENT_ADDRESS_TEXT], limited[CLIENT_ADDRESS_TEXT];
		struct client_address a = address(rows[i].text);
		client_address_print(&a, printed);
		client_address_limited(&a, limited);
		assert_string_equal(printed, rows[i].printed);
		assert_string_equal(limited, rows[i].limited);
	}
}

static void what_is_no_address(void **state)
{
	(void)state;
	static const char *const rows[] = { "", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.04", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4:80", "[::1]", "::1%lo", "unknown",
					    "_hidden", "::g", "1:2:3:4:5:6:7:8:9", "0x7f.1", "2001:db8:1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:1:2:3" };
	struct client_address a;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_false(client_address_parse(rows[i], strlen(rows[i]), &a));
	assert_false(client_address_parse("1.2.3.4\0x", 9, &a));
}

static void peers_of_both_families(void **state)
{
	(void)state;
	char text[CLIENT_ADDRESS_TEXT];
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct client_address a = client_address_of((const struct sockaddr *)&v4);
	client_address_print(&a, text);
	assert_string_equal(text, "192.0.2.1");
	a = client_address_of((const struct sockaddr *)&v6);
	client_address_print(&a, text);
	assert_string_equal(text, "::1");
	a = client_address_of(NULL);
	client_address_print(&a, text);
	assert_string_equal(text, "::");
}

static void ranges_have_what_is_in_them(void **state)
{
	(void)state;
	static const struct {
		const char *ranges, *address;
		bool has;
	} rows[] = {
		{ "", "1.2.3.4", false },
		{ "10.0.0.0/8", "10.255.1.2", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.0/8", "::ffff:10.1.1.1", true },
		{ "10.0.0.0/9", "10.127.255.255", true },
		{ "10.0.0.0/9", "10.128.0.0", false },
		{ "192.0.2.4", "192.0.2.4", true },
		{ "192.0.2.4", "192.0.2.5", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "127.0.0.0/8, ::1", "::1", true },
		{ " 127.0.0.0/8\t::1 ,", "127.9.9.9", true },
		{ "127.0.0.0/8, ::1", "::2", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct client_ranges r = ranges(rows[i].ranges);
		struct client_address a = address(rows[i].address);
		assert_int_equal(client_ranges_have(&r, &a), rows[i].has);
	}
}

static void what_is_no_range(void **state)
{
	(void)state;
	static const char *const rows[] = { "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8x", "10.0.0.0/0008", "10.0.0.1/8", "::1/64", "::/129",
					    "10.0.0.0/8;::1", "/8", "localhost", "10.0.0.0/8 10.0.0.0/8/8" };
	struct client_ranges r;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct error err = { 0 };
		assert_int_equal(client_ranges_parse(rows[i], &r, &err), WEIR_CONFIG);
		assert_true(strstr(err.text, "not an address or network") != NULL);
	}
	char many[8 * (CLIENT_RANGES_MAX + 1) + 1] = "";
	for (int i = 0; i <= CLIENT_RANGES_MAX; i++)
		strcat(many, "1.2.3.4,");
	struct error err = { 0 };
	assert_int_equal(client_ranges_parse(many, &r, &err), WEIR_CONFIG);
	many[8 * CLIENT_RANGES_MAX] = '\0';
	assert_int_equal(client_ranges_parse(many, &r, &err), 0);
}

static void only_trusted_proxies_are_believed(void **state)
{
	(void)state;
	static const struct {
		const char *peer, *forwarded, *client;
	} rows[] = { /* trusted: 10.0.0.0/8 and 2001:db8:aaaa::/48 */
		{ "203.0.113.1", NULL, "203.0.113.1" },
		{ "203.0.113.1", "198.51.100.1", "203.0.113.1" }, /* not a proxy of ours */
		{ "10.0.0.1", NULL, "10.0.0.1" },
		{ "10.0.0.1", "198.51.100.1", "198.51.100.1" },
		{ "::ffff:10.0.0.1", " 198.51.100.1 ", "198.51.100.1" },
		{ "10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1" }, /* what the client itself sent stands left */
		{ "10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1" },
		{ "10.0.0.1", "6.6.6.6,198.51.100.1,10.0.0.3,10.0.0.2", "198.51.100.1" },
		{ "2001:db8:aaaa::1", "2001:db8:bbbb::9", "2001:db8:bbbb::9" },
		{ "10.0.0.1", "10.0.0.2,10.0.0.3", "10.0.0.2" }, /* a client inside */
		{ "10.0.0.1", "", "10.0.0.1" },
		{ "10.0.0.1", "unknown", "10.0.0.1" },
		{ "10.0.0.1", "198.51.100.1, unknown", "10.0.0.1" },
		{ "10.0.0.1", "198.51.100.1, 10.0.0.2:443", "10.0.0.1" },
		{ "10.0.0.1", "198.51.100.1,", "10.0.0.1" },
		{ "10.0.0.1", ",,,", "10.0.0.1" },
		{ "10.0.0.1", "garbage, 198.51.100.1", "198.51.100.1" },
	};
	struct client_ranges trusted = ranges("10.0.0.0/8, 2001:db8:aaaa::/48"), none = ranges("");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[CLIENT_ADDRESS_TEXT];
		struct client_address peer = address(rows[i].peer), client = client_address_behind(&peer, rows[i].forwarded, &trusted);
		client_address_print(&client, text);
		assert_string_equal(text, rows[i].client);
		client = client_address_behind(&peer, rows[i].forwarded, &none);
		assert_memory_equal(&client, &peer, sizeof peer);
	}
}

static void a_long_list_of_proxies_ends(void **state)
{
	(void)state;
	char list[1024] = "6.6.6.6", text[CLIENT_ADDRESS_TEXT];
	for (int i = 0; i < 60; i++)
		strcat(list, ",10.0.0.2");
	struct client_ranges trusted = ranges("10.0.0.0/8");
	struct client_address peer = address("10.0.0.1"), client = client_address_behind(&peer, list, &trusted);
	client_address_print(&client, text);
	assert_string_equal(text, "10.0.0.2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_print_as_they_are_counted), cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(peers_of_both_families),	       cmocka_unit_test(ranges_have_what_is_in_them),
		cmocka_unit_test(what_is_no_range),		       cmocka_unit_test(only_trusted_proxies_are_believed),
		cmocka_unit_test(a_long_list_of_proxies_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

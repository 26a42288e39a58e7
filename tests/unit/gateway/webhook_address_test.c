/* webhook_address_test.c - every special range of both families at both of its ends, and every way to write a URL that goes elsewhere. */
#include "services/gateway/webhook/webhook_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage ret = { 0 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		memcpy(&ret, &v4, sizeof v4);
	else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
		memcpy(&ret, &v6, sizeof v6);
	else
		fail_msg("%s is no address", text);
	return ret;
}

static void expect_network(enum webhook_network wanted, const char *text)
{
	struct sockaddr_storage address = address_of(text);
	enum webhook_network got = webhook_network_of((struct sockaddr *)&address);
	if (got != wanted)
		fail_msg("%s: network %d instead of %d", text, got, wanted);
}

static void test_networks(void **state)
{
	/* Each range: its first and last address; the ones outside that touch it, where those are public. */
	static const char *const refused[] = {
		"0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.1.2.3", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255",
		"169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.8", "192.0.0.255", "192.0.2.0",
		"192.0.2.255", "192.31.196.1", "192.52.193.1", "192.88.99.0", "192.88.99.255", "192.168.0.0", "192.168.255.255", "192.175.48.1", "198.18.0.0",
		"198.19.255.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255", "224.0.0.0", "224.0.0.1", "239.255.255.255", "240.0.0.0",
		"255.255.255.254", "255.255.255.255",
		"::", "::2", "::7f00:1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8",
		"::ffff:0:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "100::", "100::1", "100:0:0:1::1",
		"2001::", "2001::1", "2001:0:7f00:1::", "2001:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:10::1", "2001:1f:ffff::1", "2001:20::1",
		"2001:2f:ffff:ffff::", "2001:30::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2002::",
		"2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8000::1", "3ffe::1",
		"3fff::1", "3fff:fff:ffff::1", "2600::5efe:7f00:1", "2600::200:5efe:808:808", "2600::5efe:10.0.0.1", "4000::1", "5f00::1", "1fff::1", "8000::1",
		"fc00::", "fc00::1", "fd00:ec2::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::1", "fe80::", "fe80::1", "febf:ffff::1", "fec0::1", "feff::1",
		"ff00::", "ff02::1", "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	};
	static const char *const open[] = {
		"1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
		"169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255",
		"192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
		"2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2400::1", "2606:4700::1111", "2620:4f:8001::1",
		"3ffd::1", "3fff:1000::1", "2a00:1450:4001:81b::200e", "2000::1",
	};
	static const char *const loopback[] = { "127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255", "::1" };
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		expect_network(NETWORK_REFUSED, refused[i]);
	for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
		expect_network(NETWORK_PUBLIC, open[i]);
	for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++)
		expect_network(NETWORK_LOOPBACK, loopback[i]);
	struct sockaddr_in6 scoped = { .sin6_family = AF_INET6, .sin6_scope_id = 2 };
	inet_pton(AF_INET6, "2600::1", &scoped.sin6_addr);
	assert_int_equal(webhook_network_of((struct sockaddr *)&scoped), NETWORK_REFUSED);
	struct sockaddr unix_socket = { .sa_family = AF_UNIX };
	assert_int_equal(webhook_network_of(&unix_socket), NETWORK_REFUSED);
}

/* The ranges written once more, as numbers: every /16 of IPv4 agrees, and every address around each edge. */
static bool special_v4(uint32_t a)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x00000000, 0x00ffffff }, { 0x0a000000, 0x0affffff }, { 0x64400000, 0x647fffff }, { 0x7f000000, 0x7fffffff }, { 0xa9fe0000, 0xa9feffff },
		{ 0xac100000, 0xac1fffff }, { 0xc0000000, 0xc00000ff }, { 0xc0000200, 0xc00002ff }, { 0xc01fc400, 0xc01fc4ff }, { 0xc034c100, 0xc034c1ff },
		{ 0xc0586300, 0xc05863ff }, { 0xc0a80000, 0xc0a8ffff }, { 0xc0af3000, 0xc0af30ff }, { 0xc6120000, 0xc613ffff }, { 0xc6336400, 0xc63364ff },
		{ 0xcb007100, 0xcb0071ff }, { 0xe0000000, 0xffffffff },
	};
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (a >= ranges[i].first && a <= ranges[i].last)
			return true;
	return false;
}

static void test_every_24(void **state)
{
	(void)state;
	for (uint64_t a = 0; a <= UINT32_MAX; a += 256)
		for (unsigned last = 0; last < 256; last += 255) {
			struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl((uint32_t)a + last) };
			if ((webhook_network_of((struct sockaddr *)&v4) == NETWORK_PUBLIC) == special_v4((uint32_t)a + last))
				fail_msg("%08x", (unsigned)a + last);
		}
}

static const struct webhook_rules strict = { .ports = { 443, 8443 }, .port_count = 2 };
static const struct webhook_rules loose = { .loopback = true, .ports = { 443, 8443 }, .port_count = 2 };

static void test_urls(void **state)
{
	static const struct {
		const char *url, *host;
		unsigned port;
	} good[] = {
		{ "https://hooks.example.com/", "hooks.example.com", 443 },
		{ "https://hooks.example.com", "hooks.example.com", 443 },
		{ "https://hooks.example.com:8443/a/b?c=d&e=%20f", "hooks.example.com", 8443 },
		{ "https://a_b-c.example.com/x", "a_b-c.example.com", 443 },
		{ "https://8.8.8.8/x", "8.8.8.8", 443 },
		{ "https://[2606:4700::1111]/x", "2606:4700::1111", 443 },
		{ "https://example.com/@user", "example.com", 443 },
		{ "https://example.com?x", "example.com", 443 },
		/* Numbers that are addresses are read as such here: what they lead to is refused as an address. */
		{ "https://2130706433/", "127.0.0.1", 443 },
		{ "https://0x7f000001/", "127.0.0.1", 443 },
		{ "https://0177.0.0.1/", "127.0.0.1", 443 },
		{ "https://127.1/", "127.0.0.1", 443 },
	};
	static const char *const bad[] = {
		"", " ", "hooks.example.com", "//hooks.example.com/", "/x", "http://example.com/", "HTTP://example.com/", "HTTPS://example.com/", "ftp://example.com/",
		"file:///etc/passwd", "gopher://example.com/", "dict://example.com/", "javascript:alert(1)", "https:/example.com", "https:example.com",
		"https://", "https:///x", "https://?x", "https://user@example.com/", "https://user:password@example.com/", "https://:password@example.com/",
		"https://@example.com/", "https://example.com@169.254.169.254/", "https://example.com:443@169.254.169.254/", "https://example.com#x",
		"https://example.com/#", "https://example.com:0/", "https://example.com:80/", "https://example.com:22/", "https://example.com:6379/",
		"https://example.com:65536/", "https://example.com:-1/", "https://example.com:443443/", "https://example.com:x/", "https://example.com: 443/",
		"https://example.com./", "https://.example.com/", "https://example..com/", "https://-example.com/", "https://exa mple.com/", "https://example.com/ x",
		"https://example.com/\tx", "https://example.com/\r\nX: y", "https://example.com\\@evil.example/", "https://ex\"ample.com/", "https://example.com/<x>",
		"https://[::1", "https://::1/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[::ffff:1.2.3.4.5]/", "https://[example.com]/",
		"https://[v1.x]/", "https://ex\xc3\xa4mple.com/", "https://example.com/\xff", "https://example.com/\x7f", "https://ex%61mple.com%00.evil.example/",
		"https://%5b::1%5d/", "https://127.0.0.1%2f@example.com/", "https://example.com%2eevil.example:22/", "https://example.com,evil.example/",
		"https://example.com;evil.example/", "https://(example).com/", "https://*.example.com/",
	};
	struct webhook_target target;
	struct error err;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (webhook_target_read(good[i].url, &strict, &target, &err))
			fail_msg("%s: %s", good[i].url, err.text);
		assert_string_equal(target.host, good[i].host);
		assert_int_equal(target.port, good[i].port);
		assert_true(target.https && !target.only_loopback);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		err.text[0] = '\0';
		if (webhook_target_read(bad[i], &strict, &target, &err) != WEIR_INVALID || !err.text[0])
			fail_msg("%s was taken: %s port %u", bad[i], target.host, target.port);
	}
	char longest[WEBHOOK_URL_MAX + 2];
	memset(longest, 'a', sizeof longest);
	memcpy(longest, "https://example.com/", 20);
	longest[WEBHOOK_URL_MAX + 1] = '\0';
	assert_int_equal(webhook_target_read(longest, &strict, &target, &err), WEIR_INVALID);
	longest[WEBHOOK_URL_MAX] = '\0';
	assert_int_equal(webhook_target_read(longest, &strict, &target, &err), 0);
	char name[400] = "https://";
	memset(name + 8, 'a', 300);
	assert_int_equal(webhook_target_read(name, &strict, &target, &err), WEIR_INVALID);
}

static void test_loopback_is_for_development(void **state)
{
	static const struct {
		const char *url;
		const char *address;
		bool strict, loose;
	} cases[] = {
		{ "https://example.com/", "8.8.8.8", true, true },
		{ "https://example.com/", "2606:4700::1111", true, true },
		{ "https://example.com/", "127.0.0.1", false, true },
		{ "https://example.com/", "::1", false, true },
		{ "https://example.com/", "10.0.0.1", false, false },
		{ "https://example.com/", "169.254.169.254", false, false },
		{ "https://example.com:4000/", "127.0.0.1", false, true },
		{ "https://example.com:4000/", "8.8.8.8", false, false },
		{ "http://localhost:4000/", "127.0.0.1", false, true },
		{ "http://localhost:4000/", "8.8.8.8", false, false },
		{ "http://example.com:443/", "8.8.8.8", false, false },
		{ "http://localhost/", "::ffff:127.0.0.1", false, false },
	};
	struct webhook_target target;
	struct error err;
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sockaddr_storage address = address_of(cases[i].address);
		bool got = !webhook_target_read(cases[i].url, &strict, &target, &err) && !webhook_addresses_check(&strict, &target, &address, 1, &err);
		if (got != cases[i].strict)
			fail_msg("%s at %s, strict", cases[i].url, cases[i].address);
		got = !webhook_target_read(cases[i].url, &loose, &target, &err) && !webhook_addresses_check(&loose, &target, &address, 1, &err);
		if (got != cases[i].loose)
			fail_msg("%s at %s, loose: %s", cases[i].url, cases[i].address, err.text);
	}
}

static void test_one_bad_address_refuses_the_name(void **state)
{
	struct webhook_target target;
	struct error err;
	struct sockaddr_storage mixed[3] = { address_of("8.8.8.8"), address_of("2606:4700::1111"), address_of("1.1.1.1") };
	(void)state;
	assert_int_equal(webhook_target_read("https://example.com/", &strict, &target, &err), 0);
	assert_int_equal(webhook_addresses_check(&strict, &target, mixed, 0, &err), WEIR_NOT_FOUND);
	assert_int_equal(webhook_addresses_check(&strict, &target, mixed, 3, &err), 0);
	for (size_t i = 0; i < 3; i++) {
		struct sockaddr_storage kept = mixed[i];
		mixed[i] = address_of("192.168.1.1");
		assert_int_equal(webhook_addresses_check(&strict, &target, mixed, 3, &err), WEIR_PERMISSION);
		assert_non_null(strstr(err.text, "192.168.1.1"));
		mixed[i] = address_of("127.0.0.1");
		assert_int_equal(webhook_addresses_check(&strict, &target, mixed, 3, &err), WEIR_PERMISSION);
		mixed[i] = kept;
	}
}

static void test_ports(void **state)
{
	static const char *const bad[] = { "", "x", "0", "65536", "443,,8443", ",443", "443 8443", "-1", "443;8443", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "000443" };
	struct webhook_rules rules;
	struct error err;
	(void)state;
	assert_int_equal(webhook_rules_read("443, 8443,65535", true, &rules, &err), 0);
	assert_true(rules.loopback && rules.port_count == 3 && rules.ports[0] == 443 && rules.ports[1] == 8443 && rules.ports[2] == 65535);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (webhook_rules_read(bad[i], false, &rules, &err) != WEIR_INVALID)
			fail_msg("%s was taken", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_every_24),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_loopback_is_for_development),
		cmocka_unit_test(test_one_bad_address_refuses_the_name),
		cmocka_unit_test(test_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

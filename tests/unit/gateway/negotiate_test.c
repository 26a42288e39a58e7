/* negotiate_test.c - tags that clients name, origins that may read, routes that will go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/call/lifecycle.h"
#include "services/gateway/call/negotiate.h"
#include "services/gateway/call/validator.h"

#include <string.h>

#define TAG "\"0123456789012345678901\""
#define TAG_OPEN "\"0123456789012345678901"

static void tags_are_compared_weakly_and_in_any_coding(void **state)
{
	(void)state;
	static const char *const same[] = { TAG, "W/" TAG, "*", TAG_OPEN "-gzip\"", "\"x\", " TAG, "\"x\",\t" TAG ", \"y\"", "W/\"x\",W/" TAG, ",, " TAG };
	static const char *const other[] = { "", "x", "\"\"", TAG_OPEN, "0123456789012345678901", TAG_OPEN "x\"", "\"-gzip\"", "**", "\"x\" " "y", "w/" TAG, "x, " TAG,
					     "\"0123456789\"", "\"" };
	char match[ETAG_MAX];
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		if (!etag_matches(same[i], TAG, match))
			fail_msg("%s does not match", same[i]);
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
		if (etag_matches(other[i], TAG, match))
			fail_msg("%s matches", other[i]);
	assert_false(etag_matches(NULL, TAG, match));
	assert_false(etag_matches("*", "", match));
	assert_true(etag_matches("W/" TAG_OPEN "-zstd\"", TAG, match));
	assert_string_equal(match, TAG_OPEN "-zstd\"");
	char long_one[300];
	memset(long_one, 'a', sizeof long_one - 1);
	memcpy(long_one, TAG_OPEN "-", strlen(TAG_OPEN) + 1);
	long_one[298] = '"';
	long_one[299] = '\0';
	assert_false(etag_matches(long_one, TAG, match)); /* no tag of ours is so long */
}

static void origins_are_said_exactly(void **state)
{
	(void)state;
	static const char *const bad[] = { "*", "null", "https://", "a.example", "ftp://a", "https://A.example", "https://a/", "https://a@b", "https://a?b", "https://a#b", "https://*.a" };
	struct cors_origins origins;
	struct error err = { 0 };
	assert_int_equal(cors_parse("", &origins, &err), 0);
	assert_int_equal(origins.count, 0);
	assert_int_equal(cors_parse(" https://a.example ,,http://b:8080,https://[::1]:1 ", &origins, &err), 0);
	assert_int_equal(origins.count, 3);
	assert_string_equal(origins.items[1], "http://b:8080");
	cors_free(&origins);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(cors_parse(bad[i], &origins, &err), WEIR_CONFIG);
		assert_non_null(strstr(err.text, "gateway.cors_origins"));
		cors_free(&origins);
	}
	struct buf many = BUF_INIT(10000);
	for (int i = 0; i <= CORS_ORIGINS_MAX; i++)
		buf_printf(&many, "https://h%d,", i);
	assert_int_equal(cors_parse(buf_str(&many), &origins, &err), WEIR_CONFIG);
	cors_free(&origins);
	buf_free(&many);
}

static const char *field(const struct http_response *r, const char *name)
{
	for (size_t i = 0; i < r->field_count; i++)
		if (strcmp(r->fields[i].name, name) == 0)
			return r->fields[i].value;
	return NULL;
}

static void only_listed_origins_may_read(void **state)
{
	(void)state;
	static char listed[] = "https://a.example", other[] = "https://a.example.evil", none[] = "null";
	struct cors_origins origins;
	assert_int_equal(cors_parse("https://a.example", &origins, NULL), 0);
	static char *const senders[] = { listed, other, none, NULL };
	for (size_t i = 0; i < 4; i++) {
		struct http_request request = { .origin = senders[i] };
		struct http_response response = { 0 };
		cors_tell(&origins, &request, &response);
		assert_string_equal(field(&response, "Vary"), "Origin"); /* always: caches must know */
		assert_true((field(&response, "Access-Control-Allow-Origin") != NULL) == (i == 0));
		assert_true(response.cross_origin == (i == 0));
		assert_null(field(&response, "Access-Control-Allow-Credentials"));
	}
	cors_free(&origins);
	struct http_request request = { .origin = listed };
	struct http_response response = { 0 };
	cors_tell(&origins, &request, &response);
	assert_int_equal(response.field_count, 0);
}

static void pages_of_other_origins_open_no_websocket(void **state)
{
	(void)state;
	static const struct {
		const char *origin, *host;
		bool may;
	} rows[] = {
		{ NULL, "weir.example", true }, /* no browser */
		{ "https://a.example", "weir.example", true },
		{ "https://a.example:8443", "weir.example", true },
		{ "http://weir.example", "weir.example", true },
		{ "https://weir.example:8080", "weir.example:8080", true },
		{ "https://weir.example:8080", "WEIR.example:8080", true },
		{ "http://[::1]:8080", "[::1]:8080", true },
		{ "null", "weir.example", false }, /* a sandboxed frame, a file */
		{ "null", "null", false },
		{ "", "weir.example", false },
		{ "http://a.example", "weir.example", false }, /* another scheme than the listed one */
		{ "https://a.example:443", "weir.example", false }, /* browsers leave it out */
		{ "https://A.example", "weir.example", false },
		{ "https://a.example.", "weir.example", false },
		{ "https://a.example/", "weir.example", false },
		{ "https://a.example.evil", "weir.example", false },
		{ "https://evil-a.example", "weir.example", false },
		{ "https://a.example@evil.example", "weir.example", false },
		{ "https://weir.example@evil.example", "weir.example", false },
		{ "https://evil.example#weir.example", "weir.example", false },
		{ "https://xn--a-ecp.example", "weir.example", false },
		{ "https://weir.example.", "weir.example", false },
		{ "https://weir.example", "weir.example:8080", false },
		{ "https://weir.example:8081", "weir.example:8080", false },
		{ "weir.example", "weir.example", false },
		{ "ftp://weir.example", "weir.example", false },
		{ "chrome-extension://weir.example", "weir.example", false },
		{ "https://a.example, https://evil.example", "weir.example", false },
		{ "https://weir.example", NULL, false },
	};
	struct cors_origins origins;
	assert_int_equal(cors_parse("https://a.example, https://a.example:8443", &origins, NULL), 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct http_request request = { .origin = rows[i].origin ? strdup(rows[i].origin) : NULL, .host = rows[i].host ? strdup(rows[i].host) : NULL };
		if (cors_may_open(&origins, &request) != rows[i].may)
			print_error("row %zu: %s\n", i, rows[i].origin);
		assert_int_equal(cors_may_open(&origins, &request), rows[i].may);
		free(request.origin);
		free(request.host);
	}
	cors_free(&origins);
}

static void what_will_go_says_when_and_what_instead(void **state)
{
	(void)state;
	struct http_response response = { 0 };
	lifecycle_tell(NULL, &response);
	assert_int_equal(response.field_count, 0);
	const struct lifecycle l = { .deprecated_s = 1688169599, .sunset_s = 1719791999, .successor = "/v2/chains" };
	lifecycle_tell(&l, &response);
	assert_string_equal(field(&response, "Deprecation"), "@1688169599");
	assert_string_equal(field(&response, "Sunset"), "Sun, 30 Jun 2024 23:59:59 GMT");
	assert_string_equal(field(&response, "Link"), "</v2/chains>; rel=\"successor-version\"");
	struct http_response only = { 0 };
	lifecycle_tell(&(struct lifecycle){ .deprecated_s = 1 }, &only);
	assert_int_equal(only.field_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_are_compared_weakly_and_in_any_coding),
		cmocka_unit_test(origins_are_said_exactly),
		cmocka_unit_test(only_listed_origins_may_read),
		cmocka_unit_test(pages_of_other_origins_open_no_websocket),
		cmocka_unit_test(what_will_go_says_when_and_what_instead),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is asked of the live end about kinds of entries, and which entries that takes. */
#include "services/gateway/live/event.h"
#include "services/gateway/live/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int read_params(const char *params, struct arena *arena, struct ws_request *ret, struct error *err)
{
	char text[400];
	int n = snprintf(text, sizeof text, "{\"id\":1,\"method\":\"subscribe\",\"params\":{\"chain\":\"dev\",%s}}", params);
	return ws_request_read((struct bytes){ (const uint8_t *)text, (size_t)n }, arena, ret, err);
}

static void a_kind_goes_with_topics_of_entries(void **state)
{
	static const struct {
		const char *params;
		bool good;
	} cases[] = {
		{ "\"topic\":\"entries\",\"kind\":\"fee\"", true },
		{ "\"topic\":\"entries\",\"kind\":\"fee\",\"account\":\"0x00\",\"asset\":\"native\"", true },
		{ "\"topic\":\"watchlist\",\"watchlist\":\"1\",\"kind\":\"fee\"", true },
		{ "\"topic\":\"entries\",\"kind\":null", true },
		{ "\"topic\":\"accounts\",\"account\":\"0x00\",\"kind\":\"fee\"", false },
		{ "\"topic\":\"blocks\",\"kind\":\"fee\"", false },
		{ "\"topic\":\"chain_status\",\"kind\":\"fee\"", false },
		{ "\"topic\":\"dead_letters\",\"kind\":\"fee\"", false },
		{ "\"topic\":\"entries\",\"kind\":\"\"", false },
		{ "\"topic\":\"entries\",\"kind\":9", false },
		{ "\"topic\":\"entries\",\"kind\":\"012345678901234567890123456789012\"", false },
		{ "\"topic\":\"entries\",\"kind\":\"fee\",\"kind\":\"tip\"", false },
	};
	struct arena *arena = arena_new((size_t)1 << 20);
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ws_request got;
		struct error err = { 0 };
		int code = read_params(cases[i].params, arena, &got, &err);
		if (code != (cases[i].good ? 0 : WEIR_INVALID))
			fail_msg("%s: %d %s", cases[i].params, code, err.text);
		if (i < 3)
			assert_string_equal(got.subscribe.kind, "fee");
	}
	arena_free(&arena);
}

static void every_kind_has_one_name(void **state)
{
	static const char *const bad[] = { "", "gold", "unknown", "Fee", "fee ", "012345678901234567890123456789012345678901234567890123456789" };
	int kind = 0;
	struct error err = { 0 };
	(void)state;
	for (size_t i = 0; i < weir__v1__entry_kind__descriptor.n_values; i++) {
		const int value = weir__v1__entry_kind__descriptor.values[i].value;
		if (value == WEIR__V1__ENTRY_KIND__ENTRY_KIND_UNSPECIFIED)
			continue;
		assert_int_equal(kind_parse(kind_name(value), &kind, &err), 0);
		assert_int_equal(kind, value);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(kind_parse(bad[i], &kind, &err), WEIR_INVALID);
		assert_int_equal(kind, 0);
	}
}

static void a_filter_takes_what_account_asset_and_kind_all_take(void **state)
{
	const struct chain_asset native = { .contract_size = 0 }, token = { .contract = { 7 }, .contract_size = 20 };
	const uint8_t one[20] = { 1 }, two[20] = { 2 };
	(void)state;
	for (int f = 0; f < 8; f++)
		for (int e = 0; e < 8; e++) {
			struct filter filter = { .has_account = f & 1, .account = { 1 }, .account_size = 20, .has_asset = f & 2, .asset = token, .kind = f & 4 ? 3 : 0 };
			bool takes = filter_takes(&filter, (struct bytes){ e & 1 ? one : two, 20 }, e & 2 ? &token : &native, e & 4 ? 3 : 9);
			assert_int_equal(takes, (e & f) == f);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_kind_goes_with_topics_of_entries), cmocka_unit_test(every_kind_has_one_name),
					    cmocka_unit_test(a_filter_takes_what_account_asset_and_kind_all_take) };
	return cmocka_run_group_tests_name("subscribe", tests, NULL, NULL);
}

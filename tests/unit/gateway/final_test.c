/* final_test.c - answers that are kept: found again, in bounds, gone when the ledger went back, also for who read it before that. */
#include "services/gateway/call/final.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct final_answer any = { .type = "application/json", .caching = "immutable", .etag = "\"a\"" };

static void keep(struct final_answers *all, uint64_t turn, const char *path, const char *body)
{
	final_keep(all, turn, path, &any, (struct bytes){ (const uint8_t *)body, strlen(body) });
}

/* Its body; NULL: it is not there. */
static const char *find(struct final_answers *all, const char *path)
{
	static char text[200];
	struct final_answer answer;
	struct buf body = BUF_INIT(1 << 20);
	bool found = final_find(all, path, &answer, &body);
	snprintf(text, sizeof text, "%.*s", (int)body.size, body.data ? (const char *)body.data : "");
	if (found)
		assert_string_equal(answer.etag, "\"a\"");
	else
		assert_int_equal(body.size, 0);
	buf_free(&body);
	return found ? text : NULL;
}

static void what_is_kept_is_found_by_its_path_alone(void **state)
{
	(void)state;
	struct final_answers *all = final_new(1 << 20, NULL, NULL);
	assert_null(find(all, "/v1/a"));
	keep(all, final_turn(all), "/v1/a", "one");
	keep(all, final_turn(all), "/v1/b", "");
	keep(all, final_turn(all), "/v1/a", "two");
	assert_string_equal(find(all, "/v1/a"), "one");
	assert_string_equal(find(all, "/v1/b"), "");
	assert_null(find(all, "/v1/A"));
	assert_null(find(all, "/v1/a/"));
	final_free(&all);
	final_free(&all);
}

static void the_oldest_make_room(void **state)
{
	(void)state;
	char path[40];
	struct final_answers *all = final_new(40000, NULL, NULL);
	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof path, "/v1/%d", i);
		keep(all, final_turn(all), path, path);
		assert_string_equal(find(all, path), path);
	}
	assert_null(find(all, "/v1/0"));
	assert_null(find(all, "/v1/19000"));
	assert_string_equal(find(all, "/v1/19900"), "/v1/19900");
	final_free(&all);
}

static void what_is_too_large_or_not_wanted_is_not_kept(void **state)
{
	(void)state;
	static uint8_t large[FINAL_ANSWER_MAX + 1];
	struct final_answers *all = final_new(1 << 20, NULL, NULL), *none = final_new(0, NULL, NULL), *small = final_new(500, NULL, NULL);
	final_keep(all, 0, "/a", &any, (struct bytes){ large, sizeof large });
	assert_null(find(all, "/a"));
	final_keep(all, 0, "/a", &any, (struct bytes){ large, sizeof large - 1 });
	assert_non_null(find(all, "/a"));
	keep(none, 0, "/a", "x");
	assert_null(find(none, "/a"));
	final_keep(small, 0, "/a", &any, (struct bytes){ large, 500 });
	assert_null(find(small, "/a"));
	final_free(&all);
	final_free(&none);
	final_free(&small);
}

static void nothing_from_before_comes_back(void **state)
{
	(void)state;
	struct final_answers *all = final_new(1 << 20, NULL, NULL);
	uint64_t before = final_turn(all);
	keep(all, before, "/a", "x");
	final_forget(all);
	assert_null(find(all, "/a"));
	keep(all, before, "/a", "read before the ledger went back");
	assert_null(find(all, "/a"));
	keep(all, final_turn(all), "/a", "y");
	assert_string_equal(find(all, "/a"), "y");
	final_free(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_found_by_its_path_alone),
		cmocka_unit_test(the_oldest_make_room),
		cmocka_unit_test(what_is_too_large_or_not_wanted_is_not_kept),
		cmocka_unit_test(nothing_from_before_comes_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

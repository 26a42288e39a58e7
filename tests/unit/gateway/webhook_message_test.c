/* webhook_message_test.c - pushes as messages: the same event, one lane per account, ids that stay and that tell pushes apart. */
#include "services/gateway/webhook/webhook_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct webhook_want want = { "dev", "", "", TOPIC_OF_ENTRIES, 7, 1 };

static int make(const struct webhook_want *w, uint64_t sequence, int64_t index, const char *tail, struct webhook_message *ret, struct buf *body)
{
	struct error err;
	buf_reset(body);
	return webhook_message_make(w, sequence, index, (struct bytes){ (const uint8_t *)tail, strlen(tail) }, 1700000000123, ret, body, &err);
}

static void test_events_become_messages(void **state)
{
	static const struct {
		const char *tail, *type, *lane, *body;
		bool barrier;
	} cases[] = {
		{ ",\"event\":{\"type\":\"entry\",\"id\":\"1f\",\"account\":\"0xab\"}}", "entry", "0xab",
		  "{\"type\":\"entry\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{\"type\":\"entry\",\"id\":\"1f\",\"account\":\"0xab\"}}", false },
		{ ",\"event\":{\"type\":\"block\",\"id\":\"2f\"}}", "block", "",
		  "{\"type\":\"block\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{\"type\":\"block\",\"id\":\"2f\"}}", false },
		{ ",\"event\":{\"type\":\"retracted\",\"ids\":[\"1f\"]}}", "retracted", "",
		  "{\"type\":\"retracted\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{\"type\":\"retracted\",\"ids\":[\"1f\"]}}", true },
		{ ",\"event\":{\"text\":\"\\\"}\\u00e4\",\"type\":\"gap\"}}", "gap", "",
		  "{\"type\":\"gap\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{\"text\":\"\\\"}\\u00e4\",\"type\":\"gap\"}}", false },
	};
	struct buf body = BUF_INIT(4096);
	struct webhook_message m;
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(make(&want, 5, 1, cases[i].tail, &m, &body), 0);
		assert_string_equal(m.type, cases[i].type);
		assert_string_equal(m.lane, cases[i].lane);
		assert_int_equal(m.barrier, cases[i].barrier);
		assert_string_equal(buf_str(&body), cases[i].body);
		assert_int_equal(strlen(m.id), WEBHOOK_ID_SIZE - 1);
	}
	buf_free(&body);
}

static void test_what_is_no_push(void **state)
{
	static const char *const bad[] = { "", "}", "{}", ",\"event\":", ",\"event\":}", ",\"event\":{}}", ",\"event\":[]}", ",\"event\":{\"type\":7}}",
					   ",\"event\":{\"type\":\"\"}}", ",\"event\":{\"type\":\"a\"}", ",\"event\":{\"type\":\"entry\"}},",
					   ",\"event\":{\"type\":\"a\",\"type\":\"b\"}}", ",\"event\":{\"type\":\"a-type-that-is-longer-than-any-of-ours\"}}", ",\"other\":{\"type\":\"entry\"}}" };
	struct buf body = BUF_INIT(4096);
	struct webhook_message m;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (make(&want, 5, 1, bad[i], &m, &body) != WEIR_INVALID)
			fail_msg("%s was taken", bad[i]);
	buf_free(&body);
}

static void test_ids_stay_and_differ(void **state)
{
	static const char entry[] = ",\"event\":{\"type\":\"entry\"}}", retracted[] = ",\"event\":{\"type\":\"retracted\"}}";
	const struct webhook_want others[] = {
		{ "dev2", "", "", TOPIC_OF_ENTRIES, 7, 1 }, { "dev", "0xab", "", TOPIC_OF_ENTRIES, 7, 1 }, { "dev", "", "native", TOPIC_OF_ENTRIES, 7, 1 },
		{ "dev", "", "", TOPIC_OF_BLOCKS, 7, 1 },   { "dev", "", "", TOPIC_OF_ENTRIES, 8, 1 },     { "dev", "", "", TOPIC_OF_ENTRIES, 7, 2 },
	};
	struct buf body = BUF_INIT(4096);
	struct webhook_message first, m;
	(void)state;
	assert_int_equal(make(&want, 5, 1, entry, &first, &body), 0);
	assert_int_equal(make(&want, 5, 1, entry, &m, &body), 0);
	assert_string_equal(m.id, first.id);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		assert_int_equal(make(&others[i], 5, 1, entry, &m, &body), 0);
		assert_string_not_equal(m.id, first.id);
	}
	assert_int_equal(make(&want, 6, 1, entry, &m, &body), 0);
	assert_string_not_equal(m.id, first.id);
	assert_int_equal(make(&want, 5, 2, entry, &m, &body), 0);
	assert_string_not_equal(m.id, first.id);
	assert_int_equal(make(&want, 5, 1, retracted, &m, &body), 0);
	assert_string_not_equal(m.id, first.id);
	buf_free(&body);
}

static void test_topics(void **state)
{
	enum topic topic;
	(void)state;
	for (int i = TOPIC_OF_BLOCKS; i <= TOPIC_OF_STATUS; i++) {
		assert_true(webhook_topic_read(webhook_topic_name((enum topic)i), &topic));
		assert_int_equal(topic, i);
	}
	assert_false(webhook_topic_read("status", &topic));
	assert_false(webhook_topic_read("", &topic));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events_become_messages),
		cmocka_unit_test(test_what_is_no_push),
		cmocka_unit_test(test_ids_stay_and_differ),
		cmocka_unit_test(test_topics),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* span_test.c - beginning, ending and naming spans; what others write as traceparent. */
#include "base/clock.h"
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct span told;
static unsigned count;

static void tell(void *arg, const struct span *s)
{
	(void)arg;
	told = *s;
	count++;
}
static const struct span_sink sink = { tell, NULL };

static void a_child_belongs_to_its_parent(void **state)
{
	(void)state;
	struct span_context root = span_root(1000000);
	struct span parent = span_begin(&sink, &root, SPAN_INTERNAL, "parent");
	struct span child = span_begin(&sink, &parent.context, SPAN_CLIENT, "child");
	count = 0;
	span_text(&child, "a", "text");
	span_text(&child, "none", NULL);
	span_number(&child, "n", -5);
	span_end(&sink, &child);
	assert_int_equal(count, 1);
	assert_memory_equal(told.context.trace_id, root.trace_id, 16);
	assert_memory_equal(told.parent_id, parent.context.span_id, 8);
	assert_memory_not_equal(told.context.span_id, parent.context.span_id, 8);
	assert_int_equal(told.attribute_count, 2);
	assert_true(told.begin_ns > 0 && told.end_ns >= told.begin_ns);
	static const uint8_t none[8];
	assert_memory_equal(parent.parent_id, none, 8);
}

static void what_is_not_recorded_is_not_told(void **state)
{
	(void)state;
	count = 0;
	struct span_context root = span_root(0), unknown = { .flags = 1 };
	assert_false(span_recorded(&root));
	assert_false(span_recorded(&unknown)); /* no trace id */
	struct span s = span_begin(&sink, &root, SPAN_INTERNAL, "s");
	assert_memory_equal(&s.context, &root, sizeof root); /* what it causes belongs to the parent */
	span_text(&s, "a", "b");
	span_end(&sink, &s);
	root = span_root(1000000);
	s = span_begin(NULL, &root, SPAN_INTERNAL, "s");
	span_end(NULL, &s);
	assert_int_equal(count, 0);
}

static void attributes_are_bounded(void **state)
{
	(void)state;
	struct span_context root = span_root(1000000);
	struct span s = span_begin(&sink, &root, SPAN_INTERNAL, "s");
	for (int i = 0; i < 2 * SPAN_ATTRIBUTES_MAX; i++)
		span_number(&s, "n", i);
	span_end(&sink, &s);
	assert_int_equal(told.attribute_count, SPAN_ATTRIBUTES_MAX);
	assert_int_equal(told.attributes[SPAN_ATTRIBUTES_MAX - 1].number, SPAN_ATTRIBUTES_MAX - 1);
}

static uint64_t dice;
static uint64_t counted(void)
{
	return dice++;
}

static void the_share_that_is_recorded(void **state)
{
	(void)state;
	uint64_t (*random)(void) = random_u64;
	unsigned n = 0;
	random_u64 = counted;
	for (dice = 0; dice < 1000000;) {
		uint64_t at = dice;
		struct span_context c = span_root(10000);
		n += span_recorded(&c);
		dice = at + 100;
	}
	random_u64 = random;
	assert_int_equal(n, 100); /* one in a hundred of 10,000 */
}

static void traceparent_there_and_back(void **state)
{
	(void)state;
	char text[SPAN_TRACEPARENT_SIZE];
	struct span_context c;
	static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	assert_true(span_from_traceparent(good, &c));
	assert_int_equal(c.flags, 1);
	assert_int_equal(c.trace_id[0], 0x0a);
	assert_int_equal(c.span_id[7], 0x31);
	span_traceparent(&c, text);
	assert_string_equal(text, good);
}

static void what_is_no_traceparent(void **state)
{
	(void)state;
	static const char *const rows[] = { "",
					    "00",
					    "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
					    "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
					    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
					    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
					    "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
					    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
					    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
					    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" };
	static const struct span_context none;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct span_context c = { .flags = 9 };
		assert_false(span_from_traceparent(rows[i], &c));
		assert_memory_equal(&c, &none, sizeof c);
	}
	struct span_context c;
	assert_false(span_from_traceparent(NULL, &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_belongs_to_its_parent), cmocka_unit_test(what_is_not_recorded_is_not_told),
		cmocka_unit_test(attributes_are_bounded),	 cmocka_unit_test(the_share_that_is_recorded),
		cmocka_unit_test(traceparent_there_and_back),	 cmocka_unit_test(what_is_no_traceparent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

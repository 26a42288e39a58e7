/* registry_test.c - the rules of the table of message types, and bodies on their way through the versions. Types are never taken back, so
 * each test has ids of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/registry.h"

#include <string.h>

static struct bytes text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static int append_dash(struct bytes body, struct buf *ret, struct error *err)
{
	(void)err;
	buf_add(ret, body.data, body.size);
	buf_add_str(ret, "-");
	return 0;
}

static int append_plus(struct bytes body, struct buf *ret, struct error *err)
{
	if (body.size > 0 && body.data[0] == '!')
		return error_set(err, WEIR_INVALID, "begins with !");
	buf_add(ret, body.data, body.size);
	buf_add_str(ret, "+");
	return 0;
}

static bus_upcast_fn *const two_steps[] = { append_dash, append_plus };
static bus_upcast_fn *const a_hole[] = { append_dash, NULL };

static void refuses(struct bus_type row, const char *why)
{
	static struct bus_type kept[32];
	static size_t n;
	struct error err = { 0 };
	kept[n] = row;
	assert_int_equal(bus_types_add(&kept[n++], 1, &err), WEIR_CONFIG);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void a_program_that_adds_nothing_has_weirs_types(void **state)
{
	(void)state;
	assert_string_equal(message_type_name(1), "raw_block_tip");
	assert_int_equal(message_type_class(5), BUS_CRITICAL);
	assert_int_equal(message_type_class(900), -1);
	assert_string_equal(message_type_name(900), "#900");
}

static void ids_and_names_are_given_once(void **state)
{
	(void)state;
	static const struct bus_type first = { .id = 100, .name = "first", .version = 1 };
	assert_int_equal(bus_types_add(&first, 1, NULL), 0);
	assert_ptr_equal(bus_type_of(100), &first);
	refuses((struct bus_type){ .id = 100, .name = "other", .version = 1 }, "given once");
	refuses((struct bus_type){ .id = 101, .name = "first", .version = 1 }, "given once");
	refuses((struct bus_type){ .id = 0, .name = "zero", .version = 1 }, "above 0");
	refuses((struct bus_type){ .id = 102, .name = "", .version = 1 }, "a name");
	refuses((struct bus_type){ .id = 102, .name = "none", .version = 0 }, "writes version 0");
	refuses((struct bus_type){ .id = 102, .name = "old", .version = 1, .oldest = 2 }, "reads from 2");
	refuses((struct bus_type){ .id = 102, .name = "class", .version = 1, .klass = (enum bus_class)4 }, "no such class");
	assert_null(bus_type_of(102));
}

static void all_or_nothing(void **state)
{
	(void)state;
	static const struct bus_type rows[] = { { .id = 110, .name = "fine", .version = 1 }, { .id = 110, .name = "twice", .version = 1 } };
	assert_int_equal(bus_types_add(rows, 2, NULL), WEIR_CONFIG);
	assert_null(bus_type_of(110));
}

static void one_key_space_one_class(void **state)
{
	(void)state;
	static const struct bus_type opened = { .id = 120, .name = "opened", .version = 1, .klass = BUS_HIGH, .key_space = "account" };
	static const struct bus_type noted = {
		.id = 122, .name = "noted", .version = 1, .klass = BUS_LOW, .key_space = "account", .independent = true
	};
	static const struct bus_type shipped = { .id = 123, .name = "shipped", .version = 1, .klass = BUS_LOW, .key_space = "parcel" };
	assert_int_equal(bus_types_add(&opened, 1, NULL), 0);
	refuses((struct bus_type){ .id = 121, .name = "closed", .version = 1, .klass = BUS_LOW, .key_space = "account" }, "opened and closed");
	assert_int_equal(bus_types_add(&noted, 1, NULL), 0);
	assert_int_equal(bus_types_add(&shipped, 1, NULL), 0);
}

static void every_version_has_its_upcaster(void **state)
{
	(void)state;
	refuses((struct bus_type){ .id = 130, .name = "bare", .version = 2, .oldest = 1 }, "from version 1 to 2");
	refuses((struct bus_type){ .id = 130, .name = "hole", .version = 3, .oldest = 1, .upcasters = a_hole }, "from version 2 to 3");
	static const struct bus_type grown = { .id = 131, .name = "grown", .version = 3, .oldest = 1, .upcasters = two_steps };
	assert_int_equal(bus_types_add(&grown, 1, NULL), 0);
	struct buf buf = BUF_INIT(100);
	struct bytes body;
	assert_int_equal(bus_upcast(131, 1, text("a"), &buf, &body, NULL), 0);
	assert_int_equal(body.size, 3);
	assert_memory_equal(body.data, "a-+", 3);
	assert_int_equal(bus_upcast(131, 2, text("b"), &buf, &body, NULL), 0);
	assert_int_equal(body.size, 2);
	assert_memory_equal(body.data, "b+", 2);
	const struct bytes newest = text("c");
	assert_int_equal(bus_upcast(131, 3, newest, &buf, &body, NULL), 0);
	assert_ptr_equal(body.data, newest.data);
	buf_free(&buf);
}

static void what_this_build_does_not_know(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT(100);
	struct bytes body;
	struct error err;
	assert_int_equal(bus_upcast(131, 4, text("x"), &buf, &body, &err), WEIR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "versions 1 to 3 of message type grown, not 4"));
	assert_int_equal(bus_upcast(131, 0, text("x"), &buf, &body, &err), WEIR_UNSUPPORTED);
	assert_int_equal(bus_upcast(999, 1, text("x"), &buf, &body, &err), WEIR_UNSUPPORTED);
	assert_int_equal(bus_upcast(131, 2, text("!"), &buf, &body, &err), WEIR_INVALID);
	assert_non_null(strstr(err.text, "message type grown, from version 2 to 3: begins with !"));
	buf_free(&buf);
}

struct told {
	size_t count, most;
	uint16_t last;
};

static bool note_type(const struct bus_type *type, void *arg)
{
	struct told *told = arg;
	told->count++;
	told->last = type->id;
	assert_ptr_equal(bus_type_of(type->id), type);
	return told->count < told->most;
}

static void all_types_are_told_until_enough(void **state)
{
	(void)state;
	struct told all = { .most = SIZE_MAX }, two = { .most = 2 };
	bus_types_each(note_type, &all);
	const size_t before = all.count;
	static const struct bus_type newest = { .id = 140, .name = "newest", .version = 1 };
	assert_int_equal(bus_types_add(&newest, 1, NULL), 0);
	all.count = 0;
	bus_types_each(note_type, &all);
	assert_int_equal(all.count, before + 1);
	assert_int_equal(all.last, 140);
	bus_types_each(note_type, &two);
	assert_int_equal(two.count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_that_adds_nothing_has_weirs_types),
		cmocka_unit_test(ids_and_names_are_given_once),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(one_key_space_one_class),
		cmocka_unit_test(every_version_has_its_upcaster),
		cmocka_unit_test(what_this_build_does_not_know),
		cmocka_unit_test(all_types_are_told_until_enough),
	};
	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}

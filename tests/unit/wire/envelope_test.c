/* envelope_test.c - issuer, category, cause, story and limit of attempts: packed as protobuf says, read back, carried by a frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/envelope.h"

#include "weir/v1/envelope.pb-c.h"

#include <stdlib.h>
#include <string.h>

static struct bytes text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static struct envelope whole(void)
{
	struct envelope e = { .issuer = text("billing"), .category = text("domain"), .attempts_max = 300 };
	memset(e.causation_id, 1, sizeof e.causation_id);
	memset(e.correlation_id, 2, sizeof e.correlation_id);
	return e;
}

static void is_what_protobuf_says(void **state)
{
	(void)state;
	struct envelope e = whole(), read;
	struct buf packed = BUF_INIT(FRAME_MORE_MAX);
	envelope_write(&e, &packed);
	Weir__V1__Envelope *theirs = weir__v1__envelope__unpack(NULL, packed.size, packed.data);
	assert_non_null(theirs);
	assert_string_equal(theirs->issuer, "billing");
	assert_string_equal(theirs->category, "domain");
	assert_int_equal(theirs->causation_id.len, 16);
	assert_memory_equal(theirs->correlation_id.data, e.correlation_id, 16);
	assert_int_equal(theirs->attempts_max, 300);
	uint8_t again[FRAME_MORE_MAX];
	assert_int_equal(weir__v1__envelope__pack(theirs, again), packed.size);
	assert_memory_equal(again, packed.data, packed.size);
	weir__v1__envelope__free_unpacked(theirs, NULL);
	assert_int_equal(envelope_read((struct bytes){ packed.data, packed.size }, &read, NULL), 0);
	assert_memory_equal(read.issuer.data, "billing", 7);
	assert_int_equal(read.category.size, 6);
	assert_memory_equal(read.causation_id, e.causation_id, 16);
	assert_memory_equal(read.correlation_id, e.correlation_id, 16);
	assert_int_equal(read.attempts_max, 300);
	buf_free(&packed);
}

static void nothing_said_takes_no_room(void **state)
{
	(void)state;
	struct buf packed = BUF_INIT(FRAME_MORE_MAX);
	struct envelope none = { 0 }, read;
	envelope_write(&none, &packed);
	assert_int_equal(packed.size, 0);
	assert_int_equal(envelope_read((struct bytes){ NULL, 0 }, &read, NULL), 0);
	assert_memory_equal(&read, &none, sizeof read);
	buf_free(&packed);
}

static void later_fields_are_passed_over_and_nonsense_is_refused(void **state)
{
	(void)state;
	struct envelope e;
	struct error err = { 0 };
	/* field 9 as a number, as eight bytes, as bytes, as four bytes; then the limit */
	static const uint8_t later[] = { 0x48, 0x80, 0x01, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x4a, 2, 'h', 'i', 0x4d, 1, 2, 3, 4, 0x28, 7 };
	assert_int_equal(envelope_read((struct bytes){ later, sizeof later }, &e, NULL), 0);
	assert_int_equal(e.attempts_max, 7);
	static const uint8_t group[] = { 0x4b }, cut[] = { 0x0a, 5, 'a' }, id[] = { 0x1a, 3, 1, 2, 3 }, endless[] = { 0x28, 0xff };
	const struct bytes bad[] = { { group, sizeof group }, { cut, sizeof cut }, { id, sizeof id }, { endless, sizeof endless } };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(envelope_read(bad[i], &e, &err), WEIR_INVALID);
	for (size_t n = 1; n < sizeof later; n++)
		(void)envelope_read((struct bytes){ later, n }, &e, NULL);
}

static void long_texts_are_cut(void **state)
{
	(void)state;
	char big[2 * ENVELOPE_TEXT_MAX + 1] = "";
	memset(big, 'x', sizeof big - 1);
	struct envelope e = whole(), read;
	struct buf packed = BUF_INIT(FRAME_MORE_MAX);
	e.issuer = e.category = text(big);
	envelope_write(&e, &packed);
	assert_false(packed.overflow);
	assert_int_equal(envelope_read((struct bytes){ packed.data, packed.size }, &read, NULL), 0);
	assert_int_equal(read.issuer.size, ENVELOPE_TEXT_MAX);
	assert_int_equal(read.category.size, ENVELOPE_TEXT_MAX);
	buf_free(&packed);
}

static void a_frame_carries_it(void **state)
{
	(void)state;
	struct envelope e = whole(), read;
	struct buf packed = BUF_INIT(FRAME_MORE_MAX), with = BUF_INIT(4096), without = BUF_INIT(4096);
	struct frame f = { .type = 3, .schema_version = 1, .key = text("k"), .body = text("body") }, g;
	frame_write(&f, &without);
	envelope_write(&e, &packed);
	f.more = (struct bytes){ packed.data, packed.size };
	frame_write(&f, &with);
	assert_int_equal(with.size, without.size + packed.size);
	assert_int_equal(frame_size((struct bytes){ with.data, with.size }), with.size);
	assert_int_equal(frame_read((struct bytes){ with.data, with.size }, &g, NULL), 0);
	assert_int_equal(g.key.size, 1);
	assert_int_equal(g.body.size, 4);
	assert_memory_equal(g.body.data, "body", 4);
	assert_int_equal(envelope_read(g.more, &read, NULL), 0);
	assert_int_equal(read.attempts_max, 300);
	assert_int_equal(frame_read((struct bytes){ without.data, without.size }, &g, NULL), 0);
	assert_int_equal(g.more.size, 0);
	with.data[62]++; /* a length that does not fit */
	assert_int_equal(frame_read((struct bytes){ with.data, with.size }, &g, NULL), WEIR_INVALID);
	with.data[63] = 0xff;
	assert_int_equal(frame_read((struct bytes){ with.data, with.size }, &g, NULL), WEIR_LIMIT);
	f.more.size = FRAME_MORE_MAX + 1;
	struct buf never = BUF_INIT(4096);
	frame_write(&f, &never);
	assert_true(never.overflow);
	buf_free(&packed);
	buf_free(&with);
	buf_free(&without);
	buf_free(&never);
}

static void a_story_goes_on(void **state)
{
	(void)state;
	struct envelope first = { 0 }, second = { 0 };
	struct buf packed = BUF_INIT(FRAME_MORE_MAX);
	struct frame order = { .event_id = { 1 } }, payment = { .event_id = { 2 } };
	envelope_caused_by(&first, &order);
	assert_memory_equal(first.causation_id, order.event_id, 16);
	assert_memory_equal(first.correlation_id, order.event_id, 16);
	envelope_write(&first, &packed);
	payment.more = (struct bytes){ packed.data, packed.size };
	envelope_caused_by(&second, &payment);
	assert_memory_equal(second.causation_id, payment.event_id, 16);
	assert_memory_equal(second.correlation_id, order.event_id, 16);
	buf_free(&packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_what_protobuf_says),
		cmocka_unit_test(nothing_said_takes_no_room),
		cmocka_unit_test(later_fields_are_passed_over_and_nonsense_is_refused),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(a_frame_carries_it),
		cmocka_unit_test(a_story_goes_on),
	};
	return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}

/* trace_test.c - messages in traces: parents, links of batches, retries, parking and replay, and what is not recorded. On the simulator. */
#include "bus/core/core.h"
#include "bus/subscription.h"
#include "bus/trace.h"
#include "support/bus_fixture.h"
#include "support/sim_redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NOTED = 300 };
static const struct bus_type types[] = { { .id = NOTED, .name = "noted", .version = 1, .klass = BUS_NORMAL, .key_space = "note" } };
static const uint16_t handled[] = { NOTED };

/* -- what was told ---------------------------------------------------------------------------------------------------------------- */

static struct note {
	struct span span;
	char name[64], letter[64], group[32], error_type[32], system[16];
	struct span_context links[SPAN_LINKS_MAX];
	int64_t attempt, batch;
} notes[64];
static size_t note_count;

static void take(char *ret, size_t size, const char *name, const struct span_attribute *a)
{
	if (strcmp(a->name, name) == 0)
		snprintf(ret, size, "%s", a->text);
}

static void tell(void *arg, const struct span *s)
{
	(void)arg;
	assert_true(note_count < 64);
	struct note *n = &notes[note_count++];
	memset(n, 0, sizeof *n);
	n->span = *s;
	snprintf(n->name, sizeof n->name, "%s", s->name);
	if (s->link_count > 0)
		memcpy(n->links, s->links, s->link_count * sizeof n->links[0]);
	for (size_t i = 0; i < s->attribute_count; i++) {
		const struct span_attribute *a = &s->attributes[i];
		take(n->letter, sizeof n->letter, "weir.letter", a);
		take(n->system, sizeof n->system, "messaging.system", a);
		take(n->group, sizeof n->group, "messaging.consumer.group.name", a);
		take(n->error_type, sizeof n->error_type, "error.type", a);
		n->attempt = strcmp(a->name, "weir.attempt") == 0 ? a->number : n->attempt;
		n->batch = strcmp(a->name, "messaging.batch.message_count") == 0 ? a->number : n->batch;
	}
}
static const struct span_sink sink = { tell, NULL };

static struct note *nth(const char *name, size_t n)
{
	for (size_t i = 0; i < note_count; i++)
		if (strcmp(notes[i].name, name) == 0 && n-- == 0)
			return &notes[i];
	return NULL;
}

static void assert_child(const struct note *child, const struct span_context *parent)
{
	assert_non_null(child);
	assert_memory_equal(child->span.context.trace_id, parent->trace_id, 16);
	assert_memory_equal(child->span.parent_id, parent->span_id, 8);
}

/* -- the programs ------------------------------------------------------------------------------------------------------------------- */

static int verdict;
static struct span_context handler_trace;

static int handle(const struct bus_delivery *d, void *arg, struct error *err)
{
	(void)arg;
	handler_trace = d->trace;
	struct frame f = { .type = NOTED, .schema_version = 1, .body = d->body };
	if (d->message->frame.key.size == 4 && bus_delivery_emit(d, "results", &f, err) != 0)
		return err->code;
	return verdict ? error_set(err, verdict, "not now") : 0;
}
static const struct bus_handler handlers[] = { { "h", handled, 1, handle, NULL, NULL } };

static struct bus *traced_bus(const char *worker)
{
	struct bus *bus = sim_bus(worker);
	bus->options.spans = &sink;
	return bus;
}

static struct frame frame_of(const struct span_context *trace, const char *key, uint8_t id)
{
	struct frame f = { .type = NOTED, .schema_version = 1, .event_id = { id }, .body = { (const uint8_t *)"body", 4 } };
	f.key = (struct bytes){ (const uint8_t *)key, strlen(key) };
	if (trace)
		frame_set_trace(&f, trace);
	return f;
}

static void publish(struct bus *bus, const struct frame *frames, size_t n)
{
	struct bus_publisher *p;
	struct error err = { 0 };
	assert_int_equal(bus_publisher_open(bus, "test", "notes", "p", &p, &err), 0);
	if (bus_publish(p, frames, n, &err) != 0)
		fail_msg("%s", err.text);
	bus_publisher_close(&p);
}

static struct bus_subscription *subscribe(struct bus *bus, enum bus_order order)
{
	static const struct retry_rule quick[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 2, .base_ms = 1, .max_ms = 1 } } };
	struct bus_subscription_options o = { .chain = "test", .topic = "notes", .subscription = "s", .order = order, .handlers = handlers,
					      .handler_count = 1, .retries = quick, .retry_count = 1, .lease_ms = 60000 };
	struct bus_subscription *s;
	struct error err = { 0 };
	if (bus_subscription_open(bus, &o, &s, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static void turns(struct bus_subscription *s, int n)
{
	struct error err = { 0 };
	for (int i = 0; i < n; i++)
		if (bus_subscription_turn(s, 150, &err) != 0)
			fail_msg("%s", err.text);
}

static struct span_context recorded_root(void)
{
	struct span_context root = span_root(1000000);
	memset(root.span_id, 7, sizeof root.span_id);
	return root;
}

static int setup(void **state)
{
	(void)state;
	note_count = 0;
	verdict = 0;
	sim_begin(1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sim_end();
	return 0;
}

/* -- tests ------------------------------------------------------------------------------------------------------------------------------ */

static void handling_is_below_publishing(void **state)
{
	(void)state;
	struct bus *bus = traced_bus("w");
	struct span_context root = recorded_root();
	struct frame f = frame_of(&root, "k", 1);
	struct bus_subscription *s = subscribe(bus, BUS_ORDERED);
	publish(bus, &f, 1);
	turns(s, 2);
	assert_int_equal(note_count, 2);
	assert_child(nth("publish notes", 0), &root);
	assert_int_equal(nth("publish notes", 0)->span.kind, SPAN_PRODUCER);
	assert_child(nth("process notes", 0), &nth("publish notes", 0)->span.context);
	assert_int_equal(nth("process notes", 0)->span.kind, SPAN_CONSUMER);
	assert_string_equal(nth("process notes", 0)->group, "s");
	assert_int_equal(nth("process notes", 0)->attempt, 1);
	assert_string_equal(nth("publish notes", 0)->system, "redis");
	assert_string_equal(nth("process notes", 0)->system, "redis");
	assert_memory_equal(&handler_trace, &nth("process notes", 0)->span.context, sizeof handler_trace);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void what_a_handler_emits_is_below_its_handling(void **state)
{
	(void)state;
	struct bus *bus = traced_bus("w");
	struct span_context root = recorded_root();
	struct frame f = frame_of(&root, "emit", 1);
	struct bus_subscription *s = subscribe(bus, BUS_SHARED);
	publish(bus, &f, 1);
	turns(s, 2);
	assert_child(nth("publish results", 0), &nth("process notes", 0)->span.context);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void an_ordered_subscription_cannot_emit(void **state)
{
	(void)state;
	struct bus *bus = traced_bus("w");
	struct span_context root = recorded_root();
	struct frame f = frame_of(&root, "emit", 1);
	struct bus_subscription *s = subscribe(bus, BUS_ORDERED);
	struct bus_subscription_status status;
	publish(bus, &f, 1);
	turns(s, 2);
	bus_subscription_status(s, &status);
	assert_non_null(strstr(status.last_error, "nothing was emitted to topic results"));
	assert_int_equal(status.handlers[0].parked, 1);
	assert_string_equal(nth("process notes", 0)->error_type, error_name(WEIR_CONFIG));
	assert_null(nth("publish results", 0));
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void a_batch_has_links(void **state)
{
	(void)state;
	struct bus *bus = traced_bus("w");
	struct span_context a = recorded_root(), b = recorded_root(), off = span_root(0);
	struct frame frames[3] = { frame_of(&a, "a", 1), frame_of(&off, "b", 2), frame_of(&b, "c", 3) };
	publish(bus, frames, 3);
	assert_int_equal(note_count, 3);
	assert_child(nth("create notes", 0), &a);
	assert_child(nth("create notes", 1), &b);
	const struct note *batch = nth("publish notes", 0);
	assert_int_equal(batch->span.link_count, 2);
	assert_int_equal(batch->batch, 3);
	assert_memory_equal(&batch->links[0], &nth("create notes", 0)->span.context, sizeof a);
	assert_memory_equal(&batch->links[1], &nth("create notes", 1)->span.context, sizeof a);
	assert_memory_not_equal(batch->span.context.trace_id, a.trace_id, 16);
	bus_close(&bus);
}

/* The reply is lost, the call repeated: the message is there once, and so is its span, by the id that the message carries. */
static void a_repeated_call_is_one_span(void **state)
{
	(void)state;
	struct bus *bus = traced_bus("w");
	struct span_context root = recorded_root();
	struct frame f = frame_of(&root, "k", 1);
	struct bus_publisher *p;
	assert_int_equal(bus_publisher_open(bus, "test", "notes", "p", &p, NULL), 0);
	assert_int_equal(bus_publish(p, &f, 1, NULL), 0);
	f.event_id[0] = 2;
	sim_set_faults(&(struct sim_faults){ .reply_lost = 10000 });
	assert_int_not_equal(bus_publish(p, &f, 1, NULL), 0);
	assert_int_equal(note_count, 1);
	sim_set_faults(NULL);
	assert_int_equal(bus_publish(p, &f, 1, NULL), 0);
	assert_int_equal(note_count, 2);
	bus_publisher_close(&p);
	struct bus_subscription *s = subscribe(bus, BUS_ORDERED);
	turns(s, 3);
	assert_child(nth("process notes", 1), &nth("publish notes", 1)->span.context);
	assert_null(nth("process notes", 2));
	bus_subscription_close(&s);
	bus_close(&bus);
}

/* Retried, parked, replayed: all tries are below the one publish span, by either lane. */
static void a_dead_letter_keeps_its_trace(enum bus_order order)
{
	struct bus *bus = traced_bus("w");
	struct span_context root = recorded_root();
	struct frame f = frame_of(&root, "k", 1);
	struct bus_subscription *s = subscribe(bus, order);
	verdict = WEIR_CONFLICT;
	publish(bus, &f, 1);
	turns(s, 6);
	assert_null(nth("process notes", 2));
	uint64_t n = 0;
	assert_int_equal(dead_letter_count(bus, "test", "s", &n, NULL), 0);
	assert_int_equal(n, 1);
	verdict = 0;
	assert_int_equal(dead_letter_replay(bus, "test", "s", NULL, NULL, 0, "me", &n, NULL), 0);
	turns(s, 6);
	const struct note *sent = nth("publish notes", 0);
	for (size_t i = 0; i < 3; i++)
		assert_child(nth("process notes", i), &sent->span.context);
	assert_null(nth("process notes", 3));
	assert_string_equal(nth("process notes", 0)->error_type, "conflict");
	assert_string_equal(nth("process notes", 0)->letter, "");
	assert_string_not_equal(nth("process notes", 2)->letter, "");
	assert_string_equal(nth("process notes", 2)->error_type, "");
	assert_int_equal(dead_letter_count(bus, "test", "s", &n, NULL), 0);
	assert_int_equal(n, 0);
	bus_subscription_close(&s);
	bus_close(&bus);
}

static void ordered_dead_letters_keep_their_trace(void **state)
{
	(void)state;
	a_dead_letter_keeps_its_trace(BUS_ORDERED);
}

static void shared_dead_letters_keep_their_trace(void **state)
{
	(void)state;
	a_dead_letter_keeps_its_trace(BUS_SHARED);
}

static void what_is_not_recorded_travels_on_untold(void **state)
{
	(void)state;
	struct bus *bus = traced_bus("w"), *silent = sim_bus("q");
	struct span_context off = span_root(0), root = recorded_root();
	struct frame frames[2] = { frame_of(&off, "k", 1), frame_of(NULL, "k", 2) }, on = frame_of(&root, "k", 3);
	struct bus_subscription *s = subscribe(bus, BUS_ORDERED);
	publish(bus, frames, 2);
	turns(s, 2);
	assert_int_equal(note_count, 0);
	publish(silent, &on, 1); /* nobody listens here: the message says what its publisher said */
	turns(s, 2);
	assert_int_equal(note_count, 1);
	assert_child(nth("process notes", 0), &root);
	bus_subscription_close(&s);
	bus_close(&silent);
	bus_close(&bus);
}

static void spans_in_memory_say_so(void **state)
{
	(void)state;
	struct bus *bus;
	const struct bus_options o = { .url = "memory://traced", .worker = "w", .spans = &sink };
	struct span_context root = recorded_root();
	struct frame f = frame_of(&root, "k", 1);
	assert_int_equal(bus_open(&o, &bus, NULL), 0);
	publish(bus, &f, 1);
	assert_string_equal(nth("publish notes", 0)->system, "memory");
	bus_close(&bus);
}

int main(void)
{
	if (bus_types_add(types, 1, NULL) != 0)
		return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(handling_is_below_publishing),	    TEST(what_a_handler_emits_is_below_its_handling),
		TEST(an_ordered_subscription_cannot_emit),  fixture_threads(a_batch_has_links, setup, teardown, "opentelemetry-java-instrumentation#4854, bullmq-otel#10"),
		TEST(a_repeated_call_is_one_span),	    TEST(ordered_dead_letters_keep_their_trace),
		TEST(shared_dead_letters_keep_their_trace), TEST(what_is_not_recorded_travels_on_untold),
		TEST(spans_in_memory_say_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

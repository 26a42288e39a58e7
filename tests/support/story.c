/* story.c - see story.h. */
#include "support/story.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct story story;

static int append_dash(struct bytes body, struct buf *ret, struct error *err)
{
	(void)err;
	buf_add(ret, body.data, body.size);
	buf_add_str(ret, "-");
	return 0;
}
static bus_upcast_fn *const one_step[] = { append_dash };
static const struct bus_type types[] = {
	{ .id = PAID, .name = "paid", .version = 1, .klass = BUS_NORMAL, .key_space = "order" },
	{ .id = SHIPPED, .name = "shipped", .version = 1, .klass = BUS_NORMAL, .key_space = "order" },
	{ .id = GROWN, .name = "grown", .version = 2, .oldest = 1, .upcasters = one_step, .klass = BUS_NORMAL },
	{ .id = OTHER, .name = "other", .version = 1, .klass = BUS_CRITICAL },
};
const uint16_t story_types[STORY_TYPES] = { PAID, SHIPPED, GROWN };

int story_tell(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct story *s = arg;
	int code = s->all;
	s->calls++;
	for (size_t i = 0; i < 16 && s->fails[i].body; i++)
		if (strlen(s->fails[i].body) == d->body.size && memcmp(s->fails[i].body, d->body.data, d->body.size) == 0 && s->fails[i].times != 0) {
			s->fails[i].times -= s->fails[i].times > 0;
			code = s->fails[i].code;
		}
	size_t used = strlen(s->seen);
	snprintf(s->seen + used, sizeof s->seen - used, "%s%.*s%s", used ? " " : "", (int)d->body.size, (const char *)d->body.data, code ? "!" : "");
	return code ? error_set(err, code, "told to fail with %s", error_name(code)) : 0;
}

const struct bus_handler story_teller[1] = { { "teller", story_types, STORY_TYPES, story_tell, &story, NULL } };
static const struct retry_rule retries[] = {
	{ NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 3, .base_ms = 1, .max_ms = 1 } },
};

struct bus_subscription_options story_options(enum bus_order order)
{
	return (struct bus_subscription_options){ .chain = "test",
						  .topic = "orders",
						  .subscription = "books",
						  .order = order,
						  .handlers = story_teller,
						  .handler_count = 1,
						  .retries = retries,
						  .retry_count = 1,
						  .lease_ms = 60000 };
}

struct bus_subscription *story_open(struct bus *bus, struct bus_subscription_options o)
{
	struct bus_subscription *s;
	struct error err = { 0 };
	if (bus_subscription_open(bus, &o, &s, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

void story_publish(struct bus *bus, uint16_t type, const char *key, const char *body)
{
	fixture_publish(bus, "orders", fixture_message(type, key, body));
}

void story_turn(struct bus_subscription *s)
{
	struct error err = { 0 };
	if (bus_subscription_turn(s, 20, &err) != 0)
		fail_msg("%s", err.text);
}

struct bus_subscription_status story_status(struct bus_subscription *s)
{
	static struct bus_subscription_status st;
	bus_subscription_status(s, &st);
	return st;
}

uint64_t story_generation(void)
{
	char *text = fixture_text("HGET weir:{test}:orders:meta gen");
	uint64_t generation = text ? strtoull(text, NULL, 10) : 0;
	free(text);
	return generation;
}

uint64_t story_letters(struct bus *bus)
{
	uint64_t n;
	assert_int_equal(dead_letter_count(bus, "test", "books", &n, NULL), 0);
	return n;
}

bool story_seen(const char *word)
{
	return strstr(story.seen, word) != NULL;
}

int story_setup(void **state)
{
	memset(&story, 0, sizeof story);
	return fixture_flush(state);
}

int story_prepare(void)
{
	return bus_types_add(types, sizeof types / sizeof types[0], NULL);
}

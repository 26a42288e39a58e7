/* story.h - what tests of subscriptions share: a handler that does as it is told and writes down what it got, as the one of subscription "books" of topic
 * "orders", and rounds until something holds. */
#ifndef TESTS_SUPPORT_STORY_H
#define TESTS_SUPPORT_STORY_H

#include "base/clock.h"
#include "bus/subscription.h"
#include "support/bus_fixture.h"

enum { PAID = 200, SHIPPED, GROWN, OTHER, LATER_KNOWN, STORY_TYPES = 3 };
extern const uint16_t story_types[STORY_TYPES]; /* that the handler takes */

extern struct story {
	char seen[16384]; /* "body body …", failures as "body!" */
	struct {
		const char *body;
		int code, times; /* times < 0: always */
	} fails[16];
	int all; /* every message fails with this, unless 0 */
	unsigned calls;
} story;

bus_handler_fn story_tell; /* arg: the story */
extern const struct bus_handler story_teller[1];

int story_setup(void **state); /* a cmocka setup: nothing was seen, the server is empty */
struct bus_subscription_options story_options(enum bus_order order);
struct bus_subscription *story_open(struct bus *bus, struct bus_subscription_options o);
void story_publish(struct bus *bus, uint16_t type, const char *key, const char *body);
void story_turn(struct bus_subscription *s);
struct bus_subscription_status story_status(struct bus_subscription *s);
uint64_t story_letters(struct bus *bus);
uint64_t story_generation(void); /* of the topic */
bool story_seen(const char *word);

/* Rounds until it holds; a deadline instead of a count. */
#define rounds_until(s, condition)                                                             \
	do {                                                                                   \
		int64_t deadline = clock_mono_ms() + 60000;                                    \
		while (!(condition)) {                                                         \
			if (clock_mono_ms() > deadline)                                        \
				fail_msg("not within 60 s: %s; seen: %s", #condition, story.seen); \
			story_turn(s);                                                         \
		}                                                                              \
	} while (0)

/* Runs the group with the types known and the server up. */
#define story_run(tests) (story_prepare() != 0 ? 1 : fixture_run(tests))
int story_prepare(void);

#endif

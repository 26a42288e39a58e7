/* watchlist_set_test.c - what belongs to a list and from when on, against a model that keeps every span; and the memory that it says it takes. */
#include "services/gateway/watchlist/watchlist_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ADDRESSES 300
#define CHANGES 20000

struct span {
	uint64_t from, to; /* belongs to it for from < sequence <= to */
};

struct model {
	struct span spans[200];
	size_t count;
	bool open;
} models[ADDRESSES];

static struct bytes address(uint32_t n, uint8_t buffer[32])
{
	memset(buffer, 0, 32);
	memcpy(buffer, &n, sizeof n);
	return (struct bytes){ buffer, n % 3 == 0 ? 20 : n % 3 == 1 ? 32 : 7 };
}

static bool had(const struct model *m, uint64_t sequence)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->spans[i].from < sequence && sequence <= m->spans[i].to)
			return true;
	return false;
}

/* It may ask; it may never be wrong, and of events behind the newest change it must know. */
static void check(const struct watchlist_set *set, uint32_t n, uint64_t sequence, uint64_t now)
{
	uint8_t buffer[32];
	const struct model *m = &models[n];
	enum watchlist_verdict verdict = watchlist_set_has(set, address(n, buffer), sequence);
	if (verdict != WATCHLIST_ASK)
		assert_int_equal(verdict == WATCHLIST_YES, had(m, sequence));
	uint64_t newest = m->count == 0 ? 0 : m->open ? m->spans[m->count - 1].from : m->spans[m->count - 1].to;
	if (sequence > newest || m->count == 0)
		assert_int_not_equal(verdict, WATCHLIST_ASK);
	assert_true(sequence <= now + 1);
}

static void as_the_model_says(void **state)
{
	(void)state;
	struct watchlist_set set;
	uint8_t buffer[32];
	uint64_t now = 0;
	srand(11);
	memset(models, 0, sizeof models);
	watchlist_set_init(&set);
	for (int i = 0; i < CHANGES; i++) {
		uint32_t n = (uint32_t)rand() % ADDRESSES;
		struct model *m = &models[n];
		now += (uint64_t)rand() % 3;
		if (m->open) {
			m->spans[m->count - 1].to = now;
			watchlist_set_remove(&set, address(n, buffer), now);
		} else if (m->count < 200) {
			m->spans[m->count++] = (struct span){ now, UINT64_MAX };
			watchlist_set_add(&set, address(n, buffer), now);
			watchlist_set_add(&set, address(n, buffer), now); /* the same again changes nothing */
		} else {
			continue;
		}
		m->open = !m->open;
		check(&set, n, now, now);
		check(&set, n, now + 1, now);
		check(&set, (uint32_t)rand() % ADDRESSES, (uint64_t)rand() % (now + 2), now);
	}
	for (uint32_t n = 0; n < ADDRESSES; n++)
		check(&set, n, now + 1, now);
	assert_int_equal(watchlist_set_has(&set, address(ADDRESSES + 7, buffer), now + 1), WATCHLIST_NO);
	watchlist_set_free(&set);
}

static void nothing_is_in_an_empty_one(void **state)
{
	(void)state;
	struct watchlist_set set;
	uint8_t buffer[32];
	watchlist_set_init(&set);
	assert_int_equal(watchlist_set_has(&set, address(1, buffer), 5), WATCHLIST_NO);
	watchlist_set_forget(&set, 5);
	assert_int_equal(watchlist_set_bytes(&set), 0);
	watchlist_set_free(&set);
}

static void what_was_removed_long_ago_is_forgotten(void **state)
{
	(void)state;
	struct watchlist_set set;
	uint8_t buffer[32];
	watchlist_set_init(&set);
	for (uint32_t n = 0; n < 1000; n++) {
		watchlist_set_add(&set, address(n, buffer), 1);
		if (n % 2)
			watchlist_set_remove(&set, address(n, buffer), 10 + n);
	}
	watchlist_set_forget(&set, 510);
	assert_int_equal(set.used, 500 + 250);
	for (uint32_t n = 0; n < 1000; n++) {
		enum watchlist_verdict old = watchlist_set_has(&set, address(n, buffer), 9);
		assert_int_equal(old, n % 2 == 0 ? WATCHLIST_YES : n > 500 ? WATCHLIST_ASK : WATCHLIST_NO);
		assert_int_equal(watchlist_set_has(&set, address(n, buffer), 5000), n % 2 ? WATCHLIST_NO : WATCHLIST_YES);
	}
	watchlist_set_free(&set);
}

static void a_million_takes_what_is_said(void **state)
{
	(void)state;
	struct watchlist_set set;
	uint8_t buffer[32];
	watchlist_set_init(&set);
	for (uint32_t n = 0; n < 1000000; n++)
		watchlist_set_add(&set, address(n, buffer), 1);
	assert_int_equal(set.used, 1000000);
	assert_true(watchlist_set_bytes(&set) <= 45 * (size_t)1000000);
	assert_int_equal(watchlist_set_bytes(&set), watchlist_set_bytes_for(1000000));
	for (uint32_t n = 0; n < 1000000; n += 999)
		assert_int_equal(watchlist_set_has(&set, address(n, buffer), 2), WATCHLIST_YES);
	for (uint32_t n = 1000000; n < 1010000; n++)
		assert_int_equal(watchlist_set_has(&set, address(n, buffer), 2), WATCHLIST_NO);
	watchlist_set_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_model_says),
		cmocka_unit_test(nothing_is_in_an_empty_one),
		cmocka_unit_test(what_was_removed_long_ago_is_forgotten),
		cmocka_unit_test(a_million_takes_what_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

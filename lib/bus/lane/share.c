/* share.c - the classes' weights, kept in a hash of Redis, and deficit round robin with an age rule. */
#include "bus/lane/share.h"

#include "bus/core/transport.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK_EVERY_MS 500
#define WHOLE 1000 /* deficits count thousandths */
#define AGE_FIELD "age_ms"

const struct bus_weights BUS_WEIGHTS_DEFAULT = { { 16, 8, 4, 1 }, 60000 };

/* -- kept in Redis --------------------------------------------------------------------------------------------------------------- */

static int check(const struct bus_weights *w, struct error *err)
{
	for (int c = 0; c < CLASSES; c++)
		if (w->of[c] < 1 || w->of[c] > BUS_WEIGHT_MAX)
			return error_set(err, WEIR_INVALID, "class %s: a weight is 1 to %d, not %" PRIu32, bus_classes[c], BUS_WEIGHT_MAX, w->of[c]);
	if (w->age_ms < 0)
		return error_set(err, WEIR_INVALID, "an age is not negative: %" PRId64 " ms", w->age_ms);
	return 0;
}

int bus_weights_set(struct bus *bus, const char *chain, const char *topic, const char *subscription, const struct bus_weights *w, const char *who,
		    struct error *err)
{
	char key[KEY_MAX], texts[CLASSES + 1][24], detail[320];
	struct bus_field fields[CLASSES + 1];
	int r = check(w, err);
	if (r == 0 && bus->transport)
		r = bus_refuse(bus, "weights of classes", err);
	if (r != 0)
		return r;
	snprintf(key, sizeof key, WEIGHTS_KEY_FORMAT, chain, topic, subscription);
	for (int c = 0; c < CLASSES; c++) {
		snprintf(texts[c], sizeof texts[c], "%" PRIu32, w->of[c]);
		fields[c] = (struct bus_field){ bus_classes[c], texts[c] };
	}
	snprintf(texts[CLASSES], sizeof texts[CLASSES], "%" PRId64, w->age_ms);
	fields[CLASSES] = (struct bus_field){ AGE_FIELD, texts[CLASSES] };
	snprintf(detail, sizeof detail, "topic %s, subscription %s: %s:%s:%s:%s, age %s ms", topic, subscription, texts[0], texts[1], texts[2], texts[3],
		 texts[CLASSES]);
	r = bus_hash_write(bus, key, fields, CLASSES + 1, err);
	return r ? r : bus_audit(bus, chain, who ? who : "", "weights", detail, err);
}

static void take_field(const char *name, const char *value, void *arg)
{
	struct bus_weights *w = arg;
	int c = bus_class_of(name);
	char *end;
	long long n = strtoll(value, &end, 10);
	if (end == value || *end)
		return;
	if (c >= 0 && n >= 1 && n <= BUS_WEIGHT_MAX)
		w->of[c] = (uint32_t)n;
	else if (strcmp(name, AGE_FIELD) == 0 && n >= 0)
		w->age_ms = n;
}

int bus_weights_get(struct bus *bus, const char *chain, const char *topic, const char *subscription, struct bus_weights *ret, struct error *err)
{
	char key[KEY_MAX];
	struct bus_weights w = BUS_WEIGHTS_DEFAULT;
	snprintf(key, sizeof key, WEIGHTS_KEY_FORMAT, chain, topic, subscription);
	int r = bus_hash_read(bus, key, take_field, &w, err);
	if (r != 0 && r != WEIR_NOT_FOUND)
		return r;
	*ret = w;
	return 0;
}

void bus_share_init(struct bus_share *s)
{
	*s = (struct bus_share){ .weights = BUS_WEIGHTS_DEFAULT };
}

void bus_share_look(struct bus_share *s, struct bus *bus, const char *chain, const char *topic, const char *subscription)
{
	if (clock_mono_ms() < s->look_ms)
		return;
	s->look_ms = clock_mono_ms() + LOOK_EVERY_MS;
	(void)bus_weights_get(bus, chain, topic, subscription, &s->weights, NULL);
}

/* -- sharing --------------------------------------------------------------------------------------------------------------------- */

static size_t give(size_t n, int c, size_t left[CLASSES], size_t ret[CLASSES])
{
	n = n < left[c] ? n : left[c];
	ret[c] += n;
	left[c] -= n;
	return n;
}

/* The late ones, the latest first: up to half of the room. Nothing when all are as late. */
static size_t share_to_late(struct bus_share *s, size_t room, size_t left[CLASSES], const int64_t age_ms[CLASSES], size_t ret[CLASSES])
{
	size_t half = (room + (s->turn++ & 1)) / 2, given = 0, late = 0, wanting = 0; /* of an odd room now the smaller, now the larger */
	for (int c = 0; c < CLASSES; c++) {
		wanting += left[c] > 0;
		late += left[c] > 0 && s->weights.age_ms > 0 && age_ms[c] >= s->weights.age_ms;
	}
	if (late == wanting)
		return 0;
	for (bool done[CLASSES] = { false }; late > 0 && given < half; late--) {
		int oldest = -1;
		for (int c = 0; c < CLASSES; c++)
			if (left[c] > 0 && !done[c] && age_ms[c] >= s->weights.age_ms && (oldest < 0 || age_ms[c] > age_ms[oldest]))
				oldest = c;
		if (oldest < 0)
			break;
		done[oldest] = true;
		given += give(half - given, oldest, left, ret);
	}
	return given;
}

/* One round: what is left is promised to the classes that have more, once, by weight; each gets what it was promised, rounded down. Where nobody
 * gets anything, the one that was promised most. */
static size_t share_round(struct bus_share *s, size_t room, size_t left[CLASSES], size_t ret[CLASSES])
{
	int64_t total = 0, promise = (int64_t)room * WHOLE;
	size_t given = 0;
	int first = -1;
	for (int c = 0; c < CLASSES; c++) {
		total += left[c] > 0 ? s->weights.of[c] : 0;
		promise -= left[c] > 0 ? s->deficit[c] : 0;
	}
	for (int c = 0; c < CLASSES; c++) {
		if (left[c] == 0)
			continue;
		s->deficit[c] += promise > 0 ? promise * s->weights.of[c] / total : 0;
		first = first < 0 || s->deficit[c] > s->deficit[first] ? c : first;
	}
	for (int c = CLASSES - 1; c >= 0; c--) {
		if (left[c] == 0 || s->deficit[c] < WHOLE)
			continue;
		size_t share = (size_t)(s->deficit[c] / WHOLE), some = give(share < room - given ? share : room - given, c, left, ret);
		s->deficit[c] -= (int64_t)some * WHOLE;
		given += some;
	}
	if (given > 0 || first < 0)
		return given;
	s->deficit[first] -= WHOLE;
	return give(1, first, left, ret);
}

void bus_share_out(struct bus_share *s, size_t room, const size_t wanted[CLASSES], const int64_t age_ms[CLASSES], size_t ret[CLASSES])
{
	size_t left[CLASSES], given = 0, some = 1;
	for (int c = 0; c < CLASSES; c++) {
		left[c] = wanted[c];
		ret[c] = 0;
	}
	if (room > 0)
		given = share_to_late(s, room, left, age_ms, ret);
	while (given < room && some > 0)
		given += some = share_round(s, room - given, left, ret);
	for (int c = 0; c < CLASSES; c++)
		if (left[c] == 0)
			s->deficit[c] = 0; /* an empty queue saves nothing up */
}

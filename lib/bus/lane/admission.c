/* admission.c - see admission.h. */
#include "bus/lane/admission.h"
#include "bus/redis/connection.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AGE_EVERY_MS 1000

/* From max_memory_percent on what is low waits; what is left up to all of it is shared among the more important classes. */
static double memory_limit(const struct bus *bus, int klass)
{
	double least = (double)bus->options.max_memory_percent;
	return least + (100 - least) * (CLASSES - 1 - klass) / CLASSES;
}

int bus_admit_memory(struct bus *bus, const char *chain, const char *topic, int klass, struct error *err)
{
	double used = klass == BUS_CRITICAL ? 0 : bus_memory_percent(bus);
	if (used <= memory_limit(bus, klass))
		return 0;
	return error_set(err, WEIR_FULL, "Redis uses %.0f %% of its maxmemory; class %s of topic %s of chain %s waits from %.0f %% on", used,
			 bus_classes[klass], topic, chain, memory_limit(bus, klass));
}

/* The row of a topic; the one that was looked at longest ago makes room for a new one. */
static struct topic_age *row_of(struct bus *bus, const char *chain, const char *topic)
{
	char name[KEY_MAX];
	struct topic_age *row = &bus->ages[0];
	snprintf(name, sizeof name, "%s/%s", chain, topic);
	for (size_t i = 0; i < BUS_AGES; i++) {
		if (strcmp(bus->ages[i].name, name) == 0)
			return &bus->ages[i];
		if (bus->ages[i].next_ms < row->next_ms)
			row = &bus->ages[i];
	}
	*row = (struct topic_age){ .next_ms = 0 };
	snprintf(row->name, sizeof row->name, "%s", name);
	return row;
}

/* What cannot be asked holds nobody: the command to come will say why. */
static const struct topic_age *ages_of(struct bus *bus, const char *chain, const char *topic)
{
	struct bus_stream_info info[CLASSES];
	struct topic_age *row = row_of(bus, chain, topic);
	size_t n = 0;
	if (clock_mono_ms() < row->next_ms)
		return row;
	row->next_ms = clock_mono_ms() + AGE_EVERY_MS;
	(void)bus_info(bus, chain, topic, NULL, info, &n, NULL);
	for (size_t c = 0; c < CLASSES; c++)
		row->age_ms[c] = c < n ? info[c].head_age_ms : 0;
	return row;
}

int bus_admit_age(struct bus *bus, const char *chain, const char *topic, int klass, struct error *err)
{
	if (bus->options.max_age_ms <= 0 || klass == BUS_CRITICAL)
		return 0;
	const struct topic_age *row = ages_of(bus, chain, topic);
	int64_t limit = bus->options.max_age_ms;
	for (int c = 0; c <= klass; c++) /* readers that are behind with what is more important have no time for this */
		if (row->age_ms[c] > limit)
			return error_set(err, WEIR_FULL,
					 "topic %s of chain %s: a message of class %s is unread for %" PRId64 " ms, more than %" PRId64
					 "; class %s waits",
					 topic, chain, bus_classes[c], row->age_ms[c], limit, bus_classes[klass]);
	return 0;
}

/* names.c - the classes, and what a chain's and a topic's keys are called. */
#include "bus/core/core.h"

#include <stdio.h>
#include <string.h>

const char *const bus_classes[CLASSES] = { CLASS_CRITICAL, CLASS_HIGH, CLASS_NORMAL, CLASS_LOW };

void bus_anchor(const char *chain, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "weir:{%s}", chain);
}

void bus_stream(const char *chain, const char *topic, int klass, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, STREAM_KEY_FORMAT, chain, topic, bus_classes[klass]);
}

int bus_class_of(const char *name)
{
	for (int c = 0; c < CLASSES; c++)
		if (strcmp(bus_classes[c], name) == 0)
			return c;
	return -1;
}

int bus_class_of_stream(const char *chain, const char *topic, const char *stream)
{
	char key[KEY_MAX];
	for (int c = 0; c < CLASSES; c++) {
		bus_stream(chain, topic, c, key);
		if (strcmp(key, stream) == 0)
			return c;
	}
	return -1;
}

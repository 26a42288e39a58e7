/* kafka_api.c - librdkafka, loaded at run time. */
#include "bus/kafka/kafka_api.h"
#include "bus/core/library.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "librdkafka.so.1"

struct kafka_api rdk;

static const struct library_symbol symbols[] = {
#define X(name) { "rd_kafka_" #name, &rdk.name },
	KAFKA_FUNCTIONS(X)
#undef X
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[256]; /* why there is none; empty: all is there */

static void load(void)
{
	library_load(LIBRARY, symbols, sizeof symbols / sizeof symbols[0], missing, sizeof missing);
}

int kafka_api_load(struct error *err)
{
	pthread_once(&once, load);
	if (*missing)
		return error_set(err, WEIR_UNSUPPORTED, "kafka:// needs librdkafka 2 (" LIBRARY ", Debian: librdkafka1), which cannot be loaded: %s. "
			  "Install it, or use a Redis", missing);
	return 0;
}

/* core.h - private to lib/bus: the bus as all its parts see it, the names of streams and classes, and its counters. */
#ifndef WEIR_BUS_CORE_H
#define WEIR_BUS_CORE_H

#include "bus/bus.h"
#include "bus/core/address.h"

#include "weir/streams.h"

#include <hiredis/hiredis.h>

#define CLASSES 4
extern const char *const bus_classes[CLASSES]; /* critical, high, normal, low */

#define BLOCK_SLICE_MS 200   /* how often waiting looks whether the program stops */
#define REPLAY_EVERY_MS 100  /* how often a lane looks for letters to try again */
#define REPLAY_HOLD_MS 60000 /* a letter taken for replay and not settled comes back after this */
#define KEY_MAX 256
#define BUS_AGES 8           /* topics whose oldest messages a bus remembers (admission.h) */
#define PLACES_MAX 256       /* of a class that several instances may own: a transport's partitions (transport.h) */

struct bus {
	struct bus_options options; /* strings owned */
	char *url, *username, *password, *worker;
	struct bus_address address;
	struct bus_cluster *cluster; /* owned; NULL: one server */
	struct log log;
	redisContext *redis; /* NULL while not connected */
	const struct bus_io *io; /* NULL: sockets */
	struct memory_client *memory; /* of "memory://": whose io it is */
	const struct bus_transport *transport; /* what is no Redis (transport.h); NULL: a Redis */
	void *transport_state;                 /* its own; owned */
	redisReplyObjectFunctions *by_malloc; /* hiredis' own */
	char run[64];        /* the server's run id: another one may have lost the end of what this one had */
	uint64_t connects;   /* times a connection was made: lanes look again at what they think they know */
	struct backoff_state {
		int64_t next_ms;
		unsigned attempts;
	} retry;
	bool (*stopping)(void *);
	void *stopping_arg;
	struct bus_fsync {
		bool always;
		char has[120]; /* what it has instead; empty: it may not be asked */
		char run[64];  /* of the server that was asked */
		int64_t next_ms;
	} fsync;
	int64_t memory_ms; /* when the server's memory was looked at last */
	double memory_percent; /* of its maxmemory; 0: it has none */
	struct topic_age {
		char name[KEY_MAX]; /* chain/topic */
		int64_t next_ms;    /* when it is looked at again */
		int64_t age_ms[CLASSES];
	} ages[BUS_AGES];
};

/* Where bytes come from and time passes: sockets, or the simulator of the tests. */
struct bus_io {
	redisContext *(*connect)(void *arg); /* a context whose funcs are the io's own; NULL: refused */
	void (*wait)(void *arg, int64_t ms); /* until there may be something, or the time has passed */
	void *arg;
};
void bus_set_io(struct bus *, const struct bus_io *);

bool bus_canceled(const struct bus *);
/* WEIR_INVALID, for a read of at most 0 messages: to Redis that means all there are. */
int bus_refuse_nothing(struct error *);

void bus_anchor(const char *chain, char ret[KEY_MAX]);
void bus_stream(const char *chain, const char *topic, int klass, char ret[KEY_MAX]);
int bus_class_of_stream(const char *chain, const char *topic, const char *stream); /* -1: none */
int bus_class_of(const char *name);                                                /* -1: none */

/* Counters; no-ops without a registry. One that is to be watched for its first count is there before it, at 0. */
void bus_count_from_zero(struct bus *, const char *name, const char *chain, const char *topic, const char *subscription);
void bus_count(struct bus *, const char *name, const char *chain, const char *topic, const char *subscription, uint64_t n);

#endif

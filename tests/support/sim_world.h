/* sim_world.h - who acts in a simulated schedule: publishers, readers with their handlers and what these did. simulation_test.c has the operator, the faults
 * and the schedules. */
#ifndef TESTS_SUPPORT_SIM_WORLD_H
#define TESTS_SUPPORT_SIM_WORLD_H

#include "bus/subscription.h"

#include <stdbool.h>
#include <stdint.h>

enum { FACT = 300, NEWS, JOB, RESULT, TICK, DUST };
enum { FACTS = 48, NEWSES = 24, JOBS = 24, DUSTS = 400, KEYS = 5, READERS = 5, STEPS = 160, ENDING = 6000, BATCH = 8, HOLD = 16 };

/* What a schedule may contain. */
enum { LOSSES = 1, KILLS = 2, FLUSHES = 4 };

extern struct world {
	uint64_t seed;
	unsigned may;
	bool telling, ending, lost, mended, outage;
	/* effects: the handlers' database, which outlives everything */
	bool fact_done[FACTS], news_done[NEWSES], job_done[JOBS];
	bool fact_skipped[FACTS], news_skipped[NEWSES]; /* somebody asked for it: it may or may not have come through */
	unsigned disorders;
	char first_disorder[160];
	struct publisher {
		struct bus *bus;
		struct bus_publisher *p;
		uint64_t next; /* of its own events */
	} facts, news, jobs, dust;
	struct reader {
		struct bus *bus;
		struct bus_subscription *s;
		bool dying;
		unsigned lives;
		bool worked; /* its handler succeeded in this round */
	} readers[READERS];
	struct bus *operator;
} world;

int world_types(void); /* makes them known */
void say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* when telling */

void open_reader(int i);
void close_reader(int i);
void turn_reader(int i);

void open_publisher(struct publisher *p, const char *topic, const char *name);
void publish_facts(void);                                              /* an outbox: its own dense sequence, resumed where the stream ends */
void publish_counted(struct publisher *p, uint16_t type, uint64_t all); /* numbers by itself; told of a loss it begins its journal anew */
void publish_dust(void);

#endif

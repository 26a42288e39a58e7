/* probation.h - private to lib/bus: what an owner knows of how those before it ended, and what it notes of its own work (bus.h, crash poison). */
#ifndef WEIR_BUS_PROBATION_H
#define WEIR_BUS_PROBATION_H

#include "bus/core/core.h"

#define BUS_WHAT_MAX 192 /* a name of something noted, with the build */

struct bus_suspect {
	char *what; /* owned */
	int times;
	char letter[48]; /* what was parked for it last; empty: nothing */
};

struct bus_probation {
	struct bus *bus;
	const char *chain, *topic, *subscription; /* the lane's */
	unsigned budget;   /* notes of a probation; 0: nobody asked for it */
	unsigned left;     /* notes still to be made */
	char build[32];    /* begins with @; empty: builds are not told apart */
	char instance[32]; /* random: tells this life from the one before */
	char at[BUS_WHAT_MAX]; /* noted by us, and not taken back */
	struct bus_suspect *suspects; /* owned */
	size_t suspect_count;
};

/* The lane is owned now. */
int bus_probation_begin(struct bus_probation *, struct error *);
/* The lane was lost, but we live: what we noted did not end us. Best effort. */
void bus_probation_lives(struct bus_probation *);
/* It is given up in order. Best effort. */
void bus_probation_end(struct bus_probation *);
void bus_probation_free(struct bus_probation *);

/* What a message is called where its caller knows nothing better: its class, and its letter or its place. */
void bus_message_name(const struct bus_message *, char ret[BUS_WHAT_MAX]);
/* How often instances ended over it. */
int bus_owner_crashes(struct bus_owner *, const char *what);

#endif

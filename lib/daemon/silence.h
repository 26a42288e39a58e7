/* silence.h - alerts that nobody wants to hear for a while: kept in Redis (SILENCES_KEY) for all processes, each with its end and its reason.
 *
 * Redis lost means silences lost: then alerts are heard, which is the safe side. Nothing here is needed to raise an alert.
 */
#ifndef WEIR_DAEMON_SILENCE_H
#define WEIR_DAEMON_SILENCE_H

#include "bus/bus.h"

#define SILENCES_MAX 64
#define SILENCE_ID 17
#define SILENCE_PATTERN 160

struct silence {
	char id[SILENCE_ID];
	char pattern[SILENCE_PATTERN]; /* of alert keys ("gap dev *"), with * and ?; or a page of the runbook ("gap") */
	char reason[201], who[65];
	int64_t created_ms, expires_ms; /* wall clock */
};

/* Fills in id and created_ms. WEIR_FULL when there are SILENCES_MAX. */
int silence_add(struct bus *, struct silence *, struct error *);
/* Those that have not ended, the ones that end first before the others. */
int silence_list(struct bus *, struct silence ret[SILENCES_MAX], size_t *ret_n, struct error *);
int silence_end(struct bus *, const char *id, struct error *); /* WEIR_NOT_FOUND */
bool silence_covers(const struct silence *, const char *key, const char *runbook, int64_t now_ms);

#endif

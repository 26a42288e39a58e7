/* replay_internal.h - private to replay.c and replay_read.c. */
#ifndef WEIR_GATEWAY_REPLAY_INTERNAL_H
#define WEIR_GATEWAY_REPLAY_INTERNAL_H

#include "replay.h"

#include "store/pg.h"

/* Reads one piece of the journal behind job->offset, renders the pushes, moves the offset. Within the caller's transaction. */
int replay_read(struct replay_job *, struct pg *, struct error *);

#endif

/* replay_internal.h - private to replay.c and replay_read.c. */
#ifndef WEIR_GATEWAY_REPLAY_INTERNAL_H
#define WEIR_GATEWAY_REPLAY_INTERNAL_H

#include "live/replay.h"

#include "store/pg.h"

/* Reads one piece of the journal behind job->offset, renders the pushes, moves the offset. Within the caller's transaction. */
int replay_read(struct replay_job *, struct pg *, struct error *);
/* The push that stands for everything before it (replay_snapshot.c). */
int replay_snapshot(struct replay_job *, struct pg *, struct error *);
void replay_add_push(struct replay_job *, const struct buf *text, const struct offset *at);
/* Print of the event in a row of the journal. */
int replay_print(const struct replay_job *, struct bytes body, uint32_t *ret, struct error *);

#endif

/* replay.h - reading the journal in PostgreSQL for subscriptions that are not at the live end: a few threads, one piece at a time.
 *
 * The journal is read in its own order, superseded blocks and their retractions included. So a client that was away gets exactly what
 * it would have got had it stayed, and the seam with the live feed is the sequence number.
 */
#ifndef WEIR_GATEWAY_REPLAY_H
#define WEIR_GATEWAY_REPLAY_H

#include "event.h"
#include "protocol.h"

enum replay_task {
	REPLAY_FROM_OFFSET, /* check job.offset */
	REPLAY_FROM_HEIGHT, /* find where height begins */
	REPLAY_READ,        /* the next piece behind job.offset */
};

struct push { /* one message for a subscription */
	struct tail *tail;
	uint64_t sequence;
	int64_t index;
};

struct replay_job {
	/* question */
	enum replay_task task;
	const struct gateway_chain *chain;
	enum topic topic;
	struct filter filter;
	int64_t height;
	void *owner;
	/* question and answer */
	struct offset offset;
	/* answer. WEIR_NOT_FOUND: the offset lies in no journal of ours; retriable codes: try again later */
	int code;
	struct error error;
	struct push *pushes;
	size_t count, capacity;
	struct replay_job *next;
};

typedef void replay_done(struct replay_job *, void *arg); /* on one of replay's threads; the job is the callee's again */

struct replay;
int replay_open(struct gateway *, unsigned threads, replay_done *, void *arg, struct replay **ret, struct error *);
void replay_close(struct replay **); /* jobs not begun come back as WEIR_CANCELED */
void replay_submit(struct replay *, struct replay_job *);
void replay_job_free(struct replay_job **);

#define RETRACTED_IDS_MAX 1000 /* in one push */

#endif

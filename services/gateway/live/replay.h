/* replay.h - reading the journal in PostgreSQL for subscriptions that are not at the live end: a few threads, one piece at a time.
 *
 * The journal is read in its own order, superseded blocks and their retractions included. So a client that was away gets exactly what
 * it would have got had it stayed, and the seam with the live feed is the sequence number.
 */
#ifndef WEIR_GATEWAY_REPLAY_H
#define WEIR_GATEWAY_REPLAY_H

#include "live/event.h"
#include "live/protocol.h"
#include "identity/principal.h"

enum replay_task {
	REPLAY_FROM_NOW,    /* the journal's end becomes job.offset */
	REPLAY_FROM_OFFSET, /* check job.offset */
	REPLAY_FROM_HEIGHT, /* find where height begins */
	REPLAY_SNAPSHOT,    /* one push: what is so at the journal's end, which becomes job.offset */
	REPLAY_READ,        /* the next piece behind job.offset */
};

struct push { /* one message for a subscription */
	struct tail *tail;
	struct offset at; /* behind it; its given_after and min_height are the subscription's to say */
	/* Of TOPIC_OF_LEDGER only. */
	int64_t place; /* within the event: an entry's ordinal; of the event as a whole, which comes behind its entries, how many they are */
	uint8_t account_size, account[32]; /* whose entry; size 0: it is the chain's */
};

struct replay_job {
	/* question */
	enum replay_task task;
	const struct gateway_chain *chain;
	enum topic topic;
	struct filter filter;
	bool finality; /* promotions, too, of topics entries and accounts */
	int64_t height;
	bool has_hash; /* REPLAY_FROM_HEIGHT: the canonical block there must have this hash */
	uint8_t hash[32];
	void *owner;
	_Atomic bool unwanted; /* the submitter's to set at any time: nobody waits for it any more, and if it is not begun it comes back as WEIR_CANCELED */
	char holder[PRINCIPAL_NAME_MAX]; /* all but REPLAY_READ: whose filter.watchlist must be; "": anybody's, but there must be one */
	/* question and answer */
	struct offset offset;
	bool trusts; /* REPLAY_FROM_OFFSET: the offset is our own, also one without a print */
	/* answer. WEIR_NOT_FOUND: the offset lies in no journal of ours; WEIR_PERMISSION: the watch-list is not the holder's, or there is none;
	 * WEIR_MISMATCH: another block is canonical there, ancestor is the newest below it that both have, if the ledger knows; WEIR_GAP: it has no block there;
	 * retriable codes: try again later */
	int code;
	struct error error;
	struct {
		bool known;
		int64_t height;
		uint8_t hash[32];
	} ancestor;
	struct push *pushes;
	size_t count, capacity;
	struct replay_job *next;
};

typedef void replay_done(struct replay_job *, void *arg); /* on one of replay's threads; the job is the callee's again */

struct replay;
int replay_open(struct gateway *, unsigned threads, replay_done *, void *arg, struct replay **ret, struct error *);
void replay_close(struct replay **); /* jobs not begun come back as WEIR_CANCELED */
void replay_submit(struct replay *, struct replay_job *);
int replay_answer(struct gateway *, struct replay_job *, struct error *); /* the same on the caller's thread, which waits: its return value, and nothing else */
void replay_job_free(struct replay_job **);

#define RETRACTED_IDS_MAX 1000 /* in one push */

#endif

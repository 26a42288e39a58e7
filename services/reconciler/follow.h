/* follow.h - the writer's thread of one chain: owns the ledger by lease, takes blocks from the bus, applies them in order, follows
 * forks, keeps gaps, publishes what was committed. It survives the loss of any dependency and goes on where PostgreSQL says. */
#ifndef WEIR_RECONCILER_FOLLOW_H
#define WEIR_RECONCILER_FOLLOW_H

#include "ledger.h"
#include "mailbox.h"
#include "metrics.h"
#include "node.h"
#include "window.h"

#include "base/clock.h"
#include "bus/bus.h"
#include "daemon/daemon.h"

#define GAPS_MAX 256
#define GAP_EXCLUDES_MAX 8
#define NAME_MAX_SIZE 65
#define CAREFUL_NAME 128

struct gap {
	int64_t id, from, to;
	char reason[16]; /* missing | unproven | dead_letter | quarantined */
	unsigned attempts;
	int64_t next_ms; /* when to ask again */
	char exclude[GAP_EXCLUDES_MAX][NAME_MAX_SIZE];
	size_t exclude_count;
	bool named; /* by a check that failed, as who told it wrong; not only as who was asked */
};

/* How far a class of the stream was read, and what was committed as done. */
struct lane {
	bool seen;
	uint64_t generation, sequence;
	uint64_t committed_generation, committed_sequence;
};

struct follow {
	/* Given, borrowed. */
	struct daemon_ctx *ctx;
	const struct config *config;
	const struct chain_config *settings;
	const struct chain *chain;
	struct endpoints *endpoints;
	struct node_identity *identity;
	struct mailbox *mailbox;

	/* Own. */
	struct log log;
	struct chain_metrics metrics;
	struct bus *bus;
	struct bus_owner *blocks, *control;
	struct bus_publisher *events, *commands;
	struct ledger *ledger;
	struct node *node;
	struct arena *arena; /* unpacked blocks of a batch */
	struct buf upcast;   /* a message of an older version, as today's */
	struct window window;
	struct gap gaps[GAPS_MAX];
	size_t gap_count;
	struct lane lanes[WINDOW_CLASSES];

	bool owner, control_owner, stale; /* stale: memory may differ from PostgreSQL, load first */
	bool failing;                     /* the last turn failed: log the next success */
	bool careful;                     /* this turn takes and applies one thing at a time, noted before (careful.c) */
	bool idle;                        /* the last read brought nothing, and nothing was applied */
	char token[96];
	bool published_known, state_known;
	uint64_t published; /* newest event that is on the bus */
	bool head_pending;
	struct ledger_head head;
	bool suspect; /* something says that the tip is not canonical any more */
	int64_t fork_ancestor; /* as the fetcher told, -1: nothing */
	int64_t progress_ms, resolve_ms, second_ms, renew_ms, control_ms, control_renew_ms, commit_ms;
	int64_t tip_timestamp;
	struct backoff backoff;
};

/* Connects to PostgreSQL (schema is there already); Redis and nodes are connected to when needed. */
int follow_open(struct follow *, struct error *);
void follow_close(struct follow *);
/* One turn: at most about 50 ms when there is nothing to do. Failures are logged, remembered and tried again. */
void follow_turn(struct follow *);
/* Releases the lease. */
void follow_release(struct follow *);

/* -- parts, each in its own file ------------------------------------------------------------------------------------------ */

/* advance.c: applies what fits on the tip. *ret_some: something was applied. */
int follow_advance(struct follow *, bool *ret_some, struct error *);
int follow_unpack(struct follow *, struct bytes body, Weir__V1__NormalizedBlock **ret, struct error *);
/* take.c: one message of topic "blocks". */
int follow_take(struct follow *, const struct bus_message *, struct error *);
/* A message of this lane that cannot be understood, without its key: nothing waits behind it. */
int follow_park(struct follow *, struct bus_owner *lane, const struct bus_message *, const struct error *why, struct error *);
void follow_take_unknown_again(struct follow *); /* what an older build parked because it did not know it, of "control", too */
/* fork.c's caller: asks the nodes where the chains part, and goes back to there (resolve.c). */
int follow_resolve(struct follow *, struct error *);
int follow_retract(struct follow *, int64_t to_height, bool fetch_again, const char *why, struct error *);
/* gap.c */
int gaps_load(struct follow *, struct error *);
int gaps_tick(struct follow *, struct error *);
int gap_unproven(struct follow *, const struct block_facts *, const Weir__V1__NormalizedBlock *, struct error *);
int gap_dead_letter(struct follow *, int64_t height, const char *why, struct error *);
void gaps_forget_to(struct follow *, int64_t watermark);
/* lied: those whom the gap excludes told it wrong. */
int follow_refetch(struct follow *, const struct gap *, const uint8_t *hash, bool lied, const char *reason, struct error *);
/* publish.c: journal -> topic "ledger". */
int follow_publish_new(struct follow *, struct error *); /* the events of the last commit, and what is due before them */
int follow_publish_due(struct follow *, struct error *);
/* state.c: the ledger's word in Redis. */
int state_write(struct follow *, struct error *);
int state_write_hashes(struct follow *, int64_t from, int64_t to, struct error *);
int state_rewrite(struct follow *, struct error *); /* everything, after Redis lost it or another owner wrote it */
int state_forget_above(struct follow *, int64_t height, int64_t old_top, struct error *);
bool state_is_missing(struct follow *);
/* careful.c: an instance before ended; over what? Between enter and leave the chain is the only careful one of its process at work. */
void careful_open(struct follow *);
bool careful_enter(struct bus_owner *lane, bool *ret_careful); /* false: not now */
int careful_leave(struct bus_owner *lane, bool careful, int code, struct error *); /* returns code, or what leaving failed with */
void careful_name(const struct block_facts *, const char *letter, char ret[CAREFUL_NAME]); /* letter: of a replay; else empty */
int careful_apply(struct follow *, const struct held *, struct error *); /* its turn has come; NULL: nobody's has */
void careful_applied(struct follow *, const struct held *);
/* control.c: commands. */
int control_read(struct follow *, struct error *);
/* heal.c: a block read again for the checker. */
int heal_tick(struct follow *, struct error *);
int heal_compare(struct follow *, const struct block_facts *, const struct bus_message *, bool *ret_taken, struct error *);

void follow_view(struct follow *); /* tells the checker where we are */
void follow_renew(void *follow);   /* the lease, when due */

#endif

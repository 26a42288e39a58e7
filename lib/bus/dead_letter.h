/* dead_letter.h - what could not be handled, and what operators do about it.
 *
 * A message that fails for good is parked: it becomes a dead letter of its subscription, with its frame, every attempt's error and who
 * failed. On an ordered lane the later messages of its key follow it, so that order is kept: the letter is then the head of its key and
 * they are followers. Nothing ever leaves the queue by itself, it has no size beyond which letters are forgotten.
 *
 *   find      dead_letter_list, _show, _counts, _count_matching: by type, key, reason, error class, kind and time, all of it from indexes
 *   change    dead_letter_edit: another body, checked by the type's schema; the original is kept
 *   retry     dead_letter_replay at once, or dead_letter_job_start: as fast as you say, stopping itself when it is of no use
 *   give up   dead_letter_skip: let those behind a head go on without it; dead_letter_purge: drop letters
 *   move      dead_letter_export, _import: JSON lines
 *
 * A replay goes through the subscription's own handler, never back into the stream (others have handled the message already). On an
 * ordered lane heads go first: whatever is chosen, its whole key is tried from the first letter on, one at a time, and stops at the
 * first that fails again. A letter leaves the queue only when its replay succeeded or when somebody purged it.
 *
 * Over Kafka edits and skips are done by the instance that owns the letter's partition: where none answers in the call's time they are
 * withdrawn (WEIR_TIMEOUT). Look at the letter before asking again.
 *
 * Every function that changes something writes who did what, and why, into the chain's audit stream (audit.h) in the same step.
 */
#ifndef WEIR_BUS_DEAD_LETTER_H
#define WEIR_BUS_DEAD_LETTER_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct bus;

/* -- finding ------------------------------------------------------------------------------------------------------------- */

struct dead_letter_filter {
	const char *type;   /* message type name, NULL: any */
	const char *reason; /* name of the newest error's code, NULL: any; followers have none */
	const char *error_class; /* of that code (retry.h): "transient", "dependency", "permanent", "crash"; NULL: any; followers have none */
	const char *key;    /* NULL: any */
	const char *kind;   /* "head", "follower", "skipped"; NULL: any */
	int64_t from_ms, to_ms; /* when it was parked, inclusive; 0: open */
};

/* The letter: a packed weir.v1.DeadLetter. id: letter id, and the cursor that goes on behind it. Return false to stop. */
typedef bool dead_letter_fn(const char *id, struct bytes body, void *arg);
/* Oldest first, behind the cursor (NULL: from the first), at most limit (0: all). Letters come without their frames (frame_bytes says how
 * large each is). A page costs the same wherever it lies and whatever the filter leaves out. */
int dead_letter_list(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *cursor,
		     size_t limit, dead_letter_fn *, void *arg, struct error *);
/* One letter with its frame. WEIR_NOT_FOUND. */
int dead_letter_show(struct bus *, const char *chain, const char *subscription, const char *id, dead_letter_fn *, void *arg, struct error *);
int dead_letter_count(struct bus *, const char *chain, const char *subscription, uint64_t *ret, struct error *);
int dead_letter_count_matching(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, uint64_t *ret,
			       struct error *);
/* How many there are of each kind, type and reason, in one question. */
typedef void dead_letter_counts_fn(const char *kind, const char *type, const char *reason, uint64_t count, void *arg);
int dead_letter_counts(struct bus *, const char *chain, const char *subscription, dead_letter_counts_fn *, void *arg, struct error *);

/* -- acting at once -------------------------------------------------------------------------------------------------------- */

/* Marks letters for replay by their subscription, in key order; ids n 0: all that match. *ret_n marked. Idempotent. */
int dead_letter_replay(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids,
		       size_t n, const char *who, uint64_t *ret_n, struct error *);
/* For those who read a lane themselves, when they start (a subscription does it when it is opened): marks what was parked as WEIR_UNSUPPORTED
 * of these types, which this build knows; the build that parked it may not have known the type or its version. A failure is logged: the
 * letters stay. */
void dead_letter_replay_unsupported(struct bus *, const char *chain, const char *subscription, const uint16_t *types, size_t n);
/* Drops letters. Followers of a head that is dropped stay until they are replayed. WEIR_INVALID: no reason given (why NULL or empty). */
int dead_letter_purge(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *const *ids,
		      size_t n, const char *who, const char *why, uint64_t *ret_n, struct error *);
/* Lets the messages behind the head of a key be handled without it: a break of order that somebody takes upon himself. The letter stays
 * (kind "skipped") until it is replayed or purged. WEIR_INVALID: no reason given (why NULL or empty); WEIR_NOT_FOUND; WEIR_CONFLICT: it is
 * not the first of its key, or is being tried now; WEIR_UNSUPPORTED: nothing waits for it (a shared lane, or no key). */
int dead_letter_skip(struct bus *, const char *chain, const char *subscription, const char *id, const char *who, const char *why, struct error *);

/* -- editing --------------------------------------------------------------------------------------------------------------- */

/* Whether body is a message of that type: 0, or WEIR_INVALID with words. The bus knows no types. */
typedef int dead_letter_check_fn(uint16_t type, uint16_t schema_version, struct bytes body, void *arg, struct error *);
struct dead_letter_edit {
	struct bytes body;         /* instead of the frame's; the header (event id, key, trace) stays */
	const char *expect_sha256; /* of the frame that was looked at, in hex; NULL: whatever it is now */
	const char *who, *why;
	dead_letter_check_fn *check;
	void *arg;
};
/* ret_sha256 (65 bytes, may be NULL): of the new frame. WEIR_NOT_FOUND; WEIR_INVALID: the check's words; WEIR_CONFLICT: it is another frame
 * than expected, or being tried now. */
int dead_letter_edit(struct bus *, const char *chain, const char *subscription, const char *id, const struct dead_letter_edit *, char *ret_sha256,
		     struct error *);

/* -- replay jobs ------------------------------------------------------------------------------------------------------------ */

/* A job is kept where the letters are and moved on by the lane that handles them: it goes on after any restart, of whatever. It takes the letters
 * that there are when it starts; each is tried once. Over Kafka pausing, resuming and canceling need an instance that runs (else WEIR_TIMEOUT). */
struct dead_letter_order {
	struct dead_letter_filter filter;
	const char *const *ids; /* these; n 0: all that match the filter */
	size_t n;
	int64_t rate;         /* letters per second; 0: as fast as it goes */
	int64_t burst;        /* at once; 0: a tenth of a second's worth */
	int64_t concurrency;  /* tried at the same time; 0: 1000 */
	int64_t stop_percent; /* pauses itself when this share of its replays fails again; 0: 50; above 100: never */
	const char *idempotency_key; /* NULL: none. The same order under the same key is the same job */
	const char *who, *why;
};
struct dead_letter_job {
	char id[24], chain[40], subscription[64];
	char state[12]; /* running, paused, done, canceled */
	char who[64], why[256], note[256]; /* note: why it paused */
	char type[64], reason[64], error_class[16], key[132], kind[16]; /* what it takes; empty: any */
	int64_t from_ms, to_ms;
	bool named; /* takes letters by their ids */
	int64_t rate, burst, concurrency, stop_percent;
	uint64_t total; /* letters chosen; on an ordered lane others of their keys are tried, too */
	uint64_t succeeded, failed, gone; /* gone: purged or skipped meanwhile */
	uint64_t out, ready; /* offered to the lane or in its hands; chosen and waiting for their turn */
	int64_t created_ms, finished_ms; /* 0: not yet */
};
/* How many letters the order would take. On an ordered lane their keys' other letters come with them. */
int dead_letter_job_dry_run(struct bus *, const char *chain, const char *subscription, const struct dead_letter_order *, uint64_t *ret, struct error *);
/* WEIR_CONFLICT: the idempotency key was used for another order. WEIR_FULL: a thousand jobs (over Kafka a hundred) run or are paused. */
int dead_letter_job_start(struct bus *, const char *chain, const char *subscription, const struct dead_letter_order *, struct dead_letter_job *ret,
			  struct error *);
int dead_letter_job_show(struct bus *, const char *chain, const char *id, struct dead_letter_job *ret, struct error *); /* WEIR_NOT_FOUND */
typedef void dead_letter_job_fn(const struct dead_letter_job *, void *arg);
int dead_letter_job_list(struct bus *, const char *chain, const char *subscription, size_t limit, dead_letter_job_fn *, void *arg, struct error *);
/* Pausing and canceling take back what no handler has begun with; no letter is lost by either. WEIR_NOT_FOUND. What does not fit the
 * job's state (resuming a job that is done) changes nothing: *ret tells. */
enum dead_letter_job_action { DEAD_LETTER_JOB_PAUSE, DEAD_LETTER_JOB_RESUME, DEAD_LETTER_JOB_CANCEL };
int dead_letter_job_control(struct bus *, const char *chain, const char *id, enum dead_letter_job_action, const char *who, const char *why,
			    struct dead_letter_job *ret, struct error *);

/* -- files ------------------------------------------------------------------------------------------------------------------ */

/* One letter as a line of JSON, without the line's end. Return false to stop. */
typedef bool dead_letter_line_fn(const char *id, struct bytes line, void *arg);
int dead_letter_export(struct bus *, const char *chain, const char *subscription, const struct dead_letter_filter *, const char *cursor,
		       size_t limit, dead_letter_line_fn *, void *arg, struct error *);
/* Lines as exported, of this chain and subscription. Nothing is imported when one of them is not well-formed (WEIR_INVALID, with its number).
 * Importing a file again changes nothing, even when its letters were replayed or purged since. *ret_new: letters that were not here.
 * On an ordered lane they take their places in their keys' order and the keys are parked. An owner that is at work is fenced by that (WEIR_FENCED, about a
 * tenth of a second later; a subscription takes over by itself), and reads again what was not committed: newer messages of such a key wait. */
int dead_letter_import(struct bus *, const char *chain, const char *subscription, struct bytes lines, const char *who, uint64_t *ret_new,
		       uint64_t *ret_known, struct error *);

#endif

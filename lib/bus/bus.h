/* bus.h - weir's event bus over Redis Streams: connection, publishing, the two lanes, dead letters.
 *
 * Two lanes, both Redis consumer groups:
 *   shared   (bus_worker): a work queue for order-free messages, XREADGROUP, acknowledged in batches;
 *   ordered  (bus_owner):  one owner per (chain, topic, subscription) by lease with fencing token; XREAD, and the group's
 *                          last-delivered-id is the committed floor. A priority class has its own stream and its own floor.
 * and the tail (bus_tail): reads everything from a sequence on, belongs to no group (every gateway).
 *
 * Publishing is exactly once: ids are <generation>-<sequence>, dense, checked in the script; sending again is a no-op.
 * A step (bus_step) is atomic: what a handler emits, its acknowledgements, retries and dead letters go in one script.
 *
 * A `struct bus` belongs to one thread. All calls block at most their timeout; on a broken connection they reconnect with
 * back-off inside that time and return WEIR_UNAVAILABLE when it does not help: the caller just calls again. Lost groups or
 * function libraries (FLUSHALL, restart) are made again by themselves.
 */
#ifndef WEIR_BUS_BUS_H
#define WEIR_BUS_BUS_H

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/span.h"
#include "bus/audit.h"
#include "bus/dead_letter.h"
#include "bus/registry.h"
#include "bus/retry.h"
#include "bus/weights.h"
#include "wire/frame.h"

#include <stdbool.h>
#include <stdint.h>

struct bus;

/* What must hold of a topic's messages before they count as published, also of those that a step emits; a step that emits to several topics waits
 * for what is strictest. What each level survives: docs/bus.md. */
struct bus_durability {
	const char *topic;
	bool fsync;       /* Redis answers behind an fsync only (appendfsync always); where it does not: WEIR_CONFIG, nothing is published */
	int64_t replicas; /* so many replicas have it, too */
	int64_t wait_ms;  /* within this time, else WEIR_UNAVAILABLE: call again; 0: as the bus */
};

struct bus_options {
	const char *url; /* redis://host:port/db, rediss://…, unix:///path, redis+sentinel://…, redis+cluster://…, kafka://…, kafkas://…, or memory://name: see docs/bus.md */
	const char *username, *password; /* may be NULL or empty */
	int64_t command_timeout_ms;  /* default 5000 */
	int64_t max_backlog;         /* a class gets WEIR_FULL from so many unread messages of its own and of more important classes on, the low one from half
				      * as many; default 20000 */
	int64_t max_memory_percent;  /* of maxmemory as Redis reports it, from which on the low class gets WEIR_FULL; the normal and the high one from a quarter and a
				      * half of what is left above it on, the critical one never; default 80 */
	int64_t max_age_ms;          /* a class gets WEIR_FULL while its own or a more important one's oldest unread message is older (as its frame says), the
				      * critical one never; looked at once a second; default 0: no such limit */
	int64_t wait_replicas;       /* publishing, and committing a step that emits, succeeds when so many replicas have it, too; default 0 */
	int64_t wait_ms;             /* and fails (WEIR_UNAVAILABLE, call again) when they don't within this time; default 1000 */
	const struct bus_durability *durability; /* rows of topics for which wait_replicas is not what counts; must live as long as the bus */
	size_t durability_count;
	const char *worker;          /* name of this instance: "host:pid"; unique among those that live, for who has the name has its leases and the messages that it
				      * has in hand: two buses of a process that read the same subscription need two names. Default: one of its own */
	const struct log *log;
	struct metrics *metrics;     /* may be NULL */
	const struct span_sink *spans; /* is told of what is published and handled (trace.h); may be NULL */
};

/* Connects lazily; fails only on a malformed url, on memory:// without LuaJIT, or on kafka:// without librdkafka (WEIR_UNSUPPORTED). */
int bus_open(const struct bus_options *, struct bus **ret, struct error *);
void bus_close(struct bus **);
/* For preflight: server version 7.0 or newer (else WEIR_VERSION), maxmemory-policy noeviction and the fsync that a topic's durability
 * asks for (else WEIR_CONFIG), what the account may do. Warns in the log when Redis keeps less than an append-only file that is written every second;
 * docs/bus.md says what survives what. */
int bus_check(struct bus *, struct error *);
int bus_ping(struct bus *, struct error *);
void bus_register_metrics(struct metrics *);
extern const struct metric_def bus_metric_defs[]; /* for the manual */
extern const size_t bus_metric_count;
void bus_set_stop(struct bus *, bool (*stopping)(void *arg), void *arg); /* blocking calls return WEIR_CANCELED soon after */

/* -- publishing -------------------------------------------------------------------------------------------------------- */

/* producer: stable name, unique among those that publish to the topic at the same time. A publisher that opens again under its
 * name takes over and fences the older one (WEIR_FENCED). */
struct bus_publisher;
int bus_publisher_open(struct bus *, const char *chain, const char *topic, const char *producer, struct bus_publisher **ret,
		       struct error *);
void bus_publisher_close(struct bus_publisher **);
/* All or nothing per class; retried by the caller with the same frames after WEIR_UNAVAILABLE/TIMEOUT it is still once.
 * WEIR_FULL: backpressure (readers behind, or Redis' memory nearly used up), wait and call again. WEIR_GAP: Redis lost what it knew of this
 * producer (flushed, or an older copy), so messages published before may be lost, too; nothing was published, the next call begins anew.
 * Frames are routed to their type's class (streams.h). */
int bus_publish(struct bus_publisher *, const struct frame *frames, size_t n, struct error *);
/* Bulk topics: calls of 128 messages and more put up to n of a class into one entry of the stream, which is several times as fast. Ids,
 * order, commits and dead letters stay those of single messages. Only where owners and tails read: a shared lane settles whole entries and
 * would park these. */
void bus_publisher_pack(struct bus_publisher *, size_t n);
/* For outboxes: the caller's own dense sequence (first, first+1, …; class of frames must be one). Entries already there are
 * skipped. WEIR_GAP: the stream ends at *ret_tail < first-1 (Redis lost it): resend from *ret_tail+1. *ret_tail is always set.
 * No backpressure by readers here: the stream is for tails, trim it (bus_trim with keep). */
int bus_publish_sequence(struct bus_publisher *, uint64_t first, const struct frame *frames, size_t n, uint64_t *ret_tail, struct error *);
/* After WEIR_GAP: let the next bus_publish_sequence begin at `first` in a new generation, as if the entries before had been there. For
 * outboxes whose readers heal from elsewhere. */
void bus_publisher_restart_at(struct bus_publisher *, uint64_t first);
int bus_tail_sequence(struct bus_publisher *, const char *klass, uint64_t *ret_tail, struct error *);

/* -- messages ---------------------------------------------------------------------------------------------------------- */

struct bus_message {
	struct frame frame;  /* points into the batch: valid until the next read on the same lane object, or bus_message_keep */
	bool frame_ok;       /* false: undecodable; lanes park such messages themselves, handlers never see one */
	char id[48];         /* "<generation>-<sequence>" */
	uint64_t generation, sequence;
	uint8_t klass;       /* 0 critical .. 3 low */
	uint32_t attempts;   /* failures so far */
	bool replay;         /* comes from a dead letter */
	char letter[48];     /* then: its id */
};

/* A handler's verdict. Nobody parses error text. */
enum bus_outcome {
	BUS_DONE,
	BUS_RETRY,           /* transient: hold (exponential with jitter), then park */
	BUS_DEPENDENCY_DOWN, /* pause the lane, longer each time until something succeeds; no attempt is used up */
	BUS_REJECT,          /* permanent: park now */
};

/* -- shared lane ------------------------------------------------------------------------------------------------------- */

struct bus_worker;
int bus_worker_open(struct bus *, const char *chain, const char *topic, const char *subscription, const struct retry_policy *,
		    struct bus_worker **ret, struct error *);
void bus_worker_close(struct bus_worker **); /* gives back what was read and not settled */
/* Up to max messages (0: WEIR_INVALID, here and in the other reads): those whose retry is due first, then replays, then classes by weight and age (weights.h), then entries of
 * dead consumers. Waits at most timeout_ms. *ret_n 0 is not an error. Messages stay valid until bus_step_commit or the next read. What was not
 * settled 30 s after it was handed out is handed to another reader, even if this one lives; settling it is then in vain (weir_bus_not_ours_total). */
int bus_worker_read(struct bus_worker *, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *);

/* One atomic step. Begin, settle each message read, emit, commit; emits of messages that somebody else settled meanwhile
 * (a zombie) are dropped by the script. Emits are tied to a message: they happen if and only if it is settled BUS_DONE and its
 * acknowledgement counts. After WEIR_UNAVAILABLE or WEIR_TIMEOUT commit again: what went through already is not done twice. */
struct bus_step;
struct bus_step *bus_step_begin(struct bus_worker *);
void bus_step_emit(struct bus_step *, const struct bus_message *cause, const char *topic, const struct frame *); /* copied */
void bus_step_settle(struct bus_step *, const struct bus_message *, enum bus_outcome, const struct error *);
/* As BUS_RETRY, but when is the caller's decision (clock_mono_ms), and so is how often. */
void bus_step_retry(struct bus_step *, const struct bus_message *, int64_t due_ms, const struct error *);
int bus_step_commit(struct bus_step **, struct error *); /* WEIR_FULL: downstream backpressure; nothing happened, *step stays: commit again */
void bus_step_abort(struct bus_step **);

/* -- ordered lane ------------------------------------------------------------------------------------------------------ */

struct bus_owner;
int bus_owner_open(struct bus *, const char *chain, const char *topic, const char *subscription, int64_t lease_ms, struct bus_owner **ret,
		   struct error *);
void bus_owner_close(struct bus_owner **); /* releases the lease: immediate take-over */
/* 0: we own it (token is new after a change of hands: everything uncommitted is read again). WEIR_CONFLICT: someone else does. */
int bus_owner_acquire(struct bus_owner *, struct error *);
const char *bus_owner_token(const struct bus_owner *); /* "n:nonce": put it into non-idempotent sinks */
/* Next entries behind the read cursor, critical class first; where there are more than max, each class has its share (weights.h). WEIR_FENCED: ownership lost, acquire again. Where Redis may have lost something
 * (it was started again, or is another server), reading begins anew behind the committed places, under a new token. */
int bus_owner_read(struct bus_owner *, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *);
/* Everything of klass up to and including (generation, sequence) is done; renews the lease. */
int bus_owner_commit(struct bus_owner *, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *);
int bus_owner_renew(struct bus_owner *, struct error *);
/* Park a message, and from now on its key's followers: reads put them aside; those of the same batch the caller parks, too (see
 * bus_owner_parked). Leave frame.key out of a copy of the message to let followers pass. A message that
 * came as a replay goes back to its letter, and the replay of its key stops. Every replay that is read must be parked or resolved. */
int bus_owner_park(struct bus_owner *, const struct bus_message *, const struct error *, struct error *);
bool bus_owner_parked(const struct bus_owner *, struct bytes key);
int bus_owner_resolve(struct bus_owner *, const struct bus_message *replayed, struct error *); /* a replay succeeded */
/* The same for several of one read, in one call to Redis. After an error some may be resolved: they may be said again. */
int bus_owner_resolve_many(struct bus_owner *, const struct bus_message *const *replayed, size_t n, struct error *);
/* True when Redis was flushed, went back or was started again since the last call: what was on its way may be lost, even when our own
 * places are not. Have it published again. */
bool bus_owner_rolled_back(struct bus_owner *);

/* Crash poison: a message, or anything that messages bring, over which one instance after the other ends. Not over Kafka, where all of this does nothing.
 *
 * An owner that follows one that ended without bus_owner_close is careful: what it begins it notes in Redis before. What was noted when an instance
 * ended is a suspect, and is left alone after BUS_CRASHES such endings. Otherwise nothing is written. Who is careful begins one thing at a time, and no
 * two owners of a process at once, for whose work it was that ended a process is only known where it was the only one noted:
 *
 *	bus_owner_watch(o, VERSION, 1024);              once, before the first bus_owner_acquire
 *	bus_owner_read(o, bus_owner_careful(o) ? 1 : 64, …)
 *	bus_owner_begin(o, m, NULL, &poison, &err)      poison: it is a dead letter now, and done; else handle it, then
 *	bus_owner_note(o, NULL, &err)                   nothing is under way
 */
#define BUS_CRASHES 3
/* notes: how many a careful owner makes; enough to reach again whatever the instance before may have had in hand. build: another one tries anew what ended this
 * one; "": builds are not told apart. */
void bus_owner_watch(struct bus_owner *, const char *build, unsigned notes);
bool bus_owner_careful(struct bus_owner *);
/* Before a message is handled. what: its name, where the same may come again as another message; NULL: the message's place, or its letter's id, so that a
 * replay is a new try. *ret_poison: it was parked as WEIR_CRASH, without its key and once for each what, and is not to be handled; the next of the same what
 * is left out for as long as that letter is there. */
int bus_owner_begin(struct bus_owner *, const struct bus_message *, const char *what, bool *ret_poison, struct error *);
/* The same for what is begun later than the message that brought it was read; NULL: nothing is under way. Does nothing unless careful. */
int bus_owner_note(struct bus_owner *, const char *what, struct error *);
/* It went well: what it was suspected of is forgotten. Costs nothing unless it was. */
int bus_owner_absolve(struct bus_owner *, const char *what, struct error *);

/* -- tail -------------------------------------------------------------------------------------------------------------- */

struct bus_tail;
int bus_tail_open(struct bus *, const char *chain, const char *topic, const char *klass, struct bus_tail **ret, struct error *);
void bus_tail_close(struct bus_tail **);
void bus_tail_seek(struct bus_tail *, uint64_t after_sequence);
/* Entries after the cursor. WEIR_GAP: the next one is gone (trimmed, lost or undecodable): *ret_first is where the stream goes on. It
 * may be at or before the cursor: the stream was begun again after a loss, and what it says may not be what was said before. Heal from
 * the source and seek. */
int bus_tail_read(struct bus_tail *, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, uint64_t *ret_first, struct error *);

/* -- small shared state (STATE_KEY_FORMAT, HASHES_KEY_FORMAT) ----------------------------------------------------------- */

struct bus_field {
	const char *name, *value;
};
int bus_hash_write(struct bus *, const char *key, const struct bus_field *fields, size_t n, struct error *);
/* Calls on_field for each; WEIR_NOT_FOUND when the key does not exist. */
int bus_hash_read(struct bus *, const char *key, void (*on_field)(const char *name, const char *value, void *arg), void *arg, struct error *);
int bus_hash_delete(struct bus *, const char *key, const char *const *names, size_t n, struct error *);

/* -- housekeeping ------------------------------------------------------------------------------------------------------ */

/* Trims every stream of the topic to the slowest group (never past an unread or unacknowledged entry), keeping at least
 * keep entries for tails. Refuses when the topic has no group and keep is 0. Call about once a second. */
int bus_trim(struct bus *, const char *chain, const char *topic, uint64_t keep, struct error *);

struct bus_stream_info {
	const char *topic, *klass;
	uint64_t length, first_sequence, last_sequence, memory_bytes;
	uint64_t lag;      /* of the slowest group */
	uint64_t pending;  /* read but not acknowledged */
	uint64_t dead;     /* dead letters */
	int64_t head_age_ms; /* age of the oldest unread entry */
};
int bus_info(struct bus *, const char *chain, const char *topic, const char *subscription, struct bus_stream_info ret[4], size_t *ret_n, struct error *);

#endif

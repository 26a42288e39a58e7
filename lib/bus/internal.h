/* internal.h - private to lib/bus: the connection, commands and replies, and the parts that publishing and both lanes share. */
#ifndef WEIR_BUS_INTERNAL_H
#define WEIR_BUS_INTERNAL_H

#include "bus/bus.h"

#include "weir/streams.h"

#include <hiredis/hiredis.h>

#define CLASSES 4
extern const char *const bus_classes[CLASSES]; /* critical, high, normal, low */

#define BLOCK_SLICE_MS 200    /* how often waiting looks whether the program stops */
#define REPLAY_EVERY_MS 100   /* how often a lane looks for letters to try again */
#define REPLAY_HOLD_MS 60000  /* a letter taken for replay and not settled comes back after this */

struct bus {
	struct bus_options options; /* strings owned */
	char *url, *username, *password, *worker;
	struct log log;
	redisContext *redis; /* NULL while not connected */
	char run[64];        /* the server's run id: another one may have lost the end of what this one had */
	uint64_t connects;   /* times a connection was made: lanes look again at what they think they know */
	struct backoff_state {
		int64_t next_ms;
		unsigned attempts;
	} retry;
	bool (*stopping)(void *);
	void *stopping_arg;
	int64_t memory_ms; /* when the server's memory was looked at last */
	bool memory_full;
};

/* -- commands (command.c) -------------------------------------------------------------------------------------------------- */

/* Arguments of one command, binary safe. Points at the caller's bytes, owns only what it prints itself. */
struct bus_args {
	const char **data;
	size_t *sizes;
	size_t count, capacity;
	struct owned_text *owned;
};
void bus_args_add(struct bus_args *, const char *text);
void bus_args_add_bytes(struct bus_args *, struct bytes);
void bus_args_add_u64(struct bus_args *, uint64_t);
void bus_args_add_format(struct bus_args *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bus_args_free(struct bus_args *);
/* Begins args with FCALL of the function of weir.lua, KEYS[1] being the anchor. */
void bus_call(struct bus_args *, const char *function, const char *anchor);

/* Sends one command and waits; connects, and reconnects and repeats until the time-out: every command of this library may be repeated.
 * block_ms: how long Redis itself may wait (0: an ordinary command, command_timeout_ms). Errors from Redis become codes. */
int bus_run(struct bus *, const struct bus_args *, int64_t block_ms, redisReply **ret, struct error *);
/* n commands in one round trip; ret[i] may be error replies, see bus_reply_error. The caller frees all. */
int bus_run_many(struct bus *, const struct bus_args *, size_t n, redisReply **ret, struct error *);
/* 0, or the code and words of an error reply. */
int bus_reply_error(const struct bus *, const redisReply *, const char *doing, struct error *);
bool bus_canceled(const struct bus *);

/* -- connection (connection.c), functions (script.c) ----------------------------------------------------------------------- */

/* Connects unless that was tried a moment ago; waits and tries until the deadline. */
int bus_ensure(struct bus *, int64_t deadline_ms, struct error *);
void bus_drop(struct bus *); /* closes the connection: the next command makes a new one */
int bus_load_functions(struct bus *, int64_t deadline_ms, struct error *);
const char *bus_function_prefix(void); /* depends on the text of weir.lua */
/* One command on the connection there is, no repetition. */
int bus_attempt(struct bus *, const struct bus_args *, size_t n, int64_t deadline_ms, redisReply **ret, struct error *);

#define KEY_MAX 256
void bus_anchor(const char *chain, char ret[KEY_MAX]);
void bus_stream(const char *chain, const char *topic, int klass, char ret[KEY_MAX]);
int bus_class_of_stream(const char *chain, const char *topic, const char *stream); /* -1: none */
int bus_class_of(const char *name);                                                /* -1: none */

/* -- messages (message.c) -------------------------------------------------------------------------------------------------- */

/* Messages that were read, with the replies that they point into. */
struct bus_batch {
	struct bus_message *messages;
	size_t count, capacity;
	redisReply **replies;
	size_t reply_count, reply_capacity;
};
void bus_batch_reset(struct bus_batch *);
void bus_batch_free(struct bus_batch *);
void bus_batch_keep(struct bus_batch *, redisReply *);
struct bus_message *bus_batch_add(struct bus_batch *);
/* id and fields of one entry into a message; when the frame does not decode, as much of type and key as can be seen. False when the
 * entry is none. */
bool bus_batch_entry(struct bus_message *, const redisReply *entry, int klass, struct bytes *ret_frame);
/* A dead letter taken for replay, or read again: reply is its stream entry. False when it cannot be read. */
bool bus_batch_letter(struct bus_message *, const redisReply *entry);
bool bus_parse_id(const char *text, uint64_t *ret_generation, uint64_t *ret_sequence);
const redisReply *bus_reply_field(const redisReply *fields, const char *name); /* of an entry's field list */

/* A letter is its base with one fragment per failure behind it (see weir.lua). Appended to ret. */
void bus_letter_pack(const char *chain, const char *topic, const char *subscription, const struct bus_message *, struct bytes frame,
		     const char *kind, struct buf *ret);
void bus_attempt_pack(const struct bus *, const struct error *why, struct buf *ret);

/* Letters to try again, as messages. token NULL: a shared lane. */
int bus_take_replays(struct bus *, const char *chain, const char *topic, const char *subscription, const char *token, size_t max,
		     struct bus_batch *, struct error *);

/* True while the server uses more of its memory than the settings allow; looks at most once a second. */
bool bus_memory_full(struct bus *);

/* Counters; no-ops without a registry. */
void bus_count(struct bus *, const char *name, const char *chain, const char *topic, const char *subscription, uint64_t n);

/* -- shared lane (worker.c, step.c) ------------------------------------------------------------------------------------------ */

#define HOLD_MAX 1024

struct held { /* a message of ours that waits for its next try; its bytes stay in Redis */
	int64_t due_ms;
	uint32_t attempts;
	bool suspect; /* is handed out alone */
	bool in_hand;
	char id[48], letter[48];
	uint8_t klass;
};

struct bus_worker {
	struct bus *bus;
	char *chain, *topic, *subscription;
	char anchor[KEY_MAX], consumer[128];
	struct bus_retry_policy policy;
	struct bus_batch batch;
	struct held held[HOLD_MAX];
	size_t held_count;
	bool grouped;
	bool busy[CLASSES]; /* gave all that it was asked for last time */
	unsigned turn;
	int64_t sweep_ms, replay_ms, keep_ms, pause_ms;
	unsigned pauses;           /* in a row: dependency down */
	uint64_t connects;         /* of the bus when the pending list was looked through last */
	char recover[CLASSES][64]; /* where looking through it goes on; empty: done */
	bool recover_evidence;     /* what is found was left by a life before this one */
};
struct held *bus_worker_hold(struct bus_worker *, const char *id, const char *letter, uint8_t klass); /* NULL: no room */
struct held *bus_worker_held(struct bus_worker *, const char *id, const char *letter, uint8_t klass);
void bus_worker_unhold(struct bus_worker *, struct held *);
/* Parks one message outside of a caller's step. frame: its bytes as read. */
int bus_worker_park(struct bus_worker *, const struct bus_message *, struct bytes frame, const struct error *why, struct error *);

#endif

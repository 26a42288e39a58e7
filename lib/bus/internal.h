/* internal.h - private to lib/bus: the connection, replies, and the parts that publishing and both lanes share. */
#ifndef WEIR_BUS_INTERNAL_H
#define WEIR_BUS_INTERNAL_H

#include "bus/bus.h"

#include "weir/streams.h"

#include <hiredis/hiredis.h>

#define CLASSES 4
extern const char *const bus_classes[CLASSES]; /* critical, high, normal, low */

struct bus {
	struct bus_options options; /* strings owned */
	char *url, *username, *password, *worker;
	struct log log;
	redisContext *redis; /* NULL while not connected */
	struct backoff_state {
		int64_t next_ms;
		unsigned attempts;
	} retry;
	bool (*stopping)(void *);
	void *stopping_arg;
	bool ever_connected;
};

/* Arguments of one command, binary safe. Fixed start, grows; points at the caller's bytes. */
struct bus_args {
	const char **data;
	size_t *sizes;
	size_t count, capacity;
	struct numbers {
		char text[24];
		struct numbers *next;
	} *numbers; /* owned texts of numbers */
};
void bus_args_add(struct bus_args *, const char *text);
void bus_args_add_bytes(struct bus_args *, struct bytes);
void bus_args_add_u64(struct bus_args *, uint64_t);
void bus_args_free(struct bus_args *);

/* Sends one command and waits; connects and, for commands that may be repeated (all scripts here may), reconnects and repeats until
 * the command time-out. timeout_ms 0: the default. Errors from Redis become codes: FENCED, GAP, FULL, OOM, NOAUTH, NOPERM, LOADING. */
int bus_run(struct bus *, const struct bus_args *, int64_t timeout_ms, redisReply **ret, struct error *);
/* FCALL name 1 weir:{chain} …: begins args with it. */
void bus_call(struct bus_args *, const char *function, const char *anchor);
bool bus_canceled(const struct bus *);
void bus_drop(struct bus *); /* closes the connection: the next command makes a new one */

#define KEY_MAX 256
void bus_anchor(const char *chain, char ret[KEY_MAX]);
void bus_stream(const char *chain, const char *topic, int klass, char ret[KEY_MAX]);

/* Stream entries of a reply copied into a batch; messages point into it. */
struct bus_batch {
	struct bus_message *messages;
	size_t count, capacity;
	redisReply **replies; /* kept as long as the messages: they point into them */
	size_t reply_count, reply_capacity;
};
void bus_batch_reset(struct bus_batch *);
void bus_batch_free(struct bus_batch *);
void bus_batch_keep(struct bus_batch *, redisReply *);
struct bus_message *bus_batch_add(struct bus_batch *);
/* id "g-s" and fields of one entry into a message. False when the entry has no frame. */
bool bus_batch_entry(struct bus_message *, const redisReply *entry, int klass, struct bytes *ret_frame);
bool bus_parse_id(const char *text, uint64_t *ret_generation, uint64_t *ret_sequence);
const redisReply *bus_reply_field(const redisReply *fields, const char *name); /* of an entry's field list */

/* Counters; no-ops without a registry. */
void bus_count(struct bus *, const char *name, const char *chain, const char *topic, const char *subscription, uint64_t n);

extern const char bus_script_begin[], bus_script_end[];

/* A packed weir.v1.DeadLetter for a message that failed. Caller frees *ret with buf_free. */
void dead_letter_pack(const struct bus *, const char *chain, const char *topic, const char *subscription, const struct bus_message *,
		      struct bytes frame, const struct error *, const char *kind, struct buf *ret);
void bus_frame_bytes(const struct bus_message *, struct buf *ret); /* the frame as it was read */
int bus_take_replays(struct bus *, const char *chain, const char *subscription, size_t max, struct bus_batch *, struct error *);

#endif

/* command.h - private to lib/bus: commands to Redis, and their replies. */
#ifndef WEIR_BUS_COMMAND_H
#define WEIR_BUS_COMMAND_H

#include "bus/core/core.h"

/* Arguments of one command, binary safe. Points at the caller's bytes, owns only what it prints itself. */
struct bus_args {
	const char **data;
	size_t *sizes;
	size_t count, capacity;
	struct owned_text *owned;
	struct bytes more; /* behind them: more_count arguments as they go over the wire (bus_wire_frames) */
	size_t more_count;
};
void bus_args_add(struct bus_args *, const char *text);
void bus_args_add_bytes(struct bus_args *, struct bytes);
void bus_args_add_u64(struct bus_args *, uint64_t);
void bus_args_add_format(struct bus_args *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bus_args_free(struct bus_args *);
/* Arguments written once, as they go over the wire. */
void bus_wire_command(struct buf *, size_t arguments);
void bus_wire_text(struct buf *, const char *text);
void bus_wire_number(struct buf *, uint64_t);
void bus_wire_frames(struct buf *, const struct frame *, size_t n); /* in one argument */
/* Begins args with FCALL of the function of weir.lua, KEYS[1] being the anchor. */
void bus_call(struct bus_args *, const char *function, const char *anchor);

/* Sends one command and waits; connects, and reconnects and repeats until the time-out: every command of this library may be repeated.
 * block_ms: how long Redis itself may wait (0: an ordinary command, command_timeout_ms). Errors from Redis become codes. */
int bus_run(struct bus *, const struct bus_args *, int64_t block_ms, redisReply **ret, struct error *);
/* What must not be done twice: said once, on the connection there is. After WEIR_UNAVAILABLE and WEIR_TIMEOUT nobody knows whether it was done. */
int bus_run_once(struct bus *, const struct bus_args *, struct error *);
/* n commands in one round trip; ret[i] may be error replies, see bus_reply_error. The caller frees all. */
int bus_run_many(struct bus *, const struct bus_args *, size_t n, redisReply **ret, struct error *);
/* The same, also blocking; the replies are made in the arena, nobody frees them. */
int bus_run_into(struct bus *, const struct bus_args *, size_t n, int64_t block_ms, struct arena *, redisReply **ret, struct error *);
/* For pipelines: says commands on the connection there is and does not wait; then takes the next reply. Nothing is repeated: after any
 * failure the connection is closed and nobody knows which of the commands under way were done. */
int bus_say(struct bus *, struct bytes wire, const char *doing, struct error *);
int bus_hear(struct bus *, const char *doing, int64_t deadline_ms, redisReply **ret, struct error *);
/* One command on the connection there is, no repetition. */
int bus_attempt(struct bus *, const struct bus_args *, size_t n, int64_t deadline_ms, redisReply **ret, struct error *);
/* 0, or the code and words of an error reply. */
int bus_reply_error(const struct bus *, const redisReply *, const char *doing, struct error *);

#endif

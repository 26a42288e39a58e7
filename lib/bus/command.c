/* command.c - commands and their replies: sending, waiting without getting stuck, repeating, errors into codes.
 *
 * The socket is non-blocking and poll(2) waits, so that a server that hangs can neither keep a call beyond its time nor the program from
 * stopping.
 */
#include "bus/internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define STOP_GRACE_MS 2000 /* what a command under way gets once the program stops: a commit should still arrive */

/* -- arguments ------------------------------------------------------------------------------------------------------------ */

struct owned_text {
	struct owned_text *next;
	char text[];
};

void bus_args_add_bytes(struct bus_args *a, struct bytes bytes)
{
	if (a->count == a->capacity) {
		a->capacity = a->capacity ? a->capacity * 2 : 32;
		a->data = xrealloc(a->data, a->capacity, sizeof *a->data);
		a->sizes = xrealloc(a->sizes, a->capacity, sizeof *a->sizes);
	}
	a->data[a->count] = bytes.size ? (const char *)bytes.data : "";
	a->sizes[a->count++] = bytes.size;
}

void bus_args_add(struct bus_args *a, const char *text)
{
	bus_args_add_bytes(a, (struct bytes){ (const uint8_t *)text, strlen(text) });
}

void bus_args_add_format(struct bus_args *a, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	struct owned_text *o = xmalloc(sizeof *o + strlen(text) + 1);
	memcpy(o->text, text, strlen(text) + 1);
	o->next = a->owned;
	a->owned = o;
	bus_args_add(a, o->text);
}

void bus_args_add_u64(struct bus_args *a, uint64_t value)
{
	bus_args_add_format(a, "%" PRIu64, value);
}

void bus_args_free(struct bus_args *a)
{
	for (struct owned_text *o = a->owned, *next; o; o = next) {
		next = o->next;
		free(o);
	}
	free(a->data);
	free(a->sizes);
	memset(a, 0, sizeof *a);
}

void bus_call(struct bus_args *a, const char *function, const char *anchor)
{
	bus_args_add(a, "FCALL");
	bus_args_add_format(a, "%s%s", bus_function_prefix(), function);
	bus_args_add(a, "1");
	bus_args_add(a, anchor);
}

/* -- errors ---------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *prefix;
	int code;
	bool wait; /* it may be over in a moment: repeat */
} answers[] = {
	{ "FENCED", WEIR_FENCED, false },      { "GAP", WEIR_GAP, false },           { "FULL", WEIR_FULL, false },
	{ "OOM", WEIR_FULL, false },           { "LOADING", WEIR_UNAVAILABLE, true }, { "MASTERDOWN", WEIR_UNAVAILABLE, true },
	{ "READONLY", WEIR_UNAVAILABLE, true }, { "CLUSTERDOWN", WEIR_UNAVAILABLE, true }, { "TRYAGAIN", WEIR_UNAVAILABLE, true },
	{ "UNBLOCKED", WEIR_UNAVAILABLE, true }, { "BUSY ", WEIR_UNAVAILABLE, true },  { "NOAUTH", WEIR_PERMISSION, false },
	{ "WRONGPASS", WEIR_PERMISSION, false }, { "NOPERM", WEIR_PERMISSION, false }, { "NOGROUP", WEIR_NOT_FOUND, false },
	{ "MISCONF", WEIR_IO, false },
};
#define ANSWERS (sizeof answers / sizeof answers[0])

static size_t answer_of(const char *text)
{
	size_t i = 0;
	while (i < ANSWERS && strncmp(text, answers[i].prefix, strlen(answers[i].prefix)) != 0)
		i++;
	return i;
}

int bus_reply_error(const struct bus *bus, const redisReply *reply, const char *doing, struct error *err)
{
	char shown[256];
	if (reply->type != REDIS_REPLY_ERROR)
		return 0;
	size_t i = answer_of(reply->str);
	return error_set(err, i < ANSWERS ? answers[i].code : WEIR_INTERNAL, "Redis %s: %s: %s", log_url(bus->url, shown), doing, reply->str);
}

/* What the command is called in errors: a function's own name behind the prefix. */
static const char *name_of(const struct bus_args *a)
{
	if (a->count > 1 && a->sizes[0] == 5 && memcmp(a->data[0], "FCALL", 5) == 0)
		return a->data[1] + strlen(bus_function_prefix());
	return a->data[0];
}

/* -- one attempt ------------------------------------------------------------------------------------------------------------- */

static int broken(struct bus *bus, int code, const char *doing, const char *why, struct error *err)
{
	char shown[256];
	code = error_set(err, code, "Redis %s: %s: %s", log_url(bus->url, shown), doing, why);
	bus_drop(bus);
	return code;
}

struct wait {
	struct bus *bus;
	const char *doing;
	int64_t deadline_ms, stop_ms;
};

/* Waits for the socket, a slice at most. */
static int wait_for(struct wait *w, short events, struct error *err)
{
	int64_t now = clock_mono_ms();
	if (w->stop_ms == 0 && bus_canceled(w->bus))
		w->stop_ms = now + STOP_GRACE_MS;
	if (w->stop_ms != 0 && now >= w->stop_ms)
		return broken(w->bus, WEIR_CANCELED, w->doing, "stopping", err);
	if (now >= w->deadline_ms)
		return broken(w->bus, WEIR_TIMEOUT, w->doing, "no answer in time", err);
	int64_t slice = w->deadline_ms - now < BLOCK_SLICE_MS ? w->deadline_ms - now : BLOCK_SLICE_MS;
	struct pollfd fd = { .fd = w->bus->redis->fd, .events = events };
	(void)poll(&fd, 1, (int)slice);
	return 0;
}

static int send_all(struct wait *w, struct error *err)
{
	for (int done = 0;;) {
		if (redisBufferWrite(w->bus->redis, &done) != REDIS_OK)
			return broken(w->bus, WEIR_UNAVAILABLE, w->doing, w->bus->redis->errstr, err);
		if (done)
			return 0;
		int r = wait_for(w, POLLOUT, err);
		if (r != 0)
			return r;
	}
}

static int receive(struct wait *w, redisReply **ret, struct error *err)
{
	for (;;) {
		void *reply = NULL;
		redisContext *c = w->bus->redis;
		if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
			return broken(w->bus, WEIR_PROTOCOL, w->doing, c->reader->errstr, err);
		if (reply) {
			*ret = reply;
			return 0;
		}
		/* Until nothing more comes: TLS may hold bytes that poll does not see. */
		size_t before = c->reader->len;
		if (redisBufferRead(c) != REDIS_OK)
			return broken(w->bus, WEIR_UNAVAILABLE, w->doing, c->errstr, err);
		if (c->reader->len != before)
			continue;
		int r = wait_for(w, POLLIN, err);
		if (r != 0)
			return r;
	}
}

int bus_attempt(struct bus *bus, const struct bus_args *commands, size_t n, int64_t deadline_ms, redisReply **ret, struct error *err)
{
	struct wait w = { bus, name_of(&commands[0]), deadline_ms, 0 };
	memset(ret, 0, n * sizeof *ret);
	for (size_t i = 0; i < n; i++)
		if (redisAppendCommandArgv(bus->redis, (int)commands[i].count, commands[i].data, commands[i].sizes) != REDIS_OK)
			return broken(bus, WEIR_INTERNAL, w.doing, bus->redis->errstr, err);
	int r = send_all(&w, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = receive(&w, &ret[i], err);
	for (size_t i = 0; i < n && r != 0; i++) {
		freeReplyObject(ret[i]);
		ret[i] = NULL;
	}
	return r;
}

/* -- until it works ------------------------------------------------------------------------------------------------------------ */

bool bus_canceled(const struct bus *bus)
{
	return bus->stopping && bus->stopping(bus->stopping_arg);
}

static bool function_missing(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "Function not found");
}

static bool may_pass(const redisReply *reply)
{
	size_t i = reply->type == REDIS_REPLY_ERROR ? answer_of(reply->str) : ANSWERS;
	return i < ANSWERS && answers[i].wait;
}

static int run(struct bus *bus, const struct bus_args *commands, size_t n, int64_t block_ms, redisReply **ret, struct error *err)
{
	/* Redis may answer a blocking command somewhat late. */
	int64_t begin = clock_mono_ms(), wait = block_ms > 0 ? block_ms + 2000 : bus->options.command_timeout_ms;
	int64_t give_up = begin + (block_ms > 0 ? block_ms : wait);
	for (bool loaded = false;;) {
		int r = bus_ensure(bus, give_up, err);
		if (r != 0)
			return r;
		r = bus_attempt(bus, commands, n, block_ms > 0 ? clock_mono_ms() + wait : give_up, ret, err);
		if (r == 0 && !loaded && function_missing(ret[0])) {
			loaded = true; /* a new server does not have them */
			for (size_t i = 0; i < n; i++)
				freeReplyObject(ret[i]);
			if ((r = bus_load_functions(bus, give_up, err)) == 0)
				continue;
			memset(ret, 0, n * sizeof *ret);
		} else if (r == 0 && may_pass(ret[0]) && clock_mono_ms() < give_up && !bus_canceled(bus)) {
			if (strncmp(ret[0]->str, "READONLY", 8) == 0)
				bus_drop(bus); /* the master is another server now */
			for (size_t i = 0; i < n; i++)
				freeReplyObject(ret[i]);
			clock_sleep_ms(20);
			continue;
		} else if (r == 0) {
			return 0;
		}
		if ((r != WEIR_UNAVAILABLE && r != WEIR_TIMEOUT) || clock_mono_ms() >= give_up)
			return r;
		if (bus_canceled(bus))
			return error_set(err, WEIR_CANCELED, "stopping");
	}
}

int bus_run(struct bus *bus, const struct bus_args *args, int64_t block_ms, redisReply **ret, struct error *err)
{
	redisReply *reply = NULL;
	if (ret)
		*ret = NULL;
	int r = run(bus, args, 1, block_ms, &reply, err);
	if (r == 0)
		r = bus_reply_error(bus, reply, name_of(args), err);
	if (r == 0 && ret)
		*ret = reply;
	else
		freeReplyObject(reply);
	return r;
}

int bus_run_many(struct bus *bus, const struct bus_args *args, size_t n, redisReply **ret, struct error *err)
{
	return n ? run(bus, args, n, 0, ret, err) : 0;
}

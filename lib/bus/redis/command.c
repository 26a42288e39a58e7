/* command.c - commands and their replies: sending, waiting without getting stuck, repeating, errors into codes.
 *
 * The socket is non-blocking and poll(2) waits, so that a server that hangs can neither keep a call beyond its time nor the program from
 * stopping.
 */
#include "bus/redis/cluster.h"
#include "bus/redis/command.h"
#include "bus/redis/connection.h"
#include "bus/redis/tls.h"
#include "bus/core/transport.h"

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

static void append_number(struct buf *b, char mark, size_t n)
{
	char text[24], *at = text + sizeof text;
	*--at = '\n';
	*--at = '\r';
	do
		*--at = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	*--at = mark;
	buf_add(b, at, (size_t)(text + sizeof text - at));
}

void bus_wire_command(struct buf *b, size_t arguments)
{
	append_number(b, '*', arguments);
}

void bus_wire_text(struct buf *b, const char *text)
{
	size_t size = strlen(text);
	append_number(b, '$', size);
	buf_add(b, text, size);
	buf_add(b, "\r\n", 2);
}

void bus_wire_number(struct buf *b, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof text, "%" PRIu64, value);
	bus_wire_text(b, text);
}

void bus_wire_frames(struct buf *b, const struct frame *frames, size_t n)
{
	size_t size = 0;
	for (size_t i = 0; i < n; i++)
		size += FRAME_HEADER_SIZE + (frames[i].key.size > FRAME_KEY_MAX ? FRAME_KEY_MAX : frames[i].key.size) + frames[i].more.size +
			frames[i].body.size + 4;
	append_number(b, '$', size);
	for (size_t i = 0; i < n; i++)
		frame_write(&frames[i], b);
	buf_add(b, "\r\n", 2);
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
	bus_args_add_format(a, "%s", anchor); /* copied: callers make it on their stack */
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
	{ "ASK ", WEIR_UNAVAILABLE, true },    /* the chain's slot is moving to another node: see cluster.h */
	{ "UNBLOCKED", WEIR_UNAVAILABLE, true }, { "BUSY ", WEIR_UNAVAILABLE, true },  { "NOAUTH", WEIR_PERMISSION, false },
	{ "WRONGPASS", WEIR_PERMISSION, false }, { "NOPERM", WEIR_PERMISSION, false }, { "NOGROUP", WEIR_NOT_FOUND, false },
	{ "MISCONF", WEIR_IO, false },         { "CONFLICT", WEIR_CONFLICT, false },
	{ "NOREPLICAS", WEIR_UNAVAILABLE, false }, { "ERR max number of clients reached", WEIR_UNAVAILABLE, false },
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
	if (!bus->cluster && (strncmp(reply->str, "MOVED ", 6) == 0 || strncmp(reply->str, "ASK ", 4) == 0))
		return error_set(err, WEIR_CONFIG, "Redis %s is a node of a cluster: let bus.redis_url begin with redis+cluster:// (or rediss+cluster://)",
				 log_url(bus->url, shown));
	struct error why;
	if (strncmp(reply->str, "MOVED ", 6) == 0 && bus_cluster_refused(bus, &why)) /* followed, in vain, until there was no time left */
		return error_set(err, why.code, "%s", why.text);
	if (strncmp(reply->str, "MOVED ", 6) == 0)
		return error_set(err, WEIR_UNAVAILABLE, "Redis %s: %s: %s: the nodes do not agree yet who has the slot, or who has it was given no "
							"cluster-announce-hostname",
				 log_url(bus->url, shown), doing, reply->str);
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
	if (w->bus->io) {
		w->bus->io->wait(w->bus->io->arg, slice);
		return 0;
	}
	struct pollfd fd = { .fd = w->bus->redis->fd, .events = events };
	(void)poll(&fd, 1, (int)slice);
	return 0;
}

static int append_command(struct bus *bus, const struct bus_args *a, struct error *err)
{
	struct buf head = BUF_INIT(SIZE_MAX / 4);
	append_number(&head, '*', a->count + a->more_count);
	for (size_t i = 0; i < a->count; i++) {
		append_number(&head, '$', a->sizes[i]);
		buf_add(&head, a->data[i], a->sizes[i]);
		buf_add(&head, "\r\n", 2);
	}
	bool good = redisAppendFormattedCommand(bus->redis, (const char *)head.data, head.size) == REDIS_OK &&
		    (a->more_count == 0 || redisAppendFormattedCommand(bus->redis, (const char *)a->more.data, a->more.size) == REDIS_OK);
	buf_free(&head);
	return good ? 0 : broken(bus, WEIR_INTERNAL, name_of(a), bus->redis->errstr, err);
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
		int sent = 1;
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
		if (redisBufferRead(c) != REDIS_OK || redisBufferWrite(c, &sent) != REDIS_OK)
			return broken(w->bus, WEIR_UNAVAILABLE, w->doing, c->errstr, err);
		if (c->reader->len != before)
			continue;
		int r = wait_for(w, sent ? POLLIN : POLLIN | POLLOUT, err);
		if (r != 0)
			return r;
	}
}

/* -- replies in an arena: a batch of entries is thousands of objects, of which malloc would be most of the work ---------------- */

static void *new_reply(const redisReadTask *task, const char *text, size_t size, size_t elements)
{
	redisReply *r = arena_zalloc(task->privdata, 1, sizeof *r);
	if (r && text && (r->str = arena_alloc(task->privdata, size + 1))) {
		memcpy(r->str, text, size);
		r->str[size] = 0;
		r->len = size;
	}
	if (r && elements > 0 && (r->element = arena_zalloc(task->privdata, elements, sizeof(redisReply *))))
		r->elements = elements;
	if (!r || (text && !r->str) || (elements > 0 && !r->element))
		return NULL;
	r->type = task->type;
	if (task->parent)
		((redisReply *)task->parent->obj)->element[task->idx] = r;
	return r;
}

static void *new_string(const redisReadTask *task, char *text, size_t size)
{
	return new_reply(task, text, size, 0);
}

static void *new_array(const redisReadTask *task, size_t elements)
{
	return new_reply(task, NULL, 0, elements);
}

static void *new_integer(const redisReadTask *task, long long value)
{
	redisReply *r = new_reply(task, NULL, 0, 0);
	if (r)
		r->integer = value;
	return r;
}

static void *new_double(const redisReadTask *task, double value, char *text, size_t size)
{
	redisReply *r = new_reply(task, text, size, 0);
	if (r)
		r->dval = value;
	return r;
}

/* The task is of the type that is missing: a string, or an array. */
static void *new_nil(const redisReadTask *task)
{
	redisReply *r = new_reply(task, NULL, 0, 0);
	if (r)
		r->type = REDIS_REPLY_NIL;
	return r;
}

static void *new_bool(const redisReadTask *task, int value)
{
	return new_integer(task, value);
}

static void keep_reply(void *reply)
{
	(void)reply; /* goes with the arena */
}

static redisReplyObjectFunctions in_arena = { new_string, new_array, new_integer, new_double, new_nil, new_bool, keep_reply };

/* Where the replies to come are made. NULL: by malloc, as hiredis does. */
static void use_arena(struct bus *bus, struct arena *arena)
{
	redisReader *reader = bus->redis->reader;
	if (reader->fn != &in_arena)
		bus->by_malloc = reader->fn;
	reader->fn = arena ? &in_arena : bus->by_malloc;
	reader->privdata = arena;
}

static void free_replies(const struct arena *arena, redisReply **replies, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!arena)
			freeReplyObject(replies[i]);
		replies[i] = NULL;
	}
}

static int attempt(struct bus *bus, const struct bus_args *commands, size_t n, int64_t deadline_ms, struct arena *arena, redisReply **ret,
		   struct error *err)
{
	struct wait w = { bus, name_of(&commands[0]), deadline_ms, 0 };
	memset(ret, 0, n * sizeof *ret);
	int r = 0;
	use_arena(bus, arena);
	if (bus->address.tls)
		bus_tls_forget_errors();
	for (size_t i = 0; i < n && r == 0; i++)
		r = append_command(bus, &commands[i], err);
	if (r == 0)
		r = send_all(&w, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = receive(&w, &ret[i], err);
	if (r != 0)
		free_replies(arena, ret, n);
	return r;
}

int bus_attempt(struct bus *bus, const struct bus_args *commands, size_t n, int64_t deadline_ms, redisReply **ret, struct error *err)
{
	return attempt(bus, commands, n, deadline_ms, NULL, ret, err);
}

int bus_say(struct bus *bus, struct bytes wire, const char *doing, struct error *err)
{
	int done; /* what the socket does not take yet goes while the reply is awaited */
	if (redisAppendFormattedCommand(bus->redis, (const char *)wire.data, wire.size) != REDIS_OK || redisBufferWrite(bus->redis, &done) != REDIS_OK)
		return broken(bus, WEIR_UNAVAILABLE, doing, bus->redis->errstr, err);
	return 0;
}

int bus_hear(struct bus *bus, const char *doing, int64_t deadline_ms, redisReply **ret, struct error *err)
{
	struct wait w = { bus, doing, deadline_ms, 0 };
	*ret = NULL;
	use_arena(bus, NULL);
	int r = receive(&w, ret, err);
	return r ? r : bus_reply_error(bus, *ret, doing, err);
}

/* -- until it works ------------------------------------------------------------------------------------------------------------ */

static bool function_missing(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "Function not found");
}

static bool may_pass(const redisReply *reply)
{
	size_t i = reply->type == REDIS_REPLY_ERROR ? answer_of(reply->str) : ANSWERS;
	return i < ANSWERS && answers[i].wait;
}

/* Some of them may have been done there already: each may be repeated. */
static bool redirected(struct bus *bus, redisReply *const *replies, size_t n)
{
	for (size_t i = 0; bus->cluster && i < n; i++)
		if (bus_cluster_redirected(bus, replies[i]))
			return true;
	return false;
}

static int run(struct bus *bus, const struct bus_args *commands, size_t n, int64_t block_ms, struct arena *arena, redisReply **ret, struct error *err)
{
	/* Redis may answer a blocking command somewhat late. */
	int64_t begin = clock_mono_ms(), wait = block_ms > 0 ? block_ms + 2000 : bus->options.command_timeout_ms;
	int64_t give_up = begin + (block_ms > 0 ? block_ms : wait);
	if (bus->transport)
		return bus_refuse(bus, name_of(&commands[0]), err);
	for (uint64_t loaded = 0;;) { /* the connection that they were loaded for */
		bus_cluster_route_command(bus, &commands[0]);
		int r = bus_ensure(bus, give_up, err);
		if (r != 0)
			return r;
		r = attempt(bus, commands, n, block_ms > 0 ? clock_mono_ms() + wait : give_up, arena, ret, err);
		if (r == 0 && redirected(bus, ret, n) && clock_mono_ms() < give_up) {
			free_replies(arena, ret, n);
			bus_answered(bus);
			continue;
		}
		if (r == 0 && loaded != bus->connects && function_missing(ret[0])) {
			free_replies(arena, ret, n); /* a new server does not have them */
			if ((r = bus_load_functions(bus, give_up, err)) == 0) {
				loaded = bus->connects;
				continue;
			}
			if (r == WEIR_UNAVAILABLE)
				bus_drop(bus); /* it is loading, busy or a replica: the next try comes later, and perhaps elsewhere */
		} else if (r == 0 && may_pass(ret[0]) && clock_mono_ms() < give_up && !bus_canceled(bus)) {
			if (strncmp(ret[0]->str, "READONLY", 8) == 0)
				bus_drop(bus); /* the master is another server now */
			if (n > 1)
				bus->connects++; /* others of these may have been done: as after a new connection, lanes look what they have in hand */
			free_replies(arena, ret, n);
			clock_sleep_ms(20);
			continue;
		} else if (r == 0) {
			bus_answered(bus);
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
	int r = run(bus, args, 1, block_ms, NULL, &reply, err);
	if (r == 0)
		r = bus_reply_error(bus, reply, name_of(args), err);
	if (r == 0 && ret)
		*ret = reply;
	else
		freeReplyObject(reply);
	return r;
}

int bus_run_once(struct bus *bus, const struct bus_args *args, struct error *err)
{
	redisReply *reply = NULL;
	bus_cluster_route_command(bus, args);
	if (!bus->redis)
		return error_set(err, WEIR_UNAVAILABLE, "%s: there is no connection to Redis now", name_of(args));
	int r = attempt(bus, args, 1, clock_mono_ms() + bus->options.command_timeout_ms, NULL, &reply, err);
	if (r == 0)
		r = bus_reply_error(bus, reply, name_of(args), err);
	freeReplyObject(reply);
	return r;
}

int bus_run_many(struct bus *bus, const struct bus_args *args, size_t n, redisReply **ret, struct error *err)
{
	return n ? run(bus, args, n, 0, NULL, ret, err) : 0;
}

int bus_run_into(struct bus *bus, const struct bus_args *args, size_t n, int64_t block_ms, struct arena *arena, redisReply **ret,
		 struct error *err)
{
	return n ? run(bus, args, n, block_ms, arena, ret, err) : 0;
}

/* memory.c - the transport of "memory://name": hiredis speaks to a store in the same process. Everything above the bytes is what speaks to a Redis.
 *
 * A connection is a pair of buffers. A command is executed when it is written, under the store's lock; a blocking one that finds nothing stays
 * in the connection and is asked again whenever somebody has executed something, until its time is over. What a pipeline has behind it
 * waits, as with Redis.
 */
#include "bus/memory/memory.h"

#include "base/clock.h"
#include "base/cond.h"
#include "bus/memory/memory_link.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define STORE_BYTES ((size_t)512 << 20) /* Lua holds so much at most: LuaJIT's own limit is 1 or 2 GiB */

struct store {
	char *name;
	size_t users;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	uint64_t changes;
	struct memory_engine *engine;
	bool full;
	int next_connection;
	struct store *next;
};

static pthread_mutex_t stores_lock = PTHREAD_MUTEX_INITIALIZER;
static struct store *stores;

struct link { /* one connection */
	struct store *store;
	struct memory_client *client;
	struct memory_link bytes;
	size_t blocked;     /* size of the command at the front of in that waits; 0: none */
	int64_t blocked_ms; /* until then */
	uint64_t seen;      /* changes of the store when it was asked last */
};

struct memory_client {
	struct bus_io io;
	struct store *store;
	struct link *link;
};

/* -- executing ------------------------------------------------------------------------------------------------------------------------ */

/* Beyond its size it refuses what Redis would refuse without memory. */
static void look_at_size(struct store *s)
{
	bool full = memory_engine_bytes(s->engine) > STORE_BYTES;
	if (full != s->full)
		memory_engine_set_oom(s->engine, full);
	s->full = full;
}

static void forget_front(struct link *l, size_t size)
{
	memory_link_done(&l->bytes, size);
	l->blocked = 0;
}

/* Executes what is in the buffer, up to a command that blocks. Called with the lock held. */
static void serve(struct link *l)
{
	struct store *s = l->store;
	struct bytes *words;
	size_t n, size;
	while ((size = memory_engine_parse((struct bytes){ l->bytes.in.data, l->bytes.in.size }, &words, &n)) > 0) {
		size_t before = l->bytes.out.size;
		int64_t block = memory_engine_execute(s->engine, l->bytes.id, clock_wall_ns() / 1000, words, n, &l->bytes.out), now = clock_mono_ms();
		free(words);
		if (block > 0 && !l->blocked)
			l->blocked_ms = now + block;
		if (block > 0 && now < l->blocked_ms) {
			l->bytes.out.size = before;
			l->blocked = size;
			l->seen = s->changes;
			return;
		}
		forget_front(l, size);
		s->changes++;
	}
	look_at_size(s);
	pthread_cond_broadcast(&s->changed);
}

static ssize_t on_write(redisContext *c)
{
	struct link *l = c->privdata;
	size_t size = sdslen(c->obuf);
	pthread_mutex_lock(&l->store->lock);
	buf_add(&l->bytes.in, c->obuf, size);
	if (!l->blocked)
		serve(l);
	pthread_mutex_unlock(&l->store->lock);
	return (ssize_t)size;
}

static ssize_t on_read(redisContext *c, char *data, size_t room)
{
	struct link *l = c->privdata;
	pthread_mutex_lock(&l->store->lock);
	if (l->blocked && (l->seen != l->store->changes || clock_mono_ms() >= l->blocked_ms))
		serve(l);
	pthread_mutex_unlock(&l->store->lock);
	return memory_link_read(&l->bytes, data, room);
}

/* Until somebody has executed something, what waits has waited long enough, or the time has passed. */
static void on_wait(void *arg, int64_t ms)
{
	const struct memory_client *k = arg;
	struct link *l = k->link;
	if (!l || memory_link_has_answer(&l->bytes))
		return;
	int64_t left = l->blocked ? l->blocked_ms - clock_mono_ms() : ms;
	const struct timespec end = cond_deadline(left < ms ? left : ms);
	pthread_mutex_lock(&l->store->lock);
	while (l->seen == l->store->changes && pthread_cond_timedwait(&l->store->changed, &l->store->lock, &end) == 0)
		;
	pthread_mutex_unlock(&l->store->lock);
}

/* -- connections ------------------------------------------------------------------------------------------------------------------------ */

static void on_close(redisContext *c)
{
	struct link *l = c->privdata;
	pthread_mutex_lock(&l->store->lock);
	memory_link_close(&l->bytes, c);
	pthread_mutex_unlock(&l->store->lock);
	l->client->link = NULL;
	free(l);
}

static redisContextFuncs funcs = { .close = on_close, .read = on_read, .write = on_write };

static redisContext *on_connect(void *arg)
{
	struct memory_client *k = arg;
	struct store *s = k->store;
	struct link *l = xmalloc(sizeof *l);
	*l = (struct link){ .store = s, .client = k };
	pthread_mutex_lock(&s->lock);
	redisContext *c = memory_link_open(&l->bytes, s->engine, ++s->next_connection, &funcs, l);
	l->seen = s->changes;
	pthread_mutex_unlock(&s->lock);
	if (!c || c->err)
		free(l);
	else
		k->link = l;
	return c;
}

/* -- stores -------------------------------------------------------------------------------------------------------------------------------- */

static int open_store(const char *name, struct store **ret, struct error *err)
{
	struct memory_engine *engine;
	char run[41];
	int r = memory_engine_open(false, &engine, err);
	if (r != 0)
		return r;
	snprintf(run, sizeof run, "memory-%016" PRIx64, random_u64());
	memory_engine_restart(engine, -1, run);
	struct store *s = xmalloc(sizeof *s);
	s->name = xstrdup(name);
	s->engine = engine;
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->changed);
	s->next = stores;
	stores = *ret = s;
	return 0;
}

static void close_store(struct store *s)
{
	struct store **p = &stores;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	memory_engine_close(&s->engine);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s->name);
	free(s);
}

int bus_memory_join(const char *name, struct memory_client **ret, const struct bus_io **ret_io, struct error *err)
{
	int r = 0;
	pthread_mutex_lock(&stores_lock);
	struct store *s = stores;
	while (s && strcmp(s->name, name) != 0)
		s = s->next;
	if (!s)
		r = open_store(name, &s, err);
	if (r == 0)
		s->users++;
	pthread_mutex_unlock(&stores_lock);
	if (r != 0)
		return r;
	struct memory_client *k = xmalloc(sizeof *k);
	k->store = s;
	k->io = (struct bus_io){ on_connect, on_wait, k };
	*ret = k;
	*ret_io = &k->io;
	return 0;
}

void bus_memory_leave(struct memory_client **client)
{
	struct memory_client *k = *client;
	if (!k)
		return;
	pthread_mutex_lock(&stores_lock);
	if (--k->store->users == 0)
		close_store(k->store);
	pthread_mutex_unlock(&stores_lock);
	xfree(client);
}

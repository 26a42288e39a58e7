/* sim_redis.c - see sim_redis.h. */
#include "support/sim_redis.h"

#include "base/clock.h"
#include "bus/core/core.h"
#include "bus/memory/memory_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_NS 30000 /* what a command takes */
#define START_NS INT64_C(1700000000000000000)

struct link { /* one connection */
	struct memory_link bytes;
	bool broken, multi; /* multi: within a transaction */
	int64_t ready_ns; /* of the bytes in out */
};

struct client { /* of one bus */
	struct bus_io io;
	bool dead;
	struct link *link;
	struct client *next;
};

static struct {
	struct memory_engine *engine;
	int64_t now_ns, beside_ms; /* beside: the server's clock */
	uint64_t dice, names, commands;
	int next_link, runs;
	struct sim_faults faults;
	struct client *clients;
	int64_t (*mono)(void), (*wall)(void);
	void (*sleep)(int64_t);
	uint64_t (*random)(void);
} sim;

static void die(const char *what)
{
	fprintf(stderr, "sim: %s\n", what);
	abort();
}

/* -- clock and dice ------------------------------------------------------------------------------------------------------------ */

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int64_t now_ns(void)
{
	return sim.now_ns += 100; /* looking takes time, too: no loop waits for ever */
}

static void sleep_ms(int64_t ms)
{
	sim.now_ns += (ms > 0 ? ms : 0) * 1000000;
}

static uint64_t names(void)
{
	return splitmix(&sim.names);
}

uint64_t sim_random(uint64_t below)
{
	return splitmix(&sim.dice) % (below ? below : 1);
}

int64_t sim_now_ms(void)
{
	return sim.now_ns / 1000000;
}

void sim_advance(int64_t ms)
{
	sim.now_ns += ms * 1000000;
}

void sim_jump(int64_t ms)
{
	sim.beside_ms = ms;
}

static bool happens(unsigned of_10000)
{
	return of_10000 > 0 && sim_random(10000) < of_10000;
}

/* -- the wire ------------------------------------------------------------------------------------------------------------------------ */

/* Executes and adds the reply to out; the result is for how many ms it would block. */
static int64_t execute(int link, const struct bytes *words, size_t n, struct buf *out)
{
	int64_t block = memory_engine_execute(sim.engine, link, sim.now_ns / 1000 + sim.beside_ms * 1000, words, n, out);
	sim.commands++;
	sim.now_ns += COMMAND_NS;
	return block;
}

static bool is(struct bytes word, const char *text)
{
	return word.size == strlen(text) && memcmp(word.data, text, word.size) == 0;
}

/* What a server says that does not do it now: a script runs too long, it is loading, a replica, or cannot save. Not within a transaction, which
 * would end by it. */
static bool refuses(struct link *l, const struct bytes *words)
{
	static const char *const refusals[] = { "BUSY Redis is busy running a script", "LOADING Redis is loading the dataset in memory",
						"MASTERDOWN Link with MASTER is down", "READONLY You can't write against a read only replica",
						"MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk" };
	static const char *const asked[] = { "FCALL", "XREAD", "XREADGROUP", "XACK", "XRANGE", "HGET", "HGETALL", "HKEYS", "INFO", "FUNCTION" };
	l->multi = !is(words[0], "EXEC") && !is(words[0], "DISCARD") && (l->multi || is(words[0], "MULTI"));
	for (size_t i = 0; i < sizeof asked / sizeof asked[0] && !l->multi; i++)
		if (is(words[0], asked[i]) && happens(sim.faults.answered)) {
			buf_printf(&l->bytes.out, "-%s\r\n", refusals[sim_random(sizeof refusals / sizeof refusals[0])]);
			return true;
		}
	return false;
}

static void serve(struct link *l)
{
	struct bytes *words;
	size_t n, size;
	while (!l->broken && (size = memory_engine_parse((struct bytes){ l->bytes.in.data, l->bytes.in.size }, &words, &n)) > 0) {
		if (happens(sim.faults.request_lost)) {
			l->broken = true;
		} else if (!refuses(l, words)) {
			int64_t block = execute(l->bytes.id, words, n, &l->bytes.out);
			if (l->ready_ns < sim.now_ns + block * 1000000) /* one that waits holds up what was sent behind it */
				l->ready_ns = sim.now_ns + block * 1000000;
			if (happens(sim.faults.delayed))
				l->ready_ns += (int64_t)sim_random(2000) * 1000000;
			l->broken = happens(sim.faults.reply_lost);
		}
		free(words);
		memory_link_done(&l->bytes, size);
	}
}

static ssize_t on_write(redisContext *c)
{
	struct link *l = c->privdata;
	size_t size = sdslen(c->obuf);
	if (l->broken) {
		c->err = REDIS_ERR_IO;
		snprintf(c->errstr, sizeof c->errstr, "the connection broke");
		return -1;
	}
	buf_add(&l->bytes.in, c->obuf, size);
	serve(l);
	return (ssize_t)size;
}

static ssize_t on_read(redisContext *c, char *data, size_t room)
{
	struct link *l = c->privdata;
	if (l->broken) {
		c->err = REDIS_ERR_EOF;
		snprintf(c->errstr, sizeof c->errstr, "the connection broke");
		return -1;
	}
	return l->ready_ns > sim.now_ns ? 0 : memory_link_read(&l->bytes, data, room);
}

static void on_close(redisContext *c)
{
	struct link *l = c->privdata;
	for (struct client *k = sim.clients; k; k = k->next)
		if (k->link == l)
			k->link = NULL;
	memory_link_close(&l->bytes, c);
	free(l);
}

static redisContextFuncs funcs = { .close = on_close, .read = on_read, .write = on_write };

static redisContext *on_connect(void *arg)
{
	struct client *k = arg;
	sim.now_ns += 1000000;
	if (k->dead || happens(sim.faults.refused))
		return NULL;
	k->link = xmalloc(sizeof *k->link);
	return memory_link_open(&k->link->bytes, sim.engine, ++sim.next_link, &funcs, k->link);
}

/* Time passes until the answer is there, or for all of it. */
static void on_wait(void *arg, int64_t ms)
{
	const struct client *k = arg;
	int64_t until = sim.now_ns + ms * 1000000;
	bool waiting = k->link && !k->link->broken && memory_link_has_answer(&k->link->bytes) && k->link->ready_ns < until;
	sim.now_ns = waiting && k->link->ready_ns > sim.now_ns ? k->link->ready_ns : waiting ? sim.now_ns : until;
}

/* -- outside ----------------------------------------------------------------------------------------------------------------------------- */

void sim_begin(uint64_t seed)
{
	sim.mono = clock_mono_ns;
	sim.wall = clock_wall_ns;
	sim.sleep = clock_sleep_ms;
	sim.random = random_u64;
	sim.dice = seed * 2 + 1;
	sim.names = seed * 2 + 0x123456789;
	sim.now_ns = START_NS;
	sim.beside_ms = 0;
	sim.commands = 0;
	sim.runs = sim.next_link = 0;
	sim_set_faults(NULL);
	clock_mono_ns = clock_wall_ns = now_ns;
	clock_sleep_ms = sleep_ms;
	random_u64 = names;
	struct error err = { 0 };
	if (sim.engine)
		memory_engine_reset(sim.engine);
	else if (memory_engine_open(true, &sim.engine, &err) != 0)
		die(err.text);
}

void sim_end(void)
{
	clock_mono_ns = sim.mono;
	clock_wall_ns = sim.wall;
	clock_sleep_ms = sim.sleep;
	random_u64 = sim.random;
	while (sim.clients) {
		struct client *k = sim.clients;
		sim.clients = k->next;
		free(k);
	}
}

void sim_set_faults(const struct sim_faults *faults)
{
	sim.faults = faults ? *faults : (struct sim_faults){ 0 };
}

struct bus *sim_bus(const char *worker)
{
	struct bus *bus;
	struct bus_options options = { .url = "redis://simulated", .worker = worker, .command_timeout_ms = 1000 };
	if (bus_open(&options, &bus, NULL) != 0)
		die("bus_open");
	struct client *k = xmalloc(sizeof *k);
	k->io = (struct bus_io){ on_connect, on_wait, k };
	k->next = sim.clients;
	sim.clients = k;
	bus_set_io(bus, &k->io);
	return bus;
}

static struct client *client_of(struct bus *bus)
{
	return bus->io->arg;
}

void sim_cut(struct bus *bus)
{
	if (client_of(bus)->link)
		client_of(bus)->link->broken = true;
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

void sim_kill(struct bus *bus)
{
	sim_cut(bus);
	client_of(bus)->dead = true;
	bus_set_stop(bus, always, NULL); /* does not try for long */
}

void sim_restart(int lost)
{
	char run[32];
	for (struct client *k = sim.clients; k; k = k->next)
		if (k->link)
			k->link->broken = true;
	snprintf(run, sizeof run, "run-%d", ++sim.runs);
	memory_engine_restart(sim.engine, lost, run);
}

void sim_set_oom(bool oom)
{
	memory_engine_set_oom(sim.engine, oom);
}

void sim_lose_functions(void)
{
	memory_engine_lose_functions(sim.engine);
}

const char *sim_ask(const char *const *words)
{
	static struct buf out = BUF_INIT(1u << 30);
	struct bytes list[64];
	size_t n = 0;
	for (; words[n] && n < 64; n++)
		list[n] = (struct bytes){ (const uint8_t *)words[n], strlen(words[n]) };
	buf_reset(&out);
	memory_engine_connect(sim.engine, 0);
	(void)execute(0, list, n, &out);
	return buf_str(&out);
}

uint64_t sim_commands(void)
{
	return sim.commands;
}

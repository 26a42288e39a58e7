/* bus_actor.c - one process of the multi-process proof (tests/system/test_bus_torture.py): it publishes, handles or operates until it is killed.
 *
 *	bus_actor ROLE URL STATE EVENTS NAME
 *	  produce   topics "a" and "b" from an outbox: event n is the n-th, under that very sequence (bus_publish_sequence)
 *	  own-a     the ordered lane of "a": effects in the order of each key; parks some, and handles replays
 *	  work-b    the shared lane of "b": emits a result to "r" with each acknowledgement; has some retried
 *	  own-r     the ordered lane of "r": the effects of "b"
 *	  operate   replays all dead letters and trims, again and again
 *
 * STATE is a file that all of them map: the outside world, which survives whatever is killed. Each effect is one atomic step there, as a
 * database's transaction would be, so a process that is killed has done it or not. What must never happen is counted:
 *	misplaced   an event of a key before the one before it (that is also how a missing one shows)
 *	doubled     a result that stands twice in one generation of the stream: published twice by one settled message
 * A repetition of what was done already is no fault: handlers are told that it may come (bus.h).
 */
#include "base/clock.h"
#include "bus/bus.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#define KEYS 64
#define BATCH 256
#define WINDOW 20000 /* events under way */
#define CHAIN "t"
#define SUB "s"

enum { EVENT = 600 };
static const struct bus_type types[] = { { .id = EVENT, .name = "event", .version = 1, .klass = BUS_NORMAL, .key_space = "key" } };

struct state {
	_Atomic uint64_t produced[2]; /* of "a" and "b": the outbox' place */
	_Atomic uint64_t effects[2], repeated[2], misplaced, doubled, gaps, parked, replayed, takeovers;
	_Atomic uint64_t allowed;      /* the test lets events go as its faults go */
	_Atomic uint64_t of_key[KEYS]; /* how many events of each key of "a" have had their effect */
	_Atomic uint64_t place[];      /* of each result's effect: generation and sequence, folded; 0: none yet */
};

static struct state *state;
static uint64_t events;
static const char *me;

static void complain(const char *what, uint64_t n, const struct bus_message *m)
{
	fprintf(stderr, "%s: %s: event %" PRIu64 " at %s%s\n", me, what, n, m->id, m->replay ? " (replay)" : "");
}

static void must(int r, const struct error *err, const char *what)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s: %s\n", me, what, err->text);
	exit(1);
}

static uint64_t number_of(const struct bus_message *m)
{
	uint64_t n = 0;
	if (m->frame.body.size == sizeof n)
		memcpy(&n, m->frame.body.data, sizeof n);
	return n;
}

struct event {
	uint64_t number;
	char key[16];
	struct frame frame;
};

static void make_event(struct event *e, uint64_t n)
{
	e->number = n;
	snprintf(e->key, sizeof e->key, "%" PRIu64, (n - 1) % KEYS);
	e->frame = (struct frame){ .type = EVENT, .schema_version = 1, .body = { (const uint8_t *)&e->number, sizeof e->number } };
	e->frame.key = (struct bytes){ (const uint8_t *)e->key, strlen(e->key) };
	memcpy(e->frame.event_id, &n, sizeof n);
}

/* -- the outside world ---------------------------------------------------------------------------------------------------------------- */

/* Everything up to this number has had its effect. */
static uint64_t floor_of(int topic)
{
	static uint64_t known; /* of "b": never goes back */
	if (topic == 1) {
		while (known < events && atomic_load(&state->place[known + 1]))
			known++;
		return known;
	}
	uint64_t low = UINT64_MAX;
	for (uint64_t k = 0; k < KEYS; k++) {
		uint64_t next = atomic_load(&state->of_key[k]) * KEYS + k;
		low = next < low ? next : low;
	}
	return low < events ? low : events;
}

/* The effect of an event of "a": only if it is its key's next. */
static void apply(uint64_t n, const struct bus_message *m)
{
	uint64_t index = (n - 1) / KEYS, have = atomic_load(&state->of_key[(n - 1) % KEYS]);
	if (index < have) {
		atomic_fetch_add(&state->repeated[0], 1);
	} else if (index > have) {
		atomic_fetch_add(&state->misplaced, 1);
		complain("out of its key's order", n, m);
	} else if (atomic_compare_exchange_strong(&state->of_key[(n - 1) % KEYS], &have, have + 1)) {
		atomic_fetch_add(&state->effects[0], 1);
	}
}

/* The effect of a result of "b". After a loss it may come under another place: of another generation. */
static void apply_result(uint64_t n, const struct bus_message *m)
{
	uint64_t generation = m->generation * 0x9e3779b97f4a7c15u >> 40, place = generation << 40 | m->sequence, had = 0;
	if (atomic_compare_exchange_strong(&state->place[n], &had, place)) {
		atomic_fetch_add(&state->effects[1], 1);
	} else {
		atomic_fetch_add(&state->repeated[1], 1);
		if (had >> 40 == generation && had != place) {
			atomic_fetch_add(&state->doubled, 1);
			complain("emitted twice", n, m);
		}
	}
}

/* -- roles ------------------------------------------------------------------------------------------------------------------------------ */

static void publish_some(struct bus_publisher *p, int topic)
{
	static struct event batch[BATCH];
	static struct frame frames[BATCH];
	struct error err = { 0 };
	uint64_t allowed = atomic_load(&state->allowed), floor = floor_of(topic), next = atomic_load(&state->produced[topic]) + 1, tail = 0;
	size_t n = 0;
	for (; n < BATCH && next + n <= allowed && next + n <= floor + WINDOW; n++) {
		make_event(&batch[n], next + n);
		frames[n] = batch[n].frame;
	}
	if (n == 0 && floor < events && bus_tail_sequence(p, "normal", &tail, &err) == 0 && tail < next - 1) {
		/* All is published, or the window is full, and Redis has lost its end: nobody else would notice. */
		n = 1;
		make_event(&batch[0], next - 1);
		frames[0] = batch[0].frame;
		next--;
	}
	if (n == 0) {
		clock_sleep_ms(5);
		return;
	}
	int r = bus_publish_sequence(p, next, frames, n, &tail, &err);
	if (r == 0) {
		atomic_store(&state->produced[topic], next + n - 1);
	} else if (r == WEIR_GAP) {
		atomic_fetch_add(&state->gaps, 1);
		if (tail < floor)
			bus_publisher_restart_at(p, floor + 1);
		atomic_store(&state->produced[topic], tail < floor ? floor : tail);
	} else if (!error_retriable(r)) {
		must(r, &err, "publish");
	}
}

static void produce(struct bus *bus)
{
	struct bus_publisher *p[2];
	struct error err = { 0 };
	must(bus_publisher_open(bus, CHAIN, "a", "p", &p[0], &err), &err, "open");
	must(bus_publisher_open(bus, CHAIN, "b", "p", &p[1], &err), &err, "open");
	for (;;)
		for (int topic = 0; topic < 2; topic++)
			publish_some(p[topic], topic);
}

static bool parked_in_batch;

/* One message in 500 is parked at its first try, and what follows of its key waits behind it. */
static int handle_a(struct bus_owner *o, const struct bus_message *m, struct error *err)
{
	struct error why = { .code = WEIR_INVALID, .text = "parked on purpose" };
	uint64_t n = number_of(m);
	bool done = (n - 1) / KEYS < atomic_load(&state->of_key[(n - 1) % KEYS]);
	/* Followers that were read before their head was parked are ours to park; those read later the library puts aside. */
	if (!m->replay && ((parked_in_batch && bus_owner_parked(o, m->frame.key)) || (!done && n % 500 == 0))) {
		parked_in_batch = true;
		atomic_fetch_add(&state->parked, 1);
		return bus_owner_park(o, m, &why, err);
	}
	apply(n, m);
	if (!m->replay)
		return 0;
	atomic_fetch_add(&state->replayed, 1);
	return bus_owner_resolve(o, m, err);
}

static int handle_r(struct bus_owner *o, const struct bus_message *m, struct error *err)
{
	apply_result(number_of(m), m);
	return m->replay ? bus_owner_resolve(o, m, err) : 0;
}

static int own_some(struct bus_owner *o, int (*handle)(struct bus_owner *, const struct bus_message *, struct error *), struct error *err)
{
	struct bus_message *m;
	const struct bus_message *last = NULL;
	size_t n;
	int r = bus_owner_read(o, BATCH, 100, &m, &n, err);
	parked_in_batch = false;
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = handle(o, &m[i], err);
		last = r == 0 && !m[i].replay ? &m[i] : last;
	}
	if (r == 0 && last)
		r = bus_owner_commit(o, last->klass, last->generation, last->sequence, err);
	return r;
}

/* Whatever goes wrong half way is read again: as a new owner, behind the committed place. */
static void own(struct bus *bus, const char *topic, int (*handle)(struct bus_owner *, const struct bus_message *, struct error *))
{
	for (;;) {
		struct bus_owner *o;
		struct error err = { 0 };
		must(bus_owner_open(bus, CHAIN, topic, SUB, 1000, &o, &err), &err, "open");
		int r;
		while ((r = bus_owner_acquire(o, &err)) != 0 && error_retriable(r))
			clock_sleep_ms(50);
		must(r, &err, "acquire");
		atomic_fetch_add(&state->takeovers, 1);
		while ((r = own_some(o, handle, &err)) == 0)
			;
		if (!error_retriable(r) && r != WEIR_FENCED && r != WEIR_NOT_FOUND)
			must(r, &err, topic);
		bus_owner_close(&o);
	}
}

static void settle_b(struct bus_step *s, const struct bus_message *m)
{
	struct event e;
	struct error why = { .code = WEIR_TIMEOUT, .text = "retried on purpose" };
	make_event(&e, number_of(m));
	bus_step_emit(s, m, "r", &e.frame);
	if (m->attempts == 0 && e.number % 97 == 0)
		bus_step_settle(s, m, BUS_RETRY, &why);
	else
		bus_step_settle(s, m, BUS_DONE, NULL);
}

static void work(struct bus *bus)
{
	const struct retry_policy quick = { .growth = RETRY_FIXED, .attempts = 1000, .base_ms = 5, .max_ms = 5 };
	for (;;) {
		struct bus_worker *w;
		struct bus_message *m;
		struct error err = { 0 };
		size_t n;
		int r;
		must(bus_worker_open(bus, CHAIN, "b", SUB, &quick, &w, &err), &err, "open");
		while ((r = bus_worker_read(w, BATCH, 100, &m, &n, &err)) == 0) {
			struct bus_step *s = bus_step_begin(w);
			for (size_t i = 0; i < n; i++)
				settle_b(s, &m[i]);
			while ((r = bus_step_commit(&s, &err)) != 0 && error_retriable(r))
				clock_sleep_ms(10);
			bus_step_abort(&s);
			if (r != 0)
				break;
		}
		if (!error_retriable(r) && r != WEIR_NOT_FOUND)
			must(r, &err, "b");
		bus_worker_close(&w);
		clock_sleep_ms(10);
	}
}

static void operate(struct bus *bus)
{
	for (;;) {
		uint64_t n = 0;
		(void)dead_letter_replay(bus, CHAIN, SUB, NULL, NULL, 0, "operator", &n, NULL);
		for (const char *const *t = (const char *const[]){ "a", "b", "r", NULL }; *t; t++)
			(void)bus_trim(bus, CHAIN, *t, 0, NULL);
		clock_sleep_ms(100);
	}
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: bus_actor ROLE URL STATE EVENTS NAME\n");
		return 64;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the test */
	signal(SIGPIPE, SIG_IGN);
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	me = argv[5];
	events = strtoull(argv[4], NULL, 10);
	int fd = open(argv[3], O_RDWR | O_CLOEXEC);
	state = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *state + (events + 1) * sizeof state->place[0], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (state == MAP_FAILED) {
		perror(argv[3]);
		return 74;
	}
	struct error err = { 0 };
	struct bus *bus;
	struct bus_options options = { .url = argv[2], .worker = me, .command_timeout_ms = 1000, .max_backlog = 10 * WINDOW };
	must(bus_types_add(types, 1, &err), &err, "types");
	must(bus_open(&options, &bus, &err), &err, "open");
	if (strcmp(argv[1], "produce") == 0)
		produce(bus);
	else if (strcmp(argv[1], "own-a") == 0)
		own(bus, "a", handle_a);
	else if (strcmp(argv[1], "own-r") == 0)
		own(bus, "r", handle_r);
	else if (strcmp(argv[1], "work-b") == 0)
		work(bus);
	else if (strcmp(argv[1], "operate") == 0)
		operate(bus);
	fprintf(stderr, "no such role: %s\n", argv[1]);
	return 64;
}

/* misbehaving.c - a handler that does everything wrong, and what becomes of its messages.
 *
 *	misbehaving redis://127.0.0.1:6379/0
 *
 * Child processes run the same subscription one after the other. The handler fails at random, refuses some messages for good, and ends its
 * process over one of them each time that it sees it. The parent starts the next child whenever one ended. At the end every message was
 * handled once and in the order of its key, or is a dead letter with its reason.
 */
#include "base/clock.h"
#include "bus/bus.h"
#include "bus/dead_letter.h"
#include "bus/subscription.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVENT = 1 };
enum { KEYS = 8, PER_KEY = 50, MESSAGES = KEYS * PER_KEY };
enum { POISON = 123, REFUSED = 77 };
static const struct bus_type types[] = { { .id = EVENT, .name = "event", .version = 1, .klass = BUS_NORMAL, .key_space = "key" } };
static const uint16_t wanted[] = { EVENT };

/* What the handler has done, in memory that outlives its processes: it stands for the handler's database. */
struct effects {
	unsigned done[MESSAGES], calls, last[KEYS];
	bool disorder;
};

static int misbehave(const struct bus_delivery *d, void *arg, struct error *err)
{
	struct effects *e = arg;
	unsigned n = 0;
	for (size_t i = 0; i < d->body.size; i++)
		n = n * 10 + (unsigned)(d->body.data[i] - '0');
	e->calls++;
	if (n == POISON)
		_exit(1);
	if (n == REFUSED)
		return error_set(err, WEIR_INVALID, "%u is not to its liking", n);
	if (random_u64() % 4 == 0)
		return error_set(err, WEIR_IO, "a disk that fails now and then");
	if (e->done[n]) /* handed over again after a crash: its effect is there already */
		return 0;
	e->disorder = e->disorder || n < e->last[n % KEYS];
	e->last[n % KEYS] = n;
	e->done[n] = 1;
	if (random_u64() % 100 == 0)
		_exit(1); /* the effect is done, the commit is not */
	return 0;
}

static uint64_t letters_of(struct bus *bus)
{
	uint64_t n = 0;
	(void)dead_letter_count(bus, "example", "worker", &n, NULL);
	return n;
}

static unsigned count_done(const struct effects *e)
{
	unsigned n = 0;
	for (int i = 0; i < MESSAGES; i++)
		n += e->done[i];
	return n;
}

static int work(const char *url, struct effects *e)
{
	static const struct retry_rule patient[] = { { NULL, 0, RETRY_ANY, { .growth = RETRY_FIXED, .attempts = 100, .base_ms = 1, .max_ms = 1 } } };
	const struct bus_handler handlers[] = { { "misbehave", wanted, 1, misbehave, e, NULL } };
	const struct bus_subscription_options what = { .chain = "example",
						       .topic = "events",
						       .subscription = "worker",
						       .order = BUS_ORDERED,
						       .handlers = handlers,
						       .handler_count = 1,
						       .retries = patient,
						       .retry_count = 1,
						       .lease_ms = 200,
						       .batch = 32 };
	struct error err = { 0 };
	struct bus *bus = NULL;
	struct bus_subscription *s = NULL;
	char name[32];
	snprintf(name, sizeof name, "child:%d", (int)getpid());
	const struct bus_options to = { .url = url, .worker = name };
	int r = bus_open(&to, &bus, &err);
	if (r == 0)
		r = bus_subscription_open(bus, &what, &s, &err);
	int64_t quiet = clock_mono_ms() + 3000; /* nothing new for so long: all is settled */
	for (unsigned calls = e->calls; clock_mono_ms() < quiet;) {
		if (r != 0 && r != WEIR_FENCED && !error_retriable(r))
			break;
		r = bus_subscription_turn(s, 50, &err);
		if (calls != e->calls)
			quiet = clock_mono_ms() + 1000;
		calls = e->calls;
	}
	bus_subscription_close(&s);
	bus_close(&bus);
	if (r != 0)
		fprintf(stderr, "misbehaving: %s\n", err.text);
	return r != 0 ? 2 : 0;
}

static int publish(struct bus *bus, struct error *err)
{
	struct bus_publisher *p;
	int r = bus_publisher_open(bus, "example", "events", "misbehaving", &p, err);
	for (int i = 0; i < MESSAGES && r == 0; i++) {
		char key[16], body[16];
		struct frame f = { .type = EVENT, .schema_version = 1 };
		f.key = (struct bytes){ (const uint8_t *)key, (size_t)snprintf(key, sizeof key, "%d", i % KEYS) };
		f.body = (struct bytes){ (const uint8_t *)body, (size_t)snprintf(body, sizeof body, "%d", i) };
		r = bus_publish(p, &f, 1, err);
	}
	bus_publisher_close(&p);
	return r;
}

int main(int argc, char **argv)
{
	const char *url = argc > 1 ? argv[1] : "redis://127.0.0.1:6379/0";
	struct effects *e = mmap(NULL, sizeof *e, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct error err = { 0 };
	struct bus *bus = NULL;
	int children = 0, status = 1;
	log_init(LOG_ERROR, LOG_FORMAT_LOGFMT);
	const struct bus_options to = { .url = url, .worker = "parent" };
	int r = e == MAP_FAILED ? error_set(&err, WEIR_IO, "no shared memory") : bus_types_add(types, 1, &err);
	if (r == 0)
		r = bus_open(&to, &bus, &err);
	if (r == 0)
		r = publish(bus, &err);
	while (r == 0 && status == 1 && children++ < 200) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			_exit(work(url, e));
		int end;
		status = pid > 0 && waitpid(pid, &end, 0) == pid && WIFEXITED(end) ? WEXITSTATUS(end) : 2;
	}
	uint64_t letters = r == 0 ? letters_of(bus) : 0;
	bus_close(&bus);
	if (r != 0) {
		fprintf(stderr, "misbehaving: %s\n%s\n", err.text, error_suggestion(r));
		return 1;
	}
	unsigned done = count_done(e);
	printf("%d children, %u calls: %u of %d handled, %llu dead letters, order per key %s\n", children, e->calls, done, MESSAGES,
	       (unsigned long long)letters, e->disorder ? "broken" : "kept");
	/* Behind the two that can never succeed wait the later ones of their keys. */
	bool right = status == 0 && done + letters == MESSAGES && letters >= 2 && !e->disorder;
	printf("%s\n", right ? "nothing is missing" : "something is missing");
	return !right;
}

/* bus.c - the bus' speed, one part for each call. One JSON object out.
 *
 *   bus publish URL EVENTS CALL      one publisher, CALL events in each bus_publish
 *   bus consume URL EVENTS MAX       one owner of the ordered lane, an empty handler, one commit for each read of at most MAX
 *   bus work URL EVENTS MAX          one worker of the shared lane, an empty handler, one step for each read
 *   bus group URL EVENTS MAX         the peer of it: XREADGROUP and XACK by hiredis on the same streams, nothing else
 *   bus bulk URL EVENTS PACK         publisher of a bulk topic, PACK events in an entry, and owner at once, the stream trimmed behind it
 *   bus both URL EVENTS MAX          publisher and worker at once, each on its thread: published and consumed
 *   bus latency URL RATE SECONDS     publisher and owner at once, events at RATE a second; time from when each was to be sent
 *   bus soak URL RATE SECONDS        the same, the stream trimmed behind the owner: nothing may grow, whoever watches the process sees
 *
 * Events have a body of 200 bytes and one of 1,000 keys. publish fills what consume, work and group then empty; each has its own
 * subscription. CPU seconds are this process' own.
 */
#include "histogram.h"

#include "base/clock.h"
#include "bus/bus.h"
#include "weir/streams.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CHAIN "bench"
#define TOPIC "events"
#define BODY 200
#define KEYS 1000
#define CALL_MAX 8192
#define COMMIT_EVENTS 2048
#define COMMIT_NS 5000000
#define TRIM_NS 50000000
#define BULK_BACKLOG 1000000
#define BULK_READ 4096

static const char *url;

static void must(int r, const char *what, const struct error *err)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

static struct bus *open_bus(const char *worker, int64_t backlog)
{
	struct bus *bus;
	struct error err = { 0 };
	struct bus_options options = { .url = url, .worker = worker, .max_backlog = backlog, .max_memory_percent = 100 };
	must(bus_open(&options, &bus, &err), "bus_open", &err);
	return bus;
}

static double cpu_seconds(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* -- events ---------------------------------------------------------------------------------------------------------------- */

struct events {
	struct frame frames[CALL_MAX];
	char keys[KEYS][8];
	uint8_t bodies[CALL_MAX][BODY];
	uint64_t number; /* of all made so far */
};

static struct events *events_new(void)
{
	struct events *e = xmalloc(sizeof *e);
	for (size_t i = 0; i < KEYS; i++)
		snprintf(e->keys[i], sizeof e->keys[i], "k%03zu", i);
	for (size_t i = 0; i < CALL_MAX; i++) {
		memset(e->bodies[i], 'a' + (int)(i % 26), BODY);
		e->frames[i] = (struct frame){ .type = MESSAGE_CHAIN_HEAD, .schema_version = 1, .body = { e->bodies[i], BODY } };
	}
	return e;
}

/* Event i of the next call; sent: what its body begins with. */
static void events_make(struct events *e, size_t i, int64_t sent)
{
	const char *key = e->keys[e->number % KEYS];
	struct frame *f = &e->frames[i];
	e->number++;
	f->created_unix_ms = (uint64_t)sent / 1000000;
	f->key = (struct bytes){ (const uint8_t *)key, 4 };
	memcpy(f->event_id, &e->number, sizeof e->number);
	memcpy(e->bodies[i], &sent, sizeof sent);
}

struct job {
	uint64_t events;
	size_t max, pack;
	struct histogram *histogram;
	uint64_t done;
	bool trims;  /* the owner trims the stream behind itself */
	double rate; /* of latency and soak */
	atomic_bool ready;
};

static void report(const char *part, const struct job *j, int64_t began)
{
	double seconds = (double)(clock_mono_ns() - began) / 1e9;
	printf("{\"part\":\"%s\",\"events\":%llu,\"call\":%zu,\"seconds\":%.3f,\"events_per_second\":%.0f,\"own_cpu_s\":%.3f}\n", part,
	       (unsigned long long)j->events, j->max, seconds, (double)j->events / seconds, cpu_seconds());
}

/* -- publishing ------------------------------------------------------------------------------------------------------------ */

static void publish_all(struct job *j)
{
	struct bus *bus = open_bus("publisher", j->pack ? BULK_BACKLOG : INT64_MAX);
	struct bus_publisher *p;
	struct error err = { 0 };
	struct events *e = events_new();
	must(bus_publisher_open(bus, CHAIN, TOPIC, "bench", &p, &err), "bus_publisher_open", &err);
	bus_publisher_pack(p, j->pack);
	while (e->number < j->events) {
		size_t n = 0;
		int64_t now = clock_mono_ns();
		int r;
		while (n < j->max && e->number < j->events)
			events_make(e, n++, now);
		while ((r = bus_publish(p, e->frames, n, &err)) == WEIR_FULL)
			clock_sleep_ms(1);
		must(r, "bus_publish", &err);
	}
	bus_publisher_close(&p);
	bus_close(&bus);
	free(e);
}

/* -- the ordered lane -------------------------------------------------------------------------------------------------------- */

static void count(struct job *j, const struct bus_message *messages, size_t n)
{
	int64_t now = j->histogram ? clock_mono_ns() : 0, sent;
	for (size_t i = 0; i < n && j->histogram; i++) {
		memcpy(&sent, messages[i].frame.body.data, sizeof sent);
		if (sent > 0)
			histogram_add(j->histogram, now - sent);
	}
	j->done += n;
}

/* commit_ns 0: after each read. */
static void consume_all(struct job *j, int64_t commit_ns)
{
	struct bus *bus = open_bus("owner", 0);
	struct bus_owner *o;
	struct bus_message *m, last;
	struct error err = { 0 };
	uint64_t open = 0;
	size_t n;
	int64_t next = 0, trim = 0;
	must(bus_owner_open(bus, CHAIN, TOPIC, "owner", 5000, &o, &err), "bus_owner_open", &err);
	must(bus_owner_acquire(o, &err), "bus_owner_acquire", &err);
	j->ready = true;
	while (j->done < j->events) {
		must(bus_owner_read(o, j->max, 1000, &m, &n, &err), "bus_owner_read", &err);
		if (n == 0)
			continue;
		count(j, m, n);
		open += n;
		last = m[n - 1];
		if (commit_ns > 0 && open < COMMIT_EVENTS && clock_mono_ns() < next && j->done < j->events)
			continue;
		must(bus_owner_commit(o, last.klass, last.generation, last.sequence, &err), "bus_owner_commit", &err);
		next = clock_mono_ns() + commit_ns;
		open = 0;
		if (j->trims && clock_mono_ns() > trim) {
			must(bus_trim(bus, CHAIN, TOPIC, 0, &err), "bus_trim", &err);
			trim = clock_mono_ns() + TRIM_NS;
		}
	}
	bus_owner_close(&o);
	bus_close(&bus);
}

/* -- the shared lane ---------------------------------------------------------------------------------------------------------- */

static void work_all(struct job *j)
{
	struct bus *bus = open_bus("worker", 0);
	struct bus_worker *w;
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	must(bus_worker_open(bus, CHAIN, TOPIC, "worker", NULL, &w, &err), "bus_worker_open", &err);
	must(bus_worker_read(w, 1, 0, &m, &n, &err), "bus_worker_read", &err); /* makes the group */
	j->ready = true;
	for (;;) {
		struct bus_step *step = bus_step_begin(w);
		for (size_t i = 0; i < n; i++)
			bus_step_settle(step, &m[i], BUS_DONE, NULL);
		must(bus_step_commit(&step, &err), "bus_step_commit", &err);
		count(j, m, n);
		if (j->done >= j->events)
			break;
		must(bus_worker_read(w, j->max, 1000, &m, &n, &err), "bus_worker_read", &err);
	}
	bus_worker_close(&w);
	bus_close(&bus);
}

static redisReply *ask(redisContext *c, int argc, const char **argv)
{
	redisReply *reply = redisCommandArgv(c, argc, argv, NULL);
	if (!reply || reply->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "%s: %s\n", argv[0], reply ? reply->str : c->errstr);
		exit(1);
	}
	return reply;
}

static void group_all(struct job *j)
{
	redisContext *c = redisConnectUnix(url + strlen("unix://"));
	char max[24], key[128];
	const char **ack = xcalloc(j->max + 3, sizeof *ack);
	snprintf(max, sizeof max, "%zu", j->max);
	snprintf(key, sizeof key, STREAM_KEY_FORMAT, CHAIN, TOPIC, CLASS_NORMAL);
	freeReplyObject(ask(c, 5, (const char *[]){ "XGROUP", "CREATE", key, "peer", "0" }));
	while (j->done < j->events) {
		redisReply *reply = ask(c, 9, (const char *[]){ "XREADGROUP", "GROUP", "peer", "one", "COUNT", max, "STREAMS", key, ">" });
		const redisReply *entries = reply->element[0]->element[1];
		ack[0] = "XACK";
		ack[1] = key;
		ack[2] = "peer";
		for (size_t i = 0; i < entries->elements; i++)
			ack[3 + i] = entries->element[i]->element[0]->str;
		freeReplyObject(ask(c, 3 + (int)entries->elements, ack));
		j->done += entries->elements;
		freeReplyObject(reply);
	}
	redisFree(c);
	free(ack);
}

/* -- both at once -------------------------------------------------------------------------------------------------------------- */

static void wait_ready(struct job *j)
{
	while (!j->ready)
		clock_sleep_ms(1);
}

static void *work_thread(void *arg)
{
	work_all(arg);
	return NULL;
}

static void *consume_thread(void *arg)
{
	const struct job *j = arg;
	consume_all(arg, j->pack ? 0 : COMMIT_NS);
	return NULL;
}

/* Events as they become due; those that are due together go together. The first second is warm-up and is not counted. */
static void publish_at_rate(struct job *j)
{
	struct bus *bus = open_bus("publisher", INT64_MAX);
	struct bus_publisher *p;
	struct error err = { 0 };
	struct events *e = events_new();
	must(bus_publisher_open(bus, CHAIN, TOPIC, "bench", &p, &err), "bus_publisher_open", &err);
	int64_t began = clock_mono_ns(), counted = began + 1000000000;
	while (e->number < j->events) {
		int64_t now = clock_mono_ns(), due;
		size_t n = 0;
		while (n < CALL_MAX && e->number < j->events && (due = began + (int64_t)((double)e->number * 1e9 / j->rate)) <= now)
			events_make(e, n++, due < counted ? 0 : due);
		if (n > 0)
			must(bus_publish(p, e->frames, n, &err), "bus_publish", &err);
		else
			nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	bus_publisher_close(&p);
	bus_close(&bus);
	free(e);
}

static void latency(const char *part, struct job *j)
{
	pthread_t thread;
	j->histogram = xmalloc(sizeof *j->histogram);
	pthread_create(&thread, NULL, consume_thread, j);
	wait_ready(j);
	publish_at_rate(j);
	pthread_join(thread, NULL);
	printf("{\"part\":\"%s\",\"events_per_second\":%.0f,\"counted\":%llu", part, j->rate, (unsigned long long)j->histogram->total);
	static const struct {
		const char *name;
		double share;
	} rows[] = { { "p50_us", 0.5 }, { "p90_us", 0.9 }, { "p99_us", 0.99 }, { "p999_us", 0.999 }, { "p9999_us", 0.9999 } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		printf(",\"%s\":%.0f", rows[i].name, (double)histogram_at(j->histogram, rows[i].share) / 1e3);
	printf(",\"max_us\":%.0f,\"own_cpu_s\":%.3f}\n", (double)j->histogram->largest / 1e3, cpu_seconds());
	free(j->histogram);
}

static void both(const char *part, struct job *j, void *(*reader)(void *))
{
	pthread_t thread;
	pthread_create(&thread, NULL, reader, j);
	wait_ready(j);
	int64_t began = clock_mono_ns();
	struct job publisher = { .events = j->events, .max = j->pack ? CALL_MAX : j->max, .pack = j->pack };
	publish_all(&publisher);
	pthread_join(thread, NULL);
	report(part, j, began);
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: bus publish|consume|work|group|both|bulk|latency|soak URL EVENTS|RATE MAX|SECONDS\n");
		return 2;
	}
	url = argv[2];
	struct job j = { .events = strtoull(argv[3], NULL, 10), .max = strtoul(argv[4], NULL, 10) };
	if (strcmp(argv[1], "latency") == 0 || strcmp(argv[1], "soak") == 0) {
		j.rate = strtod(argv[3], NULL);
		j.events = (uint64_t)(j.rate * strtod(argv[4], NULL));
		j.max = 1024;
		j.trims = argv[1][0] == 's';
		latency(argv[1], &j);
		return 0;
	}
	if (j.max == 0 || j.max > CALL_MAX)
		j.max = CALL_MAX;
	int64_t began = clock_mono_ns();
	if (strcmp(argv[1], "publish") == 0)
		publish_all(&j);
	else if (strcmp(argv[1], "consume") == 0)
		consume_all(&j, 0);
	else if (strcmp(argv[1], "work") == 0)
		work_all(&j);
	else if (strcmp(argv[1], "group") == 0)
		group_all(&j);
	else if (strcmp(argv[1], "both") == 0) {
		both("both", &j, work_thread);
		return 0;
	} else if (strcmp(argv[1], "bulk") == 0) {
		j.pack = j.max;
		j.trims = true;
		j.max = BULK_READ;
		both("bulk", &j, consume_thread);
		return 0;
	} else
		return 2;
	report(argv[1], &j, began);
	return 0;
}

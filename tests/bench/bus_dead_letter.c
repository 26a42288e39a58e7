/* bus_dead_letter.c - how fast dead letters are parked, found and replayed when there are very many. One JSON object out.
 *
 *   bus_dead_letter fill URL LETTERS           publishes as many messages and rejects each, as a handler would: letters/s
 *   bus_dead_letter list URL PAGE              one page of PAGE letters by every kind of filter, at the beginning, in the middle and near the
 *                                              end: milliseconds of the slowest and the median page, and of counting
 *   bus_dead_letter replay URL LETTERS         a job without a rate and one worker with an empty handler: letters/s
 *   bus_dead_letter ordered_fill URL LETTERS KEYS   parks as many on the ordered lane: the first of each key, and all others behind them
 *   bus_dead_letter ordered URL LETTERS        the same as replay on the ordered lane, one owner: letters/s
 *
 * Messages have a body of 200 bytes, 1,000 keys, two types, four reasons of which one is rare (1 in 10,000).
 */
#include "base/clock.h"
#include "bus/bus.h"
#include "weir/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHAIN "bench"
#define SUB "normalizer"
#define OWNER_SUB "reconciler"
#define BODY 200
#define KEYS 1000
#define BATCH 500
#define SAMPLES_MAX 256

static const char *url;

static void must(int r, const char *what, const struct error *err)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

static struct bus *open_bus(void)
{
	struct bus *bus;
	struct error err = { 0 };
	struct bus_options options = {
		.url = url, .worker = "bench", .max_backlog = INT64_MAX, .max_memory_percent = 100, .command_timeout_ms = 60000
	};
	must(bus_open(&options, &bus, &err), "bus_open", &err);
	return bus;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -- filling -------------------------------------------------------------------------------------------------------------- */

static void publish(struct bus_publisher *p, uint64_t *number, size_t n, bool ordered, uint64_t keys)
{
	static uint8_t body[BODY];
	static char names[BATCH][16];
	struct frame frames[BATCH];
	struct error err = { 0 };
	memset(body, 'b', sizeof body);
	for (size_t i = 0; i < n; i++, ++*number) {
		snprintf(names[i], sizeof names[i], "k%llu", (unsigned long long)(*number % keys));
		frames[i] = (struct frame){ .type = ordered       ? MESSAGE_CHAIN_HEAD
						    : *number % 3 ? MESSAGE_RAW_BLOCK_BACKFILL
								  : MESSAGE_RAW_BLOCK_TIP,
					    .schema_version = 1,
					    .created_unix_ms = 1,
					    .key = { (const uint8_t *)names[i], strlen(names[i]) },
					    .body = { body, BODY } };
		memcpy(frames[i].event_id, number, sizeof *number);
	}
	must(bus_publish(p, frames, n, &err), "bus_publish", &err);
}

static struct error reason_of(uint64_t n)
{
	static const int codes[] = { WEIR_TIMEOUT, WEIR_MISMATCH, WEIR_INVALID };
	struct error why = { 0 };
	error_set(&why, n % 10000 == 0 ? WEIR_CRASH : codes[n % 3], "attempt on message %llu failed for the reason that the benchmark gives it",
		  (unsigned long long)n);
	return why;
}

static struct bus_worker *open_worker(struct bus *bus)
{
	struct bus_worker *w;
	struct error err = { 0 };
	must(bus_worker_open(bus, CHAIN, TOPIC_RAW, SUB, NULL, &w, &err), "bus_worker_open", &err);
	return w;
}

static uint64_t settle(struct bus_worker *w, enum bus_outcome outcome, uint64_t number)
{
	struct bus_message *m;
	struct error err = { 0 };
	size_t n;
	must(bus_worker_read(w, BATCH, 100, &m, &n, &err), "bus_worker_read", &err);
	struct bus_step *step = bus_step_begin(w);
	for (size_t i = 0; i < n; i++) {
		struct error why = reason_of(number + i);
		bus_step_settle(step, &m[i], outcome, outcome == BUS_DONE ? NULL : &why);
	}
	must(bus_step_commit(&step, &err), "bus_step_commit", &err);
	return n;
}

static void fill(uint64_t letters)
{
	struct bus *bus = open_bus();
	struct bus_worker *w = open_worker(bus);
	struct bus_publisher *p;
	struct error err = { 0 };
	uint64_t published = 0, parked = 0;
	double spent = 0;
	must(bus_publisher_open(bus, CHAIN, TOPIC_RAW, "bench", &p, &err), "bus_publisher_open", &err);
	while (parked < letters) {
		size_t n = letters - published < BATCH ? (size_t)(letters - published) : BATCH;
		if (n > 0)
			publish(p, &published, n, false, KEYS);
		double begin = now();
		parked += settle(w, BUS_REJECT, parked);
		spent += now() - begin;
	}
	printf("{\"letters\":%llu,\"parked_per_second\":%.0f}\n", (unsigned long long)parked, (double)parked / spent);
	bus_publisher_close(&p);
	bus_worker_close(&w);
	bus_close(&bus);
}

/* -- finding -------------------------------------------------------------------------------------------------------------- */

struct page {
	char last[48];
	size_t n;
};

static bool take(const char *id, struct bytes body, void *arg)
{
	(void)body;
	struct page *page = arg;
	snprintf(page->last, sizeof page->last, "%s", id);
	page->n++;
	return true;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Ids are times: the letter that stands at a share of the whole is near that share of the time between first and last. */
static void cursor_at(const char *first, const char *last, double share, char ret[48])
{
	double from = strtod(first, NULL), to = strtod(last, NULL);
	snprintf(ret, 48, "%.0f-0", from + (to - from) * share);
}

static char *newest(struct bus *bus, const char *first)
{
	static char last[48];
	struct page page = { .n = 1 };
	struct error err = { 0 };
	snprintf(last, sizeof last, "%s", first);
	for (int64_t step = (int64_t)1 << 40; step > 0; step /= 2) { /* the last time with a letter behind it */
		char at[48];
		snprintf(at, sizeof at, "%lld-0", strtoll(last, NULL, 10) + (long long)step);
		page.n = 0;
		must(dead_letter_list(bus, CHAIN, SUB, NULL, at, 1, take, &page, &err), "dead_letter_list", &err);
		if (page.n > 0)
			snprintf(last, sizeof last, "%s", at);
	}
	return last;
}

static void count_nothing(const char *kind, const char *type, const char *reason, uint64_t count, void *arg)
{
	(void)kind;
	(void)type;
	(void)reason;
	*(uint64_t *)arg += count;
}

static void list(size_t size)
{
	struct bus *bus = open_bus();
	struct error err = { 0 };
	struct page first = { .n = 0 };
	double times[SAMPLES_MAX], worst = 0;
	size_t samples = 0, worst_filter = 0;
	uint64_t total = 0, matching = 0;
	must(dead_letter_list(bus, CHAIN, SUB, NULL, NULL, 1, take, &first, &err), "dead_letter_list", &err);
	const char *last = newest(bus, first.last);
	int64_t middle = (strtoll(first.last, NULL, 10) + strtoll(last, NULL, 10)) / 2;
	const struct dead_letter_filter filters[] = {
		{ 0 },
		{ .type = "raw_block_tip" },
		{ .reason = "timeout" },
		{ .reason = "crash" }, /* the rare one */
		{ .kind = "head" },
		{ .kind = "follower" }, /* none */
		{ .key = "k7" },
		{ .type = "raw_block_tip", .reason = "mismatch" },
		{ .type = "raw_block_backfill", .reason = "crash", .key = "k0" },
		{ .from_ms = middle },
		{ .to_ms = middle, .reason = "invalid" },
		{ .from_ms = middle, .to_ms = middle + 1000, .key = "k9" },
		{ .type = "no such type" },
		{ .from_ms = strtoll(last, NULL, 10) },                  /* the last ones only */
		{ .reason = "crash", .key = "k7", .to_ms = middle },     /* none: what is rare is of other keys */
		{ .key = "k7", .kind = "skipped", .from_ms = middle - 1 }, /* none */
	};
	for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++)
		for (int at = 0; at < 4; at++) {
			char cursor[48] = "";
			struct page page = { .n = 0 };
			if (at > 0)
				cursor_at(first.last, last, at == 1 ? 0.5 : at == 2 ? 0.9 : 0.999, cursor);
			double begin = now();
			must(dead_letter_list(bus, CHAIN, SUB, &filters[f], cursor, size, take, &page, &err), "dead_letter_list", &err);
			times[samples] = (now() - begin) * 1e3;
			if (times[samples] > worst) {
				worst = times[samples];
				worst_filter = f;
			}
			samples++;
		}
	qsort(times, samples, sizeof times[0], by_size);
	double begin = now();
	must(dead_letter_counts(bus, CHAIN, SUB, count_nothing, &total, &err), "dead_letter_counts", &err);
	must(dead_letter_count_matching(bus, CHAIN, SUB, &filters[7], &matching, &err), "dead_letter_count_matching", &err);
	printf("{\"letters\":%llu,\"page\":%zu,\"pages\":%zu,\"median_ms\":%.2f,\"slowest_ms\":%.2f,\"slowest_filter\":%zu,\"counts_ms\":%.2f}\n",
	       (unsigned long long)total, size, samples, times[samples / 2], worst, worst_filter, (now() - begin) * 1e3);
	bus_close(&bus);
}

/* -- replaying ------------------------------------------------------------------------------------------------------------ */

static struct dead_letter_job start(struct bus *bus, const char *subscription)
{
	struct dead_letter_job job;
	struct error err = { 0 };
	must(dead_letter_job_start(bus, CHAIN, subscription, &(struct dead_letter_order){ .who = "bench", .why = "bench" }, &job, &err),
	     "dead_letter_job_start", &err);
	return job;
}

static void print_rate(const struct dead_letter_job *job, uint64_t replayed, double seconds)
{
	printf("{\"letters\":%llu,\"replayed\":%llu,\"replayed_per_second\":%.0f}\n", (unsigned long long)job->total, (unsigned long long)replayed,
	       (double)replayed / seconds);
}

static void replay(uint64_t letters)
{
	struct bus *bus = open_bus();
	struct bus_worker *w = open_worker(bus);
	struct dead_letter_job job = start(bus, SUB);
	uint64_t done = 0;
	double begin = now();
	while (done < letters && done < job.total)
		done += settle(w, BUS_DONE, 0);
	print_rate(&job, done, now() - begin);
	bus_worker_close(&w);
	bus_close(&bus);
}

static struct bus_owner *open_owner(struct bus *bus)
{
	struct bus_owner *o;
	struct error err = { 0 };
	must(bus_owner_open(bus, CHAIN, TOPIC_BLOCKS, OWNER_SUB, 60000, &o, &err), "bus_owner_open", &err);
	must(bus_owner_acquire(o, &err), "bus_owner_acquire", &err);
	return o;
}

static void ordered_fill(uint64_t letters, uint64_t keys)
{
	struct bus *bus = open_bus();
	struct bus_owner *o = open_owner(bus);
	struct bus_publisher *p;
	struct bus_message *m;
	struct error err = { 0 }, why = { .code = WEIR_TIMEOUT };
	uint64_t published = 0, parked = 0;
	size_t n;
	double begin = now();
	must(bus_publisher_open(bus, CHAIN, TOPIC_BLOCKS, "bench", &p, &err), "bus_publisher_open", &err);
	while (parked < letters) {
		if (published < letters)
			publish(p, &published, BATCH, true, keys);
		must(bus_owner_read(o, BATCH, 10, &m, &n, &err), "bus_owner_read", &err); /* followers are put aside by the read itself */
		for (size_t i = 0; i < n; i++)
			must(bus_owner_park(o, &m[i], &why, &err), "bus_owner_park", &err);
		must(dead_letter_count(bus, CHAIN, OWNER_SUB, &parked, &err), "dead_letter_count", &err);
	}
	printf("{\"letters\":%llu,\"parked_per_second\":%.0f}\n", (unsigned long long)parked, (double)parked / (now() - begin));
	bus_publisher_close(&p);
	bus_owner_close(&o);
	bus_close(&bus);
}

static void ordered(uint64_t letters)
{
	struct bus *bus = open_bus();
	struct bus_owner *o = open_owner(bus);
	struct bus_message *m;
	struct error err = { 0 };
	uint64_t done = 0;
	size_t n;
	struct dead_letter_job job = start(bus, OWNER_SUB);
	double begin = now();
	while (done < letters && done < job.total) {
		must(bus_owner_read(o, BATCH, 100, &m, &n, &err), "bus_owner_read", &err);
		const struct bus_message *handled[BATCH];
		for (size_t i = 0; i < n; i++)
			handled[i] = &m[i];
		must(bus_owner_resolve_many(o, handled, n, &err), "bus_owner_resolve_many", &err);
		done += n;
	}
	print_rate(&job, done, now() - begin);
	bus_owner_close(&o);
	bus_close(&bus);
}

int main(int argc, char **argv)
{
	unsigned long long n = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	url = argc > 2 ? argv[2] : NULL;
	if (n > 0 && strcmp(argv[1], "fill") == 0)
		fill(n);
	else if (n > 0 && strcmp(argv[1], "list") == 0)
		list((size_t)n);
	else if (n > 0 && strcmp(argv[1], "replay") == 0)
		replay(n);
	else if (n > 0 && argc > 4 && strcmp(argv[1], "ordered_fill") == 0)
		ordered_fill(n, strtoull(argv[4], NULL, 10));
	else if (n > 0 && strcmp(argv[1], "ordered") == 0)
		ordered(n);
	else {
		fprintf(stderr, "usage: bus_dead_letter fill|list|replay|ordered_fill|ordered URL N [KEYS]\n");
		return 64;
	}
	return 0;
}

/* kafka_job.c - replay jobs over Kafka as operators see them: start, look, pause, resume, cancel. */
#include "bus/kafka/kafka_job.h"

#include "bus/kafka/kafka_dead_letter.h"
#include "bus/letter/letters.h"

#include "base/clock.h"
#include "wire/digest.h"

#include <inttypes.h>
#include <stdio.h>

#define NOTHING ((struct bytes){ NULL, 0 })
#define ROW_KEY_MAX 64
#define JOBS_KEEP 100 /* of a subscription's home */
#define NAMED_MAX ((size_t)4 << 20)
#define LOOK_EVERY_MS 10

static void tell(struct bus *bus, const char *what, const struct dead_letter_job *j, const char *who, const char *why)
{
	log_info(&bus->log, "bus_audit", what, LOG_S("chain", j->chain), LOG_S("subscription", j->subscription), LOG_S("job", j->id), LOG_S("who", who ? who : ""),
		 LOG_S("why", why ? why : ""), LOG_U("letters", j->total));
}

/* -- starting --------------------------------------------------------------------------------------------------------------------------- */

struct counting {
	const struct dead_letter_order *order;
	uint64_t total;
	int64_t newest_ms; /* of all letters */
	struct kafka_table *home; /* of the first that is chosen, or of the first there is; any partition of its topic */
	bool chosen;
};

static bool is_wanted(const struct dead_letter_order *o, const struct kafka_dead *l)
{
	bool wanted = o->n == 0 && kafka_dead_fits(l->whole, &o->filter);
	for (size_t i = 0; i < o->n && !wanted; i++)
		wanted = strcmp(o->ids[i], l->id) == 0;
	return wanted;
}

static bool count(struct kafka_dead *l, void *arg)
{
	struct counting *c = arg;
	const bool wanted = is_wanted(c->order, l);
	if (!c->home || (wanted && !c->chosen))
		c->home = l->table;
	c->chosen = c->chosen || wanted;
	c->total += wanted;
	c->newest_ms = (int64_t)l->whole->parked_at_unix_ms > c->newest_ms ? (int64_t)l->whole->parked_at_unix_ms : c->newest_ms;
	return true;
}

/* The topics' names, and the table of the home; without letters that of the first topic. */
static int find_home(struct kafka *k, const char *chain, const char *subscription, const struct counting *c, struct kafka_job *ret, struct kafka_table **home,
		     struct error *err)
{
	char(*names)[KEY_MAX] = xcalloc(KAFKA_DEAD_TOPICS, sizeof *names);
	const size_t before = strlen("weir.") + strlen(chain) + 1, behind = strlen(".letters.") + strlen(subscription);
	size_t n, size = 0;
	int r = kafka_dead_topics(k, chain, subscription, names, &n, err);
	for (size_t i = 0; i < n && r == 0 && size < sizeof ret->topics; i++)
		size += (size_t)snprintf(ret->topics + size, sizeof ret->topics - size, "%s%.*s", i ? " " : "", (int)(strlen(names[i]) - before - behind), names[i] + before);
	if (r == 0 && size >= sizeof ret->topics)
		r = error_set(err, WEIR_LIMIT, "subscription %s has letters of too many topics for a job", subscription);
	if (r == 0)
		r = kafka_table(k, c->home ? c->home->topic->name : names[0], 0, home, err);
	if (r == 0)
		r = kafka_table_load(*home, err);
	free(names);
	return r;
}

static void digest_order(const struct kafka_job *j, const struct dead_letter_order *o, char ret[72])
{
	struct buf text = BUF_INIT(NAMED_MAX);
	const char *const texts[] = { o->filter.type, o->filter.reason, o->filter.error_class, o->filter.key, o->filter.kind };
	const int64_t numbers[] = { o->filter.from_ms, o->filter.to_ms, j->job.rate, j->job.burst, j->job.concurrency, j->job.stop_percent };
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		buf_add(&text, texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) + 1 : 1);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		buf_printf(&text, "%" PRId64 " ", numbers[i]);
	for (size_t i = 0; i < o->n; i++)
		buf_printf(&text, "%s\n", o->ids[i]);
	sha256_text(text.data, text.size, ret);
	buf_free(&text);
}

static int describe(const char *chain, const char *subscription, const struct dead_letter_order *o, const struct counting *c, struct kafka_job *j,
		    struct error *err)
{
	const int64_t now = clock_wall_ms(), newest = c->newest_ms > now ? c->newest_ms : now; /* the clock may have been set back since it was parked */
	int r = dead_letter_order_limits(o, &j->job, err);
	if (r != 0)
		return r;
	const struct {
		const char *from;
		char *to;
		size_t size;
	} texts[] = {
		{ chain, j->job.chain, sizeof j->job.chain },
		{ subscription, j->job.subscription, sizeof j->job.subscription },
		{ "running", j->job.state, sizeof j->job.state },
		{ o->who, j->job.who, sizeof j->job.who },
		{ o->why, j->job.why, sizeof j->job.why },
		{ o->filter.type, j->job.type, sizeof j->job.type },
		{ o->filter.reason, j->job.reason, sizeof j->job.reason },
		{ o->filter.error_class, j->job.error_class, sizeof j->job.error_class },
		{ o->filter.key, j->job.key, sizeof j->job.key },
		{ o->filter.kind, j->job.kind, sizeof j->job.kind },
		{ o->idempotency_key, j->idempotency, sizeof j->idempotency },
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if ((size_t)snprintf(texts[i].to, texts[i].size, "%s", texts[i].from ? texts[i].from : "") >= texts[i].size && texts[i].from != o->who &&
		    texts[i].from != o->why)
			return error_set(err, WEIR_LIMIT, "a replay job's \"%.20s…\" is too long", texts[i].from);
	j->job.from_ms = o->filter.from_ms;
	j->job.to_ms = o->filter.to_ms > 0 && o->filter.to_ms < newest ? o->filter.to_ms : newest; /* letters that come later are not the job's */
	j->job.named = o->n > 0;
	j->job.total = c->total;
	j->job.created_ms = j->tokens_at_ms = now;
	j->tokens_milli = j->job.burst * 1000;
	digest_order(j, o, j->order);
	return 0;
}

/* Forgets the oldest that ended, so that there is room for one more; finds one with the same idempotency key. */
static int look_at_others(struct kafka_table *t, const struct kafka_job *new, struct kafka_job *ret_same, struct error *err)
{
	struct kafka_job j;
	char oldest[ROW_KEY_MAX] = "";
	size_t n = 0;
	ret_same->job.id[0] = 0;
	for (size_t at = kafka_table_at(t, "j/"); at < t->count && strncmp(t->rows[at].key, "j/", 2) == 0; at++, n++) {
		if (!kafka_job_read(new->job.chain, &t->rows[at], &j))
			continue;
		if (*new->idempotency && strcmp(new->idempotency, j.idempotency) == 0)
			*ret_same = j;
		if (!*oldest && !kafka_job_active(&j))
			snprintf(oldest, sizeof oldest, "%s", t->rows[at].key);
	}
	if (*ret_same->job.id || n < JOBS_KEEP)
		return 0;
	if (!*oldest)
		return error_set(err, WEIR_FULL, "subscription %s has %d replay jobs that run or are paused: resume or cancel some", new->job.subscription, JOBS_KEEP);
	return kafka_table_put(t, oldest, NOTHING, false, err);
}

static int put_names(struct kafka_table *t, const struct kafka_job *j, const struct dead_letter_order *o, struct error *err)
{
	struct buf lines = BUF_INIT(NAMED_MAX);
	char key[ROW_KEY_MAX];
	for (size_t i = 0; i < o->n; i++)
		buf_printf(&lines, "%.48s\n", o->ids[i]);
	snprintf(key, sizeof key, "n/%s", j->job.id);
	int r = lines.overflow ? error_set(err, WEIR_LIMIT, "too many letters are named") : kafka_table_put(t, key, (struct bytes){ lines.data, lines.size }, false, err);
	buf_free(&lines);
	return r;
}

static int enter(struct kafka_table *t, struct kafka_job *j, const struct dead_letter_order *o, struct error *err)
{
	char key[ROW_KEY_MAX];
	int64_t id = clock_wall_ns() / 1000;
	do {
		snprintf(j->job.id, sizeof j->job.id, "%" PRId64, id++);
		snprintf(key, sizeof key, "j/%s", j->job.id);
	} while (kafka_table_find(t, key));
	int r = o->n > 0 ? put_names(t, j, o, err) : 0;
	if (r == 0)
		r = kafka_job_write(t, j, false, err);
	return r ? r : kafka_table_flush(t, err);
}

int kafka_job_start(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_order *o, uint64_t *ret_total,
		    struct dead_letter_job *ret, struct error *err)
{
	struct counting c = { .order = o };
	struct kafka_job j = { 0 }, same;
	struct kafka_table *t;
	int r = kafka_dead_each(bus, chain, subscription, NULL, NULL, count, &c, err);
	*ret_total = c.total;
	if (r == 0)
		r = describe(chain, subscription, o, &c, &j, err);
	if (r != 0 || !ret)
		return r;
	r = find_home(kafka_of(bus), chain, subscription, &c, &j, &t, err);
	if (r == 0)
		r = look_at_others(t, &j, &same, err);
	if (r != 0)
		return r;
	if (*same.job.id && strcmp(same.order, j.order) != 0)
		return error_set(err, WEIR_CONFLICT, "the idempotency key was used for another replay job: take a new one");
	if (*same.job.id) {
		*ret = same.job;
		return 0;
	}
	r = enter(t, &j, o, err);
	if (r == 0)
		tell(bus, "replay job", &j.job, o->who, o->why);
	*ret = j.job;
	return r;
}

/* -- looking ------------------------------------------------------------------------------------------------------------------------------ */

/* Calls fn with each home of the chain, loaded, until it says no. subscription NULL: of all. */
static int each_home(struct kafka *k, const char *chain, const char *subscription, bool (*fn)(struct kafka_table *, void *), void *arg, struct error *err)
{
	const struct rd_kafka_metadata *md = NULL;
	char begin[KEY_MAX], end[KEY_MAX] = ".letters.";
	int r = kafka_names(k, (const char *const[]){ chain, subscription ? subscription : "any" }, 2, err);
	if (r == 0)
		r = kafka_all_topics(k, &md, err);
	snprintf(begin, sizeof begin, "weir.%s.", chain);
	if (subscription)
		snprintf(end, sizeof end, ".letters.%s", subscription);
	bool more = true;
	for (int i = 0; r == 0 && more && i < md->topic_cnt; i++) {
		const char *name = md->topics[i].topic, *found = strstr(name, end);
		struct kafka_table *t;
		if (strncmp(name, begin, strlen(begin)) != 0 || !found || (subscription && found[strlen(end)]))
			continue;
		r = kafka_table(k, name, 0, &t, err);
		if (r == 0)
			r = kafka_table_load(t, err);
		more = r == 0 && fn(t, arg);
	}
	if (md)
		rdk.metadata_destroy(md);
	return r;
}

struct finding {
	char key[ROW_KEY_MAX];
	struct kafka_table *table;
};

static bool has(struct kafka_table *t, void *arg)
{
	struct finding *f = arg;
	if (kafka_table_find(t, f->key))
		f->table = t;
	return !f->table;
}

static int find(struct bus *bus, const char *chain, const char *id, struct kafka_table **ret, struct kafka_job *ret_job, struct error *err)
{
	struct finding f = { .table = NULL };
	if ((size_t)snprintf(f.key, sizeof f.key, "j/%s", id) >= sizeof f.key)
		f.key[0] = 0; /* no job has such an id */
	int r = each_home(kafka_of(bus), chain, NULL, has, &f, err);
	*ret = f.table;
	if (r == 0 && (!f.table || !kafka_job_read(chain, kafka_table_find(f.table, f.key), ret_job)))
		r = error_set(err, WEIR_NOT_FOUND, "chain %s has no replay job %s", chain, id);
	return r;
}

int kafka_job_show(struct bus *bus, const char *chain, const char *id, struct dead_letter_job *ret, struct error *err)
{
	struct kafka_table *t;
	struct kafka_job j;
	int r = find(bus, chain, id, &t, &j, err);
	if (r == 0)
		*ret = j.job;
	return r;
}

struct listing {
	const char *chain;
	struct dead_letter_job *jobs;
	size_t n;
};

static bool gather(struct kafka_table *t, void *arg)
{
	struct listing *l = arg;
	struct kafka_job j;
	for (size_t at = kafka_table_at(t, "j/"); at < t->count && strncmp(t->rows[at].key, "j/", 2) == 0; at++)
		if (kafka_job_read(l->chain, &t->rows[at], &j)) {
			l->jobs = xrealloc(l->jobs, l->n + 1, sizeof *l->jobs);
			l->jobs[l->n++] = j.job;
		}
	return true;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(((const struct dead_letter_job *)b)->id, ((const struct dead_letter_job *)a)->id);
}

int kafka_job_list(struct bus *bus, const char *chain, const char *subscription, size_t limit, dead_letter_job_fn *fn, void *arg, struct error *err)
{
	struct listing l = { .chain = chain };
	int r = each_home(kafka_of(bus), chain, subscription, gather, &l, err);
	if (l.n > 0)
		qsort(l.jobs, l.n, sizeof *l.jobs, newest_first);
	for (size_t i = 0; i < l.n && r == 0 && (limit == 0 || i < limit); i++)
		fn(&l.jobs[i], arg);
	free(l.jobs);
	return r;
}

/* -- steering ------------------------------------------------------------------------------------------------------------------------------ */

static int withdraw(struct kafka_table *t, const char *key, const struct kafka_job *j, struct error *err)
{
	int r = kafka_table_put(t, key, NOTHING, false, err);
	if (r == 0)
		r = kafka_table_flush(t, err);
	return r ? r
		 : error_set(err, WEIR_TIMEOUT,
			     "Kafka topic %s, partition 0: no instance of subscription %s answered, and the one that owns the partition is who moves its jobs; the "
			     "question was withdrawn. Start an instance, look at the job, and ask again",
			     t->topic->name, j->job.subscription);
}

/* The owner takes the row away when it is done. */
static int ask(struct kafka_table *t, const struct kafka_job *j, const char *word, const char *who, const char *why, struct error *err)
{
	struct buf asked = BUF_INIT(1024);
	char key[ROW_KEY_MAX];
	snprintf(key, sizeof key, "i/%s", j->job.id);
	buf_printf(&asked, "%s%c%.60s%c%.250s%c", word, 0, who, 0, why, 0);
	int r = kafka_table_put(t, key, (struct bytes){ asked.data, asked.size }, false, err);
	buf_free(&asked);
	if (r == 0)
		r = kafka_table_flush(t, err);
	for (int64_t deadline = kafka_deadline(t->kafka); r == 0 && kafka_table_find(t, key);) {
		if (bus_canceled(t->kafka->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (clock_mono_ms() >= deadline)
			return withdraw(t, key, j, err);
		clock_sleep_ms(LOOK_EVERY_MS);
		r = kafka_table_poll(t, err);
	}
	return r;
}

int kafka_job_control(struct bus *bus, const char *chain, const char *id, enum dead_letter_job_action action, const char *who, const char *why,
		      struct dead_letter_job *ret, struct error *err)
{
	static const char *const words[] = { "pause", "resume", "cancel" };
	struct kafka_table *t;
	struct kafka_job j;
	int r = find(bus, chain, id, &t, &j, err);
	if (r == 0 && kafka_job_active(&j)) {
		struct kafka_lane *own = kafka_lane_of(t);
		who = who ? who : "";
		why = why ? why : "";
		r = own ? kafka_job_do(own, t, id, words[action], who, why, err) : ask(t, &j, words[action], who, why, err);
		if (r == 0 && own)
			r = kafka_table_flush(t, err);
		if (r == 0)
			r = find(bus, chain, id, &t, &j, err);
	}
	if (r == 0)
		*ret = j.job;
	return r;
}

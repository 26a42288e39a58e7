/* kafka_job_move.c - replay jobs over Kafka as the owner of their home moves them on: counts what was settled, chooses what is next, and marks it. */
#include "bus/kafka/kafka_job.h"

#include "bus/kafka/kafka_dead_letter.h"
#include "bus/kafka/kafka_letters.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

#define NOTHING ((struct bytes){ NULL, 0 })
#define ROW_KEY_MAX 96
#define MARK_MAX 1000    /* letters marked at once */
#define LOOK_MAX 4000    /* letters looked at for that */
#define SETTLED_MAX 1000 /* counted at once, of a table */
#define STOP_SAMPLE 20   /* replays that must have ended before their failures tell something */

/* A job in the hands of its home's owner. */
struct moving {
	struct kafka_lane *lane;
	struct kafka_table *home;
	struct kafka_job *job;
	char mark[32];               /* the value of its marks */
	struct kafka_table **tables; /* of all its topics, in order */
	size_t count;
};

/* -- tables ------------------------------------------------------------------------------------------------------------------------------- */

static int add_topic(struct moving *m, const char *topic, bool *ret_whole, struct error *err)
{
	char name[KEY_MAX];
	struct kafka_topic *t;
	kafka_letters_name(m->lane->chain, topic, m->lane->subscription, name);
	int r = kafka_topic(m->lane->kafka, name, KAFKA_TABLE, &t, err);
	for (int32_t p = 0; p < (r == 0 ? t->partitions : 0); p++) {
		m->tables = xrealloc(m->tables, m->count + 1, sizeof(struct kafka_table *));
		r = kafka_table(m->lane->kafka, name, p, &m->tables[m->count], err);
		if (r == 0)
			r = kafka_table_poll(m->tables[m->count], err);
		if (r != 0)
			return r;
		*ret_whole = *ret_whole && m->tables[m->count++]->whole;
	}
	return r;
}

/* All that its letters may be in. *ret_whole: they were read to their ends; until then nothing is done. Nobody is waited for. */
static int find_tables(struct moving *m, bool *ret_whole, struct error *err)
{
	char topics[sizeof m->job->topics], *rest = topics;
	int r = 0;
	*ret_whole = true;
	snprintf(topics, sizeof topics, "%s", m->job->topics);
	for (char *topic; r == 0 && (topic = strtok_r(rest, " ", &rest));)
		r = add_topic(m, topic, ret_whole, err);
	return r;
}

static bool begins(const struct kafka_table *t, size_t at, const char *prefix)
{
	return at < t->count && strncmp(t->rows[at].key, prefix, strlen(prefix)) == 0;
}

static bool is_mine(const struct moving *m, const struct kafka_row *row)
{
	struct kafka_mark mark;
	return kafka_mark_job(row, &mark) && strcmp(kafka_mark_id(&mark), m->job->job.id) == 0;
}

static int put(struct kafka_table *t, char kind, const char *id, const char *value, struct error *err)
{
	char key[ROW_KEY_MAX];
	snprintf(key, sizeof key, "%c/%s", kind, id);
	return kafka_table_put(t, key, value ? (struct bytes){ (const uint8_t *)value, strlen(value) + 1 } : NOTHING, false, err);
}

/* -- counting ------------------------------------------------------------------------------------------------------------------------------- */

/* How many of a table's letters are out, or wait. */
static uint64_t count_marks(const struct moving *m, const char *prefix)
{
	uint64_t n = 0;
	for (size_t i = 0; i < m->count; i++)
		for (size_t at = kafka_table_at(m->tables[i], prefix); begins(m->tables[i], at, prefix); at++)
			n += is_mine(m, &m->tables[i]->rows[at]);
	return n;
}

static void count_one(struct kafka_job *j, uint8_t how)
{
	if (how == 'o')
		j->job.succeeded++;
	else if (how == 'f')
		j->job.failed++;
	else
		j->job.gone++;
}

/* Counted first, then taken away. */
static int count_settled(struct moving *m, struct error *err)
{
	char prefix[ROW_KEY_MAX], key[ROW_KEY_MAX];
	snprintf(prefix, sizeof prefix, "x/%s/", m->job->job.id);
	int r = 0;
	for (size_t i = 0; i < m->count; i++) {
		const struct kafka_table *t = m->tables[i];
		size_t n = 0;
		for (size_t at = kafka_table_at(t, prefix); n < SETTLED_MAX && begins(t, at, prefix); at++, n++)
			count_one(m->job, t->rows[at].value.data[0]);
		if (n > 0)
			r = kafka_job_write(m->home, m->job, true, err);
		for (; r == 0 && n > 0; n--) {
			snprintf(key, sizeof key, "%s", t->rows[kafka_table_at(t, prefix)].key);
			r = kafka_table_put(m->tables[i], key, NOTHING, false, err);
		}
		if (r != 0)
			return r;
	}
	return 0;
}

static bool has_settled(const struct moving *m)
{
	char prefix[ROW_KEY_MAX];
	snprintf(prefix, sizeof prefix, "x/%s/", m->job->job.id);
	for (size_t i = 0; i < m->count; i++)
		if (begins(m->tables[i], kafka_table_at(m->tables[i], prefix), prefix))
			return true;
	return false;
}

/* -- pausing and ending ------------------------------------------------------------------------------------------------------------------------ */

/* What nobody has begun with is not tried: it waits again, or, to nobody, is a letter like others. What is in a handler's hands ends as it ends. */
static int take_back(struct moving *m, bool waits, struct error *err)
{
	static const char *const kinds[] = { "r/", "s/", "w/" };
	int r = 0;
	for (size_t i = 0; i < m->count; i++)
		for (size_t k = 0; k < (waits ? 2 : 3); k++)
			for (size_t at = kafka_table_at(m->tables[i], kinds[k]); r == 0 && begins(m->tables[i], at, kinds[k]);) {
				char id[48], value[32];
				if (!is_mine(m, &m->tables[i]->rows[at])) {
					at++;
					continue;
				}
				snprintf(id, sizeof id, "%s", m->tables[i]->rows[at].key + 2);
				snprintf(value, sizeof value, "%s", (const char *)m->tables[i]->rows[at].value.data);
				r = put(m->tables[i], *kinds[k], id, NULL, err);
				if (r == 0 && waits)
					r = put(m->tables[i], 'w', id, value, err);
				at = kafka_table_at(m->tables[i], kinds[k]); /* rows have moved */
			}
	return r;
}

static void tell(const struct moving *m, const char *what, const char *who, const char *why)
{
	const struct dead_letter_job *j = &m->job->job;
	log_info(&m->lane->kafka->bus->log, "bus_audit", what, LOG_S("chain", j->chain), LOG_S("subscription", j->subscription), LOG_S("job", j->id),
		 LOG_S("who", who), LOG_S("why", why), LOG_U("succeeded", j->succeeded), LOG_U("failed", j->failed));
}

static int pause_it(struct moving *m, const char *who, const char *why, struct error *err)
{
	snprintf(m->job->job.state, sizeof m->job->job.state, "paused");
	snprintf(m->job->job.note, sizeof m->job->job.note, "%s", why);
	tell(m, "replay job paused", who, why);
	return take_back(m, true, err);
}

static int end_it(struct moving *m, const char *state, const char *who, const char *why, struct error *err)
{
	snprintf(m->job->job.state, sizeof m->job->job.state, "%s", state);
	m->job->job.finished_ms = clock_wall_ms();
	tell(m, "replay job ended", who, why);
	return m->job->job.named ? put(m->home, 'n', m->job->job.id, NULL, err) : 0;
}

static void resume_it(struct moving *m, const char *who, const char *why)
{
	struct kafka_job *j = m->job;
	snprintf(j->job.state, sizeof j->job.state, "running");
	j->job.note[0] = 0;
	j->base_succeeded = (int64_t)j->job.succeeded;
	j->base_failed = (int64_t)j->job.failed;
	j->tokens_at_ms = clock_wall_ms();
	tell(m, "replay job resumed", who, why);
}

/* The share of replays that fail again says whether going on makes sense. */
static int judge(struct moving *m, struct error *err)
{
	const struct kafka_job *j = m->job;
	const int64_t failed = (int64_t)j->job.failed - j->base_failed, ended = failed + (int64_t)j->job.succeeded - j->base_succeeded;
	const int64_t enough = (int64_t)j->job.total < STOP_SAMPLE ? (int64_t)j->job.total : STOP_SAMPLE;
	char why[160];
	if (j->job.stop_percent == 0 || failed == 0 || ended < enough || failed * 100 < j->job.stop_percent * ended)
		return 0;
	snprintf(why, sizeof why, "%" PRId64 " of %" PRId64 " replays failed again: resume it when the cause is gone, or cancel it", failed, ended);
	return pause_it(m, "weir", why, err);
}

/* -- choosing -------------------------------------------------------------------------------------------------------------------------------- */

/* Marks, at once, what the job may have out. */
struct room {
	int64_t left, looked;
};

static int mark(struct moving *m, struct kafka_table *t, const char *id, struct room *room, struct error *err)
{
	const struct kafka_row *row = kafka_letter_row(t, id);
	room->left--;
	return put(t, row && row->key[0] == KAFKA_SKIPPED ? 's' : 'r', id, m->mark, err);
}

/* What waits has its turn before what was not chosen yet. */
static int mark_waiting(struct moving *m, struct room *room, struct error *err)
{
	int r = 0;
	for (size_t i = 0; i < m->count; i++)
		for (size_t at = kafka_table_at(m->tables[i], "w/"); r == 0 && room->left > 0 && begins(m->tables[i], at, "w/");) {
			char id[48];
			if (!is_mine(m, &m->tables[i]->rows[at])) {
				at++;
				continue;
			}
			snprintf(id, sizeof id, "%s", m->tables[i]->rows[at].key + 2);
			r = mark(m, m->tables[i], id, room, err);
			if (r == 0)
				r = put(m->tables[i], 'w', id, NULL, err);
			at = kafka_table_at(m->tables[i], "w/");
		}
	return r;
}

/* Whether its key is walked already, by whomever. */
static bool is_walked(const struct kafka_table *t, const char *id)
{
	static const char kinds[] = "rw";
	char prefix[ROW_KEY_MAX];
	for (const char *kind = kinds; *kind; kind++) {
		snprintf(prefix, sizeof prefix, "%c/%.*s", *kind, KAFKA_HASH_SIZE, id);
		if (begins(t, kafka_table_at(t, prefix), prefix))
			return true;
	}
	return false;
}

/* A letter that the order takes; of a key that is kept in order the first, for which the others wait. *ret_by_key: that is so. */
static int choose(struct moving *m, struct kafka_table *t, const struct kafka_row *row, struct room *room, bool *ret_by_key, struct error *err)
{
	char prefix[ROW_KEY_MAX], id[48];
	*ret_by_key = row->key[0] == 'l' && kafka_letter_by_key(row);
	snprintf(id, sizeof id, "%s", row->key + 2);
	if (*ret_by_key && is_walked(t, id))
		return 0;
	if (*ret_by_key) {
		snprintf(prefix, sizeof prefix, "l/%.*s", KAFKA_HASH_SIZE, id);
		snprintf(id, sizeof id, "%s", t->rows[kafka_table_at(t, prefix)].key + 2);
	}
	return mark(m, t, id, room, err);
}

/* The next letter of a table at or behind an id, skipped or not: the smaller id first. */
static const struct kafka_row *next_letter(const struct kafka_table *t, const char *id)
{
	const struct kafka_row *found[2] = { NULL, NULL };
	static const char kinds[2] = { 'k', 'l' };
	for (int i = 0; i < 2; i++) {
		char key[ROW_KEY_MAX];
		const char prefix[] = { kinds[i], '/', 0 };
		snprintf(key, sizeof key, "%c/%s", kinds[i], id);
		size_t at = kafka_table_at(t, key);
		found[i] = begins(t, at, prefix) ? &t->rows[at] : NULL;
	}
	return !found[0] ? found[1] : !found[1] || strcmp(found[0]->key + 2, found[1]->key + 2) <= 0 ? found[0] : found[1];
}

static bool fits(const struct kafka_table *t, const struct kafka_row *row, const struct dead_letter_filter *f)
{
	Weir__V1__DeadLetter *letter = kafka_dead_read(t, row);
	bool yes = letter && kafka_dead_fits(letter, f);
	if (letter)
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	return yes;
}

/* Goes on behind the last that was looked at: '~' comes after all that ids have. */
static int choose_matching(struct moving *m, struct room *room, struct error *err)
{
	struct kafka_job *j = m->job;
	struct dead_letter_filter f;
	int r = 0;
	kafka_job_filter(j, &f);
	while (r == 0 && room->left > 0 && room->looked-- > 0 && j->at < (int64_t)m->count) {
		struct kafka_table *t = m->tables[j->at];
		const struct kafka_row *row = next_letter(t, j->at_id);
		if (!row) {
			j->at++;
			j->at_id[0] = 0;
			continue;
		}
		char id[48];
		bool by_key = false;
		snprintf(id, sizeof id, "%s", row->key + 2);
		if (fits(t, row, &f))
			r = choose(m, t, row, room, &by_key, err);
		snprintf(j->at_id, sizeof j->at_id, "%.*s~", by_key ? KAFKA_HASH_SIZE : 48, id); /* a key is tried once, from its first letter on */
	}
	j->exhausted = j->at >= (int64_t)m->count;
	return r;
}

static int choose_named(struct moving *m, struct room *room, struct error *err)
{
	struct kafka_job *j = m->job;
	char key[ROW_KEY_MAX];
	int r = 0;
	snprintf(key, sizeof key, "n/%s", j->job.id);
	const struct kafka_row *names = kafka_table_find(m->home, key);
	const size_t size = names ? names->value.size : 0;
	while (r == 0 && room->left > 0 && (size_t)j->at < size) {
		const char *line = (const char *)kafka_table_find(m->home, key)->value.data + j->at; /* rows move when others are put */
		const char *end = memchr(line, '\n', size - (size_t)j->at);
		const size_t length = end ? (size_t)(end - line) : size - (size_t)j->at;
		const struct kafka_row *row = NULL;
		char id[49];
		bool by_key;
		snprintf(id, sizeof id, "%.*s", (int)length, line);
		j->at += (int64_t)length + 1;
		for (size_t i = 0; i < m->count && !row && r == 0; i++)
			if ((row = kafka_letter_row(m->tables[i], id)))
				r = choose(m, m->tables[i], row, room, &by_key, err);
		j->job.gone += !row && r == 0;
	}
	j->exhausted = (size_t)j->at >= size;
	return r;
}

/* -- moving on -------------------------------------------------------------------------------------------------------------------------------- */

static int64_t tokens_now(const struct kafka_job *j, int64_t now)
{
	const int64_t passed = now > j->tokens_at_ms ? now - j->tokens_at_ms : 0, most = j->job.burst * 1000;
	const int64_t sum = j->tokens_milli + (passed > 1000000 ? most : passed * j->job.rate);
	return sum < most ? sum : most;
}

static int offer(struct moving *m, struct error *err)
{
	struct kafka_job *j = m->job;
	const int64_t now = clock_wall_ms(), tokens = tokens_now(j, now), out = (int64_t)(count_marks(m, "r/") + count_marks(m, "s/"));
	int64_t free = j->job.concurrency - out < MARK_MAX ? j->job.concurrency - out : MARK_MAX;
	if (j->job.rate > 0 && tokens / 1000 < free)
		free = tokens / 1000;
	struct room room = { free, LOOK_MAX };
	int r = mark_waiting(m, &room, err);
	if (r == 0 && !j->exhausted)
		r = j->job.named ? choose_named(m, &room, err) : choose_matching(m, &room, err);
	if (room.left < free && j->job.rate > 0) {
		j->tokens_milli = tokens - (free - room.left) * 1000;
		j->tokens_at_ms = now;
	}
	return r;
}

static int move(struct moving *m, struct error *err)
{
	struct kafka_job *j = m->job;
	int r = count_settled(m, err);
	if (r == 0 && strcmp(j->job.state, "running") == 0)
		r = judge(m, err);
	if (r == 0 && strcmp(j->job.state, "running") == 0)
		r = offer(m, err);
	j->job.out = count_marks(m, "r/") + count_marks(m, "s/");
	j->job.ready = count_marks(m, "w/");
	if (r == 0 && strcmp(j->job.state, "running") == 0 && j->exhausted && j->job.out == 0 && j->job.ready == 0 && !has_settled(m))
		r = end_it(m, "done", j->job.who, "", err);
	return r ? r : kafka_job_write(m->home, j, true, err);
}

/* Opens what a job needs; *ret_whole: it may be moved. */
static int begin(struct kafka_lane *l, struct kafka_table *home, struct kafka_job *j, struct moving *ret, bool *ret_whole, struct error *err)
{
	*ret = (struct moving){ .lane = l, .home = home, .job = j };
	snprintf(ret->mark, sizeof ret->mark, "%c%c%s", KAFKA_JOB_MARK, j->job.rate > 0 ? 'p' : 'f', j->job.id);
	return find_tables(ret, ret_whole, err);
}

int kafka_job_do(struct kafka_lane *l, struct kafka_table *home, const char *id, const char *word, const char *who, const char *why, struct error *err)
{
	struct kafka_job j;
	struct moving m;
	char key[ROW_KEY_MAX];
	bool whole;
	snprintf(key, sizeof key, "j/%s", id);
	const struct kafka_row *row = kafka_table_find(home, key);
	if (!row || !kafka_job_read(l->chain, row, &j) || !kafka_job_active(&j))
		return 0;
	int r = begin(l, home, &j, &m, &whole, err);
	const bool running = strcmp(j.job.state, "running") == 0;
	if (r == 0 && !whole)
		r = error_set(err, WEIR_UNAVAILABLE, "replay job %s: its letters are being read", id);
	if (r == 0 && strcmp(word, "pause") == 0 && running)
		r = pause_it(&m, who, why, err);
	else if (r == 0 && strcmp(word, "resume") == 0 && !running)
		resume_it(&m, who, why);
	else if (r == 0 && strcmp(word, "cancel") == 0) {
		r = count_settled(&m, err);
		if (r == 0)
			r = take_back(&m, false, err);
		if (r == 0)
			r = end_it(&m, "canceled", who, why, err);
	}
	j.job.out = count_marks(&m, "r/") + count_marks(&m, "s/");
	j.job.ready = count_marks(&m, "w/");
	if (r == 0)
		r = kafka_job_write(home, &j, true, err);
	free(m.tables);
	return r;
}

/* "word\0who\0why\0" */
static int serve_wish(struct kafka_lane *l, struct kafka_table *home, const char *key, struct error *err)
{
	char id[ROW_KEY_MAX], text[1024] = "";
	const struct kafka_row *row = kafka_table_find(home, key);
	snprintf(id, sizeof id, "%s", key + 2);
	memcpy(text, row->value.data, row->value.size < sizeof text - 3 ? row->value.size : sizeof text - 3); /* ends with three zeroes */
	const char *who = text + strlen(text) + 1, *why = who + strlen(who) + 1;
	int r = kafka_job_do(l, home, id, text, who, why, err);
	return r ? r : kafka_table_put(home, key, NOTHING, true, err);
}

/* What only this job's letters are in the way of is no reason to stop the lane; what fences us is. */
static int soften(int r, const struct kafka_lane *l, const struct error *err)
{
	if (r == 0 || r == WEIR_FENCED || r == WEIR_CANCELED)
		return r;
	log_debug(&l->kafka->bus->log, "bus_job_waits", err->text, LOG_S("chain", l->chain), LOG_S("subscription", l->subscription));
	return 0;
}

static int serve_job(struct kafka_lane *l, struct kafka_table *home, const char *key, struct error *err)
{
	struct kafka_job j;
	struct moving m;
	bool whole = false;
	if (!kafka_job_read(l->chain, kafka_table_find(home, key), &j) || strcmp(j.job.state, "running") != 0)
		return 0;
	int r = begin(l, home, &j, &m, &whole, err);
	if (r == 0 && whole)
		r = move(&m, err);
	free(m.tables);
	return r;
}

/* Each row of a kind; what is done may move them. */
static int each_row(struct kafka_lane *l, struct kafka_table *home, const char *prefix,
		    int (*fn)(struct kafka_lane *, struct kafka_table *, const char *, struct error *), struct error *err)
{
	char key[ROW_KEY_MAX], after[ROW_KEY_MAX + 1];
	int r = 0;
	for (size_t at = kafka_table_at(home, prefix); r == 0 && begins(home, at, prefix); at = kafka_table_at(home, after)) {
		struct error why = { 0 };
		snprintf(key, sizeof key, "%s", home->rows[at].key);
		snprintf(after, sizeof after, "%s!", key);
		r = soften(fn(l, home, key, &why), l, &why);
		if (r != 0)
			return error_set(err, r, "%s", why.text);
	}
	return r;
}

int kafka_jobs_serve(struct kafka_lane *l, struct kafka_table *home, struct error *err)
{
	int r = each_row(l, home, "i/", serve_wish, err);
	return r ? r : each_row(l, home, "j/", serve_job, err);
}

/* kafka_letters.c - the lanes' side of dead letters over Kafka: parking, trying again, done. */
#include "bus/kafka/kafka_letters.h"

#include "bus/message/letter.h"

#include "base/hash.h"

#include "weir/v1/dead_letter.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROW_KEY_MAX 96
#define NOTHING ((struct bytes){ NULL, 0 })

/* Two keys of one hash would only wait for one another. */
static uint64_t hash_of(struct bytes b)
{
	return hash_bytes(HASH_BASIS, b.data, b.size);
}

void kafka_letter_id(const struct bus_message *m, bool by_key, char ret[48])
{
	struct bytes place = { (const uint8_t *)m->id, strlen(m->id) };
	snprintf(ret, 48, "%016" PRIx64 ".%u.%03u.%019" PRIu64, hash_of(by_key && m->frame.key.size > 0 ? m->frame.key : place), m->klass % CLASSES,
		 (unsigned)(m->generation - 1) % 1000, m->sequence - 1);
}

static void row_key(char kind, const char *id, char ret[ROW_KEY_MAX])
{
	snprintf(ret, ROW_KEY_MAX, "%c/%s", kind, id);
}

/* The first row of that kind whose id begins as `id` does; NULL: none. */
static const struct kafka_row *first_of(const struct kafka_table *t, char kind, const char *id, size_t size)
{
	char key[ROW_KEY_MAX];
	snprintf(key, sizeof key, "%c/%.*s", kind, (int)size, id);
	size_t at = kafka_table_at(t, key);
	return at < t->count && strncmp(t->rows[at].key, key, strlen(key)) == 0 ? &t->rows[at] : NULL;
}

bool kafka_letter_known(const struct kafka_table *t, const char *id)
{
	return kafka_letter_row(t, id) != NULL;
}

const struct kafka_row *kafka_letter_row(const struct kafka_table *t, const char *id)
{
	char key[ROW_KEY_MAX];
	row_key('l', id, key);
	const struct kafka_row *row = kafka_table_find(t, key);
	row_key(KAFKA_SKIPPED, id, key);
	return row ? row : kafka_table_find(t, key);
}

static bool is_skipped(const struct kafka_table *t, const char *id)
{
	const struct kafka_row *row = kafka_letter_row(t, id);
	return row && row->key[0] == KAFKA_SKIPPED;
}

bool kafka_letter_by_key(const struct kafka_row *row)
{
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, row->value.size, row->value.data);
	struct bytes key = NOTHING;
	uint16_t type;
	char hash[KAFKA_HASH_SIZE + 1] = "";
	if (letter && frame_peek((struct bytes){ letter->frame.data, letter->frame.len }, &type, &key) && key.size > 0)
		snprintf(hash, sizeof hash, "%016" PRIx64, hash_of(key));
	if (letter)
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	return strncmp(row->key + 2, hash, KAFKA_HASH_SIZE) == 0;
}

bool kafka_letter_is_first(const struct kafka_table *t, const char *id)
{
	const struct kafka_row *row = first_of(t, 'l', id, KAFKA_HASH_SIZE);
	return row && strcmp(row->key + 2, id) == 0;
}

/* A replay that failed again is not marked any more, one that succeeded is no letter. */
bool kafka_letter_in_hand(const struct kafka_lane *l, const struct kafka_table *t, const char *id)
{
	if (!first_of(t, is_skipped(t, id) ? 's' : 'r', id, KAFKA_HASH_SIZE) && !first_of(t, 'w', id, KAFKA_HASH_SIZE)) /* w: its job was paused meanwhile */
		return false;
	for (size_t i = 0; i < l->batch.count; i++)
		if (l->batch.messages[i].replay && strcmp(l->batch.messages[i].letter, id) == 0)
			return true;
	return l->waits && l->waits(l->waits_arg, id);
}

bool kafka_key_parked(const struct kafka_table *t, const struct bus_message *m)
{
	char id[48];
	kafka_letter_id(m, true, id);
	return m->frame.key.size > 0 && first_of(t, 'l', id, KAFKA_HASH_SIZE);
}

static int add_failures(struct kafka_table *t, const char *id, struct bytes packed, struct error *err)
{
	char prefix[ROW_KEY_MAX], key[ROW_KEY_MAX + 24];
	unsigned number = 0;
	snprintf(prefix, sizeof prefix, "a/%s/", id);
	for (size_t at = kafka_table_at(t, prefix); at < t->count && strncmp(t->rows[at].key, prefix, strlen(prefix)) == 0; at++)
		number = (unsigned)strtoul(t->rows[at].key + strlen(prefix), NULL, 10) + 1;
	snprintf(key, sizeof key, "%s%06u", prefix, number);
	return packed.size ? kafka_table_put(t, key, packed, true, err) : 0;
}

/* Removes all rows that begin so. */
static int remove_all(struct kafka_table *t, const char *prefix, struct error *err)
{
	size_t at = kafka_table_at(t, prefix);
	int r = 0;
	while (r == 0 && at < t->count && strncmp(t->rows[at].key, prefix, strlen(prefix)) == 0) {
		char key[ROW_KEY_MAX + 24];
		snprintf(key, sizeof key, "%s", t->rows[at].key);
		r = kafka_table_put(t, key, NOTHING, true, err);
	}
	return r;
}

/* Nothing of its key is tried again by itself. marked: 'r', or 's', which is of this letter alone. */
static int stop_replay(struct kafka_table *t, char marked, const char *id, bool by_key, struct error *err)
{
	char prefix[ROW_KEY_MAX];
	snprintf(prefix, sizeof prefix, "%c/%.*s", marked, by_key && marked == 'r' ? KAFKA_HASH_SIZE : 47, id);
	int r = remove_all(t, prefix, err);
	prefix[0] = 'w';
	return r ? r : remove_all(t, prefix, err);
}

/* -- marks of jobs (kafka_job.h) ---------------------------------------------------------------------------------------------------- */

bool kafka_mark_job(const struct kafka_row *mark, struct kafka_mark *ret)
{
	const struct bytes v = mark ? mark->value : NOTHING;
	*ret = (struct kafka_mark){ 0 };
	if (v.size < 3 || v.size >= sizeof ret->value || v.data[0] != KAFKA_JOB_MARK || v.data[v.size - 1] != 0)
		return false;
	memcpy(ret->value, v.data, v.size);
	ret->paced = v.data[1] == 'p';
	ret->waits = mark->key[0] == 'w';
	return true;
}

/* The job that tries this letter, or, by_key, its key. */
static bool job_of(const struct kafka_table *t, const char *id, bool by_key, struct kafka_mark *ret)
{
	static const char kinds[] = "rsw";
	for (const char *kind = kinds; *kind; kind++)
		if (kafka_mark_job(first_of(t, *kind, id, by_key && *kind != 's' ? KAFKA_HASH_SIZE : strlen(id)), ret))
			return true;
	return false;
}

int kafka_job_settled(struct kafka_table *t, const struct kafka_mark *job, const char *id, char how, bool as_owner, struct error *err)
{
	char key[ROW_KEY_MAX];
	snprintf(key, sizeof key, "x/%s/%s", kafka_mark_id(job), id);
	return kafka_table_put(t, key, (struct bytes){ (const uint8_t *)&how, 1 }, as_owner, err);
}

/* The next one of a key that is tried in order: at once, or when its job says so. job NULL: an operator's replay. */
static int mark_next(struct kafka_table *t, const char *id, const struct kafka_mark *job, struct error *err)
{
	char key[ROW_KEY_MAX];
	row_key(job && (job->paced || job->waits) ? 'w' : 'r', id, key);
	const char *text = job ? job->value : "next";
	return kafka_table_put(t, key, (struct bytes){ (const uint8_t *)text, strlen(text) + 1 }, true, err);
}

/* In this order whoever comes after a crash in between finds a letter in its place, and what was asked. */
int kafka_letter_skip(struct kafka_table *t, const char *id, struct bytes as, struct error *err)
{
	char key[ROW_KEY_MAX];
	struct kafka_mark job;
	const bool of_job = job_of(t, id, true, &job);
	row_key(KAFKA_SKIPPED, id, key);
	int r = kafka_table_put(t, key, as, true, err);
	if (r == 0 && of_job)
		r = kafka_job_settled(t, &job, id, 'g', true, err);
	row_key('l', id, key);
	size_t next = kafka_table_at(t, key) + 1;
	if (r == 0 && next < t->count && strncmp(t->rows[next].key, key, 2 + KAFKA_HASH_SIZE) == 0)
		r = mark_next(t, t->rows[next].key + 2, NULL, err);
	row_key('w', id, key);
	if (r == 0 && kafka_table_find(t, key))
		r = kafka_table_put(t, key, NOTHING, true, err);
	row_key('l', id, key);
	if (r == 0)
		r = kafka_table_put(t, key, NOTHING, true, err);
	row_key('r', id, key);
	return r == 0 && kafka_table_find(t, key) ? kafka_table_put(t, key, NOTHING, true, err) : r;
}

static int not_ours(const struct bus_message *m, struct error *err)
{
	return error_set(err, WEIR_FENCED, "message %s: its partition is not ours any more", m->id);
}

int kafka_letter_store(struct kafka_lane *l, const struct bus_message *m, bool by_key, int code, struct bytes base, struct bytes failures,
		       struct error *err)
{
	char id[48], key[ROW_KEY_MAX];
	struct kafka_part *part = kafka_lane_part(l, m);
	int r = 0;
	if (!part)
		return not_ours(m, err);
	if (!base.data) {
		const char marked = is_skipped(part->letters, m->letter) ? 's' : 'r';
		struct kafka_mark job;
		if (kafka_letter_known(part->letters, m->letter)) /* else purged */
			r = add_failures(part->letters, m->letter, failures, err);
		if (r == 0 && job_of(part->letters, m->letter, by_key && marked == 'r', &job))
			r = kafka_job_settled(part->letters, &job, m->letter, 'f', true, err);
		return r ? r : stop_replay(part->letters, marked, m->letter, by_key, err);
	}
	kafka_letter_id(m, by_key, id);
	row_key('l', id, key);
	r = kafka_table_put(part->letters, key, base, true, err);
	if (r == 0)
		r = add_failures(part->letters, id, failures, err);
	if (r == 0)
		bus_tally_add(l->tally, m->frame.type, code, TALLY_PARKED, 1);
	return r;
}

int kafka_letter_park(struct kafka_lane *l, const struct bus_message *m, bool by_key, struct bytes history, const struct error *why, struct error *err)
{
	struct buf frame = BUF_INIT(2ul * FRAME_BODY_MAX), base = BUF_INIT(2ul * FRAME_BODY_MAX), failures = BUF_INIT(8192 + history.size);
	const struct kafka_part *part = kafka_lane_part(l, m);
	if (!part)
		return not_ours(m, err);
	bool follows = by_key && !m->replay && kafka_key_parked(part->letters, m);
	if (m->frame_ok)
		frame_write(&m->frame, &frame);
	else
		buf_add(&frame, m->frame.body.data, m->frame.body.size); /* its bytes as they were read */
	if (!m->replay)
		bus_letter_pack(l->chain, l->topic, l->subscription, m, (struct bytes){ frame.data, frame.size }, follows ? "follower" : "head", &base);
	buf_add(&failures, history.data, history.size);
	if (!follows)
		bus_attempt_pack(l->kafka->bus, why, &failures);
	int r = base.overflow ? error_set(err, WEIR_LIMIT, "message %s is too large to be parked", m->id)
			      : kafka_letter_store(l, m, by_key, follows ? 0 : why->code, (struct bytes){ base.data, base.size },
						   (struct bytes){ failures.data, failures.size }, err);
	buf_free(&frame);
	buf_free(&base);
	buf_free(&failures);
	return r;
}

int kafka_letter_resolve(struct kafka_lane *l, const struct bus_message *m, bool by_key, struct error *err)
{
	char key[ROW_KEY_MAX + 8];
	struct kafka_part *part = kafka_lane_part(l, m);
	if (!part)
		return not_ours(m, err);
	struct kafka_table *t = part->letters;
	const bool skipped = is_skipped(t, m->letter); /* nobody waits for it */
	struct kafka_mark job;
	const bool of_job = job_of(t, m->letter, by_key && !skipped, &job);
	const bool goes_on = by_key && !skipped && m->frame.key.size > 0 && (of_job || first_of(t, 'r', m->letter, KAFKA_HASH_SIZE)); /* else its job was canceled */
	int r = of_job ? kafka_job_settled(t, &job, m->letter, 'o', true, err) : 0;
	snprintf(key, sizeof key, "a/%s/", m->letter);
	if (r == 0)
		r = remove_all(t, key, err);
	row_key('l', m->letter, key);
	if (r == 0)
		r = kafka_table_put(t, key, NOTHING, true, err);
	row_key(KAFKA_SKIPPED, m->letter, key); /* also what is left of a skip that was not ended */
	if (r == 0 && kafka_table_find(t, key))
		r = kafka_table_put(t, key, NOTHING, true, err);
	row_key(skipped ? 's' : 'r', m->letter, key);
	if (r == 0 && kafka_table_find(t, key))
		r = kafka_table_put(t, key, NOTHING, true, err);
	row_key('w', m->letter, key);
	if (r == 0 && kafka_table_find(t, key))
		r = kafka_table_put(t, key, NOTHING, true, err);
	const struct kafka_row *next = goes_on ? first_of(t, 'l', m->letter, KAFKA_HASH_SIZE) : NULL;
	return r == 0 && next ? mark_next(t, next->key + 2, of_job ? &job : NULL, err) : r;
}

/* -- trying again ---------------------------------------------------------------------------------------------------------------------- */

/* False: the letter cannot be given to a handler. */
static bool add_letter(struct kafka_lane *l, const struct kafka_row *row, struct bus_message *m)
{
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, row->value.size, row->value.data);
	if (!letter)
		return false;
	m->replay = true;
	int klass = bus_class_of_stream(l->chain, l->topic, letter->stream);
	m->klass = (uint8_t)(klass < 0 ? 0 : klass);
	snprintf(m->letter, sizeof m->letter, "%s", row->key + 2);
	snprintf(m->id, sizeof m->id, "%s", letter->entry_id);
	if (!l->batch.arena)
		l->batch.arena = arena_new((size_t)256 << 20);
	uint8_t *copy = arena_alloc(l->batch.arena, letter->frame.len + 1);
	if (copy && letter->frame.len > 0)
		memcpy(copy, letter->frame.data, letter->frame.len);
	m->frame_ok = copy && klass >= 0 && bus_parse_id(m->id, &m->generation, &m->sequence) &&
		      frame_read((struct bytes){ copy, letter->frame.len }, &m->frame, NULL) == 0;
	weir__v1__dead_letter__free_unpacked(letter, NULL);
	return m->frame_ok;
}

/* It failed again, without anybody having been called. */
static int unreadable(struct kafka_lane *l, int32_t part, const char *id, bool by_key, struct error *err)
{
	struct bus_message m = { .replay = true, .generation = (uint64_t)part + 1 };
	struct error why;
	snprintf(m.letter, sizeof m.letter, "%s", id);
	error_set(&why, WEIR_INVALID, "the letter's frame cannot be read: purge it");
	return kafka_letter_park(l, &m, by_key, NOTHING, &why, err);
}

/* What the mark at row is for: the first letter of the key. *ret_row NULL: there is none any more. */
static int take_marked(struct kafka_lane *l, struct kafka_table *t, char marked, const char *mark, bool by_key, bool (*in_hand)(void *, const char *),
		       void *arg, bool *ret_marks_changed, struct error *err)
{
	char id[48];
	snprintf(id, sizeof id, "%s", mark);
	const struct kafka_row *row =
		marked == 's' ? first_of(t, KAFKA_SKIPPED, id, strlen(id)) : first_of(t, 'l', id, by_key ? KAFKA_HASH_SIZE : strlen(id));
	*ret_marks_changed = false;
	if (!row) {
		*ret_marks_changed = true;
		return stop_replay(t, marked, id, by_key, err);
	}
	if (in_hand && in_hand(arg, row->key + 2))
		return 0;
	if (add_letter(l, row, bus_batch_add(&l->batch)))
		return 0;
	l->batch.count--;
	snprintf(id, sizeof id, "%s", row->key + 2);
	*ret_marks_changed = true;
	return unreadable(l, t->partition, id, by_key, err);
}

static int take_of_part(struct kafka_lane *l, struct kafka_table *t, char marked, size_t max, bool by_key, bool (*in_hand)(void *, const char *),
			void *arg, struct error *err)
{
	char last[KAFKA_HASH_SIZE + 1] = "";
	int r = 0;
	const char prefix[] = { marked, '/', 0 };
	for (size_t at = kafka_table_at(t, prefix); r == 0 && at < t->count && strncmp(t->rows[at].key, prefix, 2) == 0 && l->batch.count < max;) {
		const char *mark = t->rows[at].key + 2;
		bool changed = false;
		if (!by_key || marked == 's' || strncmp(mark, last, KAFKA_HASH_SIZE) != 0) {
			snprintf(last, sizeof last, "%s", mark);
			r = take_marked(l, t, marked, mark, by_key, in_hand, arg, &changed, err);
		}
		at += !changed;
	}
	return r;
}

int kafka_letters_take(struct kafka_lane *l, size_t max, bool by_key, bool (*in_hand)(void *, const char *), void *arg, struct error *err)
{
	size_t before = l->batch.count;
	int r = 0;
	for (int32_t p = 0; p < l->part_count && r == 0; p++)
		if (l->parts[p].owned) {
			r = take_of_part(l, l->parts[p].letters, 'r', max, by_key, in_hand, arg, err);
			if (r == 0)
				r = take_of_part(l, l->parts[p].letters, 's', max, by_key, in_hand, arg, err);
		}
	bus_count(l->kafka->bus, "weir_bus_replayed_total", l->chain, l->topic, l->subscription, l->batch.count - before);
	return r;
}

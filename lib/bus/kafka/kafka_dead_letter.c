/* kafka_dead_letter.c - the operators' side of dead letters over Kafka: all tables of a subscription, read to their ends, and marks put there. */
#include "bus/kafka/kafka_dead_letter.h"

#include "bus/kafka/kafka_letters.h"
#include "bus/message/letter.h"
#include "bus/retry.h"

#include <stdio.h>
#include <string.h>

#define NOTHING ((struct bytes){ NULL, 0 })
#define COUNTS_MAX 4096
#define ROW_KEY_MAX 160

/* -- the tables ------------------------------------------------------------------------------------------------------------------------- */

struct tables {
	struct kafka_table **at;
	size_t count;
};

/* A subscription may have letters of several topics: weir.<chain>.<topic>.letters.<subscription> */
static bool is_of(const char *name, const char *chain, const char *subscription)
{
	char begin[KEY_MAX], end[KEY_MAX];
	size_t n = (size_t)snprintf(begin, sizeof begin, "weir.%s.", chain), m = (size_t)snprintf(end, sizeof end, ".letters.%s", subscription);
	size_t size = strlen(name);
	return size > n + m && strncmp(name, begin, n) == 0 && strcmp(name + size - m, end) == 0 && !memchr(name + n, '.', size - n - m);
}

int kafka_dead_topics(struct kafka *k, const char *chain, const char *subscription, char (*ret)[KEY_MAX], size_t *ret_n, struct error *err)
{
	const struct rd_kafka_metadata *md = NULL;
	int r = kafka_names(k, (const char *const[]){ chain, subscription }, 2, err);
	if (r == 0)
		r = kafka_all_topics(k, &md, err);
	*ret_n = 0;
	for (int i = 0; r == 0 && i < md->topic_cnt; i++)
		if (is_of(md->topics[i].topic, chain, subscription) && *ret_n < KAFKA_DEAD_TOPICS)
			snprintf(ret[(*ret_n)++], KEY_MAX, "%s", md->topics[i].topic);
	if (md)
		rdk.metadata_destroy(md);
	if (r == 0 && *ret_n == 0)
		r = error_set(err, WEIR_CONFIG, "Kafka %s has no topic weir.%s.<topic>.letters.%s for dead letters", k->hosts, chain, subscription);
	return r;
}

static int load_topic(struct kafka *k, const char *name, struct tables *ret, struct error *err)
{
	struct kafka_topic *topic;
	int r = kafka_topic(k, name, KAFKA_TABLE, &topic, err);
	for (int32_t p = 0; r == 0 && p < topic->partitions; p++) {
		ret->at = xrealloc(ret->at, ret->count + 1, sizeof(struct kafka_table *));
		r = kafka_table(k, name, p, &ret->at[ret->count], err);
		if (r == 0)
			r = kafka_table_load(ret->at[ret->count++], err);
	}
	return r;
}

static int load_tables(struct kafka *k, const char *chain, const char *subscription, struct tables *ret, struct error *err)
{
	char(*names)[KEY_MAX] = xcalloc(KAFKA_DEAD_TOPICS, sizeof *names);
	size_t n = 0;
	*ret = (struct tables){ 0 };
	int r = kafka_dead_topics(k, chain, subscription, names, &n, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = load_topic(k, names[i], ret, err);
	free(names);
	if (r != 0)
		xfree(&ret->at);
	return r;
}

int kafka_dead_find(struct kafka *k, const char *chain, const char *subscription, const char *id, struct kafka_table **ret,
		    const struct kafka_row **ret_row, struct error *err)
{
	struct tables tables;
	int r = load_tables(k, chain, subscription, &tables, err);
	*ret_row = NULL;
	for (size_t i = 0; r == 0 && i < tables.count && !*ret_row; i++) {
		*ret = tables.at[i];
		*ret_row = kafka_letter_row(*ret, id);
	}
	if (r == 0)
		free(tables.at);
	return r == 0 && !*ret_row ? error_set(err, WEIR_NOT_FOUND, "subscription %s of chain %s has no dead letter %s", subscription, chain, id) : r;
}

/* -- letters ------------------------------------------------------------------------------------------------------------------------------ */

Weir__V1__DeadLetter *kafka_dead_read(const struct kafka_table *t, const struct kafka_row *row)
{
	char prefix[ROW_KEY_MAX];
	struct buf whole = BUF_INIT(KAFKA_TABLE_BYTES);
	buf_add(&whole, row->value.data, row->value.size);
	snprintf(prefix, sizeof prefix, "a/%s/", row->key + 2);
	for (size_t at = kafka_table_at(t, prefix); at < t->count && strncmp(t->rows[at].key, prefix, strlen(prefix)) == 0; at++)
		buf_add(&whole, t->rows[at].value.data, t->rows[at].value.size);
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, whole.size, whole.data);
	buf_free(&whole);
	return letter;
}

static bool is_of_class(const Weir__V1__DeadLetter *l, const char *error_class)
{
	const char *reason = l->kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER ? "" : bus_letter_reason(l);
	return !error_class || (*reason && strcmp(retry_class_name(retry_class_of_name(reason)), error_class) == 0);
}

bool kafka_dead_fits(const Weir__V1__DeadLetter *l, const struct dead_letter_filter *f)
{
	int64_t at = (int64_t)l->parked_at_unix_ms;
	return !f || ((!f->type || strcmp(f->type, l->type) == 0) && (!f->reason || strcmp(f->reason, bus_letter_reason(l)) == 0) &&
		      is_of_class(l, f->error_class) && (!f->key || strcmp(f->key, l->key) == 0) && (!f->kind || strcmp(f->kind, bus_letter_kind(l)) == 0) &&
		      (f->from_ms <= 0 || at >= f->from_ms) && (f->to_ms <= 0 || at <= f->to_ms));
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct kafka_dead *)a)->id, ((const struct kafka_dead *)b)->id);
}

/* All letters' names, in order. */
static struct kafka_dead *collect(const struct tables *tables, size_t *ret_n)
{
	struct kafka_dead *all = NULL;
	size_t n = 0, capacity = 0;
	for (size_t i = 0; i < tables->count; i++) {
		struct kafka_table *t = tables->at[i];
		for (size_t at = kafka_table_at(t, "k/");
		     at < t->count && (strncmp(t->rows[at].key, "k/", 2) == 0 || strncmp(t->rows[at].key, "l/", 2) == 0); at++) {
			if (kafka_letter_row(t, t->rows[at].key + 2) != &t->rows[at])
				continue; /* it is being skipped */
			if (n == capacity) {
				capacity = capacity ? capacity * 2 : 64;
				all = xrealloc(all, capacity, sizeof *all);
			}
			all[n++] = (struct kafka_dead){ .table = t, .id = t->rows[at].key + 2 };
		}
	}
	if (n > 0)
		qsort(all, n, sizeof *all, by_id);
	*ret_n = n;
	return all;
}

/* Calls fn for those that match behind the cursor, until it says no. */
int kafka_dead_each(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *f, const char *cursor,
		bool (*fn)(struct kafka_dead *, void *), void *arg, struct error *err)
{
	struct tables tables;
	int r = load_tables(kafka_of(bus), chain, subscription, &tables, err);
	if (r != 0)
		return r;
	size_t n;
	struct kafka_dead *all = collect(&tables, &n);
	bool more = true;
	for (size_t i = 0; i < n && more; i++) {
		if (cursor && strcmp(all[i].id, cursor) <= 0)
			continue;
		all[i].whole = kafka_dead_read(all[i].table, kafka_letter_row(all[i].table, all[i].id));
		if (all[i].whole && kafka_dead_fits(all[i].whole, f))
			more = fn(&all[i], arg);
		if (all[i].whole)
			weir__v1__dead_letter__free_unpacked(all[i].whole, NULL);
	}
	free(all);
	free(tables.at);
	return 0;
}

/* -- finding ------------------------------------------------------------------------------------------------------------------------------- */

struct page {
	dead_letter_fn *fn;
	void *arg;
	size_t given, limit;
	const char *id; /* only this one, with its frame */
};

static bool give(struct kafka_dead *l, void *arg)
{
	struct page *p = arg;
	if (p->id && strcmp(p->id, l->id) != 0)
		return true;
	ProtobufCBinaryData frame = l->whole->frame;
	if (!p->id) {
		l->whole->frame_bytes = (uint32_t)frame.len;
		l->whole->frame = (ProtobufCBinaryData){ 0 };
	}
	size_t size = weir__v1__dead_letter__get_packed_size(l->whole);
	uint8_t *packed = xmalloc(size + 1);
	(void)weir__v1__dead_letter__pack(l->whole, packed);
	bool more = p->fn(l->id, (struct bytes){ packed, size }, p->arg);
	free(packed);
	l->whole->frame = frame;
	p->given++;
	return more && !p->id && (p->limit == 0 || p->given < p->limit);
}

int kafka_dead_list(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *f, const char *cursor, size_t limit,
		    dead_letter_fn *fn, void *arg, struct error *err)
{
	struct page p = { .fn = fn, .arg = arg, .limit = limit };
	return kafka_dead_each(bus, chain, subscription, f, cursor, give, &p, err);
}

int kafka_dead_show(struct bus *bus, const char *chain, const char *subscription, const char *id, dead_letter_fn *fn, void *arg, struct error *err)
{
	struct page p = { .fn = fn, .arg = arg, .id = id };
	int r = kafka_dead_each(bus, chain, subscription, NULL, NULL, give, &p, err);
	if (r == 0 && p.given == 0)
		r = error_set(err, WEIR_NOT_FOUND, "subscription %s of chain %s has no dead letter %s", subscription, chain, id);
	return r;
}

static bool count_one(struct kafka_dead *l, void *arg)
{
	(void)l;
	++*(uint64_t *)arg;
	return true;
}

int kafka_dead_count(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *f, uint64_t *ret, struct error *err)
{
	*ret = 0;
	return kafka_dead_each(bus, chain, subscription, f, NULL, count_one, ret, err);
}

struct counts {
	struct {
		char kind[16], type[64], reason[64];
		uint64_t count;
	} rows[COUNTS_MAX];
	size_t n;
};

static bool count_by(struct kafka_dead *l, void *arg)
{
	struct counts *c = arg;
	const char *kind = bus_letter_kind(l->whole), *reason = bus_letter_reason(l->whole);
	size_t i = 0;
	while (i < c->n && (strcmp(c->rows[i].kind, kind) != 0 || strcmp(c->rows[i].type, l->whole->type) != 0 || strcmp(c->rows[i].reason, reason) != 0))
		i++;
	if (i == COUNTS_MAX)
		return true;
	if (i == c->n) {
		c->n++;
		snprintf(c->rows[i].kind, sizeof c->rows[i].kind, "%s", kind);
		snprintf(c->rows[i].type, sizeof c->rows[i].type, "%s", l->whole->type);
		snprintf(c->rows[i].reason, sizeof c->rows[i].reason, "%s", reason);
	}
	c->rows[i].count++;
	return true;
}

int kafka_dead_counts(struct bus *bus, const char *chain, const char *subscription, dead_letter_counts_fn *fn, void *arg, struct error *err)
{
	struct counts *c = xmalloc(sizeof *c);
	int r = kafka_dead_each(bus, chain, subscription, NULL, NULL, count_by, c, err);
	for (size_t i = 0; i < c->n && r == 0; i++)
		fn(c->rows[i].kind, c->rows[i].type, c->rows[i].reason, c->rows[i].count, arg);
	free(c);
	return r;
}

/* -- acting ---------------------------------------------------------------------------------------------------------------------------------- */

struct act {
	const char *const *ids; /* only these; n 0: all that match */
	size_t n;
	const char *who;
	bool purge;
	struct chosen {
		struct kafka_table *table;
		char id[48];
	} *chosen;
	size_t count, capacity;
};

static bool choose(struct kafka_dead *l, void *arg)
{
	struct act *a = arg;
	bool wanted = a->n == 0;
	for (size_t i = 0; i < a->n && !wanted; i++)
		wanted = strcmp(a->ids[i], l->id) == 0;
	if (!wanted)
		return true;
	if (a->count == a->capacity) {
		a->capacity = a->capacity ? a->capacity * 2 : 64;
		a->chosen = xrealloc(a->chosen, a->capacity, sizeof *a->chosen);
	}
	a->chosen[a->count].table = l->table;
	snprintf(a->chosen[a->count++].id, sizeof a->chosen[0].id, "%s", l->id);
	return true;
}

static int mark(const struct act *a, const struct chosen *c, struct error *err)
{
	char key[ROW_KEY_MAX];
	const struct kafka_row *row = kafka_letter_row(c->table, c->id);
	snprintf(key, sizeof key, "%c/%s", row && row->key[0] == KAFKA_SKIPPED ? 's' : 'r', c->id);
	return kafka_table_put(c->table, key, (struct bytes){ (const uint8_t *)a->who, strlen(a->who) + 1 }, false, err);
}

/* The job that tries it counts it as gone, and goes on with those behind it. */
static int tell_job(const struct chosen *c, struct error *err)
{
	static const char kinds[] = "rsw";
	char key[ROW_KEY_MAX];
	struct kafka_mark job = { 0 };
	for (const char *kind = kinds; *kind && !*job.value; kind++) {
		snprintf(key, sizeof key, "%c/%s", *kind, c->id);
		(void)kafka_mark_job(kafka_table_find(c->table, key), &job);
	}
	if (!*job.value)
		return 0;
	int r = kafka_job_settled(c->table, &job, c->id, 'g', false, err);
	snprintf(key, sizeof key, "l/%s", c->id);
	const size_t next = kafka_table_at(c->table, key) + 1;
	const struct kafka_row *row = kafka_letter_row(c->table, c->id);
	if (r != 0 || !row || row->key[0] != 'l' || next >= c->table->count || strncmp(c->table->rows[next].key, key, 2 + KAFKA_HASH_SIZE) != 0)
		return r;
	snprintf(key, sizeof key, "w/%s", c->table->rows[next].key + 2);
	return kafka_table_put(c->table, key, (struct bytes){ (const uint8_t *)job.value, strlen(job.value) + 1 }, false, err);
}

static int purge(const struct chosen *c, struct error *err)
{
	char key[ROW_KEY_MAX];
	static const char kinds[] = "rswlk";
	int r = tell_job(c, err);
	for (const char *kind = kinds; *kind && r == 0; kind++) {
		snprintf(key, sizeof key, "%c/%s", *kind, c->id);
		r = kafka_table_find(c->table, key) ? kafka_table_put(c->table, key, NOTHING, false, err) : 0;
	}
	snprintf(key, sizeof key, "a/%s/", c->id);
	size_t at = kafka_table_at(c->table, key);
	while (r == 0 && at < c->table->count && strncmp(c->table->rows[at].key, key, strlen(key)) == 0) {
		char failure[ROW_KEY_MAX];
		snprintf(failure, sizeof failure, "%s", c->table->rows[at].key);
		r = kafka_table_put(c->table, failure, NOTHING, false, err);
	}
	return r;
}

static int act(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *f, struct act *a, uint64_t *ret_n,
	       struct error *err)
{
	*ret_n = 0;
	int r = kafka_dead_each(bus, chain, subscription, f, NULL, choose, a, err);
	for (size_t i = 0; i < a->count && r == 0; i++, *ret_n += r == 0)
		r = a->purge ? purge(&a->chosen[i], err) : mark(a, &a->chosen[i], err);
	for (size_t i = 0; i < a->count && r == 0; i++)
		r = kafka_table_flush(a->chosen[i].table, err); /* once for each: the others have nothing under way then */
	free(a->chosen);
	return r;
}

/* What the audit stream would have; over Kafka it is in the log. */
static void tell(struct bus *bus, const char *what, const char *chain, const char *subscription, const char *who, const char *why, uint64_t n)
{
	if (n > 0)
		log_info(&bus->log, "bus_audit", what, LOG_S("chain", chain), LOG_S("subscription", subscription), LOG_S("who", who ? who : ""),
			 LOG_S("why", why ? why : ""), LOG_U("letters", n));
}

int kafka_dead_replay(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *f, const char *const *ids, size_t n,
		      const char *who, uint64_t *ret_n, struct error *err)
{
	struct act a = { .ids = ids, .n = n, .who = who ? who : "" };
	int r = act(bus, chain, subscription, n > 0 ? NULL : f, &a, ret_n, err);
	tell(bus, "dead letters are to be tried again", chain, subscription, who, NULL, *ret_n);
	return r;
}

int kafka_dead_purge(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *f, const char *const *ids, size_t n,
		     const char *who, const char *why, uint64_t *ret_n, struct error *err)
{
	struct act a = { .ids = ids, .n = n, .who = who ? who : "", .purge = true };
	int r = act(bus, chain, subscription, n > 0 ? NULL : f, &a, ret_n, err);
	tell(bus, "dead letters were purged", chain, subscription, who, why, *ret_n);
	return r;
}

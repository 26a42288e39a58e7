/* kafka_change.c - edits and skips of dead letters over Kafka: asked by operators, done by owners. */
#include "bus/kafka/kafka_change.h"

#include "bus/kafka/kafka_dead_letter.h"
#include "bus/kafka/kafka_letters.h"
#include "bus/letter/letters.h"

#include "base/clock.h"
#include "wire/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOTHING ((struct bytes){ NULL, 0 })
#define ROW_KEY_MAX 96
#define NONCE_SIZE 16
#define HEAD_SIZE (1 + SHA256_TEXT - 1) /* of what is asked, before the row */
#define ROW_MAX (4ul * FRAME_BODY_MAX)
#define ANSWERS_KEPT 100 /* of operators who did not wait for them */
#define SKIP_TRIES 3     /* when the letter is edited at the same time */
#define LOOK_EVERY_MS 10

enum answer { DONE = 1, NONE = 0, NOT_AS_SEEN = -1, BEING_TRIED = -2, NOBODY_WAITS = -3, NOT_FIRST = -4, NO_ROOM = -5 };

/* -- the owner ----------------------------------------------------------------------------------------------------------------------- */

static void digest_of(const struct kafka_row *row, char ret[SHA256_TEXT])
{
	sha256_text(row->value.data, row->value.size, ret);
}

static int put_answer(struct kafka_table *t, const char *nonce, enum answer answer, struct error *err)
{
	char key[ROW_KEY_MAX], text[16];
	size_t kept = 0, at = kafka_table_at(t, "z/");
	while (at + kept < t->count && strncmp(t->rows[at + kept].key, "z/", 2) == 0)
		kept++;
	if (kept >= ANSWERS_KEPT) {
		snprintf(key, sizeof key, "%s", t->rows[at].key);
		int r = kafka_table_put(t, key, NOTHING, true, err);
		if (r != 0)
			return r;
	}
	snprintf(key, sizeof key, "z/%s", nonce);
	int n = snprintf(text, sizeof text, "%d", answer);
	return kafka_table_put(t, key, (struct bytes){ (const uint8_t *)text, (size_t)n }, true, err);
}

/* For all that a change puts: it is done in one go, or not begun. An owner who has no room for it would not get past the question. */
static bool has_room(const struct kafka_table *t, size_t size)
{
	return t->count + 3 <= KAFKA_TABLE_ROWS && t->bytes + size + 64 <= KAFKA_TABLE_BYTES;
}

/* What stands in `asked` is done, or not; *ret says which. */
static int decide(struct kafka_lane *l, struct kafka_table *t, const char *id, struct bytes asked, enum answer *ret, struct error *err)
{
	char seen[SHA256_TEXT];
	const struct kafka_row *row = kafka_letter_row(t, id);
	const bool skip = asked.size > 0 && asked.data[0] == 's';
	*ret = NONE;
	if (!row || asked.size <= HEAD_SIZE)
		return 0;
	digest_of(row, seen);
	*ret = skip && row->key[0] == KAFKA_SKIPPED                 ? DONE
	       : kafka_letter_in_hand(l, t, id)                     ? BEING_TRIED
	       : memcmp(seen, asked.data + 1, sizeof seen - 1) != 0 ? NOT_AS_SEEN
	       : skip && !kafka_letter_by_key(row)                  ? NOBODY_WAITS
	       : skip && !kafka_letter_is_first(t, id)              ? NOT_FIRST
	       : !has_room(t, asked.size)                           ? NO_ROOM
								    : DONE;
	if (*ret != DONE || (skip && row->key[0] == KAFKA_SKIPPED))
		return 0;
	const struct bytes new = { asked.data + HEAD_SIZE, asked.size - HEAD_SIZE };
	if (skip)
		return kafka_letter_skip(t, id, new, err);
	char key[ROW_KEY_MAX];
	snprintf(key, sizeof key, "%s", row->key);
	return kafka_table_put(t, key, new, true, err);
}

static int serve_one(struct kafka_lane *l, struct kafka_table *t, const char *key, struct bytes asked, struct error *err)
{
	char nonce[NONCE_SIZE + 1] = "";
	enum answer answer = NONE;
	int r = 0;
	snprintf(nonce, sizeof nonce, "%s", key + 2);
	if (strlen(key) > 2 + NONCE_SIZE + 1)
		r = decide(l, t, key + 2 + NONCE_SIZE + 1, asked, &answer, err);
	if (r == 0)
		r = kafka_table_put(t, key, NOTHING, true, err); /* makes room for the answer */
	return r == 0 ? put_answer(t, nonce, answer, err) : r;
}

int kafka_changes_serve(struct kafka_lane *l, struct kafka_table *t, struct error *err)
{
	int r = 0;
	for (size_t at = kafka_table_at(t, "q/"); r == 0 && at < t->count && strncmp(t->rows[at].key, "q/", 2) == 0; at = kafka_table_at(t, "q/")) {
		char key[ROW_KEY_MAX];
		snprintf(key, sizeof key, "%s", t->rows[at].key);
		struct bytes asked = { xmemdup(t->rows[at].value.data, t->rows[at].value.size + (t->rows[at].value.size == 0)),
				       t->rows[at].value.size };
		r = serve_one(l, t, key, asked, err); /* rows move when others are put */
		free((void *)(uintptr_t)asked.data);
	}
	return r;
}

/* -- the operator ------------------------------------------------------------------------------------------------------------------------ */

struct asking {
	struct kafka_table *table;
	char nonce[NONCE_SIZE + 1], question[ROW_KEY_MAX], answer[ROW_KEY_MAX];
};

/* Whether there is one; it is taken out. */
static bool answered(struct asking *a, enum answer *ret, int *ret_code, struct error *err)
{
	const struct kafka_row *row = kafka_table_find(a->table, a->answer);
	if (!row)
		return false;
	char text[16];
	snprintf(text, sizeof text, "%.*s", (int)row->value.size, (const char *)row->value.data);
	*ret = (enum answer)strtol(text, NULL, 10);
	*ret_code = kafka_table_put(a->table, a->answer, NOTHING, false, err);
	return true;
}

static int withdraw(struct asking *a, const char *subscription, enum answer *ret, struct error *err)
{
	int code = 0, r = kafka_table_put(a->table, a->question, NOTHING, false, err);
	if (r == 0)
		r = kafka_table_flush(a->table, err);
	if (r == 0)
		r = kafka_table_load(a->table, err);
	if (r != 0 || answered(a, ret, &code, err))
		return r ? r : code;
	return error_set(err, WEIR_TIMEOUT,
			 "Kafka topic %s, partition %d: no instance of subscription %s answered, and the one that owns the partition is who changes "
			 "its dead letters; "
			 "the question was withdrawn. Start an instance, look at the letter, and ask again",
			 a->table->topic->name, (int)a->table->partition, subscription);
}

static int wait_answer(struct asking *a, const char *subscription, enum answer *ret, struct error *err)
{
	int code = 0;
	for (int64_t deadline = kafka_deadline(a->table->kafka);;) {
		int r = kafka_table_poll(a->table, err);
		if (r != 0)
			return r;
		if (answered(a, ret, &code, err))
			return code;
		if (bus_canceled(a->table->kafka->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		if (clock_mono_ms() >= deadline)
			return withdraw(a, subscription, ret, err);
		clock_sleep_ms(LOOK_EVERY_MS);
	}
}

static int no_room(const struct kafka_table *t, struct error *err)
{
	return error_set(err, WEIR_FULL, "Kafka topic %s, partition %d has no room for the change: replay or purge dead letters", t->topic->name,
			 (int)t->partition);
}

/* Of an owner who decided. */
static int ended(const struct kafka_table *t, int r, enum answer answer, struct error *err)
{
	return r ? r : answer == NO_ROOM ? no_room(t, err) : 0;
}

static int ask(struct kafka_table *t, const char *subscription, const char *id, struct bytes asked, enum answer *ret, struct error *err)
{
	struct kafka_lane *l = kafka_lane_of(t);
	int r;
	if (l) {
		r = decide(l, t, id, asked, ret, err);
		if (r == 0)
			r = kafka_table_flush(t, err);
		return ended(t, r, *ret, err);
	}
	struct asking a = { .table = t };
	snprintf(a.nonce, sizeof a.nonce, "%016" PRIx64, random_u64());
	snprintf(a.question, sizeof a.question, "q/%s/%s", a.nonce, id);
	snprintf(a.answer, sizeof a.answer, "z/%s", a.nonce);
	r = kafka_table_put(t, a.question, asked, false, err);
	if (r == 0)
		r = kafka_table_flush(t, err);
	if (r == 0)
		r = wait_answer(&a, subscription, ret, err);
	if (r == 0)
		r = kafka_table_flush(t, err);
	return ended(t, r, *ret, err);
}

static void add_head(char what, const struct kafka_row *row, struct buf *ret)
{
	char seen[SHA256_TEXT];
	digest_of(row, seen);
	buf_add(ret, &what, 1);
	buf_add(ret, seen, sizeof seen - 1);
}

static int ask_skip(struct kafka *k, const char *chain, const char *subscription, const char *id, enum answer *ret, struct error *err)
{
	struct kafka_table *t;
	const struct kafka_row *row;
	int r = kafka_dead_find(k, chain, subscription, id, &t, &row, err);
	if (r != 0)
		return r;
	struct buf asked = BUF_INIT(ROW_MAX);
	add_head('s', row, &asked);
	buf_add(&asked, row->value.data, row->value.size);
	bus_letter_add_skipped(&asked);
	r = asked.overflow ? error_set(err, WEIR_LIMIT, "dead letter %s is too large", id)
			   : ask(t, subscription, id, (struct bytes){ asked.data, asked.size }, ret, err);
	buf_free(&asked);
	return r;
}

static void tell(struct bus *bus, const char *what, const char *chain, const char *subscription, const char *id, const char *who, const char *why)
{
	log_info(&bus->log, "bus_audit", what, LOG_S("chain", chain), LOG_S("subscription", subscription), LOG_S("who", who ? who : ""),
		 LOG_S("why", why ? why : ""), LOG_S("letter", id));
}

int kafka_dead_skip(struct bus *bus, const char *chain, const char *subscription, const char *id, const char *who, const char *why, struct error *err)
{
	static const struct {
		enum answer answer;
		int reply;
	} replies[] = { { DONE, 1 }, { NONE, 0 }, { NOT_FIRST, -1 }, { BEING_TRIED, -2 }, { NOBODY_WAITS, -3 } }; /* as skip_letter has them */
	enum answer answer = NOT_AS_SEEN;
	int r = 0;
	for (int i = 0; i < SKIP_TRIES && r == 0 && answer == NOT_AS_SEEN; i++)
		r = ask_skip(kafka_of(bus), chain, subscription, id, &answer, err);
	if (r != 0)
		return r;
	r = error_set(err, WEIR_CONFLICT, "subscription %s, dead letter %s: it was edited meanwhile: look at it again", subscription, id);
	for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++)
		if (replies[i].answer == answer)
			r = dead_letter_skip_answer(replies[i].reply, subscription, id, err);
	if (r == 0)
		tell(bus, "those behind a dead letter go on without it", chain, subscription, id, who, why);
	return r;
}

int kafka_dead_edit(struct bus *bus, const char *chain, const char *subscription, const char *id, const struct dead_letter_edit *e, char *ret_sha256,
		    struct error *err)
{
	struct kafka_table *t;
	const struct kafka_row *row;
	enum answer answer = NONE;
	char after[SHA256_TEXT];
	int r = kafka_dead_find(kafka_of(bus), chain, subscription, id, &t, &row, err);
	if (r != 0)
		return r;
	struct buf asked = BUF_INIT(ROW_MAX);
	add_head('e', row, &asked);
	r = dead_letter_edited(id, row->value, e, &asked, after, err);
	if (r == 0)
		r = asked.overflow ? error_set(err, WEIR_LIMIT, "dead letter %s would be too large", id)
				   : ask(t, subscription, id, (struct bytes){ asked.data, asked.size }, &answer, err);
	buf_free(&asked);
	if (r == 0)
		r = dead_letter_edit_answer(answer, id, err);
	if (r == 0 && ret_sha256)
		memcpy(ret_sha256, after, sizeof after);
	if (r == 0)
		tell(bus, "a dead letter was given another body", chain, subscription, id, e->who, e->why);
	return r;
}

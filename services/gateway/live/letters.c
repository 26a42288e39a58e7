/* letters.c - see letters.h. One look reads both streams behind the subscription's place, and puts what it finds in the order of their ids. */
#include "live/letters.h"

#include "live/replay_internal.h"

#include "control.h"

#include "bus/dead_letter.h"
#include "bus/letter_tail.h"

#include "weir/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MAX 200 /* entries of one stream in one look */
#define SNAPSHOT_TRIES 20
#define PUSH_MAX ((size_t)64 << 10)
#define SUBSCRIPTION_UNKNOWN LETTER_SUBSCRIPTIONS

enum letter_place { PLACE_AUDIT, PLACE_NEWS }; /* of an offset */

const char *const letter_subscriptions[LETTER_SUBSCRIPTIONS] = { SUBSCRIPTION_NORMALIZER, SUBSCRIPTION_RECONCILER, SUBSCRIPTION_FETCHER };

struct letter_counts {
	uint64_t head, follower, skipped;
};

struct happening {
	uint64_t id;
	enum letter_place place; /* which of the offset's it moves */
	size_t subscription;     /* whose letters; SUBSCRIPTION_UNKNOWN: it is of none of weir's, and no push */
	char *text;              /* its own members of the event */
	char parked[LETTER_ID_TEXT]; /* the letter, when it was; else "" */
};

struct look {
	struct bus *bus;
	const char *chain;
	struct happening items[LOOK_MAX * OFFSET_PLACES];
	size_t count;
	struct letter_counts counts[LETTER_SUBSCRIPTIONS];
};

/* NULL: there is no room, which there always is. */
static struct happening *add(struct look *look, uint64_t id, enum letter_place place, size_t subscription, const struct buf *text)
{
	if (look->count == sizeof look->items / sizeof look->items[0])
		return NULL;
	struct happening *h = &look->items[look->count++];
	*h = (struct happening){ id, place, subscription, text ? xstrdup(buf_str(text)) : NULL, "" };
	return h;
}

/* ---- letters ---------------------------------------------------------------------------------------------------------------------------- */

const char *letter_kind(Weir__V1__DeadLetterKind kind)
{
	return kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER ? "follower" :
	       kind == WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_SKIPPED	? "skipped" :
										  "head";
}

/* NULL: the letter is gone, and what it was with it. */
static void put_letter(struct buf *out, const char *id, const Weir__V1__DeadLetter *letter)
{
	const Weir__V1__Attempt *last = letter && letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1] : NULL;
	put_text(out, "id", id && *id ? id : NULL);
	put_text(out, "kind", letter ? letter_kind(letter->kind) : NULL);
	put_text(out, "letter_type", letter ? letter->type : NULL);
	put_text(out, "key", letter ? letter->key : NULL);
	put_text(out, "reason", last ? last->error_code : NULL);
	put_text(out, "error", last ? last->error : NULL);
}

size_t letter_subscription(const char *name)
{
	size_t i = 0;
	while (i < LETTER_SUBSCRIPTIONS && (!name || strcmp(letter_subscriptions[i], name) != 0))
		i++;
	return i;
}

static const char *action_of_news(const char *what)
{
	static const struct {
		const char *what, *action;
	} actions[] = { { "parked", "parked" }, { "failed", "failed" }, { "ok", "settled" }, { "gone", "dropped" } };
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(what, actions[i].what) == 0)
			return actions[i].action;
	return NULL;
}

static void on_news(const struct letter_news *news, void *arg)
{
	struct look *look = arg;
	struct buf text = BUF_INIT(PUSH_MAX);
	const char *action = action_of_news(news->what);
	put_text(&text, "action", action);
	put_text(&text, "id", news->letter);
	put_text(&text, "kind", news->kind);
	put_text(&text, "letter_type", news->type);
	put_text(&text, "key", news->key);
	put_text(&text, "reason", *news->reason ? news->reason : NULL);
	put_milliseconds(&text, "at", news->at_ms);
	struct happening *h = add(look, news->place, PLACE_NEWS, action ? letter_subscription(news->subscription) : SUBSCRIPTION_UNKNOWN, &text);
	if (h && strcmp(news->what, "parked") == 0)
		snprintf(h->parked, sizeof h->parked, "%s", news->letter);
	buf_free(&text);
}

struct errors { /* of the letters parked, in the order of their ids, as the list of letters is */
	struct look *look;
	size_t subscription, next;
};

static bool on_listed(const char *id, struct bytes body, void *arg)
{
	struct errors *e = arg;
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	const Weir__V1__Attempt *last = letter && letter->n_attempts > 0 ? letter->attempts[letter->n_attempts - 1] : NULL;
	for (size_t i = e->next; i < e->look->count; i++) {
		struct happening *h = &e->look->items[i];
		if (h->subscription != e->subscription || strcmp(h->parked, id) != 0)
			continue;
		struct buf text = BUF_INIT(PUSH_MAX);
		buf_add_str(&text, h->text);
		put_text(&text, "error", last ? last->error : NULL);
		free(h->text);
		h->text = xstrdup(buf_str(&text));
		*h->parked = '\0';
		buf_free(&text);
		e->next = i + 1;
		break;
	}
	if (letter)
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	return true;
}

/* What was wrong with them stands in the letters alone. Those that are gone already are told without it. */
static int add_errors(struct look *look, size_t subscription, struct error *err)
{
	char before[LETTER_ID_TEXT];
	for (size_t i = 0; i < look->count; i++)
		if (look->items[i].subscription == subscription && *look->items[i].parked) {
			struct errors e = { look, subscription, i };
			letter_id_text(letter_id_pack(look->items[i].parked) - 1, before);
			return dead_letter_list(look->bus, look->chain, letter_subscriptions[subscription], NULL, before, LOOK_MAX, on_listed, &e, err);
		}
	return 0;
}

static int read_news(struct look *look, uint64_t behind, struct error *err)
{
	int code = letter_tail_list(look->bus, look->chain, behind, LOOK_MAX, on_news, look, err);
	for (size_t i = 0; !code && i < LETTER_SUBSCRIPTIONS; i++)
		code = add_errors(look, i, err);
	return code;
}

/* ---- what operators did ------------------------------------------------------------------------------------------------------------------- */

static const char *word(const struct audit_line *line, const char *name)
{
	for (size_t i = 0; i + 1 < line->word_count; i += 2)
		if (strcmp(line->words[i], name) == 0)
			return line->words[i + 1];
	return NULL;
}

struct done { /* a line of the audit stream that is about letters; it is written out when the stream was read, the bus being busy until then */
	uint64_t id;
	int64_t at_ms;
	size_t subscription;
	const char *action;
	char letter[LETTER_ID_TEXT], who[112], why[208], job[32], state[24];
	int64_t count; /* letters concerned; -1: not said */
};

struct lines {
	struct done *items;
	size_t count;
};

static void copy(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text ? text : "");
}

static const char *action_of(const char *said, const char **ret_state)
{
	static const struct {
		const char *said, *action;
	} actions[] = { { "edit", "edited" }, { "skip", "skipped" }, { "purge", "purged" }, { "replay", "replayed" } };
	static const char job[] = "replay job";
	*ret_state = NULL;
	for (size_t i = 0; said && i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(said, actions[i].said) == 0)
			return actions[i].action;
	if (!said || strncmp(said, job, sizeof job - 1) != 0)
		return NULL;
	*ret_state = said[sizeof job - 1] == ' ' ? said + sizeof job : "started";
	return "job";
}

static bool on_line(const struct audit_line *line, void *arg)
{
	struct lines *lines = arg;
	struct done *d = &lines->items[lines->count++];
	const char *letter = word(line, "letter"), *state, *n = word(line, "count");
	*d = (struct done){ .id = letter_id_pack(line->id), .at_ms = line->at_ms, .subscription = letter_subscription(word(line, "subscription")),
			    .action = action_of(word(line, "action"), &state), .count = n ? strtoll(n, NULL, 10) : letter ? 1 : -1 };
	copy(d->letter, sizeof d->letter, letter ? letter : word(line, "first"));
	copy(d->who, sizeof d->who, word(line, "who"));
	copy(d->why, sizeof d->why, word(line, "why"));
	copy(d->job, sizeof d->job, word(line, "job"));
	copy(d->state, sizeof d->state, state);
	if (!d->action)
		d->subscription = SUBSCRIPTION_UNKNOWN;
	return true;
}

struct found {
	const char *wanted;
	Weir__V1__DeadLetter *letter;
};

static bool on_found(const char *id, struct bytes body, void *arg)
{
	struct found *f = arg;
	if (strcmp(id, f->wanted) == 0)
		f->letter = weir__v1__dead_letter__unpack(NULL, body.size, body.data);
	return false;
}

/* The letter as lists have it, without its frame; NULL: it is gone. */
static int find_letter(const struct look *look, const struct done *d, Weir__V1__DeadLetter **ret, struct error *err)
{
	char before[LETTER_ID_TEXT];
	struct found found = { .wanted = d->letter };
	const uint64_t id = letter_id_pack(d->letter);
	*ret = NULL;
	if (id == 0)
		return 0;
	int code = dead_letter_list(look->bus, look->chain, letter_subscriptions[d->subscription], NULL, letter_id_text(id - 1, before), 1, on_found, &found, err);
	*ret = found.letter;
	return code;
}

static int add_done(struct look *look, const struct done *d, struct error *err)
{
	Weir__V1__DeadLetter *letter = NULL;
	struct buf text = BUF_INIT(PUSH_MAX);
	if (d->subscription == SUBSCRIPTION_UNKNOWN) {
		add(look, d->id, PLACE_AUDIT, d->subscription, NULL);
		return 0;
	}
	int code = find_letter(look, d, &letter, err);
	put_text(&text, "action", d->action);
	put_letter(&text, d->letter, letter);
	put_milliseconds(&text, "at", d->at_ms);
	put_text(&text, "who", d->who);
	put_text(&text, "why", *d->why ? d->why : NULL);
	if (d->count >= 0)
		put_i64(&text, "letters", d->count);
	if (*d->job) {
		put_text(&text, "job", d->job);
		put_text(&text, "state", d->state);
	}
	if (!code)
		add(look, d->id, PLACE_AUDIT, d->subscription, &text);
	if (letter)
		weir__v1__dead_letter__free_unpacked(letter, NULL);
	buf_free(&text);
	return code;
}

static int read_audit(struct look *look, uint64_t behind, struct error *err)
{
	struct lines lines = { .items = xcalloc(LOOK_MAX, sizeof *lines.items) };
	int code = audit_tail_list(look->bus, look->chain, behind + 1, LOOK_MAX, on_line, &lines, err);
	for (size_t i = 0; !code && i < lines.count; i++)
		code = add_done(look, &lines.items[i], err);
	free(lines.items);
	return code;
}

/* ---- counts -------------------------------------------------------------------------------------------------------------------------------- */

static void on_count(const char *kind, const char *type, const char *reason, uint64_t count, void *arg)
{
	struct letter_counts *c = arg;
	(void)type;
	(void)reason;
	*(strcmp(kind, "follower") == 0 ? &c->follower : strcmp(kind, "skipped") == 0 ? &c->skipped : &c->head) += count;
}

static int read_counts(struct look *look, struct error *err)
{
	int code = 0;
	memset(look->counts, 0, sizeof look->counts);
	for (size_t i = 0; !code && i < LETTER_SUBSCRIPTIONS; i++)
		code = dead_letter_counts(look->bus, look->chain, letter_subscriptions[i], on_count, &look->counts[i], err);
	return code;
}

static void put_counts(struct buf *out, const char *name, const struct letter_counts *c)
{
	put_object(out, name);
	put_u64(out, "head", c->head);
	put_u64(out, "follower", c->follower);
	put_u64(out, "skipped", c->skipped);
	put_end(out, '}');
}

/* ---- pushes --------------------------------------------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct happening *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static void push(struct replay_job *job, const struct look *look, size_t subscription, const char *members, struct buf *text)
{
	buf_reset(text);
	buf_add_str(text, ",\"event\":{");
	put_text(text, "type", "dead_letter");
	put_text(text, "chain", look->chain);
	put_text(text, "subscription", letter_subscriptions[subscription]);
	buf_add_byte(text, ',');
	buf_add_str(text, members);
	put_counts(text, "counts", &look->counts[subscription]);
	buf_add_str(text, "}}");
	replay_add_push(job, text, &job->offset);
}

static void push_all(struct replay_job *job, struct look *look, uint64_t up_to)
{
	struct buf text = BUF_INIT(2 * PUSH_MAX);
	qsort(look->items, look->count, sizeof look->items[0], by_id);
	for (size_t i = 0; i < look->count && look->items[i].id <= up_to; i++) {
		const struct happening *h = &look->items[i];
		job->offset.places[h->place] = h->id;
		if (h->subscription != SUBSCRIPTION_UNKNOWN)
			push(job, look, h->subscription, h->text, &text);
	}
	buf_free(&text);
}

/* ---- places --------------------------------------------------------------------------------------------------------------------------------- */

static int read_ends(const struct look *look, struct offset *ret, struct error *err)
{
	*ret = (struct offset){ .of_letters = true };
	int code = audit_tail_end(look->bus, look->chain, &ret->places[PLACE_AUDIT], err);
	return code ? code : letter_tail_end(look->bus, look->chain, &ret->places[PLACE_NEWS], err);
}

struct first_line {
	uint64_t id, number;
};

static bool on_first(const struct audit_line *line, void *arg)
{
	*(struct first_line *)arg = (struct first_line){ letter_id_pack(line->id), line->number };
	return false;
}

static void on_nothing(const struct letter_news *news, void *arg)
{
	(void)news;
	(void)arg;
}

/* Is all behind the place still there? Only the newest is kept, and a Redis that was flushed begins anew. */
static int check_place(const struct look *look, const struct offset *at, struct error *err)
{
	struct offset ends;
	struct first_line first = { 0 };
	int code = read_ends(look, &ends, err);
	for (size_t i = 0; !code && i < OFFSET_PLACES; i++)
		if (at->places[i] > ends.places[i])
			return error_set(err, WEIR_NOT_FOUND, "the offset is of another Redis than the one there is: subscribe with a snapshot");
	if (!code)
		code = audit_tail_list(look->bus, look->chain, at->places[PLACE_AUDIT], 1, on_first, &first, err);
	if (!code && (at->places[PLACE_AUDIT] ? first.id != at->places[PLACE_AUDIT] : first.number > 1))
		return error_set(err, WEIR_NOT_FOUND, "what operators did since then is no longer kept: subscribe with a snapshot");
	return code ? code : letter_tail_list(look->bus, look->chain, at->places[PLACE_NEWS], 1, on_nothing, NULL, err);
}

static bool same_places(const struct offset *a, const struct offset *b)
{
	return memcmp(a->places, b->places, sizeof a->places) == 0;
}

/* The counts of one moment, and the places of that moment: looked at again until nothing happened in between. While letters come faster than that the
 * counts are those of a little later, and the pushes that follow have newer ones. */
static int snapshot(struct look *look, struct replay_job *job, struct error *err)
{
	struct offset after;
	struct buf text = BUF_INIT(PUSH_MAX);
	int code = read_ends(look, &after, err);
	for (int i = 0; !code && i < SNAPSHOT_TRIES; i++) {
		job->offset = after;
		code = read_counts(look, err);
		if (!code)
			code = read_ends(look, &after, err);
		if (!code && same_places(&job->offset, &after))
			break;
	}
	buf_add_str(&text, ",\"event\":{");
	put_text(&text, "type", "dead_letter_counts");
	put_text(&text, "chain", look->chain);
	put_object(&text, "counts");
	for (size_t i = 0; i < LETTER_SUBSCRIPTIONS; i++)
		put_counts(&text, letter_subscriptions[i], &look->counts[i]);
	buf_add_str(&text, "}}}");
	if (!code)
		replay_add_push(job, &text, &job->offset);
	buf_free(&text);
	return code;
}

/* The two streams are read one after the other: what stands in one and is older than all that may be missing of the other is told. What an operator did
 * comes neither before that which it was done to nor behind what happened later, whatever is written meanwhile.
 * More happened between two looks than is kept, or Redis came back without what was told last: counts as they are now stand for it. */
static int read_on(struct look *look, struct replay_job *job, struct error *err)
{
	uint64_t up_to;
	int code = audit_tail_end(look->bus, look->chain, &up_to, err);
	if (code)
		return code;
	code = read_news(look, job->offset.places[PLACE_NEWS], err);
	if (code == WEIR_NOT_FOUND)
		return snapshot(look, job, err);
	const size_t news = look->count;
	if (news == LOOK_MAX || (news > 0 && look->items[news - 1].id > up_to))
		up_to = look->items[news - 1].id;
	if (!code)
		code = read_audit(look, job->offset.places[PLACE_AUDIT], err);
	if (look->count - news == LOOK_MAX && look->items[look->count - 1].id < up_to)
		up_to = look->items[look->count - 1].id;
	if (!code)
		code = read_counts(look, err);
	if (!code)
		push_all(job, look, up_to);
	return code;
}

static int answer(struct look *look, struct replay_job *job, struct error *err)
{
	switch (job->task) {
	case REPLAY_FROM_NOW:
		return read_ends(look, &job->offset, err);
	case REPLAY_FROM_OFFSET:
		return check_place(look, &job->offset, err);
	case REPLAY_SNAPSHOT:
		return snapshot(look, job, err);
	case REPLAY_READ:
		return read_on(look, job, err);
	case REPLAY_FROM_HEIGHT: /* subscribe_check lets none pass */
		break;
	}
	return error_set(err, WEIR_INTERNAL, "dead letters have no heights");
}

int letters_answer(struct gateway *gateway, struct replay_job *job, struct error *err)
{
	struct look *look = xmalloc(sizeof *look);
	look->chain = job->chain->chain.name;
	look->bus = control_take(gateway->letter_control);
	int code = answer(look, job, err);
	control_give(gateway->letter_control);
	for (size_t i = 0; i < look->count; i++)
		free(look->items[i].text);
	free(look);
	return code;
}

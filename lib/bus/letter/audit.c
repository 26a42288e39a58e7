/* audit.c - the audit stream: writing a line, listing, and verifying the chain of hashes. The hash is made in audit.lua; here is a second
 * implementation that checks it. */
#include "bus/letter_tail.h"

#include "bus/core/transport.h"
#include "bus/letter/letters.h"
#include "bus/message/message.h"
#include "bus/redis/command.h"

#include "wire/digest.h"

#include <stdio.h>
#include <string.h>

#define PAGE 1000
#define KEEP 100000 /* as audit.lua */
#define WORDS_MAX 64
#define TRIES 10

int bus_audit(struct bus *bus, const char *chain, const char *who, const char *action, const char *detail, struct error *err)
{
	struct bus_args a = { 0 };
	char anchor[KEY_MAX];
	if (bus->transport)
		return bus->transport->audit(bus, chain, who, action, detail, err);
	bus_anchor(chain, anchor);
	bus_call(&a, "audit", anchor);
	const char *const words[] = { "action", action, "who", who, "detail", detail };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		bus_args_add(&a, words[i] ? words[i] : "");
	int code = bus_run(bus, &a, 0, NULL, err);
	bus_args_free(&a);
	return code;
}

static int read_page(struct bus *bus, const char *chain, enum page_order order, const char *from, size_t n, redisReply **ret, struct error *err)
{
	char key[KEY_MAX];
	snprintf(key, sizeof key, AUDIT_KEY_FORMAT, chain);
	return bus_read_page(bus, key, order, from, n, ret, err);
}

static const char *word(const redisReply *line, const char *name)
{
	const redisReply *value = bus_reply_field(line, name);
	return value && value->str ? value->str : "";
}

/* -- listing ----------------------------------------------------------------------------------------------------------------- */

static bool give(const redisReply *entry, audit_line_fn *fn, void *arg)
{
	static const char *const own[] = { "n", "at", "prev", "hash" };
	const redisReply *fields = entry->element[1];
	const char *words[WORDS_MAX];
	struct audit_line line = { .id = entry->element[0]->str,
				   .number = strtoull(word(fields, "n"), NULL, 10),
				   .at_ms = strtoll(word(fields, "at"), NULL, 10),
				   .hash = word(fields, "hash"),
				   .words = words };
	for (size_t i = 0; i + 1 < fields->elements && line.word_count + 1 < WORDS_MAX; i += 2) {
		bool mine = false;
		for (size_t k = 0; k < sizeof own / sizeof own[0]; k++)
			mine = mine || strcmp(fields->element[i]->str, own[k]) == 0;
		if (mine)
			continue;
		words[line.word_count++] = fields->element[i]->str;
		words[line.word_count++] = fields->element[i + 1]->str;
	}
	return fn(&line, arg);
}

static int list(struct bus *bus, const char *chain, enum page_order order, const char *from, size_t limit, audit_line_fn *fn, void *arg,
		struct error *err)
{
	redisReply *reply;
	int r = read_page(bus, chain, order, from, limit, &reply, err);
	if (r != 0)
		return r;
	for (size_t i = 0; i < reply->elements; i++)
		if (!give(reply->element[i], fn, arg))
			break;
	freeReplyObject(reply);
	return 0;
}

int bus_audit_list(struct bus *bus, const char *chain, const char *cursor, size_t limit, audit_line_fn *fn, void *arg, struct error *err)
{
	char from[64] = "+";
	uint64_t generation, sequence;
	if (cursor && *cursor && !bus_parse_id(cursor, &generation, &sequence))
		return error_set(err, WEIR_INVALID, "not a cursor of this list");
	if (cursor && *cursor)
		snprintf(from, sizeof from, "(%s", cursor);
	return list(bus, chain, NEWEST_FIRST, from, limit > 0 && limit < KEEP ? limit : KEEP, fn, arg, err);
}

int audit_tail_list(struct bus *bus, const char *chain, uint64_t from, size_t limit, audit_line_fn *fn, void *arg, struct error *err)
{
	char text[LETTER_ID_TEXT];
	if (bus->transport)
		return error_set(err, WEIR_UNSUPPORTED, "over this transport there is no audit stream");
	return list(bus, chain, OLDEST_FIRST, letter_id_text(from, text), limit, fn, arg, err);
}

/* -- verifying --------------------------------------------------------------------------------------------------------------- */

struct chain_state {
	struct audit_report *report;
	char prev[SHA256_TEXT];
	uint64_t expect_number;
	const char *expect_hash;
	bool met; /* the line that was noted */
};

static void hash_of(const redisReply *fields, char ret[SHA256_TEXT])
{
	struct buf text = BUF_INIT(64u << 20);
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		if (strcmp(fields->element[i]->str, "hash") == 0)
			continue;
		for (size_t k = i; k < i + 2; k++) {
			buf_printf(&text, "%zu:", fields->element[k]->len);
			buf_add(&text, fields->element[k]->str, fields->element[k]->len);
		}
	}
	sha256_text(text.data, text.size, ret);
	buf_free(&text);
}

static void wrong(struct audit_report *report, uint64_t number, const char *words)
{
	if (!report->sound)
		return;
	report->sound = false;
	report->wrong = number;
	snprintf(report->words, sizeof report->words, "%s", words);
}

static void check_line(struct chain_state *s, const redisReply *fields)
{
	struct audit_report *report = s->report;
	uint64_t number = strtoull(word(fields, "n"), NULL, 10);
	char hash[SHA256_TEXT];
	hash_of(fields, hash);
	if (strcmp(hash, word(fields, "hash")) != 0)
		wrong(report, number, "the line does not have the hash that it carries: it was rewritten");
	else if (report->lines > 0 && number != report->last + 1)
		wrong(report, report->last + 1, "the line is missing, or another was put in its place");
	else if (report->lines > 0 && strcmp(s->prev, word(fields, "prev")) != 0)
		wrong(report, number, "the line does not carry the hash of the one before: one of both was replaced");
	if (report->lines == 0)
		report->first = number;
	if (number == s->expect_number && s->expect_hash) {
		s->met = true;
		if (strcmp(s->expect_hash, hash) != 0)
			wrong(report, number, "the line has another hash than the one that was noted: the chain was made anew");
	}
	report->lines++;
	report->last = number;
	snprintf(s->prev, sizeof s->prev, "%.64s", word(fields, "hash"));
}

/* Number and hash of the newest line, as the script keeps them beside the stream. */
static int read_head(struct bus *bus, const char *chain, uint64_t *ret_number, char ret_hash[SHA256_TEXT], struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *head;
	bus_args_add(&a, "HMGET");
	bus_args_add_format(&a, AUDIT_KEY_FORMAT "h", chain);
	bus_args_add(&a, "n");
	bus_args_add(&a, "hash");
	int r = bus_run(bus, &a, 0, &head, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	const char *n = head->element[0]->str, *hash = head->element[1]->str;
	*ret_number = strtoull(n ? n : "0", NULL, 10);
	snprintf(ret_hash, SHA256_TEXT, "%s", hash ? hash : "");
	freeReplyObject(head);
	return 0;
}

static int check_lines(struct bus *bus, const char *chain, struct chain_state *s, struct error *err)
{
	char from[64] = "-";
	memset(s->report, 0, sizeof *s->report);
	s->report->sound = true;
	s->prev[0] = 0;
	s->met = false;
	for (size_t n = PAGE; n == PAGE;) {
		redisReply *reply;
		int r = read_page(bus, chain, OLDEST_FIRST, from, PAGE, &reply, err);
		if (r != 0)
			return r;
		n = reply->elements;
		for (size_t i = 0; i < n; i++)
			check_line(s, reply->element[i]->element[1]);
		if (n > 0)
			snprintf(from, sizeof from, "(%s", reply->element[n - 1]->element[0]->str);
		freeReplyObject(reply);
	}
	snprintf(s->report->hash, sizeof s->report->hash, "%s", s->prev);
	return 0;
}

/* What only the whole tells: lines missing at either end. */
static void check_ends(const struct chain_state *s, uint64_t head, const char *head_hash)
{
	struct audit_report *report = s->report;
	if (head > report->last)
		wrong(report, report->last + 1, "the newest lines are missing: the stream ends before the line that was written last");
	else if (head < report->last || strcmp(head_hash, s->prev) != 0)
		wrong(report, report->last, "the newest line is not the one that was written last: it was added or replaced");
	else if (report->first > 1 && report->lines < KEEP)
		wrong(report, report->first - 1, "the oldest lines are missing, and there are too few for them to have been dropped for age");
	else if (s->expect_hash && !s->met && s->expect_number >= report->first)
		wrong(report, s->expect_number, "the line that was noted is not there: the chain was made anew, or cut off");
}

int bus_audit_verify(struct bus *bus, const char *chain, uint64_t expect_number, const char *expect_hash, struct audit_report *ret, struct error *err)
{
	struct chain_state s = { .report = ret, .expect_number = expect_number, .expect_hash = expect_hash };
	uint64_t before, after;
	char hash[SHA256_TEXT];
	int r = read_head(bus, chain, &before, hash, err);
	for (int i = 0; r == 0; i++, before = after) {
		r = check_lines(bus, chain, &s, err);
		if (r == 0)
			r = read_head(bus, chain, &after, hash, err);
		if (r != 0 || before == after || i == TRIES) /* else lines came while we read */
			break;
	}
	if (r == 0)
		check_ends(&s, after, hash);
	return r;
}

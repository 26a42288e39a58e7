/* letter_tail.c - reading the stream that tells of dead letters (tell() in dead_letter.lua), and where the streams end. */
#include "bus/letter_tail.h"

#include "bus/core/core.h"
#include "bus/letter/letters.h"
#include "bus/message/message.h"

#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS 1000000 /* of entries in one millisecond; Redis adds no million of them in one, and indexes of letters have six digits for it */

uint64_t letter_id_pack(const char *id)
{
	uint64_t ms, number;
	if (!bus_parse_id(id, &ms, &number) || ms > INT64_MAX / NUMBERS - 1)
		return 0;
	return ms * NUMBERS + (number < NUMBERS ? number : NUMBERS - 1);
}

const char *letter_id_text(uint64_t packed, char ret[LETTER_ID_TEXT])
{
	snprintf(ret, LETTER_ID_TEXT, "%" PRIu64 "-%" PRIu64, packed / NUMBERS, packed % NUMBERS);
	return ret;
}

/* NULL: there is no such stream. */
static int stream_info(struct bus *bus, const char *key, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	*ret = NULL;
	if (bus->transport)
		return error_set(err, WEIR_UNSUPPORTED, "over this transport nobody can watch dead letters");
	bus_args_add(&a, "XINFO");
	bus_args_add(&a, "STREAM");
	bus_args_add(&a, key);
	int code = bus_run_many(bus, &a, 1, ret, err);
	bus_args_free(&a);
	if (code)
		return code;
	const bool absent = (*ret)->type == REDIS_REPLY_ERROR && strstr((*ret)->str, "no such key");
	if (!absent)
		code = bus_reply_error(bus, *ret, "looking at a stream's end", err);
	if (absent || code) {
		freeReplyObject(*ret);
		*ret = NULL;
	}
	return code;
}

static int stream_end(struct bus *bus, const char *key, uint64_t *ret, struct error *err)
{
	redisReply *info;
	*ret = 0;
	int code = stream_info(bus, key, &info, err);
	if (!info)
		return code;
	const redisReply *last = bus_reply_field(info, "last-generated-id");
	*ret = last && last->str ? letter_id_pack(last->str) : 0;
	freeReplyObject(info);
	return 0;
}

int bus_read_page(struct bus *bus, const char *key, enum page_order order, const char *from, size_t n, redisReply **ret, struct error *err)
{
	struct bus_args a = { 0 };
	bus_args_add(&a, order == NEWEST_FIRST ? "XREVRANGE" : "XRANGE");
	bus_args_add(&a, key);
	bus_args_add(&a, from);
	bus_args_add(&a, order == NEWEST_FIRST ? "-" : "+");
	bus_args_add(&a, "COUNT");
	bus_args_add_u64(&a, n);
	int r = bus_run(bus, &a, 0, ret, err);
	bus_args_free(&a);
	return r;
}

int letter_tail_end(struct bus *bus, const char *chain, uint64_t *ret, struct error *err)
{
	char key[KEY_MAX];
	snprintf(key, sizeof key, DEAD_NEWS_KEY_FORMAT, chain);
	return stream_end(bus, key, ret, err);
}

int audit_tail_end(struct bus *bus, const char *chain, uint64_t *ret, struct error *err)
{
	char key[KEY_MAX];
	snprintf(key, sizeof key, AUDIT_KEY_FORMAT, chain);
	return stream_end(bus, key, ret, err);
}

/* -- what became of letters ------------------------------------------------------------------------------------------------------------------ */

/* Is everything still there that ever was? */
static int check_whole(struct bus *bus, const char *key, struct error *err)
{
	redisReply *info;
	int code = stream_info(bus, key, &info, err);
	if (!info)
		return code;
	const redisReply *added = bus_reply_field(info, "entries-added"), *length = bus_reply_field(info, "length");
	if (!added || !length || added->integer != length->integer)
		code = error_set(err, WEIR_NOT_FOUND, "what became of the first dead letters is no longer kept");
	freeReplyObject(info);
	return code;
}

/* <kind> 0 <type> 0 <reason> 1 <key>: the reply's bytes are taken apart where they lie. A key is shown up to its first zero. */
static bool take_found(redisReply *found, struct letter_news *n)
{
	const char *end = found->str + found->len;
	char *at = found->str;
	const char **const words[] = { &n->kind, &n->type };
	for (size_t i = 0; i < 2; i++, at++) {
		*words[i] = at;
		at += strlen(at);
		if (at == end)
			return false;
	}
	n->reason = at;
	at = strchr(at, '\1');
	if (!at)
		return false;
	*at = '\0';
	n->key = at + 1;
	return true;
}

/* What somebody else wrote there is passed over. */
static void give(const redisReply *entry, letter_news_fn *fn, void *arg)
{
	const redisReply *words = entry->element[1];
	if (words->elements != 4)
		return;
	struct letter_news n = { .place = letter_id_pack(entry->element[0]->str), .what = words->element[0]->str, .subscription = words->element[1]->str, .letter = words->element[2]->str };
	n.at_ms = (int64_t)(n.place / NUMBERS);
	if (take_found(words->element[3], &n))
		fn(&n, arg);
}

int letter_tail_list(struct bus *bus, const char *chain, uint64_t behind, size_t limit, letter_news_fn *fn, void *arg, struct error *err)
{
	char key[KEY_MAX], text[LETTER_ID_TEXT];
	redisReply *reply;
	snprintf(key, sizeof key, DEAD_NEWS_KEY_FORMAT, chain);
	if (bus->transport)
		return error_set(err, WEIR_UNSUPPORTED, "over this transport nobody can watch dead letters");
	int code = bus_read_page(bus, key, OLDEST_FIRST, letter_id_text(behind, text), limit + 1, &reply, err);
	if (code)
		return code;
	const size_t known = behind ? 1 : 0; /* its own entry must still be there: then so is all behind it */
	if (behind && (reply->elements == 0 || letter_id_pack(reply->element[0]->element[0]->str) != behind))
		code = error_set(err, WEIR_NOT_FOUND, "what became of dead letters since then is no longer all kept");
	else if (!behind && reply->elements > 0)
		code = check_whole(bus, key, err);
	for (size_t i = known; !code && i < reply->elements && i < known + limit; i++)
		give(reply->element[i], fn, arg);
	freeReplyObject(reply);
	return code;
}

/* dead_letter_edit.c - giving a dead letter another body, and letting those behind a head go on without it. */
#include "bus/letter/letters.h"
#include "bus/core/transport.h"

#include "base/clock.h"
#include "wire/digest.h"

#include <stdio.h>
#include <string.h>

static ProtobufCBinaryData data_of(struct bytes bytes)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} data = { .in = bytes.data };
	return (ProtobufCBinaryData){ .len = bytes.size, .data = data.out };
}

static void pack(const Weir__V1__DeadLetter *piece, struct buf *ret)
{
	size_t size = weir__v1__dead_letter__get_packed_size(piece);
	buf_reserve(ret, size);
	if (ret->overflow)
		return;
	ret->size += weir__v1__dead_letter__pack(piece, ret->data + ret->size);
}

/* The three pieces that an edit adds to a letter. */
struct pieces {
	struct buf frame, original, edit;
	char before[SHA256_TEXT], after[SHA256_TEXT];
};

static void make_pieces(struct bytes old, struct bytes new, const struct dead_letter_edit *e, struct pieces *p)
{
	Weir__V1__DeadLetter frame, original, edited;
	Weir__V1__Edit edit, *edits[1] = { &edit };
	weir__v1__dead_letter__init(&frame);
	weir__v1__dead_letter__init(&original);
	weir__v1__dead_letter__init(&edited);
	weir__v1__edit__init(&edit);
	sha256_text(new.data, new.size, p->after);
	frame.frame = data_of(new);
	original.original_frame = data_of(old);
	edit.at_unix_ms = (uint64_t)clock_wall_ms();
	edit.who = bus_letter_text(e->who);
	edit.why = bus_letter_text(e->why);
	edit.before_sha256 = p->before;
	edit.after_sha256 = p->after;
	edited.n_edits = 1;
	edited.edits = edits;
	pack(&frame, &p->frame);
	pack(&original, &p->original);
	pack(&edited, &p->edit);
}

static void add_piece(struct bus_args *a, const struct buf *piece)
{
	bus_args_add_bytes(a, (struct bytes){ piece->data, piece->size });
}

int dead_letter_edit_answer(long long answer, const char *id, struct error *err)
{
	static const struct {
		int code;
		const char *words;
	} rows[] = { { WEIR_NOT_FOUND, "it is no longer there" },
		     { WEIR_CONFLICT, "it was edited meanwhile: look at it again" },
		     { WEIR_CONFLICT, "it is being tried now: ask again when that has ended" } };
	return answer == 1 ? 0 : error_set(err, rows[-answer].code, "dead letter %s: %s", id, rows[-answer].words);
}

static int commit(struct bus *bus, const char *chain, const char *subscription, const char *id, const redisReply *letter,
		  const struct dead_letter_edit *e, const struct pieces *p, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	dead_letter_call(&a, "edit_letter", chain, subscription);
	bus_args_add(&a, id);
	bus_args_add_bytes(&a, dead_letter_part(letter, LETTER_EDITS));
	bus_args_add(&a, e->who ? e->who : "");
	bus_args_add(&a, e->why ? e->why : "");
	add_piece(&a, &p->frame);
	add_piece(&a, &p->original);
	add_piece(&a, &p->edit);
	bus_args_add(&a, p->before);
	bus_args_add(&a, p->after);
	int r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	r = dead_letter_edit_answer(reply->integer, id, err);
	freeReplyObject(reply);
	return r;
}

/* The frame with the new body, appended to ret, if the edit is allowed. */
static int edited_frame(const char *id, struct bytes old, const struct dead_letter_edit *e, char before[SHA256_TEXT], struct buf *ret,
			struct error *err)
{
	struct frame frame;
	sha256_text(old.data, old.size, before);
	if (e->expect_sha256 && strcmp(e->expect_sha256, before) != 0)
		return error_set(err, WEIR_CONFLICT, "dead letter %s has another frame (sha256 %s) than the one you looked at", id, before);
	if (frame_read(old, &frame, err) != 0)
		return error_prefix(err, "dead letter %s has no header that a body could go with", id);
	int r = e->body.size > FRAME_BODY_MAX ? error_set(err, WEIR_LIMIT, "the body is larger than %u MiB", FRAME_BODY_MAX >> 20)
		: e->check                    ? e->check(frame.type, frame.schema_version, e->body, e->arg, err)
					      : 0;
	frame.body = e->body;
	if (r == 0)
		frame_write(&frame, ret);
	return r;
}

static int edit(struct bus *bus, const char *chain, const char *subscription, const char *id, const redisReply *letter, struct bytes old,
		const struct dead_letter_edit *e, char *ret_sha256, struct error *err)
{
	struct buf new = BUF_INIT(2ul * FRAME_BODY_MAX);
	struct pieces p = { BUF_INIT(4ul * FRAME_BODY_MAX), BUF_INIT(4ul * FRAME_BODY_MAX), BUF_INIT(8192), "", "" };
	int r = edited_frame(id, old, e, p.before, &new, err);
	if (r == 0) {
		make_pieces(old, (struct bytes){ new.data, new.size }, e, &p);
		r = commit(bus, chain, subscription, id, letter, e, &p, err);
	}
	if (r == 0 && ret_sha256)
		memcpy(ret_sha256, p.after, sizeof p.after);
	buf_free(&new);
	buf_free(&p.frame);
	buf_free(&p.original);
	buf_free(&p.edit);
	return r;
}

/* The letter as it is, with its frame changed and the pieces of the edit behind it. */
static void add_edited(Weir__V1__DeadLetter *letter, const struct buf *new, const struct pieces *p, struct buf *ret)
{
	ProtobufCBinaryData old = letter->frame;
	letter->frame = data_of((struct bytes){ new->data, new->size });
	pack(letter, ret);
	if (letter->original_frame.len == 0)
		buf_add(ret, p->original.data, p->original.size);
	buf_add(ret, p->edit.data, p->edit.size);
	letter->frame = old;
}

int dead_letter_edited(const char *id, struct bytes packed, const struct dead_letter_edit *e, struct buf *ret, char *ret_after, struct error *err)
{
	struct buf new = BUF_INIT(2ul * FRAME_BODY_MAX);
	struct pieces p = { BUF_INIT(4ul * FRAME_BODY_MAX), BUF_INIT(4ul * FRAME_BODY_MAX), BUF_INIT(8192), "", "" };
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, packed.size, packed.data);
	if (!letter)
		return error_set(err, WEIR_INTERNAL, "dead letter %s is none", id);
	const struct bytes old = { letter->frame.data, letter->frame.len };
	int r = edited_frame(id, old, e, p.before, &new, err);
	if (r == 0) {
		make_pieces(old, (struct bytes){ new.data, new.size }, e, &p);
		add_edited(letter, &new, &p, ret);
		memcpy(ret_after, p.after, sizeof p.after);
	}
	weir__v1__dead_letter__free_unpacked(letter, NULL);
	buf_free(&new);
	buf_free(&p.frame);
	buf_free(&p.original);
	buf_free(&p.edit);
	return r;
}

int dead_letter_edit(struct bus *bus, const char *chain, const char *subscription, const char *id, const struct dead_letter_edit *e, char *ret_sha256,
		     struct error *err)
{
	redisReply *letter;
	if (bus->transport)
		return bus->transport->letter_edit(bus, chain, subscription, id, e, ret_sha256, err);
	int r = dead_letter_read(bus, chain, subscription, id, &letter, err);
	if (r != 0)
		return r;
	struct bytes whole = dead_letter_part(letter, LETTER_WHOLE);
	Weir__V1__DeadLetter *unpacked = weir__v1__dead_letter__unpack(NULL, whole.size, whole.data);
	if (unpacked)
		r = edit(bus, chain, subscription, id, letter, (struct bytes){ unpacked->frame.data, unpacked->frame.len }, e, ret_sha256, err);
	else
		r = error_set(err, WEIR_INTERNAL, "dead letter %s of chain %s, subscription %s is none", id, chain, subscription);
	if (unpacked)
		weir__v1__dead_letter__free_unpacked(unpacked, NULL);
	freeReplyObject(letter);
	return r;
}

int dead_letter_skip_answer(long long answer, const char *subscription, const char *id, struct error *err)
{
	static const struct {
		int code;
		const char *words;
	} rows[] = { { WEIR_NOT_FOUND, "there is none of that id" },
		     { WEIR_CONFLICT, "it is not the first of its key: skip that one" },
		     { WEIR_CONFLICT, "it is being tried now: ask again when that has ended" },
		     { WEIR_UNSUPPORTED, "no message waits for it: there is nothing to skip" } };
	return answer == 1 ? 0 : error_set(err, rows[-answer].code, "subscription %s, dead letter %s: %s", subscription, id, rows[-answer].words);
}

int dead_letter_skip(struct bus *bus, const char *chain, const char *subscription, const char *id, const char *who, const char *why,
		     struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply;
	int r = dead_letter_check_why(subscription, "skip", why, err);
	if (r != 0)
		return r;
	if (bus->transport)
		return bus->transport->letter_skip(bus, chain, subscription, id, who, why, err);
	if (!dead_letter_is_id(id))
		return error_set(err, WEIR_INVALID, "not a dead letter's id");
	dead_letter_call(&a, "skip_letter", chain, subscription);
	bus_args_add(&a, id);
	bus_args_add(&a, who ? who : "");
	bus_args_add(&a, why);
	r = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (r != 0)
		return r;
	r = dead_letter_skip_answer(reply->integer, subscription, id, err);
	freeReplyObject(reply);
	return r;
}

/* dead_letter_file.c - dead letters as lines of JSON, out and in.
 *
 * {"weir_dead_letter":1,"chain":…,"subscription":…,"id":…,"topic":…,"class":…,"entry":…,"lane":…,"key":…,"type":…,"reason":…,"kind":…,
 *  "parked_at_unix_ms":…,"replays":…,"attempts":[{"at_unix_ms":…,"error_code":…,"error":…,"worker":…}],
 *  "edits":[{"at_unix_ms":…,"who":…,"why":…,"before_sha256":…,"after_sha256":…}],"frame":base64,"original_frame":base64 or null}
 */
#include "bus/letter/letters.h"

#include "wire/digest.h"
#include "wire/json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES (6ul * FRAME_BODY_MAX)
#define IMPORT_BATCH 200

/* -- out --------------------------------------------------------------------------------------------------------------------- */

static void put(struct buf *out, const char *name, const char *text, size_t size)
{
	buf_printf(out, "%s\"%s\":", out->data && out->data[out->size - 1] != '{' ? "," : "", name);
	json_add_string(out, text, size);
}

static void put_text(struct buf *out, const char *name, const char *text)
{
	put(out, name, text ? text : "", text ? strlen(text) : 0);
}

static void put_number(struct buf *out, const char *name, uint64_t n)
{
	buf_printf(out, "%s\"%s\":%llu", out->data && out->data[out->size - 1] != '{' ? "," : "", name, (unsigned long long)n);
}

static void put_base64(struct buf *out, const char *name, ProtobufCBinaryData data)
{
	buf_printf(out, ",\"%s\":\"", name);
	base64_write((struct bytes){ data.data, data.len }, out);
	buf_add_byte(out, '"');
}

static void put_attempts(struct buf *out, const Weir__V1__DeadLetter *letter)
{
	buf_add_str(out, ",\"attempts\":[");
	for (size_t i = 0; i < letter->n_attempts; i++) {
		const Weir__V1__Attempt *t = letter->attempts[i];
		buf_add_str(out, i ? ",{" : "{");
		put_number(out, "at_unix_ms", t->at_unix_ms);
		put_text(out, "error_code", t->error_code);
		put_text(out, "error", t->error);
		put_text(out, "worker", t->worker);
		buf_add_byte(out, '}');
	}
	buf_add_str(out, "],\"edits\":[");
	for (size_t i = 0; i < letter->n_edits; i++) {
		const Weir__V1__Edit *e = letter->edits[i];
		buf_add_str(out, i ? ",{" : "{");
		put_number(out, "at_unix_ms", e->at_unix_ms);
		put_text(out, "who", e->who);
		put_text(out, "why", e->why);
		put_text(out, "before_sha256", e->before_sha256);
		put_text(out, "after_sha256", e->after_sha256);
		buf_add_byte(out, '}');
	}
	buf_add_byte(out, ']');
}

static void put_line(struct buf *out, const char *chain, const char *subscription, const char *id, const redisReply *parts,
		     const Weir__V1__DeadLetter *letter)
{
	static const struct {
		const char *name;
		int part;
	} texts[] = {
		{ "topic", LETTER_TOPIC }, { "class", LETTER_CLASS }, { "entry", LETTER_ENTRY }, { "lane", LETTER_LANE }, { "key", LETTER_KEY }
	};
	buf_add_str(out, "{\"weir_dead_letter\":1");
	put_text(out, "chain", chain);
	put_text(out, "subscription", subscription);
	put_text(out, "id", id);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		put(out, texts[i].name, parts->element[texts[i].part]->str, parts->element[texts[i].part]->len);
	put_text(out, "type", letter->type);
	put_text(out, "reason", bus_letter_reason(letter));
	put_text(out, "kind", bus_letter_kind(letter));
	put_number(out, "parked_at_unix_ms", letter->parked_at_unix_ms);
	put_number(out, "replays", letter->replays);
	put_attempts(out, letter);
	put_base64(out, "frame", letter->frame);
	if (letter->original_frame.len > 0)
		put_base64(out, "original_frame", letter->original_frame);
	buf_add_byte(out, '}');
}

struct exporting {
	struct bus *bus;
	const char *chain, *subscription;
	dead_letter_line_fn *fn;
	void *arg;
	struct error *err;
	int code;
};

static bool export_one(const char *id, struct bytes summary, void *arg)
{
	(void)summary;
	struct exporting *x = arg;
	redisReply *parts;
	x->code = dead_letter_read(x->bus, x->chain, x->subscription, id, &parts, x->err);
	if (x->code == WEIR_NOT_FOUND) { /* settled meanwhile */
		x->code = 0;
		return true;
	}
	if (x->code != 0)
		return false;
	struct bytes whole = dead_letter_part(parts, LETTER_WHOLE);
	Weir__V1__DeadLetter *letter = weir__v1__dead_letter__unpack(NULL, whole.size, whole.data);
	struct buf line = BUF_INIT(LINE_MAX_BYTES);
	bool more = true;
	if (letter) {
		put_line(&line, x->chain, x->subscription, id, parts, letter);
		weir__v1__dead_letter__free_unpacked(letter, NULL);
		if (line.overflow)
			x->code = error_set(x->err, WEIR_LIMIT, "dead letter %s is too large for a line", id);
		else
			more = x->fn(id, (struct bytes){ line.data, line.size }, x->arg);
	}
	buf_free(&line);
	freeReplyObject(parts);
	return more && x->code == 0;
}

int dead_letter_export(struct bus *bus, const char *chain, const char *subscription, const struct dead_letter_filter *filter, const char *cursor,
		       size_t limit, dead_letter_line_fn *fn, void *arg, struct error *err)
{
	struct exporting x = { bus, chain, subscription, fn, arg, err, 0 };
	int r = dead_letter_list(bus, chain, subscription, filter, cursor, limit, export_one, &x, err);
	return r ? r : x.code;
}

/* -- in ---------------------------------------------------------------------------------------------------------------------- */

struct incoming {
	const char *topic, *klass, *entry, *type, *reason, *kind, *lane;
	char key[FRAME_KEY_MAX], digest[SHA256_TEXT], replays[24];
	size_t key_size; /* a key may be any bytes */
	struct buf rest, frame, original, edits, history;
};

static void incoming_free(struct incoming *in)
{
	struct buf *const all[] = { &in->rest, &in->frame, &in->original, &in->edits, &in->history };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		buf_free(all[i]);
}

static const char *text_at(yyjson_val *object, const char *name)
{
	const char *text = yyjson_get_str(yyjson_obj_get(object, name));
	return text ? text : "";
}

/* Words that become parts of keys and indexes. */
static bool is_word(const char *text, size_t least)
{
	size_t n = 0;
	for (; text[n]; n++)
		if (!isalnum((unsigned char)text[n]) && !strchr("_.-:", text[n]))
			return false;
	return n >= least && n <= 64;
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static void pack(const Weir__V1__DeadLetter *piece, struct buf *ret)
{
	size_t size = weir__v1__dead_letter__get_packed_size(piece);
	*ret = (struct buf)BUF_INIT(size + 1);
	buf_reserve(ret, size);
	ret->size += weir__v1__dead_letter__pack(piece, ret->data + ret->size);
}

static void pack_attempts(yyjson_val *line, Weir__V1__DeadLetter *ret)
{
	yyjson_val *list = yyjson_obj_get(line, "attempts"), *row;
	size_t i, n;
	ret->attempts = xcalloc(yyjson_arr_size(list) + 1, sizeof *ret->attempts);
	yyjson_arr_foreach(list, i, n, row)
	{
		Weir__V1__Attempt *t = xmalloc(sizeof *t);
		weir__v1__attempt__init(t);
		t->at_unix_ms = yyjson_get_uint(yyjson_obj_get(row, "at_unix_ms"));
		t->error_code = bus_letter_text(text_at(row, "error_code"));
		t->error = bus_letter_text(text_at(row, "error"));
		t->worker = bus_letter_text(text_at(row, "worker"));
		ret->attempts[ret->n_attempts++] = t;
	}
}

static void pack_edits(yyjson_val *line, struct buf *ret)
{
	Weir__V1__DeadLetter piece;
	yyjson_val *list = yyjson_obj_get(line, "edits"), *row;
	size_t i, n;
	weir__v1__dead_letter__init(&piece);
	piece.edits = xcalloc(yyjson_arr_size(list) + 1, sizeof *piece.edits);
	yyjson_arr_foreach(list, i, n, row)
	{
		Weir__V1__Edit *e = xmalloc(sizeof *e);
		weir__v1__edit__init(e);
		e->at_unix_ms = yyjson_get_uint(yyjson_obj_get(row, "at_unix_ms"));
		e->who = bus_letter_text(text_at(row, "who"));
		e->why = bus_letter_text(text_at(row, "why"));
		e->before_sha256 = bus_letter_text(text_at(row, "before_sha256"));
		e->after_sha256 = bus_letter_text(text_at(row, "after_sha256"));
		piece.edits[piece.n_edits++] = e;
	}
	pack(&piece, ret);
	for (i = 0; i < piece.n_edits; i++)
		free(piece.edits[i]);
	free(piece.edits);
}

static bool read_frame(yyjson_val *line, const char *name, struct buf *ret)
{
	yyjson_val *value = yyjson_obj_get(line, name);
	*ret = (struct buf)BUF_INIT(2ul * FRAME_BODY_MAX);
	return value && yyjson_is_str(value) && base64_read(yyjson_get_str(value), yyjson_get_len(value), ret);
}

/* Packs what a line says into the letter's pieces. */
static void make_pieces(yyjson_val *line, const char *chain, const char *subscription, const struct buf *frame, const struct buf *original,
			struct incoming *in)
{
	Weir__V1__DeadLetter base, one, history;
	char stream[KEY_MAX], key[FRAME_KEY_MAX + 1];
	weir__v1__dead_letter__init(&base);
	weir__v1__dead_letter__init(&one);
	weir__v1__dead_letter__init(&history);
	bus_stream(chain, in->topic, bus_class_of(in->klass), stream);
	base.subscription = bus_letter_text(subscription);
	base.kind = strcmp(in->kind, "follower") == 0 ? WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_FOLLOWER
						      : WEIR__V1__DEAD_LETTER_KIND__DEAD_LETTER_KIND_HEAD;
	base.stream = stream;
	base.entry_id = bus_letter_text(in->entry);
	bus_printable((struct bytes){ (const uint8_t *)in->key, in->key_size }, key, sizeof key);
	base.key = key;
	base.type = bus_letter_text(in->type);
	base.parked_at_unix_ms = yyjson_get_uint(yyjson_obj_get(line, "parked_at_unix_ms"));
	pack_attempts(line, &base);
	pack(&base, &in->rest);
	for (size_t i = 0; i < base.n_attempts; i++)
		free(base.attempts[i]);
	free(base.attempts);
	one.frame = (ProtobufCBinaryData){ .len = frame->size, .data = frame->data };
	pack(&one, &in->frame);
	if (original->size > 0) {
		weir__v1__dead_letter__init(&one);
		one.original_frame = (ProtobufCBinaryData){ .len = original->size, .data = original->data };
		pack(&one, &in->original);
		pack_edits(line, &in->edits);
	}
	history.replays = (uint32_t)yyjson_get_uint(yyjson_obj_get(line, "replays"));
	snprintf(in->replays, sizeof in->replays, "%u", history.replays);
	if (history.replays > 0)
		pack(&history, &in->history);
}

static const char *read_words(yyjson_val *line, const char *chain, const char *subscription, struct incoming *in)
{
	static const char *const kinds[] = { "head", "follower", "skipped", NULL }, *const lanes[] = { "shared", "ordered", NULL };
	uint64_t generation, sequence;
	in->topic = text_at(line, "topic");
	in->klass = text_at(line, "class");
	in->entry = text_at(line, "entry");
	in->type = text_at(line, "type");
	in->reason = text_at(line, "reason");
	in->kind = text_at(line, "kind");
	in->lane = text_at(line, "lane");
	return !yyjson_is_obj(line) || yyjson_get_uint(yyjson_obj_get(line, "weir_dead_letter")) != 1 ? "it is not an exported dead letter"
	       : strcmp(text_at(line, "chain"), chain) != 0                                           ? "its chain is another one"
	       : strcmp(text_at(line, "subscription"), subscription) != 0                             ? "its subscription is another one"
	       : !is_word(in->topic, 1)                                                               ? "its topic is not a name"
	       : bus_class_of(in->klass) < 0                                                          ? "its class is none"
	       : strlen(in->entry) > 40 || !bus_parse_id(in->entry, &generation, &sequence)           ? "its entry is not an id"
	       : !is_word(in->type, 1)                                                                ? "its type is not a name"
	       : !is_word(in->reason, 0)                                                              ? "its reason is not a name"
	       : !is_one_of(in->kind, kinds)                                                          ? "its kind is none"
	       : !is_one_of(in->lane, lanes)                                                          ? "its lane is none"
												      : NULL;
}

/* NULL, or what is wrong with the line. Texts point into its document. */
static const char *read_line(yyjson_val *line, const char *chain, const char *subscription, struct incoming *in)
{
	struct buf frame, original;
	const char *why = read_words(line, chain, subscription, in);
	if (why)
		return why;
	bool whole = read_frame(line, "frame", &frame);
	bool edited = read_frame(line, "original_frame", &original);
	if (!whole || frame.size == 0) {
		why = "its frame is not base64";
	} else {
		uint16_t type;
		struct bytes key = { NULL, 0 };
		struct buf identity = BUF_INIT(512);
		char hash[SHA256_TEXT];
		(void)frame_peek((struct bytes){ frame.data, frame.size }, &type, &key);
		if (yyjson_get_len(yyjson_obj_get(line, "key")) > 0)
			memcpy(in->key, key.data ? key.data : (const uint8_t *)"", in->key_size = key.size <= sizeof in->key ? key.size : 0);
		sha256_text(edited ? original.data : frame.data, edited ? original.size : frame.size, hash);
		buf_printf(&identity, "%s/%s/%s %s", in->topic, in->klass, in->entry, hash);
		sha256_text(identity.data, identity.size, in->digest);
		buf_free(&identity);
		make_pieces(line, chain, subscription, &frame, &original, in);
	}
	buf_free(&frame);
	buf_free(&original);
	return why;
}

static void add_piece(struct bus_args *a, const struct buf *piece)
{
	bus_args_add_bytes(a, (struct bytes){ piece->data, piece->size });
}

static void add_incoming(struct bus_args *a, const char *chain, const char *subscription, const struct incoming *in)
{
	const char *const before[] = { in->digest, in->topic, in->klass, in->entry }, *const behind[] = { in->type, in->reason, in->kind, in->lane };
	dead_letter_call(a, "import_letter", chain, subscription);
	for (size_t i = 0; i < sizeof before / sizeof before[0]; i++)
		bus_args_add(a, before[i]);
	bus_args_add_bytes(a, (struct bytes){ (const uint8_t *)in->key, in->key_size });
	for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++)
		bus_args_add(a, behind[i]);
	add_piece(a, &in->rest);
	add_piece(a, &in->frame);
	add_piece(a, &in->original);
	add_piece(a, &in->edits);
	add_piece(a, &in->history);
	bus_args_add(a, in->replays);
}

/* The lines of one text, one after the other. */
static bool next_line(struct bytes *rest, struct bytes *ret)
{
	while (rest->size > 0 && (*rest->data == '\n' || *rest->data == '\r')) {
		rest->data++;
		rest->size--;
	}
	if (rest->size == 0)
		return false;
	const uint8_t *end = memchr(rest->data, '\n', rest->size);
	ret->data = rest->data;
	ret->size = end ? (size_t)(end - rest->data) : rest->size;
	rest->data += ret->size;
	rest->size -= ret->size;
	return true;
}

static yyjson_doc *parse(struct bytes line)
{
	union { /* yyjson changes nothing in the text without the in-situ flag; it is not const-correct */
		const uint8_t *in;
		char *out;
	} text = { .in = line.data };
	return yyjson_read(text.out, line.size, 0);
}

static int check_lines(struct bytes lines, const char *chain, const char *subscription, struct error *err)
{
	struct bytes line;
	for (size_t number = 1; next_line(&lines, &line); number++) {
		struct incoming in = { 0 };
		yyjson_doc *doc = parse(line);
		const char *why = doc ? read_line(yyjson_doc_get_root(doc), chain, subscription, &in) : "it is not JSON";
		if (why)
			error_set(err, WEIR_INVALID, "line %zu of the file: %s; nothing was imported", number, why);
		incoming_free(&in);
		yyjson_doc_free(doc);
		if (why)
			return WEIR_INVALID;
	}
	return 0;
}

/* Sends the next lines in one round trip. */
static int import_some(struct bus *bus, const char *chain, const char *subscription, struct bytes *lines, uint64_t *ret_new, uint64_t *ret_known,
		       struct error *err)
{
	struct incoming in[IMPORT_BATCH] = { 0 };
	yyjson_doc *docs[IMPORT_BATCH];
	struct bus_args args[IMPORT_BATCH] = { 0 };
	redisReply *replies[IMPORT_BATCH] = { 0 };
	struct bytes line;
	size_t n = 0;
	int r = 0;
	for (; n < IMPORT_BATCH && next_line(lines, &line); n++) {
		docs[n] = parse(line);
		(void)read_line(yyjson_doc_get_root(docs[n]), chain, subscription, &in[n]); /* was checked */
		add_incoming(&args[n], chain, subscription, &in[n]);
	}
	r = bus_run_many(bus, args, n, replies, err);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = bus_reply_error(bus, replies[i], "importing dead letters", err);
		if (r == 0)
			*(replies[i]->integer == 1 ? ret_new : ret_known) += 1;
		if (replies[i])
			freeReplyObject(replies[i]);
		bus_args_free(&args[i]);
		incoming_free(&in[i]);
		yyjson_doc_free(docs[i]);
	}
	return r;
}

int dead_letter_import(struct bus *bus, const char *chain, const char *subscription, struct bytes lines, const char *who, uint64_t *ret_new,
		       uint64_t *ret_known, struct error *err)
{
	char detail[160];
	*ret_new = *ret_known = 0;
	int r = check_lines(lines, chain, subscription, err);
	while (r == 0 && lines.size > 0)
		r = import_some(bus, chain, subscription, &lines, ret_new, ret_known, err);
	if (r != 0 && *ret_new == 0)
		return r;
	snprintf(detail, sizeof detail, "subscription %s: %llu new, %llu known", subscription, (unsigned long long)*ret_new,
		 (unsigned long long)*ret_known);
	int audited = bus_audit(bus, chain, who, "import", detail, r == 0 ? err : NULL);
	return r ? r : audited;
}
